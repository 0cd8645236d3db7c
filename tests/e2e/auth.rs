//! Who may publish and play: every way in, with every kind of permission and without; what a refusal says, and what ends when
//! a permission does.

use std::time::{Duration, Instant};

use serde_json::json;
use str0m::media::Direction;

use crate::support::{
    Builder, Entrance, Fixture, Path, Player, Publisher, SOON, Server, http,
    media::Media,
    rtc::{Peer, request},
    rtmp, scratch,
    token::{Issuer, hs256, now, signed},
    until, ws,
};

const SECRET: &str = "the secret of all tokens of these stories";
const SIGN_KEY: &str = "the-key-of-all-signed-addresses";

/// Where a permission stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind the stream's name, whatever that is in the protocol.
    Query,
    /// In the header Authorization.
    Bearer,
    /// Behind RTMP's app, in its connect.
    Connect,
}

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Rtmp,
    /// `GET /app/name.flv`.
    Flv,
    Head,
    /// The same path, upgraded.
    WsFlv,
    /// `/publish` and `/play`.
    Ws,
    /// WHIP and WHEP by path.
    Standard,
    /// The same as SRS has them.
    Srs,
    /// SRS's JSON.
    Json,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Served,
    /// The status or code, and the sentence.
    Refused(String, String),
}

const PUBLISH: [(Door, Place); 9] = [
    (Door::Rtmp, Place::Query),
    (Door::Rtmp, Place::Connect),
    (Door::Ws, Place::Query),
    (Door::Ws, Place::Bearer),
    (Door::Standard, Place::Query),
    (Door::Standard, Place::Bearer),
    (Door::Srs, Place::Query),
    (Door::Srs, Place::Bearer),
    (Door::Json, Place::Query),
];

const PLAY: [(Door, Place); 15] = [
    (Door::Rtmp, Place::Query),
    (Door::Rtmp, Place::Connect),
    (Door::Flv, Place::Query),
    (Door::Flv, Place::Bearer),
    (Door::Head, Place::Query),
    (Door::Head, Place::Bearer),
    (Door::WsFlv, Place::Query),
    (Door::WsFlv, Place::Bearer),
    (Door::Ws, Place::Query),
    (Door::Ws, Place::Bearer),
    (Door::Standard, Place::Query),
    (Door::Standard, Place::Bearer),
    (Door::Srs, Place::Query),
    (Door::Srs, Place::Bearer),
    (Door::Json, Place::Query),
];

