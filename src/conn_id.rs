//! A connection's name in every line about it.
//!
//! Invariant: eight characters of `a-z0-9`, so that it stands in a log line, a URL and a JSON string as it is.

use std::fmt;

/// The characters of an id: 36^8 ids, so that a million connections share one by a chance of 1 in 6.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Eight random characters that tell a connection from all others, for logs, answers and the API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId([u8; 8]);

impl ConnId {
    /// A new one; not for secrets, since it can be guessed.
    pub fn random() -> Self {
        Self(std::array::from_fn(|_| fastrand::choice(ALPHABET).copied().unwrap_or(b'0')))
    }

    /// One that somebody names; `None`: no connection is called so.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 8] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| ALPHABET.contains(byte)).then_some(Self(bytes))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_eight_plain_characters_and_differ() {
        let ids: HashSet<ConnId> = (0..1_000).map(|_| ConnId::random()).collect();
        assert_eq!(ids.len(), 1_000);
        for text in ["", "short", "UPPERCAS", "nine+char", "eight ch", "ééé12"] {
            assert_eq!(ConnId::parse(text), None, "{text}");
        }
        for id in ids {
            assert_eq!(ConnId::parse(id.as_str()), Some(id));
            assert_eq!(id.as_str().len(), 8);
            assert!(id.as_str().bytes().all(|byte| ALPHABET.contains(&byte)), "{id}");
        }
    }
}
