//! One shard's UDP socket: datagrams in by the batch, out one at a time or as a train of equal ones (GSO).
//!
//! glommio tells when there is something to read; reading and sending are the kernel's own calls through quinn-udp.
//! glommio's `send_to` is not used: when the kernel's buffer is full it sends empty datagrams. Nothing here waits to
//! send: a datagram that does not fit into the kernel's buffer is lost, as on any network. Sizes are bytes.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd},
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};

use super::{
    traffic,
    trains::{self, Train, Way},
};

/// Room for what one receive gives for one sender: the kernel joins up to this much (GRO).
const DATAGRAM_ROOM: usize = 64 * 1024;

/// See the module.
pub struct Udp {
    socket: UdpSocket,
    /// A duplicate, to learn when there is something to read.
    watch: glommio::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    inbox: RefCell<Inbox>,
}

struct Inbox {
    room: Box<[u8]>,
    metas: Box<[RecvMeta]>,
}

/// Where a datagram came from and where it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The peer.
    pub peer: SocketAddr,
    /// The address of this machine that the peer used, where the kernel tells.
    pub local: Option<IpAddr>,
}

/// Binds a socket at `address`, with kernel buffers of up to `buffer` bytes; beside others of this process where `shared`.
///
/// # Errors
/// What the system says, `AddrInUse` above all.
pub fn bind(address: SocketAddr, buffer: usize, shared: bool) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `::` serves IPv4 as well.
        socket.set_only_v6(false)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    // The kernel may give less; that is no reason not to start.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    socket.bind(&address.into())?;
    Ok(UdpSocket::from(socket))
}

impl Udp {
    /// Serves a bound socket on this executor.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local = socket.local_addr()?;
        let watch = OwnedFd::from(socket.try_clone()?);
        // SAFETY: the descriptor is owned, and its ownership passes to glommio's socket.
        #[allow(unsafe_code)]
        let watch = unsafe { glommio::net::UdpSocket::from_raw_fd(watch.into_raw_fd()) };
        let inbox = Inbox {
            room: vec![0; BATCH_SIZE * DATAGRAM_ROOM].into_boxed_slice(),
            metas: vec![RecvMeta::default(); BATCH_SIZE].into_boxed_slice(),
        };
        Ok(Self { socket, watch, state, local, inbox: RefCell::new(inbox) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// What the system says.
    pub async fn readable(&self) -> io::Result<()> {
        let mut byte = [0];
        self.watch.peek_from(&mut byte).await.map(drop).map_err(io::Error::from)
    }

    /// Gives what is there, at most one batch, to `take`, datagram by datagram; how many there were. Zero: there is
    /// nothing more.
    ///
    /// # Errors
    /// What the system says, `WouldBlock` excepted.
    pub fn receive(&self, mut take: impl FnMut(Route, &[u8])) -> io::Result<usize> {
        let inbox = &mut *self.inbox.borrow_mut();
        let mut slices: Vec<IoSliceMut<'_>> =
            inbox.room.chunks_mut(DATAGRAM_ROOM).map(IoSliceMut::new).collect();
        let received = match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut inbox.metas) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        drop(slices);
        let mut count = 0;
        for (room, meta) in inbox.room.chunks(DATAGRAM_ROOM).zip(inbox.metas.iter()).take(received) {
            let route = Route {
                peer: SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port()),
                local: meta.dst_ip.map(|ip| ip.to_canonical()),
            };
            let joined = room.get(..meta.len).unwrap_or_default();
            traffic::note_received(joined.len());
            // Nobody can be answered there.
            if route.peer.port() == 0 {
                continue;
            }
            for datagram in joined.chunks(meta.stride.max(1)) {
                take(route, datagram);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Sends `contents` along `route`: one datagram, or several of `segment` bytes each, of which the last may be shorter.
    ///
    /// # Errors
    /// What the system says: `WouldBlock` when the kernel's buffer is full.
    pub fn send(&self, route: Route, contents: &[u8], segment: Option<usize>) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.outward(route.peer),
            ecn: None,
            contents,
            segment_size: segment,
            src_ip: route.local.map(|ip| self.outward((ip, 0).into()).ip()),
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)?;
        traffic::note_sent(contents.len());
        Ok(())
    }

    /// Sends trains that lie one behind the other in `contents`, in as few calls as can be; how many left.
    ///
    /// # Errors
    /// What the system says when none left: `WouldBlock` when the kernel's buffer is full.
    pub fn send_trains(&self, way: &Way, contents: &[u8], trains: &[Train]) -> io::Result<usize> {
        let from = way.from.map(|ip| self.outward((ip, 0).into()).ip());
        let left = trains::send(
            self.socket.as_fd(),
            &Way { to: self.outward(way.to), from, ..*way },
            contents,
            trains,
        )?;
        traffic::note_sent(trains.iter().take(left).map(|train| train.bytes).sum());
        Ok(left)
    }

    /// The most datagrams that one [`send`](Self::send) takes.
    pub fn segments_max(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    /// An IPv4 address as a socket of IPv6 knows it.
    fn outward(&self, address: SocketAddr) -> SocketAddr {
        match (self.local, address.ip()) {
            (SocketAddr::V6(_), IpAddr::V4(ip)) => (ip.to_ipv6_mapped(), address.port()).into(),
            _ => address,
        }
    }
}

#[cfg(test)]
mod tests {
    use glommio::LocalExecutorBuilder;

    use super::*;

    /// What one socket sends, another receives, over IPv4 and over a socket that serves both.
    #[test]
    fn trains_of_datagrams_arrive_as_datagrams() {
        for (here, there) in [("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:0", "[::]:0")] {
            let executor = LocalExecutorBuilder::default().io_memory(1 << 20);
            let story = executor.spawn(move || async move {
                let near = Udp::new(bind(here.parse().unwrap(), 1 << 20, false).unwrap()).unwrap();
                let far = Udp::new(bind(there.parse().unwrap(), 1 << 20, false).unwrap()).unwrap();
                let to = SocketAddr::from(([127, 0, 0, 1], far.local_addr().port()));
                near.send(Route { peer: to, local: None }, &[7; 2_500], Some(1_000)).unwrap();
                let mut got = Vec::new();
                while got.len() < 3 {
                    far.readable().await.unwrap();
                    far.receive(|route, datagram| got.push((route, datagram.len()))).unwrap();
                }
                assert_eq!(got.iter().map(|(_, len)| *len).collect::<Vec<_>>(), [1_000, 1_000, 500]);
                let route = got[0].0;
                assert_eq!(route.peer, near.local_addr());
                assert_eq!(route.local, Some(to.ip()));
                far.send(route, b"back", None).unwrap();
                near.readable().await.unwrap();
                assert_eq!(near.receive(|_, datagram| assert_eq!(datagram, b"back")).unwrap(), 1);
                assert_eq!(near.receive(|_, _| ()).unwrap(), 0);
            });
            story.expect("an executor").join().expect("no panic");
        }
    }
}
