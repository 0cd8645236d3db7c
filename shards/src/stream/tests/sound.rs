//! Sound in another codec, for those who cannot take the publisher's. The stories' Opus says `o` and is 10 ms early.

use super::house::*;
use crate::{
    media::{Codec, Frame, Timestamp, Track, TrackId},
    stream::{Made, StreamOptions, Transcode, Transcoding, derive::QUEUE_FRAMES_MAX},
};

/// Takes two pieces of work for each frame, and leaves out what would lie before the first.
struct Parrot {
    track: Track,
    held: Option<Frame>,
    thinks: bool,
    begin: Option<Timestamp>,
}

fn parrot(source: &Track, codec: Codec, bits_per_second: u32) -> Option<Box<dyn Transcode>> {
    assert_eq!(bits_per_second, 96_000);
    (source.config != "mute").then(|| {
        let config = [b"o-", &source.config[..]].concat().into();
        let track = Track { codec, config, ..source.clone() };
        Box::new(Parrot { track, held: None, thinks: false, begin: None }) as _
    })
}

impl Transcode for Parrot {
    fn track(&self) -> &Track {
        &self.track
    }

    fn take(&mut self, frame: Frame) {
        assert!(self.held.is_none(), "it was idle");
        assert_eq!(frame.track, TrackId::AUDIO);
        self.held = Some(frame);
        self.thinks = true;
    }

    fn step(&mut self) -> Made {
        if std::mem::take(&mut self.thinks) {
            return Made::Busy;
        }
        let Some(mut frame) = self.held.take() else { return Made::Idle };
        let begin = *self.begin.get_or_insert(frame.dts);
        frame.dts = frame.dts - Timestamp::from_millis(10);
        if frame.dts < begin { Made::Busy } else { Made::Frame(frame) }
    }

    fn concealed(&self) -> u64 {
        0
    }
}

pub fn with_parrot(options: &mut StreamOptions) {
    options.transcoding = Some(Transcoding { make: parrot, aac_bitrate: 1, opus_bitrate: 96_000 });
}

fn house() -> House {
    house_with(with_parrot)
}

#[test]
fn a_form_that_cannot_carry_the_sound_gets_another_and_the_rest_pays_nothing() {
    let house = house();
    let publisher = house.publish_av();
    let plain = house.join();
    publisher.key(0);
    publisher.sound(0);
    house.pump();
    assert!(house.stream.stats().derived.is_empty(), "nobody needs it");
    let player = house.join_opus("opus");
    house.pump();
    for ms in [20, 40] {
        publisher.sound(ms);
        house.pump();
    }
    publisher.inter(50);
    house.pump();
    assert_eq!(
        player.all(),
        "<pre video0 audio0><head video0=A audio0=o-S>{<V 0 x>}{<o 10 x>}{<o 30 x>}{<v 50 x>}"
    );
    assert_eq!(
        plain.all(),
        "<pre video0 audio0><head video0=A audio0=S>{<V 0 x>}{<a 0 x>}{<a 20 x>}{<a 40 x>}{<v 50 x>}"
    );
    let stats = house.stream.stats().derived;
    assert_eq!((stats.len(), stats[0].from, stats[0].frames), (1, Codec::Aac, 2));
    assert_eq!((stats[0].waiting, stats[0].skipped), (0, 0));
}

#[test]
fn a_joiner_gets_the_cached_group_with_its_sound() {
    let house = house();
    let publisher = house.publish_av();
    for group in [0, 200] {
        publisher.key(group);
        for (sound, picture) in [(10, None), (30, Some(40)), (50, None), (70, Some(80))] {
            publisher.sound(group + sound);
            picture.into_iter().for_each(|ms| publisher.inter(group + ms));
        }
    }
    house.pump();
    let player = house.join_opus("opus");
    assert_eq!(player.news(), "", "nothing without its sound");
    // Live pictures meanwhile are not lost, and come once.
    publisher.inter(320);
    house.pump();
    let whole = "<V 200 x><o 220 x><v 240 x><o 240 x><o 260 x><v 280 x><v 320 x>";
    let got = |player: &Player| player.all().replace(['{', '}'], "");
    assert_eq!(got(&player), format!("<pre video0 audio0><head video0=A audio0=o-S>{whole}"));
    // The next form that needs it finds it made.
    let made = house.stream.stats().derived[0].frames;
    let second = house.join_opus("opus-too");
    assert_eq!(got(&second), got(&player));
    let stats = house.stream.stats().derived;
    assert_eq!((stats.len(), stats[0].frames), (1, made), "made once");
}

#[test]
fn those_who_wait_for_a_publisher_start_with_sound_too() {
    let house = house();
    let player = house.join_opus("opus");
    let publisher = house.publish();
    publisher.track(audio_track("S")).expect("seated");
    for ms in [0, 20, 40] {
        publisher.sound(ms);
    }
    publisher.track(video_track("A")).expect("seated");
    publisher.key(50);
    publisher.sound(60);
    publisher.sound(80);
    house.pump();
    let got = player.all().replace(['{', '}'], "");
    assert_eq!(got, "<pre audio0 video0><head audio0=o-S video0=A><V 50 x><o 50 x><o 70 x>");
}

