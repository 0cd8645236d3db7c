//! Packets that are sent once more: those that the viewer missed, and some to see whether its way carries more than it gets.
//!
//! A *probe* is some tenths of a second of repetitions at the rate of a richer layer. The receiver knows the packets already and lets them
//! be; how they arrive tells ([`Estimate`](crate::protocols::rtp::estimate::Estimate)) whether the layer would. What is sent again is
//! looked up in the stream's history; there is no copy of it. Sizes are bytes.

use std::time::{Duration, Instant};

use shards::media::{TrackId, TrackKind};

use super::{
    line::Line,
    mux::Shared,
    scratch::{SCRATCH, Scratch},
    unit::flag,
    viewer::{State, Viewer, number},
};
use crate::protocols::rtp::rtx;

/// Retransmissions of one viewer: bytes at once, and bits a second where the stream's own rate is not known.
pub(super) const RESEND_BURST: i64 = 64 * 1024;
const RESEND_RATE_MIN: u64 = 1_000_000;
/// Packets that may be asked for again are at most so far behind.
const MISSED_MAX: u16 = 4_096;
/// How long a probe takes, and how often it sends.
const PROBE_FOR: Duration = Duration::from_millis(150);
const PROBE_STEP: Duration = Duration::from_millis(10);
/// The newest packets that a probe repeats, over and over.
const PROBE_PACKETS: u16 = 24;
/// A probe is this much faster than the layer, in percent: pictures are not all of the same size.
const PROBE_OVER: u64 = 115;

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// When its first packet left.
    began: Option<Instant>,
    /// Bits a second.
    rate: u64,
    sent: usize,
    /// When it goes on.
    pub(super) next: Instant,
}

impl Viewer {
    /// Sends packets again: each is a source and a number.
    pub(super) fn resend(&self, state: &mut State, missed: &[(u32, u16)], now: Instant) {
        let Some(way) = self.way.get() else { return };
        let elapsed = now.saturating_duration_since(state.resend_refilled).as_micros() as i64;
        let rate = self.shared.layers(|layers| layers.rate(state.progress.video.layer)).max(RESEND_RATE_MIN);
        state.resend_refilled = now;
        state.resend_budget = (state.resend_budget + elapsed * rate as i64 / 8_000_000).min(RESEND_BURST);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            for (ssrc, sequence) in missed {
                state.stats.missed += 1;
                if state.resend_budget > 0
                    && let Some(len) = state.repeat(*ssrc, *sequence, &self.shared, scratch, now)
                {
                    state.stats.resent += 1;
                    state.resend_budget -= len as i64;
                }
            }
            // What finds no room will be asked for once more.
            let left = self.wire.send(&way, &scratch.buffer, &scratch.trains).unwrap_or(0);
            state.stats.refused += scratch.trains.len().saturating_sub(left) as u64;
        });
    }

    /// Goes on with a probe, if one is due.
    pub(super) fn probe(&self, state: &mut State, now: Instant) {
        let (Some(probe), Some(way)) = (state.probe.filter(|probe| now >= probe.next), self.way.get()) else {
            return;
        };
        let Some(ssrc) = state.video.as_ref().map(|line| line.ssrc) else { return };
        let began = probe.began.unwrap_or(now);
        let elapsed = now.saturating_duration_since(began);
        let so_far = elapsed.min(PROBE_FOR) + PROBE_STEP;
        let wanted = (so_far.as_micros() as u64 * probe.rate / 8_000_000) as usize;
        let mut sent = probe.sent;
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let newest = state.progress.video.sequence as u16;
            while sent < wanted {
                let before = sent;
                for back in 1..=PROBE_PACKETS {
                    let len = state.repeat(ssrc, newest.wrapping_sub(back), &self.shared, scratch, now);
                    sent += len.unwrap_or(0);
                    if sent >= wanted {
                        break;
                    }
                }
                if sent == before {
                    // Nothing is kept that could be repeated.
                    break;
                }
            }
            // What finds no room looks like a loss, and tells as much.
            let left = self.wire.send(&way, &scratch.buffer, &scratch.trains).unwrap_or(0);
            state.stats.refused += scratch.trains.len().saturating_sub(left) as u64;
        });
        state.stats.probed += (sent - probe.sent) as u64;
        if elapsed >= PROBE_FOR {
            state.probe = None;
            state.estimate.end_probe(state.progress.transport, now);
        } else {
            state.probe = Some(Probe { began: Some(began), sent, next: now + PROBE_STEP, ..probe });
        }
    }
}

