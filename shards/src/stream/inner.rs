//! The state of a stream: who sits, what flows, who listens.
//!
//! A publisher's stream first *gathers*: frames go to the cache only, until it is known which tracks there are (so that an
//! FLV header can tell the truth). Then it *runs*.

use std::{
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    Leave, Party, PublishError, RenditionKind, Repairs, Scene, Sink, StreamOptions, Takeover, gop::GopCache,
    mux::Mux, reader::Reader, rendition::Rendition, timeline::Timeline,
};
use crate::media::{Frame, FrameKind, Metadata, Timestamp, Track, TrackId};

/// How long tracks are gathered when nothing tells that all have come.
const GATHER_MEDIA_MAX: Timestamp = Timestamp::from_millis(500);
/// The same on the wall clock, for a publisher whose media stands still.
const GATHER_WALL_MAX: Duration = Duration::from_secs(1);
/// Pictures without any keyframe for so long are taken as they are (an encoder with intra refresh).
const KEYLESS_MAX: Timestamp = Timestamp::from_millis(10_000);
/// Pictures that are silent for so long no longer keep listeners waiting for a keyframe.
const QUIET_MAX: Timestamp = Timestamp::from_millis(3_000);
/// A rendition without readers is kept for so long: they often come back, and priming a new one costs.
const UNREAD_MAX: Duration = Duration::from_secs(5);

/// Frames that were accepted and not passed on, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Pictures before the publisher's first keyframe.
    pub before_key: u64,
    /// Frames of a track that was never announced (or one track too many).
    pub no_track: u64,
    /// What the publisher's protocol could not make sense of.
    pub malformed: u64,
}

/// A stream as an operator sees it.
#[derive(Clone, Debug)]
pub struct StreamStats {
    /// Who publishes.
    pub publisher: Option<Party>,
    /// Since when, in time of the shard's clock.
    pub uptime: Duration,
    /// What it consists of.
    pub scene: Scene,
    /// Frames received from all its publishers.
    pub frames: u64,
    /// Payload bytes received from all its publishers.
    pub bytes_in: u64,
    /// Payload bits a second from its publisher, over the last whole second or so.
    pub bitrate: u64,
    /// Bytes sent to all readers.
    pub bytes_out: u64,
    /// Readers of each rendition.
    pub readers: Vec<(RenditionKind, usize)>,
    /// Times that slow readers were overtaken.
    pub skips: u64,
    /// How far the slowest reader is behind, in media time.
    pub lag: Timestamp,
    /// Payload bytes in the cache of pictures.
    pub gop_bytes: usize,
    /// Groups that outgrew the cache.
    pub gop_overflows: u64,
    /// Repaired times.
    pub repairs: Repairs,
    /// What was not passed on.
    pub dropped: Dropped,
}

struct Seat {
    token: u64,
    party: Party,
    since: Instant,
    waker: Option<Waker>,
}

/// How fast bytes come in.
#[derive(Debug, Default)]
struct Rate {
    mark: Option<(Instant, u64)>,
    bits_per_second: u64,
}

impl Rate {
    fn tick(&mut self, bytes: u64, now: Instant) {
        let (since, before) = *self.mark.get_or_insert((now, bytes));
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Duration::from_secs(1) {
            self.bits_per_second = ((bytes - before) as f64 * 8.0 / elapsed.as_secs_f64()) as u64;
            self.mark = Some((now, bytes));
        }
    }
}

enum Phase {
    /// Nobody publishes.
    Idle,
    /// Tracks are still coming.
    Gathering { since: Instant, first: Option<Timestamp>, audio: Option<bool>, video: Option<bool> },
    /// Frames flow to the renditions.
    Running,
}

pub(super) struct Inner {
    options: StreamOptions,
    seat: Option<Seat>,
    tokens: u64,
    phase: Phase,
    scene: Scene,
    timeline: Timeline,
    gop: GopCache,
    renditions: Vec<(Rendition, Option<Instant>)>,
    /// Pictures wait for their first keyframe, since this time.
    keyless_since: Option<Timestamp>,
    awaiting_key: bool,
    last_video: Option<Timestamp>,
    /// When the last publisher went.
    gone: Option<Instant>,
    walking: usize,
    frames: u64,
    bytes_in: u64,
    rate: Rate,
    /// Skips and bytes of renditions that are no more.
    past: (u64, u64),
    dropped: Dropped,
}

