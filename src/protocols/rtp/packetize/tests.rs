//! Packets of known bytes, and frames that survive being packetised and put together again.

use bytes::Bytes;
use proptest::prelude::*;
use shards::media::{Shape, TrackId};

use super::*;
use crate::codecs::{h264 as avc, nal};

#[derive(Default)]
struct Kept(Vec<Vec<u8>>);

impl Payloads for Kept {
    fn begin(&mut self) {
        self.0.push(Vec::new());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.last_mut().expect("a packet was begun").extend_from_slice(bytes);
    }

    fn end(&mut self) {
        assert!(!self.0.last().expect("a packet was begun").is_empty());
    }
}

fn packets(codec: Codec, config: &[u8], is_key: bool, payload: &[u8], max: usize) -> Vec<Vec<u8>> {
    let config = Bytes::copy_from_slice(config);
    let track = Track { id: TrackId::VIDEO, codec, config, shape: Shape::Unknown };
    let mut kept = Kept::default();
    Packetizer::default().write(&track, Picture { is_key, in_order: false, payload }, max, &mut kept);
    assert!(kept.0.iter().all(|packet| packet.len() <= max), "a packet is too large");
    kept.0
}

const SPS: [u8; 8] = [0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

fn avcc() -> Bytes {
    avc::build_config(&[&SPS], &[&PPS]).unwrap()
}

/// The NAL units of H.264 packets, put together again.
fn h264_units(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for packet in packets {
        match packet[0] & 31 {
            24 => {
                let mut rest = &packet[1..];
                while let Some((len, after)) = rest.split_first_chunk::<2>() {
                    let (unit, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
                    units.push(unit.to_vec());
                    rest = after;
                }
            }
            28 => {
                if packet[1] & 0x80 != 0 {
                    units.push(vec![packet[0] & 0xe0 | packet[1] & 31]);
                }
                units.last_mut().unwrap().extend_from_slice(&packet[2..]);
            }
            _ => units.push(packet.clone()),
        }
    }
    units
}

fn h265_units(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for packet in packets {
        match packet[0] >> 1 & 63 {
            48 => {
                let mut rest = &packet[2..];
                while let Some((len, after)) = rest.split_first_chunk::<2>() {
                    let (unit, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
                    units.push(unit.to_vec());
                    rest = after;
                }
            }
            49 => {
                if packet[2] & 0x80 != 0 {
                    units.push(vec![packet[0] & 0x81 | (packet[2] & 63) << 1, packet[1]]);
                }
                units.last_mut().unwrap().extend_from_slice(&packet[3..]);
            }
            _ => units.push(packet.clone()),
        }
    }
    units
}

/// The OBU elements of AV1 packets, put together again.
fn av1_obus(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut obus, mut goes_on): (Vec<Vec<u8>>, _) = (Vec::new(), false);
    for packet in packets {
        assert_eq!(packet[0] & 0x80 != 0, goes_on, "Z says what Y said");
        let mut rest = &packet[1..];
        let mut first = true;
        while !rest.is_empty() {
            let mut len = usize::from(rest[0] & 0x7f);
            let mut used = 1;
            if rest[0] & 0x80 != 0 {
                len |= usize::from(rest[1]) << 7;
                used = 2;
            }
            let (element, after) = rest[used..].split_at(len);
            if std::mem::take(&mut first) && goes_on {
                obus.last_mut().unwrap().extend_from_slice(element);
            } else {
                obus.push(element.to_vec());
            }
            rest = after;
        }
        goes_on = packet[0] & 0x40 != 0;
    }
    assert!(!goes_on);
    obus
}

#[test]
fn an_h264_keyframe_is_these_packets() {
    let idr: Vec<u8> = std::iter::once(0x65).chain(0..150).collect();
    let sei = [0x06, 5, 1, 0x80];
    let aud = [0x09, 0xf0];
    let payload = nal::join([&aud[..], &sei, &idr].into_iter());
    let packets = packets(Codec::H264, &avcc(), true, &payload, 100);
    assert_eq!(
        packets[0],
        [&[0x78, 0, 8][..], &SPS, &[0, 4], &PPS, &[0, 4], &sei].concat(),
        "STAP-A of SPS, PPS and SEI, with the importance of the SPS, without the delimiter"
    );
    assert_eq!(packets[1], [&[0x7c, 0x85][..], &idr[1..99]].concat());
    assert_eq!(packets[2], [&[0x7c, 0x45][..], &idr[99..]].concat());
    assert_eq!(packets.len(), 3);
}

#[test]
fn an_h264_keyframe_with_its_own_sets_gets_no_others() {
    let payload = nal::join([&SPS[..], &PPS, &[0x65, 1, 2]].into_iter());
    let packets = packets(Codec::H264, &avcc(), true, &payload, 1_000);
    assert_eq!(h264_units(&packets), [SPS.to_vec(), PPS.to_vec(), vec![0x65, 1, 2]]);
}

#[test]
fn vp8_and_vp9_number_their_pictures() {
    let frame = [7; 150];
    let vp8 = packets(Codec::Vp8, &[], true, &frame, 100);
    assert_eq!([&vp8[0][..5], &vp8[1][..5]], [[0x90, 0x80, 0x80, 0, 7], [0x80, 0x80, 0x80, 0, 7]]);
    let vp9 = packets(Codec::Vp9, &[], false, &frame, 100);
    assert_eq!([&vp9[0][..4], &vp9[1][..4]], [[0xc9, 0x80, 0, 7], [0xc5, 0x80, 0, 7]]);
    let track = Track { id: TrackId::VIDEO, codec: Codec::Vp8, config: Bytes::new(), shape: Shape::Unknown };
    let mut packetizer = Packetizer { picture: 0x7fff };
    let mut kept = Kept::default();
    for _ in 0..2 {
        packetizer.write(&track, Picture { is_key: false, in_order: false, payload: &[1] }, 100, &mut kept);
    }
    assert_eq!(kept.0, [[0x90, 0x80, 0xff, 0xff, 1], [0x90, 0x80, 0x80, 0, 1]]);
}

#[test]
fn av1_leaves_sizes_and_delimiters_out() {
    let unit = [0x12, 0, 0x0a, 2, 8, 9, 0x32, 3, 1, 2, 3];
    let packets = packets(Codec::Av1, &[], true, &unit, 100);
    assert_eq!(packets, [[0x08, 3, 0x08, 8, 9, 4, 0x30, 1, 2, 3]]);
}

#[test]
fn an_av1_keyframe_gets_the_sequence_header_of_its_track() {
    let config = [0x81, 0, 0, 0, 0x0a, 2, 8, 9];
    let packets = packets(Codec::Av1, &config, true, &[0x32, 1, 7], 100);
    assert_eq!(av1_obus(&packets), [vec![0x08, 8, 9], vec![0x30, 7]]);
}

fn nal_unit(first: impl Strategy<Value = u8>) -> impl Strategy<Value = Vec<u8>> {
    (first, prop::collection::vec(any::<u8>(), 1..700)).prop_map(|(first, mut body)| {
        body.insert(0, first);
        body
    })
}

proptest! {
    #[test]
    fn h264_units_survive_the_round_trip(
        units in prop::collection::vec(nal_unit((1..=5_u8, 0..4_u8).prop_map(|(kind, importance)| importance << 5 | kind)), 1..20),
        max in 64..400_usize,
    ) {
        let payload = nal::join(units.iter().map(|unit| &unit[..]));
        prop_assert_eq!(h264_units(&packets(Codec::H264, &avcc(), false, &payload, max)), units);
    }

    #[test]
    fn h265_units_survive_the_round_trip(
        units in prop::collection::vec(nal_unit((0..32_u8).prop_map(|kind| kind << 1)), 1..20),
        max in 64..400_usize,
    ) {
        let payload = nal::join(units.iter().map(|unit| &unit[..]));
        prop_assert_eq!(h265_units(&packets(Codec::H265, &[], false, &payload, max)), units);
    }

    #[test]
    fn av1_obus_survive_the_round_trip(
        bodies in prop::collection::vec((prop::bool::ANY, prop::collection::vec(any::<u8>(), 0..900)), 1..12),
        max in 64..400_usize,
    ) {
        let (mut payload, mut expected) = (vec![0x12, 0], Vec::new());
        for (extended, body) in &bodies {
            let head = 6 << 3 | u8::from(*extended) << 2;
            payload.push(head | 2);
            if *extended { payload.push(0x28); }
            payload.extend_from_slice(&[body.len() as u8 | 0x80, (body.len() >> 7) as u8]);
            payload.extend_from_slice(body);
            let mut obu = vec![head];
            if *extended { obu.push(0x28); }
            obu.extend_from_slice(body);
            expected.push(obu);
        }
        prop_assert_eq!(av1_obus(&packets(Codec::Av1, &[], true, &payload, max)), expected);
    }

    #[test]
    fn vpx_frames_survive_the_round_trip(frame in prop::collection::vec(any::<u8>(), 1..2_000), max in 64..400_usize) {
        let vp8: Vec<u8> = packets(Codec::Vp8, &[], true, &frame, max).iter().flat_map(|packet| packet[4..].to_vec()).collect();
        prop_assert_eq!(&vp8, &frame);
        let vp9: Vec<u8> = packets(Codec::Vp9, &[], true, &frame, max).iter().flat_map(|packet| packet[3..].to_vec()).collect();
        prop_assert_eq!(&vp9, &frame);
    }

    #[test]
    fn anything_is_packetised_within_its_limit(data in prop::collection::vec(any::<u8>(), 0..1_500)) {
        fuzz(&data);
    }

    /// What is cut leaves in one train: all pieces but the last are as large as may be.
    #[test]
    fn pieces_of_a_picture_are_equal(len in 2_000..20_000_usize) {
        let unit = [vec![0x41], vec![3; len]].concat();
        let payload = nal::join(std::iter::once(&unit[..]));
        let packets = packets(Codec::H264, &[], false, &payload, 1_000);
        prop_assert!(packets[..packets.len() - 1].iter().all(|packet| packet.len() == 1_000));
    }
}
