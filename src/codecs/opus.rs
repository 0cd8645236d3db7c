//! Opus: the identification header (`OpusHead`, RFC 7845 §5.1) and the length of a packet (RFC 6716 §3.1).
//!
//! Opus always decodes at 48 kHz, whatever rate the header mentions. Durations are samples at 48 kHz.

use bytes::{BufMut, Bytes, BytesMut};

/// What an `OpusHead` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Output channels.
    pub channels: u8,
    /// Samples at 48 kHz to throw away at the start.
    pub pre_skip: u16,
    /// The rate of what was encoded, Hz; for display only.
    pub input_rate: u32,
    /// 0 for mono and stereo, 1 for surround.
    pub mapping_family: u8,
}

/// The rate at which Opus decodes, Hz.
pub const SAMPLE_RATE: u32 = 48_000;

/// Reads an `OpusHead`.
pub fn parse_head(record: &[u8]) -> Option<Head> {
    let (head, _) = record.split_first_chunk::<19>()?;
    let [
        b'O',
        b'p',
        b'u',
        b's',
        b'H',
        b'e',
        b'a',
        b'd',
        version,
        channels,
        s0,
        s1,
        r0,
        r1,
        r2,
        r3,
        _,
        _,
        mapping_family,
    ] = *head
    else {
        return None;
    };
    // The upper half of the version is the part that breaks readers.
    if version >> 4 != 0 || channels == 0 {
        return None;
    }
    let pre_skip = u16::from_le_bytes([s0, s1]);
    Some(Head { channels, pre_skip, input_rate: u32::from_le_bytes([r0, r1, r2, r3]), mapping_family })
}

/// Builds an `OpusHead` of mapping family 0, for 1 or 2 channels.
pub fn build_head(channels: u8, pre_skip: u16) -> Bytes {
    let mut record = BytesMut::with_capacity(19);
    record.put_slice(b"OpusHead");
    record.put_slice(&[1, channels.clamp(1, 2)]);
    record.put_u16_le(pre_skip);
    record.put_u32_le(SAMPLE_RATE);
    record.put_slice(&[0, 0, 0]);
    record.freeze()
}

/// How many samples at 48 kHz a packet holds; `None` for one that breaks the rules (at most 120 ms).
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let samples = match config {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    Some(samples * frames).filter(|total| (1..=5_760).contains(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_built() {
        let record = build_head(2, 312);
        let head = parse_head(&record).expect("a head");
        assert_eq!((head.channels, head.pre_skip, head.input_rate, head.mapping_family), (2, 312, 48_000, 0));
        for cut in 0..record.len() {
            assert_eq!(parse_head(&record[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_packet_tells_its_length() {
        assert_eq!(packet_samples(&[0xf8, 0x72]), Some(960), "CELT, 20 ms");
        assert_eq!(packet_samples(&[0xfb, 6]), Some(5_760), "six of them");
        assert_eq!(packet_samples(&[0xfb, 7]), None, "over 120 ms");
        assert_eq!(packet_samples(&[3]), None);
    }
}
