//! The tool against the real server: every play protocol at once, what is told of it, and the exit status.
//!
//! The server belongs to another package, so its binary is looked for where cargo puts it, and built there if it is not.

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

struct Server {
    child: Child,
    rtmp: u16,
    http: u16,
}

/// Beside this test's executable: `target/PROFILE/deps/..`.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps");
    let binary = folder.join("shardcast");
    if !binary.exists() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "shardcast", "--bin", "shardcast", "--manifest-path", manifest]);
        build.arg("--target-dir").arg(folder.parent().expect("target"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success() && binary.exists(), "the server cannot be built");
    }
    binary
}

fn free_ports() -> [u16; 5] {
    [0; 5]
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .map(|listener| listener.local_addr().expect("its address").port())
}

impl Server {
    fn start() -> Self {
        // Nobody else has the last one for datagrams either, most likely.
        let [rtmp, http, ws, api, webrtc] = free_ports();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary());
        let services =
            [("rtmp", rtmp), ("httpflv", http), ("ws_stream", ws), ("api", api), ("webrtc", webrtc)];
        for (service, port) in services {
            command.args([
                "--set",
                &format!("{service}.listen_ip=127.0.0.1"),
                "--set",
                &format!("{service}.port={port}"),
            ]);
        }
        command.args(["--set", "shards=1", "--set", "delivery.coalesce=0ms", "--set", "log.level=warn"]);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut server = Self { child, rtmp, http };
        let start = Instant::now();
        while [rtmp, http].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            let ended = server.child.try_wait().expect("a child can be asked");
            assert!(
                ended.is_none() && start.elapsed() < Duration::from_secs(60),
                "the server does not listen"
            );
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        let Self { rtmp, http, .. } = self;
        [
            format!("--publish=rtmp://127.0.0.1:{rtmp}/live/{name}%d"),
            format!("--play=rtmp://127.0.0.1:{rtmp}/live/{name}%d"),
            format!("--play=http://127.0.0.1:{http}/live/{name}%d.flv"),
            format!("--play=ws://127.0.0.1:{http}/live/{name}%d.flv"),
            format!("--pid={}", self.child.id()),
            format!("--shardcast=http://127.0.0.1:{http}"),
        ]
        .to_vec()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(args: &[&str], more: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardcast-loadtest"));
    command.args(args).args(more).args(["--json=-", "--quiet"]);
    command.output().expect("the tool runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn metric(results: &Value, name: &str) -> f64 {
    results["runs"][0]["metrics"][name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name} was not measured: {results:#}"))
}

#[test]
fn players_of_all_protocols_are_measured() {
    let server = Server::start();
    let report = std::env::temp_dir().join(format!("loadtest-{}.html", std::process::id()));
    let mut args = server.addresses("cam");
    args.push(format!("--report={}", report.display()));
    let fanout = ["fanout", "--publishers=2", "--players=8", "--warmup=500ms", "--duration=2s", "--gop=1s"];
    let output = tool(&[&fanout[..], &["--require=died==0", "--require=played==24"]].concat(), &args);
    let results = json(&output);
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    for form in ["rtmp", "http", "ws"] {
        assert_eq!(metric(&results, &format!("{form}.played")), 8.0);
        assert!(metric(&results, &format!("{form}.sampled")) >= 3.0);
        assert!(metric(&results, &format!("{form}.p50")) < 1_000.0);
        assert!(metric(&results, &format!("{form}.first_key_max")) < 5_000.0);
        assert_eq!(metric(&results, &format!("{form}.lost")), 0.0);
        assert_eq!(metric(&results, &format!("{form}.backward")), 0.0);
    }
    // 24 players of 2 Mbit/s; the machine may be busy.
    let throughput = metric(&results, "throughput") / 48e6;
    assert!((0.8..1.2).contains(&throughput), "{throughput} of what is published");
    assert!(
        metric(&results, "cpu") > 0.0
            && metric(&results, "rss") > 1e6
            && metric(&results, "descriptors") > 24.0
    );
    assert!(results["runs"][0]["shards"]["close"]["0"]["connections"].is_number());
    assert_eq!(results["requirements"][0]["holds"], true);
    let page = std::fs::read_to_string(&report).expect("a report");
    assert!(page.contains("<svg") && page.trim_end().ends_with("</html>"));
    let _ = std::fs::remove_file(report);
}

#[test]
fn a_requirement_that_does_not_hold_is_an_exit_status_and_a_sentence() {
    let server = Server::start();
    let args =
        ["fanout", "--players=1", "--warmup=0", "--lead=200ms", "--duration=500ms", "--require=p99<1us"];
    let output = tool(&args, &server.addresses("cam"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("p99<1us does not hold: it is "), "{said}");
}

#[test]
fn players_who_come_and_go_leave_nothing_behind() {
    let server = Server::start();
    let args =
        ["churn", "--connects=40", "--ramp=60/s", "--stay=100ms..300ms", "--lead=300ms", "--gop=500ms"];
    let output = tool(&args, &server.addresses("cam"));
    let results = json(&output);
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    assert_eq!(
        (metric(&results, "players"), metric(&results, "died"), metric(&results, "failed")),
        (120.0, 0.0, 0.0)
    );
    assert!(metric(&results, "left") >= 110.0, "the last ones may still be there");
    assert!(metric(&results, "descriptors_after").abs() <= 1.0, "{results:#}");
}

#[test]
fn the_floor_is_measured_like_a_server() {
    let output = tool(&["floor", "--players=10", "--warmup=200ms", "--duration=1s", "--coalesce=100ms"], &[]);
    let results = json(&output);
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    assert_eq!(
        (metric(&results, "played"), metric(&results, "died"), metric(&results, "lost")),
        (10.0, 0.0, 0.0)
    );
    assert!(metric(&results, "cpu_per_gb") > 0.0);
    let p50 = metric(&results, "p50");
    assert!((5.0..1_000.0).contains(&p50), "gathered for 100 ms, so late by half of that: {p50} ms");
}

#[test]
fn players_by_webrtc_are_counted_and_a_sample_tells_how_old_pictures_are() {
    let server = Server::start();
    let Server { http, .. } = server;
    let addresses = [
        format!("--publish=http://127.0.0.1:{http}/whip/live/cam%d"),
        format!("--play=http://127.0.0.1:{http}/whep/live/cam%d"),
        format!("--play=3@http://127.0.0.1:{http}/live/cam%d.flv"),
        format!("--pid={}", server.child.id()),
    ];
    let args = ["fanout", "--publishers=2", "--players=12", "--ramp=50/s", "--warmup=1s", "--duration=2s"];
    let more = ["--gop=1s", "--bitrate=500k", "--require=died==0", "--require=whep.played==12"];
    let output = tool(&[&args[..], &more].concat(), &addresses);
    let results = json(&output);
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    // Half a Mbit/s are some 80 packets a second with their sound; the machine may be busy.
    let packets = metric(&results, "packets") / 12.0;
    assert!((50.0..200.0).contains(&packets), "{packets} packets a second for each player");
    assert!(metric(&results, "cpu_per_packet") > 0.0 && metric(&results, "published_packets") > 100.0);
    assert!(metric(&results, "whep.p50") < 1_000.0 && metric(&results, "http.p50") < 1_000.0);
    assert!(
        metric(&results, "whep.connect_max") < 5_000.0 && metric(&results, "whep.first_key_max") < 10_000.0
    );
    assert_eq!((metric(&results, "packets_lost"), metric(&results, "whep.lost")), (0.0, 0.0), "{results:#}");
    assert!(metric(&results, "picture_gap_max") > 10.0);
}

#[test]
fn publishers_by_webrtc_need_nobody_who_plays() {
    let server = Server::start();
    let publish = format!("--publish=http://127.0.0.1:{}/whip/live/cam%d", server.http);
    let pid = format!("--pid={}", server.child.id());
    let args = ["whip", "--publishers=3", "--warmup=300ms", "--duration=1s", "--require=publishers_ended==0"];
    let output = tool(&args, &[publish, pid]);
    let results = json(&output);
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    assert!(metric(&results, "published_packets") > 300.0 && metric(&results, "cpu_per_packet") > 0.0);
}

#[test]
fn a_session_that_is_refused_is_told_in_the_servers_words() {
    let server = Server::start();
    let play = format!("--play=whep://127.0.0.1:{}/nothing/here", server.http);
    let output = tool(&["whep", "--players=2", "--warmup=0", "--duration=300ms"], &[play]);
    let results = json(&output);
    assert_eq!(output.status.code(), Some(2), "{results:#}");
    assert_eq!(metric(&results, "rejected"), 2.0);
    assert!(results["runs"][0]["notes"].to_string().contains("the server answered 4"), "{results:#}");
}

#[test]
fn the_floor_of_datagrams_is_measured_like_a_server() {
    let output = tool(&["floor", "--udp", "--players=10", "--warmup=2200ms", "--duration=2s"], &[]);
    let results = json(&output);
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    for (name, value) in
        [("played", 10.0), ("died", 0.0), ("lost", 0.0), ("packets_lost", 0.0), ("backward", 0.0)]
    {
        assert_eq!(metric(&results, name), value, "{name}: {results:#}");
    }
    // 2 Mbit/s: 250,000 bytes a second in packets of 1,200 at most, and pictures that end in shorter ones.
    let packets = metric(&results, "packets") / 10.0;
    assert!((220.0..320.0).contains(&packets), "{packets} packets a second for each player");
    assert!(metric(&results, "cpu_per_packet") > 0.0 && metric(&results, "p50") < 1_000.0);
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let [port, ..] = free_ports();
    let args = [
        format!("--publish=rtmp://127.0.0.1:{port}/live/a"),
        format!("--play=http://127.0.0.1:{port}/live/a.flv"),
    ];
    let output = tool(&["fanout"], &args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("nobody listens there"), "{said}");
}
