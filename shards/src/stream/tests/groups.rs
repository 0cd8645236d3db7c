//! Where players may start: keyframes, sound alone, and publishers who keep neither rule.

use super::house::*;
use crate::media::{FrameKind, TrackId};

fn radio(house: &House) -> crate::stream::Publisher {
    let publisher = house.publish();
    publisher.expect(Some(true), Some(false)).unwrap();
    publisher.track(audio_track("S")).unwrap();
    publisher
}

#[test]
fn sound_alone_has_groups_too() {
    let house = house();
    let publisher = radio(&house);
    let listener = house.join();
    for n in 0..1_000 {
        publisher.sound(n * 20);
        house.pump();
    }
    assert_eq!(listener.all().matches("<a ").count(), 1_000);
    assert_eq!(listener.all().matches("<head").count(), 1);
    let late = house.join().news();
    assert!(late.starts_with("<pre audio0><head audio0=S>{<a 19000 x>}{<a 19020 x>}"), "{late}");
    assert!(late.ends_with("{<a 19980 x>}"));
    assert_eq!(house.stream.stats().gop_bytes, 50);
}

#[test]
fn a_group_that_outgrows_the_cache_makes_joiners_wait_and_nobody_else() {
    for bound in ["bytes", "frames", "duration"] {
        let house = house_with(|options| match bound {
            "bytes" => options.gop.bytes_max = 50,
            "frames" => options.gop.frames_max = 50,
            _ => options.gop.duration_max = crate::media::Timestamp::from_millis(1_960),
        });
        let publisher = house.publish_av();
        let early = house.join();
        publisher.key(0);
        for n in 1..50 {
            publisher.inter(n * 40);
        }
        house.pump();
        assert!(house.join().news().starts_with("<pre"), "{bound}: it fits to the last");
        publisher.inter(2_000);
        publisher.inter(2_040);
        house.pump();
        let late = house.join();
        assert_eq!(late.news(), "", "{bound}");
        assert_eq!(early.all().matches("<v ").count(), 51, "{bound}");
        publisher.key(2_080);
        publisher.inter(2_120);
        house.pump();
        assert_eq!(
            late.news(),
            "<pre video0 audio0><head video0=A audio0=S>{<V 2080 x>}{<v 2120 x>}",
            "{bound}"
        );
        assert!(early.all().ends_with("{<v 2040 x>}{<V 2080 x>}{<v 2120 x>}"), "{bound}");
        assert_eq!(house.stream.stats().gop_overflows, 1, "{bound}");
    }
}

#[test]
fn one_frame_larger_than_the_cache_still_flows() {
    let house = house_with(|options| options.gop.bytes_max = 10);
    let publisher = house.publish_av();
    publisher.key(0);
    let player = house.join();
    player.news();
    publisher.push(TrackId::VIDEO, FrameKind::Key, 40, "a large picture");
    house.pump();
    assert_eq!(player.news(), "{<V 40 a large picture>}");
    assert_eq!(house.join().news(), "");
}

#[test]
fn an_encoder_without_keyframes_is_taken_as_it_is() {
    let house = house();
    let early = house.join();
    let publisher = house.publish_av();
    for n in 0..250 {
        publisher.inter(n * 40);
        house.pump();
    }
    assert_eq!(early.news(), "", "a keyframe may still come");
    for n in 250..2_000 {
        publisher.inter(n * 40);
        house.pump();
    }
    let got = early.news();
    assert!(
        got.starts_with("<pre video0 audio0><head video0=A audio0=S>{<V 10000 x>}{<v 10040 x>}"),
        "{got}"
    );
    assert_eq!(got.matches("<v ").count() + got.matches("<V ").count(), 1_750, "nothing is lost after that");
    let late = house.join().news();
    assert!(late.starts_with("<pre video0 audio0><head video0=A audio0=S>{<V 70000 x>}"), "{late}");
    // Then it sends one after all.
    publisher.key(80_000);
    publisher.inter(80_040);
    assert_eq!(house.join().news(), "<pre video0 audio0><head video0=A audio0=S>{<V 80000 x>}{<v 80040 x>}");
    for n in 0..300 {
        publisher.inter(80_080 + n * 40);
    }
    assert!(house.join().news().contains("<head video0=A audio0=S>{<V 80000 x>}"), "no more are made up");
}

#[test]
fn pictures_that_fall_silent_leave_a_frozen_one_and_then_sound() {
    let house = house_with(|options| options.gop.frames_max = 10_000);
    let publisher = house.publish_av();
    publisher.key(0);
    let early = house.join();
    for n in 1..=1_400 {
        publisher.sound(n * 20);
    }
    house.pump();
    assert!(house.join().news().contains("<V 0 x>"), "at 28 s there is a picture to start with");
    for n in 1_401..=2_000 {
        publisher.sound(n * 20);
    }
    house.pump();
    let late = house.join();
    let got = late.news();
    assert!(
        got.starts_with("<pre video0 audio0><head video0=A audio0=S>{<a 39") && !got.contains("<V"),
        "{got}"
    );
    // The pictures come back where they were: for those who had the keyframe they go on.
    early.news();
    publisher.inter(40_020);
    house.pump();
    assert!(early.news().ends_with("{<v 40020 x>}"));
    assert_eq!(house.join().news(), "", "nobody may start there");
    publisher.sound(40_030);
    publisher.key(40_060);
    house.pump();
    assert!(house.join().news().ends_with("{<V 40060 x>}"));
}

#[test]
fn pictures_that_were_promised_and_never_come_do_not_keep_listeners_waiting() {
    let house = house();
    let listener = house.join();
    let publisher = house.publish_av();
    for n in 0..100 {
        publisher.sound(n * 20);
        house.pump();
    }
    let got = listener.news();
    assert!(got.starts_with("<pre video0 audio0><head video0=A audio0=S>{<a "), "{got}");
    assert!(got.ends_with("{<a 1980 x>}"), "{got}");
}

#[test]
fn slow_pictures_keep_their_group() {
    let house = house_with(|options| options.gop.frames_max = 10_000);
    let publisher = house.publish_av();
    publisher.key(0);
    let early = house.join();
    // A slide show: a picture each 5 s, a keyframe each 25.
    for n in 0..1_000 {
        publisher.sound(n * 20 + 5);
        if n > 0 && n % 250 == 0 {
            publisher.inter(n * 20 + 6);
        }
        house.pump();
    }
    let late = house.join().news();
    assert!(late.contains("<head video0=A audio0=S>{<V 0 x>}"), "{late}");
    assert_eq!(late.matches("<v ").count(), 3);
    assert_eq!(early.all().matches("<v ").count(), 3);
    assert_eq!(house.stream.stats().repairs.jumps, 0);
}
