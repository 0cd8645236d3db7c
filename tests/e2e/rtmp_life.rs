//! The life of a stream as RTMP clients live it: waiting, refusals and their words, takeover, grace and return,
//! several streams on one connection, odd clocks, spellings of an address.

use std::time::Duration;

use crate::support::{
    Entrance, Fixture, Kind, Path, Player, Publisher, SOON, Server, Tag, Unit,
    amf::{self, Value},
    compare, flv,
    media::Media,
    rtmp::{Client, Message},
    tools::{FFMPEG5, Tool},
    until, within,
};

const KEY: &str = "live/cam";

fn publish(server: &Server, fixture: &Fixture) -> crate::support::publisher::Running {
    Publisher::open(server, Entrance::Rtmp, KEY).expect("the seat is free").run(fixture)
}

/// A player that came first is told so, waits, and gets the film from its first frame.
#[test]
fn a_player_may_come_before_its_publisher() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let players = Path::ALL.map(|path| Player::open(&server, path, KEY));
    server.wait_viewers(KEY, players.len());
    let publisher = publish(&server, &fixture);
    Player::wait_all_more(&players, 50);
    for player in &players {
        let (video, audio) =
            compare::played(&format!("{:?}", player.path()), &fixture.rounds(8), &player.units());
        assert_eq!(video.map(|stretch| stretch.head), Some(0), "{:?}: pictures missed", player.path());
        assert_eq!(audio.map(|stretch| stretch.head), Some(0), "{:?}: sound missed", player.path());
    }
    publisher.finish();
}

/// Nobody publishes: after `play.wait` each player is told in its protocol's words, and its connection ends.
#[test]
fn a_player_that_waits_in_vain_is_told_so() {
    let server = Server::builder().wait("500ms").start();
    for path in Path::ALL {
        let player = Player::open(&server, path, "live/nobody");
        let end = player.wait_end();
        match path {
            Path::Rtmp => {
                let codes: Vec<String> = player.statuses().into_iter().map(|(code, _)| code).collect();
                assert!(
                    codes.contains(&"NetStream.Play.StreamNotFound".to_owned()),
                    "{codes:?}, end '{end}'"
                );
            }
            Path::Http => {
                assert!(end.starts_with("404 "), "{end}");
                assert!(end.contains("live/nobody"), "the sentence names the stream: {end}");
            }
            _ => assert!(end.starts_with("close 4") || end.contains("404"), "{path:?}: {end}"),
        }
    }
}

/// A second publisher is turned away with words that say why, by either entrance, and the first notices nothing.
#[test]
fn a_second_publisher_is_refused_with_a_reason() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = publish(&server, &fixture);
    let player = Player::open(&server, Path::Http, KEY);
    player.wait_start();
    let by_rtmp = Publisher::open(&server, Entrance::Rtmp, KEY).err().expect("refused").to_string();
    assert!(by_rtmp.contains("NetStream.Publish.BadName"), "{by_rtmp}");
    assert!(by_rtmp.contains("already published"), "the sentence says why: {by_rtmp}");
    // A WebSocket may be refused before its upgrade or be closed with a reason after it.
    match Publisher::open(&server, Entrance::Ws, KEY) {
        Err(error) => assert!(error.to_string().contains("409"), "{error}"),
        Ok(mut second) => {
            let _ = second.send_all(fixture.tags.iter().take(5));
            let end = until("the second publisher's end", || crate::support::ws::read(second.ws()).err());
            assert!(
                matches!(&end, crate::support::ws::End::Closed(code, reason) if *code != 1000 && !reason.is_empty()),
                "{end:?}"
            );
        }
    }
    player.wait_more(60);
    compare::played("the first one's player", &fixture.rounds(8), &player.units());
    assert!(publisher.running());
    publisher.finish();
}

/// ffmpeg says it too: it ends at once with an error instead of sending into the void.
#[test]
fn ffmpeg_ends_when_its_seat_is_taken() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = publish(&server, &fixture);
    let file = fixture.path.to_string_lossy().into_owned();
    let url = server.rtmp_url(KEY);
    let args =
        ["-v", "info", "-nostdin", "-re", "-stream_loop", "-1", "-i", &file, "-c", "copy", "-f", "flv", &url];
    let outcome = Tool::start(FFMPEG5, args).finish(SOON);
    assert!(
        outcome.status.is_some_and(|status| !status.success()),
        "{:?} {}",
        outcome.status,
        outcome.stderr
    );
    publisher.finish();
}

