//! One viewer of the RTP rendition: a sink that heads, seals and sends what the stream's batches hold.
//!
//! All packets of one call are written into one buffer of the shard and leave in trains (UDP GSO). Nothing is allocated for a
//! packet, and nothing is kept: what a viewer missed is looked up in the stream's history. A viewer whose way is too narrow gets no
//! pictures until a keyframe that it can afford; one who joins is let catch up ([`flow`](super::flow)).
//!
//! Invariant: a number is given to one packet only, whatever becomes of it; a packet that did not leave is taken back together with
//! its number. Sizes are bytes.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use shards::{
    media::{Timestamp, TrackId, TrackKind},
    stream::Sink,
};

use super::{
    flow::{CatchUp, Flow, Segment, Segments},
    keys::Keys,
    line::{Head, Line, LineOptions},
    mux::Shared,
    reports::{Reports, ViewerStats},
    scratch::{SCRATCH, Scratch},
    unit::{Unit, flag},
};
use crate::{
    net::trains::{Train, Way},
    protocols::rtp::{
        estimate::Estimate,
        rtx,
        srtp::{KeyError, Opener, Sealer},
    },
};

/// What one flush holds at most: some trains.
const BUFFER_MAX: usize = 256 * 1024;
/// How long a full socket is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(2);
/// What a viewer with a limit may have ahead of it, in parts of a second.
const BURST_PART: i64 = 2;
/// Retransmissions of one viewer: bytes at once, and bits a second where the stream's own rate is not known.
const RESEND_BURST: i64 = 64 * 1024;
const RESEND_RATE_MIN: u64 = 1_000_000;
/// Packets that may be asked for again are at most so far behind.
const MISSED_MAX: u16 = 4_096;

/// Where a viewer's datagrams go: a UDP socket, mostly.
pub trait Wire {
    /// Sends trains that lie one behind the other in `contents`; how many left.
    ///
    /// # Errors
    /// When none did: [`io::ErrorKind::WouldBlock`] when there is no room for now.
    fn send(&self, way: &Way, contents: &[u8], trains: &[Train]) -> io::Result<usize>;
}

/// What a viewer wants of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A keyframe.
    pub key: bool,
    /// It says that it leaves.
    pub leaves: bool,
}

/// What was agreed on with a viewer.
pub struct Terms<'a> {
    /// What the handshake came to.
    pub keys: &'a Keys,
    /// At most one line of each kind counts.
    pub lines: &'a [LineOptions],
    /// The canonical name of the source (RFC 3550 §6.5.1).
    pub name: &'a str,
}

/// What changes with each packet, and is taken back if packets did not leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) video: Flow,
    pub(super) audio: Flow,
    catch_up: CatchUp,
    /// The next transport-wide number.
    transport: u16,
    /// What may be sent before pictures are stopped.
    budget: i64,
    pub(super) bytes: u64,
}

/// See the module.
pub struct Viewer {
    wire: Rc<dyn Wire>,
    shared: Rc<Shared>,
    way: Cell<Option<Way>>,
    state: RefCell<State>,
    /// Until when it takes nothing.
    waits: Cell<Option<Instant>>,
    /// Tells the session that it waits.
    on_wait: Box<dyn Fn()>,
}

pub(super) struct State {
    pub(super) video: Option<Line>,
    pub(super) audio: Option<Line>,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    pub(super) progress: Progress,
    segments: [Segments; 2],
    /// The next numbers of retransmissions: of pictures, of sound.
    repeats: [u64; 2],
    pub(super) estimate: Estimate,
    refilled: Instant,
    resend_budget: i64,
    resend_refilled: Instant,
    target: Option<u8>,
    pub(super) reports: Reports,
    pub(super) stats: ViewerStats,
}

/// What becomes of a unit.
enum Verdict {
    Skip,
    Send,
    /// Not before then.
    Wait(Instant),
}

