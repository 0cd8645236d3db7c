//! Four-character codes, by which Enhanced RTMP names codecs.

use std::fmt;

use shards::media::Codec;

/// Four bytes of ASCII, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    /// The code of a codec; `None` for those that only have a legacy number.
    pub const fn of(codec: Codec) -> Option<Self> {
        Some(Self(match codec {
            Codec::H264 => *b"avc1",
            Codec::H265 => *b"hvc1",
            Codec::Av1 => *b"av01",
            Codec::Vp9 => *b"vp09",
            Codec::Vp8 => *b"vp08",
            Codec::Aac => *b"mp4a",
            Codec::Mp3 => *b".mp3",
            Codec::Opus => *b"Opus",
            Codec::Flac => *b"fLaC",
            Codec::Ac3 => *b"ac-3",
            Codec::Eac3 => *b"ec-3",
            Codec::PcmA | Codec::PcmU | Codec::Script => return None,
        }))
    }

    /// The codec of a code.
    pub const fn codec(self) -> Option<Codec> {
        Some(match &self.0 {
            b"avc1" => Codec::H264,
            b"hvc1" => Codec::H265,
            b"av01" => Codec::Av1,
            b"vp09" => Codec::Vp9,
            b"vp08" => Codec::Vp8,
            b"mp4a" => Codec::Aac,
            b".mp3" => Codec::Mp3,
            b"Opus" => Codec::Opus,
            b"fLaC" => Codec::Flac,
            b"ac-3" => Codec::Ac3,
            b"ec-3" => Codec::Eac3,
            _ => return None,
        })
    }

    /// As the number that `onMetaData` gives.
    pub const fn number(self) -> u32 {
        u32::from_be_bytes(self.0)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
