//! What players count: one [`Tally`] for each thread and cohort, merged at the end; and what threads show meanwhile.
//!
//! Every time is kept in an HdrHistogram of microseconds with three digits. Invariant: a tally's size does not grow with
//! the run.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hdrhistogram::Histogram;

/// Different reasons that are told apart; the rest are counted together.
const REASONS_MAX: usize = 12;
/// Longer than any time of interest.
const TIME_US_MAX: u64 = 600_000_000;

/// Times, as a distribution.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, TIME_US_MAX, 3).expect("these bounds are in order"))
    }
}

impl Times {
    /// Adds one; what is longer than ten minutes counts as ten minutes.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns / 1_000);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing can fail.
        let _ = self.0.add(&other.0);
    }

    /// Milliseconds that a share of `quantile` stays below; not a number without any time.
    pub fn quantile(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { f64::NAN } else { self.0.value_at_quantile(quantile) as f64 / 1e3 }
    }

    /// The longest, milliseconds.
    pub fn max(&self) -> f64 {
        if self.0.is_empty() { f64::NAN } else { self.0.max() as f64 / 1e3 }
    }

    /// The mean, milliseconds.
    pub fn mean(&self) -> f64 {
        if self.0.is_empty() { f64::NAN } else { self.0.mean() / 1e3 }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }
}

/// What happened to the players of one cohort.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// `connect()` was called.
    pub started: u64,
    /// The server's kernel answered.
    pub connected: u64,
    /// Media came.
    pub playing: u64,
    /// Left when their time was over.
    pub left: u64,
    /// Were playing when the server ended it.
    pub died: u64,
    /// No connection came about.
    pub refused: u64,
    /// A connection, but no media: an error, or an end.
    pub rejected: u64,
    /// A connection, but no media in time.
    pub timed_out: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Bytes that came in the steady window.
    pub window_bytes: u64,
    /// Players that are parsed.
    pub sampled: u64,
    /// Pictures and sounds that were parsed in the window.
    pub media: u64,
    /// Pictures that were left out.
    pub lost: u64,
    /// Pictures that came twice, or again after later ones.
    pub repeats: u64,
    /// Times of one track that went back.
    pub backward: u64,
    /// Pictures were left out, and it did not go on with a keyframe.
    pub broken: u64,
    /// Pictures were left out, and it went on with a keyframe.
    pub resumed: u64,
    /// Nothing came for longer than a stall is.
    pub stalls: u64,
    /// Markers of another run.
    pub foreign: u64,
    /// RTP packets that came in the window, to all players of datagrams.
    pub packets: u64,
    /// Of the numbers in between, those that did not come.
    pub packets_lost: u64,
    /// Packets that came behind later ones.
    pub packets_reordered: u64,
    /// Pictures that stayed too long, at parsed players in the window.
    pub freezes: u64,
    /// How long these stayed.
    pub frozen_ns: u64,
    /// From `connect()` to the connection.
    pub connect: Times,
    /// From `connect()` to the first byte of media.
    pub first_byte: Times,
    /// From `connect()` to the first whole keyframe.
    pub first_key: Times,
    /// From the publisher to the player, of pictures sent while it plays, in the window.
    pub latency: Times,
    /// The same of sound, by the pictures' clock: FLV and RTMP alone.
    pub sound: Times,
    /// Of the pictures' latencies, those while slow players did not read.
    pub during: Times,
    /// Of these, before.
    pub before: Times,
    /// Between arrivals of media, in the window.
    pub gap: Times,
    /// Between whole pictures at parsed players of WebRTC, in the window.
    pub picture_gap: Times,
    /// How far these come from their rhythm.
    pub jitter: Times,
    /// Why players died or never played.
    pub reasons: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts a reason.
    pub fn reason(&mut self, reason: &str) {
        self.reasons_of(reason, 1);
    }

    fn reasons_of(&mut self, reason: &str, count: u64) {
        let room = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(reason);
        *self.reasons.entry(if room { reason } else { "other reasons" }.to_owned()).or_default() += count;
    }

    /// Players that never played.
    pub fn failed(&self) -> u64 {
        self.refused + self.rejected + self.timed_out
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.started, other.started),
            (&mut self.connected, other.connected),
            (&mut self.playing, other.playing),
            (&mut self.left, other.left),
            (&mut self.died, other.died),
            (&mut self.refused, other.refused),
            (&mut self.rejected, other.rejected),
            (&mut self.timed_out, other.timed_out),
            (&mut self.bytes, other.bytes),
            (&mut self.window_bytes, other.window_bytes),
            (&mut self.sampled, other.sampled),
            (&mut self.media, other.media),
            (&mut self.lost, other.lost),
            (&mut self.repeats, other.repeats),
            (&mut self.backward, other.backward),
            (&mut self.broken, other.broken),
            (&mut self.resumed, other.resumed),
            (&mut self.stalls, other.stalls),
            (&mut self.foreign, other.foreign),
            (&mut self.packets, other.packets),
            (&mut self.packets_lost, other.packets_lost),
            (&mut self.packets_reordered, other.packets_reordered),
            (&mut self.freezes, other.freezes),
            (&mut self.frozen_ns, other.frozen_ns),
        ] {
            *mine += theirs;
        }
        for (mine, theirs) in [
            (&mut self.connect, &other.connect),
            (&mut self.first_byte, &other.first_byte),
            (&mut self.first_key, &other.first_key),
            (&mut self.latency, &other.latency),
            (&mut self.sound, &other.sound),
            (&mut self.during, &other.during),
            (&mut self.before, &other.before),
            (&mut self.gap, &other.gap),
            (&mut self.picture_gap, &other.picture_gap),
            (&mut self.jitter, &other.jitter),
        ] {
            mine.merge(theirs);
        }
        for (reason, count) in &other.reasons {
            self.reasons_of(reason, *count);
        }
    }
}

