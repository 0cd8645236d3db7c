//! WebRTC at the sockets: all shards behind one port, and IPv6.

use std::{collections::BTreeSet, net::UdpSocket, time::Duration};

use str0m::media::Direction;

use crate::support::{
    Path, Player, SOON, Server,
    rtc::{Peer, post, request},
    until,
};

/// What stands behind `name` in the first line of an answer that begins with it.
fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in\n{sdp}"))
}

/// The shard that answered: its number begins the ICE name.
fn shard_of(sdp: &str) -> u8 {
    u8::from_str_radix(&value(sdp, "a=ice-ufrag:")[..2], 16).expect("two hexadecimal digits")
}

/// Address and port of each candidate.
fn candidates(sdp: &str) -> BTreeSet<(String, String)> {
    let of = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[4].to_owned(), words[5].to_owned())
    };
    sdp.lines()
        .filter(|line| line.starts_with("a=candidate:") && line.to_ascii_lowercase().contains(" udp "))
        .map(of)
        .collect()
}

/// A key that shard `shard` owns.
fn key_of(server: &Server, shard: u8) -> String {
    let probe = Peer::offer(Direction::RecvOnly).1;
    let owned = (0..64).map(|n| format!("live/{shard}-{n}")).find(|key| {
        let answer = post(server.http(), &format!("/whep/{key}"), &probe);
        let location = answer.head.field("location").expect("a session").to_owned();
        request(server.http(), "DELETE", &location, &[], "");
        shard_of(&answer.text()) == shard
    });
    owned.expect("every shard owns some")
}

fn frames(server: &Server, key: &str) -> u64 {
    server.stream(key).and_then(|stream| stream["frames"].as_u64()).unwrap_or_default()
}

#[test]
fn streams_of_all_shards_come_and_go_through_one_port() {
    let mut server = Server::builder().set("webrtc.single_port", "true").set("webrtc.tcp", "false").start();
    let http = server.http();
    let mut told = BTreeSet::new();
    for shard in 0..2 {
        let key = key_of(&server, shard);
        let (mut publisher, answer) = Peer::begin(http, &format!("/whip/{key}"), Direction::SendOnly);
        told.extend(candidates(&answer.text()));
        publisher.connect();
        publisher.send_for(3);
        let feeding = std::thread::spawn(move || {
            publisher.send_for(150);
            publisher
        });
        let player = Player::open(&server, Path::Http, &key);
        // Of many addresses some are hashed to each socket.
        let viewers: Vec<Peer> = (0..6)
            .map(|_| {
                let (mut viewer, answer) = Peer::begin(http, &format!("/whep/{key}"), Direction::RecvOnly);
                told.extend(candidates(&answer.text()));
                viewer.connect();
                viewer
            })
            .collect();
        for mut viewer in viewers {
            let seen = viewer.run(SOON, |viewer| viewer.frames[0] > 10 && viewer.frames[1] > 10);
            assert!(seen, "shard {shard}: {:?}", viewer.frames);
            viewer.close();
        }
        player
            .wait("pictures and sound", |player| player.units().iter().filter(|unit| unit.key).count() > 10);
        server.wait_viewers(&key, 1);
        drop(player);
        let mut publisher = feeding.join().expect("no panic");
        // To a new address, which may be hashed elsewhere, and again.
        for _ in 0..3 {
            publisher.move_away();
            publisher.send_for(30);
            let before = frames(&server, &key);
            publisher.send_for(25);
            assert!(frames(&server, &key) > before + 10, "shard {shard}: media goes on from a new address");
        }
        publisher.close();
        until("a goodbye frees the key", || {
            server.stream(&key).is_none_or(|stream| stream["publisher"].is_null()).then_some(())
        });
    }
    assert_eq!(told.len(), 1, "one port for all: {told:?}");
    server.assert_unhurt();
}

/// As `webrtc_life` has it, but the sessions are on two shards: what is left of the old one is told of it.
#[test]
fn a_port_of_an_abandoned_session_belongs_to_the_next_one_on_whichever_shard() {
    let mut server = Server::builder()
        .set("webrtc.single_port", "true")
        .set("webrtc.tcp", "false")
        .set("webrtc.timeout", "3s")
        .start();
    let http = server.http();
    let keys = [0, 1].map(|shard| key_of(&server, shard));
    let feeding: Vec<_> = keys
        .iter()
        .map(|key| {
            let (mut source, _) = Peer::begin(http, &format!("/whip/{key}"), Direction::SendOnly);
            source.connect();
            source.send_for(3);
            std::thread::spawn(move || source.send_for(400))
        })
        .collect();
    let mut socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut before = BTreeSet::new();
    for key in keys.iter().cycle().take(4) {
        let target = format!("/whep/{key}");
        let (mut viewer, _) = Peer::begin_from(socket, http, &target, Direction::RecvOnly);
        viewer.connect();
        viewer.run(Duration::from_millis(100), |_| false);
        viewer.sources.clear();
        let seen = viewer.run(SOON, |viewer| viewer.frames[0] > 20 && viewer.frames[1] > 20);
        assert!(seen, "{key}: {:?}", viewer.frames);
        assert!(!viewer.closed && viewer.sources.is_disjoint(&before), "{key}: nothing of the one before");
        before.extend(&viewer.sources);
        socket = viewer.vanish();
    }
    drop(feeding);
    server.assert_unhurt();
}

