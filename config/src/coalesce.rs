//! How long frames gather before they are sent.

use crate::{
    node::Node,
    section::{Leaf, Refusal},
    units::Millis,
};
use serde::{Serialize, Serializer};
use std::ops::RangeInclusive;

/// The longest fixed time.
const FIXED_MAX: Millis = Millis::from_secs(2);

/// `auto`, or a fixed time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coalesce {
    /// As long as the shard's load asks for, up to `coalesce_max`.
    #[default]
    Auto,
    /// Always so long; zero: each frame at once.
    Fixed(Millis),
}

impl Coalesce {
    /// The longest that frames may gather.
    pub fn longest(self, max: Millis) -> Millis {
        match self {
            Self::Auto => max,
            Self::Fixed(time) => time,
        }
    }
}

impl Leaf for Coalesce {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        if let Node::Scalar(text) = node
            && text == "auto"
        {
            return Ok(Self::Auto);
        }
        let range = Some(Millis::from_millis(0)..=FIXED_MAX);
        Millis::read(node, range).map(Self::Fixed).map_err(|refusal| Refusal {
            allowed: format!("auto, or {}", refusal.allowed),
            hint: refusal.hint,
        })
    }
}

impl Serialize for Coalesce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(time) => time.serialize(serializer),
        }
    }
}

impl std::fmt::Display for Coalesce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(time) => time.fmt(f),
        }
    }
}
