//! What holds whatever a peer sends.

use proptest::prelude::*;

use super::{captures::CAPTURES, *};
use crate::protocols::rtmp::message::SET_DATA_FRAME;

/// What to do to a capture: where, and to what.
#[derive(Clone, Debug)]
enum Wound {
    Change(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn wounds() -> impl Strategy<Value = Vec<Wound>> {
    let at = || 0..8_000_usize;
    let wound = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Wound::Change(at, byte)),
        (at(), 1..40_usize).prop_map(|(at, len)| Wound::Remove(at, len)),
        (at(), 1..400_usize).prop_map(|(at, len)| Wound::Repeat(at, len)),
        at().prop_map(Wound::Cut),
    ];
    prop::collection::vec(wound, 1..6)
}

fn wounded(mut wire: Vec<u8>, wounds: &[Wound]) -> Vec<u8> {
    for wound in wounds {
        // What says something stands behind the handshake; three in four wounds are there.
        let place = |at: usize| (if at.is_multiple_of(4) { at } else { 3_073 + at / 4 }) % wire.len().max(1);
        match *wound {
            Wound::Change(at, byte) => {
                let at = place(at);
                wire.iter_mut().skip(at).take(1).for_each(|b| *b = byte);
            }
            Wound::Remove(at, len) => {
                let at = place(at);
                wire.drain(at..(at + len).min(wire.len()));
            }
            Wound::Repeat(at, len) => {
                let at = place(at);
                let piece = wire[at..(at + len).min(wire.len())].to_vec();
                wire.splice(at..at, piece);
            }
            Wound::Cut(at) => wire.truncate(place(at)),
        }
    }
    wire
}

proptest! {
    #[test]
    fn a_wounded_capture_neither_panics_nor_grows(which in 0..CAPTURES.len(), wounds in wounds()) {
        let wire = wounded(hex(CAPTURES[which].1), &wounds);
        fuzz(&wire);
        fuzz(wire.get(3_073..).unwrap_or_default());
    }

    #[test]
    fn noise_neither_panics_nor_grows(noise in prop::collection::vec(any::<u8>(), 0..4_000)) {
        fuzz(&noise);
    }

    #[test]
    fn any_command_with_any_arguments_is_survived(
        name in prop_oneof!["connect|createStream|publish|play|play2|pause|seek|deleteStream|FCPublish", ".*"],
        transaction in any::<f64>(),
        args in prop::collection::vec(value(), 0..5),
    ) {
        let mut script = Script::connected("live");
        for state in 0..3 {
            script.say(&name, transaction, Value::Null, &args);
            while let Ok(Some(event)) = script.server.poll() {
                match event {
                    Event::Publish(_) if state < 2 => script.server.accept_publish(),
                    Event::Publish(_) => script.server.reject_publish(&Reject::bad_name("enough")),
                    Event::Play(_) => script.server.accept_play(),
                    _ => {}
                }
            }
            script.hear();
        }
    }

    #[test]
    fn any_address_names_a_sound_key_or_none(tc_url in ".*", app in ".*", name in ".*") {
        let url = StreamUrl::new(&tc_url, &app, &name);
        prop_assert_eq!(&url, &StreamUrl::new(&tc_url, &app, &name));
        if let Ok(key) = url.key {
            prop_assert!(!key.name().is_empty() && !key.app().is_empty());
            prop_assert_eq!(key.as_str().parse::<shards::media::StreamKey>(), Ok(key.clone()));
        }
    }

    #[test]
    fn any_aggregate_comes_apart_within_its_bytes(
        base in any::<u32>(),
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let len = noise.len();
        let mut aggregate = message::Aggregate::new(base, noise.into());
        let mut taken = 0;
        while let Ok(Some((_, _, body))) = aggregate.next_part() {
            taken += 11 + body.len();
        }
        prop_assert!(taken <= len);
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(Value::Undefined),
        any::<f64>().prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,40}".prop_map(Value::String),
        (".{0,8}", any::<f64>()).prop_map(|(key, number)| Value::Object(vec![(key, number.into())])),
        ".{0,40}".prop_map(|name| amf0::object([("streamName", name.into())])),
    ]
}

#[test]
fn an_aggregate_reaches_the_host_as_its_parts() {
    let mut script = Script::connected("live");
    script.ask("publish", 0.0, &["cam".into()]);
    script.event();
    script.server.accept_publish();
    let tag = |kind: u8, time: u8, body: &[u8]| {
        let len = body.len() as u8;
        [&[kind, 0, 0, len, 0, 0, time, 0, 0, 0, 0][..], body, &[0, 0, 0, len + 11]].concat()
    };
    let mut data = amf0::encode_all(&[SET_DATA_FRAME.into(), "onMetaData".into()]).to_vec();
    data.push(5);
    let body = [tag(18, 40, &data), tag(9, 40, b"picture"), tag(8, 63, b"sound"), tag(8, 63, b"")].concat();
    script.message(kind::AGGREGATE, 1_000, &body);
    let told: Vec<(MediaKind, u32)> = std::iter::from_fn(|| script.server.poll().unwrap())
        .map(|event| match event {
            Event::Media(media) => (media.kind, media.timestamp),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(MediaKind::Data, 1_000), (MediaKind::Video, 1_000), (MediaKind::Audio, 1_023)]);

    script.message(kind::AGGREGATE, 2_000, &body[..body.len() - 20]);
    while script.server.poll().unwrap().is_some() {}
    assert_eq!(script.server.counters().malformed, 1, "what is whole was told, what is cut was counted");
}

#[test]
fn media_outside_of_publishing_is_counted_and_dropped() {
    let mut script = Script::connected("live");
    script.message(kind::VIDEO, 0, b"early");
    script.nothing();
    script.ask("publish", 0.0, &["cam".into()]);
    script.message(kind::VIDEO, 1, b"before the answer");
    script.event();
    script.nothing();
    script.server.accept_publish();
    assert!(matches!(script.event(), Event::Media(media) if media.timestamp == 1), "held, not dropped");
    script.message(kind::VIDEO, 2, b"");
    script.ask("deleteStream", 0.0, &[]);
    script.message(kind::VIDEO, 3, b"late");
    assert_eq!(script.event(), Event::Unpublish);
    script.nothing();
    assert_eq!(script.server.counters().media_dropped, 2);
}

#[test]
fn controls_are_answered_and_broken_ones_counted() {
    let mut script = Script::connected("live");
    script.message(kind::WINDOW_ACK_SIZE, 0, &2_048_u32.to_be_bytes());
    script.message(kind::SET_PEER_BANDWIDTH, 0, &[0, 0, 16, 0, 2]);
    script.message(kind::SET_PEER_BANDWIDTH, 0, &[0, 0, 16, 0, 2]);
    script.message(kind::USER_CONTROL, 0, &[0, 6, 1, 2, 3, 4]);
    script.message(kind::USER_CONTROL, 0, &[0, 3, 0]);
    script.message(kind::ACKNOWLEDGEMENT, 0, &[1]);
    script.message(30, 0, b"nobody knows");
    script.nothing();
    let heard = script.hear();
    assert!(heard[0].starts_with("acknowledgement "), "half of a small window has long passed: {heard:?}");
    assert_eq!(heard[1..], ["window 4096", "PingResponse(16909060)"]);
    assert_eq!(script.server.counters().malformed, 2);
}
