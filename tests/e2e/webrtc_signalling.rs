//! WebRTC signalling over HTTP: RFC 9725 (WHIP) clause by clause, the same for WHEP, SRS's forms, and what is answered to
//! those who do it wrong.

use serde_json::{Value, json};
use str0m::media::Direction;

use crate::support::{
    Entrance, Fixture, Publisher, Server,
    http::{self, Answer},
    media::Media,
    rtc::{Peer, post, request},
    until,
};

const FRAG: &str = "application/trickle-ice-sdpfrag";

fn offer(direction: Direction) -> String {
    Peer::offer(direction).1
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.head.field(name).unwrap_or_else(|| panic!("no {name} in {:?}", answer.head))
}

/// A refusal carries its status and a sentence in plain words, which any page may read.
fn assert_refused(answer: &Answer, status: u16, word: &str) {
    assert_eq!(answer.head.status, status, "{:?} {}", answer.head, answer.text());
    let text = answer.text();
    assert!(text.contains(' ') && text.contains(word), "a sentence about '{word}': {text:?}");
    assert_eq!(field(answer, "access-control-allow-origin"), "*");
}

fn h264_live(server: &Server, key: &str) -> crate::support::publisher::Running {
    let fixture = Fixture::get(Media::H264Aac);
    let publisher = Publisher::open(server, Entrance::Rtmp, key).expect("the seat is free").run(&fixture);
    until("pictures", || server.stream(key)?.to_string().contains("H264").then_some(()));
    publisher
}

/// RFC 9725 §4.2: 201, the answer as `application/sdp`, a Location for the session, an ETag; §4.3: Accept-Patch;
/// §4.6: Link for each ICE server; §4.4.1 and §4.4.2: everything bundled and multiplexed.
#[test]
fn an_offer_is_answered_by_201_with_all_that_a_client_needs() {
    let server = Server::builder()
        .set("webrtc.ice_servers", "[\"stun:stun.example.net:3478\", \"turn:turn.example.net joe secret\"]")
        .start();
    for (target, direction) in
        [("/whip/live/cam", Direction::SendOnly), ("/whep/live/cam", Direction::RecvOnly)]
    {
        let answer = post(server.http(), target, &offer(direction));
        assert_eq!(answer.head.status, 201, "{}", answer.text());
        assert_eq!(field(&answer, "content-type"), "application/sdp");
        let location = field(&answer, "location");
        let id = location.strip_prefix(&format!("{target}/session-")).expect("a session below its endpoint");
        assert!(id.len() == 32 && id.chars().all(|digit| digit.is_ascii_hexdigit()), "128 bits: {id}");
        let etag = field(&answer, "etag");
        assert!(etag.starts_with('"') && etag.ends_with('"'), "a strong tag: {etag}");
        assert_eq!(field(&answer, "accept-patch"), FRAG);
        assert_eq!(field(&answer, "access-control-expose-headers"), "*");
        let links: Vec<&str> = answer
            .head
            .fields
            .iter()
            .filter(|(name, _)| name == "Link")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(links[0], "<stun:stun.example.net:3478>; rel=\"ice-server\"");
        assert!(links[1].contains("username=\"joe\"; credential=\"secret\""), "{links:?}");
        let sdp = answer.text();
        assert_eq!(sdp.matches("a=rtcp-mux\r\n").count(), 2, "{sdp}");
        assert!(sdp.contains("a=group:BUNDLE") && sdp.contains("a=ice-lite"), "{sdp}");
        assert!(sdp.contains(" 127.0.0.1 ") && sdp.contains(" typ host"), "{sdp}");
    }
}

/// Methods that a resource does not have are 405, and which it has is told. (GET is `webrtc_clauses`' matter.)
#[test]
fn methods_that_a_resource_does_not_have_are_405() {
    let server = Server::start();
    let made = post(server.http(), "/whip/live/cam", &offer(Direction::SendOnly));
    for (target, methods) in [
        ("/whip/live/cam", &["PUT"][..]),
        ("/whep/live/cam", &["PUT"]),
        (field(&made, "location"), &["POST", "PUT"]),
        ("/rtc/v1/whip/?app=live&stream=cam", &["GET", "PUT", "PATCH"]),
    ] {
        for method in methods {
            let answer = http::ask(server.http(), method, target).expect("answered");
            assert_refused(&answer, 405, "not allowed");
            assert!(!field(&answer, "allow").contains(method), "{method} {target}");
        }
    }
}

