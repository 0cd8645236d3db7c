//! How long a stream waits until it knows its tracks.

use super::house::*;

#[test]
fn sound_and_pictures_known_at_once_start_at_once() {
    let house = house();
    let player = house.join();
    let publisher = house.publish_av();
    publisher.key(0);
    house.pump();
    assert_eq!(player.news(), "<pre video0 audio0><head video0=A audio0=S>{<V 0 x>}");
}

#[test]
fn a_publisher_that_says_what_will_come_is_believed() {
    for (audio, video) in [(Some(false), Some(true)), (Some(false), None)] {
        let house = house();
        let player = house.join();
        let publisher = house.publish();
        publisher.expect(audio, video).unwrap();
        publisher.track(video_track("A")).unwrap();
        publisher.key(0);
        house.pump();
        assert_eq!(player.news(), "<pre video0><head video0=A>{<V 0 x>}", "{audio:?} {video:?}");
    }
    for (audio, video) in [(Some(true), Some(false)), (None, Some(false))] {
        let house = house();
        let player = house.join();
        let publisher = house.publish();
        publisher.expect(audio, video).unwrap();
        publisher.track(audio_track("S")).unwrap();
        publisher.sound(0);
        house.pump();
        assert_eq!(player.news(), "<pre audio0><head audio0=S>{<a 0 x>}", "{audio:?} {video:?}");
    }
}

#[test]
fn sound_that_comes_a_little_late_is_in_the_preamble() {
    let house = house();
    let player = house.join();
    let publisher = house.publish();
    publisher.expect(Some(true), Some(true)).unwrap();
    publisher.track(video_track("A")).unwrap();
    publisher.key(0);
    publisher.inter(400);
    house.pump();
    assert_eq!(player.news(), "");
    publisher.track(audio_track("S")).unwrap();
    publisher.sound(410);
    house.pump();
    // The group opened before there was sound: its headers are those of then, and sound is announced in its place.
    assert_eq!(
        player.news(),
        "<pre video0 audio0><head video0=A>{<V 0 x><v 400 x>}{<track audio0 S>}{<a 410 x>}"
    );
}

#[test]
fn sound_that_never_comes_is_not_waited_for_long() {
    let house = house();
    let player = house.join();
    let publisher = house.publish();
    publisher.track(video_track("A")).unwrap();
    for n in 0..13 {
        publisher.push(
            crate::media::TrackId::VIDEO,
            if n == 0 { crate::media::FrameKind::Key } else { crate::media::FrameKind::Inter },
            n * 40,
            "x",
        );
        house.pump();
        assert_eq!(player.news(), "", "at {n}");
    }
    publisher.inter(520);
    house.pump();
    let got = player.news();
    assert!(got.starts_with("<pre video0><head video0=A>{<V 0 x><v 40 x>"), "{got}");
    assert!(got.ends_with("<v 520 x>}"), "{got}");
}

#[test]
fn media_that_stands_still_is_waited_for_by_the_wall_clock() {
    let mut house = house();
    let player = house.join();
    let publisher = house.publish();
    publisher.track(video_track("A")).unwrap();
    publisher.key(0);
    house.pass(900);
    assert_eq!(player.news(), "");
    house.pass(200);
    assert_eq!(player.news(), "<pre video0><head video0=A>{<V 0 x>}");
}

#[test]
fn sound_goes_on_for_those_who_stayed_while_pictures_have_no_keyframe_yet() {
    let house = house();
    let first = house.publish_av();
    first.key(0);
    let player = house.join();
    player.news();
    drop(first);
    let publisher = house.publish_av();
    publisher.sound(0);
    publisher.inter(5);
    publisher.sound(20);
    house.pump();
    assert_eq!(player.news(), "{<meta -><track video0 A><track audio0 S>}{<a 40 x>}{<a 60 x>}");
    publisher.key(45);
    house.pump();
    assert_eq!(player.news(), "{<V 85 x>}");
}

#[test]
fn who_joins_while_tracks_gather_waits_with_the_others() {
    let house = house();
    let publisher = house.publish();
    publisher.track(video_track("A")).unwrap();
    publisher.key(0);
    let player = house.join();
    assert_eq!(player.news(), "");
    publisher.track(audio_track("S")).unwrap();
    publisher.inter(40);
    house.pump();
    assert_eq!(player.news(), "<pre video0 audio0><head video0=A>{<V 0 x>}{<track audio0 S>}{<v 40 x>}");
}

#[test]
fn a_group_that_outgrows_the_cache_while_tracks_gather_is_nobodys() {
    let house = house_with(|options| options.gop.frames_max = 2);
    let first = house.publish_av();
    first.key(0);
    let player = house.join();
    player.news();
    drop(first);
    let publisher = house.publish();
    publisher.track(video_track("A")).unwrap();
    publisher.key(0);
    publisher.inter(300);
    // It outgrows the cache, and is the one that ends the gathering.
    publisher.inter(600);
    publisher.inter(640);
    house.pump();
    assert_eq!(player.news(), "{<meta -><track video0 A>}", "pictures without their keyframe are nothing");
    publisher.key(800);
    publisher.inter(840);
    house.pump();
    assert_eq!(player.news(), "{<V 840 x>}{<v 880 x>}");
}

#[test]
fn frames_of_tracks_nobody_announced_are_left_out() {
    let house = house();
    let publisher = house.publish();
    publisher.key(0);
    publisher.note_malformed().unwrap();
    let dropped = house.stream.stats().dropped;
    assert_eq!((dropped.no_track, dropped.malformed, dropped.before_key), (1, 1, 0));
}
