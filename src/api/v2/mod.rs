//! Our own API: the same truth as SRS's, with what that lacks, in plain HTTP: a status that means what it says, JSON without an
//! envelope, and `error` with a sentence where something failed. `openapi.yaml` describes it.

mod clients;
mod server;
mod streams;

use serde_json::{Value, json};

use super::{Api, visit::Visit};
use crate::protocols::http::{Method, Response, Status};

/// Where it is.
pub const PREFIX: &str = "/api/v2";

/// What an answer comes to.
pub(super) enum Outcome {
    /// It was done.
    Done(Value),
    /// There is no such thing; what.
    Missing(String),
    /// The request makes no sense; why.
    Wrong(String),
    /// Another method would do: those.
    Method(&'static str),
    /// Not now; why.
    Busy(String),
}

const READ: &str = "GET, HEAD, OPTIONS";

/// Answers a request below [`PREFIX`].
pub(super) async fn answer(api: &Api, visit: &Visit) -> Response {
    let outcome = route(api, visit).await;
    let (status, body) = match outcome {
        Outcome::Done(value) => (Status::OK, value),
        Outcome::Missing(why) => (Status::NOT_FOUND, error(&why)),
        Outcome::Wrong(why) => (Status::BAD_REQUEST, error(&why)),
        Outcome::Method(methods) => {
            let why = format!("this method is not allowed here; use one of: {methods}");
            return visit.json(Status::METHOD_NOT_ALLOWED, &error(&why)).header("Allow", methods);
        }
        Outcome::Busy(why) => {
            return visit.json(Status::UNAVAILABLE, &error(&why)).header("Retry-After", "1");
        }
    };
    visit.json(status, &body)
}

fn error(why: &str) -> Value {
    json!({ "error": why })
}

async fn route(api: &Api, visit: &Visit) -> Outcome {
    let levels = visit.levels(PREFIX);
    let reads = matches!(visit.method, Method::Get | Method::Head);
    match levels[..] {
        ["server" | "streams" | "clients"] | ["streams", ..] if !reads => Outcome::Method(READ),
        ["server"] => Outcome::Done(server::value(api)),
        ["streams"] => Outcome::Done(streams::list(api)),
        ["streams", ref key @ ..] => streams::one(api, &key.join("/")),
        ["clients"] => clients::list(api, visit).await,
        ["clients", id] => clients::one(api, visit, id).await,
        _ => Outcome::Missing(format!("there is nothing at {}", visit.request.target.path())),
    }
}

/// A whole number of the query, if it is there.
///
/// # Errors
/// What is wrong with it.
fn number(visit: &Visit, name: &str, most: usize) -> Result<Option<usize>, Outcome> {
    let Some(text) = visit.query().get(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if number <= most && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(number)),
        _ => Err(Outcome::Wrong(format!("{name} must be a whole number from 0 to {most}"))),
    }
}

/// To two digits; zero where there is nothing to compare with.
fn ratio(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { (count as f64 / of as f64 * 100.0).round() / 100.0 }
}
