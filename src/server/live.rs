//! What may change while the server runs: made whole, hung up for all shards at once, followed by each at its next tick.
//!
//! Sockets of a new door are opened before anything changes, one for each shard, so that nothing can fail afterwards.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use shards::{ShardId, executor};

use crate::{
    net::listener::{self, SocketOptions},
    sessions::{Service, SessionOptions, webrtc::WebRtcOptions},
};

/// A port of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub name: &'static str,
    pub address: SocketAddr,
    pub service: Service,
}

/// A door and the sockets that listen at it, until each shard has taken its own.
pub(super) struct Entrance {
    pub door: Door,
    waiting: Vec<Mutex<Option<socket2::Socket>>>,
}

impl Entrance {
    /// Begins to listen, with a socket for each of so many shards.
    pub fn open(door: Door, shards: usize, options: SocketOptions) -> io::Result<Self> {
        let waiting = (0..shards).map(|_| {
            let socket = listener::open(door.address, options).map_err(|error| bind_error(door, &error))?;
            Ok(Mutex::new(Some(socket)))
        });
        Ok(Self { door, waiting: waiting.collect::<io::Result<_>>()? })
    }

    /// The socket of a shard, which takes it once.
    pub fn take(&self, shard: ShardId) -> Option<socket2::Socket> {
        self.waiting.get(shard.index())?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// One of the sockets again, before it is taken.
    pub fn sample(&self) -> io::Result<Option<socket2::Socket>> {
        let first = self.waiting.first().map(|socket| socket.lock().unwrap_or_else(PoisonError::into_inner));
        first.as_deref().and_then(Option::as_ref).map(socket2::Socket::try_clone).transpose()
    }
}

/// See the module.
pub(super) struct Live {
    pub sessions: SessionOptions,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub webrtc: Option<WebRtcOptions>,
    pub sockets: SocketOptions,
    pub shards: executor::Options,
    pub entrances: Vec<Arc<Entrance>>,
    /// Shards that follow this.
    pub followed: AtomicUsize,
}

impl Live {
    /// Another shard follows.
    pub fn note_followed(&self) {
        self.followed.fetch_add(1, Ordering::Release);
    }

    /// Whether so many follow.
    pub fn is_followed_by(&self, shards: usize) -> bool {
        self.followed.load(Ordering::Acquire) >= shards
    }
}

/// Why a door does not open, for the operator.
pub(super) fn bind_error(door: Door, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{}: cannot listen at {}: {error}{hint}", door.name, door.address))
}
