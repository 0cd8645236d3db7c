//! The header of an RTP packet (RFC 3550 §5.1) and its extensions (RFC 8285).
//!
//! [`Header::parse`] borrows and checks every length; [`Template`] is a header written once, of which each packet changes a
//! few fields. Invariant: a template's length is a multiple of four.

/// Bytes of a header without contributing sources and extensions.
pub const FIXED: usize = 12;
/// The profile that marks one-byte extension headers (RFC 8285 §4.2).
const ONE_BYTE: u16 = 0xBEDE;
/// The profile that marks two-byte extension headers, its low four bits aside (RFC 8285 §4.3).
const TWO_BYTE: u16 = 0x1000;
/// Room for the longest template: a fixed header and 48 bytes of extensions.
const TEMPLATE_MAX: usize = FIXED + 52;

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends within its header.
    #[error("an RTP packet ends within its header")]
    Short,
    /// A version other than 2.
    #[error("RTP version {0} where only 2 exists")]
    Version(u8),
    /// More padding than packet.
    #[error("an RTP packet's padding of {0} bytes does not fit")]
    Padding(u8),
}

/// A packet's header and where its payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The last packet of a frame, mostly (RFC 3550 §5.1).
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Grows by one with each packet.
    pub sequence: u16,
    /// In ticks of the codec's clock.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
    profile: u16,
    extension: &'a [u8],
    payload: &'a [u8],
    len: usize,
}

impl<'a> Header<'a> {
    /// Reads the header of `packet`.
    ///
    /// # Errors
    /// When `packet` is not RTP.
    pub fn parse(packet: &'a [u8]) -> Result<Self, HeaderError> {
        let (fixed, rest) = packet.split_first_chunk::<FIXED>().ok_or(HeaderError::Short)?;
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(HeaderError::Version(version));
        }
        let sources = usize::from(fixed[0] & 15) * 4;
        let mut rest = rest.get(sources..).ok_or(HeaderError::Short)?;
        let (mut profile, mut extension): (u16, &[u8]) = (0, &[]);
        if fixed[0] & 0x10 != 0 {
            let (head, after) = rest.split_first_chunk::<4>().ok_or(HeaderError::Short)?;
            profile = u16::from_be_bytes([head[0], head[1]]);
            let len = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
            (extension, rest) = after.split_at_checked(len).ok_or(HeaderError::Short)?;
        }
        let len = packet.len() - rest.len();
        if fixed[0] & 0x20 != 0 {
            let padding = rest.last().copied().unwrap_or(0);
            let kept = rest.len().checked_sub(usize::from(padding)).filter(|_| padding > 0);
            rest = kept.and_then(|kept| rest.get(..kept)).ok_or(HeaderError::Padding(padding))?;
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            profile,
            extension,
            payload: rest,
            len,
        })
    }

    /// What follows the header, padding excluded.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of the header, contributing sources and extensions included.
    pub const fn header_len(&self) -> usize {
        self.len
    }

    /// The extensions, each with its number (RFC 8285): those before the first that is broken.
    pub fn extensions(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let (mut left, profile) = (self.extension, self.profile);
        std::iter::from_fn(move || {
            loop {
                let (&first, rest) = left.split_first()?;
                if first == 0 {
                    left = rest;
                    continue;
                }
                let (id, len, rest) = match profile {
                    // Number 15 is reserved, and ends the list.
                    ONE_BYTE if first >> 4 == 15 => return None,
                    ONE_BYTE => (first >> 4, usize::from(first & 15) + 1, rest),
                    _ if profile & 0xfff0 == TWO_BYTE => {
                        let (&len, rest) = rest.split_first()?;
                        (first, usize::from(len), rest)
                    }
                    _ => return None,
                };
                let (value, rest) = rest.split_at_checked(len)?;
                left = rest;
                return Some((id, value));
            }
        })
    }
}

/// A header of which only marker, sequence, timestamp and some extension values differ from packet to packet.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    bytes: [u8; TEMPLATE_MAX],
    len: u8,
}

impl Template {
    /// A header without extensions.
    pub fn new(payload_type: u8, ssrc: u32) -> Self {
        let mut bytes = [0; TEMPLATE_MAX];
        bytes[0] = 2 << 6;
        bytes[1] = payload_type & 0x7f;
        bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Self { bytes, len: FIXED as u8 }
    }

