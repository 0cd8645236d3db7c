//! Media out by RTP: packetised once for each stream, and for each viewer only headed, sealed and sent.
//!
//! A stream's frames become packets in one rendition ([`mux`]), in a framing of our own ([`mod@unit`]). A viewer ([`viewer`]) is a
//! sink of that rendition: it takes whole batches, judges what of them it wants now (`judge`: which of several layers, and when), writes
//! its own headers ([`mod@line`]), keeps its own count ([`flow`]), seals in one buffer of the shard, and sends trains of datagrams. What
//! it missed it gets again (`repeat`). Who negotiated all that is not known here.

pub mod flow;
mod judge;
pub mod keys;
mod layers;
pub mod line;
pub mod mux;
mod repeat;
mod reports;
mod scratch;
pub mod unit;
pub mod viewer;

pub use line::LineOptions;
pub use mux::{MuxOptions, RtpMux, Shared};
pub use reports::ViewerStats;
pub use viewer::{Terms, Viewer, Wire, Wishes};

/// The rendition's name.
pub const RENDITION: shards::stream::RenditionKind = "rtp";

#[cfg(test)]
mod tests;
