//! How connections live: a socket, a protocol machine and a role.
//!
//! A connection is accepted on any shard and met by [`Context::welcome`]; when it has named its stream it goes on at the shard that
//! owns it (a player of a hot stream: that mirrors it), as an [`Arrival`] with all that it has said so far. Everything here runs on one shard's thread.

pub mod access;
mod client;
mod ending;
pub mod flv;
mod http;
mod ingest;
mod inquire;
mod latest;
pub mod rtmp;
pub mod rtp;
pub mod webrtc;

use std::{
    cell::{Cell, OnceCell},
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use glommio::timer;
use shards::{Shard, ShardId, media::StreamKey, placement::Placement};

pub use client::Client;
pub use ending::Ending;
pub use inquire::inquiries;
pub use latest::Latest;

use crate::{
    access::Policy,
    clients::{Inquiries, Roster, inquiry::Mail},
    conn_id::ConnId,
    net::{
        admission::{Admission, Ticket},
        connection::{Connection, Connections},
        seldom::Seldom,
        socket::{Moving, Socket},
        tls,
    },
    protocols::{
        http::{Limits, Request, Response},
        proxy::{self, Header, ProxyError, Start},
        rtmp::ReaderOptions,
    },
};

/// What sessions need of the configuration.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Bounds of RTMP's chunk reader.
    pub reader: ReaderOptions,
    /// Bounds of HTTP requests.
    pub http: Limits,
    /// Bytes of one FLV tag.
    pub tag_bytes_max: usize,
    /// Bytes of one WebSocket message.
    pub ws_message_bytes_max: usize,
    /// From the accepted socket to the accepted request.
    pub handshake_timeout: Duration,
    /// A connection that neither publishes nor plays.
    pub idle_timeout: Duration,
    /// From the accepted publish to its first frame.
    pub first_frame_timeout: Duration,
    /// From one frame of a publisher to the next.
    pub silence_timeout: Duration,
    /// This server's address as RTMP clients trace it; may be empty.
    pub server_ip: String,
}

/// What one port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// RTMP.
    Rtmp,
    /// HTTP: pages, FLV and WebSocket.
    Http,
    /// The same at the control port.
    Control,
}

/// What the HTTP ports answer besides streams, the pages and the API: asked with a request, who made it and at which port.
/// `None`: there is nothing at that path.
pub type Pages = Rc<dyn Fn(&Request, Asker) -> Option<Answering>>;

/// What answers such a request, once its body has come.
pub type Answering = Box<dyn FnOnce(Bytes) -> Pin<Box<dyn Future<Output = Response>>>>;

/// Who asks for something that is no stream.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Its own address, as far as it is known.
    pub ip: IpAddr,
    /// The port's service.
    pub service: Service,
}

/// What all sessions of a shard share.
pub struct Context {
    /// The shard: its streams and the way to the others.
    pub shard: Rc<Shard<Parcel>>,
    /// The configuration's part.
    pub options: Latest<SessionOptions>,
    /// Who is connected to this shard.
    pub connections: Rc<Connections>,
    /// Who of them publishes and plays.
    pub roster: Rc<Roster>,
    /// Questions to all shards.
    pub inquiries: Rc<Inquiries>,
    /// The door.
    pub admission: Arc<Admission>,
    /// The certificate, if there is one.
    pub tls: Latest<Option<Arc<rustls::ServerConfig>>>,
    /// Who may publish and play.
    pub gate: access::Gate,
    /// Whether there is WebRTC, now or soon.
    pub has_webrtc: bool,
    /// Whose word about others is taken, and who may use the API.
    pub policy: Arc<ArcSwap<Policy>>,
    /// WebRTC, once it runs on this shard.
    pub webrtc: OnceCell<Rc<webrtc::WebRtc>>,
    /// The server takes nobody in any more and waits for those who are there: no connection is kept for another request.
    pub is_draining: Cell<bool>,
    /// What is at HTTP paths that name no stream.
    pub pages: Pages,
    /// Connections beyond the limits.
    pub refusals: Rc<Refusals>,
}

