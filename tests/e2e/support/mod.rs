//! The harness of the end-to-end stories: a real server on ports of its own, real clients with deadlines, and
//! small independent readers and writers of FLV, RTMP and WS-FLV for what no client at hand can do.
//!
//! Invariant: nothing here shares code with the server, so that both cannot be wrong in the same way; nothing
//! sleeps to wait for a state, it asks until a deadline; and nothing started here outlives its test.

pub mod amf;
pub mod browser;
pub mod compare;
pub mod fixture;
pub mod flv;
pub mod http;
pub mod lock;
pub mod media;
pub mod player;
pub mod ports;
pub mod probe;
pub mod publisher;
pub mod relay;
pub mod rtc;
pub mod rtmp;
pub mod server;
pub mod shape;
pub mod token;
pub mod tools;
pub mod webrtc;
pub mod ws;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

pub use fixture::Fixture;
pub use flv::{Kind, Tag, Unit};
pub use player::{Path, Player};
pub use publisher::{Entrance, Publisher};
pub use server::{Builder, Server};

/// How long anything may take that should take a moment. Generous: two cores may run four tests, an encoder and a
/// browser at once, and a story that waits this long has failed anyway.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks `ready` until it yields something.
///
/// # Panics
/// After [`SOON`], saying what was awaited.
pub fn until<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    match within(SOON, ready) {
        Some(value) => value,
        None => panic!("waited {SOON:?} for {what}"),
    }
}

/// Asks `ready` until it yields something or `limit` has passed.
pub fn within<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where tests may write: below `target`, kept between runs.
pub fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    std::fs::create_dir_all(&dir).expect("target/tmp can be written");
    dir.join(name)
}
