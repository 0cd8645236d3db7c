//! Opus, by libopus: always at 48 kHz, one or two channels.

use audiopus::{
    Application, Bitrate, Channels, MutSignals, SampleRate,
    coder::{Decoder as OpusDecoder, Encoder as OpusEncoder},
    packet::Packet,
};
use bytes::Bytes;
use shards::media::{Codec, Shape, Track, TrackId};

use super::{Decode, Decoded, Encode};
use crate::codecs::opus::{SAMPLE_RATE, build_head, packet_samples, parse_head};

/// Samples of the longest packet, 120 ms.
const PACKET_SAMPLES_MAX: usize = 5_760;
/// Samples that concealment is made in, 2.5 ms.
const CONCEALED_STEP: usize = 120;
/// More bytes than any packet has: 48 frames of 1,275 with their lengths.
const PACKET_BYTES_MAX: usize = 48 * 1_277 + 2;
/// Samples of a frame that is made: 20 ms, what WebRTC players expect.
const FRAME_SAMPLES: usize = 960;
/// How hard the encoder tries, of 10. At 5 it follows the pitch of voices (4 dB nearer to them than 4 is, at 96 kbit/s; 10 would be
/// another one) and costs two thirds of what 10 does.
const COMPLEXITY: u8 = 5;
/// The same without a look for the pitch: a quarter less work.
const COMPLEXITY_LOW: u8 = 4;
/// Samples of a frame that are all this near to zero are silence, to the look for the pitch: it takes a whole millisecond where
/// silence and sound meet.
const SILENCE: u16 = 32;
/// Packets a second.
const FRAME_RATE: usize = 50;
/// The largest packet that is made, in packets of the mean size. Left alone, the encoder spends five times as much on the
/// first sound after silence, and four times the time.
const BURST_MAX: usize = 2;

fn channels_of(channels: usize) -> Channels {
    if channels == 1 { Channels::Mono } else { Channels::Stereo }
}

/// See the module.
pub(super) struct Decoder {
    decoder: OpusDecoder,
    channels: usize,
    scratch: Vec<i16>,
}

impl Decoder {
    /// For what `head` (an `OpusHead`) tells of, and its channels. `None`: surround, or no such thing.
    pub(super) fn new(head: &[u8]) -> Option<(Self, usize)> {
        let head = parse_head(head)?;
        let channels = usize::from(head.channels);
        if head.mapping_family != 0 || channels > 2 {
            return None;
        }
        let decoder = OpusDecoder::new(SampleRate::Hz48000, channels_of(channels)).ok()?;
        Some((Self { decoder, channels, scratch: vec![0; PACKET_SAMPLES_MAX * channels] }, channels))
    }

    fn run(&mut self, packet: Option<Packet<'_>>, samples: usize, pcm: &mut Vec<i16>) -> Option<()> {
        let room = self.scratch.get_mut(..samples * self.channels)?;
        let made = self.decoder.decode(packet, MutSignals::try_from(room).ok()?, false).ok()?;
        pcm.extend_from_slice(self.scratch.get(..made.min(samples) * self.channels)?);
        (made > 0).then_some(())
    }
}

impl Decode for Decoder {
    fn decode(&mut self, frame: &[u8], pcm: &mut Vec<i16>) -> Decoded {
        let known = packet_samples(frame).filter(|_| frame.len() <= PACKET_BYTES_MAX);
        let Some((samples, packet)) = known.zip(Packet::try_from(frame).ok()) else {
            return Decoded::Nothing;
        };
        let before = pcm.len();
        match self.run(Some(packet), samples as usize, pcm) {
            Some(()) => Decoded::Whole,
            None => {
                pcm.truncate(before);
                self.conceal(samples as usize, pcm);
                Decoded::Guessed
            }
        }
    }

    fn conceal(&mut self, samples: usize, pcm: &mut Vec<i16>) {
        let end = pcm.len() + samples * self.channels;
        let guessed = samples.min(PACKET_SAMPLES_MAX) / CONCEALED_STEP * CONCEALED_STEP;
        if guessed > 0 {
            // Without a guess there is silence.
            let _ = self.run(None, guessed, pcm);
        }
        pcm.resize(end, 0);
    }

    fn sample_rate(&self) -> u32 {
        SAMPLE_RATE
    }

    fn delay(&self) -> usize {
        0
    }
}

/// See the module.
pub(super) struct Encoder {
    encoder: OpusEncoder,
    delay: usize,
    track: Track,
    scratch: Vec<u8>,
    /// What it is set to, and what it is set to where nothing speaks against it.
    complexity: u8,
    complexity_max: u8,
    /// The frame before was silence.
    after_silence: bool,
}

impl Encoder {
    /// At so many bits a second. `is_synthetic`: the upper half of what comes was made up by the source's decoder (spectral band
    /// replication), so that its exact shape means nothing. `None`: libopus does not start.
    pub(super) fn new(channels: usize, bits_per_second: u32, is_synthetic: bool) -> Option<Self> {
        // CELT alone, as at these bit rates anyway: without the other coder the delay is 2.5 ms instead of 6.5, and no frame
        // costs a millisecond because the encoder changes its mind between the two.
        let mut encoder =
            OpusEncoder::new(SampleRate::Hz48000, channels_of(channels), Application::LowDelay).ok()?;
        encoder.set_bitrate(Bitrate::BitsPerSecond(i32::try_from(bits_per_second).ok()?)).ok()?;
        let complexity_max = if is_synthetic { COMPLEXITY_LOW } else { COMPLEXITY };
        encoder.set_complexity(COMPLEXITY_LOW).ok()?;
        let delay = encoder.lookahead().ok()?;
        let track = Track {
            id: TrackId::AUDIO,
            codec: Codec::Opus,
            config: build_head(channels as u8, u16::try_from(delay).ok()?),
            shape: Shape::Audio { sample_rate: SAMPLE_RATE, channels: channels as u8 },
        };
        let scratch = vec![0; bits_per_second as usize / 8 / FRAME_RATE * BURST_MAX];
        Some(Self {
            encoder,
            delay: delay as usize,
            track,
            scratch,
            complexity: COMPLEXITY_LOW,
            complexity_max,
            after_silence: true,
        })
    }
}

impl Encoder {
    /// Sets the complexity that the next frame is to have.
    fn suit(&mut self, pcm: &[i16]) {
        let is_silence = pcm.iter().all(|sample| sample.unsigned_abs() <= SILENCE);
        let wanted = if is_silence || self.after_silence { COMPLEXITY_LOW } else { self.complexity_max };
        if wanted != self.complexity && self.encoder.set_complexity(wanted).is_ok() {
            self.complexity = wanted;
        }
        self.after_silence = is_silence;
    }
}

impl Encode for Encoder {
    fn track(&self) -> &Track {
        &self.track
    }

    fn frame_samples(&self) -> usize {
        FRAME_SAMPLES
    }

    fn delay(&self) -> usize {
        self.delay
    }

    fn encode(&mut self, pcm: &[i16]) -> Option<Bytes> {
        self.suit(pcm);
        let made = self.encoder.encode(pcm, &mut self.scratch).ok()?;
        Some(Bytes::copy_from_slice(self.scratch.get(..made)?)).filter(|bytes| !bytes.is_empty())
    }
}
