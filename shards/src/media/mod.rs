//! The words every protocol shares: what a frame, a track and a stream's name are.
//!
//! Nothing here knows a wire format. Video payloads are length-prefixed NAL units (four-byte lengths) for H.264 and
//! H.265, one temporal unit (low-overhead OBUs) for AV1, one frame for VP8/VP9; audio payloads are one raw frame
//! (AAC without ADTS). Times are microseconds.

mod codec;
mod frame;
mod key;
mod time;
mod track;

pub use codec::{Codec, TrackKind};
pub use frame::{Frame, FrameKind};
pub use key::{KeyError, StreamKey};
pub use time::{Timestamp, Unwrap};
pub use track::{Metadata, Shape, Track, TrackId};
