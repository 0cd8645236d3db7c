//! What a peer did wrong on an HTTP port: one variant per fault, one status and one sentence for each.
//!
//! Invariant: no sentence carries a line break or other control character of the peer, so it may stand in a
//! response body, a close reason or a log line.

use super::{PathError, Status};

/// Why a request is refused. The text is meant for the peer; [`HttpError::status`] goes with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// A TLS record (first byte 0x16) on a plain port.
    #[error(
        "this port speaks plain HTTP, but a TLS handshake arrived: use http:// or ws:// here, or the HTTPS port"
    )]
    Tls,
    /// The first bytes cannot begin an HTTP request.
    #[error("this is not an HTTP request")]
    NotHttp,
    /// The request line or a header field breaks the grammar of RFC 9112.
    #[error("the request head is malformed: {0}")]
    Malformed(&'static str),
    /// Something else than HTTP/1.0 or HTTP/1.1.
    #[error("this server speaks HTTP/1.0 and HTTP/1.1 only")]
    Version,
    /// The whole head is longer than the limit.
    #[error("the request head is longer than {bytes_max} bytes")]
    HeadTooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// More header fields than the limit.
    #[error("the request has more than {fields_max} header fields")]
    TooManyFields {
        /// The limit, in fields.
        fields_max: usize,
    },
    /// The request line alone fills the limit for the head.
    #[error("the request target is longer than {bytes_max} bytes")]
    TargetTooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// A method nobody here knows.
    #[error("the request method is not known here")]
    Method,
    /// A method that is known and that nothing here allows: TRACE would give back what proxies added, CONNECT is for proxies,
    /// and no resource here takes a question as its body.
    #[error("the methods TRACE, CONNECT and QUERY are allowed nowhere here")]
    MethodRefused,
    /// A target that names nothing: bad percent-encoding, a form the method does not allow.
    #[error("the request target is wrong: {0}")]
    Target(&'static str),
    /// RFC 9112 section 3.2: exactly one Host in HTTP/1.1.
    #[error("the Host header is wrong: {0}")]
    Host(&'static str),
    /// Length and encoding of the body contradict each other, or one of them makes no sense.
    #[error("the body's length is unclear: {0}")]
    Framing(&'static str),
    /// A transfer coding other than `chunked`.
    #[error("only the transfer coding 'chunked' is understood")]
    TransferEncoding,
    /// A body longer than the limit.
    #[error("the request body is longer than {bytes_max} bytes")]
    BodyTooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The chunked coding of a body is broken.
    #[error("the chunked body is malformed: {0}")]
    Chunk(&'static str),
    /// An expectation other than `100-continue`.
    #[error("the only expectation that can be met is 100-continue")]
    Expect,
    /// A WebSocket handshake with something missing or wrong.
    #[error("the WebSocket handshake is wrong: {0}")]
    WebSocket(&'static str),
    /// A WebSocket handshake of another version than 13.
    #[error("only WebSocket version 13 is spoken here")]
    WebSocketVersion,
    /// A path or a query that names no stream.
    #[error("{0}")]
    Path(#[from] PathError),
}

impl HttpError {
    /// The status that goes with the sentence.
    pub fn status(&self) -> Status {
        match self {
            Self::Tls
            | Self::NotHttp
            | Self::Malformed(_)
            | Self::Target(_)
            | Self::Host(_)
            | Self::Framing(_)
            | Self::Chunk(_)
            | Self::WebSocket(_)
            | Self::Path(_) => Status::BAD_REQUEST,
            Self::BodyTooLong { .. } => Status::CONTENT_TOO_LARGE,
            Self::TargetTooLong { .. } => Status::URI_TOO_LONG,
            Self::MethodRefused => Status::METHOD_NOT_ALLOWED,
            Self::Expect => Status::EXPECTATION_FAILED,
            Self::WebSocketVersion => Status::UPGRADE_REQUIRED,
            Self::HeadTooLong { .. } | Self::TooManyFields { .. } => Status::HEADERS_TOO_LARGE,
            Self::Method | Self::TransferEncoding => Status::NOT_IMPLEMENTED,
            Self::Version => Status::VERSION_NOT_SUPPORTED,
        }
    }
}
