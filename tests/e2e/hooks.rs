//! Hooks: a backend that hears of everybody in SRS's words and decides about them, and what clients see of a backend that says
//! no, is slow, is dead or speaks nonsense.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use str0m::media::Direction;

use crate::{
    support::{
        Entrance, Fixture, Path, Player, Publisher, SOON, Server,
        backend::{Backend, Call, dead, says},
        flv, http,
        media::Media,
        rtc::{Peer, post},
        rtmp::{Client, socket},
        server::Builder,
        until, ws,
    },
    tls::certificate,
};

const ASKED: [&str; 3] = ["on_connect", "on_publish", "on_play"];
const ALL: [&str; 6] = ["on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop"];

/// A server that calls `url` for these actions.
fn calling(actions: &[&str], url: &str) -> Builder {
    actions.iter().fold(Server::builder(), |builder, action| builder.set(&format!("hooks.{action}"), url))
}

/// The keys of a body in the order in which they came.
fn keys(call: &Call) -> String {
    let mut found: Vec<(usize, &String)> = call
        .body
        .as_object()
        .expect("an object")
        .keys()
        .map(|key| (call.text.find(&format!("\"{key}\":")).expect("it came"), key))
        .collect();
    found.sort();
    found.into_iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(" ")
}

/// Publishers and players of every protocol: each is announced, granted and said goodbye to by the same id, in SRS's bodies.
#[test]
fn a_backend_hears_of_everybody_in_srs_words() {
    let fixture = Fixture::get(Media::H264Aac);
    let backend = Backend::kind();
    let mut server =
        calling(&ALL, &backend.url("/hook?key=1")).grace("1s").set("webrtc.connect_timeout", "3s").start();
    let (mut client, status) =
        Client::publish(server.rtmp(), "live", "cam?token=x&y=1").expect("the backend says yes");
    assert_eq!(status.code(), "NetStream.Publish.Start");
    client.send_tag(&fixture.tags[0]).expect("sent");

    let connect = backend.about("on_connect").remove(0);
    assert_eq!(
        keys(&connect),
        "server_id service_id action client_id ip vhost app stream param tcUrl pageUrl"
    );
    assert_eq!(
        (connect.path.as_str(), connect.get("app"), connect.get("stream")),
        ("/hook?key=1", "live", "")
    );
    assert!(connect.head.contains("application/json"), "{}", connect.head);
    let publish = backend.wait("on_publish", "cam");
    assert_eq!(
        keys(&publish),
        "server_id service_id action client_id ip vhost app tcUrl stream param stream_url stream_id"
    );
    assert_eq!(publish.get("client_id"), connect.get("client_id"));
    for (key, value) in [
        ("ip", "127.0.0.1"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "cam"),
        ("param", "?token=x&y=1"),
        ("stream_url", "/live/cam"),
        ("tcUrl", &format!("rtmp://{}/live", server.rtmp())),
    ] {
        assert_eq!(publish.get(key), value, "{key}");
    }
    assert!(publish.get("stream_id").starts_with("vid-") && publish.get("server_id").starts_with("vid-"));
    server.wait_for_line(&[publish.get("client_id"), "publishes by RTMP"]);

    // Players: RTMP, FLV, WebSocket, WHEP.
    let fields = format!("Host: {}\r\nReferer: http://page/\r\n", server.http());
    let flv = http::open(server.http(), &format!("GET /live/cam.flv?a=b HTTP/1.1\r\n{fields}\r\n"));
    let play = backend.wait("on_play", "cam");
    assert_eq!(
        keys(&play),
        "server_id service_id action client_id ip vhost app stream tcUrl param pageUrl stream_url stream_id"
    );
    assert_eq!((play.get("param"), play.get("pageUrl")), ("?a=b", "http://page/"));
    assert_eq!(play.get("tcUrl"), "rtmp://127.0.0.1/live");
    let others =
        [Path::Rtmp, Path::WsUpgrade, Path::WsPlay].map(|path| Player::open(&server, path, "live/cam"));
    until("the other players", || (backend.about("on_play").len() == 4).then_some(()));
    let (_viewer, _) = Peer::begin(server.http(), "/whep/live/cam?x=1", Direction::RecvOnly);
    let whep =
        until("the viewer", || backend.about("on_play").into_iter().find(|call| call.get("param") == "x=1"));
    server.wait_for_line(&[whep.get("client_id"), "plays by WebRTC"]);
    // A look is no play.
    http::ask(server.http(), "HEAD", "/live/cam.flv").expect("answered");
    assert_eq!(backend.about("on_play").len(), 5);

    // Publishers by WebSocket and WHIP, and by SRS's JSON.
    let page = Publisher::open(&server, Entrance::Ws, "live/page").expect("the backend says yes");
    assert_eq!(backend.wait("on_publish", "page").get("param"), "?app=live&stream=page");
    let (_whip, _) = Peer::begin(server.http(), "/whip/live/phone?token=t", Direction::SendOnly);
    assert_eq!(backend.wait("on_publish", "phone").get("param"), "token=t");
    let body = json!({
        "sdp": Peer::offer(Direction::SendOnly).1,
        "streamurl": "webrtc://host/live/sdk?token=t",
    });
    let answer = http::json(server.api(), "POST", "/rtc/v1/publish/", &body).expect("answered");
    assert_eq!(answer["code"], 0, "{answer}");
    assert_eq!(backend.wait("on_publish", "sdk").get("param"), "?token=t&upstream=rtc");

    // Goodbyes.
    drop(flv);
    let stop = backend.wait("on_stop", "cam");
    assert_eq!(
        keys(&stop),
        "server_id service_id action client_id ip vhost app tcUrl stream param stream_url stream_id"
    );
    assert_eq!(stop.get("client_id"), play.get("client_id"));
    drop(client);
    let unpublish = backend.wait("on_unpublish", "cam");
    assert_eq!(unpublish.get("client_id"), publish.get("client_id"));
    assert_eq!(keys(&unpublish), keys(&publish));
    let close = until("on_close", || {
        backend.about("on_close").into_iter().find(|call| call.get("client_id") == publish.get("client_id"))
    });
    assert_eq!(keys(&close), "server_id service_id action client_id ip vhost app send_bytes recv_bytes");
    assert!(close.body["recv_bytes"].as_u64().is_some_and(|bytes| bytes > 3_000), "{}", close.text);
    assert!(close.body["send_bytes"].as_u64().is_some_and(|bytes| bytes > 3_000), "{}", close.text);
    page.finish();
    backend.wait("on_unpublish", "page");
    drop(others);
    // Players left, or their stream ended: WHEP's, too.
    until("all stops", || (backend.about("on_stop").len() == 5).then_some(()));
    // The end of the server is an end for those who are there, and it is told.
    server.stop_within(SOON);
    until("the last publishers", || (backend.about("on_unpublish").len() == 4).then_some(()));
    let closes = backend.about("on_close").len();
    assert_eq!(closes, backend.about("on_connect").len());
}

