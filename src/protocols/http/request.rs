//! The head of a request: `httparse` reads the grammar, this file the rules of RFC 9112 around it.
//!
//! Invariant: a [`Request`] has passed every check that guards against smuggling: one Host, one unambiguous body
//! length, no folded header, no transfer coding from HTTP/1.0. It owns what it holds and may travel to another thread.

use super::{Body, Headers, HttpError, Limits, MediaPath, PathError, Query, Reply, Target, path};
use bytes::{Buf, BytesMut};
use shards::media::StreamKey;

/// Room for the parser, in fields; [`Limits::headers_max`] may ask for fewer, not for more.
pub const HEADERS_MAX: usize = 100;
/// The longest method worth waiting for, in bytes: what has no space by then is no HTTP.
const METHOD_BYTES_MAX: usize = 32;

/// What to do with the target. Methods nobody here knows are answered 501 before they get this far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
}

impl Method {
    fn parse(text: &str) -> Result<Self, HttpError> {
        Ok(match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "OPTIONS" => Self::Options,
            "TRACE" | "CONNECT" | "QUERY" => return Err(HttpError::MethodRefused),
            _ => return Err(HttpError::Method),
        })
    }
}

/// The two versions spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunks, one request per connection unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunks, the last of zero bytes.
    Chunked,
    /// Everything until the connection closes; in responses only.
    UntilClose,
}

/// One request without its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// With what.
    pub target: Target,
    /// The target's query, decoded.
    pub query: Query,
    /// How it was said.
    pub version: Version,
    /// Every header field.
    pub headers: Headers,
    /// The peer wants to keep the connection after the response.
    pub keep_alive: bool,
    /// The body that follows.
    pub framing: Framing,
    /// The peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

impl Request {
    /// The host that was asked, with its port when one was given. The target's authority goes before the Host header.
    pub fn host(&self) -> &str {
        self.target.authority().or_else(|| self.headers.get("host")).unwrap_or_default()
    }

    /// The stream that the path names.
    ///
    /// # Errors
    /// [`PathError`] with the reason.
    pub fn media(&self) -> Result<MediaPath, PathError> {
        path::media(&self.target)
    }

    /// The token of `Authorization: Bearer …` (RFC 6750 §2.1), or of the query's `token`.
    pub fn token(&self) -> Option<&str> {
        let bearer = self.headers.get("authorization").and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = bearer.map(|(_, token)| token.trim()).filter(|token| !token.is_empty());
        token.or_else(|| self.query.get("token"))
    }

    /// The stream that `?app=…&stream=…` names.
    ///
    /// # Errors
    /// [`PathError`] with the reason.
    pub fn media_in_query(&self) -> Result<StreamKey, PathError> {
        path::from_query(&self.query)
    }

    /// The reader of the body that follows, when it is a small one.
    ///
    /// # Errors
    /// [`HttpError::BodyTooLong`] when it already said to be longer than the limit.
    pub fn body(&self, limits: &Limits) -> Result<Body, HttpError> {
        Body::new(self.framing, limits.body_bytes_max)
    }

    /// How a response to this request is written while its body, if any, is unread: then the connection must close,
    /// or the body would be taken for the next request.
    pub fn reply(&self) -> Reply {
        Reply { keep_alive: self.keep_alive && self.framing == Framing::Empty, ..self.reply_after_body() }
    }

    /// How a response is written after the body was read to its end.
    pub fn reply_after_body(&self) -> Reply {
        Reply { version: self.version, head_only: self.method == Method::Head, keep_alive: self.keep_alive }
    }

    /// The peer asks for a WebSocket; whether it asks well, the handshake says.
    pub fn wants_websocket(&self) -> bool {
        self.headers.has_token("upgrade", "websocket")
    }
}

/// Takes one request head off the front of `input`; what follows it stays there. `Ok(None)`: more bytes, please.
///
/// # Errors
/// [`HttpError`]; the connection must be closed after the answer, for the rest of `input` has no meaning.
pub fn parse(input: &mut BytesMut, limits: &Limits) -> Result<Option<Request>, HttpError> {
    look_at_start(input)?;
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let fields_max = limits.headers_max.min(HEADERS_MAX);
    let fields = fields.get_mut(..fields_max).unwrap_or_default();
    let mut head = httparse::Request::new(fields);
    let bytes = match head.parse(input) {
        Ok(httparse::Status::Complete(bytes)) if bytes <= limits.head_bytes_max => bytes,
        Ok(httparse::Status::Partial) if input.len() <= limits.head_bytes_max => return Ok(None),
        Ok(_) => return Err(too_long(input, limits.head_bytes_max)),
        Err(error) => return Err(grammar(error, fields_max)),
    };
    let request = understand(&head)?;
    input.advance(bytes);
    Ok(Some(request))
}

