//! What operators find in their log.

use super::*;
use std::{
    fs,
    sync::{Mutex, mpsc},
    time::Duration,
};
use tracing::{debug, error, info, info_span, warn};

/// A place in memory that lines are written to.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn options(format: Format) -> Options {
    Options { level: LevelFilter::INFO, directives: None, format, file: None, sessions: None }
}

/// What `story` writes under these options.
fn written(options: &Options, story: impl FnOnce()) -> String {
    let paper = Paper::default();
    let sink = paper.clone();
    let (dispatch, _) = dispatch(options.format, filter(options).unwrap(), false, move || sink.clone());
    tracing::dispatcher::with_default(&dispatch, story);
    paper.text()
}

/// Without the time, which is checked to be one.
fn timeless(text: &str) -> Vec<&str> {
    let line = |line| {
        let (time, rest): (&str, &str) = str::split_once(line, ' ').unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        rest
    };
    text.lines().map(line).collect()
}

#[test]
fn a_connection_is_named_first_on_each_of_its_lines() {
    let text = written(&options(Format::Text), || {
        let span = info_span!("conn", conn = %"ab12cd34");
        span.in_scope(|| {
            info!(stream = "live/cam", frames = 3, "publishing started");
            warn!(reason = "gone away", empty = "", error = ?Some(1), "closed");
        });
        error!(conn = %"zz99zz99", peer = %"[::1]:5", "no {}", "span");
    });
    let expected = [
        "INFO  conn=ab12cd34 publishing started stream=live/cam frames=3",
        "WARN  conn=ab12cd34 closed reason=\"gone away\" empty=\"\" error=Some(1)",
        "ERROR conn=zz99zz99 no span peer=[::1]:5",
    ];
    assert_eq!(timeless(&text), expected);
}

#[test]
fn json_is_one_flat_object_per_line() {
    let text = written(&options(Format::Json), || {
        let span = info_span!("conn", conn = %"ab12cd34");
        span.in_scope(|| info!(stream = "live/\"cam\"\n", frames = 3, share = 0.5, live = true, "started"));
        info!(time = "mine", "later");
    });
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut first = lines[0].as_object().unwrap().clone();
    assert_eq!(first.remove("time").unwrap().as_str().unwrap().len(), 24);
    let expected = serde_json::json!({
        "level": "INFO", "target": module_path!(), "conn": "ab12cd34", "message": "started",
        "stream": "live/\"cam\"\n", "frames": 3, "share": 0.5, "live": true,
    });
    assert_eq!(serde_json::Value::Object(first), expected);
    assert_eq!(lines.len(), 2);
    assert_ne!(lines[1]["time"], "mine");
}

#[test]
fn what_a_peer_sent_stays_on_its_line() {
    let hostile = "x\n2026-01-01T00:00:00.000Z ERROR forged\r\u{1b}[2J\u{9b}31m";
    let text = written(&options(Format::Text), || {
        info!(name = hostile, shown = %hostile, "{hostile}");
        let span = info_span!("conn", app = %hostile);
        span.in_scope(|| info!("in a span"));
    });
    assert_eq!(text.lines().count(), 2);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert_eq!(written(&options(Format::Json), || info!(name = hostile, "{hostile}")).lines().count(), 1);
}

#[test]
fn the_level_holds_and_directives_refine_it() {
    let story = || {
        info!("told");
        debug!("whispered");
        debug!(target: "shardcast::net", "about sockets");
        info!(target: "glommio::executor", "noise");
        warn!(target: "glommio::executor", "trouble");
    };
    let lines = |options: &Options| {
        let text = written(options, story);
        timeless(&text).iter().map(|line| line[6..].to_owned()).collect::<Vec<_>>()
    };
    let mut options = options(Format::Text);
    assert_eq!(lines(&options), ["told", "trouble"]);
    options.directives = Some("shardcast::net=debug,glommio=info".into());
    assert_eq!(lines(&options), ["told", "about sockets", "noise", "trouble"]);
    options.directives = Some(" ".into());
    options.level = LevelFilter::TRACE;
    assert_eq!(lines(&options), ["told", "whispered", "about sockets", "trouble"]);
    options.level = LevelFilter::OFF;
    assert!(lines(&options).is_empty());
    options.directives = Some("shardcast=loud".into());
    assert!(filter(&options).unwrap_err().to_string().starts_with("RUST_LOG: "));
}

