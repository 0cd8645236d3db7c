//! Stories of sound: what goes in at a time is heard at that time, at its pitch and level, whatever the rates, the holes
//! and the rubbish on the way.

use std::f64::consts::TAU;

use bytes::Bytes;
use fdk_aac::enc::AudioObjectType;
use proptest::prelude::*;
use shards::{
    media::{Codec, Frame, FrameKind, Shape, Timestamp, Track, TrackId},
    stream::{Made, Transcode},
};

use super::{Decode, Encode, aac, make, opus};

const SECOND: i64 = 1_000_000;
/// When the stories begin: a stream that has run for a while.
const START: i64 = 7 * SECOND;

/// A sweep, so that a place in it is like no other: 200 Hz and 600 Hz more each second.
fn sweep(seconds: f64) -> f64 {
    0.4 * (TAU * (200.0 * seconds + 300.0 * seconds * seconds)).sin()
}

fn tone(seconds: f64) -> f64 {
    0.4 * (TAU * 1_000.0 * seconds).sin()
}

/// `frames` frames of `signal`, whose time zero is [`START`], with the encoder's delay taken off their times.
fn film(encoder: &mut dyn Encode, frames: usize, signal: impl Fn(f64) -> f64) -> (Track, Vec<Frame>) {
    let track = encoder.track().clone();
    let Shape::Audio { sample_rate, channels } = track.shape else { panic!("sound has a shape") };
    let samples = encoder.frame_samples();
    let made = (0..frames)
        .filter_map(|n| {
            let at = |sample: usize| signal((n * samples + sample) as f64 / f64::from(sample_rate));
            let value = |sample: usize| (at(sample) * 32_767.0) as i16;
            let pcm: Vec<i16> =
                (0..samples).flat_map(|s| std::iter::repeat_n(value(s), channels.into())).collect();
            let begins = (n * samples) as i64 - encoder.delay() as i64;
            let payload = encoder.encode(&pcm)?;
            Some(frame(START + Timestamp::from_ticks(begins, sample_rate).micros(), payload))
        })
        .collect();
    (track, made)
}

fn frame(micros: i64, payload: Bytes) -> Frame {
    Frame {
        track: TrackId::AUDIO,
        dts: Timestamp::from_micros(micros),
        composition: Timestamp::ZERO,
        kind: FrameKind::Key,
        payload,
    }
}

fn opus_film(channels: usize, frames: usize, signal: impl Fn(f64) -> f64) -> (Track, Vec<Frame>) {
    film(&mut opus::Encoder::new(channels, 64_000 * channels as u32, false).expect("libopus"), frames, signal)
}

fn aac_film(rate: u32, channels: usize, frames: usize, signal: impl Fn(f64) -> f64) -> (Track, Vec<Frame>) {
    let bits = 48_000 * channels as u32;
    let lc = AudioObjectType::Mpeg4LowComplexity;
    film(&mut aac::Encoder::at(rate, channels, bits, lc).expect("FDK"), frames, signal)
}

fn run(chain: &mut dyn Transcode, frames: &[Frame]) -> Vec<Frame> {
    let mut made = Vec::new();
    for frame in frames {
        chain.take(frame.clone());
        loop {
            match chain.step() {
                Made::Idle => break,
                Made::Busy => {}
                Made::Frame(frame) => made.push(frame),
            }
        }
    }
    made
}

/// The first channel at 48 kHz, each frame at its place after [`START`].
fn heard(track: &Track, frames: &[Frame]) -> Vec<f64> {
    let (mut decoder, channels): (Box<dyn Decode>, usize) = match track.codec {
        Codec::Opus => opus::Decoder::new(&track.config).map(|(d, c)| (Box::new(d) as _, c)),
        _ => aac::Decoder::new(&track.config).map(|(d, c)| (Box::new(d) as _, c)),
    }
    .expect("what is made can be decoded");
    let mut sound = Vec::new();
    for frame in frames {
        let mut pcm = Vec::new();
        decoder.decode(&frame.payload, &mut pcm);
        assert_eq!(decoder.sample_rate(), 48_000);
        let at = Timestamp::from_micros(frame.dts.micros() - START).to_ticks(48_000) - decoder.delay() as i64;
        for (n, sample) in pcm.iter().step_by(channels).enumerate() {
            if let Ok(place) = usize::try_from(at + n as i64) {
                sound.resize(sound.len().max(place + 1), 0.0);
                sound[place] = f64::from(*sample) / 32_767.0;
            }
        }
    }
    sound
}

