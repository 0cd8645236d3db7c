//! Chunks back into messages, from any peer and any split of its bytes.
//!
//! Invariant: at most `streams_max` chunk streams are remembered, and the messages of which a part has come hold at
//! most `partial_bytes_max` bytes together; both are checked before anything is stored. A chunk's header is taken when
//! it is whole; its body is taken as it comes, or, when it is a whole message, at once and without a copy.

use bytes::{Buf, Bytes, BytesMut};

use super::header::{self, Header, Repeat};
use super::{ABORT, CHUNK_BYTES_INITIAL, Message, SET_CHUNK_SIZE};

/// The first reservation for a message in several chunks; it doubles as the bytes really come.
const FIRST_RESERVATION_BYTES: usize = 64 << 10;
/// The longest delta that a type 3 chunk takes over from a type 0 chunk's timestamp; see `ChunkStream::begin`.
const INHERITED_DELTA_MAX_MS: u32 = 1_000;

/// How much a peer may make us hold.
#[derive(Clone, Copy, Debug)]
pub struct ReaderOptions {
    /// The longest message, in bytes.
    pub message_bytes_max: usize,
    /// The largest chunk size that the peer may set, in bytes. Memory does not depend on it.
    pub chunk_bytes_max: usize,
    /// All unfinished messages of several chunks together, in bytes.
    pub partial_bytes_max: usize,
    /// Chunk streams in use; each costs about 100 bytes.
    pub streams_max: usize,
}

impl Default for ReaderOptions {
    /// A picture of 8 MiB, interleaved with as much again, on the ids that Flash uses for a dozen streams.
    fn default() -> Self {
        Self {
            message_bytes_max: 8 << 20,
            chunk_bytes_max: 0x7FFF_FFFF,
            partial_bytes_max: 16 << 20,
            streams_max: 64,
        }
    }
}

/// What the peer did that the chunk layer does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The first chunk of a chunk stream leaves away what no chunk before it told.
    #[error("the first chunk of chunk stream {csid} is of type {format} and so has no message length")]
    NoHeader {
        /// The chunk stream.
        csid: u32,
        /// 2 or 3.
        format: u8,
    },
    /// A message over the limit.
    #[error("a message of {len} bytes on chunk stream {csid}; at most {len_max} are allowed")]
    MessageTooLarge {
        /// The chunk stream.
        csid: u32,
        /// What its header says.
        len: usize,
        /// What the options allow.
        len_max: usize,
    },
    /// Too much begun and not finished.
    #[error("unfinished messages would hold {bytes} bytes; at most {bytes_max} are allowed")]
    PartialsTooLarge {
        /// With the message that is one too many.
        bytes: usize,
        /// What the options allow.
        bytes_max: usize,
    },
    /// Too many chunk streams.
    #[error("chunk stream {csid} is one more than the {streams_max} that are allowed")]
    TooManyStreams {
        /// The new one.
        csid: u32,
        /// What the options allow.
        streams_max: usize,
    },
    /// A chunk size of zero, over 31 bits, or over the limit.
    #[error("a chunk size of {size} was set; 1 to {size_max} is allowed")]
    ChunkSize {
        /// What the peer set.
        size: u32,
        /// What the options allow.
        size_max: usize,
    },
    /// Set Chunk Size or Abort with less than their four bytes.
    #[error("a protocol control message of type {kind} has {len} bytes instead of 4")]
    ControlTooShort {
        /// The message type id.
        kind: u8,
        /// What came.
        len: usize,
    },
}

/// Reads one direction of one connection.
#[derive(Debug)]
pub struct Reader {
    options: ReaderOptions,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// The chunk whose header has come and whose body has not, or not all of it.
    open: Option<OpenChunk>,
    partial_bytes: usize,
    abandoned: u64,
}

#[derive(Clone, Copy, Debug)]
struct OpenChunk {
    /// Its place in `streams`.
    index: usize,
    /// How much of its body is still to come.
    missing: usize,
}

/// What later headers of one chunk stream refer to, and its unfinished message.
#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    /// The absolute time of the last message.
    timestamp: u32,
    /// What a type 3 chunk that begins a message adds.
    delta: u32,
    /// The value of the last header's extended timestamp, if it had one.
    extended: Option<u32>,
    len: usize,
    kind: u8,
    stream: u32,
    /// Whether a message of several chunks has begun and is not finished; its length then counts as partial.
    begun: bool,
    partial: Vec<u8>,
}

