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

use super::admission::{Refusal, Ticket};
use crate::conn_id::ConnId;

/// Why a connection is to go, though its peer would stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closing {
    /// It said nothing for too long.
    #[error("nothing came for {}", Human(.0))]
    Silent(Duration),
    /// An operator wants it gone.
    #[error("an operator closed the connection")]
    Kicked,
    /// What it was allowed to do, it was allowed until now.
    #[error("the permission has expired")]
    Expired,
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
    id: ConnId,
    deadline: Cell<Option<(Instant, Duration)>>,
    /// When its permission ends.
    until: Cell<Option<Instant>>,
    closing: Cell<Option<Closing>>,
    waker: Cell<Option<Waker>>,
}

impl Life {
    fn close(&self, closing: Closing) {
        let stands = match self.closing.get() {
            None => false,
            // These may still be taken back; the others may not, and so go before them.
            Some(Closing::Silent(_) | Closing::Expired) => {
                matches!(closing, Closing::Silent(_) | Closing::Expired)
            }
            Some(_) => true,
        };
        if !stands {
            self.closing.set(Some(closing));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// A new permission, or none: the end of the last one is void.
    fn allow(&self, until: Option<Instant>) {
        self.until.set(until);
        if self.closing.get() == Some(Closing::Expired) {
            self.closing.set(None);
        }
    }

    /// A new deadline, or none: what was said about the last one is void. All other ends are not.
    fn expect(&self, deadline: Option<(Instant, Duration)>) {
        self.deadline.set(deadline);
        if let Some(Closing::Silent(_)) = self.closing.get() {
            self.closing.set(None);
        }
    }

    /// Wakes the task of `cx` when it is to go.
    fn watch(&self, cx: &Context<'_>) {
        let known = self.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.waker.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
    }
}

/// The table of one shard.
#[derive(Default)]
pub struct Connections {
    lives: RefCell<Slab<Rc<Life>>>,
    ending: Cell<bool>,
    expired: Cell<u64>,
    faults: Cell<u64>,
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

    /// How many were told to go since their permission had ended.
    pub fn expired(&self) -> u64 {
        self.expired.get()
    }

    /// How many broke their protocol, since the start.
    pub fn faults(&self) -> u64 {
        self.faults.get()
    }

    /// Enters a connection that has just come, or has come from another shard.
    pub fn enter(self: &Rc<Self>, id: ConnId, peer: SocketAddr, ticket: Option<Ticket>) -> Connection {
        let life = Rc::new(Life {
            id,
            deadline: Cell::default(),
            until: Cell::default(),
            closing: Cell::new(self.ending.get().then_some(Closing::Shutdown)),
            waker: Cell::default(),
        });
        let slot = self.lives.borrow_mut().insert(Rc::clone(&life));
        Connection { id, peer, ticket, life, slot, table: Rc::clone(self) }
    }

    /// Time passes: those that were silent too long are told to go, and those whose permission has ended.
    pub fn tick(&self, now: Instant) {
        for (_, life) in self.lives.borrow().iter() {
            if life.until.get().is_some_and(|until| now >= until) {
                life.until.set(None);
                life.close(Closing::Expired);
                self.expired.update(|count| count + 1);
            }
            if let Some((deadline, allowed)) = life.deadline.get()
                && now >= deadline
            {
                life.close(Closing::Silent(allowed));
            }
        }
    }

    /// Tells one to go: whether it was there.
    pub fn kick(&self, id: ConnId) -> bool {
        let lives = self.lives.borrow();
        let life = lives.iter().map(|(_, life)| life).find(|life| life.id == id);
        life.inspect(|life| life.close(Closing::Kicked)).is_some()
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

    /// A proxy that is believed says that the connection is this client's: from now on it counts as one from there.
    ///
    /// # Errors
    /// When there are too many from there.
    pub fn belongs_to(&mut self, peer: SocketAddr) -> Result<(), Refusal> {
        self.peer = peer;
        self.ticket.as_mut().map_or(Ok(()), |ticket| ticket.belongs_to(peer.ip()))
    }

    /// It broke its protocol, and is about to end.
    pub fn note_fault(&self) {
        self.table.faults.update(|faults| faults + 1);
    }

    /// It must go on within `allowed`.
    pub fn expect_within(&self, allowed: Duration) {
        self.life.expect(Some((Instant::now() + allowed, allowed)));
    }

    /// It may be silent.
    pub fn expect_nothing(&self) {
        self.life.expect(None);
    }

    /// What it does now it may do until then.
    pub fn allow_until(&self, until: Option<Instant>) {
        self.life.allow(until);
    }

    /// Ready when it is to go.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<Closing> {
        match self.life.closing.get() {
            Some(closing) => Poll::Ready(closing),
            None => {
                self.life.watch(cx);
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
    pub fn depart(mut self) -> (ConnId, Option<Ticket>) {
        (self.id, self.ticket.take())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.table.lives.borrow_mut().try_remove(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(table: &Rc<Connections>) -> Connection {
        table.enter(ConnId::random(), ([127, 0, 0, 1], 1).into(), None)
    }

    fn verdict(connection: &Connection) -> Option<Closing> {
        match connection.poll_closing(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(closing) => Some(closing),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_is_silent_too_long_is_to_go_unless_it_may_do_something_else_now() {
        let table = Rc::new(Connections::default());
        let connection = connection(&table);
        let allowed = Duration::from_secs(1);
        connection.expect_within(allowed);
        table.tick(Instant::now());
        assert_eq!(verdict(&connection), None);
        table.tick(Instant::now() + allowed);
        assert_eq!(verdict(&connection), Some(Closing::Silent(allowed)));
        // It played as long as it wanted, and may ask again.
        connection.expect_within(allowed);
        assert_eq!(verdict(&connection), None);
        connection.expect_nothing();
        table.tick(Instant::now() + 10 * allowed);
        assert_eq!(verdict(&connection), None);
    }

    #[test]
    fn who_is_kicked_goes_alone_and_whatever_it_may_do() {
        let table = Rc::new(Connections::default());
        let (kicked, other) = (connection(&table), connection(&table));
        kicked.expect_within(Duration::ZERO);
        table.tick(Instant::now());
        assert!(table.kick(kicked.id()));
        kicked.expect_nothing();
        kicked.allow_until(None);
        assert_eq!((verdict(&kicked), verdict(&other)), (Some(Closing::Kicked), None));
        assert!(!table.kick(ConnId::random()));
    }

    #[test]
    fn permission_ends_however_busy_a_connection_is_and_a_new_one_counts_anew() {
        let table = Rc::new(Connections::default());
        let connection = connection(&table);
        let now = Instant::now();
        connection.allow_until(Some(now + Duration::from_secs(5)));
        table.tick(now + Duration::from_secs(4));
        connection.expect_within(Duration::from_secs(60));
        assert_eq!(verdict(&connection), None);
        table.tick(now + Duration::from_secs(5));
        connection.expect_nothing();
        assert_eq!(verdict(&connection), Some(Closing::Expired));
        assert_eq!(table.expired(), 1);
        // It asked for something else.
        connection.allow_until(None);
        assert_eq!(verdict(&connection), None);
        table.tick(now + Duration::from_secs(50));
        assert_eq!(verdict(&connection), None);
    }

    #[test]
    fn the_end_of_the_server_is_final_also_for_those_who_come_later() {
        let table = Rc::new(Connections::default());
        let early = connection(&table);
        table.close_all();
        let late = connection(&table);
        for connection in [&early, &late] {
            connection.expect_nothing();
            assert_eq!(verdict(connection), Some(Closing::Shutdown));
        }
        assert_eq!(table.len(), 2);
        drop((early, late));
        assert!(table.is_empty());
    }
}
