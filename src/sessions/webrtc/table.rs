//! The WebRTC sessions of one shard, by every name they go by.
//!
//! Invariant: a session is in the table exactly while each of its names leads to it, and no name leads anywhere else.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use slab::Slab;

use super::session::Session;

/// Addresses of one session: a phone that goes from one network to another needs two, a browser probing some more.
const PEERS_MAX: usize = 8;

/// Deadlines are kept no finer than this: each wake of an idle shard costs more than a late timer.
const GRAIN: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Default)]
pub struct Table {
    sessions: Slab<Box<Session>>,
    by_id: HashMap<String, usize, RandomState>,
    by_ufrag: HashMap<String, usize, RandomState>,
    by_peer: HashMap<SocketAddr, usize, RandomState>,
    timers: BTreeSet<(Instant, usize)>,
    armed: HashMap<usize, Instant, RandomState>,
}

impl Table {
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
        self.by_id.insert(session.names.id.clone(), slot);
        self.by_ufrag.insert(session.names.ufrag.clone(), slot);
        self.sessions.insert(Box::new(session))
    }

    /// Takes a session out.
    pub fn remove(&mut self, slot: usize) -> Option<Session> {
        let session = self.sessions.try_remove(slot)?;
        self.by_id.remove(&session.names.id);
        self.by_ufrag.remove(&session.names.ufrag);
        for peer in &session.peers {
            if self.by_peer.get(peer) == Some(&slot) {
                self.by_peer.remove(peer);
            }
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

    /// The place of the session that was heard from this address.
    pub fn of_peer(&self, peer: SocketAddr) -> Option<usize> {
        self.by_peer.get(&peer).copied()
    }

    /// The session has another ICE name from now on.
    pub fn rename(&mut self, slot: usize, ufrag: String) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        self.by_ufrag.remove(&session.names.ufrag);
        session.names.ufrag = ufrag.clone();
        self.by_ufrag.insert(ufrag, slot);
    }

    /// The session was heard from this address, with its password.
    pub fn heard_from(&mut self, slot: usize, peer: SocketAddr) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.peers.last() == Some(&peer) {
            return;
        }
        session.peers.retain(|known| *known != peer);
        session.peers.push(peer);
        self.by_peer.insert(peer, slot);
        if session.peers.len() > PEERS_MAX {
            let oldest = session.peers.remove(0);
            if self.by_peer.get(&oldest) == Some(&slot) {
                self.by_peer.remove(&oldest);
            }
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

    /// The places of all sessions.
    pub fn slots(&self) -> Vec<usize> {
        self.sessions.iter().map(|(slot, _)| slot).collect()
    }
}
