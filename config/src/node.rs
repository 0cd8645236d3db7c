//! A parsed layer before anything is known about its meaning: scalars, lists, sections.
//!
//! Invariant: however hostile the YAML (alias bombs, deep nesting, endless scalars), a tree holds at most
//! [`NODES_MAX`] nodes of [`SCALAR_BYTES_MAX`] bytes, [`DEPTH_MAX`] deep.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The most values in one layer, aliases counted as often as they are used: 40 times the schema.
pub(crate) const NODES_MAX: usize = 4_096;
/// The deepest nesting: twice what the schema needs, far from any stack's end.
pub(crate) const DEPTH_MAX: usize = 8;
/// The longest scalar, in bytes: a path as long as Linux takes.
pub(crate) const SCALAR_BYTES_MAX: usize = 4_096;

/// One value of a layer. Scalars stay text: the key that takes one knows what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// `key:` with nothing behind it, or `~`.
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// A whole YAML document.
    ///
    /// # Errors
    /// When it is no YAML, holds a key twice, or passes a bound of this module.
    pub fn from_yaml(text: &str) -> Result<Self, serde_yaml::Error> {
        let mut nodes_left = NODES_MAX;
        let seed = Tree { nodes_left: &mut nodes_left, depth: 0 };
        seed.deserialize(serde_yaml::Deserializer::from_str(text))
    }

    /// What a variable or `--set` holds: text as it stands, or a YAML list or section in brackets.
    ///
    /// # Errors
    /// As [`Node::from_yaml`], and only for text in brackets.
    pub fn from_plain(text: &str) -> Result<Self, serde_yaml::Error> {
        match text.trim_start().chars().next() {
            Some('[' | '{') => Self::from_yaml(text),
            _ if text.len() > SCALAR_BYTES_MAX => Err(serde_yaml::Error::custom(too_long(text.len()))),
            _ => Ok(Self::Scalar(text.to_owned())),
        }
    }

    /// What an error says was found.
    pub fn found(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Scalar(text) => quoted(text),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a section".into(),
        }
    }
}

/// In backticks, shortened, safe for a terminal and a log.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text, 60))
}

/// The first `chars_max` characters, those that control a terminal escaped.
pub(crate) fn printable(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(chars_max) {
        match c.is_control() {
            true => shown.extend(c.escape_debug()),
            false => shown.push(c),
        }
    }
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

fn too_long(len: usize) -> String {
    format!("a value has {len} bytes; at most {SCALAR_BYTES_MAX} are allowed")
}

struct Tree<'b> {
    nodes_left: &'b mut usize,
    depth: usize,
}

impl Tree<'_> {
    fn scalar<E: Error>(text: &str) -> Result<Node, E> {
        if text.len() > SCALAR_BYTES_MAX {
            return Err(E::custom(too_long(text.len())));
        }
        Ok(Node::Scalar(text.to_owned()))
    }

    fn deeper<E: Error>(&mut self) -> Result<Tree<'_>, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Tree { nodes_left: self.nodes_left, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let Some(left) = self.nodes_left.checked_sub(1) else {
            return Err(D::Error::custom(format!("more than {NODES_MAX} values")));
        };
        *self.nodes_left = left;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value, a list or a section")
    }

    /// A document without content.
    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    /// With its point (`1e3` is `1000.0`), so that it is never taken for a whole number.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(format!("{value:?}")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Self::scalar(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some(key) = access.next_key_seed(Key { seen: &entries })? {
            let value = access.next_value_seed(self.deeper()?)?;
            entries.push((key, value));
        }
        Ok(Node::Map(entries))
    }
}

/// A key of a section; refused while the parser still stands on it, so that the error has its line.
struct Key<'s> {
    seen: &'s [(String, Node)],
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        if text.len() > SCALAR_BYTES_MAX {
            return Err(E::custom(too_long(text.len())));
        }
        if self.seen.iter().any(|(seen, _)| seen == text) {
            return Err(E::custom(format!("the key {} is given twice", quoted(text))));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Node {
        Node::Scalar(text.into())
    }

    #[test]
    fn scalars_keep_what_was_written() {
        let tree =
            Node::from_yaml("a: 1935\nb: true\nc: 5s\nd: ''\ne:\nf: [0, x]\ng: 1e3\nh: '07'\n").unwrap();
        let expected = [
            ("a", scalar("1935")),
            ("b", scalar("true")),
            ("c", scalar("5s")),
            ("d", scalar("")),
            ("e", Node::Null),
            ("f", Node::List(vec![scalar("0"), scalar("x")])),
            ("g", scalar("1000.0")),
            ("h", scalar("07")),
        ];
        assert_eq!(tree, Node::Map(expected.map(|(key, value)| (key.to_owned(), value)).into()));
    }

    #[test]
    fn an_empty_document_says_nothing() {
        for text in ["", "\n\n", "# only a comment\n", "---\n", "~"] {
            assert_eq!(Node::from_yaml(text).unwrap(), Node::Null, "{text:?}");
        }
    }

    #[test]
    fn plain_text_needs_no_quotes() {
        assert_eq!(Node::from_plain("C: #x").unwrap(), scalar("C: #x"));
        assert_eq!(Node::from_plain("[0, 1]").unwrap(), Node::List(vec![scalar("0"), scalar("1")]));
        assert!(Node::from_plain("[0, 1").is_err());
        assert!(Node::from_plain(&"x".repeat(5_000)).is_err());
    }

    #[test]
    fn a_key_given_twice_is_named_with_the_second_line() {
        let error = Node::from_yaml("rtmp:\n  port: 1\n  enable: true\n  port: 2\n").unwrap_err();
        assert!(error.to_string().contains("`port` is given twice"), "{error}");
        assert_eq!(error.location().unwrap().line(), 4);
    }

    #[test]
    fn what_is_shown_is_short_and_printable() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert_eq!(quoted(&"é".repeat(100)).chars().count(), 63);
    }
}
