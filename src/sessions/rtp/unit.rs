//! The framing of the RTP rendition: packets of all tracks in a row, each behind a head of fixed size.
//!
//! What viewers share is everything but the fields that are each viewer's own (source, payload type, sequence, keys). Made and
//! read in this process alone. Sizes are bytes.

use bytes::{Bytes, BytesMut};
use shards::media::{Codec, TrackId, TrackKind};

use crate::protocols::rtp::packetize::Payloads;

/// Bytes before a payload.
pub const HEAD: usize = 24;

/// What stands in a unit's flags.
pub mod flag {
    /// The last packet of a picture.
    pub const LAST: u8 = 1;
    /// The first packet of a frame.
    pub const FIRST: u8 = 2;
    /// Belongs to a keyframe.
    pub const KEY: u8 = 4;
}

/// One packet of one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Which track.
    pub track: TrackId,
    /// Its coding.
    pub codec: Codec,
    /// See [`flag`].
    pub flags: u8,
    /// When to show the frame, in ticks of the codec's clock since the stream began.
    pub ticks: i64,
    /// Grows by one from packet to packet of a track.
    pub index: u64,
    /// What goes behind the RTP header.
    pub payload: &'a [u8],
}

/// Codecs that RTP carries, by the number that they have in a head.
const CODECS: [Codec; 8] =
    [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus, Codec::PcmU, Codec::PcmA];

impl<'a> Unit<'a> {
    /// The first unit of `bytes`, and what follows it. `None` at the end.
    pub fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let (payload, rest) = rest.split_at_checked(len)?;
        let kind = if head[2] & 0x80 == 0 { TrackKind::Video } else { TrackKind::Audio };
        let number = |at: usize| head[at..].first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
        let unit = Unit {
            track: TrackId::new(kind, head[2] & 0x7f),
            codec: *CODECS.get(usize::from(head[4]))?,
            flags: head[3],
            ticks: number(8) as i64,
            index: number(16),
            payload,
        };
        Some((unit, rest))
    }

    /// Bytes of the unit, its head included.
    pub const fn size(&self) -> usize {
        HEAD + self.payload.len()
    }

    /// Whether a decoder may begin here.
    pub const fn opens(&self) -> bool {
        self.flags & (flag::FIRST | flag::KEY) == flag::FIRST | flag::KEY
    }

    /// Whether a frame begins here.
    pub const fn begins_frame(&self) -> bool {
        self.flags & flag::FIRST != 0
    }
}

/// All units of `bytes`.
pub fn units(bytes: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let mut left = bytes;
    std::iter::from_fn(move || {
        let (unit, rest) = Unit::read(left)?;
        left = rest;
        Some(unit)
    })
}

/// Writes the packets of one frame as units.
pub struct UnitWriter<'a> {
    out: &'a mut BytesMut,
    head: [u8; HEAD],
    index: &'a mut u64,
    /// Where the newest unit begins.
    at: usize,
    any: bool,
}

impl<'a> UnitWriter<'a> {
    /// For a frame of `track`; `None` for a track that RTP does not carry. `index` is the track's next.
    pub fn new(
        track: TrackId,
        codec: Codec,
        is_key: bool,
        ticks: i64,
        index: &'a mut u64,
        out: &'a mut BytesMut,
    ) -> Option<Self> {
        let number = CODECS.iter().position(|known| *known == codec)?;
        let kind = match track.kind {
            TrackKind::Video => 0,
            TrackKind::Audio => 0x80,
            TrackKind::Data => return None,
        };
        let mut head = [0; HEAD];
        head[2] = kind | track.index & 0x7f;
        head[3] = flag::FIRST | if is_key { flag::KEY } else { 0 };
        head[4] = number as u8;
        head[8..16].copy_from_slice(&ticks.to_le_bytes());
        Some(Self { out, head, index, at: 0, any: false })
    }

    /// The frame is complete: its last packet says so, if it is a picture's. Whether there was any.
    pub fn finish(self) -> bool {
        if self.any
            && self.head[2] & 0x80 == 0
            && let Some(flags) = self.out.get_mut(self.at + 3)
        {
            *flags |= flag::LAST;
        }
        self.any
    }
}

impl Payloads for UnitWriter<'_> {
    fn begin(&mut self) {
        self.at = self.out.len();
        self.head[16..24].copy_from_slice(&self.index.to_le_bytes());
        *self.index += 1;
        self.out.extend_from_slice(&self.head);
        self.head[3] &= !flag::FIRST;
        self.any = true;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        let len = (self.out.len() - self.at - HEAD) as u16;
        if let Some(place) = self.out.get_mut(self.at..self.at + 2) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }
}

/// A unit of a batch that is kept.
pub fn find(batch: &Bytes, track: TrackId, index: u64) -> Option<Unit<'_>> {
    units(batch).find(|unit| unit.track == track && unit.index == index)
}
