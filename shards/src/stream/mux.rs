//! How a frame becomes bytes: the trait that protocols' renditions implement.

use bytes::{Bytes, BytesMut};

use super::Scene;
use crate::media::{Codec, Frame, Timestamp, Track};

/// Turns a stream into one wire form, once for all readers of that form.
///
/// Calls come in this order: `begin`, any number of `track`/`metadata`/`frame`, `seal`; again. `preamble` and `headers`
/// stand alone: what they return is sent to one reader before a batch and is complete in itself.
pub trait Mux {
    /// The codec in which players of this form get main sound that the publisher sends in `source`: another one, if they
    /// cannot take that. It is made if it can be; otherwise the sound comes as it is.
    fn sound_for(&self, source: Codec) -> Codec {
        source
    }

    /// What a connection needs before anything else, once (an FLV file header). May be empty.
    fn preamble(&mut self, scene: &Scene) -> Bytes;

    /// What a decoder needs before a group of pictures that starts at `at`: metadata and parameter sets.
    fn headers(&mut self, scene: &Scene, at: Timestamp) -> Bytes;

    /// Makes room in an empty `out` for what [`seal`](Self::seal) will put in front.
    fn begin(&mut self, out: &mut BytesMut);

    /// A track's parameter sets changed in mid-stream.
    fn track(&mut self, track: &Track, at: Timestamp, out: &mut BytesMut);

    /// The metadata changed in mid-stream.
    fn metadata(&mut self, scene: &Scene, at: Timestamp, out: &mut BytesMut);

    /// One frame. A frame that the form cannot carry writes nothing.
    fn frame(&mut self, track: &Track, frame: &Frame, out: &mut BytesMut);

    /// Takes what was written since `begin` as bytes ready for the wire; empty when nothing was.
    fn seal(&mut self, out: &mut BytesMut) -> Bytes;
}