/// The rules that hold between the parts of a head.
fn understand(head: &httparse::Request<'_, '_>) -> Result<Request, HttpError> {
    let version = version(head.version);
    let method = Method::parse(head.method.unwrap_or_default())?;
    let target = Target::parse(method, head.path.unwrap_or_default())?;
    let headers = Headers::of(head.headers);
    check_host(version, &headers)?;
    let framing = match framing(version, &headers)? {
        // A request without a length has no body (RFC 9112 section 6.3, rule 7).
        Framing::UntilClose => Framing::Empty,
        framing => framing,
    };
    Ok(Request {
        method,
        query: Query::parse(target.raw_query()),
        version,
        keep_alive: keep_alive(version, &headers),
        expects_continue: expects_continue(version, &headers)?,
        framing,
        target,
        headers,
    })
}

/// Tells at the very first bytes what will never be a request, instead of waiting for the end of its head.
fn look_at_start(input: &[u8]) -> Result<(), HttpError> {
    if input.first() == Some(&0x16) {
        return Err(HttpError::Tls);
    }
    // RFC 9112 section 2.2: empty lines before the request line are forgiven.
    let line = input.trim_ascii_start();
    match line.first() {
        Some(byte) if !byte.is_ascii_alphanumeric() => return Err(HttpError::NotHttp),
        _ => {}
    }
    match line.get(..METHOD_BYTES_MAX) {
        Some(start) if !start.iter().any(u8::is_ascii_whitespace) => Err(HttpError::NotHttp),
        _ => Ok(()),
    }
}

fn too_long(input: &[u8], bytes_max: usize) -> HttpError {
    let line = input.trim_ascii_start().iter().take(bytes_max);
    if line.clone().any(|&byte| byte == b'\n') {
        HttpError::HeadTooLong { bytes_max }
    } else {
        HttpError::TargetTooLong { bytes_max }
    }
}

pub(super) fn grammar(error: httparse::Error, fields_max: usize) -> HttpError {
    match error {
        httparse::Error::HeaderName => HttpError::Malformed("a header name holds a character it must not"),
        httparse::Error::HeaderValue => HttpError::Malformed("a header value holds a character it must not"),
        httparse::Error::NewLine => HttpError::Malformed("a line does not end in CRLF"),
        httparse::Error::Token => HttpError::Malformed("the request line holds a character it must not"),
        httparse::Error::Status => HttpError::Malformed("the status is not a number"),
        httparse::Error::TooManyHeaders => HttpError::TooManyFields { fields_max },
        httparse::Error::Version => HttpError::Version,
    }
}

pub(super) fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

pub(super) fn keep_alive(version: Version, headers: &Headers) -> bool {
    let asked = |token| headers.has_token("connection", token);
    !asked("close") && (version == Version::Http11 || asked("keep-alive"))
}

fn expects_continue(version: Version, headers: &Headers) -> Result<bool, HttpError> {
    // RFC 9110 section 10.1.1: an HTTP/1.0 peer cannot mean it.
    if version == Version::Http10 {
        return Ok(false);
    }
    match headers.list("expect").find(|element| !element.eq_ignore_ascii_case("100-continue")) {
        Some(_) => Err(HttpError::Expect),
        None => Ok(headers.has_token("expect", "100-continue")),
    }
}

fn check_host(version: Version, headers: &Headers) -> Result<(), HttpError> {
    let mut hosts = headers.all("host");
    let Some(host) = hosts.next() else {
        return match version {
            Version::Http10 => Ok(()),
            Version::Http11 => Err(HttpError::Host("HTTP/1.1 needs one")),
        };
    };
    if hosts.next().is_some() {
        return Err(HttpError::Host("there is more than one"));
    }
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    if host.iter().all(valid) { Ok(()) } else { Err(HttpError::Host("it is not host[:port]")) }
}

/// How long the body is, refusing every ambiguity: two readers of one connection must never disagree.
pub(super) fn framing(version: Version, headers: &Headers) -> Result<Framing, HttpError> {
    let length = content_length(headers)?;
    if headers.all("transfer-encoding").next().is_none() {
        return Ok(length.map_or(Framing::UntilClose, |length| {
            if length == 0 { Framing::Empty } else { Framing::Length(length) }
        }));
    }
    if version == Version::Http10 {
        return Err(HttpError::Framing("HTTP/1.0 knows no Transfer-Encoding"));
    }
    if length.is_some() {
        return Err(HttpError::Framing("Content-Length and Transfer-Encoding exclude each other"));
    }
    let mut codings = headers.list("transfer-encoding");
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(first), Some(_)) if first.eq_ignore_ascii_case("chunked") => {
            Err(HttpError::Framing("'chunked' must be the last transfer coding and stand once"))
        }
        (None, _) => Err(HttpError::Framing("Transfer-Encoding is empty")),
        _ => Err(HttpError::TransferEncoding),
    }
}

fn content_length(headers: &Headers) -> Result<Option<u64>, HttpError> {
    let mut length = None;
    for value in headers.all("content-length") {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(HttpError::Framing("Content-Length is not one decimal number"));
        }
        let text = std::str::from_utf8(value).unwrap_or_default();
        let found = text.parse().map_err(|_| HttpError::Framing("Content-Length is too large a number"))?;
        if length.is_some_and(|before| before != found) {
            return Err(HttpError::Framing("two Content-Length fields differ"));
        }
        length = Some(found);
    }
    Ok(length)
}