/// RFC 9725 §4.2: OPTIONS for CORS, with Accept-Post.
#[test]
fn a_page_of_any_origin_may_ask_what_is_allowed() {
    let server = Server::start();
    let made = post(server.http(), "/whip/live/cam", &offer(Direction::SendOnly));
    for (target, method, accepts) in [
        ("/whip/live/cam", "POST", Some("application/sdp")),
        ("/whep/live/cam", "POST", Some("application/sdp")),
        ("/rtc/v1/whip/?app=live&stream=x", "POST", Some("application/sdp")),
        ("/rtc/v1/play/", "POST", Some("application/json")),
        (field(&made, "location"), "PATCH", None),
    ] {
        let fields = [
            ("Origin", "https://page.example"),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization,content-type,if-match"),
        ];
        let answer = request(server.http(), "OPTIONS", target, &fields, "");
        assert_eq!(answer.head.status, 200, "{target}: {:?}", answer.head);
        assert_eq!(field(&answer, "access-control-allow-origin"), "*");
        assert!(field(&answer, "access-control-allow-methods").contains(method), "{target}");
        assert_eq!(field(&answer, "access-control-allow-headers"), "authorization,content-type,if-match");
        if let Some(accepts) = accepts {
            assert_eq!(field(&answer, "accept-post"), accepts, "{target}");
        }
    }
}

#[test]
fn wrong_offers_are_told_what_is_wrong() {
    let server = Server::start();
    let at = |target: &str, sdp: &str| post(server.http(), target, sdp);
    let good = offer(Direction::SendOnly);
    assert_refused(&at("/whip/live/cam", ""), 400, "no SDP");
    assert_refused(&at("/whip/live/cam", "hello there"), 400, "no SDP");
    assert_refused(&at("/whip/live/cam", "v=0\r\ns=-\r\n"), 400, "m=");
    assert_refused(&at("/whip/cam", &good), 400, "names no stream");
    assert_refused(&at("/whip/live/%2e%2e", &good), 400, "names no stream");
    assert_refused(&at("/whip/live/cam", &good.replace("a=ice-ufrag", "a=x")), 422, "ice-ufrag");
    assert_refused(&at("/whip/live/cam", &good.replace("a=fingerprint", "a=x")), 422, "fingerprint");
    assert_refused(&at("/whip/live/cam", &good.replace("a=group", "a=x")), 422, "BUNDLE");
    assert_refused(&at("/whip/live/cam", &good.replace("a=rtcp-mux", "a=x")), 422, "rtcp-mux");
    assert_refused(&at("/whip/live/cam", &good.replace("sha-256 ", "sha-256 zz")), 422, "answered");
    assert_refused(&at("/whip/live/cam", &offer(Direction::RecvOnly)), 422, "sendonly");
    assert_refused(&at("/whep/live/cam", &good), 422, "recvonly");
    let unknown =
        good.replace(" H26", " X26").replace(" VP", " XP").replace(" AV1", " X1").replace(" opus", " x");
    assert_refused(&at("/whip/live/cam", &unknown), 406, "no codec in common");
    let typed = |kind| request(server.http(), "POST", "/whip/live/cam", &[("Content-Type", kind)], &good);
    assert_refused(&typed("application/json"), 415, "application/sdp");
    assert_eq!(field(&typed("text/plain"), "accept-post"), "application/sdp");
    let long = format!("v=0\r\n{}", "a=x\r\n".repeat(100_000));
    let answer = at("/whip/live/cam", &long);
    assert_eq!(answer.head.status, 413, "{}", answer.text());
    assert!(
        server.stream("live/cam").is_none_or(|stream| !stream.to_string().contains("whip")),
        "nobody sits there"
    );
}

#[test]
fn a_taken_key_is_409_whichever_protocol_took_it() {
    let server = Server::start();
    let publisher = h264_live(&server, "live/rtmp");
    let answer = post(server.http(), "/whip/live/rtmp", &offer(Direction::SendOnly));
    assert_refused(&answer, 409, "already published by rtmp");
    publisher.finish();
    let first = post(server.http(), "/whip/live/cam", &offer(Direction::SendOnly));
    assert_eq!(first.head.status, 201);
    assert_refused(&post(server.http(), "/whip/live/cam", &offer(Direction::SendOnly)), 409, "by whip");
    assert!(Publisher::open(&server, Entrance::Rtmp, "live/cam").is_err(), "RTMP is refused as well");
    let gone = request(server.http(), "DELETE", field(&first, "location"), &[], "");
    assert_eq!(gone.head.status, 200, "RFC 9725 section 4.2: DELETE ends the session");
    assert_eq!(post(server.http(), "/whip/live/cam", &offer(Direction::SendOnly)).head.status, 201);
}

