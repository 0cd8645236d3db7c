//! What came of a run: all that was counted and read, its metrics by name, and what must be said about it.

use std::collections::BTreeMap;

use crate::{
    engine::Plan,
    measure::{
        process::{Reading, Usage},
        shardcast::Shards,
    },
    play::{Cohort, Role},
    publish::Published,
    stats::Tally,
    units::Unit,
    url::Form,
};

/// A thread of this tool that is busier than this limits what is measured, percent of a CPU.
const BUSY_MAX: f64 = 90.0;
/// A thread that waits longer than this for a CPU, percent of the time.
const WAITING_MAX: f64 = 20.0;
/// Messages that leave later than this, at the 99th percentile, milliseconds.
const LATE_MAX: f64 = 5.0;

/// A second of a run.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Since the first player.
    pub seconds: f64,
    /// Milliseconds.
    pub latency_p50: f64,
    /// Milliseconds.
    pub latency_p99: f64,
    /// Milliseconds.
    pub latency_max: f64,
    /// Bits a second that all players got.
    pub bits: f64,
    /// Percent of a CPU.
    pub server_user: f64,
    /// Percent of a CPU.
    pub server_system: f64,
    /// Percent of a CPU that this tool took.
    pub tool: f64,
    /// Percent of all CPUs.
    pub machine: f64,
    /// Bytes.
    pub rss: f64,
    /// Bytes.
    pub rss_anon: f64,
    /// Open descriptors of the server.
    pub descriptors: f64,
    /// Players that play.
    pub playing: f64,
    /// Players that the server ended so far.
    pub died: f64,
    /// The server's busiest threads: name, percent of a CPU.
    pub threads: Vec<(String, f64)>,
    /// Shardcast's own figures.
    pub shards: Shards,
}

/// What the server took.
#[derive(Clone, Debug, Default)]
pub struct ServerUse {
    /// In the window.
    pub usage: Usage,
    /// Before the first player.
    pub before: Reading,
    /// At the end of the window.
    pub reading: Reading,
    /// Whether it keeps what players leave behind.
    pub growth: Option<Growth>,
}

/// Readings of a server whose players come and go.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// After the first so many.
    pub baseline: Reading,
    /// With the last ones still there.
    pub end: Reading,
    /// When all have gone.
    pub after: Option<Reading>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What it is called.
    pub name: String,
    /// What was published.
    pub programme: String,
    /// What it ran on.
    pub machine: String,
    /// Length of the window.
    pub seconds: f64,
    /// What each cohort counted.
    pub cohorts: Vec<(Cohort, Tally)>,
    /// By this tool's publishers.
    pub published: Option<Published>,
    /// When somebody was watched.
    pub server: Option<ServerUse>,
    /// This tool, in the window.
    pub tool: Usage,
    /// Percent of all CPUs, in the window.
    pub machine_busy: f64,
    /// Counters of the kernel that tell of losses.
    pub complaints: Vec<(&'static str, u64, &'static str)>,
    /// Most players at once.
    pub playing: f64,
    /// Second by second.
    pub points: Vec<Point>,
    /// Shardcast's figures when the window opened, and last.
    pub shards: (Shards, Shards),
    /// Somebody stopped it early.
    pub interrupted: bool,
    /// What must be said.
    pub notes: Vec<String>,
}

/// A number with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// As `--require` knows it.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// May be no number, when nothing was measured.
    pub value: f64,
}

impl Outcome {
    /// The sum of the tallies that `pick` wants.
    pub fn tally(&self, pick: impl Fn(&Cohort) -> bool) -> Tally {
        let mut sum = Tally::default();
        self.cohorts.iter().filter(|(cohort, _)| pick(cohort)).for_each(|(_, tally)| sum.merge(tally));
        sum
    }

    /// RTP packets in the window: those that players got, and those that publishers sent.
    pub fn packets(&self) -> u64 {
        self.tally(|_| true).packets + self.published.as_ref().map_or(0, |published| published.packets)
    }

