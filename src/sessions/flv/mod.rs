//! FLV over HTTP and WebSocket.

mod egress;
mod play;
mod publish;

pub use egress::Framing;
pub use play::run as play;
pub use publish::run as publish;

/// WebSocket close codes that this server gives (RFC 6455 §7.4).
pub mod close {
    /// The stream or the publisher is done.
    pub const NORMAL: u16 = 1000;
    /// The server ends.
    pub const GOING_AWAY: u16 = 1001;
    /// What was sent is no FLV, or is text.
    pub const UNSUPPORTED: u16 = 1003;
    /// A rule of the server's: silence, a taken key, a slow reader.
    pub const POLICY: u16 = 1008;
    /// Nobody publishes the stream: 404 in WebSocket's private range.
    pub const NOT_FOUND: u16 = 4404;
    /// The stream is published by somebody else: 409 in the private range.
    pub const CONFLICT: u16 = 4409;
    /// Too busy: 503 in the private range.
    pub const TRY_LATER: u16 = 1013;
}
