//! The publisher's clock inside a picture: an SEI message of unregistered user data (H.264 clause D.1.7).
//!
//! Servers pass such units through, so a player can tell when the picture that it got was sent, which one it is, and of
//! which stream. Fields are written in groups of seven bits with the top bit set, so that no emulation prevention is
//! needed and the unit has always the same length.

/// Whose user data this is.
const UUID: [u8; 16] =
    [0x73, 0x68, 0xa1, 0x72, 0x64, 0xc2, 0x4d, 0x61, 0x92, 0x6b, 0xe5, 0x72, 0x9d, 0x31, 0xf0, 0x8e];
/// Bytes of each field, seven bits each: run, stream, picture, time.
const FIELDS: [usize; 4] = [8, 5, 6, 10];
const FIELDS_BYTES: usize = 8 + 5 + 6 + 10;
/// NAL header, payload type, payload size, then the payload and the trailing bits.
const HEAD: [u8; 3] = [0x06, 0x05, (UUID.len() + FIELDS_BYTES) as u8];
/// Bytes of the whole NAL unit.
pub const UNIT_BYTES: usize = HEAD.len() + UUID.len() + FIELDS_BYTES + 1;
/// How far into a picture a marker is looked for: parameter sets and delimiters may come before it.
const SEARCH_BYTES: usize = 2_048;

/// What a picture tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Tells runs of this tool apart; 56 bits.
    pub run: u64,
    /// The stream's number.
    pub stream: u32,
    /// Pictures of the stream before this one; 42 bits.
    pub picture: u64,
    /// When it was sent, on [`crate::clock`].
    pub sent_ns: u64,
}

impl Marker {
    /// The NAL unit.
    pub fn unit(&self) -> [u8; UNIT_BYTES] {
        let mut unit = [0x80; UNIT_BYTES];
        let values = [self.run, u64::from(self.stream), self.picture, self.sent_ns];
        let fields = FIELDS.iter().zip(values).flat_map(|(&bytes, value)| {
            (0..bytes).rev().map(move |n| 0x80 | (value >> (7 * n) & 0x7f) as u8)
        });
        let whole = HEAD.into_iter().chain(UUID).chain(fields);
        unit.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        unit
    }

    /// The marker near the start of a picture, whatever its units are wrapped in.
    pub fn find(picture: &[u8]) -> Option<Self> {
        let near = picture.get(..SEARCH_BYTES.min(picture.len()))?;
        let first = UUID.first()?;
        let mut rest = near;
        loop {
            let at = rest.iter().position(|byte| byte == first)?;
            rest = rest.get(at..)?;
            if let Some(fields) = rest.strip_prefix(&UUID) {
                return Self::read(fields.get(..FIELDS_BYTES)?);
            }
            rest = rest.get(1..)?;
        }
    }

    fn read(mut fields: &[u8]) -> Option<Self> {
        let mut values = [0_u64; 4];
        for (value, &bytes) in values.iter_mut().zip(&FIELDS) {
            let (field, rest) = fields.split_at_checked(bytes)?;
            if field.iter().any(|byte| byte & 0x80 == 0) {
                return None;
            }
            *value = field.iter().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
            fields = rest;
        }
        let [run, stream, picture, sent_ns] = values;
        Some(Self { run, stream: u32::try_from(stream).ok()?, picture, sent_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_marker_comes_out_as_it_went_in(
            run in 0_u64..1 << 56, stream: u32, picture in 0_u64..1 << 42, sent_ns: u64,
            before in prop::collection::vec(any::<u8>(), 0..200), after in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let marker = Marker { run, stream, picture, sent_ns };
            let unit = marker.unit();
            prop_assert!(!unit.contains(&0), "nothing that would need emulation prevention");
            let body = [&before[..], &unit, &after].concat();
            prop_assert_eq!(Marker::find(&body), Some(marker));
            for len in 0..before.len() + unit.len() - 1 {
                prop_assert_eq!(Marker::find(&body[..len]), None);
            }
        }

        #[test]
        fn noise_has_no_marker(noise in prop::collection::vec(any::<u8>(), 0..3_000)) {
            prop_assert_eq!(Marker::find(&noise), None);
        }
    }

    #[test]
    fn a_marker_that_is_damaged_or_far_away_is_none() {
        let mut unit = Marker { run: 1, stream: 2, picture: 3, sent_ns: 4 }.unit();
        let far = [&vec![9; SEARCH_BYTES][..], &unit].concat();
        assert_eq!(Marker::find(&far), None);
        unit[HEAD.len() + UUID.len() + 3] = 0x05;
        assert_eq!(Marker::find(&unit), None);
    }
}