/// Connections beyond the limits: how many are being told so, and lines about them.
#[derive(Debug, Default)]
pub struct Refusals {
    now: Cell<usize>,
    lines: Seldom,
}

/// One of those that are being told so.
struct Refusal {
    why: String,
    all: Rc<Refusals>,
}

/// More refused connections than this at a time are closed without a word: saying so costs, too.
const REFUSING_MAX: usize = 64;

/// How long a connection waits for room in the inbox of its owner, in steps of [`INBOX_STEP`].
const INBOX_TRIES: usize = 200;
const INBOX_STEP: Duration = Duration::from_millis(5);

/// What shards send each other.
pub enum Parcel {
    /// A connection.
    Arrival(Arrival),
    /// A question to all shards, or the answer of one.
    Mail(Mail),
    /// About WebRTC sessions and their datagrams.
    WebRtc(webrtc::Note),
}

/// A connection on its way to the shard that owns its stream. Dropped anywhere, it closes.
pub struct Arrival {
    id: ConnId,
    ticket: Option<Ticket>,
    socket: Moving,
    from: ShardId,
    guest: Guest,
    ending: Option<Ending>,
}

/// What has been said so far.
pub enum Guest {
    /// An RTMP machine that waits for an answer to publish or play.
    Rtmp(Box<rtmp::Visit>),
    /// A request for a stream over HTTP.
    Http(Box<http::Visit>),
    /// The datagrams of a WebRTC session over TCP.
    Ice(Box<webrtc::tcp::Visit>),
}

impl Context {
    /// Meets a connection that has just been accepted.
    pub fn welcome(self: &Rc<Self>, socket: Socket, service: Service) {
        let (id, peer) = (ConnId::random(), socket.peer());
        let admitted = match self.policy.load().proxies().trusts(peer.ip()) {
            true => self.admission.admit_proxy(),
            false => self.admission.admit(peer.ip()),
        };
        let (ticket, refusal) = match admitted {
            Ok(ticket) => (Some(ticket), None),
            Err(why) => {
                if let Some(more) = self.refusals.lines.admit(Instant::now()) {
                    tracing::warn!(conn = %id, %peer, "refused: {why} (and {more} more before)");
                }
                match self.refusals.one(why.to_string()) {
                    Some(refusal) => (None, Some(refusal)),
                    None => return,
                }
            }
        };
        let context = Rc::clone(self);
        shards::spawn(
            async move {
                // Boxed, so that an idle player's task does not hold room for what was said before it played.
                let why = refusal.as_ref().map(|refusal| refusal.why.clone());
                let met = Box::pin(meet(&context, socket, id, ticket, service, why)).await;
                if let Some((client, guest)) = met {
                    let next = context.place(client, guest).await;
                    context.host(next).await;
                }
            },
            move |panic| tracing::error!(conn = %id, "the session panicked: {panic}"),
        );
    }

    /// Takes what another shard has sent.
    pub fn arrive(self: &Rc<Self>, parcel: Parcel) {
        match parcel {
            Parcel::Arrival(arrival) => self.receive(arrival),
            Parcel::Mail(mail) => self.read(mail),
            Parcel::WebRtc(note) => {
                if let Some(webrtc) = self.webrtc.get() {
                    webrtc.heed(&note);
                }
            }
        }
    }

    /// Goes on with a connection that another shard has sent.
    fn receive(self: &Rc<Self>, arrival: Arrival) {
        let (context, id) = (Rc::clone(self), arrival.id);
        shards::spawn(
            async move {
                tracing::debug!(conn = %id, "came from shard {} to shard {}", arrival.from, context.shard.id());
                // Who sent it has chosen this shard.
                let (client, guest) = arrival.land(&context);
                let next = guest.go_on(&context, client, None).await;
                context.host(next).await;
            },
            move |panic| tracing::error!(conn = %id, "the session panicked: {panic}"),
        );
    }

