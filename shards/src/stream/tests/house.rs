//! What the stories are made of: a wire form of words, sinks that obey, and a stream with its pump and clock.
//!
//! The form: `<pre …>` tells the tracks, `<head …>` the parameter sets, a batch is `{…}` and holds `<V 40 x>` (a keyframe at
//! 40 ms), `<v 80 x>`, `<a 20 x>`, `<d 20 x>`, `<track video0 B>` and `<meta m>` (`-` for none). A session's own words are `[…]`.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    media::{Codec, Frame, FrameKind, Metadata, Shape, Timestamp, Track, TrackId, TrackKind},
    stream::{
        GopOptions, Leave, Mux, Party, PublishError, Publisher, Ring, RingOptions, Scene, Sink, Stream,
        StreamOptions, Subscriber, Takeover,
    },
};

/// The wire form of the stories; see the module.
#[derive(Default)]
pub struct Words {
    /// Sound alone goes into it.
    pub blind: bool,
    /// Main sound must be in this codec.
    pub needs: Option<Codec>,
    /// Keeps all frames that it was given.
    pub log: Option<Rc<RefCell<String>>>,
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("stories are written in ASCII")
}

fn describe(scene: &Scene) -> String {
    let mut words: Vec<String> =
        scene.tracks().iter().map(|track| format!("{}={}", track.id, text(&track.config))).collect();
    words.extend(scene.metadata().map(|Metadata(bytes)| format!("meta={}", text(bytes))));
    words.join(" ")
}

impl Mux for Words {
    fn sound_for(&self, source: Codec) -> Codec {
        self.needs.unwrap_or(source)
    }

    fn preamble(&mut self, scene: &Scene) -> Bytes {
        let tracks: Vec<String> = scene.tracks().iter().map(|track| track.id.to_string()).collect();
        format!("<pre {}>", tracks.join(" ")).into()
    }

    fn headers(&mut self, scene: &Scene, _at: Timestamp) -> Bytes {
        format!("<head {}>", describe(scene)).into()
    }

    fn begin(&mut self, out: &mut BytesMut) {
        assert!(out.is_empty(), "a batch begins in an empty buffer");
        out.put_u8(b'{');
    }

    fn track(&mut self, track: &Track, _at: Timestamp, out: &mut BytesMut) {
        out.put_slice(format!("<track {} {}>", track.id, text(&track.config)).as_bytes());
    }

    fn metadata(&mut self, scene: &Scene, _at: Timestamp, out: &mut BytesMut) {
        let meta = scene.metadata().map_or("-", |Metadata(bytes)| text(bytes));
        out.put_slice(format!("<meta {meta}>").as_bytes());
    }

    fn frame(&mut self, track: &Track, frame: &Frame, out: &mut BytesMut) {
        let letter = match (frame.track.kind, frame.kind) {
            (TrackKind::Video, _) if self.blind => return,
            (TrackKind::Video, FrameKind::Key) => 'V',
            (TrackKind::Video, _) => 'v',
            (TrackKind::Audio, _) => 'a',
            (TrackKind::Data, _) => 'd',
        };
        let letter = if track.codec == Codec::Opus { 'o' } else { letter };
        let unit = format!("<{letter} {} {}>", frame.dts.millis(), text(&frame.payload));
        out.put_slice(unit.as_bytes());
        if let Some(log) = &self.log {
            log.borrow_mut().push_str(&unit);
        }
    }

    fn seal(&mut self, out: &mut BytesMut) -> Bytes {
        if out.len() == 1 {
            out.clear();
            return Bytes::new();
        }
        out.put_u8(b'}');
        out.split().freeze()
    }
}

/// A way out that takes what it is told to take.
pub struct Gate {
    pub taken: RefCell<Vec<u8>>,
    /// Bytes it takes before it is full.
    pub room: Cell<usize>,
    /// Bytes it takes in one call.
    pub bite: Cell<usize>,
    pub gone: Cell<bool>,
    pub calls: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Gate {
    fn take<'a>(&self, slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        self.calls.set(self.calls.get() + 1);
        if self.gone.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let most = self.room.get().min(self.bite.get());
        let mut left = most;
        for slice in slices {
            assert!(!slice.is_empty(), "nothing is offered");
            let part = &slice[..left.min(slice.len())];
            self.taken.borrow_mut().extend_from_slice(part);
            left -= part.len();
        }
        let sent = most - left;
        if self.room.get() != usize::MAX {
            self.room.set(self.room.get() - sent);
        }
        if sent == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent) }
    }

    /// Room for `bytes` more.
    pub fn open(&self, bytes: usize) {
        self.room.set(self.room.get().saturating_add(bytes));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    pub fn shut(&self) {
        self.room.set(0);
    }
}

