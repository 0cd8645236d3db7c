//! SRS's HTTP API against its contract: every key and type of its tables on a live server with publishers and players of every
//! protocol, on two shards; codes, paging, JSONP, CORS, and the end of clients.

use std::{collections::HashSet, net::SocketAddr};

use serde_json::Value;

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, Server, http, media::Media, publisher::Running, shape::check,
    until, webrtc,
};

const CLIENT: &str = "id:str, vhost:str, stream:str, ip:str, pageUrl:str, swfUrl:str, tcUrl:str, url:str, name:str, \
    type:str, publish:bool, alive:num, send_bytes:int, recv_bytes:int, kbps{recv_30s:int, send_30s:int}";
const STREAM: &str = "id:str, name:str, vhost:str, app:str, tcUrl:str, url:str, live_ms:int, clients:int, frames:int, \
    audio_frames:int, video_frames:int, send_bytes:int, recv_bytes:int, kbps{recv_30s:int, send_30s:int}, \
    publish{active:bool}, video:any, audio:any";
const VHOST: &str = "id:str, name:str, enabled:bool, clients:int, streams:int, send_bytes:int, recv_bytes:int, \
    kbps{recv_30s:int, send_30s:int}, hls{enabled:bool}";

/// A GET's JSON, which is SRS's even when it failed.
fn get(addr: SocketAddr, target: &str) -> Value {
    ask(addr, "GET", target)
}

fn ask(addr: SocketAddr, method: &str, target: &str) -> Value {
    let answer = http::ask(addr, method, target).unwrap_or_else(|error| panic!("{method} {target}: {error}"));
    assert_eq!(answer.head.status, 200, "{method} {target}: {}", answer.text());
    assert_eq!(answer.head.field("content-type"), Some("application/json"), "{target}");
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{target}: {error}: {}", answer.text()))
}

/// What is in SRS's envelope.
fn done(addr: SocketAddr, target: &str) -> Value {
    let value = get(addr, target);
    check(target, &value, "code:int, server:str, service:str, pid:str");
    assert_eq!(value["code"], 0, "{target}: {value}");
    value
}

fn code(value: &Value) -> i64 {
    assert_eq!(
        value.as_object().map(serde_json::Map::len),
        Some(1),
        "a failure is a code and no more: {value}"
    );
    value["code"].as_i64().expect("a code")
}

/// Everybody there is.
fn clients(server: &Server) -> Vec<Value> {
    let value = done(server.api(), "/api/v1/clients/?count=1000");
    check("clients", &value, &format!("clients[{CLIENT}], total:int"));
    value["clients"].as_array().expect("a list").clone()
}

/// Publishers and players of every protocol.
struct Crowd {
    publishers: Vec<Running>,
    rtc_publisher: loadtest::rtc::Client,
    players: Vec<(Path, Player)>,
    rtc_player: loadtest::rtc::Client,
}

/// Streams `live/rtmp`, `live/ws` and `live/rtc`; a player on every path, and one by WHEP.
fn crowd(server: &Server, fixture: &Fixture) -> Crowd {
    let open = |entrance, key| Publisher::open(server, entrance, key).expect("the seat is free").run(fixture);
    let publishers = vec![open(Entrance::Rtmp, "live/rtmp"), open(Entrance::Ws, "live/ws")];
    let rtc_publisher = webrtc::publish(server.http(), "live/rtc", webrtc::programme());
    let players: Vec<(Path, Player)> =
        Path::ALL.into_iter().map(|path| (path, Player::open(server, path, "live/rtmp"))).collect();
    let rtc_player = webrtc::play(server.http(), "live/rtc");
    players.iter().for_each(|(_, player)| player.wait_start());
    for key in ["live/rtmp", "live/ws", "live/rtc"] {
        until(&format!("{key} to have tracks"), || {
            let tracks = server.stream(key)?["tracks"].as_array()?.len();
            (tracks == 2).then_some(())
        });
    }
    server.wait_viewers("live/rtmp", Path::ALL.len());
    server.wait_viewers("live/rtc", 1);
    Crowd { publishers, rtc_publisher, players, rtc_player }
}

