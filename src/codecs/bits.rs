//! Reading a bitstream bit by bit, most significant bit first.
//!
//! Invariant: a read past the end is `None` and leaves nothing half-read for the caller to act on; no read panics,
//! whatever the bytes are. Positions are bits.

/// A cursor over bits. Every read checks that the bits are there.
#[derive(Clone, Debug)]
pub struct Bits<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    /// At the first bit of `data`.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// How many bits remain.
    pub const fn left(&self) -> usize {
        (self.data.len() * 8).saturating_sub(self.position)
    }

    /// How many bits were read.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// One bit as a flag.
    pub fn flag(&mut self) -> Option<bool> {
        let byte = *self.data.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// An unsigned number of `count` bits, 0 to 32.
    pub fn read(&mut self, count: u32) -> Option<u32> {
        if count > 32 || count as usize > self.left() {
            return None;
        }
        let mut value = 0_u64;
        let mut wanted = count as usize;
        while wanted > 0 {
            let byte = u64::from(*self.data.get(self.position / 8)?);
            let have = 8 - self.position % 8;
            let take = have.min(wanted);
            let part = byte >> (have - take) & ((1 << take) - 1);
            value = value << take | part;
            self.position += take;
            wanted -= take;
        }
        Some(value as u32)
    }

    /// [`read`](Self::read) of at most 8 bits.
    pub fn byte(&mut self, count: u32) -> Option<u8> {
        self.read(count).and_then(|value| u8::try_from(value).ok())
    }

    /// Passes over `count` bits.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        if count > self.left() {
            return None;
        }
        self.position += count;
        Some(())
    }

    /// Passes over the rest of a byte that was begun.
    pub fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }

    /// An unsigned Exp-Golomb number, `ue(v)` of H.264 §9.1; at most `2^32 - 2`.
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let tail = u64::from(self.read(zeros)?);
        u32::try_from((1_u64 << zeros) - 1 + tail).ok()
    }

    /// [`ue`](Self::ue), if it is at most `max`.
    pub fn ue_max(&mut self, max: u32) -> Option<u32> {
        self.ue().filter(|value| *value <= max)
    }

    /// A signed Exp-Golomb number, `se(v)` of H.264 §9.1.1.
    pub fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 })
    }

    /// A number in AV1's `uvlc()` (§4.10.3): as Exp-Golomb, and 32 or more zeros mean the largest.
    pub fn uvlc(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        if zeros >= 32 {
            return Some(u32::MAX);
        }
        let tail = u64::from(self.read(zeros)?);
        u32::try_from((1_u64 << zeros) - 1 + tail).ok()
    }
}

/// Writes bits, most significant first; the counterpart of [`Bits`] for small records.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    /// The low `count` bits of `value`, 0 to 32.
    pub fn put(&mut self, value: u32, count: u32) {
        for shift in (0..count.min(32)).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> shift & 1) as u8) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// An unsigned Exp-Golomb number, `ue(v)` of H.264 §9.1.
    pub fn put_ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let width = u64::BITS - code.leading_zeros();
        self.put(0, width - 1);
        // Up to 33 bits.
        self.put((code >> 16) as u32, width.saturating_sub(16));
        self.put((code & 0xffff) as u32, width.min(16));
    }

    /// The next `count` bits of `from`. `None`: it has not as many.
    pub fn copy(&mut self, from: &mut Bits<'_>, count: usize) -> Option<()> {
        for _ in 0..count {
            self.put(u32::from(from.flag()?), 1);
        }
        Some(())
    }

    /// The bytes, the last one filled with zeros.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_width_come_out_as_they_went_in() {
        let mut writer = BitWriter::default();
        let numbers = [(1, 1), (0x2a, 7), (0xdead_beef, 32), (5, 3), (0, 0), (0x1ff, 9)];
        for (value, width) in numbers {
            writer.put(value, width);
        }
        let bytes = writer.finish();
        let mut bits = Bits::new(&bytes);
        for (value, width) in numbers {
            assert_eq!(bits.read(width), Some(value));
        }
        assert_eq!(bits.left(), 4);
        assert_eq!(bits.read(5), None);
        assert_eq!(bits.left(), 4, "a read that failed took nothing");
    }

    #[test]
    fn exp_golomb_counts_as_the_standard_does() {
        // 1 | 010 | 011 | 00100 | 00101, H.264 table 9-2.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&bytes);
        assert_eq!(
            (0..5).map(|_| bits.ue()).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2), Some(3), Some(4)]
        );
        let mut bits = Bits::new(&bytes);
        assert_eq!(
            (0..5).map(|_| bits.se()).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(-1), Some(2), Some(-2)]
        );
    }

    #[test]
    fn a_run_of_zeros_is_no_number() {
        assert_eq!(Bits::new(&[0; 16]).ue(), None);
        assert_eq!(Bits::new(&[]).ue(), None);
        assert_eq!(Bits::new(&[0; 16]).uvlc(), None);
    }
}
