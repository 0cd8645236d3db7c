//! The owner's end of a mirror: what the mirror has yet to be told.
//!
//! Steps gather like frames do and leave together, one hop for each batch whatever the number of viewers. A mirror that
//! takes nothing is overtaken like a slow viewer: it skips to the next group. Sizes are bytes.

use std::{mem, time::Duration};

use super::{Party, Scene, step::Step};
use crate::media::Timestamp;

/// Steps that may wait for a mirror: some seconds of pictures and sound.
const STEPS_MAX: usize = 4_096;

/// The way to a mirror; `shards` sends over its mesh, tests keep what they get.
pub trait Relay {
    /// Passes `steps` on. `gathered`: how long the first of them may have waited here for the others.
    ///
    /// # Errors
    /// Gives them back when there is no room now.
    fn relay(&self, steps: Vec<Step>, gathered: Duration) -> Result<(), Vec<Step>>;
}

/// See the module.
pub(super) struct Tap {
    /// Who follows, for the owner to tell mirrors apart.
    pub(super) id: u16,
    relay: Box<dyn Relay>,
    steps: Vec<Step>,
    bytes: usize,
    bytes_max: usize,
    /// Some was left out: nothing makes sense to the mirror before the next group.
    lost: bool,
    /// The road had no room for what waits.
    blocked: bool,
    gathered: Duration,
    pub(super) skips: u64,
}

impl Tap {
    pub(super) fn new(id: u16, relay: Box<dyn Relay>, bytes_max: usize) -> Self {
        Self {
            id,
            relay,
            steps: Vec::new(),
            bytes: 0,
            bytes_max,
            lost: false,
            blocked: false,
            gathered: Duration::ZERO,
            skips: 0,
        }
    }

    /// How long frames gather here before they leave.
    pub(super) fn set_gathered(&mut self, gathered: Duration) {
        self.gathered = gathered;
    }

    /// One step more for the mirror.
    pub(super) fn note(&mut self, step: Step) {
        if self.lost {
            if let Step::Vacant = step {
                // All that still concerns those who wait there; a new publisher begins anew.
                (self.steps, self.bytes, self.lost) = (vec![step], 0, false);
            }
            return;
        }
        self.bytes += step.bytes();
        self.steps.push(step);
        if self.bytes > self.bytes_max || self.steps.len() > STEPS_MAX {
            // Who publishes is still told: viewers there must not think that nobody does.
            self.steps.retain(|step| matches!(step, Step::Seated(_) | Step::Vacant));
            self.steps.drain(..self.steps.len().saturating_sub(1));
            (self.bytes, self.lost) = (0, true);
            self.skips += 1;
        }
    }

    /// Several steps that belong together.
    pub(super) fn note_all(&mut self, steps: impl Iterator<Item = Step>) {
        steps.for_each(|step| self.note(step));
    }

    /// A group starts: from here on a mirror that was overtaken understands again.
    pub(super) fn open(&mut self, party: Option<&Party>, scene: &Scene, at: Timestamp) {
        if mem::take(&mut self.lost)
            && let Some(party) = party
        {
            self.note(Step::Seated(party.clone()));
        }
        self.note(Step::Open { scene: scene.clone(), at });
    }

    /// Sends what gathered, or keeps it for the next time.
    pub(super) fn send(&mut self) {
        if self.steps.is_empty() {
            return;
        }
        // The next batch is about as large as this one.
        let room = Vec::with_capacity(self.steps.len());
        match self.relay.relay(mem::replace(&mut self.steps, room), self.gathered) {
            Ok(()) => (self.bytes, self.blocked) = (0, false),
            Err(steps) => (self.steps, self.blocked) = (steps, true),
        }
    }

    /// Sends what found no room before; what only gathers goes on gathering.
    pub(super) fn send_again(&mut self) {
        if self.blocked {
            self.send();
        }
    }
}
