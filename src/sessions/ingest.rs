//! From FLV tag bodies to a stream's frames: what RTMP and WebSocket-FLV publishers have in common.
//!
//! A tag that cannot be understood is counted and left out; the publisher goes on.

use bytes::Bytes;
use shards::stream::{Evicted, Publisher};

use crate::{
    conn_id::ConnId,
    protocols::flv::{Demux, Item, TagType, codec_hints},
};

/// A log line for the first of these many bad tags, and then for every thousandth: a broken encoder must not fill a disk.
const BAD_LOGGED: u64 = 3;

/// See the module.
pub struct Ingest {
    id: ConnId,
    publisher: Publisher,
    demux: Demux,
    items: Vec<Item>,
    bad: u64,
    frames: u64,
}

impl Ingest {
    /// For a publisher's seat.
    pub fn new(id: ConnId, publisher: Publisher) -> Self {
        Self { id, publisher, demux: Demux::new(), items: Vec::new(), bad: 0, frames: 0 }
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
                    tracing::info!(conn = %self.id, stream = %self.publisher.stream().key(),
                        "{}: {} {}", track.id, track.codec, Described(&track.shape));
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
            if self.bad <= BAD_LOGGED || self.bad.is_multiple_of(1_000) {
                tracing::warn!(conn = %self.id, stream = %self.publisher.stream().key(),
                    "left out {kind:?} tag at {timestamp} ms (the {}th): {error}", self.bad);
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
