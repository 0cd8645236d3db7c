//! The publisher's seat, and how a publisher's stream begins and ends.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use super::Inner;
use crate::{
    media::{Frame, Timestamp},
    stream::{Party, PublishError, Step, Takeover},
};

/// How long tracks are gathered when nothing tells that all have come.
const GATHER_MEDIA_MAX: Timestamp = Timestamp::from_millis(500);
/// The same on the wall clock, for a publisher whose media stands still.
const GATHER_WALL_MAX: Duration = Duration::from_secs(1);

pub(super) struct Seat {
    pub(super) token: u64,
    pub(super) party: Party,
    pub(super) since: Instant,
    pub(super) waker: Option<Waker>,
}

pub(super) enum Phase {
    /// Nobody publishes.
    Idle,
    /// Tracks are still coming. `first` is the time of the first frame that was passed on; `audio` and `video` are what
    /// the publisher announced.
    Gathering { since: Instant, first: Option<Timestamp>, audio: Option<bool>, video: Option<bool> },
    /// Frames flow to the renditions.
    Running,
}

impl Inner {
    pub(in crate::stream) fn take_seat(&mut self, party: Party, now: Instant) -> Result<u64, PublishError> {
        if let Some(seat) = &self.seat {
            if self.options.takeover == Takeover::Refuse {
                return Err(PublishError::Taken(seat.party.clone()));
            }
            self.leave_seat(seat.token, now);
        }
        self.tokens += 1;
        let token = self.tokens;
        self.tell_mirrors(|| Step::Seated(party.clone()));
        self.seat = Some(Seat { token, party, since: now, waker: None });
        self.phase = Phase::Gathering { since: now, first: None, audio: None, video: None };
        self.scene = self.scene.successor();
        self.timeline.publisher_changed();
        self.pictures.publisher_changed();
        self.gop.begin_gathering();
        Ok(token)
    }

    pub(in crate::stream) fn sits(&self, token: u64) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.token == token)
    }

    pub(in crate::stream) fn has_publisher(&self) -> bool {
        self.seat.is_some()
    }

    /// Whether all tracks are known.
    pub(in crate::stream) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Wakes `waker` when the seat is lost; `false` when it is lost already.
    pub(in crate::stream) fn watch_seat(&mut self, token: u64, waker: &Waker) -> bool {
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
    pub(in crate::stream) fn leave_seat(&mut self, token: u64, now: Instant) -> bool {
        let Some(seat) = self.seat.take_if(|seat| seat.token == token) else { return false };
        if let Some(waker) = seat.waker {
            waker.wake();
        }
        // A publisher that went before its tracks were known still gave what it gave.
        if matches!(self.phase, Phase::Gathering { first: Some(_), .. }) {
            self.run();
        }
        // First, so that there as here those who wait may still start from what was given.
        self.tell_mirrors(|| Step::Vacant);
        self.vacate(now);
        true
    }

    /// The publisher has gone: all that it gave is sealed, and nobody starts from it any more.
    pub(super) fn vacate(&mut self, now: Instant) {
        self.phase = Phase::Idle;
        self.gone = Some(now);
        for (rendition, _) in &mut self.renditions {
            rendition.seal();
            rendition.start_waiting(&self.scene);
        }
        self.forget_group();
    }

    pub(in crate::stream) fn expect(&mut self, has_audio: Option<bool>, has_video: Option<bool>) {
        if let Phase::Gathering { audio, video, .. } = &mut self.phase {
            *audio = has_audio;
            *video = has_video;
        }
    }

    /// Whether all tracks are known, now that `frame` has come, or nobody should wait for more.
    pub(super) fn is_gathered(&mut self, frame: &Frame) -> bool {
        let Phase::Gathering { first, audio, video, .. } = &mut self.phase else { return false };
        let first = *first.get_or_insert(frame.dts);
        let (has_audio, has_video) = (self.scene.has_audio(), self.scene.has_video());
        let all_here = (has_audio || *audio == Some(false)) && (has_video || *video == Some(false));
        (all_here && (has_audio || has_video)) || frame.dts - first >= GATHER_MEDIA_MAX
    }

    /// Whether tracks have been gathered for too long by the wall clock.
    pub(super) fn is_gathering_overdue(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Gathering { since, first: Some(_), .. }
            if now.saturating_duration_since(since) >= GATHER_WALL_MAX)
    }

    /// All tracks are known: the renditions begin.
    pub(super) fn run(&mut self) {
        self.phase = Phase::Running;
        let now = self.timeline.last().unwrap_or_default();
        self.settle_sound();
        for at in 0..self.renditions.len() {
            if self.gop.is_open() {
                self.prime(at);
            } else {
                // Sound goes on before the first keyframe; those who stayed need its parameters.
                self.renditions[at].0.describe(&self.scene, now);
            }
        }
        if !self.taps.is_empty() {
            let steps = self.so_far(now);
            self.taps.iter_mut().for_each(|tap| tap.note_all(steps.iter().cloned()));
        }
        self.gop.end_gathering();
    }
}
