//! The command line: what it prints, what it refuses and how it says so, and which setting wins.

use std::process::Command;

use crate::support::{Server, http, scratch, server::binary};

/// Status, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("the server can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn check(name: &str, yaml: &str) -> (i32, String, std::path::PathBuf) {
    let path = scratch(&format!("cli.{name}.yaml"));
    std::fs::write(&path, yaml).expect("target/tmp can be written");
    let (status, out, err) = run(binary().arg("--config").arg(&path).arg("--check-config"));
    (status, out + &err, path)
}

#[test]
fn version_and_help_are_printed() {
    let (status, out, _) = run(binary().arg("--version"));
    assert_eq!((status, out.trim()), (0, concat!("shardcast ", env!("CARGO_PKG_VERSION"))));
    let (status, out, _) = run(binary().arg("--help"));
    assert_eq!(status, 0);
    for word in ["--config", "--check-config", "--set", "--demo", "--version", "SHARDCAST_", "rtmp.port"] {
        assert!(out.contains(word), "{word} is not in the help:\n{out}");
    }
    assert!(out.to_lowercase().contains("example"), "{out}");
}

#[test]
fn the_file_that_is_shipped_is_good() {
    let (status, out, err) = run(binary().args(["--config", "config/shardcast.yaml", "--check-config"]));
    assert_eq!(status, 0, "{out}{err}");
    let (status, text, _) = check("empty", "");
    assert_eq!(status, 0, "{text}");
}

#[test]
fn a_mistake_is_told_with_file_line_key_and_what_is_allowed() {
    let stories = [
        ("unknown", "rtmp:\n  prot: 1935\n", 2, "prot", "port"),
        ("unit", "play:\n  wait: 30\n", 2, "play.wait", "ms"),
        ("range", "# a comment\nhttpflv:\n  port: 70000\n", 3, "httpflv.port", "65535"),
        ("word", "publish:\n  takeover: maybe\n", 2, "publish.takeover", "replace"),
        ("type", "rtmp:\n  enable: sure\n", 2, "rtmp.enable", "true"),
        (
            "contradiction",
            "delivery:\n  queue_bytes_max: 1MiB\n",
            2,
            "delivery.queue_bytes_max",
            "limits.message_bytes_max",
        ),
    ];
    for (name, yaml, line, key, allowed) in stories {
        let (status, text, path) = check(name, yaml);
        assert_ne!(status, 0, "{name} passed: {text}");
        let place = format!("{}:{line}", path.display());
        // A contradiction may be told at either of its keys.
        assert!(text.contains(&place) || name == "contradiction", "{name}: no '{place}' in:\n{text}");
        assert!(text.contains(key), "{name}: no '{key}' in:\n{text}");
        assert!(text.contains(allowed), "{name}: no '{allowed}' in:\n{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let (status, text, _) = check("many", "rtmp:\n  port: 0\nplay:\n  grace: soon\nnonsense: 1\n");
    assert_ne!(status, 0);
    for word in ["rtmp.port", "play.grace", "nonsense"] {
        assert!(text.contains(word), "no '{word}' in:\n{text}");
    }
}

#[test]
fn a_wrong_set_or_variable_is_named_too() {
    let (status, out, err) = run(binary().args(["--check-config", "--set", "rtmp.prot=1"]));
    assert!(status != 0 && (out.clone() + &err).contains("rtmp.prot"), "{out}{err}");
    let (status, out, err) = run(binary().arg("--check-config").env("SHARDCAST_RTMP__PORT", "many"));
    assert!(status != 0 && (out.clone() + &err).contains("SHARDCAST_RTMP__PORT"), "{out}{err}");
    let (status, out, err) = run(binary().args(["--config", "/nowhere/x.yaml"]));
    assert!(status != 0 && (out.clone() + &err).contains("/nowhere/x.yaml"), "{out}{err}");
    let (status, _, err) = run(binary().arg("--no-such-option"));
    assert!(status != 0 && err.contains("--no-such-option"), "{err}");
}

/// The command line wins over the environment, that over the file: all three name a port, one is used.
#[test]
fn the_command_line_wins_over_variables_and_those_over_the_file() {
    let path = scratch("cli.layers.yaml");
    std::fs::write(&path, "rtmp:\n  port: 1111\nhttpflv:\n  port: 2222\nws_stream:\n  port: 3333\n")
        .expect("written");
    let mut command = binary();
    command.arg("--config").arg(&path).arg("--print-config");
    command.env("SHARDCAST_HTTPFLV__PORT", "4444").env("SHARDCAST_WS_STREAM__PORT", "5555");
    command.args(["--set", "ws_stream.port=6666"]);
    let (status, out, err) = run(&mut command);
    assert_eq!(status, 0, "{err}");
    for (port, counts) in
        [(1111, true), (2222, false), (3333, false), (4444, true), (5555, false), (6666, true)]
    {
        assert_eq!(out.contains(&format!("port: {port}")), counts, "{port}:\n{out}");
    }
}

#[test]
fn it_says_where_it_listens_and_on_which_shards() {
    let server = Server::start();
    let urls = [
        format!(":{}", server.rtmp().port()),
        format!(":{}", server.http().port()),
        format!(":{}", server.ws().port()),
    ];
    for (scheme, port) in ["rtmp://", "http://", "ws://"].iter().zip(urls) {
        server.wait_for_line(&[scheme, &port]);
    }
    let line = server.wait_for_line(&["shard"]).to_lowercase();
    assert!(line.contains("cpu"), "{line}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let set = format!("rtmp.port={port}");
    let sets = ["--set", &set, "--set", "rtmp.listen_ip=127.0.0.1", "--set", "httpflv.enable=false"];
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "30"]).arg(binary().get_program()).args(sets).args([
        "--set",
        "ws_stream.enable=false",
        "--set",
        "api.enable=false",
        "--set",
        "webrtc.enable=false",
    ]);
    let (status, out, err) = run(&mut command);
    assert!(status > 0 && status < 128, "it ends with an error, not {status}: {out}{err}");
    assert!((out.clone() + &err).contains(&port.to_string()), "{out}{err}");
}

#[test]
fn a_missing_certificate_is_named() {
    let sets = ["--set", "tls.cert=/nowhere/cert.pem", "--set", "tls.key=/nowhere/key.pem"];
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "30"]).arg(binary().get_program()).args(sets);
    let (status, out, err) = run(&mut command);
    assert!(status > 0 && status < 128, "it ends with an error, not {status}");
    assert!((out.clone() + &err).contains("/nowhere/cert.pem"), "{out}{err}");
}

#[test]
fn the_log_goes_to_a_file_as_json_when_told_to() {
    let path = scratch(&format!("cli.log.{}.json", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let mut server = Server::builder().set("log.format", "json").set("log.file", path.display()).start();
    http::ask(server.http(), "GET", "/").expect("answered");
    server.stop_within(std::time::Duration::from_secs(20));
    let text = std::fs::read_to_string(&path).expect("the log was written");
    assert!(text.lines().count() > 0);
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
