//! How one connection lives beside others: what it may ask for, for how long, and that it costs nobody else anything.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, SOON, Server,
    amf::{self, Value},
    flv::SCRIPT,
    http::{self, ask},
    media::Media,
    rtmp::{Client, Message, socket},
    tools::{FFMPEG5, Tool},
    until, within,
};

const KEY: &str = "live/cam";

/// A command on message stream 1 as one chunk with a full header, to be sent many times over.
fn chunk(name: &str, values: &[Value]) -> Vec<u8> {
    let mut all = vec![Value::text(name), Value::Number(0.0), Value::Null];
    all.extend_from_slice(values);
    let body = amf::encode(&all);
    assert!(body.len() <= 128, "one chunk");
    let len = (body.len() as u32).to_be_bytes();
    let mut out = vec![3, 0, 0, 0, len[1], len[2], len[3], 20, 1, 0, 0, 0];
    out.extend_from_slice(&body);
    out
}

fn ping() -> Message {
    Message { kind: 4, stream: 0, ts: 0, body: vec![0, 6, 0, 0, 0, 1] }
}

/// A socket that can hold very little of what the server says.
fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Set before connecting, so that the window is never larger.
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&SockAddr::from(addr)).expect("the server listens");
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(SOON)).expect("a time-out");
    socket.set_write_timeout(Some(SOON)).expect("a time-out");
    socket
}

/// A film, and an RTMP player of it that has stopped reading in the middle of a message.
fn blocked_player(server: &Server, fixture: &Fixture) -> (Publisher, Client) {
    let mut publisher = Publisher::open(server, Entrance::Rtmp, KEY).expect("the seat is free");
    let film: Vec<_> = fixture.endless().take_while(|tag| tag.ts < 20_000).collect();
    publisher.send_all(&film[..20]).expect("the server takes the film");
    let mut client = Client::over(Box::new(narrow(server.rtmp()))).expect("a handshake");
    client.start_play(server.rtmp(), "live", "cam").expect("asked");
    while client.read().expect("the film").kind != 9 {}
    publisher.send_paced(&film[20..], 20).expect("the server takes the film");
    (publisher, client)
}

/// Descriptors of a server that has closed those by which the harness saw it listen.
fn settled(server: &Server) -> usize {
    thread::sleep(Duration::from_millis(500));
    server.descriptors()
}

