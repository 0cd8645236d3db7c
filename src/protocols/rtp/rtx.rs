//! Retransmission in a stream of its own (RFC 4588): the original sequence number before the original payload.

/// Bytes that a retransmission has before the payload.
pub const OVERHEAD: usize = 2;

/// What a retransmission repeats: the sequence number and the payload. `None` for padding, which carries neither.
pub fn original(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (sequence, payload) = payload.split_first_chunk::<OVERHEAD>()?;
    Some((u16::from_be_bytes(*sequence), payload))
}

/// The prefix of a retransmission of `sequence`.
pub const fn prefix(sequence: u16) -> [u8; OVERHEAD] {
    sequence.to_be_bytes()
}
