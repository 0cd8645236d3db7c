//! Stories of whole configurations: the shipped file, layers, errors, hostile YAML.

use crate::{
    Coalesce, Config, Errors, Loaded, MANUAL, Millis, Origin, Shards, Sources,
    load::{FILE_BYTES_MAX, Loader},
    origin::File,
    section::leaves,
};
use proptest::prelude::*;
use std::{ffi::OsString, iter::empty, time::Instant};

/// The file is called `f.yaml`; variables and sets as given.
fn layered(text: &str, env: &[(&str, &str)], sets: &[&str]) -> Result<Loaded, Errors> {
    let mut loader = Loader::default();
    loader.file(File { path: "f.yaml".into(), text: text.into() });
    loader.env(env.iter().map(|(name, value)| (name.into(), value.into())));
    sets.iter().for_each(|set| loader.set(set));
    loader.finish()
}

fn file(text: &str) -> Result<Loaded, Errors> {
    layered(text, &[], &[])
}

/// What the operator reads.
fn told(result: Result<Loaded, Errors>) -> String {
    result.expect_err("this configuration is wrong").to_string()
}

#[test]
fn the_shipped_file_is_the_default_and_leaves_no_key_out() {
    let loaded = file(MANUAL).unwrap();
    assert_eq!(loaded.config, Config::default());
    let mut expected = leaves();
    expected.sort();
    assert_eq!(loaded.origins.keys().collect::<Vec<_>>(), expected);
    assert!(MANUAL.len() as u64 * 2 < FILE_BYTES_MAX, "an operator's own remarks fit too");
}

/// Every key has a sentence above it that names its default as the line below spells it.
#[test]
fn the_shipped_file_tells_each_default_above_its_key() {
    let loaded = file(MANUAL).unwrap();
    let lines: Vec<&str> = MANUAL.lines().collect();
    for key in leaves() {
        let Origin::File { line, .. } = loaded.origins.get(&key) else { panic!("{key} is not in the file") };
        let (_, value) = lines[line - 1].split_once(": ").unwrap();
        let above: Vec<&str> = lines[..line - 1].iter().rev().map(|line| line.trim()).collect();
        let comment: Vec<&str> = above.into_iter().take_while(|line| line.starts_with('#')).collect();
        let nearest = comment.first().unwrap_or_else(|| panic!("{key} has no sentence above it"));
        assert!(nearest.ends_with(&format!("Default: {value}.")), "{key}: {nearest}");
    }
}

#[test]
fn no_file_an_empty_file_and_empty_sections_are_the_defaults() {
    let sources = Sources { file: None, env: empty::<(OsString, OsString)>(), sets: &[] };
    assert_eq!(Config::load(sources).unwrap().config, Config::default());
    for text in ["", "# nothing\n", "rtmp:\n  # port: 1936\nlog: {}\n"] {
        assert_eq!(file(text).unwrap().config, Config::default(), "{text:?}");
    }
}

#[test]
fn later_layers_win_and_each_value_remembers_its_layer() {
    let text = "rtmp:\n  port: 2000\nhttpflv:\n  port: 2001\nws_stream:\n  port: 2002\n";
    let env = [("SHARDCAST_HTTPFLV__PORT", "3001"), ("SHARDCAST_WS_STREAM__PORT", "3002"), ("HOME", "/root")];
    let Loaded { config, origins } = layered(text, &env, &["ws_stream.port=4002", "shards=[1, 0]"]).unwrap();
    assert_eq!((config.rtmp.port, config.httpflv.port, config.ws_stream.port), (2000, 3001, 4002));
    assert_eq!(config.shards, Shards::Cpus(vec![0, 1]));
    assert_eq!(origins.get("rtmp.port"), Origin::File { path: "f.yaml".into(), line: 2 });
    assert_eq!(origins.get("httpflv.port"), Origin::Env("SHARDCAST_HTTPFLV__PORT".into()));
    assert_eq!(origins.get("ws_stream.port"), Origin::Set("ws_stream.port=4002".into()));
    assert_eq!(origins.get("rtmp.enable"), Origin::Default);
    assert_eq!(origins.get("rtmp.port").to_string(), "f.yaml:2");
}

#[test]
fn effective_values_print_as_a_file_that_reads_back() {
    let sets = [
        "shards=[0, 3]",
        "delivery.coalesce=350ms",
        "tls.cert=src/lib.rs",
        "tls.key=Cargo.toml",
        "demo.size=320x180",
    ];
    let config = layered("", &[], &sets).unwrap().config;
    assert_eq!(file(&config.to_yaml()).unwrap().config, config);
    assert!(config.to_yaml().contains("coalesce: 350ms"));
}

