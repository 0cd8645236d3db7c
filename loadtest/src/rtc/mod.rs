//! WebRTC's client half: WHIP and WHEP over plain HTTP, then ICE, DTLS and SRTP on str0m.
//!
//! [`Peer`] is a machine: datagrams and the time go in, datagrams and events come out. [`Client`] gives it a socket and a
//! thread; the load test's players and publishers give thousands of them few threads.

pub mod client;
pub mod packet;
pub mod peer;
pub mod pictures;
pub mod sending;
pub mod signal;
pub mod sound;

pub use client::{Client, Seen};
pub use peer::{Codecs, Maker, Output, Peer, PeerError, Role};
pub use sending::{Content, Film, Sending};

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
};

/// The address of this machine from which `remote` is reached; nothing is sent.
///
/// # Errors
/// When there is no way to it.
pub fn local_ip(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}
