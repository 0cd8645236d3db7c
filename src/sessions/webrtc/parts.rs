//! H.265 pictures that come in parts: str0m takes the end of each fragmented NAL unit (RFC 7798 §4.4.3) for the end of the frame,
//! whatever the marker says. So what belongs to one time is put together here.
//!
//! What comes before a picture (parameter sets, long SEI) waits for it. Of a picture in several slices nobody can tell which is the
//! last before the next picture comes: as soon as a publisher has sent one, its pictures wait for that.
//! Invariant: what is handed out holds one picture, beginning with its first slice.

use std::time::Instant;

use crate::codecs::{h265, nal};

/// More of one time than this is no picture.
const BYTES_MAX: usize = 16 << 20;

/// What str0m calls a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// On RTP's clock.
    pub ticks: u64,
    /// When it arrived.
    pub arrived: Instant,
    /// Nothing is missing before it.
    pub contiguous: bool,
    /// In Annex B.
    pub data: Vec<u8>,
}

impl Part {
    fn append(&mut self, other: Self) {
        self.contiguous &= other.contiguous;
        if self.data.len() + other.data.len() <= BYTES_MAX {
            self.data.extend_from_slice(&other.data);
        }
    }

    /// Whether its first slice is a picture's first (§7.3.6.1); `None`: there is no slice in it.
    fn begins(&self) -> Option<bool> {
        /// VCL units come before all others (H.265 table 7-1).
        const VCL_END: u8 = 32;
        let slice = nal::annex_b(&self.data).find(|unit| h265::unit_type(unit) < VCL_END)?;
        slice.get(2).map(|first| first & 0x80 != 0)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Parts {
    held: Option<Part>,
    /// Pictures come in several slices.
    is_sliced: bool,
    is_torn: bool,
}

impl Parts {
    /// One more part; a picture that is whole now.
    pub fn take(&mut self, part: Part) -> Option<Part> {
        let begins = part.begins();
        let held = self.held.take();
        let (same, before) = match held {
            Some(held) if held.ticks == part.ticks => (Some(held), None),
            // What never became a picture is let go.
            held => (None, held.filter(|held| held.begins().is_some())),
        };
        let has_picture = same.as_ref().is_some_and(|same| same.begins().is_some());
        if begins == Some(false) && !has_picture {
            // The picture that this belongs to has gone already.
            (self.is_sliced, self.is_torn) = (true, true);
            return before;
        }
        let joined = match same {
            Some(mut same) => {
                same.append(part);
                same
            }
            None => part,
        };
        if begins == Some(true) && !self.is_sliced {
            return Some(joined);
        }
        self.held = Some(joined);
        before
    }

    /// Whether a picture was handed out before all its slices were there, since the last time of asking.
    pub fn take_torn(&mut self) -> bool {
        std::mem::take(&mut self.is_torn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(kind: u8, first: bool) -> Vec<u8> {
        vec![0, 0, 0, 1, kind << 1, 1, if first { 0x80 } else { 0x40 }, 7]
    }

    fn part(ticks: u64, units: &[Vec<u8>]) -> Part {
        Part { ticks, arrived: Instant::now(), contiguous: true, data: units.concat() }
    }

    #[test]
    fn whole_pictures_pass_at_once_with_what_came_before_them() {
        let (sei, key, inter) = (unit(39, true), unit(19, true), unit(1, true));
        let mut parts = Parts::default();
        assert_eq!(parts.take(part(0, &[sei.clone()])), None);
        let whole = parts.take(part(0, &[key.clone()])).expect("a picture");
        assert_eq!(whole.data, [sei.clone(), key].concat());
        assert_eq!(parts.take(part(1, &[inter.clone()])).expect("a picture").data, inter);
        // A message that no picture follows is lost, not put before another.
        assert_eq!(parts.take(part(2, &[sei])), None);
        assert_eq!(parts.take(part(3, &[inter.clone()])).expect("a picture").data, inter);
        assert!(!parts.take_torn());
    }

    #[test]
    fn slices_of_a_picture_are_put_together_once_it_is_known_that_there_are_some() {
        let (first, next) = (unit(1, true), unit(1, false));
        let mut parts = Parts::default();
        assert!(parts.take(part(0, &[first.clone()])).is_some());
        assert_eq!(parts.take(part(0, &[next.clone()])), None);
        assert!(parts.take_torn() && !parts.take_torn(), "half a picture was handed out");
        for ticks in 1..4 {
            let before = parts.take(part(ticks, &[first.clone()]));
            let expected = (ticks > 1).then(|| [first.clone(), next.clone(), next.clone()].concat());
            assert_eq!(before.map(|before| before.data), expected);
            assert_eq!(parts.take(part(ticks, &[next.clone()])), None);
            assert_eq!(parts.take(part(ticks, &[next.clone()])), None);
        }
        assert!(!parts.take_torn());
    }
}
