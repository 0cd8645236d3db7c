//! Responses: small ones with a length, and the head of an endless one. Nothing here knows a clock, so no Date.
//!
//! Invariant: no value can break out of its line (control characters become spaces), and a response says how it ends:
//! by `Content-Length`, by chunks or by the close of the connection.

use super::{HttpError, Request, Version};
use bytes::{BufMut, Bytes, BytesMut};

/// A status code (RFC 9110 section 15).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal;)*) => {
        #[allow(missing_docs)]
        impl Status {
            $(pub const $name: Self = Self($code);)*
        }
        impl Status {
            /// The phrase beside the code in the status line.
            pub fn reason(self) -> &'static str {
                match self.0 { $($code => $reason,)* _ => "Other" }
            }
        }
    };
}

statuses! {
    SWITCHING_PROTOCOLS = 101 "Switching Protocols";
    OK = 200 "OK";
    CREATED = 201 "Created";
    NO_CONTENT = 204 "No Content";
    PARTIAL_CONTENT = 206 "Partial Content";
    MOVED_PERMANENTLY = 301 "Moved Permanently";
    FOUND = 302 "Found";
    NOT_MODIFIED = 304 "Not Modified";
    TEMPORARY_REDIRECT = 307 "Temporary Redirect";
    BAD_REQUEST = 400 "Bad Request";
    UNAUTHORIZED = 401 "Unauthorized";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    NOT_ACCEPTABLE = 406 "Not Acceptable";
    REQUEST_TIMEOUT = 408 "Request Timeout";
    CONFLICT = 409 "Conflict";
    PRECONDITION_FAILED = 412 "Precondition Failed";
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    URI_TOO_LONG = 414 "URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    RANGE_NOT_SATISFIABLE = 416 "Range Not Satisfiable";
    EXPECTATION_FAILED = 417 "Expectation Failed";
    UNPROCESSABLE = 422 "Unprocessable Content";
    UPGRADE_REQUIRED = 426 "Upgrade Required";
    PRECONDITION_REQUIRED = 428 "Precondition Required";
    TOO_MANY_REQUESTS = 429 "Too Many Requests";
    HEADERS_TOO_LARGE = 431 "Request Header Fields Too Large";
    INTERNAL_ERROR = 500 "Internal Server Error";
    NOT_IMPLEMENTED = 501 "Not Implemented";
    BAD_GATEWAY = 502 "Bad Gateway";
    UNAVAILABLE = 503 "Service Unavailable";
    GATEWAY_TIMEOUT = 504 "Gateway Timeout";
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

/// What of a request shapes the wire form of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Shapes `Connection`; the status line always says HTTP/1.1 (RFC 9110 section 2.5).
    pub version: Version,
    /// HEAD: the head of the response without its body.
    pub head_only: bool,
    /// The connection stays open afterwards.
    pub keep_alive: bool,
}

impl Reply {
    /// To something that was no request: a body, and close.
    pub const CLOSE: Self = Self { version: Version::Http10, head_only: false, keep_alive: false };
}

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct Response {
    status: Status,
    /// Lines `Name: value CRLF`.
    lines: BytesMut,
    body: Bytes,
}

impl Response {
    /// Without headers and body.
    pub fn new(status: Status) -> Self {
        Self { status, lines: BytesMut::new(), body: Bytes::new() }
    }

    /// Plain text: a line feed is added, for a terminal.
    pub fn text(status: Status, sentence: impl std::fmt::Display) -> Self {
        Self::new(status).body("text/plain; charset=utf-8", format!("{sentence}\n"))
    }

    /// JSON that is already written.
    pub fn json(status: Status, json: impl Into<Bytes>) -> Self {
        Self::new(status).body("application/json", json)
    }

    /// A page.
    pub fn html(html: impl Into<Bytes>) -> Self {
        Self::new(Status::OK).body("text/html; charset=utf-8", html)
    }

