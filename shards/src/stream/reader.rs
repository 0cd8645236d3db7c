//! One reader of a rendition: a cursor, what it must get first, and whether its way out is open.
//!
//! A reader whose sink takes everything is served by the walk over all readers. One whose sink is full serves itself from
//! its own task until it has caught up. Either way the bytes are the ring's; a reader holds at most the rest of one unit
//! that its peer has got a part of, and what its session has to say.
//!
//! Invariant: `pending` goes out before the batch at the cursor, so that framing units are never torn; what a reader has
//! had (`cursor`, `generation`) changes only when bytes move.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf, Bytes};

use super::{
    Totals,
    ring::{Batch, Cursor, Headers, Read, Ring},
    sink::Sink,
};

/// Slices in one system call: a joiner's group of pictures goes out in a few calls, not one per batch.
const SLICES_MAX: usize = 64;

/// Pieces that wait for a slow peer besides the ring (control messages); a peer that lets more pile up is closed.
pub(super) const PENDING_MAX: usize = 64;

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

/// What a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no group to start from yet.
    Waiting,
    /// Media flows.
    Live,
    /// The player asked for silence.
    Paused,
    /// It was told to leave.
    Left(Leave),
}

/// What serving a reader came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
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

impl ReaderStats {
    pub(super) fn totals(&self) -> Totals {
        Totals { batches: 0, bytes: self.bytes, sends: self.sends, skips: self.skips }
    }
}

/// See the module.
pub(super) struct Reader {
    /// Where it reads; while it waits, where it may start at the earliest.
    cursor: Cursor,
    pending: VecDeque<Bytes>,
    state: State,
    /// Its sink is full, and its own task serves it; no byte has moved since then.
    blocked: Option<Instant>,
    /// The generation of the scene that it knows.
    generation: Option<u64>,
    greeted: bool,
    started: bool,
    pub(super) since: Instant,
    sink: Rc<dyn Sink>,
    waker: Option<Waker>,
    stats: ReaderStats,
}

impl Reader {
    pub(super) fn new(sink: Rc<dyn Sink>, earliest: Cursor, now: Instant) -> Self {
        Self {
            cursor: earliest,
            pending: VecDeque::new(),
            state: State::Waiting,
            blocked: None,
            generation: None,
            greeted: false,
            started: false,
            since: now,
            sink,
            waker: None,
            stats: ReaderStats::default(),
        }
    }

    pub(super) fn stats(&self) -> ReaderStats {
        self.stats
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        (self.state == State::Live).then_some(self.cursor)
    }

