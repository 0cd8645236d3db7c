//! AMF3 values by hand: there is no writer to make them.

use proptest::prelude::*;

use super::*;
use crate::protocols::amf0::object;

fn read(mut wire: &[u8]) -> Result<Value, Amf3Error> {
    let value = decode(&mut wire)?;
    assert_eq!(wire, b"", "left over behind {value:?}");
    Ok(value)
}

#[test]
fn integers_have_29_bits_and_a_sign() {
    for (wire, number) in [
        (&b"\x04\0"[..], 0.0),
        (b"\x04\x7F", 127.0),
        (b"\x04\x81\0", 128.0),
        (b"\x04\xFF\x7F", 16_383.0),
        (b"\x04\x81\x80\0", 16_384.0),
        (b"\x04\x80\xC0\x80\0", 2_097_152.0),
        (b"\x04\xBF\xFF\xFF\xFF", 268_435_455.0),
        (b"\x04\xC0\x80\x80\0", -268_435_456.0),
        (b"\x04\xFF\xFF\xFF\xFF", -1.0),
    ] {
        assert_eq!(read(wire), Ok(Value::Number(number)), "{wire:02x?}");
    }
}

#[test]
fn a_string_is_named_by_its_place_the_second_time() {
    // ["ab", "", "ab"]: the empty one has no place in the table.
    let wire = b"\x09\x07\x01\x06\x05ab\x06\x01\x06\0";
    assert_eq!(read(wire), Ok(Value::StrictArray(vec!["ab".into(), "".into(), "ab".into()])));
    assert_eq!(read(b"\x06\x02"), Err(Amf3Error::Reference(1)));
}

#[test]
fn an_array_with_names_becomes_an_ecma_array() {
    let wire = b"\x09\x03\x03a\x03\x01\x02";
    assert_eq!(read(wire), Ok(Value::EcmaArray(vec![("a".into(), true.into()), ("0".into(), false.into())])));
}

#[test]
fn traits_are_shared_between_objects() {
    // Two objects of class "P" with the sealed member "x", the second by reference to the first one's traits.
    let wire = b"\x09\x05\x01\x0A\x13\x03P\x03x\x04\x01\x0A\x01\x04\x02";
    let point = |x: f64| Value::Typed { class: "P".into(), fields: vec![("x".into(), x.into())] };
    assert_eq!(read(wire), Ok(Value::StrictArray(vec![point(1.0), point(2.0)])));
}

#[test]
fn an_object_is_named_by_its_place_the_second_time() {
    // [{a: 1}, the same]: the array is entry 0.
    let wire = b"\x09\x05\x01\x0A\x0B\x01\x03a\x04\x01\x01\x0A\x02";
    let one = object([("a", 1.0.into())]);
    assert_eq!(read(wire), Ok(Value::StrictArray(vec![one.clone(), one])));
}

#[test]
fn a_circle_ends_in_null() {
    assert_eq!(read(b"\x09\x03\x01\x09\0"), Ok(Value::StrictArray(vec![Value::Null])));
    // A{b: B{b: B}} and A again: the repeated B meets itself, too.
    let wire = b"\x09\x05\x01\x0A\x0B\x01\x03b\x0A\x01\0\x0A\x04\x01\x01\x0A\x02";
    let b = object([("b", Value::Null)]);
    let again = object([("b", object([("b", b.clone())]))]);
    assert_eq!(read(wire), Ok(Value::StrictArray(vec![object([("b", b)]), again])));
}

#[test]
fn the_other_types_become_their_nearest_word() {
    assert_eq!(read(b"\x08\x01\x40\x59\0\0\0\0\0\0"), Ok(Value::Date { millis: 100.0, zone: 0 }));
    assert_eq!(read(b"\x0B\x09<a/>"), Ok(Value::Xml("<a/>".into())));
    assert_eq!(read(b"\x07\x09<a/>"), Ok(Value::Xml("<a/>".into())));
    assert_eq!(read(b"\x0C\x05hi"), Ok("hi".into()));
    assert_eq!(read(b"\x0D\x03\0\xFF\xFF\xFF\xFE"), Ok(Value::StrictArray(vec![(-2.0).into()])));
    assert_eq!(read(b"\x0E\x03\0\xFF\xFF\xFF\xFE"), Ok(Value::StrictArray(vec![4_294_967_294.0.into()])));
    assert_eq!(read(b"\x0F\x03\0\x40\x59\0\0\0\0\0\0"), Ok(Value::StrictArray(vec![100.0.into()])));
    assert_eq!(read(b"\x10\x03\0\x01\x03"), Ok(Value::StrictArray(vec![true.into()])));
    assert_eq!(read(b"\x11\x03\0\x06\x03k\x03"), Ok(object([("k", true.into())])));
    assert_eq!(read(b"\x11\x03\0\x04\x05\x03"), Ok(object([("5", true.into())])));
}

