//! An RTMP player: the stream's own walk sends to it; this task hears its wishes and wakes when its socket is full.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use shards::{
    media::StreamKey,
    stream::{Leave, Subscriber},
};

use super::{
    End,
    egress::{RtmpMux, Selection},
    farewell, said,
};
use crate::{
    clients::Kind,
    net::connection::Closing,
    protocols::rtmp::{Event, Farewell, PlayRequest, Server, ServerOptions},
    sessions::{
        Client, Context,
        client::{Felt, Gone},
    },
};

/// The longest that a player may ask for, in seconds: thirty years.
const SECONDS_MAX: f64 = 1e9;

/// Plays `key` until the player stops or has to, for as many seconds as it asked for if they are positive.
pub async fn run(
    context: &Rc<Context>,
    client: &Client,
    server: &mut Server,
    request: PlayRequest,
    key: &StreamKey,
) -> End {
    let seconds = request.duration;
    server.accept_play();
    if client.send(&server.take_output()).await.is_err() {
        return End::Gone;
    }
    tracing::info!(conn = %client.id(), stream = %key, peer = %client.entry().peer(), "plays by RTMP");
    let start = Instant::now();
    let wanted = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(SECONDS_MAX)));
    let selection = Selection::all(server.connect().takes("Opus"));
    // From here to the subscription nothing waits: a stream without readers may be let go of at any tick.
    let stream = context.shard.obtain_for_viewer(key);
    let mut player = Player {
        subscriber: stream.subscribe(
            selection.rendition(),
            || mux(selection),
            Rc::clone(client.socket()) as _,
        ),
        selection,
        told: 0,
        until: wanted.map(|wanted| start + wanted),
        paused: false,
    };
    drop(stream);
    let card = client.card(Kind::RtmpPlay, key, said(server, &request.url));
    let enrolled = context.roster.enroll(card, client.meter(Some(player.subscriber.gauge())));
    player.expect_end(client);
    let outcome = player.flow(context, client, server).await;
    let is_complete = !player.paused && player.until.is_some();
    let (stats, rest) = player.subscriber.leave();
    drop(enrolled);
    let (end, why) = match outcome {
        Outcome::Stopped => (End::Idle, "the player said so".to_owned()),
        Outcome::Gone(why) => (End::Gone, why),
        Outcome::Bad(why) => {
            client.entry().note_fault();
            tracing::warn!(conn = %client.id(), "RTMP: {why}");
            (End::Close(rest.clone(), Some(Farewell::Kicked(why.clone()))), why)
        }
        Outcome::Closing(Closing::Silent(_)) if is_complete => {
            server.play_complete();
            (End::Idle, "it has played as long as it wanted".to_owned())
        }
        Outcome::Closing(closing) => (End::Close(rest.clone(), Some(farewell(closing))), closing.to_string()),
        Outcome::Leave(leave) => leaving(client, server, leave, rest.clone()),
    };
    tracing::info!(conn = %client.id(), stream = %key, seconds = start.elapsed().as_secs_f32(),
        bytes = stats.bytes, skips = stats.skips, "stopped playing: {why}");
    if let End::Idle = end {
        // The rest of a message, before anything else is said.
        client.entry().expect_within(context.options.idle_timeout);
        for bytes in rest {
            if client.send(&bytes).await.is_err() {
                return End::Gone;
            }
        }
    }
    end
}

/// Why a player's flow ended.
enum Outcome {
    Stopped,
    Gone(String),
    Bad(String),
    Closing(Closing),
    Leave(Leave),
}

struct Player {
    subscriber: Subscriber,
    selection: Selection,
    /// Bytes that the machine was told of, those that it wrote itself and that wait to be sent included.
    told: u64,
    /// When it has had as much as it asked for.
    until: Option<Instant>,
    paused: bool,
}

impl Player {
    async fn flow(&mut self, context: &Rc<Context>, client: &Client, server: &mut Server) -> Outcome {
        loop {
            loop {
                match server.poll() {
                    Ok(None) => break,
                    Ok(Some(Event::StopPlay)) => return Outcome::Stopped,
                    Ok(Some(Event::Pause { paused, .. })) => self.pause(context, client, paused),
                    Ok(Some(Event::ReceiveAudio(audio))) => {
                        self.select(Selection { audio, ..self.selection })
                    }
                    Ok(Some(Event::ReceiveVideo(video))) => {
                        self.select(Selection { video, ..self.selection })
                    }
                    // Nothing else means anything to a player; the machine has answered.
                    Ok(Some(_)) => {}
                    Err(error) => return Outcome::Bad(error.to_string()),
                }
            }
            self.say(server);
            if server.input().is_empty() {
                // An idle player holds no buffer.
                *server.input() = BytesMut::new();
            }
            match client.feel(&self.subscriber, server.input()).await {
                Felt::Bytes(Ok(read)) if read > 0 => {}
                Felt::Bytes(Ok(_)) => return Outcome::Gone("the connection closed".to_owned()),
                Felt::Bytes(Err(error)) => return Outcome::Gone(Gone::Peer(error).to_string()),
                Felt::Closing(closing) => return Outcome::Closing(closing),
                Felt::Leave(leave) => return Outcome::Leave(leave),
            }
        }
    }

    /// Passes the machine's answers on, between two batches.
    fn say(&mut self, server: &mut Server) {
        let sent = self.subscriber.stats().bytes;
        server.sent(sent.saturating_sub(self.told));
        self.told = self.told.max(sent);
        if server.has_output() {
            let answer: Bytes = server.take_output();
            self.told += answer.len() as u64;
            self.subscriber.control(answer);
        }
    }

    fn pause(&mut self, context: &Rc<Context>, client: &Client, paused: bool) {
        self.paused = paused;
        if paused {
            self.subscriber.pause();
            client.entry().expect_within(context.options.idle_timeout);
        } else {
            self.subscriber.resume();
            self.expect_end(client);
        }
    }

    /// A player may be silent for as long as it plays.
    fn expect_end(&self, client: &Client) {
        match self.until {
            Some(until) => {
                client.entry().expect_within(until.saturating_duration_since(Instant::now()));
            }
            None => client.entry().expect_nothing(),
        }
    }

    fn select(&mut self, selection: Selection) {
        self.selection = selection;
        self.subscriber.switch(selection.rendition(), || mux(selection));
    }
}

fn mux(selection: Selection) -> Box<RtmpMux> {
    Box::new(RtmpMux::new(selection, ServerOptions::default().chunk_size as usize))
}

fn leaving(client: &Client, server: &mut Server, leave: Leave, rest: Vec<Bytes>) -> (End, String) {
    match leave {
        Leave::NoPublisher => {
            server.play_not_found("nobody publishes this stream");
            (End::Close(rest, None), "nobody published the stream".to_owned())
        }
        Leave::Ended => {
            server.publisher_gone();
            (End::Close(rest, None), "the stream ended".to_owned())
        }
        Leave::Stalled => {
            // Nothing gets through; the kernel's buffer goes with the connection.
            client.socket().abort_on_close();
            (End::Gone, "the player took nothing for too long".to_owned())
        }
        Leave::PeerGone => (End::Gone, "the connection closed".to_owned()),
    }
}