#[test]
fn sound_alone_is_made_as_well() {
    let house = house();
    let publisher = house.publish();
    publisher.expect(Some(true), Some(false)).expect("seated");
    publisher.track(audio_track("S")).expect("seated");
    for ms in [0, 20, 40] {
        publisher.sound(ms);
    }
    let player = house.join_opus("opus");
    house.pump();
    publisher.sound(60);
    house.pump();
    let got = player.all().replace(['{', '}'], "");
    assert_eq!(got, "<pre audio0><head audio0=o-S><o 10 x><o 30 x><o 50 x>");
}

#[test]
fn work_is_done_in_pieces() {
    let house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    for ms in 1..=10 {
        publisher.sound(ms * 20);
    }
    let player = house.join_opus("opus");
    let mut pieces = 1;
    while !house.stream.make_sound(&mut || true) {
        pieces += 1;
        assert!(player.news().is_empty());
    }
    assert!(pieces > 20, "{pieces} pieces");
    house.pump();
    assert!(player.news().contains("<o 190 x>"));
}

#[test]
fn nobody_works_for_those_who_left() {
    let mut house = house();
    let publisher = house.publish_av();
    publisher.key(0);
    let player = house.join_opus("opus");
    publisher.sound(20);
    house.pass(1_000);
    assert_eq!(house.stream.stats().derived.len(), 1);
    drop(player);
    house.pass(4_000);
    assert_eq!(house.stream.stats().derived.len(), 1, "they often come back");
    house.pass(2_000);
    assert!(house.stream.stats().derived.is_empty());
}

#[test]
fn what_cannot_be_made_comes_as_it_is() {
    for make in [true, false] {
        let house = house_with(|options| {
            if make {
                with_parrot(options);
            }
        });
        let publisher = house.publish();
        publisher.track(video_track("A")).expect("seated");
        publisher.track(audio_track("mute")).expect("seated");
        let player = house.join_opus("opus");
        publisher.key(0);
        publisher.sound(20);
        house.pump();
        assert_eq!(player.all(), "<pre video0 audio0><head video0=A audio0=mute>{<V 0 x>}{<a 20 x>}");
        assert!(house.stream.stats().derived.is_empty());
    }
}

#[test]
fn a_source_that_changes_is_followed() {
    let house = house();
    let publisher = house.publish_av();
    let player = house.join_opus("opus");
    publisher.key(0);
    publisher.sound(20);
    publisher.sound(40);
    house.pump();
    publisher.track(audio_track("T")).expect("seated");
    publisher.sound(60);
    publisher.sound(80);
    house.pump();
    publisher.track(audio_track("mute")).expect("seated");
    publisher.sound(100);
    house.pump();
    let got = player.all().replace(['{', '}'], "");
    assert_eq!(
        got,
        "<pre video0 audio0><head video0=A audio0=o-S><V 0 x><o 30 x><track audio0 o-T><o 70 x>\
         <track audio0 mute><a 100 x>"
    );
}

#[test]
fn a_publisher_that_returns_is_heard_after_the_one_before() {
    let house = house();
    let publisher = house.publish_av();
    let player = house.join_opus("opus");
    publisher.key(0);
    publisher.sound(20);
    publisher.sound(40);
    drop(publisher);
    house.pump();
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.sound(0);
    publisher.sound(20);
    house.pump();
    let got = player.all().replace(['{', '}'], "");
    assert_eq!(
        got,
        "<pre video0 audio0><head video0=A audio0=o-S><V 0 x><o 30 x><head video0=A audio0=o-S><V 80 x><o 70 x><o 90 x>"
    );
}

#[test]
fn what_cannot_be_followed_is_left_out_and_counted() {
    let house = house_with(|options| {
        with_parrot(options);
        options.gop.frames_max = 100_000;
        options.gop.duration_max = Timestamp::from_millis(600_000);
        options.gop.bytes_max = 10_000_000;
    });
    let publisher = house.publish_av();
    publisher.key(0);
    let _player = house.join_opus("opus");
    for ms in 0..QUEUE_FRAMES_MAX as i64 + 100 {
        publisher.sound(ms * 20);
    }
    let stats = &house.stream.stats().derived[0];
    assert_eq!((stats.waiting, stats.skipped), (QUEUE_FRAMES_MAX, 100));
    house.pump();
    assert_eq!(house.stream.stats().derived[0].waiting, 0);
}

#[test]
fn a_stream_without_a_cache_has_it_from_the_next_group_on() {
    let house = house_with(|options| {
        with_parrot(options);
        options.gop.enable = false;
    });
    let publisher = house.publish_av();
    publisher.key(0);
    publisher.sound(20);
    let player = house.join_opus("opus");
    publisher.sound(40);
    house.pump();
    assert_eq!(player.news(), "");
    publisher.key(100);
    publisher.sound(120);
    house.pump();
    assert!(player.news().contains("{<V 100 x>}{<o 110 x>}"), "{}", player.all());
}
