//! Viewers on another shard see what they would see at the owner.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use super::{house::*, sound::with_parrot};
use crate::stream::{Leave, Life, Relay, Step, Takeover};

/// The road between two shards.
#[derive(Default)]
pub struct Road {
    letters: RefCell<VecDeque<(Vec<Step>, Duration)>>,
    pub full: Cell<bool>,
}

struct Sender(Rc<Road>);

impl Relay for Sender {
    fn relay(&self, steps: Vec<Step>, gathered: Duration) -> Result<(), Vec<Step>> {
        assert!(!steps.is_empty(), "nothing is sent");
        if self.0.full.get() {
            return Err(steps);
        }
        self.0.letters.borrow_mut().push_back((steps, gathered));
        Ok(())
    }
}

/// A stream on another shard.
pub struct Mirror {
    pub house: House,
    pub road: Rc<Road>,
}

impl Mirror {
    pub fn of(owner: &House) -> Self {
        let road = Rc::<Road>::default();
        owner.stream.tap(1, Box::new(Sender(Rc::clone(&road))));
        Self { house: owner.mirror(), road }
    }

    /// At most so many letters arrive.
    pub fn deliver(&self, most: usize) {
        for _ in 0..most {
            let Some((steps, gathered)) = self.road.letters.borrow_mut().pop_front() else { break };
            self.house.stream.follow(steps, gathered);
        }
        self.house.pump();
    }

    fn deliver_all(&self) {
        self.deliver(usize::MAX);
    }
}

#[test]
fn a_viewer_of_a_mirror_starts_at_once_and_sees_what_the_owners_see() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.sound(10);
    publisher.inter(40);
    let near = house.join();
    let mirror = Mirror::of(&house);
    let far = mirror.house.join();
    assert_eq!(far.news(), "", "the owner has not been asked yet");
    mirror.deliver_all();
    let start = "<pre video0 audio0><head video0=A audio0=S>{<V 0 x><a 10 x><v 40 x>}";
    assert_eq!(far.news(), start);
    assert_eq!(mirror.house.join().news(), start, "those who come later as well");
    near.news();
    publisher.track(video_track("B")).unwrap();
    publisher.metadata(metadata("m")).unwrap();
    publisher.inter(80);
    publisher.key(120);
    house.pump();
    mirror.deliver_all();
    let news = near.news();
    assert_eq!(far.news(), news);
    assert!(news.contains("<track video0 B>") && news.ends_with("{<V 120 x>}"), "{news}");
}

#[test]
fn a_mirror_that_is_there_before_the_publisher_begins_with_it() {
    let house = house();
    let mirror = Mirror::of(&house);
    let (near, far) = (house.join(), mirror.house.join());
    let publisher = house.publish();
    publisher.track(audio_track("S")).unwrap();
    publisher.sound(0);
    publisher.track(video_track("A")).unwrap();
    publisher.key(10);
    house.pump();
    mirror.deliver_all();
    let news = near.news();
    assert!(news.starts_with("<pre "), "{news}");
    assert_eq!(far.news(), news);
    assert!(mirror.house.stream.is_live());
}

#[test]
fn a_mirror_follows_publishers_and_keeps_viewers_for_the_grace() {
    let mut house = house_with(|options| options.takeover = Takeover::Replace);
    let mut mirror = Mirror::of(&house);
    let (near, mut far) = (house.join(), mirror.house.join());
    let publisher = house.publish_av();
    publisher.key(1_000);
    house.pump();
    mirror.deliver_all();
    let second = house.publish_av();
    second.key(7);
    drop(publisher);
    house.pump();
    mirror.deliver_all();
    assert_eq!(far.news(), near.news());
    drop(second);
    house.pump();
    mirror.deliver_all();
    assert!(!mirror.house.stream.is_live());
    mirror.house.pass(4_900);
    far.run();
    assert_eq!(far.left, None);
    let third = house.publish_av();
    third.key(50_000);
    house.pump();
    mirror.deliver_all();
    assert_eq!(far.news(), near.news());
    drop(third);
    house.pump();
    mirror.deliver_all();
    mirror.house.pass(5_100);
    far.run();
    assert_eq!(far.left, Some(Leave::Ended));
    house.pass(1);
}

