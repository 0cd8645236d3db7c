//! Stories of a publisher's layers: each viewer gets the best that fits, changes at keyframes, and notices nothing but the size.

use super::*;

const SMALL: TrackId = TrackId::new(TrackKind::Video, 1);

impl House {
    /// A stream of two layers: about 2 Mbit/s and 200 kbit/s.
    fn layered() -> Self {
        let house = Self::av();
        let config = house.stream.scene().track(TrackId::VIDEO).unwrap().config.clone();
        house
            .publisher
            .track(Track { id: SMALL, codec: Codec::H264, config, shape: Shape::Unknown })
            .unwrap();
        house
    }

    /// A picture of each layer at `millis`; `keys`: which of them are keyframes.
    fn both(&self, millis: i64, keys: [bool; 2]) {
        for ((track, key), len) in [TrackId::VIDEO, SMALL].into_iter().zip(keys).zip([10_000, 1_000]) {
            // The layer can be told by the payload.
            let unit = [vec![if key { 0x65 } else { 0x41 }], vec![0x80 | track.index; len]].concat();
            let kind = if key { FrameKind::Key } else { FrameKind::Inter };
            self.push(track, millis, kind, nal::join(std::iter::once(&unit[..])));
        }
    }

    /// Pictures from `from` to `to`, none of them a keyframe.
    fn on(&self, from: i64, to: i64) {
        (from..to).step_by(40).for_each(|at| self.both(at, [false, false]));
    }
}

/// The layer of each packet, parameter sets apart.
fn layers_of(got: &[Got]) -> Vec<u8> {
    let mut layers: Vec<u8> = got
        .iter()
        .filter_map(|got| got.payload.last().map(|last| last & 0x7f))
        .filter(|layer| *layer < 2)
        .collect();
    layers.dedup();
    layers
}

fn goes_on(got: &[Got]) {
    assert!(
        got.windows(2).all(|two| two[1].sequence == two[0].sequence.wrapping_add(1)),
        "numbers without gaps"
    );
    let step = |two: &[Got]| two[1].timestamp.wrapping_sub(two[0].timestamp);
    assert!(got.windows(2).all(|two| step(two) < 0x8000_0000), "time runs forwards");
    // One time is one picture: its last packet is marked.
    assert!(got.windows(2).all(|two| (step(two) != 0) == two[0].marker), "a picture of each time");
}

#[test]
fn who_says_that_less_fits_gets_the_small_layer_from_its_keyframe_on_and_goes_up_again() {
    let house = House::layered();
    let (narrow, wide) = (house.join(), house.join());
    house.both(0, [true, true]);
    house.on(40, 2_000);
    narrow.viewer.on_time(Instant::now());
    assert_eq!(layers_of(&narrow.pictures_kept()), [0], "the best there is, to begin with");

    let wishes = narrow.say(|out| rtcp::remb(1, 600_000, &[VIDEO], out));
    assert_eq!(wishes.key, Some(SMALL), "the publisher is asked for a keyframe of that layer");
    assert_eq!(narrow.say(|out| rtcp::remb(1, 600_000, &[VIDEO], out)).key, None, "once");
    house.both(2_000, [false, true]);
    house.on(2_040, 3_000);
    assert_eq!(layers_of(&narrow.pictures_kept()).last(), Some(&1));

    let wishes = narrow.say(|out| rtcp::remb(1, 9_000_000, &[VIDEO], out));
    assert_eq!(wishes.key, Some(TrackId::VIDEO));
    house.on(3_000, 3_200);
    house.both(3_200, [true, false]);
    house.on(3_240, 3_400);
    let got = narrow.pictures();
    assert_eq!(layers_of(&got), [0, 1, 0]);
    goes_on(&got);
    let all = wide.pictures();
    assert_eq!(layers_of(&all), [0], "others have the large layer all the while");
    goes_on(&all);
}