#[test]
fn the_system_s_figures_have_srs_s_keys_and_are_real() {
    let server = Server::start();
    let api = server.api();
    for addr in [api, server.http(), server.ws()] {
        let versions = done(addr, "/api/v1/versions");
        check("versions", &versions, "data{major:int, minor:int, revision:int, version:str}");
    }
    assert_eq!(ask(api, "POST", "/api/v1/versions")["code"], 0, "SRS's own test posts");
    let pid = server.pid();
    let summaries = until("a second look at the system", || {
        let value = done(api, "/api/v1/summaries");
        (value["data"]["system"]["cpu_percent"].as_f64()? > 0.0).then_some(value)
    });
    check(
        "summaries",
        &summaries,
        "data{ok:bool, now_ms:int, self{version:str, pid:int, ppid:int, argv:str, cwd:str, \
        mem_kbyte:int, mem_percent:num, cpu_percent:num, srs_uptime:int}, system{cpu_percent:num, disk_read_KBps:int, \
        disk_write_KBps:int, disk_busy_percent:num, mem_ram_kbyte:int, mem_ram_percent:num, mem_swap_kbyte:int, \
        mem_swap_percent:num, cpus:int, cpus_online:int, uptime:num, ilde_time:num, load_1m:num, load_5m:num, \
        load_15m:num, net_sample_time:int, net_recv_bytes:int, net_send_bytes:int, net_recvi_bytes:int, \
        net_sendi_bytes:int, srs_sample_time:int, srs_recv_bytes:int, srs_send_bytes:int, conn_sys:int, conn_sys_et:int, \
        conn_sys_tw:int, conn_sys_udp:int, conn_srs:int}}",
    );
    let me = &summaries["data"]["self"];
    assert_eq!(me["pid"], pid);
    assert!(me["argv"].as_str().is_some_and(|argv| argv.contains("--set rtmp.port=")), "{me}");
    assert!(me["mem_kbyte"].as_u64().is_some_and(|kb| kb > 5_000), "{me}");
    assert!(
        summaries["data"]["system"]["srs_recv_bytes"].as_u64().is_some_and(|bytes| bytes > 0),
        "we asked"
    );
    assert!(summaries["data"]["system"]["conn_srs"].as_u64().is_some());
    let counters = "ru_maxrss:int, ru_ixrss:int, ru_idrss:int, ru_isrss:int, ru_minflt:int, ru_majflt:int, ru_nswap:int, \
        ru_inblock:int, ru_oublock:int, ru_msgsnd:int, ru_msgrcv:int, ru_nsignals:int, ru_nvcsw:int, ru_nivcsw:int";
    check(
        "rusages",
        &done(api, "/api/v1/rusages"),
        &format!("data{{ok:bool, sample_time:int, ru_utime:int, ru_stime:int, {counters}}}"),
    );
    let mine = done(api, "/api/v1/self_proc_stats");
    check(
        "self_proc_stats",
        &mine,
        "data{ok:bool, sample_time:int, percent:num, pid:int, comm:str, state:str, ppid:int, \
        pgrp:int, session:int, tty_nr:int, tpgid:int, flags:int, minflt:int, cminflt:int, majflt:int, cmajflt:int, \
        utime:int, stime:int, cutime:int, cstime:int, priority:int, nice:int, num_threads:int, itrealvalue:int, \
        starttime:int, vsize:int, rss:int, rsslim:int, startcode:int, endcode:int, startstack:int, kstkesp:int, \
        kstkeip:int, signal:int, blocked:int, sigignore:int, sigcatch:int, wchan:int, nswap:int, cnswap:int, \
        exit_signal:int, processor:int, rt_priority:int, policy:int, delayacct_blkio_ticks:int, guest_time:int, \
        cguest_time:int}",
    );
    assert_eq!(
        (mine["data"]["pid"].as_u64(), mine["data"]["comm"].as_str()),
        (Some(pid.into()), Some("shardcast"))
    );
    check(
        "system_proc_stats",
        &done(api, "/api/v1/system_proc_stats"),
        "data{ok:bool, sample_time:int, percent:num, \
        user:int, nice:int, sys:int, idle:int, iowait:int, irq:int, softirq:int, steal:int, guest:int}",
    );
    check(
        "meminfos",
        &done(api, "/api/v1/meminfos"),
        "data{ok:bool, sample_time:int, percent_ram:num, \
        percent_swap:num, MemActive:int, RealInUse:int, NotInUse:int, MemTotal:int, MemFree:int, Buffers:int, Cached:int, \
        SwapTotal:int, SwapFree:int}",
    );
    check("authors", &done(api, "/api/v1/authors"), "data{license:str, contributors:str}");
    check(
        "features",
        &done(api, "/api/v1/features"),
        "data{options:str, options2:str, build:str, build2:str, \
        features{ssl:bool, hls:bool, hds:bool, callback:bool, api:bool, httpd:bool, dvr:bool, transcode:bool, \
        ingest:bool, stat:bool, caster:bool, complex_send:bool, tcp_nodelay:bool, so_sendbuf:bool, mr:bool}}",
    );
}

