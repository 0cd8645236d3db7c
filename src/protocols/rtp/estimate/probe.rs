//! A run of packets that is sent faster than the stream, to see whether the way carries that.
//!
//! Its packets leave within some span of time. When they arrive within about the same span, and nearly all of them, the way carries
//! their rate; when they are spread out, it carries what the spread says. Units: microseconds, bytes, bits a second.

use std::time::{Duration, Instant};

/// Arrivals may be spread so much more than departures, in percent, and besides by so much: datagrams are read in bunches.
const SPREAD: i64 = 120;
const SPREAD_BESIDES: i64 = 20_000;
/// More than one in so many lost is a jam.
const LOST_PART: u32 = 10;
/// Feedback for its last packets that does not come in this time is taken for loss.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// Fewer packets tell nothing.
const PACKETS_MIN: u32 = 5;

/// What a probe has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it gets through.
    Through,
    /// Only so much does.
    Held(u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Probe {
    first: u16,
    rate: u64,
    /// How many numbers it has, and when the last of them left; once it is complete.
    sent: Option<(u16, Instant)>,
    told: u32,
    lost: u32,
    bytes: u64,
    /// Departure and arrival of the first and the last packet that arrived.
    span: Option<[(i64, i64); 2]>,
}

impl Probe {
    /// From the number `first` on.
    pub(super) const fn new(first: u16, rate: u64) -> Self {
        Self { first, rate, sent: None, told: 0, lost: 0, bytes: 0, span: None }
    }

    /// What is tried.
    pub(super) const fn rate(&self) -> u64 {
        self.rate
    }

    /// It is complete: its last number was the one before `end`.
    pub(super) fn end(&mut self, end: u16, now: Instant) {
        self.sent = Some((end.wrapping_sub(self.first), now));
    }

    /// The packet of this number, of so many bytes, left at `left`; and arrived, or did not.
    pub(super) fn arrived(&mut self, sequence: u16, bytes: u16, left: i64, at: Option<i64>) {
        let place = sequence.wrapping_sub(self.first);
        let count = self.sent.map_or(0x7fff, |(count, _)| count);
        if place >= count {
            return;
        }
        self.told += 1;
        let Some(at) = at else {
            self.lost += 1;
            return;
        };
        match &mut self.span {
            // The first packet's bytes came before the span began.
            None => self.span = Some([(left, at); 2]),
            Some([first, last]) => {
                self.bytes += u64::from(bytes);
                first.1 = first.1.min(at);
                *last = (last.0.max(left), last.1.max(at));
            }
        }
    }

    /// What has come of it, once that is known.
    pub(super) fn outcome(&self, now: Instant) -> Option<Outcome> {
        let (count, ended) = self.sent?;
        if self.told < u32::from(count) && now.saturating_duration_since(ended) < PATIENCE {
            return None;
        }
        let Some([first, last]) = self.span else { return Some(Outcome::Held(0)) };
        let (left, arrived) = (last.0 - first.0, last.1 - first.1);
        let through = self.bytes * 8_000_000 / arrived.max(1) as u64;
        let lost = self.lost + u32::from(count).saturating_sub(self.told);
        let is_spread = arrived > left * SPREAD / 100 + SPREAD_BESIDES;
        let is_lossy = lost * LOST_PART > u32::from(count);
        Some(match is_spread || is_lossy || u32::from(count) < PACKETS_MIN {
            true => Outcome::Held(through),
            false => Outcome::Through,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty packets of 1,000 bytes in a tenth of a second, 1.6 Mbit/s, through a way of `capacity`; of which some are lost.
    fn outcome(capacity: i64, lost: u16) -> Option<Outcome> {
        let now = Instant::now();
        let mut probe = Probe::new(65_530, 1_600_000);
        assert_eq!(probe.outcome(now), None, "under way");
        let (mut free, count) = (0, 20_u16);
        for n in 0..count {
            let left = i64::from(n) * 5_000;
            free = left.max(free) + 8_000_000_000 / capacity;
            let at = (n >= lost).then_some(free);
            probe.arrived(65_530_u16.wrapping_add(n), 1_000, left, at);
        }
        probe.end(65_530_u16.wrapping_add(count), now);
        probe.arrived(65_529, 1_000, 0, Some(9_000_000));
        probe.outcome(now)
    }

    #[test]
    fn what_arrives_as_it_left_is_carried() {
        assert_eq!(outcome(100_000_000, 0), Some(Outcome::Through));
        assert_eq!(outcome(1_700_000, 0), Some(Outcome::Through));
        assert_eq!(outcome(100_000_000, 2), Some(Outcome::Through), "radio loses some");
    }

    #[test]
    fn what_is_spread_out_or_lost_is_held() {
        let Some(Outcome::Held(rate)) = outcome(800_000, 0) else { panic!("half of it is carried") };
        assert!((700_000..900_000).contains(&rate), "{rate}");
        assert!(matches!(outcome(100_000_000, 3), Some(Outcome::Held(_))));
    }

    #[test]
    fn feedback_that_does_not_come_is_loss() {
        let now = Instant::now();
        let mut probe = Probe::new(0, 1_000_000);
        probe.end(20, now);
        assert_eq!(probe.outcome(now), None);
        assert_eq!(probe.outcome(now + PATIENCE), Some(Outcome::Held(0)));
    }
}
