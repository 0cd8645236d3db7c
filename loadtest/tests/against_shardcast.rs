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

fn free_ports() -> [u16; 3] {
    [0; 3]
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .map(|listener| listener.local_addr().expect("its address").port())
}

impl Server {
    fn start() -> Self {
        let [rtmp, http, ws] = free_ports();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary());
        for service in ["api", "webrtc"] {
            command.args(["--set", &format!("{service}.enable=false")]);
        }
        for (service, port) in [("rtmp", rtmp), ("httpflv", http), ("ws_stream", ws)] {
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
