//! SRTP and SRTCP: packets sealed in place (RFC 3711; AEAD: RFC 7714), with keys from a DTLS handshake (RFC 5764).
//!
//! A [`Sealer`] is one direction's sender, an [`Opener`] its receiver. Invariant: who seals never gives two different packets
//! the same source and index; an AEAD tells its key otherwise. Packets that are repeated must be repeated bit by bit.

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    hmac,
    iv::FixedLength,
};

/// The longest tag: what a sealed packet is longer by, at most.
pub const TAG_MAX: usize = 16;
/// What a sealed control packet is longer by, at most.
pub const RTCP_OVERHEAD_MAX: usize = TAG_MAX + 4;
const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;
/// The part of a control packet that is never encrypted: its head and its sender.
const RTCP_HEAD: usize = 8;
/// Says in a control packet's index that it is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;

/// How packets are protected: an SRTP protection profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (RFC 5764 §4.1.2).
    Aes128CmSha1,
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714 §14.2).
    Aes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (RFC 7714 §14.2).
    Aes256Gcm,
}

impl Profile {
    const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1 | Self::Aes128Gcm => 16,
            Self::Aes256Gcm => 32,
        }
    }

    const fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1 => 14,
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
        }
    }

    /// Bytes by which sealing makes an RTP packet longer.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::Aes128CmSha1 => SHA1_TAG,
            Self::Aes128Gcm | Self::Aes256Gcm => GCM_TAG,
        }
    }

    /// Bytes of keying material that a handshake exports.
    pub const fn material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short for what it should hold.
    #[error("an SRTP packet of {0} bytes is too short")]
    Short(usize),
    /// Sealed with other keys, or changed on its way.
    #[error("an SRTP packet does not authenticate")]
    Forged,
    /// Came before.
    #[error("an SRTCP packet with index {0} was replayed")]
    Replayed(u32),
}

/// The key material of a handshake does not have the length that the profile asks for, or the library refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handshake's keying material does not fit its SRTP profile")]
pub struct KeyError;

/// One direction's keys for either RTP or RTCP.
enum Cipher {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    Cm(Box<CounterMode>),
}

/// AES in counter mode, and HMAC-SHA1: large, and seldom used.
struct CounterMode {
    key: EncryptingKey,
    salt: [u8; 14],
    auth: hmac::Key,
}

/// Which of the derived keys (RFC 3711 §4.3.1): labels of encryption key, authentication key and salt.
const RTP: [u8; 3] = [0, 1, 2];
const RTCP: [u8; 3] = [3, 4, 5];

impl Cipher {
    fn derive(profile: Profile, key: &[u8], salt: &[u8], labels: [u8; 3]) -> Result<Self, KeyError> {
        let mut derived = [0; 32];
        let derived = &mut derived[..profile.key_len()];
        derive(key, salt, labels[0], derived)?;
        Ok(match profile {
            Profile::Aes128CmSha1 => {
                let (mut auth, mut session_salt) = ([0; 20], [0; 14]);
                derive(key, salt, labels[1], &mut auth)?;
                derive(key, salt, labels[2], &mut session_salt)?;
                let auth = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth);
                Self::Cm(Box::new(CounterMode { key: counter_mode(derived)?, salt: session_salt, auth }))
            }
            Profile::Aes128Gcm | Profile::Aes256Gcm => {
                let mut session_salt = [0; 12];
                derive(key, salt, labels[2], &mut session_salt)?;
                Self::gcm(derived, session_salt)?
            }
        })
    }

    fn gcm(key: &[u8], salt: [u8; 12]) -> Result<Self, KeyError> {
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError)?;
        Ok(Self::Gcm { key: LessSafeKey::new(key), salt })
    }

    /// The AEAD's nonce for a control packet (RFC 7714 §9.1), or with `index << 16 >> 16` for media (§8.1).
    fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
        let mut iv = *salt;
        let number = (u128::from(ssrc) << 48 | u128::from(index & 0xffff_ffff_ffff)).to_be_bytes();
        for (byte, number) in iv.iter_mut().zip(&number[4..]) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(iv)
    }

    /// The counter's start (RFC 3711 §4.1.1).
    fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> EncryptionContext {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(salt);
        let number = (u128::from(ssrc) << 64 | u128::from(index & 0xffff_ffff_ffff) << 16).to_be_bytes();
        for (byte, number) in iv.iter_mut().zip(number) {
            *byte ^= number;
        }
        EncryptionContext::Iv128(FixedLength::from(iv))
    }
}

fn counter_mode(key: &[u8]) -> Result<EncryptingKey, KeyError> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| KeyError)?;
    EncryptingKey::ctr(key).map_err(|_| KeyError)
}

