//! Sound in another codec: a film of H.264 and Opus, as a browser would publish it, for players who take AAC only.

use std::{sync::Arc, time::Duration};

use crate::support::{
    Entrance, Fixture, Kind, Path, Player, Publisher, SOON, Server, Tag,
    compare::{self, monotonic, packets, start_packets},
    flv,
    media::Media,
    scratch,
    tools::{FFMPEG5, Tool},
    until,
};

const KEY: &str = "live/film";
/// Opus plays what it is given so much later; the tags of the film do not allow for it.
const PRE_SKIP_MS: f64 = 6.5;

/// The packets of an Ogg file (RFC 3533) without its two headers.
fn ogg_packets(file: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut all, mut packet, mut at) = (Vec::new(), Vec::new(), 0);
    while at + 27 < file.len() {
        assert_eq!(&file[at..at + 4], b"OggS");
        let segments = usize::from(file[at + 26]);
        let mut body = at + 27 + segments;
        for lace in &file[at + 27..at + 27 + segments] {
            packet.extend_from_slice(&file[body..body + usize::from(*lace)]);
            body += usize::from(*lace);
            if *lace < 255 {
                all.push(std::mem::take(&mut packet));
            }
        }
        at = body;
    }
    let packets = all.split_off(2);
    (all.swap_remove(0), packets)
}

/// The film's pictures with a beep in Opus at each full second.
fn film() -> Fixture {
    let pictures = Fixture::get(Media::H264);
    let file = scratch("beep.opus");
    let out = file.to_string_lossy().into_owned();
    let sound = "sine=frequency=220:beep_factor=4:sample_rate=48000";
    let args = ["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", sound, "-t", "4", "-c:a", "libopus"];
    Tool::start(FFMPEG5, args.into_iter().chain(["-b:a", "96k", "-ac", "2", &out])).succeed(SOON);
    let (head, packets) = ogg_packets(&std::fs::read(&file).expect("ffmpeg wrote a file"));
    let body = |kind: u8, bytes: &[u8]| [&[0x90 | kind], &b"Opus"[..], bytes].concat();
    let mut tags: Vec<Tag> = pictures.tags.iter().filter(|tag| tag.kind != flv::SCRIPT).cloned().collect();
    tags.push(Tag { kind: flv::AUDIO, ts: 0, body: body(0, &head) });
    // Whole seconds of it, so that the film goes round with its sound in place; one packet of each round is lost.
    for (n, packet) in packets.iter().take(pictures.duration() as usize / 20 - 1).enumerate() {
        tags.push(Tag { kind: flv::AUDIO, ts: n as u32 * 20, body: body(1, packet) });
    }
    tags.sort_by_key(|tag| (tag.ts, !tag.units().iter().any(|unit| unit.header)));
    Fixture { tags: Arc::new(tags), ..pictures }
}

/// Where in the sound of an FLV file the beeps begin, in milliseconds of its clock.
fn beeps(name: &str, player: &Player) -> Vec<f64> {
    let mut bytes = flv::file_header(true, true);
    player.tags().iter().for_each(|tag| bytes.extend(tag.to_bytes()));
    let file = scratch(name);
    std::fs::write(&file, bytes).expect("target/tmp can be written");
    let path = file.to_string_lossy().into_owned();
    let args = [
        "-v", "error", "-nostdin", "-i", &path, "-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le", "-",
    ];
    let outcome = Tool::start(FFMPEG5, args).succeed(SOON);
    assert_eq!(outcome.stderr.trim(), "", "{name}");
    let pcm: Vec<f64> =
        outcome.stdout.as_chunks::<2>().0.iter().map(|two| f64::from(i16::from_le_bytes(*two))).collect();
    let first =
        player.units().iter().find(|unit| unit.kind == Kind::Audio && !unit.header).map(|unit| unit.dts);
    let first = first.expect("there is sound") as f64;
    // Four times 220 Hz, in pieces of 2.5 ms.
    let strength = |piece: &[f64]| {
        let turn = 2.0 * (std::f64::consts::TAU * 880.0 / 48_000.0).cos();
        let (last, before) =
            piece.iter().fold((0.0, 0.0), |(last, before), s| (s + turn * last - before, last));
        (last * last + before * before - turn * last * before).max(0.0).sqrt() * 2.0 / piece.len() as f64
    };
    // A period of the low tone long, so that it alone comes to nothing.
    let pieces: Vec<f64> = (0..).map_while(|n| pcm.get(n * 120..n * 120 + 436)).map(strength).collect();
    let loud = pieces.iter().copied().fold(0.0, f64::max) / 2.0;
    let onsets = pieces.windows(2).enumerate().filter(|(_, pair)| pair[0] < loud && pair[1] >= loud);
    // When half of the piece is filled.
    onsets.map(|(n, _)| first + ((n + 1) * 120 + 218) as f64 / 48.0).collect()
}

fn is_aac(player: &Player) -> bool {
    player.units().iter().filter(|unit| unit.kind == Kind::Audio).all(|unit| unit.codec == "mp4a")
}