#[test]
fn viewers_of_a_mirror_wait_for_a_publisher_no_longer_than_others() {
    let house = house();
    let mut mirror = Mirror::of(&house);
    let mut far = mirror.house.join();
    mirror.house.pass(10_100);
    far.run();
    assert_eq!(far.left, Some(Leave::NoPublisher));
}

#[test]
fn a_mirror_that_takes_nothing_skips_to_a_keyframe() {
    let house = house_with(|options| options.ring.bytes_max = 300);
    let publisher = house.publish_av();
    publisher.key(0);
    let mirror = Mirror::of(&house);
    let far = mirror.house.join();
    mirror.deliver_all();
    far.news();
    mirror.road.full.set(true);
    for n in 1..100 {
        publisher.push(crate::media::TrackId::VIDEO, crate::media::FrameKind::Inter, n * 40, "01234567");
        house.pump();
    }
    assert_eq!(house.stream.stats().mirror_skips, 1);
    mirror.road.full.set(false);
    publisher.inter(4_000);
    house.pump();
    mirror.deliver_all();
    assert_eq!(far.news(), "", "what came after a hole could not be decoded");
    publisher.key(4_040);
    publisher.inter(4_080);
    house.pump();
    mirror.deliver_all();
    assert_eq!(far.news(), "{<V 4040 x>}{<v 4080 x>}");
}

#[test]
fn a_mirror_is_over_when_nobody_looks_and_the_owner_stays_as_long_as_it_follows() {
    let mut house = house();
    let mut mirror = Mirror::of(&house);
    let far = mirror.house.join();
    house.pass(60_000);
    assert_eq!(house.stream.tick(house.now), Life::Alive, "viewers elsewhere still wait for its publisher");
    assert_eq!(mirror.house.stream.tick(mirror.house.now), Life::Alive);
    drop(far);
    mirror.house.pass(6_000);
    assert_eq!(mirror.house.stream.tick(mirror.house.now), Life::Over);
    let totals = mirror.house.stream.totals();
    house.stream.untap(1, &totals);
    assert_eq!(house.stream.stats().elsewhere, totals, "what it sent is not forgotten");
    assert_eq!(house.stream.tick(house.now), Life::Over);
}

#[test]
fn viewers_of_a_mirror_without_a_group_wish_for_a_keyframe() {
    let house = house_with(|options| options.gop.enable = false);
    let publisher = house.publish_av();
    let mirror = Mirror::of(&house);
    let _far = mirror.house.join();
    assert!(mirror.house.stream.take_key_wish());
    assert!(!mirror.house.stream.take_key_wish(), "once is enough");
    publisher.key(0);
    house.pump();
    mirror.deliver_all();
    let _late = mirror.house.join();
    assert!(mirror.house.stream.take_key_wish(), "nothing is kept to start from");
}

#[test]
fn sound_that_a_mirror_makes_lies_between_its_pictures() {
    let house = house_with(with_parrot);
    let publisher = house.publish_av();
    publisher.key(0);
    for (sound, picture) in [(10, 40), (30, 80), (50, 120)] {
        publisher.sound(sound);
        publisher.inter(picture);
    }
    house.pump();
    let mirror = Mirror::of(&house);
    // It was there before the owner answered, as the first viewer of a mirror always is.
    let far = mirror.house.join_opus("opus");
    mirror.deliver_all();
    let near = house.join_opus("opus");
    house.pump();
    let got = |player: &Player| player.all().replace(['{', '}'], "");
    assert_eq!(got(&far), got(&near));
    assert!(got(&far).contains("<o "), "{}", got(&far));
}

#[test]
fn what_gathered_at_the_owner_does_not_gather_again() {
    let house = house_with(|options| options.coalesce = Duration::from_millis(80));
    let publisher = house.publish_av();
    publisher.key(0);
    let mirror = Mirror::of(&house);
    mirror.house.stream.set_coalesce(Duration::from_millis(100));
    publisher.inter(40);
    house.pump();
    mirror.deliver_all();
    assert_eq!(mirror.house.stream.coalesce(), Duration::from_millis(20));
    mirror.house.stream.set_coalesce(Duration::ZERO);
    assert_eq!(mirror.house.stream.coalesce(), Duration::ZERO);
}
