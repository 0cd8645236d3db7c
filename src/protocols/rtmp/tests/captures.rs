//! What real clients sent, byte for byte from the wire, and what becomes of it in every cut.
//!
//! Recorded from loopback against a server that says yes to everything: handshake, commands, a few pictures of 32x32.

use super::*;

/// Name, bytes, and the story that they tell.
pub(super) const CAPTURES: [(&str, &str, &[&str]); 9] = [
    (
        "ffmpeg 5.1 publishes",
        include_str!("../testdata/ffmpeg-5.1-publish.hex"),
        &["connect live", "publish live/cam ?token=abc", "1 data", "20 media", "unpublish"],
    ),
    (
        "ffmpeg 9.0 publishes HEVC by FourCC",
        include_str!("../testdata/ffmpeg-9.0-hevc-publish.hex"),
        &["connect live", "publish live/hevc ?", "1 data", "5 media", "unpublish"],
    ),
    (
        "GStreamer 1.22 publishes",
        include_str!("../testdata/gstreamer-1.22-publish.hex"),
        &["connect live", "publish live/gst2 ?", "1 data", "6 media", "1 data", "1 media", "unpublish"],
    ),
    (
        "librtmp 2.4 publishes",
        include_str!("../testdata/librtmp-2.4-publish.hex"),
        &["connect live", "publish live/gst1 ?", "1 data", "6 media", "1 data", "1 media", "unpublish"],
    ),
    (
        "nginx-rtmp 1.2 pushes",
        include_str!("../testdata/nginx-rtmp-1.2-push.hex"),
        &["connect live", "publish live/ngx ?", "1 data", "16 media"],
    ),
    (
        "nginx-rtmp 1.2 pulls",
        include_str!("../testdata/nginx-rtmp-1.2-pull.hex"),
        &["connect live", "play live/pulled ?", "buffer 5000"],
    ),
    (
        "ffmpeg 5.1 plays",
        include_str!("../testdata/ffmpeg-5.1-play.hex"),
        &["connect live", "play live/cam ?", "buffer 3000"],
    ),
    (
        "rtmpdump 2.4 plays",
        include_str!("../testdata/rtmpdump-2.4-play.hex"),
        &["connect live", "buffer 300", "play live/cam ?", "buffer 36000000"],
    ),
    (
        "GStreamer 1.22 plays",
        include_str!("../testdata/gstreamer-1.22-play.hex"),
        &["connect live", "buffer 300", "play live/cam ?", "buffer 30000"],
    ),
];

/// A server that says yes, its notes, and the media it got.
struct Yes {
    server: Server,
    story: Vec<String>,
    media: Vec<Media>,
}

impl Yes {
    fn new() -> Self {
        Self { server: Server::new(ServerOptions::default()), story: Vec::new(), media: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.server.feed(bytes);
        while let Some(event) = self.server.poll().unwrap() {
            self.note(event);
        }
        self.server.take_output();
    }

    fn note(&mut self, event: Event) {
        let line = match &event {
            Event::Connect(connect) => format!("connect {}", connect.app),
            Event::Publish(request) => format!("publish {} ?{}", key(&event), request.url.params.as_str()),
            Event::Play(request) => format!("play {} ?{}", key(&event), request.url.params.as_str()),
            Event::BufferLength(millis) => format!("buffer {millis}"),
            Event::Unpublish => "unpublish".to_owned(),
            Event::Media(media) => {
                self.media.push(media.clone());
                let word = if media.kind == MediaKind::Data { " data" } else { " media" };
                let last = self.story.last_mut();
                let count = last.and_then(|last| last.strip_suffix(word)?.parse::<usize>().ok());
                if count.is_some() {
                    self.story.pop();
                }
                format!("{}{word}", count.unwrap_or(0) + 1)
            }
            other => format!("{other:?}"),
        };
        self.story.push(line);
        match event {
            Event::Connect(_) => self.server.accept_connect(),
            Event::Publish(_) => self.server.accept_publish(),
            Event::Play(_) => self.server.accept_play(),
            _ => {}
        }
    }
}

#[test]
fn captures_tell_their_story_however_they_are_cut() {
    for (name, text, story) in CAPTURES {
        let wire = hex(text);
        let mut whole = Yes::new();
        whole.feed(&wire);
        assert_eq!(whole.story, story, "{name}");
        for step in [1, 2, 3, 127, 1_460, 4_096] {
            let mut cut = Yes::new();
            wire.chunks(step).for_each(|piece| cut.feed(piece));
            assert_eq!((&cut.story, &cut.media), (&whole.story, &whole.media), "{name} by {step}");
        }
        // Behind the handshake, where commands are, at every byte; in the handshake and in media now and then.
        for at in
            (0..3_073).step_by(97).chain(3_073..3_600.min(wire.len())).chain((3_600..wire.len()).step_by(31))
        {
            let (head, tail) = wire.split_at(at);
            let mut cut = Yes::new();
            cut.feed(head);
            cut.feed(tail);
            assert_eq!((&cut.story, &cut.media), (&whole.story, &whole.media), "{name} cut at {at}");
        }
    }
}

#[test]
fn metadata_comes_without_the_servers_words_and_media_keeps_its_order() {
    let mut ffmpeg = Yes::new();
    ffmpeg.feed(&hex(CAPTURES[0].1));
    let metadata = amf0::decode_all(&ffmpeg.media[0].payload).unwrap();
    assert_eq!(metadata[0].as_str(), Some("onMetaData"));
    assert_eq!(metadata[1].get("width").and_then(Value::as_f64), Some(32.0));
    let video: Vec<u32> =
        ffmpeg.media.iter().filter(|m| m.kind == MediaKind::Video).map(|media| media.timestamp).collect();
    assert!(video.is_sorted(), "{video:?}");
    assert_eq!(ffmpeg.server.counters().media_dropped, 0);
    assert_eq!(ffmpeg.server.counters().bytes_received as usize, hex(CAPTURES[0].1).len());
}

#[test]
fn what_ffmpeg_9_can_encode_is_known_before_it_publishes() {
    let mut ffmpeg = Yes::new();
    ffmpeg.feed(&hex(CAPTURES[1].1));
    let connect = ffmpeg.server.connect();
    assert!(
        connect.is_enhanced() && connect.takes("hvc1") && connect.takes("av01") && !connect.takes("avc1")
    );
}

#[test]
fn a_machine_that_asks_travels_with_its_unread_input() {
    for (name, text, story) in CAPTURES {
        let wire = hex(text);
        let mut here = Yes::new();
        here.server.feed(&wire);
        while let Some(event) = here.server.poll().unwrap() {
            let asks = matches!(event, Event::Publish(_) | Event::Play(_));
            if !asks {
                here.note(event);
                continue;
            }
            assert_eq!(here.server.poll(), Ok(None), "what follows is held");
            // The host that owns the stream says yes, on its own thread.
            here = std::thread::spawn(move || {
                here.note(event);
                here.feed(&[]);
                here
            })
            .join()
            .unwrap();
        }
        assert_eq!(here.story, story, "{name}");
    }
}
