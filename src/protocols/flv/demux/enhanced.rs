//! The headers that Enhanced RTMP video and audio have in common: modifiers, multitrack and FourCC.

use bytes::Bytes;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16, be_u24};
use nom::{IResult, Parser};

use super::{TRACKS_MAX, TagError};
use crate::protocols::flv::FourCc;
use crate::protocols::flv::mux::packet;

/// How the tracks of a tag are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One, without a number: the main one.
    Plain,
    /// One, with its number.
    One,
    /// Several of one codec, each with number and size.
    Many,
    /// Several, each with codec, number and size.
    ManyCodecs,
}

/// What `ModEx` packets before the packet proper say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modified {
    /// The packet type behind them.
    pub(super) packet: u8,
    /// Nanoseconds to add to the timestamp.
    pub(super) nanos: u32,
}

/// Reads all `ModEx` packets; `packet` is the type that the tag's first byte tells.
pub(super) fn modifiers(mut input: &[u8], packet: u8) -> IResult<&[u8], Modified> {
    let mut modified = Modified { packet, nanos: 0 };
    while modified.packet == packet::MOD_EX {
        let (rest, short) = be_u8(input)?;
        let (rest, len) = match short {
            255 => be_u16.map(|len| usize::from(len) + 1).parse(rest)?,
            _ => (rest, usize::from(short) + 1),
        };
        let (rest, (data, next)) = (take(len), be_u8).parse(rest)?;
        // Type 0 is an offset in nanoseconds; others are for later versions and may be passed over.
        if let (0, [high, middle, low, ..]) = (next >> 4, data) {
            modified.nanos = u32::from_be_bytes([0, *high, *middle, *low]);
        }
        modified.packet = next & 15;
        input = rest;
    }
    Ok((input, modified))
}

/// One track's part of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The packet type.
    pub(super) packet: u8,
    /// The codec's code.
    pub(super) fourcc: FourCc,
    /// The track's number.
    pub(super) index: u8,
    /// What follows the header.
    pub(super) body: Bytes,
}

/// The parts of a tag, at most [`TRACKS_MAX`].
#[derive(Debug)]
pub(super) struct Parts {
    form: Form,
    packet: u8,
    fourcc: FourCc,
    rest: Bytes,
    made: usize,
    done: bool,
}

fn fourcc(input: &[u8]) -> IResult<&[u8], FourCc> {
    let (rest, (a, b, c, d)) = (be_u8, be_u8, be_u8, be_u8).parse(input)?;
    Ok((rest, FourCc([a, b, c, d])))
}

/// The parts of `rest`, whose packet type is `packet`; `multitrack` is the type that says there may be several.
pub(super) fn parts(rest: Bytes, packet: u8, multitrack: u8) -> Result<Parts, TagError> {
    let input = &rest[..];
    let (input, form, packet) = if packet == multitrack {
        let (input, byte) = cut(be_u8(input))?;
        let form = match byte >> 4 {
            0 => Form::One,
            1 => Form::Many,
            2 => Form::ManyCodecs,
            other => return Err(TagError::MultitrackType(other)),
        };
        if byte & 15 == multitrack {
            return Err(TagError::MultitrackType(byte & 15));
        }
        (input, form, byte & 15)
    } else {
        (input, Form::Plain, packet)
    };
    let (input, fourcc) = match form {
        Form::ManyCodecs => (input, FourCc([0; 4])),
        _ => cut(fourcc(input))?,
    };
    let rest = rest.slice_ref(input);
    Ok(Parts { form, packet, fourcc, rest, made: 0, done: false })
}

/// The parsers here fail only where the input ends.
pub(super) fn cut<T>(result: IResult<&[u8], T>) -> Result<(&[u8], T), TagError> {
    result.map_err(|_| TagError::Truncated)
}

impl Parts {
    fn part(&mut self) -> Result<Part, TagError> {
        if self.made == TRACKS_MAX {
            return Err(TagError::TooManyTracks);
        }
        self.made += 1;
        let input = &self.rest[..];
        let (input, fourcc) =
            if self.form == Form::ManyCodecs { cut(fourcc(input))? } else { (input, self.fourcc) };
        let (input, index) = if self.form == Form::Plain { (input, 0) } else { cut(be_u8(input))? };
        let (after, body) = match self.form {
            Form::Plain | Form::One => (&[][..], input),
            Form::Many | Form::ManyCodecs => {
                let (input, len) = cut(be_u24(input))?;
                cut(take(len).parse(input))?
            }
        };
        let (body, rest) = (self.rest.slice_ref(body), self.rest.slice_ref(after));
        self.rest = rest;
        self.done = self.rest.is_empty();
        Ok(Part { packet: self.packet, fourcc, index, body })
    }
}

impl Iterator for Parts {
    type Item = Result<Part, TagError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let part = self.part();
        self.done |= part.is_err();
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(body: &[u8], packet: u8) -> Result<Vec<Part>, TagError> {
        parts(Bytes::copy_from_slice(body), packet, 6)?.collect()
    }

    fn part(packet: u8, fourcc: &[u8; 4], index: u8, body: &'static [u8]) -> Part {
        Part { packet, fourcc: FourCc(*fourcc), index, body: Bytes::from_static(body) }
    }

    #[test]
    fn every_form_of_multitrack_is_read() {
        assert_eq!(all(b"av01body", 1), Ok(vec![part(1, b"av01", 0, b"body")]));
        assert_eq!(all(b"\x01av01\x05body", 6), Ok(vec![part(1, b"av01", 5, b"body")]));
        assert_eq!(
            all(b"\x11av01\x05\0\0\x02ab\x06\0\0\0\x00\0\0\x01c", 6),
            Ok(vec![part(1, b"av01", 5, b"ab"), part(1, b"av01", 6, b""), part(1, b"av01", 0, b"c")])
        );
        assert_eq!(
            all(b"\x23av01\0\0\0\x01ahvc1\x01\0\0\x01b", 6),
            Ok(vec![part(3, b"av01", 0, b"a"), part(3, b"hvc1", 1, b"b")])
        );
    }

    #[test]
    fn what_is_cut_short_or_nested_is_refused() {
        assert_eq!(all(b"av0", 1), Err(TagError::Truncated));
        assert_eq!(all(b"", 6), Err(TagError::Truncated));
        assert_eq!(all(b"\x11av01\x05\0\0\x03ab", 6), Err(TagError::Truncated));
        assert_eq!(all(b"\x16av01\x05", 6), Err(TagError::MultitrackType(6)));
        assert_eq!(all(b"\x31av01\x05", 6), Err(TagError::MultitrackType(3)));
        let many = [&b"\x11av01"[..], &[0; 4 * (TRACKS_MAX + 1)]].concat();
        assert_eq!(all(&many, 6), Err(TagError::TooManyTracks));
    }

    #[test]
    fn modifiers_are_passed_and_their_nanoseconds_kept() {
        let read = |input: &[u8]| cut(modifiers(input, 7)).map(|(rest, modified)| (rest.to_vec(), modified));
        assert_eq!(
            read(b"\x02\x01\x02\x03\x01rest"),
            Ok((b"rest".to_vec(), Modified { packet: 1, nanos: 0x01_0203 }))
        );
        let long = [&b"\xff\x01\x00"[..], &[9; 257], b"\x17\x02\0\0\x05\x03x"].concat();
        assert_eq!(read(&long), Ok((b"x".to_vec(), Modified { packet: 3, nanos: 5 })));
        assert!(read(b"\x02\x01\x02").is_err());
        assert!(read(b"").is_err());
    }
}
