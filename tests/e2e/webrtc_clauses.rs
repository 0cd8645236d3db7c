//! RFC 9725 (WHIP) and draft-ietf-wish-whep-03 (WHEP): what they demand of a server and `webrtc_signalling` does not tell
//! yet, clause by clause. The numbers are those of their sections.

use std::time::Duration;

use str0m::media::Direction;

use crate::support::{
    SOON, Server,
    http::Answer,
    rtc::{Peer, post, request},
    until,
};

const FRAG: &str = "application/trickle-ice-sdpfrag";

/// Both sides: where, and what is offered there.
const SIDES: [(&str, Direction); 2] =
    [("/whip/live/cam", Direction::SendOnly), ("/whep/live/cam", Direction::RecvOnly)];

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.head.field(name).unwrap_or_else(|| panic!("no {name} in {:?}", answer.head))
}

fn offer(direction: Direction) -> String {
    Peer::offer(direction).1
}

/// A session that was made.
fn made(server: &Server, target: &str, sdp: &str) -> Answer {
    let answer = post(server.http(), target, sdp);
    assert_eq!(answer.head.status, 201, "{target}: {}", answer.text());
    answer
}

fn delete(server: &Server, session: &Answer) {
    let answer = request(server.http(), "DELETE", field(session, "location"), &[], "");
    assert_eq!(answer.head.status, 200, "{}", answer.text());
}

fn patch(server: &Server, session: &Answer, tag: &str, body: &str) -> Answer {
    let fields = [("Content-Type", FRAG), ("If-Match", tag)];
    request(server.http(), "PATCH", field(session, "location"), &fields, body)
}

fn sections(sdp: &str) -> Vec<&str> {
    sdp.split("\r\nm=").skip(1).collect()
}

fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn frames(server: &Server) -> u64 {
    server.stream("live/cam").and_then(|stream| stream["frames"].as_u64()).unwrap_or_default()
}

/// WHIP §4.1, WHEP §4.1: "the WHIP endpoints and sessions MUST return a 2xx successful response with no content when a GET
/// request is received".
#[test]
fn what_has_nothing_to_show_answers_get_by_success_without_content() {
    let server = Server::start();
    for (target, direction) in SIDES {
        let session = made(&server, target, &offer(direction));
        for place in [target, field(&session, "location")] {
            for method in ["GET", "HEAD"] {
                let answer = request(server.http(), method, place, &[], "");
                assert_eq!((answer.head.status, answer.body.len()), (204, 0), "{method} {place}");
                assert_eq!(field(&answer, "access-control-allow-origin"), "*");
            }
        }
    }
}

/// WHIP §4.2: "The WHIP endpoint MUST use the recvonly attribute in the SDP answer"; WHEP §4.2.5: sendonly. The client may
/// have said sendrecv.
#[test]
fn media_goes_one_way_whatever_the_client_says() {
    let server = Server::start();
    for (target, direction) in SIDES {
        for sdp in [offer(direction), offer(Direction::SendRecv)] {
            let session = made(&server, target, &sdp);
            let wanted = if target.starts_with("/whip") { "a=recvonly" } else { "a=sendonly" };
            for section in sections(&session.text()) {
                assert!(section.lines().any(|line| line == wanted), "{target}: {wanted}\n{section}");
            }
            delete(&server, &session);
        }
    }
}

/// WHIP §4.2, WHEP §4.3 (RFC 7675 §5.2): a server that ends a session revokes consent at once: it sends nothing any more.
#[test]
fn nothing_is_sent_to_a_session_that_was_ended() {
    let server = Server::start();
    let (mut publisher, _) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(3);
    let (mut viewer, session) = Peer::begin(server.http(), "/whep/live/cam", Direction::RecvOnly);
    let feeding = std::thread::spawn(move || publisher.send_for(75));
    viewer.connect();
    assert!(viewer.run(SOON, |viewer| viewer.frames[1] > 5), "{:?}", viewer.frames);
    assert_eq!(request(server.http(), "DELETE", field(&session, "location"), &[], "").head.status, 200);
    // What was on its way when the answer came.
    viewer.run(Duration::from_millis(100), |_| false);
    viewer.sources.clear();
    viewer.run(Duration::from_secs(1), |_| false);
    assert!(viewer.sources.is_empty(), "media after the end: {:?}", viewer.sources);
    feeding.join().expect("no panic");
}

/// WHIP §4.3.1, WHEP §4.4.1: each ICE session has a strong tag of its own, and DELETE ignores whichever it is given.
#[test]
fn every_session_has_a_tag_and_needs_none_to_end() {
    let server = Server::start();
    let mut tags = Vec::new();
    for (target, direction) in SIDES {
        let session = made(&server, target, &offer(direction));
        let tag = field(&session, "etag").to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "strong and unique: {tag} {tags:?}");
        tags.push(tag);
        let fields = [("If-Match", "\"another\"")];
        let gone = request(server.http(), "DELETE", field(&session, "location"), &fields, "");
        assert_eq!(gone.head.status, 200, "{}", gone.text());
    }
}

