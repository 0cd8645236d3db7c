//! The one point at which it is decided who may publish and who may play, for every protocol.
//!
//! A session asks on the shard that serves the stream to it, before it takes the seat or joins; what decides is a closure
//! that `server` gives. It may take its time. What it grants, a session holds for as long as it publishes or plays: a
//! [`Grant`] says until when that is, and keeps what was counted for it.

use std::{
    any::Any,
    cell::Cell,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    time::Instant,
};

use shards::media::StreamKey;

pub use crate::access::{Action, Denied};
use crate::conn_id::ConnId;

/// Who wants what.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The connection that asks.
    pub conn: ConnId,
    /// What.
    pub action: Action,
    /// Of which stream.
    pub key: StreamKey,
    /// How: `rtmp`, `flv`, `whip` …
    pub protocol: &'static str,
    /// The token of `Authorization: Bearer` or of the parameter `token`, if one was given.
    pub token: Option<String>,
    /// All parameters of the address, as they came.
    pub query: String,
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// Who it is: the peer, or whom a trusted proxy speaks for.
    pub ip: IpAddr,
    /// What an RTMP client says it connected to; empty elsewhere.
    pub tc_url: String,
    /// The page that a player stands in, as the client says; often empty.
    pub page_url: String,
}

impl Ask {
    /// Before it is known what else there is to say.
    pub fn new(
        conn: ConnId,
        action: Action,
        key: &StreamKey,
        protocol: &'static str,
        peer: SocketAddr,
    ) -> Self {
        Self {
            conn,
            action,
            key: key.clone(),
            protocol,
            token: None,
            query: String::new(),
            peer,
            ip: peer.ip(),
            tc_url: String::new(),
            page_url: String::new(),
        }
    }

    /// With what the address has behind its `?`, and the token in it or beside it.
    pub fn with(self, token: Option<String>, query: &str) -> Self {
        Self { token, query: query.to_owned(), ..self }
    }

    /// On behalf of whom it is asked, and from where.
    pub fn from(self, ip: IpAddr, tc_url: &str, page_url: &str) -> Self {
        Self { ip, tc_url: tc_url.to_owned(), page_url: page_url.to_owned(), ..self }
    }
}

/// Leave to publish or play. Whoever has it holds it until it stops.
#[derive(Debug, Default)]
pub struct Grant {
    /// When it ends, also in the middle of the stream; `None`: it does not.
    pub until: Option<Instant>,
    /// What is given back when the session stops: its places among those that are counted.
    pub held: Vec<Box<dyn Any>>,
}

impl Grant {
    /// No longer than `until`, too.
    pub fn and_until(mut self, until: Option<Instant>) -> Self {
        self.until = match (self.until, until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self
    }
}

/// What decides.
pub type Decide = Rc<dyn Fn(Ask) -> Pin<Box<dyn Future<Output = Result<Grant, Denied>>>>>;

/// The point itself: what decides, and how often it did. One for each shard.
#[derive(Clone)]
pub struct Gate {
    decide: Decide,
    tally: Rc<Tally>,
}

/// How often it was decided, since the start.
#[derive(Debug, Default)]
struct Tally {
    granted: Cell<u64>,
    unauthorized: Cell<u64>,
    forbidden: Cell<u64>,
    unavailable: Cell<u64>,
}

/// How often it was decided, and how; since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Who asked may.
    pub granted: u64,
    /// A token was missing or not valid.
    pub unauthorized: u64,
    /// The rules forbade it.
    pub forbidden: u64,
    /// There were as many as there may be, or it could not be decided.
    pub unavailable: u64,
}

impl Gate {
    /// That decides so.
    pub fn new(decide: Decide) -> Self {
        Self { decide, tally: Rc::default() }
    }

    /// That lets everybody in.
    pub fn open() -> Self {
        Self::new(Rc::new(|_| Box::pin(std::future::ready(Ok(Grant::default())))))
    }

    /// Asks.
    ///
    /// # Errors
    /// Why not, for the peer.
    pub async fn ask(&self, ask: Ask) -> Result<Grant, Denied> {
        let decision = (self.decide)(ask).await;
        let count = match &decision {
            Ok(_) => &self.tally.granted,
            Err(Denied::Unauthorized(_)) => &self.tally.unauthorized,
            Err(Denied::Forbidden(_)) => &self.tally.forbidden,
            Err(Denied::Unavailable(_)) => &self.tally.unavailable,
        };
        count.update(|count| count + 1);
        decision
    }

    /// How it was decided.
    pub fn decisions(&self) -> Decisions {
        Decisions {
            granted: self.tally.granted.get(),
            unauthorized: self.tally.unauthorized.get(),
            forbidden: self.tally.forbidden.get(),
            unavailable: self.tally.unavailable.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_shorter_of_two_leaves_counts() {
        let (now, grant) = (Instant::now(), Grant::default());
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let grant = grant.and_until(None);
        assert_eq!(grant.until, None);
        let grant = grant.and_until(Some(late)).and_until(None).and_until(Some(soon)).and_until(Some(late));
        assert_eq!(grant.until, Some(soon));
    }
}
