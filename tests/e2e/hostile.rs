//! Garbage on every port while another stream plays on undisturbed; and the server keeps nothing of it.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, Server,
    amf::{self, Value},
    compare, flv,
    media::Media,
    publisher::Running,
    rtmp::{Client, Message, socket},
    until,
};

const KEY: &str = "live/witness";

/// A stream with a viewer on each path, and what the server holds with them.
struct Witness {
    fixture: Fixture,
    publisher: Running,
    players: [Player; 5],
    descriptors: usize,
}

impl Witness {
    fn start(server: &Server) -> Self {
        let fixture = Fixture::get(Media::H264Aac);
        let publisher = Publisher::open(server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
        let players = Path::ALL.map(|path| Player::open(server, path, KEY));
        players.iter().for_each(Player::wait_start);
        Self { fixture, publisher, players, descriptors: server.descriptors() }
    }

    /// Nobody missed anything, nothing is left over.
    fn conclude(self, mut server: Server) {
        Player::wait_all_more(&self.players, 40);
        for player in &self.players {
            let rounds = 1 + player.newest().unwrap_or(0) as usize / self.fixture.duration() as usize;
            compare::played(
                &format!("{:?} witness", player.path()),
                &self.fixture.rounds(rounds),
                &player.units(),
            );
        }
        until(&format!("{} descriptors; now {}", self.descriptors, server.descriptors()), || {
            (server.descriptors() <= self.descriptors).then_some(())
        });
        drop(self.players);
        self.publisher.finish();
        server.assert_unhurt();
    }
}

/// Sends bytes, says that there will be no more, and reads to the end.
fn throw(addr: SocketAddr, bytes: &[u8]) {
    let mut wire = socket(addr).expect("the server listens");
    // The server may close in the middle of it: that is an answer.
    let _ = wire.write_all(bytes);
    let _ = wire.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = wire.read_to_end(&mut answer) {
        assert_ne!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "{addr}: an unanswered socket after {:?}",
            &bytes[..bytes.len().min(40)]
        );
    }
}

/// The same numbers on every run: xorshift.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn noise_on_every_port_disturbs_nobody() {
    let server = Server::builder().set("limits.handshake_timeout", "2s").start();
    let witness = Witness::start(&server);
    for addr in [server.rtmp(), server.http(), server.ws()] {
        throw(addr, b"");
        for seed in 0..30 {
            throw(addr, &noise(seed, 1 + 97 * seed as usize));
        }
        // A right beginning of each protocol, then noise.
        for seed in 30..45 {
            let mut rtmp = vec![3];
            rtmp.extend(noise(seed, 1536 * 2 + 500));
            throw(addr, &rtmp);
            let mut flv = flv::file_header(true, true);
            flv.extend(noise(seed, 300));
            throw(addr, &flv);
            let mut request = b"GET /live/witness.flv HTTP/1.1\r\n".to_vec();
            request.extend(noise(seed, 300));
            throw(addr, &request);
        }
    }
    witness.conclude(server);
}

