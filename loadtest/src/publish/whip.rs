//! Publishers by WHIP: one thread, a session and a socket for each stream, and str0m to packetise and seal.
//!
//! The thread sleeps in an epoll to the next due time of all streams, so that what servers ask for (packets again, a
//! keyframe, ICE) is answered at once. How late messages leave is measured, and how many RTP packets that are. Times are
//! nanoseconds on [`crate::clock`].

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::Builder,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use str0m::{Event, IceConnectionState};

use super::{PATIENCE, PublishError, Published, Publishers, Window};
use crate::{
    clock,
    media::Programme,
    play::{Sources, connect},
    rtc::{Codecs, Maker, Output, Peer, Role, Sending, local_ip, packet::Rtp, signal},
    url::Address,
};

const DATAGRAM_BYTES_MAX: usize = 2_048;
/// The longest sleep, so that a stop is seen.
const SLEEP: Duration = Duration::from_millis(20);
const EVENTS_AT_ONCE: usize = 1_024;
/// While it waits for its connection a publisher looks so often.
const LOOK: Duration = Duration::from_millis(5);

struct Publisher {
    socket: UdpSocket,
    peer: Peer,
    sending: Sending,
    url: String,
    /// When the peer wants to be called.
    call_ns: u64,
    /// Packets of RTP that left.
    packets: u64,
    /// It is over.
    gone: bool,
}

/// Connects `count` publishers, one after the other, and starts to send.
///
/// # Errors
/// When one of them is not let in.
pub fn start(
    address: &Address,
    count: u64,
    programme: &Programme,
    run: u64,
    window: Arc<Window>,
    stopped: &AtomicBool,
) -> Result<Publishers, PublishError> {
    let error = |url: &str, reason: String| PublishError { url: url.to_owned(), reason };
    let all = |reason: String| error(&address.to_string(), reason);
    let remote = address.resolve().map_err(|e| all(e.to_string()))?;
    let sources = Sources::new(remote, count, None);
    let maker = Maker::new(
        Role::Publish,
        Codecs { sound: programme.pictures_alone().1.is_some(), ..Codecs::COMMON },
        true,
    );
    let mut publishers = Vec::new();
    for n in 0..count {
        let url = address.of(n);
        if stopped.load(Ordering::Relaxed) {
            return Err(error(&url, "interrupted".to_owned()));
        }
        let sending = Sending::numbered(programme, run, n as u32).map_err(|e| error(&url, e))?;
        let publisher = Publisher::connect(address, n, remote, sources.of(n), &maker, sending);
        publishers.push(publisher.map_err(|e| error(&url, e))?);
        // Those that are there already live on meanwhile.
        for earlier in &mut publishers {
            earlier.attend().map_err(|e| error(&earlier.url, e))?;
        }
    }
    let poll = Poll::new().map_err(|e| all(e.to_string()))?;
    for (n, publisher) in publishers.iter().enumerate() {
        let fd = publisher.socket.as_raw_fd();
        let registered = poll.registry().register(&mut SourceFd(&fd), Token(n), Interest::READABLE);
        registered.map_err(|e| all(connect::advice(&e)))?;
    }
    // Streams begin one after the other, so that their keyframes do not all come at once.
    let begin = clock::now();
    let step = programme.group_us() * 1_000 / count.max(1);
    for (n, publisher) in (0_u64..).zip(&mut publishers) {
        publisher.sending.begin(begin + n * step);
    }
    let (sent, stop, ended) = (Arc::default(), Arc::default(), Arc::default());
    let loop_ = Loop {
        publishers,
        poll,
        window,
        sent: Arc::clone(&sent),
        stop: Arc::clone(&stop),
        ended: Arc::clone(&ended),
        published: Published { count, ..Published::default() },
    };
    let thread = Builder::new().name("publish".to_owned()).spawn(move || loop_.run());
    Ok(Publishers { sent, stop, ended, thread: Some(thread.map_err(|e| all(e.to_string()))?) })
}

struct Loop {
    publishers: Vec<Publisher>,
    poll: Poll,
    window: Arc<Window>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    ended: Arc<Mutex<Vec<String>>>,
    published: Published,
}

