//! Clients, and the end of one.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    super::{Api, visit::Visit},
    Outcome, code, note_late, part, streams,
};
use crate::{
    clients::{Entry, Role, inquiry::Question},
    conn_id::ConnId,
    protocols::http::Method,
};

/// A part of all clients, those who came first before the others.
pub async fn list(api: &Api, visit: &Visit) -> Outcome {
    if visit.method == Method::Delete {
        return Outcome::Failed(code::CLIENT);
    }
    if !visit.reads() {
        return Outcome::Method;
    }
    let Ok(gathered) = api.ask(Question::Clients(None)).await else { return Outcome::Failed(code::BUSY) };
    let ((entries, late), (start, count)) = (gathered.entries(), part(visit));
    let some = entries.iter().skip(start).take(count);
    let clients: Vec<Value> = some.map(|entry| value(api, entry)).collect();
    let mut payload = json!({ "clients": clients, "total": entries.len() });
    note_late(&mut payload, &late.iter().map(|shard| shard.index()).collect::<Vec<_>>());
    Outcome::Done(payload)
}

/// One of them, or its end.
pub async fn one(api: &Api, visit: &Visit, id: &str) -> Outcome {
    let Some(id) = ConnId::parse(id) else {
        return match visit.method {
            Method::Get | Method::Head | Method::Delete => Outcome::Failed(code::CLIENT),
            _ => Outcome::Method,
        };
    };
    match visit.method {
        Method::Get | Method::Head => {
            let Ok(gathered) = api.ask(Question::Client(id)).await else {
                return Outcome::Failed(code::BUSY);
            };
            let is_late = !gathered.late.is_empty();
            match gathered.entries().0.first() {
                Some(entry) => Outcome::Done(json!({ "client": value(api, entry) })),
                // It may be on the shard that has not answered.
                None if is_late => Outcome::Failed(code::BUSY),
                None => Outcome::Failed(code::CLIENT),
            }
        }
        Method::Delete => match api.ask(Question::Kick(id)).await {
            Ok(gathered) if gathered.kicked() => Outcome::Done(json!({})),
            Ok(gathered) if !gathered.late.is_empty() => Outcome::Failed(code::BUSY),
            Ok(_) => Outcome::Failed(code::CLIENT),
            Err(_) => Outcome::Failed(code::BUSY),
        },
        _ => Outcome::Method,
    }
}

fn value(api: &Api, entry: &Entry) -> Value {
    let (card, reading, identity) = (&entry.card, &entry.reading, api.identity());
    json!({
        "id": card.id.as_str(),
        "vhost": identity.vhost_id(),
        "stream": identity.stream_id(&card.key),
        "ip": card.ip.to_string(),
        "pageUrl": streams::without_query(&card.said.page_url),
        "swfUrl": card.said.swf_url,
        "tcUrl": streams::without_query(&card.said.tc_url),
        "url": streams::url(&card.key),
        "name": card.key.name(),
        "type": card.kind.srs(),
        "publish": card.kind.role() == Role::Publish,
        "alive": card.alive(Instant::now()).as_secs_f64(),
        "send_bytes": reading.bytes_out,
        "recv_bytes": reading.bytes_in,
        "kbps": { "recv_30s": entry.rate_in / 1_000, "send_30s": entry.rate_out / 1_000 },
    })
}