/// `publish.takeover: replace`: the newcomer gets the seat, the first one is told, the players stay.
#[test]
fn a_newcomer_replaces_the_publisher_when_told_to() {
    let (old, new) = (Fixture::get(Media::H264Aac), Fixture::get(Media::H264AacSmall));
    for entrance in Entrance::ALL {
        let server = Server::builder().set("publish.takeover", "replace").start();
        let first = publish(&server, &old);
        let players = Path::ALL.map(|path| Player::open(&server, path, KEY));
        Player::wait_all_more(&players, 30);
        let second = Publisher::open(&server, entrance, KEY).expect("the seat can be taken").run(&new);
        until("the first publisher to be thrown out", || (!first.running()).then_some(()));
        let header =
            new.units().into_iter().find(|unit| unit.header && unit.kind == Kind::Video).expect("a picture");
        for player in &players {
            player
                .wait("the new picture", |player| player.units().iter().any(|unit| unit.data == header.data));
            player.wait_more(60);
            compare::monotonic(&format!("{:?}", player.path()), &player.units());
        }
        second.finish();
    }
}

/// When the publisher went in order, its players are kept for the grace, then told in their protocol's words.
#[test]
fn players_are_told_when_the_grace_is_over() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::builder().grace("1s").start();
    let publisher = publish(&server, &fixture);
    let players = Path::ALL.map(|path| Player::open(&server, path, KEY));
    players.iter().for_each(Player::wait_start);
    publisher.finish();
    for player in &players {
        let end = player.wait_end();
        match player.path() {
            Path::Rtmp => {
                assert!(end.contains("NetStream.Play.UnpublishNotify") || end.contains("StreamEOF"), "{end}")
            }
            Path::Http => assert_eq!(end, "end", "the last chunk comes"),
            path => {
                assert!(end.starts_with("close 1000") || end.starts_with("close 1001"), "{path:?}: {end}")
            }
        }
    }
}

/// OBS and Flash encoders republish on the connection they have.
#[test]
fn one_connection_publishes_again_and_again() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let player = Player::open(&server, Path::Http, KEY);
    let (mut client, status) = Client::publish(server.rtmp(), "live", "cam").expect("the server answers");
    assert_eq!(status.code(), "NetStream.Publish.Start");
    client.send_all_media(&fixture, 0);
    player.wait_more(100);

    // As OBS and ffmpeg leave: FCUnpublish and deleteStream; then a new stream on the same connection.
    let number = f64::from(client.stream_id);
    client.command("FCUnpublish", &[Value::Null, Value::text("cam")]).expect("sent");
    client.command("deleteStream", &[Value::Null, Value::Number(number)]).expect("sent");
    client.command("releaseStream", &[Value::Null, Value::text("cam")]).expect("sent");
    client.command("FCPublish", &[Value::Null, Value::text("cam")]).expect("sent");
    client.create_stream().expect("answered");
    assert_start(&mut client);
    client.send_all_media(&fixture, 0);
    player.wait_more(100);

    // As Flash leaves: closeStream; the stream id stays good.
    client.command_on(client.stream_id, "closeStream", &[Value::Null]).expect("sent");
    assert_start(&mut client);
    client.send_all_media(&fixture, 0);
    player.wait_more(100);
    compare::monotonic("the player of three publications", &player.units());
    assert_eq!(player.end(), None);
}

/// Sends `publish` and reads until it has begun; what the end of the last publication is answered is passed over.
fn assert_start(client: &mut Client) {
    let number = client.stream_id;
    client
        .command_on(number, "publish", &[Value::Null, Value::text("cam"), Value::text("live")])
        .expect("sent");
    loop {
        let status = client.status().expect("the server answers");
        if status.code() == "NetStream.Publish.Start" {
            return;
        }
        assert_eq!(status.code(), "NetStream.Unpublish.Success", "{status:?}");
    }
}

impl Client {
    /// A second of the film, as fast as it goes, its clock beginning at `start`.
    fn send_all_media(&mut self, fixture: &Fixture, start: u32) {
        for tag in fixture.tags.iter().filter(|tag| tag.kind != flv::SCRIPT && tag.ts < 2000) {
            self.send_tag(&Tag { ts: tag.ts + start, ..tag.clone() }).expect("the server reads");
        }
    }
}

