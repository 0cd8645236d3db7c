//! Publishers come, go, return and take over; players stay.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::house::*;
use crate::stream::{Leave, Life, PublishError, Takeover};

#[test]
fn players_are_kept_for_the_grace_and_then_told() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    drop(publisher);
    house.pass(4_900);
    player.run();
    assert_eq!(player.left, None);
    house.pass(200);
    player.run();
    assert_eq!(player.left, Some(Leave::Ended));
    assert_eq!(house.stream.tick(house.now), Life::Alive);
    drop(player);
    assert_eq!(house.stream.tick(house.now), Life::Over);
}

#[test]
fn a_publisher_that_returns_goes_on_on_the_same_connection() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(1_000);
    publisher.inter(1_040);
    let mut player = house.join();
    player.news();
    drop(publisher);
    house.pass(4_000);
    let publisher = house.publish();
    publisher.track(video_track("B")).unwrap();
    publisher.track(audio_track("T")).unwrap();
    // Its clock starts anew; players' time goes on.
    publisher.sound(0);
    house.pump();
    assert_eq!(
        player.news(),
        "{<meta -><track video0 B><track audio0 T>}{<a 1080 x>}",
        "sound goes on before the first keyframe"
    );
    publisher.sound(20);
    publisher.key(30);
    publisher.inter(70);
    house.pump();
    assert_eq!(player.news(), "{<a 1100 x>}{<V 1110 x>}{<v 1150 x>}", "their parameters were told already");
    house.pass(60_000);
    player.run();
    assert_eq!(player.left, None);
}

#[test]
fn a_publisher_that_returns_with_a_keyframe_brings_fresh_headers() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(1_000);
    let player = house.join();
    player.news();
    publisher.inter(1_040);
    drop(publisher);
    house.pass(1_000);
    assert_eq!(player.news(), "{<v 1040 x>}", "what was pushed before it went");
    let publisher = house.publish_av();
    publisher.key(7);
    publisher.sound(10);
    house.pump();
    assert_eq!(player.news(), "<head video0=A audio0=S>{<V 1080 x>}{<a 1083 x>}", "though nothing changed");
}

#[test]
fn who_joins_in_the_grace_gets_nothing_of_what_was() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(1_000);
    house.join();
    drop(publisher);
    house.pass(1_000);
    let mut late = house.join();
    assert_eq!(late.news(), "");
    let publisher = house.publish();
    publisher.track(video_track("B")).unwrap();
    publisher.expect(Some(false), Some(true)).unwrap();
    publisher.key(0);
    house.pump();
    assert_eq!(late.news(), "<pre video0><head video0=B>{<V 1040 x>}");
    late.run();
    assert_eq!(late.left, None);
}

#[test]
fn a_slow_player_gets_the_old_group_before_the_new_headers() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.news();
    player.gate.shut();
    publisher.inter(40);
    house.pump();
    player.run();
    drop(publisher);
    let publisher = house.publish();
    publisher.track(video_track("B")).unwrap();
    publisher.track(audio_track("T")).unwrap();
    publisher.key(0);
    publisher.inter(40);
    house.pump();
    player.gate.open(usize::MAX);
    player.run();
    assert_eq!(player.news(), "{<v 40 x>}<head video0=B audio0=T>{<V 80 x>}{<v 120 x>}");
    assert_eq!(player.sub.stats().skips, 0);
}

#[test]
fn a_short_visit_is_still_seen() {
    let house = house();
    let waiting = house.join();
    let publisher = house.publish();
    publisher.track(video_track("A")).unwrap();
    publisher.key(0);
    publisher.inter(40);
    house.pump();
    assert_eq!(waiting.news(), "", "sound may still come");
    drop(publisher);
    house.pump();
    assert_eq!(waiting.news(), "<pre video0><head video0=A>{<V 0 x><v 40 x>}");
}

#[test]
fn a_second_publisher_is_refused_and_told_who_sits() {
    let house = house();
    let first = house.publish_av();
    let Err(PublishError::Taken(party)) = house.try_publish("second") else { panic!("the seat is taken") };
    assert_eq!(&*party.id, "p");
    assert!(first.flush().is_ok());
    drop(first);
    assert!(house.try_publish("second").is_ok());
}

#[test]
fn a_second_publisher_replaces_the_first_where_that_is_wanted() {
    let house = house_with(|options| options.takeover = Takeover::Replace);
    let first = house.publish_av();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(first.poll_evicted(&mut Context::from_waker(&waker)).is_pending());
    first.key(0);
    let player = house.join();
    player.news();
    let second = house.try_publish("second").expect("takes over");
    assert_eq!(bell.take(), 1, "the first is woken");
    assert!(matches!(first.poll_evicted(&mut Context::from_waker(&waker)), Poll::Ready(_)));
    assert!(first.frame(frame(crate::media::TrackId::VIDEO, crate::media::FrameKind::Key, 40, "x")).is_err());
    assert!(first.flush().is_err());
    second.track(video_track("B")).unwrap();
    second.track(audio_track("T")).unwrap();
    second.key(0);
    house.pump();
    assert_eq!(player.news(), "<head video0=B audio0=T>{<V 40 x>}");
    drop(first);
    assert!(house.stream.is_live(), "the evicted one's handle frees nothing");
    assert!(second.flush().is_ok());
    assert_eq!(house.stream.stats().publisher.map(|party| party.id.to_string()), Some("second".to_owned()));
}

#[test]
fn a_stream_nobody_wants_is_over() {
    let mut house = house();
    assert_eq!(house.stream.tick(house.now), Life::Over);
    let publisher = house.publish_av();
    assert_eq!(house.stream.tick(house.now), Life::Alive);
    drop(publisher);
    house.pass(4_900);
    assert_eq!(house.stream.tick(house.now), Life::Alive, "it may return");
    house.pass(200);
    assert_eq!(house.stream.tick(house.now), Life::Over);
}
