//! Sound in a codec that the publisher does not send, made once for all renditions that need it.
//!
//! A [`Derived`] track queues the main sound's frames, has a [`Transcode`] work them off in small pieces when the pump says
//! so, and keeps what it made since the group of pictures opened, so that joiners start with sound. What it cannot follow
//! is left out and counted.
//! Invariant: what comes out has strictly increasing times, and none lies before the source's. The queue stays within
//! [`QUEUE_FRAMES_MAX`] and [`QUEUE_BYTES_MAX`]. Units: [`Timestamp`], bytes of payload.

use std::collections::VecDeque;

use super::{
    gop::{Changed, Entry, GopCache},
    timeline::STEP_MIN,
};
use crate::media::{Codec, Frame, Timestamp, Track, TrackId};

/// Source frames that wait for their turn. A group of the longest that caches usually hold (30 s of 10 ms) fits.
pub const QUEUE_FRAMES_MAX: usize = 4_096;
/// Payload bytes of those: half a minute at a megabit a second.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;

/// What a piece of work came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// There is nothing to do without another frame.
    Idle,
    /// There may be more to do.
    Busy,
    /// A frame is made; there may be more to do.
    Frame(Frame),
}

/// Turns the frames of one sound into frames of another codec.
///
/// Feeds come from a peer: nothing may panic, and what cannot be decoded is concealed.
pub trait Transcode {
    /// What comes out: [`TrackId::AUDIO`] in the codec that was asked for, with its configuration.
    fn track(&self) -> &Track;

    /// Gives it the next frame of the source. Called only when the last step was [`Made::Idle`].
    fn take(&mut self, frame: Frame);

    /// Does a piece of the work: a call of one codec at most, well under a millisecond.
    fn step(&mut self) -> Made;

    /// Frames of the source that could not be decoded or came out of time, and were replaced or left out.
    fn concealed(&self) -> u64;
}

/// Makes a [`Transcode`] from the source's track to a codec, at so many bits a second (for two channels). `None`: it
/// cannot be done.
pub type MakeTranscode = fn(source: &Track, codec: Codec, bits_per_second: u32) -> Option<Box<dyn Transcode>>;

/// Who makes sound in other codecs, and how.
#[derive(Clone, Copy, Debug)]
pub struct Transcoding {
    /// Makes a transcoder.
    pub make: MakeTranscode,
    /// Bits a second of AAC in stereo; mono gets half.
    pub aac_bitrate: u32,
    /// Bits a second of Opus in stereo; mono gets half.
    pub opus_bitrate: u32,
}

impl Transcoding {
    fn begin(&self, source: &Track, codec: Codec) -> Option<Box<dyn Transcode>> {
        let bits_per_second = match codec {
            Codec::Opus => self.opus_bitrate,
            _ => self.aac_bitrate,
        };
        (self.make)(source, codec, bits_per_second)
    }
}

/// A derived track as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedStats {
    /// The source's codec.
    pub from: Codec,
    /// What is made of it.
    pub track: Track,
    /// Frames made.
    pub frames: u64,
    /// Payload bytes made.
    pub bytes: u64,
    /// Source frames that were replaced or left out by the transcoder.
    pub concealed: u64,
    /// Source frames that found no room in the queue.
    pub skipped: u64,
    /// Source frames that wait for their turn.
    pub waiting: usize,
}

/// See the module.
pub(super) struct Derived {
    source: Track,
    worker: Box<dyn Transcode>,
    /// The worker was idle when it was last asked.
    idle: bool,
    queue: VecDeque<Frame>,
    queue_bytes: usize,
    /// When the open group of pictures started; `None`: no group is open.
    start: Option<Timestamp>,
    /// What was made since.
    group: Vec<Frame>,
    last: Option<Timestamp>,
    frames: u64,
    bytes: u64,
    concealed_before: u64,
    skipped: u64,
}

