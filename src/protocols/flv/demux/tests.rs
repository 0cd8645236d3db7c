//! Tags as odd senders make them.

use shards::media::{Shape, TrackKind};

use super::*;

const AVCC: &[u8] = &[
    1, 0x64, 0, 9, 0xff, 0xe1, 0, 0x18, 0x67, 0x64, 0, 9, 0xac, 0xd9, 0x44, 0x26, 0xc0, 0x44, 0, 0, 3, 0, 4,
    0, 0, 3, 0, 0xc8, 0x3c, 0x48, 0x96, 0x58, 1, 0, 5, 0x68, 0xeb, 0xec, 0xb2, 0x2c, 0xfd, 0xf8, 0xf8, 0,
];

/// Feeds bodies at one time and tells what came of each.
fn feed(demux: &mut Demux, kind: TagType, timestamp: u32, parts: &[&[u8]]) -> Result<Vec<Item>, TagError> {
    let mut out = Vec::new();
    demux.tag(kind, timestamp, parts.concat().into(), &mut out).map(|()| out)
}

fn video(demux: &mut Demux, parts: &[&[u8]]) -> Result<Vec<Item>, TagError> {
    feed(demux, TagType::Video, 0, parts)
}

fn audio(demux: &mut Demux, parts: &[&[u8]]) -> Result<Vec<Item>, TagError> {
    feed(demux, TagType::Audio, 0, parts)
}

fn payloads(items: &[Item]) -> Vec<&[u8]> {
    items
        .iter()
        .filter_map(|item| if let Item::Frame(frame) = item { Some(&frame.payload[..]) } else { None })
        .collect()
}

#[test]
fn a_repeated_configuration_is_told_once_and_a_new_one_again() {
    let mut demux = Demux::new();
    let header = |config: &[u8], demux: &mut Demux| video(demux, &[&[0x17, 0, 0, 0, 0], config]);
    let first = header(AVCC, &mut demux).expect("a record");
    let [Item::Track(track)] = &first[..] else { panic!("{first:?}") };
    assert_eq!(track.config[..], *AVCC);
    assert_eq!(header(AVCC, &mut demux), Ok(vec![]));
    let changed = [&AVCC[..AVCC.len() - 4], &[0xfd, 0xf8, 0xf8, 0, 0]].concat();
    assert_eq!(header(&changed, &mut demux).map(|items| items.len()), Ok(1));
    assert_eq!(header(b"?", &mut demux), Err(TagError::BadConfig(Codec::H264)));
    assert_eq!(header(&[1; 70_000], &mut demux), Err(TagError::TooLarge { len: 70_000, len_max: 65_536 }));
}

#[test]
fn frames_before_their_configuration_are_told_apart() {
    let mut demux = Demux::new();
    let inter = [0x27, 1, 0, 0, 0, 0, 0, 0, 2, 0x41, 0x9a];
    assert_eq!(video(&mut demux, &[&inter]), Err(TagError::NoConfig(TrackId::VIDEO)));
    assert_eq!(audio(&mut demux, &[&[0xaf, 1, 0x21]]), Err(TagError::NoConfig(TrackId::AUDIO)));
    assert_eq!(audio(&mut demux, &[b"\x91Opus\xf8"]), Err(TagError::NoConfig(TrackId::AUDIO)));
    assert_eq!(video(&mut demux, &[b"\xa1vp09\x86"]), Err(TagError::NoConfig(TrackId::VIDEO)));
}

#[test]
fn short_lengths_become_four_bytes_in_record_and_pictures() {
    let mut demux = Demux::new();
    let mut record = AVCC.to_vec();
    record[4] = 0xfd;
    let items = video(&mut demux, &[&[0x17, 0, 0, 0, 0], &record]).expect("a record");
    assert!(matches!(&items[..], [Item::Track(track)] if track.config[..] == *AVCC));
    let items = video(&mut demux, &[&[0x17, 1, 0, 0, 0], &[0, 2, 0x65, 0x88]]).expect("a picture");
    assert_eq!(payloads(&items), [&[0, 0, 0, 2, 0x65, 0x88]]);
}

