//! What the way to a receiver can carry, from what the receiver reports: arrival times (transport-wide feedback), its own
//! estimate (REMB), or just losses.
//!
//! A live stream's rate is the encoder's, not ours: so there is no estimate while the way carries all that is sent, and a
//! [`limit`](Estimate::limit) once it does not. After the delay-based and loss-based halves of
//! draft-ietf-rmcat-gcc-02. Where more could be sent than is (a richer layer), a limit that has grown is a guess; a probe
//! ([`begin_probe`](Estimate::begin_probe)) proves it. Units: bits a second, microseconds.

mod probe;

use std::time::{Duration, Instant};

use probe::{Outcome, Probe};

use super::rtcp::Feedback;

/// Packets that are remembered until feedback comes: two seconds of 4 Mbit/s.
const SENT_MAX: usize = 1_024;
/// A queue on the way that is longer than this, and grows, is the beginning of a jam.
const QUEUE_MAX: i64 = 80_000;
/// More loss than this is a jam (gcc-02 §6: 10 %).
const LOSS_MAX: f64 = 0.1;
/// What is taken of the rate that still arrived when a jam began.
const BACK_OFF: f64 = 0.85;
/// How fast a limit grows while nothing is jammed: by this share in a second, and this much besides.
const GROWTH: f64 = 0.08;
const GROWTH_MIN: f64 = 50_000.0;
/// A limit this far above what is sent says nothing any more.
const FREE: f64 = 2.0;
/// The lowest limit: sound must get through.
const LIMIT_MIN: f64 = 64_000.0;
/// Feedback that has not come for so long does not come: nothing was sent.
const SILENCE: Duration = Duration::from_millis(500);
/// From a step back or a failed probe to the next probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// Between two steps back: a round trip must show what the first one did.
const PATIENCE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Since the estimate began.
    at: i64,
    sequence: u16,
    bytes: u16,
}

/// See the module.
#[derive(Debug)]
pub struct Estimate {
    start: Instant,
    sent: Vec<Sent>,
    limit: Option<f64>,
    /// The receiver's own, where it has told one.
    remb: Option<f64>,
    /// The shortest way from sending to arrival lately, on two clocks that differ by an unknown constant.
    shortest: Option<(i64, Instant)>,
    queue: f64,
    /// The share of packets that were lost lately.
    loss: f64,
    /// Bits a second that arrived lately.
    acked: f64,
    /// Bits a second that were sent lately.
    rate: f64,
    counted: (Instant, u64),
    stepped: Option<Instant>,
    updated: Instant,
    /// What the stream could send, of all that it has.
    wanted: f64,
    probe: Option<Probe>,
    /// What a probe has shown to get through since the last jam.
    proven: u64,
}

