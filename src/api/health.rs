//! For those who watch over processes: whether this one lives, and whether it is ready for work.
//!
//! Open to everybody, since it tells nothing else.

use std::time::Instant;

use serde_json::json;

use super::{Api, visit::Visit, whole};
use crate::protocols::http::{Response, Status};

/// `GET /healthz`: that there is an answer is the answer.
pub(super) fn alive(visit: &Visit) -> Response {
    visit.json(Status::OK, &json!({ "status": "alive" }))
}

/// `GET /readyz`: whether all shards are in time; 503 while one is not.
pub(super) fn ready(api: &Api, visit: &Visit) -> Response {
    let late = whole::late(&api.pages(), Instant::now());
    let (status, word) = match late.is_empty() {
        true => (Status::OK, "ready"),
        false => (Status::UNAVAILABLE, "late"),
    };
    visit.json(status, &json!({ "status": word, "late_shards": late }))
}
