//! The life of a server that is not to be noticed: it follows another configuration, opens its log anew, lets those who are there
//! end, and hands its ports over to a newer one.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    support::{
        Entrance, Fixture, Kind, Path, Player, Publisher, SOON, Server, Unit,
        backend::{Backend, says},
        http,
        media::Media,
        rtmp::socket,
        scratch,
        server::Builder,
        tools::{FFMPEG5, Tool},
        until, within,
    },
    tls::{certificate, make_certificate, peer_certificate},
};

const KEY: &str = "live/cam";

/// A configuration file of a story's own, and a server that has read it.
pub struct File(PathBuf);

impl File {
    pub fn new(name: &str, text: &str) -> Self {
        let file = Self(scratch(&format!("{name}.{}.yaml", std::process::id())));
        file.write(text);
        file
    }

    pub fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("the scratch directory can be written");
    }

    pub fn server(&self) -> Builder {
        // Settings on the command line would be the last word on them.
        Server::quiet_builder().arg("--config").arg(&self.0.to_string_lossy())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// SIGHUP, and the line of the log that tells what it came to.
fn reload(server: &Server) -> String {
    let before = server.log().len();
    server.signal("HUP");
    until("the reload's end", || {
        let log = server.log();
        let news = log.get(before..)?;
        let told = ["the configuration was read again", "the configuration stays as it was"];
        told.iter().any(|words| news.contains(words)).then(|| news.to_owned())
    })
}

/// Clients that connect, ask and go, over and over: how many were answered, and what went wrong.
struct Knocking {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Knocking {
    fn start(addr: SocketAddr, threads: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (answered, failures) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let threads = (0..threads)
            .map(|_| {
                let (stop, answered, failures) =
                    (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&failures));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match http::ask(addr, "GET", "/api/v2/server") {
                            Ok(answer) if answer.head.status == 200 => {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(answer) => {
                                failures.lock().unwrap().push(format!("status {}", answer.head.status))
                            }
                            Err(error) => failures.lock().unwrap().push(error.to_string()),
                        }
                        thread::sleep(Duration::from_millis(3));
                    }
                })
            })
            .collect();
        Self { stop, answered, failures, threads }
    }

    /// How many were answered; none was refused, reset or left without an answer.
    fn assert_none_refused(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client"));
        let failures = self.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} of {:?} failed: {:?}",
            failures.len(),
            self.answered,
            failures.first()
        );
        self.answered.load(Ordering::Relaxed)
    }
}

