//! Parameter sets and records as x265 writes them.

use super::*;

/// x265, Main profile, 64x64 at level 1.
const VPS: &[u8] =
    &[0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x1e, 0x95, 0x98, 0x09];
const SPS: &[u8] = &[
    0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x1e, 0xa0, 0x20, 0x81, 0x05, 0x96, 0x56,
    0x69, 0x24, 0xca, 0xf0, 0x10, 0, 0, 3, 0, 0x10, 0, 0, 3, 1, 0x90, 0x80,
];
const PPS: &[u8] = &[0x44, 1, 0xc1, 0x72, 0xb4, 0x62, 0x40];

#[test]
fn a_record_is_built_and_read_back() {
    let sps = parse_sps(SPS).expect("a set");
    assert_eq!((sps.width, sps.height, sps.profile.idc, sps.profile.level), (64, 64, 1, 30));
    assert_eq!((sps.chroma_format, sps.bit_depth_luma, sps.temporal_layers), (1, 8, 1));
    let record = config_of([VPS, SPS, PPS, SPS].into_iter()).expect("a record");
    let config = parse_config(&record).expect("a record");
    assert_eq!(config.units, [VPS, SPS, PPS]);
    assert_eq!((config.length_size, config.profile, config.sps()), (4, sps.profile, Some(SPS)));
    for cut in 0..record.len() {
        assert_eq!(parse_config(&record[..cut]), None, "cut at {cut}");
    }
    assert_eq!(config_of([VPS, SPS].into_iter()), None, "pictures need a PPS");
}

#[test]
fn sets_that_make_no_sense_are_refused() {
    for cut in 0..SPS.len().min(20) {
        assert_eq!(parse_sps(&SPS[..cut]), None, "cut at {cut}");
    }
    assert_eq!(parse_sps(VPS), None);
    let mut hostile = vec![0xff; 400];
    hostile[0] = 0x42;
    parse_sps(&hostile);
}

#[test]
fn decoding_begins_at_a_random_access_point() {
    let begins = |units: &[&[u8]]| can_begin(units.iter().copied());
    assert!(begins(&[&[0x26, 1, 0xaf]]), "IDR");
    assert!(begins(&[&[0x2a, 1, 0xaf]]), "CRA, as an open GOP has it");
    assert!(begins(&[&[0x4e, 1, 6, 1, 0x80, 0x80], &[0x02, 1]]), "a recovery point");
    assert!(!begins(&[&[0x46, 1, 0x10], &[0x02, 1, 0xd0]]));
}
