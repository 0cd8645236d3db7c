//! The chunked transfer coding (RFC 9112 section 7.1): chunks around shared batches, and reading them back.
//!
//! Invariant of the writer: the length in front fits room that was reserved before the length was known, so a batch
//! is framed once, in place, for every reader. Of the reader: it holds counters only, never data.

use super::HttpError;
use bytes::{Buf, Bytes, BytesMut};

/// Room to reserve in front of a chunk's data, in bytes: eight hexadecimal digits and CRLF.
pub const PREFIX_MAX: usize = 10;
/// What follows a chunk's data.
pub const SUFFIX: &[u8; 2] = b"\r\n";
/// What ends a chunked body: the chunk of zero bytes, no trailers.
pub const LAST: &[u8; 5] = b"0\r\n\r\n";

/// Longest line with a chunk's size and extensions, in bytes. Nobody sends extensions.
const SIZE_LINE_MAX: usize = 256;
/// Longest trailer section, in bytes; it is read and dropped.
const TRAILERS_MAX: usize = 4096;

/// Writes the line for a chunk of `len` bytes to the right end of `room` and returns how many bytes it takes: the
/// chunk begins at `room[PREFIX_MAX - taken]`.
///
/// `len` must not be 0, for that chunk ends the body: see [`LAST`].
pub fn prefix(room: &mut [u8; PREFIX_MAX], len: u32) -> usize {
    debug_assert_ne!(len, 0, "a chunk of zero bytes ends the body");
    let (digits, end) = room.split_at_mut(PREFIX_MAX - SUFFIX.len());
    end.copy_from_slice(SUFFIX);
    let mut rest = len;
    let mut taken = SUFFIX.len();
    for place in digits.iter_mut().rev() {
        *place = char::from_digit(rest & 0xf, 16).map_or(b'0', |digit| digit as u8);
        rest >>= 4;
        taken += 1;
        if rest == 0 {
            break;
        }
    }
    taken
}

/// What a reader of a body learns next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Some of the body's bytes, at least one.
    Data(Bytes),
    /// The body is complete; what follows in the input belongs to the next message.
    End,
}

/// Reads a chunked body, whichever way it was split.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Size,
    Data {
        left: u64,
    },
    DataEnd,
    Trailers {
        bytes: usize,
    },
    Done,
}

impl Decoder {
    /// Takes the next piece off the front of `input`. `Ok(None)`: more bytes, please. After [`Piece::End`] it says
    /// `End` again and takes nothing.
    ///
    /// # Errors
    /// [`HttpError::Chunk`] when the coding is broken.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, HttpError> {
        loop {
            match &mut self.state {
                State::Size => {
                    let Some(size) = take_size(input)? else { return Ok(None) };
                    self.state =
                        if size == 0 { State::Trailers { bytes: 0 } } else { State::Data { left: size } };
                }
                State::Data { left } => {
                    let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    if bytes == 0 {
                        return Ok(None);
                    }
                    *left -= bytes as u64;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok(Some(Piece::Data(input.split_to(bytes).freeze())));
                }
                State::DataEnd => match input.get(..SUFFIX.len()) {
                    None => return Ok(None),
                    Some(end) if end == SUFFIX => {
                        input.advance(SUFFIX.len());
                        self.state = State::Size;
                    }
                    Some(_) => return Err(HttpError::Chunk("a chunk is longer than it said")),
                },
                State::Trailers { bytes } => {
                    let Some(line) = take_line(input, TRAILERS_MAX.saturating_sub(*bytes))? else {
                        return Ok(None);
                    };
                    *bytes += line;
                    if line == SUFFIX.len() {
                        self.state = State::Done;
                    }
                }
                State::Done => return Ok(Some(Piece::End)),
            }
        }
    }
}

