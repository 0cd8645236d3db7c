//! Streams, and their codecs in SRS's words.

use std::borrow::Cow;

use serde_json::{Value, json};
use shards::media::{Codec, Shape, StreamKey, Track, TrackId};

use super::{
    super::{
        Api,
        visit::Visit,
        watch::Sight,
        whole::{self, Whole},
    },
    Outcome, code, note_late, part,
};
use crate::codecs::{aac, h264, h265};

/// A part of all streams.
pub fn list(api: &Api, visit: &Visit) -> Outcome {
    if !visit.reads() {
        return Outcome::Method;
    }
    let (pages, sight, (start, count)) = (api.pages(), api.sight(), part(visit));
    let all = whole::streams(&pages);
    let streams: Vec<Value> =
        all.iter().skip(start).take(count).map(|stream| value(api, &sight, stream)).collect();
    let mut payload = json!({ "streams": streams, "total": all.len() });
    note_late(&mut payload, &whole::late(&pages, std::time::Instant::now()));
    Outcome::Done(payload)
}

/// One of them. A stream cannot be deleted: its publisher can.
pub fn one(api: &Api, visit: &Visit, id: &str) -> Outcome {
    if !visit.reads() {
        return Outcome::Method;
    }
    let pages = api.pages();
    let all = whole::streams(&pages);
    match all.iter().find(|stream| api.identity().stream_id(stream.key) == id) {
        Some(stream) => Outcome::Done(json!({ "stream": value(api, &api.sight(), stream) })),
        None => Outcome::Failed(code::STREAM),
    }
}

/// `/app/stream`.
pub fn url(key: &StreamKey) -> String {
    format!("/{}", key.as_str())
}

/// An address without what may be a secret.
pub fn without_query(url: &str) -> Cow<'_, str> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
            let (_, rest) = rest.split_once('@').unwrap_or(("", rest));
            Cow::Owned(format!("{scheme}://{rest}"))
        }
        _ => Cow::Borrowed(url),
    }
}

fn value(api: &Api, sight: &Sight, stream: &Whole<'_>) -> Value {
    let Whole { key, stats, .. } = stream;
    let (identity, rates) = (api.identity(), sight.of(key));
    let publish = match &stats.publisher {
        Some(party) => json!({ "active": true, "cid": &*party.id }),
        None => json!({ "active": false }),
    };
    let said = stats.publisher.as_ref().map(|party| &*party.tc_url).filter(|url| !url.is_empty());
    let nobody = format!("rtmp://{}/{}", crate::identity::VHOST, key.app());
    json!({
        "id": identity.stream_id(key),
        "name": key.name(),
        "vhost": identity.vhost_id(),
        "app": key.app(),
        "tcUrl": without_query(said.unwrap_or(&nobody)),
        "url": url(key),
        "live_ms": super::super::unix_ms(),
        "clients": stream.clients(),
        "frames": stats.frames,
        "audio_frames": stats.audio_frames,
        "video_frames": stats.video_frames,
        "send_bytes": stream.totals().bytes,
        "recv_bytes": stats.bytes_in,
        "kbps": { "recv_30s": rates.received / 1_000, "send_30s": rates.sent / 1_000 },
        "publish": publish,
        "video": stats.scene.track(TrackId::VIDEO).map_or(Value::Null, video),
        "audio": stats.scene.track(TrackId::AUDIO).map_or(Value::Null, audio),
    })
}

fn video(track: &Track) -> Value {
    let (width, height) = match track.shape {
        Shape::Video { width, height } => (width, height),
        _ => (0, 0),
    };
    let (profile, level) = match track.codec {
        Codec::H264 => h264_words(&track.config),
        Codec::H265 => h265_words(&track.config),
        _ => None,
    }
    .map_or((Value::Null, Value::Null), |(profile, level)| (profile.into(), level.into()));
    json!({
        "codec": track.codec.name(), "profile": profile, "level": level, "width": width, "height": height,
    })
}

fn audio(track: &Track) -> Value {
    let (sample_rate, channel) = match track.shape {
        Shape::Audio { sample_rate, channels } => (sample_rate, channels),
        _ => (0, 0),
    };
    let codec = match track.codec {
        Codec::Aac | Codec::Mp3 | Codec::Opus => track.codec.name(),
        _ => "Other",
    };
    let profile = match track.codec {
        Codec::Aac => aac_word(&track.config),
        _ => "Other",
    };
    json!({ "codec": codec, "sample_rate": sample_rate, "channel": channel, "profile": profile })
}

/// Profile and level (H.264 annex A), from the configuration record.
fn h264_words(config: &[u8]) -> Option<(&'static str, String)> {
    let [1, profile, constraints, level, ..] = *config else { return None };
    // Only records that hold a whole parameter set are believed.
    h264::parse_config(config)?;
    let (set1, set3) = (constraints & 0x40 != 0, constraints & 0x10 != 0);
    let profile = match (profile, set1, set3) {
        (66, false, _) => "Baseline",
        (66, true, _) => "Baseline(Constrained)",
        (77, ..) => "Main",
        (88, ..) => "Extended",
        (100, ..) => "High",
        (110, _, false) => "High(10)",
        (110, _, true) => "High(10+Intra)",
        (122, _, false) => "High(422)",
        (122, _, true) => "High(422+Intra)",
        (144 | 244, _, false) => "High(444)",
        (144 | 244, _, true) => "High(444+Intra)",
        _ => "Other",
    };
    Some((profile, tenths(level)))
}

/// Level numbers of H.264 are tenths: 31 is 3.1, 40 is 4.
fn tenths(level: u8) -> String {
    match (level / 10, level % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

/// Profile and level (H.265 annex A), from the configuration record.
fn h265_words(config: &[u8]) -> Option<(&'static str, String)> {
    let profile = h265::parse_config(config)?.profile;
    let word = match profile.idc {
        1 => "Main",
        2 => "Main10",
        3 => "Main Still Picture",
        4 => "Rext",
        _ => "Other",
    };
    // Level numbers of H.265 are thirtieths.
    Some((word, tenths(profile.level / 3)))
}

fn aac_word(config: &[u8]) -> &'static str {
    match aac::parse_config(config).map(|config| config.object_type_named()) {
        Some(1) => "Main",
        Some(2) => "LC",
        Some(3) => "SSR",
        Some(5) => "HE",
        Some(29) => "HEv2",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_said_as_people_say_them() {
        assert_eq!([10, 11, 31, 40, 51].map(tenths), ["1", "1.1", "3.1", "4", "5.1"]);
        assert_eq!([93, 120, 153].map(|level| tenths(level / 3)), ["3.1", "4", "5.1"]);
    }

    #[test]
    fn profiles_of_sound_have_srs_s_names() {
        // AAC-LC at 44.1 kHz in stereo; nothing at all.
        assert_eq!(aac_word(&[0x12, 0x10]), "LC");
        assert_eq!(aac_word(&[]), "Other");
    }

    #[test]
    fn a_record_that_is_none_has_no_profile() {
        assert_eq!(h264_words(&[]), None);
        assert_eq!(h264_words(&[1, 100, 0, 31]), None);
        assert_eq!(h265_words(&[1, 2, 3]), None);
    }
}
