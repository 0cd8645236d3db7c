//! The unit of everything: one access unit or one audio frame.

use bytes::Bytes;

use super::{Timestamp, TrackId, TrackKind};

/// What other frames need of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Decoding may begin here (video), or the frame stands alone (audio, data).
    Key,
    /// Needs frames before it.
    Inter,
    /// Needs frames before it, and no frame needs it.
    Disposable,
}

/// One access unit (video) or one frame (audio, data). Cheap to clone: the payload is shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The track it belongs to.
    pub track: TrackId,
    /// When to decode it.
    pub dts: Timestamp,
    /// Presentation minus decoding time; zero for audio, may be negative where the publisher sends it so.
    pub composition: Timestamp,
    /// What other frames need of it.
    pub kind: FrameKind,
    /// The bytes, in the form that [`media`](super) describes.
    pub payload: Bytes,
}

impl Frame {
    /// When to show it.
    pub fn pts(&self) -> Timestamp {
        self.dts + self.composition
    }

    /// Whether it is a keyframe of the main picture.
    pub fn is_video_key(&self) -> bool {
        self.track == TrackId::VIDEO && self.kind == FrameKind::Key
    }

    /// Whether it belongs to a picture track.
    pub fn is_video(&self) -> bool {
        self.track.kind == TrackKind::Video
    }
}
