//! RTMP (Adobe RTMP 1.0 and Enhanced RTMP v2): both ends of a connection as machines that are fed bytes.
//!
//! [`Server`] turns what a client sends into [`Event`]s and waits for the host's word where permission is needed;
//! [`Client`] publishes or plays. Neither knows sockets or clocks, and both are `Send`: a server may travel to the
//! thread that owns the stream in the middle of a `publish` or `play`, with its unread input inside. Below them stand
//! the [`handshake`], the [`chunk`] layer, and the words of [`message`], [`command`] and [`url`].
//!
//! Times are milliseconds on RTMP's 32-bit clock, which wraps; sizes are bytes.

pub mod chunk;
pub mod client;
pub mod command;
pub mod handshake;
mod link;
pub mod message;
pub mod server;
pub mod url;

pub use chunk::ReaderOptions;
pub use client::{Client, ClientEvent, ClientOptions, Role};
pub use command::Status;
pub use link::Counters;
pub use message::{Media, MediaKind, mux_media};
pub use server::{
    Connect, Event, Farewell, PlayRequest, PublishKind, PublishRequest, Reject, Server, ServerOptions,
};
pub use url::{ClientUrl, Params, StreamUrl};

/// What the peer did that ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Instead of a handshake.
    #[error(transparent)]
    Handshake(#[from] handshake::HandshakeError),
    /// Against the chunk layer.
    #[error(transparent)]
    Chunk(#[from] chunk::ChunkError),
    /// A command that is none.
    #[error(transparent)]
    Command(#[from] command::CommandError),
    /// A request for a stream before `connect`.
    #[error("{0:?} came before connect")]
    ConnectExpected(String),
    /// An address beyond reason.
    #[error("{field} has {len} bytes; at most {len_max} are allowed")]
    TooLong {
        /// Which.
        field: &'static str,
        /// What came.
        len: usize,
        /// What is allowed.
        len_max: usize,
    },
    /// A server that answered `createStream` with no number.
    #[error("the server created no stream")]
    NoStream,
}

/// Feeds `data` to a server and a client that say yes to everything, whole and in pieces, at every stage of a connection.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    server::fuzz(data);
    client::fuzz(data);
}

#[cfg(test)]
mod tests;
