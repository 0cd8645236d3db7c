//! One elementary stream and what a decoder must know before its first frame.

use std::fmt;

use bytes::Bytes;

use super::{Codec, TrackKind};

/// Which track: the sort, and its number among its sort. Number 0 is the one that single-track players get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId {
    /// Pictures, sound or data.
    pub kind: TrackKind,
    /// 0 for the main track; Enhanced RTMP's `trackId` otherwise.
    pub index: u8,
}

impl TrackId {
    /// The main picture.
    pub const VIDEO: Self = Self { kind: TrackKind::Video, index: 0 };
    /// The main sound.
    pub const AUDIO: Self = Self { kind: TrackKind::Audio, index: 0 };
    /// Script data.
    pub const DATA: Self = Self { kind: TrackKind::Data, index: 0 };

    /// Track `index` of the sort `kind`.
    pub const fn new(kind: TrackKind, index: u8) -> Self {
        Self { kind, index }
    }

    /// Whether single-track players get this one.
    pub const fn is_main(self) -> bool {
        self.index == 0
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TrackKind::Video => "video",
            TrackKind::Audio => "audio",
            TrackKind::Data => "data",
        };
        write!(f, "{kind}{}", self.index)
    }
}

/// What the configuration (or the wire) says about size and rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Shape {
    /// Not told.
    #[default]
    Unknown,
    /// Pictures.
    Video {
        /// Pixels, after cropping.
        width: u32,
        /// Pixels, after cropping.
        height: u32,
    },
    /// Sound.
    Audio {
        /// Samples a second, of each channel, as heard (after SBR).
        sample_rate: u32,
        /// 1 to 8.
        channels: u8,
    },
}

/// One elementary stream. A change of any field is a new sequence header to players.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Which of the stream's tracks.
    pub id: TrackId,
    /// Its coding.
    pub codec: Codec,
    /// Out-of-band parameter sets in the form that [`Codec`] names; empty when there are none.
    pub config: Bytes,
    /// Size or rate.
    pub shape: Shape,
}

/// What a publisher said of its stream in `onMetaData`: one AMF0 value (object or ECMA array), as it came.
///
/// Opaque here; the FLV and RTMP muxers read and correct it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata(pub Bytes);