impl Inner {
    pub(super) fn new(options: StreamOptions) -> Self {
        Self {
            options,
            seat: None,
            tokens: 0,
            phase: Phase::Idle,
            scene: Scene::default(),
            timeline: Timeline::new(options.jump_max),
            gop: GopCache::new(options.gop),
            renditions: Vec::new(),
            keyless_since: None,
            awaiting_key: false,
            last_video: None,
            gone: None,
            walking: 0,
            frames: 0,
            bytes_in: 0,
            rate: Rate::default(),
            past: (0, 0),
            dropped: Dropped::default(),
        }
    }

    // The seat.

    pub(super) fn take_seat(&mut self, party: Party, now: Instant) -> Result<u64, PublishError> {
        if let Some(seat) = &self.seat {
            if self.options.takeover == Takeover::Refuse {
                return Err(PublishError::Taken(seat.party.clone()));
            }
            self.leave_seat(seat.token, now);
        }
        self.tokens += 1;
        let token = self.tokens;
        self.seat = Some(Seat { token, party, since: now, waker: None });
        self.phase = Phase::Gathering { since: now, first: None, audio: None, video: None };
        self.scene = self.scene.successor();
        self.timeline.publisher_changed();
        self.awaiting_key = true;
        self.keyless_since = None;
        self.last_video = None;
        Ok(token)
    }

