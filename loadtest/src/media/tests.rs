//! What is published is what decoders and servers expect, told by this house's own parsers.

use super::*;
use shardcast::{
    codecs::{h264 as codec, nal},
    protocols::flv::{Demux, Item, Reader, ReaderOptions},
};
use shards::media::{Codec, FrameKind, Shape, TrackId};

const SHAPE: synthetic::Shape = synthetic::Shape {
    bit_rate: 2_000_000,
    audio_bit_rate: 128_000,
    picture_rate: 30.0,
    group: 60,
    size: (1_280, 720),
};

/// As many messages as `seconds` take, as an FLV stream, and their bytes without tags.
fn stream(programme: &Programme, seconds: u64) -> (BytesMut, usize) {
    let mut source = Source::new(programme, 77, 3);
    let (mut wire, mut bytes) = (BytesMut::from(&source.flv_preamble()[..]), 0);
    let mut body = BytesMut::new();
    while source.due_us() < seconds * 1_000_000 {
        let now = source.due_us() * 1_000;
        body.clear();
        let message = source.next(now, &mut body);
        bytes += body.len();
        flv::write_tag(&mut wire, tag_type(message.kind), message.timestamp, &[&body]);
    }
    (wire, bytes)
}

fn items(wire: &BytesMut) -> Vec<Item> {
    let mut input = wire.clone();
    let mut reader = Reader::new(ReaderOptions { tag_bytes_max: 1 << 24 });
    let (mut demux, mut items) = (Demux::new(), Vec::new());
    while let Some(tag) = reader.read(&mut input).expect("what was written here is FLV") {
        demux.tag(tag.kind, tag.timestamp, tag.body, &mut items).expect("tags that make sense");
    }
    assert!(input.is_empty() && reader.wrong_sizes() == 0 && demux.ignored() == 0);
    items
}

#[test]
fn a_made_up_stream_is_one_to_our_own_demuxer() {
    let (wire, bytes) = stream(&Programme::Synthetic(SHAPE), 4);
    let rate = bytes as f64 * 8.0 / 4.0;
    assert!((rate / 2e6 - 1.0).abs() < 0.01, "2 Mbit/s were asked for, {rate} came");
    let (mut pictures, mut keys, mut sounds) = (0_u64, 0, 0);
    let (mut video, mut audio) = (None, None);
    for item in items(&wire) {
        match item {
            Item::Track(track) if track.codec == Codec::H264 => video = Some(track),
            Item::Track(track) => audio = Some(track),
            Item::Frame(frame) if frame.track == TrackId::AUDIO => sounds += 1,
            Item::Frame(frame) => {
                assert!(nal::is_length_prefixed(&frame.payload, 4));
                let types: Vec<u8> = nal::units(&frame.payload, 4).map(codec::unit_type).collect();
                let key = frame.kind == FrameKind::Key;
                assert_eq!(types, [codec::unit_type::SEI, if key { codec::unit_type::IDR } else { 1 }, 12]);
                assert_eq!(codec::can_begin(nal::units(&frame.payload, 4)), key);
                assert_eq!(frame.dts.micros() / 1_000, (pictures * 1_000 / 30) as i64);
                let marker = Marker::find(&frame.payload).expect("every picture has one");
                assert_eq!((marker.run, marker.stream, marker.picture), (77, 3, pictures));
                assert_eq!(marker.sent_ns / 1_000, (pictures as f64 * 1e6 / 30.0) as u64);
                (pictures, keys) = (pictures + 1, keys + u64::from(key));
            }
            Item::Metadata(_) => {}
        }
    }
    assert_eq!((pictures, keys), (120, 2));
    assert!((172..=173).contains(&sounds), "{sounds} frames of sound in 4 s");
    let audio = audio.expect("a sound track");
    assert_eq!((audio.codec, audio.shape), (Codec::Aac, Shape::Audio { sample_rate: 44_100, channels: 2 }));
    assert_eq!(video.expect("a picture track").shape, Shape::Video { width: 1_280, height: 720 });
}

