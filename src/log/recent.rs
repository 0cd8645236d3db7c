//! The newest lines of the log, kept for those who ask the API for them.
//!
//! Invariant: at most [`LINES_MAX`] lines of at most [`TEXT_BYTES_MAX`] each are kept, a megabyte in all. Whoever writes a line
//! holds the lock for one push, whoever reads for one copy of references.

use std::{
    collections::VecDeque,
    fmt::{Debug, Write},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Lines that are kept.
pub const LINES_MAX: usize = 1_000;
/// What is kept of a line, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;

static LINES: Mutex<VecDeque<Arc<Line>>> = Mutex::new(VecDeque::new());

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was written.
    pub at: SystemTime,
    /// How important it is.
    pub level: Level,
    /// The connection that it is about, if it is about one.
    pub conn: Option<String>,
    /// The module that wrote it.
    pub target: String,
    /// The sentence, and then the fields.
    pub text: String,
}

/// The newest `count` lines that are at least as important as `level`, the oldest first.
pub fn newest(count: usize, level: Level) -> Vec<Arc<Line>> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found: Vec<Arc<Line>> =
        lines.iter().rev().filter(|line| line.level <= level).take(count).cloned().collect();
    drop(lines);
    found.reverse();
    found
}

/// Keeps every line that is logged.
pub(super) struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let Words { conn, mut text, fields } = words;
        text.push_str(&fields);
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        let meta = event.metadata();
        let line = Line {
            at: SystemTime::now(),
            level: *meta.level(),
            conn,
            target: meta.target().to_owned(),
            text,
        };
        let line = Arc::new(line);
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if lines.len() >= LINES_MAX { lines.pop_front() } else { None };
        lines.push_back(line);
        drop(lines);
        // Freed when others may write again.
        drop(oldest);
    }
}

/// Gathers the fields of one event.
#[derive(Default)]
struct Words {
    conn: Option<String>,
    text: String,
    fields: String,
}

impl Words {
    fn take(&mut self, field: &Field, value: std::fmt::Arguments<'_>) {
        let mut into = match field.name() {
            "conn" => return self.conn = Some(value.to_string()),
            "message" => &mut self.text,
            // What the bridge from the `log` crate adds.
            name if name.starts_with("log.") => return,
            name => {
                let _ = write!(self.fields, " {name}=");
                &mut self.fields
            }
        };
        if into.len() < TEXT_BYTES_MAX {
            // Writing to a string cannot fail.
            let _ = write!(&mut into, "{value}");
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Registry, layer::SubscriberExt};

    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_long_ones_cut() {
        tracing::subscriber::with_default(Registry::default().with(Keep), || {
            for n in 0..LINES_MAX + 10 {
                tracing::info!(conn = %"ab12cd34", n, "line {n}");
            }
            tracing::warn!("{}", "é".repeat(TEXT_BYTES_MAX));
            tracing::debug!(target: "elsewhere", "a detail");
        });
        let all = newest(usize::MAX, Level::TRACE);
        assert_eq!(all.len(), LINES_MAX);
        let last = newest(3, Level::INFO);
        assert_eq!(last[1].text, format!("line {0} n={0}", LINES_MAX + 9));
        assert_eq!(last[1].conn.as_deref(), Some("ab12cd34"));
        assert_eq!((last[2].level, last[2].text.len()), (Level::WARN, TEXT_BYTES_MAX));
        assert!(last[0].at <= last[1].at);
        assert_eq!(newest(1, Level::TRACE)[0].target, "elsewhere");
        assert_eq!(newest(5, Level::WARN).len(), 1);
    }
}
