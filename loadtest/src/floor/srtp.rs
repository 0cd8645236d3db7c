//! The floor's packets: an RTP header in the clear and a payload under AES-128-GCM, as SRTP has it (RFC 7714), with a key
//! that everybody knows.
//!
//! What it costs to seal is what is measured; nobody needs protection from his own machine. Sizes are bytes.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
};

/// RTP's fixed header.
pub const HEADER_BYTES: usize = 12;
/// What AES-GCM adds.
pub const TAG_BYTES: usize = 16;
/// A datagram of the floor at most: what WebRTC's senders keep below.
pub const PACKET_BYTES_MAX: usize = 1_200;
/// Media in one packet.
pub const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES - TAG_BYTES;
/// The payload types.
pub const PICTURE: u8 = 97;
/// See [`PICTURE`].
pub const SOUND: u8 = 111;

const KEY: [u8; 16] = *b"shardcast floor.";
const SALT: [u8; 12] = *b"floor's salt";

/// The key.
#[derive(Debug)]
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// The one that both ends know.
    ///
    /// # Errors
    /// When the library has no AES, which it has.
    pub fn new() -> Result<Self, Unspecified> {
        UnboundKey::new(&AES_128_GCM, &KEY).map(|key| Self(LessSafeKey::new(key)))
    }

    /// Appends a packet to `out`: `header` as it is, `payload` sealed.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn seal(
        &self,
        header: &[u8; HEADER_BYTES],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Unspecified> {
        out.extend_from_slice(header);
        let start = out.len();
        out.extend_from_slice(payload);
        let body = out.get_mut(start..).unwrap_or_default();
        let tag = self.0.seal_in_place_separate_tag(nonce(header), Aad::from(header), body)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// The payload of a packet.
    ///
    /// # Errors
    /// When it is none of the floor's.
    pub fn open<'a>(&self, packet: &'a mut [u8]) -> Result<&'a mut [u8], Unspecified> {
        let (header, sealed) = packet.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Unspecified)?;
        self.0.open_in_place(nonce(header), Aad::from(&*header), sealed)
    }
}

/// RFC 7714 section 8.1, with a roll-over counter of 0: a run of the floor starts anew before the same number comes again
/// with the same time, which is part of it here.
fn nonce(header: &[u8; HEADER_BYTES]) -> Nonce {
    let [_, _, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
    let mut bytes = [0, 0, c0, c1, c2, c3, t0, t1, t2 ^ t3, t3, s0, s1];
    bytes.iter_mut().zip(SALT).for_each(|(byte, salt)| *byte ^= salt);
    Nonce::assume_unique_for_key(bytes)
}

/// An RTP header.
pub fn header(payload_type: u8, last: bool, sequence: u16, timestamp: u32, ssrc: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let fields = [0x80, payload_type | u8::from(last) << 7];
    let all = fields
        .into_iter()
        .chain(sequence.to_be_bytes())
        .chain(timestamp.to_be_bytes())
        .chain(ssrc.to_be_bytes());
    header.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::packet::Rtp;

    #[test]
    fn what_is_sealed_is_opened_and_what_is_changed_is_not() {
        let cipher = Cipher::new().expect("AES");
        let head = header(PICTURE, true, 7, 9_000, 42);
        let mut wire = Vec::new();
        cipher.seal(&head, b"a picture", &mut wire).expect("sealed");
        assert_eq!(wire.len(), HEADER_BYTES + 9 + TAG_BYTES);
        let rtp = Rtp::read(&wire).expect("RTP");
        assert_eq!(
            (rtp.payload_type, rtp.marker, rtp.sequence, rtp.timestamp, rtp.ssrc),
            (97, true, 7, 9_000, 42)
        );
        assert_eq!(cipher.open(&mut wire.clone()).map(|payload| payload.to_vec()), Ok(b"a picture".to_vec()));
        for n in 0..wire.len() {
            let mut broken = wire.clone();
            broken[n] ^= 1;
            assert!(cipher.open(&mut broken).is_err(), "byte {n}");
        }
        assert!(cipher.open(&mut [0; 11]).is_err());
    }
}
