//! AAC, by the Fraunhofer FDK: decodes LC and HE of all rates down to one or two channels, encodes LC at 48 kHz.

use bytes::Bytes;
use fdk_aac::{dec, enc};
use shards::media::{Codec, Shape, Track, TrackId};

use super::{Decode, Decoded, Encode, pcm};
use crate::codecs::aac::parse_config;

/// Samples of the longest frame: HE-AAC's.
const FRAME_SAMPLES_MAX: usize = 2_048;
/// Channels that the decoder has before it mixes them down.
const CHANNELS_MAX: usize = 8;
/// More bytes than any frame has: 6,144 bits for each channel.
const FRAME_BYTES_MAX: usize = CHANNELS_MAX * 768 + 64;
/// Bytes of the longest configuration that is believed.
const CONFIG_BYTES_MAX: usize = 256;
/// Samples, at the rate that is heard, by which spectral band replication delays sound. Encoders allow for it in their times,
/// so it is no delay to us.
const SBR_DELAY: usize = 962;
/// The rate at which frames are made: Opus', so that nothing is resampled on the way from there.
const SAMPLE_RATE: u32 = 48_000;

/// See the module.
pub(super) struct Decoder {
    decoder: dec::Decoder,
    channels: usize,
    sample_rate: u32,
    delay: usize,
    is_replicated: bool,
    scratch: Vec<i16>,
}

impl Decoder {
    /// For what `config` (an `AudioSpecificConfig`) tells of, and the channels that come out: at most two. `None`: the
    /// decoder does not take it.
    pub(super) fn new(config: &[u8]) -> Option<(Self, usize)> {
        let parsed = parse_config(config).filter(|_| config.len() <= CONFIG_BYTES_MAX)?;
        let sample_rate = Some(parsed.rate_heard()).filter(|rate| (7_350..=96_000).contains(rate))?;
        let channels = usize::from(parsed.channels_heard()).min(2);
        let mut decoder = dec::Decoder::new(dec::Transport::Raw);
        decoder.config_raw(config).ok()?;
        decoder.set_max_output_channels(channels).ok()?;
        decoder.set_min_output_channels(channels).ok()?;
        let scratch = vec![0; FRAME_SAMPLES_MAX * CHANNELS_MAX];
        let is_replicated = parsed.sbr_rate.is_some();
        Some((Self { decoder, channels, sample_rate, delay: 0, is_replicated, scratch }, channels))
    }

    /// Whether the configuration tells of spectral band replication.
    pub(super) const fn is_replicated(&self) -> bool {
        self.is_replicated
    }
}

/// Whether the decoder gave sound in spite of the error.
fn is_concealed(error: dec::DecoderError) -> bool {
    use dec::DecoderError as E;
    [
        E::TRANSPORT_ERROR,
        E::PARSE_ERROR,
        E::UNSUPPORTED_EXTENSION_PAYLOAD,
        E::DECODE_FRAME_ERROR,
        E::CRC_ERROR,
        E::INVALID_CODE_BOOK,
        E::UNSUPPORTED_PREDICTION,
        E::UNSUPPORTED_CCE,
        E::UNSUPPORTED_LFE,
        E::UNSUPPORTED_GAIN_CONTROL_DATA,
        E::UNSUPPORTED_SBA,
        E::TNS_READ_ERROR,
        E::RVLC_ERROR,
        E::ANC_DATA_ERROR,
        E::TOO_SMALL_ANC_BUFFER,
        E::TOO_MANY_ANC_ELEMENTS,
    ]
    .contains(&error)
}

impl Decode for Decoder {
    fn decode(&mut self, frame: &[u8], pcm: &mut Vec<i16>) -> Decoded {
        if frame.is_empty() || frame.len() > FRAME_BYTES_MAX || self.decoder.fill(frame).is_err() {
            return Decoded::Nothing;
        }
        let decoded = match self.decoder.decode_frame(&mut self.scratch) {
            Ok(()) => Decoded::Whole,
            Err(error) if is_concealed(error) => Decoded::Guessed,
            Err(_) => return Decoded::Nothing,
        };
        let info = self.decoder.stream_info();
        let samples = usize::try_from(info.frameSize).unwrap_or(0);
        let channels = usize::try_from(info.numChannels).unwrap_or(0);
        let rate = u32::try_from(info.sampleRate).unwrap_or(0);
        let made = self.scratch.get(..samples.saturating_mul(channels));
        let Some(made) = made.filter(|made| !made.is_empty() && channels <= 2) else {
            return Decoded::Nothing;
        };
        if (7_350..=96_000).contains(&rate) {
            self.sample_rate = rate;
        }
        if decoded == Decoded::Whole {
            let delay = usize::try_from(info.outputDelay).unwrap_or(0);
            let expected = if info.frameSize > info.aacSamplesPerFrame { SBR_DELAY } else { 0 };
            self.delay = delay.saturating_sub(expected);
        }
        pcm::remix(made, channels, pcm, self.channels);
        decoded
    }

    fn conceal(&mut self, samples: usize, pcm: &mut Vec<i16>) {
        pcm.resize(pcm.len() + samples * self.channels, 0);
    }

    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn delay(&self) -> usize {
        self.delay
    }
}

/// See the module.
pub(super) struct Encoder {
    encoder: enc::Encoder,
    frame_samples: usize,
    delay: usize,
    track: Track,
    scratch: Vec<u8>,
}

impl Encoder {
    /// At 48 kHz and so many bits a second. `None`: the encoder does not start.
    pub(super) fn new(channels: usize, bits_per_second: u32) -> Option<Self> {
        Self::at(SAMPLE_RATE, channels, bits_per_second, enc::AudioObjectType::Mpeg4LowComplexity)
    }

    /// At any rate, in any profile.
    pub(super) fn at(
        sample_rate: u32,
        channels: usize,
        bits_per_second: u32,
        profile: enc::AudioObjectType,
    ) -> Option<Self> {
        let encoder = enc::Encoder::new(enc::EncoderParams {
            bit_rate: enc::BitRate::Cbr(bits_per_second),
            sample_rate,
            transport: enc::Transport::Raw,
            channels: if channels == 1 { enc::ChannelMode::Mono } else { enc::ChannelMode::Stereo },
            audio_object_type: profile,
        })
        .ok()?;
        let info = encoder.info().ok()?;
        let config = info.confBuf.get(..info.confSize as usize)?;
        let track = Track {
            id: TrackId::AUDIO,
            codec: Codec::Aac,
            config: Bytes::copy_from_slice(config),
            shape: Shape::Audio { sample_rate, channels: channels as u8 },
        };
        let scratch = vec![0; (info.maxOutBufBytes as usize).max(FRAME_BYTES_MAX)];
        Some(Self {
            encoder,
            frame_samples: info.frameLength as usize,
            delay: info.nDelay as usize,
            track,
            scratch,
        })
    }
}

impl Encode for Encoder {
    fn track(&self) -> &Track {
        &self.track
    }

    fn frame_samples(&self) -> usize {
        self.frame_samples
    }

    fn delay(&self) -> usize {
        self.delay
    }

    fn encode(&mut self, pcm: &[i16]) -> Option<Bytes> {
        let done = self.encoder.encode(pcm, &mut self.scratch).ok()?;
        Some(Bytes::copy_from_slice(self.scratch.get(..done.output_size)?)).filter(|bytes| !bytes.is_empty())
    }
}
