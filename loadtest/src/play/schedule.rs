//! Who of a thread's players comes next, and who goes: everything follows from a player's number.
//!
//! Invariant: constant size for those who have not come, one entry for each who is to go. Times are nanoseconds on
//! [`crate::clock`].

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{Cohort, Options};

/// One thread's.
#[derive(Debug)]
pub struct Schedule {
    /// By cohort, the next player of this thread that has not come.
    next: Vec<Option<u64>>,
    /// When players go: time, token, id.
    going: BinaryHeap<Reverse<(u64, usize, u64)>>,
}

impl Schedule {
    /// For thread `number` of those that have cohorts for which `mine` holds.
    pub fn new(number: usize, options: &Options, mine: impl Fn(&Cohort) -> bool) -> Self {
        let first = |cohort: &Cohort| if mine(cohort) { find(options, cohort, number, 0) } else { None };
        Self { next: options.cohorts.iter().map(first).collect(), going: BinaryHeap::new() }
    }

    /// The next player whose time has come: its cohort's place, and its number.
    pub fn comer(&mut self, number: usize, options: &Options, now: u64) -> Option<(usize, u64)> {
        let mut all = self.next.iter_mut().zip(&options.cohorts).enumerate();
        all.find_map(|(at, (next, cohort))| {
            let n = next.filter(|n| options.start_ns + cohort.comes_ns(*n) <= now)?;
            *next = find(options, cohort, number, n + 1);
            Some((at, n))
        })
    }

    /// Player `id` at `token` goes at `at`.
    pub fn will_go(&mut self, at: u64, token: usize, id: u64) {
        self.going.push(Reverse((at, token, id)));
    }

    /// The next whose time is over: token and id.
    pub fn goer(&mut self, now: u64) -> Option<(usize, u64)> {
        let Reverse((at, token, id)) = *self.going.peek()?;
        (at <= now).then(|| self.going.pop())?;
        Some((token, id))
    }

    /// When somebody comes or goes next; `u64::MAX` when nobody does.
    pub fn next_ns(&self, options: &Options) -> u64 {
        let comes = self.next.iter().zip(&options.cohorts);
        let comes = comes.filter_map(|(next, cohort)| next.map(|n| options.start_ns + cohort.comes_ns(n)));
        let goes = self.going.peek().map(|Reverse((at, ..))| *at);
        comes.chain(goes).min().unwrap_or(u64::MAX)
    }
}

/// The next player of a thread in a cohort, from number `from`.
fn find(options: &Options, cohort: &Cohort, number: usize, from: u64) -> Option<u64> {
    (from..cohort.count).find(|n| cohort.thread(*n, options.deal) == number)
}