#[test]
fn indexes_tests_and_raw_answer_as_srs_does() {
    let server = Server::start();
    let api = server.api();
    check("/", &done(api, "/"), "urls{api:str, rtc{v1{play:str, publish:str, nack:str}}}");
    check("/api/", &done(api, "/api/"), "urls{v1:str}");
    for path in ["/api/v1", "/api/v1/", "/api/v1/nothing-like-this"] {
        check(
            path,
            &done(api, path),
            "urls{versions:str, summaries:str, rusages:str, self_proc_stats:str, \
            system_proc_stats:str, meminfos:str, authors:str, features:str, requests:str, vhosts:str, streams:str, \
            clients:str, raw:str, clusters:str, perf:str, tcmalloc:str}, \
            tests{requests:str, errors:str, redirects:str}",
        );
        assert!(get(api, path)["tests"]["[vhost]"].is_string(), "{path}");
    }
    let test = done(api, "/api/v1/tests/requests?a=1");
    check(
        "tests/requests",
        &test,
        "data{uri:str, path:str, METHOD:str, headers{sigature:str, version:str, link:str, \
        time:int}}",
    );
    assert_eq!(
        (&test["data"]["uri"], &test["data"]["METHOD"]),
        (&"/api/v1/tests/requests?a=1".into(), &"GET".into())
    );
    let text = format!(
        "GET /api/v1/requests?a=1 HTTP/1.1\r\nHost: {api}\r\nAuthorization: Basic c2VjcmV0\r\n\
        X-Story: told\r\nConnection: close\r\n\r\n"
    );
    let seen: Value =
        serde_json::from_slice(&http::exchange(api, &text).expect("answered").body).expect("JSON");
    assert_eq!(
        (&seen["data"]["request_headers"]["x-story"], &seen["data"]["query"]["a"]),
        (&"told".into(), &"1".into())
    );
    assert!(!seen.to_string().contains("c2VjcmV0"), "a credential is not shown to whoever reads the answer");
    assert_eq!(code(&get(api, "/api/v1/tests/errors")), 100);
    let moved = http::ask(api, "GET", "/api/v1/tests/redirects").expect("answered");
    assert_eq!((moved.head.status, moved.head.field("location")), (301, Some("/api/v1/tests/errors")));
    let raw = get(api, "/api/v1/raw?rpc=raw");
    check(
        "raw",
        &raw,
        "code:int, http_api{enabled:bool, listen:str, crossdomain:bool, raw_api{enabled:bool, \
        allow_reload:bool, allow_query:bool, allow_update:bool}}",
    );
    assert_eq!((raw.get("server"), &raw["http_api"]["listen"]), (None, &api.port().to_string().into()));
    assert_eq!(code(&get(api, "/api/v1/raw?rpc=reload")), 1061);
    assert_eq!(code(&get(api, "/api/v1/raw?rpc=query")), 1060);
    let clusters = get(api, "/api/v1/clusters?app=live&stream=cam&ip=10.0.0.1");
    check(
        "clusters",
        &clusters,
        "code:int, data{query{ip:str, vhost:str, app:str, stream:str}, origin:null}",
    );
    assert_eq!((clusters.get("pid"), &clusters["data"]["query"]["app"]), (None, &"live".into()));
}

