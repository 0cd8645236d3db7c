//! AC-3 and E-AC-3: what a sync frame says of rate and channels (ETSI TS 102 366 §4.4.1, §E.1.3.1).

use super::bits::Bits;

/// Sample rate (Hz) and channels of the frame that `data` begins with; `None` for what is no sync frame.
pub fn parse_frame(data: &[u8]) -> Option<(u32, u8)> {
    const RATES: [u32; 3] = [48_000, 44_100, 32_000];
    const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
    let mut bits = Bits::new(data.strip_prefix(&[0x0b, 0x77])?);
    // `bsid` stands at the same place in both; 11 to 16 are E-AC-3.
    let enhanced = (11..=16).contains(&(data.get(5)? >> 3));
    if enhanced {
        bits.skip(16)?;
        let code = bits.byte(2)?;
        let rate = match (RATES.get(usize::from(code)), bits.byte(2)?) {
            (Some(rate), _) => *rate,
            (None, half) => RATES.get(usize::from(half))? / 2,
        };
        let (mode, effects) = (bits.byte(3)?, bits.flag()?);
        return Some((rate, CHANNELS.get(usize::from(mode))? + u8::from(effects)));
    }
    bits.skip(16)?;
    let rate = *RATES.get(usize::from(bits.byte(2)?))?;
    bits.skip(6 + 5 + 3)?;
    let mode = bits.byte(3)?;
    if mode & 1 == 1 && mode != 1 {
        bits.skip(2)?;
    }
    if mode & 4 != 0 {
        bits.skip(2)?;
    }
    if mode == 2 {
        bits.skip(2)?;
    }
    Some((rate, CHANNELS.get(usize::from(mode))? + u8::from(bits.flag()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_both_kinds_tell_rate_and_channels() {
        // Both mono at 48 kHz, as ffmpeg makes them.
        assert_eq!(parse_frame(&[0x0b, 0x77, 0x6b, 0xf1, 0x08, 0x40, 0x2f, 0x84]), Some((48_000, 1)));
        assert_eq!(parse_frame(&[0x0b, 0x77, 0x00, 0x7f, 0x32, 0x87, 0xc0, 0x00]), Some((48_000, 1)));
        assert_eq!(parse_frame(&[0x0b, 0x77, 0x6b, 0xf1, 0x08]), None);
        assert_eq!(parse_frame(&[0x0b, 0x78, 0x6b, 0xf1, 0x08, 0x40, 0x2f, 0x84]), None);
    }
}
