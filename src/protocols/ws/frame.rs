//! Frames that a server writes itself (RFC 6455 section 5.2): the head in front of a shared batch, and control frames.
//!
//! Invariant: a batch's head fits room that was reserved before its length was known, so it is framed once, in place,
//! for every player; a server's frames are never masked. No control frame carries more than 125 bytes.

use super::WsError;
use bytes::{BufMut, Bytes, BytesMut};

/// Room to reserve in front of a binary message, in bytes.
pub const PREFIX_MAX: usize = 10;
/// The longest payload of a control frame, in bytes.
pub const CONTROL_MAX: usize = 125;
/// The longest reason of a close frame, in bytes: the code takes two.
pub const REASON_MAX: usize = CONTROL_MAX - 2;

pub(super) const FIN: u8 = 0x80;
pub(super) const MASKED: u8 = 0x80;
pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// Writes the head of an unmasked, unfragmented binary message of `len` bytes to the right end of `room` and returns
/// how many bytes it takes (2, 4 or 10): the message begins at `room[PREFIX_MAX - taken]`.
pub fn prefix(room: &mut [u8; PREFIX_MAX], len: u64) -> usize {
    const OPENING: u8 = FIN | BINARY;
    if len < 126 {
        put_last(room, [OPENING, len as u8])
    } else if let Ok(short) = u16::try_from(len) {
        let [high, low] = short.to_be_bytes();
        put_last(room, [OPENING, 126, high, low])
    } else {
        let [a, b, c, d, e, f, g, h] = len.to_be_bytes();
        put_last(room, [OPENING, 127, a, b, c, d, e, f, g, h])
    }
}

fn put_last<const N: usize>(room: &mut [u8], head: [u8; N]) -> usize {
    if let Some(last) = room.last_chunk_mut() {
        *last = head;
    }
    N
}

/// A whole unmasked binary message, for small ones that nobody shares.
pub fn binary(payload: &[u8]) -> Bytes {
    let mut room = [0; PREFIX_MAX];
    let taken = prefix(&mut room, payload.len() as u64);
    let mut wire = BytesMut::with_capacity(taken + payload.len());
    wire.put_slice(room.get(PREFIX_MAX - taken..).unwrap_or_default());
    wire.put_slice(payload);
    wire.freeze()
}

/// An unmasked ping; what exceeds 125 bytes is cut off.
pub fn ping(payload: &[u8]) -> Bytes {
    control(PING, payload)
}

/// An unmasked pong with the payload of the ping that it answers; what exceeds 125 bytes is cut off.
pub fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// An unmasked close frame. `code` as RFC 6455 section 7.4.1 lists them; a reason beyond 123 bytes is cut at a
/// character.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code);
    payload.put_slice(cut(reason).as_bytes());
    control(CLOSE, &payload)
}

/// The answer to a close frame without a code.
pub fn close_empty() -> Bytes {
    control(CLOSE, &[])
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = payload.get(..CONTROL_MAX).unwrap_or(payload);
    let mut wire = BytesMut::with_capacity(2 + payload.len());
    wire.put_slice(&[FIN | opcode, payload.len() as u8]);
    wire.put_slice(payload);
    wire.freeze()
}

/// As much of a reason as a close frame holds, ending at a character.
pub(super) fn cut(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(REASON_MAX)).unwrap_or_default()
}

/// The code that may stand in a close frame on the wire (section 7.4; 1004 to 1006 and 1015 never do).
pub(super) fn may_close_with(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Code and reason of a close frame's payload; a payload of nothing has neither.
///
/// # Errors
/// [`WsError::CloseFrame`] for half a code or a forbidden one, [`WsError::Utf8`] for the reason.
pub(super) fn read_close(payload: &[u8]) -> Result<(Option<u16>, &str), WsError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok((None, "")) } else { Err(WsError::CloseFrame) };
    };
    let code = u16::from_be_bytes(*code);
    if !may_close_with(code) {
        return Err(WsError::CloseFrame);
    }
    Ok((Some(code), std::str::from_utf8(reason).map_err(|_| WsError::Utf8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_stands_at_the_right_end_of_its_room() {
        for (len, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 255, 255]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (0x0102_0304_0506_0708, &[0x82, 127, 1, 2, 3, 4, 5, 6, 7, 8]),
        ] {
            let mut room = [0x55; PREFIX_MAX];
            let taken = prefix(&mut room, len);
            assert_eq!(&room[PREFIX_MAX - taken..], head, "{len}");
            assert!(room[..PREFIX_MAX - taken].iter().all(|&byte| byte == 0x55), "nothing else is touched");
        }
        assert_eq!(binary(b"abc"), &[0x82, 3, b'a', b'b', b'c'][..]);
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let wire = close(1001, &"é".repeat(100));
        assert_eq!((wire[0], wire[1]), (0x88, 124), "61 characters of two bytes and the code");
        let (code, reason) = read_close(&wire[2..]).unwrap();
        assert_eq!((code, reason.chars().count()), (Some(1001), 61));
        assert_eq!(ping(&[7; 300]).len(), 127);
        assert_eq!(pong(b"x"), &[0x8a, 1, b'x'][..]);
        assert_eq!(close_empty(), &[0x88, 0][..]);
    }

    #[test]
    fn only_codes_of_the_wire_close() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert!(read_close(&u16::to_be_bytes(code)).is_ok(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(read_close(&u16::to_be_bytes(code)), Err(WsError::CloseFrame), "{code}");
        }
        assert_eq!(read_close(&[3]), Err(WsError::CloseFrame));
        assert_eq!(read_close(&[3, 232, 0xff]), Err(WsError::Utf8));
    }
}
