//! How many shards there are and on which CPUs.

use crate::{
    node::Node,
    section::{Leaf, Refusal},
};
use serde::{Serialize, Serializer};
use std::{collections::BTreeSet, ops::RangeInclusive};

/// The most shards: every pair has an inbox, so their memory grows with the square.
pub const SHARDS_MAX: usize = 256;
/// One more than the largest CPU number that the kernel's affinity masks hold.
const CPUS_MAX: usize = 8_192;

/// `auto`, a number, or a list of CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shards {
    /// One on each CPU that this process may use.
    #[default]
    Auto,
    /// This many, on the CPUs that this process may use, in turn.
    Count(usize),
    /// One on each of these CPUs, numbered as the kernel does.
    Cpus(Vec<usize>),
}

impl Leaf for Shards {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        let read = match node {
            Node::Scalar(text) if text == "auto" => Ok(Self::Auto),
            Node::Scalar(text) => match text.parse() {
                Ok(count @ 1..=SHARDS_MAX) => Ok(Self::Count(count)),
                _ => Err(None),
            },
            Node::List(items) => cpus(items).map(Self::Cpus).map_err(Some),
            Node::Null | Node::Map(_) => Err(None),
        };
        read.map_err(|hint| Refusal {
            allowed: format!(
                "auto, a number from 1 to {SHARDS_MAX}, or a list of 1 to {SHARDS_MAX} CPUs like [0, 1]"
            ),
            hint,
        })
    }
}

fn cpus(items: &[Node]) -> Result<Vec<usize>, String> {
    if items.is_empty() || items.len() > SHARDS_MAX {
        return Err(format!("the list has {} CPUs", items.len()));
    }
    let mut seen = BTreeSet::new();
    for item in items {
        let number = match item {
            Node::Scalar(text) => text.parse().ok().filter(|cpu| *cpu < CPUS_MAX),
            _ => None,
        };
        let cpu: usize = number.ok_or_else(|| format!("{} is no CPU's number", item.found()))?;
        if !seen.insert(cpu) {
            return Err(format!("CPU {cpu} is in the list twice"));
        }
    }
    // In the operator's order a shard's number would depend on how the list is written.
    Ok(seen.into_iter().collect())
}

impl Serialize for Shards {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => count.serialize(serializer),
            Self::Cpus(cpus) => cpus.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Shards, Option<String>> {
        Shards::read(&Node::from_plain(text).unwrap(), None).map_err(|refusal| refusal.hint)
    }

    #[test]
    fn shards_are_auto_a_number_or_cpus() {
        assert_eq!(read("auto"), Ok(Shards::Auto));
        assert_eq!(read("4"), Ok(Shards::Count(4)));
        assert_eq!(read("[3, 1]"), Ok(Shards::Cpus(vec![1, 3])));
    }

    #[test]
    fn no_shard_two_on_one_cpu_and_words_are_refused() {
        for text in ["0", "257", "-1", "all", "", "{a: 1}"] {
            assert_eq!(read(text), Err(None), "{text}");
        }
        assert_eq!(read("[]"), Err(Some("the list has 0 CPUs".into())));
        assert_eq!(read("[1, 1]"), Err(Some("CPU 1 is in the list twice".into())));
        assert_eq!(read("[first]"), Err(Some("`first` is no CPU's number".into())));
        assert_eq!(read("[[0]]"), Err(Some("a list is no CPU's number".into())));
    }
}
