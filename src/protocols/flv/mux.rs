//! Frames as FLV tag bodies, which are also RTMP's media messages.
//!
//! A body is a small head and the frame's payload untouched, so that a rendition writes the head and shares the rest;
//! making a head allocates nothing. H.264, AAC, MP3 and G.711 go into legacy tags, which every player takes; the
//! other codecs into those of Enhanced RTMP. Timestamps are milliseconds, sizes bytes.

use std::ops::Deref;

use bytes::{BufMut, BytesMut};
use shards::media::{Codec, Frame, FrameKind, Shape, Track, TrackKind};

use super::{FourCc, TagType};

/// Bytes of a tag's header.
pub const TAG_HEADER_BYTES: usize = 11;

/// The longest head: an Enhanced RTMP header with a track number and a composition offset.
pub const HEAD_BYTES_MAX: usize = 10;

/// The packet types that both enhanced headers share, and those of video.
pub(super) mod packet {
    pub const SEQUENCE_START: u8 = 0;
    pub const CODED_FRAMES: u8 = 1;
    pub const SEQUENCE_END: u8 = 2;
    pub const CODED_FRAMES_X: u8 = 3;
    pub const VIDEO_METADATA: u8 = 4;
    pub const VIDEO_TS_SEQUENCE_START: u8 = 5;
    pub const VIDEO_MULTITRACK: u8 = 6;
    pub const AUDIO_MULTICHANNEL: u8 = 4;
    pub const AUDIO_MULTITRACK: u8 = 5;
    pub const MOD_EX: u8 = 7;
}

/// What stands before the payload in a tag body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: u8,
}

impl Head {
    /// Appends; what does not fit is a mistake of this module, never of a peer.
    fn put(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            if let Some(free) = self.bytes.get_mut(usize::from(self.len)) {
                *free = *byte;
                self.len += 1;
            }
        }
        self
    }
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The head of the tag body that carries `frame`; the body is the head and then `frame.payload`.
///
/// `None` for what a single-track player cannot be sent: every track but the main one.
pub fn frame_head(track: &Track, frame: &Frame) -> Option<Head> {
    if !track.id.is_main() {
        return None;
    }
    let head = Head::default();
    Some(match track.codec {
        Codec::H264 => head.put(&[frame_type(frame) << 4 | 7, 1]).put(&offset(frame)),
        Codec::Aac => head.put(&[0xaf, 1]),
        Codec::Mp3 | Codec::PcmA | Codec::PcmU => head.put(&[legacy_sound(track)]),
        Codec::Script => head,
        _ => enhanced_frame_head(track, frame, false)?,
    })
}

/// [`frame_head`] for players that take several tracks: a track other than the main one is told by its number.
pub fn multitrack_frame_head(track: &Track, frame: &Frame) -> Option<Head> {
    if track.id.is_main() { frame_head(track, frame) } else { enhanced_frame_head(track, frame, true) }
}

fn enhanced_frame_head(track: &Track, frame: &Frame, numbered: bool) -> Option<Head> {
    let with_offset = matches!(track.codec, Codec::H264 | Codec::H265) && frame.composition.micros() != 0;
    let packet = match track.id.kind {
        TrackKind::Video if with_offset || !matches!(track.codec, Codec::H264 | Codec::H265) => {
            packet::CODED_FRAMES
        }
        TrackKind::Video => packet::CODED_FRAMES_X,
        _ => packet::CODED_FRAMES,
    };
    let head = enhanced_head(track, frame_type(frame), packet, numbered)?;
    Some(if with_offset { head.put(&offset(frame)) } else { head })
}

/// The enhanced header: first byte, code and, when `numbered`, the track's number in the form for one track.
fn enhanced_head(track: &Track, frame_type: u8, packet: u8, numbered: bool) -> Option<Head> {
    let fourcc = FourCc::of(track.codec)?;
    let (base, multitrack) = match track.id.kind {
        TrackKind::Video => (0x80 | frame_type << 4, packet::VIDEO_MULTITRACK),
        TrackKind::Audio => (0x90, packet::AUDIO_MULTITRACK),
        TrackKind::Data => return None,
    };
    let head = Head::default();
    Some(if numbered {
        head.put(&[base | multitrack, packet]).put(&fourcc.0).put(&[track.id.index])
    } else {
        head.put(&[base | packet]).put(&fourcc.0)
    })
}

