//! Figures for Prometheus, in its text format 0.0.4: SRS's names with SRS's units, and our own with the units that Prometheus
//! recommends, for each shard and, where that is wanted, for each stream.
//!
//! Invariant: every name has a HELP and a TYPE line, and stands in one place; label values are escaped.

use std::{
    fmt::{Display, Write},
    time::Instant,
};

use super::{
    Api,
    v1::version,
    whole::{self, Whole},
};
use crate::{board::Page, proc};

/// What the answer is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Streams that have figures of their own, at most: each is some fifteen series.
const STREAMS_MAX: usize = 2_000;

/// All of it.
pub(super) fn text(api: &Api) -> String {
    let mut text = Text(String::with_capacity(16 << 10));
    let pages = api.pages();
    let streams = whole::streams(&pages);
    srs(&mut text, api, &pages, streams.len());
    process(&mut text, api);
    hooks(&mut text, api);
    shards(&mut text, &pages);
    if api.shared.metrics.load().streams {
        let some = streams.get(..STREAMS_MAX).unwrap_or(&streams);
        each_stream(&mut text, some);
    }
    text.0
}

/// The names that SRS has.
fn srs(text: &mut Text, api: &Api, pages: &[std::sync::Arc<Page>], streams: usize) {
    let (identity, sight) = (api.identity(), api.sight());
    let [system, node, release, version_of_system, machine] = proc::uname();
    text.family("srs_node_uname_info", GAUGE, "The machine and its system, as uname has them; always 1.");
    text.sample(
        "srs_node_uname_info",
        &[
            ("sysname", &system),
            ("nodename", &node),
            ("release", &release),
            ("version", &version_of_system),
            ("machine", &machine),
        ],
        1,
    );
    text.family("srs_build_info", GAUGE, "This server and this process; always 1.");
    text.sample(
        "srs_build_info",
        &[
            ("server", &identity.server_id),
            ("service", &identity.service_id),
            ("pid", &identity.pid),
            ("build_date", &api.shared.built),
            ("major", &version()[0]),
            ("version", &env!("CARGO_PKG_VERSION")),
            ("code", &"Shardcast"),
        ],
        1,
    );
    let sum = |of: fn(&Page) -> u64| -> u64 { pages.iter().map(|page| of(page)).sum() };
    text.one(
        "srs_cpu_percent",
        GAUGE,
        "Percent of the machine's processors that the process uses.",
        sight.sample.process_share * 100.0,
    );
    text.one("srs_memory", GAUGE, "Resident memory of the process, in kB.", sight.sample.resident_kb());
    text.one(
        "srs_send_bytes_total",
        COUNTER,
        "Bytes sent to all peers, in bytes.",
        sum(|page| page.traffic.1),
    );
    text.one(
        "srs_receive_bytes_total",
        COUNTER,
        "Bytes received from all peers, in bytes.",
        sum(|page| page.traffic.0),
    );
    text.one("srs_streams", GAUGE, "Streams that are published, played or awaited.", streams);
    text.one(
        "srs_clients",
        GAUGE,
        "Clients that publish or play.",
        sum(|page| (page.clients.0 + page.clients.1) as u64),
    );
    text.one(
        "srs_clients_total",
        COUNTER,
        "Clients that published or played since the start.",
        sum(|page| page.enrolled),
    );
    text.one(
        "srs_clients_errs_total",
        COUNTER,
        "Connections that broke their protocol, or were refused.",
        sum(|page| page.faults + page.permission.refused()),
    );
}

fn process(text: &mut Text, api: &Api) {
    let sight = api.sight();
    text.one("shardcast_uptime_seconds", GAUGE, "Time since the server began.", api.uptime().as_secs_f64());
    text.one(
        "shardcast_cpu_seconds_total",
        COUNTER,
        "Processor time that the process used.",
        sight.sample.cpu_seconds(),
    );
    text.one(
        "shardcast_resident_memory_bytes",
        GAUGE,
        "Resident memory of the process.",
        sight.sample.resident_kb() * 1_024,
    );
}