#[test]
fn opus_is_aac_to_players_who_take_nothing_else_in_its_place_and_from_the_first_picture_on() {
    let film = film();
    let mut server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&film);
    // The first who needs it comes in mid-group.
    until("the stream to run", || (server.stream(KEY)?["frames"].as_u64()? > 160).then_some(()));
    assert_eq!(server.stream(KEY).expect("a stream")["transcodes"], serde_json::json!([]));
    let players: Vec<Player> =
        [Path::Http, Path::WsFlv].map(|path| Player::open(&server, path, KEY)).into_iter().collect();
    players.iter().for_each(|player| player.wait_more(400));
    for player in &players {
        let (who, units) = (format!("{:?}", player.path()), player.units());
        assert!(is_aac(player), "{who}: only AAC");
        monotonic(&who, &units);
        let offset = compare::stretch(&who, Kind::Video, &film.rounds(20), &units).expect("pictures").offset;
        let start = |kind| units.iter().find(|unit| unit.kind == kind && !unit.header).map(|unit| unit.dts);
        let (picture, sound) = (start(Kind::Video).expect("pictures"), start(Kind::Audio).expect("sound"));
        assert!(
            (0..50).contains(&(sound - picture)),
            "{who}: sound at {sound}, the first picture at {picture}"
        );
        let beeps = beeps(&format!("{who}.beeps.flv"), player);
        assert!(beeps.len() >= 3, "{who}: {beeps:?}");
        // Where a round begins, the packet before the beep is lost, and the decoder needs a moment.
        let round = f64::from(film.duration());
        let in_round =
            |beep: &f64| (500.0..round - 500.0).contains(&(beep - offset as f64).rem_euclid(round));
        for beep in beeps.into_iter().filter(in_round) {
            let since = (beep - offset as f64 - PRE_SKIP_MS).rem_euclid(1_000.0);
            let late = if since > 500.0 { since - 1_000.0 } else { since };
            assert!(late.abs() < 10.0, "{who}: a beep is {late} ms late");
        }
    }
    let stream = server.stream(KEY).expect("a stream");
    let transcodes = stream["transcodes"].as_array().expect("a list");
    assert_eq!(transcodes.len(), 1, "once for all");
    assert_eq!((&transcodes[0]["codec"], &transcodes[0]["from"]), (&"AAC".into(), &"Opus".into()));
    assert!(transcodes[0]["concealed"].as_u64().is_some_and(|lost| lost <= 4), "{transcodes:?}");
    players.into_iter().for_each(Player::leave);
    until("the transcode to end with its last player", || {
        server.stream(KEY)?["transcodes"].as_array()?.is_empty().then_some(())
    });
    publisher.finish();
    server.assert_unhurt();
}

#[test]
fn ffmpeg_decodes_twenty_seconds_of_it_without_a_complaint() {
    let film = film();
    let server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&film);
    until("the stream to run", || (server.stream(KEY)?["frames"].as_u64()? > 100).then_some(()));
    let tools: Vec<(String, Tool)> = [server.rtmp_url(KEY), server.http_url(KEY)]
        .into_iter()
        .map(|url| {
            let args =
                ["-v", "warning", "-nostdin", "-xerror", "-i", &url, "-t", "20", "-f", "framemd5", "-"];
            let tool = Tool::start(FFMPEG5, args);
            (url, tool)
        })
        .collect();
    for (url, tool) in tools {
        let outcome = tool.succeed(Duration::from_secs(60));
        assert_eq!(outcome.stderr.trim(), "", "{url}");
        let decoded = packets(&outcome);
        let of = |stream| decoded.packets.iter().filter(|packet| packet.stream == stream).count();
        assert!(of(0) >= 490 && of(1) >= 920, "{url}: {} pictures, {} pieces of sound", of(0), of(1));
    }
    publisher.finish();
}

/// A player that says so gets Opus, and so does everybody where the operator says so.
#[test]
fn opus_stays_opus_for_those_who_take_it() {
    let film = film();
    for (audio, path) in [("auto", Path::Rtmp), ("off", Path::Http), ("off", Path::WsFlv)] {
        let server = Server::builder().set("transcode.audio", audio).start();
        let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&film);
        let player = Player::open(&server, path, KEY);
        player.wait_more(100);
        compare::played(&format!("{path:?}, {audio}"), &film.rounds(12), &player.units());
        assert_eq!(server.stream(KEY).expect("a stream")["transcodes"], serde_json::json!([]));
        publisher.finish();
    }
}

/// By RTMP, an old player gets AAC.
#[test]
fn an_old_player_by_rtmp_gets_aac() {
    let film = film();
    let server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&film);
    let url = server.rtmp_url(KEY);
    let tool = start_packets(FFMPEG5, &["-t", "3"], &url);
    let packets = packets(&tool.succeed(SOON));
    assert_eq!(packets.codecs, ["h264", "aac"]);
    publisher.finish();
}
