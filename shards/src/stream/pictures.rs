//! Where a stream's groups begin: at keyframes, or now and then in sound where there are no pictures.
//!
//! Invariant: no inter frame is passed on before a publisher's first keyframe, unless it never sends one. Units:
//! microseconds of media time.

use super::Scene;
use crate::media::{Frame, FrameKind, Timestamp, TrackId};

/// Pictures without any keyframe for so long are taken as they are (an encoder with intra refresh); joiners then start
/// anywhere, at most this far behind.
pub(super) const KEYLESS_MAX: Timestamp = Timestamp::from_millis(10_000);
/// Pictures that are silent for so long no longer keep listeners waiting for a keyframe.
pub(super) const QUIET_MAX: Timestamp = Timestamp::from_millis(3_000);

/// What a frame does to the group of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It goes nowhere: there was no keyframe before it.
    Dropped,
    /// It begins a group.
    Opens,
    /// It belongs to the group that is open, if one is.
    Joins,
    /// It needs pictures that the open group does not hold: nobody may start from that any more.
    Spoils,
}

/// What is known of a publisher's pictures; see the module.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    /// No keyframe came yet.
    awaiting_key: bool,
    /// Inter frames that came instead of a keyframe, since this time.
    keyless_since: Option<Timestamp>,
    /// The publisher sends no keyframes.
    keyless: bool,
    last: Option<Timestamp>,
    /// The newest group began with sound.
    sound_group: bool,
}

impl Pictures {
    /// Another publisher has other pictures.
    pub(super) fn publisher_changed(&mut self) {
        *self = Self { awaiting_key: true, ..Self::default() };
    }

    /// What comes needs a keyframe first: pictures appeared, or nobody got the one that there was.
    pub(super) fn await_key(&mut self) {
        self.awaiting_key = true;
        self.keyless_since = None;
    }

    /// Judges `frame`. `group` is when the open group started; `audio_group` how long one of sound lasts; `gathering`:
    /// tracks are still coming.
    pub(super) fn admit(
        &mut self,
        frame: &mut Frame,
        scene: &Scene,
        group: Option<Timestamp>,
        audio_group: Timestamp,
        gathering: bool,
    ) -> Admission {
        let age = group.map(|start| frame.dts - start);
        let admission = match frame.track {
            TrackId::VIDEO => self.admit_picture(frame, age),
            TrackId::AUDIO => self.admit_sound(frame, scene, age, audio_group, gathering),
            _ => Admission::Joins,
        };
        if admission == Admission::Opens {
            self.sound_group = frame.track == TrackId::AUDIO;
        }
        admission
    }

    fn admit_picture(&mut self, frame: &mut Frame, age: Option<Timestamp>) -> Admission {
        self.last = Some(frame.dts);
        if frame.kind == FrameKind::Key {
            (self.awaiting_key, self.keyless) = (false, false);
            return Admission::Opens;
        }
        if self.awaiting_key {
            let since = *self.keyless_since.get_or_insert(frame.dts);
            if frame.dts - since < KEYLESS_MAX {
                return Admission::Dropped;
            }
            (self.awaiting_key, self.keyless) = (false, true);
        }
        if self.keyless && (self.sound_group || age.is_none_or(|age| age >= KEYLESS_MAX)) {
            frame.kind = FrameKind::Key;
            return Admission::Opens;
        }
        if self.sound_group && age.is_some() { Admission::Spoils } else { Admission::Joins }
    }

    fn admit_sound(
        &self,
        frame: &Frame,
        scene: &Scene,
        age: Option<Timestamp>,
        audio_group: Timestamp,
        gathering: bool,
    ) -> Admission {
        let listeners_only = match self.last {
            _ if !scene.has_video() => true,
            // A frozen picture is better than none: a group that has one stays as long as it can.
            _ if age.is_some() && !self.sound_group => false,
            Some(last) => frame.dts - last > QUIET_MAX,
            None => !gathering,
        };
        let is_due = age.is_none_or(|age| age >= audio_group);
        if listeners_only && is_due { Admission::Opens } else { Admission::Joins }
    }
}
