//! How a connection travels to the shard that owns its stream.
//!
//! One bounded single-producer channel for each ordered pair of shards: nothing is shared by three, nothing locks.
//! Invariant: what cannot be delivered comes back to the sender; what is dropped on the way closes itself (arrivals own
//! their sockets). A message takes one hop, since every shard computes the same owner.

use std::cell::RefCell;

use glommio::channels::shared_channel::{self, ConnectedSender, SharedReceiver, SharedSender};

use crate::placement::ShardId;

/// Arrivals in flight from one shard to another: a burst of joins beyond it waits for its turn in the sender.
pub const INBOX_ARRIVALS: usize = 256;

/// One shard's ends of all channels, before they are bound to its executor.
pub(crate) struct Ends<A: Send + 'static> {
    senders: Vec<Option<SharedSender<A>>>,
    receivers: Vec<SharedReceiver<A>>,
}

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
            let (sender, receiver) = shared_channel::new_bounded(INBOX_ARRIVALS);
            ends[from].senders.push(Some(sender));
            ends[to].receivers.push(receiver);
        }
    }
    ends
}

impl<A: Send + 'static> Ends<A> {
    /// Binds the ends to this executor. The receivers are for a task each.
    pub(crate) fn into_parts(self) -> (Vec<Option<SharedSender<A>>>, Vec<SharedReceiver<A>>) {
        (self.senders, self.receivers)
    }
}

/// The way to all other shards.
pub struct Outbox<A: Send + 'static> {
    senders: RefCell<Vec<Option<ConnectedSender<A>>>>,
}

impl<A: Send + 'static> Outbox<A> {
    pub(crate) async fn connect(senders: Vec<Option<SharedSender<A>>>) -> Self {
        let mut connected = Vec::with_capacity(senders.len());
        for sender in senders {
            connected.push(match sender {
                Some(sender) => Some(sender.connect().await),
                None => None,
            });
        }
        Self { senders: RefCell::new(connected) }
    }

    /// Sends `arrival` to `to`.
    ///
    /// # Errors
    /// Gives the arrival back when that shard's inbox is full, is closing, or is this shard itself.
    pub fn send(&self, to: ShardId, arrival: A) -> Result<(), A> {
        let senders = self.senders.borrow();
        let Some(Some(sender)) = senders.get(to.index()) else { return Err(arrival) };
        sender.try_send(arrival).map_err(|error| match error {
            glommio::GlommioError::Closed(glommio::ResourceType::Channel(arrival))
            | glommio::GlommioError::WouldBlock(glommio::ResourceType::Channel(arrival)) => arrival,
            other => unreachable!("a channel returns what it does not take, not {other}"),
        })
    }
}
