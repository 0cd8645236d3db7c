//! One message into chunks, always the same bytes for the same message.
//!
//! The first chunk has the full header (type 0), the others none (type 3), and nothing depends on what was written
//! before. So every player of a rendition can be sent identical bytes, and can join at any message.

use bytes::{BufMut, BytesMut};

use super::{CSID_MAX, CSID_MIN, EXTENDED, MESSAGE_BYTES_MAX};

/// What stands in the header of a message, except its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The chunk stream, 2 to 65,599; anything else is moved to the nearest of these.
    pub csid: u32,
    /// When, in milliseconds, absolute; wraps.
    pub timestamp: u32,
    /// The message type id.
    pub kind: u8,
    /// The message stream id.
    pub stream: u32,
}

/// Appends one message whose body is `body`'s slices one after the other, in chunks of at most `chunk_size` bytes.
///
/// A body over [`MESSAGE_BYTES_MAX`] cannot be told on this wire: then nothing is written.
pub fn write(out: &mut BytesMut, head: Head, body: &[&[u8]], chunk_size: usize) {
    let len = body_len(body);
    if len > MESSAGE_BYTES_MAX {
        return;
    }
    let chunk_size = chunk_size.max(1);
    let csid = head.csid.clamp(CSID_MIN, CSID_MAX);
    out.reserve(written_len(head, len, chunk_size));

    put_basic(out, 0, csid);
    let extended = head.timestamp >= EXTENDED;
    out.put_uint(u64::from(head.timestamp.min(EXTENDED)), 3);
    out.put_uint(len as u64, 3);
    out.put_u8(head.kind);
    out.put_u32_le(head.stream);
    if extended {
        out.put_u32(head.timestamp);
    }

    let mut room = chunk_size;
    for mut slice in body.iter().copied() {
        while !slice.is_empty() {
            if room == 0 {
                put_basic(out, 3, csid);
                if extended {
                    out.put_u32(head.timestamp);
                }
                room = chunk_size;
            }
            let (now, later) = slice.split_at(slice.len().min(room));
            out.put_slice(now);
            room -= now.len();
            slice = later;
        }
    }
}

/// How many bytes [`write()`] appends for a body of `len` bytes.
pub fn written_len(head: Head, len: usize, chunk_size: usize) -> usize {
    let continuations = len.div_ceil(chunk_size.max(1)).saturating_sub(1);
    let extended = if head.timestamp >= EXTENDED { 4 } else { 0 };
    let basic = match head.csid {
        ..64 => 1,
        64..320 => 2,
        _ => 3,
    };
    basic + 11 + extended + len + continuations * (basic + extended)
}

fn body_len(body: &[&[u8]]) -> usize {
    body.iter().map(|slice| slice.len()).sum()
}

/// The header type and the chunk stream's id in its shortest form (§5.3.1.1).
fn put_basic(out: &mut BytesMut, format: u8, csid: u32) {
    match csid {
        ..64 => out.put_u8(format << 6 | csid as u8),
        64..320 => out.put_slice(&[format << 6, (csid - 64) as u8]),
        _ => {
            out.put_u8(format << 6 | 1);
            out.put_u16_le((csid - 64) as u16);
        }
    }
}