fn take_size(input: &mut BytesMut) -> Result<Option<u64>, HttpError> {
    // The library would read an empty line as size 0.
    if input.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Err(HttpError::Chunk("a chunk begins with its size in hexadecimal digits"));
    }
    match httparse::parse_chunk_size(input) {
        Ok(httparse::Status::Complete((bytes, size))) if bytes <= SIZE_LINE_MAX => {
            input.advance(bytes);
            Ok(Some(size))
        }
        Ok(httparse::Status::Partial) if input.len() <= SIZE_LINE_MAX => Ok(None),
        Ok(_) => Err(HttpError::Chunk("the line of a chunk's size is too long")),
        Err(_) => Err(HttpError::Chunk("a chunk's size is not a hexadecimal number")),
    }
}

/// Drops one line of at most `bytes_max` bytes and returns its length with CRLF.
fn take_line(input: &mut BytesMut, bytes_max: usize) -> Result<Option<usize>, HttpError> {
    let Some(end) = input.iter().take(bytes_max).position(|&byte| byte == b'\n') else {
        return if input.len() < bytes_max {
            Ok(None)
        } else {
            Err(HttpError::Chunk("the trailers are too long"))
        };
    };
    let ends_well = end.checked_sub(1).and_then(|before| input.get(before)) == Some(&b'\r');
    if !ends_well {
        return Err(HttpError::Chunk("a trailer does not end in CRLF"));
    }
    input.advance(end + 1);
    Ok(Some(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(data: &[u8]) -> Vec<u8> {
        let mut room = [0; PREFIX_MAX];
        let taken = prefix(&mut room, data.len() as u32);
        [&room[PREFIX_MAX - taken..], data, SUFFIX].concat()
    }

    fn read(wire: &[&[u8]]) -> Result<(Vec<u8>, bool), HttpError> {
        let (mut decoder, mut input, mut body) = (Decoder::default(), BytesMut::new(), Vec::new());
        for part in wire {
            input.extend_from_slice(part);
            while let Some(piece) = decoder.next(&mut input)? {
                match piece {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::End => return Ok((body, true)),
                }
            }
        }
        Ok((body, false))
    }

    #[test]
    fn a_prefix_stands_at_the_right_end_of_its_room() {
        for (len, text) in
            [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabcde, "abcde\r\n"), (u32::MAX, "ffffffff\r\n")]
        {
            let mut room = [b'?'; PREFIX_MAX];
            let taken = prefix(&mut room, len);
            assert_eq!(&room[PREFIX_MAX - taken..], text.as_bytes());
            assert!(room[..PREFIX_MAX - taken].iter().all(|&byte| byte == b'?'), "nothing else is touched");
        }
    }

    #[test]
    fn a_body_with_extensions_and_trailers_survives_any_split() {
        let wire =
            b"5;name=\"v\"\r\nhello\r\n0A ;x\r\n, chunked!\r\n000\r\nDigest: x\r\nB: y\r\n\r\nGET / next";
        for cut in 0..wire.len() {
            let (head, tail) = wire.split_at(cut);
            assert_eq!(read(&[head, tail]), Ok((b"hello, chunked!".to_vec(), true)), "cut at {cut}");
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "5\nhello",
            "2\r\nabc\r\n",
            "10000000000000000\r\n",
            "0\r\nbad\n\r\n",
            " 5\r\n",
            "0x5\r\n",
            "5 5\r\n",
        ] {
            assert!(matches!(read(&[wire.as_bytes()]), Err(HttpError::Chunk(_))), "{wire:?}");
        }
        assert!(read(&[b"1;", &[b'x'; 300]]).is_err(), "an endless size line");
        assert!(read(&[b"0\r\n", &[b'x'; 5000]]).is_err(), "an endless trailer");
        assert!(read(&[b"0\r\n", &b"a:b\r\n".repeat(1000)]).is_err(), "endless trailers");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8), step in 1usize..50,
        ) {
            let mut wire: Vec<u8> = chunks.iter().flat_map(|data| chunk(data)).collect();
            wire.extend_from_slice(LAST);
            let parts: Vec<&[u8]> = wire.chunks(step).collect();
            prop_assert_eq!(read(&parts), Ok((chunks.concat(), true)));
        }
    }
}
