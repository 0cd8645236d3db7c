//! RTMP's chunk layer (Adobe RTMP 1.0 §5.3): messages cut into chunks, so that a long one does not block a short one.
//!
//! [`Reader`] turns bytes into [`Message`]s, [`write()`] turns one message into bytes. Timestamps are milliseconds in 32
//! bits and wrap after 49.7 days; sizes are bytes.

mod header;
mod reader;
mod writer;

use bytes::Bytes;

pub use reader::{ChunkError, Reader, ReaderOptions};
pub use writer::{Head, write, written_len};

/// The chunk size of both directions until one side sets another (§5.4.1).
pub const CHUNK_BYTES_INITIAL: usize = 128;
/// The longest message that the 24-bit length field can tell.
pub const MESSAGE_BYTES_MAX: usize = 0xFF_FFFF;
/// The smallest id of a chunk stream; below are the marks of the longer forms.
pub const CSID_MIN: u32 = 2;
/// The largest id of a chunk stream: what three bytes can tell.
pub const CSID_MAX: u32 = 65_599;

/// Message type: the sender's chunk size from here on (§5.4.1).
const SET_CHUNK_SIZE: u8 = 1;
/// Message type: the sender gives up a message of which some chunks are out (§5.4.2).
const ABORT: u8 = 2;
/// What stands in the 24-bit timestamp field when the value follows in 32 bits (§5.3.1.3).
const EXTENDED: u32 = 0xFF_FFFF;

/// A whole message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The chunk stream it came on, 2 to 65,599.
    pub csid: u32,
    /// When, in milliseconds, absolute; wraps.
    pub timestamp: u32,
    /// The message type id.
    pub kind: u8,
    /// The message stream id; 0 is the connection itself.
    pub stream: u32,
    /// The body. When one chunk held it all, a slice of what was received, which keeps that whole buffer alive.
    pub payload: Bytes,
}

/// Reads anything, whole and in pieces, with bounds that must hold. For the fuzzer and for tests.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let options =
        ReaderOptions { message_bytes_max: 1 << 16, partial_bytes_max: 1 << 17, ..Default::default() };
    let read = |step: usize| {
        let (mut reader, mut wire, mut messages) = (Reader::new(options), bytes::BytesMut::new(), Vec::new());
        for piece in data.chunks(step) {
            wire.extend_from_slice(piece);
            loop {
                match reader.read(&mut wire) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
            assert!(reader.partial_bytes() <= options.partial_bytes_max);
            assert!(wire.len() <= options.message_bytes_max + 18 + step, "the reader leaves bytes lying");
        }
        (messages, None)
    };
    assert_eq!(read(data.len().max(1)), read(7), "the cut of the wire shows");
}

#[cfg(test)]
mod tests;
