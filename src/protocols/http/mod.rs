//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): request heads, small bodies, responses and the head of a stream.
//!
//! Bytes go in, values and bytes come out; sockets, clocks and routes live elsewhere. `httparse` reads the grammar.
//! Invariant: whatever a peer sends is either a request within [`Limits`] or an [`HttpError`] with a status and a
//! sentence for it; no input is left without an answer. Sizes are bytes.

mod body;
pub mod chunked;
pub mod client;
mod error;
mod headers;
pub mod path;
mod request;
mod response;
mod target;
#[cfg(test)]
pub(crate) mod tests;

pub use body::{Body, CONTINUE};
pub use chunked::Piece;
pub use error::HttpError;
pub use headers::Headers;
pub(crate) use headers::is_token;
pub use path::{MediaPath, PathError};
pub use request::{Framing, HEADERS_MAX, Method, Request, Version, parse};
pub use response::{Reply, Response, Status, stream_head};
pub use target::{Query, Target};

use bytes::BytesMut;

/// How much of a peer is taken in before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A whole head, in bytes. Browsers with large cookies send 8 KiB.
    pub head_bytes_max: usize,
    /// Header fields; at most [`HEADERS_MAX`].
    pub headers_max: usize,
    /// A body that is read whole, in bytes: an SDP or a small JSON.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: 16 << 10, headers_max: HEADERS_MAX, body_bytes_max: 256 << 10 }
    }
}

/// Feeds `data` to every machine here, split as its first byte says. For fuzzers; finds panics and broken bounds.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some((&step, wire)) = data.split_first() else { return };
    let limits = Limits { head_bytes_max: 1 << 10, headers_max: 16, body_bytes_max: 1 << 10 };
    let _ = fuzz_requests(wire, usize::from(step).max(1), &limits);
    let mut input = BytesMut::from(wire);
    if let Ok(Some(head)) = client::parse(&mut input, Method::Get, &limits) {
        let _ = Body::new(head.framing, limits.body_bytes_max).and_then(|mut body| body.whole(&mut input));
    }
    let _ = chunked::Decoder::default().next(&mut BytesMut::from(wire));
    if let Ok(text) = std::str::from_utf8(wire) {
        let _ = path::from_query(&Query::parse(text));
    }
}

fn fuzz_requests(wire: &[u8], step: usize, limits: &Limits) -> Result<(), HttpError> {
    let (mut input, mut body) = (BytesMut::new(), None);
    for part in wire.chunks(step) {
        input.extend_from_slice(part);
        loop {
            if let Some(open) = &mut body {
                let Some(whole) = Body::whole(open, &mut input)? else { break };
                assert!(whole.len() <= limits.body_bytes_max, "a body beyond its limit");
                body = None;
            }
            let Some(request) = parse(&mut input, limits)? else { break };
            let reply = Response::options(&request, "GET").write(request.reply());
            assert!(reply.ends_with(b"\r\n\r\n"), "a response to OPTIONS is a head");
            let _ = request.media().is_ok_and(|media| media.key.as_str().is_empty());
            let _ = request.media_in_query();
            body = Some(request.body(limits)?);
        }
        assert!(input.len() <= limits.head_bytes_max + step, "an input beyond its limit");
    }
    Ok(())
}
