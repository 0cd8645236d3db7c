//! A WebRTC client that does what a browser's page does: it publishes or plays on a thread and a socket of its own.
//!
//! For tests, and wherever one is enough; the load test's thousands live elsewhere. What it has seen can be asked at any
//! time. Invariant: the thread ends with the value, and says goodbye to the server unless it is told to vanish.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use str0m::{
    Event, IceConnectionState,
    format::Codec,
    media::{KeyframeRequest, MediaData, Rid},
};

use super::{
    Codecs, Maker, Output, Peer, Role, local_ip,
    packet::{Counts, Rtp},
    sending::{Content, Sending},
    signal::{self, Reply},
};
use crate::{clock, media::marker::Marker, url::Address};

const PATIENCE: Duration = Duration::from_secs(10);
/// The thread looks so often whether it is told something.
const LOOK: Duration = Duration::from_millis(20);
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// Pictures and sounds that are kept for whoever asks.
const KEPT_MAX: usize = 20_000;

const GO_ON: u8 = 0;
const GOODBYE: u8 = 1;
const VANISH: u8 = 2;

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The session's address: WHIP or WHEP.
    pub address: Address,
    /// What is offered.
    pub codecs: Codecs,
    /// A Bearer token.
    pub token: Option<String>,
    /// The address to send from; the one that leads to the server without.
    pub local: Option<IpAddr>,
    /// Datagrams go here instead of where the answer says.
    pub via: Option<SocketAddr>,
    /// What is published; nothing for players.
    pub content: Option<Content>,
}

/// One picture or sound that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Its codec.
    pub codec: Codec,
    /// On the media's clock, microseconds.
    pub time_us: u64,
    /// When it was whole, on [`crate::clock`].
    pub at_ns: u64,
    /// Decoding can begin here.
    pub key: bool,
    /// Nothing is missing before it.
    pub contiguous: bool,
    /// The load test's marker, where there is one.
    pub marker: Option<Marker>,
    /// The frame: pictures in Annex B.
    pub data: Arc<[u8]>,
}

/// What a client has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// ICE and DTLS are done, since this time on [`crate::clock`].
    pub connected_ns: Option<u64>,
    /// When the POST was sent.
    pub asked_ns: u64,
    /// When the first RTP packet came.
    pub first_packet_ns: Option<u64>,
    /// What arrived, oldest first.
    pub arrived: Vec<Arrived>,
    /// Packets of RTP.
    pub packets: u64,
    /// Of these, what was lost and out of order.
    pub counts: Counts,
    /// Requests for a keyframe that came.
    pub keyframe_requests: u64,
    /// The layers that they were for, in their order.
    pub asked_layers: Vec<Rid>,
    /// Pictures and sounds that were sent.
    pub sent: u64,
    /// Why it is over.
    pub end: Option<String>,
}

impl Seen {
    /// Pictures, oldest first.
    pub fn pictures(&self) -> impl Iterator<Item = &Arrived> {
        self.arrived.iter().filter(|arrived| arrived.codec.is_video())
    }

    /// Sounds, oldest first.
    pub fn sounds(&self) -> impl Iterator<Item = &Arrived> {
        self.arrived.iter().filter(|arrived| arrived.codec.is_audio())
    }

    /// The longest time between two pictures after the first `skip`.
    pub fn longest_gap(&self, skip: usize) -> Duration {
        let times: Vec<u64> = self.pictures().skip(skip).map(|picture| picture.at_ns).collect();
        Duration::from_nanos(times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0))
    }
}

/// A client at work.
#[derive(Debug)]
pub struct Client {
    /// What the server said to the offer.
    pub reply: Reply,
    seen: Arc<Mutex<Seen>>,
    told: Arc<AtomicU8>,
    ask: Arc<AtomicBool>,
    remote: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Offers, and goes on by itself when the server has answered.
    ///
    /// # Errors
    /// A sentence: the server's refusal, or what hinders.
    pub fn start(options: Options) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let remote = options.address.resolve().map_err(|e| told(&e))?;
        let local = match options.local {
            Some(ip) => ip,
            None => local_ip(remote).map_err(|e| told(&e))?,
        };
        let socket = UdpSocket::bind((local, 0)).map_err(|e| told(&e))?;
        let here = socket.local_addr().map_err(|e| told(&e))?;
        let role = if options.content.is_some() { Role::Publish } else { Role::Play };
        let (mut peer, offer) =
            Maker::new(role, options.codecs, true).peer(here, Instant::now()).map_err(|e| told(&e))?;
        let seen = Arc::new(Mutex::new(Seen { asked_ns: clock::now(), ..Seen::default() }));
        let request = signal::offer(
            options.address.authority(),
            &options.address.target(0),
            options.token.as_deref(),
            &offer,
        );
        let reply = signal::exchange(remote, None, &request, PATIENCE).map_err(|e| told(&e))?;
        let answer = reply.answer().map_err(|e| told(&e))?;
        let answer = options.via.map_or_else(|| answer.to_owned(), |via| signal::detour(answer, via));
        peer.answer(&answer).map_err(|e| told(&e))?;
        let (told_, ask) = (Arc::new(AtomicU8::new(GO_ON)), Arc::new(AtomicBool::new(false)));
        let sending = options.content.as_ref().map(Sending::new).transpose()?;
        let worker = Worker {
            socket,
            peer,
            sending,
            seen: Arc::clone(&seen),
            told: Arc::clone(&told_),
            ask: Arc::clone(&ask),
        };
        let thread =
            Builder::new().name("webrtc".to_owned()).spawn(move || worker.run()).map_err(|e| told(&e))?;
        Ok(Self { reply, seen, told: told_, ask, remote, thread: Some(thread) })
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at what it has seen without a copy.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for a keyframe.
    pub fn ask_keyframe(&self) {
        self.ask.store(true, Ordering::Relaxed);
    }

