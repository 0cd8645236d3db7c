//! Shardcast: a thread-per-core live media server.
//!
//! `ARCHITECTURE.md` is the map of this house.