/// Everything that may change changes, again and again, while publishers publish, players of every path play and others come
/// and go: nobody is dropped, nothing is missing, nobody is refused.
#[test]
fn reloads_under_load_are_not_noticed() {
    let fixture = Fixture::get(Media::H264Aac);
    let backend = Backend::kind();
    let hooks = format!("hooks:\n  on_play: [{}]\n", backend.url("/"));
    let files = [
        "gop:\n  bytes_max: 8MiB\ndelivery:\n  lag_max: 20s\n  coalesce: 0ms\n".to_owned(),
        format!("{hooks}delivery:\n  unsent_max: 0B\n  coalesce: 5ms\nlimits:\n  connections: 5000\nws_stream:\n  enable: false\n"),
        "delivery:\n  coalesce: auto\nplay:\n  grace: 3s\nmirror:\n  enable: false\nhttpflv:\n  enable: true\nlog:\n  level: debug\n".to_owned(),
        format!("{hooks}publish:\n  takeover: replace\nwebrtc:\n  timeout: 9s\n  codecs: [h264, opus]\n"),
    ];
    let file = File::new("reloads", &files[3]);
    let mut server = file.server().start();
    let publishers = ["live/cam", "live/two"]
        .map(|key| Publisher::open(&server, Entrance::Rtmp, key).expect("the seat is free").run(&fixture));
    let players: Vec<Player> = Path::ALL.iter().map(|path| Player::open(&server, *path, KEY)).collect();
    players.iter().for_each(Player::wait_start);
    let knocking = Knocking::start(server.http(), 2);
    for round in 0..12 {
        file.write(&files[round % files.len()]);
        let told = reload(&server);
        assert!(!told.contains("stays as it was"), "{told}");
        let closed = TcpStream::connect(server.ws()).is_err();
        assert_eq!(closed, round % files.len() == 1, "round {round}: the WebSocket door");
        thread::sleep(Duration::from_millis(200));
    }
    Player::wait_all_more(&players, 50);
    let pictures = |units: &[Unit]| -> Vec<i64> {
        let pictures = units.iter().filter(|unit| unit.kind == Kind::Video && !unit.header);
        pictures.map(|unit| unit.dts).collect()
    };
    let largest = |pictures: &[i64]| pictures.windows(2).map(|pair| pair[1] - pair[0]).max();
    // From one round of the film to the next.
    let expected = largest(&pictures(&fixture.rounds(2)));
    let answered = knocking.assert_none_refused();
    eprintln!("12 reloads, {answered} requests answered meanwhile, none refused");
    assert!(answered > 100, "only {answered} came in");
    for player in &players {
        assert_eq!(player.end(), None, "{:?} was dropped", player.path());
        let gap = largest(&pictures(&player.units()));
        assert_eq!(gap, expected, "{:?} misses a picture", player.path());
    }
    assert!(publishers.iter().all(|publisher| publisher.running()));
    assert!(!backend.about("on_play").is_empty(), "the hooks of the last rounds were called");
    server.assert_unhurt();
}

/// A file that is wrong, or changes one key that cannot change, changes nothing of all that it says.
#[test]
fn a_reload_is_followed_whole_or_not_at_all() {
    let file = File::new("whole", "");
    let mut server = file.server().start();
    let enters = || Publisher::open(&server, Entrance::Rtmp, "live/x").map(Publisher::finish);
    let no = Backend::start(|_| says("200 OK", "1"));
    let good = format!("hooks:\n  on_publish: {}\n", no.url("/"));
    for (bad, words) in [
        ("webrtc:\n  socket_buffer: 1MiB\n", "webrtc.socket_buffer needs a restart"),
        ("demo:\n  frame_rate: 10\n", "demo.frame_rate needs a restart"),
        ("rtmp:\n  prot: 9\n", "rtmp.prot"),
        ("gop: [\n", "did not find"),
        ("tls:\n  cert: /nowhere.pem\n  key: /nowhere.pem\n", "/nowhere.pem"),
        ("play:\n  wait: 2 days\n", "play.wait"),
    ] {
        file.write(&format!("{good}{bad}"));
        let told = reload(&server);
        assert!(told.contains("stays as it was") && told.contains(words), "{bad}: {told}");
        enters().expect("the hook of the bad file is not called");
    }
    // A key that is no certificate is found before anything changes, too.
    let (cert, _) = certificate();
    let cert = cert.to_string_lossy();
    file.write(&format!("{good}tls:\n  cert: {cert}\n  key: {cert}\n"));
    assert!(reload(&server).contains("stays as it was"));
    enters().expect("nothing has changed");
    file.write(&good);
    let told = reload(&server);
    assert!(told.contains("read again: hooks.on_publish changed"), "{told}");
    assert!(enters().is_err(), "now it is");
    assert!(reload(&server).contains("nothing has changed"));
    server.assert_unhurt();
}

