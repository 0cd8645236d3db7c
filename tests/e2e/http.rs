//! HTTP and WebSocket as strangers speak them: right and wrong methods, paths, spellings, versions and upgrades,
//! each answered with the right status and a sentence that says what was wrong; never an unanswered socket.

use std::io::{BufReader, Read, Write};

use tungstenite::{
    Message,
    protocol::frame::{
        Frame, FrameHeader,
        coding::{Data, OpCode},
    },
};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, SOON, Server, compare, flv,
    http::{Answer, Stream, ask, exchange, open},
    media::Media,
    publisher::Running,
    rtmp::socket,
    until, ws,
};

const KEY: &str = "live/cam";

fn live(server: &Server, key: &str) -> Running {
    let fixture = Fixture::get(Media::H264Aac);
    let publisher = Publisher::open(server, Entrance::Rtmp, key).expect("the seat is free").run(&fixture);
    Player::open(server, Path::Http, key).wait_start();
    publisher
}

/// A refusal carries a sentence in plain words.
fn assert_refused(answer: &Answer, status: u16, word: &str) {
    assert_eq!(answer.head.status, status, "{:?} {}", answer.head, answer.text());
    let text = answer.text();
    assert!(
        text.trim().contains(' ') && text.to_lowercase().contains(word),
        "a sentence about '{word}': {text:?}"
    );
}

#[test]
fn a_stream_is_chunked_in_1_1_and_ends_by_close_in_1_0() {
    let server = Server::start();
    let publisher = live(&server, KEY);
    for version in ["1.1", "1.0"] {
        let request = format!("GET /{KEY}.flv HTTP/{version}\r\nHost: x\r\n\r\n");
        let mut stream = open(server.http(), &request).expect("answered");
        assert_eq!((stream.head.version.as_str(), stream.head.status), ("HTTP/1.1", 200));
        assert_eq!(stream.head.field("content-type"), Some("video/x-flv"));
        assert_eq!(stream.head.field("access-control-allow-origin"), Some("*"));
        assert_eq!(stream.head.field("content-length"), None, "nobody knows how long it will be");
        assert_eq!(stream.chunked(), version == "1.1", "HTTP/{version}: {:?}", stream.head);
        let mut reader = flv::Reader::default();
        until("a keyframe", || {
            reader.feed(&stream.read().expect("the stream goes on")?);
            let mut tags = std::iter::from_fn(|| reader.next_tag());
            tags.any(|tag| tag.units().iter().any(|unit| unit.key)).then_some(())
        });
    }
    publisher.finish();
}

#[test]
fn head_and_options_are_answered_without_a_body() {
    let server = Server::start();
    let publisher = live(&server, KEY);
    let head = ask(server.http(), "HEAD", &format!("/{KEY}.flv")).expect("answered");
    assert_eq!((head.head.status, head.body.len()), (200, 0), "{:?}", head.head);
    assert_eq!(head.head.field("content-type"), Some("video/x-flv"));
    let request = format!(
        "OPTIONS /{KEY}.flv HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\nConnection: close\r\n\
         Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range\r\n\r\n"
    );
    let options = exchange(server.http(), &request).expect("answered");
    assert!(matches!(options.head.status, 200 | 204), "{:?}", options.head);
    assert!(options.body.is_empty());
    let allowed = options.head.field("access-control-allow-methods").expect("methods are named");
    assert!(allowed.contains("GET"), "{allowed}");
    assert!(options.head.field("access-control-allow-origin").is_some());
    publisher.finish();
}

#[test]
fn what_is_not_there_and_not_allowed_is_said_in_a_sentence() {
    let server = Server::builder().wait("0ms").start();
    let get = |target: &str| ask(server.http(), "GET", target).expect("answered");
    assert_refused(&get("/live/nobody.flv"), 404, "live/nobody");
    assert_refused(&get("/no-such-page"), 404, "no");
    assert_refused(&get("/live/cam.xyz"), 404, "live/cam.xyz");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = ask(server.http(), method, &format!("/{KEY}.flv")).expect("answered");
        assert_refused(&answer, 405, "get");
        let allowed = answer.head.field("allow").expect("405 names what is allowed");
        assert!(allowed.contains("GET") && allowed.contains("HEAD"), "{allowed}");
    }
}

