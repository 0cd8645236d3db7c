//! A shard that does not get its core: whoever asks the others is told at once who is late, and their streams go on.
//!
//! The shard's thread is held by a tracer (`ptrace(2)`), as a debugger would, and by nothing in the server.

use std::{
    fs,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, Server, http, media::Media, tools::Tool, until,
};

/// Seizes the thread that is its argument, and lets it go when it is itself ended.
const TRACER: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
tid = int(sys.argv[1])
for request in SEIZE, INTERRUPT:
    if libc.ptrace(request, tid, None, None):
        sys.exit('ptrace: ' + os.strerror(ctypes.get_errno()))
os.waitpid(tid, WALL)
signal.pause()
";

/// An answer that takes so long is no answer: half a second is what the server waits for a shard.
const PROMPT: Duration = Duration::from_secs(2);

fn task_of(server: &Server, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let mut tasks = tasks.flatten().map(|task| task.file_name().to_string_lossy().into_owned());
    let called = |tid: &String| {
        let said = fs::read_to_string(format!("/proc/{}/task/{tid}/comm", server.pid()));
        said.is_ok_and(|comm| comm.starts_with(name))
    };
    tasks.find(called).unwrap_or_else(|| panic!("no thread {name}"))
}

/// Holds a shard until the value is dropped.
fn hold(server: &Server, shard: usize) -> Tool {
    let tid = task_of(server, &format!("shard-{shard}-"));
    let mut tracer = Tool::start("python3", ["-c", TRACER, &tid]);
    let is_held = until("the shard to be held, or no leave for that", || {
        let status = fs::read_to_string(format!("/proc/{}/task/{tid}/status", server.pid())).ok()?;
        let is_held = status.contains("tracing stop");
        (is_held || !tracer.running()).then_some(is_held)
    });
    if !is_held {
        panic!("no leave to trace (root has it): {}", tracer.finish(PROMPT).stderr);
    }
    tracer
}

/// How many ask at a time: the kernel deals them to the shards by chance, and each shall have some.
const ASKING: usize = 24;

/// Asks on so many connections, some of which the held shard has and lets wait. What came at once, and what comes at all.
fn ask_all(server: &Server, target: &'static str) -> (Vec<http::Answer>, Receiver<http::Answer>) {
    let (sender, answers) = channel();
    for _ in 0..ASKING {
        let (sender, api) = (sender.clone(), server.api());
        thread::spawn(move || {
            let answer = http::ask(api, "GET", target);
            // Nobody listens any more once the story is over.
            let _ = answer.map(|answer| sender.send(answer));
        });
    }
    let (until, mut prompt) = (Instant::now() + PROMPT, Vec::new());
    while let Ok(answer) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
        prompt.push(answer);
    }
    assert!((1..ASKING).contains(&prompt.len()), "{target}: {} of {ASKING} came at once", prompt.len());
    (prompt, answers)
}

fn json_of(answer: &http::Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[test]
fn a_late_shard_is_named_and_holds_nobody_else_up() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let on = |shard: usize| {
        let mut publishers = Vec::new();
        // Keys go to shards by their hash: one of a few lands where it is wanted.
        for n in 0..64 {
            let key = format!("live/{shard}-{n}");
            publishers.push(
                Publisher::open(&server, Entrance::Rtmp, &key).expect("the seat is free").run(&fixture),
            );
            let stream = until("the stream to be listed", || server.stream(&key));
            if stream["shard"] == shard {
                return (key, publishers.pop().expect("pushed above"));
            }
        }
        panic!("no key goes to shard {shard}");
    };
    let ((here, on_time), (there, held_up)) = (on(0), on(1));
    let player = Player::open(&server, Path::Http, &here);
    let other = Player::open(&server, Path::Http, &there);
    Player::wait_all_more([&player, &other], 50);
    assert_eq!(http::ask(server.api(), "GET", "/readyz").expect("answered").head.status, 200);

    let tracer = hold(&server, 1);
    let before = player.count();
    // A page that is two seconds old is late.
    thread::sleep(Duration::from_secs(3));
    let mut waiting = Vec::new();
    let mut ask = |target| {
        let (prompt, rest) = ask_all(&server, target);
        waiting.push((target, prompt.len(), rest));
        prompt.into_iter().next().expect("one at least")
    };
    let ready = ask("/readyz");
    assert_eq!((ready.head.status, json_of(&ready)), (503, json!({ "status": "late", "late_shards": [1] })));
    let alive = ask("/healthz");
    assert_eq!(alive.head.status, 200);
    for target in
        ["/api/v2/streams", "/api/v2/clients", "/api/v2/server", "/api/v1/clients", "/api/v1/streams"]
    {
        let answer = ask(target);
        assert_eq!(answer.head.status, 200, "{target}");
        assert_eq!(json_of(&answer)["late_shards"], json!([1]), "{target}: {}", answer.text());
    }
    let clients = json_of(&ask("/api/v2/clients"));
    let keys: Vec<&str> = clients["clients"]
        .as_array()
        .expect("clients")
        .iter()
        .filter_map(|client| client["key"].as_str())
        .collect();
    assert_eq!(keys, [&here, &here], "those of the other shard are all there: {clients}");
    let metrics = ask("/metrics").text();
    let age = metrics
        .lines()
        .find_map(|line| line.strip_prefix("shardcast_shard_age_seconds{shard=\"1\"} "))
        .and_then(|age| age.parse::<f64>().ok());
    assert!(age.is_some_and(|age| age > 2.0), "{age:?}");
    assert!(
        player.count() > before + 100,
        "who is not on that shard plays on: {} new",
        player.count() - before
    );

    drop(tracer);
    for (target, prompt, rest) in waiting {
        let mut all = prompt;
        while all < ASKING {
            rest.recv_timeout(Duration::from_secs(20))
                .unwrap_or_else(|_| panic!("{target}: {all} of {ASKING} are answered"));
            all += 1;
        }
    }
    until("all shards to be in time", || {
        let answer = http::ask(server.api(), "GET", "/readyz").ok()?;
        (answer.head.status == 200).then_some(())
    });
    Player::wait_all_more([&player, &other], 50);
    drop((player, other));
    on_time.finish();
    held_up.finish();
    server.assert_unhurt();
}
