//! A server's end of one connection.
//!
//! Three questions need the host's word: connect, publish, play. While one is open, nothing more is read: what came
//! behind it waits in the input, whole, and travels with the machine. There is one message stream, number 1, which
//! publishes or plays. Sizes are bytes.

mod answers;
mod commands;
mod connect;

use bytes::{Bytes, BytesMut};

pub use answers::{Farewell, Reject};
pub use connect::{AUDIO_FOURCCS, Connect, URL_BYTES_MAX, VIDEO_FOURCCS, caps};

use super::{
    Error,
    chunk::ReaderOptions,
    command::Command,
    handshake::ServerHandshake,
    link::{Counters, Incoming, Link, WINDOW_ACK_SIZE},
    message::{Media, UserControl},
    url::StreamUrl,
};

/// What the host decides once for all connections, and who it says it is.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Bounds of the chunk reader, the longest message among them.
    pub reader: ReaderOptions,
    /// The client confirms each so many bytes that it received.
    pub window_ack: u32,
    /// What the client is allowed to send, in bytes; every client takes it as advice.
    pub peer_bandwidth: u32,
    /// Bytes in an outgoing chunk. The host muxes media with the same.
    pub chunk_size: u32,
    /// Makes the handshake differ from other connections'.
    pub seed: u64,
    /// This server's version: `1.2.3`.
    pub version: String,
    /// This server's address, for those who trace streams; may be empty.
    pub ip: String,
    /// This process.
    pub pid: u32,
    /// This connection, as logs name it.
    pub id: String,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            reader: ReaderOptions::default(),
            window_ack: WINDOW_ACK_SIZE,
            peer_bandwidth: WINDOW_ACK_SIZE,
            chunk_size: 60_000,
            seed: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ip: String::new(),
            pid: 0,
            id: String::new(),
        }
    }
}

/// What the client wants or did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It introduced itself. Answer by [`Server::accept_connect`] or [`Server::reject_connect`].
    Connect(Box<Connect>),
    /// It asks to publish. Answer by [`Server::accept_publish`] or [`Server::reject_publish`].
    Publish(Box<PublishRequest>),
    /// It asks to play. Answer by [`Server::accept_play`] or [`Server::reject_play`].
    Play(Box<PlayRequest>),
    /// It published this.
    Media(Media),
    /// It no longer publishes, and may ask for something else.
    Unpublish,
    /// It no longer plays, and may ask for something else.
    StopPlay,
    /// The player paused, or goes on; it has been answered.
    Pause {
        /// Or goes on.
        paused: bool,
        /// Where the player stands, in milliseconds.
        at_ms: f64,
    },
    /// The player wants sound, or does without.
    ReceiveAudio(bool),
    /// The player wants pictures, or does without.
    ReceiveVideo(bool),
    /// The player's buffer is this many milliseconds long.
    BufferLength(u32),
    /// The client answered [`Server::ping`] with its value.
    Pong(u32),
}

/// How a publisher wants its stream to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishKind {
    /// Not at all.
    #[default]
    Live,
    /// In a new file.
    Record,
    /// Behind what is there.
    Append,
}

/// A wish to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The stream.
    pub url: StreamUrl,
    /// The name as it came.
    pub name: String,
    /// How to keep it.
    pub kind: PublishKind,
    /// Whether it announced itself by `FCPublish`, as encoders do and Flash does not.
    pub encoder: bool,
}

/// A wish to play.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayRequest {
    /// The stream.
    pub url: StreamUrl,
    /// The name as it came.
    pub name: String,
    /// Seconds into a recording; -1 for live only, -2 (and when not told) for live or else recorded.
    pub start: f64,
    /// Seconds to play, or negative for all there is.
    pub duration: f64,
    /// Whether what played before is dropped.
    pub reset: bool,
}

/// A server's end of one connection.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    link: Link,
    state: State,
    connect: Box<Connect>,
    /// A command that first ended something else, and is carried out by the next poll.
    held: Option<Command>,
    /// The name that was last published or played, for status messages.
    name: String,
    /// Whether the client said `FCPublish` and so waits for `onFCPublish`.
    encoder: bool,
    /// Whether the client left the protocol.
    broken: bool,
    proxied: Option<std::net::Ipv4Addr>,
}

#[derive(Debug)]
enum State {
    Handshake(ServerHandshake),
    /// Waits for `connect`.
    Introduction,
    /// `connect` waits for the host; this is its transaction.
    ConnectAsked(f64),
    /// Neither publishes nor plays.
    Idle,
    PublishAsked,
    Publishing,
    PlayAsked,
    Playing,
    Closed,
}

impl Server {
    /// At the first byte of a connection.
    pub fn new(options: ServerOptions) -> Self {
        Self {
            link: Link::new(options.reader),
            state: State::Handshake(ServerHandshake::new(options.seed)),
            options,
            connect: Box::default(),
            held: None,
            name: String::new(),
            encoder: false,
            broken: false,
            proxied: None,
        }
    }