/// A sink that waits for a permit before each write.
struct Slow(mpsc::Receiver<()>, Paper);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without a sender it is slow no more.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_sink_loses_lines_counts_and_tells_them_and_nobody_waits() {
    let (permit, gate) = mpsc::channel();
    let paper = Paper::default();
    let (mut writer, counter, guard) = spawn(Slow(gate, paper.clone()), Format::Text);
    for i in 0..LINES_MAX + 100 {
        writer.write_all(format!("line {i}\n").as_bytes()).unwrap();
    }
    let lost = counter.dropped_lines();
    assert!((99..=100).contains(&lost), "one line may be in the sink's hands: {lost} are lost");
    drop(permit);
    drop(guard);
    let text = paper.text();
    assert_eq!(text.lines().count(), LINES_MAX + 100 - lost + 1);
    assert!(text.ends_with(&format!(
        "WARN  lines were lost: the log could not be written fast enough lines={lost}\n"
    )));
}

/// A directory of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shardcast-log-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_appended_to_and_the_guard_writes_what_waits() {
    let folder = Folder::new("append");
    let file = LogFile { path: folder.0.join("a.log"), rotate: Rotate::Never, keep: 2 };
    for _ in 0..2 {
        let (mut writer, _, guard) = spawn(appender(&file).unwrap(), Format::Text);
        (0..1_000).for_each(|_| writer.write_all(b"line\n").unwrap());
        drop(guard);
    }
    assert_eq!(fs::read_to_string(&file.path).unwrap().lines().count(), 2_000);
    assert_eq!(folder.files(), ["a.log"]);
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_when_somebody_asks() {
    let folder = Folder::new("reopen");
    let file = LogFile { path: folder.0.join("a.log"), rotate: Rotate::Never, keep: 2 };
    let (asked, again) = (Arc::<AtomicBool>::default(), file.clone());
    let make = move || appender(&again).map_err(io::Error::other);
    let mut sink = Reopening { sink: appender(&file).unwrap(), make, asked: Arc::clone(&asked) };
    sink.write_all(b"one\n").unwrap();
    fs::rename(&file.path, folder.0.join("a.log.1")).unwrap();
    sink.write_all(b"two\n").unwrap();
    asked.store(true, Ordering::Release);
    sink.write_all(b"three\n").unwrap();
    sink.flush().unwrap();
    assert_eq!(fs::read_to_string(folder.0.join("a.log.1")).unwrap(), "one\ntwo\n");
    assert_eq!(fs::read_to_string(&file.path).unwrap(), "three\n");
}

#[test]
fn a_rotating_file_carries_its_date_and_old_ones_go() {
    let folder = Folder::new("rotate");
    for day in 1..=5 {
        fs::write(folder.0.join(format!("a.log.2020-01-0{day}")), "old").unwrap();
        // The oldest are told apart by their time of birth.
        std::thread::sleep(Duration::from_millis(20));
    }
    let file = LogFile { path: folder.0.join("a.log"), rotate: Rotate::Daily, keep: 3 };
    let (mut writer, _, guard) = spawn(appender(&file).unwrap(), Format::Text);
    writer.write_all(b"new\n").unwrap();
    drop(guard);
    let files = folder.files();
    assert_eq!(files[..2], ["a.log.2020-01-04", "a.log.2020-01-05"]);
    assert_eq!((files.len(), files[2].len()), (3, "a.log.2026-11-20".len()));
}

#[test]
fn a_file_that_cannot_be_written_is_told_with_its_path() {
    let file = |path: &str| LogFile { path: path.into(), rotate: Rotate::Never, keep: 2 };
    assert!(appender(&file("/proc/nowhere/a.log")).unwrap_err().to_string().contains("/proc/nowhere/a.log"));
    assert!(matches!(appender(&file("/")), Err(LogError::Name(_))));
}
