//! What a stream consists of at one moment: its tracks and what its publisher said about them.

use super::gop::{Change, Changed};
use crate::media::{Metadata, Track, TrackId};

/// The tracks of a stream and its metadata. Cloned when a group of pictures opens, so that a cache tells what was true
/// at its start.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    tracks: Vec<Track>,
    metadata: Option<Metadata>,
    generation: u64,
}

/// More tracks than this in one stream are refused: E-RTMP could name 512.
pub const TRACKS_MAX: usize = 32;

impl Scene {
    /// All tracks, in order of arrival.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// One track.
    pub fn track(&self, id: TrackId) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// Whether there is a main picture.
    pub fn has_video(&self) -> bool {
        self.track(TrackId::VIDEO).is_some()
    }

    /// Whether there is a main sound.
    pub fn has_audio(&self) -> bool {
        self.track(TrackId::AUDIO).is_some()
    }

    /// What the publisher said of its stream.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// Grows with each change: two scenes of one stream with the same generation are equal.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same moment as players see it who get their main sound as `track`.
    pub(super) fn with_sound(&self, track: &Track) -> Self {
        let mut scene = self.clone();
        if let Some(sound) = scene.tracks.iter_mut().find(|known| known.id == TrackId::AUDIO) {
            *sound = track.clone();
        }
        scene
    }

    /// Adds or replaces a track; tells whether that changed anything.
    pub(super) fn set_track(&mut self, track: Track) -> bool {
        match self.tracks.iter().position(|known| known.id == track.id) {
            Some(at) if self.tracks[at] == track => return false,
            Some(at) => self.tracks[at] = track,
            None if self.tracks.len() == TRACKS_MAX => return false,
            None => self.tracks.push(track),
        }
        self.generation += 1;
        true
    }

    /// Replaces the metadata; tells whether that changed anything.
    pub(super) fn set_metadata(&mut self, metadata: Metadata) -> bool {
        if self.metadata.as_ref() == Some(&metadata) {
            return false;
        }
        self.metadata = Some(metadata);
        self.generation += 1;
        true
    }

    /// Makes a change again that was made to the scene that this one is a copy of.
    pub(super) fn replay(&mut self, change: &Change) {
        match &change.what {
            Changed::Track(track) => self.set_track(track.clone()),
            Changed::Metadata(metadata) => self.set_metadata(metadata.clone()),
        };
        debug_assert_eq!(self.generation, change.generation, "changes are replayed in order, all of them");
    }

    /// An empty scene that follows this one.
    pub(super) fn successor(&self) -> Self {
        Self { tracks: Vec::new(), metadata: None, generation: self.generation + 1 }
    }
}
