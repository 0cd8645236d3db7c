//! Stories of streams: what players see, byte for byte, whatever publishers, peers and time do.
//!
//! No sockets and no clock: [`house`] has a wire form made of words, and ways out that block when told to.

mod changes;
mod gathering;
mod groups;
pub(crate) mod house;
mod joining;
mod mirrors;
mod pacing;
mod renditions;
mod seat;
mod slow;
mod sound;
mod world;
