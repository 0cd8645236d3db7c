//! What the demo publishes, as neutral tracks and frames: the picture in H.264 and the tone in AAC-LC.
//!
//! A source makes frames as fast as it is asked; [`Source::due`] says when the next one should leave. Time zero is the
//! first picture. Both kinds of frame count from one [`WallTick`], pictures in ticks and sound in samples, so the flash
//! and the bell meet exactly; the encoder's delay is taken off the sound's timestamps.

use bytes::Bytes;
use fdk_aac::enc as aac;
use openh264::{
    OpenH264API, Timestamp as EncoderTime,
    encoder::{
        Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, RateControlMode,
        UsageType, VuiConfig,
    },
};
use shards::media::{Codec, Frame, FrameKind, Shape, Timestamp, Track, TrackId};

use super::picture::{Design, Picture, WallTick};
use super::tone::{CHANNELS, SAMPLE_RATE, Tone};
use crate::codecs::{
    h264::{self, unit_type},
    nal,
};

/// Samples of each channel in one AAC frame.
pub const AAC_SAMPLES: usize = 1_024;
/// What the sound costs on the wire.
pub const AUDIO_BITS_PER_SECOND: u32 = 96_000;
/// Why there is no picture or no sound.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The H.264 encoder refused.
    #[error("the H.264 encoder: {0}")]
    Video(#[from] openh264::Error),
    /// The AAC encoder refused.
    #[error("the AAC encoder: {0}")]
    Audio(String),
    /// The H.264 encoder began without its parameter sets.
    #[error("the H.264 encoder gave no parameter sets")]
    NoParameterSets,
}

impl From<aac::EncoderError> for SourceError {
    fn from(error: aac::EncoderError) -> Self {
        Self::Audio(error.to_string())
    }
}

/// The picture and the tone, encoded.
pub struct Source {
    /// The wall clock at time zero.
    origin: WallTick,
    video: Video,
    audio: Audio,
    /// The first picture, encoded early for its parameter sets.
    first: Option<Frame>,
    tracks: [Track; 2],
}

impl Source {
    /// A source whose time zero is the wall tick `origin`, which must tick at the design's rate.
    ///
    /// # Errors
    /// When an encoder does not start.
    pub fn new(design: &Design, origin: WallTick) -> Result<Self, SourceError> {
        let mut video = Video::new(design)?;
        let audio = Audio::new(origin)?;
        let first = video.next(origin)?;
        let config = video.config.clone().ok_or(SourceError::NoParameterSets)?;
        let size = Shape::Video { width: design.width, height: design.height };
        let rate = Shape::Audio { sample_rate: SAMPLE_RATE, channels: CHANNELS as u8 };
        let tracks = [
            Track { id: TrackId::VIDEO, codec: Codec::H264, config, shape: size },
            Track { id: TrackId::AUDIO, codec: Codec::Aac, config: audio.config.clone(), shape: rate },
        ];
        Ok(Self { origin, video, audio, first, tracks })
    }

    /// The picture and the sound, in this order.
    pub fn tracks(&self) -> &[Track; 2] {
        &self.tracks
    }

    /// When the next frame begins: the time to send it.
    pub fn due(&self) -> Timestamp {
        match &self.first {
            Some(frame) => frame.dts,
            None => self.video.due().min(self.audio.due()),
        }
    }

    /// Makes the next frame. `None`: the encoder swallowed one; ask again.
    ///
    /// # Errors
    /// When an encoder fails.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.video.due() <= self.audio.due() {
            self.video.next(self.origin.after(self.video.number))
        } else {
            self.audio.next(self.origin)
        }
    }

    /// Leaves out what should have left before `now`, as after a machine's sleep; goes on with a keyframe.
    pub fn skip_to(&mut self, now: Timestamp) {
        self.first = None;
        self.video.skip_to(now);
        self.audio.skip_to(now);
    }

    /// Tells what the wall clock says at the time `now`; the clock shown follows when it is two pictures off or more.
    pub fn set_wall(&mut self, now: Timestamp, wall: WallTick) {
        let origin = wall.after(-WallTick::from_micros(now.micros(), wall.rate).count);
        if (origin.count - self.origin.count).abs() >= 2 {
            self.origin = origin;
        }
    }
}

struct Video {
    encoder: Encoder,
    picture: Picture,
    /// Pictures a second.
    rate: u32,
    /// The next picture's.
    number: i64,
    /// `AVCDecoderConfigurationRecord`, known after the first picture.
    config: Option<Bytes>,
}

