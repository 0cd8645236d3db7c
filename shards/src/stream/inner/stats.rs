//! What an operator may want to know of a stream.

use std::time::{Duration, Instant};

use super::{super::reader::Reader, Inner};
use crate::{
    media::{Timestamp, TrackKind},
    stream::{DerivedStats, Party, RenditionKind, Repairs, Scene, derive::Derived},
};

/// Frames that were accepted and not passed on, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Pictures before the publisher's first keyframe.
    pub before_key: u64,
    /// Frames of a track that was never announced (or one track too many).
    pub no_track: u64,
    /// What the publisher's protocol could not make sense of.
    pub malformed: u64,
}

/// What fan-out came to: of a stream, or of all streams of a shard. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Batches sealed, all renditions together.
    pub batches: u64,
    /// Bytes that readers' sockets took.
    pub bytes: u64,
    /// System calls that sent them.
    pub sends: u64,
    /// Times that slow readers were overtaken and skipped to a keyframe.
    pub skips: u64,
}

impl Totals {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.bytes += other.bytes;
        self.sends += other.sends;
        self.skips += other.skips;
    }
}

/// A stream as an operator sees it.
#[derive(Clone, Debug)]
pub struct StreamStats {
    /// It is a mirror of the owner's, for viewers on this shard.
    pub is_mirror: bool,
    /// Mirrors on other shards that follow it.
    pub mirrors: usize,
    /// What viewers of mirrors came to that are no more.
    pub elsewhere: Totals,
    /// Times that a mirror was overtaken and skipped to a keyframe.
    pub mirror_skips: u64,
    /// Who publishes.
    pub publisher: Option<Party>,
    /// Since when, in time of the shard's clock.
    pub uptime: Duration,
    /// What it consists of.
    pub scene: Scene,
    /// Its sound in other codecs, made for players that need it.
    pub derived: Vec<DerivedStats>,
    /// Frames received from all its publishers.
    pub frames: u64,
    /// Those of them that are pictures.
    pub video_frames: u64,
    /// Those that are sound.
    pub audio_frames: u64,
    /// Payload bytes received from all its publishers.
    pub bytes_in: u64,
    /// Payload bits a second from its publisher, over the last whole second or so.
    pub bitrate: u64,
    /// What all its readers came to, those that have left included.
    pub totals: Totals,
    /// Readers of each rendition.
    pub readers: Vec<(RenditionKind, usize)>,
    /// How far the slowest reader is behind, in media time.
    pub lag: Timestamp,
    /// Payload bytes in the cache of pictures.
    pub gop_bytes: usize,
    /// Groups that outgrew the cache.
    pub gop_overflows: u64,
    /// Repaired times.
    pub repairs: Repairs,
    /// What was not passed on.
    pub dropped: Dropped,
}

/// How fast bytes come in.
#[derive(Debug, Default)]
pub(super) struct Rate {
    mark: Option<(Instant, u64)>,
    bits_per_second: u64,
}

impl Rate {
    pub(super) fn tick(&mut self, bytes: u64, now: Instant) {
        let (since, before) = *self.mark.get_or_insert((now, bytes));
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Duration::from_secs(1) {
            self.bits_per_second = ((bytes - before) as f64 * 8.0 / elapsed.as_secs_f64()) as u64;
            self.mark = Some((now, bytes));
        }
    }
}

impl Inner {
    pub(in crate::stream) fn totals(&self) -> Totals {
        let mut totals = self.past;
        for (rendition, _) in &self.renditions {
            totals.add(&rendition.totals());
        }
        totals
    }

    pub(in crate::stream) fn stats(&self, now: Instant) -> StreamStats {
        let mut stats = StreamStats {
            is_mirror: self.mirror,
            mirrors: self.taps.len(),
            elsewhere: self.elsewhere,
            mirror_skips: self.mirror_skips + self.taps.iter().map(|tap| tap.skips).sum::<u64>(),
            publisher: self.seat.as_ref().map(|seat| seat.party.clone()),
            uptime: self
                .seat
                .as_ref()
                .map_or(Duration::ZERO, |seat| now.saturating_duration_since(seat.since)),
            scene: self.scene.clone(),
            derived: self.derived.iter().map(Derived::stats).collect(),
            frames: self.frames.iter().sum(),
            video_frames: self.frames[TrackKind::Video as usize],
            audio_frames: self.frames[TrackKind::Audio as usize],
            bytes_in: self.bytes_in,
            bitrate: self.rate.bits_per_second,
            totals: self.totals(),
            readers: Vec::new(),
            lag: Timestamp::ZERO,
            gop_bytes: self.gop.bytes(),
            gop_overflows: self.gop.overflows(),
            repairs: self.timeline.repairs(),
            dropped: self.dropped,
        };
        for (rendition, _) in &self.renditions {
            stats.readers.push((rendition.kind, rendition.len()));
            for cursor in rendition.readers().filter_map(Reader::cursor) {
                stats.lag = stats.lag.max(rendition.ring().lag(cursor));
            }
        }
        stats
    }
}
