//! Which streams a permission is for: `live/cam`, `live/*`, `live/cam-*`, `**`.
//!
//! `*` stands for any characters within one level of a key, `**` as a whole level for any number of levels, and `*`
//! alone for every stream. Matching costs at most the product of both lengths, whatever the pattern.

use std::str::FromStr;

/// Bytes of a pattern: no key is longer.
const PATTERN_BYTES_MAX: usize = 512;

/// A pattern of stream keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty.
    #[error("a pattern of streams is missing, like live/cam, live/* or *")]
    Empty,
    /// Longer than any key.
    #[error("a pattern of streams has {PATTERN_BYTES_MAX} bytes at most")]
    Long,
    /// It could never fit.
    #[error("a pattern of streams has an app and a name, like live/cam or live/*; `*` alone is every stream")]
    Shape,
}

impl Pattern {
    /// Whether `key` is meant.
    pub fn fits(&self, key: &str) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let levels: Vec<&str> = key.split('/').collect();
        fits(
            &pattern,
            &levels,
            |piece| *piece == "**",
            |piece, level| {
                fits(piece.as_bytes(), level.as_bytes(), |byte| *byte == b'*', |one, other| one == other)
            },
        )
    }
}

/// Whether `pattern` fits `text`, where what `is_star` stands for any number of items. Only the last star needs to be
/// tried again: what an earlier one takes more, the last one can take as well.
fn fits<T>(pattern: &[T], text: &[T], is_star: impl Fn(&T) -> bool, same: impl Fn(&T, &T) -> bool) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(item) = text.get(read) {
        match pattern.get(at) {
            Some(piece) if is_star(piece) => {
                star = Some((at, read));
                at += 1;
            }
            Some(piece) if same(piece, item) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                at = back + 1;
                read = taken + 1;
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(is_star)
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim().trim_matches('/');
        match text {
            "" => Err(PatternError::Empty),
            _ if text.len() > PATTERN_BYTES_MAX => Err(PatternError::Long),
            "*" | "**" => Ok(Self("**".into())),
            _ if !text.contains('/') || text.split('/').any(str::is_empty) => Err(PatternError::Shape),
            _ => Ok(Self(text.into())),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, key: &str) -> bool {
        pattern.parse::<Pattern>().expect(pattern).fits(key)
    }

    #[test]
    fn a_star_is_any_characters_of_one_level() {
        assert!(
            fits("live/cam", "live/cam") && !fits("live/cam", "live/cam2") && !fits("live/cam", "Live/cam")
        );
        assert!(fits("live/*", "live/cam") && !fits("live/*", "live/a/b") && !fits("live/*", "other/cam"));
        assert!(fits("live/cam-*-hd", "live/cam-1-2-hd") && !fits("live/cam-*-hd", "live/cam-hd"));
        assert!(fits("*/cam", "live/cam") && !fits("*/cam", "a/b/cam"));
    }

    #[test]
    fn two_stars_are_any_levels_and_one_alone_is_every_stream() {
        for pattern in ["*", "**"] {
            assert!(fits(pattern, "live/cam") && fits(pattern, "a/b/c"));
        }
        assert!(fits("live/**", "live/cam") && fits("live/**", "live/a/b") && !fits("live/**", "other/cam"));
        assert!(fits("**/cam", "a/b/cam") && fits("a/**/cam", "a/cam") && !fits("a/**/cam", "a/cam2"));
    }

    #[test]
    fn what_could_never_fit_is_no_pattern() {
        for (text, error) in [
            ("", PatternError::Empty),
            ("/", PatternError::Empty),
            ("live", PatternError::Shape),
            ("live//cam", PatternError::Shape),
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(error), "{text}");
        }
        assert_eq!(format!("a/{}", "*".repeat(600)).parse::<Pattern>(), Err(PatternError::Long));
    }

    #[test]
    fn many_stars_cost_no_more_than_both_lengths() {
        let pattern: Pattern = format!("live/{}b", "*a".repeat(200)).parse().unwrap();
        assert!(!pattern.fits(&format!("live/{}", "a".repeat(500))));
    }

    /// The definition, word for word.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), Some((_, tail))) => naive(rest, text) || naive(pattern, tail),
            (Some((b'*', rest)), None) => naive(rest, text),
            (Some((one, rest)), Some((other, tail))) => one == other && naive(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_fits_where_the_definition_does(pattern in "[ab*]{1,8}", name in "[ab]{1,8}") {
            // As a whole level, two stars mean more.
            prop_assume!(pattern != "**");
            let whole = fits(&format!("live/{pattern}"), &format!("live/{name}"));
            prop_assert_eq!(whole, naive(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
