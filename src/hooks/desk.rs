//! The side thread that hands calls out: decisions first, notifications as they come due, each to a thread that may block.
//!
//! A call blocks its thread and nobody else, so a slow backend costs threads, up to a bound, and never a shard's time.
//! Notifications take half of the threads at most: a dead receiver of news must not delay those who wait at the door.
//! A backend that hears of a connection's end has heard of all it did before: that news waits for a decision about the client.
//! Invariant: every letter with a promise keeps it or drops it; threads that have nothing to do for a while end.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Action, Farewell, Hooks, Options, Settings, Shared, Who,
    call::{Failure, shown},
    outbox::{Lane, Outbox, Outcome},
};
use crate::{net::seldom::Seldom, promise::Promise};

/// How long a thread stays without work.
const IDLE: Duration = Duration::from_secs(10);

/// The longest sleep of the desk: nothing is due then.
const NAP: Duration = Duration::from_secs(60);

/// A worker's stack in bytes: a TLS handshake in a debug build takes a third of it.
const STACK: usize = 1 << 20;

/// How much workers step back before shards, as `nice` counts: as far as they can, for hundreds may wake at one moment.
const NICE: i32 = 19;

/// What comes in.
pub(super) enum Letter {
    /// Somebody waits at the door.
    Decide(Box<Decision>),
    /// Something has happened.
    Tell { action: Action, lane: Lane, note: Arc<str> },
    /// Somebody needs a document.
    Fetch { url: String, promise: Promise<Result<Vec<u8>, String>> },
    /// A worker is free again.
    Done { worker: u32, report: Report },
    /// End when all is told, or at this time.
    Quit { until: Instant },
}

/// A question to the backend, all its URLs one after the other; the first no ends it.
pub(super) struct Decision {
    pub action: Action,
    pub body: String,
    pub who: Who,
    pub asked: Instant,
    pub promise: Promise<Result<Farewell, Failure>>,
    /// Where the farewell goes.
    pub hooks: Hooks,
}

/// What a worker is to do.
enum Work {
    Decide(Box<Decision>),
    Tell { lane: Lane, note: Arc<str> },
    Fetch { url: String, promise: Promise<Result<Vec<u8>, String>> },
}

/// What a worker has done.
pub(super) enum Report {
    Decided { action: Action, client: String, url: Arc<str>, failure: Option<Failure> },
    Told { lane: Lane, failure: Option<Failure> },
    Fetched,
}

type Task = (Work, Arc<Settings>);

/// See the module.
pub(super) struct Desk {
    shared: Arc<Shared>,
    inbox: Receiver<Letter>,
    /// For the workers' reports.
    door: SyncSender<Letter>,
    urgent: VecDeque<Work>,
    outbox: Outbox,
    /// Clients about whom it is being decided, with the news of their connections' ends.
    deciding: HashMap<String, Vec<(Lane, Arc<str>)>>,
    workers: HashMap<u32, mpsc::Sender<Task>>,
    idle: Vec<(u32, Instant)>,
    next_worker: u32,
    telling: usize,
    lines: Seldom,
    ending: Option<Instant>,
}

impl Desk {
    pub fn new(shared: Arc<Shared>, inbox: Receiver<Letter>, door: SyncSender<Letter>) -> Self {
        Self {
            shared,
            inbox,
            door,
            urgent: VecDeque::new(),
            outbox: Outbox::default(),
            deciding: HashMap::new(),
            workers: HashMap::new(),
            idle: Vec::new(),
            next_worker: 0,
            telling: 0,
            lines: Seldom::default(),
            ending: None,
        }
    }

