//! WebRTC with clients that are no browsers: str0m's and aiortc's publish and play what others play and publish.

use std::time::Duration;

use loadtest::rtc::{Client, Seen};
use serde_json::Value;
use shardcast::codecs::{h264, nal};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, SOON, Server,
    media::Media,
    tools::{FFMPEG5, Tool},
    until,
    webrtc::{aiortc, play, programme, publish, try_publish},
    within,
};

/// Waits for something about what a client has seen.
fn wait(client: &Client, what: &str, ready: impl Fn(&Seen) -> bool) {
    let met = within(SOON, || client.look(|seen| ready(seen) || seen.end.is_some()).then_some(()));
    let seen = client.seen();
    assert!(
        met.is_some() && ready(&seen),
        "waited for {what}: {} pictures, {} sounds, {} packets, {} sent, {:?}",
        seen.pictures().count(),
        seen.sounds().count(),
        seen.packets,
        seen.sent,
        seen.end
    );
}

/// ffmpeg looks at a stream for no longer, whatever it is missing.
const IMPATIENT: [&str; 4] = ["-probesize", "150000", "-analyzeduration", "2000000"];

/// What ffprobe says of a stream's picture.
fn probe(url: &str) -> Value {
    let mut args = vec!["-v", "error"];
    args.extend(IMPATIENT);
    args.extend(["-of", "json", "-select_streams", "v", "-show_streams", url]);
    let told = Tool::start("ffprobe", args).succeed(Duration::from_secs(40));
    let found: Value = serde_json::from_slice(&told.stdout).expect("ffprobe writes JSON");
    found["streams"][0].clone()
}

/// One publisher by WHIP is seen by players of every kind, and by ffmpeg, who decodes it without a complaint.
#[test]
fn what_a_client_publishes_by_whip_is_played_by_rtmp_flv_and_whep() {
    let mut server = Server::start();
    let publisher = publish(server.http(), "live/cam", programme());
    wait(&publisher, "a second of sending", |seen| seen.sent > 60);
    let players = [Path::Rtmp, Path::Http, Path::WsFlv].map(|path| Player::open(&server, path, "live/cam"));
    let viewer = play(server.http(), "live/cam");
    for player in &players {
        player.wait("its pictures", |player| {
            player.units().iter().filter(|unit| unit.codec == "avc1" && !unit.header).count() > 50
        });
        let pictures: Vec<_> =
            player.units().into_iter().filter(|unit| unit.codec == "avc1" && !unit.header).collect();
        assert!(pictures[0].key, "{:?} begins with {:?}", player.path(), pictures[0]);
        assert!(pictures.windows(2).all(|two| two[0].dts < two[1].dts), "{:?}: time goes on", player.path());
    }
    wait(&viewer, "pictures and sounds", |seen| seen.pictures().count() > 50 && seen.sounds().count() > 50);
    let seen = viewer.finish();
    let markers: Vec<(u64, bool)> = seen
        .pictures()
        .map(|picture| (picture.marker.expect("markers are passed through").picture, picture.key))
        .collect();
    // One who is still catching up goes on at a newer keyframe.
    let follows = |two: &[(u64, bool)]| two[1].0 == two[0].0 + 1 || (two[1].1 && two[1].0 > two[0].0);
    assert!(markers.windows(2).all(follows), "every picture, in order: {markers:?}");
    assert!(seen.arrived.iter().all(|arrived| !arrived.data.is_empty()));
    let url = server.http_url("live/cam");
    let video = probe(&url);
    assert_eq!(
        (&video["codec_name"], &video["width"], &video["height"]),
        (&"h264".into(), &320.into(), &180.into()),
        "{video}"
    );
    let mut args = vec!["-v", "error"];
    args.extend(IMPATIENT);
    args.extend(["-i", &url, "-t", "3", "-map", "0:v"]);
    // With the stream's own times: at its guess of a frame rate ffmpeg would complain of itself.
    args.extend(["-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-f", "null", "-"]);
    let decoded = Tool::start(FFMPEG5, args).succeed(Duration::from_secs(40));
    assert!(decoded.stderr.is_empty(), "{}", decoded.stderr);
    let refused = try_publish(server.http(), "live/cam", programme()).expect_err("somebody publishes");
    assert!(refused.contains("409"), "{refused}");
    assert_eq!(publisher.finish().end, None);
    until("the seat is free at once", || try_publish(server.http(), "live/cam", programme()).ok());
    server.assert_unhurt();
}

