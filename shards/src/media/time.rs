//! Media time: microseconds in a signed 64-bit integer, and the unwrapping of 32-bit wire clocks.
//!
//! Invariant: arithmetic never wraps in a life of the server (2^63 µs is 292,000 years).

use std::ops::{Add, AddAssign, Sub};

/// Microseconds on a stream's own clock; 90 kHz and 48 kHz clocks survive the round trip exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Where a stream's clock begins.
    pub const ZERO: Self = Self(0);

    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds, the unit of RTMP and FLV.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000)
    }

    /// In microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// In milliseconds, rounded to the nearest.
    pub const fn millis(self) -> i64 {
        (self.0 + 500).div_euclid(1_000)
    }

    /// From ticks of a clock of `hz`, rounded to the nearest microsecond.
    pub const fn from_ticks(ticks: i64, hz: u32) -> Self {
        let hz = hz as i128;
        Self(((ticks as i128 * 1_000_000 + hz / 2).div_euclid(hz)) as i64)
    }

    /// In ticks of a clock of `hz`, rounded to the nearest.
    pub const fn to_ticks(self, hz: u32) -> i64 {
        ((self.0 as i128 * hz as i128 + 500_000).div_euclid(1_000_000)) as i64
    }
}

impl Add for Timestamp {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Timestamp {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Timestamp {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

/// Carries a 32-bit wire clock past its wrap: each value is taken as the nearest to the one before it.
///
/// One per connection, shared by its tracks, so that a wrap moves audio and video together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrap {
    last: Option<i64>,
}

impl Unwrap {
    /// The full value of `wire`; the first one is itself.
    pub fn next(&mut self, wire: u32) -> i64 {
        let full = match self.last {
            None => i64::from(wire),
            Some(last) => last + i64::from(wire.wrapping_sub(last as u32) as i32),
        };
        self.last = Some(full);
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_the_common_clocks_survive_the_round_trip() {
        for hz in [90_000, 48_000, 44_100, 1_000] {
            for ticks in [0, 1, 2, 3, 1_023, 3_003, 1 << 40, -1, -3_003] {
                assert_eq!(Timestamp::from_ticks(ticks, hz).to_ticks(hz), ticks, "{ticks} at {hz} Hz");
            }
        }
    }

    #[test]
    fn millis_round_to_the_nearest() {
        assert_eq!(Timestamp::from_micros(1_499).millis(), 1);
        assert_eq!(Timestamp::from_micros(1_500).millis(), 2);
        assert_eq!(Timestamp::from_micros(-1_499).millis(), -1);
    }

    #[test]
    fn a_clock_that_wraps_goes_on() {
        let mut unwrap = Unwrap::default();
        assert_eq!(unwrap.next(u32::MAX - 10), 4_294_967_285);
        assert_eq!(unwrap.next(5), 4_294_967_301);
        assert_eq!(unwrap.next(u32::MAX), 4_294_967_295, "a straggler from before the wrap");
        assert_eq!(unwrap.next(40), 4_294_967_336);
    }
}
