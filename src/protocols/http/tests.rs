//! Stories of whole heads: as real clients send them, as nobody should, and cut anywhere.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;

fn read(wire: &[u8]) -> Result<Option<Request>, HttpError> {
    parse(&mut BytesMut::from(wire), &Limits::default())
}

fn request(wire: &str) -> Request {
    read(wire.as_bytes()).unwrap_or_else(|error| panic!("{wire:?}: {error}")).expect("a whole head")
}

fn refused(wire: &str) -> HttpError {
    read(wire.as_bytes()).expect_err(wire)
}

/// Captured from the wire, but for Firefox, VLC and OBS, which are written from memory of what they send.
pub(crate) const CAPTURES: [(&str, &str); 15] = [
    ("curl", include_str!("testdata/curl-7.88.http")),
    ("curl -0", include_str!("testdata/curl-7.88-1.0.http")),
    ("curl -I", include_str!("testdata/curl-7.88-head.http")),
    ("curl -d, expecting", include_str!("testdata/curl-7.88-expect.http")),
    ("wget", include_str!("testdata/wget-1.21.http")),
    ("ffmpeg", include_str!("testdata/ffmpeg-5.1.http")),
    ("ffmpeg, pushing", include_str!("testdata/ffmpeg-5.1-push.http")),
    ("VLC", include_str!("testdata/vlc-3.0.http")),
    ("OBS, WHIP", include_str!("testdata/obs-30-whip.http")),
    ("Chromium, fetch", include_str!("testdata/chromium-156-fetch.http")),
    ("Chromium, POST", include_str!("testdata/chromium-156-post.http")),
    ("Chromium, preflight", include_str!("testdata/chromium-156-preflight.http")),
    ("Chromium, WebSocket", include_str!("testdata/chromium-156-websocket.http")),
    ("Chromium, subprotocol", include_str!("testdata/chromium-156-websocket-protocol.http")),
    ("Firefox, WebSocket", include_str!("testdata/firefox-128-websocket.http")),
];

/// The capture of this name.
pub(crate) fn capture(name: &str) -> &'static str {
    CAPTURES.iter().find(|(found, _)| *found == name).map(|(_, text)| *text).expect("a capture of that name")
}

#[test]
fn every_real_head_survives_any_split() {
    for (name, wire) in CAPTURES {
        let whole = request(wire);
        let head = wire.find("\r\n\r\n").unwrap() + 4;
        for cut in 0..head {
            let mut input = BytesMut::from(&wire.as_bytes()[..cut]);
            assert!(matches!(parse(&mut input, &Limits::default()), Ok(None)), "{name} cut at {cut}");
            assert_eq!(input.len(), cut, "what is not a head yet stays");
            input.extend_from_slice(&wire.as_bytes()[cut..]);
            let found = parse(&mut input, &Limits::default()).unwrap().unwrap();
            assert_eq!(
                (&found.target, &found.headers),
                (&whole.target, &whole.headers),
                "{name} cut at {cut}"
            );
            assert_eq!(&input[..], &wire.as_bytes()[head..], "the body stays in the input");
        }
    }
}

#[test]
fn players_are_understood() {
    let ffmpeg = request(capture("ffmpeg"));
    assert_eq!((ffmpeg.media().unwrap().key.as_str(), ffmpeg.keep_alive), ("live/ffmpeg", false));
    assert_eq!(ffmpeg.headers.get("ICY-metadata"), Some("1"));
    let vlc = request(capture("VLC"));
    assert_eq!((vlc.media().unwrap().key.as_str(), vlc.host()), ("live/a/b", "media.example:8080"));
    let old = request(capture("curl -0"));
    assert_eq!((old.version, old.keep_alive), (Version::Http10, false));
    let fetch = request(capture("Chromium, fetch"));
    assert_eq!(fetch.query.get("token"), Some("a b"));
    assert!(fetch.keep_alive && !fetch.wants_websocket());
    let firefox = request(capture("Firefox, WebSocket"));
    assert_eq!(firefox.media_in_query().unwrap().as_str(), "live/cam 1");
    assert!(firefox.wants_websocket());
}

#[test]
fn a_body_that_was_expected_comes_whole() {
    let mut input = BytesMut::from(capture("curl -d, expecting"));
    input.extend_from_slice(b"GET /next");
    let request = parse(&mut input, &Limits::default()).unwrap().unwrap();
    assert!(request.expects_continue);
    let mut body = Body::new(request.framing, 100).unwrap();
    assert_eq!(body.whole(&mut input).unwrap().unwrap(), "abc");
    assert_eq!(&input[..], b"GET /next");
    assert!(!request.reply().keep_alive, "an unread body must not become the next request");
    assert!(request.reply_after_body().keep_alive);
    assert_eq!(request.framing, Framing::Length(3));
    assert_eq!(Body::new(request.framing, 2).unwrap_err(), HttpError::BodyTooLong { bytes_max: 2 });
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let wire =
        "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    for (bytes_max, expected) in [(6, Ok("abcdef")), (5, Err(HttpError::BodyTooLong { bytes_max: 5 }))] {
        let mut input = BytesMut::from(wire);
        let request = parse(&mut input, &Limits::default()).unwrap().unwrap();
        let whole = Body::new(request.framing, bytes_max).unwrap().whole(&mut input);
        assert_eq!(whole.map(|body| body.unwrap()), expected.map(Bytes::from));
    }
}