impl Viewer {
    /// For a connection of these `terms`. `random` gives random numbers; `on_wait` tells the session to look at
    /// [`deadline`](Self::deadline) again.
    ///
    /// # Errors
    /// When the keys do not fit.
    pub fn new(
        wire: Rc<dyn Wire>,
        shared: Rc<Shared>,
        terms: &Terms<'_>,
        mut random: impl FnMut() -> u32,
        on_wait: impl Fn() + 'static,
        now: Instant,
    ) -> Result<Rc<Self>, KeyError> {
        let mut line = |kind| {
            let of_kind = |options: &&LineOptions| options.codec.kind() == kind;
            terms.lines.iter().find(of_kind).and_then(|options| Line::new(options, random()))
        };
        let (video, audio) = (line(TrackKind::Video), line(TrackKind::Audio));
        let flow = |line: &Option<Line>| Flow::new(line.as_ref().map_or(0, |line| line.origin));
        let progress = Progress {
            video: flow(&video),
            audio: flow(&audio),
            catch_up: CatchUp::none(now),
            transport: 0,
            budget: 0,
            bytes: 0,
        };
        let state = State {
            video,
            audio,
            sealer: terms.keys.sealer()?,
            opener: terms.keys.opener()?,
            progress,
            segments: [Segments::default(); 2],
            repeats: [u64::from(random() & 0x7fff), u64::from(random() & 0x7fff)],
            estimate: Estimate::new(now),
            refilled: now,
            resend_budget: RESEND_BURST,
            resend_refilled: now,
            target: None,
            reports: Reports::new(terms.name, now),
            stats: ViewerStats::default(),
        };
        Ok(Rc::new(Self {
            wire,
            shared,
            way: Cell::new(None),
            state: RefCell::new(state),
            waits: Cell::new(None),
            on_wait: Box::new(on_wait),
        }))
    }

    /// Datagrams go this way from now on; until one is known they go nowhere.
    pub fn set_way(&self, way: Way) {
        self.way.set(Some(way));
    }

    /// Nothing goes to `peer` any more: somebody else is there now.
    pub fn lose_way(&self, peer: SocketAddr) {
        self.way.set(self.way.get().filter(|way| way.to != peer));
    }

    /// When to call [`on_time`](Self::on_time), and to poll the subscriber, at the latest.
    pub fn deadline(&self) -> Instant {
        let report = self.state.borrow().reports.due();
        self.waits.get().map_or(report, |waits| waits.min(report))
    }

    /// Time passed: reports that are due leave.
    pub fn on_time(&self, now: Instant) {
        let state = &mut *self.state.borrow_mut();
        state.estimate.on_total(state.progress.bytes, now);
        state.target = self.shared.layer_for(state.estimate.limit());
        if now >= state.reports.due() {
            self.report(state, now);
        }
    }

    /// A control packet came, still sealed; opened in place. What it asks of the stream; `None` when it is not the viewer's.
    pub fn on_rtcp(&self, packet: &mut [u8], now: Instant) -> Option<Wishes> {
        let state = &mut *self.state.borrow_mut();
        let mut missed = [(0, 0); 256];
        let (mut wishes, count) = state.hear(packet, &mut missed, now)?;
        self.resend(state, missed.get(..count).unwrap_or_default(), now);
        if wishes.key {
            state.stats.key_requests += 1;
            wishes.key = self.shared.admits_key_request(now);
        }
        Some(wishes)
    }

    /// Says that its sources leave.
    pub fn goodbye(&self) {
        let state = &mut *self.state.borrow_mut();
        let mut packet = Vec::with_capacity(128);
        state.write_goodbye(&mut packet);
        self.send_control(state, packet);
    }

    /// Counters so far.
    pub fn stats(&self) -> ViewerStats {
        let state = self.state.borrow();
        let packets = state.progress.video.packets + state.progress.audio.packets;
        ViewerStats { packets, bytes: state.progress.bytes, ..state.stats }
    }

    /// What its way can carry, if less than the stream.
    pub fn limit(&self) -> Option<u64> {
        self.state.borrow().estimate.limit()
    }

    fn report(&self, state: &mut State, now: Instant) {
        for kind in [TrackKind::Video, TrackKind::Audio] {
            let mut packet = Vec::with_capacity(128);
            if state.write_report(kind, &self.shared, now, &mut packet) {
                self.send_control(state, packet);
            }
        }
        state.reports.sent(now);
    }

    fn send_control(&self, state: &mut State, mut packet: Vec<u8>) {
        if let Some(way) = self.way.get()
            && state.sealer.seal_rtcp(&mut packet)
        {
            let train = Train { bytes: packet.len(), segment: packet.len() };
            // A report that finds no room is made up for by the next.
            let _ = self.wire.send(&way, &packet, &[train]);
        }
    }

