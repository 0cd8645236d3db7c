//! What messages carry: their types, control payloads, and media on its way in and out.
//!
//! Outgoing media stands on fixed chunk streams with whole headers, so every player of a rendition can be sent the
//! same bytes. Times are milliseconds on RTMP's 32-bit clock, which wraps; sizes are bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::chunk::{self, Head};
use crate::protocols::{
    amf0::{self, Amf0Error},
    amf3,
};

/// Message types (RTMP §5.4, §6.2, §7.1).
pub mod kind {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control Message.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3's wrapping.
    pub const DATA_AMF3: u8 = 15;
    /// A command in AMF3's wrapping.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data.
    pub const DATA: u8 = 18;
    /// A command.
    pub const COMMAND: u8 = 20;
    /// Several messages in one, as FLV tags.
    pub const AGGREGATE: u8 = 22;
}

/// The message stream of everything that is not about the connection: one is all that clients use.
pub const STREAM_ID: u32 = 1;
/// The body of a data message that sets what later players are told begins with this name.
pub const SET_DATA_FRAME: &str = "@setDataFrame";
/// The name that metadata goes by.
pub const ON_METADATA: &str = "onMetaData";

/// The sort of a media message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// The body of an FLV audio tag.
    Audio,
    /// The body of an FLV video tag.
    Video,
    /// The body of an FLV script tag: AMF0, a name first.
    Data,
}

impl MediaKind {
    /// The sort that an FLV tag or message type means.
    pub const fn of(kind: u8) -> Option<Self> {
        match kind {
            kind::AUDIO => Some(Self::Audio),
            kind::VIDEO => Some(Self::Video),
            kind::DATA => Some(Self::Data),
            _ => None,
        }
    }

    /// Its message type, which is its FLV tag type as well.
    pub const fn code(self) -> u8 {
        match self {
            Self::Audio => kind::AUDIO,
            Self::Video => kind::VIDEO,
            Self::Data => kind::DATA,
        }
    }

    /// The chunk stream it is sent on.
    pub const fn csid(self) -> u32 {
        match self {
            Self::Audio => 4,
            Self::Data => 5,
            Self::Video => 6,
        }
    }
}

/// One media message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The sort.
    pub kind: MediaKind,
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// The body; of data, AMF0 without `@setDataFrame`. Never empty.
    pub payload: Bytes,
}

/// Appends a media message to `out` as every player gets it; `body` is its payload in pieces, of 16 MiB at most.
pub fn mux_media(out: &mut BytesMut, kind: MediaKind, timestamp: u32, body: &[&[u8]], chunk_size: usize) {
    mux_media_to(out, STREAM_ID, kind, timestamp, body, chunk_size);
}

/// [`mux_media`] on a message stream that the peer chose.
pub(super) fn mux_media_to(
    out: &mut BytesMut,
    stream: u32,
    kind: MediaKind,
    timestamp: u32,
    body: &[&[u8]],
    chunk_size: usize,
) {
    chunk::write(out, Head { csid: kind.csid(), timestamp, kind: kind.code(), stream }, body, chunk_size);
}

/// Events of a User Control Message (RTMP §7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The stream has become functional.
    StreamBegin(u32),
    /// Playback of the stream is over.
    StreamEof(u32),
    /// The stream has no data for now.
    StreamDry(u32),
    /// The player's buffer.
    SetBufferLength {
        /// Whose.
        stream: u32,
        /// Its length in milliseconds.
        millis: u32,
    },
    /// What follows is recorded.
    StreamIsRecorded(u32),
    /// A question that wants this value back.
    PingRequest(u32),
    /// The answer to it.
    PingResponse(u32),
}

impl UserControl {
    /// From a message body; `None` for events that nobody here knows (Flash has several).
    ///
    /// # Errors
    /// When the body is shorter than its event needs.
    pub fn parse(mut body: &[u8]) -> Result<Option<Self>, ControlError> {
        let short = ControlError { kind: kind::USER_CONTROL, len: body.len() };
        let event = body.try_get_u16().map_err(|_| short)?;
        let mut next = || body.try_get_u32().map_err(|_| short);
        Ok(Some(match event {
            0 => Self::StreamBegin(next()?),
            1 => Self::StreamEof(next()?),
            2 => Self::StreamDry(next()?),
            3 => Self::SetBufferLength { stream: next()?, millis: next()? },
            4 => Self::StreamIsRecorded(next()?),
            6 => Self::PingRequest(next()?),
            7 => Self::PingResponse(next()?),
            _ => return Ok(None),
        }))
    }