impl Estimate {
    /// Nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            sent: Vec::new(),
            limit: None,
            remb: None,
            shortest: None,
            queue: 0.0,
            loss: 0.0,
            acked: 0.0,
            rate: 0.0,
            counted: (now, 0),
            stepped: None,
            updated: now,
            wanted: 0.0,
            probe: None,
            proven: 0,
        }
    }

    /// What may be sent, if less than is.
    pub fn limit(&self) -> Option<u64> {
        let lower = match (self.limit, self.remb) {
            (Some(limit), Some(remb)) => Some(limit.min(remb)),
            (limit, remb) => limit.or(remb),
        };
        lower.map(|limit| limit as u64)
    }

    /// A packet with transport-wide number `sequence` leaves.
    pub fn on_sent(&mut self, sequence: u16, bytes: usize, now: Instant) {
        if self.sent.is_empty() {
            self.sent = vec![Sent::default(); SENT_MAX];
        }
        let at = now.saturating_duration_since(self.start).as_micros() as i64;
        self.sent[usize::from(sequence) % SENT_MAX] = Sent { at, sequence, bytes: bytes as u16 };
    }

    /// `bytes` have been sent in all: keeps the rate that limits are held against.
    pub fn on_total(&mut self, bytes: u64, now: Instant) {
        let (since, before) = self.counted;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Duration::from_millis(500) {
            let rate = bytes.saturating_sub(before) as f64 * 8.0 / elapsed.as_secs_f64();
            self.rate = if self.rate == 0.0 { rate } else { 0.5 * self.rate + 0.5 * rate };
            self.counted = (now, bytes);
        }
        if self.limit.is_some() && now.saturating_duration_since(self.updated) >= SILENCE {
            // Nothing is sent, so nothing is told: old jams are no reason to stay silent for ever.
            (self.loss, self.queue) = (self.loss / 2.0, self.queue / 2.0);
            self.grow(0.0, now);
            self.settle_probe(now);
        }
    }

    /// The stream could send so much: a limit is not forgotten before it is far above that.
    pub fn set_wanted(&mut self, rate: u64) {
        self.wanted = rate as f64;
    }

    /// Whether the receiver tells when packets arrive, as far as is known: packets have been numbered for that.
    pub fn has_feedback(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether the limit stems from a jam, rather than from the receiver's word alone.
    pub fn is_jam_behind(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether a probe has shown that `rate` gets through.
    pub fn has_proven(&self, rate: u64) -> bool {
        self.proven >= rate
    }

    /// Packets from number `first` on are sent at `rate` or more, to see whether they get through. `false`: not now, the last
    /// probe is not over yet, or failed lately.
    pub fn begin_probe(&mut self, first: u16, rate: u64, now: Instant) -> bool {
        if self.probe.is_some() || self.stepped.is_some_and(|stepped| now - stepped < PROBE_PATIENCE) {
            return false;
        }
        self.probe = Some(Probe::new(first, rate));
        true
    }

    /// The probe's last number was the one before `end`.
    pub fn end_probe(&mut self, end: u16, now: Instant) {
        if let Some(probe) = &mut self.probe {
            probe.end(end, now);
        }
    }

    fn settle_probe(&mut self, now: Instant) {
        let Some((probe, outcome)) = self.probe.as_ref().and_then(|probe| Some((probe, probe.outcome(now)?)))
        else {
            return;
        };
        match outcome {
            Outcome::Through => self.proven = probe.rate(),
            // It grows again from here, and that takes the longer the less got through.
            Outcome::Held(rate) => {
                let held = (rate as f64).max(self.acked).max(LIMIT_MIN) * BACK_OFF;
                self.limit = self.limit.map(|limit| limit.min(held));
                self.stepped = Some(now);
            }
        }
        self.probe = None;
    }

    /// The receiver's own estimate.
    pub fn on_remb(&mut self, bitrate: u64) {
        self.remb = Some((bitrate as f64).max(LIMIT_MIN));
    }

    /// A receiver report's losses, in 256ths. Of use only where no feedback comes.
    pub fn on_loss(&mut self, fraction: u8, now: Instant) {
        if self.sent.is_empty() {
            self.judge(f64::from(fraction) / 256.0, self.rate, false, now);
        }
    }

    /// Arrival times.
    pub fn on_feedback(&mut self, feedback: &Feedback<'_>, now: Instant) {
        let (mut covered, mut lost, mut bytes) = (0_u32, 0_u32, 0_u64);
        let (mut first, mut last): (Option<(i64, u16)>, _) = (None, 0);
        let queue_before = self.queue;
        for arrival in feedback.arrivals() {
            let Some(sent) = self.sent.get(usize::from(arrival.sequence) % SENT_MAX).copied() else { return };
            if sent.sequence != arrival.sequence || sent.bytes == 0 {
                continue;
            }
            covered += 1;
            if let Some(probe) = &mut self.probe {
                probe.arrived(arrival.sequence, sent.bytes, sent.at, arrival.at);
            }
            let Some(at) = arrival.at else {
                lost += 1;
                continue;
            };
            first.get_or_insert((at, sent.bytes));
            last = at;
            bytes += u64::from(sent.bytes);
            self.measure(at - sent.at, now);
        }
        self.settle_probe(now);
        if covered == 0 {
            return;
        }
        if let Some((first, of_first)) = first
            && last - first >= 20_000
        {
            // The first packet's bytes came before the span began.
            let rate = (bytes - u64::from(of_first)) as f64 * 8_000_000.0 / (last - first) as f64;
            self.acked = if self.acked == 0.0 { rate } else { 0.7 * self.acked + 0.3 * rate };
        }
        let grows = self.queue > queue_before;
        let jammed = self.queue > QUEUE_MAX as f64 && grows;
        let arrived = if self.acked > 0.0 { self.acked } else { self.rate };
        // One of four packets is a quarter and means nothing: loss is judged over some two hundred.
        let weight = (f64::from(covered) / 200.0).min(1.0);
        self.loss += weight * (f64::from(lost) / f64::from(covered) - self.loss);
        self.judge(self.loss, arrived, jammed, now);
    }

    /// One packet took `way`, up to the constant between the clocks.
    fn measure(&mut self, way: i64, now: Instant) {
        let shortest = match self.shortest {
            Some((shortest, since)) if shortest <= way && now - since < Duration::from_secs(10) => shortest,
            _ => {
                self.shortest = Some((way, now));
                way
            }
        };
        self.queue = 0.9 * self.queue + 0.1 * (way - shortest) as f64;
    }

    fn judge(&mut self, loss: f64, arrived: f64, jammed: bool, now: Instant) {
        if jammed || loss > LOSS_MAX {
            self.updated = now;
            let patient = self.stepped.is_none_or(|stepped| now - stepped >= PATIENCE);
            if patient && arrived > 0.0 {
                let share = if jammed { BACK_OFF } else { 1.0 - 0.5 * loss };
                self.limit = Some((arrived * share).max(LIMIT_MIN));
                self.stepped = Some(now);
                self.proven = 0;
            }
        } else {
            self.grow(arrived, now);
        }
    }

    /// Nothing is jammed, as far as is known.
    fn grow(&mut self, arrived: f64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64().min(1.0);
        self.updated = now;
        if let Some(limit) = &mut self.limit {
            *limit += (*limit * GROWTH + GROWTH_MIN) * elapsed;
            if self.rate > 0.0 && *limit > FREE * self.rate.max(arrived).max(self.wanted) {
                self.limit = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::rtp::rtcp::{self, Arrival, FeedbackWriter, Packet};

    /// A way of `capacity` bits a second with a queue of `room` microseconds; a stream of `rate` through it for a while.
    fn through(estimate: &mut Estimate, start: Instant, seconds: u32, rate: u64, capacity: u64, room: i64) {
        let bytes = 1_200;
        let step = bytes as i64 * 8_000_000 / rate as i64;
        let (mut free_at, mut total) = (0, 0);
        let mut writer = FeedbackWriter::default();
        let packets = i64::from(seconds) * 1_000_000 / step;
        for n in 0..packets {
            let at = n * step;
            let now = start + Duration::from_micros(at as u64);
            estimate.on_sent(n as u16, bytes, now);
            total += bytes as u64;
            estimate.on_total(total, now);
            let queue = (free_at - at).max(0);
            let arrives = (queue <= room).then(|| {
                free_at = at + queue + bytes as i64 * 8_000_000 / capacity as i64;
                free_at + 20_000
            });
            writer.push(Arrival { sequence: n as u16, at: arrives });
            if n % 20 == 19 {
                let mut wire = Vec::new();
                writer.write(1, 2, n as u8, &mut wire);
                let Some(Packet::Twcc(feedback)) = rtcp::parse(&wire).next() else { panic!("no feedback") };
                estimate.on_feedback(&feedback, now + Duration::from_millis(40));
            }
        }
    }

    #[test]
    fn a_way_that_carries_the_stream_has_no_limit() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start);
        through(&mut estimate, start, 10, 2_000_000, 10_000_000, 200_000);
        assert_eq!(estimate.limit(), None);
    }

    #[test]
    fn a_narrow_way_limits_near_what_it_carries() {
        for room in [50_000, 2_000_000] {
            let start = Instant::now();
            let mut estimate = Estimate::new(start);
            through(&mut estimate, start, 4, 2_000_000, 1_000_000, room);
            let limit = estimate.limit().expect("a jam");
            assert!((500_000..=1_200_000).contains(&limit), "{limit} with a queue of {room} us");
            // The way is wide again: the limit goes.
            through(&mut estimate, start + Duration::from_secs(20), 60, 1_000_000, 10_000_000, 200_000);
            assert_eq!(estimate.limit(), None, "after a queue of {room} us");
        }
    }

    #[test]
    fn one_to_whom_nothing_is_sent_is_not_given_up() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start);
        estimate.set_wanted(1_500_000);
        through(&mut estimate, start, 4, 2_000_000, 300_000, 300_000);
        let limit = estimate.limit().expect("a jam");
        for second in 5..30 {
            estimate.on_total(0, start + Duration::from_secs(second));
        }
        assert!(estimate.limit().is_none_or(|later| later > limit + 1_000_000), "{:?}", estimate.limit());
    }

    #[test]
    fn the_receivers_word_and_its_losses_count() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start);
        estimate.on_remb(300_000);
        assert_eq!(estimate.limit(), Some(300_000));
        let mut estimate = Estimate::new(start);
        estimate.on_total(0, start);
        estimate.on_total(125_000, start + Duration::from_secs(1));
        estimate.on_loss(128, start + Duration::from_secs(1));
        assert!((700_000..800_000).contains(&estimate.limit().expect("half is lost")));
    }
}
