//! RTP: packets, their encryption, their control protocol, and how frames become payloads.
//!
//! `header` (RFC 3550 §5, RFC 8285), `rtcp` (RFC 3550 §6, RFC 4585, RFC 5104, REMB, transport-wide congestion control),
//! `srtp` (RFC 3711, RFC 7714), `packetize` (one payload format per codec), `rtx` (RFC 4588), `estimate` (what a receiver's
//! reports say of the way to it). Synchronous and without sockets; time is an argument. Sizes are bytes.

pub mod estimate;
pub mod header;
pub mod packetize;
pub mod rtcp;
pub mod rtx;
pub mod srtp;

/// Feeds anything to every parser here; for fuzzing.
pub fn fuzz(data: &[u8]) {
    if let Ok(header) = header::Header::parse(data) {
        header.extensions().for_each(drop);
        let _ = rtx::original(header.payload());
    }
    for report in rtcp::parse(data) {
        if let rtcp::Packet::Twcc(feedback) = report {
            feedback.arrivals().for_each(drop);
        }
    }
    packetize::fuzz(data);
}

#[cfg(test)]
mod tests;
