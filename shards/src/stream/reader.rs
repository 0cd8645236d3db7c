//! One reader of a rendition: a cursor, what it must get first, and whether its way out is open.
//!
//! A reader whose sink takes everything is served by the walk over all readers. One whose sink blocks serves itself from
//! its own task until it has caught up. Either way the bytes are the ring's; a reader holds at most the rest of one batch.
//!
//! Invariant: `pending` goes out before the batch at the cursor, so that framing units are never torn.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf, Bytes};

use super::{
    ring::{Cursor, Headers, Read, Ring},
    sink::Sink,
};

/// Slices in one system call: a joiner's group of pictures goes out in a few calls, not one per batch.
const SLICES_MAX: usize = 64;

/// Bytes that wait for a slow peer besides the ring (control messages); a peer that lets more pile up is closed.
const PENDING_MAX: usize = 64;

/// Why a reader is told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// No publisher came within `play.wait`.
    NoPublisher,
    /// The publisher went and none returned within `play.grace`.
    Ended,
    /// The peer took nothing for `delivery.stall_timeout`.
    Stalled,
    /// The peer closed, or sending failed.
    PeerGone,
}

/// News for a reader's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The stream's publisher went; another may come.
    PublisherGone,
    /// A publisher is there (again).
    PublisherCame,
    /// Leave, for this reason.
    Leave(Leave),
}

/// Whether and by whom a reader is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no group to start from yet.
    Waiting,
    /// The walk serves it.
    Live,
    /// Its own task serves it; no byte moved since then.
    Blocked { since: Instant },
    /// The player asked for silence.
    Paused,
    /// It was told to leave.
    Left,
}

/// What serving a reader came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// It has everything there is.
    Idle,
    /// Its sink is full.
    Blocked,
    /// Its peer is gone.
    Gone,
}

/// Counters of one reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderStats {
    /// Bytes that the peer's socket took.
    pub bytes: u64,
    /// System calls that sent them.
    pub sends: u64,
    /// Times it was overtaken and skipped to a keyframe.
    pub skips: u64,
}

/// See the module.
pub(super) struct Reader {
    cursor: Cursor,
    pending: VecDeque<Bytes>,
    state: State,
    /// The generation of the headers that it has had.
    generation: Option<u64>,
    greeted: bool,
    pub(super) since: Instant,
    sink: Rc<dyn Sink>,
    waker: Option<Waker>,
    news: VecDeque<News>,
    stats: ReaderStats,
}

impl Reader {
    pub(super) fn new(sink: Rc<dyn Sink>, now: Instant) -> Self {
        Self {
            cursor: Cursor::default(),
            pending: VecDeque::new(),
            state: State::Waiting,
            generation: None,
            greeted: false,
            since: now,
            sink,
            waker: None,
            news: VecDeque::new(),
            stats: ReaderStats::default(),
        }
    }

