//! The other end of a session: its entry in the table of connections and its socket.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    net::IpAddr,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use shards::{
    ShardId,
    media::StreamKey,
    shard::HASTE,
    stream::{Evicted, Gauge, Leave, Publisher, Subscriber},
};

use super::{
    Arrival, Ending, Guest,
    access::{Ask, Denied, Gate, Grant, Hello},
    ending::Watch,
};
use crate::{
    clients::{Card, Kind, Meter, Reading, Said},
    conn_id::ConnId,
    net::{
        connection::{Closing, Connection},
        socket::{READ_MAX, Socket},
    },
};

/// How long a client may take to read an answer after which the connection closes.
const GOODBYE: Duration = Duration::from_secs(2);

/// How much is read and thrown away while a client reads its last answer: closing with unread bytes would reset the
/// connection, and the answer could be lost.
const DRAIN_MAX: usize = 1 << 20;

/// How long a session may work without a pause. A peer that sends as fast as loopback always has something to read; others
/// would wait until the executor's preemption, a hundred milliseconds.
const TURN: Duration = Duration::from_millis(2);

/// A publisher whose frames gather is heard just before they are sent, and whenever so many bytes may have come: what waits
/// in its socket must not fill the kernel's buffer, which begins at 128 KiB and holds half of that.
const LOOK_BYTES: u32 = 48 * 1024;

/// A sleep lets the executor look at its rings, which mere yielding does not. One that is over before it is first looked at is
/// none at all: with a microsecond a flood kept a slow machine's shard for seconds.
const BREATH: Duration = Duration::from_micros(50);

/// See the module. Boxed, since it passes through several futures, each of which has room for it twice.
pub struct Client(Box<Body>);

struct Body {
    entry: Connection,
    socket: Rc<Socket>,
    watch: Watch,
    /// Since when it has had something to do without a pause.
    busy: Cell<Option<Instant>>,
    /// Its last words were all there were.
    is_quiet: Cell<bool>,
    /// When it was last heard, and how long what came since the time before would take to fill [`LOOK_BYTES`].
    heard: Cell<Option<(Instant, Duration)>>,
}

/// What wakes a session that publishes.
pub enum Heard {
    /// So many bytes came; zero at the end.
    Bytes(io::Result<usize>),
    /// Another publisher took over.
    Evicted(Evicted),
    /// It is to go.
    Closing(Closing),
}

/// What wakes a session that plays.
pub enum Felt {
    /// So many bytes came; zero at the end.
    Bytes(io::Result<usize>),
    /// The stream is over for this reader.
    Leave(Leave),
    /// It is to go.
    Closing(Closing),
}

impl Client {
    /// A connection as a session sees it.
    pub fn new(entry: Connection, socket: Socket) -> Self {
        let socket = Rc::new(socket);
        Self(Box::new(Body {
            entry,
            watch: Watch::new(&socket),
            socket,
            busy: Cell::default(),
            is_quiet: Cell::default(),
            heard: Cell::default(),
        }))
    }

    /// The name that is on each of its log lines.
    pub fn id(&self) -> ConnId {
        self.0.entry.id()
    }

    /// Its entry: deadlines and the order to go.
    pub fn entry(&self) -> &Connection {
        &self.0.entry
    }

    /// Its socket.
    pub fn socket(&self) -> &Rc<Socket> {
        &self.0.socket
    }

    /// Its own address, as far as it is known.
    pub fn ip(&self) -> IpAddr {
        self.0.socket.ip()
    }

    /// Who it is and what it said, now that its wish for `key` is granted.
    pub fn card(&self, kind: Kind, key: &StreamKey, said: Said) -> Card {
        Card::new(self.id(), self.0.entry.peer(), self.ip(), kind, key, said)
    }

    /// Where its figures are read; those of a reader with its `gauge`.
    pub fn meter(&self, gauge: Option<Gauge>) -> Box<dyn Meter> {
        Box::new(SocketMeter { socket: Rc::downgrade(&self.0.socket), gauge })
    }