impl Sink for Gate {
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        assert!(!slices.is_empty(), "a call without bytes");
        self.take(slices.iter().map(|slice| &**slice))
    }

    fn poll_send(&self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        match self.take(std::iter::once(head)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *self.waiting.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
pub struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A player's session: polled at first and whenever it is woken.
pub struct Player {
    pub sub: Subscriber,
    pub gate: Rc<Gate>,
    pub bell: Arc<Bell>,
    pub left: Option<Leave>,
    seen: Cell<usize>,
}

impl Player {
    /// Runs its task if it was woken.
    pub fn run(&mut self) {
        while self.left.is_none() && self.bell.take() > 0 {
            self.poll();
        }
    }

    pub fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.bell));
        if let Poll::Ready(leave) = self.sub.poll(&mut Context::from_waker(&waker)) {
            self.left = Some(leave);
        }
    }

    /// All that it has got.
    pub fn all(&self) -> String {
        text(&self.gate.taken.borrow()).to_owned()
    }

    /// What it got since the last time of asking.
    pub fn news(&self) -> String {
        let all = self.all();
        all[self.seen.replace(all.len())..].to_owned()
    }
}

/// A stream, its pump, and its clock.
pub struct House {
    pub stream: Rc<Stream>,
    pub now: Instant,
    bell: Arc<Bell>,
}

pub const WORDS: &str = "words";

pub fn options() -> StreamOptions {
    StreamOptions {
        gop: GopOptions {
            enable: true,
            bytes_max: 100_000,
            frames_max: 1_000,
            duration_max: Timestamp::from_millis(30_000),
            audio_group: Timestamp::from_millis(1_000),
        },
        ring: RingOptions { bytes_max: 20_000, lag_max: Timestamp::from_millis(5_000) },
        batch_bytes_max: 10_000,
        coalesce: Duration::ZERO,
        jump_max: Timestamp::from_millis(3_000),
        takeover: Takeover::Refuse,
        wait: Duration::from_secs(10),
        grace: Duration::from_secs(5),
        stall: Duration::from_secs(3),
        transcoding: None,
    }
}

pub fn house() -> House {
    house_with(|_| ())
}

pub fn house_with(adjust: impl FnOnce(&mut StreamOptions)) -> House {
    let mut options = options();
    adjust(&mut options);
    let now = Instant::now();
    let stream = Stream::new("live/story".parse().expect("a key"), options, now);
    House { stream, now, bell: Arc::default() }
}

impl House {
    /// A mirror of its stream, with a clock and a pump of its own.
    pub fn mirror(&self) -> Self {
        let options = self.stream.inner.borrow().options();
        let stream = Stream::mirror(self.stream.key().clone(), options, self.now);
        Self { stream, now: self.now, bell: Arc::default() }
    }

    /// A player joins and its task runs for the first time.
    pub fn join(&self) -> Player {
        self.join_with(usize::MAX, usize::MAX)
    }

    pub fn join_with(&self, room: usize, bite: usize) -> Player {
        self.join_rendition(WORDS, room, bite)
    }

    /// In a form that has no pictures.
    pub fn join_blind(&self) -> Player {
        self.join_mux("blind", Words { blind: true, ..Words::default() }, usize::MAX, usize::MAX)
    }

    /// In a form that carries no sound but Opus.
    pub fn join_opus(&self, kind: &'static str) -> Player {
        let mux = Words { needs: Some(Codec::Opus), ..Words::default() };
        self.join_mux(kind, mux, usize::MAX, usize::MAX)
    }

    pub fn join_rendition(&self, kind: &'static str, room: usize, bite: usize) -> Player {
        self.join_mux(kind, Words::default(), room, bite)
    }

    /// In a form whose frames are kept in what comes back besides.
    pub fn join_logged(&self) -> (Player, Rc<RefCell<String>>) {
        let log = Rc::<RefCell<String>>::default();
        let mux = Words { log: Some(Rc::clone(&log)), ..Words::default() };
        (self.join_mux("logged", mux, usize::MAX, usize::MAX), log)
    }