const fn frame_type(frame: &Frame) -> u8 {
    match frame.kind {
        FrameKind::Key => 1,
        FrameKind::Inter => 2,
        FrameKind::Disposable => 3,
    }
}

/// The composition offset in 24 bits, so that decoding time plus offset is the presentation time in milliseconds.
fn offset(frame: &Frame) -> [u8; 3] {
    let millis = frame.pts().millis() - frame.dts.millis();
    let [_, bytes @ ..] = (millis.clamp(-0x80_0000, 0x7f_ffff) as i32).to_be_bytes();
    bytes
}

/// The first byte of a legacy sound tag for codecs without a configuration.
fn legacy_sound(track: &Track) -> u8 {
    let (sample_rate, channels) = match track.shape {
        Shape::Audio { sample_rate, channels } => (sample_rate, channels),
        _ => (44_100, 2),
    };
    let stereo = u8::from(channels > 1);
    // Rates are told in two bits; decoders take the true one from the frame.
    let rate = match sample_rate {
        0..8_000 => 0,
        8_000..16_500 => 1,
        16_500..33_000 => 2,
        _ => 3,
    };
    match track.codec {
        Codec::PcmA => 7 << 4 | 2 | stereo,
        Codec::PcmU => 8 << 4 | 2 | stereo,
        _ if sample_rate == 8_000 => 14 << 4 | 2 | stereo,
        _ => 2 << 4 | rate << 2 | 2 | stereo,
    }
}

/// Appends the body that carries the track's configuration; whether there is one.
pub fn sequence_header(track: &Track, out: &mut BytesMut) -> bool {
    if !track.id.is_main() {
        return false;
    }
    match track.codec {
        Codec::H264 => out.put_slice(&[0x17, 0, 0, 0, 0]),
        Codec::Aac => out.put_slice(&[0xaf, 0]),
        Codec::Mp3 | Codec::PcmA | Codec::PcmU | Codec::Script => return false,
        _ => return enhanced_sequence_header(track, out, false),
    }
    out.put_slice(&track.config);
    true
}

/// [`sequence_header`] for players that take several tracks.
pub fn multitrack_sequence_header(track: &Track, out: &mut BytesMut) -> bool {
    if track.id.is_main() { sequence_header(track, out) } else { enhanced_sequence_header(track, out, true) }
}

fn enhanced_sequence_header(track: &Track, out: &mut BytesMut, numbered: bool) -> bool {
    // Sound without a configuration still has its start told, so that a player learns the codec early.
    if track.id.kind == TrackKind::Video && track.config.is_empty() {
        return false;
    }
    let Some(head) = enhanced_head(track, 1, packet::SEQUENCE_START, numbered) else {
        return false;
    };
    out.put_slice(&head);
    out.put_slice(&track.config);
    true
}

/// The tag that carries a sort of track.
pub const fn tag_type(kind: TrackKind) -> TagType {
    match kind {
        TrackKind::Audio => TagType::Audio,
        TrackKind::Video => TagType::Video,
        TrackKind::Data => TagType::Script,
    }
}

/// Appends a whole tag: its header, the parts of its body and its size.
///
/// The body must be shorter than 16 MiB, as the format has it; a longer one is cut, and readers limit tags far below.
pub fn write_tag(out: &mut BytesMut, kind: TagType, timestamp_ms: u32, body: &[&[u8]]) {
    const LEN_MAX: usize = 0xff_ffff;
    let len = body.iter().map(|part| part.len()).sum::<usize>().min(LEN_MAX);
    let [time_high, time @ ..] = timestamp_ms.to_be_bytes();
    out.reserve(TAG_HEADER_BYTES + len + 4);
    out.put_u32(u32::from(kind as u8) << 24 | len as u32);
    out.put_slice(&time);
    out.put_slice(&[time_high, 0, 0, 0]);
    let mut left = len;
    for part in body {
        let part = part.get(..left).unwrap_or(part);
        out.put_slice(part);
        left -= part.len();
    }
    out.put_u32((TAG_HEADER_BYTES + len) as u32);
}

