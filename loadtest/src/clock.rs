//! The one clock of a run: `CLOCK_MONOTONIC`, the same for every process of a machine.
//!
//! That publishers, players and the floor's process share it is what makes a marker's age a latency. Units: nanoseconds
//! since the machine started, which a `u64` holds for 584 years.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Now.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither is negative on this clock.
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A moment of this clock as std's `Instant`, which is on the same one: what is later stays later.
pub fn instant(ns: u64) -> Instant {
    static ORIGIN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (origin, at) = *ORIGIN.get_or_init(|| (Instant::now(), now()));
    match ns.checked_sub(at) {
        Some(ahead) => origin + Duration::from_nanos(ahead),
        None => origin.checked_sub(Duration::from_nanos(at - ns)).unwrap_or(origin),
    }
}

/// A duration in the clock's unit.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until `due`, if that is still to come.
pub fn sleep_until(due: u64) {
    let now = now();
    if due > now {
        std::thread::sleep(Duration::from_nanos(due - now));
    }
}

/// Seconds from `start` to `end`; 0 when that is backwards.
pub fn seconds(start: u64, end: u64) -> f64 {
    end.saturating_sub(start) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_behind_its_due_time() {
        let due = now() + 2_000_000;
        sleep_until(due);
        assert!(now() >= due);
        sleep_until(0);
        assert!(seconds(due, now()) < 5.0, "a due time in the past is no reason to sleep");
        assert_eq!(seconds(5, 3), 0.0);
        assert_eq!(instant(due + 5) - instant(due), Duration::from_nanos(5));
        assert!(instant(now()).elapsed() < Duration::from_secs(5));
    }
}
