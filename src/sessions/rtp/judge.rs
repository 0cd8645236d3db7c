//! What of the stream a viewer gets now: which of its layers, from which keyframe on, and no faster than its way carries.
//!
//! A viewer whose way is too narrow for the layer that it gets goes down to one that fits, at that layer's next keyframe, which the
//! publisher is asked for. It goes up again when its way has shown that it carries more ([`repeat`](super::repeat)). Where no layer
//! fits, it gets keyframes, as far as it can afford them; once one fits again, the publisher is asked for one.
//!
//! One who joins starts at the newest keyframe that there is and catches up ([`flow`](super::flow)); should a newer one
//! come meanwhile, it goes on there instead. One who is far behind has the publisher asked for one.
//! Invariant: pictures of a layer go out from a keyframe on, whole and in order; time never runs backwards.

use std::time::Instant;

use shards::media::{Timestamp, TrackId, TrackKind};

use super::{
    flow::{CatchUp, Segment},
    mux::Shared,
    unit::Unit,
    viewer::State,
};

/// What a viewer with a limit may have ahead of it, in parts of a second.
const BURST_PART: i64 = 2;
/// Who is further behind has the publisher asked for a keyframe: catching up would take half a second.
const ASK_BEHIND: Timestamp = Timestamp::from_millis(2_000);

/// What becomes of a unit.
pub(super) enum Verdict {
    Skip,
    Send,
    /// Not before then.
    Wait(Instant),
}

impl State {
    /// Time has passed since the last refill: so much more may be sent.
    pub(super) fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_micros().min(1_000_000) as i64;
        self.refilled = now;
        if let Some(limit) = self.estimate.limit() {
            let bytes = limit as i64 / 8;
            self.progress.budget =
                (self.progress.budget + elapsed * bytes / 1_000_000).min(bytes / BURST_PART);
        }
    }

    /// Looks anew which layer suits the viewer.
    pub(super) fn choose_layer(&mut self, shared: &Shared, now: Instant) {
        let current = self.progress.video.layer;
        let (limit, own) = (self.estimate.limit(), self.estimate.is_jam_behind());
        let (best, rate, current_rate) = shared.layers(|layers| {
            self.estimate.set_wanted(layers.richest());
            let best = layers.choose(limit, current);
            (best, best.map_or(0, |best| layers.rate(best)), layers.rate(current))
        });
        self.fits = limit.is_none_or(|limit| rate <= limit);
        let is_richer = best != Some(current) && rate > current_rate && current_rate > 0;
        // A limit grows with time alone. Whoever had a jam shows first that more gets through now.
        if is_richer && own && self.can_probe() && !self.estimate.has_proven(rate) {
            self.begin_probe(rate, now);
            self.target = Some(current);
        } else {
            self.target = best;
        }
    }

    /// The layer of which it waits for a keyframe, if it does.
    pub(super) fn take_key_wish(&mut self) -> Option<u8> {
        self.video.as_ref()?;
        let flow = &self.progress.video;
        let other = self.target.filter(|target| flow.segments > 0 && *target != flow.layer);
        // One who was stopped goes on with a keyframe as soon as its layer fits again.
        let may_go_on = flow.muted && self.fits && self.progress.budget >= 0;
        let wants = std::mem::take(&mut self.key_wanted) || other.is_some() || may_go_on;
        wants.then(|| other.unwrap_or(flow.layer))
    }

    pub(super) fn judge(&mut self, unit: &Unit<'_>, shared: &Shared, now: Instant) -> Verdict {
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
        let (clock, at) = (line.clock, Timestamp::from_ticks(unit.ticks, line.clock));
        let is_other = unit.track.index != self.progress.video.layer;
        if is_other && !(unit.opens() && self.target == Some(unit.track.index)) {
            return Verdict::Skip;
        }
        if is_other && self.is_leaner(unit.track.index, shared) {
            // What the richer one overspent is not held against it.
            self.progress.budget = self.progress.budget.max(0);
        }
        let is_broke = self.estimate.limit().is_some() && self.progress.budget < 0;
        let flow = &mut self.progress.video;
        if is_other || flow.muted {
            if !unit.opens() || is_broke {
                return Verdict::Skip;
            }
            (flow.muted, flow.expected) = (false, None);
        } else if is_broke && unit.begins_frame() && !unit.opens() {
            flow.muted = true;
            self.stats.mutes += 1;
            return Verdict::Skip;
        }
        if unit.begins_frame() && at < self.progress.catch_up.edge {
            let key = shared.layers(|layers| layers.newest_key(unit.track.index));
            if key.is_some_and(|key| key > unit.index) && flow.segments > 0 {
                // Sooner live from there than by way of all that lies between.
                flow.muted = true;
                return Verdict::Skip;
            }
        }
        if flow.expected != Some(unit.index) {
            if !unit.begins_frame() {
                return Verdict::Skip;
            }
            flow.layer = unit.track.index;
            let newest = shared.newest();
            self.key_wanted |= newest - at > ASK_BEHIND;
            self.progress.catch_up = CatchUp::new(at, newest, now);
            self.begin_segment(unit, self.progress.catch_up.edge.to_ticks(clock));
        } else if unit.begins_frame()
            && let Some(due) = self.progress.catch_up.due(at).filter(|due| *due > now)
        {
            return Verdict::Wait(due);
        }
        Verdict::Send
    }

    fn is_leaner(&self, layer: u8, shared: &Shared) -> bool {
        shared.layers(|layers| layers.rate(layer) < layers.rate(self.progress.video.layer))
    }

    fn begin_segment(&mut self, unit: &Unit<'_>, edge: i64) {
        let flow = match unit.track.kind {
            TrackKind::Video => &mut self.progress.video,
            _ => &mut self.progress.audio,
        };
        let edge = match unit.track.kind {
            TrackKind::Video => flow.edge_after(unit.ticks, edge),
            _ => edge,
        };
        let segment = Segment { sequence: flow.sequence, index: unit.index, layer: unit.track.index, edge };
        self.segments[Self::place(unit.track.kind)].put(flow.segments, segment);
        flow.segments += 1;
    }

    /// The track that a layer is.
    pub(super) const fn track_of(layer: u8) -> TrackId {
        TrackId::new(TrackKind::Video, layer)
    }
}
