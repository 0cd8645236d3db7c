//! What clients send, and what becomes of it.

use bytes::BytesMut;

use super::*;
use crate::protocols::http::{Limits, Request, parse};

fn request(head: &str) -> Request {
    let mut wire = BytesMut::from(
        format!("{head}\r\nHost: h\r\n\r\n").replace('\n', "\r\n").replace("\r\r", "\r").as_str(),
    );
    parse(&mut wire, &Limits::default()).expect("a request").expect("a whole one")
}

fn open(head: &str, body: &str) -> Result<Call, CallError> {
    let request = request(head);
    let door = Door::at(request.target.path()).expect("a door");
    door.open(&request, body.as_bytes())
}

#[test]
fn every_form_names_its_stream_and_side() {
    let sdp = "Content-Type: application/sdp";
    for (head, side, key) in [
        (format!("POST /whip/live/cam HTTP/1.1\n{sdp}"), Side::Publish, "live/cam"),
        (format!("POST /whep/a/b/c?token=x HTTP/1.1\n{sdp}; charset=utf-8"), Side::Play, "a/b/c"),
        (format!("POST /whip?app=live&stream=cam HTTP/1.1\n{sdp}"), Side::Publish, "live/cam"),
        ("POST /rtc/v1/whip/?app=live&stream=cam HTTP/1.1".to_owned(), Side::Publish, "live/cam"),
        ("POST /rtc/v1/whip/ HTTP/1.1".to_owned(), Side::Publish, "live/livestream"),
        ("POST /rtc/v1/whip/?app=a&stream=b&action=play HTTP/1.1".to_owned(), Side::Play, "a/b"),
        ("POST /rtc/v1/whep?app=a&stream=b HTTP/1.1".to_owned(), Side::Play, "a/b"),
        ("POST /rtc/v1/whip-play/?app=a&stream=b HTTP/1.1".to_owned(), Side::Play, "a/b"),
    ] {
        let call = open(&head, "v=0").unwrap_or_else(|error| panic!("{head}: {error}"));
        assert_eq!((call.door.side, call.key.as_str()), (side, key), "{head}");
        assert_eq!(call.verb, Verb::Offer("v=0".to_owned()));
    }
}

#[test]
fn srs_json_names_its_stream_in_the_body() {
    let body = r#"{"api":"http://h","tid":"1","streamurl":"webrtc://h:1985/live/cam?token=t","clientip":null,"sdp":"v=0"}"#;
    let call = open("POST /rtc/v1/publish/ HTTP/1.1", body).unwrap();
    assert_eq!((call.key.as_str(), call.query.as_str()), ("live/cam", "token=t"));
    for bad in ["", "{}", r#"{"sdp":"v=0"}"#, r#"{"sdp":"v=0","streamurl":"webrtc://h"}"#, "[1]"] {
        assert!(open("POST /rtc/v1/play/ HTTP/1.1", bad).is_err(), "{bad}");
    }
}

#[test]
fn srs_clients_may_choose_this_sides_credentials_and_tell_their_address() {
    let open_with = |path: &str, query: &str, body: &str| {
        open(&format!("POST {path}?app=a&stream=b&{query} HTTP/1.1"), body)
    };
    let pwd = "0123456789abcdefghijkl";
    let json = r#"{"streamurl":"webrtc://h/a/b","clientip":"203.0.113.9","sdp":"v=0"}"#;
    for (path, body) in [("/rtc/v1/whip/", "v=0"), ("/rtc/v1/whep/", "v=0"), ("/rtc/v1/play/", json)] {
        let call = open_with(path, &format!("ice-ufrag=ab%2Bd&ice-pwd={pwd}"), body).unwrap();
        assert_eq!(call.credentials, Some(("ab+d".to_owned(), pwd.to_owned())), "{path}");
        for wrong in [
            "ice-ufrag=abcd".to_owned(),
            format!("ice-pwd={pwd}"),
            format!("ice-ufrag=abc&ice-pwd={pwd}"),
            format!("ice-ufrag={}&ice-pwd={pwd}", "x".repeat(33)),
            format!("ice-ufrag=abcd&ice-pwd={}", &pwd[1..]),
            format!("ice-ufrag=abcd&ice-pwd={}", "x".repeat(33)),
            format!("ice-ufrag=ab%0Ad&ice-pwd={pwd}"),
        ] {
            let error = open_with(path, &wrong, body).unwrap_err();
            assert!(matches!(error, CallError::Credentials(_)), "{wrong}: {error}");
        }
        assert_eq!(open_with(path, "ice-ufrag=&ice-pwd=", body).unwrap().credentials, None);
    }
    let call = open_with("/rtc/v1/publish/", "", json).unwrap();
    assert_eq!(call.client_ip, Some("203.0.113.9".parse().unwrap()));
    for none in ["null", "\"\"", "7", "\"somewhere\""] {
        let call = open_with("/rtc/v1/publish/", "", &json.replace("\"203.0.113.9\"", none)).unwrap();
        assert_eq!(call.client_ip, None, "{none}");
    }
    let head = format!("POST /whip/a/b?ice-ufrag=abcd&ice-pwd={pwd} HTTP/1.1\nContent-Type: application/sdp");
    assert_eq!(open(&head, "v=0").unwrap().credentials, None, "it is SRS's form that has them");
}

