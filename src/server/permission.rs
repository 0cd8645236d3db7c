//! Permission as the configuration has it: the policy made of it, and the gate of each shard over that policy.
//!
//! Invariant: a policy is made whole before anything follows it, so a configuration with a mistake changes nothing.

use std::{
    cell::RefCell,
    fs::File,
    io::Read,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use config::{Config, Need};
use glommio::timer;

use super::keyring::{Fetch, Keyring, Source, Watched};
use crate::{
    access::{
        Checked, Guard, GuardOptions, Jwt, JwtOptions, Keys, Limits, Need as Needs, Options, Policy, Proxies,
        Request, Rules, Seats, Signer, Tokens, Verdict,
    },
    sessions::access::{Ask, Denied, Gate, Grant},
};

/// A list of tokens with more bytes is some other file.
const TOKENS_FILE_BYTES_MAX: u64 = 64 << 20;
/// The same of a key.
pub(super) const KEY_FILE_BYTES_MAX: u64 = 1 << 20;
/// A key that addresses are signed with cannot be found by trying.
const SIGN_KEY_BYTES_MIN: usize = 16;
/// So little can be guessed over the network in a year.
const API_TOKEN_BYTES_MIN: usize = 8;

/// How long who shows a token of an unknown key waits for newer keys, in steps.
const KEYS_WAIT: Duration = Duration::from_secs(3);
const KEYS_STEP: Duration = Duration::from_millis(20);

/// What a leave has no end beyond: Instants end somewhere.
const LEAVE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What all shards share of it.
#[derive(Clone)]
pub struct Permission {
    policy: Arc<ArcSwap<Policy>>,
    seats: Arc<Seats>,
    keyring: Arc<Keyring>,
}

/// A policy that was made and that nobody follows yet.
pub struct Prepared {
    policy: Policy,
    watched: Option<Watched>,
}

impl Permission {
    /// As the configuration has it. `fetch` gets key sets that have an address.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn start(config: &Config, fetch: Fetch) -> Result<Self, String> {
        let Prepared { policy, watched } = prepare(config)?;
        Ok(Self {
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            seats: Arc::default(),
            keyring: Keyring::start(watched, fetch).map_err(|error| error.to_string())?,
        })
    }

    /// Follows another policy from now on. Those who are in stay, as long as they were granted.
    pub fn change(&self, prepared: Prepared) {
        let Prepared { policy, watched } = prepared;
        self.keyring.watch(watched);
        self.policy.store(Arc::new(policy));
    }

    /// The policy that is followed.
    pub fn policy(&self) -> Arc<ArcSwap<Policy>> {
        Arc::clone(&self.policy)
    }

    /// The gate of one shard.
    pub fn gate(&self) -> Gate {
        let (permission, checked) = (self.clone(), Rc::<RefCell<Checked>>::default());
        Gate::new(Rc::new(move |ask| {
            let (permission, checked) = (permission.clone(), Rc::clone(&checked));
            Box::pin(async move { permission.decide(ask, &checked).await })
        }))
    }

    async fn decide(&self, ask: Ask, checked: &RefCell<Checked>) -> Result<Grant, Denied> {
        let look = || {
            let request = Request {
                action: ask.action,
                key: &ask.key,
                ip: ask.ip,
                token: ask.token.as_deref(),
                query: &ask.query,
            };
            let policy = self.policy.load_full();
            let verdict = policy.decide(&request, wall_clock(), &mut checked.borrow_mut());
            (policy, verdict)
        };
        let (mut policy, mut verdict) = look();
        if let Verdict::UnknownKey(_) = verdict
            && let Some(looked) = self.keyring.look_again()
        {
            let start = Instant::now();
            while !self.keyring.has_looked(looked) && start.elapsed() < KEYS_WAIT {
                timer::sleep(KEYS_STEP).await;
            }
            (policy, verdict) = look();
        }
        match verdict {
            Verdict::Granted { until } => {
                let seat = self.seats.take(ask.action, &ask.key, ask.ip, policy.limits())?;
                let until = until.map(|until| until.saturating_sub(wall_clock()).min(LEAVE_MAX));
                let until = until.map(|left| Instant::now() + left);
                Ok(Grant { until, held: vec![Box::new(seat)] })
            }
            Verdict::Denied(denied) | Verdict::UnknownKey(denied) => Err(denied),
        }
    }
}

