//! The frames a joiner starts with: the newest keyframe and all that came since.
//!
//! A stream without pictures has groups too: one opens every [`GopOptions::audio_group`], so that a listener starts with
//! a little sound to play.
//! Invariant: bytes, entries and duration stay within [`GopOptions`]; a group that outgrows them is dropped whole, and
//! joiners wait for the next one. Units: bytes of payload and parameter sets, microseconds.

use std::collections::VecDeque;

use super::Scene;
use crate::media::{Frame, Metadata, Timestamp, Track};

/// Bounds of one stream's cache.
#[derive(Clone, Copy, Debug)]
pub struct GopOptions {
    /// Whether joiners start with what is cached; otherwise at the next group, and nothing is kept once frames flow.
    pub enable: bool,
    /// Payload bytes of one group.
    pub bytes_max: usize,
    /// Frames of one group, all tracks together.
    pub frames_max: usize,
    /// From the first frame of a group to the newest.
    pub duration_max: Timestamp,
    /// How often a group opens in a stream without pictures.
    pub audio_group: Timestamp,
}

/// What happened, in order.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A frame, on the stream's clock.
    Frame(Frame),
    /// The scene changed before the next frame.
    Change(Change),
}

/// A change of the scene in mid-stream.
#[derive(Clone, Debug)]
pub struct Change {
    /// What changed.
    pub what: Changed,
    /// When, on the stream's clock.
    pub at: Timestamp,
    /// The scene's generation from then on.
    pub generation: u64,
}

/// What a change of the scene consists of.
#[derive(Clone, Debug)]
pub enum Changed {
    /// A track came, or changed its parameter sets.
    Track(Track),
    /// The publisher described its stream anew.
    Metadata(Metadata),
}

impl Changed {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Track(track) => track.config.len(),
            Self::Metadata(Metadata(bytes)) => bytes.len(),
        }
    }
}

/// The newest group of a stream; see the module.
#[derive(Debug)]
pub struct GopCache {
    options: GopOptions,
    /// The scene as it was when the group opened; `None` while no group is open.
    scene: Option<Scene>,
    entries: VecDeque<Entry>,
    start: Timestamp,
    bytes: usize,
    /// Only where groups begin is of interest.
    forgetful: bool,
    overflows: u64,
}

impl GopCache {
    /// An empty cache.
    pub fn new(options: GopOptions) -> Self {
        Self {
            options,
            scene: None,
            entries: VecDeque::new(),
            start: Timestamp::ZERO,
            bytes: 0,
            forgetful: false,
            overflows: 0,
        }
    }

    /// Has these bounds from now on. One that grew beyond them is emptied by the next frame, as ever.
    pub fn retune(&mut self, options: GopOptions) {
        self.options = options;
    }

    /// Starts a new group at `at`; the old one goes.
    pub fn open(&mut self, scene: &Scene, at: Timestamp) {
        self.clear();
        self.scene = Some(scene.clone());
        self.start = at;
    }

    /// Whether a group is open, so that a joiner could start.
    pub fn is_open(&self) -> bool {
        self.scene.is_some()
    }

    /// When the open group started.
    pub fn start(&self) -> Option<Timestamp> {
        self.scene.as_ref().map(|_| self.start)
    }

    /// Tracks are being gathered: frames are here and nowhere else, so they are kept.
    pub fn begin_gathering(&mut self) {
        self.forgetful = false;
    }

    /// Frames flow to the renditions. A cache that is not enabled keeps nothing from here on.
    pub fn end_gathering(&mut self) {
        if !self.options.enable {
            self.forgetful = true;
            self.entries = VecDeque::new();
            self.bytes = 0;
        }
    }

    /// The group as it is, if it is kept: the scene at its start, when it started, and what came since.
    pub fn group(&self) -> Option<(&Scene, Timestamp, impl Iterator<Item = &Entry>)> {
        self.scene.as_ref().filter(|_| !self.forgetful).map(|scene| (scene, self.start, self.entries.iter()))
    }

    /// Adds a frame to the open group. `false`: the group outgrew its bounds and was dropped.
    pub fn push(&mut self, frame: &Frame) -> bool {
        let timely = frame.dts - self.start <= self.options.duration_max;
        self.add(frame.payload.len(), timely, || Entry::Frame(frame.clone()))
    }

    /// Notes a change of the scene within the open group. `false` as from [`push`](Self::push).
    pub fn change(&mut self, change: &Change) -> bool {
        self.add(change.what.bytes(), true, || Entry::Change(change.clone()))
    }

    fn add(&mut self, bytes: usize, timely: bool, entry: impl FnOnce() -> Entry) -> bool {
        if self.scene.is_none() || self.forgetful {
            return true;
        }
        let bytes = self.bytes + bytes;
        if !timely || bytes > self.options.bytes_max || self.entries.len() >= self.options.frames_max {
            self.overflows += 1;
            self.clear();
            return false;
        }
        self.bytes = bytes;
        self.entries.push_back(entry());
        true
    }

    /// Drops the group.
    pub fn clear(&mut self) {
        self.scene = None;
        self.entries.clear();
        self.bytes = 0;
    }

    /// Payload bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Groups that outgrew the bounds.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }
}
