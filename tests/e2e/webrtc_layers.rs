//! Simulcast: a publisher sends its picture in several sizes, and each viewer gets the best that its network carries.

use std::time::{Duration, Instant};

use loadtest::{
    media::{Programme, synthetic::Shape},
    rtc::{Client, Content, Seen, client::Arrived},
};
use shardcast::codecs::{h264, nal};
use shards::media::Shape as MediaShape;

use crate::support::{
    Path, Player, Server,
    relay::{Relay, Weather},
    until,
    webrtc::{behind, play, try_publish_content},
    within,
};

/// 1.5 Mbit/s and 200 kbit/s, and long groups: keyframes come because they are asked for.
const LAYERS: [(&str, (u32, u32), u64); 2] = [("h", (640, 360), 1_500_000), ("l", (320, 180), 200_000)];
/// Between them.
const NARROW: u64 = 600_000;

fn layers(order: [usize; 2]) -> Content {
    let layer = |at: usize| {
        let (rid, size, bit_rate) = LAYERS[at];
        let shape = Shape { bit_rate, audio_bit_rate: 0, picture_rate: 25.0, group: 2_500, size };
        (rid, Programme::Synthetic(shape))
    };
    Content::Layers(order.map(layer).into())
}

/// How wide a keyframe's picture is, by its parameter set.
fn width(picture: &Arrived) -> Option<u32> {
    let sps = nal::annex_b(&picture.data).find_map(h264::parse_sps);
    sps.map(|sps| sps.width)
}

/// The widths that a viewer has seen, in order, and how long the picture stood still at most.
fn widths(seen: &Seen) -> Vec<u32> {
    let mut widths: Vec<u32> = seen.pictures().filter_map(width).collect();
    widths.dedup();
    widths
}

fn sees(server: &Server, viewer: &Client, wanted: u32, within_: Duration) -> Duration {
    let begun = Instant::now();
    let met = within(within_, || viewer.look(|seen| (widths(seen).last() == Some(&wanted)).then_some(())));
    let (widths, log) = (viewer.look(widths), server.log());
    let log: Vec<&str> = log.lines().rev().take(40).collect();
    assert!(met.is_some(), "{wanted} pixels across: {widths:?}; the newest lines first: {log:#?}");
    begun.elapsed()
}

#[test]
fn a_viewer_behind_a_narrow_way_gets_the_small_layer_and_goes_up_again_while_others_have_the_large_one() {
    let server = Server::builder().set("shards", 1).set("log.level", "debug").start();
    let publisher = try_publish_content(server.http(), "live/cam", layers([0, 1])).expect("a seat");
    until("both layers", || server.log().contains("video2:").then_some(()));
    let wide = play(server.http(), "live/cam");
    let relay =
        Relay::start(server.webrtc(), Weather { loss: 0.0, delay: Duration::from_millis(10), seed: 1 });
    let narrow = behind(&relay, server.http(), "live/cam", None);
    sees(&server, &wide, 640, Duration::from_secs(10));
    sees(&server, &narrow, 640, Duration::from_secs(10));

    relay.narrow(NARROW);
    let down = sees(&server, &narrow, 320, Duration::from_secs(20));
    // It stays there, and sees it smoothly.
    std::thread::sleep(Duration::from_secs(4));
    let from = loadtest::clock::now();
    std::thread::sleep(Duration::from_secs(6));
    let (kept, longest) = narrow.look(|seen| {
        let times: Vec<u64> = seen.pictures().map(|p| p.at_ns).filter(|at| *at >= from).collect();
        (times.len(), times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(u64::MAX))
    });
    assert!(kept > 120, "{kept} pictures in six seconds");
    relay.narrow(0);
    let up = sees(&server, &narrow, 640, Duration::from_secs(60));

    let asked = publisher.look(|seen| seen.asked_layers.iter().map(ToString::to_string).collect::<Vec<_>>());
    eprintln!(
        "down after {down:?}, {kept} pictures in six seconds there ({} ms at the longest), up {up:?} after the way was wide again; \
         the publisher was asked for {asked:?}",
        longest / 1_000_000
    );
    assert!(asked.iter().any(|rid| rid == "l") && asked.iter().any(|rid| rid == "h"), "{asked:?}");
    let (narrow, wide) = (narrow.finish(), wide.finish());
    assert_eq!(widths(&wide), [640], "the other viewer saw nothing of that");
    assert_eq!(wide.counts.lost(), 0);
    for seen in [&narrow, &wide] {
        let times: Vec<u64> = seen.pictures().map(|picture| picture.time_us).collect();
        assert!(times.windows(2).all(|two| two[0] < two[1]), "time runs forwards");
        assert_eq!(seen.end, None);
    }
}

/// Whatever the order in which layers are offered, players of one picture get the largest.
#[test]
fn players_of_one_picture_get_the_largest_layer() {
    let server = Server::start();
    let _publisher = try_publish_content(server.http(), "live/cam", layers([1, 0])).expect("a seat");
    until("both layers", || server.log().contains("video1:").then_some(()));
    for path in [Path::Rtmp, Path::Http] {
        let player = Player::open(&server, path, "live/cam");
        player.wait("pictures of the large layer", |player| {
            let units = player.units();
            let header =
                units.iter().rev().find(|unit| unit.header && unit.codec == "avc1" && unit.track == 0);
            header.is_some_and(|header| {
                let shape = shardcast::codecs::shape(shards::media::Codec::H264, &header.data);
                matches!(shape, MediaShape::Video { width: 640, height: 360 })
            }) && units.iter().filter(|unit| !unit.header && unit.track == 0).count() > 50
        });
    }
}
