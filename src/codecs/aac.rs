//! AAC: the `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1) and the ADTS header (§1.A.2.2).
//!
//! Parsing never panics; what makes no sense is `None`. Rates are Hz, of the core coder unless said otherwise.

use bytes::Bytes;

use super::bits::{BitWriter, Bits};

/// The rates that have an index (table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The index that says the rate follows in 24 bits.
const RATE_ESCAPE: u32 = 15;

/// Audio object types (table 1.17).
pub mod object_type {
    /// The low-complexity profile.
    pub const LC: u8 = 2;
    /// Spectral band replication: HE-AAC.
    pub const SBR: u8 = 5;
    /// Parametric stereo: HE-AAC v2.
    pub const PS: u8 = 29;
}

/// What an `AudioSpecificConfig` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Audio object type of the core coder.
    pub object_type: u8,
    /// Rate of the core coder, 1 to 16,777,215.
    pub sample_rate: u32,
    /// Channels of the core coder, 1 to 8.
    pub channels: u8,
    /// The rate after spectral band replication, when it is told.
    pub sbr_rate: Option<u32>,
    /// Whether SBR is told up front, so that old decoders refuse the track instead of playing its lower half.
    pub sbr_explicit: bool,
    /// Parametric stereo: a mono core is heard in stereo.
    pub parametric_stereo: bool,
    /// Samples of each channel in a frame of the core coder: 1,024 or 960.
    pub frame_samples: u16,
}

impl Config {
    /// A plain track of the low-complexity profile.
    pub const fn lc(sample_rate: u32, channels: u8) -> Self {
        Self {
            object_type: object_type::LC,
            sample_rate,
            channels,
            sbr_rate: None,
            sbr_explicit: false,
            parametric_stereo: false,
            frame_samples: 1_024,
        }
    }

    /// The rate at which it is heard.
    pub fn rate_heard(&self) -> u32 {
        self.sbr_rate.unwrap_or(self.sample_rate)
    }

    /// The channels that are heard.
    pub fn channels_heard(&self) -> u8 {
        if self.parametric_stereo && self.channels == 1 { 2 } else { self.channels }
    }

    /// The object type that names the track in RFC 6381.
    pub fn object_type_named(&self) -> u8 {
        match (self.sbr_explicit, self.parametric_stereo) {
            (true, true) => object_type::PS,
            (true, false) => object_type::SBR,
            (false, _) => self.object_type,
        }
    }

    /// As an `AudioSpecificConfig`, with SBR told up front if at all. `None` for channels it has no number for.
    pub fn build(&self) -> Option<Bytes> {
        let channels = match self.channels {
            1..=6 => self.channels,
            7 => 11,
            8 => 7,
            _ => return None,
        };
        let mut bits = BitWriter::default();
        let extended = self.sbr_rate.filter(|_| self.object_type <= 4);
        if extended.is_some() {
            put_object_type(
                &mut bits,
                if self.parametric_stereo { object_type::PS } else { object_type::SBR },
            );
        } else {
            put_object_type(&mut bits, self.object_type);
        }
        put_rate(&mut bits, self.sample_rate);
        bits.put(u32::from(channels), 4);
        if let Some(rate) = extended {
            put_rate(&mut bits, rate);
            put_object_type(&mut bits, self.object_type);
        }
        bits.put(u32::from(self.frame_samples == 960), 1);
        bits.put(0, 2);
        Some(bits.finish().into())
    }
}

fn put_object_type(bits: &mut BitWriter, object_type: u8) {
    match object_type.checked_sub(32) {
        Some(rest) => {
            bits.put(31, 5);
            bits.put(u32::from(rest), 6);
        }
        None => bits.put(u32::from(object_type), 5),
    }
}

fn put_rate(bits: &mut BitWriter, rate: u32) {
    match RATES.iter().position(|known| *known == rate) {
        Some(index) => bits.put(index as u32, 4),
        None => {
            bits.put(RATE_ESCAPE, 4);
            bits.put(rate, 24);
        }
    }
}

/// Reads an `AudioSpecificConfig`.
pub fn parse_config(record: &[u8]) -> Option<Config> {
    let mut bits = Bits::new(record);
    let mut object_type = read_object_type(&mut bits)?;
    let sample_rate = read_rate(&mut bits)?;
    let channel_config = bits.byte(4)?;
    let sbr_explicit = matches!(object_type, object_type::SBR | object_type::PS);
    let parametric_stereo = object_type == object_type::PS;
    let mut sbr_rate = None;
    if sbr_explicit {
        sbr_rate = Some(read_rate(&mut bits)?);
        object_type = read_object_type(&mut bits)?;
    }
    let mut config = Config {
        object_type,
        sample_rate,
        channels: match channel_config {
            1..=6 => channel_config,
            11 => 7,
            7 | 12 | 14 => 8,
            _ => 0,
        },
        sbr_rate,
        sbr_explicit,
        parametric_stereo,
        frame_samples: 1_024,
    };
    if is_general(object_type) {
        let after = read_general(&mut bits, &mut config, channel_config);
        if config.channels == 0 {
            after?;
        } else if after.is_some() && !sbr_explicit {
            read_late_extension(&mut bits, &mut config);
        }
    }
    (1..=8).contains(&config.channels).then_some(config)
}

