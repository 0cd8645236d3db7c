//! MPEG-1/2 audio: what a frame header says (ISO/IEC 11172-3 §2.4.1.3 and its MPEG-2 and 2.5 extensions).

/// What a frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1, 2 or 3.
    pub layer: u8,
    /// Hz.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples of each channel in a frame.
    pub samples: u32,
}

/// Reads the header that `frame` begins with; `None` for what is no frame.
pub fn parse_header(frame: &[u8]) -> Option<Header> {
    let [0xff, second, third, fourth, ..] = *frame else {
        return None;
    };
    if second >> 5 != 7 || third >> 4 == 15 {
        return None;
    }
    let rates = match second >> 3 & 3 {
        3 => [44_100, 48_000, 32_000],
        2 => [22_050, 24_000, 16_000],
        0 => [11_025, 12_000, 8_000],
        _ => return None,
    };
    let full_rate = second >> 3 & 3 == 3;
    let layer = 4_u8.checked_sub(second >> 1 & 3).filter(|layer| *layer <= 3)?;
    let samples = match layer {
        1 => 384,
        3 if !full_rate => 576,
        _ => 1_152,
    };
    Some(Header {
        layer,
        sample_rate: *rates.get(usize::from(third >> 2 & 3))?,
        channels: if fourth >> 6 == 3 { 1 } else { 2 },
        samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_rate_and_channels() {
        // libmp3lame: mono 44.1 kHz and mono 48 kHz.
        let header = parse_header(&[0xff, 0xfb, 0x50, 0xc4]).expect("a header");
        assert_eq!(header, Header { layer: 3, sample_rate: 44_100, channels: 1, samples: 1_152 });
        assert_eq!(parse_header(&[0xff, 0xfb, 0x54, 0xc4]).map(|header| header.sample_rate), Some(48_000));
        assert_eq!(parse_header(&[0xff, 0xf3, 0x54, 0x04]).map(|h| (h.samples, h.channels)), Some((576, 2)));
    }

    #[test]
    fn what_is_no_header_is_none() {
        for bytes in
            [[0xff, 0xfb, 0xf0, 0], [0xff, 0xeb, 0x50, 0], [0xff, 0xf9, 0x5c, 0], [0x49, 0x44, 0x33, 4]]
        {
            assert_eq!(parse_header(&bytes), None, "{bytes:x?}");
        }
        assert_eq!(parse_header(&[0xff, 0xfb, 0x50]), None);
    }
}
