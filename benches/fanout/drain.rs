//! The receiving end of many connections: one thread that takes what comes and throws it away.
//!
//! It should cost little and the same for whoever sends: one epoll, and one `recv` per arrival that discards in the kernel
//! (`MSG_TRUNC`) instead of copying. Units: bytes.

use std::{
    io,
    net::TcpStream,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use socket2::SockRef;

/// More than a socket buffer holds, so that one call takes all.
const TAKE_MAX: usize = 16 << 20;

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    closed: AtomicUsize,
    stop: AtomicBool,
}

/// The sockets and their thread, until it is dropped.
pub struct Drain {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drain {
    /// Takes over `streams`; the thread runs on `cpu` where that is possible.
    pub fn start(streams: Vec<TcpStream>, cpu: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (n, stream) in streams.iter().enumerate() {
            stream.set_nonblocking(true)?;
            poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), Token(n), Interest::READABLE)?;
        }
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name("drain".to_owned()).spawn(move || {
            core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
            run(poll, &streams, &seen);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Bytes that came so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Connections that the other end has closed.
    pub fn closed(&self) -> usize {
        self.shared.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn run(mut poll: Poll, streams: &[TcpStream], shared: &Shared) {
    let mut events = Events::with_capacity(streams.len().max(1));
    // Never written to, so it takes address space only.
    let mut buffer: Vec<u8> = Vec::with_capacity(TAKE_MAX);
    while !shared.stop.load(Ordering::Relaxed) {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => panic!("epoll failed: {error}"),
        }
        let mut bytes = 0;
        for event in &events {
            match take_all(&streams[event.token().0], &mut buffer) {
                Some(taken) => bytes += taken,
                None => drop(shared.closed.fetch_add(1, Ordering::Relaxed)),
            }
        }
        shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// `None` at the end of the stream. What comes later makes another event, so one call that is not filled is enough.
fn take_all(stream: &TcpStream, buffer: &mut Vec<u8>) -> Option<u64> {
    let mut bytes = 0;
    loop {
        let room = buffer.spare_capacity_mut();
        match SockRef::from(stream).recv_with_flags(room, libc::MSG_TRUNC | libc::MSG_DONTWAIT) {
            Ok(0) => return None,
            Ok(taken) => {
                bytes += taken as u64;
                if taken < TAKE_MAX {
                    return Some(bytes);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(bytes),
            Err(_) => return None,
        }
    }
}
