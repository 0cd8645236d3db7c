//! Addresses of streams: which protocol, which host, and where the stream's number goes.
//!
//! `%d` stands for the number and `%%` for a percent sign; a percent sign before anything else is left alone, since
//! addresses are percent-encoded. Invariant: an [`Address`] is one that a player or publisher can be made from.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

use shardcast::protocols::rtmp::ClientUrl;

/// How a stream is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// RTMP.
    Rtmp,
    /// FLV as an HTTP response.
    HttpFlv,
    /// FLV in WebSocket messages.
    WsFlv,
    /// WebRTC, from the server.
    Whep,
    /// WebRTC, to the server.
    Whip,
    /// The floor's datagrams.
    Udp,
}

impl Form {
    /// All of them that players may have.
    pub const PLAYED: [Self; 5] = [Self::Rtmp, Self::HttpFlv, Self::WsFlv, Self::Whep, Self::Udp];

    /// Whether media comes in datagrams.
    pub const fn is_datagrams(self) -> bool {
        matches!(self, Self::Whep | Self::Udp)
    }

    /// As metrics are named.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::HttpFlv => "http",
            Self::WsFlv => "ws",
            Self::Whep => "whep",
            Self::Whip => "whip",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rtmp => "RTMP",
            Self::HttpFlv => "HTTP-FLV",
            Self::WsFlv => "WS-FLV",
            Self::Whep => "WHEP",
            Self::Whip => "WHIP",
            Self::Udp => "UDP",
        })
    }
}

/// Why a text is no address for this tool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error(
        "'{0}' begins with none of rtmp://, http://, ws://, whip:// and whep:// (TLS is not spoken here)"
    )]
    Scheme(String),
    /// No host, port or path.
    #[error("'{0}' needs a host and a path, such as http://127.0.0.1:8080/live/cam%d.flv")]
    Incomplete(String),
    /// A name that nobody knows.
    #[error("the host of '{address}' is not known: {reason}")]
    Unresolved {
        /// What was asked for.
        address: String,
        /// What the resolver said.
        reason: String,
    },
    /// One name for several streams.
    #[error("'{0}' has no %d, so that {1} publishers would fight for one stream")]
    OneName(String, u64),
}

/// A stream's address, perhaps with a place for its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// How the stream is carried.
    pub form: Form,
    pattern: String,
}

impl Address {
    /// The address of stream `n`.
    pub fn of(&self, n: u64) -> String {
        number(&self.pattern, n)
    }

    /// Whether streams have names of their own.
    pub fn is_numbered(&self) -> bool {
        let bare = self.pattern.replace("%%", "");
        bare.contains("%d")
    }

    /// Host and port as they stand in the address.
    pub fn authority(&self) -> &str {
        let rest = self.pattern.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or_default()
    }

    /// What an HTTP request asks for to get stream `n`.
    pub fn target(&self, n: u64) -> String {
        let whole = self.of(n);
        let rest = whole.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned()
    }