/// A name that a client chose tells nobody where its session is; it is found all the same.
#[test]
fn a_session_whose_name_the_client_chose_is_found_behind_one_port() {
    let server = Server::builder().set("webrtc.single_port", "true").start();
    let http = server.http();
    for shard in 0..2 {
        let key = key_of(&server, shard);
        let (app, stream) = key.split_once('/').expect("two levels");
        // As many begin like the other shard's as like this one's, and some like nobody's.
        for (n, name) in ["00chosen", "01chosen", "zz/chosen+"].into_iter().enumerate() {
            let name = format!("{name}{shard}");
            let query = format!("ice-ufrag={}&ice-pwd=0123456789abcdefghijkl", name.replace('+', "%2B"));
            let target = format!("/rtc/v1/whip/?app={app}&stream={stream}-{n}&{query}");
            let (mut peer, sdp) = Peer::offer(Direction::SendOnly);
            let answer = post(http, &target, &sdp);
            assert_eq!(answer.head.status, 201, "{}", answer.text());
            assert_eq!(value(&answer.text(), "a=ice-ufrag:"), name);
            assert_eq!(value(&answer.text(), "a=ice-pwd:"), "0123456789abcdefghijkl");
            let again = post(http, &format!("/rtc/v1/whip/?app={app}&stream=other&{query}"), &sdp);
            assert_eq!(again.head.status, 409, "one name, one session: {}", again.text());
            peer.accept(&answer.text());
            peer.connect();
            peer.send_for(10);
            let key = format!("{key}-{n}");
            until("its frames", || (frames(&server, &key) > 0).then_some(()));
            peer.close();
            until("its name is free", || {
                let offer = Peer::offer(Direction::RecvOnly).1;
                let again = post(http, &format!("/rtc/v1/whep/?app={app}&stream=other&{query}"), &offer);
                (again.head.status != 409).then_some(())
            });
        }
    }
}

#[test]
fn media_goes_over_ipv6_as_over_ipv4() {
    let mut server = Server::builder()
        .set("webrtc.listen_ip", "::")
        .set("webrtc.candidates", "[\"::1\", 127.0.0.1]")
        .start();
    let http = server.http();
    for (n, (from, to)) in [("[::1]:0", "127.0.0.1:0"), ("127.0.0.1:0", "[::1]:0"), ("[::1]:0", "[::1]:0")]
        .into_iter()
        .enumerate()
    {
        let [from, to] = [from, to].map(|address| UdpSocket::bind(address).expect("a port"));
        let key = format!("live/{n}");
        let (mut publisher, answer) =
            Peer::begin_from(from, http, &format!("/whip/{key}"), Direction::SendOnly);
        let told: Vec<String> = candidates(&answer.text()).into_iter().map(|(ip, _)| ip).collect();
        assert_eq!(told, ["127.0.0.1", "::1"], "{}", answer.text());
        publisher.connect();
        publisher.send_for(3);
        let feeding = std::thread::spawn(move || {
            publisher.send_for(50);
            publisher.move_away();
            publisher.send_for(100);
            publisher
        });
        let (mut viewer, _) = Peer::begin_from(to, http, &format!("/whep/{key}"), Direction::RecvOnly);
        viewer.connect();
        assert!(viewer.run(SOON, |viewer| viewer.frames[1] > 100), "{:?}", viewer.frames);
        feeding.join().expect("no panic").close();
    }
    server.assert_unhurt();
}

/// With nothing configured, the addresses of the interfaces are told, of both families.
#[test]
fn addresses_of_both_families_are_found_and_told() {
    let server = Server::builder().set("webrtc.listen_ip", "::").start();
    let answer = post(server.http(), "/whip/live/cam", &Peer::offer(Direction::SendOnly).1);
    let told: Vec<String> = candidates(&answer.text()).into_iter().map(|(ip, _)| ip).collect();
    let families = |v6: bool| told.iter().filter(|ip| ip.contains(':') == v6).count();
    // What this machine has decides; a machine without a network tells its own loopback.
    assert!(families(false) + families(true) > 0, "{told:?}");
    assert!(told.iter().all(|ip| !ip.starts_with("fe80")), "link-local addresses lead nowhere: {told:?}");
}
