//! The client half: what tests, the load test and pulls from other servers say and read.
//!
//! Invariant: a response head has passed the same checks on its body's length as a request's.

use super::{Framing, Headers, HttpError, Limits, Method, Status, Version, request};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A request without a body; `target` is already percent-encoded. `headers` come after Host.
pub fn request(method: &str, target: &str, host: &str, version: Version, headers: &[(&str, &str)]) -> Bytes {
    let minor = match version {
        Version::Http10 => 0,
        Version::Http11 => 1,
    };
    let mut wire = BytesMut::with_capacity(128);
    wire.put_slice(format!("{method} {target} HTTP/1.{minor}\r\nHost: {host}\r\n").as_bytes());
    for (name, value) in headers {
        wire.put_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    wire.put_slice(b"\r\n");
    wire.freeze()
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The code.
    pub status: Status,
    /// The server's version.
    pub version: Version,
    /// Every header field.
    pub headers: Headers,
    /// How the body ends, for [`super::Body`].
    pub framing: Framing,
    /// The server keeps the connection.
    pub keep_alive: bool,
}

/// Takes one response head off the front of `input`; what follows it stays there. `Ok(None)`: more bytes, please.
///
/// # Errors
/// [`HttpError`] when it is none, or longer than the limits.
pub fn parse(input: &mut BytesMut, to: Method, limits: &Limits) -> Result<Option<ResponseHead>, HttpError> {
    let mut fields = [httparse::EMPTY_HEADER; request::HEADERS_MAX];
    let fields_max = limits.headers_max.min(request::HEADERS_MAX);
    let mut head = httparse::Response::new(fields.get_mut(..fields_max).unwrap_or_default());
    let bytes = match head.parse(input) {
        Ok(httparse::Status::Complete(bytes)) if bytes <= limits.head_bytes_max => bytes,
        Ok(httparse::Status::Partial) if input.len() <= limits.head_bytes_max => return Ok(None),
        Ok(_) => return Err(HttpError::HeadTooLong { bytes_max: limits.head_bytes_max }),
        Err(error) => return Err(request::grammar(error, fields_max)),
    };
    let (status, version) = (Status(head.code.unwrap_or_default()), request::version(head.version));
    let headers = Headers::of(head.headers);
    let bodiless = to == Method::Head || status.0 < 200 || matches!(status.0, 204 | 304);
    let framing = if bodiless { Framing::Empty } else { request::framing(version, &headers)? };
    let keep_alive = request::keep_alive(version, &headers) && framing != Framing::UntilClose;
    input.advance(bytes);
    Ok(Some(ResponseHead { status, version, headers, framing, keep_alive }))
}
