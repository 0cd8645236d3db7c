//! Handing a port over: connections that come go to the sockets of the process that takes it over, while the process that had it
//! still accepts what it has been given.
//!
//! Sockets that share a port by `SO_REUSEPORT` are a group, numbered in the order in which they began to listen. A program of one
//! instruction tells the kernel which of them gets a new connection. When one closes, the last takes its number; a number that
//! is no more means that the kernel chooses by itself. Invariant: from [`Steering::begin`] on no socket that listened before
//! gets a new connection, for as long as no fewer sockets took over than there were.

use std::{io, net::SocketAddr, os::fd::AsRawFd};

/// A port that is being taken over. Dropped, it leaves the choice to the kernel again.
#[derive(Debug)]
pub struct Steering {
    socket: socket2::Socket,
}

impl Steering {
    /// From now on new connections to the group of `socket` go to its socket number `index`.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(socket: &socket2::Socket, index: u32) -> io::Result<Self> {
        let socket = socket.try_clone()?;
        // BPF_RET | BPF_K: the number.
        let mut code = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: index }];
        let program = libc::sock_fprog { len: 1, filter: code.as_mut_ptr() };
        set(&socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)?;
        Ok(Self { socket })
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        // Fails only where there is no program any more.
        let _ = set(&self.socket, libc::SO_DETACH_REUSEPORT_BPF, &0_i32);
    }
}

fn set<T>(socket: &socket2::Socket, option: i32, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: `value` points to `len` bytes that live until the call returns, of the type that the option asks for; a program's
    // instructions live as long, and the kernel copies them.
    #[allow(unsafe_code)]
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, len) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many sockets listen at `address` on this machine, of whichever process.
///
/// # Errors
/// When `/proc/net` cannot be read.
pub fn listeners_at(address: SocketAddr) -> io::Result<u32> {
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    Ok(count(&std::fs::read_to_string(table)?, address))
}

/// Lines of the kernel's table that are listeners at `address`: the address in hexadecimal, each group of four bytes in the
/// machine's order, and state 10.
fn count(table: &str, address: SocketAddr) -> u32 {
    let octets = match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut wanted = String::new();
    for group in octets.chunks_exact(4) {
        let group: [u8; 4] = group.try_into().unwrap_or_default();
        wanted.push_str(&format!("{:08X}", u32::from_ne_bytes(group)));
    }
    wanted.push_str(&format!(":{:04X}", address.port()));
    let is_listener = |line: &&str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next() == Some(wanted.as_str()) && words.nth(1) == Some("0A")
    };
    u32::try_from(table.lines().filter(is_listener).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4 1 0 100 0 0 10 0
nonsense
";
        assert_eq!(count(table, ([127, 0, 0, 1], 8080).into()), 2);
        assert_eq!(count(table, ([0, 0, 0, 0], 8080).into()), 1);
        assert_eq!(count(table, ([127, 0, 0, 1], 8081).into()), 0);
        let table = "0: 00000000000000000000000001000000:0050 0:0 0A 0:0";
        assert_eq!(count(table, "[::1]:80".parse().unwrap()), 1);
    }

    fn listen(address: SocketAddr) -> socket2::Socket {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(64).unwrap();
        socket
    }

    /// Two sockets are there, two more take over: not one connection of many comes to the old ones any more, while they close
    /// and when they are gone; and none is refused.
    #[test]
    fn the_new_sockets_get_everything_from_the_moment_they_take_over() {
        let old_first = listen(([127, 0, 0, 1], 0).into());
        let address = old_first.local_addr().unwrap().as_socket().unwrap();
        let old = [old_first, listen(address)];
        let before = listeners_at(address).unwrap();
        assert_eq!(before, 2);
        let new: Vec<TcpListener> = (0..2).map(|_| listen(address).into()).collect();
        let steering =
            Steering::begin(&socket2::SockRef::from(&new[0]).try_clone().unwrap(), before).unwrap();
        let connect =
            || (0..30).map(|_| TcpStream::connect(address).expect("not refused")).collect::<Vec<_>>();
        let mut accepted = 0;
        let mut take = || {
            for listener in &new {
                listener.set_nonblocking(true).unwrap();
                while listener.accept().is_ok() {
                    accepted += 1;
                }
            }
            accepted
        };
        let _clients = connect();
        assert_eq!(take(), 30);
        for (closed, socket) in old.into_iter().enumerate() {
            drop(socket);
            let _clients = connect();
            assert_eq!(take(), 60 + 30 * closed);
        }
        drop(steering);
        let _clients = connect();
        assert_eq!(take(), 120);
    }
}
