//! The FLV byte stream: a file header, then tags, each followed by its own size (annex E.2 to E.4.1).
//!
//! The reader takes whole tags off the front of the caller's buffer and shares their bodies with it, so nothing is
//! copied and nothing but the state is kept. Invariant: no more than one tag of [`ReaderOptions::tag_bytes_max`] must
//! be in the buffer for the reader to go on. Sizes are bytes, timestamps milliseconds.

use bytes::{Buf, Bytes, BytesMut};
use nom::bytes::streaming::tag as literal;
use nom::number::streaming::{be_u8, be_u24, be_u32};
use nom::{Err, IResult, Parser};

use super::TAG_HEADER_BYTES;

/// Bytes of the file header that this version has.
const FILE_HEADER_BYTES: u32 = 9;
/// The farthest that the header may put the first tag; no writer is known to put it elsewhere than right behind.
const DATA_OFFSET_MAX: u32 = 4_096;

/// What a tag carries; the same numbers are RTMP's message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TagType {
    /// Sound.
    Audio = 8,
    /// Pictures.
    Video = 9,
    /// AMF0 script data.
    Script = 18,
}

impl TagType {
    /// By its number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it carries.
    pub kind: TagType,
    /// Milliseconds on a clock of 32 bits that wraps.
    pub timestamp: u32,
    /// Everything behind the tag's header.
    pub body: Bytes,
}

/// Why a byte stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// It does not begin with `FLV`.
    #[error("the stream does not begin with an FLV header")]
    NotFlv,
    /// The header puts the first tag inside itself, or absurdly far away.
    #[error("the FLV header puts the first tag at byte {0}; expected 9")]
    DataOffset(u32),
    /// The filter bit is set.
    #[error("the FLV tags are encrypted")]
    Encrypted,
    /// A tag over the limit.
    #[error("an FLV tag of {len} bytes; at most {len_max} are allowed")]
    TagTooLarge {
        /// What the tag's header says.
        len: usize,
        /// [`ReaderOptions::tag_bytes_max`].
        len_max: usize,
    },
}

/// The reader's limits.
#[derive(Clone, Copy, Debug)]
pub struct ReaderOptions {
    /// The largest body of a tag, bytes. A keyframe must fit.
    pub tag_bytes_max: usize,
}

/// Reads a byte stream of FLV, cut anywhere.
#[derive(Debug)]
pub struct Reader {
    options: ReaderOptions,
    state: State,
    wrong_sizes: u64,
    unknown_tags: u64,
}

#[derive(Debug)]
enum State {
    FileHeader,
    /// `left` bytes that nobody wants, then a [`State::PreviousSize`].
    Skip {
        left: usize,
        tag_bytes: u32,
    },
    /// The size of the tag before, which should be `tag_bytes`.
    PreviousSize {
        tag_bytes: u32,
    },
    Tag,
}

struct TagHeader {
    kind: u8,
    len: usize,
    timestamp: u32,
}

/// Where the first tag begins.
fn file_header(input: &[u8]) -> IResult<&[u8], u32> {
    let (rest, (_, _version, _flags, offset)) = (literal(&b"FLV"[..]), be_u8, be_u8, be_u32).parse(input)?;
    Ok((rest, offset))
}

fn tag_header(input: &[u8]) -> IResult<&[u8], TagHeader> {
    let (rest, (kind, len, low, high, _stream)) = (be_u8, be_u24, be_u24, be_u8, be_u24).parse(input)?;
    Ok((rest, TagHeader { kind, len: len as usize, timestamp: u32::from(high) << 24 | low }))
}

impl Reader {
    /// At the start of a stream.
    pub const fn new(options: ReaderOptions) -> Self {
        Self { options, state: State::FileHeader, wrong_sizes: 0, unknown_tags: 0 }
    }

    /// Takes the next tag off the front of `input`; `None` when it needs more bytes.
    ///
    /// # Errors
    /// When the stream is not FLV or breaks a limit; what follows cannot be read then.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Tag>, FlvError> {
        loop {
            match self.state {
                State::FileHeader => match file_header(input) {
                    Ok((_, offset)) => {
                        let gap = offset
                            .checked_sub(FILE_HEADER_BYTES)
                            .filter(|_| offset <= DATA_OFFSET_MAX)
                            .ok_or(FlvError::DataOffset(offset))?;
                        input.advance(FILE_HEADER_BYTES as usize);
                        self.state = State::Skip { left: gap as usize, tag_bytes: 0 };
                    }
                    Err(Err::Incomplete(_)) => return Ok(None),
                    Err(_) => return Err(FlvError::NotFlv),
                },
                State::Skip { left, tag_bytes } => {
                    let now = left.min(input.len());
                    input.advance(now);
                    if now < left {
                        self.state = State::Skip { left: left - now, tag_bytes };
                        return Ok(None);
                    }
                    self.state = State::PreviousSize { tag_bytes };
                }
                State::PreviousSize { tag_bytes } => {
                    if input.len() < 4 {
                        return Ok(None);
                    }
                    // Muxers get it wrong and players never look: told in a counter, not an error.
                    self.wrong_sizes += u64::from(input.get_u32() != tag_bytes);
                    self.state = State::Tag;
                }
                State::Tag => {
                    let Ok((_, header)) = tag_header(input) else {
                        return Ok(None);
                    };
                    match self.take_tag(header, input)? {
                        Taken::Tag(tag) => return Ok(Some(tag)),
                        Taken::Skipped => {}
                        Taken::Incomplete => return Ok(None),
                    }
                }
            }
        }
    }

    fn take_tag(&mut self, header: TagHeader, input: &mut BytesMut) -> Result<Taken, FlvError> {
        let TagHeader { kind, len, timestamp } = header;
        let whole = TAG_HEADER_BYTES + len;
        // A length has 24 bits, so that it and 11 fit.
        let tag_bytes = whole as u32;
        let Some(kind) = TagType::from_number(kind & !0x20) else {
            self.unknown_tags += 1;
            self.state = State::Skip { left: whole, tag_bytes };
            return Ok(Taken::Skipped);
        };
        if header.kind & 0x20 != 0 {
            return Err(FlvError::Encrypted);
        }
        let len_max = self.options.tag_bytes_max;
        if len > len_max {
            return Err(FlvError::TagTooLarge { len, len_max });
        }
        if input.len() < whole {
            return Ok(Taken::Incomplete);
        }
        input.advance(TAG_HEADER_BYTES);
        self.state = State::PreviousSize { tag_bytes };
        Ok(Taken::Tag(Tag { kind, timestamp, body: input.split_to(len).freeze() }))
    }

    /// How many tags were followed by a size that is not theirs.
    pub const fn wrong_sizes(&self) -> u64 {
        self.wrong_sizes
    }

    /// How many tags of unknown type were skipped.
    pub const fn unknown_tags(&self) -> u64 {
        self.unknown_tags
    }
}

