//! What a stream's renditions are told, in order: the language between the owner of a stream and its mirrors.
//!
//! Times are the stream's own, already repaired; whoever follows judges nothing and changes nothing.

use super::{Party, Scene, gop::Change};
use crate::media::{Frame, Timestamp};

/// One thing that happens to all renditions of a stream. Cheap to clone: payloads and parameter sets are shared.
#[derive(Clone, Debug)]
pub enum Step {
    /// A publisher sits; what it consists of is not known yet.
    Seated(Party),
    /// A group of pictures (or of sound) starts with the next frame.
    Open {
        /// The stream at its start.
        scene: Scene,
        /// When that is.
        at: Timestamp,
    },
    /// A frame.
    Frame(Frame),
    /// The scene changes in mid-stream.
    Change(Change),
    /// The stream goes on without a group to start from: what it consists of, for those who stayed.
    Describe {
        /// The stream from here on.
        scene: Scene,
        /// When that is.
        at: Timestamp,
    },
    /// Nobody may start from the newest group any more.
    Forget,
    /// The publisher is gone.
    Vacant,
}

impl Step {
    /// Bytes that it holds, for bounds.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.payload.len(),
            Self::Change(change) => change.what.bytes(),
            _ => 0,
        }
    }
}
