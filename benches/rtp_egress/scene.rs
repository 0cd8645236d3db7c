//! A stream with viewers: the engine as the server has it, without its shard.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use shardcast::{
    codecs::{h264, nal},
    net::trains::{self, Train, Way},
    protocols::rtp::srtp::Profile,
    sessions::rtp::{LineOptions, MuxOptions, RENDITION, RtpMux, Shared, Terms, Viewer, Wire, keys::Keys},
};
use shards::{
    media::{Codec, Frame, FrameKind, Shape, Timestamp, Track, TrackId},
    stream::{GopOptions, Party, Publisher, RingOptions, Stream, StreamOptions, Subscriber, Takeover},
};

/// Bytes of a keyframe and of the others: 2 Mbit/s at 25 pictures a second, one key in fifty.
const KEY: usize = 60_000;
const INTER: usize = 8_980;
/// Bytes of 20 ms of Opus at 64 kbit/s.
const SOUND: usize = 160;

/// Counts what leaves, and remembers the trains of one call.
struct Out {
    socket: UdpSocket,
    packets: Cell<u64>,
    trains: RefCell<Vec<Train>>,
    records: Cell<bool>,
}

impl Wire for Out {
    fn send(&self, way: &Way, contents: &[u8], trains: &[Train]) -> io::Result<usize> {
        let sent = trains::send(self.socket.as_fd(), way, contents, trains)?;
        let packets =
            trains.iter().take(sent).map(|train| train.bytes.div_ceil(train.segment) as u64).sum::<u64>();
        self.packets.set(self.packets.get() + packets);
        if self.records.get() {
            self.trains.borrow_mut().extend_from_slice(trains);
        }
        Ok(sent)
    }
}

/// What a step is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// 20 ms of the stream.
    Real,
}

/// See the module.
pub struct Scene {
    stream: Rc<Stream>,
    publisher: Publisher,
    _viewers: Vec<(Rc<Viewer>, Subscriber)>,
    out: Rc<Out>,
    step: i64,
    frame_trains: Vec<Train>,
}

impl Scene {
    /// `viewers` that all listen at `to`.
    pub fn new(profile: Profile, viewers: usize, to: SocketAddr) -> Result<Self> {
        let now = Instant::now();
        let stream = Stream::new("live/bench".parse()?, options(), now);
        let party = Party { id: Arc::from("bench"), protocol: "bench", peer: to, tc_url: Arc::from("") };
        let publisher = stream.publish(party)?;
        publisher.expect(Some(true), Some(true))?;
        let config = h264::build_config(
            &[&[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50]],
            &[&[0x68, 0xce, 0x3c, 0x80]],
        )
        .ok_or_else(|| anyhow!("parameter sets"))?;
        publisher.track(Track { id: TrackId::VIDEO, codec: Codec::H264, config, shape: Shape::Unknown })?;
        publisher.track(Track {
            id: TrackId::AUDIO,
            codec: Codec::Opus,
            config: Bytes::new(),
            shape: Shape::Unknown,
        })?;
        let out = Rc::new(Out {
            socket: UdpSocket::bind("127.0.0.1:0")?,
            packets: Cell::new(0),
            trains: RefCell::default(),
            records: Cell::new(false),
        });
        let shared = Shared::new(MuxOptions::default());
        let lines = [line(Codec::H264, 96, 1), line(Codec::Opus, 111, 3)];
        let viewers = (0..viewers).map(|n| {
            let material: Vec<u8> = (0..profile.material_len()).map(|at| (at + n) as u8).collect();
            let keys = Keys::new(profile, material, true);
            let terms = Terms { keys: &keys, lines: &lines, name: "bench" };
            let wire = Rc::clone(&out) as Rc<dyn Wire>;
            let viewer = Viewer::new(wire, Rc::clone(&shared), &terms, || fastrand::u32(..), || {}, now)?;
            viewer.set_way(Way { to, from: None, is_line: false });
            let mux = || Box::new(RtpMux::new(Rc::clone(&shared))) as _;
            let subscriber = stream.subscribe(RENDITION, mux, Rc::clone(&viewer) as _);
            Ok((viewer, subscriber))
        });
        let viewers = viewers.collect::<Result<Vec<_>>>()?;
        Ok(Self { stream, publisher, _viewers: viewers, out, step: 0, frame_trains: Vec::new() })
    }

    /// 20 ms pass; packets sent.
    pub fn step(&mut self, _: Step) -> u64 {
        let before = self.out.packets.get();
        let dts = Timestamp::from_millis(self.step * 20);
        let has_picture = self.step % 2 == 0;
        let is_key = self.step % 100 == 0;
        if has_picture {
            let (kind, len, head) =
                if is_key { (FrameKind::Key, KEY, 0x65) } else { (FrameKind::Inter, INTER, 0x41) };
            let mut unit = vec![self.step as u8; len];
            unit[0] = head;
            self.push(TrackId::VIDEO, dts, kind, nal::join(std::iter::once(&unit[..])));
        }
        self.push(TrackId::AUDIO, dts, FrameKind::Key, vec![1; SOUND].into());
        self.step += 1;
        // What a step with an ordinary picture sends to one viewer is what the floor sends.
        let viewers = self._viewers.len().max(1);
        let records = has_picture && !is_key && self.frame_trains.is_empty();
        self.out.records.set(records);
        let _ = self.publisher.flush();
        self.stream.begin_walk(Instant::now());
        while !self.stream.walk(&mut || false) {}
        if records {
            let mut trains = self.out.trains.take();
            trains.truncate(trains.len() / viewers);
            self.frame_trains = trains;
        }
        self.out.packets.get() - before
    }

    /// The trains that an ordinary picture and its sound make for one viewer.
    pub fn trains(&self) -> &[Train] {
        &self.frame_trains
    }

    fn push(&self, track: TrackId, dts: Timestamp, kind: FrameKind, payload: Bytes) {
        let _ = self.publisher.frame(Frame { track, dts, composition: Timestamp::ZERO, kind, payload });
    }
}

fn line(codec: Codec, payload_type: u8, ssrc: u32) -> LineOptions {
    LineOptions {
        codec,
        payload_type,
        ssrc,
        rtx: Some((payload_type + 1, ssrc + 1)),
        mid: Some((4, "0".to_owned())),
        transport: Some(3),
        playout_delay: Some(5),
    }
}

fn options() -> StreamOptions {
    StreamOptions {
        gop: GopOptions {
            enable: true,
            bytes_max: 16 << 20,
            frames_max: 10_000,
            duration_max: Timestamp::from_millis(30_000),
            audio_group: Timestamp::from_millis(2_000),
        },
        ring: RingOptions { bytes_max: 8 << 20, lag_max: Timestamp::from_millis(5_000) },
        batch_bytes_max: 64 << 10,
        coalesce: Duration::ZERO,
        jump_max: Timestamp::from_millis(5_000),
        takeover: Takeover::Refuse,
        wait: Duration::from_secs(10),
        grace: Duration::from_secs(10),
        stall: Duration::from_secs(10),
        transcoding: None,
    }
}
