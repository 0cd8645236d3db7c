//! Real clients as child processes: ffmpeg 5 and 7, ffprobe, rtmpdump, curl and the like, each with a deadline.
//!
//! Invariant: a tool is killed when its deadline passes or its value is dropped, and what it said is kept.

use std::{
    io::Read,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::within;

/// A running tool.
pub struct Tool {
    name: String,
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// What a tool left behind.
#[derive(Debug)]
pub struct Outcome {
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Whether it ended by itself, with 0.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

impl Tool {
    /// Starts a program. The kernel ends it when the thread that started it is gone, should this process be killed.
    ///
    /// # Panics
    /// When it is not there: `scripts/deps.sh test` installs it.
    pub fn start<I, S>(program: &str, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `scripts/deps.sh test` installs it"));
        let stdout = child.stdout.take().map(read_all);
        let stderr = child.stderr.take().map(read_all);
        Self { name: program.into(), child, stdout, stderr }
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn kill_now(&mut self) {
        let _ = self.child.kill();
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} is gone already", self.name);
    }

    /// Waits for its end; past `limit` it is killed and `status` is `None`.
    pub fn finish(mut self, limit: Duration) -> Outcome {
        let status = within(limit, || self.child.try_wait().expect("a child can be asked"));
        if status.is_none() {
            self.kill_now();
        }
        let outcome = self.collect();
        Outcome { status, ..outcome }
    }

    /// Waits for its end and returns what it printed.
    ///
    /// # Panics
    /// When it fails or takes longer than `limit`.
    pub fn succeed(self, limit: Duration) -> Outcome {
        let name = self.name.clone();
        let outcome = self.finish(limit);
        assert!(outcome.success(), "{name} ended with {:?}:\n{}", outcome.status, outcome.stderr);
        outcome
    }

    fn collect(&mut self) -> Outcome {
        let status = self.child.wait().ok();
        let join = |pipe: Option<JoinHandle<Vec<u8>>>| pipe.and_then(|p| p.join().ok()).unwrap_or_default();
        let stdout = join(self.stdout.take());
        let stderr = String::from_utf8_lossy(&join(self.stderr.take())).into_owned();
        Outcome { status, stdout, stderr }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.kill_now();
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end beside the test.
fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Debian's ffmpeg (5.1 in Debian 12): what most people's publishers and players are built on.
pub const FFMPEG5: &str = "ffmpeg";

/// The ffmpeg that speaks Enhanced RTMP: `FFMPEG7` in the environment, or the one in `.venv`.
pub fn ffmpeg7() -> String {
    if let Ok(path) = std::env::var("FFMPEG7") {
        return path;
    }
    let lib = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/lib");
    let pythons = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let folders = pythons.map(|dir| dir.path().join("site-packages/imageio_ffmpeg/binaries"));
    let files = folders.flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    let found = files
        .map(|file| file.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ffmpeg-")));
    found.expect("no ffmpeg 7 in .venv: `scripts/deps.sh test` installs it").to_string_lossy().into_owned()
}
