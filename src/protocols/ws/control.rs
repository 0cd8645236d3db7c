//! What a player may say while it watches: pings, pongs, close; any message is read over and dropped.
//!
//! Invariant: the state is a few hundred bytes whatever a player sends, for there are 10,000 players on a shard; only
//! a control frame's payload (125 bytes at most) is ever kept. This is a server's reader: frames come masked.

use super::{
    WsError,
    frame::{self, CLOSE, CONTINUATION, CONTROL_MAX, FIN, MASKED, PING, PONG, TEXT},
};
use bytes::Bytes;

/// The longest head of a frame: two bytes, a length of eight, a mask of four.
const HEAD_MAX: usize = 14;

/// A control frame of a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// To be answered by [`frame::pong`] with this payload, between two messages. Of several that wait for the socket
    /// only the newest needs an answer (RFC 6455 section 5.5.3).
    Ping(Bytes),
    /// The answer to our ping, or a sign of life nobody asked for.
    Pong(Bytes),
    /// The player leaves. To be answered by [`frame::close`] with this code, unless our own close went before; then
    /// the connection closes.
    Close {
        /// The code, if it gave one.
        code: Option<u16>,
        /// The reason, at most 123 bytes.
        reason: Box<str>,
    },
}

impl Control {
    /// What the protocol owes in return: a pong, or the close that completes the player's. Nothing for a pong, and
    /// nothing is owed for a close when our own went before.
    pub fn answer(&self) -> Option<Bytes> {
        match self {
            Self::Ping(payload) => Some(frame::pong(payload)),
            Self::Pong(_) => None,
            Self::Close { code: Some(code), reason } => Some(frame::close(*code, reason)),
            Self::Close { code: None, .. } => Some(frame::close_empty()),
        }
    }
}

/// Reads a player's frames, whichever way they were split.
#[derive(Clone, Debug)]
pub struct ControlReader {
    state: State,
    /// The head of the frame that is being read, and behind it a control frame's payload.
    room: [u8; HEAD_MAX + CONTROL_MAX],
    /// Bytes of `room` in use.
    have: u8,
    /// Between the first and the last frame of a message.
    in_message: bool,
    accept_unmasked: bool,
    frame_bytes_max: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Frame,
    /// Inside a data frame nobody wants.
    Skip {
        left: u32,
    },
    Closed,
}

/// The head of a frame, once it is whole.
struct Head {
    fin: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    payload: u64,
    bytes: usize,
}

impl ControlReader {
    /// A message frame beyond `frame_bytes_max` bytes is an error; no player sends any. `accept_unmasked` forgives
    /// clients that do not mask, against the RFC.
    pub fn new(frame_bytes_max: u32, accept_unmasked: bool) -> Self {
        Self {
            state: State::Frame,
            room: [0; HEAD_MAX + CONTROL_MAX],
            have: 0,
            in_message: false,
            accept_unmasked,
            frame_bytes_max,
        }
    }

    /// Takes bytes off the front of `input` up to the next control frame. `Ok(None)`: all of it is taken; more bytes,
    /// please. Whatever follows a close frame is dropped.
    ///
    /// # Errors
    /// [`WsError`]; the connection is to be closed with its code.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Control>, WsError> {
        loop {
            match self.state {
                State::Closed => {
                    *input = &[];
                    return Ok(None);
                }
                State::Skip { left } => {
                    let skipped = (left as usize).min(input.len());
                    *input = input.get(skipped..).unwrap_or_default();
                    if skipped < left as usize {
                        self.state = State::Skip { left: left - skipped as u32 };
                        return Ok(None);
                    }
                    self.state = State::Frame;
                }
                State::Frame => {
                    let Some(head) = self.head(input)? else { return Ok(None) };
                    if head.opcode < CLOSE {
                        self.in_message = !head.fin;
                        // Bounded by `frame_bytes_max` in the check.
                        self.state = State::Skip { left: head.payload as u32 };
                        self.have = 0;
                    } else if self.fill(input, head.bytes + head.payload as usize) {
                        self.have = 0;
                        return self.control(&head).map(Some);
                    } else {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The head of the current frame, checked; asked again for each part of a control frame's payload.
    fn head(&mut self, input: &mut &[u8]) -> Result<Option<Head>, WsError> {
        if !self.fill(input, 2) {
            return Ok(None);
        }
        let [first, second, ..] = self.room;
        let extra = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let bytes = 2 + extra + if second & MASKED != 0 { 4 } else { 0 };
        self.check_start(first, second)?;
        if !self.fill(input, bytes) {
            return Ok(None);
        }
        let rest = self.room.get(2..bytes).unwrap_or_default();
        let (extended, mask) = rest.split_at_checked(extra).unwrap_or_default();
        let payload = match extra {
            0 => u64::from(second & !MASKED),
            _ => extended.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
        };
        let shortest = match extra {
            0 => 0,
            2 => 126,
            _ => 1 << 16,
        };
        if payload < shortest || payload >> 63 != 0 {
            return Err(WsError::Length);
        }
        if payload > u64::from(self.frame_bytes_max).max(CONTROL_MAX as u64) {
            return Err(WsError::TooLong { bytes_max: self.frame_bytes_max as usize });
        }
        Ok(Some(Head {
            fin: first & FIN != 0,
            opcode: first & 0xf,
            mask: mask.try_into().ok(),
            payload,
            bytes,
        }))
    }

    /// What two bytes are enough to refuse.
    fn check_start(&self, first: u8, second: u8) -> Result<(), WsError> {
        let (fin, opcode) = (first & FIN != 0, first & 0xf);
        if first & 0x70 != 0 {
            return Err(WsError::ReservedBits);
        }
        if second & MASKED == 0 && !self.accept_unmasked {
            return Err(WsError::Unmasked);
        }
        match opcode {
            CLOSE | PING | PONG if !fin => Err(WsError::ControlFragmented),
            CLOSE | PING | PONG if usize::from(second & !MASKED) > CONTROL_MAX => {
                Err(WsError::ControlTooLong)
            }
            CLOSE | PING | PONG => Ok(()),
            CONTINUATION if !self.in_message => Err(WsError::NothingToContinue),
            CONTINUATION => Ok(()),
            TEXT | frame::BINARY if self.in_message => Err(WsError::Interleaved),
            TEXT | frame::BINARY => Ok(()),
            _ => Err(WsError::Opcode(opcode)),
        }
    }

    /// Moves bytes until `room` holds `need` of them; says whether it does.
    fn fill(&mut self, input: &mut &[u8], need: usize) -> bool {
        let have = usize::from(self.have);
        let moved = need.saturating_sub(have).min(input.len());
        if let (Some(to), Some((from, rest))) =
            (self.room.get_mut(have..have + moved), input.split_at_checked(moved))
        {
            to.copy_from_slice(from);
            *input = rest;
            self.have = (have + moved) as u8;
        }
        usize::from(self.have) >= need
    }

    /// The whole frame in `room` as an event.
    fn control(&mut self, head: &Head) -> Result<Control, WsError> {
        let end = head.bytes + head.payload as usize;
        let payload = self.room.get_mut(head.bytes..end).unwrap_or_default();
        if let Some(mask) = head.mask {
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        Ok(match head.opcode {
            PING => Control::Ping(Bytes::copy_from_slice(payload)),
            PONG => Control::Pong(Bytes::copy_from_slice(payload)),
            _ => {
                self.state = State::Closed;
                let (code, reason) = frame::read_close(payload)?;
                Control::Close { code, reason: reason.into() }
            }
        })
    }
}
