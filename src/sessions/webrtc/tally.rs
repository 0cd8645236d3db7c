//! What a WebRTC session has come to, hung up by its session at each tick for those who ask.
//!
//! The session's own task owns everything that counts; here is a copy that is at most a tick old.

use std::{cell::Cell, rc::Rc};

use crate::clients::{Meter, Reading};

/// See the module.
#[derive(Default)]
pub struct Tally(Cell<Reading>);

impl Tally {
    /// From now on it is this.
    pub fn set(&self, reading: Reading) {
        self.0.set(reading);
    }
}

/// Reads a tally.
pub struct TallyMeter(pub Rc<Tally>);

impl Meter for TallyMeter {
    fn read(&self) -> Reading {
        self.0.0.get()
    }
}