    pub(super) fn sits(&self, token: u64) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.token == token)
    }

    /// Wakes `waker` when the seat is lost; `false` when it is lost already.
    pub(super) fn watch_seat(&mut self, token: u64, waker: &Waker) -> bool {
        match &mut self.seat {
            Some(seat) if seat.token == token => {
                if !seat.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    seat.waker = Some(waker.clone());
                }
                true
            }
            _ => false,
        }
    }

    /// Frees the seat if `token` sits there; tells whether it did.
    pub(super) fn leave_seat(&mut self, token: u64, now: Instant) -> bool {
        let Some(seat) = self.seat.take_if(|seat| seat.token == token) else { return false };
        if let Some(waker) = seat.waker {
            waker.wake();
        }
        // A publisher that went before its tracks were known still gave what it gave.
        if matches!(self.phase, Phase::Gathering { first: Some(_), .. }) {
            self.run();
        }
        self.phase = Phase::Idle;
        self.gone = Some(now);
        self.gop.clear();
        for (rendition, _) in &mut self.renditions {
            rendition.forget_group();
        }
        true
    }

    pub(super) fn has_publisher(&self) -> bool {
        self.seat.is_some()
    }

    // What the publisher gives.

    pub(super) fn expect(&mut self, has_audio: Option<bool>, has_video: Option<bool>) {
        if let Phase::Gathering { audio, video, .. } = &mut self.phase {
            *audio = has_audio;
            *video = has_video;
        }
    }

    pub(super) fn track(&mut self, track: Track) {
        let appears = self.scene.track(track.id).is_none();
        if !self.scene.set_track(track.clone()) {
            return;
        }
        if appears && track.id == TrackId::VIDEO {
            // Groups that opened on sound alone are no start for pictures.
            self.forget_group();
            self.awaiting_key = true;
        }
        if !self.gop.track(&track) {
            self.forget_group();
        }
        if matches!(self.phase, Phase::Running) {
            let at = self.timeline.last().unwrap_or_default();
            let generation = self.scene.generation();
            for (rendition, _) in &mut self.renditions {
                rendition.seal();
                rendition.track(&track, at, generation);
                rendition.seal();
            }
        }
    }

    pub(super) fn metadata(&mut self, metadata: Metadata) {
        if self.scene.set_metadata(metadata) && matches!(self.phase, Phase::Running) {
            let at = self.timeline.last().unwrap_or_default();
            for (rendition, _) in &mut self.renditions {
                rendition.metadata(&self.scene, at);
            }
        }
    }

    pub(super) fn note_malformed(&mut self) {
        self.dropped.malformed += 1;
    }

    pub(super) fn frame(&mut self, mut frame: Frame) {
        self.frames += 1;
        self.bytes_in += frame.payload.len() as u64;
        if self.scene.track(frame.track).is_none() {
            self.dropped.no_track += 1;
            return;
        }
        self.timeline.place(&mut frame);
        if !self.may_pass(&mut frame) {
            self.dropped.before_key += 1;
            return;
        }
        let opens = self.opens_group(&frame);
        if opens {
            self.gop.open(&self.scene, frame.dts);
        }
        let fits = self.gop.push(&frame);
        match self.phase {
            Phase::Idle => {}
            Phase::Gathering { .. } => {
                if self.is_gathered(&frame) {
                    self.run();
                }
            }
            Phase::Running => {
                for (rendition, _) in &mut self.renditions {
                    if opens {
                        rendition.open_group(&self.scene, frame.dts);
                    }
                    rendition.frame(&self.scene, &frame);
                }
                if !fits {
                    self.forget_group();
                }
            }
        }
    }

    /// Pictures begin at a keyframe. A publisher that never sends one is taken at its word after a while.
    fn may_pass(&mut self, frame: &mut Frame) -> bool {
        if frame.track != TrackId::VIDEO {
            return true;
        }
        self.last_video = Some(frame.dts);
        if !self.awaiting_key {
            return true;
        }
        let since = *self.keyless_since.get_or_insert(frame.dts);
        if frame.kind != FrameKind::Key && frame.dts - since < KEYLESS_MAX {
            return false;
        }
        frame.kind = FrameKind::Key;
        self.awaiting_key = false;
        true
    }

    fn opens_group(&self, frame: &Frame) -> bool {
        if frame.is_video_key() {
            return true;
        }
        let due = self.gop.start().is_none_or(|start| frame.dts - start >= self.options.gop.audio_group);
        let quiet = || match self.last_video {
            Some(last) => frame.dts - last > QUIET_MAX,
            None => !matches!(self.phase, Phase::Gathering { .. }),
        };
        frame.track == TrackId::AUDIO && due && (!self.scene.has_video() || quiet())
    }

    fn is_gathered(&mut self, frame: &Frame) -> bool {
        let Phase::Gathering { first, audio, video, .. } = &mut self.phase else { return false };
        let first = *first.get_or_insert(frame.dts);
        let (has_audio, has_video) = (self.scene.has_audio(), self.scene.has_video());
        let all_here = match (*audio, *video) {
            (Some(audio), Some(video)) => audio <= has_audio && video <= has_video && (audio || video),
            _ => has_audio && has_video,
        };
        all_here || frame.dts - first >= GATHER_MEDIA_MAX
    }

    /// All tracks are known: the renditions begin.
    fn run(&mut self) {
        self.phase = Phase::Running;
        let at = self.timeline.last().unwrap_or_default();
        for (rendition, _) in &mut self.renditions {
            if self.gop.is_open() {
                rendition.prime(&self.gop, &self.scene);
            } else {
                // Sound goes on before the first keyframe; those who stayed need its parameters.
                rendition.metadata(&self.scene, at);
                for track in self.scene.tracks() {
                    rendition.track(track, at, self.scene.generation());
                }
                rendition.seal();
            }
        }
    }

    fn forget_group(&mut self) {
        self.gop.clear();
        for (rendition, _) in &mut self.renditions {
            rendition.forget_group();
        }
    }

    /// Seals what gathered, if it is to leave at once; tells whether the pump has work.
    pub(super) fn flush(&mut self, at_once: bool) -> bool {
        if at_once {
            self.seal();
        }
        !self.renditions.is_empty()
    }

    // Readers.

    pub(super) fn join(
        &mut self,
        kind: RenditionKind,
        mux: impl FnOnce() -> Box<dyn Mux>,
        sink: Rc<dyn Sink>,
        greeted: bool,
        now: Instant,
    ) -> usize {
        let at =
            self.renditions.iter().position(|(rendition, _)| rendition.kind == kind).unwrap_or_else(|| {
                let mut rendition =
                    Rendition::new(kind, mux(), self.options.ring, self.options.batch_bytes_max);
                if matches!(self.phase, Phase::Running) {
                    rendition.prime(&self.gop, &self.scene);
                }
                self.renditions.push((rendition, None));
                self.renditions.len() - 1
            });
        let (rendition, unread) = &mut self.renditions[at];
        *unread = None;
        let slot = rendition.join(sink, greeted, !self.options.gop.enable, now);
        rendition.serve(slot, &self.scene, now);
        slot
    }

    fn rendition(&mut self, kind: RenditionKind) -> Option<&mut Rendition> {
        self.renditions.iter_mut().map(|(rendition, _)| rendition).find(|rendition| rendition.kind == kind)
    }

    pub(super) fn leave(&mut self, kind: RenditionKind, slot: usize) -> Option<Reader> {
        self.rendition(kind)?.leave(slot)
    }

    pub(super) fn serve(&mut self, kind: RenditionKind, slot: usize, now: Instant) {
        if let Some((rendition, _)) = self.renditions.iter_mut().find(|(rendition, _)| rendition.kind == kind)
        {
            rendition.serve(slot, &self.scene, now);
        }
    }

    pub(super) fn poll(
        &mut self,
        kind: RenditionKind,
        slot: usize,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Leave> {
        self.rendition(kind).map_or(Poll::Pending, |rendition| rendition.poll(slot, cx, now))
    }

    pub(super) fn with_reader(&mut self, kind: RenditionKind, slot: usize, act: impl FnOnce(&mut Reader)) {
        if let Some(reader) = self.rendition(kind).and_then(|rendition| rendition.reader_mut(slot)) {
            act(reader);
        }
    }

    pub(super) fn reader(&self, kind: RenditionKind, slot: usize) -> Option<&Reader> {
        self.renditions.iter().find(|(rendition, _)| rendition.kind == kind)?.0.reader(slot)
    }

    pub(super) fn viewers(&self) -> usize {
        self.renditions.iter().map(|(rendition, _)| rendition.len()).sum()
    }

    // Time and the pump.

    pub(super) fn seal(&mut self) {
        for (rendition, _) in &mut self.renditions {
            rendition.seal();
        }
    }

    pub(super) fn begin_walk(&mut self) {
        self.seal();
        self.walking = 0;
        for (rendition, _) in &mut self.renditions {
            rendition.begin_walk();
        }
    }

    pub(super) fn walk(&mut self, now: Instant, expired: &mut dyn FnMut() -> bool) -> bool {
        while let Some((rendition, _)) = self.renditions.get_mut(self.walking) {
            if !rendition.walk(&self.scene, now, expired) {
                return false;
            }
            self.walking += 1;
        }
        true
    }

    /// Tells whether the pump has work.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        self.rate.tick(self.bytes_in, now);
        let mut work = false;
        if let Phase::Gathering { since, first: Some(_), .. } = self.phase
            && now.saturating_duration_since(since) >= GATHER_WALL_MAX
        {
            self.run();
            work = true;
        }
        let absent = self.seat.is_none();
        let graced = self.gone.is_some_and(|gone| now.saturating_duration_since(gone) >= self.options.grace);
        let options = self.options;
        for (rendition, unread) in &mut self.renditions {
            for reader in rendition.readers_mut() {
                let waited = now.saturating_duration_since(reader.since) >= options.wait;
                if absent && reader.has_started() && graced {
                    reader.dismiss(Leave::Ended);
                } else if absent && !reader.has_started() && waited {
                    reader.dismiss(Leave::NoPublisher);
                } else if reader
                    .blocked_since()
                    .is_some_and(|since| now.saturating_duration_since(since) >= options.stall)
                {
                    reader.dismiss(Leave::Stalled);
                }
            }
            if rendition.is_unread() {
                unread.get_or_insert(now);
            }
        }
        let past = &mut self.past;
        self.renditions.retain(|(rendition, unread)| {
            let keep = unread.is_none_or(|since| now.saturating_duration_since(since) < UNREAD_MAX);
            if !keep {
                past.0 += rendition.stats().skips;
                past.1 += rendition.stats().sent;
            }
            keep || !rendition.is_unread()
        });
        work
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        let may_return =
            self.gone.is_some_and(|gone| now.saturating_duration_since(gone) < self.options.grace);
        self.seat.is_none() && !may_return && self.viewers() == 0
    }

    pub(super) fn stats(&self, now: Instant) -> StreamStats {
        let mut stats = StreamStats {
            publisher: self.seat.as_ref().map(|seat| seat.party.clone()),
            uptime: self
                .seat
                .as_ref()
                .map_or(Duration::ZERO, |seat| now.saturating_duration_since(seat.since)),
            scene: self.scene.clone(),
            frames: self.frames,
            bytes_in: self.bytes_in,
            bitrate: self.rate.bits_per_second,
            bytes_out: self.past.1,
            readers: Vec::new(),
            skips: self.past.0,
            lag: Timestamp::ZERO,
            gop_bytes: self.gop.bytes(),
            gop_overflows: self.gop.overflows(),
            repairs: self.timeline.repairs(),
            dropped: self.dropped,
        };
        for (rendition, _) in &self.renditions {
            let own = rendition.stats();
            stats.bytes_out += own.sent;
            stats.skips += own.skips;
            stats.readers.push((rendition.kind, rendition.len()));
            for cursor in rendition.readers().filter_map(Reader::cursor) {
                stats.lag = stats.lag.max(rendition.ring().lag(cursor));
            }
        }
        stats
    }
}
