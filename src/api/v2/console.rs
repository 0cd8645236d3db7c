//! What the console's server page shows besides figures: the configuration, the newest lines of the log, the demo's switch.

use serde_json::{Value, json};
use tracing::Level;

use super::{
    super::{Api, visit::Visit},
    Outcome, number,
};
use crate::{
    log::{Utc, recent},
    protocols::http::Method,
};

/// Lines of one answer unless told otherwise.
const LINES: usize = 200;

/// Every key with its value, its default and its origin.
pub fn config(api: &Api) -> Value {
    let settings = api.shared.settings.load();
    let keys = settings.iter().map(|setting| {
        json!({
            "key": setting.key,
            "value": setting.value,
            "default": setting.default,
            "origin": setting.origin,
            "reloadable": setting.reloadable,
        })
    });
    json!({ "keys": keys.collect::<Vec<_>>() })
}

/// `?lines=&level=`: the newest lines that are at least as important, the oldest first.
pub fn log(visit: &Visit) -> Outcome {
    let lines = match number(visit, "lines", recent::LINES_MAX) {
        Ok(lines) => lines.unwrap_or(LINES),
        Err(wrong) => return wrong,
    };
    let level = match visit.query().get("level").unwrap_or("info") {
        "error" => Level::ERROR,
        "warn" => Level::WARN,
        "info" => Level::INFO,
        "debug" => Level::DEBUG,
        "trace" => Level::TRACE,
        _ => return Outcome::Wrong("level must be error, warn, info, debug or trace".to_owned()),
    };
    let lines = recent::newest(lines, level).into_iter().map(|line| {
        json!({
            "time": Utc(line.at).to_string(),
            "level": line.level.as_str().to_lowercase(),
            "conn": line.conn,
            "target": line.target,
            "text": line.text,
        })
    });
    Outcome::Done(json!({ "lines": lines.collect::<Vec<_>>() }))
}

/// The demo's switch: GET tells, POST turns it on, DELETE off.
pub fn demo(api: &Api, visit: &Visit) -> Outcome {
    let control = &api.shared.demo;
    match visit.method {
        Method::Post => {
            if let Err(error) = control.start() {
                return Outcome::Conflict(error.to_string());
            }
        }
        Method::Delete => control.stop(),
        _ => {}
    }
    let options = control.options();
    Outcome::Done(json!({
        "running": control.is_on(),
        "stream": options.map(|options| options.key.as_str()),
        "width": options.map(|options| options.width),
        "height": options.map(|options| options.height),
        "frame_rate": options.map(|options| options.frame_rate),
    }))
}