    /// Everything that has a name. Slow players are only in the metrics of their own prefix.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut all = Vec::new();
        let mut add = |name: &str, unit, value| all.push(Metric { name: name.to_owned(), unit, value });
        let bytes = self.tally(|_| true).window_bytes as f64;
        if let Some(server) = &self.server {
            let usage = &server.usage;
            let share = |ms: f64| ms / (usage.seconds.max(1e-9) * 10.0);
            add("cpu", Unit::Percent, usage.percent());
            add("cpu_user", Unit::Percent, share(usage.user_ms));
            add("cpu_system", Unit::Percent, share(usage.system_ms));
            add("cpu_per_gb", Unit::MillisPerGb, usage.cpu_ms / (bytes / 1e9));
            if self.packets() > 0 {
                add("cpu_per_packet", Unit::MicrosPerPacket, usage.cpu_ms * 1e3 / self.packets() as f64);
            }
            add("rss", Unit::Bytes, server.reading.rss as f64);
            add("rss_anon", Unit::Bytes, server.reading.rss_anon as f64);
            let grown = server.reading.rss_anon as f64 - server.before.rss_anon as f64;
            add("memory_per_player", Unit::Bytes, grown / self.playing);
            add("threads", Unit::Count, server.reading.threads.len() as f64);
            add("descriptors", Unit::Count, server.reading.descriptors as f64);
            let switches = (usage.voluntary + usage.involuntary) as f64;
            add("switches", Unit::Count, (switches / usage.seconds.max(1e-9)).round());
            add("shard_spread", Unit::Percent, spread(&usage.threads));
            if let Some(growth) = &server.growth {
                let end = growth.after.as_ref().unwrap_or(&growth.end);
                let more = |end: u64, start: u64| end as f64 - start as f64;
                add("rss_growth", Unit::Bytes, more(growth.end.rss, growth.baseline.rss));
                add("rss_anon_growth", Unit::Bytes, more(growth.end.rss_anon, growth.baseline.rss_anon));
                add(
                    "descriptors_growth",
                    Unit::Count,
                    more(growth.end.descriptors, growth.baseline.descriptors),
                );
                add("rss_after", Unit::Bytes, end.rss as f64);
                add("descriptors_after", Unit::Count, more(end.descriptors, server.before.descriptors));
            }
        }
        add("tool_cpu", Unit::Percent, self.tool.percent());
        add("tool_busiest", Unit::Percent, self.tool.threads.first().map_or(f64::NAN, |thread| thread.1));
        add("machine_busy", Unit::Percent, self.machine_busy);
        if let Some(published) = &self.published {
            add("late_p99", Unit::Millis, published.late.quantile(0.99));
            add("publishers_ended", Unit::Count, published.ended.len() as f64);
            if published.packets > 0 {
                add("published_packets", Unit::Count, (published.packets as f64 / self.seconds).round());
            }
        }
        self.players("", |cohort| cohort.role != Role::Slow, &mut all);
        for role in [Role::Players, Role::Joiners, Role::Slow] {
            self.players(role.key(), |cohort| cohort.role == role, &mut all);
        }
        for form in Form::PLAYED {
            let pick = |cohort: &Cohort| cohort.role != Role::Slow && cohort.address.form == form;
            self.players(form.key(), pick, &mut all);
        }
        all
    }

    fn players(&self, prefix: &str, pick: impl Fn(&Cohort) -> bool, all: &mut Vec<Metric>) {
        if !self.cohorts.iter().any(|(cohort, _)| pick(cohort)) {
            return;
        }
        let tally = self.tally(pick);
        let mut add = |name: &str, unit, value| {
            let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            all.push(Metric { name, unit, value });
        };
        for (name, count) in [
            ("players", tally.started),
            ("played", tally.playing),
            ("failed", tally.failed()),
            ("refused", tally.refused),
            ("rejected", tally.rejected),
            ("timed_out", tally.timed_out),
            ("died", tally.died),
            ("left", tally.left),
            ("stalls", tally.stalls),
            ("lost", tally.lost),
            ("repeats", tally.repeats),
            ("backward", tally.backward),
            ("broken", tally.broken),
            ("resumed", tally.resumed),
            ("sampled", tally.sampled),
        ] {
            add(name, Unit::Count, count as f64);
        }
        add("throughput", Unit::Bits, tally.window_bytes as f64 * 8.0 / self.seconds);
        let latency = &tally.latency;
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            add(name, Unit::Millis, latency.quantile(quantile));
        }
        add("max", Unit::Millis, latency.max());
        add("mean", Unit::Millis, latency.mean());
        if tally.before.count() + tally.during.count() > 0 {
            add("p99_before", Unit::Millis, tally.before.quantile(0.99));
            add("p99_during", Unit::Millis, tally.during.quantile(0.99));
        }
        if tally.packets > 0 {
            let packets = tally.packets as f64;
            add("packets", Unit::Count, (packets / self.seconds).round());
            add("packets_lost", Unit::Count, tally.packets_lost as f64);
            add("packets_reordered", Unit::Count, tally.packets_reordered as f64);
            add("packet_loss", Unit::Percent, loss_percent(&tally));
            add("freezes", Unit::Count, tally.freezes as f64);
            add("freeze_share", Unit::Percent, frozen_percent(&tally, self.seconds));
            for (name, times) in [("picture_gap", &tally.picture_gap), ("jitter", &tally.jitter)] {
                add(&format!("{name}_p50"), Unit::Millis, times.quantile(0.5));
                add(&format!("{name}_p99"), Unit::Millis, times.quantile(0.99));
                add(&format!("{name}_max"), Unit::Millis, times.max());
            }
        }
        let others = [
            ("connect", &tally.connect),
            ("first_byte", &tally.first_byte),
            ("first_key", &tally.first_key),
            ("gap", &tally.gap),
            ("sound", &tally.sound),
        ];
        for (name, times) in others {
            add(&format!("{name}_p50"), Unit::Millis, times.quantile(0.5));
            add(&format!("{name}_p99"), Unit::Millis, times.quantile(0.99));
            add(&format!("{name}_max"), Unit::Millis, times.max());
        }
    }

    /// Why players died or never played.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.tally(|_| true).reasons
    }
}