#[test]
fn nonsense_is_a_bad_request_and_says_why() {
    let server = Server::start();
    let hostile = [
        "GET /live/../etc/passwd.flv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /live/%2e%2e/cam.flv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /live/%zz.flv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /live/%00.flv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /live/%ff%fe.flv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /live/%.flv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET live/cam.flv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /live/cam.flv HTTP/1.1\r\nHost x\r\n\r\n",
        "GET /live/cam.flv\r\nHost: x\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
    ];
    for request in hostile {
        let answer = exchange(server.http(), request).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        assert!(matches!(answer.head.status, 400 | 404), "{request:?}: {:?}", answer.head);
        assert!(answer.text().trim().contains(' '), "{request:?}: a sentence: {:?}", answer.text());
    }
    let version = exchange(server.http(), "GET / HTTP/3.7\r\nHost: x\r\n\r\n").expect("answered");
    assert!(matches!(version.head.status, 400 | 505), "{:?}", version.head);
}

#[test]
fn a_head_that_never_ends_is_cut() {
    let server = Server::builder().set("limits.http_head_bytes_max", "4KiB").start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(6000));
    let answer = exchange(server.http(), &long).expect("answered");
    assert!(matches!(answer.head.status, 400 | 414 | 431), "{:?}", answer.head);
    let fields: String = (0..400).map(|i| format!("X-Field-{i}: y\r\n")).collect();
    let answer = exchange(server.http(), &format!("GET / HTTP/1.1\r\n{fields}\r\n")).expect("answered");
    assert!(matches!(answer.head.status, 400 | 431), "{:?}", answer.head);
}

#[test]
fn one_byte_at_a_time_is_a_request_too() {
    let server = Server::start();
    let publisher = live(&server, KEY);
    let mut wire = socket(server.http()).expect("the server listens");
    for byte in format!("GET /{KEY}.flv HTTP/1.0\r\nHost: x\r\n\r\n").bytes() {
        wire.write_all(&[byte]).expect("the server reads");
    }
    let stream = Stream::read_head(BufReader::new(Box::new(wire)), "GET").expect("answered");
    assert_eq!(stream.head.status, 200);
    publisher.finish();
}

#[test]
fn who_says_nothing_is_shown_the_door() {
    let server = Server::builder().set("limits.handshake_timeout", "1s").start();
    for (addr, hello) in
        [(server.http(), "GET /"), (server.http(), ""), (server.ws(), "GET"), (server.rtmp(), "\u{3}")]
    {
        let mut wire = socket(addr).expect("the server listens");
        wire.write_all(hello.as_bytes()).expect("sent");
        let mut said = Vec::new();
        // An answer such as 408 may come; what counts is the end.
        let ended = wire.read_to_end(&mut said);
        let timed_out = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "{hello:?} to {addr}: still open after {SOON:?}");
    }
}

#[test]
fn paths_have_levels_percents_and_queries() {
    let server = Server::start();
    let publishers =
        [live(&server, "a/b/c"), live(&server, "live/k\u{e4}se cam"), live(&server, "live/plus+tilde~")];
    let targets = [
        "/a/b/c.flv",
        "/a/b/c.flv?token=1&x=/y.flv",
        "/live/k%C3%A4se%20cam.flv",
        "/live/plus+tilde~.flv",
        "/live/plus%2Btilde%7e.flv",
    ];
    for target in targets {
        let head = ask(server.http(), "HEAD", target).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!(head.head.status, 200, "{target}");
        let wire = socket(server.http()).expect("the server listens");
        let mut upgraded =
            ws::open(Box::new(wire), server.http(), target).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert!(
            ws::read(&mut upgraded).is_ok_and(|bytes| bytes.starts_with(b"FLV")),
            "{target} by WebSocket"
        );
    }
    let targets =
        ["/play?app=a/b&stream=c", "/play?stream=k%C3%A4se+cam&app=live", "/play?app=a%2Fb&stream=c&x=1"];
    for target in targets {
        let wire = socket(server.ws()).expect("the server listens");
        let mut upgraded =
            ws::open(Box::new(wire), server.ws(), target).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert!(ws::read(&mut upgraded).is_ok_and(|bytes| bytes.starts_with(b"FLV")), "{target}");
    }
    publishers.into_iter().for_each(Running::finish);
}