/// A figure of a shard: its name, type, meaning, and where it stands.
type Figure<T, V> = (&'static str, &'static str, &'static str, fn(&T) -> V);

/// Calls to the operator's backend.
fn hooks(text: &mut Text, api: &Api) {
    let stats = api.shared.hooks.stats();
    let name = "shardcast_hooks_calls_total";
    text.family(name, COUNTER, "Calls to the backend that did not end with yes, by what became of them.");
    for (outcome, count) in [
        ("rejected", stats.rejected),
        ("unanswered", stats.unanswered),
        ("overflowed", stats.overflowed),
        ("retried", stats.retried),
        ("dropped", stats.dropped),
    ] {
        text.sample(name, &[("outcome", &outcome)], count);
    }
    text.one("shardcast_hooks_waiting", GAUGE, "Calls to the backend that wait.", stats.waiting);
    text.one("shardcast_hooks_deciding", GAUGE, "Clients that wait for the backend's word.", stats.deciding);
}

fn shards(text: &mut Text, pages: &[std::sync::Arc<Page>]) {
    let now = Instant::now();
    let figures: [Figure<Page, f64>; 19] = [
        (
            "shardcast_shard_busy_ratio",
            GAUGE,
            "The share of its time that a shard spends in tasks.",
            |page| f64::from(page.busy),
        ),
        ("shardcast_shard_connections", GAUGE, "Connections, those that only talk included.", |page| {
            page.connections as f64
        }),
        ("shardcast_shard_publishers", GAUGE, "Clients that publish.", |page| page.clients.0 as f64),
        ("shardcast_shard_players", GAUGE, "Clients that play.", |page| page.clients.1 as f64),
        ("shardcast_shard_webrtc_sessions", GAUGE, "WebRTC sessions.", |page| page.webrtc as f64),
        ("shardcast_shard_streams", GAUGE, "Streams that the shard owns.", |page| {
            page.streams.iter().filter(|(_, stats)| !stats.is_mirror).count() as f64
        }),
        ("shardcast_shard_mirrors", GAUGE, "Mirrors of other shards' streams.", |page| page.mirrors as f64),
        ("shardcast_shard_clients_total", COUNTER, "Clients that published or played.", |page| {
            page.enrolled as f64
        }),
        ("shardcast_shard_media_received_bytes_total", COUNTER, "Payload from publishers.", |page| {
            page.received as f64
        }),
        ("shardcast_shard_media_sent_bytes_total", COUNTER, "Media that viewers' sockets took.", |page| {
            page.totals.bytes as f64
        }),
        ("shardcast_shard_wire_received_bytes_total", COUNTER, "All that came through sockets.", |page| {
            page.traffic.0 as f64
        }),
        ("shardcast_shard_wire_sent_bytes_total", COUNTER, "All that went through sockets.", |page| {
            page.traffic.1 as f64
        }),
        ("shardcast_shard_sends_total", COUNTER, "System calls that sent media.", |page| {
            page.totals.sends as f64
        }),
        ("shardcast_shard_batches_total", COUNTER, "Batches that were sealed.", |page| {
            page.totals.batches as f64
        }),
        ("shardcast_shard_skips_total", COUNTER, "Times that slow viewers skipped to a keyframe.", |page| {
            page.totals.skips as f64
        }),
        (
            "shardcast_shard_expired_total",
            COUNTER,
            "Sessions that ended because their permission did.",
            |page| page.permission.expired as f64,
        ),
        ("shardcast_shard_faults_total", COUNTER, "Connections that broke their protocol.", |page| {
            page.faults as f64
        }),
        (
            "shardcast_shard_longest_walk_seconds",
            GAUGE,
            "The longest that sending held the shard, over the last half second.",
            |page| page.longest_walk_us as f64 / 1e6,
        ),
        ("shardcast_shard_coalesce_seconds", GAUGE, "How long frames gather before they are sent.", |page| {
            page.window.unwrap_or_default().as_secs_f64()
        }),
    ];
    for (name, kind, help, value) in figures {
        text.family(name, kind, help);
        for (shard, page) in pages.iter().enumerate() {
            text.sample(name, &[("shard", &shard)], value(page));
        }
    }
    text.family(
        "shardcast_shard_wishes_total",
        COUNTER,
        "Wishes to publish or play, by what became of them.",
    );
    for (shard, page) in pages.iter().enumerate() {
        let decided = &page.permission;
        for (decision, count) in [
            ("granted", decided.granted),
            ("unauthorized", decided.unauthorized),
            ("forbidden", decided.forbidden),
            ("unavailable", decided.unavailable),
        ] {
            text.sample("shardcast_shard_wishes_total", &[("shard", &shard), ("decision", &decision)], count);
        }
    }
    text.family("shardcast_shard_age_seconds", GAUGE, "How old these figures are; above 2 a shard is late.");
    for (shard, page) in pages.iter().enumerate() {
        let age = now.saturating_duration_since(page.at).as_secs_f64();
        text.sample("shardcast_shard_age_seconds", &[("shard", &shard)], age);
    }
}

fn each_stream(text: &mut Text, streams: &[Whole<'_>]) {
    let figures: [Figure<Whole<'_>, f64>; 8] = [
        ("shardcast_stream_live", GAUGE, "Whether somebody publishes it.", |stream| {
            f64::from(u8::from(stream.stats.publisher.is_some()))
        }),
        ("shardcast_stream_viewers", GAUGE, "Its viewers on all shards.", |stream| stream.viewers() as f64),
        (
            "shardcast_stream_bits_per_second",
            GAUGE,
            "Payload from its publisher over the last second.",
            |stream| stream.stats.bitrate as f64,
        ),
        ("shardcast_stream_received_bytes_total", COUNTER, "Payload from its publishers.", |stream| {
            stream.stats.bytes_in as f64
        }),
        ("shardcast_stream_sent_bytes_total", COUNTER, "Media that its viewers' sockets took.", |stream| {
            stream.totals().bytes as f64
        }),
        (
            "shardcast_stream_skips_total",
            COUNTER,
            "Times that slow viewers skipped to a keyframe.",
            |stream| stream.totals().skips as f64,
        ),
        ("shardcast_stream_lag_seconds", GAUGE, "How far its slowest viewer is behind.", |stream| {
            stream.lag().micros() as f64 / 1e6
        }),
        ("shardcast_stream_cache_bytes", GAUGE, "Payload in its cache of pictures.", |stream| {
            stream.stats.gop_bytes as f64
        }),
    ];
    for (name, kind, help, value) in figures {
        text.family(name, kind, help);
        for stream in streams {
            text.sample(name, &[("app", &stream.key.app()), ("stream", &stream.key.name())], value(stream));
        }
    }
    let mut by = |name, label, help, values: fn(&Whole<'_>) -> Vec<(&'static str, u64)>| {
        text.family(name, COUNTER, help);
        for stream in streams {
            for (word, count) in values(stream) {
                let labels: [(&str, &dyn Display); 3] =
                    [("app", &stream.key.app()), ("stream", &stream.key.name()), (label, &word)];
                text.sample(name, &labels, count);
            }
        }
    };
    by("shardcast_stream_frames_total", "kind", "Frames from its publishers.", |stream| {
        vec![("video", stream.stats.video_frames), ("audio", stream.stats.audio_frames)]
    });
    by("shardcast_stream_dropped_frames_total", "reason", "Frames that were not passed on.", |stream| {
        let dropped = stream.stats.dropped;
        vec![
            ("before_keyframe", dropped.before_key),
            ("unknown_track", dropped.no_track),
            ("malformed", dropped.malformed),
        ]
    });
    by("shardcast_stream_repairs_total", "kind", "Repairs of its publishers' clocks.", |stream| {
        vec![("jump", stream.stats.repairs.jumps), ("stumble", stream.stats.repairs.stumbles)]
    });
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

/// Prometheus's text as it grows. Writing to a string cannot fail.
struct Text(String);

impl Text {
    /// A name, before its samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, value)) in labels.iter().enumerate() {
            let _ = write!(
                self.0,
                "{}{label}=\"{}\"",
                if n == 0 { '{' } else { ',' },
                escaped(&value.to_string())
            );
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A name with one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut text = Text(String::new());
        text.one("up", GAUGE, "Whether it is.", 1);
        text.sample("info", &[("name", &"a \"b\" \\ c\nd"), ("n", &7)], 0.5);
        assert_eq!(
            text.0,
            "# HELP up Whether it is.\n# TYPE up gauge\nup 1\ninfo{name=\"a \\\"b\\\" \\\\ c\\nd\",n=\"7\"} 0.5\n"
        );
    }
}
