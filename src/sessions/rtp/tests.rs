//! Stories of viewers: real streams and real keys, and a wire that keeps what it is given.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use shards::{
    media::{Codec, Frame, FrameKind, Shape, Timestamp, Track, TrackId, TrackKind},
    stream::{
        GopOptions, Mux, Party, Publisher, RingOptions, Scene, Stream, StreamOptions, Subscriber, Takeover,
    },
};

use super::{
    LineOptions, MuxOptions, RENDITION, RtpMux, Shared, Terms, Viewer, Wire,
    keys::Keys,
    unit::{self, flag},
};
use crate::{
    codecs::{h264, nal},
    net::trains::{Train, Way},
    protocols::rtp::{
        header::Header,
        rtcp::{self, Packet},
        rtx,
        srtp::{Opener, Profile, Sealer},
    },
};

const PROFILE: Profile = Profile::Aes128Gcm;
const VIDEO: u32 = 10;
const VIDEO_RTX: u32 = 11;
const AUDIO: u32 = 20;

/// A packet as the viewer opened it.
#[derive(Clone, Debug)]
struct Got {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
}

/// Opens what it is given, as the browser would.
struct Far {
    opener: RefCell<Opener>,
    /// The last sequence number of each source, wraps counted.
    highest: RefCell<BTreeMap<u32, u64>>,
    got: RefCell<Vec<Got>>,
    control: RefCell<Vec<Vec<u8>>>,
    /// Trains that it takes before it is full.
    room: Cell<usize>,
    sealed: RefCell<Vec<Vec<u8>>>,
}

impl Far {
    fn take(&self) -> Vec<Got> {
        self.got.take()
    }

    fn receive(&self, datagram: &[u8]) {
        let mut packet = datagram.to_vec();
        if (200..=206).contains(&packet[1]) {
            let plain = self.opener.borrow_mut().open_rtcp(&mut packet).expect("a control packet of ours");
            self.control.borrow_mut().push(plain.to_vec());
            return;
        }
        self.sealed.borrow_mut().push(packet.clone());
        let header = Header::parse(&packet).expect("RTP");
        let (len, ssrc, sequence) = (header.header_len(), header.ssrc, header.sequence);
        let mut highest = self.highest.borrow_mut();
        let last = highest.entry(ssrc).or_insert(u64::from(sequence));
        let index = *last + u64::from(sequence.wrapping_sub(*last as u16));
        let index = if sequence.wrapping_sub(*last as u16) > 0x8000 { index - 0x1_0000 } else { index };
        *last = index.max(*last);
        let plain =
            self.opener.borrow().open(&mut packet, len, ssrc, index).expect("a packet of ours").to_vec();
        let header = Header::parse(&plain).expect("RTP");
        self.got.borrow_mut().push(Got {
            ssrc,
            sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            extensions: header.extensions().map(|(id, value)| (id, value.to_vec())).collect(),
            payload: header.payload().to_vec(),
        });
    }
}

impl Wire for Far {
    fn send(&self, _: &Way, contents: &[u8], trains: &[Train]) -> io::Result<usize> {
        let taken = trains.len().min(self.room.get());
        if taken == 0 && !trains.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left = contents;
        for train in &trains[..taken] {
            let (bytes, rest) = left.split_at(train.bytes);
            left = rest;
            bytes.chunks(train.segment).for_each(|datagram| self.receive(datagram));
        }
        self.room.set(self.room.get().saturating_sub(taken));
        Ok(taken)
    }
}

struct House {
    stream: Rc<Stream>,
    publisher: Publisher,
    shared: Rc<Shared>,
    now: Instant,
}

struct Player {
    viewer: Rc<Viewer>,
    subscriber: Subscriber,
    far: Rc<Far>,
    sealer: RefCell<Sealer>,
    waits: Rc<Cell<u32>>,
}

fn way() -> Way {
    Way { to: SocketAddr::from(([127, 0, 0, 1], 9)), from: None, is_line: false }
}

