//! What both ends of a connection do alike: bytes to messages, acknowledgements, pings, media in its wrappings.
//!
//! Invariant: nothing a peer sends makes this hold more than the chunk reader's bounds and what the host fed; output
//! grows by at most a constant for each message that came. A message that is broken but harmless is counted and
//! skipped; only what leaves the stream of bytes without meaning is an error.

use bytes::{Bytes, BytesMut};

use super::{
    Error,
    chunk::{Message, Reader, ReaderOptions},
    command::{Command, CommandWriter},
    message::{self, Aggregate, Media, MediaKind, UserControl, control, kind},
};

/// The window in bytes after which each side confirms what it received, unless the peer names another.
pub(super) const WINDOW_ACK_SIZE: u32 = 2_500_000;
/// The smallest window that is honoured, in bytes: below, confirmations would outweigh what they confirm.
const WINDOW_ACK_SIZE_MIN: u32 = 1_024;

/// What a connection has counted. All numbers grow only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received and seen by `poll`.
    pub bytes_received: u64,
    /// Bytes handed out by `take_output` or told by `sent`.
    pub bytes_sent: u64,
    /// Messages received, parts of an aggregate not counted apart.
    pub messages: u64,
    /// Media messages that came while nothing was published, and were dropped.
    pub media_dropped: u64,
    /// Control, aggregate and AMF3 data messages that could not be read, and were dropped.
    pub malformed: u64,
}

/// A message that means something to the machine above.
#[derive(Debug)]
pub(super) enum Incoming {
    Command(Command),
    Media(Media),
    UserControl(UserControl),
}

/// One end of a connection, behind its handshake.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) input: BytesMut,
    pub(super) output: BytesMut,
    pub(super) counters: Counters,
    /// The chunk size that the peer was told, in bytes.
    pub(super) chunk_size: usize,
    reader: Reader,
    aggregate: Option<Aggregate>,
    /// Bytes taken out of `input` so far.
    consumed: u64,
    /// How much of what was received the peer knows of.
    confirmed: u64,
    /// The peer's window, in bytes.
    window: u32,
    /// The last count that the peer confirmed, modulo 2^32.
    peer_confirmed: u32,
    /// The window that the peer asked for by Set Peer Bandwidth, once answered.
    bandwidth: Option<u32>,
}

impl Link {
    pub(super) fn new(options: ReaderOptions) -> Self {
        Self {
            input: BytesMut::new(),
            output: BytesMut::new(),
            counters: Counters::default(),
            chunk_size: super::chunk::CHUNK_BYTES_INITIAL,
            reader: Reader::new(options),
            aggregate: None,
            consumed: 0,
            confirmed: 0,
            window: WINDOW_ACK_SIZE,
            peer_confirmed: 0,
            bandwidth: None,
        }
    }

    /// Lets `take` read the front of the input, and counts what it took.
    pub(super) fn consume<T>(&mut self, take: impl FnOnce(&mut BytesMut, &mut BytesMut) -> T) -> T {
        let before = self.input.len();
        let taken = take(&mut self.input, &mut self.output);
        self.count(before);
        taken
    }

    /// Counts what was read of an input that had `before` bytes.
    fn count(&mut self, before: usize) {
        self.consumed += (before - self.input.len()) as u64;
        self.counters.bytes_received = self.consumed + self.input.len() as u64;
    }

