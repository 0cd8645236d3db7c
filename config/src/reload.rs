//! What may change while the server runs, and what is different between two configurations.
//!
//! Invariant: every key is one or the other; the manual says of each key that may not that it needs a restart, and a test
//! keeps both true.

use crate::{schema::Config, section::leaves};
use serde_yaml::Value;

/// Keys, and sections with a dot behind them, that are read at the start alone.
const FIXED: &[&str] = &[
    // Executors, their mesh and the owners of all keys hang on it.
    "shards",
    // Each shard's socket, and what its viewers share.
    "webrtc.enable",
    "webrtc.listen_ip",
    "webrtc.port",
    "webrtc.single_port",
    "webrtc.bframes",
    "webrtc.socket_buffer",
    // What has been fixed once the kernel never measures again.
    "delivery.send_buffer",
    // The writing thread and its file; `log.level` may change, and SIGUSR1 opens the file anew.
    "log.format",
    "log.file",
    "log.sessions",
    "log.rotate",
    "log.keep",
    "demo.",
];

/// Whether a key (`rtmp.port`) may change while the server runs.
pub fn is_reloadable(key: &str) -> bool {
    !FIXED.iter().any(|fixed| key == *fixed || (fixed.ends_with('.') && key.starts_with(fixed)))
}

/// A key whose value is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `rtmp.port`.
    pub key: String,
    /// As YAML has them, on one line.
    pub from: String,
    /// Likewise.
    pub to: String,
}

impl Change {
    /// Whether it may be made while the server runs.
    pub fn is_reloadable(&self) -> bool {
        is_reloadable(&self.key)
    }
}

impl Config {
    /// What is different in `new`, in the order of the manual.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let (before, after) = (tree(self), tree(new));
        let keys = leaves().into_iter();
        keys.filter_map(|key| {
            let (from, to) = (shown(&before, &key), shown(&after, &key));
            (from != to).then_some(Change { key, from, to })
        })
        .collect()
    }
}

fn tree(config: &Config) -> Value {
    serde_yaml::to_value(config).unwrap_or_default()
}

fn shown(tree: &Value, key: &str) -> String {
    let leaf = key.split('.').try_fold(tree, |at, level| at.get(level));
    match leaf {
        Some(Value::Sequence(items)) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        Some(value) => plain(value),
        None => String::new(),
    }
}

fn plain(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MANUAL, load::Loader};

    /// The comment lines right above each key of the manual.
    fn comments() -> Vec<(String, String)> {
        let (mut path, mut comment, mut found) = (Vec::<(usize, String)>::new(), String::new(), Vec::new());
        for line in MANUAL.lines() {
            let text = line.trim_start();
            if let Some(words) = text.strip_prefix('#') {
                comment.push_str(words);
                continue;
            }
            let Some((key, _)) = text.split_once(':') else {
                comment.clear();
                continue;
            };
            let depth = line.len() - text.len();
            path.retain(|(at, _)| *at < depth);
            path.push((depth, key.to_owned()));
            let whole: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
            found.push((whole.join("."), std::mem::take(&mut comment)));
        }
        found
    }

    #[test]
    fn every_key_is_reloadable_or_the_manual_says_that_it_is_not() {
        let (keys, comments) = (leaves(), comments());
        for key in &keys {
            let comment = comments.iter().find(|(name, _)| name == key).map(|(_, comment)| comment.as_str());
            // A section's comment speaks for its keys.
            let section = key.rsplit_once('.').map_or("", |(section, _)| section);
            let above =
                comments.iter().find(|(name, _)| name == section).map(|(_, comment)| comment.as_str());
            let says = [comment, above].iter().flatten().any(|comment| comment.contains("Needs a restart"));
            assert_eq!(!is_reloadable(key), says, "{key}: FIXED and the manual do not say the same");
        }
        for fixed in FIXED {
            let names_a_key = keys.iter().any(|key| key == fixed || key.starts_with(fixed));
            assert!(names_a_key, "there is no {fixed}");
        }
    }

    #[test]
    fn changes_are_told_key_by_key() {
        let old = Config::default();
        let mut loader = Loader::default();
        for set in ["rtmp.port=7", "shards=3", "hooks.on_play=[http://a/, http://b/]", "gop.enable=true"] {
            loader.set(set);
        }
        let new = loader.finish().unwrap().config;
        let changes = old.changes(&new);
        let told: Vec<String> = changes
            .iter()
            .map(|change| format!("{} {} {} {}", change.key, change.from, change.to, change.is_reloadable()))
            .collect();
        assert_eq!(
            told,
            ["shards auto 3 false", "rtmp.port 1935 7 true", "hooks.on_play [] [http://a/, http://b/] true"]
        );
        assert!(new.changes(&new).is_empty());
    }
}
