//! The server under test: the real binary, on ports of its own, with its log and its place in /proc.
//!
//! Invariant: the process ends with this value, whatever the test does, and what it logged is shown when the
//! test fails.

use std::{
    ffi::OsString,
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{SOON, http, ports::Ports, until, within};

/// What a server is started with.
pub struct Builder {
    args: Vec<String>,
    sets: Vec<String>,
}

/// A running server.
pub struct Server {
    child: Child,
    args: Vec<OsString>,
    ports: Ports,
    log: Arc<Mutex<String>>,
}

/// The binary that cargo built for this test, or the one that `E2E_SERVER` names: a release build, for figures.
pub fn binary() -> Command {
    Command::new(std::env::var_os("E2E_SERVER").unwrap_or_else(|| env!("CARGO_BIN_EXE_shardcast").into()))
}

impl Builder {
    /// `--set KEY=VALUE`.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.sets.push(format!("{key}={}", value.to_string()));
        self
    }

    /// Another argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With this certificate and key (PEM files): every port also speaks TLS.
    pub fn tls(self, certificate: &Path, key: &Path) -> Self {
        self.set("tls.cert", certificate.display()).set("tls.key", key.display())
    }

    /// How long players wait for a publisher that has not come.
    pub fn wait(self, duration: &str) -> Self {
        self.set("play.wait", duration)
    }

    /// How long players are kept when their publisher went.
    pub fn grace(self, duration: &str) -> Self {
        self.set("play.grace", duration)
    }

    /// Starts it and waits until every service listens.
    ///
    /// # Panics
    /// With the server's log, when it ends or does not listen in time.
    pub fn start(self) -> Server {
        let ports = Ports::claim();
        let mut args: Vec<OsString> = self.args.iter().map(OsString::from).collect();
        let mut set = |setting: String| args.extend([OsString::from("--set"), setting.into()]);
        for (service, n) in ["rtmp", "httpflv", "ws_stream", "api"].into_iter().zip(0..) {
            set(format!("{service}.listen_ip=127.0.0.1"));
            set(format!("{service}.port={}", ports.get(n)));
        }
        set("webrtc.listen_ip=127.0.0.1".to_owned());
        set(format!("webrtc.port={}", ports.get(4)));
        // The last word on a key counts, so a story may override what every server gets.
        self.sets.into_iter().for_each(set);
        let log = Arc::new(Mutex::new(String::new()));
        let mut server = Server { child: spawn(&args, &log), args, ports, log };
        server.wait_until_listening();
        server
    }
}

