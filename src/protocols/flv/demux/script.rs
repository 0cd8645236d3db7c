//! Script tags: a name in AMF0, then its arguments.

use bytes::Bytes;
use nom::bytes::complete::tag;
use nom::multi::length_data;
use nom::number::complete::be_u16;
use nom::sequence::preceded;
use nom::{IResult, Parser};

use super::{METADATA_BYTES_MAX, TagError};

/// What a script tag says.
pub(super) enum Script {
    /// `onMetaData`: its argument.
    Metadata(Bytes),
    /// Any other message, whole.
    Message(Bytes),
    /// A message that clears, or metadata without a value.
    Nothing,
}

/// An AMF0 string: marker 2 and a length in two bytes.
fn name(input: &[u8]) -> IResult<&[u8], &[u8]> {
    preceded(tag(&[2][..]), length_data(be_u16)).parse(input)
}

/// Reads a script tag. `@setDataFrame`, which tells RTMP servers to remember what follows, is taken off.
pub(super) fn read(body: Bytes) -> Result<Script, TagError> {
    let (mut after, mut called) = name(&body).map_err(|_| TagError::Script)?;
    let mut message = body.clone();
    if called == b"@clearDataFrame" {
        return Ok(Script::Nothing);
    }
    if called == b"@setDataFrame" {
        message = body.slice_ref(after);
        (after, called) = name(after).map_err(|_| TagError::Script)?;
    }
    if called != b"onMetaData" {
        return Ok(Script::Message(message));
    }
    match after.len() {
        0 => Ok(Script::Nothing),
        len if len > METADATA_BYTES_MAX => Err(TagError::TooLarge { len, len_max: METADATA_BYTES_MAX }),
        // It is kept for the life of the stream: a copy lets go of the buffer it came in.
        _ => Ok(Script::Metadata(Bytes::copy_from_slice(after))),
    }
}