/// Tries a door of a server, with the parameters of a permission (`token=…`, or those of a signature).
fn knock(
    server: &Server,
    publish: bool,
    (door, place): (Door, Place),
    name: &str,
    permission: &str,
) -> Outcome {
    let behind = |mark: &str| match place {
        Place::Query if !permission.is_empty() => format!("{mark}{permission}"),
        _ => String::new(),
    };
    let bearer = permission.strip_prefix("token=").filter(|_| place == Place::Bearer);
    let fields: Vec<(&str, String)> =
        bearer.map(|token| ("Authorization", format!("Bearer {token}"))).into_iter().collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let direction = if publish { Direction::SendOnly } else { Direction::RecvOnly };
    let (whip, verb) = if publish { ("whip", "publish") } else { ("whep", "play") };
    let offer = || Peer::offer(direction).1;
    match door {
        Door::Rtmp => {
            let app = match place {
                Place::Connect if !permission.is_empty() => format!("live?{permission}"),
                _ => "live".to_owned(),
            };
            let (served, status) = knock_rtmp(server, publish, &app, &format!("{name}{}", behind("?")));
            if served { Outcome::Served } else { Outcome::Refused(status.code(), status.description()) }
        }
        Door::Flv | Door::Head => {
            let method = if door == Door::Flv { "GET" } else { "HEAD" };
            let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let text =
                format!("{method} /live/{name}.flv{} HTTP/1.1\r\nHost: h\r\n{fields}\r\n", behind("?"));
            let answer = http::open(server.http(), &text).expect("answered");
            match answer.head.status {
                200 => Outcome::Served,
                status => {
                    assert_eq!(answer.head.field("www-authenticate").is_some(), status == 401);
                    let status = status.to_string();
                    match door {
                        Door::Flv => Outcome::Refused(status, answer.finish().expect("a body").0.text()),
                        // Without a body there are no words.
                        _ => Outcome::Refused(status, String::new()),
                    }
                }
            }
        }
        Door::WsFlv => knock_ws(server.http(), &format!("/live/{name}.flv{}", behind("?")), bearer),
        Door::Ws => knock_ws(server.ws(), &format!("/{verb}?app=live&stream={name}{}", behind("&")), bearer),
        Door::Standard | Door::Srs => {
            let target = match door {
                Door::Standard => format!("/{whip}/live/{name}{}", behind("?")),
                _ => format!("/rtc/v1/{whip}/?app=live&stream={name}{}", behind("&")),
            };
            let mut fields = fields;
            fields.push(("Content-Type", "application/sdp"));
            let answer = request(server.http(), "POST", &target, &fields, &offer());
            assert_eq!(answer.head.field("www-authenticate").is_some(), answer.head.status == 401);
            match answer.head.status {
                201 => Outcome::Served,
                status => Outcome::Refused(status.to_string(), answer.text()),
            }
        }
        Door::Json => {
            let url = format!("webrtc://host/live/{name}{}", behind("?"));
            let body = json!({ "streamurl": url, "sdp": offer(), "clientip": "203.0.113.9" });
            let answer = http::json(server.http(), "POST", &format!("/rtc/v1/{verb}/"), &body);
            let answer = answer.expect("answered");
            match answer["code"].as_i64() {
                Some(0) => Outcome::Served,
                code => Outcome::Refused(
                    code.unwrap_or_default().to_string(),
                    answer["message"].as_str().unwrap_or_default().to_owned(),
                ),
            }
        }
    }
}

fn knock_rtmp(server: &Server, publish: bool, app: &str, name: &str) -> (bool, rtmp::Command) {
    if publish {
        let (_, status) = rtmp::Client::publish(server.rtmp(), app, name).expect("answered");
        return (status.code() == "NetStream.Publish.Start", status);
    }
    let mut client = rtmp::Client::play(server.rtmp(), app, name).expect("asked");
    let status = client.status().expect("answered");
    (matches!(status.code().as_str(), "NetStream.Play.Reset" | "NetStream.Play.Start"), status)
}

fn knock_ws(addr: std::net::SocketAddr, target: &str, bearer: Option<&str>) -> Outcome {
    let authorization = bearer.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let text = format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{authorization}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let answer = http::open(addr, &text).expect("answered");
    match answer.head.status {
        101 => Outcome::Served,
        status => {
            assert_eq!(answer.head.field("www-authenticate").is_some(), status == 401);
            Outcome::Refused(status.to_string(), answer.finish().expect("a body").0.text())
        }
    }
}

/// A server that needs permission for everything, and takes every kind of it.
fn closed() -> Builder {
    Server::builder()
        .set("auth.publish", "token")
        .set("auth.play", "token")
        .set(
            "auth.tokens",
            "[\"publish live/pub publishers-token\", \"play live/cam viewers-token\", \
              \"all live/other others-token\", \"publish live/cam cameras-token\"]",
        )
        .set("auth.sign_keys", format!("[{SIGN_KEY}]"))
        .set("auth.jwt.secret", SECRET)
        .set("auth.jwt.skew", "0ms")
        .set("publish.takeover", "replace")
}

/// `live/cam` on the air, as its own token permits.
fn on_air(server: &Server) -> crate::support::publisher::Running {
    let publisher =
        Publisher::open(server, Entrance::Rtmp, "live/cam?token=cameras-token").expect("permitted");
    let running = publisher.run(&Fixture::get(Media::H264Aac));
    until("pictures", || server.stream("live/cam")?.to_string().contains("H264").then_some(()));
    running
}