    /// Works until it is told to end.
    pub fn run(mut self) {
        loop {
            let now = Instant::now();
            self.hand_out(now);
            self.shared.waiting.store(self.outbox.len() + self.urgent.len(), Ordering::Relaxed);
            if let Some(until) = self.ending
                && (now >= until || self.is_done())
            {
                self.give_up();
                return;
            }
            match self.inbox.recv_timeout(self.nap(now)) {
                Ok(letter) => self.open(letter),
                Err(RecvTimeoutError::Timeout) => {}
                // Cannot be: it holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(letter) = self.inbox.try_recv() {
                self.open(letter);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.outbox.len() == 0 && self.urgent.is_empty() && self.idle.len() == self.workers.len()
    }

    /// How long nothing can be due.
    fn nap(&self, now: Instant) -> Duration {
        let dismissal = self.idle.first().map(|(_, since)| *since + IDLE);
        // What is due and finds no worker waits for one, not for a time.
        let due = self.outbox.next().filter(|_| self.may_tell());
        let until = [dismissal, due, self.ending].into_iter().flatten().min();
        until.map_or(NAP, |until| until.saturating_duration_since(now).min(NAP))
    }

    fn open(&mut self, letter: Letter) {
        let settings = self.shared.settings.load_full();
        let options = &settings.options;
        match letter {
            // All shards have ended, and those who asked with them.
            Letter::Decide(_) | Letter::Fetch { .. } if self.ending.is_some() => {}
            Letter::Decide(decision) if self.urgent.len() < options.decisions_max => {
                self.deciding.entry(decision.who.client_id.clone()).or_default();
                self.urgent.push_back(Work::Decide(decision));
            }
            Letter::Fetch { url, promise } if self.urgent.len() < options.decisions_max => {
                self.urgent.push_back(Work::Fetch { url, promise });
            }
            // Dropped, and so unanswered.
            Letter::Decide(_) | Letter::Fetch { .. } => self.shared.overflow(),
            Letter::Tell { action: Action::Close, lane, note } => {
                match self.deciding.get_mut(&*lane.client) {
                    Some(ends) => ends.push((lane, note)),
                    None => self.push(lane, note, options),
                }
            }
            Letter::Tell { lane, note, .. } => self.push(lane, note, options),
            Letter::Done { worker, report } => {
                self.idle.push((worker, Instant::now()));
                self.note(report, &settings);
            }
            Letter::Quit { until } => {
                self.ending = Some(until);
                for work in std::mem::take(&mut self.urgent) {
                    if let Work::Decide(decision) = work {
                        self.decided(&decision.who.client_id, options);
                    }
                }
            }
        }
    }

    fn push(&mut self, lane: Lane, note: Arc<str>, options: &Options) {
        if !self.outbox.push(lane, note, &options.patience, Instant::now()) {
            self.shared.drop_note();
            self.complain("too many notifications wait, one is dropped");
        }
    }

    /// Nothing is being decided about a client any more: its connection's end may be told, if it came meanwhile.
    fn decided(&mut self, client: &str, options: &Options) {
        for (lane, note) in self.deciding.remove(client).unwrap_or_default() {
            self.push(lane, note, options);
        }
    }

    fn note(&mut self, report: Report, settings: &Settings) {
        match report {
            Report::Fetched => {}
            Report::Decided { action, client, url, failure } => {
                self.decided(&client, &settings.options);
                if let Some(failure) = failure {
                    self.shared.count(&failure);
                    self.complain(&format!("{} of {client} at {}: {failure}", action.name(), shown(&url)));
                }
            }
            Report::Told { lane, failure } => {
                self.telling -= 1;
                if let Some(failure) = &failure {
                    self.shared.count(failure);
                }
                let place = shown(&lane.url);
                let client = Arc::clone(&lane.client);
                let now = Instant::now();
                match self.outbox.done(lane, failure.is_none(), &settings.options.patience, now) {
                    Outcome::Told => {}
                    Outcome::Again => self.shared.retry(),
                    Outcome::Dropped => {
                        self.shared.drop_note();
                        let why = failure.map(|failure| failure.to_string()).unwrap_or_default();
                        self.complain(&format!(
                            "a notification about {client} to {place} is given up: {why}"
                        ));
                    }
                }
            }
        }
    }

    /// One line a second.
    fn complain(&self, what: &str) {
        if let Some(more) = self.lines.admit(Instant::now()) {
            tracing::warn!("hooks: {what} (and {more} more before)");
        }
    }

    fn may_tell(&self) -> bool {
        let max = self.shared.settings.load().options.concurrency;
        self.telling < (max / 2).max(1) && self.has_hands(max)
    }

    fn has_hands(&self, max: usize) -> bool {
        !self.idle.is_empty() || self.workers.len() < max
    }

    /// Gives out what is to be done, as far as there are hands.
    fn hand_out(&mut self, now: Instant) {
        let settings = self.shared.settings.load_full();
        while self.has_hands(settings.options.concurrency) {
            let Some(work) = self.urgent.pop_front() else { break };
            if let Work::Decide(decision) = &work {
                // It has been left standing for as long as a call may take.
                let is_late = now.saturating_duration_since(decision.asked) >= settings.options.timeout;
                if is_late {
                    self.shared.overflow();
                }
                if is_late || !decision.promise.is_awaited() {
                    self.decided(&decision.who.client_id, &settings.options);
                    continue;
                }
            }
            self.give(work, &settings);
        }
        while self.may_tell() {
            let Some((lane, note)) = self.outbox.take(now) else { break };
            self.telling += 1;
            self.give(Work::Tell { lane, note }, &settings);
        }
        while let Some((worker, since)) = self.idle.first().copied()
            && now.saturating_duration_since(since) >= IDLE
        {
            self.idle.remove(0);
            // Its thread ends with the channel.
            self.workers.remove(&worker);
        }
    }

    /// Gives work to the worker that has rested least, or to a new one.
    fn give(&mut self, work: Work, settings: &Arc<Settings>) {
        let mut task = (work, Arc::clone(settings));
        if let Some((worker, _)) = self.idle.pop()
            && let Some(tasks) = self.workers.get(&worker)
        {
            match tasks.send(task) {
                Ok(()) => return,
                Err(mpsc::SendError(back)) => {
                    self.workers.remove(&worker);
                    task = back;
                }
            }
        }
        let id = self.next_worker;
        self.next_worker = self.next_worker.wrapping_add(1);
        let (tasks, receiver) = mpsc::channel();
        let door = self.door.clone();
        let thread = thread::Builder::new().name(format!("hook-{id}")).stack_size(STACK);
        match thread.spawn(move || work_off(id, &receiver, &door)) {
            Ok(_) => {
                self.workers.insert(id, tasks.clone());
                // It has just begun to listen.
                let _ = tasks.send(task);
            }
            Err(error) => {
                self.complain(&format!("no thread can be started: {error}"));
                match task.0 {
                    Work::Tell { lane, .. } => {
                        let failure = Some(Failure::Unanswered("no thread can be started".to_owned()));
                        self.note(Report::Told { lane, failure }, settings);
                    }
                    Work::Decide(decision) => self.decided(&decision.who.client_id, &settings.options),
                    Work::Fetch { .. } => {}
                }
            }
        }
    }

    /// What is left when the time is over.
    fn give_up(&self) {
        let held_back: usize = self.deciding.values().map(Vec::len).sum();
        let (left, busy) = (self.outbox.len() + held_back, self.workers.len() - self.idle.len());
        if left > 0 || busy > 0 {
            tracing::warn!(
                "hooks: {left} notifications could not be delivered before the end, {busy} calls were still waited for"
            );
        }
    }
}

/// A worker's life.
fn work_off(worker: u32, tasks: &Receiver<Task>, door: &SyncSender<Letter>) {
    // Of this thread alone (Linux): answers that come for a crowd at once must not keep a shard from its core.
    let _ = rustix::process::setpriority_process(None, NICE);
    while let Ok((work, settings)) = tasks.recv() {
        let report = run(work, &settings);
        if door.send(Letter::Done { worker, report }).is_err() {
            return;
        }
    }
}

fn run(work: Work, settings: &Settings) -> Report {
    match work {
        Work::Decide(decision) => {
            let Decision { action, body, who, promise, hooks, .. } = *decision;
            let urls = settings.options.urls(action);
            let mut url = urls.first().cloned().unwrap_or_default();
            let mut outcome = Ok(());
            for next in urls {
                url = Arc::clone(next);
                outcome = guarded(|| settings.client.ask(next, &body));
                if outcome.is_err() {
                    break;
                }
            }
            let (client, failure) = (who.client_id.clone(), outcome.as_ref().err().cloned());
            // If nobody waits for it any more, the farewell is told here, before the report: the desk hears of it in time.
            promise.keep(outcome.map(|()| Farewell::new(hooks, action, who)));
            Report::Decided { action, client, url, failure }
        }
        Work::Tell { lane, note } => {
            let failure = guarded(|| settings.client.ask(&lane.url, &note)).err();
            Report::Told { lane, failure }
        }
        Work::Fetch { url, promise } => {
            let caught = catch_unwind(AssertUnwindSafe(|| settings.client.fetch(&url)));
            promise.keep(caught.unwrap_or_else(|_| Err("the HTTP client panicked".to_owned())));
            Report::Fetched
        }
    }
}

/// A panic of the client must not cost the worker's report.
fn guarded(call: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Failure::Unanswered("the HTTP client panicked".to_owned())))
}
