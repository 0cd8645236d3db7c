//! An RTMP player: the stream's own walk sends to it; this task hears its wishes and wakes when its socket is full.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shards::{
    media::StreamKey,
    stream::{Leave, Subscriber},
};

use super::{
    End,
    egress::{RtmpMux, Selection},
    farewell,
};
use crate::{
    net::connection::Closing,
    protocols::rtmp::{Event, Farewell, PlayRequest, Server, ServerOptions},
    sessions::{
        Client, Context,
        client::{Felt, Gone},
    },
};

/// Plays `key` until the player stops or has to.
pub async fn run(
    context: &Rc<Context>,
    client: &Client,
    server: &mut Server,
    request: PlayRequest,
    key: &StreamKey,
) -> End {
    let stream = context.shard.obtain(key);
    server.accept_play();
    if let Err(gone) = client.send(&server.take_output()).await {
        return gone.into();
    }
    tracing::info!(conn = %client.id(), stream = %key, peer = %client.entry().peer(), "plays by RTMP");
    client.entry().expect_nothing();
    if request.duration > 0.0 {
        client.entry().expect_within(Duration::from_secs_f64(request.duration.min(1e9)));
    }
    let start = Instant::now();
    let mut player = Player {
        subscriber: stream.subscribe(
            Selection::ALL.rendition(),
            || mux(Selection::ALL),
            Rc::clone(client.socket()) as _,
        ),
        selection: Selection::ALL,
        told: 0,
    };
    let outcome = player.flow(context, client, server).await;
    let (stats, rest) = player.subscriber.leave();
    let (end, why) = match outcome {
        Outcome::Stopped => (End::Idle, "the player said so".to_owned()),
        Outcome::Gone(why) => (End::Close(None), why),
        Outcome::Bad(why) => {
            tracing::warn!(conn = %client.id(), "RTMP: {why}");
            (End::Close(Some(Farewell::Kicked(why.clone()))), why)
        }
        Outcome::Closing(Closing::Silent(_)) if request.duration > 0.0 => {
            server.play_complete();
            (End::Idle, "it has played as long as it wanted".to_owned())
        }
        Outcome::Closing(closing) => (End::Close(Some(farewell(closing))), closing.to_string()),
        Outcome::Leave(leave) => leaving(client, server, leave),
    };
    tracing::info!(conn = %client.id(), stream = %key, seconds = start.elapsed().as_secs_f32(),
        bytes = stats.bytes, skips = stats.skips, "stopped playing: {why}");
    for bytes in rest {
        if let Err(gone) = client.send(&bytes).await {
            return gone.into();
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
    /// Bytes that the machine was told of.
    told: u64,
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
        server.sent(sent - std::mem::replace(&mut self.told, sent));
        if server.has_output() {
            let answer: Bytes = server.take_output();
            self.told += answer.len() as u64;
            self.subscriber.control(answer);
        }
    }

    fn pause(&mut self, context: &Rc<Context>, client: &Client, paused: bool) {
        if paused {
            self.subscriber.pause();
            client.entry().expect_within(context.options.idle_timeout);
        } else {
            self.subscriber.resume();
            client.entry().expect_nothing();
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

fn leaving(client: &Client, server: &mut Server, leave: Leave) -> (End, String) {
    match leave {
        Leave::NoPublisher => {
            server.play_not_found("nobody publishes this stream");
            (End::Close(None), "nobody published the stream".to_owned())
        }
        Leave::Ended => {
            server.publisher_gone();
            (End::Close(None), "the stream ended".to_owned())
        }
        Leave::Stalled => {
            // Nothing gets through; the kernel's buffer goes with the connection.
            client.socket().abort_on_close();
            (End::Close(None), "the player took nothing for too long".to_owned())
        }
        Leave::PeerGone => (End::Close(None), "the connection closed".to_owned()),
    }
}
