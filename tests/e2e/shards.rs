//! Two shards, and nobody can tell: every publish path times every play path, with connections accepted on the
//! owning shard and on the other; hundreds of joins and leaves; publishers that are killed and come back.

use std::{collections::HashSet, thread};

use crate::support::{
    Entrance, Fixture, Kind, Path, Player, Publisher, Server, Unit, compare, flv, media::Media,
    publisher::Running, rtmp, until,
};

/// What connections did, as the server's log tells it: `plays by RTMP` and the like, and whether the connection had been
/// accepted on another shard than its stream's.
fn crossings(server: &Server) -> HashSet<(String, bool)> {
    let log = server.log();
    let conn = |line: &str| line.split_once("conn=").and_then(|(_, rest)| Some(rest.get(..8)?.to_owned()));
    let moved: HashSet<String> =
        log.lines().filter(|line| line.contains("came from shard")).filter_map(conn).collect();
    let roles =
        ["plays by RTMP", "plays by HTTP-FLV", "plays by WS-FLV", "publishes by RTMP", "publishes by WS-FLV"];
    let role = |line: &str| roles.into_iter().find(|role| line.contains(role)).map(str::to_owned);
    log.lines().filter_map(|line| Some((role(line)?, moved.contains(&conn(line)?)))).collect()
}

/// Twelve streams over two shards, half of them by each entrance, each with a player on every path. Sixty players and
/// twelve publishers land as the kernel likes: on the owning shard and beside it, which the server's log proves.
#[test]
fn every_entrance_reaches_every_path_from_every_shard() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let keys: Vec<String> = (0..12).map(|i| format!("live/cam{i}")).collect();
    let mut publishers: Vec<Running> = Vec::new();
    for (key, entrance) in keys.iter().zip(Entrance::ALL.iter().cycle()) {
        let publisher = Publisher::open(&server, *entrance, key);
        publishers
            .push(publisher.unwrap_or_else(|error| panic!("{entrance:?} {key}: {error}")).run(&fixture));
    }
    let players: Vec<(String, Player)> = keys
        .iter()
        .flat_map(|key| Path::ALL.map(|path| (key.clone(), Player::open(&server, path, key))))
        .collect();
    Player::wait_all_more(players.iter().map(|(_, player)| player), 150);
    let film = fixture.rounds(12);
    for (key, player) in &players {
        compare::played(&format!("{:?} player of {key}", player.path()), &film, &player.units());
    }
    // The kernel deals connections to shards by chance: a few more, should one of the ten ways be missing.
    let mut more = Vec::new();
    for i in 0..100 {
        if crossings(&server).len() == 10 {
            break;
        }
        let key = format!("live/more{i}");
        let seats =
            Publisher::open(&server, Entrance::ALL[i % 2], &key).expect("the seat is free").run(&fixture);
        let players = Path::ALL.map(|path| Player::open(&server, path, &key));
        players.iter().for_each(Player::wait_start);
        more.push((seats, players));
    }
    assert_eq!(crossings(&server).len(), 10, "every way in and out, on the owning shard and the other");
    drop(more);
    drop(players);
    publishers.into_iter().for_each(Running::finish);
    server.assert_unhurt();
}

