//! B-frames and browsers: what a WHEP viewer gets of streams of a real encoder that reorders its pictures. Those that are shown out of
//! order are left out whole; what stays is decoded without a word of complaint and, bit by bit, to what the whole stream is decoded to.

use std::{collections::HashMap, time::Duration};

use loadtest::rtc::client::Arrived;
use shardcast::codecs::{h264, nal};

use crate::support::{
    Kind, Server, Unit, flv, scratch,
    tools::{FFMPEG5, Tool},
    until,
    webrtc::play,
    within,
};

const KEY: &str = "live/film";
/// What ffmpeg is told, and whether what stays refers to nothing that goes.
const ENCODERS: [(&str, &str, bool); 4] = [
    ("none", "-preset medium -bf 3 -x264-params b-pyramid=none", true),
    ("strict", "-preset medium -bf 3 -x264-params b-pyramid=strict", true),
    // As OBS does: one reference frame.
    ("normal-1", "-preset veryfast -bf 3 -x264-params b-pyramid=normal", true),
    // ffmpeg's defaults: P-frames may refer to B-frames.
    ("normal-3", "-preset medium -bf 3", false),
];

/// Eight seconds at 25 pictures a second, a keyframe every two.
fn film(name: &str, encoder: &str) -> String {
    let path = scratch(&format!("bframes-{name}.flv")).to_string_lossy().into_owned();
    let mut args: Vec<&str> =
        "-v error -nostdin -y -f lavfi -i testsrc2=size=320x180:rate=25 -t 8 -c:v libx264 -b:v 600k -g 50"
            .split(' ')
            .collect();
    args.extend(encoder.split(' '));
    args.extend(["-sc_threshold", "0", "-pix_fmt", "yuv420p", &path]);
    Tool::start(FFMPEG5, args).succeed(Duration::from_secs(60));
    path
}

/// The slices of a picture.
fn slices<'a>(units: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    units.filter(|unit| matches!(h264::unit_type(unit), 1 | 5)).collect::<Vec<_>>().concat()
}

/// Decodes a file: a hash of each picture. ffmpeg has nothing to say.
fn hashes(path: &str) -> Vec<String> {
    let args = [
        "-v",
        "warning",
        "-nostdin",
        "-i",
        path,
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ];
    let told = Tool::start(FFMPEG5, args).succeed(Duration::from_secs(60));
    // A picture that is gone may have told decoders to let go of another, which then left by itself.
    let complaints: Vec<&str> = told
        .stderr
        .lines()
        .filter(|line| !line.is_empty() && !line.contains("mmco: unref short failure"))
        .collect();
    assert!(complaints.is_empty(), "{path}: {complaints:?}");
    let text = told.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next()).map(|hash| hash.trim().to_owned()).collect()
}

/// Plays the film from its beginning to its end.
fn watch(server: &Server, path: &str) -> Vec<Arrived> {
    let url = server.rtmp_url(KEY);
    let publisher =
        Tool::start(FFMPEG5, ["-v", "error", "-nostdin", "-re", "-i", path, "-c", "copy", "-f", "flv", &url]);
    until("the stream", || server.stream(KEY).filter(|stream| !stream["publisher"].is_null()));
    let viewer = play(server.http(), KEY);
    publisher.succeed(Duration::from_secs(30));
    // The last pictures are on their way.
    let _ = within(Duration::from_millis(300), || None::<()>);
    let seen = viewer.finish();
    assert_eq!(seen.counts.lost(), 0);
    seen.pictures().cloned().collect()
}

/// The pictures that come in the order in which they are shown.
fn in_order(units: &[Unit]) -> Vec<&Unit> {
    let mut newest = i64::MIN;
    let is_next = |unit: &&Unit| {
        let shown = unit.dts + unit.cts;
        let is_next = newest <= shown;
        newest = newest.max(shown);
        is_next
    };
    units.iter().filter(|unit| unit.kind == Kind::Video && !unit.header).filter(is_next).collect()
}

#[test]
fn what_is_left_of_a_stream_with_b_frames_is_decoded_to_what_it_was() {
    let server = Server::builder().grace("0ms").start();
    for (name, encoder, is_exact) in ENCODERS {
        let path = film(name, encoder);
        let units = flv::units(flv::read_file(&std::fs::read(&path).expect("a film")).iter());
        let all = units.iter().filter(|unit| unit.kind == Kind::Video && !unit.header).count();
        let kept = in_order(&units);
        let numbers: HashMap<Vec<u8>, usize> =
            kept.iter().enumerate().map(|(n, unit)| (slices(nal::units(&unit.data, 4)), n)).collect();

        let seen = watch(&server, &path);
        let came: Vec<usize> = seen
            .iter()
            .map(|picture| {
                let number = numbers.get(&slices(nal::annex_b(&picture.data)));
                *number.unwrap_or_else(|| {
                    panic!("{name}: a picture that was to be left out, or is none of the film's")
                })
            })
            .collect();
        assert!(
            came.windows(2).all(|two| two[1] == two[0] + 1),
            "{name}: every one that stays, in order: {came:?}"
        );
        assert!(came.len() > kept.len() / 2 && came.last() == Some(&(kept.len() - 1)), "{name}: {came:?}");
        assert!(seen.windows(2).all(|two| two[0].time_us < two[1].time_us), "{name}: time runs forwards");
        for set in seen.iter().flat_map(|picture| nal::annex_b(&picture.data)) {
            assert_eq!(h264::in_order(set), None, "{name}: parameter sets say that nothing is reordered");
        }

        let received = scratch(&format!("bframes-{name}.received.h264")).to_string_lossy().into_owned();
        std::fs::write(&received, seen.iter().flat_map(|picture| picture.data.to_vec()).collect::<Vec<u8>>())
            .expect("a file can be written");
        let (decoded, whole) = (hashes(&received), hashes(&path));
        assert_eq!(decoded.len(), seen.len(), "{name}: every picture is decoded");
        let exact = decoded.iter().filter(|hash| whole.contains(hash)).count();
        eprintln!(
            "{name}: {all} pictures, {} in order, {} came, {exact} of them exactly as in the film",
            kept.len(),
            came.len()
        );
        assert!(!is_exact || exact == decoded.len(), "{name}: {exact} of {} are exact", decoded.len());
        until("the end of the stream", || {
            server.stream(KEY).is_none_or(|stream| stream["publisher"].is_null()).then_some(())
        });
    }
}
