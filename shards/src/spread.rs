//! Which streams are too much for one core, and where their next viewer goes.
//!
//! The owner of a stream calls it *hot* when sending to its viewers takes more than a share of the shard's time. Viewers of a
//! hot stream may be served by any shard. Each tick every shard writes down its load and its viewers of hot streams; who
//! accepts a viewer reads them and counts it in, so that a burst between two ticks spreads as well. Never on the media path.
//!
//! Invariant: numbers are hints. One that is late or lost costs balance for a tick, never a viewer.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use crate::{media::StreamKey, placement::ShardId};

/// Above this share of busy time a shard gets no viewers that another could take.
const FULL: u32 = 850;
/// A shard that has so many more viewers of a stream than another does not keep one that it accepted: a sixteenth, and
/// [`SLACK`].
const UNEVEN: u32 = 16;
const SLACK: u32 = 2;

/// Viewers of a hot stream on each shard.
#[derive(Debug)]
pub struct Crowd {
    viewers: Vec<AtomicU32>,
}

impl Crowd {
    /// Nobody yet.
    fn new(shards: usize) -> Self {
        Self { viewers: (0..shards).map(|_| AtomicU32::new(0)).collect() }
    }

    /// The viewers that `shard` has.
    pub fn set(&self, shard: ShardId, viewers: usize) {
        if let Some(count) = self.viewers.get(shard.index()) {
            count.store(u32::try_from(viewers).unwrap_or(u32::MAX), Relaxed);
        }
    }

    /// The viewers on all shards.
    pub fn total(&self) -> u64 {
        self.viewers.iter().map(|count| u64::from(count.load(Relaxed))).sum()
    }
}

type Crowds = HashMap<StreamKey, Arc<Crowd>>;

/// See the module. One for all shards.
#[derive(Debug)]
pub struct Spread {
    /// The hot streams of each owner.
    hot: Vec<ArcSwap<Crowds>>,
    /// How busy each shard is, in thousandths.
    load: Vec<AtomicU32>,
}

impl Spread {
    /// For so many shards; nothing is hot.
    pub fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self {
            hot: (0..shards).map(|_| ArcSwap::default()).collect(),
            load: (0..shards).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// Notes how busy `shard` is: 0 to 1.
    pub fn set_load(&self, shard: ShardId, busy: f32) {
        if let Some(load) = self.load.get(shard.index()) {
            load.store((busy.clamp(0.0, 1.0) * 1_000.0) as u32, Relaxed);
        }
    }

    /// The crowd of `key`, if its owner calls it hot.
    pub fn crowd(&self, owner: ShardId, key: &StreamKey) -> Option<Arc<Crowd>> {
        self.hot.get(owner.index())?.load().get(key).cloned()
    }

    /// The owner calls `key` hot; nothing changes if it did already.
    pub fn heat(&self, owner: ShardId, key: &StreamKey) -> Option<Arc<Crowd>> {
        if let Some(crowd) = self.crowd(owner, key) {
            return Some(crowd);
        }
        let crowd = Arc::new(Crowd::new(self.load.len()));
        self.hot.get(owner.index())?.rcu(|crowds| {
            let mut crowds = Crowds::clone(crowds);
            crowds.insert(key.clone(), Arc::clone(&crowd));
            crowds
        });
        Some(crowd)
    }

    /// The owner calls it so no longer.
    pub fn cool(&self, owner: ShardId, key: &StreamKey) {
        if let Some(hot) = self.hot.get(owner.index())
            && hot.load().contains_key(key)
        {
            hot.rcu(|crowds| {
                let mut crowds = Crowds::clone(crowds);
                crowds.remove(key);
                crowds
            });
        }
    }

    /// Writes down how many viewers `shard` has of each hot stream: whoever was counted in and never came is forgotten.
    pub fn count(&self, shard: ShardId, viewers: impl Fn(&StreamKey) -> usize) {
        for hot in &self.hot {
            hot.load().iter().for_each(|(key, crowd)| crowd.set(shard, viewers(key)));
        }
    }

    /// Where a viewer of `key` goes that `here` has accepted: to the owner, unless the stream is hot; then it stays, unless
    /// another shard has clearly fewer of them or time to spare that this one has not. It is counted in.
    pub fn place(&self, owner: ShardId, here: ShardId, key: &StreamKey) -> ShardId {
        let Some(crowd) = self.crowd(owner, key) else { return owner };
        let at = |shard: usize| {
            let is_full = self.load.get(shard).is_some_and(|load| load.load(Relaxed) > FULL);
            (is_full, crowd.viewers[shard].load(Relaxed))
        };
        let least = (0..crowd.viewers.len()).min_by_key(|shard| at(*shard)).unwrap_or(owner.index());
        let (mine, best) = (at(here.index()), at(least));
        let keeps = mine.0 == best.0 && mine.1 <= best.1 + best.1 / UNEVEN + SLACK;
        let chosen = if keeps { here } else { ShardId(least as u16) };
        crowd.viewers[chosen.index()].fetch_add(1, Relaxed);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> StreamKey {
        "live/final".parse().expect("a key")
    }

    const OWNER: ShardId = ShardId(1);

    #[test]
    fn viewers_go_to_the_owner_until_a_stream_is_hot() {
        let spread = Spread::new(4);
        assert_eq!(spread.place(OWNER, ShardId(3), &key()), OWNER);
        spread.heat(OWNER, &key());
        assert_eq!(spread.place(OWNER, ShardId(3), &key()), ShardId(3));
        spread.cool(OWNER, &key());
        assert_eq!(spread.place(OWNER, ShardId(3), &key()), OWNER);
    }

    #[test]
    fn shards_even_out_whoever_accepts_and_whatever_the_owner_had() {
        for accepting in [&[0][..], &[0, 1, 2, 3], &[1, 1, 1, 2]] {
            let spread = Spread::new(4);
            let crowd = spread.heat(OWNER, &key()).expect("room");
            crowd.set(OWNER, 200);
            for n in 0..2_000 {
                spread.place(OWNER, ShardId(accepting[n % accepting.len()]), &key());
            }
            let counts: Vec<u32> = crowd.viewers.iter().map(|count| count.load(Relaxed)).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= most / 10, "{counts:?}");
            assert_eq!(crowd.total(), 2_200);
        }
    }

    #[test]
    fn a_full_shard_gets_no_more_while_another_has_time() {
        let spread = Spread::new(2);
        spread.heat(OWNER, &key());
        spread.set_load(ShardId(0), 0.97);
        for _ in 0..100 {
            assert_eq!(spread.place(OWNER, ShardId(0), &key()), OWNER);
        }
        spread.set_load(OWNER, 0.97);
        assert_eq!(
            spread.place(OWNER, ShardId(0), &key()),
            ShardId(0),
            "all are full: the fewest viewers decide"
        );
    }
}
