//! What the HTTP port answers besides streams: the pages, and what they need to know as JSON.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use serde_json::{Value, json};
use shards::{
    media::{Shape, StreamKey, Track},
    stream::{DerivedStats, StreamStats},
};

use crate::{
    board::Board,
    codecs,
    protocols::http::{Method, Request, Response, Status},
    web,
};

/// The methods of a page.
const PAGE_METHODS: &str = "GET, HEAD, OPTIONS";

/// Where the services are, as the pages show them. `None`: the service is off.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// RTMP.
    pub rtmp: Option<u16>,
    /// HTTP-FLV.
    pub http: Option<u16>,
    /// WebSocket-FLV.
    pub ws: Option<u16>,
    /// Whether they speak TLS as well.
    pub tls: bool,
}

/// See the module.
pub struct Api {
    board: Arc<Board>,
    ports: Cell<Ports>,
    start: Instant,
}

impl Api {
    /// Over what the shards hang up.
    pub fn new(board: Arc<Board>, ports: Ports, start: Instant) -> Self {
        Self { board, ports: Cell::new(ports), start }
    }

    /// The services are there from now on.
    pub fn set_ports(&self, ports: Ports) {
        self.ports.set(ports);
    }

    /// The answer to a request for something that is no stream; `None` when there is nothing at its path.
    pub fn answer(&self, request: &Request) -> Option<Response> {
        let response = match request.target.path() {
            "/api/v2/server" => json(&self.server()),
            "/api/v2/streams" => json(&self.streams()),
            path => page(request, path)?,
        };
        Some(match request.method {
            Method::Get | Method::Head => response,
            Method::Options => Response::options(request, PAGE_METHODS),
            _ => Response::method_not_allowed(PAGE_METHODS),
        })
    }

