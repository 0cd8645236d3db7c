//! `POST /api/v2/reload`: the configuration is read again, as by SIGHUP.

use serde_json::json;

use super::Outcome;
use crate::{
    api::{Api, Visit},
    protocols::http::Method,
};

/// Reads the configuration again: the keys that are others now, or all that is wrong with it, and then nothing has changed.
pub(super) async fn answer(api: &Api, visit: &Visit) -> Outcome {
    if visit.method != Method::Post {
        return Outcome::Method("POST, OPTIONS");
    }
    match api.shared.orders.reload().await {
        Some(Ok(keys)) => Outcome::Done(json!({ "changed": keys })),
        Some(Err(problems)) => Outcome::Conflict(json!({
            "error": "the configuration stays as it was",
            "problems": problems,
        })),
        None => Outcome::Busy("the server is ending".to_owned()),
    }
}
