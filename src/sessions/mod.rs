//! How connections live: a socket, a protocol machine and a role.
//!
//! A connection is accepted on any shard and met by [`welcome`]; when it has named its stream it goes on at the shard that
//! owns it, as an [`Arrival`] with all that it has said so far. Everything here runs on one shard's thread.

mod client;
pub mod flv;
mod http;
mod ingest;
pub mod rtmp;

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use bytes::BytesMut;
use glommio::timer;
use shards::{Shard, ShardId, media::StreamKey};

pub use client::Client;

use crate::{
    conn_id::ConnId,
    net::{
        admission::{Admission, Ticket},
        connection::Connections,
        socket::{Moving, Socket},
        tls,
    },
    protocols::{http::Limits, rtmp::ReaderOptions},
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
}

/// What the HTTP port answers besides streams: the pages and the API. `None`: there is nothing at that path.
pub type Pages = Rc<dyn Fn(&crate::protocols::http::Request) -> Option<crate::protocols::http::Response>>;

/// What all sessions of a shard share.
pub struct Context {
    /// The shard: its streams and the way to the others.
    pub shard: Rc<Shard<Arrival>>,
    /// The configuration's part.
    pub options: Arc<SessionOptions>,
    /// Who is connected to this shard.
    pub connections: Rc<Connections>,
    /// The door.
    pub admission: Arc<Admission>,
    /// The certificate, if there is one.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What is at HTTP paths that name no stream.
    pub pages: Pages,
    /// Connections beyond the limits that are being told so.
    pub refusing: Cell<usize>,
}

/// More refused connections than this at a time are closed without a word: saying so costs, too.
const REFUSING_MAX: usize = 64;

/// How long a connection waits for room in the inbox of its owner, in steps of [`INBOX_STEP`].
const INBOX_TRIES: usize = 200;
const INBOX_STEP: Duration = Duration::from_millis(5);

/// A connection on its way to the shard that owns its stream. Dropped anywhere, it closes.
pub struct Arrival {
    id: ConnId,
    ticket: Option<Ticket>,
    socket: Moving,
    from: ShardId,
    guest: Guest,
}

/// What has been said so far.
pub enum Guest {
    /// An RTMP machine that waits for an answer to publish or play.
    Rtmp(Box<rtmp::Visit>),
    /// A request for a stream over HTTP.
    Http(Box<http::Visit>),
}

impl Context {
    /// Lets `guest` go on at the owner of `key`: here, or after one hop.
    pub async fn route(self: &Rc<Self>, key: &StreamKey, client: Client, guest: Guest) {
        let owner = self.shard.placement().owner(key);
        if owner == self.shard.id() {
            return guest.go_on(self, client, None).await;
        }
        let mut arrival = match client.depart(self.shard.id(), guest) {
            Ok(arrival) => arrival,
            Err((id, error)) => {
                tracing::warn!(conn = %id, "cannot move to shard {owner}: {error}");
                return;
            }
        };
        for _ in 0..INBOX_TRIES {
            match self.shard.outbox().send(owner, arrival) {
                Ok(()) => return,
                Err(back) => arrival = back,
            }
            timer::sleep(INBOX_STEP).await;
        }
        tracing::warn!(conn = %arrival.id, "shard {owner} takes no more arrivals");
        let (client, guest) = arrival.land(self);
        guest.go_on(self, client, Some("the server is too busy to take this connection")).await;
    }

    /// Goes on with a connection that another shard has sent.
    pub fn arrive(self: &Rc<Self>, arrival: Arrival) {
        let (context, id) = (Rc::clone(self), arrival.id);
        shards::spawn(
            async move {
                tracing::debug!(conn = %id, "came from shard {} to shard {}", arrival.from, context.shard.id());
                let (client, guest) = arrival.land(&context);
                guest.go_on(&context, client, None).await;
            },
            move |panic| tracing::error!(conn = %id, "the session panicked: {panic}"),
        );
    }

    /// Meets a connection that has just been accepted.
    pub fn welcome(self: &Rc<Self>, socket: Socket, service: Service) {
        let (id, peer) = (ConnId::random(), socket.peer());
        let (ticket, refusal) = match self.admission.admit(peer.ip()) {
            Ok(ticket) => (Some(ticket), None),
            Err(refusal) => {
                tracing::warn!(conn = %id, %peer, "refused: {refusal}");
                if self.refusing.get() >= REFUSING_MAX {
                    return;
                }
                (None, Some(refusal.to_string()))
            }
        };
        let context = Rc::clone(self);
        shards::spawn(
            async move {
                let refused = refusal.is_some();
                context.refusing.update(|n| n + usize::from(refused));
                meet(&context, socket, id, ticket, service, refusal).await;
                context.refusing.update(|n| n - usize::from(refused));
            },
            move |panic| tracing::error!(conn = %id, "the session panicked: {panic}"),
        );
    }
}

/// Hears the first bytes, sets up TLS if they ask for it, and goes on in the port's protocol.
async fn meet(
    context: &Rc<Context>,
    mut socket: Socket,
    id: ConnId,
    ticket: Option<Ticket>,
    service: Service,
    refusal: Option<String>,
) {
    let entry = context.connections.enter(id, socket.peer(), ticket);
    entry.expect_within(context.options.handshake_timeout);
    tracing::debug!(conn = %id, peer = %socket.peer(), "accepted on shard {}", context.shard.id());
    let mut input = BytesMut::new();
    match entry.race(socket.read(&mut input)).await {
        Ok(Ok(read)) if read > 0 => {}
        // Port scanners and health checks come and go without a word.
        Ok(_) => return,
        Err(closing) => {
            tracing::info!(conn = %id, peer = %socket.peer(), "said nothing: {closing}");
            return;
        }
    }
    if let (Some(config), Some(&tls::FIRST_BYTE)) = (&context.tls, input.first())
        && let Err(error) = socket.start_tls(config, &mut input)
    {
        tracing::info!(conn = %id, peer = %socket.peer(), "TLS failed: {error}");
        return;
    }
    let client = Client::new(entry, socket);
    // Boxed, so that an idle player's task does not hold room for what was said before it played.
    match service {
        Service::Rtmp => Box::pin(rtmp::serve(context, client, input, refusal)).await,
        Service::Http => Box::pin(http::serve(context, client, input, refusal)).await,
    }
}

impl Arrival {
    fn land(self, context: &Rc<Context>) -> (Client, Guest) {
        let socket = self.socket.land();
        let entry = context.connections.enter(self.id, socket.peer(), self.ticket);
        entry.expect_within(context.options.handshake_timeout);
        (Client::new(entry, socket), self.guest)
    }
}

impl Guest {
    async fn go_on(self, context: &Rc<Context>, client: Client, refusal: Option<&str>) {
        match self {
            Self::Rtmp(visit) => Box::pin(rtmp::go_on(context, client, *visit, refusal)).await,
            Self::Http(visit) => Box::pin(http::go_on(context, client, *visit, refusal)).await,
        }
    }
}