    /// Whether it would start at the group at `key`.
    pub(super) fn waits_for(&self, key: Cursor) -> bool {
        self.state == State::Waiting && key >= self.cursor
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

    /// Whether any of the stream has been given to it.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// The same connection as a reader of another rendition, which has had none of it and starts at `earliest`.
    pub(super) fn moved(self, earliest: Cursor) -> Self {
        let state = if self.state == State::Live { State::Waiting } else { self.state };
        Self { cursor: earliest, state, generation: None, ..self }
    }

    /// What it counted, and what must still go out.
    pub(super) fn into_rest(self) -> (ReaderStats, Vec<Bytes>) {
        (self.stats, self.pending.into())
    }

    /// Starts at the group at `cursor`.
    pub(super) fn start(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        self.state = State::Live;
        self.started = true;
    }

    pub(super) fn pause(&mut self) {
        if let State::Waiting | State::Live = self.state {
            self.state = State::Paused;
            if self.pending.is_empty() {
                self.blocked = None;
            }
        }
    }

    pub(super) fn resume(&mut self) {
        if self.state == State::Paused {
            self.state = State::Waiting;
        }
    }

    /// Bytes of the session's own (a pong, a status), at the next boundary between units.
    pub(super) fn control(&mut self, bytes: Bytes) {
        if self.pending.len() >= PENDING_MAX {
            self.dismiss(Leave::Stalled);
        } else if !bytes.is_empty() {
            self.pending.push_back(bytes);
        }
    }

    /// Tells the session to leave. The first reason stands.
    pub(super) fn dismiss(&mut self, leave: Leave) {
        if !matches!(self.state, State::Left(_)) {
            self.state = State::Left(leave);
            self.blocked = None;
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Serves a reader that the walk finds in its way. Most often: one batch, one send.
    pub(super) fn walk(&mut self, ring: &Ring, now: Instant) {
        if self.blocked.is_some() || matches!(self.state, State::Left(_)) {
            return;
        }
        match self.serve(ring) {
            Served::Idle => {}
            Served::Blocked => {
                self.blocked = Some(now);
                self.wake();
            }
            Served::Gone => self.dismiss(Leave::PeerGone),
        }
    }

    /// The walk's other half, in the session's task: serves a blocked reader, and tells when to leave. Pending while the
    /// walk serves it or its peer takes nothing.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, ring: &Ring, now: Instant) -> Poll<Leave> {
        while self.blocked.is_some() {
            self.catch_up(ring);
            let Some(head) = self.units(ring).next().cloned() else {
                self.blocked = None;
                break;
            };
            let served = match self.sink.poll_send(cx, &head) {
                Poll::Pending => break,
                Poll::Ready(Ok(sent)) if sent > 0 => {
                    self.advance(ring, sent);
                    self.serve(ring)
                }
                Poll::Ready(_) => Served::Gone,
            };
            match served {
                Served::Idle => self.blocked = None,
                Served::Blocked => self.blocked = Some(now),
                Served::Gone => self.dismiss(Leave::PeerGone),
            }
        }
        if let State::Left(leave) = self.state {
            return Poll::Ready(leave);
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Since when no byte has moved, while it is blocked.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked
    }

    /// Sends until there is nothing left or the sink is full.
    fn serve(&mut self, ring: &Ring) -> Served {
        loop {
            self.catch_up(ring);
            if self.has_all(ring) {
                return Served::Idle;
            }
            let (offered, outcome) = match self.only_batch(ring) {
                Some(batch) => (batch.bytes.len(), self.sink.try_send(&[IoSlice::new(&batch.bytes)])),
                None => self.send_many(ring),
            };
            match outcome {
                Ok(0) => return Served::Gone,
                Ok(sent) => {
                    self.advance(ring, sent);
                    // A sink that takes a part has no room for the rest.
                    if sent < offered {
                        return Served::Blocked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Served::Blocked,
                Err(_) => return Served::Gone,
            }
        }
    }

    fn has_all(&self, ring: &Ring) -> bool {
        self.pending.is_empty() && (self.state != State::Live || self.cursor >= ring.next())
    }

    /// The newest batch, when it is all that this reader has yet to get: nearly every send.
    fn only_batch<'a>(&self, ring: &'a Ring) -> Option<&'a Batch> {
        let Read::Batch(batch) = ring.read(self.cursor) else { return None };
        let is_only =
            self.state == State::Live && self.pending.is_empty() && self.cursor.0 + 1 == ring.next().0;
        (is_only && lacking(batch, self.generation).is_none()).then_some(batch)
    }

    /// Offers what there is, as much of it as fits one call: how many bytes that was, and what became of them.
    fn send_many(&self, ring: &Ring) -> (usize, io::Result<usize>) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut offered) = (0, 0);
        for (slice, unit) in slices.iter_mut().zip(self.units(ring)) {
            *slice = IoSlice::new(unit);
            count += 1;
            offered += unit.len();
        }
        (offered, self.sink.try_send(slices.get(..count).unwrap_or_default()))
    }

    /// All that goes next, in order.
    fn units<'a>(&'a self, ring: &'a Ring) -> impl Iterator<Item = &'a Bytes> {
        let (mut cursor, mut generation) = (self.cursor, self.generation);
        let media = std::iter::from_fn(move || {
            let Read::Batch(batch) = ring.read(cursor) else { return None };
            if let Some(headers) = lacking(batch, generation) {
                generation = Some(headers.generation);
                return Some(&headers.bytes);
            }
            cursor.0 += 1;
            generation = Some(batch.generation);
            Some(&batch.bytes)
        });
        let is_live = self.state == State::Live;
        self.pending.iter().chain(is_live.then_some(media).into_iter().flatten())
    }

    /// A reader that was overtaken goes on at the newest group, or waits for one.
    fn catch_up(&mut self, ring: &Ring) {
        if self.state == State::Live
            && let Read::Lost { resume } = ring.read(self.cursor)
        {
            self.stats.skips += 1;
            match resume {
                Some(key) => self.cursor = key,
                None => self.state = State::Waiting,
            }
        }
    }

    /// Takes `sent` bytes off what was offered.
    fn advance(&mut self, ring: &Ring, sent: usize) {
        self.stats.bytes += sent as u64;
        self.stats.sends += 1;
        let mut sent = self.advance_pending(sent);
        while sent > 0 {
            let Read::Batch(batch) = ring.read(self.cursor) else { return };
            let unit = match lacking(batch, self.generation) {
                Some(headers) => {
                    self.generation = Some(headers.generation);
                    &headers.bytes
                }
                None => {
                    self.generation = Some(batch.generation);
                    self.cursor.0 += 1;
                    &batch.bytes
                }
            };
            if sent < unit.len() {
                self.pending.push_back(unit.slice(sent..));
                return;
            }
            sent -= unit.len();
        }
    }

    /// Takes `sent` bytes off what was pending; gives back what is left of `sent`.
    fn advance_pending(&mut self, mut sent: usize) -> usize {
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
}

/// The headers of `batch`, if it has any that a reader who knows `generation` needs first.
fn lacking(batch: &Batch, generation: Option<u64>) -> Option<&Headers> {
    let headers = batch.opens.as_deref()?;
    (generation != Some(headers.generation) && !headers.bytes.is_empty()).then_some(headers)
}