/// The same by the API, which answers when it is done.
#[test]
fn the_api_tells_what_a_reload_came_to() {
    let file = File::new("api", "");
    let mut server = file.server().start();
    let ask = || http::json(server.api(), "POST", "/api/v2/reload", &serde_json::json!({})).expect("JSON");
    assert_eq!(ask(), serde_json::json!({ "changed": [] }));
    file.write("play:\n  wait: 7s\nauth:\n  play: token\n  tokens: [\"all * 0123456789\"]\n");
    assert_eq!(ask()["changed"], serde_json::json!(["play.wait", "auth.play", "auth.tokens"]));
    let answer = http::ask(server.http(), "GET", "/live/x.flv").expect("answered");
    assert_eq!(answer.head.status, 401, "the policy is another");
    file.write("log:\n  keep: 9\n");
    let refused = ask();
    assert_eq!(refused["problems"], serde_json::json!(["log.keep needs a restart and cannot change now"]));
    let answer = http::ask(server.api(), "GET", "/api/v2/reload").expect("answered");
    assert_eq!((answer.head.status, answer.head.field("allow")), (405, Some("POST, OPTIONS")));
    assert!(!server.log().contains("0123456789"), "secrets are not logged");
    server.assert_unhurt();
}

/// A door opens and closes; those who came in by it stay. A new certificate is shown to those who come, old connections go on.
#[test]
fn doors_and_certificates_change_for_those_who_come() {
    let fixture = Fixture::get(Media::H264Aac);
    let (cert, key) = (scratch("life.cert.pem"), scratch("life.key.pem"));
    let first = make_certificate(&cert, &key);
    let tls = format!("tls:\n  cert: {}\n  key: {}\n", cert.display(), key.display());
    let file = File::new("doors", &tls);
    let mut server = file.server().start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let player = Player::open(&server, Path::WsFlv, KEY);
    player.wait_start();
    assert_eq!(peer_certificate(server.http()), first);
    // The same paths, other files.
    let second = make_certificate(&cert, &key);
    assert!(reload(&server).contains("nothing has changed"), "no key is another, and yet");
    assert_eq!(peer_certificate(server.http()), second);
    assert_ne!(first, second);

    file.write(&format!("{tls}ws_stream:\n  enable: false\n"));
    assert!(reload(&server).contains("ws_stream.enable changed"));
    assert!(TcpStream::connect(server.ws()).is_err());
    player.wait_more(50);
    file.write(&tls);
    reload(&server);
    Player::open(&server, Path::WsPlay, KEY).wait_start();
    player.wait_more(50);
    assert!(publisher.running());

    // Another process has the port meanwhile: nothing changes.
    file.write(&format!("{tls}ws_stream:\n  enable: false\n"));
    reload(&server);
    let squatter = std::net::TcpListener::bind(server.ws()).expect("the door is closed");
    file.write(&tls);
    let told = reload(&server);
    assert!(told.contains("another process listens there") && told.contains("stays as it was"), "{told}");
    drop(squatter);
    server.assert_unhurt();
}

#[test]
fn the_log_follows_its_level_and_its_file_is_opened_anew() {
    let log = scratch(&format!("life.{}.log", std::process::id()));
    let moved = log.with_extension("log.1");
    let file = File::new("log", "log:\n  level: info\n");
    let mut server = Server::quiet_builder()
        .arg("--config")
        .arg(&file.0.to_string_lossy())
        .set("log.file", log.display())
        .start();
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    let publish = |key: &str| Publisher::open(&server, Entrance::Rtmp, key).expect("free").finish();
    publish("live/one");
    until("a line", || read(&log).contains("stream=live/one").then_some(()));
    assert!(!read(&log).contains("DEBUG"));
    fs::rename(&log, &moved).expect("moved");
    publish("live/two");
    let last = |line: &str| line.contains("stopped publishing") && line.contains("stream=live/two");
    until("its last line in the moved file", || read(&moved).lines().any(last).then_some(()));
    server.signal("USR1");
    until("a new file", || {
        publish("live/three");
        read(&log).contains("stream=live/three").then_some(())
    });
    assert!(!read(&log).contains("live/two"));
    file.write("log:\n  level: debug\n");
    server.signal("HUP");
    until("lines of debug", || {
        publish("live/four");
        read(&log).contains("DEBUG").then_some(())
    });
    server.assert_unhurt();
    let _ = (fs::remove_file(&log), fs::remove_file(&moved));
}