/// A clock near the end of 32 bits, and one that passes the 24 bits of a short timestamp, go on without a jump.
#[test]
fn clocks_wrap_without_a_trace() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    for (name, start) in [("extended", 0x00ff_ffff_u32 - 1000), ("wrapping", u32::MAX - 1000)] {
        let key = format!("clock/{name}");
        for entrance in Entrance::ALL {
            let players = [Path::Rtmp, Path::Http].map(|path| Player::open(&server, path, &key));
            server.wait_viewers(&key, players.len());
            let publisher = until("the seat", || Publisher::open(&server, entrance, &key).ok());
            let publisher = publisher.run_from(&fixture, start);
            Player::wait_all_more(&players, 120);
            for player in &players {
                let mut units = player.units();
                unwrap(&mut units);
                compare::played(
                    &format!("{entrance:?} {name} {:?}", player.path()),
                    &fixture.rounds(8),
                    &units,
                );
            }
            publisher.finish();
            players.into_iter().for_each(Player::leave);
            until("the viewers to be gone", || {
                let viewers = server.stream(&key).and_then(|stream| stream.get("viewers")?.as_u64());
                (viewers.unwrap_or(0) == 0).then_some(())
            });
        }
    }
}

/// Undoes the wrap of 32-bit times.
fn unwrap(units: &mut [Unit]) {
    let mut rounds = 0;
    let mut last = 0;
    for unit in units {
        if unit.dts + (1 << 31) < last {
            rounds += 1;
        }
        last = unit.dts;
        unit.dts += rounds << 32;
    }
}

/// An encoder's clock jumps an hour ahead, then back to zero: players see time go on, picture and sound together.
#[test]
fn jumps_of_the_clock_are_repaired() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let player = Player::open(&server, Path::Rtmp, KEY);
    server.wait_viewers(KEY, 1);
    let (mut client, _) = Client::publish(server.rtmp(), "live", "cam").expect("the server answers");
    for start in [0, 3_600_000, 0] {
        let have = player.count();
        client.send_all_media(&fixture, start);
        player.wait("two seconds of film", |player| player.count() >= have + 130);
    }
    let units = player.units();
    compare::monotonic("jumps", &units);
    let pictures: Vec<&Unit> = units.iter().filter(|unit| unit.kind == Kind::Video && !unit.header).collect();
    for pair in pictures.windows(2) {
        let step = pair[1].dts - pair[0].dts;
        assert!(step <= 500, "a step of {step} ms between {:?} and {:?}", pair[0], pair[1]);
    }
}

/// The picture changes its size in the middle of a publication: the new sequence header comes right before the
/// first frame that needs it.
#[test]
fn new_parameter_sets_come_at_the_right_frame() {
    let (big, small) = (Fixture::get(Media::H264Aac), Fixture::get(Media::H264AacSmall));
    let server = Server::start();
    let players = Path::ALL.map(|path| Player::open(&server, path, KEY));
    server.wait_viewers(KEY, players.len());
    let (mut client, _) = Client::publish(server.rtmp(), "live", "cam").expect("the server answers");
    client.send_all_media(&big, 0);
    client.send_all_media(&small, 2000);
    for player in &players {
        player.wait("both films", |player| player.newest() >= Some(3900));
        let units = player.units();
        let header = small
            .units()
            .into_iter()
            .find(|unit| unit.header && unit.kind == Kind::Video)
            .expect("a picture");
        let at = units.iter().position(|unit| unit.data == header.data).expect("the new header came");
        let next = units[at..]
            .iter()
            .find(|unit| unit.kind == Kind::Video && !unit.header)
            .expect("and its picture");
        let first = small.units().into_iter().find(|unit| unit.key).expect("a keyframe");
        assert!(next.data == first.data, "{:?}: {next:?} follows the header, not {first:?}", player.path());
        let before =
            units[..at].iter().rfind(|unit| unit.kind == Kind::Video && !unit.header).expect("the old film");
        let old: Vec<Unit> = big.units().into_iter().filter(|unit| unit.dts < 2000).collect();
        let last = old.iter().rfind(|unit| unit.kind == Kind::Video).expect("it has pictures");
        assert!(
            before.data == last.data,
            "{:?}: {before:?} is not the old film's last, {last:?}",
            player.path()
        );
    }
}