impl House {
    fn new(video: Codec, audio: Codec) -> Self {
        let options = StreamOptions {
            gop: GopOptions {
                enable: true,
                bytes_max: 8 << 20,
                frames_max: 10_000,
                duration_max: Timestamp::from_millis(30_000),
                audio_group: Timestamp::from_millis(2_000),
            },
            ring: RingOptions { bytes_max: 8 << 20, lag_max: Timestamp::from_millis(3_000) },
            batch_bytes_max: 64 << 10,
            coalesce: Duration::ZERO,
            jump_max: Timestamp::from_millis(5_000),
            takeover: Takeover::Refuse,
            wait: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            transcoding: None,
        };
        let now = Instant::now();
        let stream = Stream::new("live/cam".parse().unwrap(), options, now);
        let party = Party { id: Arc::from("p"), protocol: "test", peer: way().to, tc_url: Arc::from("") };
        let publisher = stream.publish(party).unwrap();
        publisher.expect(Some(true), Some(true)).unwrap();
        let config = h264::build_config(
            &[&[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50]],
            &[&[0x68, 0xce, 0x3c, 0x80]],
        );
        let config = config.filter(|_| video == Codec::H264).unwrap_or_default();
        publisher.track(Track { id: TrackId::VIDEO, codec: video, config, shape: Shape::Unknown }).unwrap();
        let sound = Track { id: TrackId::AUDIO, codec: audio, config: Bytes::new(), shape: Shape::Unknown };
        publisher.track(sound).unwrap();
        Self { stream, publisher, shared: Shared::new(MuxOptions::default()), now }
    }

    fn av() -> Self {
        Self::new(Codec::H264, Codec::Opus)
    }

    fn picture(&self, millis: i64, key: bool, len: usize) {
        let unit = [vec![if key { 0x65 } else { 0x41 }], vec![millis as u8; len]].concat();
        let payload = nal::join(std::iter::once(&unit[..]));
        let kind = if key { FrameKind::Key } else { FrameKind::Inter };
        self.push(TrackId::VIDEO, millis, kind, payload);
    }

    fn sound(&self, millis: i64) {
        self.push(TrackId::AUDIO, millis, FrameKind::Key, Bytes::from_static(b"opus"));
    }

    fn push(&self, track: TrackId, millis: i64, kind: FrameKind, payload: Bytes) {
        let dts = Timestamp::from_millis(millis);
        self.publisher.frame(Frame { track, dts, composition: Timestamp::ZERO, kind, payload }).unwrap();
        self.publisher.flush().unwrap();
        self.stream.begin_walk(self.now);
        while !self.stream.walk(&mut || false) {}
    }

    fn join(&self) -> Player {
        self.join_with(|_| ())
    }

    fn join_with(&self, change: impl Fn(&mut LineOptions)) -> Player {
        let material: Vec<u8> = (0..PROFILE.material_len() as u8).collect();
        let keys = Keys::new(PROFILE, material.clone(), false);
        let mut lines = [line(Codec::H264, 96, VIDEO), line(Codec::Opus, 111, AUDIO)];
        lines.iter_mut().for_each(change);
        let far = Rc::new(Far {
            opener: RefCell::new(Opener::new(PROFILE, &material, false).unwrap()),
            highest: RefCell::default(),
            got: RefCell::default(),
            control: RefCell::default(),
            room: Cell::new(usize::MAX),
            sealed: RefCell::default(),
        });
        let waits = Rc::<Cell<u32>>::default();
        let noted = Rc::clone(&waits);
        let terms = Terms { keys: &keys, lines: &lines, name: "cname" };
        let viewer = Viewer::new(
            Rc::clone(&far) as _,
            Rc::clone(&self.shared),
            &terms,
            || 0xffff_fff0,
            move || noted.set(noted.get() + 1),
            self.now,
        );
        let viewer = viewer.unwrap();
        viewer.set_way(way());
        let shared = Rc::clone(&self.shared);
        let subscriber =
            self.stream.subscribe(RENDITION, || Box::new(RtpMux::new(shared)) as _, Rc::clone(&viewer) as _);
        let sealer = RefCell::new(Sealer::new(PROFILE, &material, true).unwrap());
        Player { viewer, subscriber, far, sealer, waits }
    }
}

fn line(codec: Codec, payload_type: u8, ssrc: u32) -> LineOptions {
    let rtx = (codec.kind() == TrackKind::Video).then_some((payload_type + 1, ssrc + 1));
    LineOptions {
        codec,
        payload_type,
        ssrc,
        rtx,
        mid: Some((4, "v".to_owned())),
        transport: Some(3),
        playout_delay: Some(5),
    }
}

