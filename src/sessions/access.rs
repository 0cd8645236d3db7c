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
    time::{Duration, Instant},
};

use shards::media::StreamKey;

use super::Ending;
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
    /// The parameters as SRS spells them for hooks: behind a `?` where the protocol has them in the stream's address.
    pub param: String,
    /// Whether it only asks if it might, and takes nothing.
    pub looks: bool,
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
            param: String::new(),
            looks: false,
        }
    }

    /// With what the address has behind its `?`, and the token in it or beside it.
    pub fn with(self, token: Option<String>, query: &str) -> Self {
        let param = if query.is_empty() { String::new() } else { format!("?{query}") };
        Self { token, query: query.to_owned(), param, ..self }
    }

    /// With the parameters as hooks are to see them.
    pub fn spelling(self, param: String) -> Self {
        Self { param, ..self }
    }

    /// It is only a look.
    pub fn looking(self, looks: bool) -> Self {
        Self { looks, ..self }
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

/// Who says hello, before it names a stream. Only RTMP has such a moment.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The connection.
    pub conn: ConnId,
    /// Who it is: the peer, or whom a trusted proxy speaks for.
    pub ip: IpAddr,
    /// The app, without its parameters.
    pub app: String,
    /// Those, behind a `?`.
    pub param: String,
    /// The address that it connects to.
    pub tc_url: String,
    /// The page that it stands in.
    pub page_url: String,
}

/// What decides.
pub type Decide = Rc<dyn Fn(Ask) -> Pin<Box<dyn Future<Output = Result<Grant, Denied>>>>>;

/// What decides who may say hello, and is told when it is gone.
pub type Greet = Rc<dyn Fn(Hello) -> Pin<Box<dyn Future<Output = Result<Ending, Denied>>>>>;

/// The point itself: what decides, and how often it did. One for each shard.
#[derive(Clone)]
pub struct Gate {
    decide: Decide,
    greet: Greet,
    tally: Rc<Tally>,
    /// When the next one may go on who had to wait.
    turn: Rc<Cell<Option<Instant>>>,
}

/// Between two who had to wait for their decisions and go on: what comes for a crowd at once must not hold the shard until
/// all its sessions have begun.
const STEP: Duration = Duration::from_millis(1);

/// A decision that took longer than this was waited for.
const PROMPT: Duration = Duration::from_millis(2);

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
        let greet: Greet = Rc::new(|_| Box::pin(std::future::ready(Ok(Ending::default()))));
        Self { decide, greet, tally: Rc::default(), turn: Rc::default() }
    }

    /// That also decides who may say hello.
    pub fn greeting(self, greet: Greet) -> Self {
        Self { greet, ..self }
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
        let asked = Instant::now();
        let decision = (self.decide)(ask).await;
        self.queue(asked).await;
        let count = match &decision {
            Ok(_) => &self.tally.granted,
            Err(Denied::Unauthorized(_)) => &self.tally.unauthorized,
            Err(Denied::Forbidden(_)) => &self.tally.forbidden,
            Err(Denied::Unavailable(_)) => &self.tally.unavailable,
        };
        count.update(|count| count + 1);
        decision
    }

    /// Asks whether one may say hello; gives what is to be told when it is gone.
    ///
    /// # Errors
    /// Why not, for the peer.
    pub async fn greet(&self, hello: Hello) -> Result<Ending, Denied> {
        let asked = Instant::now();
        let decision = (self.greet)(hello).await;
        self.queue(asked).await;
        decision
    }

    /// One who had to wait goes on after those who were told before.
    async fn queue(&self, asked: Instant) {
        let now = Instant::now();
        if now.saturating_duration_since(asked) < PROMPT {
            return;
        }
        let turn = self.turn.get().map_or(now, |turn| turn.max(now));
        self.turn.set(Some(turn + STEP));
        if turn > now {
            glommio::timer::sleep(turn - now).await;
        }
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
