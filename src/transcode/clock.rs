//! Where samples lie in the stream's time: a clock that counts samples and follows the frames' times.
//!
//! Times of frames are rounded, stumble and drift; samples do not. So the clock goes on by samples and leans a little
//! towards the time of each frame: 100 ppm of drift cost it 30 µs. What it cannot explain by jitter is a hole to be filled,
//! a frame that comes before its time, or a new beginning. Units: nanoseconds.

use shards::media::Timestamp;

/// One part of this many of a frame's error is taken over.
const LEAN: i64 = 16;
/// A frame that is late by so much of its own length misses another one before it.
const HOLE_NUM: i64 = 3;
const HOLE_DEN: i64 = 4;
/// The same at least, for tiny frames: clocks of milliseconds and their jitter are no holes.
const HOLE_MIN: i64 = 8_000_000;
/// A longer hole is not filled: sound begins anew after it.
pub(super) const HOLE_MAX: i64 = 1_000_000_000;
/// A frame that comes before its time by more is left out: there is more sound than time.
const EARLY_MAX: i64 = 60_000_000;

/// What a frame's time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the first one.
    Begins,
    /// It comes when it should.
    Follows,
    /// So much is missing before it.
    Hole(i64),
    /// So much is missing that sound begins anew with it.
    BeginsAnew,
    /// It is to be left out.
    Early,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// When the next sample is due.
    next: Option<i64>,
    /// Length of the last frame.
    frame: i64,
}

pub(super) const fn nanos(at: Timestamp) -> i64 {
    at.micros().saturating_mul(1_000)
}

/// How long `samples` last at `rate` Hz.
pub(super) const fn duration(samples: usize, rate: u32) -> i64 {
    (samples as i128 * 1_000_000_000 / if rate == 0 { 1 } else { rate as i128 }) as i64
}

impl Clock {
    /// Judges a frame of time `at`; one that follows sets the clock a little.
    pub(super) fn judge(&mut self, at: Timestamp) -> Verdict {
        let at = nanos(at);
        let Some(next) = self.next else {
            return Verdict::Begins;
        };
        let error = at.saturating_sub(next);
        if error > HOLE_MAX {
            Verdict::BeginsAnew
        } else if error >= (self.frame * HOLE_NUM / HOLE_DEN).max(HOLE_MIN) {
            Verdict::Hole(error)
        } else if error < -EARLY_MAX {
            Verdict::Early
        } else {
            self.next = Some(next + error / LEAN);
            Verdict::Follows
        }
    }

    /// The next sample is due at `at`.
    pub(super) fn set(&mut self, at: Timestamp) {
        self.next = Some(nanos(at));
    }

    /// A frame's samples passed.
    pub(super) fn frame(&mut self, duration: i64) {
        self.frame = duration;
        self.pass(duration);
    }

    /// Samples passed that no frame brought.
    pub(super) fn pass(&mut self, duration: i64) {
        self.next = self.next.map(|next| next.saturating_add(duration));
    }

    /// When the next sample is due.
    pub(super) fn next(&self) -> i64 {
        self.next.unwrap_or_default()
    }

    /// How long the last frame was.
    pub(super) fn frame_duration(&self) -> i64 {
        self.frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 20_000_000;

    fn running() -> Clock {
        let mut clock = Clock::default();
        assert_eq!(clock.judge(Timestamp::from_millis(5_000)), Verdict::Begins);
        clock.set(Timestamp::from_millis(5_000));
        clock.frame(FRAME);
        clock
    }

    #[test]
    fn jitter_and_rounding_are_smoothed() {
        let mut clock = running();
        for n in 1..500i64 {
            let jitter = [0, 7, -9, 3, -1, 9, -6][n as usize % 7];
            assert_eq!(clock.judge(Timestamp::from_millis(5_000 + n * 20 + jitter)), Verdict::Follows);
            let error = clock.next() - (5_000 + n * 20) * 1_000_000;
            assert!(error.abs() < 2_500_000, "{error} ns after {n} frames");
            clock.frame(FRAME);
        }
    }

    #[test]
    fn drift_is_followed_for_hours() {
        // The sender's samples are 200 ppm longer than its clock says.
        let mut clock = running();
        for n in 1..540_000i64 {
            let at = Timestamp::from_micros(5_000_000 + n * 20_004);
            assert_eq!(clock.judge(at), Verdict::Follows, "frame {n}");
            assert!((clock.next() - nanos(at)).abs() < 100_000);
            clock.frame(FRAME);
        }
    }

    #[test]
    fn what_is_missing_is_told_from_what_begins_anew_and_what_is_too_much() {
        let at = |ms: i64| running().judge(Timestamp::from_millis(5_020 + ms));
        assert_eq!(at(14), Verdict::Follows);
        assert_eq!(at(20), Verdict::Hole(20_000_000));
        assert_eq!(at(1_000), Verdict::Hole(1_000_000_000));
        assert_eq!(at(1_001), Verdict::BeginsAnew);
        assert_eq!(at(-60), Verdict::Follows);
        assert_eq!(at(-61), Verdict::Early);
        assert_eq!(running().judge(Timestamp::from_micros(i64::MIN)), Verdict::Early);
        assert_eq!(running().judge(Timestamp::from_micros(i64::MAX)), Verdict::BeginsAnew);
    }
}
