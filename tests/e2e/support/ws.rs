//! WebSocket clients over any wire: a player's and a publisher's side of WS-FLV.

use std::{
    io::{self, Error},
    net::SocketAddr,
};

use tungstenite::{Message, WebSocket, client::IntoClientRequest, handshake::HandshakeError};

use super::rtmp::Wire;

/// An open WebSocket.
pub type Socket = WebSocket<Box<dyn Wire>>;

/// Upgrades `wire` at `target`, such as `/live/cam.flv`. A refusal is an error that tells status and sentence.
pub fn open(wire: Box<dyn Wire>, addr: SocketAddr, target: &str) -> io::Result<Socket> {
    let request = format!("ws://{addr}{target}").into_client_request().map_err(Error::other)?;
    match tungstenite::client(request, wire) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            Err(Error::other(format!("{} {body}", answer.status())))
        }
        Err(HandshakeError::Failure(error)) => Err(Error::other(error)),
        Err(HandshakeError::Interrupted(_)) => {
            Err(Error::new(io::ErrorKind::TimedOut, "no answer to the upgrade"))
        }
    }
}

/// How a WebSocket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame: its code and reason.
    Closed(u16, String),
    /// Without.
    Broken(String),
}

/// The next binary message; pings are answered, texts refused.
pub fn read(socket: &mut Socket) -> Result<Vec<u8>, End> {
    loop {
        match socket.read() {
            Ok(Message::Binary(bytes)) => return Ok(bytes.to_vec()),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                let _ = socket.flush();
            }
            Ok(Message::Close(frame)) => {
                let _ = socket.flush();
                return Err(match frame {
                    Some(frame) => End::Closed(frame.code.into(), frame.reason.to_string()),
                    None => End::Closed(1005, String::new()),
                });
            }
            Ok(Message::Text(text)) => return Err(End::Broken(format!("a text message: {text}"))),
            Err(error) => return Err(End::Broken(error.to_string())),
        }
    }
}
