//! A publisher of FLV over WebSocket: binary messages are one stream of bytes, whatever their boundaries.

use std::{rc::Rc, time::Instant};

use bytes::BytesMut;
use shards::{media::StreamKey, stream::Evicted};

use super::close;
use crate::{
    clients::{Kind, Said},
    net::connection::Closing,
    protocols::{
        flv::{Reader, ReaderOptions},
        ws::{Event, Machine, Options, Role},
    },
    sessions::{Client, Context, client::Heard, ingest::Ingest},
};

/// How a publisher ended: the close code and reason for its WebSocket, where one is to be sent.
struct Ended {
    code: Option<u16>,
    why: String,
}

impl Ended {
    fn with(code: u16, why: impl std::fmt::Display) -> Self {
        Self { code: Some(code), why: why.to_string() }
    }

    fn silent(why: impl std::fmt::Display) -> Self {
        Self { code: None, why: why.to_string() }
    }
}

impl From<Evicted> for Ended {
    fn from(evicted: Evicted) -> Self {
        Self::with(close::CONFLICT, evicted)
    }
}

/// Publishes `key`. The WebSocket has been agreed on; `input` is what has come behind the request.
pub async fn run(context: &Rc<Context>, client: Client, key: &StreamKey, said: Said, input: BytesMut) {
    let mut machine = Machine::new(Options {
        message_bytes_max: context.options.ws_message_bytes_max,
        // RTCPilot's own pages do not always mask.
        accept_unmasked: true,
        ..Options::new(Role::Server)
    });
    *machine.input() = input;
    let card = client.card(Kind::WsFlvPublish, key, said);
    let stream = context.shard.obtain(key);
    let ended = match stream.publish(card.party()) {
        Ok(publisher) => {
            tracing::info!(conn = %client.id(), stream = %key, peer = %client.entry().peer(), "publishes by WS-FLV");
            let _enrolled = context.roster.enroll(card, client.meter(None));
            client.entry().expect_within(context.options.first_frame_timeout);
            let start = Instant::now();
            let mut ingest = Ingest::new(client.id(), publisher);
            let ended = flow(context, &client, &mut machine, &mut ingest).await;
            tracing::info!(conn = %client.id(), stream = %key, seconds = start.elapsed().as_secs_f32(),
                frames = ingest.frames(), left_out = ingest.bad(), "stopped publishing: {}", ended.why);
            ended
        }
        Err(taken) => {
            tracing::warn!(conn = %client.id(), stream = %key, "refused to publish: {taken}");
            Ended::with(close::CONFLICT, taken)
        }
    };
    if let Some(code) = ended.code {
        machine.close(code, &ended.why);
    }
    client.farewell(&machine.take_output()).await;
}

async fn flow(context: &Rc<Context>, client: &Client, machine: &mut Machine, ingest: &mut Ingest) -> Ended {
    let mut reader = Reader::new(ReaderOptions { tag_bytes_max: context.options.tag_bytes_max });
    let mut flv = BytesMut::new();
    loop {
        let frames = ingest.frames();
        loop {
            match machine.poll() {
                Ok(None) => break,
                Ok(Some(Event::Binary(bytes))) => {
                    flv.extend_from_slice(&bytes);
                    if let Err(ended) = take_tags(&mut reader, &mut flv, ingest) {
                        return ended;
                    }
                }
                Ok(Some(Event::Text(_))) => {
                    return Ended::with(close::UNSUPPORTED, "FLV comes in binary messages, not as text");
                }
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
                Ok(Some(Event::Close { .. })) => return Ended::silent("the publisher closed its WebSocket"),
                // The machine has written the close frame.
                Err(error) => {
                    client.entry().note_fault();
                    tracing::warn!(conn = %client.id(), "WebSocket: {error}");
                    return Ended::silent(error);
                }
            }
        }
        if let Err(evicted) = ingest.flush() {
            return evicted.into();
        }
        if ingest.frames() > frames {
            client.entry().expect_within(context.options.silence_timeout);
        }
        if let Err(gone) = client.send(&machine.take_output()).await {
            return Ended::silent(gone);
        }
        match client.hear(ingest.publisher(), machine.input()).await {
            Heard::Bytes(Ok(read)) if read > 0 => {}
            Heard::Bytes(Ok(_)) => return Ended::silent("the connection closed"),
            Heard::Bytes(Err(error)) => return Ended::silent(error),
            Heard::Evicted(evicted) => return evicted.into(),
            Heard::Closing(closing @ Closing::Shutdown) => return Ended::with(close::GOING_AWAY, closing),
            Heard::Closing(closing) => return Ended::with(close::POLICY, closing),
        }
    }
}

fn take_tags(reader: &mut Reader, flv: &mut BytesMut, ingest: &mut Ingest) -> Result<(), Ended> {
    loop {
        match reader.read(flv) {
            Ok(Some(tag)) => ingest.tag(tag.kind, tag.timestamp, tag.body)?,
            Ok(None) => return Ok(()),
            Err(error) => return Err(Ended::with(close::UNSUPPORTED, error)),
        }
    }
}
