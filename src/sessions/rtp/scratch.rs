//! The buffer in which a shard's packets are sealed, and the trains that they make.
//!
//! Invariant: trains lie one behind the other in the buffer; all datagrams of a train but the last have the same size. Sizes are
//! bytes.

use std::cell::RefCell;

use super::viewer::Progress;
use crate::net::trains::{SEGMENTS_MAX, TRAIN_MAX, Train};

/// The buffer in which a shard's packets are sealed.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) buffer: Vec<u8>,
    pub(super) trains: Vec<Train>,
    /// For each train, how things stood before it: the viewer, and how much had been consumed.
    pub(super) marks: Vec<(Progress, usize)>,
    /// The last train takes no more.
    pub(super) closed: bool,
}

thread_local! {
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Empties it for the next call.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.trains.clear();
        self.marks.clear();
        self.closed = false;
    }

    /// Whether a datagram of `len` bytes begins another train.
    pub(super) fn begins_train(&self, len: usize) -> bool {
        self.closed
            || self.trains.last().is_none_or(|train| {
                len > train.segment
                    || train.bytes + len > TRAIN_MAX
                    || train.bytes >= train.segment * SEGMENTS_MAX
            })
    }

    /// The datagram of `len` bytes that was written last joins the trains.
    pub(super) fn join(&mut self, len: usize, begins: bool) {
        match self.trains.last_mut().filter(|_| !begins) {
            Some(train) => {
                train.bytes += len;
                self.closed = len < train.segment;
            }
            None => {
                self.trains.push(Train { bytes: len, segment: len });
                self.closed = false;
            }
        }
    }
}