/// WHIP §4.3.1, WHEP §4.4.1: another type and a malformed fragment are rejected by 4xx, a missing tag by 428, one that does not
/// match by 412. WHIP §4.3.2, WHEP §4.4.2: candidates are taken by 204 without a tag, and "if the WHIP session does not support a
/// candidate transport or is not able to resolve the connection address, it MUST silently discard the candidate".
#[test]
fn candidates_that_are_of_no_use_are_discarded_without_a_word() {
    let server = Server::start();
    for (target, direction) in SIDES {
        let session = made(&server, target, &offer(direction));
        let tag = field(&session, "etag");
        let frag = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 network-id 1\r\n\
                    a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0\r\n\
                    a=candidate:3 1 udp 2122260223 0a1b2c3d-0000-4000-8000-000000000000.local 50000 typ host\r\n\
                    a=candidate:4 1 sctp 1 198.51.100.2 1 typ host\r\n\
                    a=candidate:5 1 udp 1 203.0.113.9 1000000 typ relay raddr 0.0.0.0 rport 9\r\n\
                    a=candidate:nonsense\r\na=end-of-candidates\r\n";
        let answer = patch(&server, &session, tag, frag);
        assert_eq!((answer.head.status, answer.body.len()), (204, 0), "{target}: {}", answer.text());
        assert!(answer.head.field("etag").is_none(), "{:?}", answer.head);
        let location = field(&session, "location");
        let with = |fields: &[(&str, &str)], body: &str| {
            request(server.http(), "PATCH", location, fields, body).head.status
        };
        assert_eq!(with(&[("Content-Type", FRAG)], frag), 428, "{target}");
        assert_eq!(with(&[("Content-Type", FRAG), ("If-Match", "\"x\"")], frag), 412, "{target}");
        assert_eq!(with(&[("Content-Type", "application/sdp"), ("If-Match", tag)], frag), 415, "{target}");
        assert_eq!(with(&[("Content-Type", FRAG), ("If-Match", tag)], "v=0"), 400, "{target}");
    }
}

/// WHIP §4.3.3, WHEP §4.4.3: other credentials are a restart even with the tag of the present session; its answer has the
/// server's new ones, a new tag, and says of ICE what the first answer said.
#[test]
fn other_credentials_restart_ice_whichever_tag_they_come_with() {
    let server = Server::start();
    for (target, direction) in SIDES {
        for star in [true, false] {
            let (mut peer, session) = Peer::begin(server.http(), target, direction);
            let tag = field(&session, "etag").to_owned();
            let offer = peer.restart().to_sdp_string();
            let frag = format!(
                "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{}\r\n{}\r\n\
                 a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n",
                line(&offer, "a=ice-ufrag:"),
                line(&offer, "a=ice-pwd:"),
            );
            let answer = patch(&server, &session, if star { "*" } else { &tag }, &frag);
            assert_eq!(answer.head.status, 200, "{target}: {}", answer.text());
            assert_eq!(field(&answer, "content-type"), FRAG);
            assert_ne!(field(&answer, "etag"), tag);
            let (before, after) = (session.text(), answer.text());
            for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
                assert_ne!(line(&after, name), line(&before, name), "{target}: {after}");
            }
            let shard = |text: &str| line(text, "a=ice-ufrag:")[12..14].to_owned();
            assert_eq!(shard(&after), shard(&before), "the new name leads to the same shard: {after}");
            for name in ["a=ice-lite", "a=ice-options", "a=ice-pacing"] {
                let of = |text: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
                assert_eq!(of(&after), of(&before), "{target}: {name}");
            }
            assert!(after.contains("a=candidate:") && after.contains("a=end-of-candidates"), "{after}");
            assert_eq!(patch(&server, &session, &tag, "a=end-of-candidates").head.status, 412, "{target}");
            delete(&server, &session);
        }
    }
}

/// WHIP §4.3.3, WHEP §4.4.3: "If the ICE restart request cannot be satisfied […], the resource MUST return an appropriate HTTP
/// error code and MUST NOT terminate the session immediately and keep the existing ICE session".
#[test]
fn a_restart_that_cannot_be_leaves_the_session_as_it_was() {
    let server = Server::start();
    let (mut publisher, session) = Peer::begin(server.http(), "/whip/live/cam", Direction::SendOnly);
    publisher.connect();
    publisher.send_for(3);
    let good = "abcdefghijklmnopqrstuvwx";
    for (ufrag, pwd) in [("abc", good), ("abcd", "tooshort"), ("ab cd", good), ("abcd", "")] {
        let frag = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        assert_eq!(patch(&server, &session, "*", &frag).head.status, 400, "{frag}");
    }
    assert_eq!(patch(&server, &session, "*", "a=ice-ufrag:abcd\r\n").head.status, 400, "half of it");
    let before = frames(&server);
    publisher.send_for(25);
    assert!(frames(&server) > before + 10, "media goes on");
    assert_eq!(patch(&server, &session, field(&session, "etag"), "a=end-of-candidates").head.status, 204);
}

