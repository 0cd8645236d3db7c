//! The server: its shards, its machine, and where its services are.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    super::{Api, millis, whole},
    ratio,
};
use crate::{board::Page, web};

/// All of it.
pub fn value(api: &Api) -> Value {
    let (now, pages, sight) = (Instant::now(), api.pages(), api.sight());
    let (shared, sample) = (&api.shared, &sight.sample);
    let shards: Vec<Value> = pages.iter().enumerate().map(|(id, page)| shard(id, page, now)).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": shared.identity.pid,
        "server_id": shared.identity.server_id,
        "service_id": shared.identity.service_id,
        "uptime_ms": millis(api.uptime()),
        "ports": {
            "rtmp": shared.ports.rtmp, "http": shared.ports.http, "ws": shared.ports.ws, "api": shared.ports.api,
        },
        "tls": shared.ports.tls,
        "player": web::has_player(),
        "cpu": rounded(sample.process_share),
        "memory_bytes": sample.resident_kb() * 1_024,
        "machine": {
            "cpus": sample.cpus.1,
            "cpu": rounded(sample.system_share),
            "memory_bytes": sample.memory.total * 1_024,
            "memory": rounded(sample.memory.share()),
            "load": sample.load,
            "uptime_ms": (sample.uptime * 1_000.0) as u64,
        },
        "kbps_in": sight.all.received / 1_000,
        "kbps_out": sight.all.sent / 1_000,
        "clients": pages.iter().map(|page| page.clients.0 + page.clients.1).sum::<usize>(),
        "shards": shards,
        "late_shards": whole::late(&pages, now),
    })
}

fn shard(id: usize, page: &Page, now: Instant) -> Value {
    json!({
        "id": id,
        "cpu": page.cpu,
        "connections": page.connections,
        "publishers": page.clients.0,
        "players": page.clients.1,
        "webrtc_sessions": page.webrtc,
        "streams": page.streams.iter().filter(|(_, stats)| !stats.is_mirror).count(),
        "busy": rounded(f64::from(page.busy)),
        "window_ms": page.window.map(millis),
        "longest_walk_us": page.longest_walk_us,
        "mirrors": page.mirrors,
        "batches": page.totals.batches,
        "bytes_in": page.received,
        "bytes_out": page.totals.bytes,
        "wire_bytes_in": page.traffic.0,
        "wire_bytes_out": page.traffic.1,
        "sends": page.totals.sends,
        "sends_per_batch": ratio(page.totals.sends, page.totals.batches),
        "skips": page.totals.skips,
        "faults": page.faults,
        "granted": page.permission.granted,
        "refused": page.permission.refused(),
        "expired": page.permission.expired,
        "age_ms": millis(now.saturating_duration_since(page.at)),
    })
}

/// To three digits.
fn rounded(share: f64) -> f64 {
    (share * 1_000.0).round() / 1_000.0
}
