//! A tone as Opus, encoded once: a second of 440 Hz in frames of 20 ms, which repeats without a seam.

use std::sync::Arc;

use audiopus::{Application, Bitrate, Channels, SampleRate, coder::Encoder};

/// From one frame to the next, microseconds.
pub const FRAME_US: u64 = 20_000;
/// Samples of a frame, on Opus' clock of 48 kHz.
pub const FRAME_SAMPLES: u64 = 960;
const FRAMES: usize = 50;
/// No Opus frame is longer (RFC 6716 section 3.2.1).
const FRAME_BYTES_MAX: usize = 1_275;
/// A sixteenth of full scale below full.
const LEVEL: f64 = 8_000.0;
const HZ: f64 = 440.0;

/// The frames.
#[derive(Clone, Debug)]
pub struct Tone {
    frames: Vec<Arc<[u8]>>,
}

impl Tone {
    /// At about `bit_rate` bits a second, in two channels.
    ///
    /// # Errors
    /// When the codec refuses that.
    pub fn new(bit_rate: u64) -> Result<Self, audiopus::Error> {
        let mut encoder = Encoder::new(SampleRate::Hz48000, Channels::Stereo, Application::Audio)?;
        let rate = i32::try_from(bit_rate).unwrap_or(i32::MAX).clamp(6_000, 510_000);
        encoder.set_bitrate(Bitrate::BitsPerSecond(rate))?;
        let frame = |n: usize| -> Vec<i16> {
            let at = |sample: u64| {
                let seconds = (n as u64 * FRAME_SAMPLES + sample) as f64 / 48_000.0;
                ((seconds * HZ * std::f64::consts::TAU).sin() * LEVEL) as i16
            };
            (0..FRAME_SAMPLES).flat_map(|sample| [at(sample); 2]).collect()
        };
        let mut frames = Vec::with_capacity(FRAMES);
        // The first round warms the encoder up, so that the end fits the beginning.
        for n in 0..2 * FRAMES {
            let mut out = [0; FRAME_BYTES_MAX];
            let bytes = encoder.encode(&frame(n % FRAMES), &mut out)?;
            if n >= FRAMES {
                frames.push(out.get(..bytes).unwrap_or_default().into());
            }
        }
        Ok(Self { frames })
    }

    /// Frame `n` of an endless tone.
    pub fn frame(&self, n: u64) -> Arc<[u8]> {
        self.frames.get((n % FRAMES as u64) as usize).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiopus::{MutSignals, coder::Decoder, packet::Packet};

    #[test]
    fn a_decoder_hears_the_tone() {
        let tone = Tone::new(64_000).expect("an encoder");
        let mut decoder = Decoder::new(SampleRate::Hz48000, Channels::Stereo).expect("a decoder");
        let (mut bytes, mut loud) = (0, 0);
        for n in 0..100 {
            let frame = tone.frame(n);
            let mut out = [0_i16; 2 * FRAME_SAMPLES as usize];
            bytes += frame.len();
            let packet = Packet::try_from(&frame[..]).expect("a packet");
            let room = MutSignals::try_from(&mut out[..]).expect("room");
            assert_eq!(decoder.decode(Some(packet), room, false).expect("sound"), 960);
            loud += usize::from(out.iter().any(|sample| sample.unsigned_abs() > 4_000));
        }
        assert!(loud > 95, "{loud} of 100 frames are loud");
        assert!((8_000..24_000).contains(&bytes), "{bytes} bytes in two seconds of 64 kbit/s");
    }
}
