//! What a client is told before it starts.

use super::{ReaderOptions, Style};
use crate::protocols::rtmp::{link::WINDOW_ACK_SIZE, url::ClientUrl};

/// What a client connects for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// To send a stream.
    Publish,
    /// To receive one.
    #[default]
    Play,
}

/// One connection's address, role and manners.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// What `connect` tells as `tcUrl`.
    pub tc_url: String,
    /// What `connect` tells as `app`.
    pub app: String,
    /// The stream's name, with its parameters.
    pub stream: String,
    /// To publish or to play.
    pub role: Role,
    /// Bytes in an outgoing chunk.
    pub chunk_size: u32,
    /// The server confirms each so many bytes that it received.
    pub window_ack: u32,
    /// A player's buffer in milliseconds; servers take it as advice.
    pub buffer_ms: u32,
    /// Plain or signed handshake.
    pub style: Style,
    /// Makes the handshake differ from other connections'.
    pub seed: u64,
    /// What the client calls itself.
    pub flash_ver: String,
    /// The page it plays on; may be empty.
    pub page_url: String,
    /// FourCC values that are announced; empty for a client that does not speak Enhanced RTMP. `*` for all.
    pub fourccs: Vec<String>,
    /// Bits of [`caps`](crate::protocols::rtmp::server::caps), told with the FourCC values.
    pub caps_ex: u32,
    /// Bounds of the chunk reader.
    pub reader: ReaderOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            tc_url: String::new(),
            app: String::new(),
            stream: String::new(),
            role: Role::default(),
            chunk_size: 60_000,
            window_ack: WINDOW_ACK_SIZE,
            buffer_ms: 3_000,
            style: Style::default(),
            seed: 0,
            flash_ver: concat!("Shardcast/", env!("CARGO_PKG_VERSION")).to_owned(),
            page_url: String::new(),
            fourccs: vec!["*".to_owned()],
            caps_ex: crate::protocols::rtmp::server::caps::MULTITRACK
                | crate::protocols::rtmp::server::caps::MOD_EX,
            reader: ReaderOptions::default(),
        }
    }
}

impl ClientOptions {
    /// For the stream at an address.
    pub fn new(url: &ClientUrl, role: Role) -> Self {
        let (tc_url, app, stream) = (url.tc_url.clone(), url.app.clone(), url.stream.clone());
        Self { tc_url, app, stream, role, ..Self::default() }
    }
}
