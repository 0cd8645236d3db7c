//! One stream on two shards: who watches by a mirror sees what the owner's viewers see, from the first byte, across
//! publishers, and to the end.

use crate::support::{
    Entrance, Fixture, Kind, Path, Player, Publisher, Server, compare, media::Media, until,
};

const KEY: &str = "live/final";

/// Two shards, and any stream that sends anything worth mentioning is hot.
fn server() -> Server {
    Server::builder().set("mirror.share", 1).start()
}

/// Viewers on the shards that mirror the stream.
fn mirrored(server: &Server) -> u64 {
    let stream = server.stream(KEY).unwrap_or_default();
    let mirrors = stream["mirrors"].as_array().cloned().unwrap_or_default();
    mirrors.iter().filter_map(|mirror| mirror["viewers"].as_u64()).sum()
}

/// Enough viewers to make the stream hot, and as many more as it takes for a mirror to have some by every path.
fn crowd(server: &Server) -> Vec<Player> {
    let mut players: Vec<Player> = Vec::new();
    until("a mirror with viewers", || {
        players.extend(Path::ALL.map(|path| Player::open(server, path, KEY)));
        players.iter().rev().take(Path::ALL.len()).for_each(Player::wait_start);
        assert!(players.len() < 300, "the stream never became hot");
        (mirrored(server) >= 12).then_some(())
    });
    players
}

#[test]
fn viewers_of_a_mirror_see_the_same_stream_and_leave_no_trace() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = server();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let first = Player::open(&server, Path::Http, KEY);
    first.wait_start();
    let before = server.descriptors();
    let players = crowd(&server);
    Player::wait_all_more(&players, 150);
    let film = fixture.rounds(40);
    for player in &players {
        compare::played(&format!("{:?} player", player.path()), &film, &player.units());
    }
    let stream = server.stream(KEY).expect("it is live");
    let viewers = stream["viewers"].as_u64().unwrap_or_default();
    assert_eq!(viewers as usize, players.len() + 1, "all shards' viewers are the stream's: {stream}");
    let log = server.log();
    assert!(log.contains("mirrors shard"), "a mirror begins with a line in the log");
    drop(players);
    until("the mirror to go with its last viewer", || {
        let mirrors = server.stream(KEY)?["mirrors"].as_array()?.len();
        (mirrors == 0).then_some(())
    });
    until("descriptors as before", || (server.descriptors() <= before).then_some(()));
    first.wait_more(30);
    publisher.finish();
    server.assert_unhurt();
}

#[test]
fn a_mirror_follows_a_publisher_that_returns_with_another_picture() {
    let (old, new) = (Fixture::get(Media::H264Aac), Fixture::get(Media::H264AacSmall));
    let mut server = server();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&old);
    let players = crowd(&server);
    publisher.kill();
    let publisher = until("the seat to be free again", || Publisher::open(&server, Entrance::Ws, KEY).ok());
    let publisher = publisher.run(&new);
    let header = new.units().into_iter().find(|unit| unit.header && unit.kind == Kind::Video);
    let header = header.expect("the film has a picture").data;
    for player in &players {
        player.wait("the new film's parameter sets", |player| {
            player.units().iter().any(|unit| unit.data == header)
        });
    }
    Player::wait_all_more(&players, 40);
    for player in &players {
        compare::monotonic(&format!("{:?} player", player.path()), &player.units());
        assert_eq!(player.end(), None);
    }
    publisher.finish();
    for player in players {
        player.wait_end();
    }
    server.assert_unhurt();
}
