//! The mirrors of one shard: streams of other owners that have viewers here, and what the owners here tell theirs.
//!
//! A mirror begins when the first viewer is placed here, follows the owner batch by batch (one letter, however many
//! viewers), and ends when its last viewer is gone. Invariant: letters of one stream to one shard leave in order, also those
//! that found the inbox full.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use crate::{
    handoff::{Letter, Outbox},
    media::StreamKey,
    placement::ShardId,
    stream::{Relay, Step, Totals},
};

/// See the module.
pub(crate) struct Mirrors<A: Send + 'static> {
    id: ShardId,
    outbox: Rc<Outbox<A>>,
    /// Which mirror of a stream is the current one.
    epochs: RefCell<HashMap<StreamKey, u64>>,
    newest: Cell<u64>,
    /// Letters that found no room, for each shard.
    later: RefCell<BTreeMap<ShardId, VecDeque<Letter<A>>>>,
}

impl<A: Send + 'static> Mirrors<A> {
    pub(crate) fn new(id: ShardId, outbox: Rc<Outbox<A>>) -> Self {
        Self { id, outbox, epochs: RefCell::default(), newest: Cell::new(0), later: RefCell::default() }
    }

    /// A mirror of `key` begins here.
    pub(crate) fn begin(&self, key: &StreamKey, owner: ShardId) {
        let epoch = self.newest.get() + 1;
        self.newest.set(epoch);
        self.epochs.borrow_mut().insert(key.clone(), epoch);
        self.post(owner, Letter::Follow { key: key.clone(), from: self.id, epoch });
    }

    /// The mirror of `key` is over; its viewers came to `totals`.
    pub(crate) fn end(&self, key: &StreamKey, owner: ShardId, totals: Totals) {
        if self.epochs.borrow_mut().remove(key).is_some() {
            self.post(owner, Letter::Unfollow { key: key.clone(), from: self.id, totals });
        }
    }

    /// Viewers of the mirror of `key` wait for a keyframe.
    pub(crate) fn request_key(&self, key: &StreamKey, owner: ShardId) {
        self.post(owner, Letter::RequestKey { key: key.clone() });
    }

    /// Whether what came is for the mirror of `key` that there is now.
    pub(crate) fn is_current(&self, key: &StreamKey, epoch: u64) -> bool {
        self.epochs.borrow().get(key) == Some(&epoch)
    }

    /// The way from an owner here to a mirror at `to`.
    pub(crate) fn relay(&self, to: ShardId, key: &StreamKey, epoch: u64) -> Box<dyn Relay> {
        Box::new(MeshRelay { outbox: Rc::clone(&self.outbox), to, key: key.clone(), epoch })
    }

    /// How many mirrors there are here.
    pub(crate) fn len(&self) -> usize {
        self.epochs.borrow().len()
    }

    /// Time passed: inboxes may have room again.
    pub(crate) fn retry(&self) {
        self.later.borrow_mut().retain(|to, letters| {
            while let Some(letter) = letters.pop_front() {
                if let Err(letter) = self.outbox.post(*to, letter) {
                    letters.push_front(letter);
                    return true;
                }
            }
            false
        });
    }

    fn post(&self, to: ShardId, letter: Letter<A>) {
        let mut later = self.later.borrow_mut();
        let letter = if later.contains_key(&to) { Err(letter) } else { self.outbox.post(to, letter) };
        if let Err(letter) = letter {
            later.entry(to).or_default().push_back(letter);
        }
    }
}

/// Over the mesh, one letter for each batch.
struct MeshRelay<A: Send + 'static> {
    outbox: Rc<Outbox<A>>,
    to: ShardId,
    key: StreamKey,
    epoch: u64,
}

impl<A: Send + 'static> Relay for MeshRelay<A> {
    fn relay(&self, steps: Vec<Step>, gathered: Duration) -> Result<(), Vec<Step>> {
        let letter = Letter::Steps { key: self.key.clone(), epoch: self.epoch, steps, gathered };
        self.outbox.post(self.to, letter).map_err(|letter| match letter {
            Letter::Steps { steps, .. } => steps,
            _ => unreachable!("what comes back is what was sent"),
        })
    }
}
