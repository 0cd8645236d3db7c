//! A body, in pieces or whole, however its length was given.
//!
//! Invariant: never more than the limit is handed out or gathered; counters are bytes of the body, without framing.

use super::{
    Framing, HttpError,
    chunked::{Decoder, Piece},
};
use bytes::{Bytes, BytesMut};

/// What to send to a peer that expects it ([`super::Request::expects_continue`]), before reading the body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Reads one body off the front of an input.
#[derive(Debug)]
pub struct Body {
    state: State,
    /// Bytes that may still come.
    left_max: u64,
    bytes_max: usize,
    gathered: BytesMut,
}

#[derive(Debug)]
enum State {
    Length { left: u64 },
    Chunked(Decoder),
    UntilClose,
}

impl Body {
    /// For a body framed so, of at most `bytes_max` bytes (`usize::MAX`: an endless one).
    ///
    /// # Errors
    /// [`HttpError::BodyTooLong`] when it already said to be longer.
    pub fn new(framing: Framing, bytes_max: usize) -> Result<Self, HttpError> {
        let state = match framing {
            Framing::Empty => State::Length { left: 0 },
            Framing::Length(left) if left > bytes_max as u64 => {
                return Err(HttpError::BodyTooLong { bytes_max });
            }
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked(Decoder::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Ok(Self { state, left_max: bytes_max as u64, bytes_max, gathered: BytesMut::new() })
    }

    /// The next piece, without a copy. `Ok(None)`: more bytes, please.
    ///
    /// # Errors
    /// A broken coding, or more than the limit.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, HttpError> {
        let piece = match &mut self.state {
            State::Length { left: 0 } => Some(Piece::End),
            State::Length { left } => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= bytes as u64;
                take(input, bytes)
            }
            State::Chunked(decoder) => decoder.next(input)?,
            State::UntilClose => take(input, input.len()),
        };
        if let Some(Piece::Data(data)) = &piece
            && self.bytes_max != usize::MAX
        {
            self.left_max = self
                .left_max
                .checked_sub(data.len() as u64)
                .ok_or(HttpError::BodyTooLong { bytes_max: self.bytes_max })?;
        }
        Ok(piece)
    }

    /// The whole body, once it is there. For small ones; a body until close never ends here.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub fn whole(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, HttpError> {
        while let Some(piece) = self.next(input)? {
            match piece {
                Piece::Data(data) => self.gathered.extend_from_slice(&data),
                Piece::End => return Ok(Some(self.gathered.split().freeze())),
            }
        }
        Ok(None)
    }
}

fn take(input: &mut BytesMut, bytes: usize) -> Option<Piece> {
    (bytes > 0).then(|| Piece::Data(input.split_to(bytes).freeze()))
}
