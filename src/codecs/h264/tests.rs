//! Parameter sets and records as x264 and others write them.

use super::*;

/// x264 through ffmpeg, 64x64 High at level 0.9.
const RECORD: &[u8] = &[
    1, 0x64, 0, 9, 0xff, 0xe1, 0, 0x18, 0x67, 0x64, 0, 9, 0xac, 0xd9, 0x44, 0x26, 0xc0, 0x44, 0, 0, 3, 0, 4,
    0, 0, 3, 0, 0xc8, 0x3c, 0x48, 0x96, 0x58, 1, 0, 5, 0x68, 0xeb, 0xec, 0xb2, 0x2c, 0xfd, 0xf8, 0xf8, 0,
];

#[test]
fn a_record_is_read_and_built_the_same() {
    let config = parse_config(RECORD).expect("a record");
    assert_eq!((config.length_size, config.sps.len(), config.pps.len()), (4, 1, 1));
    let sps = parse_sps(config.sps[0]).expect("a set");
    assert_eq!((sps.profile, sps.level, sps.width, sps.height), (100, 9, 64, 64));
    assert_eq!(build_config(&config.sps, &config.pps).as_deref(), Some(RECORD));
    let doubled = config.sps.iter().chain(&config.pps).chain(&config.sps).copied();
    assert_eq!(config_of(doubled).as_deref(), Some(RECORD));
    assert_eq!(config_of(config.sps.iter().copied()), None, "pictures need a PPS");
}

#[test]
fn sizes_are_those_after_cropping() {
    // 1920x1080 High, a camera's; the coded height is 1088.
    let sps = [
        0x67, 0x64, 0, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0,
        0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    assert_eq!(parse_sps(&sps).map(|sps| (sps.width, sps.height)), Some((1_920, 1_080)));
    // Constrained Baseline, 640x480.
    let sps = [0x67, 0x42, 0xc0, 0x1e, 0xd9, 0, 0xa0, 0x3d, 0xb0, 0x16, 0xe3, 0x60];
    assert_eq!(parse_sps(&sps).map(|sps| (sps.profile, sps.width, sps.height)), Some((66, 640, 480)));
}

#[test]
fn records_and_sets_cut_short_are_refused() {
    for cut in 0..40 {
        assert_eq!(parse_config(&RECORD[..cut]), None, "cut at {cut}");
    }
    let sps = &RECORD[8..32];
    for cut in 0..8 {
        assert_eq!(parse_sps(&sps[..cut]), None, "cut at {cut}");
    }
    // All ones: numbers of every kind at their largest.
    assert_eq!(parse_sps(&[0x67; 64]), None);
    let mut hostile = vec![0xff; 400];
    hostile[0] = 0x67;
    parse_sps(&hostile);
}

#[test]
fn decoding_begins_at_idr_recovery_point_or_intra() {
    let begins = |units: &[&[u8]]| can_begin(units.iter().copied());
    assert!(begins(&[&[0x65, 0x88, 0x84]]));
    assert!(begins(&[&[0x06, 6, 1, 0xc4, 0x80], &[0x41, 0x9a]]), "a recovery point");
    assert!(begins(&[&[0x06, 5, 3, 1, 2, 3, 6, 1, 0xc4, 0x80], &[0x41, 0x9a]]), "behind another message");
    assert!(!begins(&[&[0x06, 5, 1, 6, 0x80], &[0x41, 0x9a]]), "no recovery point, a P slice");
    assert!(begins(&[&[0x41, 0x88, 0x84]]), "an I slice");
    assert!(!begins(&[&[0x06, 0xff, 0xff]]));
    assert!(!begins(&[]));
}