/// Past a good handshake and connect, messages that lie about themselves.
#[test]
fn rtmp_messages_that_lie_end_their_connection_only() {
    let server = Server::builder().set("limits.handshake_timeout", "2s").start();
    let witness = Witness::start(&server);
    let message = |kind: u8, stream: u32, body: &[u8]| Message { kind, stream, ts: 0, body: body.to_vec() };
    let deep: Vec<u8> =
        [amf::encode(&[Value::text("x"), Value::Number(1.0)]), [3, 0, 1, b'a'].repeat(5_000)].concat();
    let lies: Vec<Message> = vec![
        message(1, 0, &[0, 0, 0, 0]),
        message(1, 0, &[0xff; 4]),
        message(1, 0, &[1]),
        message(2, 0, &[]),
        message(3, 0, &[0xff; 3]),
        message(5, 0, &[0; 4]),
        message(6, 0, &[0xff; 5]),
        message(4, 0, &[0xff; 2]),
        message(20, 0, &[2, 0xff, 0xff, b'x']),
        message(20, 0, &deep),
        message(20, 1, &amf::encode(&[Value::text("publish"), Value::Number(5.0), Value::Null])),
        message(
            20,
            1,
            &amf::encode(&[Value::text("play"), Value::Number(5.0), Value::Null, Value::Number(3.0)]),
        ),
        message(17, 0, &[3, 0x11, 0x0a, 0xff, 0xff, 0xff, 0xff]),
        message(15, 1, &[]),
        message(18, 1, &[12, 0xff, 0xff, 0xff, 0xff]),
        message(22, 1, &[8, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]),
        message(9, 1, &[]),
        message(9, 1, &[0x97, 0xff, 0xff]),
        message(9, 1, &[0x96, 0x20]),
        message(8, 1, &[0x9f]),
        message(8, 1, &[0xaf]),
        message(99, 9, &[1, 2, 3]),
    ];
    for (i, lie) in lies.iter().enumerate() {
        for publishing in [false, true] {
            let mut client = Client::dial(server.rtmp()).expect("the handshake");
            if publishing {
                let status =
                    client.start_publish(server.rtmp(), "hostile", &format!("lie{i}")).expect("answered");
                assert_eq!(status.code(), "NetStream.Publish.Start", "lie {i}");
            } else {
                client.connect("live", server.rtmp()).expect("connected");
            }
            let _ = client.send(3, lie);
            let _ = client.send(6, &message(9, 1, &noise(i as u64, 200)));
        }
    }
    // A length of 16 MB announced on many chunk streams, and one byte of each.
    let mut client = Client::dial(server.rtmp()).expect("the handshake");
    client.connect("live", server.rtmp()).expect("connected");
    for csid in 3..64u8 {
        let header = [csid, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0];
        if client.send_raw(&header).and_then(|()| client.send_raw(&[0x17; 128])).is_err() {
            break;
        }
    }
    let resident = server.resident_bytes();
    assert!(resident < 400 << 20, "{resident} bytes for promises");
    drop(client);
    witness.conclude(server);
}

/// A film whose every tag has been tampered with, published by both entrances: the stream may end, nothing else may.
#[test]
fn a_tampered_film_hurts_only_itself() {
    let server = Server::start();
    let witness = Witness::start(&server);
    for media in [Media::H264Aac, Media::Hevc] {
        let fixture = Fixture::get(media);
        for (round, entrance) in [0u64, 1, 2, 3].into_iter().zip(Entrance::ALL.into_iter().cycle()) {
            let key = format!("hostile/{media:?}-{round}");
            let mut publisher = Publisher::open(&server, entrance, &key).expect("the seat is free");
            let player = Player::open(&server, Path::Http, &key);
            for (i, tag) in fixture.tags.iter().take(150).enumerate() {
                let mut tag = tag.clone();
                let noise = noise(round * 1000 + i as u64, 8);
                match noise[0] % 4 {
                    0 => tag.body.truncate(usize::from(noise[1]) % (tag.body.len() + 1)),
                    1 if !tag.body.is_empty() => {
                        // The first bytes say what the tag is: that is where lies hurt.
                        let at = usize::from(noise[1]) % tag.body.len().min(12);
                        tag.body[at] = noise[2];
                    }
                    2 => {
                        tag.ts =
                            tag.ts.wrapping_add(u32::from_be_bytes([noise[3], noise[4], noise[5], noise[6]]))
                    }
                    _ => {}
                }
                if publisher.send(&tag).is_err() {
                    break;
                }
            }
            publisher.kill();
            // What its viewer got may be nonsense, which our reader may refuse; the server must not care.
            player.leave();
        }
    }
    witness.conclude(server);
}

/// Three hundred connections that say nothing, or half a word, are all closed in time.
#[test]
fn a_crowd_that_says_nothing_is_shown_the_door() {
    let server = Server::builder().set("limits.handshake_timeout", "2s").start();
    let witness = Witness::start(&server);
    let mut crowd = Vec::new();
    for i in 0..300usize {
        let addr = [server.rtmp(), server.http(), server.ws()][i % 3];
        let mut wire = socket(addr).expect("the server listens");
        let words: [&[u8]; 4] = [b"", b"\x03", b"GET / HT", b"\x03\0\0\0\0"];
        wire.write_all(words[i % 4]).expect("sent");
        crowd.push(wire);
    }
    for mut wire in crowd {
        let mut answer = Vec::new();
        if let Err(error) = wire.read_to_end(&mut answer) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "still open");
        }
    }
    witness.conclude(server);
}