#[test]
fn one_who_was_stopped_asks_for_a_keyframe_once_its_layer_fits_again() {
    let house = House::av();
    let viewer = house.join();
    house.picture(0, true, 1_000);
    (1..60).for_each(|n| house.picture(n * 40, false, 10_000));
    assert_eq!(viewer.say(|out| rtcp::remb(1, 100_000, &[VIDEO], out)).key, None);
    (60..70).for_each(|n| house.picture(n * 40, false, 10_000));
    assert_eq!(viewer.viewer.stats().mutes, 1);
    viewer.far.take();
    assert_eq!(viewer.viewer.on_time(Instant::now()), None, "it would not fit");
    viewer.say(|out| rtcp::remb(1, 9_000_000, &[VIDEO], out));
    // A while passes, in which more could have been sent.
    std::thread::sleep(Duration::from_millis(200));
    house.picture(2_800, false, 10_000);
    assert_eq!(viewer.viewer.on_time(Instant::now()), Some(TrackId::VIDEO));
    assert!(viewer.pictures().is_empty(), "nothing that could not be decoded");
    house.picture(2_840, true, 10_000);
    goes_on(&viewer.pictures());
}

#[test]
fn a_layer_whose_keyframe_is_older_than_what_was_shown_is_shown_after_it() {
    let house = House::layered();
    let viewer = house.join();
    house.both(0, [true, true]);
    house.on(40, 2_000);
    viewer.viewer.on_time(Instant::now());
    viewer.say(|out| rtcp::remb(1, 600_000, &[VIDEO], out));
    // The small layer comes late: what it shows is of the time of a picture that the large one has shown.
    for (n, key) in [(0, true), (1, false), (2, false)] {
        let unit = [vec![if key { 0x65 } else { 0x41 }], vec![0x81; 500]].concat();
        let kind = if key { FrameKind::Key } else { FrameKind::Inter };
        house.push(SMALL, 1_960 + n * 40, kind, nal::join(std::iter::once(&unit[..])));
    }
    let got = viewer.pictures();
    assert_eq!(layers_of(&got), [0, 1]);
    goes_on(&got);
}

#[test]
fn a_layer_that_stops_gives_way_to_one_that_flows() {
    let house = House::layered();
    let viewer = house.join();
    house.both(0, [true, true]);
    house.on(40, 2_000);
    let small = |at: i64, key: bool| {
        let unit = [vec![if key { 0x65 } else { 0x41 }], vec![0x81; 1_000]].concat();
        let kind = if key { FrameKind::Key } else { FrameKind::Inter };
        house.push(SMALL, at, kind, nal::join(std::iter::once(&unit[..])));
    };
    (2_000..4_400).step_by(40).for_each(|at| small(at, false));
    assert_eq!(viewer.viewer.on_time(Instant::now()), Some(SMALL));
    small(4_400, true);
    let got = viewer.pictures();
    assert_eq!(layers_of(&got), [0, 1]);
    goes_on(&got);
}

#[test]
fn one_who_is_catching_up_goes_on_at_a_newer_keyframe_and_asks_for_one() {
    let house = House::av();
    let _keeper = house.join();
    for n in 0..150 {
        house.picture(n * 40, n == 0, 200);
    }
    let joiner = house.join();
    assert_eq!(joiner.viewer.on_time(Instant::now()), Some(TrackId::VIDEO), "six seconds are a long way");
    let before = joiner.pictures().len();
    assert!(before > 0 && before < 20, "{before} pictures at once");
    house.picture(6_000, true, 200);
    house.picture(6_040, false, 200);
    std::thread::sleep(Duration::from_millis(20));
    joiner.poll();
    let after = joiner.pictures();
    assert!(after.len() < 20, "{} packets: the rest of the old group is passed over", after.len());
    assert_eq!(after.last().unwrap().payload[1], (6_040_i64 % 256) as u8, "live");
    goes_on(&after);
}
