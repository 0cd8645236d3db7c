//! One player's end of a connection, whatever it speaks: bytes come in, media and bytes to send go out.
//!
//! Invariant: what is held is at most one message or tag of the stream; whoever sends more is refused by the machines
//! below. Sizes are bytes.

use bytes::{Bytes, BytesMut};
use shardcast::protocols::{
    flv::{self, FlvError},
    http::{self, Body, HttpError, Limits, Method, Piece, Version},
    rtmp::{self, Client, ClientEvent, Media, Role},
    ws::{self, WsError},
};

use crate::{
    media::media_kind,
    url::{Address, Form},
};

/// No tag is larger by its format.
const FLV: flv::ReaderOptions = flv::ReaderOptions { tag_bytes_max: 0xff_ffff };

/// Why a player got nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// A status other than 200.
    #[error("the server answered {0}")]
    Status(u16),
    /// In its own words.
    #[error("the server said: {0}")]
    Refused(String),
    /// The response ended.
    #[error("the server ended the stream")]
    Ended,
    /// Not FLV.
    #[error("{0}")]
    Flv(#[from] FlvError),
    /// Not HTTP.
    #[error("{0}")]
    Http(#[from] HttpError),
    /// Not RTMP.
    #[error("{0}")]
    Rtmp(#[from] rtmp::Error),
    /// Not WebSocket.
    #[error("{0}")]
    Ws(#[from] WsError),
}

/// A player's protocol.
#[derive(Debug)]
pub enum Wire {
    /// RTMP.
    Rtmp(Box<Client>),
    /// FLV in an HTTP response or in WebSocket messages.
    Flv(Box<FlvWire>),
}

/// The state of an FLV player.
#[derive(Debug)]
pub struct FlvWire {
    /// Received and not yet looked at.
    input: BytesMut,
    output: BytesMut,
    stage: Stage,
    /// FLV, unwrapped.
    flv: BytesMut,
    reader: flv::Reader,
}

#[derive(Debug)]
enum Stage {
    Head(Option<ws::ClientHandshake>),
    Body(Body),
    Messages(Box<ws::Machine>),
}

impl Wire {
    /// To play stream `n`; `seed` makes handshakes differ.
    pub fn new(address: &Address, n: u64, seed: u64) -> Self {
        match address.form {
            Form::Rtmp => {
                let url = address.of(n).parse().expect("an address was checked when it was read");
                let mut client =
                    Client::new(rtmp::ClientOptions { seed, ..rtmp::ClientOptions::new(&url, Role::Play) });
                client.start();
                Self::Rtmp(Box::new(client))
            }
            form => {
                let (host, target) = (address.authority(), address.target(n));
                let (request, handshake) = if form == Form::WsFlv {
                    let handshake = ws::ClientHandshake::new(host, &target, &[]);
                    (handshake.request.clone(), Some(handshake))
                } else {
                    let headers = [("User-Agent", "shardcast-loadtest"), ("Accept", "*/*")];
                    (http::client::request("GET", &target, host, Version::Http11, &headers), None)
                };
                Self::Flv(Box::new(FlvWire {
                    input: BytesMut::new(),
                    output: BytesMut::from(&request[..]),
                    stage: Stage::Head(handshake),
                    flv: BytesMut::new(),
                    reader: flv::Reader::new(FLV),
                }))
            }
        }
    }

    /// Takes received bytes apart; `media` gets every message of media in them. Whether any byte of media came.
    ///
    /// # Errors
    /// [`Trouble`]; there is nothing more to come then.
    pub fn feed(&mut self, received: &[u8], media: &mut impl FnMut(Media)) -> Result<bool, Trouble> {
        match self {
            Self::Rtmp(client) => {
                client.feed(received);
                let mut any = false;
                while let Some(event) = client.poll()? {
                    match event {
                        ClientEvent::Media(message) => {
                            any = true;
                            media(message);
                        }
                        ClientEvent::Closed(status) => {
                            return Err(Trouble::Refused(format!("{} {}", status.code, status.description)));
                        }
                        ClientEvent::Ready | ClientEvent::Status(_) => {}
                    }
                }
                Ok(any)
            }
            Self::Flv(wire) => wire.feed(received, media),
        }
    }

    /// What is to be sent; empty when nothing is.
    pub fn take_output(&mut self) -> Bytes {
        match self {
            Self::Rtmp(client) if client.has_output() => client.take_output(),
            Self::Rtmp(_) => Bytes::new(),
            Self::Flv(wire) => {
                if let Stage::Messages(machine) = &mut wire.stage {
                    wire.output.extend_from_slice(&machine.take_output());
                }
                wire.output.split().freeze()
            }
        }
    }
}

impl FlvWire {
    fn feed(&mut self, received: &[u8], media: &mut impl FnMut(Media)) -> Result<bool, Trouble> {
        self.input.extend_from_slice(received);
        if let Stage::Head(handshake) = &self.stage {
            let Some(head) = http::client::parse(&mut self.input, Method::Get, &Limits::default())? else {
                return Ok(false);
            };
            self.stage = match handshake {
                Some(handshake) if head.status.0 == 101 => {
                    handshake.check(&head)?;
                    Stage::Messages(Box::new(ws::Machine::new(ws::Options {
                        message_bytes_max: 64 << 20,
                        ..ws::Options::new(ws::Role::Client)
                    })))
                }
                None if head.status.0 == 200 => Stage::Body(Body::new(head.framing, usize::MAX)?),
                _ => return Err(Trouble::Status(head.status.0)),
            };
        }
        let any = self.unwrap()?;
        while let Some(tag) = self.reader.read(&mut self.flv)? {
            if !tag.body.is_empty() {
                media(Media { kind: media_kind(tag.kind), timestamp: tag.timestamp, payload: tag.body });
            }
        }
        Ok(any)
    }

    /// Moves what the input holds of FLV into `flv`; whether that is anything.
    fn unwrap(&mut self) -> Result<bool, Trouble> {
        let before = self.flv.len();
        match &mut self.stage {
            Stage::Head(_) => {}
            Stage::Body(body) => {
                while let Some(piece) = body.next(&mut self.input)? {
                    match piece {
                        Piece::Data(data) => self.flv.extend_from_slice(&data),
                        Piece::End => return Err(Trouble::Ended),
                    }
                }
            }
            Stage::Messages(machine) => {
                machine.feed(&self.input.split());
                while let Some(event) = machine.poll()? {
                    match event {
                        ws::Event::Binary(data) => self.flv.extend_from_slice(&data),
                        ws::Event::Close { code, reason } => {
                            let code = code.map_or_else(String::new, |code| format!("close {code} "));
                            return Err(Trouble::Refused(format!("{code}{reason}")));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(self.flv.len() > before)
    }
}

/// What a player that drains without looking says now and then, so that servers see it is alive: RTMP's confirmation of
/// `received` bytes and an answer to a ping, or WebSocket's unasked pong (RFC 6455 section 5.5.3).
pub fn sign_of_life(form: Form, received: u64) -> Bytes {
    use rtmp::{
        chunk::{self, Head},
        message::{UserControl, kind},
    };
    match form {
        Form::HttpFlv | Form::Whep | Form::Whip | Form::Udp => Bytes::new(),
        // Empty, so that any mask will do.
        Form::WsFlv => Bytes::from_static(&[0x8a, 0x80, 0, 0, 0, 0]),
        Form::Rtmp => {
            let mut out = BytesMut::new();
            // The protocol's counter wraps.
            let count = (received as u32).to_be_bytes();
            let head = Head { csid: 2, timestamp: 0, kind: kind::ACKNOWLEDGEMENT, stream: 0 };
            chunk::write(&mut out, head, &[&count], chunk::CHUNK_BYTES_INITIAL);
            UserControl::PingResponse(0).write(&mut out);
            out.freeze()
        }
    }
}
