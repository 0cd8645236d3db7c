//! Our own API against its description: every answer of a live server has the shape that `openapi.yaml` gives it, and what the
//! description does not know is refused. Then what the figures are for: health, Prometheus, the log, the demo's switch.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, Server, http, media::Media, tools::Tool, until, webrtc,
};

/// The description, as a file and as the server gives it.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi.yaml");

fn description() -> Value {
    let text = std::fs::read_to_string(FILE).expect("the description is there");
    let yaml: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    serde_json::to_value(yaml).expect("YAML of plain values is JSON")
}

/// Follows a reference.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(path) => document.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("no {path}")),
        None => schema,
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("a type like {other}"),
    }
}

/// What of a value is not as the schema has it; for the part of JSON Schema that the description uses.
fn fault(document: &Value, at: &str, value: &Value, schema: &Value) -> Option<String> {
    let schema = resolve(document, schema);
    if schema == &Value::Bool(true) {
        return None;
    }
    if let Some(one_of) = schema.get("oneOf").and_then(Value::as_array) {
        let fits = one_of.iter().filter(|schema| fault(document, at, value, schema).is_none()).count();
        return (fits != 1).then(|| format!("{at} fits {fits} of its forms: {value}"));
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        other => panic!("{at}: a type like {other}"),
    };
    if !kinds.iter().any(|kind| is_of(kind, value)) {
        return Some(format!("{at} should be {kinds:?} and is {value}"));
    }
    if schema.get("const").is_some_and(|constant| constant != value)
        || schema.get("enum").and_then(Value::as_array).is_some_and(|words| !words.contains(value))
    {
        return Some(format!("{at} may not be {value}"));
    }
    if let Some(items) = value.as_array() {
        let mut all = items.iter().enumerate();
        return all.find_map(|(n, item)| fault(document, &format!("{at}[{n}]"), item, &schema["items"]));
    }
    let members = value.as_object()?;
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    if let Some(missing) = required.filter_map(Value::as_str).find(|name| !members.contains_key(*name)) {
        return Some(format!("{at}.{missing} is missing"));
    }
    members.iter().find_map(|(name, member)| {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => fault(document, &at, member, schema),
            (None, Value::Bool(false)) => Some(format!("{at} is not described")),
            (None, schema) => fault(document, &at, member, schema),
        }
    })
}

