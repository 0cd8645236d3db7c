//! One clock for all that a stream ever publishes.
//!
//! Publishers restart, wrap, jump and stumble; players must not notice. Every frame's time is moved by one offset that
//! all tracks share, so that sound and picture stay together; a jump changes the offset, and stragglers from before the
//! jump still use the one before it.
//!
//! Invariant: within a track of pictures or sound, times that leave here strictly increase, by at least [`STEP_MIN`], from
//! zero at the earliest.
//! Units: [`Timestamp`], microseconds.

use crate::media::{Frame, Timestamp, TrackId, TrackKind};

/// Two frames of one track are at least this far apart: the resolution of RTMP and FLV.
pub const STEP_MIN: Timestamp = Timestamp::from_millis(1);

/// A track that steps back by more than this has jumped; by less, its encoder stumbled.
const STEP_BACK_MAX: Timestamp = Timestamp::from_millis(100);

/// What is assumed to lie between two frames when the publisher's clock cannot tell: a 25 Hz picture.
const STEP_ASSUMED: Timestamp = Timestamp::from_millis(40);

/// A first time stamp below this is kept as it is; a later one (a wall clock, a nearly wrapped counter) becomes zero.
const START_MAX: Timestamp = Timestamp::from_millis(10_000);

/// How often times were repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// The publisher's clock leapt ahead or fell back.
    pub jumps: u64,
    /// A frame was not later than the one before it in its track.
    pub stumbles: u64,
}

/// Where a track stands on the stream's clock.
#[derive(Clone, Copy, Debug)]
struct TrackClock {
    id: TrackId,
    last: Timestamp,
    step: Timestamp,
}

/// The clock of one stream; see the module.
#[derive(Debug)]
pub struct Timeline {
    jump_max: Timestamp,
    /// Added to the publisher's times; `None` until a publisher's first frame.
    offset: Option<Timestamp>,
    /// The offset before the latest jump.
    before_jump: Option<Timestamp>,
    /// The newest time of any track.
    last: Option<Timestamp>,
    tracks: Vec<TrackClock>,
    repairs: Repairs,
}

impl Timeline {
    /// `jump_max`: a larger step of the publisher's clock is taken for a jump.
    pub fn new(jump_max: Timestamp) -> Self {
        Self {
            jump_max,
            offset: None,
            before_jump: None,
            last: None,
            tracks: Vec::new(),
            repairs: Repairs::default(),
        }
    }

    /// From now on a step larger than this is a jump.
    pub fn set_jump_max(&mut self, jump_max: Timestamp) {
        self.jump_max = jump_max;
    }

    /// The newest time of any track.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// What was repaired so far.
    pub fn repairs(&self) -> Repairs {
        self.repairs
    }

    /// Another publisher takes over: its first frame will follow the last of the one before, whatever its clock says.
    pub fn publisher_changed(&mut self) {
        self.offset = None;
        self.before_jump = None;
    }

    /// Moves `frame` onto the stream's clock.
    pub fn place(&mut self, frame: &mut Frame) {
        let raw = frame.dts;
        let clock = self.tracks.iter().position(|clock| clock.id == frame.track);
        let offset = match self.offset {
            None => self.begin(raw),
            Some(offset) => self.choose(raw, offset, clock.map(|at| self.tracks[at])),
        };
        let mut dts = raw + offset;
        match clock {
            None => {
                // A track that leads the one that set the clock to zero; no wire form has times before that.
                dts = dts.max(Timestamp::ZERO);
                self.tracks.push(TrackClock { id: frame.track, last: dts, step: STEP_ASSUMED });
            }
            Some(at) => {
                let clock = &mut self.tracks[at];
                if frame.track.kind == TrackKind::Data {
                    dts = dts.max(clock.last);
                } else if dts < clock.last + STEP_MIN {
                    dts = clock.last + STEP_MIN;
                    self.repairs.stumbles += 1;
                }
                clock.step = (dts - clock.last).min(self.jump_max);
                clock.last = dts;
            }
        }
        self.last = Some(self.last.map_or(dts, |last| last.max(dts)));
        frame.dts = dts;
    }

    /// The offset for a publisher's first frame.
    fn begin(&mut self, raw: Timestamp) -> Timestamp {
        let offset = match self.last {
            Some(last) => last + STEP_ASSUMED - raw,
            None if raw >= Timestamp::ZERO && raw < START_MAX => Timestamp::ZERO,
            None => Timestamp::ZERO - raw,
        };
        self.offset = Some(offset);
        offset
    }

