//! What a track may carry.

use std::fmt;

/// The sort of thing a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Timed data: AMF0 script messages such as `onTextData`.
    Data,
}

/// A coding that tracks may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T H.264 / AVC. Configuration: `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3), 4-byte lengths.
    H264,
    /// ITU-T H.265 / HEVC. Configuration: `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3), 4-byte lengths.
    H265,
    /// AV1. Configuration: `AV1CodecConfigurationRecord`.
    Av1,
    /// VP9. Configuration: `VPCodecConfigurationRecord` (version 1, with its FullBox header).
    Vp9,
    /// VP8. Configuration as VP9's, or empty.
    Vp8,
    /// AAC. Configuration: `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1).
    Aac,
    /// MPEG-1/2 Audio Layer III. No configuration.
    Mp3,
    /// Opus. Configuration: `OpusHead` (RFC 7845 §5.1).
    Opus,
    /// FLAC. Configuration: `fLaC` stream marker and STREAMINFO.
    Flac,
    /// AC-3. No configuration.
    Ac3,
    /// E-AC-3. No configuration.
    Eac3,
    /// G.711 A-law, 8 kHz.
    PcmA,
    /// G.711 µ-law, 8 kHz.
    PcmU,
    /// AMF0 script data. No configuration.
    Script,
}

impl Codec {
    /// Pictures, sound or data.
    pub const fn kind(self) -> TrackKind {
        match self {
            Self::H264 | Self::H265 | Self::Av1 | Self::Vp9 | Self::Vp8 => TrackKind::Video,
            Self::Script => TrackKind::Data,
            _ => TrackKind::Audio,
        }
    }

    /// Whether a decoder can do nothing before it has the configuration.
    pub const fn needs_config(self) -> bool {
        matches!(self, Self::H264 | Self::H265 | Self::Av1 | Self::Aac | Self::Opus | Self::Flac)
    }

    /// The name that logs, metrics and the API use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
            Self::Vp8 => "VP8",
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Opus => "Opus",
            Self::Flac => "FLAC",
            Self::Ac3 => "AC3",
            Self::Eac3 => "EAC3",
            Self::PcmA => "G711A",
            Self::PcmU => "G711U",
            Self::Script => "script",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