/// Packets that did not come, percent of those that should have.
pub fn loss_percent(tally: &Tally) -> f64 {
    tally.packets_lost as f64 * 100.0 / (tally.packets + tally.packets_lost) as f64
}

/// The time that parsed players looked at a frozen picture, percent of a window of `seconds`.
pub fn frozen_percent(tally: &Tally, seconds: f64) -> f64 {
    tally.frozen_ns as f64 / 1e7 / (tally.sampled as f64 * seconds)
}

/// How far the busiest and the idlest of the server's shards lie apart, percent of the mean; not a number for a server
/// whose threads are not called `shard-N`.
fn spread(threads: &[(String, f64, f64)]) -> f64 {
    // Helpers of a shard may bear its name.
    let mut shards: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, busy, _) in threads.iter().filter(|(name, ..)| name.starts_with("shard-")) {
        *shards.entry(name).or_default() += busy;
    }
    let busy: Vec<f64> = shards.into_values().collect();
    let mean = busy.iter().sum::<f64>() / busy.len() as f64;
    let (low, high) =
        busy.iter().fold((f64::MAX, f64::MIN), |(low, high), busy| (low.min(*busy), high.max(*busy)));
    (high - low) * 100.0 / mean
}

/// What must be said about a run: what limits its truth, and what went wrong.
pub fn notes(outcome: &Outcome, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    if outcome.interrupted {
        notes.push("It was interrupted; the figures are of what there was.".to_owned());
    }
    for (name, busy, waiting) in &outcome.tool.threads {
        if *busy > BUSY_MAX {
            notes.push(format!(
                "This tool was the bottleneck: its thread '{name}' was busy {busy:.0} % of the time. Give it more threads \
                 (--threads, --parse-threads) or cores, or parse fewer players (--sample)."
            ));
        } else if *waiting > WAITING_MAX {
            notes.push(format!(
                "This tool's thread '{name}' waited for a CPU {waiting:.0} % of the time: latencies hold its delay."
            ));
        }
    }
    if let Some(published) = &outcome.published {
        let late = published.late.quantile(0.99);
        if late > LATE_MAX {
            notes.push(format!(
                "Publishing was late: 1 % of messages left more than {late:.1} ms after their time, because this tool or \
                 the machine was busy."
            ));
        }
        if published.blocked > 0 {
            notes.push(format!("{} times the server's socket was full for a publisher.", published.blocked));
        }
        notes.extend(published.ended.iter().take(5).map(|ended| format!("A publisher was ended: {ended}")));
    }
    for (reason, count) in outcome.reasons() {
        notes.push(format!("{count} players: {reason}."));
    }
    for (counter, count, what) in &outcome.complaints {
        notes.push(format!("The kernel counted {count} {counter}: {what}."));
    }
    let tally = outcome.tally(|_| true);
    if tally.playing > 0 && outcome.seconds > 0.0 && tally.latency.count() == 0 {
        notes.push(match (plan.publish.is_some(), tally.foreign) {
            (_, 1..) => "Pictures carried markers of another run: someone else publishes there.".to_owned(),
            (true, 0) => {
                "No picture came with a marker: the server alters them, or plays something else.".to_owned()
            }
            (false, 0) => "No latencies: nobody publishes with this tool.".to_owned(),
        });
    }
    if let Some(max) = plan.watch.descriptors_max() {
        let need = outcome.playing as u64;
        if tally.failed() + tally.died > 0 && max < need + need / 10 {
            notes.push(format!("The server may open {max} descriptors only: raise its `ulimit -n`."));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_apart_from_other_threads() {
        let thread = |name: &str, busy| (name.to_owned(), busy, 0.0);
        let even =
            [thread("shard-0", 50.0), thread("shard-1", 45.0), thread("log", 1.0), thread("shard-0", 0.0)];
        assert!((spread(&even) - 500.0 / 47.5).abs() < 1e-9);
        assert!(!spread(&[thread("nginx", 50.0)]).is_finite());
    }

    #[test]
    fn an_empty_outcome_has_metrics_that_are_no_numbers() {
        let metrics = Outcome::default().metrics();
        assert!(metrics.iter().all(|metric| metric.name != "cpu"), "nobody was watched");
        assert!(metrics.iter().any(|metric| metric.name == "tool_cpu"));
    }
}
