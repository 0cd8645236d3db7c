//! `onMetaData`: what a publisher says of its stream, corrected before players hear it.
//!
//! Entries that only a file can have (its duration, its index) are left out, those that the tracks know better are
//! replaced, all others reach players as they came, nested ones too. Rates are Hz, sizes pixels.

use bytes::BytesMut;
use shards::media::{Codec, Metadata, Shape, Track, TrackId};

use super::FourCc;
use crate::protocols::amf0::Value;

/// What speaks of a file and is not true of a live stream; or of tracks that single-track players are not sent.
const DROPPED: [&str; 12] = [
    "duration",
    "filesize",
    "keyframes",
    "lasttimestamp",
    "lastkeyframetimestamp",
    "lastkeyframelocation",
    "hasKeyframes",
    "hasCuePoints",
    "canSeekToEnd",
    "cuePoints",
    "videoTrackIdInfoMap",
    "audioTrackIdInfoMap",
];

/// Appends a whole script body: `onMetaData` and an ECMA array.
///
/// `published` is the publisher's word, `tracks` what is known of the stream. Metadata that cannot be read is passed
/// over, so that the array then says only what the tracks know.
pub fn on_meta_data(published: Option<&Metadata>, tracks: &[Track], out: &mut BytesMut) {
    let value = published.and_then(decode);
    let mut entries = value.map(into_entries).unwrap_or_default();
    entries.retain(|(key, _)| !DROPPED.contains(&key.as_str()));
    for track in tracks {
        match track.id {
            TrackId::VIDEO => correct_video(&mut entries, track),
            TrackId::AUDIO => correct_audio(&mut entries, track),
            _ => {}
        }
    }
    set(&mut entries, "server", Value::String("Shardcast".to_owned()));
    set(&mut entries, "server_version", Value::String(env!("CARGO_PKG_VERSION").to_owned()));
    Value::String("onMetaData".to_owned()).encode(out);
    Value::EcmaArray(entries).encode(out);
}

fn decode(metadata: &Metadata) -> Option<Value> {
    Value::decode(&mut &metadata.0[..]).ok()
}

fn into_entries(value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(entries) | Value::EcmaArray(entries) | Value::Typed { fields: entries, .. } => entries,
        _ => Vec::new(),
    }
}

fn correct_video(entries: &mut Vec<(String, Value)>, track: &Track) {
    if let Shape::Video { width, height } = track.shape {
        set(entries, "width", Value::Number(f64::from(width)));
        set(entries, "height", Value::Number(f64::from(height)));
    }
    set(entries, "videocodecid", Value::Number(codec_id(track.codec)));
}

fn correct_audio(entries: &mut Vec<(String, Value)>, track: &Track) {
    if let Shape::Audio { sample_rate, channels } = track.shape {
        set(entries, "audiosamplerate", Value::Number(f64::from(sample_rate)));
        set(entries, "stereo", Value::Boolean(channels > 1));
        // OBS and others tell the number as well.
        if entries.iter().any(|(key, _)| key == "audiochannels") {
            set(entries, "audiochannels", Value::Number(f64::from(channels)));
        }
    }
    set(entries, "audiocodecid", Value::Number(codec_id(track.codec)));
}

/// The number by which the tags of a codec name it: legacy where the muxer writes legacy tags, else its FourCC.
fn codec_id(codec: Codec) -> f64 {
    match codec {
        Codec::H264 => 7.0,
        Codec::Aac => 10.0,
        Codec::Mp3 => 2.0,
        Codec::PcmA => 7.0,
        Codec::PcmU => 8.0,
        _ => FourCc::of(codec).map_or(0.0, |fourcc| f64::from(fourcc.number())),
    }
}

/// Replaces the entry `key` where it stands, or adds it.
fn set(entries: &mut Vec<(String, Value)>, key: &str, value: Value) {
    match entries.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => *old = value,
        None => entries.push((key.to_owned(), value)),
    }
}

/// Whether sound and whether pictures will come, according to the publisher; `None` where it does not say.
pub fn codec_hints(published: &Metadata) -> (Option<bool>, Option<bool>) {
    let Some(value) = decode(published) else {
        return (None, None);
    };
    let audio = says(
        &value,
        "hasAudio",
        "audiocodecid",
        &["audiosamplerate", "audiodatarate", "audiochannels", "stereo"],
    );
    let video = says(&value, "hasVideo", "videocodecid", &["width", "height", "videodatarate", "framerate"]);
    // Who names one codec and says nothing at all of the other sort has only the one.
    match (audio, video) {
        (Some(true), None) if value.get("audiocodecid").is_some() => (audio, Some(false)),
        (None, Some(true)) if value.get("videocodecid").is_some() => (Some(false), video),
        told => told,
    }
}

