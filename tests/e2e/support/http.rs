//! HTTP/1.x by hand: requests exactly as a story spells them, answers taken apart strictly.
//!
//! Every read has the socket's time-out.

use std::{
    io::{self, BufRead, BufReader, Error, Read, Write},
    net::SocketAddr,
};

use super::rtmp::{Wire, socket};

/// Status line and header fields.
#[derive(Clone, Debug)]
pub struct Head {
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// A field's value; its name in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
    Ended,
}

/// An answer whose body is read piece by piece.
pub struct Stream {
    pub head: Head,
    wire: BufReader<Box<dyn Wire>>,
    framing: Framing,
}

impl Stream {
    /// Reads the head of the answer to `method`.
    pub fn read_head(mut wire: BufReader<Box<dyn Wire>>, method: &str) -> io::Result<Self> {
        let status_line = line(&mut wire)?;
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| Error::other(format!("a status line like {status_line:?}")))?;
        let mut fields = Vec::new();
        loop {
            let text = line(&mut wire)?;
            if text.is_empty() {
                break;
            }
            let (name, value) =
                text.split_once(':').ok_or_else(|| Error::other(format!("a field like {text:?}")))?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        let head = Head { version, status, fields };
        let framing = if method == "HEAD" || head.status == 204 || head.status == 304 {
            Framing::Ended
        } else if head.field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            Framing::Chunked
        } else if let Some(len) = head.field("content-length") {
            Framing::Length(len.parse().map_err(|_| Error::other(format!("a length like {len:?}")))?)
        } else {
            Framing::UntilClose
        };
        Ok(Self { head, wire, framing })
    }

    /// Whether the body comes in chunks.
    pub fn chunked(&self) -> bool {
        matches!(self.framing, Framing::Chunked)
    }

    /// The next piece of the body; `None` at its proper end.
    pub fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Ended | Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let mut piece = vec![0; left.min(65_536)];
                self.wire.read_exact(&mut piece)?;
                self.framing = Framing::Length(left - piece.len());
                Ok(Some(piece))
            }
            Framing::UntilClose => {
                let mut piece = vec![0; 65_536];
                let len = self.wire.read(&mut piece)?;
                piece.truncate(len);
                Ok((len > 0).then_some(piece))
            }
            Framing::Chunked => {
                let size = line(&mut self.wire)?;
                let len = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                    .map_err(|_| Error::other(format!("a chunk size like {size:?}")))?;
                let mut piece = vec![0; len];
                self.wire.read_exact(&mut piece)?;
                if !line(&mut self.wire)?.is_empty() {
                    return Err(Error::other("a chunk is not followed by an empty line"));
                }
                if len == 0 {
                    self.framing = Framing::Ended;
                    return Ok(None);
                }
                Ok(Some(piece))
            }
        }
    }

    /// The whole body, and the connection for the next request.
    pub fn finish(mut self) -> io::Result<(Answer, BufReader<Box<dyn Wire>>)> {
        let mut body = Vec::new();
        while let Some(piece) = self.read()? {
            body.extend_from_slice(&piece);
        }
        Ok((Answer { head: self.head, body }, self.wire))
    }
}

fn line(wire: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    wire.read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a line"));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(Error::other)
}

/// Sends `text` on a new connection and reads the head of the answer.
pub fn open(addr: SocketAddr, text: &str) -> io::Result<Stream> {
    let mut wire = socket(addr)?;
    wire.write_all(text.as_bytes())?;
    let method = text.split(' ').next().unwrap_or_default();
    Stream::read_head(BufReader::new(Box::new(wire)), method)
}

/// Sends `text` on a new connection and reads the whole answer.
pub fn exchange(addr: SocketAddr, text: &str) -> io::Result<Answer> {
    Ok(open(addr, text)?.finish()?.0)
}

/// `METHOD TARGET HTTP/1.1` with a host and no more, on a connection that is closed after it.
pub fn ask(addr: SocketAddr, method: &str, target: &str) -> io::Result<Answer> {
    exchange(addr, &format!("{method} {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"))
}

/// A JSON request by a client such as a browser test; the answer's body.
pub fn json(
    addr: SocketAddr,
    method: &str,
    target: &str,
    body: &serde_json::Value,
) -> io::Result<serde_json::Value> {
    let body = body.to_string();
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(addr, &text)?;
    serde_json::from_slice(&answer.body).map_err(Error::other)
}
