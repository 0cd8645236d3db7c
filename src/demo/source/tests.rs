//! The demo's frames, decoded again: do they show and sound what they should, when they should?

use std::collections::BTreeMap;

use fdk_aac::dec;
use openh264::{decoder::Decoder, formats::YUVSource};

use super::*;
use crate::demo::tone::{BELL_HZ, CHORD_HZ, tests::strength};

/// Wherever in a second the stream begins, these must hold.
const ORIGINS: [WallTick; 3] = [origin(0), origin(7), origin(29)];

const fn origin(phase: i64) -> WallTick {
    WallTick { count: 53_855_558_880 + phase, rate: 30 }
}

fn design(width: u32, height: u32, rate: u32) -> Design {
    Design { name: "live/demo".to_owned(), width, height, rate }
}

fn source(origin: WallTick) -> Source {
    Source::new(&design(640, 360, origin.rate), origin).unwrap()
}

fn frames(origin: WallTick, seconds: i64) -> (Source, Vec<Frame>) {
    let mut source = source(origin);
    let mut frames = Vec::new();
    while source.due() < Timestamp::from_millis(seconds * 1_000) {
        let due = source.due();
        let frame = source.next_frame().unwrap().expect("no frame is swallowed");
        assert_eq!(frame.dts, due);
        frames.push(frame);
    }
    (source, frames)
}

fn of(frames: &[Frame], track: TrackId) -> impl Iterator<Item = &Frame> {
    frames.iter().filter(move |frame| frame.track == track)
}

/// Length-prefixed back to Annex B, with the parameter sets of `config` in front of keyframes.
fn annex_b(config: &[u8], frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    let mut push = |unit: &[u8]| {
        out.extend([0, 0, 0, 1]);
        out.extend(unit);
    };
    if frame.kind == FrameKind::Key {
        let sps_len = usize::from(u16::from_be_bytes([config[6], config[7]]));
        push(&config[8..8 + sps_len]);
        push(&config[8 + sps_len + 3..]);
    }
    let mut rest = &frame.payload[..];
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (unit, next) = after.split_at(u32::from_be_bytes(*len) as usize);
        push(unit);
        rest = next;
    }
    out
}

/// For each picture: its time, and the mean luma of the dial's middle and of the clock.
fn watch(source: &Source, frames: &[Frame]) -> BTreeMap<Timestamp, (f32, Vec<u8>)> {
    let mut decoder = Decoder::new().unwrap();
    let mut seen = BTreeMap::new();
    for frame in of(frames, TrackId::VIDEO) {
        let wire = annex_b(&source.tracks()[0].config, frame);
        let picture = decoder.decode(&wire).unwrap().expect("each access unit is a picture");
        assert_eq!(picture.dimensions(), (640, 360));
        let (stride, _, _) = picture.strides();
        let rows = |y: std::ops::Range<usize>, x: std::ops::Range<usize>| -> Vec<u8> {
            picture
                .y()
                .chunks(stride)
                .take(y.end)
                .skip(y.start)
                .flat_map(|line| line[x.clone()].to_vec())
                .collect()
        };
        let dial = rows(120..170, 520..580);
        let brightness = dial.iter().map(|&y| f32::from(y)).sum::<f32>() / dial.len() as f32;
        seen.insert(frame.pts(), (brightness, rows(106..165, 30..480)));
    }
    seen
}

/// The left channel, and the time of its first sample.
fn listen(source: &Source, frames: &[Frame]) -> (Timestamp, Vec<f32>) {
    let mut decoder = dec::Decoder::new(dec::Transport::Raw);
    decoder.config_raw(&source.tracks()[1].config).unwrap();
    let mut heard = Vec::new();
    for frame in of(frames, TrackId::AUDIO) {
        decoder.fill(&frame.payload).unwrap();
        let mut pcm = vec![0; AAC_SAMPLES * CHANNELS];
        decoder.decode_frame(&mut pcm).unwrap();
        assert_eq!(decoder.stream_info().sampleRate, SAMPLE_RATE as i32);
        heard.extend(pcm.chunks(CHANNELS).map(|sample| f32::from(sample[0]) / 32_768.0));
    }
    // This decoder holds some samples back (its limiter); what is heard first is that much of nothing.
    let held = usize::try_from(decoder.stream_info().outputDelay).unwrap();
    heard.drain(..held);
    (of(frames, TrackId::AUDIO).next().unwrap().dts, heard)
}

#[test]
fn the_first_frame_is_a_keyframe_at_zero_and_time_only_grows() {
    for origin in ORIGINS {
        let (_, frames) = frames(origin, 3);
        assert!(frames[0].is_video_key() && frames[0].dts == Timestamp::ZERO);
        assert!(frames.windows(2).all(|pair| pair[0].dts <= pair[1].dts));
        assert_eq!(of(&frames, TrackId::VIDEO).count(), 90);
        assert!((140..=141).contains(&of(&frames, TrackId::AUDIO).count()));
        for (track, step) in [(TrackId::VIDEO, 33_333..=33_334), (TrackId::AUDIO, 21_333..=21_334)] {
            let times: Vec<_> = of(&frames, track).map(|frame| frame.dts.micros()).collect();
            assert!(times.windows(2).all(|pair| step.contains(&(pair[1] - pair[0]))), "{track}");
        }
        let keys: Vec<_> = of(&frames, TrackId::VIDEO).map(|frame| frame.kind == FrameKind::Key).collect();
        assert!(
            keys.iter().enumerate().all(|(index, key)| *key == (index % 30 == 0)),
            "a keyframe each second"
        );
    }
}