fn jwt(publish: &[&str], play: &[&str], seconds: i64) -> String {
    let exp = now().saturating_add_signed(seconds);
    format!("token={}", hs256(SECRET, &json!({ "exp": exp, "publish": publish, "play": play })))
}

/// The status of a refusal in each door's own words.
fn refused(outcome: &Outcome, publish: bool, door: Door, status: &str, word: &str) -> bool {
    let Outcome::Refused(found, sentence) = outcome else { return false };
    let expected = match door {
        Door::Rtmp if publish => "NetStream.Publish.Denied",
        Door::Rtmp => "NetStream.Play.Failed",
        Door::Json => "400",
        _ => status,
    };
    found == expected && (door == Door::Head || sentence.contains(word))
}

#[test]
fn every_door_refuses_without_a_permission_and_with_one_that_is_wrong_expired_or_for_something_else() {
    let mut server = closed().start();
    let _publisher = on_air(&server);
    for (publish, name, doors) in [(true, "pub", &PUBLISH[..]), (false, "cam", &PLAY[..])] {
        let verb = if publish { "publish" } else { "play" };
        let key = format!("live/{name}");
        let claims =
            |key: &'static str| if publish { jwt(&[key], &["**"], 60) } else { jwt(&["**"], &[key], 60) };
        let mine: &'static str = if publish { "live/pub" } else { "live/cam" };
        let foreign = json!({ "exp": now() + 60, "publish": "*", "play": "*" });
        let good_sign = signed(&key, verb, Duration::from_secs(60), SIGN_KEY);
        let sign_of = |expires: u64, sign: &str| format!("expires={expires}&sign={sign}");
        let expired_sign = signed(&key, verb, Duration::ZERO, SIGN_KEY);
        let longer = sign_of(now() + 9_999, good_sign.rsplit('=').next().expect("a signature"));
        let other_action = if publish { "play" } else { "publish" };
        let cases = [
            ("none", String::new(), "401", "a token is needed"),
            ("wrong token", "token=wrong-token".to_owned(), "401", "not valid"),
            ("another stream's token", "token=others-token".to_owned(), "403", "not good to"),
            ("wrong JWT", format!("token={}", hs256("another secret", &foreign)), "401", "signature"),
            ("expired JWT", jwt(&["**"], &["**"], -1), "401", "expired"),
            ("another stream's JWT", claims("live/other"), "403", "not good to"),
            ("a changed signature", longer, "403", "signature"),
            ("an expired signature", expired_sign, "401", "expired"),
            (
                "another stream's",
                signed("live/other", verb, Duration::from_secs(60), SIGN_KEY),
                "403",
                "signature",
            ),
            (
                "another action's",
                signed(&key, other_action, Duration::from_secs(60), SIGN_KEY),
                "403",
                "signature",
            ),
            (
                "another key's",
                signed(&key, verb, Duration::from_secs(60), "some-other-sign-key"),
                "403",
                "signature",
            ),
        ];
        for way @ (door, place) in doors {
            for (what, permission, status, word) in &cases {
                if *place == Place::Bearer && permission.contains("sign=") {
                    continue;
                }
                let outcome = knock(&server, publish, *way, name, permission);
                assert!(
                    refused(&outcome, publish, *door, status, word),
                    "{verb} by {way:?} with {what}: {outcome:?}"
                );
            }
            let token = if publish { "token=publishers-token" } else { "token=viewers-token" };
            for good in [token.to_owned(), claims(mine), good_sign.clone()] {
                if *place == Place::Bearer && good.contains("sign=") {
                    continue;
                }
                let outcome = knock(&server, publish, *way, name, &good);
                assert_eq!(outcome, Outcome::Served, "{verb} by {way:?} with {good}");
            }
        }
    }
    server.assert_unhurt();
}

