//! RTCP: what receivers report and ask for, and what a sender reports.
//!
//! [`parse`] walks a compound packet (RFC 3550 §6.1) and stops at the first broken part; unknown parts are passed over.
//! Builders append whole packets to a buffer. Invariant: all lengths are checked; nothing allocates.

mod build;
mod twcc;

pub use build::{SenderReport, bye, fir, nack, pli, receiver_report, remb, sdes_cname, sender_report};
pub use twcc::{Arrival, Feedback, FeedbackWriter};

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1).
pub mod kind {
    /// Sender report.
    pub const SR: u8 = 200;
    /// Receiver report.
    pub const RR: u8 = 201;
    /// Source description.
    pub const SDES: u8 = 202;
    /// Goodbye.
    pub const BYE: u8 = 203;
    /// Transport-layer feedback.
    pub const RTPFB: u8 = 205;
    /// Payload-specific feedback.
    pub const PSFB: u8 = 206;
}

/// Feedback message types within [`kind::RTPFB`] and [`kind::PSFB`].
mod format {
    pub const NACK: u8 = 1;
    pub const TWCC: u8 = 15;
    pub const PLI: u8 = 1;
    pub const FIR: u8 = 4;
    pub const APPLICATION: u8 = 15;
}

/// What a receiver says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// Which source.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost in all; duplicates can make it negative.
    pub lost: i32,
    /// The highest sequence number received, extended by the count of its wraps.
    pub highest: u32,
    /// In ticks of the source's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report; 0 when there was none.
    pub last_sr: u32,
    /// Since that report, in 65,536ths of a second.
    pub delay: u32,
}

impl ReportBlock {
    /// Bytes on the wire.
    pub const LEN: usize = 24;

    fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| u32_at(bytes, at);
        let lost = word(4) << 8;
        Self {
            ssrc: word(0),
            fraction_lost: bytes[4],
            lost: (lost as i32) >> 8,
            highest: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay: word(20),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let lost = self.lost.clamp(-(1 << 23), (1 << 23) - 1) as u32 & 0xff_ffff;
        for word in [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest,
            self.jitter,
            self.last_sr,
            self.delay,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// One part of a compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A sender's account of itself, and of what it receives.
    SenderReport(SenderReport, Blocks<'a>),
    /// A receiver's account, with who it is.
    ReceiverReport(u32, Blocks<'a>),
    /// These sources leave.
    Bye(Sources<'a>),
    /// Packets that did not arrive (RFC 4585 §6.2.1).
    Nack {
        /// Whose.
        media: u32,
        /// Which.
        lost: Lost<'a>,
    },
    /// A keyframe is needed (RFC 4585 §6.3.1).
    Pli {
        /// Of which source.
        media: u32,
    },
    /// A keyframe is needed (RFC 5104 §4.3.1).
    Fir {
        /// Of which source.
        media: u32,
        /// Repeated by repetitions of the same request.
        request: u8,
    },
    /// The receiver's estimate of what it can take (draft-alvestrand-rmcat-remb-03), bits a second.
    Remb {
        /// Bits a second.
        bitrate: u64,
    },
    /// When packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    Twcc(Feedback<'a>),
}

/// Report blocks; see [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(ReportBlock::parse(block))
    }
}

/// Sources; see [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources<'a>(&'a [u8]);

impl Iterator for Sources<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (source, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*source))
    }
}

/// Sequence numbers that are missed, in the order in which they were named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost<'a> {
    pairs: &'a [u8],
    base: u16,
    /// Bit 0 is `base` itself.
    mask: u32,
}

impl Iterator for Lost<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.mask == 0 {
            let (pair, rest) = self.pairs.split_first_chunk::<4>()?;
            self.pairs = rest;
            self.base = u16::from_be_bytes([pair[0], pair[1]]);
            self.mask = u32::from(u16::from_be_bytes([pair[2], pair[3]])) << 1 | 1;
        }
        let bit = self.mask.trailing_zeros();
        self.mask &= self.mask - 1;
        Some(self.base.wrapping_add(bit as u16))
    }
}

/// The parts of a compound packet that are understood, up to the first that is broken.
pub fn parse(compound: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    let mut left = compound;
    let mut requests = Requests(&[]);
    std::iter::from_fn(move || {
        loop {
            if let Some(request) = requests.next() {
                return Some(request);
            }
            let head = left.first_chunk::<4>()?;
            let len = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
            let (whole, rest) = left.split_at_checked(len)?;
            if head[0] >> 6 != 2 {
                return None;
            }
            left = rest;
            let mut body = whole.get(4..)?;
            if head[0] & 0x20 != 0 {
                let padding = usize::from(*body.last()?);
                body = body.get(..body.len().checked_sub(padding)?)?;
            }
            let (count, kind) = (head[0] & 31, head[1]);
            if kind == kind::PSFB && count == format::FIR {
                requests = Requests(body.get(8..).unwrap_or_default());
                continue;
            }
            if let Some(packet) = part(kind, count, body) {
                return Some(packet);
            }
        }
    })
}

/// The requests of one FIR packet.
struct Requests<'a>(&'a [u8]);

impl Requests<'_> {
    fn next<'b>(&mut self) -> Option<Packet<'b>> {
        let (entry, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(Packet::Fir { media: u32_at(entry, 0), request: entry[4] })
    }
}

fn part(kind: u8, count: u8, body: &[u8]) -> Option<Packet<'_>> {
    let blocks = |from: usize| {
        let len = usize::from(count) * ReportBlock::LEN;
        body.get(from..from + len).map(Blocks)
    };
    let word = |at: usize| body.get(at..at + 4).map(|word| u32_at(word, 0));
    match (kind, count) {
        (kind::SR, _) => {
            let report = SenderReport {
                ssrc: word(0)?,
                ntp: u64::from(word(4)?) << 32 | u64::from(word(8)?),
                timestamp: word(12)?,
                packets: word(16)?,
                bytes: word(20)?,
            };
            Some(Packet::SenderReport(report, blocks(24)?))
        }
        (kind::RR, _) => Some(Packet::ReceiverReport(word(0)?, blocks(4)?)),
        (kind::BYE, _) => body.get(..usize::from(count) * 4).map(|sources| Packet::Bye(Sources(sources))),
        (kind::RTPFB, format::NACK) => {
            Some(Packet::Nack { media: word(4)?, lost: Lost { pairs: body.get(8..)?, base: 0, mask: 0 } })
        }
        (kind::RTPFB, format::TWCC) => Feedback::parse(body).map(Packet::Twcc),
        (kind::PSFB, format::PLI) => Some(Packet::Pli { media: word(4)? }),
        (kind::PSFB, format::APPLICATION) if body.get(8..12) == Some(b"REMB") => {
            let value = word(12)?;
            let (exponent, mantissa) = (value >> 18 & 63, u64::from(value & 0x3_ffff));
            Some(Packet::Remb {
                bitrate: mantissa.checked_shl(exponent).filter(|rate| rate >> exponent == mantissa)?,
            })
        }
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

#[cfg(test)]
mod tests;
