//! What is published: a schedule of media messages, made up or from a file.
//!
//! A [`Source`] says when its next message is due and writes it when asked. The same source feeds a publisher and the
//! floor, so both send the same bytes at the same times. Times are microseconds since the stream began, sizes bytes.

mod bits;
pub mod file;
pub mod h264;
pub mod marker;
pub mod synthetic;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use shardcast::protocols::{
    amf0::Value,
    flv::{self, TagType},
    rtmp::MediaKind,
};

use file::Clip;
use marker::Marker;
use synthetic::Synthetic;

/// What all streams of a run carry.
#[derive(Clone, Debug)]
pub enum Programme {
    /// Pictures and sound of this shape.
    Synthetic(synthetic::Shape),
    /// A file, over and over.
    Clip(Arc<Clip>),
}

/// One message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Picture or sound.
    pub kind: MediaKind,
    /// On the stream's clock, milliseconds.
    pub timestamp: u32,
    /// Whether a player can begin here.
    pub key: bool,
    /// Whether it holds the marker.
    pub marked: bool,
}

/// One stream's messages, without an end.
#[derive(Debug)]
pub struct Source {
    stream: u32,
    run: u64,
    /// Pictures that were written with a marker.
    pictures: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Synthetic(Synthetic),
    Clip(file::Player),
}

impl Programme {
    /// Bits a second that it takes, about.
    pub fn bit_rate(&self) -> u64 {
        match self {
            Self::Synthetic(shape) => shape.bit_rate,
            Self::Clip(clip) => clip.bit_rate(),
        }
    }

    /// The same without sound, and the bit rate of the sound that it has: WebRTC carries another codec.
    pub fn pictures_alone(&self) -> (Self, Option<u64>) {
        /// A file's sound is replaced by a tone of this bit rate.
        const TONE_BIT_RATE: u64 = 64_000;
        match self {
            Self::Synthetic(shape) => {
                let sound = shape.audio_bit_rate;
                let alone =
                    synthetic::Shape { bit_rate: shape.bit_rate - sound, audio_bit_rate: 0, ..*shape };
                (Self::Synthetic(alone), (sound > 0).then_some(sound))
            }
            Self::Clip(_) => (self.clone(), Some(TONE_BIT_RATE)),
        }
    }

    /// From one keyframe to the next, microseconds, about.
    pub fn group_us(&self) -> u64 {
        match self {
            Self::Synthetic(shape) => shape.group_us(),
            Self::Clip(clip) => clip.group_us(),
        }
    }

    /// From one picture to the next, microseconds, about.
    pub fn picture_us(&self) -> u64 {
        match self {
            Self::Synthetic(shape) => (1e6 / shape.picture_rate) as u64,
            Self::Clip(clip) => clip.picture_us(),
        }
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Synthetic(shape) => shape.describe(),
            Self::Clip(clip) => clip.describe(),
        }
    }
}

impl Source {
    /// Stream `stream` of the run numbered `run`; both go into the markers.
    pub fn new(programme: &Programme, run: u64, stream: u32) -> Self {
        let content = match programme {
            Programme::Synthetic(shape) => Content::Synthetic(Synthetic::new(shape)),
            Programme::Clip(clip) => Content::Clip(file::Player::new(Arc::clone(clip))),
        };
        Self { stream, run, pictures: 0, content }
    }

    /// `onMetaData`'s value.
    pub fn metadata(&self) -> Value {
        match &self.content {
            Content::Synthetic(synthetic) => synthetic.metadata(),
            Content::Clip(player) => player.metadata(),
        }
    }

    /// The bodies of the messages that decoders need first.
    pub fn headers(&self) -> Vec<(MediaKind, Bytes)> {
        match &self.content {
            Content::Synthetic(synthetic) => synthetic.headers(),
            Content::Clip(player) => player.headers(),
        }
    }

    /// When the next message is to be sent.
    pub fn due_us(&self) -> u64 {
        match &self.content {
            Content::Synthetic(synthetic) => synthetic.due_us(),
            Content::Clip(player) => player.due_us(),
        }
    }

    /// The next picture is a keyframe; a file's come as they come.
    pub fn ask_keyframe(&mut self) {
        if let Content::Synthetic(synthetic) = &mut self.content {
            synthetic.ask_keyframe();
        }
    }

    /// Appends the body of the next message, marked as sent at `now` (nanoseconds on [`crate::clock`]).
    pub fn next(&mut self, now: u64, out: &mut BytesMut) -> Message {
        let marker = Marker { run: self.run, stream: self.stream, picture: self.pictures, sent_ns: now };
        let message = match &mut self.content {
            Content::Synthetic(synthetic) => synthetic.next(&marker, out),
            Content::Clip(player) => player.next(&marker, out),
        };
        self.pictures += u64::from(message.marked);
        message
    }

    /// Everything that comes before the first picture, as FLV tags behind a file header.
    pub fn flv_preamble(&self) -> Bytes {
        let mut out = BytesMut::new();
        flv_file_header(&mut out);
        let mut script = BytesMut::new();
        Value::from("onMetaData").encode(&mut script);
        self.metadata().encode(&mut script);
        flv::write_tag(&mut out, TagType::Script, 0, &[&script]);
        for (kind, body) in self.headers() {
            flv::write_tag(&mut out, tag_type(kind), 0, &[&body]);
        }
        out.freeze()
    }
}

/// The file header and the size of the tag that is not before the first.
fn flv_file_header(out: &mut BytesMut) {
    out.extend_from_slice(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
}

/// The FLV tag that carries a kind of message.
pub const fn tag_type(kind: MediaKind) -> TagType {
    match kind {
        MediaKind::Audio => TagType::Audio,
        MediaKind::Video => TagType::Video,
        MediaKind::Data => TagType::Script,
    }
}

/// The kind of message that an FLV tag is.
pub const fn media_kind(kind: TagType) -> MediaKind {
    match kind {
        TagType::Audio => MediaKind::Audio,
        TagType::Video => MediaKind::Video,
        TagType::Script => MediaKind::Data,
    }
}

#[cfg(test)]
mod tests;
