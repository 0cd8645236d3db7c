//! Signalling: an offer goes in an HTTP POST, the answer comes back with the session's address (RFC 9725 section 4.2, and
//! the WHEP draft, which is the same with other words).
//!
//! A client of our own for plain HTTP/1.1, one request a connection; bytes in and out, and a blocking exchange on top.
//! Sizes are bytes.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use shardcast::protocols::http::{self, Body, Framing, HttpError, Limits, Method, Piece, Version};

use crate::play::connect;

/// An answer is at most so long: a hundred candidates and every codec there is.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// What a server said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP's status.
    pub status: u16,
    /// `Location`: the session's address, for PATCH and DELETE.
    pub location: Option<String>,
    /// Other fields, as they came.
    pub fields: Vec<(String, String)>,
    /// The SDP, or a sentence.
    pub body: String,
}

impl Reply {
    /// A field of the head; its name in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The answer of a session that was made.
    ///
    /// # Errors
    /// [`SignalError::Status`] with the server's sentence.
    pub fn answer(&self) -> Result<&str, SignalError> {
        // RFC 9725 wants 201; some servers of the field say 200.
        match self.status {
            200 | 201 => Ok(&self.body),
            status => {
                let sentence = self.body.split_whitespace().take(40).collect::<Vec<_>>().join(" ");
                Err(SignalError::Status { status, sentence })
            }
        }
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// Another status than 200 and 201.
    #[error("the server answered {status} {sentence}")]
    Status {
        /// HTTP's.
        status: u16,
        /// The server's.
        sentence: String,
    },
    /// Not HTTP.
    #[error("{0}")]
    Http(#[from] HttpError),
    /// It ended in the middle.
    #[error("the server ended the connection within its answer")]
    Ended,
    /// The connection.
    #[error("{}", connect::advice(.0))]
    Io(#[from] io::Error),
}

/// A request with `body`; `host` is host and port, `target` path and query, `headers` what else is to be said.
pub fn request(method: &str, host: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Bytes {
    let length = body.len().to_string();
    let mut all = vec![("User-Agent", "shardcast-loadtest"), ("Connection", "close")];
    if !body.is_empty() || matches!(method, "POST" | "PATCH") {
        all.push(("Content-Length", &length));
    }
    all.extend(headers);
    let mut wire = BytesMut::from(&http::client::request(method, target, host, Version::Http11, &all)[..]);
    wire.put_slice(body.as_bytes());
    wire.freeze()
}

/// The POST that offers a session.
pub fn offer(host: &str, target: &str, token: Option<&str>, sdp: &str) -> Bytes {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("Content-Type", "application/sdp")];
    headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    request("POST", host, target, &headers, sdp)
}

/// An answer whose candidates all lead to `via` instead.
pub fn detour(sdp: &str, via: SocketAddr) -> String {
    let line = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        // RFC 8839 section 5.1: foundation, component, transport, priority, address, port.
        if words.first().is_some_and(|word| word.starts_with("a=candidate:"))
            && let Some([address, port]) = words.get_mut(4..6)
        {
            (*address, *port) = (via.ip().to_string(), via.port().to_string());
        }
        words.join(" ") + "\r\n"
    };
    sdp.lines().map(line).collect()
}

/// An answer in which every refused section (port 0) explains its formats, as the offer did: it need not (RFC 3264
/// section 6; Shardcast's do), but str0m wants it.
pub fn explained(answer: &str, offer: &str) -> String {
    let (mut out, mut missing) = (String::with_capacity(answer.len() + 256), Vec::new());
    for line in answer.lines() {
        if line.starts_with("m=") {
            // Attributes stand at the end of a section.
            out.extend(missing.drain(..));
            missing.extend(unexplained(line, answer, offer));
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    out.extend(missing);
    out
}

/// The offer's lines about the formats of a refused section that the answer says nothing of.
fn unexplained(section: &str, answer: &str, offer: &str) -> Vec<String> {
    let mut words = section.split(' ');
    let refused = words.nth(1) == Some("0");
    let formats = words.skip(1).filter(|_| refused).map(|format| format!("a=rtpmap:{format} "));
    let known = formats.filter(|map| !answer.contains(map)).filter_map(|map| {
        offer.lines().find(|line| line.starts_with(&map)).map(|line| format!("{line}\r\n"))
    });
    known.collect()
}

/// Reads one reply, however it is cut.
#[derive(Debug, Default)]
pub struct Reading {
    input: BytesMut,
    body: Option<(Reply, Body, bool)>,
    gathered: Vec<u8>,
}

impl Reading {
    /// More of it; the reply once it is whole.
    ///
    /// # Errors
    /// What is no HTTP.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Reply>, SignalError> {
        self.input.extend_from_slice(bytes);
        while self.body.is_none() {
            let Some(head) = http::client::parse(&mut self.input, Method::Post, &Limits::default())? else {
                return Ok(None);
            };
            // 100 Continue and its kin come before the reply.
            if head.status.0 < 200 {
                continue;
            }
            let fields: Vec<(String, String)> = head
                .headers
                .iter()
                .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
                .collect();
            let location = head.headers.get("location").map(str::to_owned);
            let reply = Reply { status: head.status.0, location, fields, body: String::new() };
            let open_end = head.framing == Framing::UntilClose;
            self.body = Some((reply, Body::new(head.framing, ANSWER_BYTES_MAX)?, open_end));
        }
        while let Some((_, body, _)) = &mut self.body {
            match body.next(&mut self.input)? {
                Some(Piece::Data(data)) => self.gathered.extend_from_slice(&data),
                Some(Piece::End) => return Ok(self.take()),
                None => break,
            }
        }
        Ok(None)
    }

    /// The connection ended; that may be the end of the reply.
    ///
    /// # Errors
    /// [`SignalError::Ended`] when it is not.
    pub fn end(&mut self) -> Result<Reply, SignalError> {
        match &self.body {
            Some((_, _, true)) => self.take().ok_or(SignalError::Ended),
            _ => Err(SignalError::Ended),
        }
    }

    fn take(&mut self) -> Option<Reply> {
        let (reply, ..) = self.body.take()?;
        let body = String::from_utf8_lossy(&std::mem::take(&mut self.gathered)).into_owned();
        Some(Reply { body, ..reply })
    }
}

/// Sends a request and waits for its reply, `patience` at most for each step.
///
/// # Errors
/// [`SignalError`]; a status is no error here.
pub fn exchange(
    remote: SocketAddr,
    source: Option<Ipv4Addr>,
    request: &[u8],
    patience: Duration,
) -> Result<Reply, SignalError> {
    let mut socket = connect::wait(remote, source, patience)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    socket.write_all(request)?;
    let mut reading = Reading::default();
    let mut buffer = [0; 4 << 10];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return reading.end(),
            Ok(read) => {
                if let Some(reply) = reading.feed(buffer.get(..read).unwrap_or_default())? {
                    return Ok(reply);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nLocation: /whip/live/a/secret\r\n\
        Content-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nv=0\n\r\n3\r\ns=-\r\n0\r\n\r\n";

    #[test]
    fn a_reply_survives_any_split() {
        for cut in 0..REPLY.len() {
            let mut reading = Reading::default();
            let first = reading.feed(&REPLY[..cut]).expect("a beginning");
            let reply = first.or(reading.feed(&REPLY[cut..]).expect("the rest")).expect("a whole reply");
            assert_eq!(reply.answer().ok(), Some("v=0\ns=-"), "cut at {cut}");
            assert_eq!(reply.location.as_deref(), Some("/whip/live/a/secret"));
            assert_eq!(reply.field("CONTENT-TYPE"), Some("application/sdp"));
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let mut reading = Reading::default();
        assert!(
            reading.feed(b"HTTP/1.0 409 Conflict\r\n\r\nsomebody\n publishes").expect("no error").is_none()
        );
        let reply = reading.end().expect("the end of the connection ends it");
        let error = reply.answer().expect_err("no session").to_string();
        assert_eq!(error, "the server answered 409 somebody publishes");
        assert!(matches!(Reading::default().end(), Err(SignalError::Ended)));
    }

    #[test]
    fn answers_are_led_elsewhere_and_explained() {
        let answer = "v=0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n\
            a=candidate:1 1 udp 2130706431 10.0.0.1 8000 typ host\r\n";
        let offer = "a=rtpmap:111 opus/48000/2\r\na=rtpmap:96 H264/90000\r\n";
        let explained = explained(answer, offer);
        assert!(explained.contains("a=mid:0\r\na=rtpmap:111 opus/48000/2\r\nm=video"), "{explained}");
        assert_eq!(explained.matches("a=rtpmap:96").count(), 1);
        let led = detour(answer, "127.0.0.1:9".parse().expect("an address"));
        assert!(led.contains("2130706431 127.0.0.1 9 typ host") && !led.contains("10.0.0.1"), "{led}");
    }

    #[test]
    fn an_offer_carries_its_token() {
        let wire = offer("h:80", "/whip/live/a", Some("t0"), "v=0");
        let text = String::from_utf8_lossy(&wire).into_owned();
        assert!(
            text.starts_with("POST /whip/live/a HTTP/1.1\r\nHost: h:80\r\n") && text.ends_with("\r\n\r\nv=0")
        );
        assert!(text.contains("Content-Length: 3\r\n") && text.contains("Authorization: Bearer t0\r\n"));
    }
}
