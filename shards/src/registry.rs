//! The streams of one shard, by key.
//!
//! Invariant: a stream is here exactly while somebody publishes, plays or may return to it; whoever asks for a key gets
//! the one stream of that key.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Instant};

use crate::{
    media::StreamKey,
    stream::{Life, Stream, StreamOptions},
};

/// See the module.
pub struct Registry {
    options: StreamOptions,
    streams: RefCell<HashMap<StreamKey, Rc<Stream>, foldhash::fast::RandomState>>,
}

impl Registry {
    /// No streams yet.
    pub fn new(options: StreamOptions) -> Self {
        Self { options, streams: RefCell::default() }
    }

    /// The stream of `key`, if there is one.
    pub fn find(&self, key: &StreamKey) -> Option<Rc<Stream>> {
        self.streams.borrow().get(key).cloned()
    }

    /// The stream of `key`, made if need be; `true` when it was.
    pub fn obtain(&self, key: &StreamKey, now: Instant) -> (Rc<Stream>, bool) {
        let mut streams = self.streams.borrow_mut();
        if let Some(stream) = streams.get(key) {
            return (Rc::clone(stream), false);
        }
        let stream = Stream::new(key.clone(), self.options, now);
        streams.insert(key.clone(), Rc::clone(&stream));
        (stream, true)
    }

    /// All streams.
    pub fn all(&self) -> Vec<Rc<Stream>> {
        self.streams.borrow().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.streams.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.streams.borrow().is_empty()
    }

    /// Time passes for all of them; those that are over go.
    pub fn tick(&self, now: Instant) {
        self.streams.borrow_mut().retain(|_, stream| {
            let alive = stream.tick(now) == Life::Alive;
            if !alive {
                stream.close();
            }
            alive
        });
    }
}
