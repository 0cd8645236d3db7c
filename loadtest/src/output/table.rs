//! Results in a terminal: one table of who played how, one of what it cost, then what must be said.

use std::fmt::Write as _;

use super::Results;
use crate::{
    outcome::{Metric, Outcome, frozen_percent, loss_percent},
    play::{Cohort, Role},
    stats::Tally,
    units::Unit,
};

/// Metrics of a comparison, in the order in which they matter.
const COMPARED: [&str; 22] = [
    "cpu_per_gb",
    "cpu_per_packet",
    "cpu",
    "cpu_user",
    "cpu_system",
    "switches",
    "memory_per_player",
    "rss",
    "throughput",
    "p50",
    "p90",
    "p99",
    "p999",
    "max",
    "first_byte_p99",
    "first_key_p99",
    "gap_max",
    "packets",
    "packet_loss",
    "freezes",
    "failed",
    "died",
];

/// Everything as text.
pub fn render(results: &Results) -> String {
    let mut out = String::new();
    if results.is_comparison() {
        comparison(results, &mut out);
    } else {
        results.runs.iter().for_each(|run| one(run, &mut out));
    }
    for verdict in &results.verdicts {
        let _ = writeln!(out, "{} {}", if verdict.holds { "ok  " } else { "FAIL" }, verdict.sentence);
    }
    out
}

fn one(run: &Outcome, out: &mut String) {
    let _ = writeln!(out, "\n{} on {}", run.name, run.machine);
    let _ = writeln!(out, "{}; steady for {:.1} s\n", run.programme, run.seconds);
    players(run, out);
    cost(run, out);
    shards(run, out);
    notes(run, out);
}

