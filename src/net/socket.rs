//! One TCP connection, plain or TLS, shared by the task that reads it and the stream that writes it.
//!
//! Reads go through one buffer of the shard, so that an idle connection holds none of its own. Writes are one immediate
//! `sendmsg`; only a full socket waits on the ring. A socket can leave its executor and go on at another.
//! It counts what passes: bytes of the wire, TLS's own included.
//! Invariant: no borrow outlives a call, so reader and writer may be polled by different tasks of one shard.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    pin::Pin,
    ptr,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use shards::stream::Sink;
use socket2::SockRef;

use super::{tls::Tls, traffic};

/// One read takes at most this much: a whole picture of a 4 Mbit/s stream in two or three.
pub const READ_MAX: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_MAX].into_boxed_slice());
}

/// See the module.
pub struct Socket {
    /// That of `stream`, which keeps it open.
    fd: RawFd,
    tls: Option<RefCell<Box<Tls>>>,
    stream: RefCell<TcpStream>,
    peer: SocketAddr,
    /// On behalf of whom it is used.
    ip: Cell<IpAddr>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

/// A socket between two executors. Dropped, it closes.
pub struct Moving {
    fd: OwnedFd,
    tls: Option<Box<Tls>>,
    peer: SocketAddr,
    ip: IpAddr,
    traffic: Traffic,
}

/// Bytes of the wire since a connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the peer.
    pub received: u64,
    /// To the peer.
    pub sent: u64,
}

