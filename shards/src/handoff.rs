//! What shards send each other: connections on their way to the owner of their stream, and a stream's frames on their way
//! to its mirrors.
//!
//! One bounded single-producer channel for each ordered pair of shards: nothing is shared by three, nothing locks.
//! Invariant: what cannot be delivered comes back to the sender; what is dropped on the way closes itself (arrivals own
//! their sockets). A connection takes one hop.

use std::{cell::RefCell, time::Duration};

use glommio::channels::shared_channel::{self, ConnectedSender, SharedReceiver, SharedSender};

use crate::{
    media::StreamKey,
    placement::ShardId,
    stream::{Step, Totals},
};

/// Letters in flight from one shard to another: a burst of joins beyond it waits for its turn in the sender.
pub const INBOX_LETTERS: usize = 256;

/// What one shard sends another.
#[derive(Debug)]
pub enum Letter<A> {
    /// A connection that goes on there.
    Arrival(A),
    /// To the owner of `key`: `from` has viewers of its own and wants to follow. Answers carry the same `epoch`.
    Follow {
        /// The stream.
        key: StreamKey,
        /// Who asks.
        from: ShardId,
        /// Which of its mirrors of that stream, one after the other.
        epoch: u64,
    },
    /// To the owner of `key`: `from` has no viewers any more.
    Unfollow {
        /// The stream.
        key: StreamKey,
        /// Who follows no longer.
        from: ShardId,
        /// What its viewers came to.
        totals: Totals,
    },
    /// To the owner of `key`: viewers of a mirror wait for a keyframe.
    RequestKey {
        /// The stream.
        key: StreamKey,
    },
    /// To a mirror of `key`: what the owner did, a batch at a time.
    Steps {
        /// The stream.
        key: StreamKey,
        /// For which of the mirrors that there were.
        epoch: u64,
        /// In order.
        steps: Vec<Step>,
        /// How long the first may have waited for the last.
        gathered: Duration,
    },
}

/// One shard's ends of all channels, before they are bound to its executor.
pub(crate) struct Ends<A: Send + 'static> {
    senders: Vec<Option<SharedSender<Letter<A>>>>,
    receivers: Vec<SharedReceiver<Letter<A>>>,
}

type Senders<A> = Vec<Option<SharedSender<Letter<A>>>>;

/// The full mesh for `shards` shards.
pub(crate) fn mesh<A: Send + 'static>(shards: usize) -> Vec<Ends<A>> {
    let mut ends: Vec<Ends<A>> =
        (0..shards).map(|_| Ends { senders: Vec::new(), receivers: Vec::new() }).collect();
    for from in 0..shards {
        for to in 0..shards {
            if from == to {
                ends[from].senders.push(None);
                continue;
            }
            let (sender, receiver) = shared_channel::new_bounded(INBOX_LETTERS);
            ends[from].senders.push(Some(sender));
            ends[to].receivers.push(receiver);
        }
    }
    ends
}

impl<A: Send + 'static> Ends<A> {
    /// Binds the ends to this executor. The receivers are for a task each.
    pub(crate) fn into_parts(self) -> (Senders<A>, Vec<SharedReceiver<Letter<A>>>) {
        (self.senders, self.receivers)
    }
}

/// The way to all other shards.
pub struct Outbox<A: Send + 'static> {
    senders: RefCell<Vec<Option<ConnectedSender<Letter<A>>>>>,
}

impl<A: Send + 'static> Outbox<A> {
    pub(crate) async fn connect(senders: Senders<A>) -> Self {
        let mut connected = Vec::with_capacity(senders.len());
        for sender in senders {
            connected.push(match sender {
                Some(sender) => Some(sender.connect().await),
                None => None,
            });
        }
        Self { senders: RefCell::new(connected) }
    }

    /// Sends a connection to `to`.
    ///
    /// # Errors
    /// Gives it back when that shard's inbox is full, is closing, or is this shard itself.
    pub fn send(&self, to: ShardId, arrival: A) -> Result<(), A> {
        self.post(to, Letter::Arrival(arrival)).map_err(|letter| match letter {
            Letter::Arrival(arrival) => arrival,
            _ => unreachable!("what comes back is what was sent"),
        })
    }

    /// Sends a letter to `to`.
    ///
    /// # Errors
    /// Gives it back as [`send`](Self::send) does.
    pub(crate) fn post(&self, to: ShardId, letter: Letter<A>) -> Result<(), Letter<A>> {
        let senders = self.senders.borrow();
        let Some(Some(sender)) = senders.get(to.index()) else { return Err(letter) };
        sender.try_send(letter).map_err(|error| match error {
            glommio::GlommioError::Closed(glommio::ResourceType::Channel(letter))
            | glommio::GlommioError::WouldBlock(glommio::ResourceType::Channel(letter)) => letter,
            other => unreachable!("a channel returns what it does not take, not {other}"),
        })
    }
}
