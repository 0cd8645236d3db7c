//! Datagrams that came to another shard than their session's, where one port serves all: they go on in batches.
//!
//! The kernel leads requests of ICE by the name in them ([`crate::net::steer`]); all else comes to one of the sockets by the
//! peer's address, and mostly to the wrong one. Viewers send a few reports a second, publishers what they publish.
//! Invariant: a datagram goes on once at most; what finds no room in the other shard's inbox is lost, as on any network.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
};

use shards::{Shard, ShardId};

use crate::{net::udp::Route, sessions::Parcel};

/// What one shard sends another about WebRTC.
pub enum Note {
    /// Datagrams for the other's sessions.
    Strays(Strays),
    /// A session of the sender is heard from this address, which was one of the other's.
    Lost(SocketAddr),
}

/// Datagrams, one behind the other in one buffer.
#[derive(Default)]
pub struct Strays {
    bytes: Vec<u8>,
    heads: Vec<Head>,
}

struct Head {
    len: usize,
    peer: SocketAddr,
    local: Option<IpAddr>,
}

impl Strays {
    fn push(&mut self, route: Route, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.heads.push(Head { len: datagram.len(), peer: route.peer, local: route.local });
    }

    /// The datagrams, in the order of their arrival.
    pub fn each(&self) -> impl Iterator<Item = (Route, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.heads.iter().map(move |head| {
            let (datagram, behind) = rest.split_at(head.len.min(rest.len()));
            rest = behind;
            (Route { peer: head.peer, local: head.local }, datagram)
        })
    }
}

/// What one batch brought for other shards.
#[derive(Default)]
pub struct Bag {
    of: RefCell<Vec<(ShardId, Strays)>>,
}

impl Bag {
    /// Puts a datagram for `owner` in.
    pub fn put(&self, owner: ShardId, route: Route, datagram: &[u8]) {
        let mut of = self.of.borrow_mut();
        match of.iter_mut().find(|(shard, _)| *shard == owner) {
            Some((_, strays)) => strays.push(route, datagram),
            None => {
                let mut strays = Strays::default();
                strays.push(route, datagram);
                of.push((owner, strays));
            }
        }
    }

    /// Sends all that is in it; how many datagrams found no room.
    pub fn send(&self, shard: &Shard<Parcel>) -> usize {
        let mut lost = 0;
        for (owner, strays) in self.of.borrow_mut().drain(..) {
            let count = strays.heads.len();
            if shard.outbox().send(owner, Parcel::WebRtc(Note::Strays(strays))).is_err() {
                lost += count;
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_order_for_each_shard() {
        let bag = Bag::default();
        let route = |port: u16| Route { peer: ([192, 0, 2, 1], port).into(), local: None };
        for n in 0..6_u16 {
            bag.put(ShardId(n % 2), route(n), &vec![n as u8; usize::from(n)]);
        }
        let of = bag.of.borrow();
        let (owner, strays) = &of[1];
        let out: Vec<(u16, usize)> =
            strays.each().map(|(route, bytes)| (route.peer.port(), bytes.len())).collect();
        assert_eq!((*owner, out), (ShardId(1), vec![(1, 1), (3, 3), (5, 5)]));
    }
}
