//! A stream's name: `app/name`, checked once, cheap to clone.
//!
//! Invariant: no segment is empty, `.` or `..`; no control character, `?`, `#` or backslash; at most
//! [`KEY_BYTES_MAX`] bytes. So a key can stand in a URL, a log line and a path.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest key, in bytes of UTF-8: room for any sane path, small enough to log and to hold 100,000 of.
pub const KEY_BYTES_MAX: usize = 512;

/// `app/name`. The app may have several levels: `a/b/c` is `c` of `a/b`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    text: Arc<str>,
    /// Where `app` ends.
    split: u16,
}

/// Why a text names no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Only one level.
    #[error("a stream needs an app and a name: app/name")]
    NoApp,
    /// `//`, a lone `/` or nothing at all.
    #[error("a level of the stream's path is empty")]
    Empty,
    /// `.` or `..`.
    #[error("'.' and '..' are not allowed in a stream's path")]
    Dots,
    /// Longer than 512 bytes.
    #[error("the stream's path has {0} bytes; at most 512 are allowed")]
    TooLong(usize),
    /// A character that keys exclude.
    #[error("the character {0:?} is not allowed in a stream's path")]
    Character(char),
}

impl StreamKey {
    /// From its two parts. Leading and trailing slashes of both are ignored.
    ///
    /// # Errors
    /// When a level is missing or holds what keys exclude.
    pub fn new(app: &str, name: &str) -> Result<Self, KeyError> {
        let (app, name) = (app.trim_matches('/'), name.trim_matches('/'));
        let len = app.len() + 1 + name.len();
        if len > KEY_BYTES_MAX {
            return Err(KeyError::TooLong(len));
        }
        if app.is_empty() {
            return Err(KeyError::NoApp);
        }
        let text: Arc<str> = format!("{app}/{name}").into();
        for level in text.split('/') {
            match level {
                "" => return Err(KeyError::Empty),
                "." | ".." => return Err(KeyError::Dots),
                _ => {}
            }
        }
        if let Some(c) = text.chars().find(|c| c.is_control() || matches!(c, '?' | '#' | '\\')) {
            return Err(KeyError::Character(c));
        }
        let split = text.rfind('/').unwrap_or(0) as u16;
        Ok(Self { text, split })
    }

    /// Everything before the last level.
    pub fn app(&self) -> &str {
        &self.text[..usize::from(self.split)]
    }

    /// The last level.
    pub fn name(&self) -> &str {
        &self.text[usize::from(self.split) + 1..]
    }

    /// `app/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for StreamKey {
    type Err = KeyError;

    /// `live/cam`, however a client spells it: `/live/cam`, `live/cam?token=…`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let path = text.split_once('?').map_or(text, |(path, _)| path).trim_matches('/');
        let (app, name) = path.rsplit_once('/').ok_or(KeyError::NoApp)?;
        Self::new(app, name)
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<StreamKey, KeyError> {
        text.parse()
    }

    #[test]
    fn a_key_is_the_same_however_it_is_spelled() {
        let plain = key("live/cam").unwrap();
        for text in ["/live/cam", "live/cam/", "live//cam", "live/cam?token=1", "/live/cam?a=/b"] {
            assert_eq!(key(text), Ok(plain.clone()), "{text}");
        }
        assert_eq!((plain.app(), plain.name()), ("live", "cam"));
    }

    #[test]
    fn an_app_may_have_several_levels() {
        let deep = key("a/b/c").unwrap();
        assert_eq!((deep.app(), deep.name()), ("a/b", "c"));
        assert_eq!(StreamKey::new("a", "b/c"), Ok(deep));
    }

    #[test]
    fn what_names_no_stream_is_told_so() {
        assert_eq!(key("cam"), Err(KeyError::NoApp));
        assert_eq!(key(""), Err(KeyError::NoApp));
        assert_eq!(key("a//b/cam"), Err(KeyError::Empty));
        assert_eq!(StreamKey::new("live", ""), Err(KeyError::Empty));
        assert_eq!(key("live/../etc"), Err(KeyError::Dots));
        assert_eq!(key("live/a\nb"), Err(KeyError::Character('\n')));
        assert_eq!(StreamKey::new("live", &"x".repeat(600)), Err(KeyError::TooLong(605)));
    }
}
