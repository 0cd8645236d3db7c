//! From FLV tag bodies to a stream's frames: what RTMP and WebSocket-FLV publishers have in common.
//!
//! A tag that cannot be understood is counted and left out; the publisher goes on.

use bytes::Bytes;
use shards::stream::{Evicted, Publisher};

use crate::{
    conn_id::ConnId,
    protocols::flv::{Demux, Item, TagType, codec_hints},
};

/// See the module.
pub struct Ingest {
    id: ConnId,
    publisher: Publisher,
    demux: Demux,
    items: Vec<Item>,
    tracks: u64,
    bad: u64,
    frames: u64,
}

impl Ingest {
    /// For a publisher's seat.
    pub fn new(id: ConnId, publisher: Publisher) -> Self {
        Self { id, publisher, demux: Demux::new(), items: Vec::new(), tracks: 0, bad: 0, frames: 0 }
    }

    /// The seat.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Tags that could not be understood.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// One tag body.
    ///
    /// # Errors
    /// When another publisher took over.
    pub fn tag(&mut self, kind: TagType, timestamp: u32, body: Bytes) -> Result<(), Evicted> {
        let outcome = self.demux.tag(kind, timestamp, body, &mut self.items);
        for item in self.items.drain(..) {
            match item {
                Item::Track(track) => {
                    self.tracks += 1;
                    if is_worth_a_line(self.tracks) {
                        tracing::info!(conn = %self.id, stream = %self.publisher.stream().key(),
                            "{}: {} {}", track.id, track.codec, Described(&track.shape));
                    }
                    self.publisher.track(track)?;
                }
                Item::Frame(frame) => {
                    self.frames += 1;
                    self.publisher.frame(frame)?;
                }
                Item::Metadata(metadata) => {
                    let (audio, video) = codec_hints(&metadata);
                    self.publisher.expect(audio, video)?;
                    self.publisher.metadata(metadata)?;
                }
            }
        }
        if let Err(error) = outcome {
            self.bad += 1;
            self.publisher.note_malformed()?;
            if is_worth_a_line(self.bad) {
                tracing::warn!(conn = %self.id, stream = %self.publisher.stream().key(),
                    "left out {kind:?} tag at {timestamp} ms (number {}): {error}", self.bad);
            }
        }
        Ok(())
    }

    /// What came since the last flush may leave.
    ///
    /// # Errors
    /// When another publisher took over.
    pub fn flush(&self) -> Result<(), Evicted> {
        self.publisher.flush()
    }
}

/// Whether the `n`th event of a kind is worth a line: the first ones, and then each that doubles their number. A broken
/// encoder must not fill a disk.
const fn is_worth_a_line(n: u64) -> bool {
    n <= 8 || n.is_power_of_two()
}

struct Described<'a>(&'a shards::media::Shape);

impl std::fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use shards::media::Shape;
        match self.0 {
            Shape::Unknown => Ok(()),
            Shape::Video { width, height } => write!(f, "{width}x{height}"),
            Shape::Audio { sample_rate, channels } => write!(f, "{sample_rate} Hz, {channels} ch"),
        }
    }
}
