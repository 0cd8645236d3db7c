//! Video tags, legacy (annex E.4.3) and enhanced.

use bytes::Bytes;
use nom::Parser;
use nom::number::complete::{be_u8, be_u24};
use shards::media::{Codec, Frame, FrameKind, Shape, Timestamp, TrackId, TrackKind};

use super::config;
use super::enhanced::{self, Part, cut};
use super::{Demux, Item, TagError};
use crate::codecs::{h264, h265, nal};
use crate::protocols::flv::mux::packet;

/// The `FrameType` values that matter here.
mod frame_type {
    pub(super) const KEY: u8 = 1;
    pub(super) const DISPOSABLE: u8 = 3;
    /// A keyframe that a server made up.
    pub(super) const GENERATED_KEY: u8 = 4;
    /// No picture but a command to players that seek.
    pub(super) const COMMAND: u8 = 5;
}

/// A coded body on its way to becoming a frame.
struct Coded {
    frame_type: u8,
    composition_millis: i32,
    body: Bytes,
}

/// The codec of a legacy number. 12 and 13 were never Adobe's, but are how many senders tell HEVC and AV1.
const fn legacy_codec(number: u8) -> Result<Codec, TagError> {
    let what = match number {
        7 => return Ok(Codec::H264),
        12 => return Ok(Codec::H265),
        13 => return Ok(Codec::Av1),
        1 => "JPEG video",
        2 => "Sorenson H.263",
        3 => "Screen video",
        4 => "On2 VP6",
        5 => "On2 VP6 with alpha channel",
        6 => "Screen video version 2",
        8 => "H.263",
        9 => "MPEG-4 Part 2",
        14 => "VVC by a legacy number",
        _ => "a video codec number that nobody defined",
    };
    Err(TagError::UnsupportedCodec { what })
}

/// A signed number of 24 bits.
const fn sign_extend(value: u32) -> i32 {
    (value << 8) as i32 >> 8
}

impl Demux {
    pub(super) fn video_tag(&mut self, body: Bytes, out: &mut Vec<Item>) -> Result<(), TagError> {
        let (rest, first) = cut(be_u8(&body[..]))?;
        if first & 0x80 != 0 {
            return self.enhanced_video(first, body.slice_ref(rest), out);
        }
        let frame_type = first >> 4;
        if frame_type == frame_type::COMMAND {
            self.ignored += 1;
            return Ok(());
        }
        let codec = legacy_codec(first & 15)?;
        let (rest, (packet, composition)) = cut((be_u8, be_u24).parse(rest))?;
        let body = body.slice_ref(rest);
        match packet {
            0 => self.video.get(TrackId::VIDEO, codec)?.configure(&body, out),
            1 => {
                let coded = Coded { frame_type, composition_millis: sign_extend(composition), body };
                self.picture(TrackId::VIDEO, codec, coded, out)
            }
            2 => {
                self.ignored += 1;
                Ok(())
            }
            other => Err(TagError::PacketType(other)),
        }
    }

    fn enhanced_video(&mut self, first: u8, body: Bytes, out: &mut Vec<Item>) -> Result<(), TagError> {
        let frame_type = first >> 4 & 7;
        let (rest, modified) = cut(enhanced::modifiers(&body, first & 15))?;
        self.clock.nanos = modified.nanos;
        if frame_type == frame_type::COMMAND && modified.packet != packet::VIDEO_METADATA {
            self.ignored += 1;
            return Ok(());
        }
        let mut result = Ok(());
        for part in enhanced::parts(body.slice_ref(rest), modified.packet, packet::VIDEO_MULTITRACK)? {
            // One track's fault is not the next one's.
            result = result.and(part.and_then(|part| self.video_part(frame_type, part, out)));
        }
        result
    }

    fn video_part(&mut self, frame_type: u8, part: Part, out: &mut Vec<Item>) -> Result<(), TagError> {
        let Part { packet, fourcc, index, body } = part;
        // Ends and colours may be skipped whatever their codec is.
        if matches!(packet, packet::SEQUENCE_END | packet::VIDEO_METADATA) {
            self.ignored += 1;
            return Ok(());
        }
        let codec = fourcc
            .codec()
            .filter(|codec| codec.kind() == TrackKind::Video)
            .ok_or(TagError::UnsupportedFourCc(fourcc))?;
        let id = TrackId::new(TrackKind::Video, index);
        match packet {
            packet::SEQUENCE_START => self.video.get(id, codec)?.configure(&body, out),
            packet::VIDEO_TS_SEQUENCE_START => {
                let record = config::of_ts_descriptor(codec, &body).ok_or(TagError::BadConfig(codec))?;
                self.video.get(id, codec)?.configure(&record, out)
            }
            packet::CODED_FRAMES if matches!(codec, Codec::H264 | Codec::H265) => {
                let (rest, composition) = cut(be_u24(&body[..]))?;
                let body = body.slice_ref(rest);
                let coded = Coded { frame_type, composition_millis: sign_extend(composition), body };
                self.picture(id, codec, coded, out)
            }
            packet::CODED_FRAMES | packet::CODED_FRAMES_X => {
                self.picture(id, codec, Coded { frame_type, composition_millis: 0, body }, out)
            }
            other => Err(TagError::PacketType(other)),
        }
    }

    /// Makes a frame of one picture, and tells its track first where only the picture could say how.
    fn picture(
        &mut self,
        id: TrackId,
        codec: Codec,
        coded: Coded,
        out: &mut Vec<Item>,
    ) -> Result<(), TagError> {
        let Coded { frame_type, composition_millis, body } = coded;
        if body.is_empty() {
            return Ok(());
        }
        let state = self.video.get(id, codec)?;
        let payload = match codec {
            Codec::H264 | Codec::H265 => {
                config::picture(body, state.nal_form).ok_or(TagError::BadPicture(id))?
            }
            _ => body,
        };
        let kind = frame_kind(codec, frame_type, &payload);
        if kind == FrameKind::Key {
            state.inspect(&payload, Shape::Unknown, out);
        }
        if !state.is_told() {
            return Err(TagError::NoConfig(id));
        }
        let composition = Timestamp::from_millis(i64::from(composition_millis));
        out.push(Item::Frame(Frame { track: id, dts: self.clock.now(), composition, kind, payload }));
        Ok(())
    }
}

/// The tag's word on what a picture is, but a key picture must be one that decoding can begin at.
fn frame_kind(codec: Codec, frame_type: u8, payload: &[u8]) -> FrameKind {
    let begins = || match codec {
        Codec::H264 => h264::can_begin(nal::units(payload, 4)),
        Codec::H265 => h265::can_begin(nal::units(payload, 4)),
        _ => true,
    };
    match frame_type {
        frame_type::KEY | frame_type::GENERATED_KEY if begins() => FrameKind::Key,
        frame_type::DISPOSABLE => FrameKind::Disposable,
        _ => FrameKind::Inter,
    }
}