#[test]
fn a_viewer_without_the_streams_codec_is_406_and_told_what_there_is() {
    let server = Server::start();
    let publisher = h264_live(&server, "live/cam");
    let vp8 = str0m::Rtc::builder().clear_codecs().enable_vp8(true).enable_opus(true, false);
    let (_, sdp) = Peer::offer_with(Direction::RecvOnly, vp8);
    let answer = post(server.http(), "/whep/live/cam", &sdp);
    assert_refused(&answer, 406, "the stream has H264");
    publisher.finish();
}

/// RFC 9725 §4.3.1 and §4.3.2: PATCH with If-Match; 428 without, 412 with a tag that is none, 204 for candidates.
#[test]
fn candidates_may_come_later() {
    let server = Server::start();
    let made = post(server.http(), "/whip/live/cam", &offer(Direction::SendOnly));
    let (location, etag) = (field(&made, "location"), field(&made, "etag"));
    let frag = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                a=candidate:1 1 udp 2130706431 192.0.2.9 50000 typ host\r\na=end-of-candidates\r\n";
    let patch = |fields: &[(&str, &str)], body: &str| {
        let fields = [fields, &[("Content-Type", FRAG)]].concat();
        request(server.http(), "PATCH", location, &fields, body)
    };
    assert_eq!(patch(&[("If-Match", etag)], frag).head.status, 204);
    assert_refused(&patch(&[], frag), 428, "If-Match");
    assert_refused(&patch(&[("If-Match", "\"other\"")], frag), 412, "another");
    assert_refused(&patch(&[("If-Match", etag)], "hello there"), 400, "fragment");
    let typed = request(
        server.http(),
        "PATCH",
        location,
        &[("Content-Type", "text/plain"), ("If-Match", etag)],
        frag,
    );
    assert_refused(&typed, 415, FRAG);
    assert_eq!(field(&typed, "accept-patch"), FRAG);
    let nobody = location.replace(&location[location.len() - 8..], "00000000");
    let fields = [("Content-Type", FRAG), ("If-Match", etag)];
    assert_refused(&request(server.http(), "PATCH", &nobody, &fields, frag), 404, "no such session");
    assert_refused(&request(server.http(), "DELETE", &nobody, &[], ""), 404, "no such session");
    let elsewhere = location.replace("/whip/", "/whep/");
    assert_refused(&request(server.http(), "DELETE", &elsewhere, &[], ""), 404, "no such session");
    assert_eq!(request(server.http(), "DELETE", location, &[], "").head.status, 200);
    assert_refused(&request(server.http(), "DELETE", location, &[], ""), 404, "no such session");
}

/// RFC 9725 §4.3.3: other credentials with `If-Match: *` restart ICE: 200, the server's new ones, a new tag.
#[test]
fn ice_may_be_restarted_by_patch() {
    let server = Server::start();
    let (mut peer, made) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    peer.connect();
    let (location, etag) = (field(&made, "location"), field(&made, "etag"));
    let offer = peer.restart().to_sdp_string();
    let line = |name: &str| offer.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
    let frag = format!("{}\r\n{}\r\n", line("a=ice-ufrag"), line("a=ice-pwd"));
    let fields = [("Content-Type", FRAG), ("If-Match", "*")];
    let answer = request(server.http(), "PATCH", location, &fields, &frag);
    assert_eq!(answer.head.status, 200, "{}", answer.text());
    assert_eq!(field(&answer, "content-type"), FRAG);
    let tag = field(&answer, "etag");
    assert_ne!(tag, etag);
    let text = answer.text();
    assert!(
        text.contains("a=ice-ufrag:") && text.contains("a=ice-pwd:") && text.contains("a=candidate:"),
        "{text}"
    );
    let old = [("Content-Type", FRAG), ("If-Match", etag)];
    assert_refused(
        &request(server.http(), "PATCH", location, &old, "a=end-of-candidates\r\n"),
        412,
        "another",
    );
    let new = [("Content-Type", FRAG), ("If-Match", tag)];
    assert_eq!(request(server.http(), "PATCH", location, &new, "a=end-of-candidates\r\n").head.status, 204);
    // The peer puts the new credentials where the old ones stood in the answer, as RFC 9725 has it, and goes on.
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a value").to_owned();
    let before = made.text();
    let replaced: String = before
        .lines()
        .map(|line| match line {
            line if line.starts_with("a=ice-ufrag:") => format!("a=ice-ufrag:{}\r\n", value("a=ice-ufrag:")),
            line if line.starts_with("a=ice-pwd:") => format!("a=ice-pwd:{}\r\n", value("a=ice-pwd:")),
            line => format!("{line}\r\n"),
        })
        .collect();
    peer.accept(&replaced);
    peer.send_for(10);
    let frames =
        || server.stream("live/cam").and_then(|stream| stream["frames"].as_u64()).unwrap_or_default();
    let before = frames();
    peer.send_for(40);
    assert!(frames() > before, "media goes on over the restarted ICE");
}

