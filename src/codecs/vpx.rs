//! VP8 and VP9: what the first bytes of a frame say, and the configuration record that both share (`vpcC`).
//!
//! Sections are of the VP9 bitstream specification, RFC 6386 (VP8) and the VP codec ISOBMFF binding. The record has no
//! size, so a track's size comes from its key pictures. Parsing never panics. Pixels are as coded.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;

/// What the uncompressed header of a key picture says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPicture {
    /// 0 to 3; always 0 for VP8.
    pub profile: u8,
    /// 8, 10 or 12 bits a sample.
    pub bit_depth: u8,
    /// The record's `chromaSubsampling`: 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
    pub chroma: u8,
    /// Samples use all values.
    pub full_range: bool,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Reads a VP9 frame (§6.2); `None` when it is no key picture.
pub fn parse_vp9(frame: &[u8]) -> Option<KeyPicture> {
    let mut bits = Bits::new(frame);
    if bits.read(2)? != 2 {
        return None;
    }
    let profile = bits.byte(1)? | bits.byte(1)? << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (show_existing, inter) = (bits.flag()?, bits.flag()?);
    if show_existing || inter {
        return None;
    }
    bits.skip(2)?;
    if bits.read(24)? != 0x49_83_42 {
        return None;
    }
    let bit_depth = if profile >= 2 { 10 + 2 * bits.byte(1)? } else { 8 };
    let color_space = bits.read(3)?;
    // 7 is sRGB, whose chroma is never subsampled.
    let (full_range, chroma) = if color_space == 7 {
        bits.skip(if profile & 1 == 1 { 1 } else { 0 })?;
        (true, 3)
    } else {
        let full_range = bits.flag()?;
        let chroma = match profile & 1 {
            1 => {
                let (across, _down, _) = (bits.flag()?, bits.flag()?, bits.flag()?);
                if across { 2 } else { 3 }
            }
            _ => 1,
        };
        (full_range, chroma)
    };
    let (width, height) = (bits.read(16)? + 1, bits.read(16)? + 1);
    Some(KeyPicture { profile, bit_depth, chroma, full_range, width, height })
}

/// Reads a VP8 frame (RFC 6386 §9.1); `None` when it is no key picture.
pub fn parse_vp8(frame: &[u8]) -> Option<KeyPicture> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *frame else {
        return None;
    };
    let width = u32::from(u16::from_le_bytes([w0, w1]) & 0x3fff);
    let height = u32::from(u16::from_le_bytes([h0, h1]) & 0x3fff);
    if tag & 1 != 0 || width == 0 || height == 0 {
        return None;
    }
    Some(KeyPicture { profile: 0, bit_depth: 8, chroma: 1, full_range: false, width, height })
}

/// Bytes of the FullBox header that a `vpcC` begins with: version 1, no flags.
pub const FULL_BOX: [u8; 4] = [1, 0, 0, 0];

/// Profile, level (ten times) and bit depth of a `vpcC` with its FullBox header.
pub fn parse_config(record: &[u8]) -> Option<(u8, u8, u8)> {
    match *record {
        [1, 0, 0, 0, profile, level, depth, ..] => Some((profile, level, depth >> 4)),
        _ => None,
    }
}

/// Builds a `vpcC` with its FullBox header. The level is the lowest that the size needs; colours are not told (2).
pub fn build_config(picture: &KeyPicture) -> Bytes {
    let mut record = BytesMut::with_capacity(12);
    record.put_slice(&FULL_BOX);
    let color = picture.bit_depth << 4 | picture.chroma << 1 | u8::from(picture.full_range);
    record.put_slice(&[picture.profile, level(picture.width, picture.height), color, 2, 2, 2, 0, 0]);
    record.freeze()
}

/// The lowest VP9 level whose largest luma picture holds `width` times `height` pixels.
fn level(width: u32, height: u32) -> u8 {
    const LUMA_MAX: [(u64, u8); 8] = [
        (36_864, 10),
        (73_728, 11),
        (122_880, 20),
        (245_760, 21),
        (552_960, 30),
        (983_040, 31),
        (2_228_224, 40),
        (8_912_896, 50),
    ];
    let luma = u64::from(width) * u64::from(height);
    LUMA_MAX.iter().find(|(max, _)| luma <= *max).map_or(60, |(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_picture_tells_its_size() {
        // libvpx, 64x64.
        let key = [0x82, 0x49, 0x83, 0x42, 0, 3, 0xf0, 3, 0xf0, 0x36, 0x38];
        let picture = parse_vp9(&key).expect("a key picture");
        assert_eq!((picture.width, picture.height, picture.bit_depth, picture.chroma), (64, 64, 8, 1));
        assert_eq!(build_config(&picture)[..], [1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0]);
        assert_eq!(parse_vp9(&[0x86, 0, 0x40, 0x92, 0xf0]), None, "an inter picture");
        let vp8 = [0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0xe0, 0x41];
        assert_eq!(parse_vp8(&vp8).map(|picture| (picture.width, picture.height)), Some((640, 480)));
    }

    #[test]
    fn a_frame_cut_short_tells_nothing() {
        let key = [0x82, 0x49, 0x83, 0x42, 0, 3, 0xf0, 3, 0xf0];
        for cut in 0..8 {
            assert_eq!(parse_vp9(&key[..cut]), None, "cut at {cut}");
        }
    }
}