/// Writes rows so that columns stand below each other, the first one to the left.
fn columns(rows: &[Vec<String>], out: &mut String) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| {
        rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match n {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

fn text(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

fn players(run: &Outcome, out: &mut String) {
    let mut rows = vec![text(&[
        "players", "came", "played", "failed", "died", "parsed", "p50", "p90", "p99", "p99.9", "max", "lost",
        "stalls",
    ])];
    let mut starts = vec![text(&[
        "start",
        "connect p50",
        "p99",
        "first byte p50",
        "p99",
        "max",
        "first key p50",
        "p99",
        "longest gap",
        "sound p50",
        "p99",
        "throughput",
    ])];
    let mut add = |name: &str, tally: &Tally| {
        let millis = |value| Unit::Millis.show(value);
        let latency = |quantile| millis(tally.latency.quantile(quantile));
        let mut row = vec![name.to_owned()];
        row.extend(
            [tally.started, tally.playing, tally.failed(), tally.died, tally.sampled].map(|n| n.to_string()),
        );
        row.extend([0.5, 0.9, 0.99, 0.999].map(latency));
        row.push(millis(tally.latency.max()));
        row.extend([tally.lost, tally.stalls].map(|n| n.to_string()));
        rows.push(row);
        let mut start = vec![name.to_owned()];
        start.extend([0.5, 0.99].map(|q| millis(tally.connect.quantile(q))));
        start.extend([0.5, 0.99, 1.0].map(|q| millis(tally.first_byte.quantile(q))));
        start.extend([0.5, 0.99].map(|q| millis(tally.first_key.quantile(q))));
        start.push(millis(tally.gap.max()));
        start.extend([0.5, 0.99].map(|q| millis(tally.sound.quantile(q))));
        start.push(Unit::Bits.show(tally.window_bytes as f64 * 8.0 / run.seconds));
        starts.push(start);
    };
    for (cohort, tally) in &run.cohorts {
        add(&name(cohort), tally);
    }
    let mut datagrams = vec![text(&[
        "datagrams",
        "packets/s",
        "lost",
        "of them",
        "out of order",
        "freezes",
        "frozen",
        "picture gap p99",
        "max",
        "jitter p99",
    ])];
    for (cohort, tally) in run.cohorts.iter().filter(|(_, tally)| tally.packets > 0) {
        let millis = |value| Unit::Millis.show(value);
        datagrams.push(vec![
            name(cohort),
            format!("{:.0}", tally.packets as f64 / run.seconds),
            tally.packets_lost.to_string(),
            Unit::Percent.show(loss_percent(tally)),
            tally.packets_reordered.to_string(),
            tally.freezes.to_string(),
            Unit::Percent.show(frozen_percent(tally, run.seconds)),
            millis(tally.picture_gap.quantile(0.99)),
            millis(tally.picture_gap.max()),
            millis(tally.jitter.quantile(0.99)),
        ]);
    }
    if run.cohorts.len() > 1 {
        add("all but slow", &run.tally(|cohort| cohort.role != Role::Slow));
    }
    columns(&rows, out);
    columns(&starts, out);
    if datagrams.len() > 1 {
        columns(&datagrams, out);
    }
    let slow = run.tally(|cohort| cohort.role == Role::Slow);
    if slow.started > 0 {
        let others = run.tally(|cohort| cohort.role != Role::Slow);
        let p99 = |times: &crate::stats::Times| Unit::Millis.show(times.quantile(0.99));
        if others.before.count() > 0 {
            let (before, during) = (p99(&others.before), p99(&others.during));
            let _ = writeln!(
                out,
                "The others' p99: {before} before, {during} while {} did not read.",
                slow.started
            );
        }
        let _ = writeln!(
            out,
            "The slow ones missed {} pictures; {} times one went on at a keyframe, {} times elsewhere; {} were closed.\n",
            slow.lost, slow.resumed, slow.broken, slow.died
        );
    }
}

fn name(cohort: &Cohort) -> String {
    match cohort.role {
        Role::Players => cohort.address.form.to_string(),
        role => format!("{} {}", cohort.address.form, role.key()),
    }
}

fn cost(run: &Outcome, out: &mut String) {
    let metrics = run.metrics();
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name);
    let show = |name: &str| find(name).map_or_else(|| "-".to_owned(), |m| m.unit.show(m.value));
    if run.server.is_some() {
        let names = [
            "cpu",
            "cpu_user",
            "cpu_system",
            "cpu_per_gb",
            "cpu_per_packet",
            "rss",
            "rss_anon",
            "memory_per_player",
            "threads",
            "descriptors",
        ];
        let mut rows = vec![text(&[
            "server",
            "CPU",
            "user",
            "system",
            "CPU per GB",
            "per packet",
            "resident",
            "own",
            "each player",
            "threads",
            "descriptors",
            "switches/s",
        ])];
        let mut row = vec![String::new()];
        row.extend(names.map(show));
        row.push(show("switches"));
        rows.push(row);
        columns(&rows, out);
    }
    if find("rss_growth").is_some() {
        let _ = writeln!(
            out,
            "Since the baseline the server's memory grew by {} ({} of its own), its descriptors by {}; when all had gone it \
             kept {} and {} descriptors more than at the start.\n",
            show("rss_growth"),
            show("rss_anon_growth"),
            show("descriptors_growth"),
            show("rss_after"),
            show("descriptors_after"),
        );
    }
    let _ = writeln!(
        out,
        "This tool took {} of a CPU (busiest thread {}), the machine was busy {}; messages left late by {} at p99.",
        show("tool_cpu"),
        show("tool_busiest"),
        show("machine_busy"),
        show("late_p99"),
    );
}

/// By thread of the server, and by shard as it says itself.
fn shards(run: &Outcome, out: &mut String) {
    if let Some(server) = &run.server {
        let busy: Vec<String> = server
            .usage
            .threads
            .iter()
            .take(12)
            .filter(|(_, busy, _)| *busy >= 0.1)
            .map(|(name, busy, _)| format!("{name} {busy:.1} %"))
            .collect();
        let _ = writeln!(out, "The server's threads: {}.", busy.join(", "));
    }
    for (id, figures) in &run.shards.1 {
        let figures: Vec<String> = figures
            .iter()
            .take(12)
            .map(|(name, value)| format!("{name} {}", Unit::Count.show(*value)))
            .collect();
        let _ = writeln!(out, "Shard {id}: {}.", figures.join(", "));
    }
}

fn notes(run: &Outcome, out: &mut String) {
    for note in &run.notes {
        let _ = writeln!(out, "! {note}");
    }
    out.push('\n');
}

fn comparison(results: &Results, out: &mut String) {
    let names = results.names();
    let all: Vec<Vec<Metric>> = names.iter().map(|name| results.metrics(name)).collect();
    let rounds = results.runs.len() / names.len().max(1);
    if let Some(run) = results.runs.first() {
        let _ = writeln!(out, "\n{}; {}", run.machine, run.programme);
        let _ = writeln!(
            out,
            "{} in turn, {rounds} rounds of {:.1} s, medians; ratios to {}\n",
            names.join(", "),
            run.seconds,
            names.first().copied().unwrap_or_default()
        );
    }
    let mut header = vec!["metric".to_owned()];
    for (n, name) in names.iter().enumerate() {
        header.push((*name).to_owned());
        if n > 0 {
            header.push("ratio".to_owned());
        }
    }
    let mut rows = vec![header];
    for metric in COMPARED {
        let of = |metrics: &Vec<Metric>| metrics.iter().find(|m| m.name == metric).map(|m| (m.value, m.unit));
        let Some((_, unit)) = all.iter().find_map(of) else { continue };
        let base = all.first().and_then(of).map_or(f64::NAN, |(value, _)| value);
        let mut row = vec![metric.to_owned()];
        for (n, metrics) in all.iter().enumerate() {
            let value = of(metrics).map_or(f64::NAN, |(value, _)| value);
            row.push(unit.show(value));
            if n > 0 {
                let ratio = value / base;
                row.push(if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() });
            }
        }
        rows.push(row);
    }
    columns(&rows, out);
    // Where there are packets these are what costs.
    let packets = all.iter().flatten().any(|metric| metric.name == "cpu_per_packet");
    let (price, of) = if packets { ("cpu_per_packet", "packet") } else { ("cpu_per_gb", "GB") };
    for name in names {
        let each: Vec<String> = results
            .runs
            .iter()
            .filter(|run| run.name == name)
            .map(|run| {
                let metric = run.metrics().into_iter().find(|m| m.name == price);
                metric.map_or_else(|| "-".to_owned(), |m| m.unit.show(m.value))
            })
            .collect();
        let _ = writeln!(out, "{name}, CPU per {of} in each round: {}", each.join(", "));
    }
    let mut said: Vec<String> = Vec::new();
    for run in &results.runs {
        said.extend(run.notes.iter().map(|note| format!("! {}: {note}", run.name)));
    }
    said.dedup();
    for note in said.iter().take(24) {
        let _ = writeln!(out, "{note}");
    }
    out.push('\n');
}
