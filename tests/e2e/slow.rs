//! Slow viewers: bounded, never a queue. One that falls behind skips to a keyframe and is counted; one that takes
//! nothing at all is closed; neither is noticed by anybody else.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{
    Entrance, Fixture, Kind, Path, Player, Publisher, SOON, Server, Unit, compare, flv, media::Media, until,
    within,
};

const KEY: &str = "live/cam";

/// A viewer over HTTP/1.0 that reads only when told to, through a socket that can hold very little.
struct SlowViewer {
    socket: TcpStream,
    head: Vec<u8>,
    reader: flv::Reader,
    units: Vec<Unit>,
}

impl SlowViewer {
    fn join(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Set before connecting, so that the window is never larger.
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(&SockAddr::from(addr)).expect("the server listens");
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(SOON)).expect("a time-out");
        socket.write_all(format!("GET /{KEY}.flv HTTP/1.0\r\n\r\n").as_bytes()).expect("sent");
        Self { socket, head: Vec::new(), reader: flv::Reader::default(), units: Vec::new() }
    }

    /// Reads once; `false` at the end of the connection.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        let Ok(len) = self.socket.read(&mut buffer) else { return false };
        let mut bytes = &buffer[..len];
        if !self.head.ends_with(b"\r\n\r\n") {
            while !bytes.is_empty() && !self.head.ends_with(b"\r\n\r\n") {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
            }
        }
        self.reader.feed(bytes);
        while let Some(tag) = self.reader.next_tag() {
            self.units.extend(tag.units());
        }
        len > 0
    }

    /// Pictures that did not follow the one before them.
    fn gaps(&self) -> Vec<(&Unit, &Unit)> {
        let pictures: Vec<&Unit> = self.units.iter().filter(|u| u.kind == Kind::Video && !u.header).collect();
        pictures
            .windows(2)
            .filter(|pair| pair[1].dts - pair[0].dts > 400)
            .map(|pair| (pair[0], pair[1]))
            .collect()
    }
}

/// A viewer stops reading, is overtaken, reads again: it goes on at a keyframe, near live. The other viewer and the
/// server's memory do not notice.
#[test]
fn a_viewer_that_falls_behind_skips_to_a_keyframe() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server =
        Server::builder().set("delivery.lag_max", "2s").set("delivery.send_buffer", "8KiB").start();
    let mut publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free");
    let film: Vec<_> = fixture.endless().take_while(|tag| tag.ts < 20_000).collect();
    publisher.send_all(&film[..20]).expect("the server takes the film");
    let healthy = Player::open(&server, Path::WsFlv, KEY);
    healthy.wait_start();
    let mut slow = SlowViewer::join(server.http());
    while slow.units.is_empty() {
        assert!(slow.read(), "closed before it began");
    }
    let memory = server.resident_bytes();

    // Twenty seconds, a megabyte, ten times as fast as its clock: its socket holds a tenth of that.
    publisher.send_paced(&film[20..], 10).expect("the server takes the film");
    let newest = film.iter().map(|tag| i64::from(tag.ts)).max().unwrap_or(0);
    healthy.wait("the whole film", |player| player.newest() >= Some(newest - 40));

    until("the slow viewer to catch up", || {
        assert!(slow.read(), "closed though it reads");
        (slow.units.last()?.dts >= newest - 40).then_some(())
    });
    compare::monotonic("the slow viewer", &slow.units);
    let gaps = slow.gaps();
    assert!(!gaps.is_empty(), "it missed nothing, so it was never slow");
    for (before, after) in gaps {
        assert!(after.key, "after {before:?} it goes on with {after:?}");
    }
    let skips = server.stream(KEY).and_then(|stream| stream.get("skips")?.as_u64());
    assert!(skips.is_some_and(|skips| skips > 0), "the skip is counted: {:?}", server.stream(KEY));
    compare::played("the healthy viewer", &flv::units(film.iter()), &healthy.units());
    let grown = server.resident_bytes().saturating_sub(memory);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    server.assert_unhurt();
}

/// A viewer takes nothing at all: it is closed after `delivery.stall_timeout`, with a reason in the log.
#[test]
fn a_viewer_that_takes_nothing_is_closed() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder()
        .set("delivery.stall_timeout", "1s")
        .set("delivery.lag_max", "1s")
        .set("delivery.send_buffer", "8KiB")
        .start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let healthy = Player::open(&server, Path::Rtmp, KEY);
    healthy.wait_start();
    let before = server.descriptors();
    let begun = Instant::now();
    let dead = SlowViewer::join(server.http());
    server.wait_viewers(KEY, 2);
    server.wait_viewers(KEY, 1);
    assert!(begun.elapsed() < SOON, "closed only after {:?}", begun.elapsed());
    until("its descriptor to be closed", || (server.descriptors() <= before).then_some(()));
    drop(dead);
    healthy.wait_more(60);
    publisher.finish();
    server.assert_unhurt();
}

/// One process stops (`kill -STOP`) and goes on: its player is still served, from a keyframe.
#[test]
fn a_player_that_sleeps_for_a_while_goes_on() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::builder().set("delivery.lag_max", "1s").start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let healthy = Player::open(&server, Path::Http, KEY);
    healthy.wait_start();
    let url = server.rtmp_url(KEY);
    let sleeper = crate::support::tools::Tool::start(
        crate::support::tools::FFMPEG5,
        ["-v", "error", "-nostdin", "-i", &url, "-t", "8", "-c", "copy", "-f", "framemd5", "-"],
    );
    server.wait_viewers(KEY, 2);
    sleeper.signal("STOP");
    healthy.wait_more(200);
    sleeper.signal("CONT");
    let outcome = sleeper.succeed(SOON);
    let packets = compare::packets(&outcome).packets;
    assert!(packets.iter().filter(|packet| packet.stream == 0).count() > 50, "{} packets", packets.len());
    assert!(within(SOON, || publisher.running().then_some(())).is_some());
    publisher.finish();
}
