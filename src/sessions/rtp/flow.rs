//! How far a viewer has got: which packet it gets next under which number, and how it catches up with a stream that it joins.
//!
//! A stream's packets are numbered once ([`Unit::index`](super::unit::Unit::index)); a viewer sees its own numbers without gaps, so
//! that what was skipped is not missed. Each skip begins a [`Segment`]: within one, number and index differ by a constant.
//!
//! A joiner starts at a keyframe that may be seconds old. The frames since then are sent [`SPEED`] times as fast as they were made,
//! with timestamps as close together: to the receiver a stream that runs in real time from the first packet on, with more frames a
//! second until it has caught up. No jitter, no burst, nothing to wait out. Invariant: numbers never repeat, and times never run
//! backwards within a stream's order. Times are microseconds of the stream's clock.

use std::time::{Duration, Instant};

use shards::media::Timestamp;

/// How many times as fast as made. Two seconds of pictures take half a second.
pub const SPEED: i64 = 5;
/// Two frames of a track are shown so many ticks apart at least: a millisecond of pictures.
const STEP_MIN: i64 = 90;
/// Closer than this is live.
const BEHIND_MIN: Timestamp = Timestamp::from_millis(150);
/// Skips whose numbers are still known.
const SEGMENTS_MAX: usize = 4;

/// A run of packets without a skip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The viewer's number of its first packet, wraps counted.
    pub sequence: u64,
    /// The stream's index of that packet.
    pub index: u64,
    /// The layer it is of.
    pub layer: u8,
    /// The end of catching up, in ticks.
    pub edge: i64,
}

impl Segment {
    /// What the receiver sees as the time of a frame at `ticks`.
    pub const fn shown(&self, ticks: i64) -> i64 {
        if ticks < self.edge { self.edge - (self.edge - ticks) / SPEED } else { ticks }
    }
}

/// Segments by their number: the newest few.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segments([Segment; SEGMENTS_MAX]);

impl Segments {
    /// The segment that begins with number `count`.
    pub fn put(&mut self, count: u32, segment: Segment) {
        self.0[count as usize % SEGMENTS_MAX] = segment;
    }

    /// The newest of `count` segments.
    pub fn newest(&self, count: u32) -> Segment {
        self.0[count.wrapping_sub(1) as usize % SEGMENTS_MAX]
    }

    /// The one of `count` segments that has `sequence`, if it is still known.
    pub fn of(&self, count: u32, sequence: u64) -> Option<Segment> {
        let known = (count as usize).min(SEGMENTS_MAX) as u32;
        (1..=known).map(|back| self.newest(count - back + 1)).find(|segment| segment.sequence <= sequence)
    }
}

/// How far one track of a viewer has got.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The index that comes next without a skip; `None` before the first packet and where a skip was meant.
    pub expected: Option<u64>,
    /// The number that the next packet gets, wraps counted.
    pub sequence: u64,
    /// How many segments there have been.
    pub segments: u32,
    /// Which layer is sent.
    pub layer: u8,
    /// Nothing goes out until the next keyframe.
    pub muted: bool,
    /// Packets sent.
    pub packets: u64,
    /// Bytes of payload sent.
    pub bytes: u64,
    /// The latest time that the receiver has been given, in ticks.
    pub shown: Option<i64>,
}

impl Flow {
    /// Before the first packet, which gets a number in the lower half (RFC 3711 §3.3.1: so that both sides agree on the wraps).
    pub const fn new(origin: u32) -> Self {
        let sequence = (origin & 0x7fff) as u64;
        Self {
            expected: None,
            sequence,
            segments: 0,
            layer: 0,
            muted: false,
            packets: 0,
            bytes: 0,
            shown: None,
        }
    }

    /// The end of catching up for a segment that begins with a frame at `ticks`, so that it is shown after all that were
    /// shown before, be they of another layer or of a catch-up that was cut short: `edge`, or later.
    pub fn edge_after(&self, ticks: i64, edge: i64) -> i64 {
        // Shown is at least `ticks + (edge - ticks) * (SPEED - 1) / SPEED`.
        let behind = |shown: i64| (shown + STEP_MIN - ticks).max(0) * SPEED / (SPEED - 1);
        match self.shown.map(behind) {
            Some(behind) if behind > 0 => edge.max(ticks + behind + 1),
            _ => edge,
        }
    }
}

