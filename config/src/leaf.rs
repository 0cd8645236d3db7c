//! What the plain leaves of the schema take: switches, numbers, addresses, paths, words, units.

use crate::{
    node::{Node, quoted},
    section::{Leaf, Refusal},
    suggest::nearest,
    units::{BitRate, ByteSize, Millis, PictureSize, UnitError},
};
use std::{fmt, net::IpAddr, ops::RangeInclusive, path::PathBuf, str::FromStr};

/// The text of a scalar; for all else `allowed` says what should stand there.
pub(crate) fn scalar<'n>(node: &'n Node, allowed: &dyn Fn() -> String) -> Result<&'n str, Refusal> {
    match node {
        Node::Scalar(text) => Ok(text),
        _ => Err(Refusal { allowed: allowed(), hint: None }),
    }
}

/// A value of `what`, inside `range` when there is one.
fn within<T: FromStr + PartialOrd + fmt::Display>(
    node: &Node,
    range: Option<RangeInclusive<T>>,
    what: &str,
    hint: impl Fn(T::Err) -> Option<String>,
) -> Result<T, Refusal> {
    let allowed = || match &range {
        Some(range) => format!("{what} from {} to {}", range.start(), range.end()),
        None => what.to_owned(),
    };
    let value: T =
        scalar(node, &allowed)?.parse().map_err(|error| Refusal { allowed: allowed(), hint: hint(error) })?;
    match &range {
        Some(range) if !range.contains(&value) => Err(Refusal { allowed: allowed(), hint: None }),
        _ => Ok(value),
    }
}

macro_rules! number {
    ($($type:ty),+) => {$(
        impl Leaf for $type {
            fn read(node: &Node, range: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
                within(node, range, "a whole number", |_| None)
            }
        }
    )+};
}
number!(u16, u32);

fn unit_hint(error: UnitError) -> Option<String> {
    (error != UnitError::NoNumber).then(|| error.to_string())
}

impl Leaf for Millis {
    fn read(node: &Node, range: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        within(node, range, "a duration in ms, s, m or h, like `350ms`,", unit_hint)
    }
}

impl Leaf for ByteSize {
    fn read(node: &Node, range: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        within(node, range, "a size in B, kB, KiB, MB, MiB, GB or GiB, like `16MiB`,", unit_hint)
    }
}

impl Leaf for BitRate {
    fn read(node: &Node, range: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        within(node, range, "a bit rate in bps, kbps or Mbps, like `128kbps`,", unit_hint)
    }
}

impl Leaf for PictureSize {
    /// Bounds and evenness are the encoder's: 4:2:0 pictures have even sides.
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        let allowed =
            || "WIDTHxHEIGHT in pixels, even numbers from 64x64 to 1920x1080, like `640x360`".to_owned();
        let size: Self =
            scalar(node, &allowed)?.parse().map_err(|_| Refusal { allowed: allowed(), hint: None })?;
        let even = size.width.is_multiple_of(2) && size.height.is_multiple_of(2);
        match even && (64..=1920).contains(&size.width) && (64..=1080).contains(&size.height) {
            true => Ok(size),
            false => Err(Refusal { allowed: allowed(), hint: None }),
        }
    }
}

impl Leaf for bool {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        word(node, &[("true", true), ("false", false)])
    }
}

impl Leaf for IpAddr {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        let allowed =
            || "an IP address of this machine, `0.0.0.0` for all of IPv4, `\"::\"` for all".to_owned();
        scalar(node, &allowed)?.trim().parse().map_err(|_| Refusal { allowed: allowed(), hint: None })
    }
}

impl Leaf for PathBuf {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        let allowed = || "a path, or \"\" for none".to_owned();
        match scalar(node, &allowed)? {
            text if text.contains(char::is_control) => Err(Refusal { allowed: allowed(), hint: None }),
            text => Ok(text.into()),
        }
    }
}

impl Leaf for String {
    fn read(node: &Node, _: Option<RangeInclusive<Self>>) -> Result<Self, Refusal> {
        scalar(node, &|| "a text".to_owned()).map(str::to_owned)
    }
}

/// One of `words`, spelled exactly so.
pub(crate) fn word<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, Refusal> {
    let allowed = || words.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = scalar(node, &allowed)?;
    words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| Refusal {
        allowed: allowed(),
        hint: nearest(text, words.iter().map(|(name, _)| *name))
            .map(|name| format!("did you mean {}?", quoted(name))),
    })
}

/// An enum whose variants are words of the file.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// As the file spells it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::section::Leaf for $name {
            fn read(
                node: &$crate::node::Node,
                _: Option<std::ops::RangeInclusive<Self>>,
            ) -> Result<Self, $crate::section::Refusal> {
                $crate::leaf::word(node, &[$(($word, Self::$variant)),+])
            }
        }
    };
}
pub(crate) use words;
