//! H.264 that any decoder takes and nobody needs an encoder for: a grey picture, and pictures like the one before.
//!
//! Constrained Baseline. A keyframe is one slice of Intra 16x16 macroblocks, predicted from nothing and without a
//! residual: one byte each. Every other picture skips all of its macroblocks. The bytes that real pictures have are made up
//! for by raw macroblocks (I_PCM) of the same grey at the slice's end, which no server may leave out, and in the last few
//! hundred bytes by filler data (unit type 12), which WebRTC's do. Clauses are of ITU-T H.264.

use super::bits::BitWriter;

/// `log2_max_frame_num_minus4`; a group may still be longer, the number wraps.
const FRAME_NUM_BITS: u32 = 8;
const UNIT_FILLER: u8 = 0x0c;
/// `nal_ref_idc` 3 and the type.
const UNIT_IDR: u8 = 0x65;
const UNIT_SLICE: u8 = 0x41;
const UNIT_SPS: u8 = 0x67;
const UNIT_PPS: u8 = 0x68;
/// A raw macroblock: 256 samples of luma, 128 of chroma.
const RAW_SAMPLES: usize = 384;
/// What it takes at most: its type, up to a byte's end, the samples.
const RAW_BYTES: usize = RAW_SAMPLES + 3;
const GREY: u8 = 128;
/// `mb_type` of I_PCM in I slices (table 7-11); P slices have five others before.
const I_PCM: u32 = 25;
/// What a filler unit takes at least: its header and trailing bits.
const FILLER_BYTES_MIN: usize = 2;

/// The pictures' size and rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Pictures a second.
    pub picture_rate: f64,
}

impl Shape {
    /// Macroblocks across and down.
    const fn blocks(self) -> (u32, u32) {
        (self.width.div_ceil(16), self.height.div_ceil(16))
    }

    fn macroblocks(self) -> u32 {
        let (across, down) = self.blocks();
        across * down
    }

    /// `level_idc`: the lowest of table A-1 whose macroblocks per picture and second suffice.
    fn level(self) -> u8 {
        const LEVELS: [(u8, u32, u32); 9] = [
            (10, 99, 1_485),
            (13, 396, 11_880),
            (22, 1_620, 20_250),
            (30, 1_620, 40_500),
            (31, 3_600, 108_000),
            (32, 5_120, 216_000),
            (40, 8_192, 245_760),
            (42, 8_704, 522_240),
            (51, 36_864, 983_040),
        ];
        let (size, rate) = (self.macroblocks(), f64::from(self.macroblocks()) * self.picture_rate);
        let fits = LEVELS.iter().find(|(_, frame, second)| size <= *frame && rate <= f64::from(*second));
        fits.map_or(52, |(level, ..)| *level)
    }

    /// The sequence parameter set (clause 7.3.2.1.1), with the picture rate in its VUI.
    pub fn sps(self) -> Vec<u8> {
        let (across, down) = self.blocks();
        let mut bits = BitWriter::default();
        // Constrained Baseline: constraint sets 0 and 1.
        bits.put(66, 8);
        bits.put(0xc0, 8);
        bits.put(u32::from(self.level()), 8);
        bits.ue(0);
        bits.ue(FRAME_NUM_BITS - 4);
        // Order of output is the order of decoding.
        bits.ue(2);
        bits.ue(1);
        bits.put(0, 1);
        bits.ue(across - 1);
        bits.ue(down - 1);
        // Frames only, direct 8x8 inference.
        bits.put(0b11, 2);
        let (right, bottom) = ((across * 16 - self.width) / 2, (down * 16 - self.height) / 2);
        let crop = right + bottom > 0;
        bits.put(u32::from(crop), 1);
        if crop {
            [0, right, 0, bottom].into_iter().for_each(|side| bits.ue(side));
        }
        // VUI: nothing but timing_info. Two ticks are a picture.
        bits.put(1, 1);
        bits.put(0, 4);
        bits.put(1, 1);
        bits.put(1_000, 32);
        bits.put((self.picture_rate * 2_000.0) as u32, 32);
        bits.put(1, 1);
        bits.put(0, 4);
        bits.unit(UNIT_SPS)
    }