#[test]
fn parameter_sets_say_the_size_that_was_asked_for() {
    for (size, picture_rate) in
        [((640, 360), 30.0), ((1_920, 1_080), 60.0), ((16, 16), 1.0), ((322, 182), 29.97)]
    {
        let shape = h264::Shape { width: size.0, height: size.1, picture_rate };
        let sps = codec::parse_sps(&shape.sps()).expect("a sequence parameter set");
        assert_eq!((sps.width, sps.height), size);
        assert_eq!((sps.profile, sps.constraints), (66, 0xc0));
        let record = h264::config(&shape.sps(), &shape.pps());
        let config = codec::parse_config(&record).expect("a configuration record");
        assert_eq!((config.length_size, config.sps.len(), config.pps.len()), (4, 1, 1));
    }
}

#[test]
fn little_of_a_picture_is_filler() {
    let programme = Programme::Synthetic(SHAPE);
    let mut source = Source::new(&programme, 1, 0);
    let (mut filler, mut all) = (0, 0);
    for _ in 0..200 {
        let mut body = BytesMut::new();
        if source.next(0, &mut body).kind == MediaKind::Video {
            all += body.len();
            let units = nal::units(&body[5..], 4).filter(|unit| codec::unit_type(unit) == 12);
            filler += units.map(<[u8]>::len).sum::<usize>();
        }
    }
    assert!(filler * 12 < all, "{filler} of {all} bytes may be left out by servers");
}

#[test]
fn a_rate_too_low_for_the_picture_is_told() {
    assert_eq!(SHAPE.too_little(), None);
    assert!(synthetic::Shape { bit_rate: 20_000, audio_bit_rate: 0, ..SHAPE }.too_little().is_some());
}

#[test]
fn a_stream_without_sound_says_so() {
    let (wire, _) = stream(&Programme::Synthetic(synthetic::Shape { audio_bit_rate: 0, ..SHAPE }), 1);
    assert!(items(&wire).iter().all(|item| !matches!(item, Item::Track(track) if track.codec == Codec::Aac)));
}

#[test]
fn a_file_goes_on_and_on_with_markers() {
    let (wire, _) = stream(&Programme::Synthetic(SHAPE), 1);
    let clip = Clip::parse("one.flv", wire).expect("a file");
    assert!((clip.bit_rate() as f64 / 2e6 - 1.0).abs() < 0.2, "{}", clip.describe());
    let (again, _) = stream(&Programme::Clip(Arc::new(clip)), 3);
    let mut last = [-1, -1];
    let mut pictures = 0;
    for item in items(&again) {
        let Item::Frame(frame) = item else { continue };
        let known = &mut last[usize::from(frame.is_video())];
        assert!(frame.dts.millis() > *known, "a clock that goes on: {} behind {known}", frame.dts.millis());
        *known = frame.dts.millis();
        if frame.is_video() {
            // The clip's own marker stands behind the new one.
            let marker = Marker::find(&frame.payload).expect("a marker");
            assert!(marker.picture == pictures || marker.picture == pictures % 30, "{marker:?}");
            pictures += 1;
        }
    }
    assert!((88..=92).contains(&pictures), "{pictures} pictures in 3 s");
}

#[test]
fn what_is_no_file_is_told() {
    assert!(matches!(
        Clip::parse("x", BytesMut::from(&b"\0\0\0\x18ftypmp42"[..])),
        Err(file::ClipError::NotFlv(_))
    ));
    assert!(matches!(Clip::parse("x", BytesMut::new()), Err(file::ClipError::Empty)));
}

#[test]
fn an_mp4_is_published_with_its_frames_as_they_are() {
    let path = std::env::temp_dir().join(format!("loadtest-{}.mp4", std::process::id()));
    let made = std::process::Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc=d=1:s=64x64:r=25",
            "-f",
            "lavfi",
            "-i",
            "sine=d=1",
        ])
        .args(["-c:v", "libx264", "-c:a", "aac"])
        .arg(&path)
        .status();
    assert!(
        made.is_ok_and(|made| made.success()),
        "ffmpeg makes the file (scripts/deps.sh test installs it)"
    );
    let clip = Clip::open(&path);
    let _ = std::fs::remove_file(&path);
    let clip = clip.expect("an MP4");
    let described = clip.describe();
    assert!(described.contains(".mp4 (1.") && !described.contains("no markers"), "{described}");
    std::fs::write(&path, b"\0\0\0\x18ftypmp42 and then nonsense").expect("a file");
    let broken = Clip::open(&path);
    let _ = std::fs::remove_file(&path);
    assert!(matches!(broken, Err(file::ClipError::Remux(_))));
}
