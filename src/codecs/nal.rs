//! NAL units of H.264 and H.265: length-prefixed (ISO/IEC 14496-15) and Annex B, and the way between them.
//!
//! Inside the server every picture is length-prefixed with four bytes. Walking a payload never panics and never
//! passes its end; what does not add up ends the walk and is told by [`Units::is_broken`]. Sizes are bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// Walks the NAL units of a length-prefixed payload. Empty units are passed over.
#[derive(Clone, Debug)]
pub struct Units<'a> {
    rest: &'a [u8],
    length_size: usize,
    whole: usize,
    broken: bool,
}

/// The NAL units of `payload`, each preceded by its length in `length_size` bytes (1 to 4).
pub const fn units(payload: &[u8], length_size: usize) -> Units<'_> {
    Units { rest: payload, length_size, whole: 0, broken: false }
}

impl Units<'_> {
    /// Whether the walk came to a length that reaches past the end.
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// How many bytes belong to the units walked so far, their lengths included.
    pub const fn whole(&self) -> usize {
        self.whole
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() && !self.broken {
            let unit = self.rest.split_at_checked(self.length_size).and_then(|(length, tail)| {
                let length = length.iter().fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
                tail.split_at_checked(length)
            });
            let Some((unit, tail)) = unit else {
                self.broken = true;
                return None;
            };
            self.whole += self.rest.len() - tail.len();
            self.rest = tail;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
        None
    }
}

/// Whether `payload` is a chain of whole units and nothing else.
pub fn is_length_prefixed(payload: &[u8], length_size: usize) -> bool {
    let mut walk = units(payload, length_size);
    walk.by_ref().for_each(drop);
    !walk.is_broken()
}

/// Whether `data` begins with an Annex B start code of three or four bytes.
pub const fn is_annex_b(data: &[u8]) -> bool {
    matches!(data, [0, 0, 1, ..] | [0, 0, 0, 1, ..])
}

/// Walks the NAL units of an Annex B byte stream (H.264 and H.265, annex B), trailing zeros cut off.
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    rest: &'a [u8],
}

/// The NAL units of an Annex B byte stream. What comes before the first start code is passed over.
pub fn annex_b(data: &[u8]) -> AnnexB<'_> {
    AnnexB { rest: start_code(data).and_then(|(_, tail)| data.get(tail..)).unwrap_or_default() }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (end, tail) = start_code(self.rest).unwrap_or((self.rest.len(), self.rest.len()));
            let unit = self.rest.get(..end)?;
            self.rest = self.rest.get(tail..)?;
            let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if let Some(unit) = unit.get(..len).filter(|unit| !unit.is_empty()) {
                return Some(unit);
            }
        }
        None
    }
}

/// Where the first start code (`00 00 01`) stands and where it ends.
fn start_code(data: &[u8]) -> Option<(usize, usize)> {
    // Looking for the 1 needs one comparison a byte; in coded data two zeros rarely stand before it.
    let mut from = 2;
    while let Some(found) = data.get(from..)?.iter().position(|byte| *byte == 1) {
        let one = from + found;
        if data.get(one - 2..one) == Some(&[0, 0]) {
            return Some((one - 2, one + 1));
        }
        from = one + 1;
    }
    None
}

/// Each unit preceded by its length in four bytes.
pub fn join<'a>(units: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let len = units.clone().map(|unit| 4 + unit.len()).sum();
    let mut joined = BytesMut::with_capacity(len);
    for unit in units {
        // A unit is a part of a message, and messages are bounded far below 4 GiB.
        joined.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
        joined.put_slice(unit);
    }
    joined.freeze()
}

/// Appends the units of a four-byte length-prefixed payload with four-byte start codes.
pub fn put_annex_b(payload: &[u8], out: &mut BytesMut) {
    for unit in units(payload, 4) {
        out.put_slice(&[0, 0, 0, 1]);
        out.put_slice(unit);
    }
}

/// The raw bytes of a NAL unit without its emulation prevention (H.264 §7.4.1), at most `len_max` of them.
pub fn unescape(unit: &[u8], len_max: usize) -> Vec<u8> {
    let mut raw = Vec::with_capacity(unit.len().min(len_max));
    let mut zeros = 0;
    for &byte in unit {
        if raw.len() == len_max {
            break;
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        raw.push(byte);
    }
    raw
}

/// Appends raw bytes with emulation prevention (H.264 §7.4.1): the counterpart of [`unescape`].
pub fn escape(raw: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for &byte in raw {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_comes_back_and_looks_like_no_start_code() {
        for raw in [&[0, 0, 0, 0, 0, 1][..], &[0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4], &[1, 2, 3], &[]] {
            let mut out = Vec::new();
            escape(raw, &mut out);
            assert!(!out.windows(3).any(|three| three[..2] == [0, 0] && three[2] < 3), "{out:?}");
            assert_eq!(unescape(&out, 100), raw);
        }
    }

    #[test]
    fn annex_b_becomes_length_prefixed_and_comes_back() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 0, 1, 0x65, 9, 0, 0, 3, 1];
        let found: Vec<_> = annex_b(&stream).collect();
        assert_eq!(found, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 9, 0, 0, 3, 1]]);
        let joined = join(annex_b(&stream));
        assert_eq!(units(&joined, 4).collect::<Vec<_>>(), found);
        let mut back = BytesMut::new();
        put_annex_b(&joined, &mut back);
        assert_eq!(annex_b(&back).collect::<Vec<_>>(), found);
    }

    #[test]
    fn short_lengths_are_read() {
        for (size, payload) in
            [(1, &[2, 7, 8, 1, 9][..]), (2, &[0, 2, 7, 8, 0, 1, 9]), (3, &[0, 0, 2, 7, 8, 0, 0, 1, 9])]
        {
            assert_eq!(units(payload, size).collect::<Vec<_>>(), [&[7, 8][..], &[9]]);
            assert!(is_length_prefixed(payload, size));
        }
    }

    #[test]
    fn a_length_past_the_end_ends_the_walk() {
        let payload = [0, 0, 0, 1, 9, 0, 0, 0, 5, 1];
        let mut walk = units(&payload, 4);
        assert_eq!(walk.next(), Some(&[9][..]));
        assert_eq!((walk.next(), walk.is_broken(), walk.whole()), (None, true, 5));
        assert_eq!(walk.next(), None);
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        assert_eq!(unescape(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3], 99), [1, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescape(&[1, 2, 3], 2), [1, 2]);
    }
}
