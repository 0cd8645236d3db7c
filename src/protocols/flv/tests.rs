//! Real files through reader, demuxer and muxer, well and mutated.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use shards::media::{Codec, Frame, FrameKind, Shape, Track, TrackId, TrackKind};

use super::*;

/// Made by ffmpeg 5.1 (legacy) and 9.0 (enhanced): 64x64, half a second.
const FILES: [(&str, &[u8]); 13] = [
    ("h264 aac", include_bytes!("testdata/h264_aac.flv")),
    ("h264 open gop", include_bytes!("testdata/h264_open_gop.flv")),
    ("aac 5.1", include_bytes!("testdata/aac_51.flv")),
    ("mp3", include_bytes!("testdata/mp3.flv")),
    ("mp3 at 48 kHz", include_bytes!("testdata/mp3_48k.flv")),
    ("alaw", include_bytes!("testdata/alaw.flv")),
    ("mulaw", include_bytes!("testdata/mulaw.flv")),
    ("hevc opus", include_bytes!("testdata/hevc_opus.flv")),
    ("av1 flac", include_bytes!("testdata/av1_flac.flv")),
    ("vp9 ac3", include_bytes!("testdata/vp9_ac3.flv")),
    ("eac3", include_bytes!("testdata/eac3.flv")),
    ("multitrack", include_bytes!("testdata/multitrack.flv")),
    ("multitrack of one codec", include_bytes!("testdata/multitrack_avc.flv")),
];

fn tags(file: &[u8]) -> Vec<Tag> {
    let mut reader = Reader::new(ReaderOptions { tag_bytes_max: 1 << 20 });
    let (mut input, mut tags) = (BytesMut::from(file), Vec::new());
    while let Some(tag) = reader.read(&mut input).expect("the file is well") {
        tags.push(tag);
    }
    assert!(input.is_empty());
    assert_eq!((reader.wrong_sizes(), reader.unknown_tags()), (0, 0));
    tags
}

fn items(tags: &[Tag]) -> Vec<Item> {
    let (mut demux, mut items) = (Demux::new(), Vec::new());
    for tag in tags {
        demux.tag(tag.kind, tag.timestamp, tag.body.clone(), &mut items).expect("the tag is well");
    }
    items
}

fn named(name: &str) -> Vec<Item> {
    let (_, file) = FILES.iter().find(|(known, _)| *known == name).expect("the file is in the list");
    items(&tags(file))
}

fn tracks(items: &[Item]) -> Vec<&Track> {
    items.iter().filter_map(|item| if let Item::Track(track) = item { Some(track) } else { None }).collect()
}

fn frames(items: &[Item], id: TrackId) -> Vec<&Frame> {
    let all = items.iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None });
    all.filter(|frame| frame.track == id).collect()
}

/// What a rendition does: every item as a whole tag again, other tracks in multitrack form.
fn mux(items: &[Item]) -> Vec<u8> {
    let mut out = BytesMut::from(&file_header(true, true)[..]);
    let mut tracks: Vec<Track> = Vec::new();
    for item in items {
        match item {
            Item::Track(track) => {
                tracks.retain(|known| known.id != track.id);
                tracks.push(track.clone());
                let mut body = BytesMut::new();
                if multitrack_sequence_header(track, &mut body) {
                    write_tag(&mut out, tag_type(track.id.kind), 0, &[&body]);
                }
            }
            Item::Frame(frame) => {
                let track = tracks.iter().find(|track| track.id == frame.track).expect("a track comes first");
                let head = multitrack_frame_head(track, frame).expect("FLV carries it");
                write_tag(
                    &mut out,
                    tag_type(track.id.kind),
                    frame.dts.millis() as u32,
                    &[&head, &frame.payload],
                );
            }
            Item::Metadata(_) => {}
        }
    }
    out.to_vec()
}

