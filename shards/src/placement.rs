//! Which shard owns a stream, and which CPU runs a shard.
//!
//! Invariant: every shard (and every process that has as many shards) computes the same owner for a key.

use std::fmt;

use crate::media::StreamKey;

/// One shard among the process's: 0 to [`SHARDS_MAX`]` - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// More shards than this are refused: the mesh of inboxes grows with the square.
pub const SHARDS_MAX: usize = 256;

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl ShardId {
    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How keys map to shards.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    shards: u16,
}

impl Placement {
    /// Over `shards` shards, at least one.
    pub fn new(shards: usize) -> Self {
        Self { shards: shards.clamp(1, SHARDS_MAX) as u16 }
    }

    /// How many shards there are.
    pub fn shards(self) -> usize {
        usize::from(self.shards)
    }

    /// The shard that owns `key`.
    pub fn owner(self, key: &StreamKey) -> ShardId {
        // The high bits of the product choose evenly without a division.
        ShardId(((u128::from(hash(key.as_str())) * u128::from(self.shards)) >> 64) as u16)
    }
}

/// FNV-1a with a finaliser that spreads it to the high bits; fixed for ever, so that other processes agree.
fn hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The CPUs that this process may use, ascending; at least one.
pub fn usable_cpus() -> Vec<usize> {
    let mut cpus: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cpus.sort_unstable();
    if cpus.is_empty() {
        cpus.push(0);
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_key_never_changes() {
        let key: StreamKey = "live/demo".parse().unwrap();
        let owners: Vec<_> = [1, 2, 4, 16, 64].map(|n| Placement::new(n).owner(&key).0).into();
        assert_eq!(owners, [0, 0, 0, 0, 2]);
    }

    #[test]
    fn keys_spread_evenly() {
        for shards in [2, 3, 16, 64] {
            let placement = Placement::new(shards);
            let mut owned = vec![0; shards];
            for n in 0..shards * 1_000 {
                owned[placement.owner(&format!("live/cam{n}").parse().unwrap()).index()] += 1;
            }
            let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
            assert!(*least > 850 && *most < 1_150, "{shards} shards: {least} to {most} of 1,000");
        }
    }
}