#[test]
fn without_a_need_for_permission_nobody_is_asked_for_one() {
    let server =
        Server::builder().set("auth.publish", "token").set("auth.tokens", "[\"publish * a-long-token\"]");
    let server = server.start();
    let publisher =
        Publisher::open(&server, Entrance::Rtmp, "live/cam?token=a-long-token").expect("permitted");
    let _publisher = publisher.run(&Fixture::get(Media::H264Aac));
    until("pictures", || server.stream("live/cam")?.to_string().contains("H264").then_some(()));
    for way in [(Door::Rtmp, Place::Query), (Door::Flv, Place::Query), (Door::Standard, Place::Query)] {
        assert_eq!(knock(&server, false, way, "cam", ""), Outcome::Served, "{way:?}");
        assert_eq!(knock(&server, false, way, "cam", "token=whatever"), Outcome::Served, "{way:?}");
    }
}

#[test]
fn what_a_token_let_in_ends_with_it_in_the_words_of_its_protocol() {
    let server = closed().set("limits.idle_timeout", "1h").set("publish.first_frame_timeout", "10m").start();
    let running = on_air(&server);
    let start = Instant::now();
    let life = jwt(&["live/short", "live/ws", "live/rtc"], &["live/cam"], 6);
    let (mut publisher, status) =
        rtmp::Client::publish(server.rtmp(), "live", &format!("short?{life}")).expect("answered");
    assert_eq!(status.code(), "NetStream.Publish.Start");
    let wire = rtmp::socket(server.ws()).expect("a connection");
    let target = format!("/publish?app=live&stream=ws&{life}");
    let mut ws_publisher = ws::open(Box::new(wire), server.ws(), &target).expect("upgraded");
    let (mut whip, _) = Peer::begin(server.http(), &format!("/whip/live/rtc?{life}"), Direction::SendOnly);
    let (mut whep, _) = Peer::begin(server.http(), &format!("/whep/live/cam?{life}"), Direction::RecvOnly);
    let mut player = rtmp::Client::play(server.rtmp(), "live", &format!("cam?{life}")).expect("asked");
    let text = format!("GET /live/cam.flv?{life} HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut flv = http::open(server.http(), &text).expect("answered");
    assert_eq!(flv.head.status, 200);
    let wire = rtmp::socket(server.http()).expect("a connection");
    let mut ws_player =
        ws::open(Box::new(wire), server.http(), &format!("/live/cam.flv?{life}")).expect("upgraded");
    let stays = Player::open(&server, Path::Http, "live/cam");
    // Everything is read while it lasts: who takes nothing would be told nothing.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let status = publisher.status().expect("a last word");
            assert_eq!(status.code(), "NetStream.Publish.Denied");
            assert!(status.description().contains("expired"), "{}", status.description());
        });
        scope.spawn(|| {
            let stopped = loop {
                let status = player.status().expect("a last word");
                if status.code() == "NetStream.Play.Stop" {
                    break status;
                }
            };
            assert!(stopped.description().contains("expired"), "{}", stopped.description());
        });
        scope.spawn(|| {
            let mut bytes = 0;
            while let Some(piece) = flv.read().expect("a proper end") {
                bytes += piece.len();
            }
            assert!(bytes > 1_000, "{bytes} bytes until then");
        });
        for socket in [&mut ws_publisher, &mut ws_player] {
            scope.spawn(move || {
                let end = loop {
                    match ws::read(socket) {
                        Ok(_) => {}
                        Err(end) => break end,
                    }
                };
                assert_eq!(end, ws::End::Closed(1008, "the permission has expired".to_owned()));
            });
        }
        for peer in [&mut whip, &mut whep] {
            scope.spawn(move || {
                peer.connect();
                assert!(peer.run(SOON, |peer| peer.closed), "the server never said goodbye");
            });
        }
    });
    let lived = start.elapsed();
    assert!((Duration::from_secs(4)..SOON).contains(&lived), "{lived:?}");
    until("seven lines of what ended", || {
        (server.log().matches("the permission has expired").count() >= 7).then_some(())
    });
    drop(stays);
    assert!(running.running(), "what has no end goes on");
}