#[test]
fn every_file_comes_out_as_it_went_in() {
    for (name, file) in FILES {
        let first = items(&tags(file));
        assert!(first.iter().any(|item| matches!(item, Item::Frame(_))), "{name}");
        assert!(first.iter().any(|item| matches!(item, Item::Metadata(_))), "{name}");
        let again = items(&tags(&mux(&first)));
        let media: Vec<_> = first.iter().filter(|item| !matches!(item, Item::Metadata(_))).collect();
        assert_eq!(again.iter().collect::<Vec<_>>(), media, "{name}");
    }
}

/// The tags themselves, not only the frames: what players of the same codec get is what the publisher sent.
#[test]
fn coded_tags_are_written_byte_for_byte() {
    for (name, file) in FILES {
        let before = tags(file);
        let after = tags(&mux(&items(&before)));
        let mut rest = after.iter();
        // Not written again: metadata, colours, channels, ends (ffmpeg's are frames of nothing), and starts.
        let coded = |tag: &&Tag| match (tag.kind, &tag.body[..]) {
            (TagType::Script, _) | (_, [_, b'a'..=b'z' | b'A'..=b'Z' | b'.', _, _, _]) => false,
            (TagType::Video, [first, second, ..]) if first & 0x80 != 0 => {
                matches!((first & 15, second), (1 | 3, _) | (6, 1 | 3))
            }
            (TagType::Audio, [first, second, ..]) if first >> 4 == 9 => {
                matches!((first & 15, second), (1, _) | (5, 1))
            }
            (TagType::Video, [_, packet, _, _, _, rest @ ..]) => *packet == 1 && !rest.is_empty(),
            (_, [first, packet, ..]) => first >> 4 != 10 || *packet == 1,
            _ => false,
        };
        let mut count = 0;
        for tag in before.iter().filter(coded) {
            assert!(rest.any(|other| other == tag), "{name}: the tag at {} ms", tag.timestamp);
            count += 1;
        }
        assert!(count > 8 || name.contains("law"), "{name}: {count} tags");
    }
}

