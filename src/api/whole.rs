//! Streams as wholes: what the owner's shard and those that mirror it have hung up, put together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use shards::{
    media::{StreamKey, Timestamp},
    stream::{StreamStats, Totals},
};

use crate::board::Page;

/// A page is replaced twice a second: one that is so old belongs to a shard that is late.
pub const LATE: Duration = Duration::from_secs(2);

/// A stream on all shards.
pub struct Whole<'a> {
    /// The owner.
    pub shard: usize,
    /// Its name.
    pub key: &'a StreamKey,
    /// What the owner has.
    pub stats: &'a StreamStats,
    /// What mirrors have, with their shards.
    pub mirrors: Vec<(usize, &'a StreamStats)>,
}

impl<'a> Whole<'a> {
    /// What each shard has, the owner first.
    pub fn everywhere(&self) -> impl Iterator<Item = (usize, &'a StreamStats)> + '_ {
        std::iter::once((self.shard, self.stats)).chain(self.mirrors.iter().copied())
    }

    /// What all its viewers came to, those of mirrors that are no more included.
    pub fn totals(&self) -> Totals {
        let mut totals = self.stats.elsewhere;
        self.everywhere().for_each(|(_, stats)| totals.add(&stats.totals));
        totals
    }

    /// Viewers of each form.
    pub fn forms(&self) -> BTreeMap<&'static str, usize> {
        let mut forms = BTreeMap::new();
        for (kind, readers) in self.everywhere().flat_map(|(_, stats)| &stats.readers) {
            *forms.entry(*kind).or_default() += readers;
        }
        forms
    }

    /// Viewers of all forms.
    pub fn viewers(&self) -> usize {
        self.everywhere().flat_map(|(_, stats)| &stats.readers).map(|(_, readers)| readers).sum()
    }

    /// Viewers, and the publisher if there is one.
    pub fn clients(&self) -> usize {
        self.viewers() + usize::from(self.stats.publisher.is_some())
    }

    /// How far the slowest viewer is behind.
    pub fn lag(&self) -> Timestamp {
        self.everywhere().map(|(_, stats)| stats.lag).max().unwrap_or_default()
    }
}

/// All streams, by name.
pub fn streams(pages: &[Arc<Page>]) -> Vec<Whole<'_>> {
    let all = || {
        let pages = pages.iter().enumerate();
        pages.flat_map(|(shard, page)| page.streams.iter().map(move |(key, stats)| (shard, key, stats)))
    };
    let mut mirrors: HashMap<&StreamKey, Vec<(usize, &StreamStats)>> = HashMap::new();
    for (shard, key, stats) in all().filter(|(_, _, stats)| stats.is_mirror) {
        mirrors.entry(key).or_default().push((shard, stats));
    }
    let owned = all().filter(|(_, _, stats)| !stats.is_mirror);
    let mut streams: Vec<Whole<'_>> = owned
        .map(|(shard, key, stats)| Whole {
            shard,
            key,
            stats,
            mirrors: mirrors.remove(key).unwrap_or_default(),
        })
        .collect();
    streams.sort_by_key(|stream| stream.key);
    streams
}

/// The shards whose pages are old.
pub fn late(pages: &[Arc<Page>], now: Instant) -> Vec<usize> {
    let is_late = |page: &Page| now.saturating_duration_since(page.at) > LATE;
    pages.iter().enumerate().filter(|(_, page)| is_late(page)).map(|(shard, _)| shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;

    #[test]
    fn a_shard_that_hangs_up_nothing_is_late() {
        let now = Instant::now();
        let board = Board::new(&[0, 1], now);
        assert!(late(&board.pages(), now + LATE).is_empty());
        let (page, later) = (Page::clone(&board.pages()[1]), now + 2 * LATE);
        board.hang(shards::ShardId(1), Page { at: later, ..page });
        assert_eq!(late(&board.pages(), later), [0]);
    }
}
