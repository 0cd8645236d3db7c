//! Texts that are nobody's business: tokens, passwords, keys.
//!
//! Invariant: neither `Debug`, `Display` nor what is printed of the configuration shows one. What stands in its place tells
//! two secrets apart while this process lives, so that a change is seen, and is refused when it is read as a value.

use crate::{
    node::Node,
    section::{Leaf, Refusal},
    texts::Texts,
};
use serde::{Serialize, Serializer};
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    sync::LazyLock,
};

/// What stands in the place of a secret begins so.
const HIDDEN: &str = "(hidden ";

/// Another one in each process, so that what is shown cannot be tried out at home.
static SALT: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// One secret; empty: none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// A list of secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Texts);

fn hidden(text: &str) -> String {
    match text {
        "" => String::new(),
        // 32 bits: enough to tell a change, and nothing to find the secret by.
        text => format!("{HIDDEN}{:08x})", SALT.hash_one(text) as u32),
    }
}

fn refuse_hidden(text: &str) -> Result<(), Refusal> {
    match text.starts_with(HIDDEN) {
        false => Ok(()),
        true => Err(Refusal {
            allowed: "the secret itself".to_owned(),
            hint: Some("a printed configuration does not hold its secrets".to_owned()),
        }),
    }
}

impl Secret {
    /// The secret. Not for logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Secrets {
    /// The secrets. Not for logs.
    pub fn reveal(&self) -> impl Iterator<Item = &str> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Leaf for Secret {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        match node {
            Node::Scalar(text) if !text.contains(char::is_control) => {
                refuse_hidden(text)?;
                Ok(Self(text.clone()))
            }
            Node::Null => Ok(Self::default()),
            _ => Err(Refusal { allowed: "a text without control characters".to_owned(), hint: None }),
        }
    }
}

impl Leaf for Secrets {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        let texts = Texts::read(node, None)?;
        texts.iter().try_for_each(refuse_hidden)?;
        Ok(Self(texts))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hidden(&self.0).serialize(serializer)
    }
}

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(hidden))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", hidden(&self.0))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hidden(&self.0))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(hidden)).finish()
    }
}

impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0.iter().map(hidden).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::read(&Node::Scalar(text.to_owned()), None).unwrap()
    }

    #[test]
    fn a_secret_is_shown_nowhere_and_a_change_of_it_is() {
        let (one, other) = (secret("hunter2"), secret("hunter3"));
        let shown = [format!("{one}"), format!("{one:?}"), serde_yaml::to_string(&one).unwrap()];
        assert!(shown.iter().all(|text| !text.contains("hunter2") && text.contains("(hidden ")), "{shown:?}");
        assert_eq!(one.to_string(), secret("hunter2").to_string());
        assert_ne!(one.to_string(), other.to_string());
        assert_eq!(secret("").to_string(), "");
        let list = Secrets::read(&Node::from_plain("[hunter2, hunter3]").unwrap(), None).unwrap();
        let shown = [format!("{list}"), format!("{list:?}"), serde_yaml::to_string(&list).unwrap()];
        assert!(shown.iter().all(|text| !text.contains("hunter")), "{shown:?}");
        assert_eq!(list.reveal().collect::<Vec<_>>(), ["hunter2", "hunter3"]);
    }

    #[test]
    fn what_was_printed_is_not_taken_for_the_secret() {
        let printed = secret("hunter2").to_string();
        assert!(Secret::read(&Node::Scalar(printed.clone()), None).is_err());
        assert!(Secrets::read(&Node::List(vec![Node::Scalar(printed)]), None).is_err());
    }
}
