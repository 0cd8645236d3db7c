//! JSON Web Tokens (RFC 7519) that permit: HS256, RS256 and ES256.
//!
//! ```json
//! { "exp": 1764200000, "publish": "live/cam-1", "play": ["live/*", "demo/**"] }
//! ```
//!
//! `exp` must be there; `nbf`, `iss` and `aud` are checked where they are, and must be there where the configuration names
//! them. Invariant: a key belongs to one algorithm, told by the configuration and never by the token; a token
//! whose header names another algorithm finds no key at all (RFC 8725 §3.1).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;
use shards::media::StreamKey;

use super::{Action, Digest, Pattern, TOKEN_BYTES_MAX, digest, seconds};

/// A shorter secret can be found by trying (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;
/// A JWKS with more keys is not what it seems to be.
const KEYS_MAX: usize = 64;
/// Patterns for one action in one token.
const PATTERNS_MAX: usize = 64;
/// Tokens that a shard remembers to have checked.
const CHECKED_MAX: usize = 1_024;

/// Why something is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short for HS256.
    #[error("a secret for HS256 has at least {SECRET_BYTES_MIN} bytes")]
    Short,
    /// Neither RSA nor P-256.
    #[error("it is no PEM file with a public key of RSA (RS256) or of the curve P-256 (ES256)")]
    Pem,
    /// Not `{"keys": […]}`.
    #[error("it is no JSON Web Key Set")]
    Jwks,
    /// Nothing in it is of use here.
    #[error("none of its keys is one for RS256, ES256 or HS256")]
    NoKey,
}

#[derive(Clone)]
struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Keys that signatures are checked with.
#[derive(Clone, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// A secret for HS256.
    ///
    /// # Errors
    /// [`KeyError::Short`].
    pub fn of_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::Short);
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self(vec![Key { kid: None, algorithm: Algorithm::HS256, key }]))
    }

    /// A public key for RS256 or ES256, as a PEM file has it.
    ///
    /// # Errors
    /// [`KeyError::Pem`].
    pub fn of_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, key) = match DecodingKey::from_rsa_pem(pem) {
            Ok(key) => (Algorithm::RS256, key),
            Err(_) => (Algorithm::ES256, DecodingKey::from_ec_pem(pem).map_err(|_| KeyError::Pem)?),
        };
        // An uncompressed point of P-256 and of no other curve.
        const POINT_BYTES: usize = 65;
        let is_other = algorithm == Algorithm::ES256
            && key.try_get_as_bytes().map_or(true, |point| point.len() != POINT_BYTES);
        match is_other {
            true => Err(KeyError::Pem),
            false => Ok(Self(vec![Key { kid: None, algorithm, key }])),
        }
    }

    /// A JSON Web Key Set (RFC 7517 §5). Keys that are for something else are passed over.
    ///
    /// # Errors
    /// [`KeyError::Jwks`], or [`KeyError::NoKey`].
    pub fn of_jwks(json: &[u8]) -> Result<Self, KeyError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeyError::Jwks)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyError::Jwks)?;
        if keys.len() > KEYS_MAX {
            return Err(KeyError::Jwks);
        }
        let keys: Vec<Key> = keys.iter().filter_map(key).collect();
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(Self(keys)) }
    }

    /// These as well.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that may have made a signature by `algorithm` with the key named `kid`.
    fn of<'k>(&'k self, algorithm: Algorithm, kid: Option<&'k str>) -> impl Iterator<Item = &'k DecodingKey> {
        let is_named = move |key: &&Key| match (key.kid.as_deref(), kid) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.0.iter().filter(move |key| key.algorithm == algorithm).filter(is_named).map(|key| &key.key)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (key.algorithm, &key.kid))).finish()
    }
}