#[test]
fn what_could_smuggle_a_request_is_refused() {
    let with = |headers: &str| refused(&format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n"));
    for headers in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding:",
    ] {
        assert!(matches!(with(headers), HttpError::Framing(_)), "{headers:?}: {}", with(headers));
    }
    assert_eq!(with("Transfer-Encoding: gzip, chunked"), HttpError::TransferEncoding);
    assert_eq!(with("Transfer-Encoding: xchunked"), HttpError::TransferEncoding);
    for headers in ["Content-Length : 1", "X: a\r\n folded", "X: a\rb", "X: a\0b", "X Y: 1", ": 1", " X: 1"] {
        assert!(matches!(with(headers), HttpError::Malformed(_)), "{headers:?}: {}", with(headers));
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(matches!(refused(old), HttpError::Framing(_)));
    let same = request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(same.framing, Framing::Length(1));
}

#[test]
fn a_host_there_must_be_exactly_once() {
    for wire in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        assert!(matches!(refused(wire), HttpError::Host(_)), "{wire:?}");
    }
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").host(), "");
    assert_eq!(request("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n").host(), "[::1]:8080");
    assert_eq!(request("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n").host(), "a", "the target goes first");
}

#[test]
fn what_is_no_http_is_told_at_once() {
    assert_eq!(read(&[0x16, 3, 1, 2, 0, 1]).unwrap_err(), HttpError::Tls);
    assert_eq!(read(&[3, 0, 0, 0, 0]).unwrap_err(), HttpError::NotHttp, "an RTMP handshake");
    assert_eq!(read(b"{\"json\":1}").unwrap_err(), HttpError::NotHttp);
    assert_eq!(read(&[b'A'; 40]).unwrap_err(), HttpError::NotHttp);
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HttpError::Version);
    assert_eq!(refused("OPTIONS rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n"), HttpError::Version);
    assert_eq!(refused("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n"), HttpError::Method);
    assert_eq!(refused("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), HttpError::MethodRefused);
    assert_eq!(refused("POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n"), HttpError::Expect);
    assert!(
        read(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().is_some(),
        "empty lines are forgiven"
    );
}

#[test]
fn heads_have_their_limits() {
    let limits = Limits { head_bytes_max: 200, headers_max: 4, body_bytes_max: 10 };
    let read = |wire: String| parse(&mut BytesMut::from(wire.as_str()), &limits).map(|_| ()).unwrap_err();
    let long = "x".repeat(200);
    assert_eq!(read(format!("GET /{long}")), HttpError::TargetTooLong { bytes_max: 200 });
    assert_eq!(
        read(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")),
        HttpError::TargetTooLong { bytes_max: 200 }
    );
    assert_eq!(
        read(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}")),
        HttpError::HeadTooLong { bytes_max: 200 }
    );
    let many = "X: 1\r\n".repeat(5);
    assert_eq!(
        read(format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")),
        HttpError::TooManyFields { fields_max: 4 }
    );
}

#[test]
fn each_error_has_its_status_and_a_sentence() {
    for (error, status, word) in [
        (HttpError::Tls, 400, "TLS"),
        (HttpError::Version, 505, "HTTP/1.1"),
        (HttpError::HeadTooLong { bytes_max: 9 }, 431, "9 bytes"),
        (HttpError::TargetTooLong { bytes_max: 9 }, 414, "target"),
        (HttpError::BodyTooLong { bytes_max: 9 }, 413, "body"),
        (HttpError::Method, 501, "method"),
        (HttpError::MethodRefused, 405, "TRACE"),
        (HttpError::WebSocketVersion, 426, "13"),
        (HttpError::Path(PathError::EncodedSlash), 400, "slash"),
    ] {
        let wire = Response::error(&error).write(Reply::CLOSE);
        let text = std::str::from_utf8(&wire).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(
            text.contains(word) && text.contains("close\r\n") && text.contains("Allow-Origin: *"),
            "{text}"
        );
    }
}

#[test]
fn a_response_says_how_it_ends() {
    let get = Reply { version: Version::Http11, head_only: false, keep_alive: true };
    let wire = Response::json(Status::OK, "{}").no_cache().write(get);
    assert_eq!(
        &wire[..],
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-cache, no-store\r\n\
          Pragma: no-cache\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
    );
    let head = Response::json(Status::OK, "{}").no_cache().write(Reply { head_only: true, ..get });
    assert_eq!(head, wire.slice(..wire.len() - 2), "HEAD is GET without the body");
    let none = Response::new(Status::NO_CONTENT).write(get);
    assert!(!none.windows(14).any(|part| part == b"Content-Length"));
    let evil = Response::new(Status::FOUND).header("Location", "/x\r\nSet-Cookie: a").write(get);
    assert!(!evil.windows(2).any(|part| part == b"\nS"), "a value stays in its line");
}

#[test]
fn a_preflight_gets_what_it_asks_for() {
    let chromium = request(capture("Chromium, preflight"));
    let wire = Response::options(&chromium, "GET, HEAD, OPTIONS").write(chromium.reply());
    let text = std::str::from_utf8(&wire).unwrap();
    for line in [
        "HTTP/1.1 200 OK",
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Headers: x-token",
        "Access-Control-Allow-Methods: GET, HEAD, OPTIONS",
        "Content-Length: 0",
        "Connection: keep-alive",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    assert!(!text.contains("Private-Network"));
    let private =
        request("OPTIONS * HTTP/1.1\r\nHost: h\r\nAccess-Control-Request-Private-Network: true\r\n\r\n");
    let wire = Response::options(&private, "GET").write(private.reply());
    assert!(std::str::from_utf8(&wire).unwrap().contains("Access-Control-Allow-Private-Network: true\r\n"));
}

/// Our own client reads a stream as the server writes it, in both versions.
#[test]
fn a_stream_is_chunked_or_ends_with_the_connection() {
    let mut wire = BytesMut::from(&stream_head(Version::Http11, "video/x-flv", true)[..]);
    let mut room = [0; chunked::PREFIX_MAX];
    let taken = chunked::prefix(&mut room, 3);
    wire.extend_from_slice(&room[chunked::PREFIX_MAX - taken..]);
    wire.extend_from_slice(b"FLV\r\n0\r\n\r\n");
    let head = client::parse(&mut wire, Method::Get, &Limits::default()).unwrap().unwrap();
    assert_eq!((head.status, head.framing, head.keep_alive), (Status::OK, Framing::Chunked, true));
    assert_eq!(head.headers.get("Content-Type"), Some("video/x-flv"));
    assert_eq!(Body::new(head.framing, usize::MAX).unwrap().whole(&mut wire).unwrap().unwrap(), "FLV");

    let mut wire = BytesMut::from(&stream_head(Version::Http10, "video/x-flv", true)[..]);
    wire.extend_from_slice(b"FLV");
    let head = client::parse(&mut wire, Method::Get, &Limits::default()).unwrap().unwrap();
    assert_eq!((head.framing, head.keep_alive), (Framing::UntilClose, false));
    let mut body = Body::new(head.framing, usize::MAX).unwrap();
    assert_eq!(body.next(&mut wire).unwrap(), Some(Piece::Data("FLV".into())));
    assert_eq!(body.next(&mut wire).unwrap(), None);
}

#[test]
fn a_request_travels_and_is_small() {
    fn travels<T: Send + 'static>() {}
    travels::<Request>();
    assert!(size_of::<Request>() <= 256, "{}", size_of::<Request>());
    let wire = client::request("GET", "/live/cam.flv?a=1", "h:1", Version::Http11, &[("X", "y")]);
    let back = parse(&mut BytesMut::from(&wire[..]), &Limits::default()).unwrap().unwrap();
    assert_eq!(
        (back.target.raw(), back.host(), back.headers.get("x")),
        ("/live/cam.flv?a=1", "h:1", Some("y"))
    );
}

proptest! {
    #[test]
    fn mutated_heads_never_panic(
        which in 0..CAPTURES.len(), step in 1u8.., cut in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut wire = [&[step], CAPTURES[which].1.as_bytes(), b"GET /a/b HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        for (place, byte) in edits {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        wire.truncate(cut.index(wire.len()) + 1);
        fuzz(&wire);
    }

    #[test]
    fn noise_never_panics(wire in prop::collection::vec(any::<u8>(), 0..2000)) {
        fuzz(&wire);
    }

    #[test]
    fn a_name_survives_its_encoding(name in "[^/\\\\?#.\\p{Cc}]{1,40}") {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let wire = format!("GET /live/{encoded}.flv?stream={encoded}&app=live HTTP/1.1\r\nHost: h\r\n\r\n");
        let request = request(&wire);
        let media = request.media().unwrap();
        prop_assert_eq!(media.key.name(), name.as_str());
        prop_assert_eq!(request.media_in_query().unwrap(), media.key);
    }
}
