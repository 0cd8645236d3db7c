//! What a viewer and we tell each other by RTCP: sender reports out; reports, losses, wishes and estimates in.

use std::time::{Duration, Instant};

use shards::media::TrackKind;

use super::{
    mux::Shared,
    viewer::{State, Wishes},
};
use crate::protocols::rtp::rtcp::{self, Packet, ReportBlock, SenderReport};

/// Counters of one viewer, and what it reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ViewerStats {
    /// Media packets sent.
    pub packets: u64,
    /// Bytes sent, headers and retransmissions included.
    pub bytes: u64,
    /// Packets that it asked for again.
    pub missed: u64,
    /// Packets that it got again.
    pub resent: u64,
    /// Keyframes that it asked for.
    pub key_requests: u64,
    /// Times it was tried whether its way carries a richer layer, and bytes that this took.
    pub probes: u64,
    /// See `probes`.
    pub probed: u64,
    /// Times its pictures were stopped until a keyframe, for its way was too narrow.
    pub mutes: u64,
    /// Trains of datagrams that the system refused to send, those that were sent again included.
    pub refused: u64,
    /// The last round trip that it let us measure.
    pub round_trip: Option<Duration>,
    /// The share of packets that its last report calls lost, 0 to 1.
    pub loss: f32,
    /// Its last report's jitter.
    pub jitter: Duration,
}

/// Between two sender reports.
const INTERVAL: Duration = Duration::from_secs(1);
/// Reports that a receiver may still refer to.
const SENT_MAX: usize = 4;

/// See the module.
pub(super) struct Reports {
    cname: String,
    due: Instant,
    /// The middle of each report's NTP time, and when it left.
    sent: [Option<(u32, Instant)>; SENT_MAX],
    next: usize,
}

impl Reports {
    pub(super) fn new(cname: &str, now: Instant) -> Self {
        Self { cname: cname.to_owned(), due: now + INTERVAL, sent: [None; SENT_MAX], next: 0 }
    }

    /// When the next report leaves.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Reports left.
    pub(super) fn sent(&mut self, now: Instant) {
        self.due = now + INTERVAL;
    }

    fn note(&mut self, ntp: u64, now: Instant) {
        self.sent[self.next % SENT_MAX] = Some(((ntp >> 16) as u32, now));
        self.next += 1;
    }

    /// How long a round trip took, from a receiver's account of the last report it had (RFC 3550 §6.4.1).
    fn round_trip(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        let (_, left) = self.sent.iter().flatten().find(|(middle, _)| *middle == block.last_sr)?;
        let held = Duration::from_micros(u64::from(block.delay) * 1_000_000 / 65_536);
        now.saturating_duration_since(*left).checked_sub(held)
    }
}

impl State {
    /// Appends the report of one track; `false` when nothing of it has been sent.
    pub(super) fn write_report(
        &mut self,
        kind: TrackKind,
        shared: &Shared,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let (line, flow) = match kind {
            TrackKind::Video => (self.video.as_ref(), self.progress.video),
            _ => (self.audio.as_ref(), self.progress.audio),
        };
        let Some(line) = line.filter(|_| flow.packets > 0) else { return false };
        let at = shared.newest();
        let ntp = shared.ntp(at);
        let report = SenderReport {
            ssrc: line.ssrc,
            ntp,
            timestamp: line.origin.wrapping_add(at.to_ticks(line.clock) as u32),
            packets: flow.packets as u32,
            bytes: flow.bytes as u32,
        };
        rtcp::sender_report(&report, out);
        rtcp::sdes_cname(line.ssrc, &self.reports.cname, out);
        self.reports.note(ntp, now);
        true
    }

    /// Appends a goodbye of all that was sent.
    pub(super) fn write_goodbye(&mut self, out: &mut Vec<u8>) {
        let sources = || [&self.video, &self.audio].into_iter().flatten().map(|line| line.ssrc);
        if let Some(first) = sources().next() {
            rtcp::receiver_report(first, &[], out);
            let mut all = [0; 2];
            let count = all.iter_mut().zip(sources()).map(|(place, source)| *place = source).count();
            rtcp::bye(&all[..count], out);
        }
    }

    /// Opens and reads a control packet. Numbers that are missed go to `missed`, as many as fit; how many. `None`: it is not the viewer's.
    pub(super) fn hear(
        &mut self,
        packet: &mut [u8],
        missed: &mut [(u32, u16)],
        now: Instant,
    ) -> Option<(Wishes, usize)> {
        let (mut wishes, mut count) = (Wishes::default(), 0);
        let plain = self.opener.open_rtcp(packet).ok()?;
        let clock_of = |ssrc: u32| {
            [&self.video, &self.audio]
                .into_iter()
                .flatten()
                .find(|line| line.ssrc == ssrc)
                .map(|line| line.clock)
        };
        for part in rtcp::parse(plain) {
            match part {
                Packet::ReceiverReport(_, blocks) | Packet::SenderReport(_, blocks) => {
                    for block in blocks {
                        let Some(clock) = clock_of(block.ssrc) else { continue };
                        self.stats.loss = f32::from(block.fraction_lost) / 256.0;
                        self.stats.jitter = Duration::from_micros(
                            u64::from(block.jitter) * 1_000_000 / u64::from(clock.max(1)),
                        );
                        let trip = self.reports.round_trip(&block, now);
                        self.stats.round_trip = trip.or(self.stats.round_trip);
                        self.estimate.on_loss(block.fraction_lost, now);
                    }
                }
                Packet::Nack { media, lost } => {
                    for (place, sequence) in missed.iter_mut().skip(count).zip(lost) {
                        *place = (media, sequence);
                        count += 1;
                    }
                }
                Packet::Pli { media } | Packet::Fir { media, .. } if clock_of(media).is_some() => {
                    self.stats.key_requests += 1;
                    self.key_wanted = true;
                }
                Packet::Pli { .. } | Packet::Fir { .. } => {}
                Packet::Remb { bitrate } => self.estimate.on_remb(bitrate),
                Packet::Twcc(feedback) => self.estimate.on_feedback(&feedback, now),
                Packet::Bye(_) => wishes.leaves = true,
            }
        }
        Some((wishes, count))
    }
}