#[test]
fn keys_that_are_rotated_in_their_file_count_without_a_restart() {
    let path = scratch(&format!("jwks-{}.json", std::process::id()));
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let write = |issuers: &[&Issuer]| {
        let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        let next = path.with_extension("next");
        std::fs::write(&next, json!({ "keys": keys }).to_string()).expect("written");
        std::fs::rename(&next, &path).expect("replaced");
    };
    write(&[&old]);
    let server = Server::builder()
        .set("auth.publish", "token")
        .set("auth.jwt.jwks", path.display())
        .set("auth.jwt.jwks_refresh", "1s")
        .set("publish.takeover", "replace")
        .start();
    let permission = |issuer: &Issuer| {
        format!("token={}", issuer.token(&json!({ "exp": now() + 600, "publish": "live/*" })))
    };
    let publish = |permission: &str| knock(&server, true, (Door::Ws, Place::Query), "pub", permission);
    let (of_old, of_new) = (permission(&old), permission(&new));
    assert_eq!(publish(&of_old), Outcome::Served);
    assert!(
        matches!(publish(&of_new), Outcome::Refused(status, why) if status == "401" && why.contains("not known"))
    );
    write(&[&new]);
    until("the new key to count", || (publish(&of_new) == Outcome::Served).then_some(()));
    assert!(
        matches!(publish(&of_old), Outcome::Refused(status, _) if status == "401"),
        "the old one is forgotten"
    );
    let _ = std::fs::remove_file(&path);
}

#[test]
fn rules_about_addresses_go_before_tokens_and_by_the_word_of_trusted_proxies_alone() {
    let rules = |builder: Builder| {
        builder
            .set("security.enable", "true")
            .set("security.allow", "[\"publish 127.0.0.1\", \"play 203.0.113.0/24\", \"play 127.0.0.1\"]")
            .set("security.deny", "[\"play 203.0.113.66\"]")
    };
    let get = |server: &Server, fields: &str| {
        let text = format!("HEAD /live/cam.flv HTTP/1.1\r\nHost: h\r\n{fields}Connection: close\r\n\r\n");
        http::open(server.http(), &text).expect("answered").head.status
    };
    let alone = rules(Server::builder()).start();
    // 404: it may, but nobody publishes.
    assert_eq!(get(&alone, ""), 404);
    assert_eq!(get(&alone, "X-Forwarded-For: 203.0.113.66\r\n"), 404, "a stranger's word counts for nothing");
    let proxied = rules(Server::builder()).set("security.trusted_proxies", "[127.0.0.1]").start();
    assert_eq!(get(&proxied, "X-Forwarded-For: 203.0.113.5\r\n"), 404);
    assert_eq!(get(&proxied, "X-Forwarded-For: 203.0.113.66\r\n"), 403);
    assert_eq!(get(&proxied, "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: 203.0.113.66\r\n"), 403);
    assert_eq!(get(&proxied, "X-Real-IP: 198.51.100.1\r\n"), 403);
    assert_eq!(get(&proxied, "X-Forwarded-For: 203.0.113.5, 198.51.100.1\r\n"), 403, "the first is a lie");
    let answer = request(
        proxied.http(),
        "POST",
        "/whep/live/cam",
        &[("X-Forwarded-For", "203.0.113.66"), ("Content-Type", "application/sdp")],
        &Peer::offer(Direction::RecvOnly).1,
    );
    assert_eq!(answer.head.status, 403, "{}", answer.text());
    assert!(answer.text().contains("not allowed from your address"), "{}", answer.text());
    // Rules on and none written: nobody.
    let nobody = Server::builder().set("security.enable", "true").start();
    assert_eq!(get(&nobody, ""), 403);
    let (served, status) = knock_rtmp(&nobody, true, "live", "cam");
    assert!(!served && status.description().contains("address"), "{status:?}");
}