    pub(super) fn stats(&self) -> ReaderStats {
        self.stats
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        matches!(self.state, State::Live | State::Blocked { .. }).then_some(self.cursor)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// The preamble that the connection has not had yet, if any.
    pub(super) fn greet(&mut self, preamble: impl FnOnce() -> Bytes) {
        if !std::mem::replace(&mut self.greeted, true) {
            let preamble = preamble();
            if !preamble.is_empty() {
                self.pending.push_back(preamble);
            }
        }
    }

    /// The connection had its preamble already (it changed rendition).
    pub(super) fn already_greeted(&mut self) {
        self.greeted = true;
    }

    /// Whether any of the stream has been given to it.
    pub(super) fn has_started(&self) -> bool {
        self.generation.is_some()
    }

    /// Takes over from the reader that it was in another rendition.
    pub(super) fn inherit(&mut self, other: Option<Reader>) {
        if let Some(other) = other {
            self.stats = other.stats;
            self.news.extend(other.news);
            self.pending.extend(other.pending);
            if other.state == State::Paused {
                self.state = State::Paused;
            }
        }
    }

    /// What it counted, and what must still go out.
    pub(super) fn into_rest(self) -> (ReaderStats, Vec<Bytes>) {
        (self.stats, self.pending.into())
    }

    /// Starts at the group at `cursor`.
    pub(super) fn start(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        self.state = State::Live;
    }

    pub(super) fn pause(&mut self) {
        if self.state != State::Left {
            self.state = State::Paused;
        }
    }

    pub(super) fn resume(&mut self) {
        if self.state == State::Paused {
            self.state = State::Waiting;
        }
    }

    /// Bytes of the session's own (a pong, a status), at the next boundary between batches.
    pub(super) fn control(&mut self, bytes: Bytes) {
        if self.pending.len() >= PENDING_MAX {
            self.tell(News::Leave(Leave::Stalled));
        } else if !bytes.is_empty() {
            self.pending.push_back(bytes);
        }
    }

    /// Puts news into the session's hands and wakes it.
    pub(super) fn tell(&mut self, news: News) {
        if self.state == State::Left {
            return;
        }
        if let News::Leave(_) = news {
            self.state = State::Left;
        }
        self.news.push_back(news);
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Serves a reader that the walk finds in its way. Most often: one batch, one send.
    pub(super) fn walk(&mut self, ring: &Ring, now: Instant) {
        match self.state {
            State::Live => match self.serve(ring) {
                Served::Idle => {}
                Served::Blocked => {
                    self.state = State::Blocked { since: now };
                    self.wake();
                }
                Served::Gone => self.tell(News::Leave(Leave::PeerGone)),
            },
            // What the session has to say goes out even while no media flows.
            State::Waiting | State::Paused if !self.pending.is_empty() => self.wake(),
            _ => {}
        }
    }

    /// The walk's other half, in the session's task: serves a blocked reader, and gives news. Pending while the walk
    /// serves it or its peer takes nothing.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, ring: &Ring, now: Instant) -> Poll<News> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        loop {
            if let Some(news) = self.news.pop_front() {
                return Poll::Ready(news);
            }
            let served = match self.state {
                State::Blocked { .. } => self.serve(ring),
                State::Waiting | State::Paused if !self.pending.is_empty() => self.send_pending(),
                _ => return Poll::Pending,
            };
            match served {
                Served::Idle => {
                    if let State::Blocked { .. } = self.state {
                        self.state = State::Live;
                    }
                    return Poll::Pending;
                }
                Served::Gone => self.tell(News::Leave(Leave::PeerGone)),
                Served::Blocked => {
                    let Some(head) = self.head(ring) else { return Poll::Pending };
                    match self.sink.poll_send(cx, &head) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(sent)) => {
                            self.advance(ring, sent);
                            if let State::Blocked { since } = &mut self.state {
                                *since = now;
                            }
                        }
                        Poll::Ready(Err(_)) => self.tell(News::Leave(Leave::PeerGone)),
                    }
                }
            }
        }
    }

    /// Since when no byte has moved, while it is blocked.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        match self.state {
            State::Blocked { since } => Some(since),
            _ => None,
        }
    }

    /// The bytes that go next.
    fn head(&self, ring: &Ring) -> Option<Bytes> {
        self.pending.front().cloned().or_else(|| match ring.read(self.cursor) {
            Read::Batch(batch) => Some(batch.bytes.clone()),
            _ => None,
        })
    }

    /// Sends until there is nothing left or the sink is full.
    fn serve(&mut self, ring: &Ring) -> Served {
        loop {
            if let Some(served) = self.align(ring) {
                return match served {
                    Served::Idle if !self.pending.is_empty() => self.send_pending(),
                    served => served,
                };
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for bytes in &self.pending {
                slices[count] = IoSlice::new(bytes);
                count += 1;
                if count == SLICES_MAX {
                    break;
                }
            }
            let mut cursor = self.cursor;
            while count < SLICES_MAX {
                let Read::Batch(batch) = ring.read(cursor) else { break };
                // A group whose headers this reader lacks is aligned first.
                if batch.opens.as_ref().is_some_and(|headers| self.lacks(headers)) && count > 0 {
                    break;
                }
                slices[count] = IoSlice::new(&batch.bytes);
                count += 1;
                cursor.0 += 1;
            }
            match self.send(&slices[..count]) {
                Ok(sent) => self.advance(ring, sent),
                Err(served) => return served,
            }
        }
    }

    /// Makes sure that the batch at the cursor is there and its headers are pending. `Some`: there is nothing to send
    /// from the ring.
    fn align(&mut self, ring: &Ring) -> Option<Served> {
        if let Read::Lost { resume } = ring.read(self.cursor) {
            self.stats.skips += 1;
            match resume {
                Some(key) => self.cursor = key,
                None => {
                    self.state = State::Waiting;
                    return Some(Served::Idle);
                }
            }
        }
        let Read::Batch(batch) = ring.read(self.cursor) else { return Some(Served::Idle) };
        if let Some(headers) = batch.opens.as_ref().filter(|headers| self.lacks(headers)) {
            self.generation = Some(headers.generation);
            if !headers.bytes.is_empty() {
                self.pending.push_back(headers.bytes.clone());
            }
        }
        None
    }

    fn lacks(&self, headers: &Headers) -> bool {
        self.generation != Some(headers.generation)
    }

    fn send_pending(&mut self) -> Served {
        while !self.pending.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.pending) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            match self.send(&slices[..count]) {
                Ok(sent) => {
                    self.advance_pending(sent);
                }
                Err(served) => return served,
            }
        }
        Served::Idle
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> Result<usize, Served> {
        match self.sink.try_send(slices) {
            Ok(0) => Err(Served::Gone),
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Served::Blocked),
            Err(_) => Err(Served::Gone),
        }
    }

    /// Takes `sent` bytes off what was pending; gives back what is left of `sent`.
    fn advance_pending(&mut self, mut sent: usize) -> usize {
        self.stats.bytes += sent as u64;
        self.stats.sends += 1;
        while let Some(front) = self.pending.front_mut() {
            if sent < front.len() {
                front.advance(sent);
                return 0;
            }
            sent -= front.len();
            self.pending.pop_front();
        }
        // An empty queue must not keep its buffer: there are thousands of readers.
        if self.pending.capacity() > 4 {
            self.pending = VecDeque::new();
        }
        sent
    }

    fn advance(&mut self, ring: &Ring, sent: usize) {
        let mut sent = self.advance_pending(sent);
        while sent > 0 {
            let Read::Batch(batch) = ring.read(self.cursor) else { return };
            self.cursor.0 += 1;
            self.generation = Some(batch.generation);
            if sent < batch.bytes.len() {
                self.pending.push_front(batch.bytes.slice(sent..));
                return;
            }
            sent -= batch.bytes.len();
        }
    }
}
