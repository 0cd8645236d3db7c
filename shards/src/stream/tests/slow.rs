//! Slow peers: bounded, never torn, never in each other's way.

use bytes::Bytes;

use super::house::*;
use crate::{
    media::{FrameKind, TrackId},
    stream::Leave,
};

#[test]
fn what_was_begun_is_finished_before_anything_else() {
    // Every place where the peer's socket may have filled up.
    let whole = "{<v 40 x>}{<v 80 x>}";
    for cut in 0..=whole.len() {
        let house = house();
        let publisher = house.publish_av();
        publisher.key(0);
        let mut player = house.join();
        player.news();
        player.gate.shut();
        player.gate.open(cut);
        publisher.inter(40);
        house.pump();
        player.run();
        player.sub.control(Bytes::from_static(b"[pong]"));
        publisher.inter(80);
        house.pump();
        player.run();
        player.gate.open(usize::MAX);
        player.run();
        let got = player.news();
        let begun = if cut == 0 { 0 } else { 10 };
        let expected = match cut {
            ..10 => format!("{}[pong]{}", &whole[..begun], &whole[begun..]),
            // The first batch went in the walk; the word was said before the second.
            _ => "{<v 40 x>}[pong]{<v 80 x>}".to_owned(),
        };
        assert_eq!(got, expected, "cut at {cut}");
    }
}

#[test]
fn a_peer_that_takes_a_few_bytes_at_a_time_gets_it_all() {
    let house = house();
    let publisher = house.publish_av();
    let whole = house.join();
    let mut players: Vec<_> = (1..40).map(|bite| house.join_with(usize::MAX, bite)).collect();
    for n in 0..20 {
        publisher.push(
            TrackId::VIDEO,
            if n % 5 == 0 { FrameKind::Key } else { FrameKind::Inter },
            n * 40,
            "xyz",
        );
        publisher.sound(n * 40 + 7);
        house.pump();
        players.iter_mut().for_each(Player::run);
    }
    for player in &players {
        assert_eq!(player.all(), whole.all());
        assert_eq!(player.sub.stats().skips, 0);
    }
}

#[test]
fn a_reader_that_is_overtaken_skips_to_a_keyframe_and_it_is_counted() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.news();
    player.gate.shut();
    player.gate.open(4);
    for n in 1..=300 {
        publisher.push(
            TrackId::VIDEO,
            if n % 25 == 0 { FrameKind::Key } else { FrameKind::Inter },
            n * 40,
            "x",
        );
        house.pump();
        player.run();
    }
    assert!(house.stream.stats().lag.millis() >= 5_000, "{:?}", house.stream.stats().lag);
    player.gate.open(usize::MAX);
    player.run();
    assert_eq!(player.news(), "{<v 40 x>}{<V 12000 x>}", "the torn batch first");
    assert_eq!(player.sub.stats().skips, 1);
    assert_eq!(house.stream.stats().lag.millis(), 0);
    publisher.inter(12_040);
    house.pump();
    assert_eq!(player.news(), "{<v 12040 x>}", "the walk serves it again");
}

#[test]
fn who_is_overtaken_while_there_is_no_group_waits_for_the_next() {
    let house = house_with(|options| options.gop.frames_max = 3);
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.news();
    player.gate.shut();
    for n in 1..=300 {
        publisher.inter(n * 40);
        house.pump();
        player.run();
    }
    player.gate.open(usize::MAX);
    player.run();
    assert_eq!(player.news(), "");
    publisher.key(12_040);
    house.pump();
    assert_eq!(player.news(), "{<V 12040 x>}");
    assert_eq!(player.sub.stats().skips, 1);
}

#[test]
fn the_log_is_bounded_however_slow_the_reader() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.gate.shut();
    let payload = "p".repeat(300);
    for n in 1..=2_000 {
        let kind = if n % 20 == 0 { FrameKind::Key } else { FrameKind::Inter };
        publisher.push(TrackId::VIDEO, kind, n * 10, &payload);
        house.pump();
        player.run();
        // The bound, or the newest group (20 frames) where that is larger.
        assert!(house.ring_bytes(WORDS) <= 20_000);
    }
    assert!(house.ring_bytes(WORDS) > 5_000, "and it is used");
}

#[test]
fn a_flood_of_tiny_frames_is_not_free() {
    let house = house_with(|options| options.gop.frames_max = 100);
    let publisher = house.publish_av();
    publisher.track(crate::media::Track { id: TrackId::DATA, ..audio_track("d") }).unwrap();
    publisher.key(0);
    let player = house.join();
    for _ in 0..10_000 {
        // Data does not move the clock.
        publisher.push(TrackId::DATA, FrameKind::Key, 0, "x");
    }
    drop(player);
    assert!(house.ring_batches(WORDS) <= 20_000 / 128, "{}", house.ring_batches(WORDS));
}

#[test]
fn a_peer_that_takes_nothing_is_stalled() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    house.pass(10_000);
    player.run();
    assert_eq!(player.left, None, "there was nothing to take");
    player.gate.shut();
    publisher.inter(40);
    house.pump();
    player.run();
    house.pass(2_900);
    player.run();
    assert_eq!(player.left, None);
    house.pass(200);
    player.run();
    assert_eq!(player.left, Some(Leave::Stalled));
}