impl Player {
    fn poll(&self) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(self.subscriber.poll(&mut cx).is_pending());
    }

    /// What the browser says.
    fn say(&self, write: impl FnOnce(&mut Vec<u8>)) -> super::Wishes {
        let mut packet = Vec::new();
        write(&mut packet);
        assert!(self.sealer.borrow_mut().seal_rtcp(&mut packet));
        self.viewer.on_rtcp(&mut packet, Instant::now()).expect("authentic")
    }

    /// What came of pictures, which stays there.
    fn pictures_kept(&self) -> Vec<Got> {
        self.far.got.borrow().iter().filter(|got| got.ssrc == VIDEO).cloned().collect()
    }

    fn pictures(&self) -> Vec<Got> {
        self.far.take().into_iter().filter(|got| got.ssrc == VIDEO).collect()
    }
}

#[test]
fn a_viewer_gets_headers_of_its_own_around_shared_packets() {
    let house = House::av();
    let player = house.join();
    house.picture(0, true, 3_000);
    house.sound(10);
    house.picture(40, false, 500);
    let got = player.far.take();
    let pictures: Vec<&Got> = got.iter().filter(|got| got.ssrc == VIDEO).collect();
    assert_eq!(pictures.len(), 1 + 3 + 1, "parameter sets, three pieces, a small picture");
    let first = pictures[0].sequence;
    assert!(first < 0x8000, "RFC 3711: the first number is in the lower half");
    assert!(pictures.iter().enumerate().all(|(n, got)| got.sequence == first + n as u16));
    assert_eq!(pictures.iter().map(|got| got.marker).collect::<Vec<_>>(), [false, false, false, true, true]);
    assert_eq!(pictures[4].timestamp.wrapping_sub(pictures[0].timestamp), 3_600);
    assert_eq!(pictures[0].payload[0] & 31, 24, "the sets go first, together");
    let delays = got.iter().filter(|got| got.extensions.iter().any(|(id, _)| *id == 5)).count();
    assert_eq!(delays, 1, "the delay is told with each keyframe");
    let numbers: Vec<u8> =
        got.iter().map(|got| got.extensions.iter().find(|(id, _)| *id == 3).unwrap().1[1]).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "one transport-wide count for all");
    let sound: Vec<&Got> = got.iter().filter(|got| got.ssrc == AUDIO).collect();
    assert_eq!((sound.len(), &sound[0].payload[..], sound[0].marker), (1, &b"opus"[..], false));
}

#[test]
fn sender_reports_align_sound_and_pictures_from_the_first_packet_on() {
    let house = House::av();
    let player = house.join();
    house.picture(1_000, true, 100);
    house.sound(1_000);
    player.viewer.on_time(Instant::now() + Duration::from_secs(2));
    let control = player.far.control.take();
    let reports: Vec<_> = control
        .iter()
        .flat_map(|compound| rtcp::parse(compound).collect::<Vec<_>>())
        .filter_map(|part| match part {
            Packet::SenderReport(report, _) => Some(report),
            _ => None,
        })
        .collect();
    assert_eq!(reports.iter().map(|report| report.ssrc).collect::<Vec<_>>(), [VIDEO, VIDEO, AUDIO]);
    let got = player.far.take();
    let at = |ssrc| got.iter().find(|got| got.ssrc == ssrc).unwrap().timestamp;
    assert_eq!(reports[1].ntp, reports[2].ntp, "one moment on both clocks");
    let behind = |report: &rtcp::SenderReport, clock: i64| {
        i64::from(report.timestamp.wrapping_sub(at(report.ssrc)) as i32) * 1_000_000 / clock
    };
    assert_eq!(behind(&reports[1], 90_000), behind(&reports[2], 48_000));
    assert_eq!((reports[2].packets, reports[2].bytes), (1, 4));
}

#[test]
fn what_was_missed_comes_again_in_its_own_stream() {
    let house = House::av();
    let player = house.join();
    house.picture(0, true, 5_000);
    let sent = player.pictures();
    let missed = [sent[1].sequence, sent[3].sequence];
    player.say(|out| rtcp::nack(1, VIDEO, missed, out));
    let again = player.far.take();
    assert_eq!(again.len(), 2);
    for (again, missed) in again.iter().zip([&sent[1], &sent[3]]) {
        assert_eq!(again.ssrc, VIDEO_RTX);
        assert_eq!(rtx::original(&again.payload), Some((missed.sequence, &missed.payload[..])));
        assert_eq!((again.timestamp, again.marker), (missed.timestamp, missed.marker));
    }
    let stats = player.viewer.stats();
    assert_eq!((stats.missed, stats.resent), (2, 2));
    player.say(|out| rtcp::nack(1, VIDEO, [sent[1].sequence.wrapping_sub(9)], out));
    player.say(|out| rtcp::nack(1, 77, [sent[1].sequence], out));
    assert!(player.far.take().is_empty(), "what was never sent cannot be missed");
}

