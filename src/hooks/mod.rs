//! Calls to the operator's backend over HTTP, as SRS makes them: it decides who may connect, publish and play, and hears who went.
//!
//! Shards hand a letter over and go on; a side thread ([`desk`]) hands it to threads that may block. Whoever waits for a
//! decision waits alone. Invariant: nothing here waits on a shard's thread, and everything that waits is bounded.

mod body;
mod call;
mod desk;
mod farewell;
mod outbox;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

pub use body::{Action, Who};
pub use call::DOCUMENT_BYTES_MAX;
use call::{Client, Failure};
use desk::{Decision, Desk, Letter};
pub use farewell::Farewell;
use outbox::Lane;
pub use outbox::Patience;

use crate::{
    identity::Identity,
    promise::{self, Answer},
};

/// Letters that the desk has not opened yet: it opens them at once, so only a burst can fill this.
const INBOX: usize = 4_096;

/// Whether a decision is yes when nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Everybody is let in.
    Allow,
    /// Nobody is.
    Deny,
}

/// What is called, and how long that may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    urls: [Vec<Arc<str>>; Action::ALL.len()],
    /// The longest that one call may take.
    pub timeout: Duration,
    /// What a decision without an answer is.
    pub on_error: OnError,
    /// How notifications are tried again.
    pub patience: Patience,
    /// Calls at a time.
    pub concurrency: usize,
    /// Decisions that wait for a thread.
    pub decisions_max: usize,
    /// A PEM file with the authorities that are trusted, instead of those of browsers.
    pub ca: Option<PathBuf>,
}

impl Options {
    /// With calls to nobody.
    pub fn new(timeout: Duration, on_error: OnError, patience: Patience) -> Self {
        Self {
            urls: Default::default(),
            timeout,
            on_error,
            patience,
            concurrency: 256,
            decisions_max: 4_096,
            ca: None,
        }
    }

    /// With these URLs for an action.
    pub fn calling<'a>(mut self, action: Action, urls: impl IntoIterator<Item = &'a str>) -> Self {
        if let Some(of_action) = self.urls.get_mut(action.index()) {
            *of_action = urls.into_iter().map(Arc::from).collect();
        }
        self
    }

    /// The URLs of an action.
    pub fn urls(&self, action: Action) -> &[Arc<str>] {
        self.urls.get(action.index()).map_or(&[], Vec::as_slice)
    }
}

/// Why somebody is not let in; the sentences are for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The backend said something else than yes.
    #[error("the server's {} hook says no", .0.name())]
    Rejected(Action),
    /// It said nothing in time, and that means no.
    #[error("the server's {} hook does not answer", .0.name())]
    Unanswered(Action),
}

/// What hooks have done since the start; the last two are of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls that were answered with something else than yes.
    pub rejected: u64,
    /// Calls that came to no answer: no connection, no whole answer, no time left.
    pub unanswered: u64,
    /// Decisions that found no room or no thread in time.
    pub overflowed: u64,
    /// Notifications that were tried again.
    pub retried: u64,
    /// Notifications that were given up.
    pub dropped: u64,
    /// Calls that wait, in all.
    pub waiting: usize,
    /// Clients that wait at the door.
    pub deciding: usize,
}

/// The options and the client made of them.
#[derive(Debug)]
struct Settings {
    options: Options,
    client: Client,
}

impl Settings {
    fn new(options: Options) -> Result<Self, String> {
        let client = Client::new(options.timeout, options.ca.as_deref())?;
        Ok(Self { options, client })
    }
}

/// What shards, desk and those who look share.
#[derive(Debug)]
struct Shared {
    identity: Identity,
    settings: ArcSwap<Settings>,
    rejected: AtomicU64,
    unanswered: AtomicU64,
    overflowed: AtomicU64,
    retried: AtomicU64,
    dropped: AtomicU64,
    waiting: AtomicUsize,
    deciding: AtomicUsize,
}

