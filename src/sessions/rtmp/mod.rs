//! One RTMP connection: it introduces itself, names a stream, goes on at its owner, publishes or plays, and may ask again.

mod egress;
mod play;
mod publish;

use std::{
    borrow::Cow,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use shards::media::{KeyError, StreamKey};

use super::{
    Client, Context, Guest,
    access::{Action, Ask, Hello},
    client::Gone,
};
use crate::{
    access::mask,
    clients::Said,
    net::connection::Closing,
    protocols::rtmp::{
        self, Connect, Event, Farewell, PlayRequest, PublishRequest, Reject, Server, ServerOptions, StreamUrl,
    },
};

/// A client that publishes or plays for a shorter time than this waits for the rest of it before its next wish is heard:
/// each wish costs a look at a stream and two lines of the log.
const ROLE_MIN: Duration = Duration::from_millis(50);

/// A connection that waits for an answer to its wish.
pub struct Visit {
    server: Box<Server>,
    key: StreamKey,
    wish: Wish,
}

impl Visit {
    /// The stream.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Whether a mirror of the stream would do.
    pub fn only_plays(&self) -> bool {
        matches!(self.wish, Wish::Play(_))
    }
}

/// What a client asks for.
enum Wish {
    Publish(Box<PublishRequest>),
    Play(Box<PlayRequest>),
}

impl Wish {
    fn url(&self) -> &StreamUrl {
        match self {
            Self::Publish(request) => &request.url,
            Self::Play(request) => &request.url,
        }
    }
}

/// What a client said of itself.
fn said(server: &Server, url: &StreamUrl) -> Said {
    let connect = server.connect();
    Said {
        tc_url: connect.tc_url.clone(),
        page_url: connect.page_url.clone(),
        swf_url: connect.swf_url.clone(),
        user_agent: connect.flash_ver.clone(),
        param: url.params.as_str().to_owned(),
    }
}

/// How a role ended.
enum End {
    /// The client may ask for something else.
    Idle,
    /// The connection is to close: after the rest of a message, and these words.
    Close(Vec<Bytes>, Option<Farewell>),
    /// Nothing more can be said: the peer is gone, or takes nothing.
    Gone,
}

impl End {
    /// With these words between two messages.
    fn close(words: Option<Farewell>) -> Self {
        Self::Close(Vec::new(), words)
    }
}

fn farewell(closing: Closing) -> Farewell {
    match closing {
        Closing::Silent(_) => Farewell::Idle,
        Closing::Kicked => Farewell::Kicked(closing.to_string()),
        Closing::Expired => Farewell::Expired,
        Closing::Shutdown => Farewell::ShuttingDown,
    }
}

/// Serves a connection from its first bytes, `input`, until it asks for a stream. With `refusal` it is let in only to be
/// told why it cannot stay.
pub async fn serve(
    context: &Rc<Context>,
    client: Client,
    input: BytesMut,
    refusal: Option<String>,
) -> Option<(Client, Guest)> {
    // Boxed, since it passes through several futures, each of which would have room for it.
    let mut server = Box::new(Server::new(ServerOptions {
        reader: context.options.get().reader,
        seed: fastrand::u64(..),
        ip: context.options.get().server_ip.clone(),
        pid: std::process::id(),
        id: client.id().to_string(),
        ..ServerOptions::default()
    }));
    *server.input() = input;
    negotiate(context, client, server, refusal).await
}

/// Grants a wish for a stream of this shard, or tells why not; gives the client back with its next wish.
pub async fn go_on(
    context: &Rc<Context>,
    client: Client,
    visit: Visit,
    refusal: Option<&str>,
) -> Option<(Client, Guest)> {
    let Visit { mut server, key, wish } = visit;
    let start = Instant::now();
    let decision = match refusal {
        Some(why) => Err(why.to_owned()),
        None => {
            // The address that an old proxy puts before the handshake.
            let peer = client.entry().peer().ip();
            if let Some(ip) = server.proxied().filter(|_| context.policy.load().proxies().trusts(peer)) {
                client.socket().set_ip(ip.into());
            }
            let ask = ask(&client, &server, &key, &wish);
            let within = context.options.get().handshake_timeout;
            client.ask(&context.gate, ask, within).await.map_err(|denied| denied.to_string())
        }
    };
    let end = match (&decision, wish) {
        (Err(why), wish) => refuse(&client, &mut server, &wish, why),
        (Ok(grant), wish) => {
            client.entry().allow_until(grant.until);
            match wish {
                Wish::Publish(request) => {
                    Box::pin(publish::run(context, &client, &mut server, *request, &key)).await
                }
                Wish::Play(request) => {
                    Box::pin(play::run(context, &client, &mut server, *request, &key)).await
                }
            }
        }
    };
    // The places that the grant held are free from here on.
    drop(decision);
    match end {
        End::Idle => {
            glommio::timer::sleep(ROLE_MIN.saturating_sub(start.elapsed())).await;
            client.entry().allow_until(None);
            client.entry().expect_within(context.options.get().idle_timeout);
            Box::pin(negotiate(context, client, server, None)).await
        }
        End::Close(rest, words) => {
            close(client, server, rest, words).await;
            None
        }
        End::Gone => None,
    }
}

/// What is asked at the gate.
fn ask(client: &Client, server: &Server, key: &StreamKey, wish: &Wish) -> Ask {
    let action = if matches!(wish, Wish::Publish(_)) { Action::Publish } else { Action::Play };
    let (params, connect) = (&wish.url().params, server.connect());
    let peer = client.entry().peer();
    Ask::new(client.id(), action, key, "rtmp", peer)
        .with(params.get("token").map(Cow::into_owned), params.as_str())
        .from(client.ip(), &connect.tc_url, &connect.page_url)
}

/// Who says hello. The app's levels and parameters are told apart as they are for streams.
fn hello(client: &Client, connect: &Connect) -> Hello {
    let (app, query) = connect.app.split_once(['?', '#']).unwrap_or((&connect.app, ""));
    let query = match query {
        "" => connect.tc_url.split_once('?').map_or("", |(_, query)| query),
        query => query,
    };
    Hello {
        conn: client.id(),
        ip: client.ip(),
        app: app.trim_matches('/').to_owned(),
        param: if query.is_empty() { String::new() } else { format!("?{query}") },
        tc_url: connect.tc_url.clone(),
        page_url: connect.page_url.clone(),
    }
}

/// Talks with the client until it asks for a stream.
async fn negotiate(
    context: &Rc<Context>,
    client: Client,
    mut server: Box<Server>,
    refusal: Option<String>,
) -> Option<(Client, Guest)> {
    loop {
        let wish = match server.poll() {
            Ok(None) => {
                client.send(&server.take_output()).await.ok()?;
                match client.read(server.input()).await {
                    Ok(_) => continue,
                    Err(gone) => {
                        tracing::debug!(conn = %client.id(), "left before it asked for a stream: {gone}");
                        if let Gone::Closing(closing) = gone {
                            close(client, server, Vec::new(), Some(farewell(closing))).await;
                        }
                        return None;
                    }
                }
            }
            Ok(Some(Event::Connect(connect))) => {
                let secure = if client.socket().is_tls() { ", TLS" } else { "" };
                tracing::debug!(conn = %client.id(), peer = %client.entry().peer(),
                    "RTMP{secure}: {} {}", mask(&connect.tc_url), connect.flash_ver);
                if let Some(why) = &refusal {
                    server.reject_connect(why);
                    close(client, server, Vec::new(), None).await;
                    return None;
                }
                let hello = hello(&client, &connect);
                let within = context.options.get().handshake_timeout;
                if let Err(denied) = client.greet(&context.gate, hello, within).await {
                    tracing::warn!(conn = %client.id(), peer = %client.entry().peer(), "refused: {denied}");
                    server.reject_connect(&denied.to_string());
                    close(client, server, Vec::new(), None).await;
                    return None;
                }
                server.accept_connect();
                continue;
            }
            Ok(Some(Event::Publish(request))) => Wish::Publish(request),
            Ok(Some(Event::Play(request))) => Wish::Play(request),
            // What is said about a stream that is not there has no meaning.
            Ok(Some(_)) => continue,
            Err(error) => {
                client.entry().note_fault();
                tracing::warn!(conn = %client.id(), peer = %client.entry().peer(), "RTMP: {error}");
                close(client, server, Vec::new(), Some(Farewell::Kicked(error.to_string()))).await;
                return None;
            }
        };
        let key = match &wish.url().key {
            Ok(key) => key.clone(),
            Err(error) => {
                // Most clients wait for ever after a refusal, so the connection ends with it.
                refuse(&client, &mut server, &wish, &sentence(error));
                close(client, server, Vec::new(), None).await;
                return None;
            }
        };
        // The machine travels without output, so that nothing is said twice or out of turn.
        client.send(&server.take_output()).await.ok()?;
        return Some((client, Guest::Rtmp(Box::new(Visit { server, key, wish }))));
    }
}

fn sentence(error: &KeyError) -> String {
    format!("the address names no stream: {error}")
}

/// Tells a client that its wish is not granted: by the codes at which encoders and players give up.
fn refuse(client: &Client, server: &mut Server, wish: &Wish, why: &str) -> End {
    tracing::warn!(conn = %client.id(), peer = %client.entry().peer(), "refused: {why}");
    match wish {
        Wish::Publish(request) if request.url.key.is_err() => server.reject_publish(&Reject::bad_name(why)),
        Wish::Publish(_) => server.reject_publish(&Reject::publish_denied(why)),
        Wish::Play(_) => server.reject_play(&Reject::play_failed(why)),
    }
    End::close(None)
}

/// Ends a connection: with the rest of what was being sent, and last words where there are any.
async fn close(client: Client, mut server: Box<Server>, rest: Vec<Bytes>, words: Option<Farewell>) {
    if let Some(words) = words {
        server.close(&words);
    }
    client.farewell_after(rest, &server.take_output()).await;
}

/// The bounds of RTMP's reader from two limits of the configuration.
pub fn reader_options(message_bytes_max: usize, chunk_bytes_max: usize) -> rtmp::ReaderOptions {
    rtmp::ReaderOptions {
        message_bytes_max,
        chunk_bytes_max,
        partial_bytes_max: 2 * message_bytes_max,
        ..rtmp::ReaderOptions::default()
    }
}