/// Whether a `GASpecificConfig` follows.
const fn is_general(object_type: u8) -> bool {
    matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23)
}

fn read_object_type(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.byte(5)? {
        0 => None,
        31 => Some(32 + bits.byte(6)?),
        object_type => Some(object_type),
    }
}

fn read_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.read(4)? {
        RATE_ESCAPE => bits.read(24).filter(|rate| *rate > 0),
        index => RATES.get(index as usize).copied(),
    }
}

/// `GASpecificConfig` (§4.4.1).
fn read_general(bits: &mut Bits<'_>, config: &mut Config, channel_config: u8) -> Option<()> {
    config.frame_samples = if bits.flag()? { 960 } else { 1_024 };
    if bits.flag()? {
        bits.skip(14)?;
    }
    let extension = bits.flag()?;
    if channel_config == 0 {
        config.channels = read_program(bits)?;
    }
    if matches!(config.object_type, 6 | 20) {
        bits.skip(3)?;
    }
    if extension {
        match config.object_type {
            22 => bits.skip(16)?,
            17 | 19 | 20 | 23 => bits.skip(3)?,
            _ => {}
        }
        bits.skip(1)?;
    }
    Some(())
}

/// The channels of a `program_config_element` (§4.4.1.1).
fn read_program(bits: &mut Bits<'_>) -> Option<u8> {
    bits.skip(10)?;
    let fronts_sides_backs = bits.read(4)? + bits.read(4)? + bits.read(4)?;
    let (effects, data, coupling) = (bits.read(2)?, bits.read(3)?, bits.read(4)?);
    for width in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(width)?;
        }
    }
    let mut channels = effects;
    for _ in 0..fronts_sides_backs {
        channels += 1 + u32::from(bits.flag()?);
        bits.skip(4)?;
    }
    bits.skip((effects as usize + data as usize) * 4 + coupling as usize * 5)?;
    bits.align();
    let comment = bits.read(8)? as usize;
    bits.skip(comment * 8)?;
    u8::try_from(channels).ok()
}

/// SBR and PS told after the fact, so that old decoders play the core (§1.6.5). What does not fit is left unread.
fn read_late_extension(bits: &mut Bits<'_>, config: &mut Config) -> Option<()> {
    if bits.read(11)? != 0x2b7 || read_object_type(bits)? != object_type::SBR || !bits.flag()? {
        return None;
    }
    config.sbr_rate = Some(read_rate(bits)?);
    if bits.read(11)? == 0x548 {
        config.parametric_stereo = bits.flag()?;
    }
    Some(())
}

/// An ADTS header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adts {
    /// The configuration that it stands for.
    pub config: Config,
    /// Bytes of the header: 7, or 9 with a checksum.
    pub header_bytes: usize,
    /// Bytes of header and frame.
    pub frame_bytes: usize,
}

/// Bytes of an ADTS header without checksum.
pub const ADTS_BYTES: usize = 7;

/// Reads the ADTS header that `data` begins with; `None` for what is none. Channels "as the stream says" count as two.
pub fn parse_adts(data: &[u8]) -> Option<Adts> {
    let mut bits = Bits::new(data.get(..ADTS_BYTES)?);
    if bits.read(12)? != 0xfff {
        return None;
    }
    bits.skip(1)?;
    if bits.read(2)? != 0 {
        return None;
    }
    let header_bytes = if bits.flag()? { ADTS_BYTES } else { ADTS_BYTES + 2 };
    let object_type = bits.byte(2)? + 1;
    let sample_rate = *RATES.get(bits.read(4)? as usize)?;
    bits.skip(1)?;
    let channels = match bits.byte(3)? {
        0 => 2,
        7 => 8,
        channels => channels,
    };
    bits.skip(4)?;
    let frame_bytes = bits.read(13)? as usize;
    let config = Config { object_type, ..Config::lc(sample_rate, channels) };
    (frame_bytes >= header_bytes).then_some(Adts { config, header_bytes, frame_bytes })
}

/// The ADTS header for a frame of `payload_bytes`. `None` for what ADTS cannot say: an odd rate, an object type over
/// 4, channels without a number, a frame over 8 KiB.
pub fn build_adts(config: &Config, payload_bytes: usize) -> Option<[u8; ADTS_BYTES]> {
    let profile = config.object_type.checked_sub(1).filter(|profile| *profile < 4)?;
    let rate = RATES.iter().position(|known| *known == config.sample_rate)? as u8;
    let channels = match config.channels {
        1..=6 => config.channels,
        8 => 7,
        _ => return None,
    };
    let len = u16::try_from(payload_bytes + ADTS_BYTES).ok().filter(|len| *len < 1 << 13)?;
    let [len_high, len_low] = len.to_be_bytes();
    Some([
        0xff,
        0xf1,
        profile << 6 | rate << 2 | channels >> 2,
        (channels & 3) << 6 | len_high >> 3,
        len_high << 5 | len_low >> 3,
        len_low << 5 | 0x1f,
        0xfc,
    ])
}

#[cfg(test)]
mod tests;
