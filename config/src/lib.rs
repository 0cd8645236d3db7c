//! What an operator may set: the schema, its units, where each value came from, and what contradicts.
//!
//! Layers, later wins: defaults, one YAML file, `SHARDCAST_KEY__PATH` variables, `--set key.path=value`.
//! Invariant: a [`Config`] that [`Config::load`] returned is within every range and free of contradictions;
//! every problem of every layer is reported together, each with its place. `shardcast.yaml` beside this
//! crate is the manual, and a test keeps it equal to [`Config::default`].

mod check;
mod coalesce;
mod entries;
mod error;
mod leaf;
mod load;
mod locate;
mod node;
mod origin;
mod schema;
mod secret;
mod section;
mod shards;
mod suggest;
mod texts;
mod units;

pub use coalesce::Coalesce;
pub use entries::Entry;
pub use error::{Errors, Fault, Problem};
pub use load::{Loaded, Sources};
pub use origin::{Origin, Origins};
pub use schema::{
    ApiAuth, Auth, Bframes, Config, Delivery, Demo, Gop, Jwt, Limits, Listen, Log, LogFormat, LogLevel,
    Metrics, Need, Play, Publish, Rotate, Security, Shutdown, Takeover, Tls, Transcode, TranscodeAudio,
    Webrtc,
};
pub use secret::{Secret, Secrets};
pub use shards::{SHARDS_MAX, Shards};
pub use texts::Texts;
pub use units::{BitRate, ByteSize, Millis, PictureSize, UnitError};

/// The annotated file with every key at its default: the manual.
pub const MANUAL: &str = include_str!("../shardcast.yaml");

#[cfg(test)]
mod tests;