#[test]
fn without_a_stream_for_repeats_a_packet_is_repeated_bit_by_bit() {
    let house = House::av();
    let player = house.join_with(|line| {
        line.rtx = None;
        line.transport = line.transport.filter(|_| line.codec == Codec::Opus);
    });
    house.picture(0, true, 5_000);
    let sent = player.far.sealed.take();
    let sequence = player.pictures()[2].sequence;
    player.say(|out| rtcp::nack(1, VIDEO, [sequence], out));
    assert_eq!(player.far.sealed.take(), [sent[2].clone()]);
}

#[test]
fn one_who_asks_for_everything_again_and_again_is_held_back() {
    let house = House::av();
    let player = house.join();
    house.picture(0, true, 50_000);
    let sent = player.pictures();
    for _ in 0..20 {
        player.say(|out| rtcp::nack(1, VIDEO, sent.iter().map(|got| got.sequence), out));
    }
    let bytes: usize = player.far.take().iter().map(|got| got.payload.len()).sum();
    assert!(bytes < 70_000, "{bytes} bytes were sent again");
}

#[test]
fn a_full_socket_loses_nothing_and_numbers_nothing_twice() {
    let house = House::av();
    let player = house.join();
    house.picture(0, true, 3_000);
    player.far.take();
    // One train fits: of a picture and the sound after it, only a part.
    player.far.room.set(0);
    house.picture(40, false, 3_000);
    house.sound(45);
    assert!(player.far.take().is_empty());
    assert!(player.waits.get() > 0, "the session learns of it");
    player.far.room.set(1);
    player.poll();
    player.far.room.set(usize::MAX);
    player.poll();
    house.picture(80, false, 100);
    let got = player.far.take();
    let pictures: Vec<u16> = got.iter().filter(|got| got.ssrc == VIDEO).map(|got| got.sequence).collect();
    assert_eq!(pictures.len(), 4);
    assert!(pictures.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{pictures:?}");
    assert_eq!(got.iter().filter(|got| got.ssrc == AUDIO).count(), 1);
}

#[test]
fn a_joiner_starts_at_once_and_catches_up_without_a_burst() {
    let house = House::av();
    let _keeper = house.join();
    for n in 0..50 {
        house.picture(n * 40, n == 0, 1_000);
        house.sound(n * 40);
    }
    let began = Instant::now();
    let player = house.join();
    let first = player.pictures();
    assert!(!first.is_empty(), "the keyframe leaves at once");
    assert!(first.len() < 20, "{} of 50 pictures in one burst", first.len());
    let mut pictures = first;
    while pictures.len() < 50 {
        assert!(began.elapsed() < Duration::from_secs(5), "only {} pictures came", pictures.len());
        std::thread::sleep(Duration::from_millis(2));
        player.poll();
        pictures.extend(player.pictures());
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(350), "1,960 ms at five times the speed take 392 ms, not {took:?}");
    let shown: Vec<u32> = pictures.iter().map(|got| got.timestamp).collect();
    let span = shown.last().unwrap().wrapping_sub(shown[0]);
    assert!((30_000..42_000).contains(&span), "five times as close together: {span} ticks");
    assert!(shown.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) < 0x8000_0000), "time runs forwards");
}

#[test]
fn one_whose_way_is_too_narrow_sees_keyframes_and_hears_all() {
    let house = House::av();
    let player = house.join();
    house.picture(0, true, 1_000);
    player.far.take();
    player.say(|out| rtcp::remb(1, 100_000, &[VIDEO], out));
    for n in 1..100 {
        // Two and a half Mbit/s, a keyframe every two seconds.
        house.picture(n * 40, n % 50 == 0, 12_000);
        house.sound(n * 40);
    }
    let got = player.far.take();
    assert_eq!(got.iter().filter(|got| got.ssrc == AUDIO).count(), 99);
    assert!(player.viewer.stats().mutes >= 1);
    let pictures: Vec<u16> = got.iter().filter(|got| got.ssrc == VIDEO).map(|got| got.sequence).collect();
    assert!(pictures.len() < 60, "{} packets of pictures", pictures.len());
    assert!(pictures.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "a skip is no loss");
}

/// Who gets a layer that fits, and how it changes from one to the other: stories of [`super::judge`].
mod layers;

