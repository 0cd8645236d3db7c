//! A client's end of one connection: publishes or plays one stream at a time.
//!
//! [`start`](Client::start), then feed what is received and poll; behind [`ClientEvent::Ready`] a publisher writes
//! media and a player gets it. Nothing is asked of the host in between. Times are milliseconds on RTMP's 32-bit clock,
//! sizes are bytes.

mod commands;
mod options;

use bytes::{Bytes, BytesMut};

pub use options::{ClientOptions, Role};

use super::{
    Error, Status,
    chunk::ReaderOptions,
    handshake::{ClientHandshake, Style},
    link::{Counters, Incoming, Link},
    message::{Media, MediaKind, ON_METADATA, SET_DATA_FRAME, UserControl, kind, mux_media_to, opening_name},
    url::{ClientUrl, UrlError},
};
use crate::protocols::amf0::{self, Value};

/// What the server did.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// Publishing or playing has begun.
    Ready,
    /// A player got this.
    Media(Media),
    /// The server says something that does not end the stream.
    Status(Status),
    /// The server refused or ended it, in its own words. Nothing follows.
    Closed(Status),
}

/// A client's end of one connection.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    link: Link,
    state: State,
    /// The number of the last question.
    transaction: f64,
    /// The message stream that the server created.
    stream: u32,
    server: Value,
}

#[derive(Debug)]
enum State {
    Handshake(ClientHandshake),
    /// `connect` is out.
    Connecting,
    /// `createStream` is out, under this number.
    Creating(f64),
    /// `publish` or `play` is out, under this number.
    Starting(f64),
    Ready,
    /// Connected, without a stream.
    Idle,
    Closed,
}

impl Client {
    /// Before the first byte.
    pub fn new(options: ClientOptions) -> Self {
        let handshake = ClientHandshake::new(options.seed, options.style);
        Self {
            link: Link::new(options.reader),
            state: State::Handshake(handshake),
            options,
            transaction: 0.0,
            stream: 0,
            server: Value::Null,
        }
    }

    /// For `rtmp://host[:port]/app/stream?k=v`.
    ///
    /// # Errors
    /// When the text is no such address.
    pub fn from_url(url: &str, role: Role) -> Result<Self, UrlError> {
        Ok(Self::new(ClientOptions::new(&url.parse::<ClientUrl>()?, role)))
    }

    /// Writes the first packets of the handshake. Further calls do nothing.
    pub fn start(&mut self) {
        if let State::Handshake(handshake) = &mut self.state
            && self.link.input.is_empty()
            && self.link.counters.bytes_sent == 0
            && self.link.output.is_empty()
        {
            // Without input this cannot fail: there is nothing to judge yet.
            let _ = self.link.consume(|input, output| handshake.feed(input, output));
        }
    }

