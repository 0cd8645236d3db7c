//! Players of each form: opened for draining, or until their first picture or sound has come.

use std::{
    fmt,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use shardcast::protocols::{
    flv::{self, TagType},
    http::{self, Limits, Method, Piece, Version, chunked},
    rtmp::{Client, ClientEvent, MediaKind, Role},
    ws,
};

use crate::{load::shake_hands, server::Addresses};

/// The stream that everybody plays.
pub const KEY: &str = "live/bench";

/// No tag of the load comes near.
const FLV: flv::ReaderOptions = flv::ReaderOptions { tag_bytes_max: 1 << 20 };

/// How a player gets the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// FLV in chunks of HTTP/1.1.
    Flv,
    /// FLV in WebSocket messages.
    WsFlv,
    /// RTMP.
    Rtmp,
}

impl Form {
    /// All.
    pub const ALL: [Self; 3] = [Self::Flv, Self::WsFlv, Self::Rtmp];
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flv => "FLV",
            Self::WsFlv => "WS-FLV",
            Self::Rtmp => "RTMP",
        })
    }
}

/// Opens `count` players and lets none of them read.
pub fn open(form: Form, addresses: Addresses, count: usize) -> Result<Vec<TcpStream>> {
    (0..count).map(|_| open_one(form, addresses)).collect::<Result<_>>().with_context(|| {
        format!("opening {count} players; `ulimit -n` must allow as many descriptors here and in the server")
    })
}

fn open_one(form: Form, addresses: Addresses) -> Result<TcpStream> {
    if form == Form::Rtmp {
        return Ok(shake_hands(addresses.rtmp, rtmp_player(addresses)?)?.0);
    }
    let mut stream = TcpStream::connect(addresses.http)?;
    stream.write_all(&request(form, addresses).0)?;
    Ok(stream)
}

fn rtmp_player(addresses: Addresses) -> Result<Client> {
    Client::from_url(&format!("rtmp://{}/{KEY}", addresses.rtmp), Role::Play).context("the URL of a player")
}

/// The request, and for a WebSocket its handshake.
fn request(form: Form, addresses: Addresses) -> (bytes::Bytes, Option<ws::ClientHandshake>) {
    let (host, target) = (addresses.http.to_string(), format!("/{KEY}.flv"));
    if form == Form::Flv {
        return (http::client::request("GET", &target, &host, Version::Http11, &[]), None);
    }
    let handshake = ws::ClientHandshake::new(&host, &target, &[]);
    (handshake.request.clone(), Some(handshake))
}

/// From `connect()` until the first whole picture or sound has come; parameter sets do not count.
pub fn time_to_media(form: Form, addresses: Addresses) -> Result<Duration> {
    let start = Instant::now();
    match form {
        Form::Rtmp => rtmp_media(addresses)?,
        _ => flv_media(form, addresses)?,
    }
    Ok(start.elapsed())
}

fn rtmp_media(addresses: Addresses) -> Result<()> {
    let (mut stream, mut client) = shake_hands(addresses.rtmp, rtmp_player(addresses)?)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        while let Some(event) = client.poll()? {
            match event {
                ClientEvent::Media(media) if media.kind != MediaKind::Data && is_media(&media.payload) => {
                    return Ok(());
                }
                ClientEvent::Closed(status) => bail!("the server refused: {status:?}"),
                _ => {}
            }
        }
        let got = read(&mut stream, &mut buffer)?;
        client.feed(&buffer[..got]);
    }
}

fn flv_media(form: Form, addresses: Addresses) -> Result<()> {
    let mut stream = TcpStream::connect(addresses.http)?;
    stream.set_nodelay(true)?;
    let (request, handshake) = request(form, addresses);
    stream.write_all(&request)?;
    let mut buffer = vec![0; 64 << 10];
    let mut input = BytesMut::new();
    let head = loop {
        let got = read(&mut stream, &mut buffer)?;
        input.extend_from_slice(&buffer[..got]);
        if let Some(head) = http::client::parse(&mut input, Method::Get, &Limits::default())? {
            break head;
        }
    };
    if let Some(handshake) = handshake {
        handshake.check(&head)?;
    } else if head.status.0 != 200 {
        bail!("the server answered {}", head.status.0);
    }
    let mut unwrap = Unwrap::new(form);
    let (mut body, mut reader) = (BytesMut::new(), flv::Reader::new(FLV));
    loop {
        unwrap.take(&mut input, &mut body)?;
        while let Some(tag) = reader.read(&mut body)? {
            if tag.kind != TagType::Script && is_media(&tag.body) {
                return Ok(());
            }
        }
        let got = read(&mut stream, &mut buffer)?;
        input.extend_from_slice(&buffer[..got]);
    }
}

/// What stands around the FLV stream.
enum Unwrap {
    Chunks(chunked::Decoder),
    Messages(Box<ws::Machine>),
}

impl Unwrap {
    fn new(form: Form) -> Self {
        match form {
            Form::WsFlv => Self::Messages(Box::new(ws::Machine::new(ws::Options::new(ws::Role::Client)))),
            _ => Self::Chunks(chunked::Decoder::default()),
        }
    }

    fn take(&mut self, input: &mut BytesMut, body: &mut BytesMut) -> Result<()> {
        match self {
            Self::Chunks(decoder) => {
                while let Some(piece) = decoder.next(input)? {
                    match piece {
                        Piece::Data(data) => body.extend_from_slice(&data),
                        Piece::End => bail!("the stream ended"),
                    }
                }
            }
            Self::Messages(machine) => {
                machine.feed(&input.split());
                while let Some(event) = machine.poll()? {
                    match event {
                        ws::Event::Binary(data) => body.extend_from_slice(&data),
                        ws::Event::Close { code, reason } => bail!("the server closed: {code:?} {reason}"),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    match stream.read(buffer)? {
        0 => bail!("the server closed the connection"),
        read => Ok(read),
    }
}

/// AVC and AAC bodies tell in their second byte whether they are media or parameter sets.
fn is_media(body: &[u8]) -> bool {
    body.get(1) == Some(&1)
}
