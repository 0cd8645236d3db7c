//! Keys that are read again and again: a key set in a file or at an address, on a side thread of its own.
//!
//! It looks when `refresh` has passed, and at once when somebody shows a token of a key that is not known, though not twice
//! within [`GAP`]: whoever makes up names of keys costs the issuer nothing. Invariant: keys that were good stay until
//! better ones have been read.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::permission::{KEY_FILE_BYTES_MAX, read};
use crate::access::{Jwt, Keys};

/// The least time between two looks, and from one that failed to the next.
const GAP: Duration = Duration::from_secs(10);

/// How a document is got from an address; it may block.
pub type Fetch = Box<dyn Fn(&str) -> Result<Vec<u8>, String> + Send>;

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On this machine.
    File(PathBuf),
    /// At an address of http or https.
    Url(String),
}

impl Source {
    /// `None`: nowhere.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "" => None,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Some(Self::Url(url.to_owned()))
            }
            path => Some(Self::File(path.into())),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(&crate::access::mask(url)),
        }
    }
}

/// A key set, and what needs it.
#[derive(Clone)]
pub struct Watched {
    /// Who checks tokens with it.
    pub jwt: Arc<Jwt>,
    /// Where it is.
    pub source: Source,
    /// How often it is read.
    pub refresh: Duration,
}

#[derive(Default)]
struct State {
    watched: Option<Watched>,
    /// When the next look is due; `None`: at once.
    due: Option<Instant>,
    /// When the last one began.
    last: Option<Instant>,
    /// How many have come to an end.
    looks: u64,
}

/// See the module.
#[derive(Default)]
pub struct Keyring {
    state: Mutex<State>,
    bell: Condvar,
}

impl Keyring {
    /// Starts the thread. It ends with the last handle.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(watched: Option<Watched>, fetch: Fetch) -> io::Result<Arc<Self>> {
        let keyring = Arc::new(Self::default());
        keyring.watch(watched);
        let weak = Arc::downgrade(&keyring);
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while let Some(keyring) = weak.upgrade() {
                let Some(watched) = keyring.next() else { continue };
                let outcome = look(&watched.source, &fetch);
                keyring.take(&watched, outcome);
            }
        })?;
        Ok(keyring)
    }

    /// Watches another set, or none. What the last one came to stays good until this one has been read.
    pub fn watch(&self, watched: Option<Watched>) {
        let mut state = self.lock();
        if let (Some(before), Some(now)) = (&state.watched, &watched)
            && before.source == now.source
        {
            now.jwt.inherit(&before.jwt);
        }
        state.watched = watched;
        state.due = None;
        state.last = None;
        self.bell.notify_all();
    }

    /// Makes it look now, unless it has just done so. What to ask [`Self::has_looked`] with.
    pub fn look_again(&self) -> Option<u64> {
        let mut state = self.lock();
        let is_fresh = state.last.is_some_and(|last| last.elapsed() < GAP);
        let is_looking = state.due.is_none();
        if state.watched.is_none() || (is_fresh && !is_looking) {
            return None;
        }
        state.due = None;
        self.bell.notify_all();
        Some(state.looks)
    }

    /// Whether a look that [`Self::look_again`] asked for has come to its end.
    pub fn has_looked(&self, before: u64) -> bool {
        self.lock().looks > before
    }

    /// Waits for the next look that is due; `None`: it is worth asking whether anybody needs one any more.
    fn next(&self) -> Option<Watched> {
        /// So long the thread may outlive the server.
        const PATIENCE: Duration = Duration::from_millis(500);
        let mut state = self.lock();
        let left = match (&state.watched, state.due) {
            (None, _) => PATIENCE,
            (Some(_), None) => Duration::ZERO,
            (Some(_), Some(due)) => due.saturating_duration_since(Instant::now()).min(PATIENCE),
        };
        if !left.is_zero() {
            drop(self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner));
            return None;
        }
        state.last = Some(Instant::now());
        state.watched.clone()
    }

    fn take(&self, watched: &Watched, outcome: Result<Keys, String>) {
        let mut state = self.lock();
        let wait = match outcome {
            Ok(keys) => {
                tracing::debug!("{} keys from {}", keys.len(), watched.source);
                watched.jwt.set_fetched(keys);
                watched.refresh
            }
            Err(why) => {
                tracing::warn!("auth.jwt.jwks: {}: {why}; the keys that are known stay", watched.source);
                watched.refresh.min(GAP)
            }
        };
        state.looks += 1;
        // Another set may have taken its place meanwhile, and is due now.
        if state.watched.as_ref().is_some_and(|now| Arc::ptr_eq(&now.jwt, &watched.jwt)) {
            state.due = Some(Instant::now() + wait);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(source: &Source, fetch: &Fetch) -> Result<Keys, String> {
    let json = match source {
        Source::File(path) => read(path, KEY_FILE_BYTES_MAX)?,
        Source::Url(url) => fetch(url)?,
    };
    Keys::of_jwks(&json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::JwtOptions;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SET: &str =
        r#"{"keys":[{"kty":"oct","alg":"HS256","k":"YSBzZWNyZXQgb2YgbW9yZSB0aGFuIHRoaXJ0eS10d28gYnl0ZXM"}]}"#;

    fn until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(20), "it never came");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_looks_at_once_then_again_and_when_asked_but_not_for_everybody_who_asks() {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let fetch: Fetch = Box::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(SET.into())
        });
        let jwt = Arc::new(Jwt::new(JwtOptions::default()));
        let source = Source::parse("https://issuer.example/jwks.json").unwrap();
        let refresh = Duration::from_secs(3_600);
        let keyring =
            Keyring::start(Some(Watched { jwt: Arc::clone(&jwt), source, refresh }), fetch).unwrap();
        until(|| jwt.fetched() == 1);
        until(|| keyring.has_looked(0));
        assert_eq!(keyring.look_again(), None, "it has just looked");
        keyring.lock().last = None;
        let looked = keyring.look_again().unwrap();
        assert!(keyring.look_again().is_some(), "who comes meanwhile waits for the same look");
        until(|| keyring.has_looked(looked));
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn keys_stay_when_their_source_is_gone_or_is_configured_again() {
        let is_up = Arc::new(AtomicUsize::new(1));
        let up = Arc::clone(&is_up);
        let fetch: Fetch = Box::new(move |_| match up.load(Ordering::SeqCst) {
            1 => Ok(SET.into()),
            _ => Err("nobody is there".to_owned()),
        });
        let watched = || Watched {
            jwt: Arc::new(Jwt::new(JwtOptions::default())),
            source: Source::parse("http://issuer.example/").unwrap(),
            refresh: Duration::from_secs(1),
        };
        let (first, second) = (watched(), watched());
        let keyring = Keyring::start(Some(first.clone()), fetch).unwrap();
        until(|| first.jwt.fetched() == 1);
        is_up.store(0, Ordering::SeqCst);
        let looked = keyring.lock().looks;
        keyring.watch(Some(second.clone()));
        assert_eq!(second.jwt.fetched(), 1);
        until(|| keyring.has_looked(looked));
        assert_eq!(second.jwt.fetched(), 1);
    }

    #[test]
    fn a_source_is_an_address_or_a_path() {
        assert_eq!(Source::parse(" "), None);
        assert_eq!(Source::parse("keys.json"), Some(Source::File("keys.json".into())));
        let url = Source::parse("https://h/keys?token=abc").unwrap();
        assert_eq!(url.to_string(), "https://h/keys?token=***");
    }
}