    /// Sends packets again: each is a source and a number.
    fn resend(&self, state: &mut State, missed: &[(u32, u16)], now: Instant) {
        let Some(way) = self.way.get() else { return };
        let elapsed = now.saturating_duration_since(state.resend_refilled).as_micros() as i64;
        let rate = self.shared.rate(state.progress.video.layer).max(RESEND_RATE_MIN);
        state.resend_refilled = now;
        state.resend_budget = (state.resend_budget + elapsed * rate as i64 / 8_000_000).min(RESEND_BURST);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            for (ssrc, sequence) in missed {
                state.stats.missed += 1;
                if state.resend_budget > 0 {
                    state.repeat(*ssrc, *sequence, &self.shared, scratch, now);
                }
            }
            // What finds no room will be asked for once more.
            let _ = self.wire.send(&way, &scratch.buffer, &scratch.trains);
        });
    }

    /// Sends what the scratch holds: `Ok` when all left, else how much of what was offered had been consumed by then.
    fn flush(&self, state: &mut State, way: &Way, scratch: &mut Scratch) -> Result<(), usize> {
        if scratch.trains.is_empty() {
            return Ok(());
        }
        let left = match self.wire.send(way, &scratch.buffer, &scratch.trains) {
            Ok(left) => left,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                // No route, no such peer, filtered: lost, as it might have been anywhere else. ICE will tell.
                state.stats.refused += scratch.trains.len() as u64;
                scratch.trains.len()
            }
        };
        let outcome = match scratch.marks.get(left) {
            None => Ok(()),
            Some((before, consumed)) => {
                state.progress = *before;
                Err(*consumed)
            }
        };
        scratch.clear();
        outcome
    }

    fn send_all(
        &self,
        state: &mut State,
        slices: &[IoSlice<'_>],
        way: &Way,
        now: Instant,
    ) -> Result<usize, (usize, Instant)> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let mut consumed = 0;
            for slice in slices {
                let mut left: &[u8] = slice;
                while let Some((unit, rest)) = Unit::read(left) {
                    match state.judge(&unit, &self.shared, now) {
                        Verdict::Skip => {}
                        Verdict::Wait(until) => {
                            self.flush(state, way, scratch)
                                .map_err(|consumed| (consumed, now + FULL_PAUSE))?;
                            return Err((consumed, until));
                        }
                        Verdict::Send => {
                            if scratch.buffer.len() + unit.size() + 128 > BUFFER_MAX {
                                self.flush(state, way, scratch)
                                    .map_err(|consumed| (consumed, now + FULL_PAUSE))?;
                            }
                            state.write(&unit, scratch, consumed, now);
                        }
                    }
                    left = rest;
                    consumed += unit.size();
                }
                // What is no unit is passed over; nobody writes such.
                consumed += left.len();
            }
            self.flush(state, way, scratch).map_err(|consumed| (consumed, now + FULL_PAUSE))?;
            Ok(consumed)
        })
    }
}

impl Sink for Viewer {
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(way) = self.way.get() else { return Ok(slices.iter().map(|slice| slice.len()).sum()) };
        let now = Instant::now();
        let state = &mut *self.state.borrow_mut();
        let first = state.progress.bytes == 0;
        state.refill(now);
        let outcome = self.send_all(state, slices, &way, now);
        if first && state.progress.bytes > 0 {
            // Sound and pictures are to be aligned from the start.
            self.report(state, now);
            (self.on_wait)();
        }
        match outcome {
            Ok(consumed) => {
                self.waits.set(None);
                Ok(consumed)
            }
            Err((consumed, until)) => {
                if self.waits.replace(Some(until)) != Some(until) {
                    (self.on_wait)();
                }
                if consumed > 0 { Ok(consumed) } else { Err(io::ErrorKind::WouldBlock.into()) }
            }
        }
    }

    /// The session polls when [`Viewer::deadline`] has come, so no waker is kept.
    fn poll_send(&self, _: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        match self.try_send(&[IoSlice::new(head)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            outcome => Poll::Ready(outcome),
        }
    }
}

impl State {
    /// Where a track's segments lie.
    const fn place(kind: TrackKind) -> usize {
        match kind {
            TrackKind::Video => 0,
            _ => 1,
        }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_micros().min(1_000_000) as i64;
        self.refilled = now;
        if let Some(limit) = self.estimate.limit() {
            let bytes = limit as i64 / 8;
            self.progress.budget =
                (self.progress.budget + elapsed * bytes / 1_000_000).min(bytes / BURST_PART);
        }
    }

