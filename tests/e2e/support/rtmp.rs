//! A small RTMP client of our own, for what ffmpeg cannot do: exact words, exact moments, odd orders.
//!
//! Blocking, over anything that reads and writes. Messages go out on one chunk stream each kind, with full headers.
//! Times are milliseconds. Every read has the socket's time-out.

use std::{
    collections::HashMap,
    io::{self, Error, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::{
    SOON,
    amf::{self, Value},
    flv::Tag,
};

/// What a client talks through: plain TCP or TLS.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: u8,
    pub stream: u32,
    pub ts: u32,
    pub body: Vec<u8>,
}

/// A command or data message in AMF0 (or the AMF0 inside an AMF3 one).
#[derive(Clone, Debug)]
pub struct Command {
    pub name: String,
    pub values: Vec<Value>,
}

impl Command {
    /// `code` of the information object, as `NetStream.Play.Start`; empty where there is none.
    pub fn code(&self) -> String {
        self.member("code")
    }

    /// `description` of the information object.
    pub fn description(&self) -> String {
        self.member("description")
    }

    fn member(&self, name: &str) -> String {
        let found = self.values.iter().rev().find_map(|value| value.get(name));
        found.and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Message {
    /// Its command or data, if it is one.
    pub fn command(&self) -> Option<Command> {
        let body = match self.kind {
            20 | 18 => &self.body[..],
            17 | 15 => self.body.get(1..)?,
            _ => return None,
        };
        let mut values = amf::decode(body);
        let name = values.first()?.as_str()?.to_owned();
        values.remove(0);
        Some(Command { name, values })
    }

    /// As an FLV tag, if it is media or data.
    pub fn tag(&self) -> Option<Tag> {
        matches!(self.kind, 8 | 9 | 18).then(|| Tag { kind: self.kind, ts: self.ts, body: self.body.clone() })
    }
}

#[derive(Default, Clone)]
struct ChunkStream {
    ts: u32,
    delta: u32,
    extended: bool,
    len: usize,
    kind: u8,
    stream: u32,
    body: Vec<u8>,
}

/// A connection to the server.
pub struct Client {
    wire: Box<dyn Wire>,
    chunk_in: usize,
    chunk_out: usize,
    streams: HashMap<u32, ChunkStream>,
    transaction: f64,
    /// Where its messages go.
    pub stream_id: u32,
    received: u64,
    acknowledged: u64,
    window: u64,
}

impl Client {
    /// Handshakes over `wire`, which should have a read time-out.
    pub fn over(mut wire: Box<dyn Wire>) -> io::Result<Self> {
        let mut hello = vec![3u8];
        hello.extend_from_slice(&[0; 8]);
        hello.extend((0..1528u32).map(|i| (i * 7 % 251) as u8));
        wire.write_all(&hello)?;
        let mut answer = vec![0u8; 1 + 1536 * 2];
        wire.read_exact(&mut answer)?;
        if answer[0] != 3 {
            return Err(Error::other(format!("handshake version {}", answer[0])));
        }
        wire.write_all(&answer[1..=1536])?;
        Ok(Self {
            wire,
            chunk_in: 128,
            chunk_out: 128,
            streams: HashMap::new(),
            transaction: 0.0,
            stream_id: 1,
            received: 0,
            acknowledged: 0,
            window: u64::MAX,
        })
    }

    /// Connects and handshakes.
    pub fn dial(addr: SocketAddr) -> io::Result<Self> {
        Self::over(Box::new(socket(addr)?))
    }

    /// The `connect` command, until its answer.
    pub fn connect(&mut self, app: &str, addr: SocketAddr) -> io::Result<Command> {
        let object = Value::Object(vec![
            ("app".into(), Value::text(app)),
            ("type".into(), Value::text("nonprivate")),
            ("flashVer".into(), Value::text("FMLE/3.0 (compatible; shardcast tests)")),
            ("tcUrl".into(), Value::Text(format!("rtmp://{addr}/{app}"))),
            ("fpad".into(), Value::Bool(false)),
            ("audioCodecs".into(), Value::Number(4071.0)),
            ("videoCodecs".into(), Value::Number(252.0)),
            (
                "fourCcList".into(),
                Value::List(["avc1", "hvc1", "av01", "vp09", "Opus", "mp4a"].map(Value::text).into()),
            ),
        ]);
        let id = self.command("connect", &[object])?;
        let answer = self.answer(id)?;
        match answer.name.as_str() {
            "_result" => Ok(answer),
            _ => Err(Error::other(format!("connect: {} {}", answer.code(), answer.description()))),
        }
    }

    /// `createStream`, until its answer.
    pub fn create_stream(&mut self) -> io::Result<()> {
        let id = self.command("createStream", &[Value::Null])?;
        let answer = self.answer(id)?;
        let number = answer.values.last().and_then(Value::as_number);
        self.stream_id = number.ok_or_else(|| Error::other("createStream without a number"))? as u32;
        Ok(())
    }

    /// Everything up to a publisher's first tag, as FMLE, OBS and ffmpeg do it. The answer is the status.
    pub fn publish(addr: SocketAddr, app: &str, name: &str) -> io::Result<(Self, Command)> {
        let mut client = Self::dial(addr)?;
        let status = client.start_publish(addr, app, name)?;
        Ok((client, status))
    }

    /// The same, on a connection that has shaken hands.
    pub fn start_publish(&mut self, addr: SocketAddr, app: &str, name: &str) -> io::Result<Command> {
        self.ask_publish(addr, app, name)?;
        self.status()
    }

    /// Everything up to and with the `publish` command. What comes back is the caller's to read.
    pub fn ask_publish(&mut self, addr: SocketAddr, app: &str, name: &str) -> io::Result<()> {
        self.set_chunk_size(4096)?;
        self.connect(app, addr)?;
        self.command("releaseStream", &[Value::Null, Value::text(name)])?;
        self.command("FCPublish", &[Value::Null, Value::text(name)])?;
        self.create_stream()?;
        let values = [Value::Null, Value::text(name), Value::text("live")];
        self.command_on(self.stream_id, "publish", &values).map(drop)
    }

    /// Everything up to and with the `play` command. What comes back is the caller's to read.
    pub fn play(addr: SocketAddr, app: &str, name: &str) -> io::Result<Self> {
        let mut client = Self::dial(addr)?;
        client.start_play(addr, app, name)?;
        Ok(client)
    }

    /// The same, on a connection that has shaken hands.
    pub fn start_play(&mut self, addr: SocketAddr, app: &str, name: &str) -> io::Result<()> {
        self.connect(app, addr)?;
        self.create_stream()?;
        self.command_on(self.stream_id, "play", &[Value::Null, Value::text(name), Value::Number(-2000.0)])?;
        Ok(())
    }

    /// Sends a command on stream 0; returns its transaction id.
    pub fn command(&mut self, name: &str, values: &[Value]) -> io::Result<f64> {
        self.command_on(0, name, values)
    }

    /// Sends a command on a message stream; returns its transaction id.
    pub fn command_on(&mut self, stream: u32, name: &str, values: &[Value]) -> io::Result<f64> {
        self.transaction += 1.0;
        let mut all = vec![Value::text(name), Value::Number(self.transaction)];
        all.extend_from_slice(values);
        self.send(3, &Message { kind: 20, stream, ts: 0, body: amf::encode(&all) })?;
        Ok(self.transaction)
    }

    /// Sends media.
    pub fn send_tag(&mut self, tag: &Tag) -> io::Result<()> {
        let chunk_stream = 4 + u32::from(tag.kind % 4);
        let message = Message { kind: tag.kind, stream: self.stream_id, ts: tag.ts, body: tag.body.clone() };
        self.send(chunk_stream, &message)
    }

    /// Announces and uses a chunk size.
    pub fn set_chunk_size(&mut self, size: u32) -> io::Result<()> {
        self.send(2, &Message { kind: 1, stream: 0, ts: 0, body: size.to_be_bytes().to_vec() })?;
        self.chunk_out = size as usize;
        Ok(())
    }

    /// Sends any message on a chunk stream below 64, with a full header.
    pub fn send(&mut self, chunk_stream: u32, message: &Message) -> io::Result<()> {
        let csid = chunk_stream as u8;
        let len = (message.body.len() as u32).to_be_bytes();
        let extended = message.ts >= 0xff_ffff;
        let short = message.ts.min(0xff_ffff).to_be_bytes();
        let mut out = vec![csid, short[1], short[2], short[3], len[1], len[2], len[3], message.kind];
        out.extend_from_slice(&message.stream.to_le_bytes());
        for (i, part) in message.body.chunks(self.chunk_out).enumerate() {
            if i > 0 {
                out.push(0xc0 | csid);
            }
            if extended {
                out.extend_from_slice(&message.ts.to_be_bytes());
            }
            out.extend_from_slice(part);
        }
        self.wire.write_all(&out)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.bytes::<1>()?[0])
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.wire.read_exact(&mut bytes)?;
        self.received += N as u64;
        Ok(bytes)
    }

    fn u24(&mut self) -> io::Result<u32> {
        let [a, b, c] = self.bytes()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// The next message; protocol control is obeyed on the way and returned too.
    pub fn read(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.read_chunk()? {
                self.obey(&message)?;
                return Ok(message);
            }
        }
    }

    fn read_chunk(&mut self) -> io::Result<Option<Message>> {
        let first = self.byte()?;
        let csid = match first & 63 {
            0 => u32::from(self.byte()?) + 64,
            1 => u32::from(u16::from_le_bytes(self.bytes()?)) + 64,
            id => u32::from(id),
        };
        let mut chunk = self.streams.remove(&csid).unwrap_or_default();
        let format = first >> 6;
        let fresh = chunk.body.is_empty();
        if format < 3 {
            let time = self.u24()?;
            if format < 2 {
                chunk.len = self.u24()? as usize;
                chunk.kind = self.byte()?;
            }
            if format == 0 {
                chunk.stream = u32::from_le_bytes(self.bytes()?);
            }
            chunk.extended = time == 0xff_ffff;
            let time = if chunk.extended { u32::from_be_bytes(self.bytes()?) } else { time };
            if format == 0 {
                chunk.ts = time;
                chunk.delta = 0;
            } else {
                chunk.delta = time;
                chunk.ts = chunk.ts.wrapping_add(time);
            }
        } else {
            if chunk.extended {
                self.bytes::<4>()?;
            }
            if fresh {
                chunk.ts = chunk.ts.wrapping_add(chunk.delta);
            }
        }
        let part = (chunk.len - chunk.body.len()).min(self.chunk_in);
        let start = chunk.body.len();
        chunk.body.resize(start + part, 0);
        self.wire.read_exact(&mut chunk.body[start..])?;
        self.received += part as u64;
        let whole = chunk.body.len() == chunk.len;
        let message = whole.then(|| Message {
            kind: chunk.kind,
            stream: chunk.stream,
            ts: chunk.ts,
            body: std::mem::take(&mut chunk.body),
        });
        self.streams.insert(csid, chunk);
        Ok(message)
    }

    fn obey(&mut self, message: &Message) -> io::Result<()> {
        let number =
            |at: usize| message.body.get(at..at + 4).map(|b| u32::from_be_bytes(b.try_into().expect("four")));
        match (message.kind, number(0)) {
            (1, Some(size)) => self.chunk_in = size as usize,
            (5, Some(window)) => self.window = u64::from(window),
            // A ping is answered with its own time.
            (4, _) if message.body.starts_with(&[0, 6]) => {
                let mut body = message.body.clone();
                body[1] = 7;
                self.send(2, &Message { kind: 4, stream: 0, ts: 0, body })?;
            }
            _ => {}
        }
        if self.received - self.acknowledged > self.window / 2 {
            self.acknowledged = self.received;
            let body = (self.received as u32).to_be_bytes().to_vec();
            self.send(2, &Message { kind: 3, stream: 0, ts: 0, body })?;
        }
        Ok(())
    }

    /// Reads until the answer to a transaction.
    pub fn answer(&mut self, transaction: f64) -> io::Result<Command> {
        loop {
            let Some(command) = self.read()?.command() else { continue };
            let to = command.values.first().and_then(Value::as_number);
            if matches!(command.name.as_str(), "_result" | "_error") && to == Some(transaction) {
                return Ok(command);
            }
        }
    }

    /// Reads until an `onStatus`.
    pub fn status(&mut self) -> io::Result<Command> {
        loop {
            if let Some(command) = self.read()?.command()
                && command.name == "onStatus"
            {
                return Ok(command);
            }
        }
    }
}

/// A TCP connection whose reads and writes do not wait for ever.
pub fn socket(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
