//! How a shard's WebRTC task is woken by what happens on the same shard: work for a session, or an earlier deadline.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

/// See the module.
#[derive(Default)]
pub struct Kick {
    ready: RefCell<Vec<usize>>,
    rung: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Kick {
    /// The session at `slot` has something to do.
    pub fn ready(&self, slot: usize) {
        let mut ready = self.ready.borrow_mut();
        if ready.last() != Some(&slot) {
            ready.push(slot);
        }
        self.ring();
    }

    /// Something else has changed.
    pub fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// The sessions that have something to do.
    pub fn take_ready(&self) -> Vec<usize> {
        self.ready.take()
    }

    /// Ready when it rang since the last time.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.rung.take() {
            return Poll::Ready(());
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}
