//! What a hook is told: the JSON bodies of SRS 7, key by key in SRS's order.
//!
//! Invariant: a body has exactly the keys that SRS sends for its action; a backend written for SRS reads it unchanged.

use serde_json::{Value, json};

use crate::identity::Identity;

/// What a client is about to do, or has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// An RTMP client says hello; it may be turned away.
    Connect,
    /// An RTMP client that had been let in is gone.
    Close,
    /// Somebody wants to publish; it may be turned away.
    Publish,
    /// A publisher stopped.
    Unpublish,
    /// Somebody wants to play; it may be turned away.
    Play,
    /// A player stopped.
    Stop,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Close, Self::Publish, Self::Unpublish, Self::Play, Self::Stop];

    /// As SRS and the configuration spell it: `on_publish`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Close => "on_close",
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
        }
    }

    /// What is told when the one who was asked about is gone; `None` of what is told itself.
    pub const fn counterpart(self) -> Option<Self> {
        match self {
            Self::Connect => Some(Self::Close),
            Self::Publish => Some(Self::Unpublish),
            Self::Play => Some(Self::Stop),
            Self::Close | Self::Unpublish | Self::Stop => None,
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Whom a hook is about. What a protocol does not have is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The connection's id, the same in logs and the API.
    pub client_id: String,
    /// Its address, without port.
    pub ip: String,
    /// The virtual host; `__defaultVhost__` where there is none.
    pub vhost: String,
    /// The app, all its levels.
    pub app: String,
    /// The stream's name.
    pub stream: String,
    /// The parameters of the address: with a leading `?` for RTMP and FLV, without for WHIP and WHEP.
    pub param: String,
    /// `rtmp://host/app`.
    pub tc_url: String,
    /// The page that embeds the player.
    pub page_url: String,
    /// `/app/stream`.
    pub stream_url: String,
    /// The stream's id in the API; left out where it has none yet.
    pub stream_id: Option<String>,
    /// Bytes to the client, told when it is gone.
    pub send_bytes: u64,
    /// Bytes from the client, told when it is gone.
    pub recv_bytes: u64,
}

/// The body of a call.
pub fn write(action: Action, identity: &Identity, who: &Who) -> String {
    let keys: &[&str] = match action {
        Action::Connect => &["vhost", "app", "stream", "param", "tcUrl", "pageUrl"],
        Action::Close => &["vhost", "app", "send_bytes", "recv_bytes"],
        Action::Play => &["vhost", "app", "stream", "tcUrl", "param", "pageUrl", "stream_url", "stream_id"],
        Action::Publish | Action::Unpublish | Action::Stop => {
            &["vhost", "app", "tcUrl", "stream", "param", "stream_url", "stream_id"]
        }
    };
    let mut body = String::with_capacity(512);
    for key in ["server_id", "service_id", "action", "client_id", "ip"].iter().chain(keys) {
        let value: Value = match *key {
            "server_id" => json!(identity.server_id),
            "service_id" => json!(identity.service_id),
            "action" => json!(action.name()),
            "client_id" => json!(who.client_id),
            "ip" => json!(who.ip),
            "vhost" => json!(who.vhost),
            "app" => json!(who.app),
            "stream" => json!(who.stream),
            "param" => json!(who.param),
            "tcUrl" => json!(who.tc_url),
            "pageUrl" => json!(who.page_url),
            "stream_url" => json!(who.stream_url),
            "send_bytes" => json!(who.send_bytes),
            "recv_bytes" => json!(who.recv_bytes),
            _ => match &who.stream_id {
                Some(id) => json!(id),
                None => continue,
            },
        };
        body.push(if body.is_empty() { '{' } else { ',' });
        body.push_str(&format!("\"{key}\":{value}"));
    }
    body.push('}');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who {
            client_id: "ab12cd34".into(),
            ip: "192.0.2.7".into(),
            vhost: "__defaultVhost__".into(),
            app: "live".into(),
            stream: "cam".into(),
            param: "?token=x\"y".into(),
            tc_url: "rtmp://host/live".into(),
            page_url: "http://page/".into(),
            stream_url: "/live/cam".into(),
            stream_id: Some("vid-1".into()),
            send_bytes: 10,
            recv_bytes: u64::MAX,
        }
    }

    fn identity() -> Identity {
        Identity::new("vid-0000000")
    }

    /// The keys of a body, in the order in which they stand.
    fn keys(action: Action, who: &Who) -> Vec<String> {
        let body = write(action, &identity(), who);
        let value: serde_json::Map<String, Value> = serde_json::from_str(&body).expect("JSON");
        let mut keys: Vec<(usize, String)> = value
            .keys()
            .map(|key| (body.find(&format!("\"{key}\":")).expect("it stands there"), key.clone()))
            .collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// `contracts/srs.md`, section 4.
    #[test]
    fn every_body_has_the_keys_of_srs_in_its_order() {
        let expected = |action: Action| match action {
            Action::Connect => {
                "server_id service_id action client_id ip vhost app stream param tcUrl pageUrl"
            }
            Action::Close => "server_id service_id action client_id ip vhost app send_bytes recv_bytes",
            Action::Play => {
                "server_id service_id action client_id ip vhost app stream tcUrl param pageUrl stream_url stream_id"
            }
            Action::Publish | Action::Unpublish | Action::Stop => {
                "server_id service_id action client_id ip vhost app tcUrl stream param stream_url stream_id"
            }
        };
        for action in Action::ALL {
            assert_eq!(keys(action, &who()).join(" "), expected(action), "{}", action.name());
        }
    }

    #[test]
    fn values_are_text_and_numbers_are_numbers() {
        let body = write(Action::Close, &identity(), &who());
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["recv_bytes"].as_u64(), Some(u64::MAX));
        assert_eq!(value["action"], "on_close");
        let body = write(Action::Publish, &identity(), &who());
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["param"], "?token=x\"y");
        assert!(value.as_object().unwrap().values().all(Value::is_string));
    }

    #[test]
    fn a_stream_without_an_id_leaves_the_key_out() {
        let nameless = Who { stream_id: None, ..who() };
        assert!(!keys(Action::Play, &nameless).contains(&"stream_id".to_owned()));
    }
}