    /// A request about the session (PATCH, DELETE) at the address that the server gave it.
    ///
    /// # Errors
    /// A sentence.
    pub fn session(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Result<Reply, String> {
        let location = self.reply.location.as_deref().ok_or("the server gave no Location")?;
        // It may be a whole URL or a path.
        let target = location
            .split_once("://")
            .map_or(location, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        let request = signal::request(method, &self.remote.to_string(), target, headers, body);
        signal::exchange(self.remote, None, &request, PATIENCE).map_err(|error| error.to_string())
    }

    /// Says goodbye and ends; what it had seen.
    pub fn finish(mut self) -> Seen {
        self.end(GOODBYE);
        self.seen()
    }

    /// Ends without a word, as a machine that lost its power; what it had seen.
    pub fn vanish(mut self) -> Seen {
        self.end(VANISH);
        self.seen()
    }

    fn end(&mut self, how: u8) {
        // The first word counts.
        let _ = self.told.compare_exchange(GO_ON, how, Ordering::Relaxed, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end(GOODBYE);
    }
}

struct Worker {
    socket: UdpSocket,
    peer: Peer,
    sending: Option<Sending>,
    seen: Arc<Mutex<Seen>>,
    told: Arc<AtomicU8>,
    ask: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self) {
        let end = loop {
            match self.told.load(Ordering::Relaxed) {
                GO_ON => {}
                VANISH => return,
                _ => {
                    self.peer.close();
                    // The last words; nobody waits for an answer.
                    let _ = self.drive();
                    return;
                }
            }
            if let Err(end) = self.turn() {
                break end;
            }
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).end = Some(end);
    }

    fn turn(&mut self) -> Result<(), String> {
        if self.ask.swap(false, Ordering::Relaxed) {
            self.peer.ask_keyframe();
        }
        let mut next = self.drive()?;
        if let Some(sending) = &mut self.sending {
            if !self.peer.is_connected() {
                // The stream begins with the connection.
                sending.begin(clock::now());
            } else if sending.due_ns() <= clock::now() {
                let sent = sending.send(&mut self.peer, clock::now(), Instant::now())?;
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).sent += sent;
                return Ok(());
            }
            let due = sending.due_ns().saturating_sub(clock::now());
            next = next.min(Instant::now() + Duration::from_nanos(due));
        }
        let wait = next.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(500), LOOK);
        self.socket.set_read_timeout(Some(wait)).map_err(|error| error.to_string())?;
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        match self.socket.recv_from(&mut buffer) {
            Ok((bytes, from)) => {
                let datagram = buffer.get(..bytes).unwrap_or_default();
                self.count(datagram);
                self.peer.receive(Instant::now(), from, datagram).map_err(|error| error.to_string())
            }
            // Nothing came; or a port is closed, which ICE finds out by itself.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn count(&self, datagram: &[u8]) {
        let Some(rtp) = Rtp::read(datagram) else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.first_packet_ns.get_or_insert_with(clock::now);
        seen.packets += 1;
        seen.counts.add(&rtp);
    }

    fn drive(&mut self) -> Result<Instant, String> {
        let (socket, seen, sending) = (&self.socket, &self.seen, &mut self.sending);
        let mut end = None;
        let next = self.peer.drive(Instant::now(), &mut |output| match output {
            Output::Send { to, bytes } => {
                // A full buffer or a closed port is a lost datagram, which WebRTC is made for.
                let _ = socket.send_to(bytes, to);
            }
            Output::Event(event) => {
                if let (Event::KeyframeRequest(request), Some(sending)) = (&event, sending.as_mut()) {
                    sending.ask_keyframe(request.rid);
                }
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                end = end.take().or(hear(event, &mut seen));
            }
        });
        match end {
            Some(end) => Err(end),
            None => next.map_err(|error| error.to_string()),
        }
    }
}

/// Notes an event; a sentence when it is the end.
fn hear(event: Event, seen: &mut Seen) -> Option<String> {
    match event {
        Event::Connected => {
            seen.connected_ns.get_or_insert_with(clock::now);
        }
        Event::MediaData(data) if seen.arrived.len() < KEPT_MAX => seen.arrived.push(arrived(data)),
        Event::KeyframeRequest(KeyframeRequest { rid, .. }) => {
            seen.keyframe_requests += 1;
            seen.asked_layers.extend(rid);
        }
        Event::Closed => return Some("the server closed the connection".to_owned()),
        Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
            return Some("the server does not answer any more".to_owned());
        }
        _ => {}
    }
    None
}

fn arrived(data: MediaData) -> Arrived {
    let codec = data.params.spec().codec;
    Arrived {
        codec,
        time_us: data.time.as_micros(),
        at_ns: clock::now(),
        key: data.is_keyframe(),
        contiguous: data.contiguous,
        marker: if codec.is_video() { Marker::find(&data.data) } else { None },
        data: data.data,
    }
}