    /// The next message that means something; all others are dealt with here.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Error> {
        loop {
            if let Some(media) = self.next_part() {
                return Ok(Some(Incoming::Media(media)));
            }
            let before = self.input.len();
            let message = self.reader.read(&mut self.input)?;
            self.count(before);
            self.confirm();
            let Some(message) = message else { return Ok(None) };
            self.counters.messages += 1;
            if let Some(incoming) = self.message(message)? {
                return Ok(Some(incoming));
            }
        }
    }

    pub(super) fn take_output(&mut self) -> Bytes {
        self.counters.bytes_sent += self.output.len() as u64;
        // Nothing stays: the rest of an allocation that once held a handshake would stay with every idle player.
        std::mem::take(&mut self.output).freeze()
    }

    /// Bytes sent that the peer has not confirmed; peers that never confirm exist, so this is only a hint.
    pub(super) fn unconfirmed(&self) -> u32 {
        (self.counters.bytes_sent as u32).wrapping_sub(self.peer_confirmed)
    }

    pub(super) fn writer(&mut self) -> CommandWriter<'_> {
        CommandWriter { out: &mut self.output, chunk_size: self.chunk_size }
    }

    pub(super) fn control(&mut self, kind: u8, value: u32) {
        self.control_bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn control_bytes(&mut self, kind: u8, body: &[u8]) {
        control(&mut self.output, kind, body);
    }

    pub(super) fn user_control(&mut self, event: UserControl) {
        event.write(&mut self.output);
    }

    /// Tells the peer a chunk size, in bytes, and keeps to it from here on.
    pub(super) fn set_chunk_size(&mut self, size: u32) {
        let size = size.clamp(1, 0x7FFF_FFFF);
        self.control(kind::SET_CHUNK_SIZE, size);
        self.chunk_size = size as usize;
    }

    fn message(&mut self, message: Message) -> Result<Option<Incoming>, Error> {
        let Message { kind, timestamp, payload, .. } = message;
        match kind {
            kind::AUDIO | kind::VIDEO | kind::DATA | kind::DATA_AMF3 => {
                Ok(self.media(kind, timestamp, payload).map(Incoming::Media))
            }
            kind::COMMAND | kind::COMMAND_AMF3 => {
                Ok(Some(Incoming::Command(Command::parse(kind, &payload)?)))
            }
            kind::AGGREGATE => {
                self.aggregate = Some(Aggregate::new(timestamp, payload));
                Ok(None)
            }
            kind::USER_CONTROL => match UserControl::parse(&payload) {
                Ok(Some(UserControl::PingRequest(value))) => {
                    self.user_control(UserControl::PingResponse(value));
                    Ok(None)
                }
                Ok(event) => Ok(event.map(Incoming::UserControl)),
                Err(_) => {
                    self.counters.malformed += 1;
                    Ok(None)
                }
            },
            kind::ACKNOWLEDGEMENT | kind::WINDOW_ACK_SIZE | kind::SET_PEER_BANDWIDTH => {
                match message::control_value(kind, &payload) {
                    Ok(value) => self.on_control(kind, value),
                    Err(_) => self.counters.malformed += 1,
                }
                Ok(None)
            }
            // Chunk sizes are the reader's; shared objects and what nobody defined mean nothing to media.
            _ => Ok(None),
        }
    }

    fn on_control(&mut self, kind: u8, value: u32) {
        match kind {
            kind::ACKNOWLEDGEMENT => self.peer_confirmed = value,
            kind::WINDOW_ACK_SIZE => self.window = value.max(WINDOW_ACK_SIZE_MIN),
            _ if self.bandwidth != Some(value) => {
                self.bandwidth = Some(value);
                self.control(kind::WINDOW_ACK_SIZE, value);
            }
            _ => {}
        }
    }

    /// Tells the peer what was received, each half of its window: a peer that waits at its end never stands still.
    fn confirm(&mut self) {
        let received = self.counters.bytes_received;
        if received - self.confirmed >= u64::from(self.window / 2) {
            self.confirmed = received;
            self.control(kind::ACKNOWLEDGEMENT, received as u32);
        }
    }

    /// The next part of an aggregate message that is open.
    fn next_part(&mut self) -> Option<Media> {
        loop {
            match self.aggregate.as_mut()?.next_part() {
                Ok(Some((kind, timestamp, payload))) => {
                    if let Some(media) = self.media(kind, timestamp, payload) {
                        return Some(media);
                    }
                }
                Ok(None) => self.aggregate = None,
                Err(_) => {
                    self.counters.malformed += 1;
                    self.aggregate = None;
                }
            }
        }
    }

    /// A media message; `None` for an empty one and for one that cannot be read.
    fn media(&mut self, kind: u8, timestamp: u32, payload: Bytes) -> Option<Media> {
        let (kind, payload) = match kind {
            kind::DATA | kind::DATA_AMF3 => match message::data_body(kind, payload) {
                Ok(body) => (MediaKind::Data, body?),
                Err(_) => {
                    self.counters.malformed += 1;
                    return None;
                }
            },
            _ => (MediaKind::of(kind)?, payload),
        };
        (!payload.is_empty()).then_some(Media { kind, timestamp, payload })
    }
}
