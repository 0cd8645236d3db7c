//! A setting that may change while sessions live: whoever needs it reads it anew.

use std::{cell::RefCell, rc::Rc};

/// See the module. One for each shard, so reading it costs a counter that no other thread touches.
#[derive(Debug)]
pub struct Latest<T>(RefCell<Rc<T>>);

impl<T> Latest<T> {
    /// As it is at the start.
    pub fn new(value: T) -> Self {
        Self(RefCell::new(Rc::new(value)))
    }

    /// As it is now.
    pub fn get(&self) -> Rc<T> {
        Rc::clone(&self.0.borrow())
    }

    /// From now on it is this.
    pub fn set(&self, value: T) {
        *self.0.borrow_mut() = Rc::new(value);
    }
}