    fn server(&self) -> Value {
        let now = Instant::now();
        let shards: Vec<Value> = self
            .board
            .pages()
            .iter()
            .enumerate()
            .map(|(id, page)| {
                json!({
                    "id": id,
                    "cpu": page.cpu,
                    "connections": page.connections,
                    "streams": page.streams.iter().filter(|(_, stats)| !stats.is_mirror).count(),
                    "busy": (f64::from(page.busy) * 1_000.0).round() / 1_000.0,
                    "window_ms": page.window.map(millis),
                    "longest_walk_us": page.longest_walk_us,
                    "mirrors": page.mirrors,
                    "batches": page.totals.batches,
                    "bytes_out": page.totals.bytes,
                    "sends": page.totals.sends,
                    "sends_per_batch": ratio(page.totals.sends, page.totals.batches),
                    "skips": page.totals.skips,
                    "age_ms": millis(now.saturating_duration_since(page.at)),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_ms": millis(now.saturating_duration_since(self.start)),
            "ports": { "rtmp": self.ports.get().rtmp, "http": self.ports.get().http, "ws": self.ports.get().ws },
            "tls": self.ports.get().tls,
            "player": web::has_player(),
            "shards": shards,
        })
    }

    fn streams(&self) -> Value {
        let pages = self.board.pages();
        let all = || {
            pages
                .iter()
                .enumerate()
                .flat_map(|(shard, page)| page.streams.iter().map(move |(key, stats)| (shard, key, stats)))
        };
        let mut mirrors: HashMap<&StreamKey, Vec<(usize, &StreamStats)>> = HashMap::new();
        for (shard, key, stats) in all().filter(|(_, _, stats)| stats.is_mirror) {
            mirrors.entry(key).or_default().push((shard, stats));
        }
        let mut streams: Vec<_> = all().filter(|(_, _, stats)| !stats.is_mirror).collect();
        streams.sort_by_key(|(_, key, _)| *key);
        let none = Vec::new();
        let streams: Vec<Value> = streams
            .into_iter()
            .map(|(shard, key, stats)| stream(shard, key, stats, mirrors.get(key).unwrap_or(&none)))
            .collect();
        json!({ "streams": streams, "shards": pages.len(), "version": env!("CARGO_PKG_VERSION") })
    }
}

fn page(request: &Request, path: &str) -> Option<Response> {
    let asset = web::asset(path)?;
    if request.headers.list("if-none-match").any(|tag| tag == asset.etag) {
        return Some(Response::new(Status::NOT_MODIFIED).header("ETag", asset.etag));
    }
    let response = Response::new(Status::OK)
        .header("ETag", asset.etag)
        .header("Cache-Control", "no-cache")
        .header("Vary", "Accept-Encoding");
    Some(match asset.gzip {
        Some(gzip) if request.headers.has_token("accept-encoding", "gzip") => {
            response.header("Content-Encoding", "gzip").body(asset.content_type, Bytes::from_static(gzip))
        }
        _ => response.body(asset.content_type, Bytes::from_static(asset.bytes)),
    })
}

fn json(value: &Value) -> Response {
    Response::json(Status::OK, value.to_string()).cors().no_cache()
}

/// A stream, with the viewers that its mirrors have on other shards.
fn stream(shard: usize, key: &StreamKey, stats: &StreamStats, mirrors: &[(usize, &StreamStats)]) -> Value {
    let publisher = stats
        .publisher
        .as_ref()
        .map(|party| json!({ "protocol": party.protocol, "peer": party.peer.to_string(), "id": &*party.id }));
    let mut forms: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut totals, mut lag) = (stats.elsewhere, stats.lag);
    for stats in std::iter::once(stats).chain(mirrors.iter().map(|(_, stats)| *stats)) {
        totals.add(&stats.totals);
        lag = lag.max(stats.lag);
        stats.readers.iter().for_each(|(kind, readers)| *forms.entry(kind).or_default() += readers);
    }
    let everywhere = std::iter::once((shard, stats)).chain(mirrors.iter().copied());
    let transcodes: Vec<Value> = everywhere
        .flat_map(|(shard, stats)| stats.derived.iter().map(move |derived| transcode(shard, derived)))
        .collect();
    let mirrors: Vec<Value> =
        mirrors.iter().map(|(shard, stats)| json!({ "shard": shard, "viewers": viewers(stats) })).collect();
    json!({
        "key": key.as_str(),
        "app": key.app(),
        "name": key.name(),
        "shard": shard,
        "live": publisher.is_some(),
        "publisher": publisher,
        "uptime_ms": millis(stats.uptime),
        "tracks": stats.scene.tracks().iter().map(track).collect::<Vec<_>>(),
        "transcodes": transcodes,
        "viewers": forms.values().sum::<usize>(),
        "viewers_by_form": forms,
        "mirrors": mirrors,
        "bitrate_kbps": stats.bitrate / 1_000,
        "frames": stats.frames,
        "bytes_in": stats.bytes_in,
        "bytes_out": totals.bytes,
        "lag_ms": lag.millis(),
        "skips": totals.skips,
        "mirror_skips": stats.mirror_skips,
        "gop": { "bytes": stats.gop_bytes, "overflows": stats.gop_overflows },
        "repairs": { "jumps": stats.repairs.jumps, "stumbles": stats.repairs.stumbles },
        "dropped": {
            "before_keyframe": stats.dropped.before_key,
            "unknown_track": stats.dropped.no_track,
            "malformed": stats.dropped.malformed,
        },
    })
}

fn track(track: &Track) -> Value {
    let mut value = json!({
        "id": track.id.to_string(),
        "kind": match track.id.kind {
            shards::media::TrackKind::Video => "video",
            shards::media::TrackKind::Audio => "audio",
            shards::media::TrackKind::Data => "data",
        },
        "codec": track.codec.name(),
        "mime": codecs::mime(track),
    });
    match track.shape {
        Shape::Video { width, height } => {
            value["width"] = width.into();
            value["height"] = height.into();
        }
        Shape::Audio { sample_rate, channels } => {
            value["sample_rate"] = sample_rate.into();
            value["channels"] = channels.into();
        }
        Shape::Unknown => {}
    }
    value
}

fn viewers(stats: &StreamStats) -> usize {
    stats.readers.iter().map(|(_, readers)| readers).sum()
}

/// To two digits; zero where there is nothing to compare with.
fn ratio(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { (count as f64 / of as f64 * 100.0).round() / 100.0 }
}

/// Sound that is made for players who cannot take the publisher's.
fn transcode(shard: usize, derived: &DerivedStats) -> Value {
    let mut value = track(&derived.track);
    value["shard"] = shard.into();
    value["from"] = derived.from.name().into();
    value["frames"] = derived.frames.into();
    value["bytes"] = derived.bytes.into();
    value["concealed"] = derived.concealed.into();
    value["skipped"] = derived.skipped.into();
    value["waiting"] = derived.waiting.into();
    value
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