#[test]
fn streams_and_clients_of_every_protocol_are_listed_key_by_key() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let api = server.api();
    assert_eq!(done(api, "/api/v1/vhosts/")["vhosts"], serde_json::json!([]), "nobody has come yet");
    let crowd = crowd(&server, &fixture);

    let all = until("all nine clients", || Some(clients(&server)).filter(|all| all.len() == 9));
    let kinds = |name: &str| {
        let of = all.iter().filter(|client| client["name"] == name);
        let mut kinds: Vec<&str> = of.filter_map(|client| client["type"].as_str()).collect();
        kinds.sort_unstable();
        kinds
    };
    let publisher = all.iter().find(|client| client["name"] == "rtmp" && client["publish"] == true);
    let publisher = publisher.expect("the RTMP publisher");
    let kind = publisher["type"].as_str().expect("a type");
    assert!(["fmle-publish", "flash-publish"].contains(&kind), "{kind}");
    let mut expected = vec!["flv-play", "flv-play", "flv-play", "flv-play", kind, "rtmp-play"];
    expected.sort_unstable();
    assert_eq!(kinds("rtmp"), expected);
    assert_eq!((kinds("ws"), kinds("rtc")), (vec!["fmle-publish"], vec!["rtc-play", "rtc-publish"]));
    for client in &all {
        assert_eq!(
            (&client["ip"], &client["url"].as_str().map(|url| &url[..6])),
            (&"127.0.0.1".into(), &Some("/live/"))
        );
        assert!(client["alive"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 300.0));
        let id = client["id"].as_str().expect("an id");
        assert_eq!(id.len(), 8, "SRS's context ids have eight characters");
        assert!(server.log().contains(&format!("conn={id}")), "it is the id of the log");
        assert_eq!(done(api, &format!("/api/v1/clients/{id}"))["client"]["id"], id);
    }
    assert_eq!(publisher["tcUrl"], format!("rtmp://{}/live", server.rtmp()));
    let flows = |client: &Value, key: &str| client[key].as_u64().unwrap_or_default() > 10_000;
    until("media to be counted at both ends", || {
        let all = clients(&server);
        let counted = |client: &Value| match client["publish"] == true {
            true => flows(client, "recv_bytes"),
            false => flows(client, "send_bytes"),
        };
        (all.len() == 9 && all.iter().all(counted)).then_some(())
    });

    let list = done(api, "/api/v1/streams");
    check("streams", &list, &format!("streams[{STREAM}], total:int"));
    assert_eq!((list["total"].as_u64(), list["streams"].as_array().map(Vec::len)), (Some(3), Some(3)));
    let ids: HashSet<&str> =
        list["streams"].as_array().expect("a list").iter().filter_map(|s| s["id"].as_str()).collect();
    assert_eq!(ids.len(), 3);
    assert!(all.iter().all(|client| client["stream"].as_str().is_some_and(|id| ids.contains(id))));
    for stream in list["streams"].as_array().expect("a list") {
        let id = stream["id"].as_str().expect("an id");
        let one = done(api, &format!("/api/v1/streams/{id}"));
        check("stream", &one, &format!("stream{{{STREAM}}}"));
        let one = &one["stream"];
        assert_eq!((&one["id"], &one["name"]), (&stream["id"], &stream["name"]), "ids stay");
        check(
            "stream",
            one,
            "publish{active:bool, cid:str}, video{codec:str, profile:str, level:str, width:int, \
            height:int}, audio{codec:str, sample_rate:int, channel:int, profile:str}",
        );
        assert_eq!((&one["app"], &one["video"]["codec"]), (&"live".into(), &"H264".into()));
        let cid = one["publish"]["cid"].as_str().expect("an id");
        assert!(all.iter().any(|client| client["id"] == cid && client["publish"] == true), "{one}");
        let frames = |key: &str| one[key].as_u64().expect("a number");
        assert!(
            frames("video_frames") > 0 && frames("frames") >= frames("video_frames") + frames("audio_frames")
        );
        let delete = http::ask(api, "DELETE", &format!("/api/v1/streams/{id}")).expect("answered");
        assert_eq!((delete.head.status, delete.text().trim()), (405, "Method Not Allowed"));
    }
    let rtmp = list["streams"].as_array().expect("a list").iter().find(|stream| stream["name"] == "rtmp");
    let rtmp = rtmp.expect("it is listed");
    assert_eq!((rtmp["clients"].as_u64(), rtmp["audio"]["profile"].as_str()), (Some(6), Some("LC")));
    assert_eq!((&rtmp["url"], &rtmp["tcUrl"]), (&"/live/rtmp".into(), &publisher["tcUrl"]));
    assert_eq!(code(&get(api, "/api/v1/streams/vid-bogus")), 2048);

    let vhosts = done(api, "/api/v1/vhosts/");
    check("vhosts", &vhosts, &format!("vhosts[{VHOST}]"));
    let vhost = &vhosts["vhosts"][0];
    assert_eq!(
        (&vhost["name"], &vhost["streams"], &vhost["clients"]),
        (&"__defaultVhost__".into(), &3.into(), &9.into())
    );
    let id = vhost["id"].as_str().expect("an id");
    check("vhost", &done(api, &format!("/api/v1/vhosts/{id}")), &format!("vhost{{{VHOST}}}"));
    assert_eq!((&rtmp["vhost"], &publisher["vhost"]), (&id.into(), &id.into()));
    assert_eq!(code(&get(api, "/api/v1/vhosts/vid-bogus")), 2014);
    let delete = http::ask(api, "DELETE", "/api/v1/vhosts/").expect("answered");
    assert_eq!(delete.head.status, 405);

    // Rates of half a minute: the film flows at its own pace.
    let steady = until("a rate", || {
        let one = done(api, &format!("/api/v1/streams/{}", rtmp["id"].as_str()?));
        let kbps = &one["stream"]["kbps"];
        (kbps["recv_30s"].as_u64()? > 50 && kbps["send_30s"].as_u64()? > 4 * 50).then(|| one.clone())
    });
    let (received, sent) = (&steady["stream"]["kbps"]["recv_30s"], &steady["stream"]["kbps"]["send_30s"]);
    let ratio = sent.as_f64().expect("a number") / received.as_f64().expect("a number");
    assert!((3.0..8.0).contains(&ratio), "five players get five times what comes: {received} {sent}");
    drop(crowd.rtc_player);
    drop(crowd.rtc_publisher);
    drop(crowd.players);
    crowd.publishers.into_iter().for_each(Running::finish);
    server.assert_unhurt();
}