#[test]
fn all_problems_of_a_file_are_told_together_with_line_key_found_and_allowed() {
    let text = "\
rtmp:
  prot: 1935
  enable: yes
httpflv: 8080
delivery: {coalesce: 5, batch_bytes_max: 64kib,
  lag_max: 1h}
coalesce: 0ms
play:
  wait:
log:
  level: inf
";
    let expected = [
        "f.yaml:2: rtmp.prot: unknown key, did you mean `port`?; allowed here: enable, listen_ip, port",
        "f.yaml:3: rtmp.enable: found `yes`, allowed: true, false",
        "f.yaml:4: httpflv: found `8080`, allowed: a section with enable, listen_ip, port",
        "f.yaml:5: delivery.coalesce: found `5`, allowed: auto, or a duration in ms, s, m or h, like `350ms`, \
         from 0ms to 2s (add a unit)",
        "f.yaml:5: delivery.batch_bytes_max: found `64kib`, allowed: a size in B, kB, KiB, MB, MiB, GB or GiB, \
         like `16MiB`, from 1KiB to 4MiB (the unit is KiB)",
        "f.yaml:6: delivery.lag_max: found `1h`, allowed: a duration in ms, s, m or h, like `350ms`, \
         from 500ms to 5m",
        "f.yaml:7: coalesce: unknown key, did you mean `delivery.coalesce`?; allowed here: shards, rtmp, httpflv, \
         ws_stream, api, webrtc, tls, gop, delivery, mirror, publish, play, transcode, auth, security, log, limits, \
         shutdown, demo, metrics",
        "f.yaml:9: play.wait: found nothing, allowed: a duration in ms, s, m or h, like `350ms`, from 0ms to 1h",
        "f.yaml:11: log.level: found `inf`, allowed: off, error, warn, info, debug, trace (did you mean `info`?)",
    ];
    assert_eq!(told(file(text)), expected.join("\n"));
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    assert_eq!(told(file("rtmp:\n\tport: 1\n")).lines().count(), 1);
    assert!(
        told(file("rtmp:\n\tport: 1\n")).starts_with("f.yaml:2: "),
        "{}",
        told(file("rtmp:\n\tport: 1\n"))
    );
    assert_eq!(told(file("rtmp: {}\nlog: {}\nrtmp: {}\n")), "f.yaml:3: the key `rtmp` is given twice");
    assert!(told(file("a: 1\n---\nb: 2\n")).contains("more than one document"));
    assert!(told(file("- rtmp\n")).contains("found a list, allowed: a section"));
    assert!(told(file("rtmp: !secret x\n")).starts_with("f.yaml:1: "));
}

