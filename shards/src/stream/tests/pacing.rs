//! When frames leave: batches, coalescing, flushes, and walks in slices.

use std::time::Duration;

use super::house::*;
use crate::{
    media::{FrameKind, TrackId},
    stream::Publisher,
};

fn add(publisher: &Publisher, kind: FrameKind, millis: i64) {
    publisher.frame(frame(TrackId::VIDEO, kind, millis, "x")).unwrap();
}

#[test]
fn frames_leave_at_a_flush() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let player = house.join();
    player.news();
    house.pump();
    add(&publisher, FrameKind::Inter, 40);
    assert!(!house.is_dirty(), "the rest of what was received may follow");
    add(&publisher, FrameKind::Inter, 80);
    publisher.flush().unwrap();
    house.pump();
    assert_eq!(player.news(), "{<v 40 x><v 80 x>}", "in one batch");
    publisher.flush().unwrap();
    house.pump();
    assert_eq!(player.news(), "");
}

#[test]
fn gathered_frames_leave_together_and_a_keyframe_begins_a_batch() {
    let house = house_with(|options| options.coalesce = Duration::from_millis(350));
    let publisher = house.publish_av();
    publisher.key(0);
    house.pump();
    let player = house.join();
    player.news();
    publisher.inter(40);
    publisher.sound(50);
    publisher.inter(80);
    publisher.key(120);
    publisher.inter(160);
    assert!(house.is_dirty() && !house.is_urgent(), "there is time");
    let calls = player.gate.calls.get();
    house.pump();
    assert_eq!(player.news(), "{<v 40 x><a 50 x><v 80 x>}{<V 120 x><v 160 x>}");
    assert_eq!(player.gate.calls.get(), calls + 1);
    let joiner = house.join();
    assert_eq!(joiner.news(), "<pre video0 audio0><head video0=A audio0=S>{<V 120 x><v 160 x>}");
}

#[test]
fn a_joiner_does_not_get_what_still_gathers_twice() {
    let house = house_with(|options| options.coalesce = Duration::from_millis(350));
    let publisher = house.publish_av();
    publisher.key(0);
    let early = house.join();
    house.pump();
    publisher.inter(40);
    let joiner = house.join();
    publisher.inter(80);
    house.pump();
    for player in [early, joiner] {
        assert_eq!(player.news(), "<pre video0 audio0><head video0=A audio0=S>{<V 0 x>}{<v 40 x><v 80 x>}");
    }
}

#[test]
fn a_batch_that_is_large_enough_does_not_wait() {
    let house = house_with(|options| {
        options.coalesce = Duration::from_millis(350);
        options.batch_bytes_max = 26;
    });
    let publisher = house.publish_av();
    publisher.key(0);
    let player = house.join();
    player.news();
    house.pump();
    publisher.inter(40);
    publisher.inter(80);
    assert!(!house.is_urgent());
    publisher.inter(120);
    publisher.inter(160);
    assert!(house.is_urgent());
    house.pump();
    assert_eq!(player.news(), "{<v 40 x><v 80 x><v 120 x>}{<v 160 x>}");
    publisher.inter(200);
    assert!(!house.is_urgent(), "the next one gathers again");
}

#[test]
fn the_last_words_of_a_publisher_do_not_gather() {
    let house = house_with(|options| options.coalesce = Duration::from_millis(350));
    let publisher = house.publish_av();
    publisher.key(0);
    let player = house.join();
    house.pump();
    player.news();
    publisher.inter(40);
    drop(publisher);
    assert!(house.is_urgent());
    house.pump();
    assert_eq!(player.news(), "{<v 40 x>}");
}

#[test]
fn a_walk_in_slices_serves_everyone_once() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let players: Vec<_> = (0..100).map(|_| house.join()).collect();
    house.pump();
    publisher.inter(40);
    let calls: Vec<_> = players.iter().map(|player| player.gate.calls.get()).collect();
    house.stream.begin_walk(house.now);
    let mut slices = 1;
    while !house.stream.walk(&mut || true) {
        slices += 1;
    }
    assert_eq!(slices, 7, "100 readers in slices of 16");
    for (player, calls) in players.iter().zip(calls) {
        assert!(player.all().ends_with("{<v 40 x>}"));
        assert_eq!(player.gate.calls.get(), calls + 1);
    }
}

#[test]
fn a_walk_goes_on_where_it_stopped_though_readers_come_and_go() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let forgotten = house.join_rendition("forgotten", usize::MAX, usize::MAX);
    let mut players: Vec<_> = (0..60).map(|_| house.join()).collect();
    let others: Vec<_> = (0..60).map(|_| house.join_rendition("other", usize::MAX, usize::MAX)).collect();
    drop(forgotten);
    house.stream.tick(house.now);
    house.pump();
    publisher.inter(40);
    house.stream.begin_walk(house.now);
    for _ in 0..2 {
        assert!(!house.stream.walk(&mut || true));
    }
    // Between two slices: some leave on either side of the walk, new ones take their places, the publisher goes on, and a
    // rendition that nobody reads is let go of.
    for at in [50, 30, 5, 4] {
        players.remove(at);
    }
    players.extend((0..80).map(|_| house.join()));
    publisher.inter(80);
    house.now += Duration::from_secs(6);
    house.stream.tick(house.now);
    assert_eq!(house.stream.stats().readers.len(), 2, "it is gone");
    while !house.stream.walk(&mut || true) {}
    for (at, player) in players.iter().chain(&others).enumerate() {
        let units = player.all().replace(['{', '}'], "");
        assert!(units.contains("<V 0 x><v 40 x>"), "player {at}: {units}");
    }
    for (at, player) in others.iter().enumerate() {
        assert!(player.all().ends_with("{<v 80 x>}"), "player {at} was still to come: {}", player.all());
    }
    house.pump();
    for player in players.iter().chain(&others) {
        assert!(player.all().ends_with("{<v 80 x>}"));
    }
}
