//! From one sample rate to another: a windowed sinc, cut into phases, each output sample at its exact place.
//!
//! Output sample `n` lies at `n · from / to` input samples, without delay: what it needs of the input before and after is
//! the filter's half width, silence before the first sample. So the time of what comes out is known to the sample.
//! Invariant: `cursor` and `phase` are the place of the next output sample in `input`; memory stays within the filter, a
//! feed and [`SLACK`]. Units: samples of each channel; Hz.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side: 16 keep 90 % of the band flat and 80 dB below what folds.
const CROSSINGS: usize = 16;
/// Kaiser's beta for that.
const BETA: f64 = 8.0;
/// The pass band's share of the band that both rates have.
const PASS: f64 = 0.94;
/// More phases than this are rounded to the nearest: 640 is what the rates of AAC need to 48 kHz.
const PHASES_MAX: u64 = 640;
/// Used input is let go of when there is as much.
const SLACK: usize = 4_096;
/// A dot product is summed in as many lanes, so that the compiler can use vectors.
const LANES: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Resampler {
    from: u64,
    to: u64,
    phases: u64,
    /// Samples that the filter reaches back and forward.
    half: usize,
    /// `phases` filters of `2 * half` taps.
    filters: Vec<f32>,
    /// Of each channel.
    input: Vec<Vec<f32>>,
    cursor: usize,
    /// In parts of `to`.
    phase: u64,
}

impl Resampler {
    /// From `from` Hz to `to` Hz. `None` for rates that sound does not have: beyond 7 to 96 kHz.
    pub(super) fn new(from: u32, to: u32, channels: usize) -> Option<Self> {
        if !(7_000..=96_000).contains(&from) || !(7_000..=96_000).contains(&to) {
            return None;
        }
        let common = gcd(from.into(), to.into());
        let (reduced_from, reduced_to) = (u64::from(from) / common, u64::from(to) / common);
        let phases = reduced_to.min(PHASES_MAX);
        let cut = PASS * (f64::from(to) / f64::from(from)).min(1.0);
        let half = (CROSSINGS as f64 / cut).ceil() as usize;
        // A whole number of lanes.
        let half = half.next_multiple_of(LANES / 2);
        let mut filters = Vec::with_capacity(phases as usize * 2 * half);
        for phase in 0..phases {
            push_filter(&mut filters, phase as f64 / phases as f64, half, cut);
        }
        // Silence before the beginning.
        let input = vec![vec![0.0; half - 1]; channels];
        Some(Self {
            from: reduced_from,
            to: reduced_to,
            phases,
            half,
            filters,
            input,
            cursor: half - 1,
            phase: 0,
        })
    }

    /// Takes interleaved samples and appends what they come to.
    pub(super) fn feed(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        let channels = self.input.len();
        for (channel, input) in self.input.iter_mut().enumerate() {
            input.extend(pcm.iter().skip(channel).step_by(channels).map(|sample| f32::from(*sample)));
        }
        let available = self.input.first().map_or(0, Vec::len);
        while self.cursor + self.half < available {
            let phase = if self.phases == self.to { self.phase } else { self.phase * self.phases / self.to };
            let taps = 2 * self.half;
            let filter = &self.filters[phase as usize * taps..][..taps];
            let start = self.cursor + 1 - self.half;
            for input in &self.input {
                out.push(to_sample(dot(&input[start..start + taps], filter)));
            }
            self.phase += self.from;
            self.cursor += (self.phase / self.to) as usize;
            self.phase %= self.to;
        }
        let used = (self.cursor + 1).saturating_sub(self.half);
        if used >= SLACK {
            // With a large step the cursor may be past the end.
            let used = used.min(available);
            self.input.iter_mut().for_each(|input| drop(input.drain(..used)));
            self.cursor -= used;
        }
    }

    /// How much of the input lies after the next output sample, in nanoseconds of `rate` Hz, the input's.
    pub(super) fn pending(&self, rate: u32) -> i64 {
        let available = self.input.first().map_or(0, Vec::len) as i128;
        let parts = (available - self.cursor as i128) * i128::from(self.to) - i128::from(self.phase);
        (parts * 1_000_000_000 / (i128::from(self.to) * i128::from(rate))) as i64
    }
}

