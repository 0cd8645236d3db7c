//! The state of a stream: who sits, what flows, who listens.
//!
//! A publisher's stream first *gathers*: frames go to the cache only, until it is known which tracks there are (so that an
//! FLV header can tell the truth). Then it *runs*. What its renditions are told from then on, its mirrors on other shards are
//! told as [`Step`]s; a mirror does the same to its own renditions.

mod follow;
mod seat;
mod sound;
mod stats;

use std::{
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use seat::{Phase, Seat};
use stats::Rate;
pub use stats::{Dropped, StreamStats, Totals};

use super::{
    Leave, RenditionKind, Scene, Sink, StreamOptions,
    derive::Derived,
    gop::{Change, Changed, GopCache},
    mux::Mux,
    pictures::{Admission, Pictures},
    reader::Reader,
    rendition::Rendition,
    ring::{Cursor, Ring},
    step::Step,
    tap::Tap,
    timeline::Timeline,
};
use crate::media::{Frame, Metadata, Timestamp, Track, TrackId};

/// A rendition without readers is kept for so long: they often come back, and priming a new one costs.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(5);

pub(super) struct Inner {
    options: StreamOptions,
    seat: Option<Seat>,
    tokens: u64,
    phase: Phase,
    scene: Scene,
    timeline: Timeline,
    pictures: Pictures,
    gop: GopCache,
    /// The main sound in other codecs, while renditions need it.
    derived: Vec<Derived>,
    /// With the time since which nobody reads it.
    renditions: Vec<(Rendition, Option<Instant>)>,
    /// The mirrors on other shards.
    taps: Vec<Tap>,
    /// What viewers of mirrors came to that are no more, and how often those mirrors were overtaken.
    elsewhere: Totals,
    mirror_skips: u64,
    /// It is a mirror itself.
    mirror: bool,
    /// When the last publisher went.
    gone: Option<Instant>,
    /// The rendition where the walk goes on.
    walking: usize,
    /// Of pictures, sound and data.
    frames: [u64; 3],
    bytes_in: u64,
    rate: Rate,
    /// Of renditions that are no more.
    past: Totals,
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
            pictures: Pictures::default(),
            gop: GopCache::new(options.gop),
            derived: Vec::new(),
            renditions: Vec::new(),
            taps: Vec::new(),
            elsewhere: Totals::default(),
            mirror_skips: 0,
            mirror: false,
            gone: None,
            walking: 0,
            frames: [0; 3],
            bytes_in: 0,
            rate: Rate::default(),
            past: Totals::default(),
            dropped: Dropped::default(),
        }
    }

    /// Payload bytes from its publishers.
    pub(super) fn received(&self) -> u64 {
        if self.mirror { 0 } else { self.bytes_in }
    }

    #[cfg(test)]
    pub(super) fn options(&self) -> StreamOptions {
        self.options
    }

    pub(super) fn scene(&self) -> &Scene {
        &self.scene
    }

    // What the publisher gives.

    pub(super) fn track(&mut self, track: Track) {
        let appears = self.scene.track(track.id).is_none();
        if !self.scene.set_track(track.clone()) {
            return;
        }
        if appears && track.id == TrackId::VIDEO {
            // Groups that opened on sound alone are no start for pictures.
            self.forget_group();
            self.pictures.await_key();
        }
        if track.id == TrackId::AUDIO {
            self.settle_sound();
        }
        self.change(Changed::Track(track));
    }

    pub(super) fn metadata(&mut self, metadata: Metadata) {
        if self.scene.set_metadata(metadata.clone()) {
            self.change(Changed::Metadata(metadata));
        }
    }

    /// Passes on a change of the scene that has been made.
    fn change(&mut self, what: Changed) {
        let at = self.timeline.last().unwrap_or_default();
        let change = Change { what, at, generation: self.scene.generation() };
        let fits = self.gop.change(&change);
        if matches!(self.phase, Phase::Running) {
            for (rendition, _) in &mut self.renditions {
                rendition.change(&self.scene, &change);
            }
            self.tell_mirrors(|| Step::Change(change.clone()));
        }
        if !fits {
            self.forget_group();
        }
    }

    /// Tells the mirrors what the renditions here are told.
    fn tell_mirrors(&mut self, step: impl Fn() -> Step) {
        for tap in &mut self.taps {
            tap.note(step());
        }
    }

    pub(super) fn note_malformed(&mut self) {
        self.dropped.malformed += 1;
    }

    pub(super) fn frame(&mut self, mut frame: Frame) {
        self.frames[frame.track.kind as usize] += 1;
        self.bytes_in += frame.payload.len() as u64;
        if self.scene.track(frame.track).is_none() {
            self.dropped.no_track += 1;
            return;
        }
        self.timeline.place(&mut frame);
        let gathering = matches!(self.phase, Phase::Gathering { .. });
        let (group, audio_group) = (self.gop.start(), self.options.gop.audio_group);
        let admission = self.pictures.admit(&mut frame, &self.scene, group, audio_group, gathering);
        match admission {
            Admission::Dropped => {
                self.dropped.before_key += 1;
                return;
            }
            Admission::Opens => self.cache_group(frame.dts),
            Admission::Spoils => self.forget_group(),
            Admission::Joins => {}
        }
        let fits = self.cache(&frame);
        if gathering {
            if !fits {
                self.forget_group();
            }
            if !self.is_gathered(&frame) {
                return;
            }
            self.run();
            // Renditions have it from the cache, or it is a picture whose keyframe nobody got.
            if self.gop.is_open() || frame.is_video() {
                return;
            }
        }
        if admission == Admission::Opens {
            self.open_group(frame.dts);
        }
        self.pass(&frame);
        if !fits {
            self.forget_group();
        }
    }

    /// The cache starts anew with the next frame, at `at`.
    fn cache_group(&mut self, at: Timestamp) {
        self.gop.open(&self.scene, at);
        self.derived.iter_mut().for_each(|derived| derived.open_group(at));
    }

    /// Keeps a frame for joiners, and for those who need its sound made. `false`: the group outgrew its bounds.
    fn cache(&mut self, frame: &Frame) -> bool {
        self.derived.iter_mut().for_each(|derived| derived.push(frame));
        self.gop.push(frame)
    }

    /// A group starts with the next frame, at `at`, in all renditions.
    fn open_group(&mut self, at: Timestamp) {
        for (rendition, _) in &mut self.renditions {
            rendition.open_group(&self.scene, at);
        }
        let party = self.seat.as_ref().map(|seat| &seat.party);
        for tap in &mut self.taps {
            tap.open(party, &self.scene, at);
        }
    }

    /// Passes a frame on.
    fn pass(&mut self, frame: &Frame) {
        for (rendition, _) in &mut self.renditions {
            rendition.frame(&self.scene, frame);
        }
        for tap in &mut self.taps {
            tap.note(Step::Frame(frame.clone()));
        }
    }

    /// Nobody may start from the newest group any more.
    fn forget_group(&mut self) {
        self.gop.clear();
        if matches!(self.phase, Phase::Gathering { .. }) {
            // Its keyframe was in the cache and nowhere else.
            self.pictures.await_key();
        }
        self.derived.iter_mut().for_each(Derived::forget_group);
        for (rendition, _) in &mut self.renditions {
            rendition.forget_group();
        }
        self.tell_mirrors(|| Step::Forget);
    }

    /// Seals what gathered, if it is to leave at once; tells what work the pump has.
    pub(super) fn flush(&mut self, at_once: bool) -> Work {
        if at_once {
            self.seal();
        }
        let is_full = |(rendition, _): &(Rendition, _)| rendition.is_full();
        match self.renditions.is_empty() && self.taps.is_empty() {
            true => Work::None,
            false if at_once || self.renditions.iter().any(is_full) => Work::Now,
            false => Work::InTime,
        }
    }

    // Readers.

    pub(super) fn join(
        &mut self,
        kind: RenditionKind,
        mux: impl FnOnce() -> Box<dyn Mux>,
        sink: Rc<dyn Sink>,
        now: Instant,
    ) -> usize {
        let waits_for_next = !self.options.gop.enable;
        let rendition = self.obtain(kind, mux);
        let earliest = if waits_for_next { rendition.next() } else { Cursor::default() };
        let slot = rendition.join(Reader::new(sink, earliest, now));
        self.serve(kind, slot, now);
        slot
    }

    /// Moves a reader to the rendition `kind`; its place there, if it was where `from` says.
    pub(super) fn switch(
        &mut self,
        from: (RenditionKind, usize),
        kind: RenditionKind,
        mux: impl FnOnce() -> Box<dyn Mux>,
        now: Instant,
    ) -> Option<usize> {
        let reader = self.rendition(from.0)?.take(from.1)?;
        let waits_for_next = !self.options.gop.enable || reader.has_started();
        let rendition = self.obtain(kind, mux);
        let earliest = if waits_for_next { rendition.next() } else { Cursor::default() };
        let slot = rendition.join(reader.moved(earliest));
        self.serve(kind, slot, now);
        Some(slot)
    }

    /// The rendition `kind`, made if need be.
    fn obtain(&mut self, kind: RenditionKind, mux: impl FnOnce() -> Box<dyn Mux>) -> &mut Rendition {
        let known = self.renditions.iter().position(|(rendition, _)| rendition.kind == kind);
        let at = known.unwrap_or_else(|| {
            let ring = Ring::new(self.options.ring, self.options.gop.enable);
            let rendition = Rendition::new(kind, mux(), ring, self.options.batch_bytes_max);
            self.renditions.push((rendition, None));
            let at = self.renditions.len() - 1;
            self.settle_sound_of(at);
            if matches!(self.phase, Phase::Running) {
                self.prime(at);
            }
            at
        });
        let (rendition, unread) = &mut self.renditions[at];
        *unread = None;
        rendition
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

    /// How far a reader is behind its rendition.
    pub(super) fn lag(&self, kind: RenditionKind, slot: usize) -> Timestamp {
        let rendition =
            self.renditions.iter().map(|(rendition, _)| rendition).find(|found| found.kind == kind);
        let cursor = rendition.and_then(|rendition| Some((rendition, rendition.reader(slot)?.cursor()?)));
        cursor.map_or(Timestamp::ZERO, |(rendition, cursor)| rendition.ring().lag(cursor))
    }

    #[cfg(test)]
    pub(super) fn ring(&self, kind: RenditionKind) -> Option<&Ring> {
        Some(self.renditions.iter().find(|(rendition, _)| rendition.kind == kind)?.0.ring())
    }

    pub(super) fn viewers(&self) -> usize {
        self.renditions.iter().map(|(rendition, _)| rendition.len()).sum()
    }

    // Time and the pump.

    /// Closes the open batches. Mirrors get theirs first: they send while this shard walks.
    pub(super) fn seal(&mut self) {
        self.taps.iter_mut().for_each(Tap::send);
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

    /// Time passes; tells what work the pump has.
    pub(super) fn tick(&mut self, now: Instant) -> Work {
        self.rate.tick(self.bytes_in, now);
        let overdue = self.is_gathering_overdue(now);
        if overdue {
            self.run();
        }
        for (rendition, unread) in &mut self.renditions {
            for reader in rendition.readers_mut() {
                let leave = match &self.seat {
                    None => overstays(reader, self.gone, &self.options, now),
                    Some(_) => None,
                };
                let is_stalled = |since| now.saturating_duration_since(since) >= self.options.stall;
                let stalls = reader.blocked_since().is_some_and(is_stalled).then_some(Leave::Stalled);
                if let Some(leave) = leave.or(stalls) {
                    reader.dismiss(leave);
                }
            }
            if rendition.is_unread() {
                unread.get_or_insert(now);
            }
        }
        self.drop_unread(now);
        // What found no room before.
        self.taps.iter_mut().for_each(Tap::send_again);
        if overdue { Work::Now } else { Work::None }
    }

    fn drop_unread(&mut self, now: Instant) {
        let past = &mut self.past;
        let before = self.renditions.len();
        self.renditions.retain(|(rendition, unread)| {
            let since = unread.filter(|_| rendition.is_unread());
            let keep = since.is_none_or(|since| now.saturating_duration_since(since) < UNREAD_MAX);
            if !keep {
                past.add(&rendition.totals());
            }
            keep
        });
        if self.renditions.len() < before {
            self.drop_idle_sound();
            // A walk may be under way, and those after the one that went moved up. Those that it is done with know so.
            self.walking = 0;
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        let may_return =
            self.gone.is_some_and(|gone| now.saturating_duration_since(gone) < self.options.grace);
        match self.mirror {
            // Nobody would miss it; the owner still tells those who come later.
            true => self.renditions.is_empty(),
            false => self.seat.is_none() && !may_return && self.viewers() == 0 && self.taps.is_empty(),
        }
    }
}

/// Why `reader` should not go on waiting for a publisher: none sits, the last one went at `gone`.
fn overstays(reader: &Reader, gone: Option<Instant>, options: &StreamOptions, now: Instant) -> Option<Leave> {
    let has_passed = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
    if reader.has_started() {
        return gone.is_some_and(|gone| has_passed(gone, options.grace)).then_some(Leave::Ended);
    }
    // While somebody sat there, it was not the publisher that was waited for.
    let since = gone.map_or(reader.since, |gone| gone.max(reader.since));
    has_passed(since, options.wait).then_some(Leave::NoPublisher)
}

/// What is left to do for the pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Nobody reads.
    None,
    /// Something gathers, and may leave when it has gathered long enough.
    InTime,
    /// Something should leave at once.
    Now,
}
