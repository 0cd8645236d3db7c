//! Numbers that wear their unit: durations, sizes in bytes, bits a second, pictures in pixels.
//!
//! Invariant: what is printed reads back as the same value, and no number is taken without its unit.

use std::{fmt, str::FromStr, time::Duration};

/// Why a text is no duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Digits and nothing behind them.
    #[error("add a unit")]
    NoUnit,
    /// It does not begin with a whole number.
    #[error("begin with a whole number")]
    NoNumber,
    /// A unit that is not ours; the one that differs only in upper and lower case.
    #[error("the unit is {0}")]
    Spelling(&'static str),
    /// A unit that is not ours.
    #[error("the unit is unknown")]
    Unknown,
    /// More than 64 bits hold.
    #[error("the number is too large")]
    TooLarge,
}

/// A unit's name and how many of the smallest unit it holds; the smallest comes first.
type Unit = (&'static str, u64);

const TIME: &[Unit] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const BYTES: &[Unit] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

const BIT_RATES: &[Unit] = &[("bps", 1), ("kbps", 1_000), ("Mbps", 1_000_000)];

fn parse(text: &str, units: &[Unit]) -> Result<u64, UnitError> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, name) = text.split_at(split);
    if digits.is_empty() {
        return Err(UnitError::NoNumber);
    }
    let name = name.trim_start();
    if name.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let Some((_, factor)) = units.iter().find(|(known, _)| *known == name) else {
        let twin = units.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        return Err(twin.map_or(UnitError::Unknown, |(known, _)| UnitError::Spelling(known)));
    };
    let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

/// In the unit that needs the smallest whole number: `60000` ms is `1m`, `60000` B is `60kB`.
fn render(value: u64, units: &[Unit], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let exact = units.iter().filter(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    let (name, factor) =
        exact.max_by_key(|(_, factor)| *factor).or(units.first()).copied().unwrap_or(("", 1));
    write!(f, "{}{name}", value / factor)
}

macro_rules! unit {
    ($type:ident, $units:ident) => {
        impl FromStr for $type {
            type Err = UnitError;

            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse(text, $units).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                render(self.0, $units, f)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

/// A duration of whole milliseconds, written `350ms`, `5s`, `2m` or `1h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(u64);

unit!(Millis, TIME);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// In milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// As the standard library's duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Whether it is `0ms`, which several keys read as "at once" or "never".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A number of bytes, written `60kB`, `16MiB` or `512B`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

unit!(ByteSize, BYTES);

impl ByteSize {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From kibibytes, 1,024 bytes each.
    pub const fn kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }

    /// From mebibytes, 1,048,576 bytes each.
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// In bytes, as sizes in memory are counted.
    pub const fn bytes(self) -> usize {
        // glommio and io_uring exist on 64-bit targets only, so nothing is cut off.
        self.0 as usize
    }

    /// Whether it is `0B`, which some keys read as "the kernel decides".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// Bits a second, written `128kbps` or `2Mbps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u64);

unit!(BitRate, BIT_RATES);

impl BitRate {
    /// From thousands of bits a second.
    pub const fn kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1_000))
    }

    /// In bits a second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

/// A picture's width and height in pixels, written `640x360`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PictureSize {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl FromStr for PictureSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (width, height) = text.trim().split_once('x').ok_or(UnitError::NoNumber)?;
        let side = |text: &str| text.parse::<u32>().map_err(|_| UnitError::NoNumber);
        Ok(Self { width: side(width)?, height: side(height)? })
    }
}

impl fmt::Display for PictureSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl serde::Serialize for PictureSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        assert_eq!("350ms".parse(), Ok(Millis::from_millis(350)));
        assert_eq!("2m".parse(), Ok(Millis::from_secs(120)));
        assert_eq!(" 5 s ".parse(), Ok(Millis::from_secs(5)));
        assert_eq!("16MiB".parse(), Ok(ByteSize::mib(16)));
        assert_eq!("60kB".parse(), Ok(ByteSize::from_bytes(60_000)));
        assert_eq!("128kbps".parse(), Ok(BitRate::kbps(128)));
        assert_eq!("640x360".parse(), Ok(PictureSize { width: 640, height: 360 }));
    }

    #[test]
    fn a_number_without_its_unit_is_refused() {
        assert_eq!("5".parse::<Millis>(), Err(UnitError::NoUnit));
        assert_eq!("0".parse::<ByteSize>(), Err(UnitError::NoUnit));
        assert_eq!("ms".parse::<Millis>(), Err(UnitError::NoNumber));
        assert_eq!("-5s".parse::<Millis>(), Err(UnitError::NoNumber));
        assert_eq!("1.5s".parse::<Millis>(), Err(UnitError::Unknown));
        assert_eq!("16mib".parse::<ByteSize>(), Err(UnitError::Spelling("MiB")));
        assert_eq!("99999999999999999999s".parse::<Millis>(), Err(UnitError::TooLarge));
        assert_eq!("18446744073709551615h".parse::<Millis>(), Err(UnitError::TooLarge));
        assert_eq!("640x".parse::<PictureSize>(), Err(UnitError::NoNumber));
    }

    #[test]
    fn the_unit_that_needs_the_smallest_number_is_printed() {
        assert_eq!(Millis::ZERO.to_string(), "0ms");
        assert_eq!(Millis::from_secs(90).to_string(), "90s");
        assert_eq!(Millis::from_secs(7_200).to_string(), "2h");
        assert_eq!(ByteSize::ZERO.to_string(), "0B");
        assert_eq!(ByteSize::kib(64).to_string(), "64KiB");
        assert_eq!(ByteSize::from_bytes(1_500).to_string(), "1500B");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(value: u64) {
            prop_assert_eq!(Millis(value).to_string().parse(), Ok(Millis(value)));
            prop_assert_eq!(ByteSize(value).to_string().parse(), Ok(ByteSize(value)));
            prop_assert_eq!(BitRate(value).to_string().parse(), Ok(BitRate(value)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = (text.parse::<Millis>(), text.parse::<ByteSize>(), text.parse::<PictureSize>());
        }
    }
}