#[test]
fn the_page_and_the_list_come_over_one_connection() {
    let server = Server::start();
    let publisher = live(&server, KEY);
    until("the stream to be on the list", || server.stream(KEY));
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = open(server.http(), &request("/")).expect("answered");
    for _ in 0..3 {
        let (page, wire) = stream.finish().expect("a whole page");
        assert_eq!(page.head.status, 200);
        assert!(
            page.head.field("content-type").is_some_and(|kind| kind.starts_with("text/html")),
            "{:?}",
            page.head
        );
        assert!(page.text().to_lowercase().contains("<html"));
        let mut wire = wire.into_inner();
        wire.write_all(request("/api/v2/streams").as_bytes()).expect("the connection is kept");
        let list = Stream::read_head(BufReader::new(wire), "GET").expect("answered");
        let (list, wire) = list.finish().expect("a whole list");
        assert!(list.text().contains(KEY), "{}", list.text());
        let mut wire = wire.into_inner();
        wire.write_all(request("/").as_bytes()).expect("the connection is kept");
        stream = Stream::read_head(BufReader::new(wire), "GET").expect("answered");
    }
    publisher.finish();
}

#[test]
fn too_many_connections_are_turned_away_and_room_comes_back() {
    let server = Server::builder().set("limits.connections_per_ip", 4).start();
    let publisher = live(&server, KEY);
    let mut players: Vec<Player> = (0..3).map(|_| Player::open(&server, Path::Http, KEY)).collect();
    players.iter().for_each(Player::wait_start);
    let refused = Player::open(&server, Path::Http, KEY).wait_end();
    assert!(refused.starts_with("503 ") || refused.starts_with("error"), "{refused}");
    players.pop();
    until("room for another", || {
        let player = Player::open(&server, Path::Http, KEY);
        until("an answer", || (player.count() > 0 || player.end().is_some()).then_some(()));
        (player.count() > 0).then_some(())
    });
    Player::wait_all_more(&players, 30);
    publisher.finish();
}

#[test]
fn curl_is_content() {
    let server = Server::start();
    let publisher = live(&server, KEY);
    let url = server.http_url(KEY);
    let args = ["-sS", "-D", "-", "-o", "/dev/null", "--max-time", "2", &url];
    let outcome = crate::support::tools::Tool::start("curl", args).finish(SOON);
    // 28: the two seconds are over, which is how a live stream ends for curl.
    assert_eq!(outcome.status.and_then(|status| status.code()), Some(28), "{}", outcome.stderr);
    assert!(outcome.text().starts_with("HTTP/1.1 200"), "{}", outcome.text());
    publisher.finish();
}

/// The stream of a publisher that sends every byte in a frame of its own, in fragments, with pings between.
#[test]
fn a_fragmented_publication_is_the_same_film() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::builder().grace("500ms").start();
    let player = Player::open(&server, Path::Http, KEY);
    server.wait_viewers(KEY, 1);
    let mut publisher = Publisher::open(&server, Entrance::Ws, KEY).expect("the seat is free");
    let socket = publisher.ws();
    let mut bytes = flv::file_header(true, true);
    fixture.tags.iter().for_each(|tag| bytes.extend(tag.to_bytes()));
    let fragment = |payload: &[u8], opcode, last| {
        let header = FrameHeader { is_final: last, opcode: OpCode::Data(opcode), ..FrameHeader::default() };
        Message::Frame(Frame::from_payload(header, payload.to_vec().into()))
    };
    for (round, message) in bytes.chunks(10_000).enumerate() {
        let size = [1, 7, 125, 126, 1000, 4096, 10_000][round % 7];
        // Single bytes only for a little while: each is a frame of its own.
        let size = if round > 20 { size.max(500) } else { size };
        let count = message.len().div_ceil(size);
        for (i, part) in message.chunks(size).enumerate() {
            let opcode = if i == 0 { Data::Binary } else { Data::Continue };
            socket.write(fragment(part, opcode, i + 1 == count)).expect("the server reads");
            if i % 50 == 3 {
                socket.write(Message::Ping(vec![1, 2, 3].into())).expect("the server reads");
            }
        }
        socket.flush().expect("the server reads");
    }
    publisher.finish();
    player.wait_end();
    // It came much faster than its clock, so its waiting player may have begun with a later keyframe.
    let (video, audio) = compare::played("the fragmented film", &fixture.units(), &player.units());
    assert!(video.is_some_and(|pictures| pictures.head <= 50 && pictures.tail == 0), "{video:?}");
    assert!(audio.is_some_and(|sound| sound.tail == 0), "{audio:?}");
}

