//! Configurations as encoders send them, and round trips.

use super::*;

#[test]
fn configurations_of_the_field_are_read() {
    // ffmpeg: mono 44.1 kHz with an SBR extension that says "no".
    assert_eq!(parse_config(&[0x12, 0x08, 0x56, 0xe5, 0x00]), Some(Config::lc(44_100, 1)));
    // ffmpeg: 5.1.
    assert_eq!(parse_config(&[0x12, 0x30, 0x56, 0xe5, 0x00]).map(|config| config.channels), Some(6));
    // OBS: stereo 48 kHz.
    assert_eq!(parse_config(&[0x11, 0x90]), Some(Config::lc(48_000, 2)));
    // HE-AAC told after the fact: 24 kHz core, heard at 48 kHz.
    let late = parse_config(&[0x13, 0x10, 0x56, 0xe5, 0x98]).expect("a configuration");
    assert_eq!((late.object_type, late.sample_rate, late.rate_heard()), (2, 24_000, 48_000));
    assert_eq!((late.sbr_explicit, late.object_type_named()), (false, 2));
    // HE-AAC v2 told up front: mono 22.05 kHz core, heard in stereo at 44.1 kHz.
    let early = parse_config(&[0xeb, 0x8a, 0x08, 0x00]).expect("a configuration");
    assert_eq!(
        (early.sample_rate, early.channels, early.rate_heard(), early.channels_heard()),
        (22_050, 1, 44_100, 2)
    );
    assert_eq!(early.object_type_named(), object_type::PS);
}

#[test]
fn what_is_built_reads_the_same() {
    for object_type in [1, 2, 4, 23, 39, 42] {
        for sample_rate in [8_000, 44_100, 96_000, 50_000, 1, 0xff_ffff] {
            for channels in 1..=8 {
                let config = Config { object_type, ..Config::lc(sample_rate, channels) };
                let record = config.build().expect("it can be told");
                assert_eq!(parse_config(&record), Some(config), "{record:x?}");
            }
        }
    }
    for parametric_stereo in [false, true] {
        let config = Config {
            sbr_rate: Some(48_000),
            sbr_explicit: true,
            parametric_stereo,
            ..Config::lc(24_000, if parametric_stereo { 1 } else { 2 })
        };
        assert_eq!(config.build().as_deref().and_then(parse_config), Some(config));
    }
    assert_eq!(Config::lc(48_000, 9).build(), None);
}

#[test]
fn channels_may_come_from_a_program_config() {
    // Object type 2, 48 kHz, channels 0, then a program: one front pair, one front single, one effects channel.
    let mut bits = BitWriter::default();
    for (value, width) in [(2, 5), (3, 4), (0, 4), (0, 3)] {
        bits.put(value, width);
    }
    for (value, width) in [(0, 4), (1, 2), (3, 4), (2, 4), (0, 4), (0, 4), (1, 2), (0, 3), (0, 4), (0, 3)] {
        bits.put(value, width);
    }
    for (value, width) in [(1, 1), (0, 4), (0, 1), (1, 4), (0, 4)] {
        bits.put(value, width);
    }
    let mut record = bits.finish();
    record.push(0);
    assert_eq!(parse_config(&record).map(|config| config.channels), Some(4));
    for cut in 0..record.len() {
        assert_eq!(parse_config(&record[..cut]), None, "cut at {cut}");
    }
}

#[test]
fn adts_comes_back_as_it_was_built() {
    for channels in [1, 2, 6, 8] {
        let config = Config::lc(44_100, channels);
        let header = build_adts(&config, 300).expect("it can be told");
        assert_eq!(parse_adts(&header), Some(Adts { config, header_bytes: 7, frame_bytes: 307 }));
    }
    assert_eq!(build_adts(&Config::lc(44_100, 2), 8_185), None);
    assert_eq!(build_adts(&Config::lc(50_000, 2), 10), None);
    assert_eq!(parse_adts(&[0xff, 0xfb, 0x50, 0xc4, 0, 0, 0]), None, "an MP3 frame");
}