    /// Lives the rest of a connection, wish after wish, until it ends or goes to another shard.
    async fn host(self: &Rc<Self>, mut next: Option<(Client, Guest)>) {
        while let Some((client, guest)) = next.take() {
            next = self.place(client, guest).await;
        }
    }

    /// Grants a guest's wish here, or sends it where that is done; gives it back with its next wish, if it has one.
    async fn place(self: &Rc<Self>, client: Client, guest: Guest) -> Option<(Client, Guest)> {
        let place = match guest.watches() {
            Some(key) => self.shard.place_viewer(key),
            None => guest.owner(self.shard.placement()),
        };
        if place == self.shard.id() {
            return guest.go_on(self, client, None).await;
        }
        let (client, guest, why) = Box::pin(self.send_on(client, guest, place)).await?;
        guest.go_on(self, client, Some(why)).await
    }

    /// Sends a guest to the shard that serves its stream to it. One that cannot be sent comes back, with the reason.
    async fn send_on(
        self: &Rc<Self>,
        client: Client,
        guest: Guest,
        to: ShardId,
    ) -> Option<(Client, Guest, &'static str)> {
        let mut arrival = match client.depart(self.shard.id(), guest) {
            Ok(arrival) => arrival,
            Err(stayed) => {
                let (client, guest, error) = *stayed;
                tracing::warn!(conn = %client.id(), "cannot move to shard {to}: {error}");
                return Some((client, guest, "the server is out of resources for this connection"));
            }
        };
        for _ in 0..INBOX_TRIES {
            match self.shard.outbox().send(to, Parcel::Arrival(arrival)) {
                Ok(()) => return None,
                Err(Parcel::Arrival(back)) => arrival = back,
                Err(_) => unreachable!("what comes back is what was sent"),
            }
            timer::sleep(INBOX_STEP).await;
        }
        tracing::warn!(conn = %arrival.id, "shard {to} takes no more arrivals");
        let (client, guest) = arrival.land(self);
        Some((client, guest, "the server is too busy to take this connection"))
    }
}

/// Hears the first bytes, sets up TLS if they ask for it, and goes on in the port's protocol until a stream is named.
async fn meet(
    context: &Rc<Context>,
    mut socket: Socket,
    id: ConnId,
    ticket: Option<Ticket>,
    service: Service,
    mut refusal: Option<String>,
) -> Option<(Client, Guest)> {
    let mut entry = context.connections.enter(id, socket.peer(), ticket);
    entry.expect_within(context.options.get().handshake_timeout);
    tracing::debug!(conn = %id, peer = %socket.peer(), "accepted on shard {}", context.shard.id());
    let mut input = BytesMut::new();
    match entry.race(socket.read(&mut input)).await {
        Ok(Ok(read)) if read > 0 => {}
        // Port scanners and health checks come and go without a word.
        Ok(_) => return None,
        Err(closing) => {
            tracing::info!(conn = %id, peer = %socket.peer(), "said nothing: {closing}");
            return None;
        }
    }
    if context.policy.load().proxies().trusts(socket.peer().ip()) {
        match introduction(&entry, &socket, &mut input).await? {
            Ok(None) => {}
            Ok(Some(peer)) => {
                tracing::debug!(conn = %id, %peer, "comes through the proxy {}", socket.peer());
                socket.set_peer(peer);
                if let Err(why) = entry.belongs_to(peer) {
                    refusal.get_or_insert_with(|| why.to_string());
                }
            }
            Err(error) => {
                tracing::warn!(conn = %id, peer = %socket.peer(), "{error}");
                return None;
            }
        }
    }
    if let (Some(config), Some(&tls::FIRST_BYTE)) = (&*context.tls.get(), input.first())
        && let Err(error) = socket.start_tls(config, &mut input)
    {
        tracing::info!(conn = %id, peer = %socket.peer(), "TLS failed: {error}");
        // With the alert that TLS has for it.
        Client::new(entry, socket).farewell(&[]).await;
        return None;
    }
    let client = Client::new(entry, socket);
    match service {
        Service::Rtmp => rtmp::serve(context, client, input, refusal).await,
        _ if input.first() == Some(&webrtc::tcp::FIRST_BYTE) && refusal.is_none() => {
            webrtc::tcp::serve(context, client, input).await
        }
        service => http::serve(context, client, service, input, refusal).await,
    }
}