#[test]
fn a_publisher_with_nonsense_is_closed_with_a_reason() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::builder().set("limits.ws_message_bytes_max", "64KiB").start();
    let mut good = flv::file_header(true, true);
    fixture.tags.iter().take(5).for_each(|tag| good.extend(tag.to_bytes()));
    let mut bad_tag = good.clone();
    bad_tag.extend([0x55; 64]);
    let stories: [(&str, Message); 4] = [
        ("a text", Message::text("hello")),
        ("no FLV", Message::binary(b"GET / HTTP/1.1\r\n\r\n plainly not FLV".to_vec())),
        ("a broken tag", Message::binary(bad_tag)),
        ("a giant", Message::binary(vec![0; 100 << 10])),
    ];
    for (what, message) in stories {
        let key = format!("live/{}", what.replace(' ', "-"));
        let mut publisher = Publisher::open(&server, Entrance::Ws, &key).expect("the seat is free");
        let _ = publisher.ws().send(message);
        let end = until(what, || ws::read(publisher.ws()).err());
        match end {
            ws::End::Closed(code, reason) => {
                assert!(code >= 1002 && code != 1005, "{what}: {code} {reason}");
                assert!(reason.contains(' '), "{what}: a reason in words: {reason:?}");
            }
            ws::End::Broken(error) => panic!("{what}: no close frame: {error}"),
        }
        until("the seat to be free again", || Publisher::open(&server, Entrance::Ws, &key).ok());
    }
}

#[test]
fn a_viewer_may_ping_and_say_goodbye() {
    let server = Server::start();
    let publisher = live(&server, KEY);
    let wire = socket(server.http()).expect("the server listens");
    let mut viewer = ws::open(Box::new(wire), server.http(), &format!("/{KEY}.flv")).expect("upgraded");
    viewer.send(Message::Ping(b"are you there".to_vec().into())).expect("sent");
    until("the pong", || match viewer.read().expect("the stream goes on") {
        Message::Pong(bytes) => (bytes.as_ref() == b"are you there").then_some(()),
        _ => None,
    });
    viewer.close(None).expect("sent");
    // The server answers the close and then ends the connection, as RFC 6455 §7.1.1 has it.
    let end = until("the answer to the goodbye", || viewer.read().err());
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
    publisher.finish();
}

#[test]
fn an_upgrade_to_nothing_is_refused_before_it_happens() {
    let server = Server::builder().wait("0ms").start();
    let refused = |addr, target: &str| {
        let wire = socket(addr).expect("the server listens");
        match ws::open(Box::new(wire), addr, target) {
            Err(error) => error.to_string(),
            Ok(mut socket) => format!("{:?}", ws::read(&mut socket).expect_err("there is nothing to read")),
        }
    };
    for target in ["/play?app=live", "/play", "/publish?stream=x", "/nothing", "/publish?app=..&stream=x"] {
        let words = refused(server.ws(), target);
        assert!(words.starts_with("400") || words.starts_with("404"), "{target}: {words}");
    }
    let words = refused(server.ws(), "/play?app=live&stream=nobody");
    assert!(words.contains("404") || words.contains("Closed(4"), "{words}");
    // A plain GET where a WebSocket is expected is told so.
    let plain = ask(server.ws(), "GET", "/publish?app=live&stream=x").expect("answered");
    assert!(matches!(plain.head.status, 400 | 405 | 426), "{:?} {}", plain.head, plain.text());
    let version = exchange(
        server.ws(),
        "GET /play?app=a&stream=b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let version = version.expect("answered");
    assert!(matches!(version.head.status, 400 | 426), "{:?}", version.head);
}
