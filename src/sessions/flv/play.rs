//! A player of FLV: the stream's own walk sends to it; this task hears it and wakes when its socket is full.

use std::{rc::Rc, time::Instant};

use bytes::{Bytes, BytesMut};
use shards::{
    media::StreamKey,
    stream::{Leave, ReaderStats},
};

use super::{
    close,
    egress::{FlvMux, Framing},
};
use crate::{
    clients::{Kind, Said},
    net::connection::Closing,
    protocols::{
        http::{Reply, Response, Status, chunked},
        ws::{self, Control, ControlReader},
    },
    sessions::{Client, Context, client::Felt},
};

/// The longest message a player may send; what it says is read over.
const PLAYER_MESSAGE_MAX: u32 = 64 * 1024;

/// Why a player's flow ended.
enum Outcome {
    Gone(String),
    Closing(Closing),
    Leave(Leave),
    /// It closed its WebSocket, or broke the protocol: the frame to answer with.
    WebSocket(Bytes, String),
}

/// Plays `key` in `framing`. A WebSocket has been agreed on; of a response nothing has been sent. `input` is what the
/// player has sent beyond its request.
pub async fn run(
    context: &Rc<Context>,
    client: Client,
    key: &StreamKey,
    framing: Framing,
    reply: Reply,
    said: Said,
    mut input: BytesMut,
) {
    let stream = context.shard.obtain_for_viewer(key);
    client.entry().expect_nothing();
    let (name, kind) = match framing {
        Framing::WebSocket => ("WS-FLV", Kind::WsFlvPlay),
        _ => ("HTTP-FLV", Kind::FlvPlay),
    };
    tracing::info!(conn = %client.id(), stream = %key, peer = %client.entry().peer(), "plays by {name}");
    let start = Instant::now();
    let subscriber = stream.subscribe(
        framing.rendition(),
        || Box::new(FlvMux::new(framing)),
        Rc::clone(client.socket()) as _,
    );
    let card = client.card(kind, key, said);
    let enrolled = context.roster.enroll(card, client.meter(Some(subscriber.gauge())));
    let mut control =
        (framing == Framing::WebSocket).then(|| Box::new(ControlReader::new(PLAYER_MESSAGE_MAX, true)));
    let outcome = loop {
        match hear(control.as_deref_mut(), &mut input) {
            Ok(answers) => answers.into_iter().for_each(|answer| subscriber.control(answer)),
            Err(outcome) => break outcome,
        }
        match client.feel(&subscriber, &mut input).await {
            Felt::Bytes(Ok(read)) if read > 0 => {}
            Felt::Bytes(Ok(_)) => break Outcome::Gone("the connection closed".to_owned()),
            Felt::Bytes(Err(error)) => break Outcome::Gone(error.to_string()),
            Felt::Closing(closing) => break Outcome::Closing(closing),
            Felt::Leave(leave) => break Outcome::Leave(leave),
        }
    };
    let started = subscriber.has_started();
    let (stats, rest) = subscriber.leave();
    drop(enrolled);
    // Boxed, so that the room for it is not held while the stream plays.
    Box::pin(Goodbye { client, key, framing, started, stats, rest, reply, start }.say(outcome)).await;
}

/// What a player says: a WebSocket's control frames; anything else is nothing to us.
fn hear(control: Option<&mut ControlReader>, input: &mut BytesMut) -> Result<Option<Bytes>, Outcome> {
    let mut answer = None;
    if let Some(reader) = control {
        let mut unread: &[u8] = input;
        loop {
            match reader.next(&mut unread) {
                Ok(None) => break,
                Ok(Some(message @ Control::Close { .. })) => {
                    let words = message.answer().unwrap_or_default();
                    return Err(Outcome::WebSocket(words, "the player closed its WebSocket".to_owned()));
                }
                // Of several pings only the newest needs an answer.
                Ok(Some(message)) => answer = message.answer().or(answer),
                Err(error) => {
                    let words = ws::frame::close(error.close_code(), &error.to_string());
                    return Err(Outcome::WebSocket(words, error.to_string()));
                }
            }
        }
    }
    // An idle player holds no buffer.
    *input = BytesMut::new();
    Ok(answer)
}

/// A player that has left its stream.
struct Goodbye<'a> {
    client: Client,
    key: &'a StreamKey,
    framing: Framing,
    started: bool,
    stats: ReaderStats,
    rest: Vec<Bytes>,
    reply: Reply,
    start: Instant,
}

impl Goodbye<'_> {
    /// Ends the connection in the words of its protocol.
    async fn say(self, outcome: Outcome) {
        let (words, why): (Bytes, String) = match outcome {
            Outcome::Gone(why) => return self.log(&why),
            Outcome::WebSocket(words, why) => (words, why),
            Outcome::Closing(closing) => {
                let (code, status) = match closing {
                    Closing::Shutdown => (close::GOING_AWAY, Status::UNAVAILABLE),
                    Closing::Silent(_) => (close::POLICY, Status::UNAVAILABLE),
                    Closing::Kicked => (close::POLICY, Status::FORBIDDEN),
                    Closing::Expired => (close::POLICY, Status::UNAUTHORIZED),
                };
                (self.words(code, status, &closing.to_string()), closing.to_string())
            }
            Outcome::Leave(Leave::NoPublisher) => {
                let why = format!("nobody publishes {}", self.key);
                (self.words(close::NOT_FOUND, Status::NOT_FOUND, &why), why)
            }
            Outcome::Leave(Leave::Ended) => (
                self.words(close::NORMAL, Status::NOT_FOUND, "the stream ended"),
                "the stream ended".to_owned(),
            ),
            Outcome::Leave(Leave::Stalled) => {
                // Nothing gets through; the kernel's buffer goes with the connection.
                self.client.socket().abort_on_close();
                self.log("the player took nothing for too long");
                return;
            }
            Outcome::Leave(Leave::PeerGone) => return self.log("the connection closed"),
        };
        self.log(&why);
        // Also without words: what was sent is to arrive before the end, and TLS has an end of its own.
        self.client.farewell_after(self.rest, &words).await;
    }

    fn log(&self, why: &str) {
        tracing::info!(conn = %self.client.id(), stream = %self.key, seconds = self.start.elapsed().as_secs_f32(),
            bytes = self.stats.bytes, skips = self.stats.skips, "stopped playing: {why}");
    }

    /// The end of a stream that has started, or the status of one that never did.
    fn words(&self, code: u16, status: Status, sentence: &str) -> Bytes {
        match self.framing {
            Framing::WebSocket => ws::frame::close(code, sentence),
            _ if !self.started => {
                let response = match status {
                    Status::UNAUTHORIZED => Response::unauthorized(sentence),
                    status => Response::text(status, sentence).cors(),
                };
                response.write(Reply { keep_alive: false, ..self.reply })
            }
            Framing::Chunked => Bytes::from_static(chunked::LAST),
            Framing::Plain => Bytes::new(),
        }
    }
}
