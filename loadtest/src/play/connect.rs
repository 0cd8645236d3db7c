//! A player's socket: from which address it comes, and what the system says when there are no more.
//!
//! A host has about 28,000 ports for each of its addresses, so players of a server on this machine come from several
//! addresses of 127.0.0.0/8.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections from one address, well below the ports that there are by default: a third stays free for those that
/// linger in TIME_WAIT.
pub const PER_SOURCE: u64 = 8_000;
/// 127.0.1.1 to 127.0.250.250 or so.
const SOURCES_MAX: u64 = 60_000;

/// Where players come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// How many addresses; 0 leaves the choice to the system.
    pub count: u64,
}

impl Sources {
    /// Enough for `connections` to `remote`, or as many as were asked for.
    pub fn new(remote: SocketAddr, connections: u64, asked: Option<u64>) -> Self {
        let loopback = matches!(remote.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let count = match asked {
            _ if !loopback => 0,
            Some(count) => count.min(SOURCES_MAX),
            None => connections.div_ceil(PER_SOURCE).clamp(1, SOURCES_MAX),
        };
        Self { count }
    }

    /// The address of connection `n`: 127.0.1.1 and on.
    pub fn of(&self, n: u64) -> Option<Ipv4Addr> {
        let n = n.checked_rem(self.count)?;
        // Both stay below 251 by SOURCES_MAX.
        Some(Ipv4Addr::new(127, 0, 1 + (n / 250) as u8, 1 + (n % 250) as u8))
    }
}

/// Begins to connect.
///
/// # Errors
/// When the system refuses; [`advice`] knows what to do about it.
pub fn begin(
    remote: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket =
        Socket::new(Domain::for_address(remote), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Connects and waits for it, `patience` at most.
///
/// # Errors
/// As [`begin`], and when nobody answers in time.
pub fn wait(remote: SocketAddr, source: Option<Ipv4Addr>, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&remote.into(), patience)?;
    Ok(socket.into())
}

/// What happened, and what to change on this machine, in one sentence.
pub fn advice(error: &io::Error) -> String {
    let setting = |path: &str| {
        let value = fs::read_to_string(path).unwrap_or_default();
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            "no more descriptors: raise `ulimit -n` (hard limit too) before starting this tool".to_owned()
        }
        Some(libc::ENFILE) => {
            format!(
                "the machine has no more descriptors: raise fs.file-max (now {})",
                setting("/proc/sys/fs/file-max")
            )
        }
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => format!(
            "no more ports: raise --sources, or widen net.ipv4.ip_local_port_range (now {})",
            setting("/proc/sys/net/ipv4/ip_local_port_range")
        ),
        Some(libc::ENOBUFS | libc::ENOMEM) => format!(
            "the machine has no memory for more sockets: raise net.ipv4.tcp_mem (now {} pages)",
            setting("/proc/sys/net/ipv4/tcp_mem")
        ),
        Some(libc::ETIMEDOUT) => format!(
            "connecting took too long: raise net.core.somaxconn (now {}) and the server's backlog, or lower --ramp",
            setting("/proc/sys/net/core/somaxconn")
        ),
        Some(libc::ECONNREFUSED) => "nobody listens there".to_owned(),
        Some(libc::ECONNRESET) => "the server reset the connection".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn players_of_this_machine_come_from_as_many_addresses_as_they_need() {
        let here = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(Sources::new(here, 500, None).count, 1);
        let many = Sources::new(here, 50_000, None);
        assert_eq!(many.count, 7);
        assert_eq!(many.of(0), Some(Ipv4Addr::new(127, 0, 1, 1)));
        assert_eq!(many.of(6), Some(Ipv4Addr::new(127, 0, 1, 7)));
        assert_eq!(many.of(7), many.of(0));
        let last = Sources { count: SOURCES_MAX }.of(SOURCES_MAX - 1);
        assert_eq!(last, Some(Ipv4Addr::new(127, 0, 240, 250)));
        assert_eq!(Sources::new(SocketAddr::from(([10, 0, 0, 1], 80)), 50_000, None).of(3), None);
        assert_eq!(Sources::new(here, 50_000, Some(0)).of(3), None);
    }

    #[test]
    fn a_connection_comes_from_its_source() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let remote = listener.local_addr().expect("its address");
        let _player = begin(remote, Some(Ipv4Addr::new(127, 0, 1, 9)), Some(65_536)).expect("a connection");
        let (_, peer) = listener.accept().expect("the player");
        assert_eq!(peer.ip().to_string(), "127.0.1.9");
    }

    #[test]
    fn refusals_come_with_advice() {
        let told = |code| advice(&io::Error::from_raw_os_error(code));
        assert!(told(libc::EMFILE).contains("ulimit -n"));
        assert!(told(libc::EADDRNOTAVAIL).contains("ip_local_port_range"));
        assert!(told(libc::ETIMEDOUT).contains("somaxconn"));
    }
}
