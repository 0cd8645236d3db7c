//! VP8 (RFC 7741) and VP9 (RFC 9628) payloads: a descriptor with a picture number before each piece of a frame.

use super::{Payloads, Picture, one};

/// Writes a VP8 frame: descriptor with `X`, `S` on the first piece, and a picture number of 15 bits.
pub fn write_vp8(number: u16, picture: Picture<'_>, max: usize, out: &mut impl Payloads) {
    let [high, low] = (0x8000 | number).to_be_bytes();
    for (at, piece) in picture.payload.chunks(max - 4).enumerate() {
        one(&[&[0x80 | u8::from(at == 0) << 4, 0x80, high, low], piece], out);
    }
}

/// Writes a VP9 frame without layers: `I`, `P` between keyframes, `B` and `E` at its ends, and `Z`: no upper layer
/// depends on it.
pub fn write_vp9(number: u16, picture: Picture<'_>, max: usize, out: &mut impl Payloads) {
    let [high, low] = (0x8000 | number).to_be_bytes();
    let inter = u8::from(!picture.is_key) << 6;
    let count = picture.payload.len().div_ceil(max - 3);
    for (at, piece) in picture.payload.chunks(max - 3).enumerate() {
        let (begin, end) = (u8::from(at == 0) << 3, u8::from(at + 1 == count) << 2);
        one(&[&[0x80 | inter | begin | end | 1, high, low], piece], out);
    }
}