/// Asks, and compares the answer with the description of `path`.
fn ask(document: &Value, addr: SocketAddr, method: &str, path: &str, target: &str) -> Value {
    let answer = http::ask(addr, method, target).unwrap_or_else(|error| panic!("{method} {target}: {error}"));
    let operation = &document["paths"][path][method.to_lowercase()];
    let status = answer.head.status.to_string();
    let described = operation["responses"].get(&status);
    let described = described
        .unwrap_or_else(|| panic!("{method} {target}: {status} is not described: {}", answer.text()));
    let described = resolve(document, described);
    let kind = answer.head.field("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let content = described["content"]
        .get(kind)
        .unwrap_or_else(|| panic!("{method} {target}: {kind} is not described"));
    if kind != "application/json" {
        return answer.text().into();
    }
    let value: Value =
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{target}: {error}"));
    assert_eq!(fault(document, path, &value, &content["schema"]), None, "{method} {target}");
    value
}

#[test]
fn every_answer_is_as_it_is_described() {
    let (document, fixture) = (description(), Fixture::get(Media::H264Aac));
    let mut server = Server::start();
    let publisher =
        Publisher::open(&server, Entrance::Rtmp, "live/cam").expect("the seat is free").run(&fixture);
    let rtc_publisher = webrtc::publish(server.http(), "live/rtc", webrtc::programme());
    let players = [Path::Rtmp, Path::Http, Path::WsFlv].map(|path| Player::open(&server, path, "live/cam"));
    let deaf = Player::open(&server, Path::Http, "live/rtc");
    let rtc_player = webrtc::play(server.http(), "live/cam");
    players.iter().for_each(Player::wait_start);
    deaf.wait_start();
    for key in ["live/cam", "live/rtc"] {
        until(&format!("{key} to be listed"), || server.stream(key));
    }
    let clients = until("all seven clients", || {
        let value = ask(&document, server.api(), "GET", "/api/v2/clients", "/api/v2/clients");
        value["clients"].as_array().filter(|clients| clients.len() == 7).cloned()
    });
    let id = clients[0]["id"].as_str().expect("an id").to_owned();
    let live: HashMap<&str, &str> = HashMap::from([("{app}", "live"), ("{name}", "cam"), ("{id}", &id)]);
    let mut asked = 0;
    for addr in [server.api(), server.http()] {
        for path in document["paths"].as_object().expect("paths").keys() {
            let target = live.iter().fold(path.clone(), |target, (name, value)| target.replace(name, value));
            if document["paths"][path].get("get").is_some() {
                ask(&document, addr, "GET", path, &target);
                asked += 1;
            }
            // What is not described is not there.
            for method in ["PUT", "POST", "DELETE", "PATCH"] {
                if document["paths"][path].get(method.to_lowercase()).is_none() {
                    let answer = http::ask(addr, method, &target).expect("answered");
                    assert_eq!(answer.head.status, 405, "{method} {target}");
                    assert!(
                        answer
                            .head
                            .field("allow")
                            .is_some_and(|allow| allow.contains("OPTIONS") && !allow.contains(method))
                    );
                }
            }
            let options = http::ask(addr, "OPTIONS", &target).expect("answered");
            assert_eq!(options.head.status, 200, "{target}");
        }
    }
    assert!(asked >= 20, "{asked}");
    let api = server.api();
    for (path, target) in [
        ("/api/v2/clients", "/api/v2/clients?count=x"),
        ("/api/v2/clients", "/api/v2/clients?start=-1"),
        ("/api/v2/clients", "/api/v2/clients?stream=nothing"),
        ("/api/v2/log", "/api/v2/log?level=loud"),
        ("/api/v2/log", "/api/v2/log?lines=1001"),
        ("/api/v2/streams/{app}/{name}", "/api/v2/streams/live/%00"),
        ("/api/v2/streams/{app}/{name}", "/api/v2/streams/live/nobody"),
        ("/api/v2/clients/{id}", "/api/v2/clients/nobodyxx"),
    ] {
        let value = ask(&document, api, "GET", path, target);
        assert!(value["error"].is_string() || value.is_string(), "{target}: {value}");
    }
    // Parts of the list, and of one stream.
    let of = ask(&document, api, "GET", "/api/v2/clients", "/api/v2/clients?stream=live/rtc&count=1");
    assert_eq!((of["total"].as_u64(), of["clients"].as_array().map(Vec::len)), (Some(2), Some(1)));
    let viewer = clients.iter().find(|client| client["protocol"] == "whep").expect("it plays");
    assert_eq!(
        (&viewer["role"], &viewer["type"], &viewer["key"]),
        (&"play".into(), &"rtc-play".into(), &"live/cam".into())
    );
    let told = until("what the viewer tells of its reception", || {
        let value = ask(&document, api, "GET", "/api/v2/clients", "/api/v2/clients?stream=live/cam");
        let viewer = value["clients"].as_array()?.iter().find(|client| client["protocol"] == "whep")?.clone();
        viewer["reception"]["round_trip_ms"].is_number().then_some(viewer)
    });
    assert_eq!((&told["reception"]["loss_percent"], &told["reception"]["refused"]), (&json!(0.0), &json!(0)));
    let flv = clients.iter().find(|client| client["protocol"] == "flv").expect("it plays");
    assert_eq!(flv["reception"], Value::Null, "TCP tells nothing of that");
    let stream = until("the sound that is made for the FLV player", || {
        let target = "/api/v2/streams/live/rtc";
        let stream = ask(&document, api, "GET", "/api/v2/streams/{app}/{name}", target);
        stream["transcodes"].as_array().is_some_and(|made| !made.is_empty()).then_some(stream)
    });
    assert_eq!(stream["transcodes"][0]["codec"], "AAC", "an FLV player gets Opus as AAC: {stream}");
    // The description as the server gives it is the file.
    let given = ask(&document, api, "GET", "/openapi.yaml", "/openapi.yaml");
    assert_eq!(given.as_str(), std::fs::read_to_string(FILE).ok().as_deref());
    let kicked = ask(&document, api, "DELETE", "/api/v2/clients/{id}", &format!("/api/v2/clients/{id}"));
    assert_eq!(kicked, json!({ "kicked": id }));
    let nobody = ask(&document, api, "DELETE", "/api/v2/clients/{id}", "/api/v2/clients/nobodyxx");
    assert!(nobody["error"].as_str().is_some_and(|why| why.contains("nobodyxx")));
    drop((rtc_player, rtc_publisher, deaf, players));
    publisher.finish();
    server.assert_unhurt();
}

#[test]
fn the_demo_is_turned_on_and_off() {
    let document = description();
    let mut server = Server::builder().grace("0ms").start();
    let demo = |method| ask(&document, server.api(), method, "/api/v2/demo", "/api/v2/demo");
    assert_eq!((&demo("GET")["running"], &demo("GET")["stream"]), (&false.into(), &"live/demo".into()));
    assert_eq!(demo("POST")["running"], true);
    assert_eq!(demo("POST")["running"], true, "twice is once");
    until("the demo to be live", || server.stream("live/demo").filter(|stream| stream["live"] == true));
    assert_eq!(demo("DELETE")["running"], false);
    until("the demo to be gone", || {
        let live = server.stream("live/demo").is_some_and(|stream| stream["live"] == true);
        (!live).then_some(())
    });
    server.assert_unhurt();
}

#[test]
fn configuration_and_log_tell_where_things_come_from_and_keep_secrets() {
    let document = description();
    let server =
        Server::builder().set("webrtc.ice_servers", "[\"turn:relay.example:3478 ann s3cr3t\"]").start();
    let config = ask(&document, server.api(), "GET", "/api/v2/config", "/api/v2/config");
    let keys = config["keys"].as_array().expect("a list");
    let find =
        |key: &str| keys.iter().find(|entry| entry["key"] == key).unwrap_or_else(|| panic!("no {key}"));
    assert_eq!((&find("shards")["value"], &find("shards")["origin"]), (&2.into(), &"--set shards=2".into()));
    assert_eq!(
        (&find("gop.enable")["value"], &find("gop.enable")["origin"]),
        (&true.into(), &"default".into())
    );
    assert!(!config.to_string().contains("s3cr3t"), "{config}");
    let lines = |query: &str| {
        let value = ask(&document, server.api(), "GET", "/api/v2/log", &format!("/api/v2/log{query}"));
        value["lines"].as_array().expect("a list").clone()
    };
    let all = lines("?level=debug&lines=1000");
    let about = all.iter().find(|line| line["conn"].is_string()).expect("a line about a connection");
    assert!(server.log().contains(about["conn"].as_str().expect("an id")), "it is the log's: {about}");
    assert!(
        all.iter().any(|line| line["level"] == "debug")
            && lines("").iter().all(|line| line["level"] != "debug")
    );
    assert_eq!(lines("?level=debug&lines=3").len(), 3);
}

/// Every sample of Prometheus's text, with its name, labels and value; each name is described before.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let (mut described, mut found) = (HashMap::new(), Vec::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a sentence");
            assert!(help.ends_with('.') || help.len() > 10, "{line}");
            assert_eq!(described.insert(name.to_owned(), false), None, "{name} is described twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(described.insert(name.to_owned(), true), Some(false), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert_eq!(described.get(name), Some(&true), "{name} has no HELP and TYPE");
            found.push((
                name.to_owned(),
                labels.trim_end_matches('}').to_owned(),
                value.parse().expect("a number"),
            ));
        }
    }
    found
}