fn says(value: &Value, flag: &str, codec: &str, others: &[&str]) -> Option<bool> {
    if let Some(told) = value.get(flag).and_then(Value::as_bool) {
        return Some(told);
    }
    match value.get(codec) {
        Some(Value::Null | Value::Undefined) => return Some(false),
        Some(_) => return Some(true),
        None => {}
    }
    let told =
        others.iter().any(|key| value.get(key).and_then(Value::as_f64).is_some_and(|number| number > 0.0));
    told.then_some(true)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shards::media::TrackKind;

    use super::*;
    use crate::protocols::amf0::decode_all;

    fn metadata(entries: &[(&str, Value)]) -> Metadata {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let mut out = BytesMut::new();
        Value::Object(entries).encode(&mut out);
        Metadata(out.freeze())
    }

    fn track(codec: Codec, index: u8, shape: Shape) -> Track {
        Track { id: TrackId::new(codec.kind(), index), codec, config: Bytes::new(), shape }
    }

    fn corrected(published: Option<&Metadata>, tracks: &[Track]) -> Value {
        let mut out = BytesMut::new();
        on_meta_data(published, tracks, &mut out);
        let mut values = decode_all(&out).expect("what is written can be read");
        assert_eq!(values.len(), 2);
        assert_eq!(values[0].as_str(), Some("onMetaData"));
        assert!(matches!(values[1], Value::EcmaArray(_)));
        values.remove(1)
    }

    #[test]
    fn tracks_correct_what_the_publisher_says_and_the_rest_stays() {
        let nested = Value::Object(vec![("deep".to_owned(), Value::StrictArray(vec![Value::Number(1.0)]))]);
        let published = metadata(&[
            ("duration", Value::Number(12.0)),
            ("width", Value::Number(1.0)),
            ("encoder", Value::String("an encoder".to_owned())),
            ("nested", nested.clone()),
            ("videocodecid", Value::String("avc1".to_owned())),
            ("audiochannels", Value::Number(9.0)),
            ("server", Value::String("another".to_owned())),
        ]);
        let tracks = [
            track(Codec::H265, 0, Shape::Video { width: 1_920, height: 1_080 }),
            track(Codec::H264, 1, Shape::Video { width: 640, height: 360 }),
            track(Codec::Aac, 0, Shape::Audio { sample_rate: 48_000, channels: 2 }),
        ];
        let value = corrected(Some(&published), &tracks);
        let number = |key| value.get(key).and_then(Value::as_f64);
        assert_eq!((number("width"), number("height")), (Some(1_920.0), Some(1_080.0)));
        assert_eq!(number("videocodecid"), Some(f64::from(0x6876_6331)));
        assert_eq!((number("audiocodecid"), number("audiosamplerate")), (Some(10.0), Some(48_000.0)));
        assert_eq!((number("audiochannels"), value.get("stereo")), (Some(2.0), Some(&Value::Boolean(true))));
        assert_eq!((value.get("duration"), value.get("nested")), (None, Some(&nested)));
        assert_eq!(value.get("server").and_then(Value::as_str), Some("Shardcast"));
        assert_eq!(value.get("encoder").and_then(Value::as_str), Some("an encoder"));
    }

    #[test]
    fn a_publisher_that_says_nothing_is_spoken_for() {
        let pictures = track(Codec::H264, 0, Shape::Video { width: 64, height: 48 });
        for published in
            [None, Some(Metadata(Bytes::from_static(&[3, 0, 9]))), Some(Metadata(Bytes::from_static(&[5])))]
        {
            let value = corrected(published.as_ref(), std::slice::from_ref(&pictures));
            assert_eq!(value.get("width").and_then(Value::as_f64), Some(64.0));
            assert_eq!(value.get("audiocodecid"), None);
        }
        assert_eq!(TrackKind::Video, pictures.id.kind);
    }

    #[test]
    fn metadata_tells_which_tracks_will_come() {
        let number = |key: &'static str| (key, Value::Number(7.0));
        let hints = |entries: &[(&str, Value)]| codec_hints(&metadata(entries));
        assert_eq!(hints(&[number("videocodecid"), number("audiocodecid")]), (Some(true), Some(true)));
        assert_eq!(hints(&[number("videocodecid"), number("width")]), (Some(false), Some(true)));
        assert_eq!(hints(&[number("audiocodecid")]), (Some(true), Some(false)));
        assert_eq!(hints(&[number("width")]), (None, Some(true)));
        assert_eq!(hints(&[("hasAudio", Value::Boolean(false)), number("width")]), (Some(false), Some(true)));
        assert_eq!(hints(&[]), (None, None));
        assert_eq!(codec_hints(&Metadata(Bytes::from_static(b"?"))), (None, None));
    }
}