impl Derived {
    /// Sound in `codec` made of `source`, from the open group on. `None`: it cannot be done.
    pub(super) fn begin(
        transcoding: &Transcoding,
        source: &Track,
        codec: Codec,
        gop: &GopCache,
    ) -> Option<Self> {
        let worker = transcoding.begin(source, codec)?;
        let mut derived = Self {
            source: source.clone(),
            worker,
            idle: true,
            queue: VecDeque::new(),
            queue_bytes: 0,
            start: None,
            group: Vec::new(),
            last: None,
            frames: 0,
            bytes: 0,
            concealed_before: 0,
            skipped: 0,
        };
        derived.catch_up(gop);
        Some(derived)
    }

    /// Goes on with another source. `false`: it cannot be done.
    pub(super) fn change_source(&mut self, transcoding: &Transcoding, source: &Track) -> bool {
        let Some(worker) = transcoding.begin(source, self.codec()) else { return false };
        self.concealed_before += self.worker.concealed();
        self.source = source.clone();
        self.worker = worker;
        self.idle = true;
        self.queue.clear();
        self.queue_bytes = 0;
        true
    }

    /// Queues what the open group holds of the source as it is now.
    fn catch_up(&mut self, gop: &GopCache) {
        self.start = gop.start();
        let Some((_, _, entries)) = gop.group() else { return };
        for entry in entries {
            match entry {
                Entry::Frame(frame) => self.push(frame),
                Entry::Change(change) => {
                    if matches!(&change.what, Changed::Track(track) if track.id == TrackId::AUDIO) {
                        self.queue.clear();
                        self.queue_bytes = 0;
                    }
                }
            }
        }
    }

    /// What comes out.
    pub(super) fn track(&self) -> &Track {
        self.worker.track()
    }

    pub(super) fn codec(&self) -> Codec {
        self.worker.track().codec
    }

    pub(super) fn source(&self) -> &Track {
        &self.source
    }

    /// Queues a frame, if it is of the main sound.
    pub(super) fn push(&mut self, frame: &Frame) {
        if frame.track != TrackId::AUDIO {
            return;
        }
        self.queue_bytes += frame.payload.len();
        self.queue.push_back(frame.clone());
        while self.queue.len() > QUEUE_FRAMES_MAX || self.queue_bytes > QUEUE_BYTES_MAX {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.queue_bytes -= oldest.payload.len();
            self.skipped += 1;
        }
    }

    /// A group of pictures opens at `at`.
    pub(super) fn open_group(&mut self, at: Timestamp) {
        self.start = Some(at);
        self.group.retain(|frame| frame.dts >= at);
    }

    /// No group is open any more.
    pub(super) fn forget_group(&mut self) {
        self.start = None;
        self.group = Vec::new();
    }

    /// What was made since the group opened.
    pub(super) fn group(&self) -> &[Frame] {
        &self.group
    }

    /// Whether there is work to do.
    pub(super) fn is_behind(&self) -> bool {
        !self.idle || !self.queue.is_empty()
    }

    /// Does a piece of the work; see [`Transcode::step`].
    pub(super) fn step(&mut self) -> Made {
        if self.idle {
            let Some(frame) = self.queue.pop_front() else { return Made::Idle };
            self.queue_bytes -= frame.payload.len();
            self.worker.take(frame);
        }
        let step = self.worker.step();
        self.idle = step == Made::Idle;
        match step {
            Made::Idle if self.queue.is_empty() => Made::Idle,
            Made::Idle | Made::Busy => Made::Busy,
            Made::Frame(frame) => Made::Frame(self.keep(frame)),
        }
    }

    fn keep(&mut self, mut frame: Frame) -> Frame {
        frame.track = TrackId::AUDIO;
        if let Some(last) = self.last {
            frame.dts = frame.dts.max(last + STEP_MIN);
        }
        self.last = Some(frame.dts);
        self.frames += 1;
        self.bytes += frame.payload.len() as u64;
        if self.start.is_some_and(|start| frame.dts >= start) {
            self.group.push(frame.clone());
        }
        frame
    }

    pub(super) fn stats(&self) -> DerivedStats {
        DerivedStats {
            from: self.source.codec,
            track: self.track().clone(),
            frames: self.frames,
            bytes: self.bytes,
            concealed: self.concealed_before + self.worker.concealed(),
            skipped: self.skipped,
            waiting: self.queue.len(),
        }
    }
}