/// One key of a set, if it is of use: its kind says which algorithm it is for, and what else it says must not differ.
fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let (algorithm, told) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
        _ => return None,
    };
    let is_told = match jwk.common.key_algorithm {
        Some(other) => other == told,
        // A public key is for what it is; a secret may be one for anything.
        None => algorithm != Algorithm::HS256,
    };
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_told && signs)?;
    let is_short = algorithm == Algorithm::HS256
        && key.try_get_as_bytes().map_or(true, |secret| secret.len() < SECRET_BYTES_MIN);
    (!is_short).then_some(Key { kid: jwk.common.key_id, algorithm, key })
}

/// What a token must say.
#[derive(Clone, Debug, Default)]
pub struct JwtOptions {
    /// Keys that stay.
    pub keys: Keys,
    /// The claim `iss`; empty: any.
    pub issuer: String,
    /// The claim `aud`, or one of it; empty: any.
    pub audience: String,
    /// How far clocks may differ.
    pub skew: Duration,
}

/// Why a token permits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not three parts of JSON.
    #[error("the token is no JWT")]
    Shape,
    /// No key of the algorithm and the name that its header tells.
    #[error("the token is signed with a key that is not known here")]
    UnknownKey,
    /// It was not made with the key, or was changed.
    #[error("the token's signature is not valid")]
    Signature,
    /// `exp` is missing or no number.
    #[error("the token does not say when it expires")]
    NoExpiry,
    /// `exp` is over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is not yet.
    #[error("the token is not valid yet")]
    Early,
    /// `iss` or `aud` is another one.
    #[error("the token is meant for another service")]
    Audience,
    /// `publish` or `play` is no pattern and no list of them.
    #[error("the token's `publish` or `play` is no pattern of streams and no list of such")]
    Claims,
}

/// What a valid token says.
#[derive(Debug, PartialEq)]
pub struct Claims {
    publish: Vec<Pattern>,
    play: Vec<Pattern>,
    /// Not before, with the skew of clocks.
    from: Duration,
    /// Until, with the skew of clocks.
    until: Duration,
}

impl Claims {
    /// Whether they permit it.
    pub fn permit(&self, action: Action, key: &StreamKey) -> bool {
        let patterns = match action {
            Action::Publish => &self.publish,
            Action::Play => &self.play,
        };
        patterns.iter().any(|pattern| pattern.fits(key.as_str()))
    }

    /// Since 1970.
    pub fn until(&self) -> Duration {
        self.until
    }

    fn at(&self, now: Duration) -> Result<(), JwtError> {
        match () {
            () if now >= self.until => Err(JwtError::Expired),
            () if now < self.from => Err(JwtError::Early),
            () => Ok(()),
        }
    }
}

/// A number for each set of keys: what was checked with others is checked again.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