/// How a viewer catches up.
#[derive(Clone, Copy, Debug)]
pub struct CatchUp {
    began: Instant,
    from: Timestamp,
    /// From here on the viewer is live.
    pub edge: Timestamp,
}

impl CatchUp {
    /// Nothing to catch up with.
    pub const fn none(now: Instant) -> Self {
        Self { began: now, from: Timestamp::ZERO, edge: Timestamp::from_micros(i64::MIN / 2) }
    }

    /// A viewer starts at `from` while the stream is at `newest`.
    ///
    /// At `began + t` the stream is at `newest + t`, and the viewer at `from + SPEED * t`: they meet at the edge.
    pub fn new(from: Timestamp, newest: Timestamp, now: Instant) -> Self {
        let behind = newest - from;
        if behind < BEHIND_MIN {
            return Self { began: now, from, edge: from };
        }
        let edge = newest + Timestamp::from_micros(behind.micros() / (SPEED - 1));
        Self { began: now, from, edge }
    }

    /// When a frame at `at` may leave; `None`: at once.
    pub fn due(&self, at: Timestamp) -> Option<Instant> {
        if at >= self.edge || at <= self.from {
            return None;
        }
        let after = (at - self.from).micros() / SPEED;
        Some(self.began + Duration::from_micros(after.max(0) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joiner_meets_the_stream_and_sees_it_in_real_time() {
        let now = Instant::now();
        let millis = Timestamp::from_millis;
        // Two seconds of pictures of 40 ms since the keyframe.
        let catch_up = CatchUp::new(millis(10_000), millis(12_000), now);
        assert_eq!(catch_up.edge, millis(12_500));
        let segment = Segment { edge: catch_up.edge.to_ticks(90_000), ..Segment::default() };
        let mut last = None;
        for at in (10_000..12_600).step_by(40) {
            let left =
                catch_up.due(millis(at)).unwrap_or(now + Duration::from_millis((at - 12_000).max(0) as u64));
            let shown = segment.shown(millis(at).to_ticks(90_000));
            if let Some((left_before, shown_before)) = last.replace((left, shown)) {
                let (wall, media) =
                    ((left - left_before).as_micros() as i64, (shown - shown_before) * 1_000 / 90);
                assert!((wall - media).abs() < 100, "at {at}: {media} us of media in {wall} us");
            }
        }
        assert_eq!(segment.shown(catch_up.edge.to_ticks(90_000)), catch_up.edge.to_ticks(90_000));
    }

    #[test]
    fn who_is_live_already_waits_for_nothing() {
        let now = Instant::now();
        let catch_up = CatchUp::new(Timestamp::from_millis(1_000), Timestamp::from_millis(1_100), now);
        assert_eq!(catch_up.due(Timestamp::from_millis(1_050)), None);
        assert_eq!(CatchUp::none(now).due(Timestamp::ZERO), None);
    }

    #[test]
    fn time_runs_forwards_from_one_segment_to_the_next() {
        for (shown, ticks) in
            [(90_000, 90_000), (93_000, 90_000), (450_000, 90_000), (89_999, 90_000), (0, 9_000)]
        {
            for edge in [i64::MIN / 2, ticks, ticks + 9_000] {
                let flow = Flow { shown: Some(shown), ..Flow::new(0) };
                let segment = Segment { edge: flow.edge_after(ticks, edge), ..Segment::default() };
                assert!(segment.shown(ticks) >= shown + STEP_MIN, "{shown} {ticks} {edge}: {segment:?}");
                assert!(segment.shown(ticks + 3_000) > segment.shown(ticks));
                assert!(
                    segment.shown(ticks) <= (shown + STEP_MIN + 1).max(ticks + 7_201),
                    "no later than need be"
                );
            }
        }
        assert_eq!(Flow::new(0).edge_after(5, i64::MIN), i64::MIN);
    }

    #[test]
    fn numbers_are_found_in_the_segment_that_they_belong_to() {
        let mut segments = Segments::default();
        for n in 0..6 {
            segments.put(n, Segment { sequence: u64::from(n) * 100, ..Segment::default() });
        }
        assert_eq!(segments.of(6, 550).map(|segment| segment.sequence), Some(500));
        assert_eq!(segments.of(6, 200).map(|segment| segment.sequence), Some(200));
        assert_eq!(segments.of(6, 199), None, "forgotten");
        assert_eq!(segments.of(0, 0), None);
    }
}