#[test]
fn annex_b_becomes_length_prefixed() {
    let start = [0, 0, 0, 1];
    let (sps, pps) = (&AVCC[8..32], &AVCC[35..40]);
    // In the sequence header, and without one.
    for with_header in [true, false] {
        let mut demux = Demux::new();
        if with_header {
            let items = video(&mut demux, &[&[0x17, 0, 0, 0, 0], &start, sps, &start, pps]).expect("sets");
            assert!(matches!(&items[..], [Item::Track(track)] if track.config[..] == *AVCC));
        }
        let key = [&[0x17, 1, 0, 0, 0], &start[..], sps, &start, pps, &start[1..], &[0x65, 0x88, 0x84]];
        let items = video(&mut demux, &key).expect("a picture");
        assert_eq!(items.len(), if with_header { 1 } else { 2 });
        if let [Item::Track(track), _] = &items[..] {
            assert_eq!((&track.config[..], track.shape), (AVCC, Shape::Video { width: 64, height: 64 }));
        }
        let payload = payloads(&items)[0];
        assert!(
            payload.ends_with(&[0, 0, 0, 3, 0x65, 0x88, 0x84]) && payload.starts_with(&[0, 0, 0, 24, 0x67])
        );
        let items = video(&mut demux, &key).expect("a picture");
        assert_eq!(items.len(), 1, "the track is known");
    }
}

