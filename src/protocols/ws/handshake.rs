//! The opening handshake (RFC 6455 section 4), both halves.
//!
//! Invariant: a 101 is only written for a request that RFC 6455 section 4.2.1 allows; extensions are never agreed on,
//! so the frames after it carry no reserved bits.

use super::super::http::{
    HttpError, Method, Request, Version,
    client::{self, ResponseHead},
    is_token,
};
use bytes::Bytes;
use tungstenite::handshake::derive_accept_key;

/// The 101 that answers `request`. Of the subprotocols on offer the first is taken: some players ask for one and go
/// away without it, and none of them means another framing than FLV in binary messages.
///
/// # Errors
/// [`HttpError::WebSocket`] with what is missing; [`HttpError::WebSocketVersion`], whose response names version 13.
pub fn upgrade(request: &Request) -> Result<Bytes, HttpError> {
    if request.method != Method::Get {
        return Err(HttpError::WebSocket("its method is GET"));
    }
    if request.version != Version::Http11 {
        return Err(HttpError::WebSocket("it needs HTTP/1.1"));
    }
    let headers = &request.headers;
    if !request.wants_websocket() {
        return Err(HttpError::WebSocket("'Upgrade: websocket' is missing"));
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(HttpError::WebSocket("'Connection: Upgrade' is missing"));
    }
    match headers.get("sec-websocket-version") {
        Some("13") => {}
        Some(_) => return Err(HttpError::WebSocketVersion),
        None => return Err(HttpError::WebSocket("Sec-WebSocket-Version is missing")),
    }
    let accept = derive_accept_key(key(request)?);
    let protocol = match headers.list("sec-websocket-protocol").next() {
        Some(protocol) if !is_token(protocol) => {
            return Err(HttpError::WebSocket("Sec-WebSocket-Protocol is not a list of tokens"));
        }
        Some(protocol) => format!("Sec-WebSocket-Protocol: {protocol}\r\n"),
        None => String::new(),
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    )
    .into())
}

/// The key: 16 bytes in base64, which are 24 characters, and only one of them.
fn key(request: &Request) -> Result<&[u8], HttpError> {
    let mut keys = request.headers.all("sec-websocket-key");
    let key = keys.next().ok_or(HttpError::WebSocket("Sec-WebSocket-Key is missing"))?;
    let sound = key.len() == 24
        && key.strip_suffix(b"==").is_some_and(|digits| {
            digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        });
    match keys.next() {
        Some(_) => Err(HttpError::WebSocket("there is more than one Sec-WebSocket-Key")),
        None if !sound => Err(HttpError::WebSocket("Sec-WebSocket-Key is not 16 bytes in base64")),
        None => Ok(key),
    }
}

/// A client's handshake: the request to send and the answer to expect.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    /// The request, whole.
    pub request: Bytes,
    accept: String,
}

impl ClientHandshake {
    /// For `ws://host/target`; `headers` are added.
    pub fn new(host: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let key = tungstenite::handshake::client::generate_key();
        let own = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", &key),
        ];
        let all: Vec<_> = own.into_iter().chain(headers.iter().copied()).collect();
        let request = client::request("GET", target, host, Version::Http11, &all);
        Self { request, accept: derive_accept_key(key.as_bytes()) }
    }

    /// Whether the server agreed (RFC 6455 section 4.1).
    ///
    /// # Errors
    /// [`HttpError::WebSocket`] with what the response lacks.
    pub fn check(&self, response: &ResponseHead) -> Result<(), HttpError> {
        let headers = &response.headers;
        if response.status.0 != 101 {
            return Err(HttpError::WebSocket("the server did not answer 101"));
        }
        if !headers.has_token("upgrade", "websocket") || !headers.has_token("connection", "upgrade") {
            return Err(HttpError::WebSocket("the server did not upgrade to websocket"));
        }
        if headers.get("sec-websocket-accept") != Some(&self.accept) {
            return Err(HttpError::WebSocket("Sec-WebSocket-Accept does not match the key"));
        }
        if headers.get("sec-websocket-extensions").is_some() {
            return Err(HttpError::WebSocket("an extension was never asked for"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::http::{Limits, Reply, Response, parse, tests::capture};
    use super::*;
    use bytes::BytesMut;

    fn ask(wire: &str) -> Result<String, HttpError> {
        let request = parse(&mut BytesMut::from(wire), &Limits::default())?.expect("a whole head");
        upgrade(&request).map(|head| String::from_utf8_lossy(&head).into_owned())
    }

    const RFC: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    #[test]
    fn the_example_of_the_rfc_is_answered_as_it_says() {
        assert_eq!(
            ask(RFC).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn browsers_are_answered() {
        for name in ["Chromium, WebSocket", "Firefox, WebSocket"] {
            let answer = ask(capture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!answer.contains("Extensions") && !answer.contains("Protocol:"), "{answer}");
        }
        let answer = ask(capture("Chromium, subprotocol")).unwrap();
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: flv\r\n"), "the first on offer: {answer}");
    }

    #[test]
    fn tokens_come_in_any_case_and_order() {
        for (from, to) in [
            ("Connection: Upgrade", "connection: keep-alive, UPGRADE"),
            ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
            ("Upgrade: websocket", "uPGRADE: WebSocket"),
            ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ] {
            assert!(ask(&RFC.replace(from, to)).is_ok(), "{to}");
        }
    }

    #[test]
    fn a_handshake_that_lacks_something_is_told_what() {
        for (from, to, word) in [
            ("GET ", "POST ", "GET"),
            ("HTTP/1.1", "HTTP/1.0", "HTTP/1.1"),
            ("Upgrade: websocket\r\n", "", "Upgrade: websocket"),
            ("Upgrade: websocket", "Upgrade: h2c", "Upgrade: websocket"),
            ("Connection: Upgrade\r\n", "", "Connection"),
            ("Connection: Upgrade", "Connection: keep-alive", "Connection"),
            ("Sec-WebSocket-Version: 13\r\n", "", "Version"),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", "Key is missing"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", "16 bytes"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!==", "16 bytes"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQAA", "16 bytes"),
            ("Host: h", "Host: h\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "more than one"),
            ("Host: h", "Host: h\r\nSec-WebSocket-Protocol: a b", "tokens"),
        ] {
            let error = ask(&RFC.replacen(from, to, 1)).unwrap_err();
            assert!(matches!(error, HttpError::WebSocket(_)), "{error}");
            assert!(error.to_string().contains(word), "{word} in {error}");
        }
        let error = ask(&RFC.replace(": 13", ": 8")).unwrap_err();
        let wire = Response::error(&error).write(Reply::CLOSE);
        let text = std::str::from_utf8(&wire).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 426 ") && text.contains("\r\nSec-WebSocket-Version: 13\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\nConnection: upgrade, close\r\n"), "{text}");
    }

    #[test]
    fn our_client_and_our_server_agree() {
        let offer = [("Sec-WebSocket-Protocol", "flv")];
        let client = ClientHandshake::new("h:8081", "/play?app=live&stream=cam", &offer);
        let request = parse(&mut BytesMut::from(&client.request[..]), &Limits::default()).unwrap().unwrap();
        let mut answer = BytesMut::from(&upgrade(&request).unwrap()[..]);
        let head = client::parse(&mut answer, Method::Get, &Limits::default()).unwrap().unwrap();
        assert_eq!(client.check(&head), Ok(()));
        let other = ClientHandshake::new("h:8081", "/", &[]);
        assert!(other.check(&head).is_err(), "a key of another handshake");
    }
}