/// What one thread of players shows while it works.
#[derive(Debug, Default)]
pub struct Live {
    /// `connect()` was called.
    pub started: AtomicU64,
    /// Play now.
    pub playing: AtomicU64,
    /// Never played.
    pub failed: AtomicU64,
    /// Were playing when the server ended it.
    pub died: AtomicU64,
    /// Bytes that came.
    pub bytes: AtomicU64,
    /// Latencies since they were last taken.
    pub recent: Mutex<Times>,
}

impl Live {
    /// Adds to one of the counters.
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// Moves what came since the last time into `into`.
    pub fn take_recent(&self, into: &mut Times) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        into.merge(&recent);
        recent.clear();
    }

    /// Adds a latency.
    pub fn latency(&self, ns: u64) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).record_ns(ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_tallies_are_the_sum() {
        let (mut one, mut other) =
            (Tally::default(), Tally { died: 2, window_bytes: 10, ..Tally::default() });
        other.latency.record_ns(5_000_000);
        other.reason("the server closed the connection");
        one.latency.record_ns(1_000_000);
        one.merge(&other);
        one.merge(&other);
        assert_eq!((one.died, one.window_bytes, one.latency.count()), (4, 20, 3));
        assert_eq!(one.reasons["the server closed the connection"], 2);
        assert!((one.latency.max() - 5.0).abs() < 0.01 && (one.latency.quantile(0.3) - 1.0).abs() < 0.01);
    }

    #[test]
    fn reasons_and_times_are_bounded() {
        let mut tally = Tally::default();
        for n in 0..1_000 {
            tally.reason(&format!("reason {n}"));
        }
        assert_eq!(tally.reasons.len(), REASONS_MAX + 1);
        assert_eq!(tally.reasons.values().sum::<u64>(), 1_000);
        tally.gap.record_ns(u64::MAX);
        assert!(tally.gap.max() < 601_000.0);
        assert!(Times::default().quantile(0.5).is_nan());
    }
}
