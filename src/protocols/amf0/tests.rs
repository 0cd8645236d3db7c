//! AMF0 as clients send it, and as nobody should.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn wire(value: &Value) -> BytesMut {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out
}

fn decode(mut input: &[u8]) -> Result<Value, Amf0Error> {
    Value::decode(&mut input)
}

/// `connect` as ffmpeg 5.1 sends it, captured from the wire.
const FFMPEG_CONNECT: &[u8] = include_bytes!("testdata/ffmpeg-connect.bin");

#[test]
fn the_connect_of_ffmpeg_is_understood() {
    let values = decode_all(FFMPEG_CONNECT).unwrap();
    let [name, transaction, command] = values.as_slice() else { panic!("{values:?}") };
    assert_eq!((name.as_str(), transaction.as_f64()), (Some("connect"), Some(1.0)));
    assert_eq!(command.get("app").and_then(Value::as_str), Some("live"));
    assert_eq!(command.get("type").and_then(Value::as_str), Some("nonprivate"));
    assert_eq!(command.get("tcUrl").and_then(Value::as_str), Some("rtmp://127.0.0.1:19350/live"));
    assert_eq!(encode_all(&values), FFMPEG_CONNECT, "and written again as it came");
}

#[test]
fn values_follow_each_other_and_the_rest_stays() {
    let mut input: &[u8] = b"\x02\x00\x02hi\x01\x01\x05rest";
    assert_eq!(Value::decode(&mut input), Ok("hi".into()));
    assert_eq!(Value::decode(&mut input), Ok(true.into()));
    assert_eq!(Value::decode(&mut input), Ok(Value::Null));
    assert_eq!(input, b"rest");
    assert_eq!(Value::decode(&mut input), Err(Amf0Error::Marker(b'r')));
    assert_eq!(input, b"rest", "an error takes nothing");
}

#[test]
fn a_text_over_65_535_bytes_travels_as_a_long_string() {
    for (len, marker) in [(65_535, STRING), (65_536, LONG_STRING)] {
        let value = Value::String("x".repeat(len));
        let out = wire(&value);
        assert_eq!(out[0], marker);
        assert_eq!(decode(&out), Ok(value));
    }
}

#[test]
fn a_text_that_is_not_utf8_is_still_a_text() {
    assert_eq!(decode(b"\x02\x00\x03a\xFFb"), Ok("a\u{FFFD}b".into()));
}

#[test]
fn an_end_marker_that_the_encoder_forgot_is_not_missed() {
    let array = Value::EcmaArray(vec![("width".into(), 64.0.into()), ("stereo".into(), true.into())]);
    let whole = wire(&array);
    assert_eq!(decode(&whole[..whole.len() - 3]), Ok(array));
    assert_eq!(
        decode(&whole[..whole.len() - 4]),
        Err(Amf0Error::Truncated),
        "but a field cut short is an error"
    );
}

#[test]
fn an_empty_name_is_a_field_unless_the_end_marker_follows() {
    let object = object([("", Value::Null), ("a", 1.0.into())]);
    assert_eq!(decode(&wire(&object)), Ok(object));
}

#[test]
fn a_reference_repeats_what_it_names() {
    // A strict array of an object {a: 1} and a reference to entry 1: the array itself is entry 0.
    let wire = b"\x0A\0\0\0\x02\x03\0\x01a\0\x3F\xF0\0\0\0\0\0\0\0\0\x09\x07\0\x01";
    let inner = object([("a", 1.0.into())]);
    assert_eq!(decode(wire), Ok(Value::StrictArray(vec![inner.clone(), inner.clone()])));

    let values = decode_all(&[&wire[5..21], b"\x07\0\0"].concat());
    assert_eq!(values, Ok(vec![inner.clone(), inner]), "across the values of one message, too");
}

#[test]
fn a_reference_to_itself_or_to_nothing_is_refused() {
    assert_eq!(decode(b"\x0A\0\0\0\x01\x07\0\0"), Err(Amf0Error::Reference(0)));
    assert_eq!(decode(b"\x07\0\x05"), Err(Amf0Error::Reference(5)));
}

