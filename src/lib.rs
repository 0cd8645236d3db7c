//! Shardcast: a thread-per-core live media server.
//!
//! `ARCHITECTURE.md` is the map of this house.

pub mod access;
pub mod api;
pub mod board;
pub mod cli;
pub mod clients;
pub mod codecs;
pub mod conn_id;
pub mod demo;
pub mod hooks;
pub mod identity;
pub mod log;
pub mod net;
pub mod proc;
pub mod protocols;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod transcode;
pub mod web;