#[test]
fn the_tracks_say_what_decoders_need() {
    let source = source(ORIGINS[0]);
    let [video, audio] = source.tracks();
    assert_eq!(video.config[..2], [1, 66], "baseline");
    assert_eq!(video.config[2] & 0x40, 0x40, "and constrained");
    assert_eq!(video.config[4..6], [0xFF, 0xE1], "four-byte lengths, one SPS");
    assert_eq!(audio.config[..2], [0x11, 0x90], "AAC-LC, 48 kHz, stereo");
    assert_eq!(audio.shape, Shape::Audio { sample_rate: 48_000, channels: 2 });
}

#[test]
fn the_bitrate_keeps_to_its_word() {
    let (_, frames) = frames(ORIGINS[1], 5);
    let bits = |track| of(&frames, track).map(|frame| frame.payload.len() as f32 * 8.0).sum::<f32>() / 5.0;
    let (video, audio) = (bits(TrackId::VIDEO), bits(TrackId::AUDIO));
    assert!((300_000.0..1_000_000.0).contains(&video), "{video} bit/s of pictures");
    assert!((0.5..1.3).contains(&(audio / AUDIO_BITS_PER_SECOND as f32)), "{audio} bit/s of sound");
}

#[test]
fn the_clock_runs_in_the_decoded_picture() {
    let (source, frames) = frames(ORIGINS[1], 1);
    let seen: Vec<_> = watch(&source, &frames).into_values().collect();
    for pair in seen.windows(2) {
        let moved = pair[0].1.iter().zip(&pair[1].1).filter(|(then, now)| then.abs_diff(**now) > 40).count();
        assert!(moved > 40, "only {moved} pixels of the clock changed");
    }
}

#[test]
fn the_flash_and_the_bell_meet() {
    for origin in ORIGINS {
        let (source, frames) = frames(origin, 4);
        let lit: Vec<_> =
            watch(&source, &frames).into_iter().map(|(time, (luma, _))| (time, luma > 100.0)).collect();
        let flashes: Vec<_> =
            lit.windows(2).filter(|pair| !pair[0].1 && pair[1].1).map(|pair| pair[1].0.micros()).collect();
        assert!(flashes.len() >= 3);
        let lit_count = lit.iter().filter(|(_, lit)| *lit).count() as i64;
        assert!((9..=12).contains(&lit_count));

        let (begin, sound) = listen(&source, &frames);
        for flash in flashes {
            // Millisecond by millisecond, from 60 ms before: where is the bell heard first?
            let bell = (-60..60).map(|ms| flash + ms * 1_000).find(|at| {
                let start = Timestamp::from_micros(at - begin.micros()).to_ticks(SAMPLE_RATE);
                let Ok(start) = usize::try_from(start) else {
                    return false;
                };
                sound
                    .get(start..start + 48)
                    .is_some_and(|window| window.iter().any(|sample| sample.abs() > 0.04))
            });
            let apart = (bell.expect("a bell beside each flash") - flash).abs();
            assert!(apart <= 20_000, "flash and bell are {apart} us apart");
        }
    }
}

#[test]
fn the_tone_survives_the_encoder_at_its_pitch() {
    let (source, frames) = frames(ORIGINS[0], 3);
    let (begin, sound) = listen(&source, &frames);
    let at = |ms: i64| Timestamp::from_micros(ms * 1_000 - begin.micros()).to_ticks(SAMPLE_RATE) as usize;
    let bell = &sound[at(2_000)..at(2_100)];
    assert!(strength(bell, BELL_HZ) > 10.0 * strength(bell, 1_200.0));
    let rest = &sound[at(1_400)..at(1_900)];
    for hz in CHORD_HZ {
        assert!(strength(rest, hz) > 8.0 * strength(rest, 275.0), "{hz} Hz");
    }
}

#[test]
fn after_a_sleep_it_goes_on_with_a_keyframe_in_the_present() {
    let (mut source, _) = frames(ORIGINS[0], 1);
    let now = Timestamp::from_millis(61_500);
    source.skip_to(now);
    let mut next = Vec::new();
    while source.due() < now + Timestamp::from_millis(500) {
        next.extend(source.next_frame().unwrap());
    }
    assert!(next.iter().all(|frame| frame.dts + Timestamp::from_millis(22) > now));
    assert_eq!(of(&next, TrackId::VIDEO).next().unwrap().kind, FrameKind::Key);
    assert!(of(&next, TrackId::AUDIO).count() > 20);
}

#[test]
fn the_clock_shown_follows_the_wall_but_not_its_trembling() {
    let mut source = source(ORIGINS[0]);
    let now = Timestamp::from_millis(10_000);
    source.set_wall(now, ORIGINS[0].after(301));
    assert_eq!(source.origin, ORIGINS[0], "one picture off is rounding");
    source.set_wall(now, ORIGINS[0].after(330));
    assert_eq!(source.origin, ORIGINS[0].after(30));
}

#[test]
fn other_sizes_and_rates_are_encoded_too() {
    for (width, height, rate) in [(64, 64, 1), (1_280, 720, 25), (320, 180, 60), (1_080, 1_920, 7)] {
        let mut source = Source::new(&design(width, height, rate), WallTick { count: 1_000, rate }).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut pictures = 0;
        while source.due() < Timestamp::from_millis(1_000) {
            let Some(frame) = source.next_frame().unwrap().filter(Frame::is_video) else { continue };
            let wire = annex_b(&source.tracks()[0].config, &frame);
            let picture = decoder.decode(&wire).unwrap().expect("each access unit is a picture");
            assert_eq!(picture.dimensions(), (width as usize, height as usize));
            pictures += 1;
        }
        assert_eq!(pictures, rate, "{width}x{height}");
    }
}
