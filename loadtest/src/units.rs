//! Amounts as people write them: `10s`, `2M`, `500/s`, `20%`, `8KiB`; and how they are shown.
//!
//! Inside, times of metrics are milliseconds, sizes bytes, shares percent, rates a second.

use std::time::Duration;

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {what}")]
pub struct UnitError {
    text: String,
    what: &'static str,
}

fn error(text: &str, what: &'static str) -> UnitError {
    UnitError { text: text.to_owned(), what }
}

/// The number at the front and the unit behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '_'))).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.replace('_', "").parse().ok()?;
    Some((number, unit.trim())).filter(|(number, _)| number.is_finite())
}

/// `150ms`, `10s`, `2m`, `1h`, `80us`.
///
/// # Errors
/// When it is no time, negative, or has no unit; `0` needs none.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    const WHAT: &str = "time such as 150ms, 10s, 2m or 1h";
    let (number, unit) = split(text).ok_or_else(|| error(text, WHAT))?;
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "" if number == 0.0 => 0.0,
        _ => return Err(error(text, WHAT)),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| error(text, WHAT))
}

/// Two times, `1s..3s`, or one.
///
/// # Errors
/// As [`duration`], and when the second is less than the first.
pub fn duration_range(text: &str) -> Result<(Duration, Duration), UnitError> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (duration(low)?, duration(high)?);
    if low <= high { Ok((low, high)) } else { Err(error(text, "range of times, the shorter first")) }
}

/// `2M`, `200k`, `1.5Mbit/s`: bits a second, in steps of 1,000.
///
/// # Errors
/// When it is no such rate, or outside 1 kbit/s to 1 Gbit/s.
pub fn bit_rate(text: &str) -> Result<u64, UnitError> {
    const WHAT: &str = "bit rate such as 200k or 2M, from 1k to 1G";
    let (number, unit) = split(text).ok_or_else(|| error(text, WHAT))?;
    let unit = unit.trim_end_matches("bit/s").trim_end_matches("bps");
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" | "m" => 1e6,
        "G" | "g" => 1e9,
        _ => return Err(error(text, WHAT)),
    };
    let rate = number * factor;
    if (1e3..=1e9).contains(&rate) { Ok(rate as u64) } else { Err(error(text, WHAT)) }
}

/// `500/s`, `500`, `60/m`: a second.
///
/// # Errors
/// When it is no such rate, or not above 0.
pub fn rate(text: &str) -> Result<f64, UnitError> {
    const WHAT: &str = "rate such as 500/s or 30/m";
    let (number, unit) = split(text).ok_or_else(|| error(text, WHAT))?;
    let factor = match unit {
        "" | "/s" => 1.0,
        "/m" | "/min" => 1.0 / 60.0,
        _ => return Err(error(text, WHAT)),
    };
    if number > 0.0 && number <= 1e6 { Ok(number * factor) } else { Err(error(text, WHAT)) }
}

/// `20%` or `0.2`, as 0 to 1.
///
/// # Errors
/// When it is no share.
pub fn share(text: &str) -> Result<f64, UnitError> {
    const WHAT: &str = "share such as 20%";
    let (number, unit) = split(text).ok_or_else(|| error(text, WHAT))?;
    let value = match unit {
        "%" => number / 100.0,
        "" => number,
        _ => return Err(error(text, WHAT)),
    };
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(error(text, WHAT)) }
}

/// `8KiB`, `4MB`, `4096`.
///
/// # Errors
/// When it is no size.
pub fn bytes(text: &str) -> Result<u64, UnitError> {
    const WHAT: &str = "size such as 64KiB or 4MB";
    let (number, unit) = split(text).ok_or_else(|| error(text, WHAT))?;
    let factor = byte_unit(unit).or((unit.is_empty()).then_some(1.0)).ok_or_else(|| error(text, WHAT))?;
    if number >= 0.0 { Ok((number * factor) as u64) } else { Err(error(text, WHAT)) }
}

fn byte_unit(unit: &str) -> Option<f64> {
    Some(match unit {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    })
}

/// `1280x720`.
///
/// # Errors
/// When it is no size of a picture from 16x16 to 4096x2304, or odd.
pub fn picture_size(text: &str) -> Result<(u32, u32), UnitError> {
    const WHAT: &str = "picture size such as 1280x720, even, from 16x16 to 4096x2304";
    let parse = |side: &str, max: u32| {
        side.trim().parse::<u32>().ok().filter(|n| (16..=max).contains(n) && n.is_multiple_of(2))
    };
    let sizes = text.split_once('x').and_then(|(w, h)| Some((parse(w, 4_096)?, parse(h, 2_304)?)));
    sizes.ok_or_else(|| error(text, WHAT))
}

/// The sort of a metric: how it is written, compared and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Milliseconds.
    Millis,
    /// Bytes.
    Bytes,
    /// Percent.
    Percent,
    /// Bits a second.
    Bits,
    /// Milliseconds of CPU for each 10^9 bytes.
    MillisPerGb,
    /// Microseconds of CPU for each RTP packet.
    MicrosPerPacket,
}