#[test]
fn lists_come_in_parts_and_hold_both_shards() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::start();
    let api = server.api();
    let open = |n: usize| {
        let key = format!("live/cam{n:02}");
        Publisher::open(&server, Entrance::ALL[n % 2], &key).expect("the seat is free").run(&fixture)
    };
    let publishers: Vec<Running> = (0..14).map(open).collect();
    until("all streams on the board", || (server.streams() == 14).then_some(()));
    for list in ["streams", "clients"] {
        let part = |query: &str| {
            let value = done(api, &format!("/api/v1/{list}/{query}"));
            assert_eq!(value["total"], 14, "{list}{query}");
            let items = value[list].as_array().expect("a list");
            items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(part("").len(), 10, "ten unless told otherwise");
        assert_eq!((part("?count=1").len(), part("?count=0").len(), part("?count=x").len()), (1, 1, 1));
        let all = part("?start=0&count=100");
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 14);
        assert_eq!(
            [part("?start=0&count=5"), part("?start=5&count=5"), part("?start=10&count=5")].concat(),
            all
        );
        assert!(part("?start=14").is_empty() && part("?start=99999999999999999999999").is_empty());
    }
    let by_shard = get(api, "/api/v2/clients");
    let shards: HashSet<u64> = by_shard["clients"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|client| client["shard"].as_u64())
        .collect();
    assert_eq!(shards, HashSet::from([0, 1]), "fourteen names are on both shards");
    assert_eq!(by_shard["late_shards"], serde_json::json!([]));
    publishers.into_iter().for_each(Running::finish);
}

