//! Who may do what: tokens, JWT, signed addresses, rules about addresses, limits. What is decided, not where it is asked.
//!
//! Pure: no socket, no file, no clock. Time is an argument, the wall clock's [`Duration`] since 1970, since that is what
//! tokens speak of. A [`Policy`] is one immutable value, built whole from the configuration and replaced whole.
//! Invariant: no secret is in a `Debug` output, an error or a log line; tokens are kept as digests.

mod forwarded;
mod guard;
mod jwt;
mod mask;
mod network;
mod params;
mod pattern;
mod policy;
mod rules;
mod seats;
mod sign;
mod tokens;

use std::time::Duration;

pub use forwarded::Proxies;
pub use guard::{Guard, GuardOptions, Knock, Turned};
pub use jwt::{Checked, Claims, Jwt, JwtError, JwtOptions, KeyError, Keys};
pub use mask::mask;
pub use network::{Network, NetworkError};
pub use pattern::{Pattern, PatternError};
pub use policy::{Need, Options, Policy, Request, Verdict};
pub use rules::{RuleError, Rules};
pub use seats::{Limits, Seat, Seats};
pub use sign::{Signer, signed_query};
pub use tokens::{TokenError, Tokens};

/// What somebody wants to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Add media.
    Publish,
    /// Watch and listen.
    Play,
}

impl Action {
    /// `publish` or `play`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For one action or for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Actions {
    publish: bool,
    play: bool,
}

impl Actions {
    /// `publish`, `play` or `all`.
    fn of(word: &str) -> Option<Self> {
        let (publish, play) = match word {
            "publish" => (true, false),
            "play" => (false, true),
            "all" => (true, true),
            _ => return None,
        };
        Some(Self { publish, play })
    }

    fn has(self, action: Action) -> bool {
        match action {
            Action::Publish => self.publish,
            Action::Play => self.play,
        }
    }
}

/// Why somebody may not; the sentences are for the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A token is missing or is not valid.
    #[error("{0}")]
    Unauthorized(String),
    /// The rules forbid it, or the token is good for something else.
    #[error("{0}")]
    Forbidden(String),
    /// There are as many as there may be, or it cannot be decided at present: later, perhaps.
    #[error("{0}")]
    Unavailable(String),
}

/// Tokens beyond this length are not looked at: the longest JWT that people use have 4 KiB.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What is compared instead of a secret, and kept instead of one: the time that a comparison takes tells nothing of use.
type Digest = [u8; 32];

fn digest(secret: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret).as_ref());
    bytes
}

/// Whether two secrets are the same, in a time that tells neither their contents nor where they differ.
fn same(one: &Digest, other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, &digest(other)).is_ok()
}

/// Seconds of a token's claim as the wall clock has them; what lies beyond a clock's range is its end.
fn seconds(claim: f64) -> Duration {
    Duration::try_from_secs_f64(claim.max(0.0)).unwrap_or(Duration::MAX)
}

/// Whatever anybody may send: nothing here panics. For the fuzzer and the tests.
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = text.parse::<Network>();
    let _ = text.parse::<Pattern>().map(|pattern| pattern.fits(&text));
    let _ = Tokens::parse(text.lines());
    let _ = Rules::parse(text.lines(), text.lines());
    let _ = mask(&text);
    let _ = Keys::of_jwks(data);
    let _ = Keys::of_pem(data);
    let proxies = Proxies::parse(["0.0.0.0/0", "::/0"].into_iter()).unwrap_or_default();
    let _ = proxies.client(std::net::IpAddr::from([127, 0, 0, 1]), Some(&text), Some(&text));
    let keys = Keys::of_secret(b"0123456789abcdef0123456789abcdef").unwrap_or_default();
    let options = JwtOptions { keys, ..JwtOptions::default() };
    let _ = Jwt::new(options).verify(&text, Duration::from_secs(1));
    let guard = Guard::new(GuardOptions { token: "token".to_owned(), ..GuardOptions::default() });
    let _ = guard.check(&Knock {
        path: &text,
        authorization: Some(&text),
        token: Some(&text),
        ..Knock::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEEDS: [&str; 8] = [
        "10.0.0.0/8",
        "::ffff:10.0.0.0/104",
        "live/cam-*/**",
        "publish live/* hunter2hunter2",
        "play 2001:db8::/32",
        "203.0.113.5, [2001:db8::1]:443, unknown",
        "rtmp://me:password@h/live?token=abc&sign=00",
        "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3NjQyMDAwMDB9.c2lnbmF0dXJl",
    ];

    proptest! {
        #[test]
        fn wounded_texts_are_survived(which in 0..SEEDS.len(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut text = SEEDS[which].as_bytes().to_vec();
            let at = at.index(text.len());
            text[at] = byte;
            fuzz(&text);
            fuzz(&text[..cut.index(text.len())]);
        }

        #[test]
        fn noise_is_survived(noise: Vec<u8>) {
            fuzz(&noise);
        }
    }
}
