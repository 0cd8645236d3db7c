//! Accepts connections on every shard at once.
//!
//! Each shard has its own listening socket on the same port (`SO_REUSEPORT`), and the kernel spreads connections among
//! them. Invariant: accepting goes on whatever a single accept comes to.

use std::{
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use glommio::{net::TcpListener, timer};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

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
    /// That of `listener`, which keeps it open.
    fd: RawFd,
}

/// Begins to listen at `address`, beside the other shards: connections wait from now on.
///
/// # Errors
/// What the system says.
pub fn open(address: SocketAddr, options: SocketOptions) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // `::` serves IPv4 as well.
        socket.set_only_v6(false)?;
    }
    tune(&SockRef::from(&socket), options)?;
    // Inherited by accepted sockets, as what was tuned.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn tune(socket: &SockRef<'_>, options: SocketOptions) -> io::Result<()> {
    if options.send_buffer > 0 {
        socket.set_send_buffer_size(options.send_buffer)?;
    }
    // Zero is the kernel's own bound.
    socket.set_tcp_notsent_lowat(u32::try_from(options.unsent_max).unwrap_or(u32::MAX))
}

impl Listener {
    /// Accepts on this executor what comes to a socket that listens.
    pub fn over(socket: socket2::Socket) -> Self {
        let fd = OwnedFd::from(socket).into_raw_fd();
        // SAFETY: the descriptor is owned, and its ownership passes to the listener.
        #[allow(unsafe_code)]
        let listener = unsafe { TcpListener::from_raw_fd(fd) };
        Self { listener, fd }
    }

    /// Connections that come from now on get these.
    ///
    /// # Errors
    /// What the system says.
    pub fn retune(&self, options: SocketOptions) -> io::Result<()> {
        // SAFETY: the descriptor belongs to `self.listener`, which closes it only when it is dropped, with `self`.
        #[allow(unsafe_code)]
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        tune(&SockRef::from(&fd), options)
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
