//! What is wrong with a configuration: all of it at once, each with its place.
//!
//! Invariant: texts are short and printable, and at most [`PROBLEMS_MAX`] problems are kept.

use std::fmt;

/// The most problems that are told; a longer list helps nobody.
pub(crate) const PROBLEMS_MAX: usize = 32;

/// Everything that is wrong, in the order of the layers. Prints one line per problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    problems: Vec<Problem>,
    untold: usize,
}

impl Errors {
    /// What is wrong, first come first.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Keeps what `problem` makes, as long as there is room; finding its line costs a reading of the file.
    pub(crate) fn push(&mut self, problem: impl FnOnce() -> Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem());
        } else {
            self.untold = self.untold.saturating_add(1);
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let end_of_last = if i == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{problem}")?;
        }
        if self.untold > 0 {
            write!(f, "\nand {} more", self.untold)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written: `FILE:LINE`, a variable's name, or `--set …`.
    pub place: String,
    /// The key's path, `rtmp.port`; empty where no key is to blame.
    pub key: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.place, self.fault),
            key => write!(f, "{}: {key}: {}", self.place, self.fault),
        }
    }
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file cannot be opened, is too large or is no text.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is no YAML, or `--set` is no `key.path=value`.
    #[error("{0}")]
    Syntax(String),
    /// No such key; the keys of its section, and the one that was probably meant.
    #[error("unknown key{}; allowed here: {allowed}", near.as_ref().map(|key| format!(", did you mean `{key}`?")).unwrap_or_default())]
    Unknown {
        /// The keys that may stand here.
        allowed: String,
        /// The key that was probably meant.
        near: Option<String>,
    },
    /// A value that its key cannot take.
    #[error("found {found}, allowed: {allowed}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
    Value {
        /// What was written.
        found: String,
        /// What may be written.
        allowed: String,
        /// What would mend it.
        hint: Option<String>,
    },
    /// Two values that exclude each other.
    #[error("{0}")]
    Contradiction(String),
}
