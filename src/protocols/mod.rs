//! What bytes mean: protocol machines that are fed and give. Synchronous; no socket, clock, thread or configuration.

pub mod amf0;
pub mod amf3;
pub mod flv;
pub mod http;
pub mod proxy;
pub mod rtmp;
pub mod rtp;
pub mod whip;
pub mod ws;
