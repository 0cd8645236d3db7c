//! Where each effective value came from: for errors now, for whoever asks later.

use crate::{locate::line_of, node::printable};
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

/// Where a value was written. Prints as errors name it: `shardcast.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In the file, on this line (from 1; 0 when the line cannot be told).
    File {
        /// As it was given on the command line.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// In a variable of the environment, `SHARDCAST_RTMP__PORT`.
    Env(String),
    /// On the command line; the text behind `--set`.
    Set(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Set(text) => write!(f, "--set {}", printable(text, 60)),
        }
    }
}

/// One source of values. Later ones win; the order here is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    File(Arc<File>),
    Env(Arc<str>),
    Set(Arc<str>),
}

/// The file's text is kept: lines are looked up when somebody asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub path: PathBuf,
    pub text: String,
}

impl Layer {
    /// Where this layer holds the key at `path`.
    pub fn origin<S: AsRef<str>>(&self, path: &[S]) -> Origin {
        match self {
            Self::File(file) => {
                Origin::File { path: file.path.clone(), line: line_of(&file.text, path).unwrap_or(0) }
            }
            Self::Env(name) => Origin::Env(name.to_string()),
            Self::Set(text) => Origin::Set(text.to_string()),
        }
    }

    /// Which of two layers wins.
    fn rank(&self) -> u8 {
        match self {
            Self::File(_) => 1,
            Self::Env(_) => 2,
            Self::Set(_) => 3,
        }
    }
}

/// Which key was set where. Keys that are absent have their default.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    layers: BTreeMap<String, Layer>,
}

impl Origins {
    pub(crate) fn insert(&mut self, key: String, layer: Layer) {
        self.layers.insert(key, layer);
    }

    /// Where the value of `key` (`rtmp.port`) was written.
    pub fn get(&self, key: &str) -> Origin {
        let path: Vec<&str> = key.split('.').collect();
        self.layers.get(key).map_or(Origin::Default, |layer| layer.origin(&path))
    }

    /// Every key that is not at its default's origin, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// The one of `keys` that the latest layer set: who contradicted is more to blame than who was there.
    pub(crate) fn latest<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        let rank = |key: &&str| self.layers.get(*key).map_or(0, Layer::rank);
        keys.iter().copied().max_by_key(rank)
    }
}
