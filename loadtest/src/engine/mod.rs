//! One run: publishers, then players, a steady window in which everything is measured, and the end.
//!
//! When everything happens is known before the first player comes, so threads need no orders. The engine sleeps between
//! readings; what it keeps of the time between is bounded. Times are nanoseconds on [`clock`].

mod watcher;

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
    measure::{machine, process::Watch, shardcast::Poller},
    media::Programme,
    outcome::{Outcome, Point, notes},
    play::{self, Cohort, Deal, Players, Slow, Sources, Terms},
    publish::{PublishError, Publishers, Window},
    url::{Address, AddressError},
};
use watcher::Watcher;

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