impl Reader {
    /// At the start of a connection, right behind the handshake.
    pub fn new(options: ReaderOptions) -> Self {
        Self {
            options,
            chunk_size: CHUNK_BYTES_INITIAL,
            streams: Vec::new(),
            open: None,
            partial_bytes: 0,
            abandoned: 0,
        }
    }

    /// Takes the next message off the front of `input`, or what there is of it.
    ///
    /// Set Chunk Size is applied and also returned; Abort is applied and swallowed. `Ok(None)` asks for more bytes:
    /// append them to the same buffer, whose rest must stay as it is. [`missing`](Self::missing) tells how many will do.
    ///
    /// # Errors
    /// When the peer breaks the layer or a bound. The connection cannot go on then.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        loop {
            let chunk = match self.open {
                Some(chunk) => chunk,
                None => match self.open_chunk(input)? {
                    Some(chunk) => chunk,
                    None => return Ok(None),
                },
            };
            let Some(message) = self.take_body(chunk, input) else {
                // Either the chunk was not the last of its message, or the input is used up.
                if self.open.is_some() {
                    return Ok(None);
                }
                continue;
            };
            match message.kind {
                SET_CHUNK_SIZE => self.set_chunk_size(&message.payload)?,
                ABORT => {
                    self.abort(control_value(ABORT, &message.payload)?);
                    continue;
                }
                _ => {}
            }
            return Ok(Some(message));
        }
    }

    /// How many more bytes than the last input held will let [`read`](Self::read) go on: a hint for the next receive.
    pub fn missing(&self, input: &BytesMut) -> usize {
        self.open.map_or(1, |chunk| chunk.missing.saturating_sub(input.len()).max(1))
    }

    /// What the peer cuts its messages into now.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// The promised length of all unfinished messages that span several chunks.
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// How many messages the peer began and dropped without an Abort, by beginning another one in their place.
    pub fn abandoned(&self) -> u64 {
        self.abandoned
    }

    /// Takes a chunk's header and works out what its body is.
    fn open_chunk(&mut self, input: &mut BytesMut) -> Result<Option<OpenChunk>, ChunkError> {
        let Some((basic_len, format, csid)) = header::basic(input) else {
            return Ok(None);
        };
        let found = self.streams.iter().position(|stream| stream.csid == csid);
        let repeat = found.and_then(|index| self.streams.get(index)?.repeat());
        let rest = input.get(basic_len..).unwrap_or_default();
        let Some((header_len, header)) = header::message(rest, format, repeat) else {
            return Ok(None);
        };

        let index = match found {
            Some(index) => index,
            None => self.add_stream(csid, format)?,
        };
        let Some(stream) = self.streams.get_mut(index) else {
            return Ok(None);
        };
        if !stream.continues(&header) {
            if stream.begun {
                self.abandoned += 1;
                self.partial_bytes -= stream.drop_partial();
            }
            stream.begin(&header);
            let (len, len_max) = (stream.len, self.options.message_bytes_max);
            if len > len_max {
                return Err(ChunkError::MessageTooLarge { csid, len, len_max });
            }
            if len > self.chunk_size {
                let (bytes, bytes_max) = (self.partial_bytes + len, self.options.partial_bytes_max);
                if bytes > bytes_max {
                    return Err(ChunkError::PartialsTooLarge { bytes, bytes_max });
                }
                self.partial_bytes = bytes;
                stream.begun = true;
            }
        }
        let missing = (stream.len - stream.partial.len()).min(self.chunk_size);
        input.advance(basic_len + header_len);
        self.open = Some(OpenChunk { index, missing });
        Ok(self.open)
    }

    /// Type 1 is enough to begin with: librtmp sends its first ping answer so, meaning time 0 on stream 0.
    fn add_stream(&mut self, csid: u32, format: u8) -> Result<usize, ChunkError> {
        if format > 1 {
            return Err(ChunkError::NoHeader { csid, format });
        }
        let (index, streams_max) = (self.streams.len(), self.options.streams_max);
        if index >= streams_max {
            return Err(ChunkError::TooManyStreams { csid, streams_max });
        }
        self.streams.push(ChunkStream::new(csid));
        Ok(index)
    }

    /// Takes what there is of a chunk's body; a message when this was its last byte.
    fn take_body(&mut self, chunk: OpenChunk, input: &mut BytesMut) -> Option<Message> {
        let stream = self.streams.get_mut(chunk.index)?;
        let payload = if stream.begun {
            let len = chunk.missing.min(input.len());
            stream.gather(input.get(..len).unwrap_or_default());
            input.advance(len);
            if len < chunk.missing {
                self.open = Some(OpenChunk { missing: chunk.missing - len, ..chunk });
                return None;
            }
            self.open = None;
            if stream.partial.len() < stream.len {
                return None;
            }
            stream.begun = false;
            self.partial_bytes -= stream.len;
            Bytes::from(std::mem::take(&mut stream.partial))
        } else {
            if input.len() < chunk.missing {
                return None;
            }
            self.open = None;
            match chunk.missing {
                0 => Bytes::new(), // which does not hold on to the input's memory
                len => input.split_to(len).freeze(),
            }
        };
        let &mut ChunkStream { csid, timestamp, kind, stream, .. } = stream;
        Some(Message { csid, timestamp, kind, stream, payload })
    }

    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let size = control_value(SET_CHUNK_SIZE, payload)?;
        // The top bit must be zero (§5.4.1), so anything with it is over the limit too.
        let size_max = self.options.chunk_bytes_max.min(0x7FFF_FFFF);
        if size == 0 || size as usize > size_max {
            return Err(ChunkError::ChunkSize { size, size_max });
        }
        self.chunk_size = size as usize;
        Ok(())
    }

    fn abort(&mut self, csid: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.csid == csid && stream.begun) {
            self.partial_bytes -= stream.drop_partial();
        }
    }
}

