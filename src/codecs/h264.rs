//! H.264: the sequence parameter set, the decoder configuration record (`avcC`) and what a picture's NAL units say.
//!
//! Sections are of ITU-T H.264 (SPS) and ISO/IEC 14496-15 (`avcC`). Parsing never panics; a set that makes no sense
//! is `None`. Pixels are after cropping.

mod order;

use bytes::{BufMut, Bytes, BytesMut};

pub use order::in_order;

use super::bits::Bits;
use super::nal;

/// The longest parameter set that is looked into; real ones have some tens of bytes.
const SPS_BYTES_MAX: usize = 1_024;

/// The `nal_unit_type` values that decisions here turn on (table 7-1).
pub mod unit_type {
    /// A coded slice of an IDR picture.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const AUD: u8 = 9;
}

/// The type of a NAL unit; 0 for an empty one.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

/// What a sequence parameter set says of its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// The `constraint_set` flags and reserved bits.
    pub constraints: u8,
    /// `level_idc`.
    pub level: u8,
    /// `chroma_format_idc`: 0 for grey, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Where in an unescaped set, its NAL header left out, some fields stand (bits), and what others say.
#[derive(Clone, Copy, Debug)]
struct Layout {
    order_type: u32,
    references: u32,
    /// `gaps_in_frame_num_value_allowed_flag`.
    gaps_at: usize,
    /// `vui_parameters_present_flag`.
    vui_at: usize,
}

/// Reads a sequence parameter set, its NAL header included (§7.3.2.1.1).
pub fn parse_sps(unit: &[u8]) -> Option<Sps> {
    if unit_type(unit) != unit_type::SPS {
        return None;
    }
    read_sps(&nal::unescape(unit.get(1..)?, SPS_BYTES_MAX)).map(|(sps, _)| sps)
}

fn read_sps(raw: &[u8]) -> Option<(Sps, Layout)> {
    let mut bits = Bits::new(raw);
    let (profile, constraints, level) = (bits.byte(8)?, bits.byte(8)?, bits.byte(8)?);
    bits.ue_max(31)?;
    let mut chroma_format = 1;
    let (mut bit_depth_luma, mut bit_depth_chroma) = (8, 8);
    let mut separate_planes = false;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format = bits.ue_max(3)? as u8;
        separate_planes = chroma_format == 3 && bits.flag()?;
        bit_depth_luma = 8 + bits.ue_max(6)? as u8;
        bit_depth_chroma = 8 + bits.ue_max(6)? as u8;
        bits.skip(1)?;
        if bits.flag()? {
            skip_scaling_matrix(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
    }
    bits.ue_max(12)?;
    let order_type = bits.ue_max(2)?;
    match order_type {
        0 => drop(bits.ue_max(12)?),
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue_max(255)? {
                bits.se()?;
            }
        }
        _ => {}
    }
    let references = bits.ue()?;
    let gaps_at = bits.position();
    bits.skip(1)?;
    let width_in_blocks = u64::from(bits.ue()?) + 1;
    let height_in_units = u64::from(bits.ue()?) + 1;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let mut crop = [0_u64; 4];
    if bits.flag()? {
        for side in &mut crop {
            *side = u64::from(bits.ue()?);
        }
    }
    let [left, right, top, bottom] = crop;
    let field_factor = if frames_only { 1 } else { 2 };
    let (unit_x, unit_y) = match chroma_format {
        1 if !separate_planes => (2, 2),
        2 if !separate_planes => (2, 1),
        _ => (1, 1),
    };
    let width = (width_in_blocks * 16).checked_sub((left + right) * unit_x)?;
    let height = (height_in_units * 16 * field_factor).checked_sub((top + bottom) * unit_y * field_factor)?;
    let layout = Layout { order_type, references, gaps_at, vui_at: bits.position() };
    let sps = Sps {
        profile,
        constraints,
        level,
        chroma_format,
        bit_depth_luma,
        bit_depth_chroma,
        width: super::pixels(width)?,
        height: super::pixels(height)?,
    };
    Some((sps, layout))
}

/// Passes over the scaling lists of an SPS (§7.3.2.1.1.1).
fn skip_scaling_matrix(bits: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// An `AVCDecoderConfigurationRecord`, read (§5.3.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config<'a> {
    /// Bytes of the length before each NAL unit: 1 to 4.
    pub length_size: usize,
    /// Sequence parameter sets.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets.
    pub pps: Vec<&'a [u8]>,
}