/// A film by RTMP, and somebody who joins in the middle: his first picture is a keyframe with its parameter sets.
#[test]
fn what_is_published_by_rtmp_is_played_by_whep() {
    let mut server = Server::start();
    let film = Fixture::get(Media::H264);
    let publisher = Publisher::open(&server, Entrance::Rtmp, "live/film").expect("a seat").run(&film);
    until("the stream", || server.stream("live/film"));
    let watcher = Player::open(&server, Path::Http, "live/film");
    watcher.wait_more(10);
    let viewer = play(server.http(), "live/film");
    wait(&viewer, "two seconds of pictures", |seen| seen.pictures().count() > 30);
    let seen = viewer.finish();
    let first = seen.pictures().next().expect("pictures");
    let types: Vec<u8> = nal::annex_b(&first.data).map(h264::unit_type).collect();
    assert!(first.key && types.contains(&7) && types.contains(&8) && types.contains(&5), "{types:?}");
    let times: Vec<u64> = seen.pictures().map(|picture| picture.time_us).collect();
    assert!(
        times.windows(2).all(|two| two[0] < two[1]),
        "no picture is shown before one that was sent earlier: {times:?}"
    );
    assert_eq!((seen.counts.lost(), seen.end), (0, None));
    let waited = seen.first_packet_ns.expect("packets") - seen.asked_ns;
    eprintln!("the first packet came {} ms after the POST was begun", waited / 1_000_000);
    publisher.finish();
    server.assert_unhurt();
}

/// A publisher whose machine lost its power holds the key no longer than `webrtc.timeout`.
#[test]
fn who_vanishes_frees_the_key_in_time() {
    let server = Server::builder().set("webrtc.timeout", "1s").start();
    let publisher = publish(server.http(), "live/cam", programme());
    wait(&publisher, "its connection", |seen| seen.sent > 10);
    publisher.vanish();
    let begun = std::time::Instant::now();
    assert!(try_publish(server.http(), "live/cam", programme()).is_err(), "for a moment nobody knows");
    let again = until("the key", || try_publish(server.http(), "live/cam", programme()).ok());
    eprintln!("the key was free after {:?}", begun.elapsed());
    wait(&again, "the next one's connection", |seen| seen.sent > 10);
    // And one that is deleted frees it at once.
    assert_eq!(again.session("DELETE", &[], "").expect("an answer").status, 200);
    let third = try_publish(server.http(), "live/cam", programme());
    assert!(third.is_ok(), "{:?}", third.err());
}

/// aiortc, which shares no code with anybody else here, publishes; HTTP-FLV and aiortc itself play.
#[test]
fn aiortc_publishes_and_plays() {
    let server = Server::start();
    let film = Fixture::get(Media::H264Aac);
    let url = format!("http://{}/whip/live/py", server.http());
    let publisher =
        aiortc("publish.py", [url.as_ref(), film.path.as_os_str(), "12".as_ref(), "h264".as_ref()]);
    until("aiortc's stream", || server.stream("live/py"));
    let watcher = Player::open(&server, Path::Http, "live/py");
    watcher.wait("pictures", |player| player.units().iter().filter(|unit| unit.codec == "avc1").count() > 20);
    let url = format!("http://{}/whep/live/py", server.http());
    let player = aiortc("play.py", [url.as_str(), "6"]);
    let seen = player.succeed(Duration::from_secs(60)).text();
    let seen: Value = serde_json::from_str(&seen).unwrap_or_else(|error| panic!("{error}: {seen}"));
    eprintln!("aiortc saw {seen}");
    assert_eq!(seen["status"], 201, "{seen}");
    assert!(seen["video"]["frames"].as_u64().is_some_and(|frames| frames > 50), "{seen}");
    assert_eq!(seen["video"]["size"], serde_json::json!([320, 180]), "{seen}");
    assert!(seen["audio"]["frames"].as_u64().is_some_and(|frames| frames > 100), "{seen}");
    assert!(seen["audio"]["loudest"].as_i64().is_some_and(|loudest| loudest > 1_000), "{seen}");
    assert_eq!((&seen["video"]["backward"], &seen["audio"]["backward"]), (&0.into(), &0.into()), "{seen}");
    let sent = publisher.succeed(Duration::from_secs(60)).text();
    assert!(sent.contains("\"status\": 201"), "{sent}");
}
