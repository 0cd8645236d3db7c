//! How fast something went over the last half minute: a few samples of two counters, and the rate between the oldest and now.
//!
//! Counters are bytes and only grow; rates are bits a second. Invariant: at most [`SAMPLES`] samples are kept, each at least
//! [`STEP`] after the one before, so that a window costs the same for ever.

use std::time::{Duration, Instant};

/// Between two samples, at least.
pub const STEP: Duration = Duration::from_secs(5);
/// How many are kept: together with the present they span half a minute.
pub const SAMPLES: usize = 6;
/// A shorter time tells nothing of a rate.
const SPAN_MIN: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Clone, Debug)]
pub struct Window {
    /// When it began; times of samples are milliseconds from here.
    start: Instant,
    samples: [Sample; SAMPLES],
    /// How many samples there have been, the first included.
    taken: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ms: u64,
    bytes: (u64, u64),
}

impl Window {
    /// Begins at `now`, with counters as they are then.
    pub fn new(now: Instant, bytes: (u64, u64)) -> Self {
        let mut samples = [Sample::default(); SAMPLES];
        samples[0] = Sample { at_ms: 0, bytes };
        Self { start: now, samples, taken: 1 }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes a sample, if the last one is long enough ago.
    pub fn sample(&mut self, now: Instant, bytes: (u64, u64)) {
        let at_ms = self.millis(now);
        let newest = self.samples[(self.taken as usize - 1) % SAMPLES];
        if u128::from(at_ms.saturating_sub(newest.at_ms)) >= STEP.as_millis() {
            self.samples[self.taken as usize % SAMPLES] = Sample { at_ms, bytes };
            // Which one is the oldest must stay true when the count comes round.
            self.taken = self.taken.checked_add(1).unwrap_or(SAMPLES as u32);
        }
    }

    /// Bits a second of both counters from the oldest sample to `now`, when they stand at `bytes`.
    pub fn rates(&self, now: Instant, bytes: (u64, u64)) -> (u64, u64) {
        let oldest = match self.taken as usize {
            taken if taken <= SAMPLES => self.samples[0],
            taken => self.samples[taken % SAMPLES],
        };
        let span_ms = self.millis(now).saturating_sub(oldest.at_ms);
        if u128::from(span_ms) < SPAN_MIN.as_millis() {
            return (0, 0);
        }
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 * 8_000.0 / span_ms as f64) as u64;
        (rate(bytes.0, oldest.bytes.0), rate(bytes.1, oldest.bytes.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One counter at a megabit a second, the other at half of it.
    fn at(second: u64) -> (u64, u64) {
        (second * 125_000, second * 62_500)
    }

    #[test]
    fn a_steady_flow_has_its_rate_from_the_first_second_to_the_last() {
        let start = Instant::now();
        let mut window = Window::new(start, at(0));
        assert_eq!(window.rates(start, at(0)), (0, 0));
        for second in 1..=200 {
            let now = start + Duration::from_secs(second);
            assert_eq!(window.rates(now, at(second)), (1_000_000, 500_000), "after {second} s");
            window.sample(now, at(second));
        }
    }

    #[test]
    fn what_is_longer_ago_than_half_a_minute_is_forgotten() {
        let start = Instant::now();
        let mut window = Window::new(start, (0, 0));
        // A burst in the first second, nothing since.
        for second in 1..=60 {
            let now = start + Duration::from_secs(second);
            let (rate, _) = window.rates(now, (1_000_000, 0));
            match second {
                1..=25 => assert!(rate >= 8_000_000 / 26, "it is remembered after {second} s: {rate}"),
                36.. => assert_eq!(rate, 0, "it is forgotten after {second} s"),
                _ => {}
            }
            window.sample(now, (1_000_000, 0));
        }
    }
}
