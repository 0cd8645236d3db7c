//! The RTMP handshake (Adobe RTMP 1.0 §5.2), in the plain form and in the one that Flash signs with HMAC-SHA256.
//!
//! Three packets each way: a version byte, 1,536 bytes, 1,536 bytes. In the plain form the last is an echo of the other
//! side's; in the signed ("complex", "digest") form both sides hide a digest in their first packet, and prove in the
//! last one that they found it. The keys are public, so this authenticates nobody: old Flash players refuse H.264 from a
//! server without it, and that is its whole use. All sizes are bytes.
//!
//! Invariant: neither side takes more than it needs; what follows the handshake stays in the input.

mod client;
mod digest;
mod server;

pub use client::{ClientHandshake, Style};
pub use server::ServerHandshake;

/// The length of C1, C2, S1 and S2.
pub const PACKET_BYTES: usize = 1536;
/// The version of RTMP that is spoken here.
const VERSION: u8 = 3;

/// What the peer did instead of shaking hands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A version byte other than 3.
    #[error("RTMP version {0}; only version 3 is spoken here")]
    Version(u8),
    /// Versions 6 and 8 announce RTMPE, whose cipher is broken and whose keys are public; RTMPS is the way to encrypt.
    #[error("RTMP version {0} is RTMPE, which is not spoken here; use RTMPS")]
    Rtmpe(u8),
    /// The first byte of a TLS handshake record.
    #[error("a TLS handshake where plain RTMP is spoken")]
    Tls,
    /// The first letter of an HTTP method (RTMPT is HTTP, too) or of an HTTP answer.
    #[error("HTTP where RTMP is spoken")]
    Http,
    /// A prefix that should tell the client's address, with the wrong length.
    #[error("a proxy's address prefix of {0} bytes; an IPv4 address has 4")]
    ProxyPrefix(u16),
}

/// Judges the first byte of either side.
fn check_version(byte: u8) -> Result<(), HandshakeError> {
    match byte {
        VERSION => Ok(()),
        6 | 8 => Err(HandshakeError::Rtmpe(byte)),
        0x16 => Err(HandshakeError::Tls),
        b'A'..=b'Z' => Err(HandshakeError::Http),
        _ => Err(HandshakeError::Version(byte)),
    }
}

/// Bytes that look random (splitmix64): only so that peers can tell their packets apart, nothing is secret here.
fn fill(packet: &mut [u8], seed: u64) {
    let mut state = seed;
    for chunk in packet.chunks_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

/// Shakes hands with anything, as both sides. For the fuzzer and for tests.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use bytes::BytesMut;
    for step in [data.len().max(1), 97] {
        let (mut server, mut client) = (ServerHandshake::new(1), ClientHandshake::new(2, Style::Complex));
        let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
        let (mut from_server, mut from_client) = (BytesMut::new(), BytesMut::new());
        for piece in data.chunks(step) {
            to_server.extend_from_slice(piece);
            to_client.extend_from_slice(piece);
            let _ = server.feed(&mut to_server, &mut from_server);
            let _ = client.feed(&mut to_client, &mut from_client);
            assert!(from_server.len() <= 1 + 2 * PACKET_BYTES && from_client.len() <= 1 + 2 * PACKET_BYTES);
        }
    }
}

#[cfg(test)]
mod tests;
