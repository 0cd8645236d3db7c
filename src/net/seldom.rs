//! Lines of the log that a crowd of peers could cause: one a second is written, with how many it stands for.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Cell<Option<Instant>>,
    kept_back: Cell<u64>,
}

impl Seldom {
    /// Whether a line may be written at `now`; if so, how many were kept back since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        if self.last.get().is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.kept_back.update(|kept| kept.saturating_add(1));
            return None;
        }
        self.last.set(Some(now));
        Some(self.kept_back.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_writes_one_line_a_second_and_none_is_forgotten() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let written: Vec<_> =
            (0..2_001).filter_map(|ms| seldom.admit(start + Duration::from_millis(ms))).collect();
        assert_eq!(written, [0, 999, 999]);
    }
}
