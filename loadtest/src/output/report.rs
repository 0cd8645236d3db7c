//! Results as one page that needs nothing else: tables, and plots as SVG inside it.

use std::fmt::Write as _;

use super::{
    Results,
    plot::{Line, Plot, Ticks},
    table,
};
use crate::{
    outcome::{Outcome, Point},
    play::Role,
    stats::Times,
};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1560px;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.5em}h2{margin-top:2em;border-bottom:1px solid #ccc}pre{background:#f6f6f6;padding:1em;overflow-x:auto}\
table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ddd;padding:.2em .7em;text-align:right}\
td:first-child,th:first-child{text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1em}.plots svg{max-width:100%;height:auto}\
.ok{color:#167016}.fail{color:#b00020;font-weight:bold}details{margin:1em 0}";

/// The page.
pub fn render(results: &Results) -> String {
    let mut out = String::new();
    let title = format!("Load test: {}", results.names().join(", "));
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n<p><code>{1}</code></p>\n",
        escape(&title),
        escape(&results.command)
    );
    for verdict in &results.verdicts {
        let class = if verdict.holds { "ok" } else { "fail" };
        let _ = writeln!(out, "<p class=\"{class}\">{}</p>", escape(&verdict.sentence));
    }
    let _ = writeln!(out, "<pre>{}</pre>", escape(table::render(results).trim()));
    if results.is_comparison() {
        plots(&compared(results), &mut out);
    }
    for (n, run) in results.runs.iter().enumerate() {
        let _ = writeln!(out, "<h2>{} ({})</h2>", escape(&run.name), n + 1);
        plots(&of_run(run), &mut out);
        metrics(run, &mut out);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn plots(plots: &[Plot], out: &mut String) {
    out.push_str("<div class=\"plots\">\n");
    for svg in plots.iter().filter_map(Plot::svg) {
        out.push_str(&svg);
        out.push('\n');
    }
    out.push_str("</div>\n");
}

fn metrics(run: &Outcome, out: &mut String) {
    out.push_str("<details>\n<summary>Every metric</summary>\n<table>\n");
    for metric in run.metrics() {
        let (name, value) = (escape(&metric.name), escape(&metric.unit.show(metric.value)));
        let _ = writeln!(out, "<tr><td>{name}</td><td>{value}</td></tr>");
    }
    out.push_str("</table>\n</details>\n");
}

/// Percentiles over the number of nines.
fn percentiles(name: &str, times: &Times) -> Line {
    // Beyond 1 in as many as there are, a percentile is the longest one.
    let nines_max = (times.count().max(1) as f64).log10().min(5.0);
    let steps = (nines_max * 20.0) as u32;
    let point = |n: u32| {
        let nines = f64::from(n) / 20.0;
        (nines, times.quantile(1.0 - 1.0 / 10_f64.powf(nines)))
    };
    Line { name: name.to_owned(), points: (0..=steps).map(point).collect() }
}

fn over_time(run: &Outcome, name: &str, value: impl Fn(&Point) -> f64) -> Line {
    Line {
        name: name.to_owned(),
        points: run.points.iter().map(|point| (point.seconds, value(point))).collect(),
    }
}

fn timed(title: &str, unit: &str, lines: Vec<Line>) -> Plot {
    let axes = ("seconds".to_owned(), unit.to_owned());
    Plot { title: title.to_owned(), axes, ticks: Ticks::Plain, lines }
}

fn of_run(run: &Outcome) -> Vec<Plot> {
    let by_cohort = |pick: fn(&crate::stats::Tally) -> &Times| {
        let line = |(cohort, tally): &(crate::play::Cohort, crate::stats::Tally)| {
            percentiles(&format!("{} {}", cohort.address.form, cohort.role.key()), pick(tally))
        };
        run.cohorts.iter().map(line).collect::<Vec<_>>()
    };
    let nines = |title: &str, lines| Plot {
        title: title.to_owned(),
        axes: ("percentile".to_owned(), "ms".to_owned()),
        ticks: Ticks::Nines,
        lines,
    };
    let mut all = vec![
        nines("Latency, percentiles", by_cohort(|tally| &tally.latency)),
        timed(
            "Latency over time",
            "ms",
            vec![
                over_time(run, "p50", |point| point.latency_p50),
                over_time(run, "p99", |point| point.latency_p99),
                over_time(run, "max", |point| point.latency_max),
            ],
        ),
        nines("From connect() to the first keyframe", by_cohort(|tally| &tally.first_key)),
        timed("Throughput", "Mbit/s", vec![over_time(run, "all players", |point| point.bits / 1e6)]),
        timed(
            "Players",
            "",
            vec![
                over_time(run, "playing", |point| point.playing),
                over_time(run, "died", |point| point.died),
            ],
        ),
    ];
    let mut cpu = vec![over_time(run, "this tool", |point| point.tool)];
    if run.server.is_some() {
        cpu.push(over_time(run, "server", |point| point.server_user + point.server_system));
        cpu.push(over_time(run, "of that, system", |point| point.server_system));
        all.push(timed(
            "Memory of the server",
            "MiB",
            vec![
                over_time(run, "resident", |point| point.rss / 1048576.0),
                over_time(run, "its own", |point| point.rss_anon / 1048576.0),
            ],
        ));
        all.push(timed("Threads of the server", "% of a CPU", threads(run)));
    }
    all.push(timed("CPU", "% of a CPU", cpu));
    all.extend(shards(run));
    all
}

/// A line for each of the server's threads that was ever busy; those of one name are added up.
fn threads(run: &Outcome) -> Vec<Line> {
    let mut names: Vec<&str> =
        run.server.iter().flat_map(|server| &server.usage.threads).map(|(name, ..)| name.as_str()).collect();
    let mut known = std::collections::BTreeSet::new();
    names.retain(|name| known.insert(*name));
    names.truncate(8);
    let sum = |point: &Point, name: &str| {
        point.threads.iter().filter(|(known, _)| known == name).map(|(_, busy)| busy).sum()
    };
    names.iter().map(|name| over_time(run, name, |point| sum(point, name))).collect()
}

/// A plot for each figure of Shardcast's shards that changes.
fn shards(run: &Outcome) -> Vec<Plot> {
    let figures: Vec<&String> =
        run.shards.1.values().next().map(|figures| figures.keys().take(12).collect()).unwrap_or_default();
    let plot = |figure: &&String| {
        let line = |id: &u64| {
            let value = |point: &Point| {
                point.shards.get(id).and_then(|figures| figures.get(*figure)).copied().unwrap_or(f64::NAN)
            };
            over_time(run, &format!("shard {id}"), value)
        };
        timed(&format!("Shards: {figure}"), "", run.shards.1.keys().take(8).map(line).collect())
    };
    let changes = |plot: &Plot| {
        let first = |line: &Line| line.points.iter().find(|(_, y)| y.is_finite()).map(|(_, y)| *y);
        plot.lines
            .iter()
            .any(|line| line.points.iter().any(|(_, y)| y.is_finite() && Some(*y) != first(line)))
    };
    figures.iter().map(plot).filter(changes).collect()
}

/// Latency of all targets in one plot, all rounds together.
fn compared(results: &Results) -> Vec<Plot> {
    let line = |name: &&str| {
        let mut times = Times::default();
        for run in results.runs.iter().filter(|run| run.name == **name) {
            times.merge(&run.tally(|cohort| cohort.role != Role::Slow).latency);
        }
        percentiles(name, &times)
    };
    vec![Plot {
        title: "Latency of all rounds, percentiles".to_owned(),
        axes: ("percentile".to_owned(), "ms".to_owned()),
        ticks: Ticks::Nines,
        lines: results.names().iter().map(line).collect(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outcome::ServerUse, play::Cohort, require::Verdict, stats::Tally};

    /// A page that went through a whole run.
    fn page() -> String {
        let cohort = Cohort {
            role: Role::Players,
            address: "http://127.0.0.1:1/live/%d.flv?a=1&b=<2>".parse().expect("an address"),
            remote: ([127, 0, 0, 1], 1).into(),
            count: 2,
            streams: 1,
            begin_ns: 0,
            rate: 1.0,
            stay_ns: None,
            slow: None,
            sample: 1,
        };
        let mut tally = Tally::default();
        (1..2_000).for_each(|n| tally.latency.record_ns(n * 1_000_000));
        let point = |n: u32| Point {
            seconds: f64::from(n),
            latency_p50: 1.0,
            latency_p99: f64::NAN,
            bits: 5.0,
            ..Point::default()
        };
        let run = Outcome {
            name: "a<b>".to_owned(),
            cohorts: vec![(cohort, tally)],
            server: Some(ServerUse::default()),
            points: (0..10).map(point).collect(),
            notes: vec!["\"quoted\" & <marked>".to_owned()],
            ..Outcome::default()
        };
        let verdict =
            Verdict { requirement: "p99<1".into(), holds: false, sentence: "p99<1 does not hold".into() };
        let other = Outcome { name: "other".to_owned(), ..run.clone() };
        render(&Results {
            command: "x --require 'p99<1'".into(),
            runs: vec![run, other],
            verdicts: vec![verdict],
            unix: 1,
        })
    }

    /// Walks over the tags; every one that opens must close, but for those that never do.
    fn check(html: &str) -> Result<usize, String> {
        const VOID: [&str; 4] = ["meta", "!DOCTYPE", "br", "link"];
        let (mut open, mut seen, mut rest) = (Vec::new(), 0, html);
        while let Some(at) = rest.find('<') {
            let text = &rest[..at];
            if text.contains('>') {
                return Err(format!("a bare '>' in {text:?}"));
            }
            let end = rest[at..].find('>').ok_or("a tag without an end")? + at;
            let tag = &rest[at + 1..end];
            if tag.matches('"').count() % 2 != 0 {
                return Err(format!("quotes in {tag:?}"));
            }
            let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap_or_default();
            match tag {
                _ if VOID.contains(&name) || tag.ends_with('/') => {}
                _ if tag.starts_with('/') => {
                    let opened = open.pop();
                    if opened != Some(name) {
                        return Err(format!("{opened:?} closed by {name:?}"));
                    }
                }
                _ => open.push(name),
            }
            seen += 1;
            rest = &rest[end + 1..];
        }
        if open.is_empty() { Ok(seen) } else { Err(format!("never closed: {open:?}")) }
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        let page = page();
        let tags = check(&page).unwrap_or_else(|error| panic!("{error}"));
        assert!(tags > 200 && page.matches("<svg").count() >= 5, "{tags} tags");
        for outside in ["src=", "href=", "@import", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a&lt;b&gt;") && page.contains("&quot;quoted&quot; &amp; &lt;marked&gt;"));
    }

    #[test]
    fn the_walk_over_tags_finds_mistakes() {
        assert!(check("<p><b></p></b>").is_err() && check("<p>").is_err() && check("a > b<p></p>").is_err());
        assert_eq!(check("<meta a=\"b\"><p>x</p>"), Ok(3));
    }
}
