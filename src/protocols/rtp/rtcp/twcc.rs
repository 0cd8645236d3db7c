//! Transport-wide feedback: for each packet whether and when it arrived (draft-holmer-rmcat-transport-wide-cc-01 §3.1).
//!
//! Invariant: a walk yields exactly as many packets as the feedback says it covers, or fewer where it is broken. Times are
//! microseconds on the receiver's clock, whose origin nobody knows.

use super::{format, kind, u32_at};

/// What a feedback says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The packet's transport-wide number.
    pub sequence: u16,
    /// When it arrived; `None`: it did not.
    pub at: Option<i64>,
}

/// One feedback packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// The first packet that it covers.
    pub base: u16,
    /// How many it covers.
    pub count: u16,
    /// Where its deltas start, in units of 64 ms.
    pub reference: i32,
    /// Grows by one with each feedback.
    pub number: u8,
    chunks: &'a [u8],
}

/// Units of a reference time, in microseconds.
const REFERENCE: i64 = 64_000;
/// Units of a delta, in microseconds.
const DELTA: i64 = 250;

/// Packets of one feedback, at most: twice what senders remember. Two bytes can speak of thousands, and each is looked at.
const COUNT_MAX: u16 = 2_048;

impl<'a> Feedback<'a> {
    /// Reads the body of a feedback packet, from the sender's SSRC on.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (head, chunks) = body.split_first_chunk::<16>()?;
        let count = u16::from_be_bytes([head[10], head[11]]);
        if count > COUNT_MAX {
            return None;
        }
        Some(Self {
            base: u16::from_be_bytes([head[8], head[9]]),
            count,
            reference: (u32_at(head, 12) as i32) >> 8,
            number: head[15],
            chunks,
        })
    }

    /// The packets in order.
    pub fn arrivals(&self) -> impl Iterator<Item = Arrival> + use<'a> {
        let mut symbols = Symbols { left: self.chunks, chunk: 0, in_chunk: 0, count: self.count };
        // The deltas lie behind all chunks: walk those once to find where.
        let mut ahead = symbols;
        while ahead.next().is_some() {}
        let (mut deltas, base) = (ahead.left, self.base);
        let mut at = i64::from(self.reference) * REFERENCE;
        let mut offset = 0u16;
        std::iter::from_fn(move || {
            let symbol = symbols.next()?;
            let sequence = base.wrapping_add(offset);
            offset = offset.wrapping_add(1);
            let delta = match symbol {
                1 => {
                    let (&delta, rest) = deltas.split_first()?;
                    deltas = rest;
                    i64::from(delta)
                }
                2 => {
                    let (delta, rest) = deltas.split_first_chunk()?;
                    deltas = rest;
                    i64::from(i16::from_be_bytes(*delta))
                }
                _ => return Some(Arrival { sequence, at: None }),
            };
            at += delta * DELTA;
            Some(Arrival { sequence, at: Some(at) })
        })
    }
}

/// The status symbols of a feedback: 0 lost, 1 a small delta, 2 a large or negative one.
#[derive(Clone, Copy)]
struct Symbols<'a> {
    left: &'a [u8],
    chunk: u16,
    /// Symbols that the chunk still has.
    in_chunk: u16,
    /// Symbols still to come.
    count: u16,
}

impl Iterator for Symbols<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.count == 0 {
            return None;
        }
        while self.in_chunk == 0 {
            let (chunk, rest) = self.left.split_first_chunk()?;
            self.left = rest;
            self.chunk = u16::from_be_bytes(*chunk);
            self.in_chunk = match self.chunk >> 14 {
                0 | 1 => self.chunk & 0x1fff,
                2 => 14,
                _ => 7,
            };
        }
        self.in_chunk -= 1;
        self.count -= 1;
        Some(match self.chunk >> 14 {
            0 | 1 => (self.chunk >> 13 & 3) as u8,
            2 => (self.chunk >> self.in_chunk & 1) as u8,
            _ => (self.chunk >> (2 * self.in_chunk) & 3) as u8,
        })
    }
}

/// Gathers arrivals and writes them as one feedback packet.
#[derive(Clone, Debug, Default)]
pub struct FeedbackWriter {
    arrivals: Vec<Arrival>,
}

impl FeedbackWriter {
    /// Packets of one feedback at most: what fits a datagram in the worst case.
    pub const ARRIVALS_MAX: usize = 256;

    /// Adds the next packet in order; `false` when it does not fit this feedback.
    pub fn push(&mut self, arrival: Arrival) -> bool {
        let expected = self.arrivals.last().map(|last| last.sequence.wrapping_add(1));
        let last_at = self.arrivals.iter().rev().find_map(|arrival| arrival.at);
        let fits = match (last_at, arrival.at) {
            (Some(last), Some(at)) => i16::try_from(at.div_euclid(DELTA) - last.div_euclid(DELTA)).is_ok(),
            _ => true,
        };
        let follows = expected.is_none_or(|expected| expected == arrival.sequence);
        let takes = follows && fits && self.arrivals.len() < Self::ARRIVALS_MAX;
        if takes {
            self.arrivals.push(arrival);
        }
        takes
    }

    /// Appends the feedback, if there is any, and starts anew.
    pub fn write(&mut self, sender: u32, media: u32, number: u8, out: &mut Vec<u8>) {
        let Some(first) = self.arrivals.first() else { return };
        let start = self.arrivals.iter().find_map(|arrival| arrival.at).unwrap_or(0).div_euclid(REFERENCE);
        let at = out.len();
        out.extend_from_slice(&[2 << 6 | format::TWCC, kind::RTPFB, 0, 0]);
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&media.to_be_bytes());
        out.extend_from_slice(&first.sequence.to_be_bytes());
        out.extend_from_slice(&(self.arrivals.len() as u16).to_be_bytes());
        out.extend_from_slice(&((start as u32) << 8 | u32::from(number)).to_be_bytes());
        let mut before = start * (REFERENCE / DELTA);
        let mut deltas = Vec::with_capacity(self.arrivals.len() * 2);
        let symbols: Vec<u16> = self
            .arrivals
            .iter()
            .map(|arrival| {
                let Some(at) = arrival.at else { return 0 };
                let now = at.div_euclid(DELTA);
                let delta = now - std::mem::replace(&mut before, now);
                match u8::try_from(delta) {
                    Ok(delta) => {
                        deltas.push(delta);
                        1
                    }
                    Err(_) => {
                        deltas.extend_from_slice(&(delta as i16).to_be_bytes());
                        2
                    }
                }
            })
            .collect();
        for seven in symbols.chunks(7) {
            let mut chunk = 3u16 << 14;
            for (place, symbol) in seven.iter().enumerate() {
                chunk |= symbol << (2 * (6 - place));
            }
            out.extend_from_slice(&chunk.to_be_bytes());
        }
        out.extend_from_slice(&deltas);
        while !(out.len() - at).is_multiple_of(4) {
            out.push(0);
        }
        let words = ((out.len() - at) / 4 - 1) as u16;
        if let Some(len) = out.get_mut(at + 2..at + 4) {
            len.copy_from_slice(&words.to_be_bytes());
        }
        self.arrivals.clear();
    }
}
