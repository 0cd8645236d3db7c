//! Accepts connections on every shard at once.
//!
//! Each shard has its own listening socket on the same port (`SO_REUSEPORT`), and the kernel spreads connections among
//! them. Invariant: accepting goes on whatever a single accept comes to.

use std::{
    io,
    net::SocketAddr,
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    time::{Duration, Instant},
};

use glommio::{net::TcpListener, timer};
use socket2::{Domain, Protocol, TcpKeepalive, Type};

use super::{seldom::Seldom, socket::Socket};

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// How long to wait when the process is out of descriptors: others close meanwhile.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Peers that vanished are noticed after two minutes, also those that have nothing to say and nothing to take.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// What accepted sockets get.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Bytes of the kernel's send buffer; zero leaves it to the kernel.
    pub send_buffer: usize,
    /// Bytes that the kernel takes beyond what is on its way to the peer; zero leaves it to the kernel.
    pub unsent_max: usize,
}

/// One shard's listening socket.
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Listens at `address`, beside the other shards.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // `::` serves IPv4 as well.
            socket.set_only_v6(false)?;
        }
        if options.send_buffer > 0 {
            // Inherited by accepted sockets.
            socket.set_send_buffer_size(options.send_buffer)?;
        }
        if options.unsent_max > 0 {
            socket.set_tcp_notsent_lowat(u32::try_from(options.unsent_max).unwrap_or(u32::MAX))?;
        }
        // Inherited as well, all of these.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&KEEPALIVE)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let fd = OwnedFd::from(socket).into_raw_fd();
        // SAFETY: the descriptor is owned, and its ownership passes to the listener.
        #[allow(unsafe_code)]
        let listener = unsafe { TcpListener::from_raw_fd(fd) };
        Ok(Self { listener })
    }

    /// Where it listens: the port that the system chose, where none was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr().map_err(io::Error::from)
    }

    /// Gives each connection to `take`, for ever.
    pub async fn run(&self, mut take: impl FnMut(Socket)) {
        let failures = Seldom::default();
        loop {
            // A backlog that never empties must leave time for those who are in.
            glommio::yield_if_needed().await;
            match self.listener.accept().await {
                Ok(stream) => match stream.peer_addr() {
                    Ok(peer) => take(Socket::accepted(stream, peer)),
                    // It was gone before it was here.
                    Err(error) => tracing::debug!("a connection came and went: {error}"),
                },
                Err(error) => {
                    if let Some(more) = failures.admit(Instant::now()) {
                        tracing::warn!("accept failed: {} (and {more} times before)", io::Error::from(error));
                    }
                    timer::sleep(OUT_OF_DESCRIPTORS).await;
                }
            }
        }
    }
}

/// Whether nobody else listens at `address`. The shards' own sockets share the port, so that two servers would, too,
/// without noticing.
///
/// # Errors
/// What the system says, `AddrInUse` above all.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1)
}
