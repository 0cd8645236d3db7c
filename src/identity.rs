//! How this server, this process and its streams are called where SRS has ids: in the API and in hooks.
//!
//! Invariant: every shard gives a stream the same id without asking another, since it is made of the key. Ids are not secrets.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use shards::media::StreamKey;

/// Characters behind `vid-`.
const DIGITS: usize = 7;
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// This server and this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `vid-` and seven characters; new in each process.
    pub server_id: String,
    /// Eight characters; new in each process.
    pub service_id: String,
}

impl Identity {
    /// Of a process that begins now.
    pub fn random() -> Self {
        Self {
            server_id: format!("vid-{}", digits(fastrand::u64(..), DIGITS)),
            service_id: digits(fastrand::u64(..), DIGITS + 1),
        }
    }

    /// A stream's id in this process.
    pub fn stream_id(&self, key: &StreamKey) -> String {
        self.id("stream", key)
    }

    /// A virtual host's.
    pub fn vhost_id(&self, vhost: &str) -> String {
        self.id("vhost", vhost)
    }

    fn id(&self, kind: &str, of: impl Hash) -> String {
        let mut hasher = FixedState::with_seed(0).build_hasher();
        (self.service_id.as_str(), kind, of).hash(&mut hasher);
        format!("vid-{}", digits(hasher.finish(), DIGITS))
    }
}

fn digits(mut number: u64, count: usize) -> String {
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        let digit = usize::try_from(number % 36).ok().and_then(|at| ALPHABET.get(at)).copied();
        text.push(char::from(digit.unwrap_or(b'0')));
        number /= 36;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_key_has_one_id_in_a_process_and_others_have_others() {
        let (one, other) = (Identity::random(), Identity::random());
        assert_ne!(one, other);
        assert_eq!((one.server_id.len(), one.service_id.len()), (11, 8));
        let keys: Vec<StreamKey> = (0..1_000).map(|n| format!("live/cam{n}").parse().unwrap()).collect();
        let ids: HashSet<String> = keys.iter().map(|key| one.stream_id(key)).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 11 && id.starts_with("vid-")));
        assert_eq!(one.stream_id(&keys[0]), one.clone().stream_id(&keys[0]));
        assert_ne!(one.stream_id(&keys[0]), other.stream_id(&keys[0]));
        assert_ne!(one.stream_id(&keys[0]), one.vhost_id("live/cam0"));
    }
}
