//! Our client against our server, over a pipe that cuts as it likes.

use super::*;
use bytes::Bytes;
use handshake::Style;

/// Both ends, what each said, and the media that the server's host has for a player.
struct Pair {
    client: Client,
    server: Server,
    /// Bytes that pass in one go.
    step: usize,
    events: Vec<Event>,
    client_events: Vec<ClientEvent>,
}

impl Pair {
    fn new(url: &str, role: Role, step: usize) -> Self {
        let mut client = Client::from_url(url, role).unwrap();
        client.start();
        let server = Server::new(ServerOptions::default());
        Self { client, server, step, events: Vec::new(), client_events: Vec::new() }
    }

    /// Until nobody has anything to say. Everything is allowed.
    fn run(&mut self) {
        loop {
            let (up, down) = (self.client.take_output(), self.server.take_output());
            if up.is_empty() && down.is_empty() {
                return;
            }
            for piece in up.chunks(self.step) {
                self.server.feed(piece);
                self.poll_server();
            }
            for piece in down.chunks(self.step) {
                self.client.feed(piece);
                self.poll_client();
            }
        }
    }

    fn poll_server(&mut self) {
        while let Some(event) = self.server.poll().unwrap() {
            match &event {
                Event::Connect(_) => self.server.accept_connect(),
                Event::Publish(_) => self.server.accept_publish(),
                Event::Play(_) => self.server.accept_play(),
                _ => {}
            }
            self.events.push(event);
        }
    }

    fn poll_client(&mut self) {
        while let Some(event) = self.client.poll().unwrap() {
            self.client_events.push(event);
        }
    }

    fn media(&self) -> Vec<Media> {
        let media = self.events.iter().filter_map(|event| match event {
            Event::Media(media) => Some(media.clone()),
            _ => None,
        });
        media.collect()
    }
}

fn sample() -> Vec<Media> {
    let media = |kind, timestamp, payload: Vec<u8>| Media { kind, timestamp, payload: payload.into() };
    vec![
        media(MediaKind::Audio, 0, vec![0xAF, 0, 0x12, 0x10]),
        media(MediaKind::Video, 0, vec![0x17; 150_000]),
        media(MediaKind::Data, 16, amf0::encode_all(&["onTextData".into(), Value::Null]).to_vec()),
        media(MediaKind::Audio, 0xFF_FFFF, vec![0xAF, 1, 2]),
        media(MediaKind::Video, u32::MAX, vec![0x27; 60_001]),
        media(MediaKind::Video, 3, vec![0x27]),
    ]
}

#[test]
fn what_is_published_arrives_in_every_cut() {
    for step in [1, 7, 1_460, usize::MAX] {
        let mut pair = Pair::new("rtmp://h.example/live/cam?token=1", Role::Publish, step);
        pair.run();
        assert_eq!(pair.client_events, [ClientEvent::Ready], "by {step}");
        assert!(pair.client.is_ready() && pair.server.is_publishing());
        assert!(pair.server.connect().takes("av01"));
        assert_eq!(key(pair.events.last().unwrap()), "live/cam");
        sample().iter().for_each(|media| pair.client.send(media));
        pair.client.metadata(&Value::EcmaArray(vec![("width".into(), 16.0.into())]));
        pair.run();
        let mut media = pair.media();
        let metadata = media.pop().unwrap();
        assert_eq!(media, sample(), "by {step}");
        assert_eq!(amf0::decode_all(&metadata.payload).unwrap()[0].as_str(), Some("onMetaData"));
    }
}

