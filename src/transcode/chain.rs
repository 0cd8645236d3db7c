//! From frames of one codec to frames of another: decoder, resampler, queue, encoder, and where in time it all lies.
//!
//! One step is one call of a codec, or resamples a piece. Invariant: `clock` stands at the end of all samples that were decoded, so the
//! time of the next frame is the clock less what waits on its way to the encoder.

use shards::{
    media::{Frame, FrameKind, Timestamp, Track, TrackId},
    stream::{Made, STEP_MIN, Transcode},
};

use super::{
    Decode, Decoded, Encode,
    clock::{Clock, Verdict, duration},
    pcm::Queue,
    resample::Resampler,
};

/// A hole is filled in steps of this many milliseconds.
const FILL_MS: usize = 20;
/// So many samples of each channel are resampled in one step.
const PIECE_SAMPLES: usize = 1_024;

/// A hole that is being filled.
#[derive(Clone, Copy, Debug)]
struct Fill {
    /// Samples that are missing, at the decoder's rate.
    samples: usize,
    /// With silence, and then sound begins anew.
    anew: bool,
}

/// See the module.
pub(super) struct Chain {
    decoder: Box<dyn Decode>,
    encoder: Box<dyn Encode>,
    channels: usize,
    rate_out: u32,
    /// Made when the decoder's rate is known and differs; for that rate.
    resampler: Option<(u32, Resampler)>,
    /// What was decoded and is not in the queue yet.
    pcm: Vec<i16>,
    queue: Queue,
    clock: Clock,
    held: Option<Frame>,
    fill: Option<Fill>,
    /// No frame of an earlier time is of use: it would hold what lies before the sound began.
    begin: Timestamp,
    /// The time of the newest frame that was made.
    last: Option<Timestamp>,
    concealed: u64,
}

impl Chain {
    /// `channels` is what the decoder gives and the encoder takes.
    pub(super) fn new(decoder: Box<dyn Decode>, encoder: Box<dyn Encode>, channels: usize) -> Self {
        let rate_out = match encoder.track().shape {
            shards::media::Shape::Audio { sample_rate, .. } => sample_rate,
            _ => decoder.sample_rate(),
        };
        Self {
            decoder,
            encoder,
            channels,
            rate_out,
            resampler: None,
            pcm: Vec::new(),
            queue: Queue::new(channels),
            clock: Clock::default(),
            held: None,
            fill: None,
            begin: Timestamp::ZERO,
            last: None,
            concealed: 0,
        }
    }

    fn encode(&mut self) -> Option<Made> {
        let samples = self.encoder.frame_samples();
        let pcm = self.queue.head(samples)?;
        let payload = self.encoder.encode(pcm);
        let at = self.head();
        self.queue.drop_head(samples);
        let Some(payload) = payload.filter(|_| at >= self.begin) else { return Some(Made::Busy) };
        // A decoder that tells of its delay late would turn time back.
        let dts = self.last.map_or(at, |last| at.max(last + STEP_MIN));
        self.last = Some(dts);
        let (track, composition, kind) = (TrackId::AUDIO, Timestamp::ZERO, FrameKind::Key);
        Some(Made::Frame(Frame { track, dts, composition, kind, payload }))
    }

    /// The time of the frame that the next samples of the queue make.
    fn head(&self) -> Timestamp {
        let rate_in = self.decoder.sample_rate();
        let resampling = self.resampler.as_ref().map_or(0, |(rate, resampler)| resampler.pending(*rate));
        let decoded = duration(self.pcm.len() / self.channels, rate_in);
        let waits = decoded + resampling + duration(self.queue.len(), self.rate_out);
        let delays = duration(self.encoder.delay(), self.rate_out) + duration(self.decoder.delay(), rate_in);
        Timestamp::from_micros((self.clock.next() - waits - delays + 500).div_euclid(1_000))
    }

