//! One run: publishers, then players, a steady window in which everything is measured, and the end.
//!
//! When everything happens is known before the first player comes, so threads need no orders. The engine sleeps between
//! readings; what it keeps of the time between is bounded. Times are nanoseconds on [`clock`].

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::{self, nanos},
    measure::{
        machine::{self, Kernel},
        process::{Reading, Watch},
        shardcast::{Poller, Shards},
    },
    media::Programme,
    outcome::{Growth, Outcome, Point, ServerUse, notes},
    play::{self, Cohort, Deal, Players, Slow, Sources, Terms},
    publish::{PublishError, Published, Publishers, Window},
    stats::{Live, Times},
    url::{Address, AddressError},
};

/// Points in time that are kept; then every second one goes and the rest stand for twice the time.
const POINTS_MAX: usize = 1_200;
/// Between two looks at progress.
const LOOK: Duration = Duration::from_millis(250);
/// Descriptors beside players and publishers.
const DESCRIPTORS_SPARE: u64 = 256;
/// What a server gets to clean up before its memory is looked at for the last time.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// Everything about a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the result is called.
    pub name: String,
    /// Where to publish how many streams; `None` when somebody else does.
    pub publish: Option<(Address, u64)>,
    /// What is published.
    pub programme: Programme,
    /// Who plays.
    pub cohorts: Vec<Cohort>,
    /// Steady from here to there, since the first player comes.
    pub window: (Duration, Duration),
    /// All players go, since the first one comes.
    pub end: Duration,
    /// Whose CPU and memory.
    pub watch: Watch,
    /// Shardcast's pages, for its shards' figures.
    pub shardcast: Option<String>,
    /// Memory and descriptors at the end are compared with those after so many connects.
    pub baseline: Option<u64>,
    /// The rest.
    pub tuning: Tuning,
}

/// What seldom needs a change.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Threads.
    pub deal: Deal,
    /// Between the publishers and the first player.
    pub lead: Duration,
    /// Silence that is a stall.
    pub stall: Duration,
    /// A player without media after this has failed.
    pub patience: Duration,
    /// How long draining threads sleep between two looks.
    pub nap: Duration,
    /// Source addresses; `None`: as many as needed.
    pub sources: Option<u64>,
    /// The receive buffer of slow players, bytes.
    pub slow_buffer: usize,
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Limits.
    #[error("{0}")]
    Limits(String),
    /// No publisher.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Nonsense.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No more threads.
    #[error("players cannot be started: {0}")]
    Start(#[from] io::Error),
    /// Interrupted before there was anything to tell.
    #[error("interrupted")]
    Interrupted,
}

/// What can be shown meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What goes on.
    pub phase: &'static str,
    /// Seconds since the first player, and how many there will be.
    pub seconds: (f64, f64),
    /// Players that came.
    pub started: u64,
    /// That play now.
    pub playing: u64,
    /// That never played.
    pub failed: u64,
    /// That the server ended.
    pub died: u64,
    /// The newest second.
    pub point: Point,
}

/// Runs it. `stopped` ends it early with what there is; `show` hears of progress four times a second.
///
/// # Errors
/// [`RunError`].
pub fn run(plan: &Plan, stopped: &AtomicBool, show: &mut dyn FnMut(&Progress)) -> Result<Outcome, RunError> {
    let connections = concurrent(&plan.cohorts) + plan.publish.as_ref().map_or(0, |(_, count)| *count);
    machine::raise_descriptors(connections + DESCRIPTORS_SPARE).map_err(RunError::Limits)?;
    let poller = plan.shardcast.as_deref().map(Poller::start).transpose()?;
    let run = plan.publish.as_ref().map(|_| fastrand::u64(1..1 << 56));
    let window = Arc::new(Window::default());
    show(&Progress { phase: "publishing", ..Progress::default() });
    let publishers = match (&plan.publish, run) {
        (Some((address, count)), Some(run)) => {
            let window = Arc::clone(&window);
            Some(Publishers::start(address, *count, &plan.programme, run, window, stopped)?)
        }
        _ => None,
    };
    if plan.publish.is_some() {
        wait(plan.tuning.lead, stopped);
    }
    if stopped.load(Ordering::Relaxed) {
        return Err(RunError::Interrupted);
    }
    let start_ns = clock::now() + nanos(Duration::from_millis(20));
    let (open_ns, close_ns) = (start_ns + nanos(plan.window.0), start_ns + nanos(plan.window.1));
    window.set(open_ns, close_ns);
    let stall_ns = nanos(plan.tuning.stall);
    let trouble_ns = plan.cohorts.iter().find_map(|cohort| match cohort.slow {
        Some(Slow::Stop { from_ns, until_ns }) => Some((start_ns + from_ns, start_ns + until_ns)),
        _ => None,
    });
    let terms = Terms { run, open_ns, close_ns, stall_ns, trouble_ns };
    let sources = |cohort: &Cohort| Sources::new(cohort.remote, cohort.count, plan.tuning.sources);
    let mut watcher = Watcher::new(plan, poller, start_ns);
    let players = Players::start(play::Options {
        cohorts: plan.cohorts.clone(),
        deal: plan.tuning.deal,
        start_ns,
        end_ns: start_ns + nanos(plan.end),
        terms,
        patience_ns: nanos(plan.tuning.patience),
        nap_ns: nanos(plan.tuning.nap),
        sources: plan.cohorts.iter().map(sources).collect(),
        slow_buffer: plan.tuning.slow_buffer,
    })?;
    watcher.watch(&players, &terms, stopped, show);
    let tallies = players.finish();
    let interrupted = stopped.load(Ordering::Relaxed);
    if plan.baseline.is_some() && !interrupted {
        show(&Progress { phase: "settling", ..Progress::default() });
        wait(AFTERWARDS, stopped);
        watcher.afterwards();
    }
    let published = publishers.map(Publishers::finish);
    let mut outcome = watcher.outcome(published, interrupted);
    outcome.cohorts = plan.cohorts.iter().cloned().zip(tallies).collect();
    outcome.notes = notes(&outcome, plan);
    Ok(outcome)
}

/// Sleeps, unless interrupted.
fn wait(time: Duration, stopped: &AtomicBool) {
    let due = clock::now() + nanos(time);
    while !stopped.load(Ordering::Relaxed) && clock::now() < due {
        clock::sleep_until(due.min(clock::now() + nanos(Duration::from_millis(50))));
    }
}

/// How many players there are at once, at most.
fn concurrent(cohorts: &[Cohort]) -> u64 {
    let of = |cohort: &Cohort| match cohort.stay_ns {
        // Those who have come while the first one stays, and some that are late to go.
        Some((_, longest)) => cohort.count.min((cohort.rate * longest as f64 / 1e9 * 1.2) as u64 + 100),
        None => cohort.count,
    };
    cohorts.iter().map(of).sum()
}

/// Reads and keeps what happens while players play.
struct Watcher<'a> {
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
    fn new(plan: &'a Plan, poller: Option<Poller>, start_ns: u64) -> Self {
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
    fn watch(
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

    fn afterwards(&mut self) {
        self.after = Some(self.plan.watch.read());
    }

    fn outcome(self, published: Option<Published>, interrupted: bool) -> Outcome {
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
