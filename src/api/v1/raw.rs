//! What SRS calls its raw API: how the API itself is set, and nothing that changes it. And origin clusters.

use serde_json::{Value, json};

use super::{
    super::{Api, visit::Visit},
    Outcome, code,
};

/// `?rpc=raw` tells how the API is set. Reload is at `POST /api/v2/reload`, behind a credential; the raw API is off.
pub fn raw(api: &Api, visit: &Visit) -> Outcome {
    match visit.query().get("rpc") {
        Some("raw") => Outcome::Bare(json!({
            "code": 0,
            "http_api": {
                "enabled": true,
                "listen": api.control_port().to_string(),
                "crossdomain": true,
                "raw_api": {
                    "enabled": false, "allow_reload": false, "allow_query": false, "allow_update": false,
                },
            },
        })),
        Some("reload" | "reload-fetch") => Outcome::Failed(code::RAW_DISABLED),
        _ => Outcome::Failed(code::RAW_PARAMS),
    }
}

/// Which origin has a stream: as long as this server is no origin of a cluster, none that it knows of.
pub fn clusters(visit: &Visit) -> Outcome {
    let query = |name: &str| visit.query().get(name).unwrap_or_default().to_owned();
    Outcome::Bare(json!({
        "code": 0,
        "data": {
            "query": {
                "ip": query("ip"), "vhost": query("vhost"), "app": query("app"), "stream": query("stream"),
            },
            "origin": Value::Null,
        },
    }))
}