/// By how many samples of 48 kHz `sound` is later than `signal`, from half a second to a second and a half.
fn lateness(sound: &[f64], signal: impl Fn(f64) -> f64) -> i64 {
    let part = 24_000..72_000.min(sound.len());
    assert!(part.len() > 24_000, "{} samples are too few", sound.len());
    let likeness = |late: i64| -> f64 {
        part.clone().step_by(3).map(|n| sound[n] * signal((n as i64 - late) as f64 / 48_000.0)).sum()
    };
    let best = |range: std::ops::RangeInclusive<i64>, step: usize| {
        range.step_by(step).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap_or_default()
    };
    let near = best(-2_400..=2_400, 8);
    best(near - 12..=near + 12, 1)
}

/// How strong `hz` is in `sound`, as the peak of a sine (Goertzel's filter).
fn strength(sound: &[f64], hz: f64) -> f64 {
    let turn = 2.0 * (TAU * hz / 48_000.0).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in sound {
        (last, before) = (sample + turn * last - before, last);
    }
    (last * last + before * before - turn * last * before).max(0.0).sqrt() * 2.0 / sound.len() as f64
}

fn assert_clean_tone(sound: &[f64], what: &str) {
    let sound = &sound[24_000..72_000.min(sound.len())];
    let level = strength(sound, 1_000.0);
    assert!((level - 0.4).abs() < 0.02, "{what}: 1 kHz at {level}");
    let power: f64 = sound.iter().map(|sample| sample * sample).sum::<f64>() / sound.len() as f64;
    let rest = (power - level * level / 2.0).max(0.0).sqrt();
    assert!(rest < 0.02, "{what}: {rest} besides the tone");
}

fn assert_in_order(frames: &[Frame], step: i64, tolerance: i64) {
    for pair in frames.windows(2) {
        let apart = (pair[1].dts - pair[0].dts).micros();
        assert!((apart - step).abs() <= tolerance, "{apart} µs apart at {:?}", pair[0].dts);
    }
}

#[test]
fn opus_becomes_aac_in_its_place() {
    for channels in [1, 2] {
        let (source, frames) = opus_film(channels, 100, sweep);
        let mut chain = make(&source, Codec::Aac, 128_000).expect("a way from Opus to AAC");
        assert_eq!(chain.track().shape, Shape::Audio { sample_rate: 48_000, channels: channels as u8 });
        let made = run(&mut *chain, &frames);
        assert_in_order(&made, 21_333, 2);
        assert!(made[0].dts >= frames[0].dts && made[0].dts - frames[0].dts < Timestamp::from_millis(22));
        let late = lateness(&heard(chain.track(), &made), sweep);
        assert!(late.abs() <= 3, "{channels} ch: {late} samples late");
        assert_eq!(chain.concealed(), 0);
        let (source, frames) = opus_film(channels, 100, tone);
        let mut chain = make(&source, Codec::Aac, 128_000).expect("a way from Opus to AAC");
        let made = run(&mut *chain, &frames);
        assert_clean_tone(&heard(chain.track(), &made), "Opus to AAC");
    }
}

#[test]
fn aac_of_every_rate_becomes_opus_in_its_place() {
    for (rate, channels) in [
        (48_000, 2),
        (44_100, 2),
        (44_100, 1),
        (32_000, 2),
        (24_000, 1),
        (22_050, 2),
        (16_000, 1),
        (96_000, 2),
    ] {
        let seconds = 2 * rate as usize / 1_024 + 4;
        let (source, frames) = aac_film(rate, channels, seconds, sweep);
        let mut chain = make(&source, Codec::Opus, 96_000).expect("a way from AAC to Opus");
        assert_eq!(chain.track().shape, Shape::Audio { sample_rate: 48_000, channels: channels as u8 });
        let made = run(&mut *chain, &frames);
        assert_in_order(&made, 20_000, 3);
        let late = lateness(&heard(chain.track(), &made), sweep);
        assert!(late.abs() <= 5, "{rate} Hz, {channels} ch: {late} samples late");
        assert_eq!(chain.concealed(), 0, "{rate} Hz");
        let (source, frames) = aac_film(rate, channels, seconds, tone);
        let mut chain = make(&source, Codec::Opus, 96_000).expect("a way from AAC to Opus");
        let made = run(&mut *chain, &frames);
        assert_clean_tone(&heard(chain.track(), &made), "AAC to Opus");
    }
}

