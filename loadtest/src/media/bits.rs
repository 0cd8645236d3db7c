//! Bits into bytes as H.264 writes them: Exp-Golomb numbers, trailing bits, emulation prevention.

/// Bits of one raw byte sequence, most significant first.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    /// The low `count` bits of `value`, at most 32.
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

    /// Zeros up to the next byte, and then `count` bytes of `byte`.
    pub fn fill(&mut self, byte: u8, count: usize) {
        self.used = 0;
        self.bytes.resize(self.bytes.len() + count, byte);
    }

    /// `ue(v)`, clause 9.1.
    pub fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let bits = 64 - code.leading_zeros();
        self.put(0, bits - 1);
        // 33 bits only for u32::MAX, which nothing here writes.
        self.put(code as u32, bits);
    }

    /// `se(v)`, clause 9.1.1.
    pub fn se(&mut self, value: i32) {
        let code = if value > 0 { value.unsigned_abs() * 2 - 1 } else { value.unsigned_abs() * 2 };
        self.ue(code);
    }

    /// The NAL unit behind its header byte: `rbsp_trailing_bits`, then emulation prevention (clause 7.4.1).
    pub fn unit(mut self, header: u8) -> Vec<u8> {
        self.put(1, 1);
        let mut out = Vec::with_capacity(self.bytes.len() + 8);
        out.push(header);
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            out.push(byte);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_numbers_are_those_of_the_standard() {
        let mut bits = BitWriter::default();
        for value in 0..5 {
            bits.ue(value);
        }
        for value in [0, 1, -1, 2, -2] {
            bits.se(value);
        }
        // 1 010 011 00100 00101 | 1 010 011 00100 00101, then the stop bit.
        assert_eq!(bits.unit(7), [7, 0b1010_0110, 0b0100_0010, 0b1101_0011, 0b0010_0001, 0b0110_0000]);
    }

    #[test]
    fn start_codes_never_appear_inside_a_unit() {
        let mut bits = BitWriter::default();
        for _ in 0..3 {
            bits.put(0, 16);
            bits.put(1, 8);
        }
        let unit = bits.unit(1);
        assert!(!unit.windows(3).any(|three| matches!(three, [0, 0, 0..=2])), "{unit:?}");
    }
}
