//! A chunk's header as it stands on the wire (Adobe RTMP 1.0 §5.3.1): pure functions over a prefix of the input.
//!
//! `None` means that the header is not whole yet. Times are milliseconds, lengths bytes.

use super::EXTENDED;

/// What one header tells; what it leaves away is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// 0 to 3: how much is left away.
    pub format: u8,
    /// Type 0: absolute. Types 1 and 2: since the last message. Type 3: a repeated extended timestamp.
    pub time: Option<u32>,
    /// Whether `time` came in the 32-bit field.
    pub extended: bool,
    /// Length and type of the message (types 0 and 1).
    pub shape: Option<(usize, u8)>,
    /// Message stream id (type 0).
    pub stream: Option<u32>,
}

/// The values that a type 3 chunk may repeat where the chunk stream's last header had an extended timestamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    /// The value of that field, which is what §5.3.1.3 asks for.
    pub field: u32,
    /// The absolute time of the message: what some write where the field was a delta.
    pub absolute: u32,
}

impl Repeat {
    /// Whether the chunk begins with one of the values (`Some(Some(_))`), or its body begins at once (`Some(None)`).
    ///
    /// The standard, ffmpeg and librtmp repeat the field, old Flash encoders and others do not, and nothing announces the
    /// habit. A body that by chance begins with these four bytes is misread once in 2^32 chunks. Each byte is
    /// judged as it comes, so that a body shorter than the field is not held up.
    fn find(self, rest: &[u8]) -> Option<Option<u32>> {
        let begun = |value: u32| value.to_be_bytes().starts_with(rest.get(..4).unwrap_or(rest));
        match [self.field, self.absolute].into_iter().find(|&value| begun(value)) {
            None => Some(None),
            Some(value) if rest.len() >= 4 => Some(Some(value)),
            Some(_) => None,
        }
    }
}

/// The basic header: its length, the header type and the chunk stream id (§5.3.1.1).
pub(super) fn basic(input: &[u8]) -> Option<(usize, u8, u32)> {
    let &first = input.first()?;
    let format = first >> 6;
    match first & 0x3F {
        0 => Some((2, format, 64 + u32::from(*input.get(1)?))),
        1 => {
            let (low, high) = (*input.get(1)?, *input.get(2)?);
            Some((3, format, 64 + u32::from(u16::from_le_bytes([low, high]))))
        }
        csid => Some((1, format, u32::from(csid))),
    }
}

/// The message header and the extended timestamp behind the basic header: their length and content (§5.3.1.2, §5.3.1.3).
pub(super) fn message(rest: &[u8], format: u8, repeat: Option<Repeat>) -> Option<(usize, Header)> {
    let mut header = Header { format, time: None, extended: false, shape: None, stream: None };
    if format == 3 {
        header.time = match repeat {
            Some(repeat) => repeat.find(rest)?,
            None => None,
        };
        header.extended = header.time.is_some();
        return Some((if header.extended { 4 } else { 0 }, header));
    }
    let mut at = 3;
    let time = uint24(rest)?;
    if format <= 1 {
        let fields = rest.get(at..)?;
        header.shape = Some((uint24(fields)? as usize, *fields.get(3)?));
        at += 4;
    }
    if format == 0 {
        header.stream = Some(u32::from_le_bytes(*rest.get(at..)?.first_chunk()?));
        at += 4;
    }
    header.extended = time == EXTENDED;
    if header.extended {
        header.time = Some(u32::from_be_bytes(*rest.get(at..)?.first_chunk()?));
        at += 4;
    } else {
        header.time = Some(time);
    }
    Some((at, header))
}

fn uint24(bytes: &[u8]) -> Option<u32> {
    let &[high, middle, low] = bytes.first_chunk()?;
    Some(u32::from_be_bytes([0, high, middle, low]))
}
