//! Where lines about what happens go: to the console or a file, as text or JSON, written by a thread of their own.
//!
//! Invariant: no executor ever waits for a disk or a terminal. At most `LINES_MAX` lines wait to be written; what
//! does not fit is lost, counted and told in the log itself. What peers sent stays on its line: control
//! characters are escaped. Times are UTC, to the millisecond.

use std::{
    io::{self, IsTerminal, Write},
    panic::PanicHookInfo,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::SystemTime,
};
use tracing::Dispatch;
use tracing_appender::{
    non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard},
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    fmt::{MakeWriter, format::JsonFields},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

mod line;
pub mod recent;

pub use line::Utc;

/// Lines that may wait for a slow disk: some 3 MiB, and a second of everything a busy server says at debug.
const LINES_MAX: usize = 16_384;

/// Crates that say at `debug` and `trace`, and some at `info`, what only their authors want to know.
const NOISY: &[&str] = &["glommio", "rustls", "tungstenite"];

/// What is logged, how and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The least important line that is written.
    pub level: LevelFilter,
    /// Refinements per module, as `RUST_LOG` spells them: `shardcast::net=debug,warn`.
    pub directives: Option<String>,
    /// How a line looks.
    pub format: Format,
    /// Where lines go; `None` is standard error.
    pub file: Option<LogFile>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `2026-11-20T11:05:07.123Z INFO  conn=ab12cd34 publishing started stream=live/cam`
    Text,
    /// One flat object per line: `time`, `level`, `target`, `message` and all fields.
    Json,
}

/// A file that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its path; when rotating, the date is added to the name.
    pub path: PathBuf,
    /// When a new one begins.
    pub rotate: Rotate,
    /// How many stay when rotating.
    pub keep: usize,
}

/// When a new file begins, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// Never.
    Never,
    /// At the full hour.
    Hourly,
    /// At midnight.
    Daily,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` is no filter.
    #[error("RUST_LOG: {0}; allowed: a level, or module=level, separated by commas")]
    Directives(#[from] tracing_subscriber::filter::ParseError),
    /// The file has no name, or one that is not UTF-8.
    #[error("log.file: {0:?} names no file in UTF-8")]
    Name(PathBuf),
    /// The file cannot be written.
    #[error("log.file: {0:?} cannot be opened: {1}")]
    Open(PathBuf, #[source] tracing_appender::rolling::InitError),
    /// Somebody else already logs in this process.
    #[error("the log was already started")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the writing thread alive; dropped last, it writes what still waits, for a second at most.
#[must_use = "without its guard the log ends at once"]
#[derive(Debug)]
pub struct Guard {
    lost: ErrorCounter,
    _worker: WorkerGuard,
}

impl Guard {
    /// Lines that found no room since the start.
    pub fn lost_lines(&self) -> usize {
        self.lost.dropped_lines()
    }
}

/// Starts the log of this process, for `tracing` and `log` alike.
///
/// # Errors
/// When the options cannot be followed, or a log was started before.
pub fn start(options: &Options) -> Result<Guard, LogError> {
    let filter = filter(options)?;
    let (writer, guard) = match &options.file {
        Some(file) => spawn(appender(file)?, options.format),
        None => spawn(io::stderr(), options.format),
    };
    let colours =
        options.file.is_none() && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    dispatch(options.format, filter, colours, writer).try_init()?;
    Ok(guard)
}

/// From now on a panic is a line of the log, with the fields of the span that it happened in.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("not told");
        tracing::error!(place, thread, reason, "panic");
    }));
}

fn filter(options: &Options) -> Result<EnvFilter, LogError> {
    let quiet = options.level.min(LevelFilter::WARN);
    let mut directives = options.level.to_string();
    for noisy in NOISY {
        directives.push_str(&format!(",{noisy}={quiet}"));
    }
    if let Some(own) = options.directives.as_deref().filter(|own| !own.trim().is_empty()) {
        directives.push_str(&format!(",{own}"));
    }
    Ok(EnvFilter::try_new(directives)?)
}

fn appender(file: &LogFile) -> Result<RollingFileAppender, LogError> {
    let name = file.path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| LogError::Name(file.path.clone()))?;
    let folder = match file.path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let builder = RollingFileAppender::builder().filename_prefix(name);
    let builder = match file.rotate {
        Rotate::Never => builder.rotation(Rotation::NEVER),
        Rotate::Hourly => builder.rotation(Rotation::HOURLY).max_log_files(file.keep),
        Rotate::Daily => builder.rotation(Rotation::DAILY).max_log_files(file.keep),
    };
    builder.build(folder).map_err(|error| LogError::Open(file.path.clone(), error))
}

/// A thread that writes to `sink`.
fn spawn(sink: impl Write + Send + 'static, format: Format) -> (NonBlocking, Guard) {
    let counter = Arc::new(OnceLock::new());
    let sink = Confessing { sink, format, counter: Arc::clone(&counter), told: 0 };
    let builder =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log");
    let (writer, worker) = builder.finish(sink);
    let lost = writer.error_counter();
    // Set once, here; until then nothing can have been lost.
    let _ = counter.set(lost.clone());
    (writer, Guard { lost, _worker: worker })
}

/// The subscriber that all lines go through.
fn dispatch<W>(format: Format, filter: EnvFilter, colours: bool, writer: W) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(writer);
    match format {
        Format::Text => {
            builder.fmt_fields(line::TextFields).event_format(line::Text).finish().with(recent::Keep).into()
        }
        Format::Json => {
            builder.fmt_fields(JsonFields::new()).event_format(line::Json).finish().with(recent::Keep).into()
        }
    }
}

/// A sink that says how many lines never reached it, as soon as it has time to.
struct Confessing<W> {
    sink: W,
    format: Format,
    counter: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl<W: Write> Write for Confessing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    /// The writing thread flushes when no line waits any more.
    fn flush(&mut self) -> io::Result<()> {
        let lost = self.counter.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            let line = line::lost(self.format, SystemTime::now(), lost.saturating_sub(self.told));
            self.told = lost;
            self.sink.write_all(line.as_bytes())?;
        }
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests;
