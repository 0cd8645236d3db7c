//! End to end: the real server, real clients, one story a test.
//!
//! One binary for all areas, so that the harness is compiled and linked once. `scripts/deps.sh test` installs the
//! clients. One area alone: `cargo test --test e2e play_matrix`.

mod api_v1;
mod api_v2;
mod auth;
mod auth_api;
mod browser;
mod cli;
mod console;
mod hooks;
mod hostile;
mod http;
mod late;
mod life;
mod mirrors;
mod play_matrix;
mod rtmp_life;
mod sessions;
mod shards;
mod shutdown;
mod slow;
mod support;
mod tls;
mod transcode;
mod webrtc;
mod webrtc_abandoned;
mod webrtc_bframes;
mod webrtc_browser;
mod webrtc_clauses;
mod webrtc_codecs;
mod webrtc_join;
mod webrtc_layers;
mod webrtc_life;
mod webrtc_loss;
mod webrtc_offers;
mod webrtc_play;
mod webrtc_port;
mod webrtc_publish;
mod webrtc_signalling;