/// What a proxy says of whom it speaks for, and then the first bytes of the connection itself. `None`: it says nothing more.
async fn introduction(
    entry: &Connection,
    socket: &Socket,
    input: &mut BytesMut,
) -> Option<Result<Option<SocketAddr>, ProxyError>> {
    let client = loop {
        match proxy::take(input) {
            Ok(Start::None) => return Some(Ok(None)),
            Ok(Start::Whole(Header::Client(client))) => break Some(client),
            Ok(Start::Whole(Header::Own)) => break None,
            Ok(Start::Partial) => more(entry, socket, input).await?,
            Err(error) => return Some(Err(error)),
        }
    };
    // One header is all there is: what follows is the client's, whatever it looks like.
    if input.is_empty() {
        more(entry, socket, input).await?;
    }
    Some(Ok(client))
}

/// Reads what comes next; `None`: nothing does.
async fn more(entry: &Connection, socket: &Socket, input: &mut BytesMut) -> Option<()> {
    matches!(entry.race(socket.read(input)).await, Ok(Ok(read)) if read > 0).then_some(())
}

impl Refusals {
    /// One more that is to be told `why`, if there are not too many.
    fn one(self: &Rc<Self>, why: String) -> Option<Refusal> {
        if self.now.get() >= REFUSING_MAX {
            return None;
        }
        self.now.update(|now| now + 1);
        Some(Refusal { why, all: Rc::clone(self) })
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        self.all.now.update(|now| now - 1);
    }
}

impl Arrival {
    fn land(self, context: &Rc<Context>) -> (Client, Guest) {
        let socket = self.socket.land();
        let entry = context.connections.enter(self.id, socket.peer(), self.ticket);
        entry.expect_within(context.options.get().handshake_timeout);
        let client = Client::new(entry, socket);
        self.ending.into_iter().for_each(|ending| client.at_end(ending));
        (client, self.guest)
    }
}

impl Guest {
    /// The shard where it goes on.
    fn owner(&self, placement: Placement) -> ShardId {
        match self {
            Self::Rtmp(visit) => placement.owner(visit.key()),
            Self::Http(visit) => placement.owner(visit.key()),
            Self::Ice(visit) => visit.owner(),
        }
    }

    /// The stream, for one to whom a mirror of it would do.
    fn watches(&self) -> Option<&StreamKey> {
        match self {
            Self::Rtmp(visit) => visit.only_plays().then(|| visit.key()),
            Self::Http(visit) => visit.only_plays().then(|| visit.key()),
            Self::Ice(_) => None,
        }
    }

    /// Grants its wish, or tells it why not; gives it back with its next wish, if it has one.
    async fn go_on(
        self,
        context: &Rc<Context>,
        client: Client,
        refusal: Option<&str>,
    ) -> Option<(Client, Self)> {
        match self {
            Self::Rtmp(visit) => Box::pin(rtmp::go_on(context, client, *visit, refusal)).await,
            Self::Http(visit) => Box::pin(http::go_on(context, client, *visit, refusal)).await,
            Self::Ice(visit) => {
                // There are no words to refuse it in: it closes.
                if refusal.is_none() {
                    Box::pin(webrtc::tcp::go_on(context, client, *visit)).await;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_told_at_a_time_and_there_is_room_again() {
        let refusals = Rc::new(Refusals::default());
        let mut told: Vec<_> = (0..REFUSING_MAX + 5).filter_map(|_| refusals.one(String::new())).collect();
        assert_eq!(told.len(), REFUSING_MAX);
        told.pop();
        assert!(refusals.one(String::new()).is_some());
    }
}
