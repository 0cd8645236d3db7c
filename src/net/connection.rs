//! The connections of one shard: who they are, until when they may be silent, and how they are told to go.
//!
//! A deadline is a number in a table that the shard's tick looks through, not a timer each: thousands of idle players cost
//! one pass ten times a second. Invariant: a connection is in the table exactly while its [`Connection`] lives.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use slab::Slab;

use super::admission::Ticket;
use crate::conn_id::ConnId;

/// Why a connection is to go, though its peer would stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closing {
    /// It said nothing for too long.
    #[error("nothing came for {}", Human(.0))]
    Silent(Duration),
    /// The server ends.
    #[error("the server is shutting down")]
    Shutdown,
}

struct Human<'a>(&'a Duration);

impl std::fmt::Display for Human<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_millis() {
            millis if millis % 1_000 == 0 => write!(f, "{} s", millis / 1_000),
            millis => write!(f, "{millis} ms"),
        }
    }
}

struct Life {
    deadline: Cell<Option<(Instant, Duration)>>,
    closing: Cell<Option<Closing>>,
    waker: Cell<Option<Waker>>,
}

impl Life {
    fn close(&self, closing: Closing) {
        if self.closing.get().is_none() {
            self.closing.set(Some(closing));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

/// The table of one shard.
#[derive(Default)]
pub struct Connections {
    lives: RefCell<Slab<Rc<Life>>>,
    ending: Cell<bool>,
}

impl Connections {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.lives.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lives.borrow().is_empty()
    }

    /// Enters a connection that has just come, or has come from another shard.
    pub fn enter(self: &Rc<Self>, id: ConnId, peer: SocketAddr, ticket: Option<Ticket>) -> Connection {
        let life = Rc::new(Life {
            deadline: Cell::default(),
            closing: Cell::new(self.ending.get().then_some(Closing::Shutdown)),
            waker: Cell::default(),
        });
        let slot = self.lives.borrow_mut().insert(Rc::clone(&life));
        Connection { id, peer, ticket, life, slot, table: Rc::clone(self) }
    }

    /// Time passes: those that were silent too long are told to go.
    pub fn tick(&self, now: Instant) {
        for (_, life) in self.lives.borrow().iter() {
            if let Some((deadline, allowed)) = life.deadline.get()
                && now >= deadline
            {
                life.close(Closing::Silent(allowed));
            }
        }
    }

    /// Tells all to go, and all who come later.
    pub fn close_all(&self) {
        self.ending.set(true);
        for (_, life) in self.lives.borrow().iter() {
            life.close(Closing::Shutdown);
        }
    }
}

/// One connection's entry.
pub struct Connection {
    id: ConnId,
    peer: SocketAddr,
    ticket: Option<Ticket>,
    life: Rc<Life>,
    slot: usize,
    table: Rc<Connections>,
}

impl Connection {
    /// The name that is on each of its log lines.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// It must go on within `allowed`.
    pub fn expect_within(&self, allowed: Duration) {
        self.life.deadline.set(Some((Instant::now() + allowed, allowed)));
    }

    /// It may be silent.
    pub fn expect_nothing(&self) {
        self.life.deadline.set(None);
    }

    /// Ready when it is to go.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<Closing> {
        match self.life.closing.get() {
            Some(closing) => Poll::Ready(closing),
            None => {
                self.life.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// Waits for `work`, unless the connection is to go before it is done.
    ///
    /// # Errors
    /// Why it is to go.
    pub async fn race<T>(&self, work: impl Future<Output = T>) -> Result<T, Closing> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll_closing(cx).map(Err),
        })
        .await
    }

    /// Leaves this shard's table, to enter another's.
    pub fn depart(mut self) -> (ConnId, SocketAddr, Option<Ticket>) {
        (self.id, self.peer, self.ticket.take())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.table.lives.borrow_mut().try_remove(self.slot);
    }
}