/// WHIP §4.4.1, WHEP §4.5.1: everything is bundled, and each section has rtcp-mux-only beside rtcp-mux.
#[test]
fn everything_shares_one_port() {
    let server = Server::start();
    for (target, direction) in SIDES {
        let sdp = made(&server, target, &offer(direction)).text();
        let mids: Vec<&str> = sections(&sdp).iter().map(|section| &line(section, "a=mid:")[6..]).collect();
        assert_eq!(line(&sdp, "a=group:BUNDLE"), format!("a=group:BUNDLE {}", mids.join(" ")));
        for section in sections(&sdp) {
            for name in ["a=rtcp-mux", "a=rtcp-mux-only"] {
                assert_eq!(
                    section.lines().filter(|line| *line == name).count(),
                    1,
                    "{target}: {name}\n{section}"
                );
            }
        }
    }
}

/// WHEP §4.5.2: all sections of what a player gets are of one stream of media, so that it keeps them together.
#[test]
fn a_viewer_gets_one_stream_of_media() {
    let server = Server::start();
    let sdp = made(&server, "/whep/live/cam", &offer(Direction::RecvOnly)).text();
    let streams: Vec<&str> = sections(&sdp)
        .iter()
        .map(|section| line(section, "a=msid:")[7..].split(' ').next().unwrap_or_default())
        .collect();
    assert!(streams.len() == 2 && streams[0] == streams[1], "{sdp}");
}

/// WHIP §4.4.2: numbers of tracks that are not supported are rejected by 422 or 400.
#[test]
fn more_tracks_than_can_be_are_rejected() {
    let server = Server::start();
    let sdp = offer(Direction::SendOnly);
    let (head, video) = sdp.split_at(sdp.find("m=video").expect("pictures"));
    let mid = line(video, "a=mid:");
    let (mut many, mut mids) = (String::new(), String::new());
    for n in 0..9 {
        many.push_str(&video.replace(mid, &format!("a=mid:v{n}")));
        mids.push_str(&format!(" v{n}"));
    }
    let group = line(head, "a=group:BUNDLE");
    let head = head.replace(group, &group.replace(&format!(" {}", &mid[6..]), &mids));
    let answer = post(server.http(), "/whip/live/cam", &(head + &many));
    assert_eq!(answer.head.status, 422, "{}", answer.text());
    assert!(answer.text().contains("more than 8"), "{}", answer.text());
}

/// WHIP §4.4.3: no partially successful answers: whoever publishes would not notice what is missing.
#[test]
fn a_publisher_is_not_taken_by_half() {
    let server = Server::start();
    let sdp = offer(Direction::SendOnly);
    let deaf = sdp.replace(" opus/48000/2", " speex/16000");
    let blind = sdp.replace(" H26", " X26").replace(" VP", " XP").replace(" AV1", " X1");
    for half in [deaf, blind] {
        let answer = post(server.http(), "/whip/live/cam", &half);
        assert_eq!(answer.head.status, 406, "{}", answer.text());
        assert!(answer.text().contains("no codec in common"), "{}", answer.text());
    }
    let sound = Server::builder().set("webrtc.codecs", "[opus]").start();
    let (mut peer, answer) = Peer::begin(sound.http(), "/whip/live/cam", Direction::SendOnly);
    assert!(answer.text().contains("m=video 0 "), "a server for sound alone says so:\n{}", answer.text());
    // str0m, as a client, minds a refused section that does not explain its format.
    peer.connect();
}

/// WHIP §4.4.4: a client that can only be active finds the server passive.
#[test]
fn a_client_may_insist_on_beginning_the_handshake() {
    let server = Server::start();
    for (target, direction) in SIDES {
        let sdp = offer(direction).replace("a=setup:actpass", "a=setup:active");
        let answer = made(&server, target, &sdp).text();
        assert!(answer.contains("a=setup:passive") && !answer.contains("a=setup:act"), "{answer}");
    }
}

/// WHIP §4.8: "A server accepting a simulcast offer MUST create an answer according to the procedures in Section 5.3.2 of
/// [RFC8853]": the same layers, the other way.
#[test]
fn layers_that_are_offered_are_asked_for() {
    let server = Server::start();
    let sdp = offer(Direction::SendOnly);
    let layered = sdp.trim_end().to_owned()
        + "\r\na=rid:f send\r\na=rid:h send\r\na=rid:q send\r\na=simulcast:send f;h;q\r\n";
    let answer = made(&server, "/whip/live/cam", &layered).text();
    for wanted in ["a=rid:f recv", "a=rid:h recv", "a=rid:q recv", "a=simulcast:recv f;h;q"] {
        assert!(answer.contains(wanted), "{wanted}\n{answer}");
    }
}

/// WHEP §4.2.8: only a server that demands a publisher answers 409; this one lets players wait.
#[test]
fn a_player_may_come_before_anybody_publishes() {
    let server = Server::start();
    made(&server, "/whep/live/nobody", &offer(Direction::RecvOnly));
    until("it waits", || server.stream("live/nobody"));
}