/// Two hundred viewers come and go on all paths, some before they have asked for anything; those who stay miss
/// nothing, and the server keeps no descriptor of those who left.
#[test]
fn two_hundred_joins_and_leaves_leave_no_trace() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let keys = ["live/left", "live/right", "live/up", "live/down"];
    let publishers: Vec<Running> = keys
        .iter()
        .zip(Entrance::ALL.iter().cycle())
        .map(|(key, entrance)| {
            Publisher::open(&server, *entrance, key).expect("the seat is free").run(&fixture)
        })
        .collect();
    let steady: Vec<Player> = keys
        .iter()
        .zip(Path::ALL.iter().cycle())
        .map(|(key, path)| Player::open(&server, *path, key))
        .collect();
    steady.iter().for_each(Player::wait_start);
    let before = server.descriptors();

    thread::scope(|scope| {
        for worker in 0..4usize {
            let server = &server;
            scope.spawn(move || {
                for i in 0..50usize {
                    let (key, path) = (keys[(i + worker) % keys.len()], Path::ALL[i % Path::ALL.len()]);
                    let player = Player::open(server, path, key);
                    // Every fifth leaves at once, in the middle of its handshake.
                    if i % 5 != worker {
                        player.wait_start();
                    }
                    player.leave();
                }
            });
        }
    });

    Player::wait_all_more(&steady, 60);
    for (player, key) in steady.iter().zip(keys) {
        let film = fixture.rounds(1 + player.newest().unwrap_or(0) as usize / fixture.duration() as usize);
        compare::played(&format!("the steady {:?} player of {key}", player.path()), &film, &player.units());
    }
    until(&format!("{before} descriptors, as before; now {}", server.descriptors()), || {
        (server.descriptors() <= before).then_some(())
    });
    drop(steady);
    publishers.into_iter().for_each(Running::finish);
    server.assert_unhurt();
}

/// All streams end, all connections go: the server holds what it held when it had just started.
#[test]
fn when_all_are_gone_the_server_holds_what_it_began_with() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder().grace("0ms").start();
    // One connection of each kind first: what is opened once and for all is open then.
    let warm = Publisher::open(&server, Entrance::Rtmp, "live/warm").expect("the seat is free").run(&fixture);
    for path in Path::ALL {
        Player::open(&server, path, "live/warm").wait_start();
    }
    warm.finish();
    until("the warm-up to be over", || server.stream("live/warm").is_none().then_some(()));
    let before = server.descriptors();
    for entrance in Entrance::ALL {
        let publisher =
            Publisher::open(&server, entrance, "live/cam").expect("the seat is free").run(&fixture);
        let players = Path::ALL.map(|path| Player::open(&server, path, "live/cam"));
        players.iter().for_each(Player::wait_start);
        publisher.kill();
        for player in players {
            player.wait_end();
        }
        until("the stream to be forgotten", || server.stream("live/cam").is_none().then_some(()));
    }
    until(&format!("{before} descriptors; now {}", server.descriptors()), || {
        (server.descriptors() <= before).then_some(())
    });
    server.assert_unhurt();
}

/// Takes the seat as soon as the server has noticed that it is free.
fn retake(server: &Server, entrance: Entrance, key: &str) -> Publisher {
    until("the seat to be free again", || Publisher::open(server, entrance, key).ok())
}

/// What came after the change: the units from the first one of the new film on.
fn after_change<'a>(units: &'a [Unit], film: &[Unit]) -> &'a [Unit] {
    let header =
        film.iter().find(|unit| unit.header && unit.kind == Kind::Video).expect("the film has a picture");
    let start = units.iter().position(|unit| unit.header && unit.data == header.data);
    &units[start.expect("the new film's sequence header reached the player")..]
}

