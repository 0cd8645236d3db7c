//! AV1: open bitstream units, the sequence header and the configuration record (`av1C`).
//!
//! Sections are of the AV1 bitstream specification and of the AV1 ISOBMFF binding (§2.3). Parsing never panics; what
//! makes no sense is `None`. Pixels are those of the largest frame.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;

/// The `obu_type` values that decisions here turn on (§6.2.2).
pub mod obu_type {
    /// The sequence header.
    pub const SEQUENCE_HEADER: u8 = 1;
    /// Separates temporal units.
    pub const TEMPORAL_DELIMITER: u8 = 2;
    /// A frame header without its tiles.
    pub const FRAME_HEADER: u8 = 3;
    /// A frame header and its tiles.
    pub const FRAME: u8 = 6;
}

/// One open bitstream unit in the low-overhead format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// `obu_type`.
    pub kind: u8,
    /// Header, extension and size included.
    pub whole: &'a [u8],
    /// What follows the size.
    pub payload: &'a [u8],
}

/// Walks the units of a temporal unit (§5.3); a unit without a size is the last one.
#[derive(Clone, Debug)]
pub struct Obus<'a> {
    rest: &'a [u8],
}

/// The units of `data`. What does not add up ends the walk.
pub const fn obus(data: &[u8]) -> Obus<'_> {
    Obus { rest: data }
}

impl<'a> Iterator for Obus<'a> {
    type Item = Obu<'a>;

    fn next(&mut self) -> Option<Obu<'a>> {
        let all = std::mem::take(&mut self.rest);
        let (header, mut tail) = all.split_first()?;
        if header & 0x80 != 0 {
            return None;
        }
        if header & 4 != 0 {
            tail = tail.get(1..)?;
        }
        let (payload, rest) = if header & 2 != 0 {
            let (size, tail) = leb128(tail)?;
            tail.split_at_checked(size)?
        } else {
            (tail, &[][..])
        };
        self.rest = rest;
        Some(Obu { kind: header >> 3 & 15, whole: all.get(..all.len() - rest.len())?, payload })
    }
}

/// A number in `leb128()` (§4.10.5), at most 32 bits.
fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in data.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (index * 7);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, data.get(index + 1..)?));
        }
    }
    None
}

/// What a sequence header says of its pictures (§5.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// `seq_profile`, 0 to 2.
    pub profile: u8,
    /// `seq_level_idx[0]`.
    pub level: u8,
    /// `seq_tier[0]`: the high tier.
    pub high_tier: bool,
    /// 8, 10 or 12 bits a sample.
    pub bit_depth: u8,
    /// No chroma.
    pub monochrome: bool,
    /// Chroma is halved across.
    pub subsampling_x: bool,
    /// Chroma is halved down.
    pub subsampling_y: bool,
    /// `chroma_sample_position`.
    pub chroma_position: u8,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Reads the payload of a sequence header (§5.5.1).
pub fn parse_sequence(payload: &[u8]) -> Option<Sequence> {
    let mut bits = Bits::new(payload);
    let mut sequence =
        Sequence { profile: bits.byte(3).filter(|profile| *profile <= 2)?, ..Sequence::default() };
    bits.skip(1)?;
    let reduced = bits.flag()?;
    if reduced {
        sequence.level = bits.byte(5)?;
    } else {
        parse_operating_points(&mut bits, &mut sequence)?;
    }
    let (width_bits, height_bits) = (bits.read(4)? + 1, bits.read(4)? + 1);
    sequence.width = super::pixels(u64::from(bits.read(width_bits)?) + 1)?;
    sequence.height = super::pixels(u64::from(bits.read(height_bits)?) + 1)?;
    if !reduced && bits.flag()? {
        bits.skip(7)?;
    }
    bits.skip(3)?;
    if !reduced {
        bits.skip(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.skip(2)?;
        }
        let screen_content = if bits.flag()? { 2 } else { bits.read(1)? };
        if screen_content > 0 && !bits.flag()? {
            bits.skip(1)?;
        }
        if order_hint {
            bits.skip(3)?;
        }
    }
    bits.skip(3)?;
    parse_color(&mut bits, &mut sequence)?;
    Some(sequence)
}

/// Timing and operating points, of which only the first one's level and tier are kept.
fn parse_operating_points(bits: &mut Bits<'_>, sequence: &mut Sequence) -> Option<()> {
    let mut decoder_delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            bits.uvlc()?;
        }
        if bits.flag()? {
            decoder_delay_bits = Some(bits.read(5)? as usize + 1);
            bits.skip(42)?;
        }
    }
    let display_delay = bits.flag()?;
    for point in 0..=bits.read(5)? {
        bits.skip(12)?;
        let level = bits.byte(5)?;
        let high_tier = level > 7 && bits.flag()?;
        if point == 0 {
            (sequence.level, sequence.high_tier) = (level, high_tier);
        }
        if let Some(delay_bits) = decoder_delay_bits
            && bits.flag()?
        {
            bits.skip(delay_bits * 2 + 1)?;
        }
        if display_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Some(())
}