#[test]
fn payloads_are_slices_of_what_came() {
    let body = Bytes::from_static(&[0xaf, 1, 1, 2, 3]);
    let (mut demux, mut out) = (Demux::new(), Vec::new());
    demux
        .tag(TagType::Audio, 0, Bytes::from_static(&[0xaf, 0, 0x11, 0x90]), &mut out)
        .expect("a configuration");
    demux.tag(TagType::Audio, 0, body.clone(), &mut out).expect("a frame");
    let [Item::Track(_), Item::Frame(frame)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(frame.payload.as_ptr(), body[2..].as_ptr());
}

#[test]
fn tracks_know_codec_and_shape() {
    let video = Shape::Video { width: 64, height: 64 };
    let audio = |sample_rate, channels| Shape::Audio { sample_rate, channels };
    type Told = (Codec, Shape, &'static str);
    let expected: [(&str, &[Told]); 10] = [
        ("h264 aac", &[(Codec::H264, video, "avc1.640009"), (Codec::Aac, audio(44_100, 1), "mp4a.40.2")]),
        ("aac 5.1", &[(Codec::Aac, audio(44_100, 6), "mp4a.40.2")]),
        ("mp3", &[(Codec::Mp3, audio(44_100, 1), "mp4a.40.34")]),
        ("mp3 at 48 kHz", &[(Codec::Mp3, audio(48_000, 1), "mp4a.40.34")]),
        ("alaw", &[(Codec::PcmA, audio(8_000, 1), "alaw")]),
        ("mulaw", &[(Codec::PcmU, audio(8_000, 1), "ulaw")]),
        ("hevc opus", &[(Codec::H265, video, "hvc1.1.6.L30.90"), (Codec::Opus, audio(48_000, 1), "opus")]),
        ("vp9 ac3", &[(Codec::Ac3, audio(48_000, 1), "ac-3"), (Codec::Vp9, video, "vp09.00.10.08")]),
        ("eac3", &[(Codec::Eac3, audio(48_000, 1), "ec-3")]),
        (
            "multitrack",
            &[
                (Codec::H264, video, "avc1.640009"),
                (Codec::H265, video, "hvc1.1.6.L30.90"),
                (Codec::Aac, audio(48_000, 1), "mp4a.40.2"),
                (Codec::Opus, audio(48_000, 1), "opus"),
            ],
        ),
    ];
    for (name, expected) in expected {
        let items = named(name);
        let found: Vec<_> = tracks(&items)
            .into_iter()
            .map(|track| (track.codec, track.shape, crate::codecs::mime(track)))
            .collect();
        let found: Vec<_> =
            found.iter().map(|(codec, shape, mime)| (*codec, *shape, mime.as_str())).collect();
        assert_eq!(found, expected, "{name}");
    }
    let items = named("av1 flac");
    let [flac, av1, ..] = tracks(&items)[..] else { panic!("two tracks") };
    assert_eq!((av1.shape, crate::codecs::mime(av1).as_str()), (video, "av01.0.00M.08"));
    assert_eq!((flac.shape, flac.codec), (audio(48_000, 1), Codec::Flac));
    assert_eq!(flac.config.len(), 42);
}

#[test]
fn pictures_keep_their_times_and_kinds() {
    let items = named("h264 aac");
    let pictures = frames(&items, TrackId::VIDEO);
    assert_eq!(pictures.len(), 15);
    let keys: Vec<_> = pictures.iter().filter(|f| f.kind == FrameKind::Key).map(|f| f.dts.millis()).collect();
    assert_eq!(keys, [0, 400]);
    let mut shown: Vec<_> = pictures.iter().map(|frame| frame.pts().millis()).collect();
    shown.sort_unstable();
    assert_eq!(shown, (0..15).map(|index| 80 + index * 40).collect::<Vec<_>>());
    assert_eq!(frames(&named("multitrack"), TrackId::new(TrackKind::Video, 1)).len(), 15);
}

/// x264 with an open GOP: no IDR after the first, but decoding can begin at each recovery point.
#[test]
fn an_open_gop_has_keyframes() {
    let items = named("h264 open gop");
    let keys: Vec<_> =
        frames(&items, TrackId::VIDEO).into_iter().filter(|f| f.kind == FrameKind::Key).collect();
    assert_eq!(keys.len(), 3);
    let has_idr = |frame: &Frame| crate::codecs::nal::units(&frame.payload, 4).any(|unit| unit[0] & 31 == 5);
    assert_eq!(keys.into_iter().map(has_idr).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn a_codec_nobody_serves_is_named() {
    let (mut demux, mut out) = (Demux::new(), Vec::new());
    for tag in tags(include_bytes!("testdata/sorenson.flv")).iter().filter(|tag| tag.kind == TagType::Video) {
        let result = demux.tag(tag.kind, tag.timestamp, tag.body.clone(), &mut out);
        assert_eq!(result, Err(TagError::UnsupportedCodec { what: "Sorenson H.263" }));
    }
    assert_eq!(out, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_files_never_panic_nor_grow(
        (_, file) in prop::sample::select(&FILES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut data = file.to_vec();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        data.truncate(cut.index(data.len()) + 1);
        fuzz(&data);
    }

    #[test]
    fn mutated_tag_bodies_never_panic_nor_grow(
        (_, file) in prop::sample::select(&FILES[..]),
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((0..40_usize, any::<u8>()), 0..8),
        len in 0..200_usize,
    ) {
        let tags = tags(file);
        let tag = which.get(&tags);
        let mut data = vec![match tag.kind { TagType::Audio => 0, TagType::Video => 1, TagType::Script => 2 }];
        data.extend(tag.body.iter().take(len));
        for (at, byte) in changes {
            if let Some(old) = data.get_mut(at + 1) {
                *old = byte;
            }
        }
        fuzz(&data);
    }

    #[test]
    fn any_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&data);
    }
}
