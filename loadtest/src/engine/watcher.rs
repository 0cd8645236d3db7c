//! Readings while players play: server, tool and kernel when the window opens and closes, and a point a second.
//!
//! Invariant: at most [`POINTS_MAX`] points are kept, whatever a run's length. Times are nanoseconds on [`clock`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Plan, Progress};
use crate::{
    clock::{self, nanos},
    measure::{
        machine::{self, Kernel},
        process::{Reading, Watch},
        shardcast::{Poller, Shards},
    },
    outcome::{Growth, Outcome, Point, ServerUse},
    play::{Players, Terms},
    publish::Published,
    stats::{Live, Times},
};

/// Points in time that are kept; then every second one goes and the rest stand for twice the time.
const POINTS_MAX: usize = 1_200;
/// Between two looks at progress.
const LOOK: Duration = Duration::from_millis(250);

/// Reads and keeps what happens while players play.
pub struct Watcher<'a> {
    plan: &'a Plan,
    poller: Option<Poller>,
    own: Watch,
    start_ns: u64,
    before: Reading,
    open: Option<At>,
    close: Option<At>,
    baseline: Option<Reading>,
    busy_end: Option<Reading>,
    after: Option<Reading>,
    shards_open: Shards,
    points: Vec<Point>,
    period_ns: u64,
    last: At,
}

/// Everything that is read at one moment.
#[derive(Clone)]
struct At {
    ns: u64,
    server: Reading,
    tool: Reading,
    kernel: Kernel,
    bytes: u64,
}

impl<'a> Watcher<'a> {
    /// Before the first player comes, at `start_ns`.
    pub fn new(plan: &'a Plan, poller: Option<Poller>, start_ns: u64) -> Self {
        let (own, server) = (Watch::own(), plan.watch.read());
        let last = At {
            ns: clock::now(),
            server: server.clone(),
            tool: own.read(),
            kernel: Kernel::read(),
            bytes: 0,
        };
        Self {
            plan,
            poller,
            own,
            start_ns,
            before: server,
            open: None,
            close: None,
            baseline: None,
            busy_end: None,
            after: None,
            shards_open: Default::default(),
            points: Vec::new(),
            period_ns: 1_000_000_000,
            last,
        }
    }

    fn at(&self, players: &Players) -> At {
        At {
            ns: clock::now(),
            server: self.plan.watch.read(),
            tool: self.own.read(),
            kernel: Kernel::read(),
            bytes: players.sum(|live| &live.bytes),
        }
    }

    /// Until the end, or until somebody stops it.
    pub fn watch(
        &mut self,
        players: &Players,
        terms: &Terms,
        stopped: &AtomicBool,
        show: &mut dyn FnMut(&Progress),
    ) {
        let end_ns = self.start_ns + nanos(self.plan.end);
        // Before the players go, so that they are still there when the last reading is taken.
        let last_ns = end_ns.saturating_sub(nanos(Duration::from_millis(100)));
        let (mut look_ns, mut point_ns) = (self.start_ns, self.start_ns + self.period_ns);
        let mut progress = Progress::default();
        while !stopped.load(Ordering::Relaxed) {
            let now = clock::now();
            if now >= last_ns {
                break;
            }
            if self.open.is_none() && now >= terms.open_ns {
                self.open = Some(self.at(players));
                self.shards_open = self.shards();
            }
            if self.close.is_none() && now >= terms.close_ns {
                self.close = Some(self.at(players));
            }
            if self.baseline.is_none()
                && self.plan.baseline.is_some_and(|n| players.sum(|live| &live.started) >= n)
            {
                self.baseline = Some(self.plan.watch.read());
            }
            if now >= point_ns {
                self.point(players);
                point_ns = now + self.period_ns;
                progress.point = self.points.last().cloned().unwrap_or_default();
            }
            if now >= look_ns {
                look_ns = now + nanos(LOOK);
                progress.phase = match (&self.open, &self.close) {
                    (None, _) => "connecting",
                    (Some(_), None) => "measuring",
                    _ => "ending",
                };
                progress.seconds = (clock::seconds(self.start_ns, now), self.plan.end.as_secs_f64());
                progress.started = players.sum(|live| &live.started);
                progress.playing = players.sum(|live| &live.playing);
                progress.failed = players.sum(|live| &live.failed);
                progress.died = players.sum(|live| &live.died);
                show(&progress);
            }
            let ahead = [look_ns, point_ns, last_ns, terms.open_ns, terms.close_ns];
            let next = ahead.into_iter().filter(|at| *at > now).min().unwrap_or(last_ns);
            clock::sleep_until(next.min(now + nanos(Duration::from_millis(50))));
        }
        if self.open.is_some() && self.close.is_none() {
            self.close = Some(self.at(players));
        }
        self.busy_end = Some(self.plan.watch.read());
    }