#[test]
fn prometheus_gets_srs_s_names_and_ours() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = Server::builder().set("metrics.streams", true).start();
    let publisher =
        Publisher::open(&server, Entrance::Rtmp, "live/\"q\"").expect("the seat is free").run(&fixture);
    let player = Player::open(&server, Path::Http, "live/\"q\"");
    player.wait_more(30);
    let get = |server: &Server| {
        let answer = http::ask(server.api(), "GET", "/metrics").expect("answered");
        assert_eq!(answer.head.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        samples(&answer.text())
    };
    let all = until("the figures of a stream that is played", || {
        let all = get(&server);
        let stands =
            |name: &str, least: f64| all.iter().any(|(found, _, value)| found == name && *value >= least);
        // What shards hang up is half a second old at most.
        (stands("shardcast_stream_viewers", 1.0)
            && stands("srs_send_bytes_total", 10_001.0)
            && stands("srs_receive_bytes_total", 10_001.0)
            && stands("srs_clients", 2.0)
            && stands("shardcast_stream_frames_total", 31.0))
        .then_some(all)
    });
    let value = |name: &str| -> f64 {
        let of_name: Vec<f64> =
            all.iter().filter(|(found, ..)| found == name).map(|(.., value)| *value).collect();
        assert!(!of_name.is_empty(), "there is no {name}");
        of_name.iter().sum()
    };
    for name in ["srs_node_uname_info", "srs_build_info"] {
        assert_eq!(value(name), 1.0, "{name}");
    }
    assert!((0.0..=100.0).contains(&value("srs_cpu_percent")) && value("srs_memory") > 1_000.0);
    assert!(value("srs_send_bytes_total") > 10_000.0 && value("srs_receive_bytes_total") > 10_000.0);
    assert_eq!((value("srs_streams"), value("srs_clients"), value("srs_clients_total")), (1.0, 2.0, 2.0));
    assert_eq!(value("srs_clients_errs_total"), 0.0);
    let shards = all.iter().filter(|(name, ..)| name == "shardcast_shard_busy_ratio").count();
    assert_eq!(
        (shards, value("shardcast_shard_publishers"), value("shardcast_shard_players")),
        (2, 1.0, 1.0)
    );
    assert!(
        value("shardcast_shard_media_sent_bytes_total") > 10_000.0 && value("shardcast_uptime_seconds") > 0.0
    );
    let (_, labels, _) = all.iter().find(|(name, ..)| name == "shardcast_stream_live").expect("a stream");
    assert_eq!(labels, "app=\"live\",stream=\"\\\"q\\\"\"", "what clients say is escaped");
    assert!(value("shardcast_stream_frames_total") > 30.0);
    drop(player);
    publisher.finish();

    let plain = Server::start();
    assert!(
        get(&plain).iter().all(|(name, ..)| !name.starts_with("shardcast_stream_")),
        "only where it is wanted"
    );
    let off = Server::builder().set("metrics.enable", false).start();
    assert_eq!(http::ask(off.api(), "GET", "/metrics").expect("answered").text(), "{\"code\":1090}");
}

