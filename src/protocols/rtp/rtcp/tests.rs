//! Control packets of known bytes, round trips, and whatever a hostile peer may send.

use proptest::prelude::*;

use super::*;

fn built(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    assert_eq!(out.len() % 4, 0);
    out
}

#[test]
fn a_sender_report_with_its_description_is_these_bytes() {
    let report = SenderReport {
        ssrc: 0x0102_0304,
        ntp: 0x83aa_7e80_8000_0000,
        timestamp: 90_000,
        packets: 2,
        bytes: 300,
    };
    let compound = built(|out| {
        sender_report(&report, out);
        sdes_cname(0x0102_0304, "ab", out);
    });
    let expected: [u8; 44] = [
        0x80, 200, 0, 6, 1, 2, 3, 4, 0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0, 0, 1, 0x5f, 0x90, 0, 0, 0, 2, 0,
        0, 1, 0x2c, 0x81, 202, 0, 3, 1, 2, 3, 4, 1, 2, b'a', b'b', 0, 0, 0, 0,
    ];
    assert_eq!(compound, expected);
    assert_eq!(parse(&compound).collect::<Vec<_>>(), [Packet::SenderReport(report, Blocks(&[]))]);
}

#[test]
fn reports_requests_and_goodbyes_survive_the_round_trip() {
    let block = ReportBlock {
        ssrc: 7,
        fraction_lost: 128,
        lost: -5,
        highest: 70_000,
        jitter: 30,
        last_sr: 0xaabb_ccdd,
        delay: 65_536,
    };
    let compound = built(|out| {
        receiver_report(1, &[block, ReportBlock { lost: 1 << 22, ..block }], out);
        pli(1, 7, out);
        fir(1, 7, 9, out);
        remb(1, 2_500_000, &[7, 8], out);
        bye(&[7, 8], out);
    });
    let mut parts = parse(&compound);
    let Some(Packet::ReceiverReport(1, blocks)) = parts.next() else { panic!("no report") };
    assert_eq!(blocks.collect::<Vec<_>>(), [block, ReportBlock { lost: 1 << 22, ..block }]);
    assert_eq!(parts.next(), Some(Packet::Pli { media: 7 }));
    assert_eq!(parts.next(), Some(Packet::Fir { media: 7, request: 9 }));
    let Some(Packet::Remb { bitrate }) = parts.next() else { panic!("no estimate") };
    assert!((2_499_900..=2_500_000).contains(&bitrate), "{bitrate}");
    let Some(Packet::Bye(sources)) = parts.next() else { panic!("no goodbye") };
    assert_eq!(sources.collect::<Vec<_>>(), [7, 8]);
    assert_eq!(parts.next(), None);
}

#[test]
fn lost_packets_are_named_in_pairs() {
    let lost = [65_530, 65_531, 3, 10, 11, 28, 300];
    let wire = built(|out| nack(1, 2, lost, out));
    assert_eq!(wire.len(), 12 + 4 * 4, "65530 and the 16 after it, 10 and those after it, 28, 300");
    let Some(Packet::Nack { media: 2, lost: named }) = parse(&wire).next() else { panic!("no NACK") };
    assert_eq!(named.collect::<Vec<_>>(), lost);
}

#[test]
fn feedback_as_chromium_writes_it_is_understood() {
    // Base 5, seven packets; a run of two small deltas, then a vector of one bit each: 1 0 1 1 0 ….
    let body = [
        0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 7, 0, 0, 2, 3, 0x20, 2, 0xac, 0, 4, 8, 12, 16, 20,
        0, 0, 0,
    ];
    let mut body = body.to_vec();
    body[3] = (body.len() / 4 - 1) as u8;
    let Some(Packet::Twcc(feedback)) = parse(&body).next() else { panic!("no feedback") };
    assert_eq!((feedback.base, feedback.count, feedback.reference, feedback.number), (5, 7, 2, 3));
    let got: Vec<_> = feedback.arrivals().map(|arrival| (arrival.sequence, arrival.at)).collect();
    let at = |steps: i64| Some(128_000 + steps * 250);
    assert_eq!(
        got,
        [(5, at(4)), (6, at(12)), (7, at(24)), (8, None), (9, at(40)), (10, at(60)), (11, None)],
        "{got:?}"
    );
}

/// Ten parts of forty bytes would be six hundred thousand steps.
#[test]
fn feedback_about_more_packets_than_anybody_sent_is_not_walked() {
    let mut body =
        vec![0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0xff, 0xff, 0, 0, 2, 3, 0x1f, 0xff, 0x1f, 0xff];
    assert!(!parse(&body).any(|packet| matches!(packet, Packet::Twcc(_))));
    body[14..16].copy_from_slice(&2_048u16.to_be_bytes());
    assert!(parse(&body).any(|packet| matches!(packet, Packet::Twcc(_))));
}

proptest! {
    #[test]
    fn feedback_survives_the_round_trip(
        base: u16,
        start in 0..1_000_000_000_i64,
        steps in prop::collection::vec(prop::option::weighted(0.8, -2_000..30_000_i64), 1..200),
    ) {
        let mut at = start / 250 * 250;
        let arrivals: Vec<Arrival> = steps
            .iter()
            .enumerate()
            .map(|(n, step)| {
                let sequence = base.wrapping_add(n as u16);
                Arrival { sequence, at: step.map(|step| { at += step * 250; at }) }
            })
            .collect();
        let mut writer = FeedbackWriter::default();
        prop_assert!(arrivals.iter().all(|arrival| writer.push(*arrival)));
        let mut wire = Vec::new();
        writer.write(1, 2, 7, &mut wire);
        let Some(Packet::Twcc(feedback)) = parse(&wire).next() else { panic!("no feedback") };
        prop_assert_eq!(feedback.arrivals().collect::<Vec<_>>(), arrivals);
    }

    #[test]
    fn mutated_compounds_are_walked_to_an_end(mut noise in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
        let mut wire = Vec::new();
        nack(1, 2, [1, 2, 900], &mut wire);
        fir(1, 2, 3, &mut wire);
        wire.truncate(cut);
        wire.append(&mut noise);
        crate::protocols::rtp::fuzz(&wire);
        prop_assert!(parse(&wire).count() <= wire.len());
    }
}
