//! One stream in several forms.

use bytes::Bytes;

use super::house::*;
use crate::media::{FrameKind, TrackId};

/// What a player has got, without the borders of batches.
fn units(player: &Player) -> String {
    player.all().replace(['{', '}'], "")
}

#[test]
fn a_rendition_that_begins_in_mid_group_equals_the_one_that_was_there() {
    for largest in [1, 40, 10_000] {
        let house = house_with(|options| options.batch_bytes_max = largest);
        let publisher = house.publish_av();
        let there = house.join();
        publisher.sound(3);
        publisher.key(0);
        publisher.sound(12);
        publisher.track(audio_track("T")).unwrap();
        publisher.sound(20);
        publisher.inter(40);
        publisher.metadata(metadata("m")).unwrap();
        publisher.push(TrackId::VIDEO, FrameKind::Disposable, 80, "y");
        publisher.track(video_track("B")).unwrap();
        publisher.inter(120);
        house.pump();
        let new = house.join_rendition("new", usize::MAX, usize::MAX);
        publisher.inter(160);
        publisher.key(200);
        publisher.sound(210);
        house.pump();
        assert_eq!(units(&new), units(&there));
    }
}

#[test]
fn a_rendition_nobody_reads_is_kept_for_a_while() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let player = house.join();
    drop(player);
    house.pass(4_000);
    assert_eq!(house.stream.stats().readers, [(WORDS, 0)]);
    let player = house.join();
    house.pass(10_000);
    assert_eq!(house.stream.stats().readers, [(WORDS, 1)], "somebody came back");
    let bytes = player.sub.stats().bytes;
    drop(player);
    house.pass(6_000);
    assert_eq!(house.stream.stats().readers, []);
    assert_eq!(house.stream.stats().totals.bytes, 2 * bytes, "what it sent is not forgotten");
    assert!(house.join().news().contains("<V 0 x>"), "and it can be made again");
}

#[test]
fn a_form_that_cannot_carry_the_pictures_carries_the_sound() {
    let house = house();
    let publisher = house.publish_av();
    let player = house.join_blind();
    publisher.key(0);
    publisher.inter(40);
    house.pump();
    assert_eq!(player.news(), "");
    publisher.sound(50);
    house.pump();
    assert_eq!(player.news(), "<pre video0 audio0><head video0=A audio0=S>{<a 50 x>}");
    publisher.key(80);
    publisher.sound(90);
    house.pump();
    assert_eq!(player.news(), "{<a 90 x>}");
    assert_eq!(house.join_blind().news(), "<pre video0 audio0><head video0=A audio0=S>{<a 90 x>}");
}

#[test]
fn a_reader_changes_form_at_a_keyframe_and_finishes_what_was_begun() {
    for cut in 0..10 {
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
        player.sub.control(Bytes::from_static(b"[switching]"));
        player.sub.switch("other", || Box::new(Words::default()));
        publisher.inter(80);
        house.pump();
        player.run();
        player.gate.open(usize::MAX);
        player.run();
        let torn = if cut == 0 { "" } else { "{<v 40 x>}" };
        assert_eq!(player.news(), format!("{torn}[switching]"), "cut at {cut}: time does not run backwards");
        publisher.key(120);
        house.pump();
        assert_eq!(player.news(), "<head video0=A audio0=S>{<V 120 x>}", "cut at {cut}");
        assert_eq!(player.sub.stats().bytes as usize, player.all().len());
        assert_eq!(house.stream.stats().totals.bytes as usize, player.all().len(), "and counted once");
        assert_eq!(house.stream.stats().readers, [(WORDS, 0), ("other", 1)]);
    }
}

#[test]
fn a_reader_that_has_had_nothing_changes_form_at_once() {
    let house = house();
    let mut player = house.join();
    player.sub.switch("other", || Box::new(Words::default()));
    let publisher = house.publish_av();
    publisher.key(0);
    house.pump();
    assert_eq!(
        player.news(),
        "<pre video0 audio0><head video0=A audio0=S>{<V 0 x>}",
        "its greeting included"
    );
}

#[test]
fn a_pause_and_a_dismissal_survive_a_change_of_form() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut paused = house.join();
    paused.news();
    paused.sub.pause();
    paused.sub.switch("other", || Box::new(Words::default()));
    publisher.key(40);
    house.pump();
    assert_eq!(paused.news(), "");
    paused.sub.resume();
    assert_eq!(paused.news(), "<head video0=A audio0=S>{<V 40 x>}");
    drop(publisher);
    house.pass(6_000);
    paused.sub.switch(WORDS, || Box::new(Words::default()));
    paused.run();
    assert_eq!(paused.left, Some(crate::stream::Leave::Ended));
}