/// What each client hears, in the words of its protocol, when it is turned away: the status for HTTP, a word of RTMP's sentence.
fn everybody_is_turned_away(server: &Server, status: u16, words: &str) {
    let error = Publisher::open(server, Entrance::Rtmp, "live/no").err().expect("refused").to_string();
    assert!(error.starts_with("NetStream.Publish.Denied: ") && error.contains(words), "{error}");
    let mut player = Client::play(server.rtmp(), "live", "no").expect("the connection is taken");
    let heard = player.status().expect("it is told");
    assert!(heard.code().starts_with("NetStream.Play."), "{heard:?}");
    assert!(heard.description().contains(words), "{heard:?}");
    let answer = http::ask(server.http(), "GET", "/live/no.flv").expect("answered");
    assert_eq!(answer.head.status, status, "{}", answer.text());
    assert!(answer.text().contains(words), "{}", answer.text());
    for target in ["/live/no.flv", "/play?app=live&stream=no", "/publish?app=live&stream=no"] {
        let wire = Box::new(socket(server.ws()).expect("the server listens"));
        let error = ws::open(wire, server.ws(), target).err().expect("refused").to_string();
        assert!(error.starts_with(&status.to_string()) && error.contains(words), "{target}: {error}");
    }
    for (target, direction) in
        [("/whip/live/no", Direction::SendOnly), ("/whep/live/no", Direction::RecvOnly)]
    {
        let answer = post(server.http(), target, &Peer::offer(direction).1);
        assert_eq!(answer.head.status, status, "{target}: {}", answer.text());
        assert!(answer.text().contains(words), "{target}: {}", answer.text());
        let retry = answer.head.field("retry-after").is_some();
        assert_eq!(retry, status == 503, "only silence may be over soon");
    }
    let body = json!({ "sdp": Peer::offer(Direction::RecvOnly).1, "streamurl": "webrtc://host/live/no" });
    let answer = http::json(server.api(), "POST", "/rtc/v1/play/", &body).expect("answered");
    assert_eq!(answer["code"], 400, "{answer}");
    assert!(server.stream("live/no").is_none(), "nobody came to it");
}