    /// Moves a piece of what was decoded into the queue.
    fn queue(&mut self) {
        let rate = self.decoder.sample_rate();
        let piece = self.pcm.len().min(PIECE_SAMPLES * self.channels);
        if rate == self.rate_out {
            self.resampler = None;
            self.queue.tail().append(&mut self.pcm);
            return;
        }
        if self.resampler.as_ref().is_none_or(|(known, _)| *known != rate) {
            self.resampler = Resampler::new(rate, self.rate_out, self.channels).map(|made| (rate, made));
        }
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.feed(self.pcm.get(..piece).unwrap_or_default(), self.queue.tail());
        }
        self.pcm.drain(..piece);
    }

    /// How long what was decoded last is.
    fn decoded(&self) -> i64 {
        duration(self.pcm.len() / self.channels, self.decoder.sample_rate())
    }

    fn fill(&mut self, fill: Fill) {
        let piece = fill.samples.min(self.decoder.sample_rate() as usize * FILL_MS / 1_000);
        if fill.anew {
            self.pcm.resize(piece * self.channels, 0);
        } else {
            self.decoder.conceal(piece, &mut self.pcm);
        }
        self.clock.pass(self.decoded());
        let left = fill.samples - piece;
        if left > 0 {
            self.fill = Some(Fill { samples: left, ..fill });
        } else if let Some(frame) = self.held.as_ref().filter(|_| fill.anew) {
            // All that is left is silence.
            let at = frame.dts;
            self.begin_at(at);
        }
    }

    fn begin_at(&mut self, at: Timestamp) {
        self.queue.clear();
        self.pcm.clear();
        self.resampler = None;
        self.clock.set(at);
        self.begin = at;
    }

    /// Looks when the frame is due, and decodes it if it is now.
    fn decode(&mut self, frame: Frame) {
        let rate = self.decoder.sample_rate();
        match self.clock.judge(frame.dts) {
            Verdict::Begins => self.begin_at(frame.dts),
            Verdict::Follows => {}
            Verdict::Hole(nanos) => {
                let samples = (i128::from(nanos) * i128::from(rate) / 1_000_000_000) as usize;
                self.concealed += 1;
                self.fill = Some(Fill { samples, anew: false });
                self.held = Some(frame);
                return;
            }
            Verdict::BeginsAnew => {
                // Enough silence to press all that is in the codecs out, at its own time.
                let delays = duration(self.encoder.delay() + 2 * self.encoder.frame_samples(), self.rate_out);
                let samples = (i128::from(delays) * i128::from(rate) / 1_000_000_000) as usize;
                self.fill = Some(Fill { samples: samples + self.decoder.delay(), anew: true });
                self.held = Some(frame);
                return;
            }
            Verdict::Early => {
                self.concealed += 1;
                return;
            }
        }
        match self.decoder.decode(&frame.payload, &mut self.pcm) {
            Decoded::Whole => {}
            Decoded::Guessed => self.concealed += 1,
            Decoded::Nothing => {
                self.concealed += 1;
                // As long as the one before; nobody knows better.
                let samples = self.clock.frame_duration() as i128 * i128::from(rate) / 1_000_000_000;
                self.decoder.conceal(samples as usize, &mut self.pcm);
            }
        }
        self.clock.frame(self.decoded());
    }
}

impl Transcode for Chain {
    fn track(&self) -> &Track {
        self.encoder.track()
    }

    fn take(&mut self, frame: Frame) {
        self.held = Some(frame);
    }

    fn step(&mut self) -> Made {
        if let Some(step) = self.encode() {
            return step;
        }
        if !self.pcm.is_empty() {
            self.queue();
            return Made::Busy;
        }
        if let Some(fill) = self.fill.take() {
            self.fill(fill);
            return Made::Busy;
        }
        match self.held.take() {
            Some(frame) => {
                self.decode(frame);
                Made::Busy
            }
            None => Made::Idle,
        }
    }

    fn concealed(&self) -> u64 {
        self.concealed
    }
}
