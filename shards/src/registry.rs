//! The streams of one shard, by key.
//!
//! Invariant: a stream is here exactly while somebody publishes, plays, may return to it, or has just asked for it; whoever
//! asks for a key gets the one stream of that key.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    media::StreamKey,
    stream::{Life, Stream, StreamOptions, Totals},
};

/// What makes a stream.
pub type Make = fn(StreamKey, StreamOptions, Instant) -> Rc<Stream>;

/// See the module.
pub struct Registry {
    options: StreamOptions,
    streams: RefCell<HashMap<StreamKey, Rc<Stream>, foldhash::fast::RandomState>>,
    /// Of streams that are no more.
    past: Cell<Totals>,
    /// Payload bytes of their publishers.
    past_received: Cell<u64>,
}

impl Registry {
    /// No streams yet.
    pub fn new(options: StreamOptions) -> Self {
        Self { options, streams: RefCell::default(), past: Cell::default(), past_received: Cell::default() }
    }

    /// The stream of `key`, if there is one.
    pub fn find(&self, key: &StreamKey) -> Option<Rc<Stream>> {
        self.streams.borrow().get(key).cloned()
    }

    /// The stream of `key`, made by `make` if need be ([`Stream::new`], [`Stream::mirror`]); `true` when it was.
    pub fn obtain(&self, key: &StreamKey, now: Instant, make: Make) -> (Rc<Stream>, bool) {
        let mut streams = self.streams.borrow_mut();
        if let Some(stream) = streams.get(key) {
            return (Rc::clone(stream), false);
        }
        let stream = make(key.clone(), self.options, now);
        streams.insert(key.clone(), Rc::clone(&stream));
        (stream, true)
    }

    /// All streams.
    pub fn all(&self) -> Vec<Rc<Stream>> {
        self.streams.borrow().values().cloned().collect()
    }

    /// Each of them in turn.
    pub fn for_each(&self, act: impl FnMut(&Rc<Stream>)) {
        self.streams.borrow().values().for_each(act);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.streams.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.streams.borrow().is_empty()
    }

    /// From now on frames of all streams gather so long before they are sent.
    pub fn set_coalesce(&self, coalesce: Duration) {
        self.streams.borrow().values().for_each(|stream| stream.set_coalesce(coalesce));
    }

    /// What the readers of all streams came to, those that are no more included.
    pub fn totals(&self) -> Totals {
        let mut totals = self.past.get();
        self.streams.borrow().values().for_each(|stream| totals.add(&stream.totals()));
        totals
    }

    /// Payload bytes that came from publishers of this shard's own streams, those that are no more included.
    pub fn received(&self) -> u64 {
        let streams = self.streams.borrow();
        self.past_received.get() + streams.values().map(|stream| stream.received()).sum::<u64>()
    }

    /// Time passes for all of them; those that are over go, and are given to `over`.
    pub fn tick(&self, now: Instant, mut over: impl FnMut(&Stream)) {
        self.streams.borrow_mut().retain(|_, stream| {
            // One who has asked for it and is not yet in it must not be left with a stream that others no longer find.
            let alive = stream.tick(now) == Life::Alive || Rc::strong_count(stream) > 1;
            if !alive {
                stream.close();
                let mut past = self.past.get();
                past.add(&stream.totals());
                self.past.set(past);
                self.past_received.set(self.past_received.get() + stream.received());
                over(stream);
            }
            alive
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use super::*;
    use crate::stream::tests::house::{Bell, options, party};

    fn key() -> StreamKey {
        "live/story".parse().expect("a key")
    }

    #[test]
    fn a_key_has_one_stream_for_as_long_as_anybody_needs_it() {
        let registry = Registry::new(options());
        let start = Instant::now();
        let (stream, new) = registry.obtain(&key(), start, Stream::new);
        assert!(new);
        let (again, new) = registry.obtain(&key(), start, Stream::new);
        assert!(!new && Rc::ptr_eq(&stream, &again));
        drop(again);
        registry.tick(start + Duration::from_secs(1), |_| {});
        assert_eq!(registry.len(), 1, "somebody is about to use it");
        let publisher = stream.publish(party("p")).expect("the seat is free");
        drop(stream);
        registry.tick(start + Duration::from_secs(60), |_| {});
        assert!(registry.find(&key()).is_some_and(|stream| stream.is_live()));
        drop(publisher);
        registry.tick(start + Duration::from_secs(61), |_| {});
        assert_eq!(registry.all().len(), 1, "the publisher may return");
        registry.tick(start + Duration::from_secs(66), |_| {});
        assert!(registry.is_empty());
        assert!(registry.obtain(&key(), start, Stream::new).1, "a new one");
    }

    #[test]
    fn the_pump_of_a_stream_that_is_over_is_told() {
        let registry = Registry::new(options());
        let start = Instant::now();
        let stream = Rc::downgrade(&registry.obtain(&key(), start, Stream::new).0);
        let bell = std::sync::Arc::new(Bell::default());
        let waker = Waker::from(std::sync::Arc::clone(&bell));
        let poll = |cx: &mut Context<'_>| {
            stream.upgrade().map_or(Poll::Ready(false), |stream| stream.poll_dirty(cx))
        };
        assert!(poll(&mut Context::from_waker(&waker)).is_pending());
        registry.tick(start, |_| {});
        assert_eq!(bell.take(), 1);
        assert_eq!(poll(&mut Context::from_waker(&waker)), Poll::Ready(false));
    }
}