    fn join_mux(&self, kind: &'static str, mux: Words, room: usize, bite: usize) -> Player {
        let gate = Rc::new(Gate {
            taken: RefCell::default(),
            room: Cell::new(room),
            bite: Cell::new(bite),
            gone: Cell::new(false),
            calls: Cell::new(0),
            waiting: RefCell::default(),
        });
        let sink: Rc<dyn Sink> = Rc::clone(&gate) as Rc<dyn Sink>;
        let sub = self.stream.subscribe(kind, || Box::new(mux), sink);
        let mut player = Player { sub, gate, bell: Arc::default(), left: None, seen: Cell::new(0) };
        player.poll();
        player
    }

    pub fn publish(&self) -> Publisher {
        self.try_publish("p").expect("the seat is free")
    }

    pub fn try_publish(&self, id: &str) -> Result<Publisher, PublishError> {
        self.stream.publish(party(id))
    }

    /// A publisher of sound and pictures whose tracks are known.
    pub fn publish_av(&self) -> Publisher {
        let publisher = self.publish();
        publisher.track(video_track("A")).expect("seated");
        publisher.track(audio_track("S")).expect("seated");
        publisher
    }

    /// What the pump does, if it has something to do.
    pub fn pump(&self) {
        while self.is_dirty() {
            while !self.stream.make_sound(&mut || true) {}
            self.stream.begin_walk(self.now);
            while !self.stream.walk(&mut || true) {}
        }
    }

    pub fn is_dirty(&self) -> bool {
        let waker = Waker::from(Arc::clone(&self.bell));
        self.stream.poll_dirty(&mut Context::from_waker(&waker)) == Poll::Ready(true)
    }

    pub fn is_urgent(&self) -> bool {
        let waker = Waker::from(Arc::clone(&self.bell));
        self.stream.poll_urgent(&mut Context::from_waker(&waker)).is_ready()
    }

    /// Bytes in a rendition's log.
    pub fn ring_bytes(&self, kind: &'static str) -> usize {
        self.stream.inner.borrow().ring(kind).map_or(0, Ring::bytes)
    }

    /// Batches in a rendition's log.
    pub fn ring_batches(&self, kind: &'static str) -> usize {
        self.stream.inner.borrow().ring(kind).map_or(0, Ring::len)
    }

    /// `millis` pass, in ticks of 100 ms or less.
    pub fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.now = (self.now + Duration::from_millis(100)).min(end);
            self.stream.tick(self.now);
            self.pump();
        }
    }
}

pub fn party(id: &str) -> Party {
    Party { id: id.into(), protocol: "story", peer: ([127, 0, 0, 1], 1).into(), tc_url: "".into() }
}

pub fn video_track(config: &str) -> Track {
    track(TrackId::VIDEO, Codec::H264, config)
}

pub fn audio_track(config: &str) -> Track {
    track(TrackId::AUDIO, Codec::Aac, config)
}

fn track(id: TrackId, codec: Codec, config: &str) -> Track {
    Track { id, codec, config: config.to_owned().into(), shape: Shape::Unknown }
}

pub fn metadata(words: &str) -> Metadata {
    Metadata(words.to_owned().into())
}

pub fn frame(track: TrackId, kind: FrameKind, millis: i64, payload: &str) -> Frame {
    Frame {
        track,
        dts: Timestamp::from_millis(millis),
        composition: Timestamp::ZERO,
        kind,
        payload: payload.to_owned().into(),
    }
}

/// Short ways to push one frame and flush it.
pub trait Pushes {
    fn push(&self, track: TrackId, kind: FrameKind, millis: i64, payload: &str);

    fn key(&self, millis: i64) {
        self.push(TrackId::VIDEO, FrameKind::Key, millis, "x");
    }

    fn inter(&self, millis: i64) {
        self.push(TrackId::VIDEO, FrameKind::Inter, millis, "x");
    }

    fn sound(&self, millis: i64) {
        self.push(TrackId::AUDIO, FrameKind::Key, millis, "x");
    }
}

impl Pushes for Publisher {
    fn push(&self, track: TrackId, kind: FrameKind, millis: i64, payload: &str) {
        self.frame(frame(track, kind, millis, payload)).expect("seated");
        self.flush().expect("seated");
    }
}
