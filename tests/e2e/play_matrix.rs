//! What goes in comes out: every codec that FLV can hold, published by ffmpeg over RTMP and by a page over WS-FLV,
//! played by every path, by ffmpeg, rtmpdump and strict readers of our own. Access units are compared byte for byte,
//! times to the millisecond, picture against sound.

use std::time::Duration;

use crate::support::{
    Builder, Entrance, Fixture, Kind, Path, Player, Publisher, SOON, Server,
    compare::{self, Packets, packets, same_packets, start_packets},
    flv,
    media::Media,
    scratch,
    tools::{FFMPEG5, Outcome, Tool, ffmpeg7},
};

const KEY: &str = "live/film";

/// The ffmpeg that can read a film: Debian's, if at all possible.
fn ffmpeg_for(media: Media) -> String {
    if media.enhanced() { ffmpeg7() } else { FFMPEG5.into() }
}

/// Publishes a file at the pace of its clock, as a user would.
fn ffmpeg_publish(fixture: &Fixture, url: &str) -> Tool {
    let program = ffmpeg_for(fixture.media);
    let file = fixture.path.to_string_lossy().into_owned();
    let mut args: Vec<&str> = "-v warning -nostdin -re -i".split(' ').collect();
    args.extend([&file, "-c", "copy"]);
    if fixture.media.enhanced() {
        args.extend(["-rtmp_enhanced_codecs", "hvc1,av01,vp09"]);
    }
    args.extend(["-f", "flv", url]);
    Tool::start(&program, args)
}

/// What this ffmpeg says of the film's own file. HEVC by id 12 is the same film by FourCC.
fn packets_of_file(fixture: &Fixture) -> Packets {
    let reading = start_packets(&ffmpeg_for(fixture.media), &[], &fixture.path.to_string_lossy());
    packets(&reading.succeed(SOON))
}

/// Real players that wait for the film.
struct RealPlayers {
    rtmp: Tool,
    http: Tool,
    dump: Option<(Tool, std::path::PathBuf)>,
}

impl RealPlayers {
    fn start(server: &Server, media: Media, story: &str) -> Self {
        let program = ffmpeg_for(media);
        let rtmp = start_packets(&program, &[], &server.rtmp_url(KEY));
        let http = start_packets(&program, &[], &server.http_url(KEY));
        let dump = (!media.enhanced()).then(|| {
            let file = scratch(&format!("{story}.dump.flv"));
            let out = file.to_string_lossy().into_owned();
            let url = server.rtmp_url(KEY);
            (Tool::start("rtmpdump", ["-q", "-v", "-r", &url, "-o", &out]), file)
        });
        Self { rtmp, http, dump }
    }

    fn compare(self, fixture: &Fixture) {
        let expected = packets_of_file(fixture);
        let ended = |who: &str, outcome: Outcome| {
            assert!(outcome.status.is_some(), "{who} did not end with the stream:\n{}", outcome.stderr);
            outcome
        };
        let rtmp = ended("ffmpeg by RTMP", self.rtmp.finish(SOON));
        same_packets("ffmpeg by RTMP", &expected, &packets(&rtmp));
        let http = ended("ffmpeg by HTTP-FLV", self.http.finish(SOON));
        assert!(http.success(), "ffmpeg by HTTP-FLV: {}", http.stderr);
        same_packets("ffmpeg by HTTP-FLV", &expected, &packets(&http));
        if let Some((tool, file)) = self.dump {
            ended("rtmpdump", tool.finish(SOON));
            let tags = flv::read_file(&std::fs::read(file).expect("rtmpdump wrote a file"));
            compare::played_whole("rtmpdump", &fixture.units(), &flv::units(tags.iter()));
        }
    }
}

/// One film, one publisher, all players, from before its first frame to after its last.
fn story(media: Media, name: &str, publish: impl FnOnce(&Server, &Fixture)) {
    story_on(Server::builder(), media, name, publish);
}

