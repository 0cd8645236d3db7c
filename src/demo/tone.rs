//! The demo's sound: a quiet chord that never stops, and a bell at each full second of the wall clock.
//!
//! The chord tells the ear of a gap, the bell tells it where the second begins (the picture flashes there). All of it
//! repeats after one second, so it is worked out once and then only read. Units: 48,000 samples a second of each of two
//! channels, interleaved.

use std::f32::consts::TAU;

/// Samples a second of each channel.
pub const SAMPLE_RATE: u32 = 48_000;
/// Left and right.
pub const CHANNELS: usize = 2;

/// The bell, in hertz (a whole number, so that the second closes on itself).
pub const BELL_HZ: f32 = 880.0;
/// The chord under it: A and the E above.
pub const CHORD_HZ: [f32; 2] = [220.0, 330.0];

/// About -18 dBFS: clear, and no shock to somebody with headphones on.
const BELL_PEAK: f32 = 0.125;
/// About -40 dBFS each.
const CHORD_PEAK: f32 = 0.01;
/// How long the bell is heard, in seconds.
const BELL_S: f32 = 0.25;
/// Rise of the bell, in seconds: long enough not to click, short enough to mark the moment.
const ATTACK_S: f32 = 0.002;

/// One second of sound, read round and round.
pub struct Tone {
    second: Vec<[i16; CHANNELS]>,
}

impl Tone {
    /// Works out the second, which takes some milliseconds.
    pub fn worked_out() -> Self {
        let second = (0..SAMPLE_RATE).map(|sample| at(sample as f32 / SAMPLE_RATE as f32)).collect();
        Self { second }
    }

    /// Fills `out` (interleaved) from `position`, in samples since a full second of the wall clock.
    pub fn read(&self, position: i64, out: &mut [i16]) {
        let start = position.rem_euclid(i64::from(SAMPLE_RATE)) as usize;
        let samples = self.second.iter().cycle().skip(start);
        for (into, sample) in out.chunks_exact_mut(CHANNELS).zip(samples) {
            into.copy_from_slice(sample);
        }
    }
}

/// Both channels `seconds` after the full second.
fn at(seconds: f32) -> [i16; CHANNELS] {
    let wave = |hz: f32| (TAU * (hz * seconds).fract()).sin();
    let [low, high] = CHORD_HZ.map(wave);
    // The two notes lean to one side each, and swap sides once a second: a channel that is lost or crossed is heard.
    let lean = 0.5 + 0.4 * (TAU * seconds).cos();
    let bell = match seconds < BELL_S {
        true => {
            let rise = (seconds / ATTACK_S).min(1.0);
            let decay = (-seconds * 14.0).exp() * (1.0 - seconds / BELL_S);
            (wave(BELL_HZ) + 0.3 * wave(BELL_HZ * 2.0) * decay) * rise * decay * BELL_PEAK
        }
        false => 0.0,
    };
    let left = bell + CHORD_PEAK * (low * lean + high * (1.0 - lean));
    let right = bell + CHORD_PEAK * (low * (1.0 - lean) + high * lean);
    [left, right].map(|value| (value * 32_767.0) as i16)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// How strong `hz` is in `samples`, 0 to 1 (Goertzel's filter).
    pub fn strength(samples: &[f32], hz: f32) -> f32 {
        let turn = 2.0 * (TAU * hz / SAMPLE_RATE as f32).cos();
        let (mut last, mut before) = (0.0, 0.0);
        for sample in samples {
            (last, before) = (sample + turn * last - before, last);
        }
        (last * last + before * before - turn * last * before).max(0.0).sqrt() * 2.0 / samples.len() as f32
    }

    fn left(position: i64, len: usize) -> Vec<f32> {
        let mut pcm = vec![0; len * CHANNELS];
        Tone::worked_out().read(position, &mut pcm);
        pcm.chunks(CHANNELS).map(|sample| f32::from(sample[0]) / 32_768.0).collect()
    }

    #[test]
    fn the_bell_rings_at_the_full_second_and_the_chord_goes_on() {
        let bell = left(0, 4_800);
        assert!(strength(&bell, BELL_HZ) > 20.0 * strength(&bell, 1_200.0));
        let rest = left(24_000, 19_200);
        for hz in CHORD_HZ {
            assert!(strength(&rest, hz) > 0.0015, "{hz} Hz: {}", strength(&rest, hz));
        }
        assert!(strength(&rest, BELL_HZ) < 0.0002);
        let loudest = bell.iter().fold(0.0, |max: f32, sample| max.max(sample.abs()));
        assert!((0.05..0.3).contains(&loudest), "{loudest}");
    }

    #[test]
    fn the_second_closes_on_itself() {
        assert_eq!(left(0, 1_000), left(48_000, 1_000));
        assert_eq!(left(-48_000, 1_000), left(96_000, 1_000));
        let seam = left(47_900, 200);
        assert!(seam.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.03), "no click at the seam");
    }
}