#[test]
fn a_no_reaches_each_client_in_its_words() {
    let backend = Backend::start(|_| says("200 OK", r#"{"code":1}"#));
    let mut server = calling(&ASKED[1..], &backend.url("/")).start();
    everybody_is_turned_away(&server, 403, "hook says no");
    server.assert_unhurt();

    let mut server = calling(&ASKED[..1], &backend.url("/")).start();
    let error = Publisher::open(&server, Entrance::Rtmp, "live/no").err().expect("refused").to_string();
    assert!(
        error.contains("NetConnection.Connect.Rejected") && error.contains("on_connect hook says no"),
        "{error}"
    );
    let open = Publisher::open(&server, Entrance::Ws, "live/yes").expect("WebSockets do not say hello");
    open.finish();
    assert_eq!(backend.about("on_close").len(), 0, "who was not let in has nothing to close");
    server.assert_unhurt();
}

/// Slow beyond the time-out, dead, or torn: no answer. Nonsense of every kind: no.
#[test]
fn silence_is_what_the_operator_says_and_nonsense_is_no() {
    let slow = Backend::slow(Duration::from_secs(20));
    let torn = Backend::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n0".to_owned());
    for url in [slow.url("/"), dead(), torn.url("/")] {
        let mut server = calling(&ASKED[1..], &url).set("hooks.timeout", "300ms").start();
        everybody_is_turned_away(&server, 503, "does not answer");
        server.assert_unhurt();
    }
    let mad = Backend::start(|call| match call.path.as_str() {
        "/500" => says("500 Internal Server Error", "0"),
        "/empty" => says("200 OK", ""),
        _ => says("200 OK", "<html>it works!</html>"),
    });
    for path in ["/500", "/empty", "/html"] {
        // Whoever answers nonsense has answered.
        let mut server = calling(&ASKED[1..], &mad.url(path)).set("hooks.on_error", "allow").start();
        everybody_is_turned_away(&server, 403, "hook says no");
        server.assert_unhurt();
    }
    let fixture = Fixture::get(Media::H264Aac);
    let server = calling(&ASKED, &dead()).set("hooks.on_error", "allow").start();
    let _publisher =
        Publisher::open(&server, Entrance::Rtmp, "live/cam").expect("it is let in").run(&fixture);
    for path in Path::ALL {
        Player::open(&server, path, "live/cam").wait_start();
    }
    let (_viewer, answer) = Peer::begin(server.http(), "/whep/live/cam", Direction::RecvOnly);
    assert_eq!(answer.head.status, 201);
}

/// A second publisher is asked about, let in by the backend and finds the seat taken: the backend hears of both ends.
#[test]
fn every_yes_is_followed_by_exactly_one_end() {
    let backend = Backend::kind();
    let mut server = calling(&ALL, &backend.url("/")).start();
    let first = Publisher::open(&server, Entrance::Rtmp, "live/cam").expect("the seat is free");
    assert!(Publisher::open(&server, Entrance::Rtmp, "live/cam").is_err());
    until("the second one's end", || (backend.about("on_unpublish").len() == 1).then_some(()));
    let refused = backend.about("on_unpublish").remove(0);
    assert_eq!(refused.get("client_id"), backend.about("on_publish")[1].get("client_id"));
    first.kill();
    until("the first one's end", || (backend.about("on_unpublish").len() == 2).then_some(()));
    let ids = |action: &str| {
        let mut ids: Vec<String> =
            backend.about(action).iter().map(|call| call.get("client_id").to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("on_publish"), ids("on_unpublish"));
    until("all ends", || (ids("on_connect") == ids("on_close")).then_some(()));
    server.assert_unhurt();
}

/// The server ends while the backend thinks: whom it lets in after that is gone already, and it hears of that.
#[test]
fn who_waits_at_the_door_when_the_server_ends_is_taken_leave_of() {
    let backend = Backend::slow(Duration::from_secs(1));
    let mut server = calling(&["on_publish", "on_unpublish", "on_close"], &backend.url("/")).start();
    let addr = server.rtmp();
    let client = thread::spawn(move || Client::publish(addr, "live", "cam").map(|(_, status)| status.code()));
    let asked = backend.wait("on_publish", "cam");
    server.stop_within(SOON);
    until("the last word", || (!backend.about("on_close").is_empty()).then_some(()));
    let calls = backend.calls();
    let told: Vec<&str> = calls.iter().map(|call| call.get("action")).collect();
    assert_eq!(told, ["on_publish", "on_unpublish", "on_close"]);
    assert!(calls.iter().all(|call| call.get("client_id") == asked.get("client_id")));
    let code = client.join().expect("it ends");
    assert_ne!(code.ok().as_deref(), Some("NetStream.Publish.Start"));
}

#[test]
fn hooks_speak_https_to_whom_they_trust() {
    let (cert, key) = certificate();
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(&cert).expect("a file").map(|cert| cert.expect("PEM")).collect();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).expect("a key"))
        .expect("they fit");
    let backend = Backend::start_tls(std::sync::Arc::new(config), |_| says("201 Created", "{\"code\": 0}"));
    let server = calling(&["on_publish"], &backend.url("/")).set("hooks.ca", cert.display()).start();
    Publisher::open(&server, Entrance::Rtmp, "live/cam").expect("it is trusted").finish();
    assert_eq!(backend.about("on_publish").len(), 1);
    let server = calling(&["on_publish"], &backend.url("/")).start();
    let error = Publisher::open(&server, Entrance::Rtmp, "live/cam").err().expect("refused").to_string();
    assert!(error.contains("does not answer"), "browsers would not trust it either: {error}");
}

/// Milliseconds that pictures of a live stream were late, over what the earliest one took, sorted; for viewers over HTTP while
/// `meanwhile` runs.
fn lateness(server: &Server, viewers: usize, meanwhile: impl FnOnce()) -> Vec<f64> {
    let fixture = Fixture::get(Media::H264Aac);
    let publisher = Publisher::open(server, Entrance::Rtmp, "live/cam").expect("the seat is free");
    let running = publisher.run(&fixture);
    let watching: Vec<_> = (0..viewers)
        .map(|_| {
            let mut wire = socket(server.http()).expect("the server listens");
            wire.write_all(b"GET /live/cam.flv HTTP/1.0\r\n\r\n").expect("sent");
            thread::spawn(move || {
                let (mut reader, mut seen) = (flv::Reader::default(), Vec::new());
                let (mut head, mut buffer) = (Vec::new(), [0; 65_536]);
                while let Ok(len) = wire.read(&mut buffer)
                    && len > 0
                {
                    let now = Instant::now();
                    let mut bytes = &buffer[..len];
                    while !bytes.is_empty() && !head.ends_with(b"\r\n\r\n") {
                        head.push(bytes[0]);
                        bytes = &bytes[1..];
                    }
                    reader.feed(bytes);
                    while let Some(tag) = reader.next_tag() {
                        if tag.kind == flv::VIDEO {
                            seen.push((now, tag.ts));
                        }
                    }
                }
                seen
            })
        })
        .collect();
    server.wait_viewers("live/cam", viewers);
    // What joiners get at once is not live.
    thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    meanwhile();
    let ended = Instant::now();
    running.kill();
    let mut late = Vec::new();
    for viewer in watching {
        let seen = viewer.join().expect("a viewer");
        let Some(&(first, start)) = seen.first() else { panic!("a viewer saw nothing") };
        let offset = |(at, ts): &(Instant, u32)| {
            at.duration_since(first).as_secs_f64() * 1e3 - f64::from(ts.saturating_sub(start))
        };
        let live: Vec<f64> = seen.iter().filter(|(at, _)| *at >= begun && *at <= ended).map(offset).collect();
        let earliest = live.iter().copied().fold(f64::INFINITY, f64::min);
        late.extend(live.iter().map(|offset| offset - earliest));
    }
    late.sort_by(f64::total_cmp);
    late
}

/// 200 publishers wait at a door that opens after two seconds, all at once; those who watch see nothing of it.
#[test]
fn two_hundred_at_a_slow_door_are_not_noticed_by_those_inside() {
    let crowd = |server: &Server| {
        let addr = server.rtmp();
        let begun = Instant::now();
        // One thread for all: what stands for other machines must not take the server's cores.
        let ask = |n| {
            let mut client = Client::dial(addr)?;
            client.ask_publish(addr, "crowd", &format!("cam{n}")).map(|()| client)
        };
        let waiting: Vec<Client> = (0..200).map(|n| ask(n).expect("the server listens")).collect();
        let told = waiting.into_iter().map(|mut client| client.status().map(|status| (client, status)));
        let told: Vec<_> = told.map(|told| told.expect("answered")).collect();
        assert!(told.iter().all(|(_, status)| status.code() == "NetStream.Publish.Start"));
        let took = begun.elapsed();
        // The same time under watch for both runs.
        thread::sleep(Duration::from_secs(5).saturating_sub(took));
        took
    };
    let measure = |server: &Server| {
        let mut took = Duration::ZERO;
        let late = lateness(server, 20, || took = crowd(server));
        let p99 = late[late.len() * 99 / 100];
        eprintln!(
            "{} pictures, late by p50 {:.1} ms, p99 {p99:.1} ms, at most {:.1} ms; the crowd took {took:?}",
            late.len(),
            late[late.len() / 2],
            late[late.len() - 1]
        );
        (p99, took)
    };
    // Viewers go when their publisher goes.
    let (without, _) = measure(&Server::builder().grace("0ms").start());
    let pause = Duration::from_secs(2);
    let backend = Backend::waiting_room(200, pause, |call| {
        call.get("app") == "crowd" && call.get("action") == "on_publish"
    });
    let asking = calling(&["on_publish", "on_unpublish"], &backend.url("/")).set("hooks.timeout", "20s");
    let server = asking.grace("0ms").start();
    let (with, took) = measure(&server);
    assert!(took >= pause, "each has waited: {took:?}");
    assert!(took < Duration::from_secs(15), "one after the other would take 400 s: {took:?}");
    // Two cores that publishers and players share with the server, which is a debug build: a stall of a shard would be seconds.
    // docs/performance.md has what it is on a machine with a core for each.
    assert!(with < without + 50.0, "p99 moved from {without:.1} ms to {with:.1} ms");
}