    /// The offset under which `raw` makes sense, or a new one if it makes sense under none.
    fn choose(&mut self, raw: Timestamp, offset: Timestamp, clock: Option<TrackClock>) -> Timestamp {
        let last = self.last.unwrap_or_default();
        let expected = clock.map_or(last, |clock| clock.last + clock.step);
        let misfit = |offset: Timestamp| {
            let dts = raw + offset;
            let sane = match clock {
                Some(clock) => dts + STEP_BACK_MAX >= clock.last && dts - last <= self.jump_max,
                None => dts - last <= self.jump_max && last - dts <= self.jump_max,
            };
            sane.then(|| (dts - expected).micros().abs())
        };
        let now = misfit(offset);
        let before = self.before_jump.and_then(|offset| misfit(offset).map(|misfit| (misfit, offset)));
        match (now, before) {
            (Some(now), Some((before, older))) if before < now => older,
            (Some(_), _) => offset,
            (None, Some((_, older))) => older,
            (None, None) => {
                self.repairs.jumps += 1;
                self.before_jump = Some(offset);
                let offset = last.max(expected) - raw;
                self.offset = Some(offset);
                offset
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameKind;

    fn place(timeline: &mut Timeline, track: TrackId, millis: i64) -> i64 {
        let mut frame = Frame {
            track,
            dts: Timestamp::from_millis(millis),
            composition: Timestamp::ZERO,
            kind: FrameKind::Key,
            payload: bytes::Bytes::new(),
        };
        timeline.place(&mut frame);
        frame.dts.millis()
    }

    fn timeline() -> Timeline {
        Timeline::new(Timestamp::from_millis(3_000))
    }

    #[test]
    fn a_well_behaved_clock_is_left_alone() {
        let mut t = timeline();
        for ms in 0..500 {
            assert_eq!(place(&mut t, TrackId::VIDEO, ms * 40), ms * 40);
            assert_eq!(place(&mut t, TrackId::AUDIO, ms * 40 + 7), ms * 40 + 7);
        }
        assert_eq!(t.repairs(), Repairs::default());
    }

    #[test]
    fn a_wall_clock_start_becomes_zero() {
        let mut t = timeline();
        assert_eq!(place(&mut t, TrackId::VIDEO, 4_294_967_000), 0);
        assert_eq!(place(&mut t, TrackId::AUDIO, 4_294_967_010), 10);
    }

    #[test]
    fn nothing_lies_before_zero() {
        let mut t = timeline();
        assert_eq!(place(&mut t, TrackId::VIDEO, 4_000_000), 0);
        assert_eq!(place(&mut t, TrackId::AUDIO, 3_999_980), 0);
        assert_eq!(place(&mut t, TrackId::AUDIO, 4_000_003), 3);
    }

    #[test]
    fn a_jump_moves_sound_and_picture_together() {
        for jump in [3_600_000, -3_600_000, -20_000] {
            let mut t = timeline();
            let start = 4_000_000;
            place(&mut t, TrackId::VIDEO, start);
            let mut last = 0;
            for ms in (0..20_000).step_by(40) {
                last = place(&mut t, TrackId::VIDEO, start + ms).max(place(
                    &mut t,
                    TrackId::AUDIO,
                    start + ms + 10,
                ));
            }
            let base = start + 20_000 + jump;
            let video = place(&mut t, TrackId::VIDEO, base);
            let straggler = place(&mut t, TrackId::AUDIO, start + 20_000 + 10);
            let audio = place(&mut t, TrackId::AUDIO, base + 50);
            assert!(video > last - 40 && video < last + 100, "jump {jump}: video {video} after {last}");
            assert!(straggler <= last + 60, "jump {jump}: a straggler keeps its old place: {straggler}");
            assert_eq!(audio - video, 50, "jump {jump}");
            assert_eq!(t.repairs().jumps, 1, "jump {jump}");
        }
    }

    #[test]
    fn clocks_that_never_agreed_are_each_followed() {
        let mut t = timeline();
        for ms in (0..4_000).step_by(20) {
            place(&mut t, TrackId::VIDEO, ms);
            place(&mut t, TrackId::AUDIO, 7_200_000 + ms);
        }
        assert_eq!(t.repairs().jumps, 1);
        let (video, audio) = (place(&mut t, TrackId::VIDEO, 4_000), place(&mut t, TrackId::AUDIO, 7_204_000));
        assert!((video - audio).abs() < 100, "{video} {audio}");
    }

    #[test]
    fn a_track_that_was_silent_comes_back_in_its_place() {
        let mut t = timeline();
        place(&mut t, TrackId::VIDEO, 0);
        for ms in (0..30_000).step_by(23) {
            place(&mut t, TrackId::AUDIO, ms);
        }
        assert_eq!(place(&mut t, TrackId::VIDEO, 29_990), 29_990);
        assert_eq!(t.repairs().jumps, 0);
    }

    #[test]
    fn times_that_stand_still_or_step_back_are_pushed_on() {
        let mut t = timeline();
        assert_eq!(place(&mut t, TrackId::VIDEO, 100), 100);
        assert_eq!(place(&mut t, TrackId::VIDEO, 100), 101);
        assert_eq!(place(&mut t, TrackId::VIDEO, 60), 102);
        assert_eq!(place(&mut t, TrackId::VIDEO, 140), 140);
        assert_eq!(t.repairs(), Repairs { jumps: 0, stumbles: 2 });
    }

    #[test]
    fn a_returning_publisher_goes_on_where_the_last_one_stopped() {
        let mut t = timeline();
        place(&mut t, TrackId::VIDEO, 5_000);
        place(&mut t, TrackId::AUDIO, 5_020);
        t.publisher_changed();
        assert_eq!(place(&mut t, TrackId::AUDIO, 0), 5_060);
        assert_eq!(place(&mut t, TrackId::VIDEO, 10), 5_070);
        assert_eq!(t.repairs(), Repairs::default());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_in_goes_out_in_order(times in proptest::collection::vec((0u8..3, -10_000_000i64..10_000_000), 1..200)) {
            let mut t = timeline();
            let mut last = std::collections::HashMap::new();
            for (index, ms) in times {
                let out = place(&mut t, TrackId::new(TrackKind::Video, index), ms);
                if let Some(before) = last.insert(index, out) {
                    proptest::prop_assert!(out > before);
                }
            }
        }
    }
}