/// RFC 3711 §4.3.1 and §4.3.3; for an AEAD RFC 7714 §11. Without a key derivation rate.
fn derive(key: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), KeyError> {
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    out.fill(0);
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    counter_mode(key)?.less_safe_encrypt(out, context).map(drop).map_err(|_| KeyError)
}

/// The halves of a handshake's material (RFC 5764 §4.2): key and salt of the client, or of the server.
fn half(profile: Profile, material: &[u8], client: bool) -> Result<(&[u8], &[u8]), KeyError> {
    if material.len() < profile.material_len() {
        return Err(KeyError);
    }
    let (keys, salts) = material.split_at(2 * profile.key_len());
    let key = keys.chunks(profile.key_len()).nth(usize::from(!client)).ok_or(KeyError)?;
    let salt = salts.chunks(profile.salt_len()).nth(usize::from(!client)).ok_or(KeyError)?;
    Ok((key, salt))
}

/// Seals what one side of a connection sends.
pub struct Sealer {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    /// Of the next control packet.
    index: u32,
}

impl Sealer {
    /// For the side that was the handshake's `client`, or the other one.
    ///
    /// # Errors
    /// When `material` is too short.
    pub fn new(profile: Profile, material: &[u8], client: bool) -> Result<Self, KeyError> {
        let (key, salt) = half(profile, material, client)?;
        let rtp = Cipher::derive(profile, key, salt, RTP)?;
        Ok(Self { profile, rtp, rtcp: Cipher::derive(profile, key, salt, RTCP)?, index: 0 })
    }

    /// How packets are protected.
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Seals the packet that `buffer` holds from `at` on: a header of `header_len` bytes, and a payload. `index` is the
    /// sequence number with the count of its wraps above it. `false`, and the packet is gone, should the library fail.
    pub fn seal(&self, buffer: &mut Vec<u8>, at: usize, header_len: usize, ssrc: u32, index: u64) -> bool {
        let Some((header, payload)) =
            buffer.get_mut(at..).and_then(|packet| packet.split_at_mut_checked(header_len))
        else {
            return false;
        };
        let sealed = match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let nonce = Cipher::nonce(salt, ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
                tag.map(|tag| buffer.extend_from_slice(tag.as_ref()))
            }
            Cipher::Cm(cm) => {
                let CounterMode { key, salt, auth } = &**cm;
                let counted = key.less_safe_encrypt(payload, Cipher::counter(salt, ssrc, index));
                counted.map(|_| {
                    let tag = tag(auth, &buffer[at..], &((index >> 16) as u32).to_be_bytes());
                    buffer.extend_from_slice(&tag.as_ref()[..SHA1_TAG]);
                })
            }
        };
        if sealed.is_err() {
            buffer.truncate(at);
        }
        sealed.is_ok()
    }

    /// Seals the control packet that `packet` holds. `false` when it is none, or when 2^31 went before it (RFC 3711 §9.2).
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some(ssrc) = rtcp_sender(packet).filter(|_| self.index < ENCRYPTED) else { return false };
        let index = self.index;
        self.index += 1;
        let word = (index | ENCRYPTED).to_be_bytes();
        match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                let nonce = Cipher::nonce(salt, ssrc, u64::from(index));
                let (head, body) = packet.split_at_mut(RTCP_HEAD);
                let known = known(head, word);
                let Ok(tag) = key.seal_in_place_separate_tag(nonce, Aad::from(known), body) else {
                    return false;
                };
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&word);
            }
            Cipher::Cm(cm) => {
                let CounterMode { key, salt, auth } = &**cm;
                let context = Cipher::counter(salt, ssrc, u64::from(index));
                if key.less_safe_encrypt(&mut packet[RTCP_HEAD..], context).is_err() {
                    return false;
                }
                packet.extend_from_slice(&word);
                let tag = tag(auth, packet, &[]);
                packet.extend_from_slice(&tag.as_ref()[..SHA1_TAG]);
            }
        }
        true
    }
}

/// What an AEAD authenticates of a control packet without encrypting it (RFC 7714 §9.2).
fn known(head: &[u8], word: [u8; 4]) -> [u8; RTCP_HEAD + 4] {
    let mut known = [0; RTCP_HEAD + 4];
    known[..RTCP_HEAD].copy_from_slice(head);
    known[RTCP_HEAD..].copy_from_slice(&word);
    known
}

fn tag(key: &hmac::Key, packet: &[u8], more: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(packet);
    context.update(more);
    context.sign()
}

fn rtcp_sender(packet: &[u8]) -> Option<u32> {
    let head = packet.first_chunk::<RTCP_HEAD>()?;
    Some(u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
}

/// How far behind the newest a control packet may be.
const WINDOW: u32 = 64;

/// Opens what one side of a connection sends.
pub struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    /// The index after the newest control packet.
    next: u32,
    /// Those before it that came, the newest in bit 0.
    seen: u64,
}