/// SIGQUIT: the doors close, those inside go on until they leave, and the process ends when the last one has.
#[test]
fn those_inside_may_end_while_nobody_comes_in() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let players = Path::ALL.map(|path| Player::open(&server, path, KEY));
    players.iter().for_each(Player::wait_start);
    let mut idle = socket(server.http()).expect("the server listens");
    idle.write_all(b"GET /api/v2/server HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    server.signal("QUIT");
    until("the doors to close", || TcpStream::connect(server.http()).is_err().then_some(()));
    Player::wait_all_more(&players, 100);
    assert!(server.alive());
    publisher.finish();
    players.into_iter().for_each(Player::leave);
    let left = Instant::now();
    let status = server.wait_exit(SOON).expect("it ends");
    assert!(status.success(), "{status}");
    assert!(left.elapsed() < Duration::from_secs(5), "nobody was left, yet it took {:?}", left.elapsed());
}

#[test]
fn the_wait_for_those_inside_has_an_end() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder().set("shutdown.drain", "1s").start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let player = Player::open(&server, Path::WsFlv, KEY);
    player.wait_start();
    server.signal("QUIT");
    assert!(player.wait_end().starts_with("close 1001"), "{:?}", player.end());
    assert!(server.wait_exit(SOON).is_some_and(|status| status.success()));
    drop(publisher);
    // And whoever cannot wait says so.
    let mut server = Server::start();
    let _publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free");
    server.signal("QUIT");
    until("the doors to close", || TcpStream::connect(server.http()).is_err().then_some(()));
    server.stop_within(Duration::from_secs(10));
}

/// ffmpeg as a service runs it: started again whenever it ends.
fn restless_ffmpeg(url: String, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (file, stop) = (Fixture::get(Media::H264Aac).path, Arc::clone(stop));
    thread::spawn(move || {
        let mut starts = 0;
        while !stop.load(Ordering::Relaxed) {
            let file = file.to_string_lossy();
            let args = ["-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", &file, "-c", "copy"];
            let mut tool = Tool::start(FFMPEG5, args.into_iter().chain(["-f", "flv", &url]));
            starts += 1;
            while tool.running() && !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
        }
        starts
    })
}

/// An upgrade: a second process takes the ports over from the first, under load. Every publisher is back on the second, and not
/// one connection of those that come all the time is refused, reset or left without an answer.
#[test]
fn an_upgrade_loses_no_publisher_and_refuses_nobody() {
    let mut first = Server::start();
    let stop = Arc::<AtomicBool>::default();
    let keys = ["live/one", "live/two", "live/three"];
    let publishers: Vec<_> = keys.iter().map(|key| restless_ffmpeg(first.rtmp_url(key), &stop)).collect();
    for key in keys {
        until(&format!("{key} on the first"), || (first.stream(key)?["live"] == true).then_some(()));
    }
    let knocking = Knocking::start(first.http(), 4);
    let watching = Player::open(&first, Path::WsFlv, keys[0]);
    watching.wait_start();
    thread::sleep(Duration::from_millis(500));

    let mut second = first.successor();
    let status = first.wait_exit(SOON).expect("the first one ends");
    assert!(status.success(), "{status}");
    assert!(watching.wait_end().starts_with("close 1001"), "{:?}", watching.end());
    for key in keys {
        until(&format!("{key} on the second"), || (second.stream(key)?["live"] == true).then_some(()));
        Player::open(&second, Path::Http, key).wait_start();
    }
    // WebRTC's ports are the second's, too.
    second.wait_for_line(&["has ended"]);
    let viewer = crate::support::webrtc::play(second.http(), keys[0]);
    drop(viewer);

    // And once more: what was taken over can be handed on.
    let mut third = second.successor();
    assert!(second.wait_exit(SOON).is_some_and(|status| status.success()));
    for key in keys {
        until(&format!("{key} on the third"), || (third.stream(key)?["live"] == true).then_some(()));
    }
    let answered = knocking.assert_none_refused();
    stop.store(true, Ordering::Relaxed);
    let starts: Vec<usize> = publishers.into_iter().map(|thread| thread.join().expect("ffmpeg")).collect();
    eprintln!(
        "two upgrades: {answered} requests answered, none refused; ffmpeg was started {starts:?} times"
    );
    assert!(answered > 300, "only {answered} came in");
    assert!(starts.iter().all(|starts| *starts >= 3), "each had to come again twice: {starts:?}");
    third.assert_unhurt();
}

