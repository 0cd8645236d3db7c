//! Addresses that carry their own permission: `?expires=1764200000&sign=9f86d0…`.
//!
//! `sign` is HMAC-SHA256, in hexadecimal, of the lines `ACTION`, `APP/NAME` and `EXPIRES` (publish or play; the key as it is
//! spelled in logs; whole seconds since 1970), parted by single line feeds and without one at the end. Any language makes
//! that in three lines, and `shardcast sign` makes it here. A signature is good for one action on one stream.

use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use shards::media::StreamKey;

use super::{Action, params};

/// The keys that signatures may be made with: the newest, and older ones while addresses that they made are about.
#[derive(Clone)]
pub struct Signer(Vec<hmac::Key>);

/// Why a signature gives no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// `expires` is missing or is no number of seconds.
    #[error("the address is signed, but `expires` is missing or is no time")]
    Expires,
    /// Its time is over.
    #[error("the signed address has expired")]
    Expired,
    /// It is not what one of the keys comes to.
    #[error("the signature does not fit this stream, what is asked of it, and its time")]
    Wrong,
}

fn message(action: Action, key: &StreamKey, expires: u64) -> String {
    format!("{action}\n{key}\n{expires}")
}

/// The parameters that permit `action` on `key` until `expires`, in seconds since 1970.
pub fn signed_query(secret: &[u8], action: Action, key: &StreamKey, expires: u64) -> String {
    let tag =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message(action, key, expires).as_bytes());
    format!("expires={expires}&sign={}", HEXLOWER.encode(tag.as_ref()))
}

impl Signer {
    /// With these secrets.
    pub fn new<'s>(secrets: impl Iterator<Item = &'s [u8]>) -> Self {
        Self(secrets.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)).collect())
    }

    /// Until when the parameters permit `action` on `key`; `None`: they hold no signature.
    pub(super) fn check(
        &self,
        query: &str,
        action: Action,
        key: &StreamKey,
        now: Duration,
    ) -> Option<Result<Duration, SignError>> {
        let sign = params::get(query, "sign")?;
        Some(self.verify(sign, params::get(query, "expires"), action, key, now))
    }

    fn verify(
        &self,
        sign: &str,
        expires: Option<&str>,
        action: Action,
        key: &StreamKey,
        now: Duration,
    ) -> Result<Duration, SignError> {
        let expires = expires.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let expires: u64 = expires.and_then(|text| text.parse().ok()).ok_or(SignError::Expires)?;
        // A signature has 64 characters; whatever is longer is not even read.
        let tag = (sign.len() == 64).then(|| HEXLOWER_PERMISSIVE.decode(sign.as_bytes()).ok()).flatten();
        let tag = tag.ok_or(SignError::Wrong)?;
        let message = message(action, key, expires);
        // All keys, so that the time does not tell which it was.
        let fits = self.0.iter().filter(|key| hmac::verify(key, message.as_bytes(), &tag).is_ok()).count();
        let until = Duration::from_secs(expires);
        match (fits, now < until) {
            (0, _) => Err(SignError::Wrong),
            // Only who held a true signature learns that its time is over.
            (_, false) => Err(SignError::Expired),
            (_, true) => Ok(until),
        }
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn key(text: &str) -> StreamKey {
        text.parse().unwrap()
    }

    fn signer() -> Signer {
        Signer::new([b"new secret".as_slice(), b"old secret"].into_iter())
    }

    /// Made with `printf 'play\nlive/cam\n1000060' | openssl dgst -sha256 -hmac 'new secret'`.
    #[test]
    fn a_signature_is_what_openssl_makes_of_three_lines() {
        let query = signed_query(b"new secret", Action::Play, &key("live/cam"), 1_000_060);
        assert_eq!(query, include_str!("testdata/signed.txt").trim());
    }

    #[test]
    fn it_is_good_for_one_action_on_one_stream_until_its_time() {
        let query = signed_query(b"new secret", Action::Play, &key("live/cam"), 1_000_060);
        let check = |query: &str, action, name: &str, now| signer().check(query, action, &key(name), now);
        assert_eq!(check(&query, Action::Play, "live/cam", NOW), Some(Ok(Duration::from_secs(1_000_060))));
        assert_eq!(check(&query, Action::Publish, "live/cam", NOW), Some(Err(SignError::Wrong)));
        assert_eq!(check(&query, Action::Play, "live/cam2", NOW), Some(Err(SignError::Wrong)));
        let late = Duration::from_secs(1_000_060);
        assert_eq!(check(&query, Action::Play, "live/cam", late), Some(Err(SignError::Expired)));
        let longer = query.replace("1000060", "1000061");
        assert_eq!(check(&longer, Action::Play, "live/cam", NOW), Some(Err(SignError::Wrong)));
        assert_eq!(check("sign=00", Action::Play, "live/cam", NOW), Some(Err(SignError::Expires)));
        assert_eq!(
            check("expires=99999999999&sign=zz", Action::Play, "live/cam", NOW),
            Some(Err(SignError::Wrong))
        );
        assert_eq!(check("token=x", Action::Play, "live/cam", NOW), None);
    }

    #[test]
    fn an_older_key_is_good_while_it_is_known() {
        let query = signed_query(b"old secret", Action::Publish, &key("live/cam"), 1_000_060);
        assert!(matches!(signer().check(&query, Action::Publish, &key("live/cam"), NOW), Some(Ok(_))));
        let query = signed_query(b"forgotten", Action::Publish, &key("live/cam"), 1_000_060);
        assert_eq!(
            signer().check(&query, Action::Publish, &key("live/cam"), NOW),
            Some(Err(SignError::Wrong))
        );
    }

    proptest! {
        /// One wrong character anywhere, and it permits nothing.
        #[test]
        fn any_change_is_noticed(at in 0_usize..64, to in "[0-9a-f]") {
            let query = signed_query(b"new secret", Action::Play, &key("live/cam"), 1_000_060);
            let (head, sign) = query.split_at(query.len() - 64);
            let mut sign = sign.to_owned();
            prop_assume!(sign.get(at..=at) != Some(to.as_str()));
            sign.replace_range(at..=at, &to);
            let verdict = signer().check(&format!("{head}{sign}"), Action::Play, &key("live/cam"), NOW);
            prop_assert_eq!(verdict, Some(Err(SignError::Wrong)));
        }

        #[test]
        fn any_parameters_are_survived(query in "(expires|sign|x)?=?\\PC{0,80}(&(expires|sign)=\\PC{0,80})?") {
            let verdict = signer().check(&query, Action::Play, &key("live/cam"), NOW);
            prop_assert!(!matches!(verdict, Some(Ok(_))));
        }
    }
}
