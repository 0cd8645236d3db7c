//! Bitstream shape and parameter sets: what a decoder must be told, and what configuration records say.
//!
//! Everything here works on slices that a peer sent: no function panics, recurses or keeps memory, and what makes no
//! sense is `None`. Nothing here knows a protocol.

pub mod aac;
pub mod ac3;
pub mod av1;
pub mod bits;
pub mod flac;
pub mod h264;
pub mod h265;
pub mod mp3;
pub mod nal;
pub mod opus;
pub mod vpx;

use std::fmt::Write;

use shards::media::{Codec, Shape, Track};

/// The largest width or height that is believed: what 16 bits hold, as in every container.
const PIXELS_MAX: u64 = 0xffff;

/// A width or height, if it can be one.
fn pixels(value: u64) -> Option<u32> {
    u32::try_from(value).ok().filter(|value| (1..=PIXELS_MAX).contains(&u64::from(*value)))
}

/// What a configuration record in the form of [`Codec`] says about size or rate.
///
/// VP8, VP9, MP3, AC-3 and E-AC-3 have theirs in the frames: see [`shape_in_band`].
pub fn shape(codec: Codec, config: &[u8]) -> Shape {
    match codec {
        Codec::H264 => h264::parse_config(config)
            .and_then(|config| h264::parse_sps(config.sps.first()?))
            .map(|sps| Shape::Video { width: sps.width, height: sps.height }),
        Codec::H265 => h265::parse_config(config)
            .and_then(|config| h265::parse_sps(config.sps()?))
            .map(|sps| Shape::Video { width: sps.width, height: sps.height }),
        Codec::Av1 => av1::parse_config(config)
            .map(|sequence| Shape::Video { width: sequence.width, height: sequence.height }),
        Codec::Aac => aac::parse_config(config).map(|config| Shape::Audio {
            sample_rate: config.rate_heard(),
            channels: config.channels_heard(),
        }),
        Codec::Opus => opus::parse_head(config)
            .map(|head| Shape::Audio { sample_rate: opus::SAMPLE_RATE, channels: head.channels }),
        Codec::Flac => {
            flac::parse_config(config).map(|(sample_rate, channels)| Shape::Audio { sample_rate, channels })
        }
        _ => None,
    }
    .unwrap_or_default()
}

/// What a frame says about size or rate, for the codecs that tell it in every frame or key picture. An AV1 key picture
/// usually does.
pub fn shape_in_band(codec: Codec, frame: &[u8]) -> Option<Shape> {
    let (sample_rate, channels) = match codec {
        Codec::Vp8 | Codec::Vp9 => {
            let picture = if codec == Codec::Vp8 { vpx::parse_vp8(frame)? } else { vpx::parse_vp9(frame)? };
            return Some(Shape::Video { width: picture.width, height: picture.height });
        }
        Codec::Av1 => {
            let sequence = av1::find_sequence(frame)?;
            return Some(Shape::Video { width: sequence.width, height: sequence.height });
        }
        Codec::Mp3 => mp3::parse_header(frame).map(|header| (header.sample_rate, header.channels))?,
        Codec::Ac3 | Codec::Eac3 => ac3::parse_frame(frame)?,
        _ => return None,
    };
    Some(Shape::Audio { sample_rate, channels })
}

/// The codec as the `codecs` parameter of a media type names it (RFC 6381), such as `avc1.64001f`.
///
/// A configuration that cannot be read leaves the name alone; script data has none.
pub fn mime(track: &Track) -> String {
    let config = track.config.as_ref();
    match track.codec {
        Codec::H264 => match config {
            [1, profile, constraints, level, ..] => format!("avc1.{profile:02x}{constraints:02x}{level:02x}"),
            _ => "avc1".to_owned(),
        },
        Codec::H265 => {
            h265::parse_config(config).map_or_else(|| "hvc1".to_owned(), |c| h265_mime(&c.profile))
        }
        Codec::Av1 => match *config {
            [0x81, first, second, ..] => format!(
                "av01.{}.{:02}{}.{:02}",
                first >> 5,
                first & 0x1f,
                if second & 0x80 == 0 { 'M' } else { 'H' },
                8 + 2 * ((second >> 6 & 1) + (second >> 5 & second >> 6 & 1)),
            ),
            _ => "av01".to_owned(),
        },
        Codec::Vp9 => vpx::parse_config(config).map_or_else(
            || "vp09.00.10.08".to_owned(),
            |(profile, level, depth)| format!("vp09.{profile:02}.{level:02}.{depth:02}"),
        ),
        Codec::Vp8 => "vp8".to_owned(),
        Codec::Aac => {
            let object_type =
                aac::parse_config(config).map_or(aac::object_type::LC, |c| c.object_type_named());
            format!("mp4a.40.{object_type}")
        }
        Codec::Mp3 => "mp4a.40.34".to_owned(),
        Codec::Opus => "opus".to_owned(),
        Codec::Flac => "fLaC".to_owned(),
        Codec::Ac3 => "ac-3".to_owned(),
        Codec::Eac3 => "ec-3".to_owned(),
        Codec::PcmA => "alaw".to_owned(),
        Codec::PcmU => "ulaw".to_owned(),
        Codec::Script => String::new(),
    }
}

/// ISO/IEC 14496-15 annex E.3.
fn h265_mime(profile: &h265::Profile) -> String {
    let space = ["", "A", "B", "C"].get(usize::from(profile.space)).copied().unwrap_or_default();
    let tier = if profile.high_tier { 'H' } else { 'L' };
    let compatibility = profile.compatibility.reverse_bits();
    let mut name = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", profile.idc, profile.level);
    let told = profile.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in profile.constraints.iter().take(told) {
        // Writing to a string cannot fail.
        let _ = write!(name, ".{byte:X}");
    }
    name
}

/// Feeds `data` to every reader here; for fuzzing. Nothing may panic.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use shards::media::{TrackId, TrackKind};
    const ALL: [Codec; 13] = [
        Codec::H264,
        Codec::H265,
        Codec::Av1,
        Codec::Vp9,
        Codec::Vp8,
        Codec::Aac,
        Codec::Mp3,
        Codec::Opus,
        Codec::Flac,
        Codec::Ac3,
        Codec::Eac3,
        Codec::PcmA,
        Codec::PcmU,
    ];
    for codec in ALL {
        let shape = shape(codec, data);
        shape_in_band(codec, data);
        let id = TrackId::new(TrackKind::Video, 0);
        mime(&Track { id, codec, config: bytes::Bytes::copy_from_slice(data), shape });
    }
    h264::parse_sps(data);
    h265::parse_sps(data);
    h264::can_begin(nal::units(data, 4));
    h265::can_begin(nal::units(data, 2));
    let joined = nal::join(nal::annex_b(data));
    assert!(nal::is_length_prefixed(&joined, 4));
    if let Some(record) = h264::config_of(nal::annex_b(data)) {
        assert!(h264::parse_config(&record).is_some(), "what is built can be read");
    }
    if let Some(record) = h265::config_of(nal::annex_b(data)) {
        assert!(h265::parse_config(&record).is_some(), "what is built can be read");
    }
    if let Some(config) = aac::parse_config(data) {
        config.build();
        aac::build_adts(&config, data.len());
    }
    av1::find_sequence(data);
    av1::config_of(data);
    aac::parse_adts(data);
    opus::packet_samples(data);
    flac::normalize_config(data);
}

#[cfg(test)]
mod tests;
