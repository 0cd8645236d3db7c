//! H.265: the sequence parameter set, the decoder configuration record (`hvcC`) and what a picture's NAL units say.
//!
//! Sections are of ITU-T H.265 (SPS) and ISO/IEC 14496-15 (`hvcC`). Parsing never panics; a set that makes no sense is
//! `None`. Pixels are after cropping.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;
use super::{h264, nal};

/// The longest parameter set that is looked into.
const SPS_BYTES_MAX: usize = 1_024;

/// The `nal_unit_type` values that decisions here turn on (table 7-1).
pub mod unit_type {
    /// The first of the types that are random access points, 16 to 23.
    pub const IRAP_FIRST: u8 = 16;
    /// The last of them.
    pub const IRAP_LAST: u8 = 23;
    /// Video parameter set.
    pub const VPS: u8 = 32;
    /// Sequence parameter set.
    pub const SPS: u8 = 33;
    /// Picture parameter set.
    pub const PPS: u8 = 34;
    /// Access unit delimiter.
    pub const AUD: u8 = 35;
    /// Supplemental enhancement information before the picture.
    pub const PREFIX_SEI: u8 = 39;
}

/// The type of a NAL unit; 0 for an empty one.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte >> 1 & 0x3f)
}

/// The part of `profile_tier_level()` that speaks of the whole stream (§7.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// `general_profile_space`, 0 to 3.
    pub space: u8,
    /// `general_tier_flag`: the high tier.
    pub high_tier: bool,
    /// `general_profile_idc`.
    pub idc: u8,
    /// `general_profile_compatibility_flag[0..32]`, the first in the most significant bit.
    pub compatibility: u32,
    /// The 48 bits of constraint indicators.
    pub constraints: [u8; 6],
    /// `general_level_idc`: thirty times the level.
    pub level: u8,
}

/// What a sequence parameter set says of its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Profile, tier and level.
    pub profile: Profile,
    /// `sps_max_sub_layers_minus1 + 1`.
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_nesting: bool,
    /// `chroma_format_idc`.
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

/// Reads a sequence parameter set, its NAL header included (§7.3.2.2.1).
pub fn parse_sps(unit: &[u8]) -> Option<Sps> {
    if unit_type(unit) != unit_type::SPS {
        return None;
    }
    let raw = nal::unescape(unit.get(2..)?, SPS_BYTES_MAX);
    let mut bits = Bits::new(&raw);
    bits.skip(4)?;
    let sub_layers = bits.byte(3)?;
    let temporal_nesting = bits.flag()?;
    let profile = parse_profile(&mut bits, sub_layers)?;
    bits.ue_max(15)?;
    let chroma_format = bits.ue_max(3)? as u8;
    if chroma_format == 3 {
        bits.skip(1)?;
    }
    let (width, height) = (u64::from(bits.ue()?), u64::from(bits.ue()?));
    let mut crop = [0_u64; 4];
    if bits.flag()? {
        for side in &mut crop {
            *side = u64::from(bits.ue()?);
        }
    }
    let [left, right, top, bottom] = crop;
    let (unit_x, unit_y) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    Some(Sps {
        profile,
        temporal_layers: sub_layers + 1,
        temporal_nesting,
        chroma_format,
        bit_depth_luma: 8 + bits.ue_max(8)? as u8,
        bit_depth_chroma: 8 + bits.ue_max(8)? as u8,
        width: super::pixels(width.checked_sub((left + right) * unit_x)?)?,
        height: super::pixels(height.checked_sub((top + bottom) * unit_y)?)?,
    })
}

/// Reads `profile_tier_level(1, sub_layers)` and passes over what it says of the layers.
fn parse_profile(bits: &mut Bits<'_>, sub_layers: u8) -> Option<Profile> {
    let (space, high_tier, idc) = (bits.byte(2)?, bits.flag()?, bits.byte(5)?);
    let compatibility = bits.read(32)?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = bits.byte(8)?;
    }
    let level = bits.byte(8)?;
    let mut layers = [(false, false); 8];
    for layer in layers.iter_mut().take(usize::from(sub_layers)) {
        *layer = (bits.flag()?, bits.flag()?);
    }
    if sub_layers > 0 {
        bits.skip(usize::from(8 - sub_layers) * 2)?;
    }
    for (has_profile, has_level) in layers {
        bits.skip(if has_profile { 88 } else { 0 })?;
        bits.skip(if has_level { 8 } else { 0 })?;
    }
    Some(Profile { space, high_tier, idc, compatibility, constraints, level })
}