fn is_closed(client: &mut Client) -> bool {
    loop {
        match client.read() {
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// One connection plays and stops as fast as it can: neither the server's stack nor its log nor its memory grows with
/// the times it does, and others are served.
#[test]
fn who_changes_its_mind_ten_thousand_times_disturbs_nobody() {
    let mut server = Server::builder().set("shards", 1).set("log.level", "info").start();
    let fickle = socket(server.rtmp()).expect("the server listens");
    let mut reader = fickle.try_clone().expect("another handle");
    let mut client =
        Client::over(Box::new(fickle.try_clone().expect("another handle"))).expect("a handshake");
    client.connect("live", server.rtmp()).expect("let in");
    client.create_stream().expect("a stream");
    let drain = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let cycle = [chunk("play", &[Value::text("x")]), chunk("closeStream", &[])].concat();
    let many = cycle.repeat(100);
    let mut flooding = fickle.try_clone().expect("another handle");
    let flood = thread::spawn(move || {
        for _ in 0..300 {
            if flooding.write_all(&many).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end && server.alive() {
        let asked = Instant::now();
        let answer = ask(server.http(), "GET", "/api/v2/server").expect("others are answered");
        assert_eq!(answer.head.status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "answered after {:?}", asked.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    let lines = server.log().lines().filter(|line| line.contains("plays by RTMP")).count();
    assert!(lines < 2_000, "{lines} lines in the log");
    server.assert_unhurt();
    let _ = fickle.shutdown(Shutdown::Both);
    let _ = flood.join();
    let _ = drain.join();
}

/// Messages of a hundred bytes, `kind` 9 for pictures, many of them: as fast as the network takes them.
fn chatter(kind: u8) -> Vec<u8> {
    let mut message = vec![4, 0, 0, 0, 0, 0, 100, kind, 1, 0, 0, 0];
    message.extend_from_slice(&[0; 100]);
    message.repeat(5_000)
}

/// A publisher sends as fast as the network takes it; the one shard has time for everybody else all the while.
#[test]
fn a_publisher_that_floods_leaves_time_for_others() {
    let mut server = Server::builder().set("shards", 1).set("log.level", "info").start();
    let mut publisher = Publisher::open(&server, Entrance::Rtmp, "live/flood").expect("the seat is free");
    let flood = thread::spawn(move || {
        let (begun, chatter) = (Instant::now(), chatter(9));
        while begun.elapsed() < Duration::from_secs(5) && publisher.rtmp().send_raw(&chatter).is_ok() {}
    });
    let mut worst = Duration::ZERO;
    while !flood.is_finished() {
        let asked = Instant::now();
        ask(server.http(), "GET", "/api/v2/server").expect("answered");
        worst = worst.max(asked.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    eprintln!("the longest wait: {worst:?}");
    // Without turns it is the whole flood; with them some milliseconds, and more where other tests have the CPUs.
    assert!(worst < Duration::from_secs(1), "somebody waited {worst:?}");
    flood.join().expect("the publisher went well");
    server.assert_unhurt();
}

/// Talking without asking for anything is no way to stay.
#[test]
fn who_talks_without_end_and_asks_for_nothing_is_closed_in_time() {
    let server = Server::builder().set("limits.handshake_timeout", "1s").start();
    let mut wire = socket(server.rtmp()).expect("the server listens");
    let mut reader = wire.try_clone().expect("another handle");
    let mut client = Client::over(Box::new(wire.try_clone().expect("another handle"))).expect("a handshake");
    client.connect("live", server.rtmp()).expect("let in");
    let drain = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    // Pictures that nobody asked for: read and dropped.
    let chatter = chatter(9);
    let begun = Instant::now();
    let closed = within(SOON, || wire.write_all(&chatter).is_err().then(|| begun.elapsed()));
    let closed = closed.expect("it is closed");
    assert!(closed < Duration::from_secs(10), "closed after {closed:?}");
    let _ = drain.join();
}

/// A player by RTMP that takes nothing is closed after `delivery.stall_timeout`, in the middle of a message as it is.
#[test]
fn an_rtmp_player_that_takes_nothing_is_closed() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder()
        .set("delivery.stall_timeout", "1s")
        .set("delivery.lag_max", "1s")
        .set("delivery.send_buffer", "8KiB")
        .start();
    let before = settled(&server);
    let (publisher, dead) = blocked_player(&server, &fixture);
    server.wait_viewers(KEY, 0);
    drop(publisher);
    until("its descriptor to be closed", || (server.descriptors() <= before).then_some(()));
    drop(dead);
    server.assert_unhurt();
}

/// A player that stops, but never reads the rest of the message it was being sent, does not stay for ever.
#[test]
fn a_player_that_stops_and_reads_no_more_is_closed() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server =
        Server::builder().set("limits.idle_timeout", "1s").set("delivery.send_buffer", "8KiB").start();
    let before = settled(&server);
    let (publisher, mut dead) = blocked_player(&server, &fixture);
    dead.command_on(1, "closeStream", &[Value::Null]).expect("said");
    drop(publisher);
    until("its descriptor to be closed", || (server.descriptors() <= before).then_some(()));
    drop(dead);
    server.assert_unhurt();
}

/// A player that lags asks for signs of life: they wait their turn, and are counted once.
#[test]
fn a_player_that_lags_may_ping() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder().set("delivery.send_buffer", "8KiB").start();
    let (publisher, mut slow) = blocked_player(&server, &fixture);
    for _ in 0..5 {
        slow.send(2, &ping()).expect("asked");
        thread::sleep(Duration::from_millis(50));
    }
    let mut pongs = 0;
    while pongs < 5 {
        let message = slow.read().expect("the film goes on");
        pongs += usize::from(message.kind == 4 && message.body.starts_with(&[0, 7]));
    }
    publisher.finish();
    server.assert_unhurt();
}

/// `publish.first_frame_timeout` is for the first frame: headers and metadata are none.
#[test]
fn headers_are_no_first_frame() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::builder().set("publish.silence_timeout", "1s").start();
    for entrance in Entrance::ALL {
        let key = format!("live/{entrance:?}");
        let mut publisher = Publisher::open(&server, entrance, &key).expect("the seat is free");
        let is_header =
            |tag: &&crate::support::Tag| tag.kind == SCRIPT || tag.units().iter().all(|unit| unit.header);
        let headers: Vec<_> = fixture.tags.iter().filter(is_header).cloned().collect();
        let film: Vec<_> = fixture.tags.iter().filter(|tag| !is_header(tag)).cloned().collect();
        publisher.send_all(&headers).expect("the server takes them");
        thread::sleep(Duration::from_secs(3));
        publisher.send_all(&film).unwrap_or_else(|error| panic!("{entrance:?}: {error}"));
        until("the frames to be counted", || {
            server.stream(&key)?.get("frames")?.as_u64().filter(|frames| *frames > 10)
        });
        // And from now on it is silence.
        until("the silent publisher to go", || {
            server.stream(&key).is_none_or(|stream| stream["live"] == false).then_some(())
        });
    }
}

/// A player that wanted a second of the stream gets its "complete", and may ask for more on the same connection.
#[test]
fn a_player_may_ask_for_some_seconds_and_then_for_more() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let mut client = Client::dial(server.rtmp()).expect("the server listens");
    client.connect("live", server.rtmp()).expect("let in");
    client.create_stream().expect("a stream");
    for _ in 0..2 {
        let play = [Value::Null, Value::text("cam"), Value::Number(-2.0), Value::Number(1.0)];
        client.command_on(1, "play", &play).expect("asked");
        let mut pictures = 0;
        loop {
            let message = client.read().expect("the connection stays");
            pictures += u32::from(message.kind == 9);
            if message.command().is_some_and(|command| command.name == "onPlayStatus") {
                break;
            }
        }
        assert!(pictures > 5, "{pictures} pictures");
    }
    publisher.finish();
}

/// Names that are none are told so by the code that encoders know, and the connection ends, so that no client waits.
#[test]
fn bad_names_are_refused_in_words() {
    let mut server = Server::start();
    let addr = server.rtmp();
    let mut publisher = Client::dial(addr).expect("the server listens");
    let status = publisher.start_publish(addr, "live", "a/../b").expect("answered");
    assert_eq!(status.code(), "NetStream.Publish.BadName", "{status:?}");
    assert!(!status.description().is_empty());
    assert!(is_closed(&mut publisher));
    let mut player = Client::play(addr, "live", "a/../b").expect("asked");
    let status = player.status().expect("answered");
    assert!(status.code().starts_with("NetStream.Play."), "{status:?}");
    assert!(is_closed(&mut player));
    server.assert_unhurt();
}

/// ffmpeg shows the server's sentence to its user.
#[test]
fn ffmpeg_prints_why_it_was_refused() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let file = fixture.path.to_string_lossy().into_owned();
    let first = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free");
    for (name, words) in [("live/a/../b", "names no stream"), (KEY, "already published")] {
        let url = server.rtmp_url(name);
        let args = ["-v", "info", "-nostdin", "-re", "-i", &file, "-c", "copy", "-f", "flv", &url];
        let outcome = Tool::start(FFMPEG5, args).finish(SOON);
        assert!(outcome.status.is_some_and(|status| !status.success()), "{name}: {:?}", outcome.status);
        assert!(outcome.stderr.contains(words), "{name}: {}", outcome.stderr);
    }
    let url = server.rtmp_url("live/a/../b");
    let args = ["-v", "info", "-nostdin", "-i", &url, "-c", "copy", "-f", "null", "-"];
    let outcome = Tool::start(FFMPEG5, args).finish(SOON);
    assert!(outcome.stderr.contains("names no stream"), "{}", outcome.stderr);
    drop(first);
}

/// What is asked of a stream's address over HTTP is answered by what the address is.
#[test]
fn addresses_mean_the_same_by_every_method() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    Player::open(&server, Path::Http, KEY).wait_start();
    let addr = server.http();
    let shout = format!("GET /{KEY}.FLV HTTP/1.1\r\nHost: x\r\n\r\n");
    let stream = http::open(addr, &shout).expect("answered");
    assert_eq!((stream.head.status, stream.chunked()), (200, true), "capitals do not matter");
    let head = ask(addr, "HEAD", &format!("/{KEY}.flv")).expect("answered");
    assert_eq!(head.head.status, 200);
    assert_eq!(head.head.field("content-length"), None, "nobody knows its length: {:?}", head.head);
    // A container that is not served, by upgrade and without.
    let upgrade = "GET /live/cam.ts HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let plain = "GET /live/cam.ts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for request in [upgrade, plain] {
        let answer = http::exchange(addr, request).expect("answered");
        assert_eq!(answer.head.status, 404, "{}", answer.text());
        assert!(answer.text().contains("/app/name.flv"), "{}", answer.text());
    }
    publisher.finish();
}

/// A request that ends in the middle is told so by a client's half-closed socket.
#[test]
fn half_a_request_is_answered_too() {
    let server = Server::start();
    let mut wire = socket(server.http()).expect("the server listens");
    wire.write_all(b"GET /live/cam.flv HTTP/1.1\r\nHo").expect("sent");
    wire.shutdown(Shutdown::Write).expect("half closed");
    let mut answer = String::new();
    wire.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
}