#[test]
fn limits_hold_for_a_streams_viewers_for_publishers_and_for_an_address() {
    let server =
        Server::builder().set("limits.viewers_per_stream", "2").set("limits.publishers", "1").start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, "live/cam")
        .expect("a seat")
        .run(&Fixture::get(Media::H264Aac));
    until("pictures", || server.stream("live/cam")?.to_string().contains("H264").then_some(()));
    let first = Player::open(&server, Path::Http, "live/cam");
    let second = Player::open(&server, Path::Rtmp, "live/cam");
    server.wait_viewers("live/cam", 2);
    for (door, status) in [(Door::Flv, "503"), (Door::Ws, "503"), (Door::Standard, "503"), (Door::Rtmp, "")] {
        let outcome = knock(&server, false, (door, Place::Query), "cam", "");
        assert!(refused(&outcome, false, door, status, "as many viewers"), "{door:?}: {outcome:?}");
    }
    let outcome = knock(&server, true, (Door::Rtmp, Place::Query), "more", "");
    assert!(refused(&outcome, true, Door::Rtmp, "", "as many publishers"), "{outcome:?}");
    drop(first);
    until("a free place", || {
        (knock(&server, false, (Door::Flv, Place::Query), "cam", "") == Outcome::Served).then_some(())
    });
    drop((second, publisher));
    let server = Server::builder().set("limits.sessions_per_ip", "1").start();
    let _publisher = Publisher::open(&server, Entrance::Rtmp, "live/cam").expect("a seat");
    let outcome = knock(&server, false, (Door::Flv, Place::Query), "cam", "");
    assert!(refused(&outcome, false, Door::Flv, "503", "your address"), "{outcome:?}");
}

#[test]
fn no_secret_reaches_the_log_at_any_level() {
    let server = closed().set("log.level", "trace").start();
    let _publisher = on_air(&server);
    let secrets = ["token=S3cretS3cretS3cret".to_owned(), jwt(&["live/pub"], &["live/cam"], 60), {
        signed("live/pub", "publish", Duration::from_secs(60), SIGN_KEY)
    }];
    for permission in &secrets {
        for way in PUBLISH {
            knock(&server, true, way, "pub", permission);
        }
        for way in PLAY {
            knock(&server, false, way, "cam", permission);
        }
    }
    let api = "GET /api/v1/clients?token=S3cretS3cretS3cret HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    http::exchange(server.http(), api).expect("answered");
    server.wait_for_line(&["refused", "not valid"]);
    let log = server.log();
    for permission in &secrets {
        let secret = permission.rsplit('=').next().expect("a value");
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "the log tells {permission}");
    }
    for secret in ["cameras-token", SECRET, SIGN_KEY] {
        assert_eq!(log.lines().find(|line| line.contains(secret)), None, "the log tells {secret}");
    }
}

#[test]
fn a_configuration_that_could_permit_nobody_is_refused_before_anything_listens() {
    let refused = |sets: &[&str]| {
        let mut command = crate::support::server::binary();
        sets.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        let output = command.arg("--check-config").output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2), "{sets:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(refused(&["auth.play=token"]).contains("nobody could be permitted"));
    assert!(
        refused(&["auth.tokens=[\"play live/cam long-enough\", \"play live hunter2hunter2\"]"])
            .contains("number 2")
    );
    let told = refused(&["auth.jwt.secret=hunter2"]);
    assert!(told.contains("auth.jwt.secret") && told.contains("32"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(refused(&["auth.jwt.jwks=/nowhere.json"]).contains("/nowhere.json"));
    assert!(refused(&["security.allow=[\"watch all\"]"]).contains("`watch all`"));
    assert!(refused(&["security.trusted_proxies=[proxy.example]"]).contains("proxy.example"));
    assert!(refused(&["auth.api.username=admin"]).contains("belong together"));
}