#[test]
fn a_session_is_one_level_below_its_endpoint() {
    let id = "0123456789abcdef0123456789abcdef";
    let head = format!("DELETE /whip/live/cam/session-{id} HTTP/1.1");
    let call = open(&head, "").unwrap();
    assert_eq!(call.verb, Verb::Delete { session: id.to_owned(), also: None });
    assert_eq!(call.location(id, ""), format!("/whip/live/cam/session-{id}"));
    let head = format!("PATCH /whip/live/cam/session-{id} HTTP/1.1");
    assert_eq!(open(&head, ""), Err(CallError::MediaType("application/trickle-ice-sdpfrag")));
    let head = format!("{head}\nContent-Type: application/trickle-ice-sdpfrag\nIf-Match: \"e\"");
    let call = open(&head, "a=end-of-candidates").unwrap();
    let frag = "a=end-of-candidates".to_owned();
    let verb = Verb::Patch { session: id.to_owned(), if_match: Some("\"e\"".to_owned()), frag };
    assert_eq!(call.verb, verb);
    assert!(matches!(
        open(&format!("POST /whip/live/cam/session-{id} HTTP/1.1"), ""),
        Err(CallError::Method(_))
    ));
    assert_eq!(open("DELETE /whip/live/cam HTTP/1.1", ""), Err(CallError::NoSession));
}

#[test]
fn what_names_no_stream_or_has_another_type_is_told_so() {
    assert!(matches!(
        open("POST /whip/cam HTTP/1.1\nContent-Type: application/sdp", ""),
        Err(CallError::Path(_))
    ));
    assert!(matches!(open("POST /whip/live/cam HTTP/1.1", "v=0"), Err(CallError::MediaType(_))));
    assert!(matches!(open("PUT /whip/live/cam HTTP/1.1", ""), Err(CallError::Method(ENDPOINT_METHODS))));
}

const CHROME: &str = include_str!("testdata/chromium-publish.sdp");

#[test]
fn a_browsers_offer_is_distilled_and_its_answer_completed() {
    let offer = Offer::parse(CHROME).unwrap();
    assert_eq!(offer.media().len(), 3);
    let h264 = offer.media()[1].codecs.iter().find(|codec| codec.name == "h264").unwrap().clone();
    assert!(h264.rtx.is_some() && h264.parameter("profile-level-id").is_some());
    let opus = offer.media()[0].codecs[0].clone();
    assert_eq!((opus.name.as_str(), opus.clock, opus.channels), ("opus", 48_000, 2));
    let chosen = [Some(Chosen { codec: opus }), Some(Chosen { codec: h264 }), None];
    let clean = offer.distil(Side::Publish, &chosen, None);
    assert_eq!(Offer::parse(&clean).unwrap().media().len(), 2);
    assert!(!clean.contains("application"), "{clean}");
    let answer = offer.complete(&clean, &chosen);
    assert_eq!(answer.matches("\r\nm=").count(), 3);
    assert!(answer.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel"), "{answer}");
    // What is refused says what its format means, as some clients want it.
    let answer = offer.complete(&clean, &[chosen[0].clone(), None, None]);
    let refused = answer.split("\r\nm=").find(|section| section.starts_with("video 0 ")).unwrap();
    let format = refused.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert!(refused.contains(&format!("a=rtpmap:{format} ")), "{refused}");
}

#[test]
fn an_offer_that_cannot_be_answered_is_told_why() {
    for (text, error) in [
        ("", OfferError::NotSdp),
        ("{\"sdp\": 1}", OfferError::NotSdp),
        ("v=0\ns=-\n", OfferError::NoMedia),
        ("v=0\nm=audio 9 X 0\n", OfferError::NoIce),
        ("v=0\nm=audio 9 X 0\na=ice-ufrag:a\na=ice-pwd:b\n", OfferError::NoFingerprint),
        ("v=0\nm=audio 9 X 0\nm=video 9 X 96\n", OfferError::NoBundle),
    ] {
        assert_eq!(Offer::parse(text).err(), Some(error), "{text:?}");
    }
}

#[test]
fn a_fragment_has_candidates_or_credentials() {
    let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\na=end-of-candidates\r\n";
    let frag = Frag::parse(text).unwrap();
    assert_eq!(frag.credentials.unwrap().0, "EsAw");
    assert_eq!(frag.candidates.len(), 1);
    assert_eq!(Frag::parse("hello"), None);
    for bad in [
        "a=ice-ufrag:EsAw",
        "a=ice-ufrag:EsA\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        "a=ice-ufrag:EsAw\na=ice-pwd:short",
    ] {
        assert_eq!(Frag::parse(bad), None, "{bad}");
    }
}

#[test]
fn nothing_makes_it_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let seeds = [CHROME, "a=ice-ufrag:a\r\na=ice-pwd:b\r\na=candidate:1 1 udp 1 1.1.1.1 1 typ host"];
    for round in 0..4_000 {
        let mut wire = seeds[round % 2].as_bytes().to_vec();
        for _ in 0..random.usize(0..6) {
            let at = random.usize(0..wire.len());
            match random.u8(0..3) {
                0 => wire[at] = random.u8(..),
                1 => wire.truncate(at.max(1)),
                _ => drop(wire.drain(at..(at + random.usize(0..40)).min(wire.len()))),
            }
            if wire.is_empty() {
                wire.push(0);
            }
        }
        fuzz(&wire);
    }
}
