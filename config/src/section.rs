//! How a layer is laid over the schema: sections take keys, leaves take values, everything wrong is noted.
//!
//! `section!` writes a struct, its defaults and its keys from one list, so that they cannot drift apart.

use crate::{
    error::{Errors, Fault, Problem},
    node::{Node, printable},
    origin::{Layer, Origins},
    schema::Config,
    suggest::nearest,
};
use std::ops::RangeInclusive;

/// Something a key may hold: a section or a leaf.
pub(crate) trait Setting: Sized {
    /// Takes what `node` says; what it cannot take stays as it was and is noted.
    fn apply(&mut self, node: &Node, range: Option<RangeInclusive<Self>>, at: &mut Apply<'_>);
}

/// A value without keys of its own.
pub(crate) trait Leaf: Sized {
    /// The value that `node` means.
    ///
    /// # Errors
    /// When it means none, or one outside `range`.
    fn read(node: &Node, range: Option<RangeInclusive<Self>>) -> Result<Self, Refusal>;
}

/// What a leaf would have taken instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub allowed: String,
    pub hint: Option<String>,
}

impl<T: Leaf> Setting for T {
    fn apply(&mut self, node: &Node, range: Option<RangeInclusive<Self>>, at: &mut Apply<'_>) {
        match T::read(node, range) {
            Ok(value) => {
                *self = value;
                at.origins.insert(at.path.join("."), at.layer.clone());
            }
            Err(Refusal { allowed, hint }) => at.blame(Fault::Value { found: node.found(), allowed, hint }),
        }
    }
}

/// One layer on its way over the schema, and the key where it stands.
pub(crate) struct Apply<'a> {
    pub layer: &'a Layer,
    pub origins: &'a mut Origins,
    pub errors: &'a mut Errors,
    path: Vec<String>,
}

impl<'a> Apply<'a> {
    pub fn new(layer: &'a Layer, origins: &'a mut Origins, errors: &'a mut Errors) -> Self {
        Self { layer, origins, errors, path: Vec::new() }
    }

    /// Notes what is wrong with the key where we stand.
    pub fn blame(&mut self, fault: Fault) {
        let (layer, path) = (self.layer, &self.path);
        self.errors.push(|| Problem {
            place: layer.origin(path).to_string(),
            key: printable(&path.join("."), 60),
            fault,
        });
    }

    /// What a section holds; nothing, with a note, when it is none. One whose keys are all commented out is empty.
    pub fn entries<'n>(&mut self, node: &'n Node, keys: &[&str]) -> &'n [(String, Node)] {
        match node {
            Node::Map(entries) => entries,
            Node::Null => &[],
            _ => {
                let allowed = format!("a section with {}", keys.join(", "));
                self.blame(Fault::Value { found: node.found(), allowed, hint: None });
                &[]
            }
        }
    }

    /// Goes into `key` and comes back.
    pub fn field<T: Setting>(
        &mut self,
        key: &str,
        field: &mut T,
        node: &Node,
        range: Option<RangeInclusive<T>>,
    ) {
        self.path.push(key.to_owned());
        field.apply(node, range, self);
        self.path.pop();
    }

    /// A key that this section does not have: a slip of one of its own, or one that lives elsewhere.
    pub fn unknown(&mut self, key: &str, keys: &[&str]) {
        let near = nearest(key, keys.iter().copied()).map(str::to_owned).or_else(|| elsewhere(key));
        self.path.push(key.to_owned());
        self.blame(Fault::Unknown { allowed: keys.join(", "), near });
        self.path.pop();
    }
}

/// The path of a key of this name in another section.
fn elsewhere(key: &str) -> Option<String> {
    leaves().into_iter().find(|path| path.rsplit('.').next() == Some(key))
}

/// The paths of all leaves, `rtmp.port` and the like, in the order of the schema.
pub(crate) fn leaves() -> Vec<String> {
    fn walk(value: &serde_yaml::Value, path: &str, found: &mut Vec<String>) {
        let serde_yaml::Value::Mapping(section) = value else {
            return found.push(path.to_owned());
        };
        for (key, value) in section {
            let key = key.as_str().unwrap_or_default();
            let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            walk(value, &path, found);
        }
    }
    let mut found = Vec::new();
    // As deep as the schema, which is ours.
    serde_yaml::to_value(Config::default()).iter().for_each(|value| walk(value, "", &mut found));
    found
}

/// A struct whose fields are keys: `pub name: Type = default, range;`.
macro_rules! section {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty = $default:expr $(, $range:expr)?;)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::section::Setting for $name {
            fn apply(
                &mut self,
                node: &$crate::node::Node,
                _: Option<std::ops::RangeInclusive<Self>>,
                at: &mut $crate::section::Apply<'_>,
            ) {
                const KEYS: &[&str] = &[$(stringify!($field)),+];
                for (key, value) in at.entries(node, KEYS) {
                    match key.as_str() {
                        $(stringify!($field) => {
                            let range = [$($range)?].into_iter().next();
                            at.field(key, &mut self.$field, value, range);
                        })+
                        _ => at.unknown(key, KEYS),
                    }
                }
            }
        }
    };
}
pub(crate) use section;