/// The file header with its flags, and the size of no tag that follows it.
pub const fn file_header(audio: bool, video: bool) -> [u8; 13] {
    let flags = (audio as u8) << 2 | video as u8;
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shards::media::{Timestamp, TrackId};

    use super::*;

    fn track(codec: Codec, index: u8, shape: Shape) -> Track {
        Track { id: TrackId::new(codec.kind(), index), codec, config: Bytes::from_static(&[1, 2]), shape }
    }

    fn frame(track: &Track, kind: FrameKind, composition: i64) -> Frame {
        Frame {
            track: track.id,
            dts: Timestamp::from_millis(40),
            composition: Timestamp::from_millis(composition),
            kind,
            payload: Bytes::from_static(&[9]),
        }
    }

    #[test]
    fn heads_are_those_of_the_field() {
        let head = |codec, kind, composition| {
            let track = track(codec, 0, Shape::Unknown);
            frame_head(&track, &frame(&track, kind, composition)).map(|head| head.to_vec())
        };
        use FrameKind::{Disposable, Inter, Key};
        assert_eq!(head(Codec::H264, Key, 80), Some(vec![0x17, 1, 0, 0, 80]));
        assert_eq!(head(Codec::H264, Disposable, -1), Some(vec![0x37, 1, 0xff, 0xff, 0xff]));
        assert_eq!(head(Codec::H265, Key, 80), Some(b"\x91hvc1\0\0\x50".to_vec()));
        assert_eq!(head(Codec::H265, Inter, 0), Some(b"\xa3hvc1".to_vec()));
        assert_eq!(head(Codec::Av1, Inter, 0), Some(b"\xa1av01".to_vec()));
        assert_eq!(head(Codec::Aac, Key, 0), Some(vec![0xaf, 1]));
        assert_eq!(head(Codec::Opus, Key, 0), Some(b"\x91Opus".to_vec()));
        assert_eq!(head(Codec::Script, Key, 0), Some(vec![]));
    }

    #[test]
    fn sound_without_configuration_tells_its_rate_in_the_tag() {
        let first = |codec, sample_rate, channels| {
            let track = track(codec, 0, Shape::Audio { sample_rate, channels });
            frame_head(&track, &frame(&track, FrameKind::Key, 0)).and_then(|head| head.first().copied())
        };
        assert_eq!(first(Codec::Mp3, 44_100, 1), Some(0x2e));
        assert_eq!(first(Codec::Mp3, 48_000, 2), Some(0x2f));
        assert_eq!(first(Codec::Mp3, 22_050, 2), Some(0x2b));
        assert_eq!(first(Codec::Mp3, 11_025, 2), Some(0x27));
        assert_eq!(first(Codec::Mp3, 8_000, 1), Some(0xe2));
        assert_eq!(first(Codec::PcmA, 8_000, 1), Some(0x72));
        assert_eq!(first(Codec::PcmU, 8_000, 2), Some(0x83));
    }

    #[test]
    fn other_tracks_go_only_to_players_that_take_several() {
        let second = track(Codec::H265, 1, Shape::Unknown);
        let frame = frame(&second, FrameKind::Key, 80);
        let mut out = BytesMut::new();
        assert_eq!(frame_head(&second, &frame), None);
        assert!(!sequence_header(&second, &mut out) && out.is_empty());
        assert_eq!(multitrack_frame_head(&second, &frame).as_deref(), Some(&b"\x96\x01hvc1\x01\0\0\x50"[..]));
        assert!(multitrack_sequence_header(&second, &mut out));
        assert_eq!(out[..], *b"\x96\0hvc1\x01\x01\x02");
    }

    #[test]
    fn a_tag_is_written_as_it_is_read() {
        let mut out = BytesMut::from(&file_header(true, true)[..]);
        write_tag(&mut out, TagType::Video, 0x0102_0304, &[&[1, 2], &[], &[3]]);
        let expected = [9, 0, 0, 3, 2, 3, 4, 1, 0, 0, 0, 1, 2, 3, 0, 0, 0, 14];
        assert_eq!(out[13..], expected);
    }
}
