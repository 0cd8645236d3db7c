//! Who this process is to backends and consoles, and the ids that it gives to what lives in it, in SRS's form.
//!
//! An id is a keyed hash of a name, so that all shards agree on it without a table. Invariant: the same name has the same id
//! for as long as the process lives, and ids tell nothing of the names.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use shards::media::StreamKey;

/// The one virtual host that there is, as SRS calls it.
pub const VHOST: &str = "__defaultVhost__";

/// What ids are made of.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Characters of an id behind its `vid-`: ten thousand streams share one by a chance of 1 in 70 million.
const ID_CHARS: usize = 10;

/// See the module.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The server: `vid-` and seven characters.
    pub server_id: String,
    /// This run of it: eight characters.
    pub service_id: String,
    /// The process.
    pub pid: u32,
    hasher: FixedState,
}

impl Identity {
    /// Of a process that begins. `server_id`: what the operator calls the server; empty: a new name.
    pub fn new(server_id: &str) -> Self {
        let random = |chars: usize| -> String {
            let one = |_| fastrand::choice(ALPHABET).map_or('0', |byte| char::from(*byte));
            (0..chars).map(one).collect()
        };
        let server_id = match server_id {
            "" => format!("vid-{}", random(7)),
            named => named.to_owned(),
        };
        let hasher = FixedState::with_seed(fastrand::u64(..));
        Self { server_id, service_id: random(8), pid: std::process::id(), hasher }
    }

    /// The id of a stream.
    pub fn stream_id(&self, key: &StreamKey) -> String {
        self.id("stream", key.as_str())
    }

    /// The id of the virtual host.
    pub fn vhost_id(&self) -> String {
        self.id("vhost", VHOST)
    }

    fn id(&self, kind: &str, name: &str) -> String {
        let mut rest = self.hasher.hash_one((kind, name));
        let mut id = String::from("vid-");
        for _ in 0..ID_CHARS {
            id.push(char::from(ALPHABET[(rest % 36) as usize]));
            rest /= 36;
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_keep_their_ids_and_share_none() {
        let identity = Identity::new("");
        let key = |n: u32| -> StreamKey { format!("live/cam{n}").parse().expect("a key") };
        let ids: HashSet<String> = (0..10_000).map(|n| identity.stream_id(&key(n))).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.contains(&identity.clone().stream_id(&key(7))));
        assert!(!ids.contains(&identity.vhost_id()));
        assert!(ids.iter().all(|id| id.len() == 14 && id.starts_with("vid-")));
    }

    #[test]
    fn a_server_is_called_what_its_operator_calls_it() {
        assert_eq!(Identity::new("edge-7").server_id, "edge-7");
        let (one, other) = (Identity::new(""), Identity::new(""));
        assert_ne!(one.service_id, other.service_id);
        assert_eq!((one.server_id.len(), one.service_id.len()), (11, 8));
    }
}
