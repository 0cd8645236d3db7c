//! Where streams live and how they fan out.
//!
//! A stream key names one shard: one pinned glommio executor that owns the stream's publisher seat, GOP cache,
//! renditions and subscribers. [`media`] holds the words everyone shares; [`stream`] is the pure machine, tested
//! without io_uring; glommio begins at [`handoff`].

pub mod executor;
pub mod handoff;
pub mod media;
mod mirrors;
pub mod pace;
pub mod placement;
pub mod registry;
pub mod shard;
pub mod spread;
pub mod stream;

pub use placement::{Placement, ShardId};
pub use shard::{Service, Shard, spawn};
