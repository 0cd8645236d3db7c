//! Results for programs. What was not measured is `null`; units are those of the metrics' names in `units`.

use serde_json::{Map, Value, json};

use super::Results;
use crate::{
    measure::{process::Usage, shardcast::Shards},
    outcome::{Metric, Outcome, Point},
    stats::Times,
};

/// Percentiles that are told of each distribution.
const QUANTILES: [f64; 9] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

/// Everything.
pub fn render(results: &Results) -> Value {
    let names = results.names();
    let medians: Map<String, Value> = match results.is_comparison() {
        true => names.iter().map(|name| ((*name).to_owned(), metrics(&results.metrics(name)))).collect(),
        false => Map::new(),
    };
    json!({
        "tool": concat!("shardcast-loadtest ", env!("CARGO_PKG_VERSION")),
        "command": results.command,
        "unix": results.unix,
        "runs": results.runs.iter().map(run).collect::<Vec<_>>(),
        "medians": medians,
        "requirements": results.verdicts.iter().map(|verdict| json!({
            "requirement": verdict.requirement, "holds": verdict.holds, "sentence": verdict.sentence,
        })).collect::<Vec<_>>(),
    })
}

fn metrics(metrics: &[Metric]) -> Value {
    metrics.iter().map(|metric| (metric.name.clone(), json!(metric.value))).collect::<Map<_, _>>().into()
}

fn run(run: &Outcome) -> Value {
    let all = run.metrics();
    let units: Map<String, Value> =
        all.iter().map(|metric| (metric.name.clone(), json!(metric.unit.name()))).collect();
    let cohorts: Vec<Value> = run
        .cohorts
        .iter()
        .map(|(cohort, tally)| {
            json!({
                "role": cohort.role.key(),
                "url": cohort.address.to_string(),
                "form": cohort.address.form.key(),
                "players": tally.started,
                "played": tally.playing,
                "failed": tally.failed(),
                "died": tally.died,
                "left": tally.left,
                "sampled": tally.sampled,
                "bytes": tally.window_bytes,
                "reasons": tally.reasons,
                "latency_ms": times(&tally.latency),
                "connect_ms": times(&tally.connect),
                "first_byte_ms": times(&tally.first_byte),
                "first_key_ms": times(&tally.first_key),
                "gap_ms": times(&tally.gap),
                "packets": tally.packets,
                "packets_lost": tally.packets_lost,
                "packets_reordered": tally.packets_reordered,
                "freezes": tally.freezes,
                "picture_gap_ms": times(&tally.picture_gap),
                "jitter_ms": times(&tally.jitter),
            })
        })
        .collect();
    json!({
        "name": run.name,
        "machine": run.machine,
        "programme": run.programme,
        "seconds": run.seconds,
        "interrupted": run.interrupted,
        "metrics": metrics(&all),
        "units": units,
        "cohorts": cohorts,
        "server_threads": run.server.as_ref().map(|server| threads(&server.usage)),
        "tool_threads": threads(&run.tool),
        "shards": { "open": shards(&run.shards.0), "close": shards(&run.shards.1) },
        "kernel": run.complaints.iter().map(|(name, count, _)| ((*name).to_owned(), json!(count))).collect::<Map<_, _>>(),
        "notes": run.notes,
        "points": run.points.iter().map(point).collect::<Vec<_>>(),
    })
}

fn times(times: &Times) -> Value {
    let mut map: Map<String, Value> =
        QUANTILES.iter().map(|q| (format!("p{}", q * 100.0), json!(times.quantile(*q)))).collect();
    map.insert("count".to_owned(), json!(times.count()));
    map.insert("mean".to_owned(), json!(times.mean()));
    map.insert("max".to_owned(), json!(times.max()));
    map.into()
}

fn threads(usage: &Usage) -> Value {
    let one = |(name, busy, waiting): &(String, f64, f64)| json!({ "name": name, "busy": busy, "waiting": waiting });
    usage.threads.iter().take(64).map(one).collect()
}

fn shards(shards: &Shards) -> Value {
    shards.iter().map(|(id, figures)| (id.to_string(), json!(figures))).collect::<Map<_, _>>().into()
}

fn point(point: &Point) -> Value {
    json!({
        "seconds": point.seconds,
        "p50": point.latency_p50,
        "p99": point.latency_p99,
        "max": point.latency_max,
        "bits": point.bits,
        "server_user": point.server_user,
        "server_system": point.server_system,
        "tool": point.tool,
        "machine": point.machine,
        "rss": point.rss,
        "rss_anon": point.rss_anon,
        "descriptors": point.descriptors,
        "playing": point.playing,
        "died": point.died,
        "threads": point.threads,
        "shards": shards(&point.shards),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_json_with_nulls_where_nothing_was_measured() {
        let runs =
            vec![Outcome { name: "fanout".to_owned(), points: vec![Point::default()], ..Outcome::default() }];
        let value = render(&Results { runs, ..Results::default() });
        assert_eq!(value["runs"][0]["name"], "fanout");
        assert!(value["runs"][0]["metrics"]["tool_busiest"].is_null());
        assert_eq!(serde_json::from_str::<Value>(&value.to_string()).ok(), Some(value));
    }
}