/// HE-AAC: the rate that is heard is twice that of the core.
#[test]
fn he_aac_becomes_opus_in_its_place() {
    for (profile, channels) in [(AudioObjectType::Mpeg4HeAac, 2), (AudioObjectType::Mpeg4HeAacV2, 2)] {
        let mut encoder = aac::Encoder::at(44_100, channels, 48_000, profile).expect("FDK");
        let (source, frames) = film(&mut encoder, 50, sweep);
        let mut chain = make(&source, Codec::Opus, 96_000).expect("a way from HE-AAC to Opus");
        let made = run(&mut *chain, &frames);
        let late = lateness(&heard(chain.track(), &made), sweep);
        assert!(late.abs() <= 48, "{profile:?}: {late} samples late");
        assert_eq!(chain.concealed(), 0);
    }
}

/// RTMP rounds to milliseconds, and AAC's frames are no whole number of them.
#[test]
fn rounded_and_jittering_times_are_smoothed() {
    let (source, mut frames) = aac_film(44_100, 2, 100, sweep);
    for (n, frame) in frames.iter_mut().enumerate() {
        let jitter = [0, 4, -3, 2, -5][n % 5];
        frame.dts = Timestamp::from_millis(frame.dts.millis() + jitter);
    }
    let mut chain = make(&source, Codec::Opus, 96_000).expect("a way");
    let made = run(&mut *chain, &frames);
    assert_in_order(&made[1..], 20_000, 700);
    assert_eq!(chain.concealed(), 0);
    let late = lateness(&heard(chain.track(), &made), sweep);
    assert!(late.abs() < 240, "{late} samples late");
}

#[test]
fn a_lost_packet_leaves_no_gap_and_moves_nothing() {
    let (source, mut frames) = opus_film(2, 100, sweep);
    for lost in [60, 40, 39, 38, 12] {
        frames.remove(lost);
    }
    let mut chain = make(&source, Codec::Aac, 128_000).expect("a way");
    let made = run(&mut *chain, &frames);
    assert_in_order(&made, 21_333, 2);
    assert_eq!(chain.concealed(), 3, "three holes");
    let late = lateness(&heard(chain.track(), &made), sweep);
    assert!(late.abs() <= 3, "{late} samples late");
}

#[test]
fn after_a_long_silence_sound_begins_anew_where_it_should() {
    for (source, frames, codec) in [
        {
            let (track, frames) = opus_film(1, 200, sweep);
            (track, frames, Codec::Aac)
        },
        {
            let (track, frames) = aac_film(44_100, 1, 180, sweep);
            (track, frames, Codec::Opus)
        },
    ] {
        // From 1.6 s on, everything is five seconds later.
        let cut = Timestamp::from_micros(START + 1_600_000);
        let (before, mut after): (Vec<Frame>, Vec<Frame>) =
            frames.into_iter().partition(|frame| frame.dts < cut);
        for frame in &mut after {
            frame.dts += Timestamp::from_millis(5_000);
        }
        let mut chain = make(&source, codec, 96_000).expect("a way");
        let first = run(&mut *chain, &before);
        let mut second = run(&mut *chain, &after);
        // What the codecs held back comes when the silence is known, at its own time.
        let tail = second.iter().take_while(|frame| frame.dts < after[0].dts).count();
        let tail: Vec<Frame> = second.drain(..tail).collect();
        assert!(!tail.is_empty(), "{codec}: the end of the first part is heard");
        let gap = (tail[0].dts - first[first.len() - 1].dts).micros();
        assert!((19_000..23_000).contains(&gap), "{codec}: {gap}");
        assert!(second[0].dts - after[0].dts < Timestamp::from_millis(22));
        for frame in &mut second {
            frame.dts = frame.dts - Timestamp::from_millis(5_000);
        }
        let parts: Vec<Frame> = first.iter().chain(&tail).chain(&second).cloned().collect();
        let late = lateness(&heard(chain.track(), &parts)[24_000..], |at| sweep(at + 0.5));
        assert!(late.abs() <= 8, "{codec}: {late} samples late");
    }
}

#[test]
fn more_sound_than_time_is_left_out() {
    // Twice as many frames as their clock says.
    let (source, mut frames) = opus_film(1, 300, tone);
    for (n, frame) in frames.iter_mut().enumerate() {
        frame.dts = Timestamp::from_micros(START + n as i64 * 10_000);
    }
    let mut chain = make(&source, Codec::Aac, 128_000).expect("a way");
    let made = run(&mut *chain, &frames);
    assert!(chain.concealed() > 100, "{}", chain.concealed());
    let ahead = made[made.len() - 1].dts - frames[frames.len() - 1].dts;
    assert!(ahead < Timestamp::from_millis(100), "{ahead:?} ahead of its source");
}

