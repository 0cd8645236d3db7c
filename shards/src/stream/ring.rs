//! A bounded log of sealed batches, shared by every reader of one rendition.
//!
//! One writer appends, readers hold a [`Cursor`], nobody copies. The oldest batches leave first, so a reader can be
//! overtaken; it learns so from [`Read::Lost`]. This log is the send queue: a slow reader costs nothing but its position.
//!
//! Invariant: `first <= key < next` when there is a key, and the batch at `key` opens a group. A log that holds the newest
//! group for joiners never evicts it; the cache of frames bounds it. Sizes are bytes.

use std::{collections::VecDeque, rc::Rc};

use bytes::Bytes;

use crate::media::Timestamp;

/// What a batch costs besides its bytes: its place here, and the allocation that its bytes live in. Without it a flood of
/// tiny batches would be free.
const BATCH_OVERHEAD: usize = 128;

/// Bounds of one rendition's log.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Bytes kept for readers that lag behind the newest group.
    pub bytes_max: usize,
    /// How far behind a reader may fall, in media time, before it is overtaken.
    pub lag_max: Timestamp,
}

/// What a reader needs before a group, if it has not had it yet.
#[derive(Debug)]
pub struct Headers {
    /// The scene's generation that they describe.
    pub generation: u64,
    /// Ready for the wire.
    pub bytes: Bytes,
}

/// Bytes ready for the wire.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whole units of the rendition's framing.
    pub bytes: Bytes,
    /// Where decoding may start: what must be sent before it.
    pub opens: Option<Rc<Headers>>,
    /// The newest frame in it.
    pub dts: Timestamp,
    /// The scene's generation that a reader knows once it has had this batch.
    pub generation: u64,
}

/// A reader's place: the number of the batch it wants next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

/// What a reader finds at its place.
#[derive(Debug)]
pub enum Read<'a> {
    /// The next batch.
    Batch(&'a Batch),
    /// Nothing yet.
    Wait,
    /// The batch was evicted. `resume` is where to go on: the newest group, or `None` while there is none.
    Lost {
        /// The newest group's first batch.
        resume: Option<Cursor>,
    },
}

/// The log; see the module.
#[derive(Debug)]
pub struct Ring {
    options: RingOptions,
    /// The newest group is kept for joiners, whatever its size.
    holds_group: bool,
    batches: VecDeque<Batch>,
    first: u64,
    key: Option<u64>,
    bytes: usize,
}

impl Ring {
    /// An empty log. `holds_group`: the newest group stays for joiners, whatever its size.
    pub fn new(options: RingOptions, holds_group: bool) -> Self {
        Self { options, holds_group, batches: VecDeque::new(), first: 0, key: None, bytes: 0 }
    }

    /// Has these bounds from the next batch on.
    pub fn retune(&mut self, options: RingOptions) {
        self.options = options;
    }

    /// The number that the next batch will get.
    pub fn next(&self) -> Cursor {
        Cursor(self.first + self.batches.len() as u64)
    }

    /// Where a joiner starts.
    pub fn key(&self) -> Option<Cursor> {
        self.key.map(Cursor)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Batches held.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The batch at `cursor`.
    pub fn read(&self, cursor: Cursor) -> Read<'_> {
        match cursor.0.checked_sub(self.first) {
            None => Read::Lost { resume: self.key() },
            Some(at) => self.batches.get(at as usize).map_or(Read::Wait, Read::Batch),
        }
    }

    /// Media time from the batch at `cursor` to the newest one.
    pub fn lag(&self, cursor: Cursor) -> Timestamp {
        match (self.read(cursor), self.batches.back(), self.batches.front()) {
            (Read::Batch(batch), Some(newest), _) => newest.dts - batch.dts,
            (Read::Lost { .. }, Some(newest), Some(oldest)) => newest.dts - oldest.dts,
            _ => Timestamp::ZERO,
        }
    }

    /// Appends a batch and evicts what no bound keeps.
    pub fn push(&mut self, batch: Batch) {
        if batch.opens.is_some() {
            self.key = Some(self.next().0);
        }
        self.bytes += batch.bytes.len();
        self.batches.push_back(batch);
        self.evict();
    }

    /// The newest group is not to be started from any more: it outgrew its bounds, or its publisher went.
    pub fn forget_key(&mut self) {
        self.key = None;
        self.evict();
    }

    fn evict(&mut self) {
        let Some(newest) = self.batches.back().map(|batch| batch.dts) else { return };
        while let Some(oldest) = self.batches.front() {
            let held_for_joiners = self.holds_group && self.key.is_some_and(|key| self.first >= key);
            let cost = self.bytes + self.batches.len() * BATCH_OVERHEAD;
            let within_bounds = cost <= self.options.bytes_max && newest - oldest.dts <= self.options.lag_max;
            if held_for_joiners || within_bounds || self.batches.len() == 1 {
                return;
            }
            self.bytes -= oldest.bytes.len();
            self.batches.pop_front();
            self.first += 1;
            // What has begun to go is no start any more.
            self.key = self.key.filter(|key| *key >= self.first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(millis: i64, opens: bool) -> Batch {
        let opens = opens.then(|| Rc::new(Headers { generation: 0, bytes: Bytes::new() }));
        Batch { bytes: Bytes::from(vec![0; 100]), opens, dts: Timestamp::from_millis(millis), generation: 0 }
    }

    fn ring() -> Ring {
        Ring::new(RingOptions { bytes_max: 2_000, lag_max: Timestamp::from_millis(1_000) }, true)
    }

    #[test]
    fn a_reader_sees_every_batch_in_order() {
        let mut ring = ring();
        let mut cursor = ring.next();
        for n in 0..10 {
            ring.push(batch(n * 10, n == 0));
            assert!(matches!(ring.read(cursor), Read::Batch(b) if b.dts.millis() == n * 10));
            cursor.0 += 1;
            assert!(matches!(ring.read(cursor), Read::Wait));
        }
    }

    #[test]
    fn a_reader_that_lags_too_far_resumes_at_the_newest_group() {
        let mut ring = ring();
        for n in 0..30 {
            ring.push(batch(n * 100, n % 10 == 0));
        }
        let Read::Lost { resume } = ring.read(Cursor(0)) else { panic!("0 should be gone") };
        assert_eq!(resume, Some(Cursor(20)));
        assert!(matches!(ring.read(Cursor(20)), Read::Batch(b) if b.opens.is_some()));
    }

    #[test]
    fn the_newest_group_stays_however_large() {
        let mut ring = ring();
        for n in 0..100 {
            ring.push(batch(n * 100, n == 0));
        }
        assert_eq!(ring.key(), Some(Cursor(0)));
        assert_eq!(ring.bytes(), 10_000);
        ring.forget_key();
        assert!(ring.bytes() <= 2_000);
        assert!(matches!(ring.read(Cursor(0)), Read::Lost { resume: None }));
    }
}
