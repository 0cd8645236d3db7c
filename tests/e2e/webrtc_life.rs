//! How WebRTC sessions live and end: media in and out, moves from one network to another, goodbyes, silence, and those that
//! come to nothing.

use std::time::{Duration, Instant};

use str0m::media::Direction;

use crate::support::{
    Path, Player, SOON, Server,
    rtc::{Peer, post, request},
    until, within,
};

fn location(answer: &crate::support::http::Answer) -> String {
    answer.head.field("location").expect("a location").to_owned()
}

/// Whether somebody publishes the key.
fn is_live(server: &Server, key: &str) -> bool {
    server.stream(key).is_some_and(|stream| !stream["publisher"].is_null())
}

/// The time until nobody publishes the key any more.
fn time_until_free(server: &Server, key: &str) -> Duration {
    let start = Instant::now();
    until("the key is free", || (!is_live(server, key)).then_some(()));
    start.elapsed()
}

#[test]
fn what_whip_brings_flv_and_whep_viewers_get() {
    let server = Server::start();
    let (mut publisher, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(5);
    let player = Player::open(&server, Path::Http, "live/cam");
    let (mut viewer, _) = Peer::begin(server.http(), "/whep/live/cam", Direction::RecvOnly);
    let feeding = std::thread::spawn(move || {
        publisher.send_for(100);
        publisher
    });
    viewer.connect();
    assert!(viewer.run(SOON, |viewer| viewer.frames[0] > 20 && viewer.frames[1] > 20), "{:?}", viewer.frames);
    player.wait("pictures and sound", |player| {
        let units = player.units();
        units.iter().filter(|unit| unit.key).count() > 10
    });
    let publisher = feeding.join().expect("no panic");
    publisher.close();
    let free = time_until_free(&server, "live/cam");
    assert!(free < Duration::from_secs(2), "a goodbye frees the key at once, not after {free:?}");
}

#[test]
fn a_publisher_that_falls_silent_frees_its_key_in_time() {
    let server = Server::builder().set("webrtc.timeout", "2s").start();
    let (mut publisher, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(5);
    until("it is known", || is_live(&server, "live/cam").then_some(()));
    drop(publisher);
    let free = time_until_free(&server, "live/cam");
    assert!(free > Duration::from_millis(1_000) && free < Duration::from_secs(4), "{free:?}");
    let (mut next, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    next.connect();
}

#[test]
fn a_viewer_that_falls_silent_or_says_goodbye_is_gone() {
    let server = Server::builder().set("webrtc.timeout", "2s").start();
    let (mut publisher, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(3);
    let mut views = Vec::new();
    for _ in 0..2 {
        let (mut viewer, _) = Peer::begin(server.http(), "/whep/live/cam", Direction::RecvOnly);
        viewer.connect();
        views.push(viewer);
    }
    let feeding = std::thread::spawn(move || publisher.send_for(300));
    server.wait_viewers("live/cam", 2);
    views.pop().expect("two").close();
    server.wait_viewers("live/cam", 1);
    drop(views);
    server.wait_viewers("live/cam", 0);
    feeding.join().expect("no panic");
}

#[test]
fn a_deleted_session_is_told_so() {
    let server = Server::start();
    let (mut publisher, answer) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(2);
    assert_eq!(request(server.http(), "DELETE", &location(&answer), &[], "").head.status, 200);
    let (_next, answer) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    assert_eq!(answer.head.status, 201, "the key is free when the answer comes");
    assert!(publisher.run(SOON, |peer| peer.closed), "the peer hears of it by DTLS");
}

#[test]
fn a_peer_may_move_to_another_address() {
    let server = Server::start();
    let (mut publisher, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(5);
    publisher.move_away();
    let frames =
        || server.stream("live/cam").and_then(|stream| stream["frames"].as_u64()).unwrap_or_default();
    publisher.send_for(50);
    let before = frames();
    publisher.send_for(25);
    assert!(frames() > before + 10, "media goes on from the new address: {before} then {}", frames());
}

/// Ports are used again: what comes from where an abandoned session was belongs to whoever knows a password there now, and
/// what the abandoned one still had to say reaches nobody.
#[test]
fn a_new_session_may_come_from_where_an_abandoned_one_was() {
    let server = Server::builder().set("webrtc.timeout", "2s").set("webrtc.connect_timeout", "2s").start();
    let http = server.http();
    let (mut source, _) = Peer::begin(http, "/whip/live/source", Direction::SendOnly);
    source.connect();
    source.send_for(3);
    let feeding = std::thread::spawn(move || source.send_for(500));
    // Half of DTLS, and all of it; the server has words for each when it gives them up.
    for half in [true, false] {
        for (target, direction) in
            [("/whip/live/old", Direction::SendOnly), ("/whep/live/source", Direction::RecvOnly)]
        {
            let (mut old, _) = Peer::begin(http, target, direction);
            if half {
                // Its certificate is never sent, or too late.
                old.run(SOON, |old| old.dtls > 0);
            } else {
                old.connect();
                old.run(Duration::from_millis(200), |_| false);
            }
            let before = old.sources.clone();
            let socket = old.vanish();
            let target = target.replace("old", &format!("new-{half}"));
            let (mut new, _) = Peer::begin_from(socket, http, &target, direction);
            new.connect();
            new.sources.clear();
            new.dtls = 0;
            // Until the old one is given up, and longer.
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                match direction {
                    Direction::SendOnly => new.send_for(1),
                    _ => drop(new.run(Duration::from_millis(100), |_| false)),
                }
            }
            assert!(!new.closed, "half {half}, {target}: nobody said goodbye to the new one");
            assert_eq!(new.dtls, 0, "half {half}, {target}: the old one's handshake goes nowhere");
            assert!(new.sources.is_disjoint(&before), "half {half}, {target}: nor does its media");
            match direction {
                Direction::SendOnly => {
                    let key = target.trim_start_matches("/whip/");
                    let frames = server.stream(key).and_then(|stream| stream["frames"].as_u64());
                    assert!(frames.is_some_and(|frames| frames > 100), "{key}: {frames:?}");
                }
                _ => assert!(new.frames[1] > 50, "half {half}: {:?}", new.frames),
            }
            new.close();
        }
    }
    drop(feeding);
}

#[test]
fn a_viewer_may_come_before_its_publisher_and_leaves_with_the_stream() {
    let server = Server::builder().set("play.grace", "1s").start();
    let (mut viewer, _) = Peer::begin(server.http(), "/whep/live/cam", Direction::RecvOnly);
    viewer.connect();
    let (mut publisher, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    let feeding = std::thread::spawn(move || {
        publisher.send_for(50);
        publisher.close();
    });
    assert!(viewer.run(SOON, |viewer| viewer.frames[1] > 10), "{:?}", viewer.frames);
    feeding.join().expect("no panic");
    assert!(viewer.run(SOON, |viewer| viewer.closed), "the stream is over");
}

#[test]
fn a_viewer_asks_and_the_publisher_makes_a_keyframe() {
    let server = Server::builder().set("gop.enable", "false").start();
    let (mut publisher, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(5);
    let asked = publisher.asked;
    let _player = Player::open(&server, Path::Http, "live/cam");
    publisher.send_for(10);
    assert!(publisher.asked > asked, "a joiner without a cache makes the server ask");
    let asked = publisher.asked;
    publisher.send_for(25);
    assert!(publisher.asked <= asked + 2, "but not again and again: {} times", publisher.asked - asked);
}

/// Sessions that stop at every stage, a thousand of them: nothing of them stays.
#[test]
fn sessions_that_come_to_nothing_leave_nothing() {
    /// Sessions of which nothing more is heard than their offer, and those that stop at each later stage.
    const UNHEARD: usize = 190;
    const EACH: usize = 20;
    const ROUNDS: usize = 4;
    let server = Server::builder()
        .set("webrtc.connect_timeout", "2s")
        .set("webrtc.timeout", "2s")
        .set("log.level", "info")
        .grace("0ms")
        .start();
    let (http, unheard) = (server.http(), Peer::offer(Direction::SendOnly).1);
    let round = |round: usize| {
        std::thread::scope(|scope| {
            // ICE without DTLS, half a handshake, silence after it.
            for stage in 0..3 {
                scope.spawn(move || {
                    for n in 0..EACH {
                        let target = format!("/whip/live/{round}-{stage}-{n}");
                        let (mut peer, _) = Peer::begin(http, &target, Direction::SendOnly);
                        match stage {
                            0 => peer.mute = |first| (20..64).contains(&first),
                            1 => peer.mute = |first| (20..64).contains(&first) && fastrand::bool(),
                            _ => {}
                        }
                        peer.run(Duration::from_millis(60), |peer| peer.connected);
                    }
                });
            }
            for n in 0..UNHEARD {
                let answer = post(http, &format!("/whip/live/{round}-{n}"), &unheard);
                assert_eq!(answer.head.status, 201, "{}", answer.text());
            }
        });
        until("all are gone", || (server.streams() == 0).then_some(()));
    };
    round(0);
    let (descriptors, resident) = (server.descriptors(), server.resident_bytes());
    (1..ROUNDS).for_each(round);
    let settled = within(SOON, || (server.descriptors() <= descriptors + 4).then_some(()));
    assert!(settled.is_some(), "{} descriptors, {descriptors} before", server.descriptors());
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 8 << 20, "{grown} bytes more than after the first round");
}
