//! RTCP packets written: each appends one whole packet to a buffer.

use super::{ReportBlock, format, kind};

/// A sender's account of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Which source.
    pub ssrc: u32,
    /// Seconds since 1900 in the upper half, fractions of 2^-32 s in the lower.
    pub ntp: u64,
    /// The same moment on the source's clock.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Bytes of payload sent.
    pub bytes: u32,
}

/// Appends a packet: its head, what `body` writes, and its length.
fn packet(count: u8, kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[2 << 6 | count & 31, kind, 0, 0]);
    body(out);
    while !(out.len() - at).is_multiple_of(4) {
        out.push(0);
    }
    let words = u16::try_from((out.len() - at) / 4 - 1).unwrap_or(u16::MAX);
    if let Some(len) = out.get_mut(at + 2..at + 4) {
        len.copy_from_slice(&words.to_be_bytes());
    }
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

/// A sender report without report blocks.
pub fn sender_report(report: &SenderReport, out: &mut Vec<u8>) {
    packet(0, kind::SR, out, |out| {
        let (seconds, fraction) = ((report.ntp >> 32) as u32, report.ntp as u32);
        put(out, &[report.ssrc, seconds, fraction, report.timestamp, report.packets, report.bytes]);
    });
}

/// A receiver report by `ssrc`; of more than 31 blocks the first 31 (RFC 3550 §6.4.2).
pub fn receiver_report(ssrc: u32, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    let blocks = &blocks[..blocks.len().min(31)];
    packet(blocks.len() as u8, kind::RR, out, |out| {
        put(out, &[ssrc]);
        blocks.iter().for_each(|block| block.write(out));
    });
}

/// A description of `ssrc` by its canonical name (RFC 3550 §6.5.1), of which the first 255 bytes count.
pub fn sdes_cname(ssrc: u32, cname: &str, out: &mut Vec<u8>) {
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    packet(1, kind::SDES, out, |out| {
        put(out, &[ssrc]);
        out.extend_from_slice(&[1, cname.len() as u8]);
        out.extend_from_slice(cname);
        // One zero ends the list at least; the padding adds more.
        out.push(0);
    });
}

/// These sources leave; the first 31 of them.
pub fn bye(sources: &[u32], out: &mut Vec<u8>) {
    let sources = &sources[..sources.len().min(31)];
    packet(sources.len() as u8, kind::BYE, out, |out| put(out, sources));
}

/// Asks for packets of `media` again (RFC 4585 §6.2.1). `lost` are in order; a packet takes 17 numbers from each pair.
pub fn nack(sender: u32, media: u32, lost: impl IntoIterator<Item = u16>, out: &mut Vec<u8>) {
    packet(format::NACK, kind::RTPFB, out, |out| {
        put(out, &[sender, media]);
        let mut pair: Option<(u16, u16)> = None;
        for sequence in lost {
            pair = match pair {
                Some((base, mask)) if (1..=16).contains(&sequence.wrapping_sub(base)) => {
                    Some((base, mask | 1 << (sequence.wrapping_sub(base) - 1)))
                }
                full => {
                    put_pair(out, full);
                    Some((sequence, 0))
                }
            };
        }
        put_pair(out, pair);
    });
}

fn put_pair(out: &mut Vec<u8>, pair: Option<(u16, u16)>) {
    if let Some((base, mask)) = pair {
        put(out, &[u32::from(base) << 16 | u32::from(mask)]);
    }
}

/// Asks for a keyframe of `media` (RFC 4585 §6.3.1).
pub fn pli(sender: u32, media: u32, out: &mut Vec<u8>) {
    packet(format::PLI, kind::PSFB, out, |out| put(out, &[sender, media]));
}

/// Asks for a keyframe of `media` (RFC 5104 §4.3.1); `request` grows with each new wish.
pub fn fir(sender: u32, media: u32, request: u8, out: &mut Vec<u8>) {
    packet(format::FIR, kind::PSFB, out, |out| {
        put(out, &[sender, 0, media, u32::from(request) << 24]);
    });
}

/// Tells what the receiver can take of `sources`, in bits a second; the first 255 of them.
pub fn remb(sender: u32, bitrate: u64, sources: &[u32], out: &mut Vec<u8>) {
    let sources = &sources[..sources.len().min(255)];
    packet(format::APPLICATION, kind::PSFB, out, |out| {
        let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
        let mantissa = (bitrate >> exponent) as u32;
        put(out, &[sender, 0, u32::from_be_bytes(*b"REMB")]);
        put(out, &[(sources.len() as u32) << 24 | exponent << 18 | mantissa]);
        put(out, sources);
    });
}
