//! One RTMP connection: it introduces itself, names a stream, goes on at its owner, publishes or plays, and may ask again.

mod egress;
mod play;
mod publish;

use std::rc::Rc;

use bytes::BytesMut;
use shards::media::{KeyError, StreamKey};

use super::{Client, Context, Guest, client::Gone};
use crate::{
    net::connection::Closing,
    protocols::rtmp::{
        self, Error, Event, Farewell, PlayRequest, PublishRequest, Reject, Server, ServerOptions, StreamUrl,
    },
};

/// A connection that waits for an answer to its wish.
pub struct Visit {
    server: Server,
    wish: Wish,
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

/// How a role ended.
enum End {
    /// The client may ask for something else.
    Idle,
    /// The connection is to close, after these words.
    Close(Option<Farewell>),
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Peer(_) => Self::Close(None),
            Gone::Closing(closing) => Self::Close(Some(farewell(closing))),
        }
    }
}

fn farewell(closing: Closing) -> Farewell {
    match closing {
        Closing::Silent(_) => Farewell::Idle,
        Closing::Shutdown => Farewell::ShuttingDown,
    }
}

/// Serves a connection from its first bytes, `input`. With `refusal` it is let in only to be told why it cannot stay.
pub async fn serve(context: &Rc<Context>, client: Client, input: BytesMut, refusal: Option<String>) {
    let mut server = Server::new(ServerOptions {
        reader: context.options.reader,
        seed: fastrand::u64(..),
        ip: context.options.server_ip.clone(),
        pid: std::process::id(),
        id: client.id().to_string(),
        ..ServerOptions::default()
    });
    *server.input() = input;
    negotiate(context, client, server, refusal).await;
}

/// Goes on with a connection whose stream is this shard's.
pub async fn go_on(context: &Rc<Context>, client: Client, visit: Visit, refusal: Option<&str>) {
    let Visit { mut server, wish } = visit;
    let end = match (refusal, wish.url().key.clone(), wish) {
        (Some(why), _, wish) => refuse(&client, &mut server, &wish, why).await,
        (None, Ok(key), Wish::Publish(request)) => {
            Box::pin(publish::run(context, &client, &mut server, *request, &key)).await
        }
        (None, Ok(key), Wish::Play(request)) => {
            Box::pin(play::run(context, &client, &mut server, *request, &key)).await
        }
        // Wishes without a key do not travel.
        (None, Err(error), wish) => refuse(&client, &mut server, &wish, &error.to_string()).await,
    };
    match end {
        End::Idle => {
            client.entry().expect_within(context.options.idle_timeout);
            Box::pin(negotiate(context, client, server, None)).await;
        }
        End::Close(words) => close(client, server, words).await,
    }
}

/// Talks with the client until it asks for a stream.
async fn negotiate(context: &Rc<Context>, client: Client, mut server: Server, refusal: Option<String>) {
    loop {
        match server.poll() {
            Ok(None) => {
                if client.send(&server.take_output()).await.is_err() {
                    return;
                }
                match client.read(server.input()).await {
                    Ok(_) => {}
                    Err(gone) => {
                        tracing::debug!(conn = %client.id(), "left before it asked for a stream: {gone}");
                        if let Gone::Closing(closing) = gone {
                            close(client, server, Some(farewell(closing))).await;
                        }
                        return;
                    }
                }
            }
            Ok(Some(Event::Connect(connect))) => match &refusal {
                Some(why) => {
                    server.reject_connect(why);
                    return client.farewell(&server.take_output()).await;
                }
                None => {
                    let secure = if client.socket().is_tls() { ", TLS" } else { "" };
                    tracing::debug!(conn = %client.id(), peer = %client.entry().peer(),
                        "RTMP{secure}: {} {}", connect.tc_url, connect.flash_ver);
                    server.accept_connect();
                }
            },
            Ok(Some(Event::Publish(request))) => {
                match wish(&client, &mut server, Wish::Publish(request)).await {
                    Ok((key, wish)) => return forward(context, client, server, &key, wish).await,
                    Err(true) => {}
                    Err(false) => return,
                }
            }
            Ok(Some(Event::Play(request))) => match wish(&client, &mut server, Wish::Play(request)).await {
                Ok((key, wish)) => return forward(context, client, server, &key, wish).await,
                Err(true) => {}
                Err(false) => return,
            },
            // What is said about a stream that is not there has no meaning.
            Ok(Some(_)) => {}
            Err(error) => return bad(client, server, &error).await,
        }
    }
}

async fn forward(context: &Rc<Context>, client: Client, mut server: Server, key: &StreamKey, wish: Wish) {
    // The machine travels without output, so that nothing is said twice or out of turn.
    if client.send(&server.take_output()).await.is_ok() {
        context.route(key, client, Guest::Rtmp(Box::new(Visit { server, wish }))).await;
    }
}

/// The key of a wish. Without one it is refused, and the client may ask again (`true`) unless it is gone.
async fn wish(client: &Client, server: &mut Server, wish: Wish) -> Result<(StreamKey, Wish), bool> {
    match &wish.url().key {
        Ok(key) => Ok((key.clone(), wish)),
        Err(error) => {
            let sentence = sentence(error);
            refuse(client, server, &wish, &sentence).await;
            Err(client.send(&server.take_output()).await.is_ok())
        }
    }
}

fn sentence(error: &KeyError) -> String {
    format!("the address names no stream: {error}")
}

/// Tells a client that its wish is not granted.
async fn refuse(client: &Client, server: &mut Server, wish: &Wish, why: &str) -> End {
    tracing::warn!(conn = %client.id(), peer = %client.entry().peer(), "refused: {why}");
    match wish {
        Wish::Publish(_) => server.reject_publish(&Reject::publish_denied(why)),
        Wish::Play(_) => server.reject_play(&Reject::play_failed(why)),
    }
    End::Close(None)
}

/// Ends a connection that broke the protocol.
async fn bad(client: Client, mut server: Server, error: &Error) {
    tracing::warn!(conn = %client.id(), peer = %client.entry().peer(), "RTMP: {error}");
    server.close(&Farewell::Kicked(error.to_string()));
    client.farewell(&server.take_output()).await;
}

/// Ends a connection, with last words where there are any.
async fn close(client: Client, mut server: Server, words: Option<Farewell>) {
    if let Some(words) = words {
        server.close(&words);
    }
    client.farewell(&server.take_output()).await;
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