/// Appends the taps for an output sample that lies `fraction` of a sample after the input sample in the middle.
fn push_filter(filters: &mut Vec<f32>, fraction: f64, half: usize, cut: f64) {
    let start = filters.len();
    let mut sum = 0.0;
    for tap in 0..2 * half {
        let at = tap as f64 - (half as f64 - 1.0) - fraction;
        let sinc = if at.abs() < 1e-9 { cut } else { (PI * cut * at).sin() / (PI * at) };
        let value = sinc * kaiser(at / half as f64);
        sum += value;
        filters.push(value as f32);
    }
    // Silence and a constant pass exactly, whatever the phase (which takes the window's own scale out, too).
    for tap in &mut filters[start..] {
        *tap /= sum as f32;
    }
}

/// Kaiser's window from -1 to 1, but for its scale.
fn kaiser(at: f64) -> f64 {
    let inside = 1.0 - at * at;
    if inside <= 0.0 { 0.0 } else { bessel(BETA * inside.sqrt()) }
}

/// The modified Bessel function of order zero, for up to [`BETA`].
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..24 {
        term *= quarter / f64::from(k * k);
        sum += term;
        if term < sum * 1e-9 {
            break;
        }
    }
    sum
}

fn dot(samples: &[f32], filter: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (samples, taps) in samples.as_chunks::<LANES>().0.iter().zip(filter.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += samples[lane] * taps[lane];
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    (a + e) + (b + f) + ((c + g) + (d + h))
}

/// The nearest sample. `f32::round` is a call of the mathematics library for processors of every age.
fn to_sample(value: f32) -> i16 {
    (value + 0.5_f32.copysign(value)) as i16
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn sine(hz: f64, rate: u32, samples: usize, channels: usize) -> Vec<i16> {
        let at = |n: usize| ((TAU * hz * n as f64 / f64::from(rate)).sin() * 16_000.0) as i16;
        (0..samples).flat_map(|n| std::iter::repeat_n(at(n), channels)).collect()
    }

    /// Each rate of AAC to 48 kHz: the sine is where it should be, to a hundredth of a sample's swing.
    #[test]
    fn a_sine_keeps_its_place_and_level_at_every_rate() {
        for from in
            [96_000, 88_200, 64_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350]
        {
            for channels in [1, 2] {
                let mut resampler = Resampler::new(from, 48_000, channels).expect("a rate of sound");
                let mut out = Vec::new();
                let input = sine(440.0, from, from as usize / 2, channels);
                for part in input.chunks(channels * 1_000) {
                    resampler.feed(part, &mut out);
                }
                let expected = sine(440.0, 48_000, out.len() / channels, channels);
                let worst = out
                    .iter()
                    .zip(&expected)
                    .skip(channels * 200)
                    .map(|(out, expected)| (i32::from(*out) - i32::from(*expected)).abs())
                    .max();
                assert!(worst.is_some_and(|worst| worst < 60), "{from} Hz, {channels} ch: off by {worst:?}");
                let lasts = i64::from(from) / 2 * 48_000 / i64::from(from);
                let given = lasts - out.len() as i64 / channels as i64;
                let pending = resampler.pending(from) * 48 / 1_000_000;
                assert!((pending - given).abs() <= 1, "{from} Hz: {pending} samples wait, not {given}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        let mut resampler = Resampler::new(96_000, 48_000, 1).expect("a rate of sound");
        let mut out = Vec::new();
        resampler.feed(&sine(30_000.0, 96_000, 48_000, 1), &mut out);
        let loudest = out.iter().skip(200).map(|sample| sample.unsigned_abs()).max();
        assert!(loudest.is_some_and(|loudest| loudest < 10), "30 kHz folds into {loudest:?}");
    }

    #[test]
    fn odd_rates_are_near_enough_and_none_is_refused_by_a_panic() {
        for from in [47_999, 44_099, 7_001] {
            let mut resampler = Resampler::new(from, 48_000, 1).expect("a rate of sound");
            let mut out = Vec::new();
            resampler.feed(&sine(440.0, from, from as usize, 1), &mut out);
            let expected = sine(440.0, 48_000, out.len(), 1);
            let worst =
                out.iter().zip(&expected).skip(300).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).max();
            assert!(worst.is_some_and(|worst| worst < 100), "{from} Hz: off by {worst:?}");
        }
        for rate in [0, 1, 6_999, 96_001, u32::MAX] {
            assert!(Resampler::new(rate, 48_000, 2).is_none());
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let mut resampler = Resampler::new(44_100, 48_000, 2).expect("a rate of sound");
        for _ in 0..1_000 {
            resampler.feed(&[7; 2_048], &mut Vec::new());
        }
        assert!(resampler.input[0].capacity() < 4 * SLACK, "{}", resampler.input[0].capacity());
    }
}