    /// Where received bytes go: append only.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.link.input
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.link.input.extend_from_slice(bytes);
    }

    /// The next event; `Ok(None)` asks for more bytes, or says that the connection is closed.
    ///
    /// # Errors
    /// When the server leaves the protocol. The connection is closed then.
    pub fn poll(&mut self) -> Result<Option<ClientEvent>, Error> {
        let outcome = self.advance();
        if outcome.is_err() {
            self.state = State::Closed;
        }
        outcome
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Bytes {
        self.link.take_output()
    }

    /// Whether there is something to send.
    pub fn has_output(&self) -> bool {
        !self.link.output.is_empty()
    }

    /// Whether media flows, or may.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Whether nothing will be read any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        self.link.counters
    }

    /// Bytes sent that the server has not confirmed. Many servers never confirm.
    pub fn unconfirmed(&self) -> u32 {
        self.link.unconfirmed()
    }

    /// What the server told of itself in its answer to `connect`; null before.
    pub fn server(&self) -> &Value {
        &self.server
    }

    /// Publishes a media message, whose payload is `body`'s pieces one after the other. Metadata is marked so that the
    /// server keeps it. Before [`ClientEvent::Ready`] nothing is written.
    pub fn write_media(&mut self, kind: MediaKind, timestamp: u32, body: &[&[u8]]) {
        if !self.is_ready() || self.options.role != Role::Publish {
            return;
        }
        let keep =
            kind == MediaKind::Data && body.first().is_some_and(|b| opening_name(b, ON_METADATA).is_some());
        let (out, chunk_size) = (&mut self.link.output, self.link.chunk_size);
        if keep {
            let mark = amf0::encode_all(&[SET_DATA_FRAME.into()]);
            let marked: Vec<&[u8]> = std::iter::once(&mark[..]).chain(body.iter().copied()).collect();
            mux_media_to(out, self.stream, kind, timestamp, &marked, chunk_size);
        } else {
            mux_media_to(out, self.stream, kind, timestamp, body, chunk_size);
        }
    }

    /// Publishes a media message.
    pub fn send(&mut self, media: &Media) {
        self.write_media(media.kind, media.timestamp, &[&media.payload]);
    }

    /// Publishes `onMetaData` of this object or ECMA array.
    pub fn metadata(&mut self, value: &Value) {
        let mut body = BytesMut::new();
        Value::from(ON_METADATA).encode(&mut body);
        value.encode(&mut body);
        self.write_media(MediaKind::Data, 0, &[&body]);
    }

    /// Asks for a sign of life; most servers answer, and the answer is not an event.
    pub fn ping(&mut self, value: u32) {
        if !matches!(self.state, State::Handshake(_) | State::Closed) {
            self.link.user_control(UserControl::PingRequest(value));
        }
    }

    fn advance(&mut self) -> Result<Option<ClientEvent>, Error> {
        loop {
            if let State::Handshake(handshake) = &mut self.state {
                if !self.link.consume(|input, output| handshake.feed(input, output))? {
                    return Ok(None);
                }
                self.connect();
                self.state = State::Connecting;
            }
            if self.is_closed() {
                return Ok(None);
            }
            let Some(incoming) = self.link.next()? else { return Ok(None) };
            let event = match incoming {
                Incoming::Command(command) => self.on_command(&command)?,
                Incoming::Media(media) => self.on_media(media),
                Incoming::UserControl(_) => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn on_media(&mut self, media: Media) -> Option<ClientEvent> {
        if media.kind == MediaKind::Data {
            if opening_name(&media.payload, "|RtmpSampleAccess").is_some() {
                return None;
            }
            if ["onStatus", "onPlayStatus"].iter().any(|name| opening_name(&media.payload, name).is_some()) {
                let values = amf0::decode_all(&media.payload).ok()?;
                return values.get(1).map(|info| ClientEvent::Status(Status::parse(info)));
            }
        }
        if self.options.role == Role::Play && matches!(self.state, State::Starting(_) | State::Ready) {
            return Some(ClientEvent::Media(media));
        }
        self.link.counters.media_dropped += 1;
        None
    }
}

/// Feeds a client from the first byte, and one that already plays; whole and in pieces.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    for (ready, step) in [(false, 1_000), (true, data.len().max(1)), (true, 17)] {
        let reader = ReaderOptions {
            message_bytes_max: 1 << 16,
            chunk_bytes_max: 1 << 16,
            partial_bytes_max: 1 << 17,
            streams_max: 16,
        };
        let options = ClientOptions {
            reader,
            tc_url: "rtmp://h/live".to_owned(),
            app: "live".to_owned(),
            stream: "cam".to_owned(),
            role: Role::Play,
            ..ClientOptions::default()
        };
        let mut client = Client::new(options);
        client.start();
        if ready {
            client.state = State::Ready;
        }
        for piece in data.chunks(step) {
            client.feed(piece);
            loop {
                match client.poll() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => {
                        assert!(client.is_closed());
                        return;
                    }
                }
            }
            assert!(client.is_closed() || client.link.input.len() <= step + (1 << 17));
            client.take_output();
        }
    }
}

/// A relay's client may move to another thread.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Client>();
};
