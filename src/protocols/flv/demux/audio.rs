//! Audio tags, legacy (annex E.4.2) and enhanced.

use bytes::Bytes;
use nom::number::complete::be_u8;
use shards::media::{Codec, Frame, FrameKind, Shape, Timestamp, TrackId, TrackKind};

use super::enhanced::{self, Part, cut};
use super::{ADTS_FRAMES_MAX, Demux, Item, TagError};
use crate::codecs::aac;
use crate::protocols::flv::mux::packet;

/// The `SoundFormat` that says an enhanced header follows.
const ENHANCED: u8 = 9;

/// The codec of a legacy number.
const fn legacy_codec(number: u8) -> Result<Codec, TagError> {
    let what = match number {
        2 | 14 => return Ok(Codec::Mp3),
        7 => return Ok(Codec::PcmA),
        8 => return Ok(Codec::PcmU),
        10 => return Ok(Codec::Aac),
        0 | 3 => "linear PCM",
        1 => "ADPCM",
        4..=6 => "Nellymoser",
        11 => "Speex",
        15 => "device-specific sound",
        _ => "a sound format number that nobody defined",
    };
    Err(TagError::UnsupportedCodec { what })
}

impl Demux {
    pub(super) fn audio_tag(&mut self, body: Bytes, out: &mut Vec<Item>) -> Result<(), TagError> {
        let (rest, first) = cut(be_u8(&body[..]))?;
        let number = first >> 4;
        if number == ENHANCED {
            return self.enhanced_audio(first & 15, body.slice_ref(rest), out);
        }
        let codec = legacy_codec(number)?;
        if rest.is_empty() {
            return Ok(());
        }
        if codec == Codec::Aac {
            let (rest, packet) = cut(be_u8(rest))?;
            let body = body.slice_ref(rest);
            return match packet {
                0 => self.audio.get(TrackId::AUDIO, codec)?.configure(&body, out),
                1 => self.sound(TrackId::AUDIO, codec, Shape::Unknown, body, out),
                other => Err(TagError::PacketType(other)),
            };
        }
        let body = body.slice_ref(rest);
        self.sound(TrackId::AUDIO, codec, legacy_shape(first), body, out)
    }

    fn enhanced_audio(&mut self, packet: u8, body: Bytes, out: &mut Vec<Item>) -> Result<(), TagError> {
        let (rest, modified) = cut(enhanced::modifiers(&body, packet))?;
        self.clock.nanos = modified.nanos;
        let mut result = Ok(());
        for part in enhanced::parts(body.slice_ref(rest), modified.packet, packet::AUDIO_MULTITRACK)? {
            result = result.and(part.and_then(|part| self.audio_part(part, out)));
        }
        result
    }

    fn audio_part(&mut self, part: Part, out: &mut Vec<Item>) -> Result<(), TagError> {
        let Part { packet, fourcc, index, body } = part;
        // Where loudspeakers stand is of use to players only, and decoders find the channels themselves.
        if matches!(packet, packet::SEQUENCE_END | packet::AUDIO_MULTICHANNEL) {
            self.ignored += 1;
            return Ok(());
        }
        let codec = fourcc
            .codec()
            .filter(|codec| codec.kind() == TrackKind::Audio)
            .ok_or(TagError::UnsupportedFourCc(fourcc))?;
        let id = TrackId::new(TrackKind::Audio, index);
        match packet {
            packet::SEQUENCE_START => self.audio.get(id, codec)?.configure(&body, out),
            packet::CODED_FRAMES => self.sound(id, codec, Shape::Unknown, body, out),
            other => Err(TagError::PacketType(other)),
        }
    }

    /// Makes a frame of one sound frame. `otherwise` is the shape when the frame says none.
    fn sound(
        &mut self,
        id: TrackId,
        codec: Codec,
        otherwise: Shape,
        body: Bytes,
        out: &mut Vec<Item>,
    ) -> Result<(), TagError> {
        if body.is_empty() {
            return Ok(());
        }
        // No raw AAC frame begins with the twelve ones of an ADTS header: they would be its end.
        if codec == Codec::Aac && aac::parse_adts(&body).is_some() {
            return self.adts(id, body, out);
        }
        let state = self.audio.get(id, codec)?;
        if super::config::shape_is_in_band(codec) {
            state.inspect(&body, otherwise, out);
        }
        if !state.is_told() {
            return Err(TagError::NoConfig(id));
        }
        let dts = self.clock.now();
        push_sound(id, dts, body, out);
        Ok(())
    }

    /// AAC with ADTS headers, which FLV does not have but some senders use.
    fn adts(&mut self, id: TrackId, mut body: Bytes, out: &mut Vec<Item>) -> Result<(), TagError> {
        let dts = self.clock.now();
        let mut passed = Timestamp::ZERO;
        for _ in 0..ADTS_FRAMES_MAX {
            let Some(header) = aac::parse_adts(&body).filter(|header| header.frame_bytes <= body.len())
            else {
                break;
            };
            let state = self.audio.get(id, Codec::Aac)?;
            if state.config().is_none() {
                let config = header.config.build().ok_or(TagError::BadConfig(Codec::Aac))?;
                state.set(config, out);
            }
            let mut payload = body.split_to(header.frame_bytes);
            let payload = payload.split_off(header.header_bytes);
            if !payload.is_empty() {
                push_sound(id, dts + passed, payload, out);
            }
            passed +=
                Timestamp::from_ticks(i64::from(header.config.frame_samples), header.config.sample_rate);
        }
        Ok(())
    }
}

fn push_sound(id: TrackId, dts: Timestamp, payload: Bytes, out: &mut Vec<Item>) {
    out.push(Item::Frame(Frame {
        track: id,
        dts,
        composition: Timestamp::ZERO,
        kind: FrameKind::Key,
        payload,
    }));
}

/// What the first byte of a legacy tag says of codecs without a configuration.
const fn legacy_shape(first: u8) -> Shape {
    let sample_rate = match (first >> 4, first >> 2 & 3) {
        (7 | 8 | 14, _) => 8_000,
        (_, 0) => 5_512,
        (_, 1) => 11_025,
        (_, 2) => 22_050,
        _ => 44_100,
    };
    Shape::Audio { sample_rate, channels: 1 + (first & 1) }
}
