//! Offers in the forms of many clients, each answered in the form of RFC 8829: as many sections as were offered, in
//! their order and under their names, one codec in each that is taken, port 0 in each that is not.
//!
//! Captured: Chromium's and aiortc's here; OBS's (what can be seen of kevmo314/tinywhip#2, OBS
//! 30.1, and ossrs/srs#4590 has the same lines) from a public test of an SDP parser; GStreamer's from a public log of its signalling server of 2025
//! (webrtcsink, whose sibling whipclientsink is); Firefox's, for WHEP, from a public WHEP client's source. Written by hand after
//! their clients' habits: Larix, pion, Safari, a hardware encoder.

use crate::support::{Server, rtc::post};

/// The form, where it goes, and the payload type that is to be taken of each section.
const OFFERS: [(&str, &str, &str, &[Option<u8>]); 10] = [
    ("chromium", include_str!("testdata/offers/chromium-publish.sdp"), "whip", &[Some(111), Some(102), None]),
    ("OBS", include_str!("testdata/offers/obs-libdatachannel-publish.sdp"), "whip", &[Some(111), Some(96)]),
    ("GStreamer", include_str!("testdata/offers/gstreamer-publish.sdp"), "whip", &[Some(101), Some(96)]),
    ("Larix", include_str!("testdata/offers/larix-publish.sdp"), "whip", &[Some(111), Some(127)]),
    ("pion", include_str!("testdata/offers/pion-publish.sdp"), "whip", &[Some(102), Some(111)]),
    ("aiortc", include_str!("testdata/offers/aiortc-publish.sdp"), "whip", &[Some(96), Some(99)]),
    ("an encoder", include_str!("testdata/offers/hardware-publish.sdp"), "whip", &[Some(8), Some(100), None]),
    ("Firefox", include_str!("testdata/offers/firefox-play.sdp"), "whep", &[Some(109), Some(126)]),
    ("Safari", include_str!("testdata/offers/safari-play.sdp"), "whep", &[Some(111), Some(96)]),
    ("pion", include_str!("testdata/offers/pion-publish.sdp"), "whep", &[Some(102), Some(111)]),
];

fn sections(sdp: &str) -> Vec<&str> {
    sdp.split("\r\nm=").skip(1).collect()
}

fn value<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    section.lines().find_map(|line| line.strip_prefix(name))
}

#[test]
fn every_clients_form_is_answered_section_by_section() {
    let server = Server::start();
    for (n, (who, offer, side, taken)) in OFFERS.into_iter().enumerate() {
        let lines: Vec<&str> = offer.lines().collect();
        for (end, form) in
            [("crlf", lines.join("\r\n") + "\r\n"), ("lf", lines.join("\n")), ("cr", lines.join("\r"))]
        {
            let answer = post(server.http(), &format!("/{side}/live/{n}-{end}"), &form);
            assert_eq!(answer.head.status, 201, "{who}: {}", answer.text());
            let sdp = answer.text();
            let offer = lines.join("\r\n") + "\r\n";
            let (offered, answered) = (sections(&offer), sections(&sdp));
            assert_eq!(answered.len(), offered.len(), "{who}:\n{sdp}");
            let mut bundle = Vec::new();
            for ((offered, answered), pt) in offered.iter().zip(&answered).zip(taken) {
                let words: Vec<&str> = answered.lines().next().unwrap_or_default().split(' ').collect();
                assert_eq!(words[0], offered.split(' ').next().unwrap_or_default(), "{who}: the kind\n{sdp}");
                let mid = value(offered, "a=mid:").expect("a name").trim();
                assert_eq!(value(answered, "a=mid:"), Some(mid), "{who}\n{sdp}");
                match pt {
                    None => assert_eq!(words[1], "0", "{who}: refused\n{sdp}"),
                    Some(pt) => {
                        assert_ne!(words[1], "0", "{who}: taken\n{sdp}");
                        assert_eq!(words[3], pt.to_string(), "{who}\n{sdp}");
                        let wanted = if side == "whip" { "a=recvonly" } else { "a=sendonly" };
                        let both = offered.contains("a=sendrecv");
                        assert!(answered.contains(wanted) || both, "{who}: {wanted}\n{sdp}");
                        assert!(
                            answered.contains("a=rtcp-mux") && answered.contains("a=ice-ufrag:"),
                            "{who}\n{sdp}"
                        );
                        bundle.push(mid);
                    }
                }
            }
            assert!(sdp.contains(&format!("a=group:BUNDLE {}\r\n", bundle.join(" "))), "{who}\n{sdp}");
            let setup = if offer.contains("a=setup:active\r") { "a=setup:passive" } else { "a=setup:" };
            assert!(sdp.contains(setup) && !sdp.contains("a=setup:actpass"), "{who}\n{sdp}");
        }
    }
}