#[test]
fn a_web_of_references_does_not_multiply_without_end() {
    // Each array holds two references to the one before: 2^30 values in 300 bytes, all inside one array.
    let mut wire = b"\x0A\0\0\0\x20\x0A\0\0\0\x01\x05".to_vec();
    for level in 1..=30_u8 {
        wire.extend_from_slice(&[STRICT_ARRAY, 0, 0, 0, 2, REFERENCE, 0, level, REFERENCE, 0, level]);
    }
    assert!(matches!(decode(&wire), Err(Amf0Error::TooManyValues | Amf0Error::TooDeep)));

    // And a long text, repeated.
    let mut wire = b"\x0A\0\0\x03\xE9\x03\0\x01a".to_vec();
    wire.extend_from_slice(&self::wire(&"x".repeat(60_000).into()));
    wire.extend_from_slice(b"\0\0\x09");
    wire.extend_from_slice(&b"\x07\0\x01".repeat(1_000));
    assert_eq!(decode(&wire), Err(Amf0Error::TooMuchText));
}

#[test]
fn a_nest_is_bounded() {
    for (marker, head) in [(OBJECT, &b"\x03\0\x01a"[..]), (STRICT_ARRAY, b"\x0A\0\0\0\x01")] {
        let nest = |depth| [head.repeat(depth), vec![NULL]].concat();
        assert!(decode(&nest(DEPTH_MAX)).is_ok(), "{marker}");
        assert_eq!(decode(&nest(DEPTH_MAX + 1)), Err(Amf0Error::TooDeep), "{marker}");
        assert_eq!(decode(&nest(100_000)), Err(Amf0Error::TooDeep), "{marker}");
    }
}

#[test]
fn a_count_is_not_believed() {
    assert_eq!(decode(b"\x0A\xFF\xFF\xFF\xFF\x05\x05"), Err(Amf0Error::Truncated));
    assert_eq!(
        decode(b"\x08\xFF\xFF\xFF\xFF\0\x01a\x05\0\0\x09"),
        Ok(Value::EcmaArray(vec![("a".into(), Value::Null)]))
    );
    let nulls = [&[STRICT_ARRAY, 0, 2, 0, 0][..], &vec![NULL; 2 << 16]].concat();
    assert_eq!(decode(&nulls), Err(Amf0Error::TooManyValues));
}

#[test]
fn an_amf3_value_inside_is_read() {
    assert_eq!(
        decode_all(b"\x02\0\x01x\x11\x0A\x0B\x01\x03a\x04\x07\x01\x01\x01"),
        Ok(vec!["x".into(), object([("a", 7.0.into())]), true.into()])
    );
    assert_eq!(decode(b"\x11\x13"), Err(Amf0Error::Amf3(Amf3Error::Marker(0x13))));
}

#[test]
fn cut_and_changed_captures_never_panic() {
    for cut in 0..FFMPEG_CONNECT.len() {
        fuzz(&FFMPEG_CONNECT[..cut]);
        for bit in 0..8 {
            let mut changed = FFMPEG_CONNECT.to_vec();
            changed[cut] ^= 1 << bit;
            fuzz(&changed);
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>()
            .prop_filter("NaN differs from itself", |number| !number.is_nan())
            .prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        any::<String>().prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
        (-1e15..1e15, any::<i16>()).prop_map(|(millis, zone)| Value::Date { millis, zone }),
        any::<String>().prop_map(Value::Xml),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let fields = prop::collection::vec((any::<String>(), inner.clone()), 0..8);
        prop_oneof![
            fields.clone().prop_map(Value::Object),
            fields.clone().prop_map(Value::EcmaArray),
            prop::collection::vec(inner, 0..8).prop_map(Value::StrictArray),
            (any::<String>(), fields).prop_map(|(class, fields)| Value::Typed { class, fields }),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_survives_the_round_trip(values in prop::collection::vec(any_value(), 0..4)) {
        prop_assert_eq!(decode_all(&encode_all(&values)), Ok(values));
    }

    #[test]
    fn every_beginning_of_a_value_is_told_from_the_whole(value in any_value(), cut in any::<prop::sample::Index>()) {
        let out = wire(&value);
        let mut input = &out[..cut.index(out.len())];
        // Only a forgotten end marker is forgiven, and then nothing is left over.
        if Value::decode(&mut input).is_ok() {
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn noise_never_panics(data in prop::collection::vec(prop_oneof![0..0x12_u8, any::<u8>()], 0..400)) {
        fuzz(&data);
    }
}