/// `color_config()` (§5.5.2).
fn parse_color(bits: &mut Bits<'_>, sequence: &mut Sequence) -> Option<()> {
    let high = bits.flag()?;
    sequence.bit_depth = match (sequence.profile, high) {
        (2, true) => 10 + 2 * bits.byte(1)?,
        (_, true) => 10,
        (_, false) => 8,
    };
    sequence.monochrome = sequence.profile != 1 && bits.flag()?;
    let described = if bits.flag()? { Some((bits.read(8)?, bits.read(8)?, bits.read(8)?)) } else { None };
    if sequence.monochrome {
        (sequence.subsampling_x, sequence.subsampling_y) = (true, true);
        return Some(());
    }
    // BT.709 primaries, sRGB transfer and an identity matrix mean 4:4:4 and say no more.
    if described == Some((1, 13, 0)) {
        return Some(());
    }
    bits.skip(1)?;
    (sequence.subsampling_x, sequence.subsampling_y) = match sequence.profile {
        0 => (true, true),
        1 => (false, false),
        _ if sequence.bit_depth == 12 => {
            let across = bits.flag()?;
            (across, across && bits.flag()?)
        }
        _ => (true, false),
    };
    if sequence.subsampling_x && sequence.subsampling_y {
        sequence.chroma_position = bits.byte(2)?;
    }
    Some(())
}

/// The first sequence header of a temporal unit or of a record's `configOBUs`.
pub fn find_sequence(data: &[u8]) -> Option<Sequence> {
    let header = obus(data).find(|obu| obu.kind == obu_type::SEQUENCE_HEADER)?;
    parse_sequence(header.payload)
}

/// Bytes of an `av1C` before its `configOBUs`.
pub const CONFIG_HEAD_BYTES: usize = 4;

/// The sequence header that an `av1C` carries; `None` when it carries none or is no record at all.
pub fn parse_config(record: &[u8]) -> Option<Sequence> {
    let (head, units) = record.split_first_chunk::<CONFIG_HEAD_BYTES>()?;
    if head[0] != 0x81 {
        return None;
    }
    find_sequence(units)
}

/// Builds an `av1C` from a temporal unit that holds a sequence header.
pub fn config_of(temporal_unit: &[u8]) -> Option<Bytes> {
    let header = obus(temporal_unit).find(|obu| obu.kind == obu_type::SEQUENCE_HEADER)?;
    let sequence = parse_sequence(header.payload)?;
    let mut record = BytesMut::with_capacity(CONFIG_HEAD_BYTES + header.whole.len());
    record.put_slice(&[
        0x81,
        sequence.profile << 5 | sequence.level,
        u8::from(sequence.high_tier) << 7
            | u8::from(sequence.bit_depth > 8) << 6
            | u8::from(sequence.bit_depth == 12) << 5
            | u8::from(sequence.monochrome) << 4
            | u8::from(sequence.subsampling_x) << 3
            | u8::from(sequence.subsampling_y) << 2
            | sequence.chroma_position,
        0,
    ]);
    record.put_slice(header.whole);
    Some(record.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libaom writes it for a 64x64 picture; the configuration is ffmpeg's.
    const RECORD: [u8; 16] = [0x81, 0, 0x0c, 0, 0x0a, 0x0a, 0, 0, 0, 2, 0xaf, 0xff, 0x9b, 0x5f, 0x20, 8];

    #[test]
    fn a_sequence_header_tells_the_size_and_makes_the_record() {
        let sequence = parse_config(&RECORD).expect("the record has a sequence header");
        assert_eq!((sequence.width, sequence.height, sequence.bit_depth), (64, 64, 8));
        assert!(sequence.subsampling_x && sequence.subsampling_y && !sequence.monochrome);
        let unit = [&[0x12, 0][..], &RECORD[4..], &[0x32, 1, 0]].concat();
        assert_eq!(config_of(&unit).as_deref(), Some(&RECORD[..]));
        assert_eq!(obus(&unit).map(|obu| obu.kind).collect::<Vec<_>>(), [2, 1, 6]);
    }

    #[test]
    fn a_record_cut_short_tells_nothing() {
        for cut in 0..RECORD.len() {
            assert_eq!(parse_config(&RECORD[..cut]), None, "cut at {cut}");
        }
    }
}
