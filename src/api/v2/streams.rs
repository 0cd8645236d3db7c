//! Streams, each with the viewers that its mirrors have on other shards.

use std::time::Instant;

use serde_json::{Value, json};
use shards::{
    media::{Shape, StreamKey, Track},
    stream::{DerivedStats, StreamStats},
};

use super::{
    super::{
        Api, millis,
        watch::Sight,
        whole::{self, Whole},
    },
    Outcome,
};
use crate::codecs;

/// All of them, by name.
pub fn list(api: &Api) -> Value {
    let (pages, sight) = (api.pages(), api.sight());
    let all = whole::streams(&pages);
    json!({
        "streams": all.iter().map(|stream| value(&sight, stream)).collect::<Vec<_>>(),
        "total": all.len(),
        "shards": pages.len(),
        "late_shards": whole::late(&pages, Instant::now()),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// One of them.
pub fn one(api: &Api, key: &str) -> Outcome {
    let key: StreamKey = match key.parse() {
        Ok(key) => key,
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    let pages = api.pages();
    match whole::streams(&pages).iter().find(|stream| *stream.key == key) {
        Some(stream) => Outcome::Done(value(&api.sight(), stream)),
        None => Outcome::Missing(format!("there is no stream {key}")),
    }
}

fn value(sight: &Sight, stream: &Whole<'_>) -> Value {
    let Whole { key, stats, shard, .. } = stream;
    let publisher = stats
        .publisher
        .as_ref()
        .map(|party| json!({ "protocol": party.protocol, "peer": party.peer.to_string(), "id": &*party.id }));
    let transcodes: Vec<Value> = stream
        .everywhere()
        .flat_map(|(shard, stats)| stats.derived.iter().map(move |derived| transcode(shard, derived)))
        .collect();
    let mirrors = stream.mirrors.iter();
    let mirrors: Vec<Value> =
        mirrors.map(|(shard, stats)| json!({ "shard": shard, "viewers": viewers(stats) })).collect();
    let (totals, rates) = (stream.totals(), sight.of(key));
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
        "viewers": stream.viewers(),
        "viewers_by_form": stream.forms(),
        "mirrors": mirrors,
        "bitrate_kbps": stats.bitrate / 1_000,
        "kbps_in": rates.received / 1_000,
        "kbps_out": rates.sent / 1_000,
        "frames": stats.frames,
        "video_frames": stats.video_frames,
        "audio_frames": stats.audio_frames,
        "bytes_in": stats.bytes_in,
        "bytes_out": totals.bytes,
        "lag_ms": stream.lag().millis(),
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