    /// Appends the message.
    pub fn write(self, out: &mut BytesMut) {
        let mut body = [0; 10];
        let (event, value) = match self {
            Self::StreamBegin(stream) => (0_u16, stream),
            Self::StreamEof(stream) => (1, stream),
            Self::StreamDry(stream) => (2, stream),
            Self::SetBufferLength { stream, .. } => (3, stream),
            Self::StreamIsRecorded(stream) => (4, stream),
            Self::PingRequest(value) => (6, value),
            Self::PingResponse(value) => (7, value),
        };
        let mut rest = &mut body[..];
        rest.put_u16(event);
        rest.put_u32(value);
        let len = match self {
            Self::SetBufferLength { millis, .. } => {
                rest.put_u32(millis);
                10
            }
            _ => 6,
        };
        control(out, kind::USER_CONTROL, &body[..len]);
    }
}

/// A protocol control message that is too short for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a control message of type {kind} has only {len} bytes")]
pub struct ControlError {
    /// Its type.
    pub kind: u8,
    /// Its length.
    pub len: usize,
}

/// The one number that a protocol control message of this `kind` carries.
pub(super) fn control_value(kind: u8, mut body: &[u8]) -> Result<u32, ControlError> {
    let len = body.len();
    body.try_get_u32().map_err(|_| ControlError { kind, len })
}

/// Appends a protocol control message: chunk stream 2, message stream 0, so short that it is always one chunk.
pub(super) fn control(out: &mut BytesMut, kind: u8, body: &[u8]) {
    chunk::write(out, Head { csid: 2, timestamp: 0, kind, stream: 0 }, &[body], CONTROL_CHUNK);
}

/// The chunk size that every peer begins with; no control message reaches it.
const CONTROL_CHUNK: usize = 128;

/// The body of a data message of `kind` as players are to get it: AMF0 without `@setDataFrame`.
///
/// `None` for what leaves nothing to tell, such as `@clearDataFrame`.
///
/// # Errors
/// When an AMF3 body cannot be read. An AMF0 body is not read here.
pub(super) fn data_body(kind: u8, payload: Bytes) -> Result<Option<Bytes>, Amf0Error> {
    let mut body = match kind {
        kind::DATA_AMF3 => amf0::encode_all(&amf3::decode_message(&payload)?),
        _ => payload,
    };
    if let Some(len) = opening_name(&body, SET_DATA_FRAME) {
        body.advance(len);
    }
    Ok((!body.is_empty() && opening_name(&body, "@clearDataFrame").is_none()).then_some(body))
}

/// How many bytes `name` takes at the front of an AMF0 body; `None` where something else stands.
pub(super) fn opening_name(body: &[u8], name: &str) -> Option<usize> {
    let [2, high, low, rest @ ..] = body else { return None };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    (len == name.len() && rest.starts_with(name.as_bytes())).then_some(3 + len)
}

/// The parts of an aggregate message, one at a time and without copies.
#[derive(Debug)]
pub struct Aggregate {
    rest: Bytes,
    /// The time of the message, and of its first part.
    base: u32,
    first: Option<u32>,
}

/// An aggregate message that ends inside one of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an aggregate message ends inside a part: {need} bytes are needed, {left} are left")]
pub struct AggregateError {
    /// What the part says it has.
    pub need: usize,
    /// What the message has.
    pub left: usize,
}

impl Aggregate {
    /// Of a message of type 22 with this time stamp.
    pub fn new(timestamp: u32, payload: Bytes) -> Self {
        Self { rest: payload, base: timestamp, first: None }
    }

