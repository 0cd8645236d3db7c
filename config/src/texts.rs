//! A list of short texts: addresses, URLs, names.

use crate::{
    node::Node,
    section::{Leaf, Refusal},
};
use serde::{Serialize, Serializer};
use std::{fmt, ops::RangeInclusive};

/// The most items of one list; no list here has a use for more.
const ITEMS_MAX: usize = 64;

/// A list like `[a, b]`; one text alone is a list of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(Vec<String>);

impl Texts {
    /// These texts.
    pub fn of(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    /// Each text.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Leaf for Texts {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        let refusal = || Refusal {
            allowed: format!("a list of at most {ITEMS_MAX} texts, like [a, b]; [] for none"),
            hint: None,
        };
        let text = |node: &Node| match node {
            Node::Scalar(text) if !text.trim().is_empty() && !text.contains(char::is_control) => {
                Ok(text.trim().to_owned())
            }
            _ => Err(refusal()),
        };
        match node {
            Node::List(items) if items.len() <= ITEMS_MAX => {
                items.iter().map(text).collect::<Result<_, _>>().map(Self)
            }
            Node::Scalar(one) if one.trim().is_empty() => Ok(Self::default()),
            Node::Scalar(_) => Ok(Self(vec![text(node)?])),
            _ => Err(refusal()),
        }
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Display for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_list_and_one_text_is_a_list_of_one() {
        let read = |text: &str| Texts::read(&Node::from_plain(text).unwrap(), None);
        assert_eq!(read("[a, b]"), Ok(Texts::of(&["a", "b"])));
        assert_eq!(read("192.0.2.1"), Ok(Texts::of(&["192.0.2.1"])));
        assert_eq!(read("[]"), Ok(Texts::default()));
        assert_eq!(read(""), Ok(Texts::default()));
        assert!(read("[[a]]").is_err());
        assert!(read("[\"\"]").is_err());
        assert!(Texts::read(&Node::List(vec![Node::Scalar("x".into()); 65]), None).is_err());
    }
}