    /// The picture parameter set (clause 7.3.2.2): CAVLC, one reference.
    pub fn pps(self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.ue(0);
        bits.ue(0);
        bits.put(0, 2);
        bits.ue(0);
        bits.ue(0);
        bits.ue(0);
        bits.put(0, 3);
        bits.se(0);
        bits.se(0);
        bits.se(0);
        bits.put(0, 3);
        bits.unit(UNIT_PPS)
    }

    /// How many raw macroblocks fit into `bytes`.
    pub fn raw(self, bytes: usize) -> u32 {
        u32::try_from(bytes / RAW_BYTES).unwrap_or(u32::MAX).min(self.macroblocks())
    }

    /// The slice of a keyframe, its last `raw` macroblocks raw; two in a row differ in `odd`.
    pub fn key_slice(self, odd: bool, raw: u32) -> Vec<u8> {
        let raw = raw.min(self.macroblocks());
        let mut bits = BitWriter::default();
        bits.ue(0);
        bits.ue(7);
        bits.ue(0);
        bits.put(0, FRAME_NUM_BITS);
        bits.ue(u32::from(odd));
        // dec_ref_pic_marking, slice_qp_delta.
        bits.put(0, 2);
        bits.se(0);
        for _ in raw..self.macroblocks() {
            // I_16x16_2_0_0 (from the mean of what is around), chroma likewise, no change of QP, no coefficient.
            bits.ue(3);
            bits.ue(0);
            bits.se(0);
            bits.put(1, 1);
        }
        for _ in 0..raw {
            bits.ue(I_PCM);
            bits.fill(GREY, RAW_SAMPLES);
        }
        bits.unit(UNIT_IDR)
    }

    /// The slice of a picture that is the one before, its last `raw` macroblocks raw; `number` counts from the keyframe.
    pub fn same_slice(self, number: u64, raw: u32) -> Vec<u8> {
        let raw = raw.min(self.macroblocks());
        let mut bits = BitWriter::default();
        bits.ue(0);
        bits.ue(5);
        bits.ue(0);
        bits.put((number & ((1 << FRAME_NUM_BITS) - 1)) as u32, FRAME_NUM_BITS);
        // No override of references, no reordering, no adaptive marking, slice_qp_delta.
        bits.put(0, 3);
        bits.se(0);
        // mb_skip_run: all that come before, and none between two raw ones.
        bits.ue(self.macroblocks() - raw);
        for n in 0..raw {
            if n > 0 {
                bits.ue(0);
            }
            bits.ue(5 + I_PCM);
            bits.fill(GREY, RAW_SAMPLES);
        }
        bits.unit(UNIT_SLICE)
    }
}

/// Appends a filler unit of `bytes` with its length in four bytes; as little as a unit takes when `bytes` is less.
pub fn put_filler(out: &mut bytes::BytesMut, bytes: usize) {
    let bytes = bytes.max(4 + FILLER_BYTES_MIN);
    let unit = bytes - 4;
    out.extend_from_slice(&u32::try_from(unit).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&[UNIT_FILLER]);
    let last = out.len() + unit - 1;
    out.resize(last, 0xff);
    out.extend_from_slice(&[0x80]);
}

/// Appends a unit with its length in four bytes.
pub fn put_unit(out: &mut bytes::BytesMut, unit: &[u8]) {
    out.extend_from_slice(&u32::try_from(unit.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(unit);
}

/// An `AVCDecoderConfigurationRecord` with four-byte lengths (ISO/IEC 14496-15 clause 5.3.3.1).
pub fn config(sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend(sps.get(1..4).unwrap_or_default());
    out.extend([0xff, 0xe1]);
    for (set, count) in [(sps, None), (pps, Some(1))] {
        out.extend(count);
        // Both have some tens of bytes.
        out.extend(u16::try_from(set.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(set);
    }
    out
}
