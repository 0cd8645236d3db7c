//! What is told of whom the backend let in, once it is gone.
//!
//! Invariant: each decision that came out as yes, in time, is followed by one farewell. It is made where the yes arrives, not where
//! it is read: a client may be gone before it hears of it, and the backend must hear of that too. Of several URLs all must
//! have said yes. A farewell is news like other news: it may be given up in the end (`Outbox`).

use std::fmt;

use super::{Action, Hooks, Who};

/// Told when it is dropped, wherever that is.
#[must_use = "who is let in stays as long as this is held"]
pub struct Farewell {
    hooks: Hooks,
    action: Option<Action>,
    who: Who,
}

impl Farewell {
    /// Of `who`, that `before` has let in.
    pub(super) fn new(hooks: Hooks, before: Action, who: Who) -> Self {
        Self { hooks, action: before.counterpart(), who }
    }

    /// With the bytes that have passed to the client and from it.
    pub fn passed(mut self, sent: u64, received: u64) -> Self {
        (self.who.send_bytes, self.who.recv_bytes) = (sent, received);
        self
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(action) = self.action {
            self.hooks.tell(action, &self.who);
        }
    }
}

impl fmt::Debug for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = &self.who.client_id;
        f.debug_struct("Farewell")
            .field("client", client)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}
