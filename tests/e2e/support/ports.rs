//! TCP ports for one server, which no other test of this machine has meanwhile.
//!
//! The server listens with `SO_REUSEPORT`, so two servers given one port would both start and share its
//! connections. A port asked of the kernel and let go again is therefore not good enough: a block of ports is
//! locked, below the range from which the kernel takes the local ports of connections.

use std::{collections::hash_map::RandomState, hash::BuildHasher, net::TcpListener};

use super::lock::Lock;

/// Ports in a block.
const BLOCK: u16 = 8;
/// The first port of the first block, and how many blocks there are: 20000..=29999.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 1_250;

/// Eight ports in a row.
pub struct Ports {
    first: u16,
    _lock: Lock,
}

impl Ports {
    /// A block that nobody uses.
    pub fn claim() -> Self {
        let dir = std::env::temp_dir().join("shardcast-e2e-ports");
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let start = RandomState::new().hash_one(std::process::id()) as u16;
        for step in 0..BLOCKS {
            let first = FIRST + (start.wrapping_add(step) % BLOCKS) * BLOCK;
            let Some(lock) = Lock::try_take(&dir.join(first.to_string())) else { continue };
            if (first..first + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                return Self { first, _lock: lock };
            }
        }
        panic!("no free block of ports between {FIRST} and {}", FIRST + BLOCK * BLOCKS)
    }

    /// The `n`th of the block.
    pub fn get(&self, n: u16) -> u16 {
        assert!(n < BLOCK, "a block has {BLOCK} ports");
        self.first + n
    }
}
