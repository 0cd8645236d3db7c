//! How frames become the payloads of RTP packets: one format per codec.
//!
//! A packetiser writes into [`Payloads`] and knows neither headers nor markers. Invariant: no payload is larger than it was
//! told, and all but the last of a frame that is cut are exactly as large, so that they can leave in one train (UDP GSO).

mod av1;
mod h264;
mod h265;
mod vpx;

use shards::media::{Codec, Track};

/// Where payloads are written: `begin`, `put` any number of times, `end`; again.
pub trait Payloads {
    /// Starts a packet.
    fn begin(&mut self);
    /// Adds to it.
    fn put(&mut self, bytes: &[u8]);
    /// It is complete.
    fn end(&mut self);
}

/// The clock of a codec's timestamps on RTP, in Hz; `None`: WebRTC has no format for it.
pub const fn clock(codec: Codec) -> Option<u32> {
    match codec {
        Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Vp9 | Codec::Vp8 => Some(90_000),
        Codec::Opus => Some(48_000),
        Codec::PcmA | Codec::PcmU => Some(8_000),
        _ => None,
    }
}

/// What a packetiser keeps from frame to frame of one track.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packetizer {
    /// Counts pictures of VP8 and VP9, modulo 2^15.
    picture: u16,
}

/// One frame to packetise.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Decoding may begin here: parameter sets go first.
    pub is_key: bool,
    /// Pictures that were shown in another order than they are sent have been left out, and parameter sets shall say so.
    pub in_order: bool,
    /// In the form that [`shards::media`] describes.
    pub payload: &'a [u8],
}

impl Packetizer {
    /// Writes `picture` of `track` in payloads of at most `max` bytes (at least 64). A codec that WebRTC does not know
    /// writes nothing.
    pub fn write(&mut self, track: &Track, picture: Picture<'_>, max: usize, out: &mut impl Payloads) {
        let max = max.max(64);
        match track.codec {
            Codec::H264 => h264::write(&track.config, picture, max, out),
            Codec::H265 => h265::write(&track.config, picture, max, out),
            Codec::Av1 => av1::write(&track.config, picture, max, out),
            Codec::Vp8 => vpx::write_vp8(self.next_picture(), picture, max, out),
            Codec::Vp9 => vpx::write_vp9(self.next_picture(), picture, max, out),
            Codec::Opus | Codec::PcmA | Codec::PcmU if !picture.payload.is_empty() => {
                one(&[picture.payload], out);
            }
            _ => {}
        }
    }

    fn next_picture(&mut self) -> u16 {
        let picture = self.picture;
        self.picture = (picture + 1) & 0x7fff;
        picture
    }
}

/// One packet of these parts.
fn one(parts: &[&[u8]], out: &mut impl Payloads) {
    out.begin();
    parts.iter().for_each(|part| out.put(part));
    out.end();
}

/// Small NAL units that wait to share a packet.
struct Gathered<'a, const N: usize> {
    units: [&'a [u8]; N],
    count: usize,
    /// Bytes of the packet that they would make, the aggregate's own header included.
    bytes: usize,
    head: usize,
}

impl<'a, const N: usize> Gathered<'a, N> {
    const fn new(head: usize) -> Self {
        Self { units: [&[]; N], count: 0, bytes: head, head }
    }

    fn units(&self) -> &[&'a [u8]] {
        &self.units[..self.count]
    }

    /// Adds `unit`, if the packet stays within `max`.
    fn push(&mut self, unit: &'a [u8], max: usize) -> bool {
        let bytes = self.bytes + 2 + unit.len();
        if self.count == N || bytes > max {
            return false;
        }
        self.units[self.count] = unit;
        self.count += 1;
        self.bytes = bytes;
        true
    }

    fn clear(&mut self) {
        (self.count, self.bytes) = (0, self.head);
    }
}

/// Packetises anything as if it were each codec's; for fuzzing.
pub fn fuzz(data: &[u8]) {
    use shards::media::{Shape, TrackId};

    /// Holds packets against the limit that they were given.
    struct Checked(usize);
    impl Payloads for Checked {
        fn begin(&mut self) {
            self.0 = 0;
        }
        fn put(&mut self, bytes: &[u8]) {
            self.0 += bytes.len();
        }
        fn end(&mut self) {
            assert!(self.0 <= 100);
        }
    }
    let (config, payload) = data.split_at(data.len() / 4);
    for codec in [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp8, Codec::Vp9] {
        let config = bytes::Bytes::copy_from_slice(config);
        let track = Track { id: TrackId::VIDEO, codec, config, shape: Shape::Unknown };
        for is_key in [false, true] {
            Packetizer::default().write(
                &track,
                Picture { is_key, in_order: is_key, payload },
                100,
                &mut Checked(0),
            );
        }
    }
}

#[cfg(test)]
mod tests;