    /// Where to connect; the first that the resolver names.
    ///
    /// # Errors
    /// [`AddressError::Unresolved`].
    pub fn resolve(&self) -> Result<SocketAddr, AddressError> {
        let unresolved = |reason: String| AddressError::Unresolved { address: self.pattern.clone(), reason };
        let authority = self.authority();
        let default = if self.form == Form::Rtmp { 1935 } else { 80 };
        let bare = authority.starts_with('[') && authority.ends_with(']') || !authority.contains(':');
        let full = if bare { format!("{authority}:{default}") } else { authority.to_owned() };
        let mut found = full.to_socket_addrs().map_err(|error| unresolved(error.to_string()))?;
        found.next().ok_or_else(|| unresolved("it has no address".to_owned()))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let form = match scheme.as_deref() {
            Some("rtmp") => Form::Rtmp,
            Some("http") => over_http(text),
            Some("ws") => Form::WsFlv,
            Some("whep") => Form::Whep,
            Some("whip") => Form::Whip,
            Some("udp") => Form::Udp,
            _ => return Err(AddressError::Scheme(text.to_owned())),
        };
        let address = Self { form, pattern: text.to_owned() };
        let whole = match form {
            Form::Rtmp => address.of(0).parse::<ClientUrl>().is_ok(),
            _ => !address.authority().is_empty() && address.target(0).len() > 1,
        };
        let printable = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if whole && printable { Ok(address) } else { Err(AddressError::Incomplete(text.to_owned())) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

/// What an `http://` address is, by a part of its path: `/whep/live/cam`, `/rtc/v1/whip/?app=live&stream=cam`. Servers with
/// other paths are reached by `whep://` and `whip://`, which stand for the same.
fn over_http(text: &str) -> Form {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    // Scheme, nothing, host, and then the path's parts.
    let has = |name: &str| path.split('/').skip(3).any(|part| part.eq_ignore_ascii_case(name));
    match (has("whep") || has("whip-play"), has("whip")) {
        (true, _) => Form::Whep,
        (false, true) => Form::Whip,
        (false, false) => Form::HttpFlv,
    }
}

/// `pattern` with its `%d` as `n`.
fn number(pattern: &str, n: u64) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let (written, taken) = match from.as_bytes() {
            [b'%', b'd', ..] => (n.to_string(), 2),
            [b'%', b'%', ..] => ("%".to_owned(), 2),
            _ => ("%".to_owned(), 1),
        };
        out.push_str(&written);
        rest = from.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_number_goes_where_the_pattern_says() {
        let cam = address("http://127.0.0.1:8080/live/cam%d.flv?token=a%2Fb&n=%d&p=%%d");
        assert_eq!(cam.form, Form::HttpFlv);
        assert_eq!(cam.of(7), "http://127.0.0.1:8080/live/cam7.flv?token=a%2Fb&n=7&p=%d");
        assert_eq!(cam.target(12), "/live/cam12.flv?token=a%2Fb&n=12&p=%d");
        assert_eq!(cam.authority(), "127.0.0.1:8080");
        assert!(cam.is_numbered());
        assert!(!address("ws://h/live/%%d.flv").is_numbered());
    }

    #[test]
    fn webrtc_is_told_by_the_path_or_the_scheme() {
        for (text, form) in [
            ("http://h:8080/whep/live/cam%d", Form::Whep),
            ("http://h:8080/whip/live/cam", Form::Whip),
            ("http://h:1985/rtc/v1/whip/?app=live&stream=cam%d", Form::Whip),
            ("http://h:1985/rtc/v1/whip-play/?app=live&stream=cam", Form::Whep),
            ("http://h:1985/rtc/v1/whep/?app=live&stream=cam", Form::Whep),
            ("whep://h/api/webrtc?src=cam", Form::Whep),
            ("WHIP://h/api/webrtc?dst=cam", Form::Whip),
            ("http://whep/live/cam.flv", Form::HttpFlv),
            ("http://h/live/cam.flv?as=/whep/", Form::HttpFlv),
        ] {
            assert_eq!(address(text).form, form, "{text}");
        }
        assert_eq!(address("whep://h/a?src=%d").target(3), "/a?src=3");
    }

    #[test]
    fn ports_have_their_protocols_defaults() {
        assert_eq!(address("rtmp://127.0.0.1/live/a").resolve().map(|a| a.port()), Ok(1935));
        assert_eq!(address("ws://127.0.0.1/live/a.flv").resolve().map(|a| a.port()), Ok(80));
        assert_eq!(
            address("http://[::1]/live/a.flv").resolve().map(|a| a.to_string()),
            Ok("[::1]:80".into())
        );
        assert_eq!(address("http://[::1]:81/a.flv").resolve().map(|a| a.to_string()), Ok("[::1]:81".into()));
    }

    #[test]
    fn what_cannot_be_played_is_told() {
        for text in ["", "127.0.0.1/live/cam", "https://h/live/cam.flv", "rtmps://h/a/b", "srt://h:1"] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Scheme(_))), "{text}");
        }
        for text in ["http://", "http://h", "http://h/", "ws:///a.flv", "rtmp://h/app", "http://h/a b"] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Incomplete(_))), "{text}");
        }
    }
}
