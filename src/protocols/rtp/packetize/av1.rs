//! AV1 payloads (RTP Payload Format For AV1, v1.0): an aggregation header, then OBU elements, each with its length.
//!
//! Temporal delimiters, tile lists and padding are left out (§5), and size fields of OBUs removed, as the format demands.

use super::{Payloads, Picture};

/// OBU types (AV1 §6.2.2).
mod kind {
    pub const SEQUENCE_HEADER: u8 = 1;
    pub const TEMPORAL_DELIMITER: u8 = 2;
    pub const TILE_LIST: u8 = 8;
    pub const PADDING: u8 = 15;
}

/// An OBU: its header of one or two bytes, without the size flag, and its body.
#[derive(Clone, Copy)]
struct Obu<'a> {
    head: [u8; 2],
    head_len: usize,
    body: &'a [u8],
}

impl Obu<'_> {
    const fn kind(&self) -> u8 {
        self.head[0] >> 3 & 15
    }

    const fn len(&self) -> usize {
        self.head_len + self.body.len()
    }
}

/// The OBUs of low-overhead data (AV1 §5.3) that go on the wire; what is broken ends the walk.
fn obus(data: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut left = data;
    std::iter::from_fn(move || {
        loop {
            let (&first, mut rest) = left.split_first()?;
            let mut head = [first & !2, 0];
            let mut head_len = 1;
            if first & 4 != 0 {
                let (&second, after) = rest.split_first()?;
                (head[1], rest) = (second, after);
                head_len = 2;
            }
            let mut len = rest.len();
            if first & 2 != 0 {
                (len, rest) = leb128(rest)?;
            }
            let (body, after) = rest.split_at_checked(len)?;
            left = after;
            let obu = Obu { head, head_len, body };
            if !matches!(obu.kind(), kind::TEMPORAL_DELIMITER | kind::TILE_LIST | kind::PADDING) {
                return Some(obu);
            }
        }
    })
}

/// A number as AV1 writes lengths (§4.10.5), of at most four bytes, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

/// Bytes of a length up to 2^14 - 1, which is more than any packet has.
const fn length_bytes(len: usize) -> usize {
    if len < 128 { 1 } else { 2 }
}

/// Writes a temporal unit. A keyframe that does not bring its sequence header gets that of `config` first.
pub fn write(config: &[u8], picture: Picture<'_>, max: usize, out: &mut impl Payloads) {
    let is_header = |obu: &Obu<'_>| obu.kind() == kind::SEQUENCE_HEADER;
    let own_header = obus(picture.payload).any(|obu| is_header(&obu));
    let config = if picture.is_key && !own_header { config.get(4..).unwrap_or_default() } else { &[] };
    let mut packet = Packet { room: 0, new_sequence: picture.is_key, max };
    for obu in obus(config).chain(obus(picture.payload)) {
        packet.put(&obu, out);
    }
    packet.close(out);
}

/// The packet that is being written; `room` is 0 while none is.
struct Packet {
    room: usize,
    /// The next packet is the first of a coded video sequence.
    new_sequence: bool,
    max: usize,
}

impl Packet {
    /// Room for an element's length and a byte of it at least.
    const ELEMENT_MIN: usize = 3;

    fn put(&mut self, obu: &Obu<'_>, out: &mut impl Payloads) {
        let mut at = 0;
        while at < obu.len() {
            let left = obu.len() - at;
            if self.room < Self::ELEMENT_MIN {
                self.close(out);
            }
            // Whether this packet's last element goes on must be said at its start: look how it will be filled.
            if self.room == 0 {
                self.open(at > 0, left, out);
            } else if left + length_bytes(left) > self.room {
                // A packet that others began ends here, so that only whole elements precede the cut.
                self.close(out);
                self.open(at > 0, left, out);
            }
            let whole = left + length_bytes(left) <= self.room;
            let fits = if whole { left } else { self.room - length_bytes(self.room) };
            self.element(obu, at, fits, out);
            at += fits;
        }
    }

    /// Starts a packet whose first element is `left` bytes long, or the part of it that fits.
    fn open(&mut self, continues: bool, left: usize, out: &mut impl Payloads) {
        let room = self.max - 1;
        let goes_on = left + length_bytes(left) > room;
        let head = u8::from(continues) << 7
            | u8::from(goes_on) << 6
            | u8::from(std::mem::take(&mut self.new_sequence)) << 3;
        out.begin();
        out.put(&[head]);
        self.room = room;
    }

    fn element(&mut self, obu: &Obu<'_>, at: usize, len: usize, out: &mut impl Payloads) {
        if len < 128 {
            out.put(&[len as u8]);
        } else {
            out.put(&[len as u8 | 0x80, (len >> 7) as u8]);
        }
        let end = at + len;
        out.put(obu.head.get(at.min(obu.head_len)..end.min(obu.head_len)).unwrap_or_default());
        let body = |at: usize| at.saturating_sub(obu.head_len).min(obu.body.len());
        out.put(obu.body.get(body(at)..body(end)).unwrap_or_default());
        self.room -= length_bytes(len) + len;
        if self.room < Self::ELEMENT_MIN {
            self.close_open(out);
        }
    }

    fn close(&mut self, out: &mut impl Payloads) {
        if self.room > 0 {
            self.close_open(out);
        }
    }

    fn close_open(&mut self, out: &mut impl Payloads) {
        out.end();
        self.room = 0;
    }
}