impl Socket {
    /// A connection that this executor has accepted. An IPv4 peer of an IPv6 listener is known by its IPv4 address, so
    /// that it is one peer to limits and logs whichever port it uses.
    pub fn accepted(stream: TcpStream, peer: SocketAddr) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let socket = Self::new(stream, None, peer, Traffic::default());
        // The ring's accept asks for it, the immediate one does not; children of hooks must not inherit players.
        let _ = socket.with_fd(|fd| SockRef::from(&fd).set_cloexec(true));
        socket
    }

    fn new(stream: TcpStream, tls: Option<Box<Tls>>, peer: SocketAddr, traffic: Traffic) -> Self {
        Self {
            fd: stream.as_raw_fd(),
            tls: tls.map(RefCell::new),
            stream: RefCell::new(stream),
            peer,
            ip: Cell::new(peer.ip()),
            received: Cell::new(traffic.received),
            sent: Cell::new(traffic.sent),
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A proxy that is believed says that the connection is this client's.
    pub fn set_peer(&mut self, peer: SocketAddr) {
        self.peer = peer;
        self.ip.set(peer.ip());
    }

    /// On behalf of whom it is used now: the peer's address, unless a proxy that is believed says otherwise.
    pub fn ip(&self) -> IpAddr {
        self.ip.get()
    }

    /// On behalf of whom it is used from now on.
    pub fn set_ip(&self, ip: IpAddr) {
        self.ip.set(ip);
    }

    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        Traffic { received: self.received.get(), sent: self.sent.get() }
    }

    fn note_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        traffic::note_received(bytes);
    }

    fn note_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
        traffic::note_sent(bytes);
    }

    /// From here on the connection speaks TLS. `received` is what was read of it already, and is plaintext afterwards.
    ///
    /// # Errors
    /// When the first record is no TLS. The alert that says so waits to be flushed.
    pub fn start_tls(
        &mut self,
        config: &std::sync::Arc<rustls::ServerConfig>,
        received: &mut BytesMut,
    ) -> io::Result<()> {
        let tls = self.tls.insert(RefCell::new(Box::new(Tls::new(config)?)));
        let cipher = received.split();
        tls.get_mut().receive(&cipher, received)
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A descriptor to [`depart`](Self::depart) with.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.with_fd(|fd| fd.try_clone_to_owned())
    }

    /// Leaves this executor. A stream gives its descriptor away only as a [`duplicate`](Self::duplicate); the original
    /// closes with the stream.
    pub fn depart(self, fd: OwnedFd) -> Moving {
        let (traffic, ip) = (self.traffic(), self.ip());
        let mut tls = self.tls.map(RefCell::into_inner);
        tls.iter_mut().for_each(|tls| tls.unwatch());
        Moving { fd, tls, peer: self.peer, ip, traffic }
    }

    fn with_fd<R>(&self, act: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        // SAFETY: the descriptor belongs to `self.stream`, which closes it only when it is dropped, with `self`.
        #[allow(unsafe_code)]
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        act(fd)
    }

    /// Reads what is there to the end of `into`; zero at the end of the stream.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                if let Some(tls) = &self.tls {
                    // A handshake has answers, and so have mistakes: they go before more is awaited.
                    self.flush_tls(cx, &mut tls.borrow_mut())?;
                    tls.borrow_mut().watch(cx.waker());
                    if tls.borrow().is_closed() {
                        return Poll::Ready(Ok(0));
                    }
                }
                let read = ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, scratch))?;
                self.note_received(read);
                let Some(tls) = self.tls.as_ref().filter(|_| read > 0) else {
                    into.extend_from_slice(&scratch[..read]);
                    return Poll::Ready(Ok(read));
                };
                let mut tls = tls.borrow_mut();
                let before = into.len();
                if let Err(error) = tls.receive(&scratch[..read], into) {
                    self.flush_tls(cx, &mut tls)?;
                    return Poll::Ready(Err(error));
                }
                if into.len() > before {
                    return Poll::Ready(Ok(into.len() - before));
                }
            }
        })
    }

    /// Reads what is there at this moment to the end of `into`, and does not ask the ring to tell when there is more.
    /// `None`: there is nothing, or it takes more than a look (TLS).
    pub fn read_now(&self, into: &mut BytesMut) -> Option<io::Result<usize>> {
        if self.tls.is_some() {
            return None;
        }
        let read: io::Result<usize> = SCRATCH.with_borrow_mut(|scratch| {
            let room: &mut [u8] = scratch;
            // SAFETY: bytes may be seen as bytes that are perhaps not written; `recv` only writes to them.
            #[allow(unsafe_code)]
            let room = unsafe { &mut *(ptr::from_mut(room) as *mut [MaybeUninit<u8>]) };
            let read = self.with_fd(|fd| SockRef::from(&fd).recv_with_flags(room, libc::MSG_DONTWAIT))?;
            into.extend_from_slice(&scratch[..read]);
            self.note_received(read);
            Ok(read)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            read => Some(read),
        }
    }

    /// Reads what is there to the end of `into`; zero at the end of the stream.
    pub async fn read(&self, into: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, into)).await
    }

    /// Sends all of `bytes`.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match poll_fn(|cx| self.poll_send(cx, bytes)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => bytes = &bytes[sent..],
            }
        }
        self.flush().await
    }

    /// Waits until nothing is left in between.
    pub async fn flush(&self) -> io::Result<()> {
        let Some(tls) = &self.tls else { return Ok(()) };
        poll_fn(|cx| self.poll_flush_tls(cx, &mut tls.borrow_mut())).await
    }

    /// Says that nothing more comes. What was sent still arrives.
    pub async fn finish(&self) {
        if let Some(tls) = &self.tls {
            tls.borrow_mut().close();
            // The peer may be gone; there is nobody to tell.
            let _ = self.flush().await;
        }
        let _ = self.with_fd(|fd| SockRef::from(&fd).shutdown(std::net::Shutdown::Write));
    }

    /// Makes the close that follows an abort: what is still in the kernel's buffer is thrown away.
    pub fn abort_on_close(&self) {
        let _ = self.with_fd(|fd| SockRef::from(&fd).set_linger(Some(std::time::Duration::ZERO)));
    }

    /// Sends what TLS has ready, and arms the ring for the rest.
    fn flush_tls(&self, cx: &mut Context<'_>, tls: &mut Tls) -> io::Result<()> {
        match self.poll_flush_tls(cx, tls) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn poll_flush_tls(&self, cx: &mut Context<'_>, tls: &mut Tls) -> Poll<io::Result<()>> {
        while let Some(ready) = tls.ready() {
            let sent = ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, ready))?;
            self.note_sent(sent);
            tls.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    fn send_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = self.with_fd(|fd| match slices {
            [one] => SockRef::from(&fd).send_with_flags(one, FLAGS),
            many => SockRef::from(&fd).send_vectored_with_flags(many, FLAGS),
        })?;
        self.note_sent(sent);
        Ok(sent)
    }
}

impl Sink for Socket {
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.send_now(slices) };
        let mut tls = tls.borrow_mut();
        while let Some(ready) = tls.ready() {
            let sent = self.send_now(&[IoSlice::new(ready)])?;
            tls.advance(sent);
        }
        let taken = tls.write(slices)?;
        while let Some(ready) = tls.ready() {
            match self.send_now(&[IoSlice::new(ready)]) {
                Ok(sent) => tls.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // It counts as sent: the task that reads sends it on, should nothing more come from here.
                    tls.wake();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    fn poll_send(&self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        let Some(tls) = &self.tls else {
            let sent = ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, head))?;
            self.note_sent(sent);
            return Poll::Ready(Ok(sent));
        };
        let mut tls = tls.borrow_mut();
        ready!(self.poll_flush_tls(cx, &mut tls))?;
        let taken = tls.write(&[IoSlice::new(head)])?;
        self.flush_tls(cx, &mut tls)?;
        Poll::Ready(Ok(taken))
    }
}

impl Moving {
    /// Goes on at this executor.
    pub fn land(self) -> Socket {
        // SAFETY: the descriptor is owned, and its ownership passes to the stream.
        #[allow(unsafe_code)]
        let stream = unsafe { TcpStream::from_raw_fd(self.fd.into_raw_fd()) };
        let socket = Socket::new(stream, self.tls, self.peer, self.traffic);
        socket.set_ip(self.ip);
        socket
    }
}
