//! The one point at which it is decided who may publish and who may play, for every protocol.
//!
//! A session asks on the shard that owns the stream, before it takes the seat or joins; what decides is a closure that
//! `server` gives. It may take its time.

use std::{future::Future, net::SocketAddr, pin::Pin, rc::Rc};

use shards::media::StreamKey;

/// What somebody wants to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Add media.
    Publish,
    /// Watch and listen.
    Play,
}

/// Who wants what.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What.
    pub action: Action,
    /// Of which stream.
    pub key: StreamKey,
    /// How: `rtmp`, `flv`, `whip` …
    pub protocol: &'static str,
    /// The token of `Authorization: Bearer` or of the parameter `token`, if one was given.
    pub token: Option<String>,
    /// All parameters of the address, as they came.
    pub query: String,
    /// From where.
    pub peer: SocketAddr,
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A token is missing or is not valid.
    #[error("{0}")]
    Unauthorized(String),
    /// The rules forbid it, whatever the token.
    #[error("{0}")]
    Forbidden(String),
}

/// What decides.
pub type Gate = Rc<dyn Fn(Ask) -> Pin<Box<dyn Future<Output = Result<(), Denied>>>>>;

/// A gate that lets everybody in.
pub fn open() -> Gate {
    Rc::new(|_| Box::pin(std::future::ready(Ok(()))))
}