#[test]
fn variables_and_sets_are_named_when_they_are_wrong() {
    let env = [("SHARDCAST_RTMP__PORT", "70000"), ("SHARDCAST_LOG__LEVL", "info"), ("SHARDCAST_SHARD", "2")];
    let sets = ["rtmp.port=x", "rtmp.port", "shards.a=1", "=1", "gop.bytes_max=[1"];
    let expected = [
        "SHARDCAST_LOG__LEVL: log.levl: unknown key, did you mean `level`?; allowed here: \
         level, format, file, rotate, keep",
        "SHARDCAST_RTMP__PORT: rtmp.port: found `70000`, allowed: a whole number from 1 to 65535",
        "SHARDCAST_SHARD: shard: unknown key, did you mean `shards`?; allowed here: shards, rtmp, httpflv, \
         ws_stream, api, webrtc, tls, gop, delivery, mirror, publish, play, transcode, auth, security, log, limits, \
         shutdown, demo, metrics",
        "--set rtmp.port=x: rtmp.port: found `x`, allowed: a whole number from 1 to 65535",
        "--set rtmp.port: found no `=`, allowed: key.path=value",
        "--set shards.a=1: shards: found a section, allowed: auto, a number from 1 to 256, \
         or a list of 1 to 256 CPUs like [0, 1]",
    ];
    let told = told(layered("", &env, &sets));
    assert!(told.starts_with(&expected.join("\n")), "{told}");
    assert_eq!(told.lines().count(), 8, "{told}");
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_not_ours() {
    let env = [
        ("SHARDCAST_PORT", "tcp://10.0.0.1:1935"),
        ("SHARDCAST_PORT_1935_TCP_ADDR", "10.0.0.1"),
        ("SHARDCAST_SERVICE_HOST", "10.0.0.1"),
    ];
    assert_eq!(layered("", &env, &[]).unwrap().config, Config::default());
}

#[test]
fn contradictions_are_told_at_the_key_that_came_last() {
    let cases: &[(&[&str], &str)] = &[
        (&["ws_stream.port=8080"], "two services cannot share one address"),
        (&["rtmp.listen_ip=::", "rtmp.port=8081"], "two services cannot share one address"),
        (
            &["rtmp.enable=false", "httpflv.enable=false", "ws_stream.enable=false", "api.enable=false"],
            "serves nobody",
        ),
        (&["webrtc.codecs=[h263]"], "is no codec of WebRTC"),
        (&["webrtc.candidates=[example.org]"], "is no address"),
        (&["webrtc.ice_servers=[example.org]"], "is no ICE server"),
        (&["tls.cert=/etc/cert.pem"], "give both or neither"),
        (&["tls.cert=Cargo.toml", "tls.key=/nowhere.pem"], "cannot be read: No such file"),
        (&["tls.cert=/", "tls.key=Cargo.toml"], "cannot be read: it is no file"),
        (
            &["delivery.queue_bytes_max=4MiB"],
            "limits.message_bytes_max may not be more than delivery.queue_bytes_max",
        ),
        (&["delivery.batch_bytes_max=4MiB", "delivery.queue_bytes_max=1MiB"], "a batch must fit"),
        (&["delivery.coalesce=2s", "delivery.lag_max=1s"], "late before it is sent anything"),
        (&["delivery.coalesce=2s", "delivery.stall_timeout=1s"], "count as stalled"),
        (&["log.rotate=daily"], "only a file can be rotated"),
        (&["log.file=/"], "not a directory"),
        (&["demo.stream=demo"], "allowed: app/name"),
        (&["demo.stream=live/../x"], "allowed: app/name"),
    ];
    for (sets, expected) in cases {
        let told = told(layered("", &[], sets));
        assert!(told.contains(expected) && told.starts_with("--set "), "{sets:?}: {told}");
    }
    assert_eq!(
        told(layered(
            "rtmp: {port: 9000}\nhttpflv:\n  port: 9000\n",
            &[("SHARDCAST_RTMP__PORT", "9000")],
            &[]
        )),
        "SHARDCAST_RTMP__PORT: rtmp.port: found 0.0.0.0:9000, but httpflv.port is 0.0.0.0:9000 (f.yaml:3); \
         two services cannot share one address: give each its own port"
    );
}

#[test]
fn services_on_different_addresses_may_share_a_port() {
    let sets = ["rtmp.listen_ip=127.0.0.1", "httpflv.listen_ip=127.0.0.2", "rtmp.port=8080"];
    assert_eq!(layered("", &[], &sets).unwrap().config.rtmp.address().to_string(), "127.0.0.1:8080");
    let sets = ["ws_stream.port=8080", "ws_stream.enable=false"];
    assert!(layered("", &[], &sets).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_name() {
    let load = |path: &str| {
        let sources = Sources { file: Some(path.into()), env: empty::<(OsString, OsString)>(), sets: &[] };
        told(Config::load(sources))
    };
    assert!(
        load("/nowhere/shardcast.yaml").starts_with("/nowhere/shardcast.yaml: cannot be read: No such file")
    );
    assert!(load("/").contains("cannot be read: Is a directory"));
    assert_eq!(load("/dev/zero"), "/dev/zero: cannot be read: larger than 64 KiB");
    assert!(load("/proc/self/exe").contains("cannot be read: "));
}

#[test]
fn hostile_yaml_is_refused_in_bounded_time_and_memory() {
    let room = usize::try_from(FILE_BYTES_MAX).unwrap();
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x]\n");
    for (from, to) in ('a'..='y').zip('b'..='z') {
        bomb.push_str(&format!(
            "{to}: &{to} [*{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}]\n"
        ));
    }
    let hostile = [
        bomb,
        "[".repeat(room),
        "{a: ".repeat(room / 4),
        "- ".repeat(room / 2),
        "? ".repeat(room / 2),
        "a: &a [*a, *a]\n".to_owned(),
        format!("rtmp: &r\n  port: {}\n", "9".repeat(room - 32)),
        (0..room / 8).map(|i| format!("k{i}: 1\n")).collect(),
        format!("a: &a {}\nb: [{}]\n", "x".repeat(4_000), "*a, ".repeat(room / 8)),
        "\u{feff}rtmp: {port: 0x1_}\n".to_owned(),
        "rtmp: {port: 18446744073709551616}\n".to_owned(),
        "<<: {rtmp: 1}\n~: 1\n[1]: 2\n".to_owned(),
    ];
    for text in hostile {
        let start = Instant::now();
        let told = told(file(&text));
        assert!(told.lines().count() <= 33 && told.len() < 64 << 10, "{told}");
        assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told}");
        assert!(start.elapsed().as_secs() < 10, "{} bytes of {:.20}", text.len(), text);
    }
}

#[test]
fn every_cut_of_the_manual_is_read_or_refused() {
    for cut in (0..MANUAL.len()).step_by(61).filter(|cut| MANUAL.is_char_boundary(*cut)) {
        if let Err(errors) = file(&MANUAL[..cut]) {
            assert!(errors.problems().iter().all(|problem| problem.place.starts_with("f.yaml")), "{errors}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_read_or_refused(text in "([a-z_]{1,6}|[:{}\\[\\]&*!|>'\"#%@,?\n \t-]|rtmp: |port: |1935|5s){0,64}") {
        let _ = file(&text);
        let _ = layered("", &[("SHARDCAST_GOP__BYTES_MAX", &text)], &[&text]);
    }

    #[test]
    fn a_manual_with_one_byte_changed_is_read_or_refused(at in 0..MANUAL.len(), byte in 0u8..128) {
        let mut bytes = MANUAL.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = file(&String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn a_duration_set_within_its_range_is_what_counts(millis in 0u64..=2_000) {
        let set = format!("delivery.coalesce={}", Millis::from_millis(millis));
        let loaded = layered("", &[], &[&set, "delivery.lag_max=5s"]).unwrap();
        prop_assert_eq!(loaded.config.delivery.coalesce, Coalesce::Fixed(Millis::from_millis(millis)));
    }
}