    fn shards(&self) -> Shards {
        self.poller.as_ref().map(Poller::newest).unwrap_or_default()
    }

    fn point(&mut self, players: &Players) {
        let at = self.at(players);
        let seconds = clock::seconds(self.last.ns, at.ns);
        let mut recent = Times::default();
        players.live.iter().for_each(|live: &Arc<Live>| live.take_recent(&mut recent));
        let server = at.server.since(&self.last.server, seconds);
        let tool = at.tool.since(&self.last.tool, seconds);
        self.points.push(Point {
            seconds: clock::seconds(self.start_ns, at.ns),
            latency_p50: recent.quantile(0.5),
            latency_p99: recent.quantile(0.99),
            latency_max: recent.max(),
            bits: (at.bytes - self.last.bytes) as f64 * 8.0 / seconds.max(1e-9),
            server_user: server.user_ms / (seconds.max(1e-9) * 10.0),
            server_system: server.system_ms / (seconds.max(1e-9) * 10.0),
            tool: tool.percent(),
            machine: at.kernel.busy_percent(&self.last.kernel),
            rss: at.server.rss as f64,
            rss_anon: at.server.rss_anon as f64,
            descriptors: at.server.descriptors as f64,
            playing: players.sum(|live| &live.playing) as f64,
            died: players.sum(|live| &live.died) as f64,
            threads: server.threads.iter().take(16).map(|(name, busy, _)| (name.clone(), *busy)).collect(),
            shards: self.shards(),
        });
        self.last = at;
        if self.points.len() > POINTS_MAX {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.period_ns *= 2;
        }
    }

    /// All have gone.
    pub fn afterwards(&mut self) {
        self.after = Some(self.plan.watch.read());
    }

    /// What there is, but for what players counted.
    pub fn outcome(self, published: Option<Published>, interrupted: bool) -> Outcome {
        let shards = (self.shards_open.clone(), self.shards());
        let (Some(open), Some(close)) = (&self.open, &self.close) else {
            return Outcome {
                name: self.plan.name.clone(),
                published,
                interrupted,
                points: self.points,
                ..Outcome::default()
            };
        };
        let seconds = clock::seconds(open.ns, close.ns);
        let watched = !self.plan.watch.is_empty();
        let growth = self.baseline.zip(self.busy_end).map(|(baseline, end)| Growth {
            baseline,
            end,
            after: self.after,
        });
        let server = watched.then(|| ServerUse {
            usage: close.server.since(&open.server, seconds),
            before: self.before,
            reading: close.server.clone(),
            growth,
        });
        Outcome {
            name: self.plan.name.clone(),
            programme: self.plan.programme.describe(),
            machine: machine::describe(),
            seconds,
            published,
            server,
            tool: close.tool.since(&open.tool, seconds),
            machine_busy: close.kernel.busy_percent(&open.kernel),
            complaints: self.last.kernel.complaints(&open.kernel),
            playing: self.points.iter().map(|point| point.playing).fold(0.0, f64::max),
            points: self.points,
            shards,
            interrupted,
            ..Outcome::default()
        }
    }
}