/// Since 1970.
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Makes a policy.
///
/// # Errors
/// A sentence for the operator: which key of the configuration, and what is wrong with it.
pub fn prepare(config: &Config) -> Result<Prepared, String> {
    let (auth, security, limits) = (&config.auth, &config.security, &config.limits);
    let (jwt, watched) = jwt(auth)?;
    let signer = signer(auth)?;
    let tokens = tokens(auth)?;
    let is_permitted_by_nobody = tokens.is_empty() && jwt.is_none() && signer.is_none();
    for (key, need) in [("auth.publish", auth.publish), ("auth.play", auth.play)] {
        if need == Need::Token && is_permitted_by_nobody {
            return Err(format!(
                "{key}: found token, but there is neither a token (auth.tokens, auth.tokens_file) nor a key \
                 (auth.sign_keys, auth.jwt): nobody could be permitted"
            ));
        }
    }
    let rules = Rules::parse(security.allow.iter(), security.deny.iter())
        .map_err(|(rule, error)| format!("security: `{rule}`: {error}"))?;
    let needs = |need| if need == Need::Token { Needs::Permission } else { Needs::Nothing };
    let policy = Policy::new(Options {
        publish: needs(auth.publish),
        play: needs(auth.play),
        tokens,
        jwt,
        signer,
        rules: security.enable.then_some(rules),
        limits: Limits {
            viewers_per_stream: limits.viewers_per_stream as usize,
            publishers: limits.publishers as usize,
            sessions_per_ip: limits.sessions_per_ip as usize,
        },
        proxies: Proxies::parse(security.trusted_proxies.iter())
            .map_err(|error| format!("security.trusted_proxies: {error}"))?,
        guard: guard(&auth.api)?,
    });
    Ok(Prepared { policy, watched })
}

fn tokens(auth: &config::Auth) -> Result<Tokens, String> {
    let mut tokens = Tokens::parse(auth.tokens.reveal())
        .map_err(|(number, error)| format!("auth.tokens: number {number}: {error}"))?;
    let path = &auth.tokens_file;
    if !path.as_os_str().is_empty() {
        let wrong = |why: &dyn std::fmt::Display| format!("auth.tokens_file: {}: {why}", path.display());
        let bytes = read(path, TOKENS_FILE_BYTES_MAX).map_err(|why| wrong(&why))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong(&error))?;
        let more = Tokens::parse(text.lines());
        tokens.extend(more.map_err(|(line, error)| wrong(&format_args!("line {line}: {error}")))?);
    }
    Ok(tokens)
}

fn signer(auth: &config::Auth) -> Result<Option<Signer>, String> {
    if auth.sign_keys.reveal().any(|key| key.len() < SIGN_KEY_BYTES_MIN) {
        return Err(format!("auth.sign_keys: a key has at least {SIGN_KEY_BYTES_MIN} characters"));
    }
    let keys = auth.sign_keys.reveal().map(str::as_bytes);
    Ok((!auth.sign_keys.is_empty()).then(|| Signer::new(keys)))
}

fn jwt(auth: &config::Auth) -> Result<(Option<Arc<Jwt>>, Option<Watched>), String> {
    if !auth.takes_jwt() {
        return Ok((None, None));
    }
    let options = &auth.jwt;
    let mut keys = Keys::default();
    if !options.secret.is_empty() {
        let secret = Keys::of_secret(options.secret.reveal().as_bytes());
        keys.extend(secret.map_err(|error| format!("auth.jwt.secret: {error}"))?);
    }
    let path = &options.public_key;
    if !path.as_os_str().is_empty() {
        let wrong = |why: &dyn std::fmt::Display| format!("auth.jwt.public_key: {}: {why}", path.display());
        let pem = read(path, KEY_FILE_BYTES_MAX).map_err(|why| wrong(&why))?;
        keys.extend(Keys::of_pem(&pem).map_err(|error| wrong(&error))?);
    }
    let jwt = Arc::new(Jwt::new(JwtOptions {
        keys,
        issuer: options.issuer.clone(),
        audience: options.audience.clone(),
        skew: options.skew.duration(),
    }));
    let source = Source::parse(&options.jwks);
    if let Some(Source::File(path)) = &source {
        // What is on this machine can be told at once.
        let wrong = |why: &dyn std::fmt::Display| format!("auth.jwt.jwks: {}: {why}", path.display());
        let json = read(path, KEY_FILE_BYTES_MAX).map_err(|why| wrong(&why))?;
        jwt.set_fetched(Keys::of_jwks(&json).map_err(|error| wrong(&error))?);
    }
    let refresh = options.jwks_refresh.duration();
    let watched = source.map(|source| Watched { jwt: Arc::clone(&jwt), source, refresh });
    Ok((Some(jwt), watched))
}

fn guard(api: &config::ApiAuth) -> Result<Guard, String> {
    match () {
        () if api.username.contains(':') => {
            Err("auth.api.username: a user's name holds no `:`; basic authentication could not tell it"
                .to_owned())
        }
        () if api.username.is_empty() != api.password.is_empty() => {
            Err("auth.api: a user's name and a password belong together: give both or neither".to_owned())
        }
        () if !api.token.is_empty() && api.token.reveal().len() < API_TOKEN_BYTES_MIN => {
            Err(format!("auth.api.token: a token has at least {API_TOKEN_BYTES_MIN} characters"))
        }
        () => Ok(Guard::new(GuardOptions {
            username: api.username.clone(),
            password: api.password.reveal().to_owned(),
            token: api.token.reveal().to_owned(),
        })),
    }
}

/// The bytes of a file that has no more than `bytes_max`.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("cannot be read: {error}");
    // Opening a pipe would wait for its other end.
    if !path.metadata().map_err(told)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(told)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(format!("it has more than {bytes_max} bytes")),
        false => Ok(bytes),
    }
}
