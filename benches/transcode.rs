//! What it costs to make sound from sound, and the longest that it holds a shard: the numbers that decided where it runs.
//!
//! Each way is walked several times over the same ten seconds of sound. The work is the same each time, so of each step the
//! quickest counts: what else the machine does falls out. *core* is the sum of those over the length of the sound; *step* is
//! the longest one: the least time that the executor is held, however finely the work is cut; *at* is its number (the first ones come
//! before anything is warm). *slice* is the longest stretch
//! that a shard's pump would do before it yields (a quarter of a millisecond, and the step that it is in); *begin* is what it takes to
//! make a transcoder; *group* is the work for a joiner who is the first to need it in a group of pictures of ten seconds.
//!
//! ```sh
//! cargo bench --bench transcode              # a table, and whether the bounds of the issue hold
//! cargo bench --bench transcode -- strict    # a missed bound is a failure
//! ```

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use audiopus::{Application, Bitrate, Channels, SampleRate, coder::Encoder as OpusEncoder};
use bytes::Bytes;
use fdk_aac::enc;
use shardcast::{codecs, transcode};
use shards::{
    media::{Codec, Frame, FrameKind, Shape, Timestamp, Track, TrackId},
    stream::{Made, Transcode},
};

/// Seconds of sound.
const SECONDS: usize = 10;
/// Walks over it.
const ROUNDS: usize = 9;
/// Of a core, for one transcode.
const CORE_MAX: f64 = 1.5;
/// That the executor may be held.
const STALL_MAX: Duration = Duration::from_millis(1);
/// As in the shard's pump.
const SLICE: Duration = Duration::from_micros(250);

struct Film {
    name: &'static str,
    track: Track,
    frames: Vec<Frame>,
    to: Codec,
}

/// Something like music: a chord that moves, and noise that swells.
fn music(rate: u32, channels: usize) -> Vec<i16> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..rate as usize * SECONDS)
        .flat_map(|n| {
            let at = n as f64 / f64::from(rate);
            let bend = 1.0 + 0.02 * (at * 3.0).sin();
            let chord: f64 = [220.0, 277.2, 329.6, 1_318.5]
                .iter()
                .map(|hz| (std::f64::consts::TAU * hz * bend * at).sin())
                .sum();
            let noise = (random.f64() - 0.5) * (0.5 + 0.5 * (at * 9.0).sin());
            let sample = ((chord * 0.15 + noise * 0.2) * 32_767.0) as i16;
            std::iter::repeat_n(sample, channels)
        })
        .collect()
}

fn frame(at: Timestamp, payload: &[u8]) -> Frame {
    Frame {
        track: TrackId::AUDIO,
        dts: at,
        composition: Timestamp::ZERO,
        kind: FrameKind::Key,
        payload: Bytes::copy_from_slice(payload),
    }
}

fn opus(name: &'static str, channels: u8, millis: usize) -> Result<Film> {
    let layout = if channels == 1 { Channels::Mono } else { Channels::Stereo };
    let mut encoder = OpusEncoder::new(SampleRate::Hz48000, layout, Application::Audio)?;
    encoder.set_bitrate(Bitrate::BitsPerSecond(48_000 * i32::from(channels)))?;
    let samples = 48 * millis;
    let mut coded = vec![0; 8_000];
    let frames = music(48_000, channels.into())
        .chunks_exact(samples * usize::from(channels))
        .enumerate()
        .map(|(n, pcm)| {
            let len = encoder.encode(pcm, &mut coded)?;
            Ok(frame(Timestamp::from_millis((n * millis) as i64), &coded[..len]))
        })
        .collect::<Result<_>>()?;
    let track = Track {
        id: TrackId::AUDIO,
        codec: Codec::Opus,
        config: codecs::opus::build_head(channels, 312),
        shape: Shape::Audio { sample_rate: 48_000, channels },
    };
    Ok(Film { name, track, frames, to: Codec::Aac })
}