    fn judge(&mut self, unit: &Unit<'_>, shared: &Shared, now: Instant) -> Verdict {
        match unit.track.kind {
            TrackKind::Video => self.judge_picture(unit, shared, now),
            _ => self.judge_sound(unit, shared, now),
        }
    }

    fn judge_sound(&mut self, unit: &Unit<'_>, shared: &Shared, now: Instant) -> Verdict {
        let Some(clock) = self.audio.as_ref().filter(|line| line.codec == unit.codec).map(|line| line.clock)
        else {
            return Verdict::Skip;
        };
        let at = Timestamp::from_ticks(unit.ticks, clock);
        // Of several sounds in one coding the first that came.
        if self.progress.audio.segments > 0 && unit.track.index != self.progress.audio.layer {
            return Verdict::Skip;
        }
        if self.video.is_none() && self.progress.audio.expected != Some(unit.index) {
            // Sound alone starts with what is newest: there is no keyframe to start from.
            let from = shared.newest().max(at) - Timestamp::from_millis(60);
            self.progress.catch_up = CatchUp::new(from, from, now);
        }
        if at < self.progress.catch_up.edge {
            return Verdict::Skip;
        }
        if self.progress.audio.expected != Some(unit.index) {
            self.progress.audio.layer = unit.track.index;
            self.begin_segment(unit, i64::MIN);
        }
        Verdict::Send
    }

    fn judge_picture(&mut self, unit: &Unit<'_>, shared: &Shared, now: Instant) -> Verdict {
        let Some(line) = self.video.as_ref().filter(|line| line.codec == unit.codec) else {
            return Verdict::Skip;
        };
        let at = Timestamp::from_ticks(unit.ticks, line.clock);
        let clock = line.clock;
        let limited = self.estimate.limit().is_some();
        let flow = &mut self.progress.video;
        let is_wanted = unit.opens() && self.target == Some(unit.track.index);
        if unit.track.index != flow.layer {
            if !is_wanted || (limited && self.progress.budget < 0) {
                return Verdict::Skip;
            }
            flow.expected = None;
        }
        if flow.muted {
            if !unit.opens() || (limited && self.progress.budget < 0) {
                return Verdict::Skip;
            }
            flow.muted = false;
            flow.expected = None;
        } else if limited && self.progress.budget < 0 && unit.begins_frame() && !unit.opens() {
            flow.muted = true;
            self.stats.mutes += 1;
            return Verdict::Skip;
        }
        if flow.expected != Some(unit.index) {
            if !unit.begins_frame() {
                return Verdict::Skip;
            }
            flow.layer = unit.track.index;
            self.progress.catch_up = CatchUp::new(at, shared.newest(), now);
            self.begin_segment(unit, self.progress.catch_up.edge.to_ticks(clock));
        } else if unit.begins_frame()
            && let Some(due) = self.progress.catch_up.due(at).filter(|due| *due > now)
        {
            return Verdict::Wait(due);
        }
        Verdict::Send
    }

    fn begin_segment(&mut self, unit: &Unit<'_>, edge: i64) {
        let flow = match unit.track.kind {
            TrackKind::Video => &mut self.progress.video,
            _ => &mut self.progress.audio,
        };
        let segment = Segment { sequence: flow.sequence, index: unit.index, layer: unit.track.index, edge };
        self.segments[Self::place(unit.track.kind)].put(flow.segments, segment);
        flow.segments += 1;
    }

