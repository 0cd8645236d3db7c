//! What the HTTP port answers besides streams: the pages, and what they need to know as JSON.

use std::{sync::Arc, time::Instant};

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
    ports: Ports,
    start: Instant,
}

impl Api {
    /// Over what the shards hang up.
    pub fn new(board: Arc<Board>, ports: Ports, start: Instant) -> Self {
        Self { board, ports, start }
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
                    "streams": page.streams.len(),
                    "busy": (f64::from(page.busy) * 1_000.0).round() / 1_000.0,
                    "window_ms": page.window.map(millis),
                    "longest_walk_us": page.longest_walk_us,
                    "age_ms": millis(now.saturating_duration_since(page.at)),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_ms": millis(now.saturating_duration_since(self.start)),
            "ports": { "rtmp": self.ports.rtmp, "http": self.ports.http, "ws": self.ports.ws },
            "tls": self.ports.tls,
            "player": web::has_player(),
            "shards": shards,
        })
    }

    fn streams(&self) -> Value {
        let pages = self.board.pages();
        let mut streams: Vec<(usize, &(StreamKey, StreamStats))> = pages
            .iter()
            .enumerate()
            .flat_map(|(shard, page)| page.streams.iter().map(move |stream| (shard, stream)))
            .collect();
        streams.sort_by(|(_, (one, _)), (_, (other, _))| one.cmp(other));
        let streams: Vec<Value> =
            streams.into_iter().map(|(shard, (key, stats))| stream(shard, key, stats)).collect();
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

fn stream(shard: usize, key: &StreamKey, stats: &StreamStats) -> Value {
    let publisher = stats
        .publisher
        .as_ref()
        .map(|party| json!({ "protocol": party.protocol, "peer": party.peer.to_string(), "id": &*party.id }));
    let viewers: usize = stats.readers.iter().map(|(_, readers)| readers).sum();
    let by_form: serde_json::Map<String, Value> =
        stats.readers.iter().map(|(kind, readers)| ((*kind).to_owned(), json!(readers))).collect();
    json!({
        "key": key.as_str(),
        "app": key.app(),
        "name": key.name(),
        "shard": shard,
        "live": publisher.is_some(),
        "publisher": publisher,
        "uptime_ms": millis(stats.uptime),
        "tracks": stats.scene.tracks().iter().map(track).collect::<Vec<_>>(),
        "transcodes": stats.derived.iter().map(transcode).collect::<Vec<_>>(),
        "viewers": viewers,
        "viewers_by_form": by_form,
        "bitrate_kbps": stats.bitrate / 1_000,
        "frames": stats.frames,
        "bytes_in": stats.bytes_in,
        "bytes_out": stats.bytes_out,
        "lag_ms": stats.lag.millis(),
        "skips": stats.skips,
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

/// Sound that is made for players who cannot take the publisher's.
fn transcode(derived: &DerivedStats) -> Value {
    let mut value = track(&derived.track);
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
