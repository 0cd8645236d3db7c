//! The FLV renditions: the same tags in three framings, each written once for all who read it so.
//!
//! Invariant: a batch is whole framing units, so that a session may put its own bytes between two of them.

use bytes::{BufMut, Bytes, BytesMut};
use shards::{
    media::{Codec, Frame, Timestamp, Track},
    stream::{Mux, RenditionKind, Scene},
};

use crate::protocols::{
    flv::{self, TagType},
    http::{Version, chunked, stream_head},
    ws,
};

/// What stands around the tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.0: nothing; the stream ends with the connection.
    Plain,
    /// HTTP/1.1: each batch is a chunk.
    Chunked,
    /// Each batch is a binary message.
    WebSocket,
}

impl Framing {
    /// The rendition in this framing.
    pub const fn rendition(self) -> RenditionKind {
        match self {
            Self::Plain => "flv-plain",
            Self::Chunked => "flv",
            Self::WebSocket => "ws-flv",
        }
    }

    /// Room that is kept in front of a batch.
    const fn room(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Chunked => chunked::PREFIX_MAX,
            Self::WebSocket => ws::frame::PREFIX_MAX,
        }
    }

    fn begin(self, out: &mut BytesMut) {
        out.put_bytes(0, self.room());
    }

    /// Closes what was written after [`begin`](Self::begin).
    fn seal(self, out: &mut BytesMut) -> Bytes {
        let len = out.len() - self.room().min(out.len());
        if len == 0 {
            out.clear();
            return Bytes::new();
        }
        let taken = match (self, out.first_chunk_mut()) {
            (Self::Chunked, Some(room)) => chunked::prefix(room, len as u32),
            (Self::WebSocket, Some(room)) => ws::frame::prefix(room, len as u64),
            _ => 0,
        };
        if self == Self::Chunked {
            out.put_slice(chunked::SUFFIX);
        }
        out.split().freeze().slice(self.room() - taken..)
    }

    fn wrap(self, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        let mut out = BytesMut::new();
        self.begin(&mut out);
        write(&mut out);
        self.seal(&mut out)
    }
}

/// See the module.
pub struct FlvMux {
    framing: Framing,
    body: BytesMut,
}

impl FlvMux {
    /// In this framing.
    pub fn new(framing: Framing) -> Self {
        Self { framing, body: BytesMut::new() }
    }

    /// Always at time 0: ffmpeg takes later metadata for subtitles.
    fn put_metadata(&mut self, scene: &Scene, out: &mut BytesMut) {
        self.body.clear();
        flv::on_meta_data(scene.metadata(), scene.tracks(), &mut self.body);
        flv::write_tag(out, TagType::Script, 0, &[&self.body]);
    }

    fn put_track(&mut self, track: &Track, at: Timestamp, out: &mut BytesMut) {
        self.body.clear();
        if flv::sequence_header(track, &mut self.body) {
            flv::write_tag(out, flv::tag_type(track.codec.kind()), wire(at), &[&self.body]);
        }
    }
}

impl Mux for FlvMux {
    /// Hardly a player of FLV takes Opus.
    fn sound_for(&self, source: Codec) -> Codec {
        if source == Codec::Opus { Codec::Aac } else { source }
    }

    /// The head of the response is the same for all players of a framing, so it comes with the file header: a player
    /// whose stream never starts has got neither, and can still be told so in HTTP's own words.
    fn preamble(&mut self, scene: &Scene) -> Bytes {
        let head = match self.framing {
            Framing::Plain => stream_head(Version::Http10, "video/x-flv", false),
            Framing::Chunked => stream_head(Version::Http11, "video/x-flv", false),
            Framing::WebSocket => Bytes::new(),
        };
        let header = flv::file_header(scene.has_audio(), scene.has_video());
        let mut all = BytesMut::from(&head[..]);
        all.extend_from_slice(&self.framing.wrap(|out| out.put_slice(&header)));
        all.freeze()
    }

    fn headers(&mut self, scene: &Scene, at: Timestamp) -> Bytes {
        self.framing.wrap(|out| {
            self.put_metadata(scene, out);
            for track in scene.tracks() {
                self.put_track(track, at, out);
            }
        })
    }

    fn begin(&mut self, out: &mut BytesMut) {
        self.framing.begin(out);
    }

    fn track(&mut self, track: &Track, at: Timestamp, out: &mut BytesMut) {
        self.put_track(track, at, out);
    }

    fn metadata(&mut self, scene: &Scene, _: Timestamp, out: &mut BytesMut) {
        self.put_metadata(scene, out);
    }

    fn frame(&mut self, track: &Track, frame: &Frame, out: &mut BytesMut) {
        if let Some(head) = flv::frame_head(track, frame) {
            flv::write_tag(out, flv::tag_type(track.codec.kind()), wire(frame.dts), &[&head, &frame.payload]);
        }
    }

    fn seal(&mut self, out: &mut BytesMut) -> Bytes {
        self.framing.seal(out)
    }
}

/// Milliseconds modulo 2^32, as FLV counts.
fn wire(at: Timestamp) -> u32 {
    at.millis() as u32
}
