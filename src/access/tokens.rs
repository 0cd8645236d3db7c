//! Tokens that are written down: `publish live/* TOKEN`, one line for each permission.
//!
//! Invariant: only digests are kept, so that neither a dump nor the time of a look-up tells a token.

use std::collections::HashMap;

use shards::media::StreamKey;

use super::{Action, Actions, Digest, Pattern, PatternError, TOKEN_BYTES_MAX, digest};

/// A token that can be guessed in a day is none.
const TOKEN_BYTES_MIN: usize = 8;

/// Why a line grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three words.
    #[error("a permission is three words, like `publish live/cam TOKEN`")]
    Words,
    /// The first is none of three.
    #[error("a permission begins with publish, play or all")]
    Action,
    /// The second is no pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The third can be guessed.
    #[error("a token has {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} characters")]
    Length,
}

#[derive(Clone, Debug)]
struct Entry {
    actions: Actions,
    pattern: Pattern,
}

/// All permissions, by token.
#[derive(Clone, Default)]
pub struct Tokens(HashMap<Digest, Vec<Entry>>);

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// For this.
    Yes,
    /// For something else.
    Elsewhere,
    /// For nothing: it is unknown.
    No,
}

impl Tokens {
    /// From lines; empty ones and those that begin with `#` mean nothing.
    ///
    /// # Errors
    /// The number of a line that means nothing else, from 1, and why.
    pub fn parse<'t>(lines: impl Iterator<Item = &'t str>) -> Result<Self, (usize, TokenError)> {
        let mut tokens = Self::default();
        for (number, line) in (1..).zip(lines) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                tokens.add(line).map_err(|error| (number, error))?;
            }
        }
        Ok(tokens)
    }

    fn add(&mut self, line: &str) -> Result<(), TokenError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [action, pattern, token] = words[..] else { return Err(TokenError::Words) };
        let actions = Actions::of(action).ok_or(TokenError::Action)?;
        let pattern = pattern.parse()?;
        if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) {
            return Err(TokenError::Length);
        }
        self.0.entry(digest(token.as_bytes())).or_default().push(Entry { actions, pattern });
        Ok(())
    }

    /// These as well.
    pub fn extend(&mut self, more: Self) {
        for (digest, entries) in more.0 {
            self.0.entry(digest).or_default().extend(entries);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `token` is good for.
    pub(super) fn look(&self, token: &str, action: Action, key: &StreamKey) -> Fit {
        match self.0.get(&digest(token.as_bytes())) {
            None => Fit::No,
            Some(entries) => {
                let fits = |entry: &Entry| entry.actions.has(action) && entry.pattern.fits(key.as_str());
                if entries.iter().any(fits) { Fit::Yes } else { Fit::Elsewhere }
            }
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_what_its_lines_say_and_for_nothing_else() {
        let text = "# cameras\npublish live/cam-* cameras-1\n\nplay live/* cameras-1\nall demo/x everything";
        let tokens = Tokens::parse(text.lines()).unwrap();
        let look = |token: &str, action, key: &str| tokens.look(token, action, &key.parse().unwrap());
        assert_eq!(look("cameras-1", Action::Publish, "live/cam-1"), Fit::Yes);
        assert_eq!(look("cameras-1", Action::Publish, "live/other"), Fit::Elsewhere);
        assert_eq!(look("cameras-1", Action::Play, "live/other"), Fit::Yes);
        assert_eq!(look("everything", Action::Publish, "demo/x"), Fit::Yes);
        assert_eq!(look("everything", Action::Play, "demo/x"), Fit::Yes);
        assert_eq!(look("cameras-", Action::Play, "live/other"), Fit::No);
        assert_eq!(look("", Action::Play, "live/other"), Fit::No);
    }

    #[test]
    fn a_line_that_grants_nothing_is_named() {
        for (line, error) in [
            ("publish live/cam", TokenError::Words),
            ("publish live/cam token-one two", TokenError::Words),
            ("watch live/cam token-one", TokenError::Action),
            ("play live token-one", TokenError::Pattern(PatternError::Shape)),
            ("play live/cam short", TokenError::Length),
        ] {
            assert_eq!(Tokens::parse(["", line].into_iter()).err(), Some((2, error)), "{line}");
        }
    }

    #[test]
    fn no_token_is_shown() {
        let tokens = Tokens::parse(["play live/* hunter2hunter2"].into_iter()).unwrap();
        assert_eq!(format!("{tokens:?}"), "1 tokens");
    }
}
