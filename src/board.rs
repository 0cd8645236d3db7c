//! Where each shard hangs up what it has, for those who ask on any shard.
//!
//! A shard replaces its page a few times a second; a reader takes the newest page of each without waiting for any. The
//! age of a page tells how late a shard is. Never on the media path.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use shards::{
    ShardId,
    media::StreamKey,
    stream::{StreamStats, Totals},
};

/// What one shard has.
#[derive(Clone, Debug)]
pub struct Page {
    /// When it was written.
    pub at: Instant,
    /// The CPU that the shard runs on.
    pub cpu: usize,
    /// Connections, those that only talk included.
    pub connections: usize,
    /// Those of them that publish, and those that play.
    pub clients: (usize, usize),
    /// Clients since the start.
    pub enrolled: u64,
    /// Connections that broke their protocol, since the start.
    pub faults: u64,
    /// WebRTC sessions.
    pub webrtc: usize,
    /// Bytes of the wire from all peers and to them, since the start.
    pub traffic: (u64, u64),
    /// Payload bytes from its publishers, since the start.
    pub received: u64,
    /// The share of the last tick that the shard spent in tasks, 0 to 1.
    pub busy: f32,
    /// How long frames gather now, where that follows the load.
    pub window: Option<Duration>,
    /// The longest that a walk over viewers held the shard, in microseconds, since the page before.
    pub longest_walk_us: u64,
    /// Mirrors of other shards' streams here.
    pub mirrors: usize,
    /// What its viewers came to since the start.
    pub totals: Totals,
    /// What was decided about those who asked to publish and play.
    pub permission: Permission,
    /// Its streams, and its mirrors of others'.
    pub streams: Vec<(StreamKey, StreamStats)>,
}

/// What was decided about those who asked to publish and play, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// They may.
    pub granted: u64,
    /// A token was missing or not valid.
    pub unauthorized: u64,
    /// The rules forbade it, or the token was good for something else.
    pub forbidden: u64,
    /// There were as many as there may be, or it could not be decided.
    pub unavailable: u64,
    /// Leave ended in the middle of a stream.
    pub expired: u64,
}

impl Permission {
    /// They may not, for whatever reason.
    pub const fn refused(&self) -> u64 {
        self.unauthorized + self.forbidden + self.unavailable
    }
}

/// The pages of all shards.
pub struct Board {
    pages: Vec<ArcSwap<Page>>,
}

impl Board {
    /// Blank pages for shards on these CPUs.
    pub fn new(cpus: &[usize], now: Instant) -> Arc<Self> {
        let page = |cpu: &usize| {
            ArcSwap::from_pointee(Page {
                at: now,
                cpu: *cpu,
                connections: 0,
                clients: (0, 0),
                enrolled: 0,
                faults: 0,
                webrtc: 0,
                traffic: (0, 0),
                received: 0,
                busy: 0.0,
                window: None,
                longest_walk_us: 0,
                mirrors: 0,
                totals: Totals::default(),
                permission: Permission::default(),
                streams: Vec::new(),
            })
        };
        Arc::new(Self { pages: cpus.iter().map(page).collect() })
    }

    /// Replaces a shard's page.
    pub fn hang(&self, shard: ShardId, page: Page) {
        if let Some(place) = self.pages.get(shard.index()) {
            place.store(Arc::new(page));
        }
    }

    /// The newest page of every shard, in the order of their ids.
    pub fn pages(&self) -> Vec<Arc<Page>> {
        self.pages.iter().map(ArcSwap::load_full).collect()
    }
}
