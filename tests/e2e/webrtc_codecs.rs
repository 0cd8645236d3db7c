//! Pictures of H.265, AV1 and VP9 from real encoders (libx265, libaom, libvpx), published by WHIP: players of Enhanced RTMP and
//! FLV decode them without an error, and so do viewers by WHEP, each in the codec of its stream.

use std::{sync::Arc, time::Duration};

use loadtest::rtc::{Content, Film, Seen, client::Arrived};
use shardcast::codecs::{h265, nal};
use str0m::format::Codec;

use crate::support::{
    Fixture, Kind, Server,
    media::Media,
    scratch,
    tools::{Tool, ffmpeg7},
    until,
    webrtc::{play_codecs, try_publish_content},
};

const FILMS: [(Media, Codec, &[Codec], &str); 3] = [
    (Media::HevcPlain, Codec::H265, &[Codec::H265], "live/h265"),
    (Media::Av1, Codec::Av1, &[Codec::Av1], "live/av1"),
    (Media::Vp9, Codec::Vp9, &[Codec::Vp9], "live/vp9"),
];
/// What ffmpeg shall decode, in seconds: more than a round of the film.
const SECONDS: &str = "6";

fn annex_b<'a>(units: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    units.flat_map(|unit| [&[0, 0, 0, 1], unit].concat()).collect()
}

/// The pictures of a fixture as a WebRTC encoder gives them.
fn film(media: Media, codec: Codec) -> Film {
    let units = Fixture::get(media).units();
    let pictures = || units.iter().filter(|unit| unit.kind == Kind::Video);
    let header = pictures().find(|unit| unit.header).expect("a sequence header");
    let sets = match codec {
        Codec::H265 => {
            let config = h265::parse_config(&header.data).expect("a configuration record");
            annex_b(config.units.iter().copied())
        }
        _ => Vec::new(),
    };
    let pictures = pictures().filter(|unit| !unit.header).map(|unit| -> Arc<[u8]> {
        match codec {
            Codec::H265 if unit.key => [&sets[..], &annex_b(nal::units(&unit.data, 4))].concat().into(),
            Codec::H265 => annex_b(nal::units(&unit.data, 4)).into(),
            _ => unit.data[..].into(),
        }
    });
    Film { codec, pictures: pictures.collect(), picture_us: 40_000 }
}

/// Whether there is a picture in a part of one: str0m's client, too, takes the end of a fragmented unit for a frame's.
fn is_picture(data: &[u8]) -> bool {
    nal::annex_b(data).any(|unit| h265::unit_type(unit) < 32)
}

/// What a viewer has seen, as a file that ffmpeg reads.
fn file(seen: &Seen, codec: Codec) -> std::path::PathBuf {
    let path = scratch(&format!("whep-{codec}.{}", if codec == Codec::H265 { "h265" } else { "ivf" }));
    let mut bytes = Vec::new();
    if codec == Codec::H265 {
        seen.pictures().for_each(|picture| bytes.extend_from_slice(&picture.data));
    } else {
        let fourcc = if codec == Codec::Av1 { b"AV01" } else { b"VP90" };
        bytes.extend_from_slice(b"DKIF\0\0\x20\0");
        bytes.extend_from_slice(fourcc);
        bytes.extend_from_slice(&[0x40, 1, 180, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for (n, picture) in (0_u64..).zip(seen.pictures()) {
            // A temporal unit of AV1 begins with a delimiter, which RTP leaves out.
            let delimiter: &[u8] = if codec == Codec::Av1 { &[0x12, 0] } else { &[] };
            bytes.extend_from_slice(&((delimiter.len() + picture.data.len()) as u32).to_le_bytes());
            bytes.extend_from_slice(&n.to_le_bytes());
            bytes.extend_from_slice(delimiter);
            bytes.extend_from_slice(&picture.data);
        }
    }
    std::fs::write(&path, bytes).expect("a file can be written");
    path
}

/// Decodes, and says how many pictures came of it. ffmpeg has nothing to complain of.
fn decode(who: &str, input: &str, more: &[&str]) -> usize {
    let mut args = vec!["-v", "error", "-nostdin", "-progress", "-", "-nostats", "-i", input];
    args.extend(more);
    args.extend(["-map", "0:v", "-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-f", "null", "-"]);
    let outcome = Tool::start(&ffmpeg7(), args).succeed(Duration::from_secs(60));
    assert!(outcome.stderr.is_empty(), "{who}: {}", outcome.stderr);
    let text = outcome.text();
    let frames = text.lines().rev().find_map(|line| line.strip_prefix("frame="));
    frames.and_then(|frames| frames.trim().parse().ok()).unwrap_or_else(|| panic!("{who}: {text}"))
}

#[test]
fn pictures_of_every_encoder_are_decoded_without_an_error_by_players_and_viewers() {
    let mut server = Server::start();
    let publishers: Vec<_> = FILMS
        .iter()
        .map(|(media, codec, _, key)| {
            let content = Content::Film(Arc::new(film(*media, *codec)));
            try_publish_content(server.http(), key, content).unwrap_or_else(|error| panic!("{key}: {error}"))
        })
        .collect();
    for (.., key) in FILMS {
        until("pictures", || server.stream(key).filter(|stream| stream["frames"].as_u64() > Some(10)));
    }
    // All at once, two viewers of different codecs among them.
    let viewers: Vec<_> =
        FILMS.iter().map(|(_, _, codecs, key)| play_codecs(server.http(), key, codecs)).collect();
    std::thread::scope(|scope| {
        for (.., key) in FILMS {
            for url in [server.rtmp_url(key), server.http_url(key)] {
                scope.spawn(move || {
                    let frames = decode(&url, &url, &["-t", SECONDS]);
                    eprintln!("{url}: {frames} pictures decoded");
                    assert!(frames > 100, "{url}: {frames} pictures in {SECONDS} s");
                });
            }
        }
    });
    for ((_, codec, _, key), viewer) in FILMS.iter().zip(viewers) {
        let seen = viewer.finish();
        let whole: Vec<_> =
            seen.pictures().filter(|picture| *codec != Codec::H265 || is_picture(&picture.data)).collect();
        let pictures = whole.len();
        assert!(seen.pictures().all(|picture| picture.codec == *codec), "{key}");
        let begins = |first: &&Arrived| match codec {
            Codec::H265 => h265::can_begin(nal::annex_b(&first.data)),
            _ => first.key,
        };
        assert!(whole.first().is_some_and(begins), "{key}: it begins with a keyframe");
        assert!(pictures > 100, "{key}: {pictures} pictures by WHEP");
        let decoded = decode(key, &file(&seen, *codec).to_string_lossy(), &[]);
        eprintln!(
            "{key}: {pictures} pictures by WHEP, {decoded} decoded, {} packets lost",
            seen.counts.lost()
        );
        assert_eq!(decoded, pictures, "{key}: every picture is decoded");
    }
    drop(publishers);
    server.assert_unhurt();
}