    /// Where received bytes go: append only. Feed no more than a receive's worth while an answer is open.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.link.input
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.link.input.extend_from_slice(bytes);
    }

    /// The next event. `Ok(None)` asks for more bytes, or for the answer to the last request, or says that the connection
    /// is closed. Poll until then after each receive and each answer, and send the output.
    ///
    /// # Errors
    /// When the client leaves the protocol. Nothing more is read then; [`close`](Self::close) can still tell it why.
    pub fn poll(&mut self) -> Result<Option<Event>, Error> {
        if self.broken {
            return Ok(None);
        }
        let outcome = self.advance();
        self.broken = outcome.is_err();
        outcome
    }

    /// What is to be sent; whole messages, behind which the host may send media of its own.
    pub fn take_output(&mut self) -> Bytes {
        self.link.take_output()
    }

    /// Whether there is something to send.
    pub fn has_output(&self) -> bool {
        !self.link.output.is_empty()
    }

    /// Counts bytes that the host sent beside the output.
    pub fn sent(&mut self, bytes: u64) {
        self.link.counters.bytes_sent += bytes;
    }

    /// Bytes sent that the client has not confirmed. Many clients never confirm: a hint, not a verdict.
    pub fn unconfirmed(&self) -> u32 {
        self.link.unconfirmed()
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        self.link.counters
    }

    /// What the client told when it connected; all empty before.
    pub fn connect(&self) -> &Connect {
        &self.connect
    }

    /// The client's address by the word of a proxy in front of it. Believe only a proxy that you know.
    pub fn proxied(&self) -> Option<std::net::Ipv4Addr> {
        self.proxied
    }

    /// Whether a request waits for the host.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::ConnectAsked(_) | State::PublishAsked | State::PlayAsked)
    }

    /// Whether media is being received.
    pub fn is_publishing(&self) -> bool {
        matches!(self.state, State::Publishing)
    }

    /// Whether the host is to send media.
    pub fn is_playing(&self) -> bool {
        matches!(self.state, State::Playing)
    }

    /// Whether nothing will be read any more: after an error, a refused `connect` or a farewell. Send the output, then
    /// close.
    pub fn is_closed(&self) -> bool {
        self.broken || matches!(self.state, State::Closed)
    }

    fn advance(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match &mut self.state {
                State::ConnectAsked(_) | State::PublishAsked | State::PlayAsked | State::Closed => {
                    return Ok(None);
                }
                State::Handshake(handshake) => {
                    if !self.link.consume(|input, output| handshake.feed(input, output))? {
                        return Ok(None);
                    }
                    self.proxied = handshake.proxied();
                    self.state = State::Introduction;
                }
                _ => {
                    let incoming = match self.held.take() {
                        Some(command) => Incoming::Command(command),
                        None => match self.link.next()? {
                            Some(incoming) => incoming,
                            None => return Ok(None),
                        },
                    };
                    let event = match incoming {
                        Incoming::Command(command) => self.on_command(command)?,
                        Incoming::Media(media) => self.on_media(media),
                        Incoming::UserControl(event) => on_user_control(event),
                    };
                    if event.is_some() {
                        return Ok(event);
                    }
                }
            }
        }
    }

    fn on_media(&mut self, media: Media) -> Option<Event> {
        if self.is_publishing() {
            return Some(Event::Media(media));
        }
        self.link.counters.media_dropped += 1;
        None
    }
}

fn on_user_control(event: UserControl) -> Option<Event> {
    match event {
        UserControl::SetBufferLength { millis, .. } => Some(Event::BufferLength(millis)),
        UserControl::PingResponse(value) => Some(Event::Pong(value)),
        _ => None,
    }
}

/// A machine moves to the thread that owns its stream.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Server>();
};

/// Feeds a server that says yes to everything; once from the first byte, once behind a handshake and `connect`, once
/// while publishing and once while playing; whole and in pieces.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    for (stage, step) in [(0, 1_000), (1, data.len().max(1)), (2, 13), (3, 101)] {
        let reader = ReaderOptions {
            message_bytes_max: 1 << 16,
            chunk_bytes_max: 1 << 16,
            partial_bytes_max: 1 << 17,
            streams_max: 16,
        };
        let mut server = Server::new(ServerOptions { reader, ..ServerOptions::default() });
        if stage > 0 {
            server.state = State::Idle;
        }
        if stage == 2 {
            server.state = State::Publishing;
        }
        if stage == 3 {
            server.state = State::Playing;
        }
        for piece in data.chunks(step) {
            server.feed(piece);
            if fuzz_step(&mut server).is_err() {
                assert!(server.is_closed());
                assert_eq!(server.poll(), Ok(None));
                return;
            }
            assert!(server.is_closed() || server.link.input.len() <= step + (1 << 17));
            server.take_output();
        }
    }
}

fn fuzz_step(server: &mut Server) -> Result<(), Error> {
    while let Some(event) = server.poll()? {
        match event {
            Event::Connect(_) => server.accept_connect(),
            Event::Publish(request) => match request.url.key {
                Ok(_) => server.accept_publish(),
                Err(error) => server.reject_publish(&Reject::bad_name(error.to_string())),
            },
            Event::Play(_) => server.accept_play(),
            _ => {}
        }
    }
    Ok(())
}