enum Taken {
    Tag(Tag),
    Skipped,
    Incomplete,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ReaderOptions = ReaderOptions { tag_bytes_max: 1_000 };

    fn stream(tags: &[(u8, u32, &[u8])]) -> Vec<u8> {
        let mut wire = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        for (kind, timestamp, body) in tags {
            let len = body.len() as u32;
            wire.push(*kind);
            wire.extend(&len.to_be_bytes()[1..]);
            wire.extend(&timestamp.to_be_bytes()[1..]);
            wire.push(timestamp.to_be_bytes()[0]);
            wire.extend([0, 0, 0]);
            wire.extend(*body);
            wire.extend((len + 11).to_be_bytes());
        }
        wire
    }

    fn read_all(reader: &mut Reader, pieces: &[&[u8]]) -> Result<Vec<Tag>, FlvError> {
        let (mut input, mut tags) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(tag) = reader.read(&mut input)? {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    #[test]
    fn tags_come_out_whole_however_the_stream_is_cut() {
        let wire = stream(&[
            (18, 0, b"meta"),
            (9, 0xfedc_ba98, b"picture"),
            (3, 1, b"what"),
            (8, 40, b""),
            (9, 80, b"x"),
        ]);
        let expected = read_all(&mut Reader::new(OPTIONS), &[&wire]).expect("the stream is well");
        assert_eq!(expected.len(), 4);
        assert_eq!((expected[1].timestamp, &expected[1].body[..]), (0xfedc_ba98, &b"picture"[..]));
        for cut in 0..wire.len() {
            let mut reader = Reader::new(OPTIONS);
            assert_eq!(
                read_all(&mut reader, &[&wire[..cut], &wire[cut..]]).as_ref(),
                Ok(&expected),
                "cut at {cut}"
            );
            assert_eq!((reader.wrong_sizes(), reader.unknown_tags()), (0, 1));
        }
        let bytes: Vec<_> = wire.chunks(1).collect();
        assert_eq!(read_all(&mut Reader::new(OPTIONS), &bytes), Ok(expected));
    }

    #[test]
    fn a_wrong_size_behind_a_tag_is_counted_and_forgiven() {
        let mut wire = stream(&[(9, 0, b"one"), (9, 40, b"two")]);
        let at = wire.len() - 4;
        wire[at..].copy_from_slice(&[0; 4]);
        wire[9..13].copy_from_slice(&[9; 4]);
        let mut reader = Reader::new(OPTIONS);
        assert_eq!(read_all(&mut reader, &[&wire]).map(|tags| tags.len()), Ok(2));
        assert_eq!(reader.wrong_sizes(), 2);
    }

    #[test]
    fn a_gap_behind_the_header_is_passed_over() {
        let mut wire = stream(&[(9, 0, b"one")]);
        wire[8] = 12;
        wire.splice(9..9, [1, 2, 3]);
        assert_eq!(read_all(&mut Reader::new(OPTIONS), &[&wire]).map(|tags| tags.len()), Ok(1));
    }

    #[test]
    fn what_is_not_flv_is_refused_at_once() {
        let read = |wire: &[u8]| read_all(&mut Reader::new(OPTIONS), &[wire]).map(|tags| tags.len());
        assert_eq!(read(b"FL"), Ok(0));
        assert_eq!(read(b"FLX"), Err(FlvError::NotFlv));
        assert_eq!(read(b"G"), Err(FlvError::NotFlv));
        assert_eq!(read(b"FLV\x01\x05\0\0\0\x08"), Err(FlvError::DataOffset(8)));
        assert_eq!(read(b"FLV\x01\x05\xff\0\0\x08"), Err(FlvError::DataOffset(0xff00_0008)));
        assert_eq!(read(&stream(&[(0x29, 0, b"secret")])), Err(FlvError::Encrypted));
        let large = stream(&[(9, 0, &[0; 1_001])]);
        assert_eq!(read(&large[..24]), Err(FlvError::TagTooLarge { len: 1_001, len_max: 1_000 }));
    }
}