/// One line for each session that ended, in a file of its own: who, what, how long, how much and why, by the id of the log.
#[test]
fn each_session_leaves_a_line_when_it_ends() {
    let log = scratch(&format!("life.sessions.{}.log", std::process::id()));
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::quiet_builder()
        .set("log.sessions", log.display())
        .set("log.format", "json")
        .set("log.level", "warn")
        .grace("0ms")
        .set("webrtc.connect_timeout", "2s")
        .start();
    let lines = || -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("an object for each line")).collect()
    };
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let players = Path::ALL.map(|path| Player::open(&server, path, KEY));
    players.iter().for_each(Player::wait_start);
    let offer = crate::support::rtc::Peer::offer(str0m::media::Direction::RecvOnly).1;
    crate::support::rtc::post(server.http(), &format!("/whep/{KEY}?token=secret"), &offer);
    until("the viewer that never came", || (lines().len() == 1).then_some(()));
    let [player, ..] = players;
    player.leave();
    until("the player that left", || (lines().len() == 2).then_some(()));
    publisher.finish();
    until("all", || (lines().len() == 2 + 5).then_some(()));
    let of = |protocol: &str, role: &str| -> Vec<serde_json::Value> {
        lines().into_iter().filter(|line| line["protocol"] == protocol && line["role"] == role).collect()
    };
    let published = of("rtmp", "publish").remove(0);
    for (key, value) in [("stream", KEY), ("ip", "127.0.0.1"), ("message", "ended: the publisher said so")] {
        assert_eq!(published[key], value, "{published}");
    }
    assert!(published["agent"].as_str().is_some_and(|agent| agent.contains("FMLE")), "{published}");
    assert!(published["bytes_in"].as_u64().is_some_and(|bytes| bytes > 10_000), "{published}");
    assert!(published["seconds"].as_f64().is_some_and(|seconds| seconds > 1.0), "{published}");
    assert_eq!((of("rtmp", "play").len(), of("flv", "play").len(), of("ws-flv", "play").len()), (1, 1, 3));
    for player in of("ws-flv", "play") {
        assert_eq!(player["message"], "ended: the stream ended");
        assert!(player["bytes_out"].as_u64().is_some_and(|bytes| bytes > 10_000), "{player}");
    }
    let whep = of("whep", "play").remove(0);
    assert!(whep["message"].as_str().is_some_and(|why| why.contains("no connection came up")), "{whep}");
    let ids: std::collections::HashSet<String> =
        lines().iter().map(|line| line["conn"].to_string()).collect();
    assert_eq!(ids.len(), 7, "one id each");
    assert!(!fs::read_to_string(&log).expect("text").contains("secret"));
    assert!(!server.log().contains("ended:"), "they are in their own file");
    server.assert_unhurt();
    let _ = fs::remove_file(&log);
}

/// Nothing is taken from a process that is none of ours.
#[test]
fn only_another_shardcast_is_taken_over_from() {
    let mut server = Server::start();
    let mut other = Tool::start("sleep", ["60"]);
    let mut refused = server.try_successor(other.pid());
    let status = within(SOON, || refused.try_wait().expect("a child can be asked"));
    assert!(status.is_some_and(|status| !status.success()));
    let mut words = String::new();
    refused.stderr.take().expect("piped").read_to_string(&mut words).expect("text");
    assert!(words.contains("no other process of this program"), "{words}");
    assert!(other.running(), "it was not told anything");
    server.assert_unhurt();
}