fn aac(name: &'static str, rate: u32, profile: enc::AudioObjectType) -> Result<Film> {
    let encoder = enc::Encoder::new(enc::EncoderParams {
        bit_rate: enc::BitRate::Cbr(if matches!(profile, enc::AudioObjectType::Mpeg4LowComplexity) {
            128_000
        } else {
            48_000
        }),
        sample_rate: rate,
        transport: enc::Transport::Raw,
        channels: enc::ChannelMode::Stereo,
        audio_object_type: profile,
    })
    .map_err(|error| anyhow!("{error}"))?;
    let info = encoder.info().map_err(|error| anyhow!("{error}"))?;
    let samples = info.frameLength as usize;
    let mut coded = vec![0; 8_192];
    let mut frames = Vec::new();
    for (n, pcm) in music(rate, 2).chunks_exact(samples * 2).enumerate() {
        let made = encoder.encode(pcm, &mut coded).map_err(|error| anyhow!("{error}"))?;
        frames.push(frame(Timestamp::from_ticks((n * samples) as i64, rate), &coded[..made.output_size]));
    }
    let config = Bytes::copy_from_slice(&info.confBuf[..info.confSize as usize]);
    let shape = Shape::Audio { sample_rate: rate, channels: 2 };
    Ok(Film {
        name,
        track: Track { id: TrackId::AUDIO, codec: Codec::Aac, config, shape },
        frames,
        to: Codec::Opus,
    })
}

impl Film {
    fn begin(&self) -> Result<Box<dyn Transcode>> {
        transcode::make(&self.track, self.to, if self.to == Codec::Aac { 128_000 } else { 96_000 })
            .ok_or_else(|| anyhow!("{}: no way", self.name))
    }

    /// How long each step takes.
    fn walk(&self) -> Result<Vec<Duration>> {
        let mut chain = self.begin()?;
        let mut steps = Vec::new();
        for frame in &self.frames {
            chain.take(frame.clone());
            loop {
                let start = Instant::now();
                let step = chain.step();
                steps.push(start.elapsed());
                if step == Made::Idle {
                    break;
                }
            }
        }
        Ok(steps)
    }
}

/// The longest stretch of `steps` that a pump does before it looks at the clock and yields.
fn longest_slice(steps: &[Duration]) -> Duration {
    let (mut longest, mut slice) = (Duration::ZERO, Duration::ZERO);
    for step in steps {
        slice += *step;
        longest = longest.max(slice);
        if slice >= SLICE {
            slice = Duration::ZERO;
        }
    }
    longest
}

fn measure(film: &Film) -> Result<bool> {
    let mut quickest = film.walk()?;
    let mut begin = Duration::MAX;
    for _ in 1..ROUNDS {
        for (best, step) in quickest.iter_mut().zip(film.walk()?) {
            *best = (*best).min(step);
        }
        let start = Instant::now();
        let chain = film.begin()?;
        begin = begin.min(start.elapsed());
        drop(chain);
    }
    let total: Duration = quickest.iter().sum();
    let core = total.as_secs_f64() / SECONDS as f64 * 100.0;
    let (at, step) = quickest.iter().copied().enumerate().max_by_key(|(_, step)| *step).unwrap_or_default();
    let slice = longest_slice(&quickest);
    let holds = core <= CORE_MAX && slice.max(begin) <= STALL_MAX;
    println!(
        "{:<28} {core:>6.2} %  {:>6} us {at:>5}  {:>6} us  {:>6} us  {:>7.1} ms   {}",
        film.name,
        step.as_micros(),
        slice.as_micros(),
        begin.as_micros(),
        total.as_secs_f64() * 1_000.0,
        if holds { "holds" } else { "missed" },
    );
    Ok(holds)
}

fn run() -> Result<bool> {
    let lc = enc::AudioObjectType::Mpeg4LowComplexity;
    let films = [
        opus("Opus stereo 20 ms -> AAC", 2, 20)?,
        opus("Opus mono 20 ms -> AAC", 1, 20)?,
        opus("Opus stereo 10 ms -> AAC", 2, 10)?,
        opus("Opus stereo 60 ms -> AAC", 2, 60)?,
        opus("Opus stereo 120 ms -> AAC", 2, 120)?,
        aac("AAC-LC 48 kHz -> Opus", 48_000, lc)?,
        aac("AAC-LC 44.1 kHz -> Opus", 44_100, lc)?,
        aac("HE-AAC 44.1 kHz -> Opus", 44_100, enc::AudioObjectType::Mpeg4HeAac)?,
        aac("HE-AAC v2 44.1 kHz -> Opus", 44_100, enc::AudioObjectType::Mpeg4HeAacV2)?,
    ];
    println!(
        "one stream                      core       step    at      slice      begin      group   bounds"
    );
    films.iter().try_fold(true, |all, film| Ok(measure(film)? && all))
}

fn main() -> ExitCode {
    let strict = std::env::args().any(|arg| arg == "strict");
    match run() {
        Ok(holds) if holds || !strict => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("transcode: {error:#}");
            ExitCode::FAILURE
        }
    }
}
