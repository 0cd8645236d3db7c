//! The names of codecs, and hostile bytes for every reader.

use bytes::Bytes;
use proptest::prelude::*;
use shards::media::{TrackId, TrackKind};

use super::*;

fn named(codec: Codec, config: &[u8]) -> String {
    let id = TrackId::new(TrackKind::Video, 0);
    mime(&Track { id, codec, config: Bytes::copy_from_slice(config), shape: Shape::Unknown })
}

#[test]
fn codecs_are_named_as_browsers_expect() {
    assert_eq!(named(Codec::H264, &[1, 0x64, 0, 0x1f, 0xff, 0xe1]), "avc1.64001f");
    let mut hevc = vec![1, 1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 0x5d];
    hevc.extend([0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0]);
    assert_eq!(named(Codec::H265, &hevc), "hvc1.1.6.L93.B0");
    hevc[1] = 0x22;
    hevc[2] = 0x20;
    assert_eq!(named(Codec::H265, &hevc), "hvc1.2.4.H93.B0");
    assert_eq!(named(Codec::Av1, &[0x81, 0x04, 0x0c, 0]), "av01.0.04M.08");
    assert_eq!(named(Codec::Av1, &[0x81, 0x0d, 0xcc, 0]), "av01.0.13H.10");
    assert_eq!(named(Codec::Av1, &[0x81, 0x4d, 0x6c, 0]), "av01.2.13M.12");
    assert_eq!(named(Codec::Vp9, &[1, 0, 0, 0, 2, 31, 0xa2]), "vp09.02.31.10");
    assert_eq!(named(Codec::Aac, &[0x12, 0x10]), "mp4a.40.2");
    assert_eq!(named(Codec::Aac, &[0xeb, 0x8a, 0x08, 0x00]), "mp4a.40.29");
    assert_eq!(named(Codec::Opus, &[]), "opus");
    assert_eq!(named(Codec::H264, &[]), "avc1");
}

/// Records and frames of every codec, from which the mutations start.
fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x67, 0x64, 0, 9, 0xac, 0xd9, 0x44, 0x26, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c],
        vec![
            0, 0, 0, 1, 0x67, 0x64, 0, 9, 0xac, 0xd9, 0x44, 0x26, 0xc0, 0, 0, 1, 0x68, 0xeb, 0, 0, 1, 0x65,
            0x88,
        ],
        vec![
            0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x1e, 0xa0, 0x20, 0x81, 0x05, 0x96,
            0x56,
        ],
        vec![0x12, 0, 0x0a, 0x0a, 0, 0, 0, 2, 0xaf, 0xff, 0x9b, 0x5f, 0x20, 8],
        vec![0x82, 0x49, 0x83, 0x42, 0, 3, 0xf0, 3, 0xf0, 0x36, 0x38],
        vec![0xeb, 0x8a, 0x08, 0x00, 0x56, 0xe5, 0x98],
        b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0".to_vec(),
        vec![0x0b, 0x77, 0x00, 0x7f, 0x32, 0x87, 0xc0, 0x00],
    ]
}

proptest! {
    #[test]
    fn no_reader_panics_on_any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&data);
    }

    #[test]
    fn no_reader_panics_on_mutated_records(
        seed in prop::sample::select(seeds()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut data = seed;
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        fuzz(&data);
        fuzz(&data[..cut.index(data.len())]);
    }
}
