//! The UDP sockets of WebRTC, one for each shard: bound before the shards run, so that a port that is taken is told at the start.
//!
//! A process that takes over from another waits until that one has ended: its ports are free then, and not before. Invariant: each
//! shard takes its own socket, once.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
};

use crate::net::{steer, udp};

/// See the module.
pub struct Datagrams {
    config: config::Webrtc,
    shards: usize,
    /// Empty until they are bound.
    sockets: Mutex<Vec<Option<UdpSocket>>>,
}

impl Datagrams {
    /// For so many shards; nothing is bound yet.
    pub fn new(config: &config::Webrtc, shards: usize) -> Self {
        Self { config: config.clone(), shards, sockets: Mutex::default() }
    }

    /// Binds all that are to be, unless that was done.
    ///
    /// # Errors
    /// A sentence for the operator; its kind is the system's, `AddrInUse` above all.
    pub fn bind(&self) -> io::Result<()> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if sockets.is_empty() && self.config.enable {
            *sockets = bind(&self.config, self.shards)?.into_iter().map(Some).collect();
        }
        Ok(())
    }

    /// The socket of the shard with this number.
    ///
    /// # Errors
    /// Those of [`Datagrams::bind`].
    pub fn take(&self, shard: usize) -> io::Result<UdpSocket> {
        self.bind()?;
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = sockets.get_mut(shard).and_then(Option::take);
        socket.ok_or_else(|| io::Error::other("webrtc: there is no socket for this shard"))
    }
}

/// The sockets of all shards, in their order: each at a port of its own, or all at one.
fn bind(webrtc: &config::Webrtc, shards: usize) -> io::Result<Vec<UdpSocket>> {
    let buffer = webrtc.socket_buffer.bytes();
    let first = SocketAddr::from((webrtc.listen_ip, webrtc.port));
    let refused = |address: SocketAddr| {
        move |error: io::Error| {
            io::Error::new(error.kind(), format!("webrtc: cannot listen at {address}: {error}"))
        }
    };
    if webrtc.single_port && shards > 1 {
        let (sockets, steered) = steer::bind(first, shards, buffer).map_err(refused(first))?;
        if let Err(error) = steered {
            tracing::warn!("webrtc: packets are not steered to their shards, which costs time: {error}");
        }
        return Ok(sockets);
    }
    let last = usize::from(webrtc.port) + shards - 1;
    if last > usize::from(u16::MAX) {
        let why = format!("{shards} shards need the ports {} to {last}, and there is no {last}", webrtc.port);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("webrtc: {why}")));
    }
    let ports = (webrtc.port..=u16::MAX).take(shards);
    ports
        .map(|port| {
            let address = SocketAddr::from((webrtc.listen_ip, port));
            udp::bind(address, buffer, false).map_err(refused(address))
        })
        .collect()
}
