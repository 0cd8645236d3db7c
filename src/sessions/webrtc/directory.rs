//! Which shard a WebRTC session is on, for those who meet its datagrams elsewhere: where one port serves all shards, and
//! over TCP.
//!
//! A session's own ICE name begins with its shard's number; only names that a client chose are kept here. Ways (addresses that a
//! session was heard from) are kept where a port is shared. Locks: of the names when a client chooses one, of the ways when a
//! session is heard somewhere for the first time and for each datagram that came to another shard than its own.
//! Invariant: what stands here is in the table of the shard that it names.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use foldhash::fast::RandomState;
use shards::ShardId;

type Places<K> = RwLock<HashMap<K, ShardId, RandomState>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Directory {
    names: Places<String>,
    ways: Option<Places<SocketAddr>>,
}

/// A name that a client chose for this side, as long as it is the session's.
pub struct Claim {
    directory: Arc<Directory>,
    name: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.directory.names.write().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Directory {
    /// With ways where shards share a port.
    pub fn new(shares_port: bool) -> Self {
        Self { names: Places::default(), ways: shares_port.then(Places::default) }
    }

    /// Whether shards share a port.
    pub fn shares_port(&self) -> bool {
        self.ways.is_some()
    }

    /// Takes `name` for a session of `shard`. `None`: it is another's, or might be one that a shard gives.
    pub fn claim(self: &Arc<Self>, name: &str, shard: ShardId) -> Option<Claim> {
        if name.len() == own_name("", shard).len() + OWN_RANDOM && digits(name).is_some() {
            return None;
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.contains_key(name) {
            return None;
        }
        names.insert(name.to_owned(), shard);
        Some(Claim { directory: Arc::clone(self), name: name.to_owned() })
    }

    /// The shard of the session that has this name on our side.
    pub fn of_name(&self, name: &str) -> Option<ShardId> {
        let chosen = self.names.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        chosen.or_else(|| digits(name))
    }

    /// A session of `shard` was heard from `peer`. The other shard whose session had been heard there before.
    pub fn claim_way(&self, peer: SocketAddr, shard: ShardId) -> Option<ShardId> {
        let mut ways = self.ways.as_ref()?.write().unwrap_or_else(PoisonError::into_inner);
        ways.insert(peer, shard).filter(|before| *before != shard)
    }

    /// No session of `shard` is heard from `peer` any more.
    pub fn release_way(&self, peer: SocketAddr, shard: ShardId) {
        let Some(ways) = &self.ways else { return };
        let mut ways = ways.write().unwrap_or_else(PoisonError::into_inner);
        if ways.get(&peer) == Some(&shard) {
            ways.remove(&peer);
        }
    }

    /// The shard whose session was heard from `peer` last.
    pub fn of_way(&self, peer: SocketAddr) -> Option<ShardId> {
        self.ways.as_ref()?.read().unwrap_or_else(PoisonError::into_inner).get(&peer).copied()
    }
}

/// The random characters of a name that a shard gives.
pub const OWN_RANDOM: usize = 10;

/// A name as `shard` gives it: its number in two digits, by which a packet is led there (see [`crate::net::steer`]).
pub fn own_name(random: &str, shard: ShardId) -> String {
    format!("{:02x}{random}", shard.0)
}

/// The number that a name begins with.
fn digits(name: &str) -> Option<ShardId> {
    u16::from_str_radix(name.get(..2)?, 16).ok().map(ShardId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_shard_whoever_chose_it() {
        let directory = Arc::new(Directory::new(false));
        assert_eq!(directory.of_name(&own_name("0123456789", ShardId(10))), Some(ShardId(10)));
        assert_eq!(directory.of_name("zz"), None);
        assert_eq!(directory.of_name("1"), None);
        let claim = directory.claim("00chosen", ShardId(3)).expect("it is free");
        assert_eq!(directory.of_name("00chosen"), Some(ShardId(3)));
        assert!(directory.claim("00chosen", ShardId(1)).is_none(), "it is taken");
        drop(claim);
        assert_eq!(directory.of_name("00chosen"), Some(ShardId(0)));
        assert!(
            directory.claim(&own_name("0123456789", ShardId(0)), ShardId(1)).is_none(),
            "it might be ours"
        );
    }

    #[test]
    fn a_way_is_the_shards_that_heard_it_last() {
        let directory = Directory::new(true);
        let peer = SocketAddr::from(([192, 0, 2, 1], 9));
        assert_eq!(directory.claim_way(peer, ShardId(1)), None);
        assert_eq!(directory.claim_way(peer, ShardId(0)), Some(ShardId(1)));
        directory.release_way(peer, ShardId(1));
        assert_eq!(directory.of_way(peer), Some(ShardId(0)));
        directory.release_way(peer, ShardId(0));
        assert_eq!(directory.of_way(peer), None);
    }
}