impl Opener {
    /// For what comes from the side that was the handshake's `client`, or from the other one.
    ///
    /// # Errors
    /// When `material` is too short.
    pub fn new(profile: Profile, material: &[u8], client: bool) -> Result<Self, KeyError> {
        let (key, salt) = half(profile, material, client)?;
        let rtp = Cipher::derive(profile, key, salt, RTP)?;
        Ok(Self { rtp, rtcp: Cipher::derive(profile, key, salt, RTCP)?, next: 0, seen: 0 })
    }

    /// Opens a packet in place; its plaintext, header included. Replays are the caller's to find, who knows `index`.
    ///
    /// # Errors
    /// When it does not authenticate.
    pub fn open<'a>(
        &self,
        packet: &'a mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<&'a [u8], OpenError> {
        let len = packet.len();
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let end =
                    len.checked_sub(GCM_TAG).filter(|end| *end >= header_len).ok_or(OpenError::Short(len))?;
                let nonce = Cipher::nonce(salt, ssrc, index);
                let (header, body) = packet.split_at_mut(header_len);
                key.open_in_place(nonce, Aad::from(&*header), body).map_err(|_| OpenError::Forged)?;
                Ok(&packet[..end])
            }
            Cipher::Cm(cm) => {
                let CounterMode { key, salt, auth } = &**cm;
                let end = len
                    .checked_sub(SHA1_TAG)
                    .filter(|end| *end >= header_len)
                    .ok_or(OpenError::Short(len))?;
                let expected = tag(auth, &packet[..end], &((index >> 16) as u32).to_be_bytes());
                check(&packet[end..], expected)?;
                let body = &mut packet[header_len..end];
                key.less_safe_encrypt(body, Cipher::counter(salt, ssrc, index))
                    .map_err(|_| OpenError::Forged)?;
                Ok(&packet[..end])
            }
        }
    }

    /// Opens a control packet in place; its plaintext.
    ///
    /// # Errors
    /// When it does not authenticate, or came before.
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        let len = packet.len();
        let ssrc = rtcp_sender(packet).ok_or(OpenError::Short(len))?;
        let tail = match &self.rtcp {
            Cipher::Gcm { .. } => 4,
            Cipher::Cm(_) => 4 + SHA1_TAG,
        };
        let at = len.checked_sub(tail).filter(|at| *at >= RTCP_HEAD).ok_or(OpenError::Short(len))?;
        let word = packet[at..].first_chunk::<4>().copied().ok_or(OpenError::Short(len))?;
        let index = u32::from_be_bytes(word) & !ENCRYPTED;
        let is_encrypted = word[0] & 0x80 != 0;
        if self.has_seen(index) {
            return Err(OpenError::Replayed(index));
        }
        let end = match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                let end =
                    at.checked_sub(GCM_TAG).filter(|end| *end >= RTCP_HEAD).ok_or(OpenError::Short(len))?;
                let nonce = Cipher::nonce(salt, ssrc, u64::from(index));
                if is_encrypted {
                    let (head, body) = packet[..at].split_at_mut(RTCP_HEAD);
                    let known = known(head, word);
                    key.open_in_place(nonce, Aad::from(known), body).map_err(|_| OpenError::Forged)?;
                } else {
                    let known = [&packet[..end], &word].concat();
                    key.open_in_place(nonce, Aad::from(known), &mut packet[end..at])
                        .map_err(|_| OpenError::Forged)?;
                }
                end
            }
            Cipher::Cm(cm) => {
                let CounterMode { key, salt, auth } = &**cm;
                check(&packet[at + 4..], tag(auth, &packet[..at + 4], &[]))?;
                if is_encrypted {
                    let context = Cipher::counter(salt, ssrc, u64::from(index));
                    key.less_safe_encrypt(&mut packet[RTCP_HEAD..at], context)
                        .map_err(|_| OpenError::Forged)?;
                }
                at
            }
        };
        self.see(index);
        Ok(&packet[..end])
    }

    fn has_seen(&self, index: u32) -> bool {
        match self.next.checked_sub(index) {
            None | Some(0) => false,
            Some(age) => age > WINDOW || self.seen & 1 << (age - 1) != 0,
        }
    }

    fn see(&mut self, index: u32) {
        if index >= self.next {
            let step = index - self.next + 1;
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.next = index + 1;
        } else {
            self.seen |= 1 << (self.next - index - 1);
        }
    }
}

/// Compares tags without telling by its time where they differ.
fn check(given: &[u8], expected: hmac::Tag) -> Result<(), OpenError> {
    let expected = &expected.as_ref()[..SHA1_TAG];
    aws_lc_rs::constant_time::verify_slices_are_equal(given, expected).map_err(|_| OpenError::Forged)
}

#[cfg(test)]
mod tests;
