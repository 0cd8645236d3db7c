//! Players that do the same: whom they play, when they come, when they go, and which thread has them.
//!
//! Nothing is kept for a player that has not come yet: everything follows from its number, so that a cohort of fifty
//! thousand costs as much as one of five. Times are nanoseconds.

use std::net::SocketAddr;

use crate::url::Address;

/// What a cohort stands for in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Players.
    Players,
    /// Those who come all at once, later.
    Joiners,
    /// Those who read too slowly, or stop.
    Slow,
}

impl Role {
    /// As metrics are named.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Players => "players",
            Self::Joiners => "joiners",
            Self::Slow => "slow",
        }
    }
}

/// How a slow player is slow. Times are since the first player's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slow {
    /// It does not read at all for a while.
    Stop {
        /// From here.
        from_ns: u64,
        /// Until here.
        until_ns: u64,
    },
    /// It reads so many bytes a second.
    Crawl {
        /// Bytes a second.
        bytes: u64,
    },
}

/// Some players.
#[derive(Clone, Debug)]
pub struct Cohort {
    /// What they stand for.
    pub role: Role,
    /// What they play.
    pub address: Address,
    /// Where that is.
    pub remote: SocketAddr,
    /// How many.
    pub count: u64,
    /// They are spread over so many streams, from number 0.
    pub streams: u64,
    /// When the first one comes, since the first player of all.
    pub begin_ns: u64,
    /// How many come in a second.
    pub rate: f64,
    /// How long each stays; to the end without.
    pub stay_ns: Option<(u64, u64)>,
    /// Their slowness.
    pub slow: Option<Slow>,
    /// One in so many is parsed.
    pub sample: u64,
}

/// How the players are dealt out to threads: parsed ones have their own, first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deal {
    /// Threads for players that are parsed.
    pub parsing: usize,
    /// Threads for those that are not.
    pub draining: usize,
}

impl Cohort {
    /// One in `wanted`, but at least three of `count`.
    pub fn sample_of(count: u64, wanted: u64) -> u64 {
        wanted.min(count / 3).max(1)
    }

    /// Whether player `n` is parsed.
    pub fn is_sampled(&self, n: u64) -> bool {
        n.is_multiple_of(self.sample.max(1))
    }

    /// The thread that has player `n`.
    pub fn thread(&self, n: u64, deal: Deal) -> usize {
        let sample = self.sample.max(1);
        if self.is_sampled(n) {
            (n / sample) as usize % deal.parsing.max(1)
        } else {
            // Those between two sampled ones are sample - 1.
            let rank = n - n / sample - 1;
            deal.parsing + rank as usize % deal.draining.max(1)
        }
    }

    /// When player `n` comes.
    pub fn comes_ns(&self, n: u64) -> u64 {
        self.begin_ns + (n as f64 * 1e9 / self.rate) as u64
    }

    /// When the last one has come.
    pub fn complete_ns(&self) -> u64 {
        self.comes_ns(self.count.saturating_sub(1))
    }

    /// How long player `n` stays: the same in every run.
    pub fn stays_ns(&self, n: u64) -> Option<u64> {
        let (low, high) = self.stay_ns?;
        Some(fastrand::Rng::with_seed(n).u64(low..=high.max(low)))
    }

    /// The stream of player `n`.
    pub fn stream(&self, n: u64) -> u64 {
        n % self.streams.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(count: u64, sample: u64) -> Cohort {
        Cohort {
            role: Role::Players,
            address: "http://127.0.0.1:1/live/%d.flv".parse().expect("an address"),
            remote: SocketAddr::from(([127, 0, 0, 1], 1)),
            count,
            streams: 3,
            begin_ns: 10,
            rate: 500.0,
            stay_ns: Some((5, 9)),
            slow: None,
            sample,
        }
    }

    #[test]
    fn players_are_dealt_out_evenly_and_parsed_ones_apart() {
        let deal = Deal { parsing: 2, draining: 3 };
        let cohort = cohort(1_500, 50);
        let mut dealt = [0; 5];
        for n in 0..cohort.count {
            let thread = cohort.thread(n, deal);
            assert_eq!(thread < 2, cohort.is_sampled(n), "{n}");
            dealt[thread] += 1;
        }
        assert_eq!(dealt, [15, 15, 490, 490, 490]);
        assert!((0..9).all(|n| super::tests::cohort(9, 1).thread(n, deal) < 2), "all of them parsed");
    }

    #[test]
    fn few_players_are_sampled_more() {
        assert_eq!(
            [0, 1, 5, 100, 150, 10_000].map(|count| Cohort::sample_of(count, 50)),
            [1, 1, 1, 33, 50, 50]
        );
    }

    #[test]
    fn they_come_at_their_rate_and_stay_as_told() {
        let cohort = cohort(1_000, 50);
        assert_eq!(
            (cohort.comes_ns(0), cohort.comes_ns(500), cohort.complete_ns()),
            (10, 1_000_000_010, 1_998_000_010)
        );
        assert!((0..1_000).all(|n| (5..=9).contains(&cohort.stays_ns(n).unwrap_or(0))));
        assert_eq!(cohort.stays_ns(7), cohort.stays_ns(7));
        assert_eq!(cohort.stream(7), 1);
    }
}
