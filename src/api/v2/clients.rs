//! Who publishes and plays, and the end of one of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    super::{Api, millis, v1, visit::Visit},
    Outcome, number,
};
use crate::{
    clients::{Entry, Reception, inquiry::Question},
    conn_id::ConnId,
    protocols::http::Method,
};

/// Clients of one answer, at most and unless told otherwise.
const COUNT_MAX: usize = 10_000;
const COUNT: usize = 100;
/// Further than any list reaches.
const START_MAX: usize = 1_000_000_000;

/// `?stream=app/name&start=&count=`: those of a stream, or all; those who came first before the others.
pub async fn list(api: &Api, visit: &Visit) -> Outcome {
    let key = match visit.query().get("stream").map(str::parse) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(error)) => return Outcome::Wrong(format!("stream: {error}")),
    };
    let (start, count) = match (number(visit, "start", START_MAX), number(visit, "count", COUNT_MAX)) {
        (Ok(start), Ok(count)) => (start.unwrap_or_default(), count.unwrap_or(COUNT)),
        (Err(wrong), _) | (_, Err(wrong)) => return wrong,
    };
    let (entries, late) = match api.ask(Question::Clients(key)).await {
        Ok(gathered) => gathered.entries(),
        Err(busy) => return Outcome::Busy(busy.to_string()),
    };
    let some = entries.iter().skip(start).take(count);
    Outcome::Done(json!({
        "clients": some.map(value).collect::<Vec<_>>(),
        "total": entries.len(),
        "late_shards": late.iter().map(|shard| shard.0).collect::<Vec<_>>(),
    }))
}

/// One of them, or its end.
pub async fn one(api: &Api, visit: &Visit, id: &str) -> Outcome {
    let missing = || Outcome::Missing(format!("there is no client {id}"));
    let question = match (visit.method, ConnId::parse(id)) {
        (Method::Get | Method::Head, Some(id)) => Question::Client(id),
        (Method::Delete, Some(id)) => Question::Kick(id),
        // The table of routes lets no other method come here.
        _ => return missing(),
    };
    let kicks = matches!(question, Question::Kick(_));
    let gathered = match api.ask(question).await {
        Ok(gathered) => gathered,
        Err(busy) => return Outcome::Busy(busy.to_string()),
    };
    if kicks && gathered.kicked() {
        return Outcome::Done(json!({ "kicked": id }));
    }
    let (entries, late) = gathered.entries();
    match entries.first() {
        Some(entry) => Outcome::Done(value(entry)),
        None if late.is_empty() => missing(),
        None => {
            let late: Vec<String> = late.iter().map(ToString::to_string).collect();
            Outcome::Busy(format!("shard {} did not answer in time", late.join(", ")))
        }
    }
}

fn value(entry: &Entry) -> Value {
    let (card, reading) = (&entry.card, &entry.reading);
    json!({
        "id": card.id.as_str(),
        "key": card.key.as_str(),
        "role": card.kind.role().name(),
        "protocol": card.kind.protocol(),
        "type": card.kind.srs(),
        "peer": card.peer.to_string(),
        "ip": card.ip.to_string(),
        "user_agent": card.said.user_agent,
        "page_url": v1::without_query(&card.said.page_url),
        "uptime_ms": millis(card.alive(Instant::now())),
        "bytes_in": reading.bytes_in,
        "bytes_out": reading.bytes_out,
        "kbps_in": entry.rate_in / 1_000,
        "kbps_out": entry.rate_out / 1_000,
        "lag_ms": reading.lag.millis(),
        "skips": reading.skips,
        "reception": reading.reception.as_ref().map(reception),
        "shard": entry.shard.0,
    })
}

fn reception(reception: &Reception) -> Value {
    // Losses are told in 256ths and times in ticks of a clock: more digits would tell nothing.
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    let millis = |duration: Duration| tenths(duration.as_secs_f64() * 1e3);
    json!({
        "loss_percent": tenths(f64::from(reception.loss) * 100.0),
        "jitter_ms": millis(reception.jitter),
        "round_trip_ms": reception.round_trip.map(millis),
        "missed": reception.missed,
        "resent": reception.resent,
        "key_requests": reception.key_requests,
        "refused": reception.refused,
    })
}