fn story_on(server: Builder, media: Media, name: &str, publish: impl FnOnce(&Server, &Fixture)) {
    let fixture = Fixture::get(media);
    let mut server = server.grace("1s").start();
    let real = RealPlayers::start(&server, media, name);
    let players: Vec<Player> = Path::ALL.map(|path| Player::open(&server, path, KEY)).into();
    server.wait_viewers(KEY, players.len() + 2 + usize::from(real.dump.is_some()));

    publish(&server, &fixture);

    let (picture, sound) = media.codecs();
    let flags = u8::from(picture.is_some()) | u8::from(sound.is_some()) << 2;
    for player in &players {
        let end = player.wait_end();
        let who = format!("{:?} player, which ended by '{end}'", player.path());
        compare::played_whole(&who, &fixture.units(), &player.units());
        if let Some(seen) = player.flags() {
            assert_eq!(seen, flags, "{who}: the flags of the FLV header");
        }
        assert_metadata(&who, player, media);
    }
    real.compare(&fixture);
    server.assert_unhurt();
}

/// `onMetaData` reaches players and tells the truth about the picture.
fn assert_metadata(who: &str, player: &Player, media: Media) {
    let tags = player.tags();
    let found = tags.iter().filter(|tag| tag.kind == flv::SCRIPT).find_map(|tag| {
        let values = crate::support::amf::decode(&tag.body);
        (values.first()?.as_str() == Some("onMetaData")).then(|| values[1].clone())
    });
    let metadata = found.unwrap_or_else(|| panic!("{who}: no onMetaData"));
    if media.codecs().0.is_some() {
        let number = |name| metadata.get(name).and_then(crate::support::amf::Value::as_number);
        assert_eq!((number("width"), number("height")), (Some(320.0), Some(180.0)), "{who}: {metadata:?}");
    }
}

fn by_ffmpeg(server: &Server, fixture: &Fixture) {
    ffmpeg_publish(fixture, &server.rtmp_url(KEY)).succeed(Duration::from_secs(60));
}

fn by(entrance: Entrance) -> impl FnOnce(&Server, &Fixture) {
    move |server, fixture| {
        let mut publisher = Publisher::open(server, entrance, KEY).expect("the seat is free");
        publisher.send_paced(fixture.tags.iter(), 1).expect("the server takes the film");
        publisher.finish();
    }
}

#[test]
fn h264_with_b_frames_and_aac_by_ffmpeg() {
    story(Media::H264Aac, "h264-aac", by_ffmpeg);
}

#[test]
fn h264_with_b_frames_and_aac_by_ws_flv() {
    story(Media::H264Aac, "h264-aac-ws", by(Entrance::Ws));
}

/// Gathered, on its way in as on its way out.
#[test]
fn h264_with_b_frames_and_aac_in_a_few_large_sends() {
    for (name, entrance) in [("gathered", Entrance::Rtmp), ("gathered-ws", Entrance::Ws)] {
        let server = Server::builder().set("delivery.coalesce", "350ms");
        story_on(server, Media::H264Aac, name, by(entrance));
    }
}

#[test]
fn h264_alone_by_ffmpeg() {
    story(Media::H264, "h264", by_ffmpeg);
}

#[test]
fn h264_alone_by_ws_flv() {
    story(Media::H264, "h264-ws", by(Entrance::Ws));
}

#[test]
fn aac_alone_by_ffmpeg() {
    story(Media::Aac, "aac", by_ffmpeg);
}

#[test]
fn aac_alone_by_ws_flv() {
    story(Media::Aac, "aac-ws", by(Entrance::Ws));
}

#[test]
fn h264_and_mp3_by_ffmpeg() {
    story(Media::H264Mp3, "h264-mp3", by_ffmpeg);
}

#[test]
fn h264_and_mp3_by_ws_flv() {
    story(Media::H264Mp3, "h264-mp3-ws", by(Entrance::Ws));
}

#[test]
fn hevc_by_fourcc_by_ffmpeg() {
    story(Media::Hevc, "hevc", by_ffmpeg);
}