fn generation() -> u64 {
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

/// Keys that are fetched, and which they are.
#[derive(Debug)]
struct Fetched {
    keys: Keys,
    generation: u64,
}

/// What checks tokens.
#[derive(Debug)]
pub struct Jwt {
    options: JwtOptions,
    fetched: ArcSwap<Fetched>,
}

impl Jwt {
    /// With keys that stay, and none that are fetched yet.
    pub fn new(options: JwtOptions) -> Self {
        let fetched = Fetched { keys: Keys::default(), generation: generation() };
        Self { options, fetched: ArcSwap::from_pointee(fetched) }
    }

    /// Replaces the keys that are fetched.
    pub fn set_fetched(&self, keys: Keys) {
        self.fetched.store(Arc::new(Fetched { keys, generation: generation() }));
    }

    /// How many keys were fetched.
    pub fn fetched(&self) -> usize {
        self.fetched.load().keys.len()
    }

    /// Takes the keys that another one has fetched, until its own are there.
    pub fn inherit(&self, other: &Self) {
        self.set_fetched(other.fetched.load().keys.clone());
    }

    /// Checks a token, at `now` since 1970.
    ///
    /// # Errors
    /// Why it permits nothing.
    pub fn verify(&self, token: &str, now: Duration) -> Result<Claims, JwtError> {
        let fetched = self.fetched.load();
        let claims = self.verify_with(&fetched.keys, token)?;
        claims.at(now)?;
        Ok(claims)
    }

    /// Checks a token, unless it was checked before.
    ///
    /// # Errors
    /// Why it permits nothing.
    pub fn verify_once(
        &self,
        token: &str,
        now: Duration,
        checked: &mut Checked,
    ) -> Result<Arc<Claims>, JwtError> {
        let fetched = self.fetched.load();
        if checked.generation != fetched.generation {
            *checked = Checked { generation: fetched.generation, claims: HashMap::new() };
        }
        let digest = digest(token.as_bytes());
        if let Some(claims) = checked.claims.get(&digest) {
            claims.at(now)?;
            return Ok(Arc::clone(claims));
        }
        let claims = Arc::new(self.verify_with(&fetched.keys, token)?);
        claims.at(now)?;
        checked.keep(digest, &claims, now);
        Ok(claims)
    }

    fn verify_with(&self, fetched: &Keys, token: &str) -> Result<Claims, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::Shape);
        }
        let header = decode_header(token).map_err(|_| JwtError::Shape)?;
        // What must be understood is not understood here (RFC 7515 §4.1.11).
        if header.crit.is_some_and(|names| !names.is_empty()) {
            return Err(JwtError::Shape);
        }
        let mut validation = Validation::new(header.alg);
        // All of these are checked below, against a clock that is an argument.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let mut keys = [&self.options.keys, fetched]
            .into_iter()
            .flat_map(|keys| keys.of(header.alg, header.kid.as_deref()))
            .peekable();
        if keys.peek().is_none() {
            return Err(JwtError::UnknownKey);
        }
        let claims = keys.find_map(|key| decode::<Value>(token, key, &validation).ok());
        self.claims(&claims.ok_or(JwtError::Signature)?.claims)
    }

    /// What a token says whose signature is true.
    fn claims(&self, claims: &Value) -> Result<Claims, JwtError> {
        let JwtOptions { issuer, audience, skew, .. } = &self.options;
        let names = |claim: &str, wanted: &str| match claims.get(claim) {
            Some(Value::Array(names)) => names.iter().any(|name| name == wanted),
            name => name.is_some_and(|name| name == wanted),
        };
        if !issuer.is_empty() && !names("iss", issuer) || !audience.is_empty() && !names("aud", audience) {
            return Err(JwtError::Audience);
        }
        let exp = claims.get("exp").and_then(Value::as_f64).ok_or(JwtError::NoExpiry)?;
        let from = match claims.get("nbf") {
            None => Duration::ZERO,
            Some(nbf) => seconds(nbf.as_f64().ok_or(JwtError::Early)?).saturating_sub(*skew),
        };
        Ok(Claims {
            publish: patterns(claims.get("publish"))?,
            play: patterns(claims.get("play"))?,
            from,
            until: seconds(exp).saturating_add(*skew),
        })
    }
}

fn patterns(claim: Option<&Value>) -> Result<Vec<Pattern>, JwtError> {
    let one = |value: &Value| {
        let text = value.as_str().ok_or(JwtError::Claims)?;
        text.parse().map_err(|_| JwtError::Claims)
    };
    match claim {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= PATTERNS_MAX => items.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
    }
}

/// Tokens that were found to be valid, by their digests: a player of HLS shows the same one every few seconds. Each is
/// remembered for as long as it is valid, and all are forgotten when the keys change.
#[derive(Debug, Default)]
pub struct Checked {
    generation: u64,
    claims: HashMap<Digest, Arc<Claims>>,
}

impl Checked {
    fn keep(&mut self, digest: Digest, claims: &Arc<Claims>, now: Duration) {
        if self.claims.len() >= CHECKED_MAX {
            self.claims.retain(|_, claims| claims.at(now).is_ok());
        }
        if self.claims.len() >= CHECKED_MAX {
            self.claims.clear();
        }
        self.claims.insert(digest, Arc::clone(claims));
    }
}

#[cfg(test)]
mod tests;