fn spawn(args: &[OsString], log: &Arc<Mutex<String>>) -> Child {
    // util-linux's setpriv lets the kernel end the server when the test dies without a word (a time-out's KILL).
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(binary().get_program()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the server can be started");
    collect(child.stdout.take().expect("piped above"), log);
    collect(child.stderr.take().expect("piped above"), log);
    child
}

impl Server {
    /// Two shards, and delivery frame by frame, so that nothing depends on a coalescing tick.
    pub fn builder() -> Builder {
        Builder { args: Vec::new(), sets: Vec::new() }
            .set("shards", 2)
            .set("delivery.coalesce", "0ms")
            .set("log.level", "debug")
    }

    /// [`Self::builder`] as it is.
    pub fn start() -> Self {
        Self::builder().start()
    }

    fn wait_until_listening(&mut self) {
        // A port may be open before the server is ready: it says where it is when all shards run.
        let ready = within(Duration::from_secs(60), || {
            let ended = self.child.try_wait().expect("a child can be asked").is_some();
            let said = self.log().lines().any(|line| line.trim_start().starts_with("page "));
            let listens = || (0..3).all(|n| TcpStream::connect(self.addr(n)).is_ok());
            (ended || (said && listens())).then_some(!ended)
        });
        if ready != Some(true) {
            let _ = self.child.kill();
            panic!("the server does not start; it says:\n{}", self.log());
        }
    }

    fn addr(&self, n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.get(n)))
    }

    /// Where RTMP listens.
    pub fn rtmp(&self) -> SocketAddr {
        self.addr(0)
    }

    /// Where HTTP listens (HTTP-FLV, WS-FLV by upgrade, the page).
    pub fn http(&self) -> SocketAddr {
        self.addr(1)
    }

    /// Where the WebSocket service listens.
    pub fn ws(&self) -> SocketAddr {
        self.addr(2)
    }

    /// Where the control port listens.
    pub fn api(&self) -> SocketAddr {
        self.addr(3)
    }

    /// Where the first shard receives WebRTC's datagrams.
    pub fn webrtc(&self) -> SocketAddr {
        self.addr(4)
    }

    /// `rtmp://127.0.0.1:PORT/KEY`.
    pub fn rtmp_url(&self, key: &str) -> String {
        format!("rtmp://{}/{key}", self.rtmp())
    }

    /// `http://127.0.0.1:PORT/KEY.flv`.
    pub fn http_url(&self, key: &str) -> String {
        format!("http://{}/{key}.flv", self.http())
    }

    /// All that it printed so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("nothing panics holding it").clone()
    }

    /// Waits until a line of the log holds all of `words`, and returns it.
    pub fn wait_for_line(&self, words: &[&str]) -> String {
        until(&format!("a line in the server's log with {words:?}"), || {
            self.log().lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }

    /// The stream's entry in the list of streams; `None` while there is none.
    pub fn stream(&self, key: &str) -> Option<serde_json::Value> {
        let answer = http::ask(self.http(), "GET", "/api/v2/streams").ok()?;
        let list: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        let streams = list.get("streams")?.as_array()?;
        streams.iter().find(|stream| stream.get("key").and_then(|k| k.as_str()) == Some(key)).cloned()
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        let answer = http::ask(self.http(), "GET", "/api/v2/streams").expect("answered");
        let list: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        list["streams"].as_array().map_or(0, Vec::len)
    }

    /// Waits until `count` players sit before a stream, whether it is live or awaited.
    pub fn wait_viewers(&self, key: &str, count: usize) {
        until(&format!("{count} viewers of {key}; now {:?}", self.stream(key)), || {
            let viewers = self.stream(key)?.get("viewers")?.as_u64()?;
            (viewers == count as u64).then_some(())
        });
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Sends SIGTERM and returns at once.
    pub fn terminate(&self) {
        // The shell's own kill: a signal to exactly the process that this test started.
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.pid())]).status();
        assert!(sent.expect("sh can be run").success(), "the server is gone already:\n{}", self.log());
    }

    /// Ends it in order and starts it again on the same ports.
    pub fn restart(&mut self) {
        self.stop_within(SOON);
        self.log.lock().expect("nothing panics holding it").clear();
        self.child = spawn(&self.args, &self.log);
        self.wait_until_listening();
    }

    /// Waits for it to end by itself.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        within(limit, || self.child.try_wait().expect("a child can be asked"))
    }

    /// SIGTERM, and a clean end within `limit`; returns how long it took.
    ///
    /// # Panics
    /// When it takes longer, or ends otherwise than with 0.
    pub fn stop_within(&mut self, limit: Duration) -> Duration {
        let asked = Instant::now();
        self.terminate();
        match self.wait_exit(limit) {
            Some(status) => assert!(status.success(), "the server ended with {status}:\n{}", self.log()),
            None => panic!("the server runs on {limit:?} after SIGTERM:\n{}", self.log()),
        }
        asked.elapsed()
    }

    /// Fails when the server logged a panic or died: for the end of a story that must not have hurt it.
    pub fn assert_unhurt(&mut self) {
        assert!(self.alive(), "the server died:\n{}", self.log());
        let log = self.log();
        let hurt = log.lines().find(|line| line.contains("panicked") || line.contains("PANIC"));
        assert_eq!(hurt, None, "the server panicked:\n{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let skip = log.lines().count().saturating_sub(150);
            let mut tail = String::new();
            for line in log.lines().skip(skip) {
                let _ = writeln!(tail, "  | {line}");
            }
            eprintln!("the server's log ({skip} earlier lines left out):\n{tail}");
        }
    }
}

/// Reads a pipe to its end on a thread of its own.
fn collect(pipe: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let mut log = log.lock().expect("nothing panics holding it");
            log.push_str(&String::from_utf8_lossy(&line));
            log.push('\n');
        }
    });
}