#[test]
fn a_peer_that_takes_a_little_is_not_stalled() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.gate.shut();
    for n in 1..400 {
        publisher.inter(n * 40);
        publisher.inter(n * 40 + 20);
        house.pump();
        player.run();
        house.pass(50);
        if n % 40 == 0 {
            // Once in 2 s, a batch or two and a part of another; it never catches up.
            player.gate.open(30);
            player.run();
            player.gate.shut();
        }
        assert_eq!(player.left, None, "at {n}");
    }
    house.pass(4_000);
    player.run();
    assert_eq!(player.left, Some(Leave::Stalled));
}

#[test]
fn a_pause_does_not_excuse_a_peer_that_takes_nothing() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut quiet = house.join();
    let mut torn = house.join();
    for player in [&mut quiet, &mut torn] {
        player.gate.shut();
    }
    torn.gate.open(3);
    publisher.inter(40);
    house.pump();
    for player in [&mut quiet, &mut torn] {
        player.run();
        player.sub.pause();
    }
    house.pass(3_100);
    quiet.run();
    torn.run();
    assert_eq!(quiet.left, None, "there is nothing it should take");
    assert_eq!(torn.left, Some(Leave::Stalled), "it owes the rest of a batch");
}

#[test]
fn words_that_pile_up_end_it() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join_with(0, usize::MAX);
    for _ in 0..100 {
        player.sub.control(Bytes::from_static(b"[pong]"));
    }
    player.run();
    assert_eq!(player.left, Some(Leave::Stalled));
}

#[test]
fn words_go_out_while_no_media_flows() {
    let house = house();
    let mut player = house.join();
    player.sub.control(Bytes::from_static(b"[waiting]"));
    assert_eq!(player.news(), "[waiting]");
    player.gate.shut();
    player.sub.control(Bytes::from_static(b"[still waiting]"));
    player.run();
    let publisher = house.publish_av();
    publisher.key(0);
    house.pump();
    player.gate.open(6);
    player.run();
    player.gate.open(usize::MAX);
    player.run();
    assert_eq!(player.news(), "[still waiting]<pre video0 audio0><head video0=A audio0=S>{<V 0 x>}");
    player.sub.pause();
    player.sub.control(Bytes::from_static(b"[paused]"));
    publisher.inter(40);
    house.pump();
    assert_eq!(player.news(), "[paused]");
}

#[test]
fn a_pause_ends_at_the_next_keyframe() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.news();
    player.gate.shut();
    player.gate.open(5);
    publisher.inter(40);
    house.pump();
    player.run();
    player.sub.pause();
    publisher.inter(80);
    house.pump();
    player.gate.open(usize::MAX);
    player.run();
    assert_eq!(player.news(), "{<v 40 x>}", "what was begun is finished");
    player.sub.resume();
    publisher.inter(120);
    house.pump();
    assert_eq!(player.news(), "", "it had that keyframe; going back is no way on");
    player.sub.pause();
    publisher.key(160);
    publisher.inter(200);
    house.pump();
    assert_eq!(player.news(), "");
    player.sub.resume();
    assert_eq!(player.news(), "{<V 160 x>}{<v 200 x>}", "at once");
}

#[test]
fn who_leaves_takes_the_rest_of_the_torn_batch_along() {
    for cut in 1..10 {
        let house = house();
        let publisher = house.publish_av();
        publisher.key(0);
        let mut player = house.join();
        player.news();
        player.gate.shut();
        player.gate.open(cut);
        publisher.inter(40);
        publisher.inter(80);
        house.pump();
        player.run();
        let got = player.news();
        let (stats, rest) = player.sub.leave();
        assert_eq!(got + std::str::from_utf8(&rest.concat()).unwrap(), "{<v 40 x>}");
        assert_eq!(house.stream.stats().totals.bytes, stats.bytes, "who has left still counts");
        assert_eq!(house.stream.viewers(), 0);
    }
}

#[test]
fn a_blocked_reader_delays_nobody() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut players: Vec<_> = (0..10).map(|_| house.join()).collect();
    players[3].gate.shut();
    players[7].gate.gone.set(true);
    for n in 1..=20 {
        publisher.inter(n * 40);
        house.pump();
        players.iter_mut().for_each(Player::run);
        for (at, player) in players.iter().enumerate().filter(|(at, _)| ![3, 7].contains(at)) {
            assert!(player.all().ends_with(&format!("{{<v {} x>}}", n * 40)), "player {at} at {n}");
        }
    }
    // One try by the walk, one by its task; then the socket calls back.
    assert_eq!(players[3].gate.calls.get(), 3);
}

#[test]
fn headers_that_never_leave_are_not_kept() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.news();
    player.gate.shut();
    let long = "l".repeat(1_000);
    for n in 1..=300 {
        publisher.track(audio_track(&format!("{n}{long}"))).unwrap();
        publisher.key(n * 1_000);
        house.pump();
        player.run();
        // A byte now and then, so that it is looked at.
        player.gate.open(1);
        player.run();
    }
    let (_, rest) = player.sub.leave();
    assert!(rest.concat().len() < 2_000, "{}", rest.concat().len());
}