    /// The sentence of an error, readable by a page of any origin, with what its status demands.
    pub fn error(error: &HttpError) -> Self {
        let response = Self::text(error.status(), error).cors();
        match error {
            HttpError::WebSocketVersion => {
                response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13")
            }
            HttpError::MethodRefused => {
                response.header("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
            }
            _ => response,
        }
    }

    /// 405 with the methods that would do, such as `GET, HEAD, OPTIONS`.
    pub fn method_not_allowed(allow: &str) -> Self {
        let sentence = format_args!("this method is not allowed here; use one of: {allow}").to_string();
        Self::text(Status::METHOD_NOT_ALLOWED, sentence).header("Allow", allow).cors()
    }

    /// 401, and that a bearer token would do (RFC 6750 §3).
    pub fn unauthorized(sentence: impl std::fmt::Display) -> Self {
        Self::text(Status::UNAUTHORIZED, sentence).header("WWW-Authenticate", "Bearer").cors()
    }

    /// The answer to OPTIONS, be it a browser's question before a cross-origin request or plain curiosity. 200 rather
    /// than 204, as clients of SRS expect.
    pub fn options(request: &Request, allow: &str) -> Self {
        let asked = request.headers.get("access-control-request-headers").unwrap_or("*");
        let response = Self::new(Status::OK)
            .header("Allow", allow)
            .cors()
            .header("Access-Control-Allow-Methods", allow)
            .header("Access-Control-Allow-Headers", asked)
            .header("Access-Control-Max-Age", "86400");
        if request.headers.get("access-control-request-private-network").is_some() {
            response.header("Access-Control-Allow-Private-Network", "true")
        } else {
            response
        }
    }

    /// One more header. Control characters in the value become spaces.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        put_line(&mut self.lines, name, value);
        self
    }

    /// Any page may read this response.
    pub fn cors(mut self) -> Self {
        self.lines.put_slice(CORS);
        self
    }

    /// Nobody may keep it.
    pub fn no_cache(mut self) -> Self {
        self.lines.put_slice(NO_CACHE);
        self
    }

    /// With this body.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        put_line(&mut self.lines, "Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// The code it carries.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Head and body as they go to the wire.
    pub fn write(&self, reply: Reply) -> Bytes {
        let mut wire = BytesMut::with_capacity(128 + self.lines.len() + self.body.len());
        put_status(&mut wire, self.status);
        wire.put_slice(&self.lines);
        // RFC 9110 section 8.6: no length where there can be no body.
        let bodiless =
            self.status.0 < 200 || self.status == Status::NO_CONTENT || self.status == Status::NOT_MODIFIED;
        if !bodiless {
            put_line(&mut wire, "Content-Length", &self.body.len().to_string());
        }
        put_connection(&mut wire, reply.keep_alive, self.status == Status::UPGRADE_REQUIRED);
        wire.put_slice(b"\r\n");
        if !bodiless && !reply.head_only {
            wire.put_slice(&self.body);
        }
        wire.freeze()
    }
}

const CORS: &[u8] = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n";
const NO_CACHE: &[u8] = b"Cache-Control: no-cache, no-store\r\nPragma: no-cache\r\n";

/// The head of an endless response: chunked in HTTP/1.1, ended by the close of the connection in HTTP/1.0.
///
/// `keep_alive` promises another response on the connection after the last chunk; HTTP/1.0 never gets that promise.
/// Proxies are asked not to gather (`X-Accel-Buffering`).
pub fn stream_head(version: Version, content_type: &str, keep_alive: bool) -> Bytes {
    let chunked = version == Version::Http11;
    let mut wire = BytesMut::with_capacity(320);
    put_status(&mut wire, Status::OK);
    put_line(&mut wire, "Content-Type", content_type);
    wire.put_slice(CORS);
    wire.put_slice(NO_CACHE);
    wire.put_slice(b"X-Accel-Buffering: no\r\n");
    if chunked {
        wire.put_slice(b"Transfer-Encoding: chunked\r\n");
    }
    put_connection(&mut wire, keep_alive && chunked, false);
    wire.put_slice(b"\r\n");
    wire.freeze()
}

fn put_status(wire: &mut BytesMut, status: Status) {
    wire.put_slice(format!("HTTP/1.1 {} {}\r\n", status.0, status.reason()).as_bytes());
}

fn put_connection(wire: &mut BytesMut, keep_alive: bool, upgrade: bool) {
    let value: &[u8] = match (keep_alive, upgrade) {
        (true, false) => b"Connection: keep-alive\r\n",
        (false, false) => b"Connection: close\r\n",
        (true, true) => b"Connection: upgrade, keep-alive\r\n",
        (false, true) => b"Connection: upgrade, close\r\n",
    };
    wire.put_slice(value);
}

fn put_line(wire: &mut BytesMut, name: &str, value: &str) {
    wire.put_slice(name.as_bytes());
    wire.put_slice(b": ");
    wire.extend(value.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
    wire.put_slice(b"\r\n");
}