impl Unit {
    /// A bound for a metric of this sort, as `--require` has it; a bare number is in the metric's own unit.
    pub fn parse(self, text: &str) -> Option<f64> {
        let (number, unit) = split(text)?;
        if unit.is_empty() {
            return Some(number);
        }
        let factor = match self {
            Self::Count => return None,
            Self::Millis | Self::MillisPerGb => match unit {
                "us" | "µs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" | "min" => 60e3,
                _ => return None,
            },
            Self::MicrosPerPacket => match unit {
                "ns" => 1e-3,
                "us" | "µs" => 1.0,
                "ms" => 1e3,
                _ => return None,
            },
            Self::Bytes => byte_unit(unit)?,
            Self::Percent if unit == "%" => 1.0,
            Self::Percent => return None,
            Self::Bits => match unit.trim_end_matches("bit/s") {
                "" => 1.0,
                "k" => 1e3,
                "M" => 1e6,
                "G" => 1e9,
                _ => return None,
            },
        };
        Some(number * factor)
    }

    /// A value of this sort, in about six characters and its unit.
    pub fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return "-".to_owned();
        }
        match self {
            Self::Count if value == value.trunc() => format!("{value}"),
            Self::Count => format!("{value:.2}"),
            Self::Millis if value.abs() >= 10_000.0 => format!("{:.1} s", value / 1e3),
            Self::Millis if value.abs() >= 100.0 => format!("{value:.0} ms"),
            Self::Millis if value.abs() >= 10.0 => format!("{value:.1} ms"),
            Self::Millis => format!("{value:.2} ms"),
            Self::Bytes => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]),
            Self::Percent => format!("{value:.1} %"),
            Self::Bits => scaled(value, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]),
            Self::MillisPerGb => format!("{value:.0} ms/GB"),
            Self::MicrosPerPacket => format!("{value:.2} us/packet"),
        }
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Millis => "ms",
            Self::Bytes => "bytes",
            Self::Percent => "%",
            Self::Bits => "bit/s",
            Self::MillisPerGb => "ms/GB",
            Self::MicrosPerPacket => "us/packet",
        }
    }
}

fn scaled(value: f64, step: f64, names: &[&str]) -> String {
    let (mut value, mut at) = (value, 0);
    while value.abs() >= step && at + 1 < names.len() {
        value /= step;
        at += 1;
    }
    let name = names.get(at).copied().unwrap_or_default();
    if at == 0 || value.abs() >= 100.0 { format!("{value:.0} {name}") } else { format!("{value:.2} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(duration("150ms"), Ok(Duration::from_millis(150)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration_range("1s..3s"), Ok((Duration::from_secs(1), Duration::from_secs(3))));
        assert_eq!(duration_range("2s").map(|(low, high)| low == high), Ok(true));
        assert_eq!(bit_rate("2M"), Ok(2_000_000));
        assert_eq!(bit_rate("200kbit/s"), Ok(200_000));
        assert_eq!(rate("500/s"), Ok(500.0));
        assert_eq!(rate("30/m"), Ok(0.5));
        assert_eq!(share("20%"), Ok(0.2));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("4096"), Ok(4_096));
        assert_eq!(picture_size("1280x720"), Ok((1_280, 720)));
    }

    #[test]
    fn what_is_no_amount_is_told() {
        for text in ["", "10", "s", "-1s", "1e3s", "99999999999999999999h", "1 fortnight"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration_range("3s..1s").is_err());
        for text in ["0", "2T", "10", "2G", "-2M"] {
            assert!(bit_rate(text).is_err(), "{text}");
        }
        assert!(rate("0/s").is_err() && rate("5/h").is_err() && share("120%").is_err());
        assert!(picture_size("1281x720").is_err() && picture_size("720").is_err());
        assert_eq!(
            duration("soon").unwrap_err().to_string(),
            "'soon' is no time such as 150ms, 10s, 2m or 1h"
        );
    }

    #[test]
    fn values_are_shown_with_their_unit() {
        assert_eq!(Unit::Millis.show(1.234), "1.23 ms");
        assert_eq!(Unit::Millis.show(12_345.0), "12.3 s");
        assert_eq!(Unit::Bytes.show(8_192.0), "8.00 KiB");
        assert_eq!(Unit::Bits.show(1e9), "1.00 Gbit/s");
        assert_eq!(Unit::Count.show(3.0), "3");
        assert_eq!(Unit::MicrosPerPacket.show(6.789), "6.79 us/packet");
        assert_eq!(
            (Unit::MicrosPerPacket.parse("7us"), Unit::MicrosPerPacket.parse("7")),
            (Some(7.0), Some(7.0))
        );
        assert_eq!(Unit::Percent.show(f64::NAN), "-");
    }
}