impl Shared {
    fn count(&self, failure: &Failure) {
        let counter = match failure {
            Failure::Rejected(_) => &self.rejected,
            Failure::Unanswered(_) => &self.unanswered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn overflow(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
    }

    fn retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    fn drop_note(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The way to the side thread; cheap to clone, and for any thread.
#[derive(Clone, Debug)]
pub struct Hooks {
    shared: Arc<Shared>,
    inbox: SyncSender<Letter>,
}

/// The side thread, for who ends it.
#[derive(Debug)]
#[must_use = "what is still to be told is told while this finishes"]
pub struct Keeper {
    hooks: Hooks,
    desk: JoinHandle<()>,
}

/// New options that have been found good.
#[derive(Debug)]
pub struct Prepared(Settings);

/// Starts the side thread.
///
/// # Errors
/// When a file of the options cannot be read, or the system gives no thread.
pub fn start(identity: Identity, options: Options) -> io::Result<(Hooks, Keeper)> {
    let settings = Settings::new(options).map_err(io::Error::other)?;
    let shared = Arc::new(Shared {
        identity,
        settings: ArcSwap::from_pointee(settings),
        rejected: AtomicU64::default(),
        unanswered: AtomicU64::default(),
        overflowed: AtomicU64::default(),
        retried: AtomicU64::default(),
        dropped: AtomicU64::default(),
        waiting: AtomicUsize::default(),
        deciding: AtomicUsize::default(),
    });
    let (inbox, letters) = mpsc::sync_channel(INBOX);
    let hooks = Hooks { shared: Arc::clone(&shared), inbox: inbox.clone() };
    let desk = Desk::new(shared, letters, inbox);
    let desk = std::thread::Builder::new().name("hooks".to_owned()).spawn(move || desk.run())?;
    Ok((hooks.clone(), Keeper { hooks, desk }))
}

impl Hooks {
    /// Whether anybody is called for `action`: only then is there a need to tell whom it is about.
    pub fn wants(&self, action: Action) -> bool {
        !self.shared.settings.load().options.urls(action).is_empty()
    }

    /// Whether anybody is called about who does this or has done it: `before`, or what follows it.
    pub fn cares(&self, before: Action) -> bool {
        self.wants(before) || before.counterpart().is_some_and(|after| self.wants(after))
    }

    /// Whether anybody is called at all.
    pub fn is_calling(&self) -> bool {
        Action::ALL.iter().any(|action| self.wants(*action))
    }

    /// Asks whether `who` may do what it wants. All URLs must say yes. Who is let in holds the farewell until it goes; if
    /// nobody waits for the answer any more, the yes and its farewell follow each other.
    ///
    /// # Errors
    /// When one says no, or does not answer and that means no.
    pub fn decide(
        &self,
        action: Action,
        who: Who,
    ) -> impl Future<Output = Result<Farewell, Refusal>> + use<> {
        let answer = self.wants(action).then(|| self.ask(action, who.clone()));
        let hooks = self.clone();
        async move {
            let Some(answer) = answer else { return Ok(Farewell::new(hooks, action, who)) };
            let waits = Waits::new(&hooks.shared);
            let answer = answer.await;
            drop(waits);
            match answer {
                Some(Ok(farewell)) => Ok(farewell),
                Some(Err(Failure::Rejected(_))) => Err(Refusal::Rejected(action)),
                Some(Err(Failure::Unanswered(_))) | None => {
                    match hooks.shared.settings.load().options.on_error {
                        OnError::Allow => Ok(Farewell::new(hooks.clone(), action, who)),
                        OnError::Deny => Err(Refusal::Unanswered(action)),
                    }
                }
            }
        }
    }

    fn ask(&self, action: Action, who: Who) -> Answer<Result<Farewell, Failure>> {
        let (promise, answer) = promise::promise();
        let body = body::write(action, &self.shared.identity, &who);
        let hooks = self.clone();
        let decision = Box::new(Decision { action, body, who, asked: Instant::now(), promise, hooks });
        if self.inbox.try_send(Letter::Decide(decision)).is_err() {
            self.shared.overflow();
        }
        answer
    }

    /// Tells that something has happened. It is told later, more than once if need be, and in the end perhaps never.
    pub fn tell(&self, action: Action, who: &Who) {
        let settings = self.shared.settings.load();
        let urls = settings.options.urls(action);
        if urls.is_empty() {
            return;
        }
        let note: Arc<str> = Arc::from(body::write(action, &self.shared.identity, who));
        let client: Arc<str> = Arc::from(who.client_id.as_str());
        for url in urls {
            let lane = Lane { url: Arc::clone(url), client: Arc::clone(&client) };
            if self.inbox.try_send(Letter::Tell { action, lane, note: Arc::clone(&note) }).is_err() {
                self.shared.drop_note();
            }
        }
    }

    /// Fetches a document of at most [`DOCUMENT_BYTES_MAX`] by HTTP or HTTPS, within the time-out of a call. The answer is
    /// awaited on a shard, or waited for on a thread that may block.
    pub fn fetch(&self, url: &str) -> Answer<Result<Vec<u8>, String>> {
        let (promise, answer) = promise::promise();
        if self.inbox.try_send(Letter::Fetch { url: url.to_owned(), promise }).is_err() {
            self.shared.overflow();
        }
        answer
    }

    /// Looks whether options can be followed.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn prepare(options: Options) -> Result<Prepared, String> {
        Settings::new(options).map(Prepared)
    }

    /// Follows other options from now on. Calls that are under way end as they began.
    pub fn change(&self, prepared: Prepared) {
        self.shared.settings.store(Arc::new(prepared.0));
    }

    /// How this server and process are called in every body.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// What has been done so far.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        Stats {
            rejected: shared.rejected.load(Ordering::Relaxed),
            unanswered: shared.unanswered.load(Ordering::Relaxed),
            overflowed: shared.overflowed.load(Ordering::Relaxed),
            retried: shared.retried.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            waiting: shared.waiting.load(Ordering::Relaxed),
            deciding: shared.deciding.load(Ordering::Relaxed),
        }
    }
}

/// Somebody who waits at the door, for the count of them.
struct Waits<'a>(&'a Shared);

impl<'a> Waits<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.deciding.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.deciding.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Keeper {
    /// Ends the side thread when all is told, or after `limit`.
    pub fn finish(self, limit: Duration) {
        // A full inbox: the desk is alive and makes room.
        if self.hooks.inbox.send(Letter::Quit { until: Instant::now() + limit }).is_ok() {
            let _ = self.desk.join();
        }
    }
}
