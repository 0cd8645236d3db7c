//! The effective configuration as it is shown: every key with its value, its default and where it was written.
//!
//! Invariant: what is secret is not shown, neither as a value nor in the place where it was written.

use config::{Config, Origin, Origins};
use serde_json::Value;

/// What stands in place of a secret.
const HIDDEN: &str = "(not shown)";

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `rtmp.port`
    pub key: String,
    /// What counts.
    pub value: Value,
    /// What would count if nothing were written.
    pub default: Value,
    /// Where it was written: `default`, `shardcast.yaml:12`, a variable, `--set …`.
    pub origin: String,
    /// Whether a change counts without a restart.
    pub reloadable: bool,
}

/// All keys of `config`, in the order of the manual. `reloadable` tells which may change while the server runs.
pub fn of(config: &Config, origins: &Origins, reloadable: impl Fn(&str) -> bool) -> Vec<Setting> {
    let defaults = Config::default().entries();
    let entries = config.entries().into_iter().zip(defaults);
    let setting = |(entry, default): (config::Entry, config::Entry)| {
        let secret = is_secret(&entry.key);
        let shown = |value: serde_yaml::Value| {
            let value = serde_json::to_value(value).unwrap_or_default();
            match value {
                value if entry.key == ICE_SERVERS => without_credentials(value),
                Value::String(text) if secret && !text.is_empty() => HIDDEN.into(),
                Value::Array(list) if secret => list.iter().map(|_| HIDDEN).collect(),
                value => value,
            }
        };
        let origin = match origins.get(&entry.key) {
            Origin::Set(_) if secret || entry.key == ICE_SERVERS => "--set".to_owned(),
            origin => origin.to_string(),
        };
        Setting {
            reloadable: reloadable(&entry.key),
            value: shown(entry.value),
            default: shown(default.value),
            origin,
            key: entry.key,
        }
    };
    entries.map(setting).collect()
}

/// The key whose values are addresses, each followed by a user and a password.
const ICE_SERVERS: &str = "webrtc.ice_servers";

fn without_credentials(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(without_credentials).collect(),
        Value::String(text) => text.split_whitespace().next().unwrap_or_default().into(),
        value => value,
    }
}

fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or_default();
    ["secret", "password", "passphrase", "token", "credential"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use config::Sources;

    use super::*;

    fn settings(sets: &[&str]) -> Vec<Setting> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let env: [(std::ffi::OsString, std::ffi::OsString); 0] = [];
        let loaded = Config::load(Sources { file: None, env, sets: &sets }).expect("it holds");
        of(&loaded.config, &loaded.origins, |key| key.starts_with("gop."))
    }

    #[test]
    fn keys_tell_their_value_their_default_and_their_origin() {
        let all = settings(&["rtmp.port=1936"]);
        let find = |key: &str| all.iter().find(|setting| setting.key == key).expect(key);
        let port = find("rtmp.port");
        assert_eq!((&port.value, &port.default), (&1936.into(), &1935.into()));
        assert_eq!((port.origin.as_str(), port.reloadable), ("--set rtmp.port=1936", false));
        let gop = find("gop.enable");
        assert_eq!((gop.origin.as_str(), gop.reloadable), ("default", true));
    }

    #[test]
    fn secrets_are_not_shown() {
        let all = settings(&["webrtc.ice_servers=[\"turn:relay.example:3478 ann s3cr3t\"]"]);
        let servers = all.iter().find(|setting| setting.key == "webrtc.ice_servers").expect("a key");
        assert_eq!(servers.value, serde_json::json!(["turn:relay.example:3478"]));
        assert!(!format!("{all:?}").contains("s3cr3t"));
        for (key, secret) in
            [("auth.secret", true), ("api.password", true), ("tls.key", false), ("rtmp.port", false)]
        {
            assert_eq!(is_secret(key), secret, "{key}");
        }
    }
}
