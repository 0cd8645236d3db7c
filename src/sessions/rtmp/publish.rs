//! An RTMP publisher: messages in, frames to the stream.

use std::{rc::Rc, time::Instant};

use shards::{
    media::StreamKey,
    stream::{Evicted, PublishError},
};

use super::{End, farewell, said};
use crate::{
    clients::Kind,
    protocols::{
        flv::TagType,
        rtmp::{Event, Farewell, MediaKind, PublishRequest, Reject, Server},
    },
    sessions::{Client, Context, client::Heard, ingest::Ingest},
};

/// Publishes `key` until the publisher stops or has to.
pub async fn run(
    context: &Rc<Context>,
    client: &Client,
    server: &mut Server,
    request: PublishRequest,
    key: &StreamKey,
) -> End {
    let kind = if request.encoder { Kind::RtmpEncoder } else { Kind::RtmpFlash };
    let card = client.card(kind, key, said(server, &request.url));
    let stream = context.shard.obtain(key);
    let publisher = match stream.publish(card.party()) {
        Ok(publisher) => publisher,
        Err(taken @ PublishError::Taken(_)) => {
            tracing::warn!(conn = %client.id(), stream = %key, "refused to publish: {taken}");
            server.reject_publish(&Reject::bad_name(taken.to_string()));
            return End::close(None);
        }
    };
    server.accept_publish();
    tracing::info!(conn = %client.id(), stream = %key, peer = %client.entry().peer(),
        encoder = %server.connect().flash_ver, "publishes by RTMP{}",
        if request.url.params.is_empty() { "" } else { " (with parameters)" });
    let _enrolled = context.roster.enroll(card, client.meter(None));
    client.entry().expect_within(context.options.first_frame_timeout);
    let start = Instant::now();
    let mut ingest = Ingest::new(client.id(), publisher);
    let (end, why) = flow(context, client, server, &mut ingest).await;
    tracing::info!(conn = %client.id(), stream = %key, seconds = start.elapsed().as_secs_f32(),
        frames = ingest.frames(), left_out = ingest.bad(), bytes = server.counters().bytes_received,
        "stopped publishing: {why}");
    end
}

async fn flow(
    context: &Rc<Context>,
    client: &Client,
    server: &mut Server,
    ingest: &mut Ingest,
) -> (End, String) {
    loop {
        let frames = ingest.frames();
        loop {
            match server.poll() {
                Ok(None) => break,
                Ok(Some(Event::Media(media))) => {
                    let kind = match media.kind {
                        MediaKind::Audio => TagType::Audio,
                        MediaKind::Video => TagType::Video,
                        MediaKind::Data => TagType::Script,
                    };
                    if let Err(evicted) = ingest.tag(kind, media.timestamp, media.payload) {
                        return replaced(evicted);
                    }
                }
                Ok(Some(Event::Unpublish)) => return (End::Idle, "the publisher said so".to_owned()),
                // Nothing else means anything to a publisher; the machine has answered.
                Ok(Some(_)) => {}
                Err(error) => {
                    let why = error.to_string();
                    client.entry().note_fault();
                    tracing::warn!(conn = %client.id(), "RTMP: {why}");
                    return (End::close(Some(Farewell::Kicked(why.clone()))), why);
                }
            }
        }
        if let Err(evicted) = ingest.flush() {
            return replaced(evicted);
        }
        if ingest.frames() > frames {
            client.entry().expect_within(context.options.silence_timeout);
        }
        if server.has_output()
            && let Err(gone) = client.send(&server.take_output()).await
        {
            return (End::Gone, gone.to_string());
        }
        match client.hear(ingest.publisher(), server.input()).await {
            Heard::Bytes(Ok(read)) if read > 0 => {}
            Heard::Bytes(Ok(_)) => return (End::Gone, "the connection closed".to_owned()),
            Heard::Bytes(Err(error)) => return (End::Gone, error.to_string()),
            Heard::Evicted(evicted) => return replaced(evicted),
            Heard::Closing(closing) => return (End::close(Some(farewell(closing))), closing.to_string()),
        }
    }
}

fn replaced(evicted: Evicted) -> (End, String) {
    (End::close(Some(Farewell::Replaced)), evicted.to_string())
}