impl ChunkStream {
    fn new(csid: u32) -> Self {
        Self {
            csid,
            timestamp: 0,
            delta: 0,
            extended: None,
            len: 0,
            kind: 0,
            stream: 0,
            begun: false,
            partial: Vec::new(),
        }
    }

    fn repeat(&self) -> Option<Repeat> {
        self.extended.map(|field| Repeat { field, absolute: self.timestamp })
    }

    /// Whether a chunk with this header goes on with the message that has begun.
    ///
    /// It should be of type 3 (§5.3.1.2.4). Some writers repeat the whole header on every chunk, which says the same;
    /// one that says anything else begins another message.
    fn continues(&self, header: &Header) -> bool {
        let same_shape = header.shape.is_none_or(|shape| shape == (self.len, self.kind));
        let same_message =
            header.stream.is_none_or(|stream| stream == self.stream && header.time == Some(self.timestamp));
        self.begun && same_shape && same_message
    }

    /// Applies the header of a message's first chunk.
    fn begin(&mut self, header: &Header) {
        if let Some((len, kind)) = header.shape {
            (self.len, self.kind) = (len, kind);
        }
        if let Some(stream) = header.stream {
            self.stream = stream;
        }
        match (header.format, header.time) {
            (0, Some(time)) => {
                self.timestamp = time;
                // By the letter (§5.3.1.2.4) a type 3 chunk behind a type 0 chunk takes that one's timestamp for its
                // delta, and ffmpeg writes so: frames of 23 ms begin at 23 (type 0) and go on at 46 (type 3).
                // nginx-rtmp and librtmp write type 3 there for "the same time again". Both are right when the
                // timestamp is as long as a frame; beyond, only the second makes sense.
                self.delta = if time <= INHERITED_DELTA_MAX_MS { time } else { 0 };
            }
            (1 | 2, Some(delta)) => {
                self.timestamp = self.timestamp.wrapping_add(delta);
                self.delta = delta;
            }
            _ => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
        if header.format < 3 {
            self.extended = header.time.filter(|_| header.extended);
        }
    }

    /// Appends to the unfinished message. Memory follows what has come, not what was promised, and ends up exact.
    fn gather(&mut self, bytes: &[u8]) {
        let room = self.partial.capacity() - self.partial.len();
        if room < bytes.len() {
            let left = self.len.saturating_sub(self.partial.len());
            let more = bytes.len().max(self.partial.len()).max(FIRST_RESERVATION_BYTES);
            self.partial.reserve_exact(more.min(left));
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Forgets the unfinished message; how many bytes it counted for.
    fn drop_partial(&mut self) -> usize {
        self.begun = false;
        self.partial = Vec::new();
        self.len
    }
}

fn control_value(kind: u8, payload: &[u8]) -> Result<u32, ChunkError> {
    let value = payload.first_chunk().ok_or(ChunkError::ControlTooShort { kind, len: payload.len() })?;
    Ok(u32::from_be_bytes(*value))
}
