//! Stories of whole connections: scripts of real clients, our client against our server, captures, hostile input.

mod captures;
mod flows;
mod pairs;
mod properties;

use bytes::BytesMut;

use super::{
    chunk::{Message, Reader, ReaderOptions, write},
    command::{Command, CommandWriter},
    message::{UserControl, kind},
    *,
};
use crate::protocols::amf0::{self, Value};

/// A client that is only its script: says what it is told, and notes what it hears.
struct Script {
    server: Server,
    reader: Reader,
    heard: BytesMut,
    /// What of the server's handshake is still to come.
    handshake: usize,
}

impl Script {
    /// Behind a plain handshake.
    fn new(options: ServerOptions) -> Self {
        let mut script = Self {
            server: Server::new(options),
            reader: Reader::new(ReaderOptions::default()),
            heard: BytesMut::new(),
            handshake: 1 + 2 * 1536,
        };
        script.server.feed(&[3]);
        script.server.feed(&[0; 2 * 1536]);
        script
    }

    /// Connected to `app`, with everything heard forgotten.
    fn connected(app: &str) -> Self {
        let mut script = Self::new(ServerOptions::default());
        let tc_url = format!("rtmp://h.example/{app}");
        script.connect(amf0::object([("app", app.into()), ("tcUrl", tc_url.into())]));
        script.server.accept_connect();
        script.hear();
        script
    }

    fn connect(&mut self, object: Value) -> Event {
        self.say("connect", 1.0, object, &[]);
        self.event()
    }

    fn say(&mut self, name: &str, transaction: f64, object: Value, args: &[Value]) {
        let mut out = BytesMut::new();
        CommandWriter { out: &mut out, chunk_size: 128 }.call(name, transaction, object, args);
        self.server.feed(&out);
    }

    /// A command without an object.
    fn ask(&mut self, name: &str, transaction: f64, args: &[Value]) {
        self.say(name, transaction, Value::Null, args);
    }

    fn message(&mut self, kind: u8, timestamp: u32, body: &[u8]) {
        let mut out = BytesMut::new();
        write(&mut out, chunk::Head { csid: 6, timestamp, kind, stream: 1 }, &[body], 128);
        self.server.feed(&out);
    }

    fn event(&mut self) -> Event {
        self.server.poll().unwrap().expect("an event")
    }

    fn nothing(&mut self) {
        assert_eq!(self.server.poll(), Ok(None));
    }

    /// What the server said since the last time, in short.
    fn hear(&mut self) -> Vec<String> {
        self.messages().iter().map(short).collect()
    }

    fn messages(&mut self) -> Vec<Message> {
        self.heard.extend_from_slice(&self.server.take_output());
        let skip = self.handshake.min(self.heard.len());
        let _ = self.heard.split_to(skip);
        self.handshake -= skip;
        std::iter::from_fn(|| self.reader.read(&mut self.heard).unwrap()).collect()
    }
}

/// A message in a few words.
fn short(message: &Message) -> String {
    let body = &message.payload[..];
    let number = || u32::from_be_bytes(body[..4].try_into().unwrap());
    match message.kind {
        kind::SET_CHUNK_SIZE => format!("chunk size {}", number()),
        kind::ACKNOWLEDGEMENT => format!("acknowledgement {}", number()),
        kind::WINDOW_ACK_SIZE => format!("window {}", number()),
        kind::SET_PEER_BANDWIDTH => format!("bandwidth {} {}", number(), body[4]),
        kind::USER_CONTROL => format!("{:?}", UserControl::parse(body).unwrap().expect("an event")),
        kind::COMMAND => {
            let command = Command::parse(kind::COMMAND, body).unwrap();
            let value = command.args.first().unwrap_or(&Value::Null);
            let told = match value.get("code") {
                Some(code) => code.as_str().expect("a text").to_owned(),
                None => format!("{value:?}"),
            };
            format!("{} {} {told}", command.name, command.transaction)
        }
        kind::DATA => format!("data {:?}", amf0::decode_all(body).unwrap()[0]),
        kind => format!("{kind}: {} bytes", body.len()),
    }
}

fn key(event: &Event) -> String {
    let url = match event {
        Event::Publish(request) => &request.url,
        Event::Play(request) => &request.url,
        other => panic!("neither publish nor play: {other:?}"),
    };
    url.key.as_ref().map_or_else(ToString::to_string, ToString::to_string)
}

/// The bytes of a capture: hexadecimal, spaces and lines as they like.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
    digits.as_chunks::<2>().0.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}