#[test]
fn wishes_for_keyframes_reach_the_publisher_once_a_second() {
    let house = House::av();
    let (one, other) = (house.join(), house.join());
    house.picture(0, true, 100);
    assert_eq!(one.say(|out| rtcp::pli(1, VIDEO, out)).key, Some(TrackId::VIDEO));
    assert_eq!(other.say(|out| rtcp::fir(1, VIDEO, 1, out)).key, None, "it is on its way");
    assert_eq!(one.say(|out| rtcp::pli(1, 99, out)).key, None, "no such source");
    assert_eq!(one.viewer.stats().key_requests, 1);
    assert!(one.say(|out| rtcp::bye(&[1], out)).leaves);
    let mut forged =
        vec![0x80, 201, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(one.viewer.on_rtcp(&mut forged, Instant::now()), None);
}

#[test]
fn a_round_trip_is_measured_by_the_last_report() {
    let house = House::av();
    let player = house.join();
    house.picture(0, true, 100);
    let control = player.far.control.take();
    let Some(Packet::SenderReport(report, _)) = rtcp::parse(&control[0]).next() else { panic!("no report") };
    std::thread::sleep(Duration::from_millis(30));
    let block = rtcp::ReportBlock {
        ssrc: VIDEO,
        fraction_lost: 64,
        lost: 1,
        highest: 1,
        jitter: 900,
        last_sr: (report.ntp >> 16) as u32,
        delay: 655,
    };
    player.say(|out| rtcp::receiver_report(1, &[block], out));
    let stats = player.viewer.stats();
    let trip = stats.round_trip.expect("measured");
    assert!((Duration::from_millis(19)..Duration::from_millis(500)).contains(&trip), "{trip:?}");
    assert_eq!((stats.loss, stats.jitter), (0.25, Duration::from_millis(10)));
}

/// The units that a mux makes of frames.
fn muxed(
    options: MuxOptions,
    track: &Track,
    frames: &[(i64, i64, FrameKind, Bytes)],
) -> Vec<(i64, u8, usize)> {
    let mut mux = RtpMux::new(Shared::new(options));
    let mut out = BytesMut::new();
    for (dts, composition, kind, payload) in frames {
        let frame = Frame {
            track: track.id,
            dts: Timestamp::from_millis(*dts),
            composition: Timestamp::from_millis(*composition),
            kind: *kind,
            payload: payload.clone(),
        };
        mux.frame(track, &frame, &mut out);
    }
    assert!(mux.headers(&Scene::default(), Timestamp::ZERO).is_empty());
    let batch = mux.seal(&mut out);
    unit::units(&batch).map(|unit| (unit.ticks, unit.flags, unit.payload.len())).collect()
}

#[test]
fn pictures_out_of_order_are_left_out_unless_they_are_to_be_kept() {
    let track = Track { id: TrackId::VIDEO, codec: Codec::H264, config: Bytes::new(), shape: Shape::Unknown };
    let picture = |head: u8| nal::join(std::iter::once(&[head, 1, 2][..]));
    let frames = [
        (0, 80, FrameKind::Key, picture(0x65)),
        (40, 160, FrameKind::Inter, picture(0x41)),
        // A B-frame that others refer to, and one that nobody does.
        (80, 40, FrameKind::Inter, picture(0x41)),
        (120, 40, FrameKind::Inter, picture(0x01)),
        // In its order: nobody refers to it, and nothing is wrong with it.
        (160, 80, FrameKind::Inter, picture(0x01)),
    ];
    let shown = |options| -> Vec<i64> {
        muxed(options, &track, &frames).iter().map(|(ticks, ..)| ticks / 90).collect()
    };
    assert_eq!(shown(MuxOptions::default()), [80, 200, 240]);
    let keeps = MuxOptions { keeps_bframes: true, ..MuxOptions::default() };
    assert_eq!(shown(keeps), [80, 200, 120, 160, 240]);
}

#[test]
fn long_sound_without_frames_is_cut_with_its_time() {
    let track = Track { id: TrackId::AUDIO, codec: Codec::PcmU, config: Bytes::new(), shape: Shape::Unknown };
    let frames = [(100, 0, FrameKind::Key, Bytes::from(vec![0; 2_000]))];
    let units = muxed(MuxOptions { payload_max: 800, ..MuxOptions::default() }, &track, &frames);
    assert_eq!(
        units,
        [(800, flag::FIRST, 800), (1_600, flag::FIRST, 800), (2_400, flag::FIRST, 400)],
        "a byte is a sample of 8,000 a second"
    );
}