/// A player of each kind, and then the publisher, are closed by an operator; others play on.
#[test]
fn an_operator_closes_clients_of_every_protocol() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder().grace("0ms").start();
    let api = server.api();
    let crowd = crowd(&server, &fixture);
    assert_eq!(code(&ask(api, "DELETE", "/api/v1/clients/")), 2049);
    assert_eq!(code(&ask(api, "DELETE", "/api/v1/clients/nobodyxx")), 2049);
    assert_eq!(code(&ask(api, "DELETE", "/api/v1/clients/not-an-id")), 2049);
    assert_eq!(code(&get(api, "/api/v1/clients/nobodyxx")), 2049);
    let put = http::ask(api, "PUT", "/api/v1/clients/nobodyxx").expect("answered");
    assert_eq!(put.head.status, 405);

    let all = clients(&server);
    let of = |kind: &str, name: &str| -> Vec<String> {
        let wanted = all.iter().filter(|client| client["type"] == kind && client["name"] == name);
        wanted.map(|client| client["id"].as_str().expect("an id").to_owned()).collect()
    };
    let rtmp_player = crowd.players.iter().find(|(path, _)| *path == Path::Rtmp).map(|(_, player)| player);
    let rtmp_player = rtmp_player.expect("there is one");
    let gone = |id: &str| {
        until(&format!("client {id} to be gone"), || {
            (get(api, &format!("/api/v1/clients/{id}"))["code"] == 2049).then_some(())
        });
    };
    // By a script on a page, as SRS's console does it.
    let id = of("rtmp-play", "rtmp").pop().expect("it plays");
    let answer =
        http::ask(api, "GET", &format!("/api/v1/clients/{id}?callback=cb&method=DELETE")).expect("answered");
    assert_eq!(answer.head.field("content-type"), Some("text/javascript"));
    assert!(answer.text().starts_with("cb({") && answer.text().contains("\"code\":0"), "{}", answer.text());
    rtmp_player.wait_end();
    gone(&id);
    let flv = of("flv-play", "rtmp");
    assert_eq!(flv.len(), 4);
    for id in &flv[..3] {
        assert_eq!(ask(api, "DELETE", &format!("/api/v1/clients/{id}"))["code"], 0);
        gone(id);
    }
    until("three FLV players to have ended", || {
        (crowd.players.iter().filter(|(_, player)| player.end().is_some()).count() == 4).then_some(())
    });
    let survivor = crowd.players.iter().find(|(_, player)| player.end().is_none()).map(|(_, player)| player);
    survivor.expect("one was left").wait_more(50);
    for (kind, name) in [("rtc-play", "rtc"), ("rtc-publish", "rtc"), ("fmle-publish", "ws")] {
        let id = of(kind, name).pop().unwrap_or_else(|| panic!("a {kind} of {name}"));
        assert_eq!(ask(api, "DELETE", &format!("/api/v1/clients/{id}/"))["code"], 0, "{kind}");
        gone(&id);
    }
    let publisher = all.iter().find(|client| client["publish"] == true && client["name"] == "rtmp");
    let id = publisher.and_then(|client| client["id"].as_str()).expect("it publishes");
    assert_eq!(ask(api, "DELETE", &format!("/api/v1/clients/{id}"))["code"], 0);
    gone(id);
    until("streams without publisher and player to be over", || {
        let list = done(api, "/api/v1/streams/");
        let live = list["streams"].as_array()?.iter().any(|stream| stream["publish"]["active"] == true);
        (!live).then_some(())
    });
    let log = server.log();
    assert!(log.matches("an operator closes the connection").count() >= 8, "{log}");
    drop(crowd.rtc_player);
    drop(crowd.rtc_publisher);
    server.assert_unhurt();
}

#[test]
fn scripts_of_other_pages_may_ask_and_cannot_be_tricked() {
    let server = Server::start();
    let api = server.api();
    let answer = http::ask(api, "GET", "/api/v1/versions?callback=angular.callbacks._0").expect("answered");
    assert_eq!(answer.head.field("content-type"), Some("text/javascript"));
    let text = answer.text();
    let json = text.strip_prefix("angular.callbacks._0(").and_then(|rest| rest.strip_suffix(')'));
    let value: Value = serde_json::from_str(json.expect("a call")).expect("JSON");
    assert_eq!(value["code"], 0);
    assert_eq!(code(&get(api, "/api/v1/versions?callback=alert(1)")), 4058);

    let from_page = |method: &str, more: &str| {
        let text = format!(
            "{method} /api/v1/streams HTTP/1.1\r\nHost: {api}\r\nOrigin: http://page.example\r\n{more}\
            Connection: close\r\n\r\n"
        );
        http::exchange(api, &text).expect("answered").head
    };
    let head = from_page("GET", "");
    for (name, value) in [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Headers", "*"),
        ("Access-Control-Allow-Methods", "*"),
        ("Access-Control-Expose-Headers", "*"),
        ("Access-Control-Allow-Credentials", "false"),
        ("Access-Control-Request-Private-Network", "true"),
    ] {
        assert_eq!(head.field(name), Some(value), "{name}");
    }
    let plain = http::ask(api, "GET", "/api/v1/streams").expect("answered");
    assert_eq!(plain.head.field("Access-Control-Allow-Origin"), None, "only pages of other origins need it");
    let asked = "Access-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: authorization\r\n";
    let options = from_page("OPTIONS", asked);
    assert_eq!((options.status, options.field("Access-Control-Allow-Origin")), (200, Some("*")));
    assert!(options.field("Access-Control-Allow-Methods").is_some_and(|methods| methods.contains("DELETE")));
    assert_eq!(options.field("Access-Control-Allow-Headers"), Some("authorization"));
}