/// However a client spells the address, it is the same stream.
#[test]
fn an_address_has_many_spellings() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher =
        Publisher::open(&server, Entrance::Rtmp, "a/b/cam").expect("the seat is free").run(&fixture);
    let spellings = [
        ("a/b", "cam"),
        ("a", "b/cam"),
        ("a/b/", "cam"),
        ("a/b", "cam?token=secret"),
        ("a/b?vhost=example", "cam"),
        ("a/b", "cam?vhost=example&token=1"),
        ("a/b/_definst_", "cam"),
        ("a/b", "/cam"),
    ];
    for (app, name) in spellings {
        let mut client = Client::play(server.rtmp(), app, name).expect("the server answers");
        let found = within(SOON, || {
            let message = client.read().unwrap_or_else(|error| panic!("{app} {name}: {error}"));
            message.tag().filter(|tag| tag.units().iter().any(|unit| unit.key))
        });
        assert!(found.is_some(), "no picture as {app} {name}");
    }
    for url in
        [format!("rtmp://{}/a/b/cam?token=1", server.rtmp()), format!("rtmp://{}/a/b/cam", server.rtmp())]
    {
        Tool::start("ffprobe", ["-v", "error", "-read_intervals", "%+#10", "-show_packets", &url])
            .succeed(SOON);
    }
    publisher.finish();
}

/// A player pauses, gets nothing, and goes on with a keyframe.
#[test]
fn a_paused_player_gets_nothing_until_it_goes_on() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = publish(&server, &fixture);
    let mut client = Client::play(server.rtmp(), "live", "cam").expect("the server answers");
    let media = |client: &mut Client| loop {
        if let Some(tag) =
            client.read().expect("the stream goes on").tag().filter(|tag| tag.kind != flv::SCRIPT)
        {
            return tag;
        }
    };
    media(&mut client);
    let pause = |client: &mut Client, on: bool| {
        let values = [Value::Null, Value::Bool(on), Value::Number(0.0)];
        let number = client.stream_id;
        client.command_on(number, "pause", &values).expect("sent");
        let expected = if on { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" };
        until(expected, || {
            client.read().expect("the server answers").command().filter(|command| command.code() == expected)
        });
    };
    pause(&mut client, true);
    // A ping-pong through the server, so that anything it had still to send has come: a call it does not know is answered.
    let call = client.command("checkBandwidth", &[Value::Null]).expect("sent");
    loop {
        let message = client.read().expect("the server answers");
        assert!(message.tag().is_none_or(|tag| tag.kind == flv::SCRIPT), "media while paused");
        let Some(command) = message.command() else { continue };
        if command.values.first().and_then(Value::as_number) == Some(call) {
            break;
        }
    }
    pause(&mut client, false);
    let units: Vec<Unit> =
        std::iter::repeat_with(|| media(&mut client)).take(80).flat_map(|tag| tag.units()).collect();
    let picture = units.iter().find(|unit| unit.kind == Kind::Video && !unit.header).expect("pictures again");
    assert!(picture.key, "it goes on with {picture:?}");
    publisher.finish();
}

/// AMF3 commands (message type 17) do what AMF0 ones do; calls that nobody knows are answered, too.
#[test]
fn amf3_commands_and_unknown_calls_are_answered() {
    let server = Server::start();
    let mut client = Client::dial(server.rtmp()).expect("the handshake");
    client.connect("live", server.rtmp()).expect("connect");
    let mut body = vec![0];
    body.extend(amf::encode(&[Value::text("createStream"), Value::Number(77.0), Value::Null]));
    client.send(3, &Message { kind: 17, stream: 0, ts: 0, body }).expect("sent");
    let answer = client.answer(77.0).expect("answered");
    assert!(answer.values.last().and_then(Value::as_number).is_some_and(|id| id >= 1.0), "{answer:?}");
    let call = client.command("noSuchCall", &[Value::Null, Value::text("x")]).expect("sent");
    client.answer(call).expect("an unknown call is answered");
}

/// A publisher that says nothing any more is closed, and its seat is free.
#[test]
fn a_silent_publisher_loses_its_seat() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::builder().set("publish.silence_timeout", "1s").start();
    let (mut client, _) = Client::publish(server.rtmp(), "live", "cam").expect("the server answers");
    client.send_all_media(&fixture, 0);
    let begun = std::time::Instant::now();
    let ended = within(SOON, || client.read().err());
    assert!(ended.is_some(), "the silent publisher sits for ever");
    assert!(begun.elapsed() < Duration::from_secs(20));
    until("the seat to be free", || Publisher::open(&server, Entrance::Rtmp, KEY).ok());
}
