//! The WebRTC sessions of one shard, by every name they go by.
//!
//! Invariant: a session is in the table exactly while each of its names leads to it, and no name leads anywhere else. Ways are
//! names, too: each is in the list of the one session that was heard on it last.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use shards::ShardId;
use slab::Slab;
use str0m::net::Protocol;

use super::{directory::Directory, session::Session};
use crate::protocols::whip::Side;

/// One way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Its address.
    pub peer: SocketAddr,
}

/// Ways to one session's peer: a phone that goes from one network to another needs two, a browser probing some more.
pub const WAYS_MAX: usize = 8;

/// Deadlines are kept no finer than this: each wake of an idle shard costs more than a late timer.
const GRAIN: Duration = Duration::from_millis(5);

/// See the module.
pub struct Table {
    shard: ShardId,
    directory: Arc<Directory>,
    sessions: Slab<Box<Session>>,
    by_id: HashMap<String, usize, RandomState>,
    by_ufrag: HashMap<String, usize, RandomState>,
    by_way: HashMap<Way, usize, RandomState>,
    /// Those that publish: they are looked at whenever somebody may wait for a keyframe.
    publishers: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    armed: HashMap<usize, Instant, RandomState>,
}

impl Table {
    /// The sessions of `shard`, which others find by way of the `directory`.
    pub fn new(directory: Arc<Directory>, shard: ShardId) -> Self {
        Self {
            shard,
            directory,
            sessions: Slab::new(),
            by_id: HashMap::default(),
            by_ufrag: HashMap::default(),
            by_way: HashMap::default(),
            publishers: Vec::new(),
            timers: BTreeSet::new(),
            armed: HashMap::default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The place that the next session will get.
    pub fn vacant(&self) -> usize {
        self.sessions.vacant_key()
    }

    /// Adds a session; its place.
    pub fn insert(&mut self, session: Session) -> usize {
        let slot = self.sessions.vacant_key();
        if session.side() == Side::Publish {
            self.publishers.push(slot);
        }
        self.by_id.insert(session.names.id.clone(), slot);
        self.by_ufrag.insert(session.names.ufrag.clone(), slot);
        self.sessions.insert(Box::new(session))
    }

    /// Takes a session out.
    pub fn remove(&mut self, slot: usize) -> Option<Session> {
        let session = self.sessions.try_remove(slot)?;
        self.publishers.retain(|publisher| *publisher != slot);
        self.by_id.remove(&session.names.id);
        self.by_ufrag.remove(&session.names.ufrag);
        for way in &session.ways {
            self.forget(*way);
        }
        if let Some(at) = self.armed.remove(&slot) {
            self.timers.remove(&(at, slot));
        }
        Some(*session)
    }

    /// The session at a place.
    pub fn get(&mut self, slot: usize) -> Option<&mut Session> {
        self.sessions.get_mut(slot).map(|session| &mut **session)
    }

    /// The place of the session that has this id.
    pub fn of_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The place of the session whose own ICE name this is.
    pub fn of_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// The place of the session that was heard on this way.
    pub fn of_way(&self, way: Way) -> Option<usize> {
        self.by_way.get(&way).copied()
    }

    /// The session has another ICE name from now on.
    pub fn rename(&mut self, slot: usize, ufrag: String) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        self.by_ufrag.remove(&session.names.ufrag);
        session.names.chosen = None;
        session.names.ufrag = ufrag.clone();
        self.by_ufrag.insert(ufrag, slot);
    }

    /// The session was heard on this way, with its password: the way is its own from now on. Whoever had it before has
    /// lost it: a socket's number is given to the next as soon as its session is abandoned. The other shard that had it, if
    /// one had.
    pub fn heard_from(&mut self, slot: usize, way: Way) -> Option<ShardId> {
        let session = self.sessions.get_mut(slot)?;
        let before = self.by_way.get(&way).copied();
        if before == Some(slot) && session.ways.last() == Some(&way) {
            return None;
        }
        session.gain(way);
        let oldest = (session.ways.len() > WAYS_MAX).then(|| session.ways.remove(0));
        self.by_way.insert(way, slot);
        if let Some(oldest) = oldest {
            self.forget(oldest);
        }
        if let Some(loser) = before.filter(|before| *before != slot).and_then(|before| self.get(before)) {
            loser.lose(way);
        }
        (way.protocol == Protocol::Udp).then(|| self.directory.claim_way(way.peer, self.shard)).flatten()
    }

    /// Another shard has heard one of its sessions on this way.
    pub fn lose(&mut self, way: Way) {
        // Meanwhile it may have been heard here again.
        if self.directory.of_way(way.peer) != Some(self.shard)
            && let Some(loser) = self.by_way.remove(&way).and_then(|slot| self.get(slot))
        {
            loser.lose(way);
        }
    }

    fn forget(&mut self, way: Way) {
        self.by_way.remove(&way);
        if way.protocol == Protocol::Udp {
            self.directory.release_way(way.peer, self.shard);
        }
    }

    /// Sets the session's timer to the deadline that it has now.
    pub fn arm(&mut self, slot: usize, now: Instant) {
        let Some(session) = self.sessions.get(slot) else { return };
        let at = session.deadline.max(now + GRAIN);
        match self.armed.get(&slot) {
            // An early wake is only a wake: moving a timer a little costs as much.
            Some(armed) if *armed <= at && at.saturating_duration_since(*armed) < GRAIN => return,
            Some(armed) => drop(self.timers.remove(&(*armed, slot))),
            None => {}
        }
        self.timers.insert((at, slot));
        self.armed.insert(slot, at);
    }

    /// A session whose deadline has come.
    pub fn due(&mut self, now: Instant) -> Option<usize> {
        let (at, slot) = *self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        self.armed.remove(&slot);
        Some(slot)
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The places of publishers that are to make a keyframe.
    pub fn wishes(&mut self, waker: &Waker) -> Vec<usize> {
        let sessions = &mut self.sessions;
        let hears = |slot: &usize| sessions.get_mut(*slot).is_some_and(|session| session.hears_wishes(waker));
        self.publishers.iter().copied().filter(hears).collect()
    }

    /// The places of all sessions.
    pub fn slots(&self) -> Vec<usize> {
        self.sessions.iter().map(|(slot, _)| slot).collect()
    }
}
