//! One line of the log, as text or as JSON.
//!
//! Text begins with time, level and the connection's id, so that a column can be read and a connection grepped.
//! Invariant: one event is one line, whatever it holds.

use super::Format;
use serde_json::{Map, Value};
use std::{
    fmt::{self, Debug, Write},
    time::{SystemTime, UNIX_EPOCH},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// The field that names a connection.
const CONN: &str = "conn";
/// The field that the macros put the sentence into.
const MESSAGE: &str = "message";
/// What begins the fields of a record that came from the `log` crate; `log.target` is its real target.
const BRIDGED: &str = "log.";

/// `2026-11-20T11:05:07.123Z INFO  conn=ab12cd34 publishing started stream=live/cam`
pub(super) struct Text;

/// The fields of a span, as [`Text`] prints them.
pub(super) struct TextFields;

/// `{"conn":"ab12cd34","level":"INFO","message":"publishing started",…}`
pub(super) struct Json;

impl<S> FormatEvent<S, TextFields> for Text
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, TextFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let colours = writer.has_ansi_escapes();
        let (dim, colour, plain) =
            if colours { ("\u{1b}[2m", colour(event.metadata().level()), "\u{1b}[0m") } else { ("", "", "") };
        let level = event.metadata().level();
        write!(writer, "{dim}{}{plain} {colour}{level:<5}{plain}", Utc(SystemTime::now()))?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<TextFields>>()
                && !fields.is_empty()
            {
                write!(writer, " {fields}")?;
            }
        }
        // Each pass takes its own fields, in the order of importance.
        for part in [Part::Conn, Part::Source, Part::Message, Part::Rest] {
            let mut visitor = Words { writer: &mut writer, part, first: false, result: Ok(()) };
            event.record(&mut visitor);
            visitor.result?;
        }
        writeln!(writer)
    }
}

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Words { writer: &mut writer, part: Part::All, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                let fields: Map<String, Value> = serde_json::from_str(fields).unwrap_or_default();
                object.extend(fields);
            }
        }
        let mut visitor = Members { object, target: event.metadata().target().to_owned() };
        event.record(&mut visitor);
        let Members { mut object, target } = visitor;
        object.insert("time".into(), Utc(SystemTime::now()).to_string().into());
        object.insert("level".into(), event.metadata().level().as_str().into());
        object.insert("target".into(), target.into());
        writeln!(writer, "{}", Value::Object(object))
    }
}

/// The line that tells of `count` lines which were not written.
pub(super) fn lost(format: Format, now: SystemTime, count: usize) -> String {
    let message = "lines were lost: the log could not be written fast enough";
    match format {
        Format::Text => format!("{} WARN  {message} lines={count}\n", Utc(now)),
        Format::Json => {
            let object = serde_json::json!({
                "time": Utc(now).to_string(), "level": "WARN", "target": module_path!(), "message": message,
                "lines": count,
            });
            format!("{object}\n")
        }
    }
}

fn colour(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

/// Which fields of an event a pass prints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Conn,
    /// Where a record of the `log` crate came from; our own say it by their words.
    Source,
    Message,
    Rest,
    /// Of a span.
    All,
}

impl Part {
    fn takes(self, name: &str) -> bool {
        let of = match name {
            CONN => Self::Conn,
            MESSAGE => Self::Message,
            "log.target" => Self::Source,
            // `log.module_path`, `log.file`, `log.line`: what the target tells already.
            name if name.starts_with(BRIDGED) => return false,
            _ => Self::Rest,
        };
        self == of || self == Self::All
    }
}

/// Writes `name=value` after `name=value`, on one line.
struct Words<'v, 'w> {
    writer: &'v mut Writer<'w>,
    part: Part,
    /// Whether nothing stands before the next word.
    first: bool,
    result: fmt::Result,
}

impl Words<'_, '_> {
    fn word(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        if !self.part.takes(name) || self.result.is_err() {
            return;
        }
        let space = if std::mem::take(&mut self.first) { "" } else { " " };
        let name = name.strip_prefix("r#").unwrap_or(name);
        let mut escaped = Escaped(self.writer);
        self.result = match self.part {
            Part::Message => write!(escaped, "{space}{value}"),
            Part::Source => write!(escaped, "{space}{value}:"),
            Part::Conn | Part::Rest | Part::All => write!(escaped, "{space}{name}={value}"),
        };
    }
}

impl Visit for Words<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.word(field, format_args!("{value:?}"));
    }

    /// In quotes only where a reader could not see its end.
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_sentence = matches!(field.name(), MESSAGE | "log.target");
        match is_sentence || !(value.is_empty() || value.contains([' ', '"', '='])) {
            true => self.word(field, format_args!("{value}")),
            false => self.word(field, format_args!("{value:?}")),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.word(field, format_args!("{value}"));
    }
}

/// Gathers an event's fields; later ones win over those of its spans.
struct Members {
    object: Map<String, Value>,
    target: String,
}

impl Members {
    fn member(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("log.target", Value::String(target)) => self.target = target,
            (name, _) if name.starts_with(BRIDGED) => {}
            (name, value) => {
                self.object.insert(name.strip_prefix("r#").unwrap_or(name).to_owned(), value);
            }
        }
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.member(field, value.to_string().into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, value.into());
    }
}

/// Lets nothing through that ends a line or speaks to a terminal.
struct Escaped<'v, 'w>(&'v mut Writer<'w>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| c.is_control()) {
            let (clean, from) = rest.split_at(at);
            write!(self.0, "{clean}{}", c.escape_default())?;
            rest = from.get(c.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

/// `2026-11-20T11:05:07.123Z`
pub struct Utc(pub SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let millis = since.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day, that many days after 1970-01-01. Years begin in March here, so that a leap day is the
/// last day of one; 400 of them have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn utc(millis: u64) -> String {
        Utc(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_767_225_599_001), "2025-12-31T23:59:59.001Z");
        assert_eq!(utc(1_795_172_707_123), "2026-11-20T11:05:07.123Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = civil(0);
        for days in 1..200_000 {
            let next = civil(days);
            let expected = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            assert!(expected.contains(&next), "{next:?} after {year}-{month}-{day}");
            (year, month, day) = next;
        }
    }
}
