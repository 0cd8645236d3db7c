//! How players begin: at once where there is something to begin with, and otherwise with patience.

use super::house::*;
use crate::stream::{Leave, Life};

#[test]
fn a_joiner_gets_preamble_headers_and_the_newest_group_in_one_send() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.sound(10);
    publisher.key(40);
    publisher.inter(80);
    publisher.sound(90);
    let player = house.join();
    assert_eq!(
        player.news(),
        "<pre video0 audio0><head video0=A audio0=S>{<V 40 x><v 80 x><a 90 x>}",
        "before any walk"
    );
    assert_eq!(player.gate.calls.get(), 1);
    assert!(player.sub.has_started());
    publisher.inter(120);
    house.pump();
    assert_eq!(player.news(), "{<v 120 x>}");
}

#[test]
fn a_long_group_takes_a_call_for_each_64_pieces() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    for n in 1..200 {
        publisher.inter(n * 10);
    }
    house.pump();
    // The first joiner's rendition is muxed as one batch; one frame each follows.
    let first = house.join();
    assert_eq!(first.gate.calls.get(), 1);
    publisher.key(2_000);
    for n in 1..200 {
        publisher.inter(2_000 + n * 10);
    }
    let second = house.join();
    assert_eq!(second.gate.calls.get(), 202_usize.div_ceil(64));
    assert_eq!(second.all().matches("<v ").count(), 199);
}

#[test]
fn headers_come_once_while_nothing_changes() {
    let house = house();
    let publisher = house.publish_av();
    let player = house.join();
    for n in 0..5 {
        publisher.key(n * 100);
        publisher.inter(n * 100 + 50);
        house.pump();
    }
    assert_eq!(player.all().matches("<head").count(), 1);
    assert_eq!(player.all().matches("<pre").count(), 1);
    assert_eq!(player.all().matches("<V").count(), 5);
}

#[test]
fn players_before_the_publisher_start_at_its_first_keyframe() {
    let mut house = house();
    let early = house.join();
    house.pass(9_000);
    let publisher = house.publish_av();
    publisher.inter(0);
    publisher.sound(5);
    house.pump();
    assert_eq!(early.news(), "", "nothing can be decoded yet");
    publisher.key(40);
    house.pump();
    assert_eq!(early.news(), "<pre video0 audio0><head video0=A audio0=S>{<V 40 x>}");
    publisher.inter(80);
    house.pump();
    assert_eq!(early.news(), "{<v 80 x>}");
    assert_eq!(house.stream.stats().dropped.before_key, 1);
}

#[test]
fn who_waits_for_nobody_is_told_so() {
    let mut house = house();
    let mut player = house.join();
    house.pass(9_900);
    player.run();
    assert_eq!(player.left, None);
    house.pass(200);
    player.run();
    assert_eq!(player.left, Some(Leave::NoPublisher));
    assert_eq!(house.stream.tick(house.now), Life::Alive, "it has not left yet");
    drop(player);
    assert_eq!(house.stream.tick(house.now), Life::Over);
}

#[test]
fn a_publisher_without_keyframe_is_not_what_was_waited_for() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.inter(0);
    let mut player = house.join();
    house.pass(60_000);
    player.run();
    assert_eq!(player.left, None, "somebody publishes");
    drop(publisher);
    house.pass(9_900);
    player.run();
    assert_eq!(player.left, None, "the wait begins when the publisher goes");
    house.pass(200);
    player.run();
    assert_eq!(player.left, Some(Leave::NoPublisher));
}

#[test]
fn without_a_cache_joiners_wait_for_the_next_group() {
    let house = house_with(|options| options.gop.enable = false);
    let early = house.join();
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.inter(40);
    house.pump();
    let late = house.join();
    let other_form = house.join_rendition("other words", usize::MAX, usize::MAX);
    publisher.inter(80);
    house.pump();
    assert!(early.news().ends_with("{<V 0 x>}{<v 40 x>}{<v 80 x>}"));
    assert_eq!((late.news(), other_form.news()), (String::new(), String::new()));
    publisher.key(120);
    house.pump();
    for joiner in [late, other_form] {
        assert_eq!(joiner.news(), "<pre video0 audio0><head video0=A audio0=S>{<V 120 x>}");
    }
    assert_eq!(early.news(), "{<V 120 x>}");
}

#[test]
fn without_a_cache_nothing_is_kept_that_no_reader_lags_for() {
    let house = house_with(|options| {
        options.gop.enable = false;
        options.ring.bytes_max = 1_000;
    });
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    house.pump();
    for n in 1..=500 {
        publisher.inter(n * 10);
        house.pump();
    }
    assert_eq!(house.stream.stats().gop_bytes, 0);
    assert!(house.ring_bytes(WORDS) <= 1_000);
    publisher.key(5_010);
    house.pump();
    player.news();
    // One that is overtaken in mid-group has nothing to resume at before the next.
    player.gate.shut();
    for n in 1..=100 {
        publisher.inter(5_010 + n * 10);
        house.pump();
        player.run();
    }
    player.gate.open(usize::MAX);
    player.run();
    assert_eq!(player.news(), "");
    publisher.key(6_020);
    house.pump();
    assert_eq!(player.news(), "{<V 6020 x>}");
}

#[test]
fn a_peer_that_is_gone_leaves() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let mut player = house.join();
    player.gate.gone.set(true);
    publisher.inter(40);
    house.pump();
    player.run();
    assert_eq!(player.left, Some(Leave::PeerGone));
    let calls = player.gate.calls.get();
    publisher.inter(80);
    house.pump();
    assert_eq!(player.gate.calls.get(), calls, "nobody talks to it any more");
}

#[test]
fn a_joiner_who_must_wait_for_a_keyframe_makes_the_publisher_hear_of_it() {
    use std::task::{Context, Poll, Waker};
    let house = house();
    let publisher = house.publish_av();
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(publisher.poll_key_request(&mut cx), Poll::Pending);
    let waits = house.join();
    assert_eq!(publisher.poll_key_request(&mut cx), Poll::Ready(TrackId::VIDEO));
    assert_eq!(publisher.poll_key_request(&mut cx), Poll::Pending, "once");
    publisher.key(0);
    let starts = house.join();
    assert_eq!(publisher.poll_key_request(&mut cx), Poll::Pending, "there is a group to start with");
    let layer = TrackId::new(TrackKind::Video, 2);
    house.stream.request_key_of(layer);
    house.stream.request_key();
    house.stream.request_key_of(layer);
    assert_eq!(
        publisher.poll_key_request(&mut cx),
        Poll::Ready(TrackId::VIDEO),
        "each track's wish by itself"
    );
    assert_eq!(publisher.poll_key_request(&mut cx), Poll::Ready(layer));
    assert_eq!(publisher.poll_key_request(&mut cx), Poll::Pending);
    drop((waits, starts));
}