    /// Adds a one-byte extension `id` (1 to 14) of 1 to 16 bytes; where its value lies in the header. `None`, and nothing
    /// is added, when it cannot be written so or there is no room.
    pub fn push_extension(&mut self, id: u8, value: &[u8]) -> Option<usize> {
        if !(1..=14).contains(&id) || !(1..=16).contains(&value.len()) {
            return None;
        }
        let end = self.end_of_extensions();
        let start = end.max(FIXED + 4);
        let at = start + 1;
        let padded = (at + value.len()).next_multiple_of(4);
        if padded > TEMPLATE_MAX {
            return None;
        }
        self.bytes[0] |= 0x10;
        self.bytes[FIXED..FIXED + 2].copy_from_slice(&ONE_BYTE.to_be_bytes());
        self.bytes[FIXED + 3] = ((padded - FIXED - 4) / 4) as u8;
        self.bytes[start] = (id << 4) | (value.len() - 1) as u8;
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self.len = padded as u8;
        Some(at)
    }

    /// Where the next extension goes: behind the last, over the padding.
    fn end_of_extensions(&self) -> usize {
        let mut at = FIXED + 4;
        while at < self.len() && self.bytes[at] != 0 {
            at += 2 + usize::from(self.bytes[at] & 15);
        }
        at
    }

    /// Bytes of the header.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Never: a header has twelve bytes at least.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The header as it is.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// The same header with another payload type and source.
    pub fn with_identity(mut self, payload_type: u8, ssrc: u32) -> Self {
        self.bytes[1] = payload_type & 0x7f;
        self.bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        self
    }

    /// Appends the header of one packet to `out`.
    pub fn write(&self, marker: bool, sequence: u16, timestamp: u32, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(self.as_bytes());
        if let Some(head) = out.get_mut(at + 1..at + 8) {
            head[0] |= u8::from(marker) << 7;
            head[1..3].copy_from_slice(&sequence.to_be_bytes());
            head[3..7].copy_from_slice(&timestamp.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_packets_that_parse_back() {
        let mut template = Template::new(96, 0x1234_5678);
        let mid = template.push_extension(4, b"v0").unwrap();
        let twcc = template.push_extension(3, &[0; 2]).unwrap();
        assert_eq!((mid, twcc), (17, 20));
        assert_eq!(template.len(), 24);
        let mut packet = Vec::new();
        template.write(true, 0xfffe, 0xdead_beef, &mut packet);
        packet[twcc..twcc + 2].copy_from_slice(&[1, 2]);
        packet.extend_from_slice(b"payload");
        let header = Header::parse(&packet).unwrap();
        assert!(header.marker);
        assert_eq!((header.payload_type, header.sequence), (96, 0xfffe));
        assert_eq!((header.timestamp, header.ssrc), (0xdead_beef, 0x1234_5678));
        assert_eq!(header.payload(), b"payload");
        assert_eq!(header.extensions().collect::<Vec<_>>(), [(4, &b"v0"[..]), (3, &[1, 2])]);
        assert_eq!(
            &packet[..16],
            [0x90, 0xe0, 0xff, 0xfe, 0xde, 0xad, 0xbe, 0xef, 0x12, 0x34, 0x56, 0x78, 0xbe, 0xde, 0, 2]
        );
    }

    #[test]
    fn extensions_fill_a_template_up_to_its_room() {
        let mut template = Template::new(0, 1);
        let fits = (1..=14).filter(|id| template.push_extension(*id, &[*id; 16]).is_some()).count();
        assert_eq!(fits, 2);
        assert_eq!(template.push_extension(15, &[1]), None);
        assert_eq!(template.push_extension(1, &[]), None);
        assert_eq!(template.len() % 4, 0);
    }

    #[test]
    fn padding_sources_and_two_byte_extensions_are_read() {
        // Two sources, a two-byte extension 1 of length 0 and 20 of length 1, three bytes of padding.
        let packet = [
            0xb2, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0x10, 0, 0, 2, 1, 0, 20, 1, 7,
            0, 0, 0, b'x', b'y', 0, 0, 3,
        ];
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.payload(), b"xy");
        assert_eq!(header.extensions().collect::<Vec<_>>(), [(1, &[][..]), (20, &[7])]);
        for len in 0..32 {
            assert!(Header::parse(&packet[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn what_is_no_rtp_is_told_so() {
        assert_eq!(Header::parse(&[0x40; 12]), Err(HeaderError::Version(1)));
        let mut packet = [0; 14];
        packet[0] = 0xa0;
        assert_eq!(Header::parse(&packet), Err(HeaderError::Padding(0)));
        packet[13] = 3;
        assert_eq!(Header::parse(&packet), Err(HeaderError::Padding(3)));
    }
}
