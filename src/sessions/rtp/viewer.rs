//! One viewer of the RTP rendition: a sink that heads, seals and sends what the stream's batches hold.
//!
//! All packets of one call are written into one buffer of the shard and leave in trains (UDP GSO). Nothing is allocated for a
//! packet, and nothing is kept: what a viewer missed is looked up in the stream's history (`repeat`). What it gets of the stream at all
//! is decided in `judge`.
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
    media::{TrackId, TrackKind},
    stream::Sink,
};

use super::{
    flow::{CatchUp, Flow, Segments},
    judge::Verdict,
    keys::Keys,
    line::{Head, Line, LineOptions},
    mux::Shared,
    repeat::{Probe, RESEND_BURST},
    reports::{Reports, ViewerStats},
    scratch::{SCRATCH, Scratch},
    unit::{Unit, flag},
};
use crate::{
    net::trains::{Train, Way},
    protocols::rtp::{
        estimate::Estimate,
        srtp::{KeyError, Opener, Sealer},
    },
};

/// What one flush holds at most: some trains.
const BUFFER_MAX: usize = 256 * 1024;
/// How long a full socket is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(2);

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
    /// A keyframe of this track.
    pub key: Option<TrackId>,
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
    pub(super) catch_up: CatchUp,
    /// The next transport-wide number.
    pub(super) transport: u16,
    /// What may be sent before pictures are stopped.
    pub(super) budget: i64,
    pub(super) bytes: u64,
}

/// See the module.
pub struct Viewer {
    pub(super) wire: Rc<dyn Wire>,
    pub(super) shared: Rc<Shared>,
    pub(super) way: Cell<Option<Way>>,
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
    pub(super) segments: [Segments; 2],
    /// The next numbers of retransmissions: of pictures, of sound.
    pub(super) repeats: [u64; 2],
    pub(super) estimate: Estimate,
    pub(super) refilled: Instant,
    pub(super) resend_budget: i64,
    pub(super) resend_refilled: Instant,
    /// The layer that it should get.
    pub(super) target: Option<u8>,
    /// The best layer that there is for it fits its way.
    pub(super) fits: bool,
    /// It cannot well go on without a keyframe.
    pub(super) key_wanted: bool,
    pub(super) probe: Option<Probe>,
    pub(super) reports: Reports,
    pub(super) stats: ViewerStats,
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
            fits: true,
            key_wanted: false,
            probe: None,
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

    /// Nothing goes to `peer` any more, by datagrams or by its line: somebody else is there now.
    pub fn lose_way(&self, peer: SocketAddr, is_line: bool) {
        self.way.set(self.way.get().filter(|way| (way.to, way.is_line) != (peer, is_line)));
    }

    /// When to call [`on_time`](Self::on_time), and to poll the subscriber, at the latest.
    pub fn deadline(&self) -> Instant {
        let state = self.state.borrow();
        let report = state.reports.due();
        let probe = state.probe.map_or(report, |probe| probe.next.min(report));
        self.waits.get().map_or(probe, |waits| waits.min(probe))
    }

    /// Time passed: reports and probes that are due leave. The track of which it needs a keyframe.
    pub fn on_time(&self, now: Instant) -> Option<TrackId> {
        let state = &mut *self.state.borrow_mut();
        state.estimate.on_total(state.progress.bytes, now);
        state.choose_layer(&self.shared, now);
        self.probe(state, now);
        if now >= state.reports.due() {
            self.report(state, now);
        }
        self.key_wish(state, now)
    }

    /// Whether [`on_time`](Self::on_time) has a keyframe to ask for.
    pub fn is_waiting_for_key(&self) -> bool {
        self.state.borrow().key_wanted
    }

    /// What it waits for, if the publisher should hear of that now.
    fn key_wish(&self, state: &mut State, now: Instant) -> Option<TrackId> {
        let layer = state.take_key_wish()?;
        self.shared.layers(|layers| layers.admits_key_request(layer, now)).then(|| State::track_of(layer))
    }

    /// A control packet came, still sealed; opened in place. What it asks of the stream; `None` when it is not the viewer's.
    pub fn on_rtcp(&self, packet: &mut [u8], now: Instant) -> Option<Wishes> {
        let state = &mut *self.state.borrow_mut();
        let mut missed = [(0, 0); 256];
        let (mut wishes, count) = state.hear(packet, &mut missed, now)?;
        self.resend(state, missed.get(..count).unwrap_or_default(), now);
        let was_probing = state.probe.is_some();
        state.choose_layer(&self.shared, now);
        wishes.key = self.key_wish(state, now);
        if state.probe.is_some() && !was_probing {
            (self.on_wait)();
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
        }
        if first || state.key_wanted {
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
    pub(super) const fn place(kind: TrackKind) -> usize {
        match kind {
            TrackKind::Video => 0,
            _ => 1,
        }
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
        let shown = segment.shown(unit.ticks);
        let timestamp = line.origin.wrapping_add(shown as u32);
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
        flow.shown = flow.shown.max(Some(shown));
        self.progress.bytes += len as u64;
        self.progress.budget -= len as i64;
    }
}

/// Writes the transport-wide number of the packet that begins at `at`, if it has one.
pub(super) fn number(
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