impl State {
    /// Whether packets can be repeated in numbers that the receiver tells the arrival of.
    pub(super) fn can_probe(&self) -> bool {
        self.estimate.has_feedback()
            && self
                .video
                .as_ref()
                .and_then(|line| line.rtx)
                .is_some_and(|(head, _)| head.transport_at.is_some())
    }

    /// Begins to see whether `rate` gets through, unless that is under way or has just failed.
    pub(super) fn begin_probe(&mut self, rate: u64, now: Instant) {
        let rate = rate * PROBE_OVER / 100;
        if self.probe.is_none() && self.estimate.begin_probe(self.progress.transport, rate, now) {
            self.probe = Some(Probe { began: None, rate, sent: 0, next: now });
            self.stats.probes += 1;
            tracing::debug!(rate, limit = self.estimate.limit(), "a viewer's way is tried");
        }
    }

    /// Appends a packet that was sent before under `sequence`; its size.
    fn repeat(
        &mut self,
        ssrc: u32,
        sequence: u16,
        shared: &Shared,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Option<usize> {
        let of = |line: &Option<Line>| line.as_ref().is_some_and(|line| line.ssrc == ssrc);
        let (line, flow, kind) = match (of(&self.video), of(&self.audio)) {
            (true, _) => (self.video.as_ref(), self.progress.video, TrackKind::Video),
            (_, true) => (self.audio.as_ref(), self.progress.audio, TrackKind::Audio),
            _ => return None,
        };
        let line = line?;
        let behind = (flow.sequence as u16).wrapping_sub(sequence);
        if behind == 0 || behind > MISSED_MAX {
            return None;
        }
        let place = Self::place(kind);
        let full = flow.sequence.checked_sub(u64::from(behind))?;
        let segment = self.segments[place].of(flow.segments, full)?;
        let index = segment.index + (full - segment.sequence);
        let (sealer, progress, estimate, repeats) =
            (&self.sealer, &mut self.progress, &mut self.estimate, &mut self.repeats[place]);
        let written = shared.missed(TrackId::new(kind, segment.layer), index, |unit| {
            let timestamp = line.origin.wrapping_add(segment.shown(unit.ticks) as u32);
            let marker = unit.flags & flag::LAST != 0;
            let plain = if unit.opens() { &line.opening } else { &line.plain };
            let (head, ssrc, number_of, prefix) = match &line.rtx {
                Some((head, ssrc)) => (head, *ssrc, *repeats, &rtx::prefix(sequence)[..]),
                None => (plain, line.ssrc, full, &[][..]),
            };
            if line.rtx.is_none() && plain.transport_at.is_some() {
                // With another transport-wide number it would be another packet under the same key and number.
                return None;
            }
            let len = head.template.len() + prefix.len() + unit.payload.len() + sealer.profile().tag_len();
            let begins = scratch.begins_train(len);
            let at = scratch.buffer.len();
            head.template.write(marker, number_of as u16, timestamp, &mut scratch.buffer);
            number(&mut scratch.buffer, at, head, &mut progress.transport, estimate, len, now);
            scratch.buffer.extend_from_slice(prefix);
            scratch.buffer.extend_from_slice(unit.payload);
            let sealed = sealer.seal(&mut scratch.buffer, at, head.template.len(), ssrc, number_of);
            sealed.then(|| scratch.join(len, begins)).map(|()| len)
        });
        let len = written.flatten()?;
        *repeats += u64::from(line.rtx.is_some());
        self.progress.bytes += len as u64;
        Some(len)
    }
}
