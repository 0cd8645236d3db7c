//! The digests of the signed handshake: where they hide and what they sign.
//!
//! C1 and S1 are four bytes of time, four of version, and two blocks of 764 bytes. One block holds a digest at a place
//! that its own first four bytes tell, the other one a Diffie-Hellman key that only RTMPE uses. Which comes first is the
//! scheme.

use aws_lc_rs::hmac;

use super::PACKET_BYTES;

/// The length of a SHA-256 digest.
pub(super) const DIGEST_BYTES: usize = 32;
/// A block has room for a digest at this many places.
const PLACES: u32 = 728;
/// Where a packet's two blocks begin.
const BLOCKS: [usize; 2] = [8, 8 + 764];

/// What both sides append to their name to sign the last packet.
const SECRET: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E,
    0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// Which block of a first packet holds the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Scheme 0: the key block comes first, so the digest is in the second.
    KeyFirst,
    /// Scheme 1: the digest is in the first block. Flash since version 9, ffmpeg and librtmp.
    DigestFirst,
}

/// C1, C2, S1 or S2.
pub(super) type Packet = [u8; PACKET_BYTES];
pub(super) type Digest = [u8; DIGEST_BYTES];

impl Side {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Client => b"Genuine Adobe Flash Player 001",
            Self::Server => b"Genuine Adobe Flash Media Server 001",
        }
    }

    fn long_key(self) -> Vec<u8> {
        [self.name(), &SECRET].concat()
    }
}

fn hmac(key: &[u8], parts: [&[u8]; 2]) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(context.sign().as_ref());
    digest
}

/// Where a first packet's digest begins under `scheme`: at most 4 + 727 into its block, so always inside the packet.
fn place(packet: &Packet, scheme: Scheme) -> usize {
    let block = match scheme {
        Scheme::KeyFirst => BLOCKS[1],
        Scheme::DigestFirst => BLOCKS[0],
    };
    let sum: u32 = packet.iter().skip(block).take(4).map(|&byte| u32::from(byte)).sum();
    block + 4 + (sum % PLACES) as usize
}

const _: () = assert!(BLOCKS[1] + 4 + PLACES as usize - 1 + DIGEST_BYTES <= PACKET_BYTES);

fn first_digest(packet: &Packet, at: usize, side: Side) -> Digest {
    let (before, rest) = packet.split_at(at);
    hmac(side.name(), [before, rest.get(DIGEST_BYTES..).unwrap_or_default()])
}

/// Puts `side`'s digest into its first packet and returns it.
pub(super) fn sign_first(packet: &mut Packet, side: Side, scheme: Scheme) -> Digest {
    let at = place(packet, scheme);
    let digest = first_digest(packet, at, side);
    if let Some(hole) = packet.get_mut(at..at + DIGEST_BYTES) {
        hole.copy_from_slice(&digest);
    }
    digest
}

/// The scheme and the digest of a first packet that `side` signed; `None` for a plain one.
pub(super) fn find_first(packet: &Packet, side: Side) -> Option<(Scheme, Digest)> {
    [Scheme::DigestFirst, Scheme::KeyFirst].into_iter().find_map(|scheme| {
        let at = place(packet, scheme);
        let digest = first_digest(packet, at, side);
        (packet.get(at..at + DIGEST_BYTES)? == digest).then_some((scheme, digest))
    })
}

/// Signs a last packet: its end becomes a digest that only a reader of the other side's first digest can make.
pub(super) fn sign_last(packet: &mut Packet, side: Side, first_of_other: &Digest) {
    let digest = last_digest(packet, side, first_of_other);
    if let Some(tail) = packet.last_chunk_mut() {
        *tail = digest;
    }
}

/// What a last packet should end with.
pub(super) fn last_digest(packet: &Packet, side: Side, first_of_other: &Digest) -> Digest {
    let key = hmac(&side.long_key(), [first_of_other, &[]]);
    hmac(&key, [&packet[..PACKET_BYTES - DIGEST_BYTES], &[]])
}