impl Loop {
    fn run(mut self) -> Published {
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        // One entry for each: whatever of media and calls comes first.
        let mut due: BinaryHeap<Reverse<(u64, usize)>> = self
            .publishers
            .iter()
            .enumerate()
            .map(|(n, publisher)| Reverse((publisher.due_ns(), n)))
            .collect();
        while !self.stop.load(Ordering::Relaxed) {
            let now = clock::now();
            let first = due.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
            if first <= now {
                due.pop().into_iter().for_each(|Reverse((_, n))| {
                    if let Some(at) = self.attempt(n, |publisher, loop_| publisher.work(now, loop_)) {
                        due.push(Reverse((at, n)));
                    }
                });
                continue;
            }
            let wait = SLEEP.min(Duration::from_nanos(first - now));
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Nothing works without it, and nothing but a mistake here makes it fail.
                Err(error) => panic!("epoll failed: {error}"),
            }
            for event in &events {
                // An earlier call than the one that is due is rare and short: it waits for that one.
                self.attempt(event.token().0, |publisher, _| publisher.attend());
            }
        }
        for publisher in self.publishers.iter_mut().filter(|publisher| !publisher.gone) {
            publisher.peer.close();
            // The last words; nobody waits for an answer.
            let _ = publisher.drive();
        }
        self.published.ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.published
    }

    /// Does something with a publisher; when it wants to be called, if it is still there.
    fn attempt(
        &mut self,
        n: usize,
        what: impl FnOnce(&mut Publisher, &mut Counters<'_>) -> Result<(), String>,
    ) -> Option<u64> {
        let publisher = self.publishers.get_mut(n).filter(|publisher| !publisher.gone)?;
        let mut counters =
            Counters { published: &mut self.published, window: &self.window, sent: &self.sent };
        let Err(reason) = what(publisher, &mut counters) else { return Some(publisher.due_ns()) };
        publisher.gone = true;
        let url = publisher.url.clone();
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{url}: {reason}"));
        None
    }
}

struct Counters<'a> {
    published: &'a mut Published,
    window: &'a Window,
    sent: &'a AtomicU64,
}

impl Publisher {
    /// Asks, and waits until media can flow.
    fn connect(
        address: &Address,
        n: u64,
        remote: SocketAddr,
        from: Option<Ipv4Addr>,
        maker: &Maker,
        sending: Sending,
    ) -> Result<Self, String> {
        let told = |error: io::Error| connect::advice(&error);
        let local = match from {
            Some(ip) => ip.into(),
            None => local_ip(remote).map_err(told)?,
        };
        let socket = UdpSocket::bind((local, 0)).map_err(told)?;
        let here = socket.local_addr().map_err(told)?;
        let (mut peer, offer) = maker.peer(here, Instant::now()).map_err(|error| error.to_string())?;
        let request = signal::offer(address.authority(), &address.target(n), None, &offer);
        let reply = signal::exchange(remote, from, &request, PATIENCE).map_err(|error| error.to_string())?;
        let answer = reply.answer().map_err(|error| error.to_string())?;
        peer.answer(answer).map_err(|error| error.to_string())?;
        if !peer.takes().0 {
            return Err("the server does not take H.264".to_owned());
        }
        socket.set_nonblocking(true).map_err(told)?;
        let url = address.of(n);
        let mut publisher = Self { socket, peer, sending, url, call_ns: 0, packets: 0, gone: false };
        let deadline = Instant::now() + PATIENCE;
        while !publisher.peer.is_connected() {
            if Instant::now() > deadline {
                return Err("ICE and DTLS were not done in time".to_owned());
            }
            publisher.attend()?;
            std::thread::sleep(LOOK);
        }
        Ok(publisher)
    }

    fn due_ns(&self) -> u64 {
        self.call_ns.min(self.sending.due_ns())
    }

    /// Sends what is due.
    fn work(&mut self, now: u64, counters: &mut Counters<'_>) -> Result<(), String> {
        let at = self.sending.due_ns();
        if at > now {
            return self.drive();
        }
        let steady = counters.window.holds(now);
        if steady {
            counters.published.late.record_ns(now - at);
        }
        let (before, sent) = (self.packets, self.sending.send(&mut self.peer, now, clock::instant(now))?);
        self.drive()?;
        counters.sent.fetch_add(sent, Ordering::Relaxed);
        if steady {
            counters.published.messages += sent;
            counters.published.packets += self.packets - before;
        }
        Ok(())
    }

    /// Hears what came, and answers.
    fn attend(&mut self) -> Result<(), String> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((bytes, from)) => {
                    let datagram = buffer.get(..bytes).unwrap_or_default();
                    let heard = self.peer.receive(clock::instant(clock::now()), from, datagram);
                    heard.map_err(|error| error.to_string())?;
                    self.drive()?;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    // A closed port is ICE's to notice.
                    ErrorKind::Interrupted | ErrorKind::ConnectionRefused => {}
                    _ => return Err(connect::advice(&error)),
                },
            }
        }
        if self.call_ns <= clock::now() { self.drive() } else { Ok(()) }
    }

    fn drive(&mut self) -> Result<(), String> {
        let now = clock::now();
        let (socket, packets, mut end) = (&self.socket, &mut self.packets, None);
        let next = self.peer.drive(clock::instant(now), &mut |output| match output {
            Output::Send { to, bytes } => {
                *packets += u64::from(Rtp::read(bytes).is_some());
                // A full buffer is a lost datagram, which WebRTC is made for.
                let _ = socket.send_to(bytes, to);
            }
            Output::Event(Event::Closed) => end = Some("the server closed the session"),
            Output::Event(Event::IceConnectionStateChange(IceConnectionState::Disconnected)) => {
                end = Some("the server does not answer any more");
            }
            Output::Event(_) => {}
        });
        let next = next.map_err(|error| error.to_string())?;
        self.call_ns = now.saturating_add(clock::nanos(next.saturating_duration_since(clock::instant(now))));
        end.map_or(Ok(()), |end| Err(end.to_owned()))
    }
}
