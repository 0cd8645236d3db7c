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
        let secret = is_secret(&entry.key) || is_hidden(&entry.value);
        let shown = |value: serde_yaml::Value| {
            let value = serde_json::to_value(value).unwrap_or_default();
            match value {
                value if entry.key == ICE_SERVERS => without_credentials(value),
                value if is_address(&entry.key) => bare(value),
                Value::String(text) if secret && !text.is_empty() => HIDDEN.into(),
                Value::Array(list) if secret => list.iter().map(|_| HIDDEN).collect(),
                value => value,
            }
        };
        let origin = match origins.get(&entry.key) {
            Origin::Set(_) if secret || is_address(&entry.key) || entry.key == ICE_SERVERS => {
                "--set".to_owned()
            }
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

/// Whether its values are addresses of other servers, in which people put credentials.
fn is_address(key: &str) -> bool {
    key.starts_with("hooks.on_") && key != "hooks.on_error" || key == "auth.jwt.jwks"
}

/// Addresses without user, password and parameters.
fn bare(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(bare).collect(),
        Value::String(text) => {
            let address = text.split(['?', '#']).next().unwrap_or_default();
            match address.split_once("://") {
                Some((scheme, rest)) => {
                    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                    let host = authority.rsplit('@').next().unwrap_or_default();
                    format!("{scheme}://{host}{path}").into()
                }
                None => address.into(),
            }
        }
        value => value,
    }
}

/// A command line as it may be shown: what `--set` gives to keys that hold secrets is left out.
pub fn shown_arguments(arguments: impl Iterator<Item = String>) -> String {
    let hides = |key: &str| ["auth.", "hooks.", ICE_SERVERS].iter().any(|start| key.starts_with(start));
    let shown = |argument: String| {
        let (flag, rest) = match argument.strip_prefix("--set=") {
            Some(rest) => ("--set=", rest),
            None => ("", argument.as_str()),
        };
        match rest.split_once('=') {
            Some((key, _)) if hides(key) => format!("{flag}{key}={HIDDEN}"),
            _ => argument,
        }
    };
    arguments.map(shown).collect::<Vec<_>>().join(" ")
}

/// Whether the configuration itself shows none of it.
fn is_hidden(value: &serde_yaml::Value) -> bool {
    match value {
        serde_yaml::Value::String(text) => text.starts_with("(hidden "),
        serde_yaml::Value::Sequence(list) => list.iter().any(is_hidden),
        _ => false,
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
        let all = settings(&["auth.sign_keys=[a-secret-of-thirty-two-characters!]"]);
        assert!(!format!("{all:?}").contains("thirty"), "neither as a value nor as its origin");
        let all = settings(&["hooks.on_play=[\"https://ann:s3cr3t@backend/play?key=hush\"]"]);
        let play = all.iter().find(|setting| setting.key == "hooks.on_play").expect("a key");
        assert_eq!((&play.value, &*play.origin), (&serde_json::json!(["https://backend/play"]), "--set"));
        let line =
            ["shardcast", "--set", "auth.api.password=hush", "--set=auth.tokens=[x]", "--set", "rtmp.port=1"];
        assert_eq!(
            shown_arguments(line.map(str::to_owned).into_iter()),
            "shardcast --set auth.api.password=(not shown) --set=auth.tokens=(not shown) --set rtmp.port=1"
        );
        for (key, secret) in
            [("auth.secret", true), ("api.password", true), ("tls.key", false), ("rtmp.port", false)]
        {
            assert_eq!(is_secret(key), secret, "{key}");
        }
    }
}
