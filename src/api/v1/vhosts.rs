//! The one virtual host: it is there once anybody used it.

use serde_json::{Value, json};

use super::{
    super::{Api, visit::Visit, watch::media_bytes, whole},
    Outcome, code,
};

/// All of them.
pub fn list(api: &Api, visit: &Visit) -> Outcome {
    if !visit.reads() {
        return Outcome::Method;
    }
    Outcome::Done(json!({ "vhosts": value(api).into_iter().collect::<Vec<_>>() }))
}

/// One of them.
pub fn one(api: &Api, visit: &Visit, id: &str) -> Outcome {
    if !visit.reads() {
        return Outcome::Method;
    }
    match value(api).filter(|_| id == api.identity().vhost_id()) {
        Some(vhost) => Outcome::Done(json!({ "vhost": vhost })),
        None => Outcome::Failed(code::VHOST),
    }
}

fn value(api: &Api) -> Option<Value> {
    let (pages, rates) = (api.pages(), api.sight().all);
    if pages.iter().all(|page| page.enrolled == 0 && page.streams.is_empty()) {
        return None;
    }
    let (received, sent) = media_bytes(&pages);
    let clients: usize = pages.iter().map(|page| page.clients.0 + page.clients.1).sum();
    Some(json!({
        "id": api.identity().vhost_id(),
        "name": crate::identity::VHOST,
        "enabled": true,
        "clients": clients,
        "streams": whole::streams(&pages).len(),
        "send_bytes": sent,
        "recv_bytes": received,
        "kbps": { "recv_30s": rates.received / 1_000, "send_30s": rates.sent / 1_000 },
        "hls": hls(api),
    }))
}

fn hls(api: &Api) -> Value {
    match api.abilities().hls_fragment {
        Some(seconds) => json!({ "enabled": true, "fragment": seconds }),
        None => json!({ "enabled": false }),
    }
}
