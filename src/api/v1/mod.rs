//! SRS's HTTP API (its version 7, with what later releases of it added): the same paths, keys, types and codes, so that
//! consoles, backends and scripts written for SRS work against this server.
//!
//! Status is 200 even for most failures; `code` tells. What SRS calls a vhost there is one of. Bytes of clients are bytes of the
//! wire; those of streams and of the vhost are bytes of media.

mod clients;
mod index;
mod raw;
mod streams;
mod system;
mod vhosts;

pub(super) use streams::without_query;
pub(super) use system::version;

use serde_json::{Map, Value, json};

use super::{Api, visit::Visit};
use crate::protocols::http::{Response, Status};

/// Where it is.
pub const PREFIX: &str = "/api/v1";

/// SRS's error codes, as far as they are used here.
pub mod code {
    /// Something to try a client's error handling with.
    pub const TEST: i64 = 100;
    /// Too much is being asked at a time.
    pub const BUSY: i64 = 1028;
    /// The raw API has no such call.
    pub const RAW_PARAMS: i64 = 1060;
    /// The raw API is off.
    pub const RAW_DISABLED: i64 = 1061;
    /// There are no figures for Prometheus.
    pub const METRICS_DISABLED: i64 = 1090;
    /// There is no such vhost.
    pub const VHOST: i64 = 2014;
    /// There is no such stream.
    pub const STREAM: i64 = 2048;
    /// There is no such client.
    pub const CLIENT: i64 = 2049;
    /// A callback's name is none.
    pub const JSONP: i64 = 4058;
}

/// What an answer comes to.
pub(super) enum Outcome {
    /// It was done; these keys stand beside `code`, `server`, `service` and `pid`.
    Done(Value),
    /// The answer as it is.
    Bare(Value),
    /// It failed.
    Failed(i64),
    /// The method is not for this.
    Method,
    /// It is elsewhere.
    Moved(&'static str),
}

/// Answers a request below [`PREFIX`].
pub(super) async fn answer(api: &Api, visit: &Visit) -> Response {
    let outcome = route(api, visit).await;
    finish(api, visit, outcome)
}

async fn route(api: &Api, visit: &Visit) -> Outcome {
    let levels = visit.levels(PREFIX);
    match levels[..] {
        ["versions"] => Outcome::Done(system::versions()),
        ["summaries"] => Outcome::Done(system::summaries(api)),
        ["rusages"] => Outcome::Done(system::rusages(api)),
        ["self_proc_stats"] => Outcome::Done(system::self_proc_stats(api)),
        ["system_proc_stats"] => Outcome::Done(system::system_proc_stats(api)),
        ["meminfos"] => Outcome::Done(system::meminfos(api)),
        ["authors"] => Outcome::Done(system::authors()),
        ["features"] => Outcome::Done(system::features(api)),
        ["requests"] => Outcome::Done(index::requests(visit)),
        ["vhosts"] => vhosts::list(api, visit),
        ["vhosts", id] => vhosts::one(api, visit, id),
        ["streams"] => streams::list(api, visit),
        ["streams", id] => streams::one(api, visit, id),
        ["clients"] => clients::list(api, visit).await,
        ["clients", id] => clients::one(api, visit, id).await,
        ["raw"] => raw::raw(api, visit),
        ["clusters"] => raw::clusters(visit),
        ["tests", "requests"] => Outcome::Done(index::test_request(visit)),
        ["tests", "errors"] => Outcome::Failed(code::TEST),
        ["tests", "redirects"] => Outcome::Moved("/api/v1/tests/errors"),
        // What is not there answers with what is: SRS does so, and scripts that ask for the index get it.
        _ => Outcome::Done(index::v1()),
    }
}

/// `GET /` of the control port, and `GET /api/`.
pub(super) fn above(api: &Api, visit: &Visit) -> Response {
    let index = if visit.levels("/").is_empty() { index::root() } else { index::api() };
    finish(api, visit, Outcome::Done(index))
}

/// The answer to a JSONP request whose callback could end its own call.
pub(super) fn bad_callback() -> Response {
    Response::json(Status::OK, json!({ "code": code::JSONP }).to_string())
}

/// The answer of `/metrics` where there are none.
pub(super) fn no_metrics(visit: &Visit) -> Response {
    visit.json(Status::OK, &json!({ "code": code::METRICS_DISABLED }))
}

fn finish(api: &Api, visit: &Visit, outcome: Outcome) -> Response {
    let body = match outcome {
        Outcome::Done(payload) => envelope(api, payload),
        Outcome::Bare(value) => value,
        Outcome::Failed(code) => json!({ "code": code }),
        Outcome::Method => {
            let response = Response::text(Status::METHOD_NOT_ALLOWED, "Method Not Allowed");
            return visit.dress(response.header("Allow", "GET, HEAD, OPTIONS"));
        }
        Outcome::Moved(to) => {
            let response = Response::text(Status::MOVED_PERMANENTLY, format_args!("Redirect to {to}"));
            return visit.dress(response.header("Location", to));
        }
    };
    visit.json(Status::OK, &body)
}

/// `payload` in SRS's envelope.
fn envelope(api: &Api, payload: Value) -> Value {
    let identity = api.identity();
    let mut all = Map::new();
    all.insert("code".to_owned(), 0.into());
    all.insert("server".to_owned(), identity.server_id.as_str().into());
    all.insert("service".to_owned(), identity.service_id.as_str().into());
    all.insert("pid".to_owned(), identity.pid.to_string().into());
    if let Value::Object(payload) = payload {
        all.extend(payload);
    }
    Value::Object(all)
}

/// The most entries of one answer: a list of some megabytes.
const COUNT_MAX: usize = 10_000;
/// Entries of an answer that asks for no number.
const COUNT: usize = 10;

/// Which part of a list is wanted: `start` and `count`, read as C reads numbers.
fn part(visit: &Visit) -> (usize, usize) {
    let number = |name| visit.query().get(name).map(number);
    let start = number("start").unwrap_or_default();
    (start, number("count").unwrap_or(COUNT).clamp(1, COUNT_MAX))
}

/// The digits at the beginning; nothing, and what is negative, is zero.
fn number(text: &str) -> usize {
    let text = text.trim_start();
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    match text.get(..end).unwrap_or_default() {
        "" => 0,
        digits => digits.parse().unwrap_or(usize::MAX),
    }
}

/// Adds the shards whose part is missing, if any is.
fn note_late(payload: &mut Value, late: &[usize]) {
    if !late.is_empty() {
        payload["late_shards"] = late.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("7", 7),
            ("7x", 7),
            (" 12", 12),
            ("", 0),
            ("-3", 0),
            ("x", 0),
            ("99999999999999999999999", usize::MAX),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
