//! Parameter sets and metadata that change in mid-stream reach every player, in order, once.

use super::house::*;
use crate::media::{FrameKind, TrackId};

#[test]
fn a_change_reaches_those_in_the_middle_before_the_frame_that_needs_it() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.inter(40);
    let player = house.join();
    player.news();
    publisher.track(video_track("B")).unwrap();
    publisher.key(80);
    publisher.inter(120);
    house.pump();
    assert_eq!(player.news(), "{<track video0 B>}{<V 80 x>}{<v 120 x>}", "and no headers besides");
    publisher.track(video_track("B")).unwrap();
    publisher.key(160);
    house.pump();
    assert_eq!(player.news(), "{<V 160 x>}", "what is said again is no change");
    let joiner = house.join();
    assert_eq!(joiner.news(), "<pre video0 audio0><head video0=B audio0=S>{<V 160 x>}", "the new one only");
}

#[test]
fn a_joiner_of_a_group_that_changed_gets_both_in_their_places() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.track(audio_track("T")).unwrap();
    publisher.metadata(metadata("m")).unwrap();
    publisher.sound(20);
    house.pump();
    let player = house.join();
    let expected =
        "<pre video0 audio0><head video0=A audio0=S>{<V 0 x>}{<track audio0 T>}{<meta m>}{<a 20 x>}";
    assert_eq!(player.news(), expected);
    publisher.key(1_000);
    house.pump();
    assert_eq!(player.news(), "{<V 1000 x>}", "it knows all that there is to know");
    publisher.metadata(metadata("n")).unwrap();
    publisher.key(2_000);
    house.pump();
    assert_eq!(player.news(), "{<meta n>}{<V 2000 x>}");
    assert_eq!(house.join().news(), "<pre video0 audio0><head video0=A audio0=T meta=n>{<V 2000 x>}");
}

#[test]
fn a_reader_that_skips_gets_headers_if_and_only_if_they_changed() {
    for changes in [false, true] {
        let house = house();
        let publisher = house.publish_av();
        publisher.key(0);
        let mut player = house.join();
        player.news();
        player.gate.shut();
        publisher.inter(40);
        house.pump();
        player.run();
        if changes {
            publisher.track(audio_track("T")).unwrap();
        }
        for n in 1..=400 {
            let kind = if n % 10 == 0 { FrameKind::Key } else { FrameKind::Inter };
            publisher.push(TrackId::VIDEO, kind, 40 + n * 40, "x");
            house.pump();
        }
        player.gate.open(usize::MAX);
        player.run();
        let head = if changes { "<head video0=A audio0=T>" } else { "" };
        assert_eq!(player.news(), format!("{head}{{<V 16040 x>}}"), "changes: {changes}");
        assert_eq!(player.sub.stats().skips, 1);
        assert_eq!(house.stream.stats().totals.skips, 1);
    }
}

#[test]
fn a_reader_that_has_had_part_of_a_changing_group_is_not_taken_to_know_the_rest() {
    let house = house_with(|options| options.batch_bytes_max = 1);
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.track(audio_track("T")).unwrap();
    publisher.inter(40);
    publisher.track(audio_track("U")).unwrap();
    publisher.inter(80);
    // The rendition is primed from the cache; its first reader gets headers, the keyframe, and T.
    let head = "<pre video0 audio0><head video0=A audio0=S>{<V 0 x>}{<track audio0 T>}";
    let mut player = house.join_with(head.len(), usize::MAX);
    assert_eq!(player.news(), head);
    for n in 3..400 {
        let kind = if n % 10 == 0 { FrameKind::Key } else { FrameKind::Inter };
        publisher.push(TrackId::VIDEO, kind, n * 40, "x");
    }
    player.gate.open(usize::MAX);
    player.run();
    assert!(player.news().starts_with("<head video0=A audio0=U>{<V 15600 x>}"), "it never got U");
}

#[test]
fn a_track_that_comes_late_is_announced_to_those_who_are_there() {
    let house = house();
    let publisher = house.publish();
    publisher.track(video_track("A")).unwrap();
    publisher.expect(Some(false), Some(true)).unwrap();
    publisher.key(0);
    let player = house.join();
    player.news();
    publisher.track(audio_track("S")).unwrap();
    publisher.sound(20);
    house.pump();
    assert_eq!(player.news(), "{<track audio0 S>}{<a 20 x>}");
}

#[test]
fn pictures_that_come_late_begin_with_a_keyframe() {
    let house = house();
    let publisher = house.publish();
    publisher.expect(Some(true), Some(false)).unwrap();
    publisher.track(audio_track("S")).unwrap();
    publisher.sound(0);
    let player = house.join();
    assert_eq!(player.news(), "<pre audio0><head audio0=S>{<a 0 x>}");
    publisher.track(video_track("A")).unwrap();
    publisher.inter(10);
    publisher.sound(20);
    house.pump();
    assert_eq!(player.news(), "{<track video0 A>}{<a 20 x>}");
    let late = house.join();
    assert_eq!(late.news(), "", "joiners wait for the picture");
    publisher.key(50);
    house.pump();
    assert_eq!(player.news(), "{<V 50 x>}");
    assert_eq!(late.news(), "<pre audio0 video0><head audio0=S video0=A>{<V 50 x>}");
}

#[test]
fn more_tracks_than_fit_are_left_out() {
    let house = house();
    let publisher = house.publish();
    for index in 0..=crate::stream::TRACKS_MAX as u8 {
        let id = TrackId::new(crate::media::TrackKind::Audio, index);
        publisher.track(crate::media::Track { id, ..audio_track("S") }).unwrap();
        publisher.push(id, FrameKind::Key, 0, "x");
    }
    let stats = house.stream.stats();
    assert_eq!(stats.scene.tracks().len(), crate::stream::TRACKS_MAX);
    assert_eq!((stats.frames, stats.dropped.no_track), (33, 1));
}

#[test]
fn a_flood_of_descriptions_costs_no_more_than_a_group_may() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.gate.shut();
    for n in 0..5_000 {
        publisher.metadata(metadata(&format!("{n} {}", "m".repeat(1_000)))).unwrap();
        publisher.track(audio_track(&n.to_string())).unwrap();
        publisher.flush().unwrap();
        house.pump();
        player.run();
    }
    let stats = house.stream.stats();
    assert_eq!((stats.gop_bytes, stats.gop_overflows), (0, 1));
    assert!(house.ring_bytes(WORDS) <= 20_000, "{}", house.ring_bytes(WORDS));
    assert_eq!(house.join().news(), "", "joiners wait for the next group");
}
