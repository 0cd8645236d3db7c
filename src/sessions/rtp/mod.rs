//! Media out by RTP: packetised once for each stream, and for each viewer only headed, sealed and sent.
//!
//! A stream's frames become packets in one rendition ([`mux`]), in a framing of our own ([`mod@unit`]). A viewer ([`viewer`]) is a
//! sink of that rendition: it takes whole batches, writes its own headers ([`mod@line`]), keeps its own count ([`flow`]), seals in one
//! buffer of the shard, and sends trains of datagrams. Who negotiated all that is not known here.

pub mod flow;
pub mod keys;
pub mod line;
pub mod mux;
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
