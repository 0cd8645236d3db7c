//! What is to be told when a connection is gone, with what has passed on it. It travels along from shard to shard.
//!
//! Invariant: it is told once, wherever the connection ends, also on its way.

use std::{cell::Cell, fmt, rc::Rc};

use crate::net::socket::{Socket, Traffic};

/// See the module.
#[derive(Default)]
pub struct Ending {
    tell: Option<Box<dyn FnOnce(Traffic) + Send>>,
    traffic: Traffic,
}

impl Ending {
    /// `tell` is called at the end.
    pub fn new(tell: impl FnOnce(Traffic) + Send + 'static) -> Self {
        Self { tell: Some(Box::new(tell)), traffic: Traffic::default() }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.traffic);
        }
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("is_told", &self.tell.is_none()).finish_non_exhaustive()
    }
}

/// The ending of a connection that is here.
pub(super) struct Watch {
    socket: Rc<Socket>,
    ending: Cell<Option<Ending>>,
}

impl Watch {
    /// Over a connection that has nothing to be told yet.
    pub fn new(socket: &Rc<Socket>) -> Self {
        Self { socket: Rc::clone(socket), ending: Cell::default() }
    }

    /// This is to be told.
    pub fn set(&self, ending: Ending) {
        self.ending.set(Some(ending));
    }

    /// The connection leaves for another shard.
    pub fn depart(self) -> Option<Ending> {
        self.take()
    }

    fn take(&self) -> Option<Ending> {
        let mut ending = self.ending.take()?;
        ending.traffic = self.socket.traffic();
        Some(ending)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.take());
    }
}