/// Schemathesis asks whatever the description allows and what it forbids: every answer is one that is described, and none is
/// a failure of the server.
#[test]
fn whatever_is_asked_is_answered_as_described() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder().set("log.level", "info").start();
    let publisher =
        Publisher::open(&server, Entrance::Rtmp, "live/cam").expect("the seat is free").run(&fixture);
    let player = Player::open(&server, Path::Http, "live/cam");
    player.wait_start();
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/st");
    // It leaves notes where it runs.
    let folder = crate::support::scratch("schemathesis");
    std::fs::create_dir_all(&folder).expect("target/tmp can be written");
    let folder = folder.to_string_lossy().into_owned();
    let url = format!("http://{}", server.api());
    let args = [
        "-C",
        &folder,
        tool,
        "--config-file",
        "/dev/null",
        "run",
        FILE,
        "--url",
        &url,
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
            response_headers_conformance,negative_data_rejection",
        // The switch of the demo would turn on an encoder again and again.
        "--exclude-operation-id",
        "startDemo",
        // It follows the ids of the list of clients, and those who are there are to stay; the console's story kicks.
        "--exclude-operation-id",
        "kick",
        "--max-examples",
        "25",
        "--max-time",
        "20",
        "--seed",
        "5",
        "--request-timeout",
        "10",
        "--no-color",
        "--generation-database",
        "none",
    ];
    let outcome = Tool::start("env", args).finish(Duration::from_secs(120));
    assert!(outcome.success(), "{}\n{}", outcome.text(), outcome.stderr);
    player.wait_more(10);
    publisher.finish();
    server.assert_unhurt();
}