/// A publisher loses its power and returns with another camera and a clock that begins anew. Its players stay
/// connected; they get the new parameter sets, then the new pictures, and time goes on.
#[test]
fn a_killed_publisher_returns_with_another_picture() {
    let (old, new) = (Fixture::get(Media::H264Aac), Fixture::get(Media::H264AacSmall));
    let mut server = Server::start();
    for (first, second) in [(Entrance::Rtmp, Entrance::Ws), (Entrance::Ws, Entrance::Rtmp)] {
        let key = format!("live/{first:?}").to_lowercase();
        let publisher = Publisher::open(&server, first, &key).expect("the seat is free").run(&old);
        let players = Path::ALL.map(|path| Player::open(&server, path, &key));
        Player::wait_all_more(&players, 40);
        publisher.kill();
        let publisher = retake(&server, second, &key).run(&new);
        for player in &players {
            let who = format!("{:?} player, {first:?} then {second:?}", player.path());
            let header = new.units().into_iter().find(|unit| unit.header && unit.kind == Kind::Video);
            let header = header.expect("the film has a picture").data;
            player.wait("the new film's sequence header", |player| {
                player.units().iter().any(|unit| unit.data == header)
            });
            player.wait("a second of it", |player| after_change(&player.units(), &new.units()).len() > 75);
            assert_eq!(player.end(), None, "{who}");
            let units = player.units();
            compare::monotonic(&who, &units);
            let fresh = after_change(&units, &new.units());
            let picture = fresh.iter().find(|unit| unit.kind == Kind::Video && !unit.header);
            assert!(picture.is_some_and(|unit| unit.key), "{who}: the new film begins with {picture:?}");
            let sound = fresh.iter().position(|unit| unit.kind == Kind::Audio && unit.header);
            assert!(sound.is_some(), "{who}: the sound's new configuration (48 kHz) never came");
            compare::played(&who, &new.rounds(8), fresh);
        }
        drop(players);
        publisher.finish();
    }
    server.assert_unhurt();
}

/// A publisher is killed and returns ten times; nobody is stuck, nothing piles up.
#[test]
fn a_publisher_that_flaps_leaves_nobody_stuck() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let key = "live/flapping";
    let publisher = Publisher::open(&server, Entrance::Rtmp, key).expect("the seat is free").run(&fixture);
    let players = Path::ALL.map(|path| Player::open(&server, path, key));
    players.iter().for_each(Player::wait_start);
    let before = server.descriptors();
    let mut publisher = Some(publisher);
    for round in 0..10 {
        publisher.take().expect("one at a time").kill();
        let entrance = Entrance::ALL[round % 2];
        publisher = Some(retake(&server, entrance, key).run(&fixture));
        Player::wait_all_more(&players, 20);
    }
    for player in &players {
        compare::monotonic(&format!("{:?} player", player.path()), &player.units());
        assert_eq!(player.end(), None);
    }
    until(&format!("{before} descriptors; now {}", server.descriptors()), || {
        (server.descriptors() <= before).then_some(())
    });
    publisher.expect("the last one").finish();
    server.assert_unhurt();
}

/// One publisher stalls in the middle of a message; every other stream, on either shard, goes on.
#[test]
fn a_stalled_publisher_holds_up_nobody_else() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let mut stuck = Publisher::open(&server, Entrance::Rtmp, "live/stuck").expect("the seat is free");
    stuck.send_all(fixture.tags[..10].iter()).expect("the server takes the film");
    // The header of a message of 60,000 bytes, and ten of them.
    let mut half = vec![7u8, 0, 0, 0, 0, 0xea, 0x60, flv::VIDEO, 1, 0, 0, 0];
    half.extend([0x17; 10]);
    stuck.rtmp().send_raw(&half).expect("the server reads");
    let keys: Vec<String> = (0..6).map(|i| format!("live/other{i}")).collect();
    let others: Vec<(Running, Player)> = keys
        .iter()
        .map(|key| {
            let publisher =
                Publisher::open(&server, Entrance::Rtmp, key).expect("the seat is free").run(&fixture);
            (publisher, Player::open(&server, Path::Http, key))
        })
        .collect();
    for (publisher, player) in others {
        player.wait_more(80);
        drop(player);
        publisher.finish();
    }
    server.assert_unhurt();
}

/// Many clients connect at the same moment, each to a stream of its own.
#[test]
fn a_burst_of_fresh_connections_is_served() {
    let server = Server::start();
    thread::scope(|scope| {
        for i in 0..64 {
            let server = &server;
            scope.spawn(move || {
                let (_, status) = rtmp::Client::publish(server.rtmp(), "burst", &format!("cam{i}"))
                    .unwrap_or_else(|error| panic!("publisher {i}: {error}"));
                assert_eq!(status.code(), "NetStream.Publish.Start");
            });
        }
    });
}