#[test]
fn hevc_by_fourcc_by_ws_flv() {
    story(Media::Hevc, "hevc-ws", by(Entrance::Ws));
}

#[test]
fn hevc_as_codec_id_12_by_rtmp() {
    story(Media::HevcId12, "hevc-12", by(Entrance::Rtmp));
}

#[test]
fn hevc_as_codec_id_12_by_ws_flv() {
    story(Media::HevcId12, "hevc-12-ws", by(Entrance::Ws));
}

#[test]
fn av1_by_ffmpeg() {
    story(Media::Av1, "av1", by_ffmpeg);
}

#[test]
fn av1_by_ws_flv() {
    story(Media::Av1, "av1-ws", by(Entrance::Ws));
}

#[test]
fn vp9_by_ffmpeg() {
    story(Media::Vp9, "vp9", by_ffmpeg);
}

#[test]
fn vp9_by_ws_flv() {
    story(Media::Vp9, "vp9-ws", by(Entrance::Ws));
}

/// A viewer who comes late gets the newest group of pictures at once, whole, and everything after it.
#[test]
fn a_joiner_starts_with_the_newest_keyframe() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let first = Player::open(&server, Path::Http, KEY);
    first.wait_more(120);
    for path in Path::ALL {
        let player = Player::open(&server, path, KEY);
        player.wait_more(60);
        let units = player.units();
        let picture = units.iter().find(|unit| unit.kind == Kind::Video && !unit.header);
        assert!(picture.is_some_and(|unit| unit.key), "{path:?} begins with {picture:?}");
        compare::played(&format!("{path:?} joiner"), &fixture.rounds(12), &units);
    }
    publisher.finish();
}

/// What ffprobe says of the stream is what it says of the file.
#[test]
fn ffprobe_sees_the_same_streams_live_as_in_the_file() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let shown =
        "stream=codec_name,codec_type,profile,width,height,has_b_frames,pix_fmt,sample_rate,channels,level";
    let probe = |input: &str| {
        let args = ["-v", "error", "-show_entries", shown, "-of", "compact=p=0", input];
        let mut lines: Vec<String> =
            Tool::start("ffprobe", args).succeed(SOON).text().lines().map(str::to_owned).collect();
        // RTMP's data messages make ffprobe show a stream of data, too.
        lines.retain(|line| !line.contains("codec_type=data"));
        lines.sort();
        lines
    };
    let expected = probe(&fixture.path.to_string_lossy());
    assert_eq!(probe(&server.rtmp_url(KEY)), expected, "by RTMP");
    assert_eq!(probe(&server.http_url(KEY)), expected, "by HTTP-FLV");
    let player = Player::open(&server, Path::WsFlv, KEY);
    player.wait_more(100);
    let mut bytes = flv::file_header(true, true);
    player.tags().iter().for_each(|tag| bytes.extend(tag.to_bytes()));
    let file = scratch("ffprobe.ws.flv");
    std::fs::write(&file, bytes).expect("target/tmp can be written");
    assert_eq!(probe(&file.to_string_lossy()), expected, "by WS-FLV");
    publisher.finish();
}

/// A decoder finds nothing to complain of, from the first byte a joiner gets.
#[test]
fn ffmpeg_decodes_a_joined_stream_without_a_complaint() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let warm = Player::open(&server, Path::Http, KEY);
    warm.wait_more(60);
    for url in [server.rtmp_url(KEY), server.http_url(KEY)] {
        let args = ["-v", "error", "-nostdin", "-xerror", "-i", &url, "-t", "3", "-f", "framemd5", "-"];
        let outcome = Tool::start(FFMPEG5, args).succeed(SOON);
        let decoded = packets(&outcome);
        let pictures = decoded.packets.iter().filter(|packet| packet.stream == 0).count();
        assert!(pictures >= 60, "{url}: {pictures} pictures in three seconds");
        assert_eq!(outcome.stderr.trim(), "", "{url}");
    }
    publisher.finish();
}
