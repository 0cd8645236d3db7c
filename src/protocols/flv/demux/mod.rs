//! FLV tag bodies (which are RTMP's media messages) as tracks, frames and metadata.
//!
//! Legacy and Enhanced RTMP headers end in the same few steps: a configuration makes a [`Track`] when it differs from
//! the one before, a coded body makes a [`Frame`] whose payload is the slice that came. An error concerns one tag; the
//! next one may be well. Invariant: a frame comes only after its track; what is kept is bounded by [`TRACKS_MAX`] and
//! [`CONFIG_BYTES_MAX`]. Wire timestamps are milliseconds.

mod audio;
mod config;
mod enhanced;
mod script;
mod tracks;
mod video;

use bytes::Bytes;
use shards::media::{Codec, Frame, FrameKind, Metadata, Timestamp, Track, TrackId, Unwrap};

use self::tracks::Tracks;
use super::{FourCc, TagType};

/// The most tracks of each sort, and the most that one tag may carry. OBS sends six of sound and five of pictures.
pub const TRACKS_MAX: usize = 16;
/// The largest configuration: parameter sets of any real encoder are below 1 KiB, x265's banner included 4 KiB.
const CONFIG_BYTES_MAX: usize = 64 << 10;
/// The largest `onMetaData` that is kept; a keyframe index of some hours fits.
const METADATA_BYTES_MAX: usize = 256 << 10;
/// The most ADTS frames in one tag; senders that use ADTS at all put one.
const ADTS_FRAMES_MAX: usize = 16;
/// The most items that one tag can make: for each of its tracks the track itself and its frames.
pub(super) const ITEMS_PER_TAG_MAX: usize = TRACKS_MAX * (1 + ADTS_FRAMES_MAX);
/// The farthest that a publisher may carry its clock, microseconds: 36,000 years, so that sums of times never overflow.
const CLOCK_MAX: i64 = 1 << 60;

/// What a tag was found to carry.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A track that is new, or whose configuration changed; its frames follow.
    Track(Track),
    /// One access unit, sound frame or script message.
    Frame(Frame),
    /// What the publisher says of its stream.
    Metadata(Metadata),
}

/// What is wrong with one tag. The tags after it may be well, so the caller counts and goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// The body ends inside its header.
    #[error("the tag ends inside its header")]
    Truncated,
    /// A legacy codec number that is not served.
    #[error("{what} is not supported")]
    UnsupportedCodec {
        /// The field's name for it.
        what: &'static str,
    },
    /// A FourCC that is not known, or is not of the tag's sort.
    #[error("the codec {0} is not supported in this tag")]
    UnsupportedFourCc(FourCc),
    /// A packet type that Enhanced RTMP reserves.
    #[error("packet type {0} is not known")]
    PacketType(u8),
    /// A multitrack form that Enhanced RTMP reserves, or one packed into another.
    #[error("multitrack type {0} is not known")]
    MultitrackType(u8),
    /// A frame before the configuration (or first keyframe) without which it cannot be decoded.
    #[error("a frame of {0} came before its configuration")]
    NoConfig(TrackId),
    /// A configuration that is not in any form known for the codec.
    #[error("the {0} configuration cannot be read")]
    BadConfig(Codec),
    /// A picture that is neither length-prefixed nor Annex B.
    #[error("a picture of {0} whose NAL units do not fit their lengths")]
    BadPicture(TrackId),
    /// More than [`TRACKS_MAX`] tracks.
    #[error("more than {TRACKS_MAX} tracks")]
    TooManyTracks,
    /// A configuration or metadata over its limit.
    #[error("{len} bytes of configuration or metadata; at most {len_max} are kept")]
    TooLarge {
        /// What came.
        len: usize,
        /// What is kept.
        len_max: usize,
    },
    /// A script tag that does not begin with a name.
    #[error("a script tag without a name")]
    Script,
}

/// Makes neutral items of the tags of one publisher.
#[derive(Debug, Default)]
pub struct Demux {
    clock: Clock,
    video: Tracks,
    audio: Tracks,
    script_told: bool,
    ignored: u64,
}

/// One clock for all tracks, so that a wrap moves them together.
#[derive(Debug, Default)]
struct Clock {
    unwrap: Unwrap,
    wire: u32,
    nanos: u32,
}

impl Clock {
    /// The time of the tag at hand.
    fn now(&mut self) -> Timestamp {
        let micros = self.unwrap.next(self.wire).saturating_mul(1_000).clamp(-CLOCK_MAX, CLOCK_MAX);
        Timestamp::from_micros(micros + i64::from(self.nanos / 1_000))
    }
}

impl Demux {
    /// Before the first tag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one tag and appends what it carries to `out`: nothing, or a few items.
    ///
    /// `timestamp` is in milliseconds and wraps at 32 bits.
    ///
    /// # Errors
    /// When the tag, or a part of it, cannot be used; what could be is in `out` all the same.
    pub fn tag(
        &mut self,
        kind: TagType,
        timestamp: u32,
        body: Bytes,
        out: &mut Vec<Item>,
    ) -> Result<(), TagError> {
        self.clock.wire = timestamp;
        self.clock.nanos = 0;
        match kind {
            // Some senders end a track with a tag of nothing.
            _ if body.is_empty() => Ok(()),
            TagType::Audio => self.audio_tag(body, out),
            TagType::Video => self.video_tag(body, out),
            TagType::Script => self.script_tag(body, out),
        }
    }

    /// How many tags or parts were understood and are of no use here: commands, ends of sequence, colour and channel
    /// descriptions.
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    fn script_tag(&mut self, body: Bytes, out: &mut Vec<Item>) -> Result<(), TagError> {
        match script::read(body)? {
            script::Script::Metadata(value) => out.push(Item::Metadata(Metadata(value))),
            script::Script::Nothing => self.ignored += 1,
            script::Script::Message(payload) => {
                if !std::mem::replace(&mut self.script_told, true) {
                    out.push(Item::Track(Track {
                        id: TrackId::DATA,
                        codec: Codec::Script,
                        config: Bytes::new(),
                        shape: Default::default(),
                    }));
                }
                out.push(Item::Frame(Frame {
                    track: TrackId::DATA,
                    dts: self.clock.now(),
                    composition: Timestamp::ZERO,
                    kind: FrameKind::Key,
                    payload,
                }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