#[test]
fn surround_comes_down_to_stereo() {
    // Six channels, from ffmpeg's encoder: left and right are silent, the centre has the tone.
    let bytes = include_bytes!("testdata/surround.aac");
    let mut rest = &bytes[..];
    let (mut frames, mut config) = (Vec::new(), Bytes::new());
    while let Some(adts) = crate::codecs::aac::parse_adts(rest) {
        config = adts.config.build().expect("a configuration");
        let payload = Bytes::copy_from_slice(&rest[adts.header_bytes..adts.frame_bytes]);
        let n = frames.len() as i64;
        frames.push(frame(START + Timestamp::from_ticks(n * 1_024, 48_000).micros(), payload));
        rest = &rest[adts.frame_bytes..];
    }
    let source = Track { id: TrackId::AUDIO, codec: Codec::Aac, config, shape: Shape::Unknown };
    let mut chain = make(&source, Codec::Opus, 96_000).expect("a way from 5.1 to stereo");
    assert_eq!(chain.track().shape, Shape::Audio { sample_rate: 48_000, channels: 2 });
    let made = run(&mut *chain, &frames);
    assert_eq!(chain.concealed(), 0);
    let sound = heard(chain.track(), &made);
    let level = strength(&sound[24_000..48_000], 1_000.0);
    assert!(level > 0.02, "the centre is heard at {level}");
}

#[test]
fn what_cannot_be_made_is_told_so() {
    let track = |codec, config: &'static [u8]| Track {
        id: TrackId::AUDIO,
        codec,
        config: Bytes::from_static(config),
        shape: Shape::Unknown,
    };
    let surround = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
    for source in [
        track(Codec::Opus, surround),
        track(Codec::Opus, b""),
        track(Codec::Aac, b""),
        track(Codec::Aac, b"\xff\xff\xff\xff\xff"),
        track(Codec::Mp3, b""),
        track(Codec::PcmA, b""),
    ] {
        for codec in [Codec::Aac, Codec::Opus] {
            assert!(make(&source, codec, 128_000).is_none(), "{:?} to {codec}", source.codec);
        }
    }
}

/// Broken frames are replaced, counted, and the sound after them is in its place.
#[test]
fn rubbish_is_concealed() {
    for codec in [Codec::Aac, Codec::Opus] {
        let (source, mut frames) = match codec {
            Codec::Aac => opus_film(2, 100, sweep),
            _ => aac_film(44_100, 2, 90, sweep),
        };
        for (n, rubbish) in [&b""[..], &[0xff; 2_000], b"\x03", &[0x78; 300], &[8; 9_000]].iter().enumerate()
        {
            frames[4 + n * 3].payload = Bytes::copy_from_slice(rubbish);
        }
        let mut chain = make(&source, codec, 96_000).expect("a way");
        let made = run(&mut *chain, &frames);
        assert!((2..=6).contains(&chain.concealed()), "{codec}: {}", chain.concealed());
        assert_in_order(&made, if codec == Codec::Aac { 21_333 } else { 20_000 }, 700);
        let late = lateness(&heard(chain.track(), &made), sweep);
        assert!(late.abs() <= 12, "{codec}: {late} samples late");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the frames and their times: no panic, times increase, no more sound than time, none before the source's.
    #[test]
    fn whatever_comes_in_what_comes_out_is_in_order(
        to_aac: bool,
        stereo: bool,
        steps in proptest::collection::vec((1_000i64..400_000, 0usize..8, any::<[u8; 12]>()), 1..60),
    ) {
        let channels = 1 + usize::from(stereo);
        let (source, good) =
            if to_aac { opus_film(channels, 8, tone) } else { aac_film(44_100, channels, 8, tone) };
        let codec = if to_aac { Codec::Aac } else { Codec::Opus };
        let mut chain = make(&source, codec, 96_000).expect("a way");
        let mut at = START;
        let frames: Vec<Frame> = steps
            .iter()
            .map(|(step, which, noise)| {
                at += step;
                let mut payload = good[which % good.len()].payload.to_vec();
                if noise[0] & 1 == 1 {
                    payload.truncate(usize::from(noise[1]));
                    let end = payload.len().min(noise.len());
                    payload[..end].copy_from_slice(&noise[..end]);
                }
                frame(at, payload.into())
            })
            .collect();
        let made = run(&mut *chain, &frames);
        for pair in made.windows(2) {
            prop_assert!(pair[0].dts < pair[1].dts);
        }
        if let (Some(first), Some(last)) = (made.first(), made.last()) {
            prop_assert!(first.dts >= frames[0].dts);
            prop_assert!((last.dts - frames[frames.len() - 1].dts).micros() < 250_000);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        super::fuzz(&data);
    }
}