#[test]
fn srs_forms_are_answered_on_both_ports() {
    let server = Server::start();
    for addr in [server.http(), server.api()] {
        let answer =
            request(addr, "POST", "/rtc/v1/whip/?app=live&stream=srs", &[], &offer(Direction::SendOnly));
        assert_eq!(answer.head.status, 201, "{}", answer.text());
        assert_eq!(field(&answer, "content-type"), "application/sdp");
        let location = field(&answer, "location");
        assert!(location.starts_with("/rtc/v1/whip/?action=delete&token="), "{location}");
        for (target, direction) in [
            ("/rtc/v1/whep/?app=live&stream=srs", Direction::RecvOnly),
            ("/rtc/v1/whip-play/?app=live&stream=srs", Direction::RecvOnly),
            ("/rtc/v1/whip?app=live&stream=srs&action=play", Direction::RecvOnly),
        ] {
            let answer = request(addr, "POST", target, &[], &offer(direction));
            assert_eq!(answer.head.status, 201, "{target}: {}", answer.text());
            let gone = request(addr, "DELETE", field(&answer, "location"), &[], "");
            assert_eq!((gone.head.status, gone.body.len()), (200, 0), "{target}");
        }
        let (before, after) = location.split_once("token=").expect("a token");
        let wrong = format!("{before}token=00000000000000000000000000000000{}", &after[32..]);
        assert_eq!(request(addr, "DELETE", &wrong, &[], "").head.status, 404);
        let wrong = format!("{}x", location);
        assert_eq!(
            request(addr, "DELETE", &wrong, &[], "").head.status,
            404,
            "the session's name counts, too"
        );
        assert_eq!(request(addr, "DELETE", location, &[], "").head.status, 200);
    }
}

#[test]
fn srs_json_has_status_200_and_a_code() {
    let server = Server::start();
    let ask = |path: &str, body: Value| http::json(server.api(), "POST", path, &body).expect("JSON");
    let url = "webrtc://127.0.0.1/live/json?secret=x";
    let body = |direction| json!({"api": "x", "tid": "1", "streamurl": url, "clientip": null, "sdp": offer(direction)});
    let answer = ask("/rtc/v1/publish/", body(Direction::SendOnly));
    assert_eq!(answer["code"], 0, "{answer}");
    assert!(answer["sdp"].as_str().is_some_and(|sdp| sdp.starts_with("v=0\r\n")), "{answer}");
    let names = answer["sessionid"].as_str().expect("a session's name");
    assert!(names.split(':').count() == 2 && answer["pid"].is_string(), "{answer}");
    assert_eq!(ask("/rtc/v1/play/", body(Direction::RecvOnly))["code"], 0);
    assert_eq!(ask("/rtc/v1/play", body(Direction::RecvOnly))["code"], 0, "without its last slash, too");
    assert_eq!(ask("/rtc/v1/publish/", body(Direction::SendOnly))["code"], 400, "taken");
    assert_eq!(ask("/rtc/v1/publish/", json!({"sdp": "v=0"}))["code"], 400);
    assert_eq!(ask("/rtc/v1/play/", json!("garbage"))["code"], 400);
}

#[test]
fn candidates_of_the_query_and_the_configuration_are_told() {
    let server = Server::builder().set("webrtc.candidates", "[203.0.113.7, \"203.0.113.8:9000\"]").start();
    let target = "/whip/live/cam?eip=198.51.100.4&candidate=198.51.100.5:7000";
    let sdp = post(server.http(), target, &offer(Direction::SendOnly)).text();
    for address in ["203.0.113.7 ", "203.0.113.8 900", "198.51.100.4 ", "198.51.100.5 7000 "] {
        assert!(sdp.contains(&format!(" {address}")), "{address}:\n{sdp}");
    }
}

#[test]
fn a_server_without_webrtc_has_no_such_paths() {
    let server = Server::builder().set("webrtc.enable", "false").start();
    let answer = post(server.http(), "/whip/live/cam", &offer(Direction::SendOnly));
    assert!(matches!(answer.head.status, 404 | 405), "{:?}", answer.head);
}

/// More sessions than a shard may have are told to come later.
#[test]
fn too_many_sessions_are_503() {
    let server = Server::builder().set("shards", 1).set("webrtc.sessions_max", 2).start();
    for name in ["a", "b"] {
        assert_eq!(
            post(server.http(), &format!("/whip/live/{name}"), &offer(Direction::SendOnly)).head.status,
            201
        );
    }
    let answer = post(server.http(), "/whip/live/c", &offer(Direction::SendOnly));
    assert_refused(&answer, 503, "as many WebRTC sessions");
    assert!(answer.head.field("retry-after").is_some());
}