/// Reads an `avcC`. A record whose sets are cut short is `None`.
pub fn parse_config(record: &[u8]) -> Option<Config<'_>> {
    let [1, _, _, _, lengths, count, rest @ ..] = record else {
        return None;
    };
    let (sps, rest) = take_sets(rest, usize::from(count & 0x1f))?;
    let (count, rest) = rest.split_first()?;
    let (pps, _) = take_sets(rest, usize::from(*count))?;
    Some(Config { length_size: usize::from(lengths & 3) + 1, sps, pps })
}

/// `count` parameter sets, each with its length in two bytes; and what follows them.
fn take_sets(mut rest: &[u8], count: usize) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut sets = Vec::new();
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (set, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        sets.push(set);
        rest = tail;
    }
    Some((sets, rest))
}

/// Builds an `avcC` with four-byte lengths. `None` without an SPS, or with sets that the record cannot hold.
pub fn build_config(sps: &[&[u8]], pps: &[&[u8]]) -> Option<Bytes> {
    let first = sps.first()?;
    let [_, profile, constraints, level, ..] = **first else {
        return None;
    };
    let mut record = BytesMut::with_capacity(64);
    record.put_slice(&[1, profile, constraints, level, 0xff]);
    record.put_u8(0xe0 | u8::try_from(sps.len()).ok().filter(|count| *count < 32)?);
    put_sets(&mut record, sps)?;
    record.put_u8(u8::try_from(pps.len()).ok()?);
    put_sets(&mut record, pps)?;
    if matches!(profile, 100 | 110 | 122 | 144)
        && let Some(sps) = parse_sps(first)
    {
        record.put_slice(&[
            0xfc | sps.chroma_format,
            0xf8 | (sps.bit_depth_luma - 8),
            0xf8 | (sps.bit_depth_chroma - 8),
            0,
        ]);
    }
    Some(record.freeze())
}

fn put_sets(record: &mut BytesMut, sets: &[&[u8]]) -> Option<()> {
    for set in sets {
        record.put_u16(u16::try_from(set.len()).ok()?);
        record.put_slice(set);
    }
    Some(())
}

/// Builds an `avcC` from the parameter sets among `units`, doubles left out.
pub fn config_of<'a>(units: impl Iterator<Item = &'a [u8]>) -> Option<Bytes> {
    let (mut sps, mut pps) = (Vec::new(), Vec::new());
    for unit in units {
        let sets = match unit_type(unit) {
            unit_type::SPS => &mut sps,
            unit_type::PPS => &mut pps,
            _ => continue,
        };
        if !sets.contains(&unit) && sets.len() < 31 {
            sets.push(unit);
        }
    }
    if pps.is_empty() { None } else { build_config(&sps, &pps) }
}

/// Whether a decoder can begin at a picture that its sender calls a key picture.
///
/// An IDR picture is one. So is an intra picture of an open GOP, told by a recovery point (§D.1.8), by parameter sets
/// in band or by its slice type; a picture of P slices is not.
pub fn can_begin<'a>(units: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut seen_slice = false;
    for unit in units {
        match unit_type(unit) {
            unit_type::IDR | unit_type::SPS => return true,
            unit_type::SEI if has_recovery_point(unit.get(1..).unwrap_or_default()) => return true,
            1 | 2 if !seen_slice => {
                seen_slice = true;
                if is_intra_slice(unit) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Whether a slice is I or SI (§7.3.3, table 7-6).
fn is_intra_slice(unit: &[u8]) -> bool {
    let raw = nal::unescape(unit.get(1..).unwrap_or_default(), 16);
    let mut bits = Bits::new(&raw);
    let slice_type = bits.ue().and_then(|_| bits.ue());
    matches!(slice_type, Some(2 | 4 | 7 | 9))
}

/// Whether SEI messages (§7.3.2.3.1, without the NAL header) hold a recovery point, payload type 6.
pub(super) fn has_recovery_point(mut rest: &[u8]) -> bool {
    // Two bytes are the least a message takes; what is left after the last one are trailing bits.
    while rest.len() > 2 {
        let message = sei_number(rest).and_then(|(kind, tail)| {
            let (size, tail) = sei_number(tail)?;
            Some((kind, tail.get(size..)?))
        });
        match message {
            Some((6, _)) => return true,
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
    false
}

/// A number of an SEI message: as many 255s as fit, then the remainder.
fn sei_number(rest: &[u8]) -> Option<(usize, &[u8])> {
    let full = rest.iter().take_while(|byte| **byte == 0xff).count();
    let (last, tail) = rest.get(full..)?.split_first()?;
    Some((full * 255 + usize::from(*last), tail))
}

#[cfg(test)]
mod tests;
