//! The demo against a server of one thread: does it arrive, in time, and come back?

use std::{net::TcpListener, thread};

use shards::media::{FrameKind, TrackId};

use super::*;
use crate::demo::Demo;
use crate::protocols::{
    flv::{Demux, Item, TagType},
    rtmp::{Event, Reject, Server, ServerOptions},
};

/// What one connection brought.
#[derive(Default)]
struct Visit {
    key: String,
    tracks: Vec<Track>,
    /// With the time since the visit began.
    frames: Vec<(Duration, Frame)>,
    metadata: usize,
    unpublished: bool,
}

impl Visit {
    fn of(&self, id: TrackId) -> impl Iterator<Item = &(Duration, Frame)> {
        self.frames.iter().filter(move |(_, frame)| frame.track == id)
    }
}

/// Serves one publisher until it goes, or for `time`.
fn serve(listener: &TcpListener, admit: bool, time: Duration) -> Visit {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let begin = Instant::now();
    let (mut server, mut demux, mut items) =
        (Server::new(ServerOptions::default()), Demux::new(), Vec::new());
    let mut visit = Visit::default();
    let mut buffer = vec![0; 65_536];
    while begin.elapsed() < time {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => server.feed(&buffer[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        while let Some(event) = server.poll().unwrap() {
            match event {
                Event::Connect(_) => server.accept_connect(),
                Event::Publish(request) => {
                    visit.key = request.url.key.unwrap().to_string();
                    match admit {
                        true => server.accept_publish(),
                        false => server.reject_publish(&Reject::publish_denied("not today")),
                    }
                }
                Event::Media(media) => {
                    let kind = match media.kind {
                        MediaKind::Audio => TagType::Audio,
                        MediaKind::Video => TagType::Video,
                        MediaKind::Data => TagType::Script,
                    };
                    demux.tag(kind, media.timestamp, media.payload, &mut items).unwrap();
                }
                Event::Unpublish => visit.unpublished = true,
                _ => {}
            }
        }
        socket.write_all(&server.take_output()).unwrap();
        for item in items.drain(..) {
            match item {
                Item::Track(track) => visit.tracks.push(track),
                Item::Frame(frame) => visit.frames.push((begin.elapsed(), frame)),
                Item::Metadata(_) => visit.metadata += 1,
            }
        }
    }
    visit
}

fn start() -> (TcpListener, Demo) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let demo = Demo::start(Options { server, ..Options::local(1) }).unwrap();
    (listener, demo)
}

#[test]
fn a_server_gets_the_whole_stream_in_time() {
    let (listener, demo) = start();
    let server = thread::spawn(move || serve(&listener, true, Duration::from_secs(20)));
    thread::sleep(Duration::from_millis(2_500));
    let stopping = Instant::now();
    demo.stop();
    assert!(stopping.elapsed() < Duration::from_millis(500), "stopped after {:?}", stopping.elapsed());

    let visit = server.join().unwrap();
    assert_eq!((visit.key.as_str(), visit.metadata, visit.unpublished), ("live/demo", 1, true));
    let [video, audio] = &visit.tracks[..] else { panic!("two tracks, not {:?}", visit.tracks) };
    assert_eq!((video.id, audio.id), (TrackId::VIDEO, TrackId::AUDIO));

    let (first_at, first) = &visit.frames[0];
    // A third of this on an idle machine; tests share theirs.
    assert!(*first_at < Duration::from_millis(900), "the first frame came after {first_at:?}");
    assert_eq!((first.track, first.kind, first.dts), (TrackId::VIDEO, FrameKind::Key, Timestamp::ZERO));
    assert!(visit.frames.windows(2).all(|pair| pair[0].1.dts <= pair[1].1.dts), "time only grows");
    for id in [TrackId::VIDEO, TrackId::AUDIO] {
        let (at, last) = visit.of(id).last().unwrap();
        let late = at.as_millis() as i64 - first_at.as_millis() as i64 - last.dts.millis();
        assert!((-600..600).contains(&late), "{id} runs {late} ms behind the clock");
    }
    assert!(visit.of(TrackId::VIDEO).count() > 45);
    assert!(visit.of(TrackId::AUDIO).count() > 70);
}

#[test]
fn a_server_that_goes_or_refuses_is_tried_again() {
    let (listener, demo) = start();
    let gone = serve(&listener, true, Duration::from_millis(400));
    assert!(!gone.frames.is_empty());
    let refused = serve(&listener, false, Duration::from_secs(5));
    assert!(refused.frames.is_empty() && refused.key == "live/demo");
    let again = serve(&listener, true, Duration::from_millis(400));
    assert_eq!(again.frames[0].1.dts, Timestamp::ZERO, "a new stream begins at zero, with a keyframe");
    assert!(again.frames[0].1.is_video_key());
    drop(demo);
}

#[test]
fn it_ends_at_once_wherever_it_waits() {
    // Nobody listens: it waits for its next try.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let absent = Demo::start(Options { server: nobody, ..Options::local(1) }).unwrap();
    // Somebody listens and is silent: it waits for an answer.
    let (_listener, silent) = start();
    thread::sleep(Duration::from_millis(100));
    let stopping = Instant::now();
    absent.stop();
    silent.stop();
    assert!(stopping.elapsed() < Duration::from_millis(200), "stopped after {:?}", stopping.elapsed());
}

#[test]
fn the_wall_clock_is_read_on_a_tick() {
    let (tick, since) = wall_tick(30);
    assert!(since <= Duration::from_micros(33_334), "{since:?}");
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!((unix.as_millis() as i64 - tick.count * 1_000 / 30) < 1_000);
}