impl Video {
    fn new(design: &Design) -> Result<Self, SourceError> {
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            // One quantiser for all: this picture never changes its nature, so its rate is steady without a control, and
            // the controls need to skip pictures.
            .rate_control_mode(RateControlMode::Off)
            .max_frame_rate(FrameRate::from_hz(design.rate as f32))
            // A keyframe each second, so that a joiner's GOP is short.
            .intra_frame_period(IntraFramePeriod::from_num_frames(design.rate))
            // A skipped picture would stop the clock; a cut within this picture is never a scene change.
            .skip_frames(false)
            .scene_change_detect(false)
            .num_threads(1)
            .vui(VuiConfig::bt709());
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config)?;
        Ok(Self { encoder, picture: Picture::new(design), rate: design.rate, number: 0, config: None })
    }

    fn due(&self) -> Timestamp {
        Timestamp::from_ticks(self.number, self.rate)
    }

    fn next(&mut self, tick: WallTick) -> Result<Option<Frame>, SourceError> {
        let dts = self.due();
        let canvas = self.picture.draw(tick, self.number.unsigned_abs());
        let coded = self.encoder.encode_at(canvas, EncoderTime::from_millis(dts.millis().unsigned_abs()))?;
        self.number += 1;

        let kind = match coded.frame_type() {
            FrameType::IDR => FrameKind::Key,
            FrameType::Skip | FrameType::Invalid => return Ok(None),
            _ => FrameKind::Inter,
        };
        let annex_b = coded.to_vec();
        let units = nal::annex_b(&annex_b);
        if self.config.is_none() {
            self.config = h264::config_of(units.clone());
        }
        let in_band = |unit: &&[u8]| !matches!(h264::unit_type(unit), unit_type::SPS | unit_type::PPS);
        let payload = nal::join(units.filter(in_band));
        Ok(Some(Frame { track: TrackId::VIDEO, dts, composition: Timestamp::ZERO, kind, payload }))
    }

    fn skip_to(&mut self, now: Timestamp) {
        let number = now.to_ticks(self.rate) + 1;
        if number > self.number {
            self.number = number;
            self.encoder.force_intra_frame();
        }
    }
}

struct Audio {
    encoder: aac::Encoder,
    tone: Tone,
    /// Where the encoder's next input begins, in samples since time zero.
    fed: i64,
    /// Samples between going in and being heard.
    delay: i64,
    /// `AudioSpecificConfig`.
    config: Bytes,
    pcm: Vec<i16>,
    coded: Vec<u8>,
}

impl Audio {
    fn new(origin: WallTick) -> Result<Self, SourceError> {
        let encoder = aac::Encoder::new(aac::EncoderParams {
            bit_rate: aac::BitRate::Cbr(AUDIO_BITS_PER_SECOND),
            sample_rate: SAMPLE_RATE,
            transport: aac::Transport::Raw,
            channels: aac::ChannelMode::Stereo,
            audio_object_type: aac::AudioObjectType::Mpeg4LowComplexity,
        })?;
        let info = encoder.info()?;
        let config = info.confBuf.get(..info.confSize as usize).unwrap_or_default();
        let delay = i64::from(info.nDelay);
        let mut audio = Self {
            config: Bytes::copy_from_slice(config),
            fed: 0,
            delay,
            tone: Tone::worked_out(),
            pcm: vec![0; AAC_SAMPLES * CHANNELS],
            coded: vec![0; (info.maxOutBufBytes as usize).max(2_048)],
            encoder,
        };
        // The input runs ahead of what is heard by the delay: frames that would begin before zero only fill the encoder.
        while audio.starts() < 0 {
            audio.encode(origin)?;
        }
        Ok(audio)
    }

    /// Where the next frame begins, in samples since time zero.
    fn starts(&self) -> i64 {
        self.fed - self.delay
    }

    fn due(&self) -> Timestamp {
        Timestamp::from_ticks(self.starts(), SAMPLE_RATE)
    }

    fn next(&mut self, origin: WallTick) -> Result<Option<Frame>, SourceError> {
        let dts = self.due();
        let payload = self.encode(origin)?;
        let frame =
            Frame { track: TrackId::AUDIO, dts, composition: Timestamp::ZERO, kind: FrameKind::Key, payload };
        Ok((!frame.payload.is_empty()).then_some(frame))
    }

    fn encode(&mut self, origin: WallTick) -> Result<Bytes, SourceError> {
        let since_second = origin.phase() * i64::from(SAMPLE_RATE) / i64::from(origin.rate);
        self.tone.read(since_second + self.fed, &mut self.pcm);
        let done = self.encoder.encode(&self.pcm, &mut self.coded)?;
        self.fed += (done.input_consumed / CHANNELS) as i64;
        Ok(Bytes::copy_from_slice(self.coded.get(..done.output_size).unwrap_or_default()))
    }

    fn skip_to(&mut self, now: Timestamp) {
        let behind = now.to_ticks(SAMPLE_RATE) - self.starts();
        let frames = behind.max(0) / AAC_SAMPLES as i64;
        self.fed += frames * AAC_SAMPLES as i64;
    }
}

#[cfg(test)]
mod tests;
