//! How long frames gather before they are sent, when nobody has fixed it.
//!
//! Sending costs by the call, not by the byte: a shard that merges what it sends serves several times as many viewers. So
//! frames leave at once while the shard has time to spare, and gather longer the busier it is. The busy share is observed
//! at every tick and the window follows it: quickly up, slowly down.
//!
//! Invariant: `Duration::ZERO <= window <= max`; a shard that is less than half busy ends at zero.

use std::time::Duration;

/// Above this share of busy time the window grows.
const STRAIN: f32 = 0.75;
/// Below this share the window shrinks. Between the two it stays, so that it does not swing.
const EASE: f32 = 0.5;
/// The first window, and the step below which there is none: less would merge nothing at 30 pictures a second.
const FIRST: Duration = Duration::from_millis(10);
/// How much one strained tick lets it grow.
const GROW: f32 = 1.5;
/// How much one easy tick lets it shrink: a second and a half from 100 ms to nothing.
const SHRINK: f32 = 0.85;
/// The weight of the newest observation: a third of a second's memory at ten ticks a second.
const NEWEST: f32 = 0.3;

/// The window of one shard; see the module.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    max: Duration,
    busy: f32,
    window: Duration,
}

impl Pace {
    /// Starts with no window. `max` bounds it.
    pub fn new(max: Duration) -> Self {
        Self { max, busy: 0.0, window: Duration::ZERO }
    }

    /// From now on the window has another bound.
    pub fn set_max(&mut self, max: Duration) {
        self.max = max;
        self.window = self.window.min(max);
    }

    /// A tick passed, `busy` of `elapsed` in tasks.
    pub fn observe(&mut self, busy: Duration, elapsed: Duration) {
        if elapsed.is_zero() {
            return;
        }
        let share = (busy.as_secs_f32() / elapsed.as_secs_f32()).clamp(0.0, 1.0);
        self.busy += (share - self.busy) * NEWEST;
        if self.busy > STRAIN {
            self.window = self.window.mul_f32(GROW).max(FIRST).min(self.max);
        } else if self.busy < EASE {
            let smaller = self.window.mul_f32(SHRINK);
            self.window = if smaller < FIRST { Duration::ZERO } else { smaller };
        }
    }

    /// How long frames gather now.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// The share of time in tasks, smoothed: 0 to 1.
    pub fn busy(&self) -> f32 {
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn ticks(pace: &mut Pace, share: f32, count: usize) {
        for _ in 0..count {
            pace.observe(TICK.mul_f32(share), TICK);
        }
    }

    #[test]
    fn a_shard_with_time_to_spare_sends_at_once() {
        let mut pace = Pace::new(TICK);
        ticks(&mut pace, 0.4, 100);
        assert_eq!(pace.window(), Duration::ZERO);
    }

    #[test]
    fn a_full_shard_gathers_up_to_the_bound_within_two_seconds() {
        let mut pace = Pace::new(TICK);
        ticks(&mut pace, 1.0, 20);
        assert_eq!(pace.window(), TICK);
    }

    #[test]
    fn a_window_that_helps_is_kept() {
        let mut pace = Pace::new(TICK);
        ticks(&mut pace, 0.95, 8);
        let window = pace.window();
        assert!(window > Duration::ZERO);
        ticks(&mut pace, 0.6, 1);
        let settled = pace.window();
        ticks(&mut pace, 0.6, 100);
        assert!(pace.window() >= settled.min(window), "{window:?} {settled:?} {:?}", pace.window());
    }

    #[test]
    fn it_goes_back_by_itself() {
        let mut pace = Pace::new(TICK);
        ticks(&mut pace, 1.0, 50);
        ticks(&mut pace, 0.1, 40);
        assert_eq!(pace.window(), Duration::ZERO);
    }
}