#[test]
fn flex_wrappers_are_seen_through_and_strange_ones_named() {
    let wrapped = |class: &str, inner: &[u8]| {
        [&[OBJECT, 0x07, (class.len() as u8) << 1 | 1], class.as_bytes(), inner].concat()
    };
    let wire = wrapped("flex.messaging.io.ObjectProxy", b"\x03");
    assert_eq!(read(&wire), Ok(true.into()));
    assert_eq!(read(&wrapped("Secret", b"\x03")), Err(Amf3Error::Externalizable("Secret".into())));
}

#[test]
fn a_command_message_is_read_with_and_without_its_selector() {
    let amf0 = b"\x02\0\x04play\0\x40\x10\0\0\0\0\0\0\x05\x02\0\x03cam";
    let values = decode_message(amf0).unwrap();
    assert_eq!(values, ["play".into(), 4.0.into(), Value::Null, "cam".into()]);
    assert_eq!(decode_message(&[&[0][..], amf0].concat()), Ok(values));
}

#[test]
fn bounds_hold() {
    let nest = b"\x09\x03\x01".repeat(100_000);
    assert_eq!(read(&nest), Err(Amf3Error::TooDeep));
    assert_eq!(read(b"\x0C\xFF\xFF\xFF\xFFx"), Err(Amf3Error::Truncated));
    assert_eq!(read(b"\x09\xFF\xFF\xFF\xFF\x01\x01"), Err(Amf3Error::Truncated));

    // Traits of 50,000 members in a wrapper, repeated by reference: each costs the reader 50,000 names.
    let mut wire = b"\x09\x83\xA9\x01\x01\x0A".to_vec();
    let head = 50_000_u32 << 4 | 0b0111;
    wire.extend_from_slice(&[0x80 | (head >> 14) as u8, 0x80 | (head >> 7) as u8, head as u8 & 0x7F]);
    wire.extend_from_slice(b"\x43flex.messaging.io.ArrayCollection");
    wire.extend_from_slice(&vec![1; 50_000]);
    wire.push(NULL);
    wire.extend_from_slice(&b"\x0A\x02".repeat(25_000));
    assert_eq!(read(&wire), Err(Amf3Error::TooManyValues));

    // One long text, repeated.
    let mut wire = b"\x09\x8F\x51\x01\x06\x83\x87\x41".to_vec();
    wire.extend_from_slice(&[b'x'; 50_080 / 2]);
    wire.extend_from_slice(&b"\x06\0".repeat(1_000));
    assert_eq!(read(&wire), Err(Amf3Error::TooMuchText));
}

const SAMPLES: [&[u8]; 4] = [
    b"\x09\x05\x01\x0A\x13\x03P\x03x\x04\x01\x0A\x01\x04\x02",
    b"\x09\x05\x01\x0A\x0B\x01\x03b\x0A\x01\0\x0A\x04\x01\x01\x0A\x02",
    b"\x11\x05\0\x06\x03k\x0F\x03\0\x40\x59\0\0\0\0\0\0\x04\x05\x08\x01\x40\x59\0\0\0\0\0\0",
    b"\x00\x02\0\x01x\x11\x0A\x0B\x01\x03a\x04\x07\x01\x01\x01",
];

#[test]
fn cut_and_changed_samples_never_panic() {
    for sample in SAMPLES {
        for at in 0..sample.len() {
            fuzz(&sample[..at]);
            for byte in 0..=255 {
                let mut changed = sample.to_vec();
                changed[at] = byte;
                fuzz(&changed);
            }
        }
    }
}

proptest! {
    #[test]
    fn noise_never_panics(data in prop::collection::vec(prop_oneof![0..0x14_u8, any::<u8>()], 0..400)) {
        fuzz(&data);
    }
}