/// An `HEVCDecoderConfigurationRecord`, read (§8.3.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config<'a> {
    /// Bytes of the length before each NAL unit: 1 to 4.
    pub length_size: usize,
    /// Profile, tier and level as the record says them.
    pub profile: Profile,
    /// All NAL units of all arrays, in order.
    pub units: Vec<&'a [u8]>,
}

impl<'a> Config<'a> {
    /// The first sequence parameter set.
    pub fn sps(&self) -> Option<&'a [u8]> {
        self.units.iter().copied().find(|unit| unit_type(unit) == unit_type::SPS)
    }
}

/// Where the record keeps `lengthSizeMinusOne`, in the low two bits.
pub const LENGTH_SIZE_AT: usize = 21;

/// Reads an `hvcC`. A record whose arrays are cut short is `None`.
pub fn parse_config(record: &[u8]) -> Option<Config<'_>> {
    let (head, mut rest) = record.split_first_chunk::<23>()?;
    let [1, profile, c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, level, .., lengths, arrays] = *head else {
        return None;
    };
    let mut units = Vec::new();
    for _ in 0..arrays {
        let ([_, count @ ..], tail) = rest.split_first_chunk::<3>()?;
        rest = tail;
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (unit, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            units.push(unit);
            rest = tail;
        }
    }
    let profile = Profile {
        space: profile >> 6,
        high_tier: profile & 0x20 != 0,
        idc: profile & 0x1f,
        compatibility: u32::from_be_bytes([c0, c1, c2, c3]),
        constraints: [k0, k1, k2, k3, k4, k5],
        level,
    };
    Some(Config { length_size: usize::from(lengths & 3) + 1, profile, units })
}

/// Builds an `hvcC` with four-byte lengths. `None` without an SPS that can be read, or with sets it cannot hold.
pub fn build_config(vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]]) -> Option<Bytes> {
    let Sps {
        profile,
        temporal_layers,
        temporal_nesting,
        chroma_format,
        bit_depth_luma,
        bit_depth_chroma,
        ..
    } = parse_sps(sps.first()?)?;
    let mut record = BytesMut::with_capacity(128);
    record.put_u8(1);
    record.put_u8(profile.space << 6 | u8::from(profile.high_tier) << 5 | profile.idc);
    record.put_u32(profile.compatibility);
    record.put_slice(&profile.constraints);
    record.put_u8(profile.level);
    // No spatial segmentation and no parallelism are promised.
    record.put_u16(0xf000);
    record.put_slice(&[
        0xfc,
        0xfc | chroma_format,
        0xf8 | (bit_depth_luma - 8),
        0xf8 | (bit_depth_chroma - 8),
    ]);
    record.put_u16(0);
    record.put_u8(temporal_layers << 3 | u8::from(temporal_nesting) << 2 | 3);
    let arrays = [(unit_type::VPS, vps), (unit_type::SPS, sps), (unit_type::PPS, pps)];
    record.put_u8(arrays.iter().filter(|(_, sets)| !sets.is_empty()).count() as u8);
    for (kind, sets) in arrays.into_iter().filter(|(_, sets)| !sets.is_empty()) {
        record.put_u8(0x80 | kind);
        record.put_u16(u16::try_from(sets.len()).ok()?);
        for set in sets {
            record.put_u16(u16::try_from(set.len()).ok()?);
            record.put_slice(set);
        }
    }
    Some(record.freeze())
}

/// Builds an `hvcC` from the parameter sets among `units`, doubles left out.
pub fn config_of<'a>(units: impl Iterator<Item = &'a [u8]>) -> Option<Bytes> {
    let (mut vps, mut sps, mut pps) = (Vec::new(), Vec::new(), Vec::new());
    for unit in units {
        let sets = match unit_type(unit) {
            unit_type::VPS => &mut vps,
            unit_type::SPS => &mut sps,
            unit_type::PPS => &mut pps,
            _ => continue,
        };
        if !sets.contains(&unit) && sets.len() < 64 {
            sets.push(unit);
        }
    }
    if pps.is_empty() { None } else { build_config(&vps, &sps, &pps) }
}

/// Whether a decoder can begin at a picture that its sender calls a key picture: a random access point, a recovery
/// point (§D.2.8) or parameter sets in band.
pub fn can_begin<'a>(mut units: impl Iterator<Item = &'a [u8]>) -> bool {
    units.any(|unit| match unit_type(unit) {
        unit_type::IRAP_FIRST..=unit_type::IRAP_LAST | unit_type::SPS => true,
        unit_type::PREFIX_SEI => h264::has_recovery_point(unit.get(2..).unwrap_or_default()),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