    /// The next part as message type, time and body; `None` behind the last. The clock of the parts is their own:
    /// the first one means the time of the message (RTMP §7.1.6).
    ///
    /// # Errors
    /// When the message ends inside a part.
    pub fn next_part(&mut self) -> Result<Option<(u8, u32, Bytes)>, AggregateError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let left = self.rest.len();
        let Some((&[kind, l2, l1, l0, t2, t1, t0, t3, ..], _)) = self.rest.split_first_chunk::<11>() else {
            self.rest.clear();
            return Err(AggregateError { need: 11, left });
        };
        let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        if left < 11 + len {
            self.rest.clear();
            return Err(AggregateError { need: 11 + len, left });
        }
        self.rest.advance(11);
        let body = self.rest.split_to(len);
        // The size of the tag, once more; senders forget it behind the last one.
        self.rest.advance(self.rest.len().min(4));
        let time = u32::from_be_bytes([t3, t2, t1, t0]);
        let since = time.wrapping_sub(*self.first.get_or_insert(time));
        Ok(Some((kind & 0x1F, self.base.wrapping_add(since), body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::amf0::Value;

    fn tag(out: &mut BytesMut, kind: u8, time: u32, body: &[u8]) {
        out.put_u8(kind);
        out.put_uint(body.len() as u64, 3);
        out.put_uint(u64::from(time & 0xFF_FFFF), 3);
        out.put_u8((time >> 24) as u8);
        out.put_uint(1, 3);
        out.put_slice(body);
        out.put_u32(body.len() as u32 + 11);
    }

    #[test]
    fn an_aggregate_comes_apart_with_the_times_of_its_message() {
        let mut wire = BytesMut::new();
        tag(&mut wire, 9, 0xFFFF_FFF0, b"first");
        tag(&mut wire, 8, 10, b"past the wrap");
        tag(&mut wire, 18, 10, b"");
        wire.truncate(wire.len() - 4);
        let mut aggregate = Aggregate::new(5_000, wire.freeze());
        let mut parts = Vec::new();
        while let Some((kind, time, body)) = aggregate.next_part().unwrap() {
            parts.push((kind, time, body));
        }
        let body = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(
            parts,
            [(9, 5_000, body("first")), (8, 5_026, body("past the wrap")), (18, 5_026, body(""))]
        );
    }

    #[test]
    fn an_aggregate_that_ends_inside_a_part_says_so_once() {
        let mut wire = BytesMut::new();
        tag(&mut wire, 9, 0, b"picture");
        for len in 1..wire.len() - 4 {
            let mut aggregate = Aggregate::new(0, wire.clone().freeze().slice(..len));
            assert!(aggregate.next_part().is_err(), "{len}");
            assert_eq!(aggregate.next_part(), Ok(None), "{len}");
        }
    }

    #[test]
    fn data_is_told_without_the_words_that_were_for_the_server() {
        let body =
            amf0::encode_all(&["onMetaData".into(), Value::EcmaArray(vec![("width".into(), 16.0.into())])]);
        let mut wire = BytesMut::from(&b"\x02\x00\x0D@setDataFrame"[..]);
        wire.put_slice(&body);
        assert_eq!(data_body(kind::DATA, wire.clone().freeze()).unwrap(), Some(body.clone()));
        assert_eq!(data_body(kind::DATA, body.clone()).unwrap(), Some(body.clone()));
        let mut wrapped = BytesMut::from(&[0][..]);
        wrapped.put_slice(&wire);
        assert_eq!(data_body(kind::DATA_AMF3, wrapped.freeze()).unwrap(), Some(body));
        let clear = amf0::encode_all(&["@clearDataFrame".into(), "onMetaData".into()]);
        assert_eq!(data_body(kind::DATA, clear).unwrap(), None);
        assert!(data_body(kind::DATA_AMF3, Bytes::from_static(b"\x00\x02\x00")).is_err());
    }

    #[test]
    fn user_control_survives_the_round_trip() {
        for event in [
            UserControl::StreamBegin(1),
            UserControl::StreamEof(1),
            UserControl::StreamDry(7),
            UserControl::SetBufferLength { stream: 1, millis: 3_000 },
            UserControl::StreamIsRecorded(1),
            UserControl::PingRequest(u32::MAX),
            UserControl::PingResponse(0),
        ] {
            let mut out = BytesMut::new();
            event.write(&mut out);
            assert_eq!(UserControl::parse(&out[12..]), Ok(Some(event)));
            assert!(UserControl::parse(&out[12..out.len() - 1]).is_err(), "{event:?}");
        }
        assert_eq!(UserControl::parse(&[0, 26, 1]), Ok(None), "SWF verification is nobody's business here");
    }
}