#[test]
fn what_a_host_muxes_is_played_in_every_cut() {
    for step in [1, 7, 1_460, usize::MAX] {
        let mut pair = Pair::new("rtmp://h.example/a/b/cam", Role::Play, step);
        pair.run();
        assert!(pair.server.is_playing());
        assert_eq!(key(pair.events.iter().find(|event| matches!(event, Event::Play(_))).unwrap()), "a/b/cam");
        let mut out = BytesMut::new();
        for media in sample() {
            let (head, tail) = media.payload.split_at(1);
            mux_media(&mut out, media.kind, media.timestamp, &[head, tail], 60_000);
        }
        pair.server.sent(out.len() as u64);
        for piece in out.chunks(step) {
            pair.client.feed(piece);
            pair.poll_client();
        }
        let mut told = std::mem::take(&mut pair.client_events).into_iter();
        let codes: Vec<String> = told
            .by_ref()
            .take(3)
            .map(|event| match event {
                ClientEvent::Status(status) => status.code,
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(codes, ["NetStream.Play.Reset", "Ready", "NetStream.Data.Start"]);
        let media: Vec<ClientEvent> = sample().into_iter().map(ClientEvent::Media).collect();
        assert_eq!(told.collect::<Vec<_>>(), media, "by {step}");
    }
}

#[test]
fn both_styles_of_handshake_lead_to_a_stream() {
    for style in [Style::Complex, Style::Simple] {
        let url = "rtmp://h/live/cam".parse().unwrap();
        let mut client = Client::new(ClientOptions { style, ..ClientOptions::new(&url, Role::Publish) });
        client.start();
        let mut pair = Pair { client, ..Pair::new("rtmp://h/live/cam", Role::Publish, usize::MAX) };
        pair.run();
        assert!(pair.client.is_ready(), "{style:?}");
    }
}

#[test]
fn one_connection_publishes_again_and_plays_afterwards() {
    let mut pair = Pair::new("rtmp://h/live/a", Role::Publish, usize::MAX);
    pair.run();
    for (role, stream) in [(Role::Publish, "b"), (Role::Play, "c"), (Role::Publish, "a")] {
        pair.client.unpublish();
        pair.run();
        assert!(matches!(pair.events.last(), Some(Event::Unpublish | Event::StopPlay)));
        pair.client.open(role, stream);
        pair.run();
        assert!(pair.client.is_ready(), "{stream}");
        let asked = pair.events.iter().rfind(|event| matches!(event, Event::Publish(_) | Event::Play(_)));
        assert_eq!(key(asked.unwrap()), format!("live/{stream}"));
        assert_eq!(pair.server.is_playing(), role == Role::Play);
    }
}

#[test]
fn a_player_pauses_and_goes_on() {
    let mut pair = Pair::new("rtmp://h/live/cam", Role::Play, usize::MAX);
    pair.run();
    pair.client.pause(true, 40.0);
    pair.run();
    pair.client.pause(false, 40.0);
    pair.run();
    let paused = |paused| Event::Pause { paused, at_ms: 40.0 };
    assert!(pair.events.contains(&paused(true)) && pair.events.contains(&paused(false)));
    let codes: Vec<&str> = pair
        .client_events
        .iter()
        .filter_map(
            |event| if let ClientEvent::Status(status) = event { Some(status.code.as_str()) } else { None },
        )
        .collect();
    assert!(codes.ends_with(&["NetStream.Pause.Notify", "NetStream.Unpause.Notify"]), "{codes:?}");
}

/// What the client was told last, with the server's answers left to `answer`.
fn refused(role: Role, answer: impl Fn(&mut Server, &Event)) -> Status {
    let mut pair = Pair::new("rtmp://h/live/cam", role, usize::MAX);
    for _ in 0..8 {
        pair.server.feed(&pair.client.take_output());
        while let Some(event) = pair.server.poll().unwrap() {
            answer(&mut pair.server, &event);
        }
        pair.client.feed(&pair.server.take_output());
        pair.poll_client();
    }
    assert!(pair.client.is_closed());
    match pair.client_events.pop() {
        Some(ClientEvent::Closed(status)) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_learns_why_it_was_refused() {
    let status = refused(Role::Publish, |server, _| server.reject_connect("not today"));
    assert_eq!(
        (status.code.as_str(), status.description.as_str()),
        ("NetConnection.Connect.Rejected", "not today")
    );
    let status = refused(Role::Publish, |server, event| match event {
        Event::Connect(_) => server.accept_connect(),
        _ => server.reject_publish(&Reject::bad_name("live/cam is being published")),
    });
    assert_eq!(status.description, "live/cam is being published");
    let status = refused(Role::Play, |server, event| match event {
        Event::Connect(_) => server.accept_connect(),
        _ => server.reject_play(&Reject::not_found("no live/cam")),
    });
    assert_eq!(status.code, "NetStream.Play.StreamNotFound");
    let status = refused(Role::Play, |server, event| match event {
        Event::Connect(_) => server.accept_connect(),
        _ => {
            server.accept_play();
            server.close(&Farewell::ShuttingDown);
        }
    });
    assert_eq!(status.code, "NetConnection.Connect.Closed");
}

#[test]
fn both_sides_confirm_what_they_received_and_answer_pings() {
    let mut pair = Pair::new("rtmp://h/live/cam", Role::Publish, 50_000);
    pair.run();
    let frame = vec![0x27; 1_000_000];
    for timestamp in 0..5 {
        pair.client.write_media(MediaKind::Video, timestamp, &[&frame]);
    }
    pair.server.ping(4_711);
    pair.client.ping(1);
    pair.run();
    assert!(pair.client.unconfirmed() < 2_500_000, "{}", pair.client.unconfirmed());
    assert_eq!(pair.events.last(), Some(&Event::Pong(4_711)));
    assert_eq!(pair.server.counters().bytes_received, pair.client.counters().bytes_sent);
}

#[test]
fn a_server_that_creates_no_stream_is_an_error() {
    let mut pair = Pair::new("rtmp://h/live/cam", Role::Play, usize::MAX);
    pair.server.feed(&pair.client.take_output());
    pair.poll_server();
    pair.client.feed(&pair.server.take_output());
    pair.poll_client();
    pair.server.feed(&pair.client.take_output());
    pair.poll_server();
    pair.client.feed(&pair.server.take_output());
    pair.poll_client();
    let mut out = BytesMut::new();
    let mut writer = CommandWriter { out: &mut out, chunk_size: 60_000 };
    writer.result(2.0, Value::Null, "one".into());
    pair.client.feed(&out);
    assert_eq!(pair.client.poll(), Err(Error::NoStream));
    assert!(pair.client.is_closed());
}

#[test]
fn a_client_says_nothing_before_it_may() {
    let mut client = Client::from_url("rtmp://h/live/cam", Role::Publish).unwrap();
    client.write_media(MediaKind::Video, 0, &[b"early"]);
    client.ping(1);
    client.pause(true, 0.0);
    client.unpublish();
    assert!(!client.has_output());
    client.start();
    let hello = client.take_output();
    client.start();
    assert_eq!((hello.len(), client.take_output()), (1_537, Bytes::new()));
    assert!(Client::from_url("http://h/live/cam", Role::Play).is_err());
}