#[test]
fn a_key_flag_on_a_predicted_picture_is_not_believed() {
    let mut demux = Demux::new();
    video(&mut demux, &[&[0x17, 0, 0, 0, 0], AVCC]).expect("a record");
    let mut kind = |first: u8, unit: &[u8]| {
        let len = [0, 0, 0, unit.len() as u8];
        match video(&mut demux, &[&[first, 1, 0, 0, 0], &len, unit]).expect("a picture").pop() {
            Some(Item::Frame(frame)) => frame.kind,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(kind(0x17, &[0x65, 0x88, 0x84]), FrameKind::Key);
    assert_eq!(kind(0x17, &[0x41, 0x9a, 0x24]), FrameKind::Inter);
    assert_eq!(kind(0x17, &[0x06, 6, 1, 0xc4, 0x80]), FrameKind::Key);
    assert_eq!(kind(0x37, &[0x01, 0x9e, 0x42]), FrameKind::Disposable);
    assert_eq!(
        kind(0x27, &[0x65, 0x88, 0x84]),
        FrameKind::Inter,
        "nor is a picture made key that was not told so"
    );
}

#[test]
fn pictures_that_fit_no_form_are_refused() {
    let mut demux = Demux::new();
    video(&mut demux, &[&[0x17, 0, 0, 0, 0], AVCC]).expect("a record");
    let broken = video(&mut demux, &[&[0x17, 1, 0, 0, 0], &[0, 0, 9, 9, 0x65]]);
    assert_eq!(broken, Err(TagError::BadPicture(TrackId::VIDEO)));
    assert_eq!(video(&mut demux, &[&[0x17, 1, 0, 0, 0]]), Ok(vec![]), "a picture of nothing");
    assert_eq!(video(&mut demux, &[&[0x17, 1, 0]]), Err(TagError::Truncated));
    assert_eq!(video(&mut demux, &[&[0x57, 0]]), Ok(vec![]), "a command");
    assert_eq!(demux.ignored(), 1);
}

#[test]
fn adts_is_taken_off() {
    let config = crate::codecs::aac::Config::lc(44_100, 2);
    let header = crate::codecs::aac::build_adts(&config, 3).expect("it can be told");
    let mut demux = Demux::new();
    let items =
        audio(&mut demux, &[&[0xaf, 1], &header, &[1, 2, 3], &header, &[4, 5, 6]]).expect("two frames");
    let [Item::Track(track), Item::Frame(_), Item::Frame(second)] = &items[..] else { panic!("{items:?}") };
    assert_eq!(track.config[..], [0x12, 0x10]);
    assert_eq!(payloads(&items), [&[1, 2, 3], &[4, 5, 6]]);
    assert_eq!(second.dts.micros(), 23_220);
}

#[test]
fn nanoseconds_are_added_to_the_time() {
    let mut demux = Demux::new();
    audio(&mut demux, &[b"\x90Opus", &crate::codecs::opus::build_head(2, 312)]).expect("a head");
    // ModEx of three bytes, type 0, then CodedFrames: 500,000 ns.
    let items =
        feed(&mut demux, TagType::Audio, 40, &[b"\x97\x02\x07\xa1\x20\x01Opus\xf8\x01"]).expect("a frame");
    assert!(matches!(&items[..], [Item::Frame(frame)] if frame.dts.micros() == 40_500));
    assert_eq!(payloads(&items), [&[0xf8, 1]]);
}

#[test]
fn one_tag_may_carry_many_tracks_and_one_of_them_may_be_bad() {
    let mut demux = Demux::new();
    let head = crate::codecs::opus::build_head(2, 312);
    let starts = [&b"\x95\x20Opus\0\0\0\x13"[..], &head, b"mp4a\x01\0\0\x02\x11\x90", b"nope\x02\0\0\x01?"];
    let mut out = Vec::new();
    let result = demux.tag(TagType::Audio, 0, starts.concat().into(), &mut out);
    assert_eq!(result, Err(TagError::UnsupportedFourCc(FourCc(*b"nope"))));
    let ids: Vec<_> =
        out.iter().map(|item| if let Item::Track(track) = item { track.id.index } else { 99 }).collect();
    assert_eq!(ids, [0, 1]);
    let items = audio(&mut demux, &[b"\x95\x11mp4a\x01\0\0\x01\x21"]).expect("a frame of the second track");
    assert!(matches!(&items[..], [Item::Frame(frame)] if frame.track == TrackId::new(TrackKind::Audio, 1)));
}

#[test]
fn tracks_are_bounded() {
    let mut demux = Demux::new();
    let start = |demux: &mut Demux, index: u8| audio(demux, &[b"\x95\0mp4a", &[index], &[0x11, 0x90]]);
    for index in 0..TRACKS_MAX as u8 {
        assert_eq!(start(&mut demux, index).map(|items| items.len()), Ok(1));
    }
    assert_eq!(start(&mut demux, 200), Err(TagError::TooManyTracks));
}

#[test]
fn av1_may_be_told_as_a_transport_stream_does() {
    let mut demux = Demux::new();
    let items = video(&mut demux, &[b"\x95av01", &[0x80, 4, 0x81, 0, 0x0c, 0xc0]]).expect("a descriptor");
    assert!(matches!(&items[..], [Item::Track(track)] if track.config[..] == [0x81, 0, 0x0c, 0]));
    let unit = [0x12, 0, 0x0a, 0x0a, 0, 0, 0, 2, 0xaf, 0xff, 0x9b, 0x5f, 0x20, 8, 0x32, 1, 0];
    let items = video(&mut demux, &[b"\x91av01", &unit]).expect("a picture");
    assert!(matches!(&items[..], [Item::Track(track), Item::Frame(_)] if track.shape != Shape::Unknown));
    assert_eq!(video(&mut demux, &[b"\x95hvc1", &[1, 2]]), Err(TagError::BadConfig(Codec::H265)));
}

#[test]
fn script_messages_pass_and_metadata_is_taken_out() {
    let mut demux = Demux::new();
    let text = b"\x02\0\x0aonTextData\x05";
    let script = |demux: &mut Demux, parts: &[&[u8]]| feed(demux, TagType::Script, 40, parts);
    let items = script(&mut demux, &[text]).expect("a message");
    assert!(matches!(&items[0], Item::Track(track) if track.id == TrackId::DATA));
    assert_eq!(payloads(&items), [text]);
    assert_eq!(script(&mut demux, &[b"\x02\0\x0d@setDataFrame", text]).map(|items| items.len()), Ok(1));
    let value = b"\x08\0\0\0\0\0\0\x09";
    for prefix in [&b""[..], b"\x02\0\x0d@setDataFrame"] {
        let items = script(&mut demux, &[prefix, b"\x02\0\x0aonMetaData", value]);
        assert_eq!(items, Ok(vec![Item::Metadata(Metadata(Bytes::from_static(value)))]));
    }
    assert_eq!(script(&mut demux, &[b"\x02\0\x0f@clearDataFrame"]), Ok(vec![]));
    assert_eq!(script(&mut demux, &[b"\x05"]), Err(TagError::Script));
}

#[test]
fn a_clock_that_wraps_moves_all_tracks() {
    let mut demux = Demux::new();
    audio(&mut demux, &[&[0xaf, 0, 0x11, 0x90]]).expect("a configuration");
    let mut at = |timestamp| match &feed(&mut demux, TagType::Audio, timestamp, &[&[0xaf, 1, 1]])
        .expect("a frame")[..]
    {
        [Item::Frame(frame)] => frame.dts.millis(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(0xffff_fff0), 0xffff_fff0);
    assert_eq!(at(0x10), 0x1_0000_0010);
    // A peer that jumps as far as it can for ever stays within the clock.
    for step in 0..100_u32 {
        at(step.wrapping_mul(0x7fff_ffff));
    }
}