    /// Leaves this shard.
    ///
    /// # Errors
    /// When the process is out of descriptors; client and guest stay as they were.
    pub(super) fn depart(
        self,
        from: ShardId,
        guest: Guest,
    ) -> Result<Arrival, Box<(Self, Guest, io::Error)>> {
        let fd = match self.0.socket.duplicate() {
            Ok(fd) => fd,
            Err(error) => return Err(Box::new((self, guest, error))),
        };
        let Body { entry, socket, watch, busy, is_quiet, heard } = *self.0;
        let ending = watch.depart();
        match Rc::try_unwrap(socket) {
            Ok(socket) => {
                let (id, ticket) = entry.depart();
                Ok(Arrival { id, ticket, socket: socket.depart(fd), from, guest, ending })
            }
            Err(socket) => {
                let error = io::Error::other("the socket is still in use");
                let watch = Watch::new(&socket);
                let stayed = Self(Box::new(Body { entry, socket, watch, busy, is_quiet, heard }));
                ending.into_iter().for_each(|ending| stayed.at_end(ending));
                Err(Box::new((stayed, guest, error)))
            }
        }
    }

    /// This is to be told when the connection is gone.
    pub fn at_end(&self, ending: Ending) {
        self.0.watch.set(ending);
    }

    /// Asks at the gate for leave. That takes as long as it takes, during which the client may be silent; afterwards it must go
    /// on `within` so long. Who is to go meanwhile gets none.
    ///
    /// # Errors
    /// Why not, for the client.
    pub fn ask<'a>(
        &'a self,
        gate: &'a Gate,
        ask: Ask,
        within: Duration,
    ) -> Pin<Box<impl Future<Output = Result<Grant, Denied>> + use<'a>>> {
        // Boxed, so that no session holds the room for its question while it plays.
        Box::pin(self.patiently(gate.ask(ask), within))
    }

    /// Says hello at the gate, as patiently.
    ///
    /// # Errors
    /// Why it may not come in, for the client.
    pub async fn greet(&self, gate: &Gate, hello: Hello, within: Duration) -> Result<(), Denied> {
        let ending = Box::pin(self.patiently(gate.greet(hello), within)).await?;
        self.at_end(ending);
        Ok(())
    }

    async fn patiently<T>(
        &self,
        decision: impl Future<Output = Result<T, Denied>>,
        within: Duration,
    ) -> Result<T, Denied> {
        self.0.entry.expect_nothing();
        let decision = self.0.entry.race(decision).await;
        self.0.entry.expect_within(within);
        decision.unwrap_or_else(|closing| Err(Denied::Unavailable(closing.to_string())))
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the peer is gone, or it is time to go; either is the end.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.0.entry.race(self.0.socket.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Gone::Peer(error)),
            Err(closing) => Err(Gone::Closing(closing)),
        }
    }

    /// Reads what is there to the end of `into`, at least one byte.
    ///
    /// # Errors
    /// When the peer is gone, or it is time to go, however much it has to say.
    pub async fn read(&self, into: &mut BytesMut) -> Result<usize, Gone> {
        self.turn(|cx| {
            if let Poll::Ready(closing) = self.0.entry.poll_closing(cx) {
                return Poll::Ready(Err(Gone::Closing(closing)));
            }
            self.0.socket.poll_read(cx, into).map(|read| match read {
                Ok(0) => Err(Gone::Peer(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => Ok(read),
                Err(error) => Err(Gone::Peer(error)),
            })
        })
        .await
    }

    /// Waits for bytes of a publisher. Where its frames gather before they are sent, what it says gathers as well: a wake
    /// for each packet costs more than a packet, and what would wait in the stream can as well wait in the socket.
    pub async fn hear(&self, publisher: &Publisher, into: &mut BytesMut) -> Heard {
        let pause = self.pause(publisher);
        if !pause.is_zero() {
            if let Err(closing) = self.0.entry.race(glommio::timer::sleep(pause)).await {
                return Heard::Closing(closing);
            }
            if let Some(read) = self.0.socket.read_now(into) {
                self.note(&read);
                return Heard::Bytes(read);
            }
        }
        let heard = self.listen(publisher, into).await;
        if let Heard::Bytes(read) = &heard {
            self.note(read);
        }
        heard
    }

    /// How long a publisher may speak unheard: until shortly before its frames leave.
    fn pause(&self, publisher: &Publisher) -> Duration {
        let Some((_, fills)) = self.0.heard.get().filter(|_| self.0.is_quiet.get()) else {
            return Duration::ZERO;
        };
        let stream = publisher.stream();
        let until = match stream.until_walk(Instant::now()) {
            // Nothing gathers, or nothing has gathered for a while: what comes is sent at once.
            until if until.is_zero() => return Duration::ZERO,
            // This was the look before they leave.
            until if until <= HASTE => until + stream.coalesce(),
            until => until,
        };
        until.saturating_sub(HASTE).min(fills)
    }

    /// Whether that was all that the peer had to say, and how fast it speaks.
    fn note(&self, read: &io::Result<usize>) {
        let bytes = read.as_ref().map_or(0, |read| *read);
        self.0.is_quiet.set(bytes > 0 && bytes < READ_MAX);
        let now = Instant::now();
        let fills = self.0.heard.get().map_or(Duration::ZERO, |(before, _)| {
            let factor = f64::from(LOOK_BYTES) / bytes.max(1) as f64;
            now.saturating_duration_since(before).mul_f64(factor)
        });
        self.0.heard.set(Some((now, fills)));
    }

    async fn listen(&self, publisher: &Publisher, into: &mut BytesMut) -> Heard {
        self.turn(|cx| {
            if let Poll::Ready(closing) = self.0.entry.poll_closing(cx) {
                return Poll::Ready(Heard::Closing(closing));
            }
            if let Poll::Ready(evicted) = publisher.poll_evicted(cx) {
                return Poll::Ready(Heard::Evicted(evicted));
            }
            self.0.socket.poll_read(cx, into).map(Heard::Bytes)
        })
        .await
    }

    /// Keeps a player going, and waits for its bytes or its end.
    pub async fn feel(&self, subscriber: &Subscriber, into: &mut BytesMut) -> Felt {
        self.turn(|cx| {
            if let Poll::Ready(leave) = subscriber.poll(cx) {
                return Poll::Ready(Felt::Leave(leave));
            }
            if let Poll::Ready(closing) = self.0.entry.poll_closing(cx) {
                return Poll::Ready(Felt::Closing(closing));
            }
            self.0.socket.poll_read(cx, into).map(Felt::Bytes)
        })
        .await
    }

    /// Waits for `poll`, and lets others run first if this session has had its turn.
    async fn turn<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let now = Instant::now();
        match self.0.busy.get() {
            Some(since) if now.saturating_duration_since(since) >= TURN => {
                glommio::timer::sleep(BREATH).await;
                self.0.busy.set(None);
            }
            Some(_) => {}
            None => self.0.busy.set(Some(now)),
        }
        poll_fn(|cx| {
            let outcome = poll(cx);
            if outcome.is_pending() {
                self.0.busy.set(None);
            }
            outcome
        })
        .await
    }

    /// Sends the last words and closes, so that they arrive: a peer that is still sending is read for a moment.
    pub fn farewell(self, words: &[u8]) -> impl Future<Output = ()> + use<> {
        self.farewell_after(Vec::new(), words)
    }

    /// Sends what is left of a batch and then the last words.
    pub fn farewell_after(self, rest: Vec<Bytes>, words: &[u8]) -> impl Future<Output = ()> + use<> {
        let mut all = BytesMut::new();
        rest.iter().for_each(|bytes| all.extend_from_slice(bytes));
        all.extend_from_slice(words);
        // Boxed, so that no session holds the room for its end from its beginning.
        Box::pin(async move { self.end(&all).await })
    }

    async fn end(&self, words: &[u8]) {
        let _ = glommio::timer::timeout(GOODBYE, async {
            let mut drained = BytesMut::new();
            let mut total = 0;
            if self.0.socket.send(words).await.is_ok() {
                self.0.socket.finish().await;
                while let Ok(read) = self.0.socket.read(&mut drained).await {
                    total += read;
                    drained.clear();
                    if read == 0 || total > DRAIN_MAX {
                        break;
                    }
                }
            }
            Ok(())
        })
        .await;
    }
}

/// A connection's bytes, and a reader's place in its stream. Holds neither.
struct SocketMeter {
    socket: Weak<Socket>,
    gauge: Option<Gauge>,
}

impl Meter for SocketMeter {
    fn read(&self) -> Reading {
        let traffic = self.socket.upgrade().map(|socket| socket.traffic()).unwrap_or_default();
        let (stats, lag) = self.gauge.as_ref().and_then(Gauge::read).unwrap_or_default();
        let (bytes_in, bytes_out) = (traffic.received, traffic.sent);
        Reading { bytes_in, bytes_out, lag, skips: stats.skips, ..Reading::default() }
    }
}

/// Why nothing more can be said to a client.
#[derive(Debug, thiserror::Error)]
pub enum Gone {
    /// It closed, or the network did.
    #[error("the peer is gone: {0}")]
    Peer(io::Error),
    /// It is to go.
    #[error(transparent)]
    Closing(Closing),
}
