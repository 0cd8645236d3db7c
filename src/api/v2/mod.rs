//! Our own API: the same truth as SRS's, with what that lacks, in plain HTTP: a status that means what it says, JSON without an
//! envelope, and `error` with a sentence where something failed. `openapi.yaml` describes it.

mod clients;
mod console;
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
    /// The server is not set up for it; why.
    Conflict(String),
    /// Not now; why.
    Busy(String),
}

const READ: &str = "GET, HEAD, OPTIONS";

/// What there is below [`PREFIX`], and its methods. An app may have several levels.
pub const ROUTES: &[(&str, &str)] = &[
    ("/server", READ),
    ("/streams", READ),
    ("/streams/{app}/{name}", READ),
    ("/clients", READ),
    ("/clients/{id}", "GET, HEAD, DELETE, OPTIONS"),
    ("/config", READ),
    ("/log", READ),
    ("/demo", "GET, HEAD, POST, DELETE, OPTIONS"),
    ("/openapi.yaml", READ),
];

/// The description of all this, for programs.
const OPENAPI: &str = include_str!("../openapi.yaml");

/// The description as an answer.
pub(super) fn openapi(visit: &Visit) -> Response {
    visit.dress(Response::new(Status::OK).body("application/yaml", OPENAPI))
}

/// The methods of what is at these levels; `None`: there is nothing.
fn methods(levels: &[&str]) -> Option<&'static str> {
    let route = match levels {
        ["streams", _, _, ..] => &["streams", "{app}", "{name}"][..],
        ["clients", _] => &["clients", "{id}"],
        levels => levels,
    };
    let path = format!("/{}", route.join("/"));
    ROUTES.iter().find(|(known, _)| *known == path).map(|(_, methods)| *methods)
}

/// Answers a request below [`PREFIX`].
pub(super) async fn answer(api: &Api, visit: &Visit) -> Response {
    if visit.levels(PREFIX) == ["openapi.yaml"] && visit.reads() {
        return openapi(visit);
    }
    let outcome = route(api, visit).await;
    let (status, body) = match outcome {
        Outcome::Done(value) => (Status::OK, value),
        Outcome::Missing(why) => (Status::NOT_FOUND, error(&why)),
        Outcome::Wrong(why) => (Status::BAD_REQUEST, error(&why)),
        Outcome::Conflict(why) => (Status::CONFLICT, error(&why)),
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
    match methods(&levels) {
        Some(methods) if !methods.split(", ").any(|method| method == name(visit.method)) => {
            return Outcome::Method(methods);
        }
        _ => {}
    }
    match levels[..] {
        ["server"] => Outcome::Done(server::value(api)),
        ["streams"] => Outcome::Done(streams::list(api)),
        ["streams", ref key @ ..] => streams::one(api, &key.join("/")),
        ["clients"] => clients::list(api, visit).await,
        ["clients", id] => clients::one(api, visit, id).await,
        ["config"] => Outcome::Done(console::config(api)),
        ["log"] => console::log(visit),
        ["demo"] => console::demo(api, visit),
        _ => Outcome::Missing(format!("there is nothing at {}", visit.request.target.path())),
    }
}

/// As it stands in a request.
fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Patch => "PATCH",
        Method::Options => "OPTIONS",
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Paths with their methods as the description has them, those that every resource has left out.
    fn described() -> BTreeSet<(String, String)> {
        let document: serde_yaml::Value = serde_yaml::from_str(OPENAPI).expect("YAML");
        let paths = document["paths"].as_mapping().expect("paths");
        let mut all = BTreeSet::new();
        for (path, item) in paths {
            for method in item.as_mapping().expect("methods").keys().filter_map(|key| key.as_str()) {
                if method != "parameters" {
                    all.insert((path.as_str().expect("a path").to_owned(), method.to_uppercase()));
                }
            }
        }
        all
    }

    #[test]
    fn what_is_described_is_what_there_is() {
        let routes = ROUTES.iter().flat_map(|(path, methods)| {
            let methods = methods.split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method));
            methods.map(move |method| (format!("{PREFIX}{path}"), method.to_owned()))
        });
        let others = ["/openapi.yaml", "/healthz", "/readyz", "/metrics"];
        let others = others.into_iter().map(|path| (path.to_owned(), "GET".to_owned()));
        assert_eq!(routes.chain(others).collect::<BTreeSet<_>>(), described());
    }

    #[test]
    fn a_path_has_its_methods_however_many_levels_an_app_has() {
        assert_eq!(methods(&["streams", "live", "cam"]), Some(READ));
        assert_eq!(methods(&["streams", "a", "b", "c"]), Some(READ));
        assert!(methods(&["clients", "x"]).is_some_and(|methods| methods.contains("DELETE")));
        for nothing in [&["clients", "x", "y"][..], &["nothing"], &[], &["streams", "one"]] {
            assert_eq!(methods(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn its_version_is_the_server_s() {
        assert!(OPENAPI.contains(concat!("  version: ", env!("CARGO_PKG_VERSION"), "\n")));
    }
}