    /// Appends one packet to the scratch. `consumed` is what had been consumed before it.
    fn write(&mut self, unit: &Unit<'_>, scratch: &mut Scratch, consumed: usize, now: Instant) {
        let kind = unit.track.kind;
        let (line, flow) = match kind {
            TrackKind::Video => (self.video.as_ref(), self.progress.video),
            _ => (self.audio.as_ref(), self.progress.audio),
        };
        let Some(line) = line else { return };
        let segment = self.segments[Self::place(kind)].newest(flow.segments);
        let head = if unit.opens() { &line.opening } else { &line.plain };
        let len = head.template.len() + unit.payload.len() + self.sealer.profile().tag_len();
        let begins = scratch.begins_train(len);
        if begins {
            scratch.marks.push((self.progress, consumed));
        }
        let timestamp = line.origin.wrapping_add(segment.shown(unit.ticks) as u32);
        let at = scratch.buffer.len();
        head.template.write(
            unit.flags & flag::LAST != 0,
            flow.sequence as u16,
            timestamp,
            &mut scratch.buffer,
        );
        number(&mut scratch.buffer, at, head, &mut self.progress.transport, &mut self.estimate, len, now);
        scratch.buffer.extend_from_slice(unit.payload);
        if !self.sealer.seal(&mut scratch.buffer, at, head.template.len(), line.ssrc, flow.sequence) {
            if begins {
                scratch.marks.pop();
            }
            return;
        }
        scratch.join(len, begins);
        let flow = match kind {
            TrackKind::Video => &mut self.progress.video,
            _ => &mut self.progress.audio,
        };
        flow.sequence += 1;
        flow.expected = Some(unit.index + 1);
        flow.packets += 1;
        flow.bytes += unit.payload.len() as u64;
        self.progress.bytes += len as u64;
        self.progress.budget -= len as i64;
    }

    /// Appends a packet that was sent before under `sequence`.
    fn repeat(&mut self, ssrc: u32, sequence: u16, shared: &Shared, scratch: &mut Scratch, now: Instant) {
        let of = |line: &Option<Line>| line.as_ref().is_some_and(|line| line.ssrc == ssrc);
        let (line, flow, kind) = match (of(&self.video), of(&self.audio)) {
            (true, _) => (self.video.as_ref(), self.progress.video, TrackKind::Video),
            (_, true) => (self.audio.as_ref(), self.progress.audio, TrackKind::Audio),
            _ => return,
        };
        let Some(line) = line else { return };
        let behind = (flow.sequence as u16).wrapping_sub(sequence);
        if behind == 0 || behind > MISSED_MAX {
            return;
        }
        let place = Self::place(kind);
        let Some(full) = flow.sequence.checked_sub(u64::from(behind)) else { return };
        let Some(segment) = self.segments[place].of(flow.segments, full) else { return };
        let index = segment.index + (full - segment.sequence);
        let (sealer, progress, estimate, repeats) =
            (&self.sealer, &mut self.progress, &mut self.estimate, &mut self.repeats[place]);
        let written = shared.missed(TrackId::new(kind, segment.layer), index, |unit| {
            let timestamp = line.origin.wrapping_add(segment.shown(unit.ticks) as u32);
            let marker = unit.flags & flag::LAST != 0;
            let plain = if unit.opens() { &line.opening } else { &line.plain };
            let (head, ssrc, number_of, prefix) = match &line.rtx {
                Some((head, ssrc)) => (head, *ssrc, *repeats, &rtx::prefix(sequence)[..]),
                None => (plain, line.ssrc, full, &[][..]),
            };
            if line.rtx.is_none() && plain.transport_at.is_some() {
                // With another transport-wide number it would be another packet under the same key and number.
                return None;
            }
            let len = head.template.len() + prefix.len() + unit.payload.len() + sealer.profile().tag_len();
            let begins = scratch.begins_train(len);
            let at = scratch.buffer.len();
            head.template.write(marker, number_of as u16, timestamp, &mut scratch.buffer);
            number(&mut scratch.buffer, at, head, &mut progress.transport, estimate, len, now);
            scratch.buffer.extend_from_slice(prefix);
            scratch.buffer.extend_from_slice(unit.payload);
            let sealed = sealer.seal(&mut scratch.buffer, at, head.template.len(), ssrc, number_of);
            sealed.then(|| scratch.join(len, begins)).map(|()| len)
        });
        if let Some(len) = written.flatten() {
            *repeats += u64::from(line.rtx.is_some());
            self.stats.resent += 1;
            self.progress.bytes += len as u64;
            self.resend_budget -= len as i64;
        }
    }
}

/// Writes the transport-wide number of the packet that begins at `at`, if it has one.
fn number(
    buffer: &mut [u8],
    at: usize,
    head: &Head,
    next: &mut u16,
    estimate: &mut Estimate,
    len: usize,
    now: Instant,
) {
    if let Some(place) = head.transport_at
        && let Some(bytes) = buffer.get_mut(at + place..at + place + 2)
    {
        bytes.copy_from_slice(&next.to_be_bytes());
        estimate.on_sent(*next, len, now);
        *next = next.wrapping_add(1);
    }
}
