//! The RTP rendition: every frame packetised once for all viewers, and kept for a while for those who missed a packet.
//!
//! [`RtpMux`] writes the units of [`mod@unit`] into the stream's batches. What viewers ask of the stream as a whole lies
//! in [`Shared`]: packets that may be sent again, the newest moment, the rate of each layer. Times are microseconds of the
//! stream's clock.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use shards::{
    media::{Codec, Frame, FrameKind, Timestamp, Track, TrackId},
    stream::{Mux, Scene},
};

use super::unit::{self, Unit, UnitWriter};
use crate::protocols::rtp::packetize::{self, Packetizer, Picture};

/// How the rendition is made.
#[derive(Clone, Copy, Debug)]
pub struct MuxOptions {
    /// Bytes of a payload; with RTP header, extensions, tag and a retransmission's prefix it must fit a datagram.
    pub payload_max: usize,
    /// Pictures that are shown before one that was sent earlier are sent too.
    pub keeps_bframes: bool,
    /// Bytes of packets kept for those who missed some.
    pub history_bytes_max: usize,
    /// How long they are kept.
    pub history_max: Duration,
}

impl Default for MuxOptions {
    /// Datagrams of at most 1,200 bytes, as every browser's; a second and a half for a packet to be missed.
    fn default() -> Self {
        Self {
            payload_max: 1_140,
            keeps_bframes: false,
            history_bytes_max: 8 << 20,
            history_max: Duration::from_millis(1_500),
        }
    }
}

/// Layers of a simulcast whose rates are kept.
const LAYERS_MAX: usize = 8;
/// Between two requests for a keyframe that reach a publisher.
const KEY_REQUEST_MIN: Duration = Duration::from_millis(1_000);
/// Over which a layer's rate is measured.
const RATE_WINDOW: i64 = 1_000_000;

/// What all viewers of one stream share.
pub struct Shared {
    options: MuxOptions,
    history: RefCell<History>,
    newest: Cell<Timestamp>,
    rates: Cell<[Rate; LAYERS_MAX]>,
    /// The wall clock's time at the stream's zero, microseconds since 1970; set when first asked for.
    epoch: Cell<Option<i64>>,
    key_requested: Cell<Option<Instant>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    since: Option<Timestamp>,
    bytes: u64,
    /// Bits a second.
    rate: u64,
}

impl Shared {
    /// For a stream whose rendition is about to be made.
    pub fn new(options: MuxOptions) -> Rc<Self> {
        Rc::new(Self {
            options,
            history: RefCell::default(),
            newest: Cell::new(Timestamp::ZERO),
            rates: Cell::default(),
            epoch: Cell::new(None),
            key_requested: Cell::new(None),
        })
    }

    /// The latest presentation time of any frame.
    pub fn newest(&self) -> Timestamp {
        self.newest.get()
    }

    /// The moment `at` as an NTP timestamp (RFC 3550 §4). All tracks and viewers of the stream share the mapping, so that
    /// receivers align sound and pictures.
    pub fn ntp(&self, at: Timestamp) -> u64 {
        /// Seconds from 1900 to 1970.
        const EPOCHS: u64 = 2_208_988_800;
        let epoch = self.epoch.get().unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
            now - self.newest.get().micros()
        });
        self.epoch.set(Some(epoch));
        let micros = (epoch + at.micros()).max(0) as u64;
        let fraction = ((micros % 1_000_000) << 32) / 1_000_000;
        (micros / 1_000_000 + EPOCHS) << 32 | fraction
    }

    /// The unit `index` of `track`, if it is still kept, given to `then`.
    pub fn missed<R>(&self, track: TrackId, index: u64, then: impl FnOnce(Unit<'_>) -> R) -> Option<R> {
        self.history.borrow().find(track, index).map(then)
    }

    /// Bits a second of the picture track `layer`; 0: none, or not known yet.
    pub fn rate(&self, layer: u8) -> u64 {
        self.rates.get().get(usize::from(layer)).map_or(0, |rate| rate.rate)
    }

    /// The richest layer of at most `limit` bits a second; else the leanest. `None` while no rate is known.
    pub fn layer_for(&self, limit: Option<u64>) -> Option<u8> {
        let rates = self.rates.get();
        let known = || rates.iter().enumerate().filter(|(_, rate)| rate.rate > 0);
        let fits = known().filter(|(_, rate)| limit.is_none_or(|limit| rate.rate <= limit));
        let best =
            fits.max_by_key(|(_, rate)| rate.rate).or_else(|| known().min_by_key(|(_, rate)| rate.rate));
        best.map(|(layer, _)| layer as u8)
    }

    /// Whether a viewer's wish for a keyframe should reach the publisher: not more often than once a second.
    pub fn admits_key_request(&self, now: Instant) -> bool {
        let admits = self.key_requested.get().is_none_or(|last| now - last >= KEY_REQUEST_MIN);
        if admits {
            self.key_requested.set(Some(now));
        }
        admits
    }

    fn count(&self, layer: u8, bytes: usize, at: Timestamp) {
        let mut rates = self.rates.get();
        let Some(rate) = rates.get_mut(usize::from(layer)) else { return };
        let since = *rate.since.get_or_insert(at);
        let elapsed = (at - since).micros();
        if elapsed >= RATE_WINDOW {
            rate.rate = (rate.bytes as i64 * 8_000_000 / elapsed) as u64;
            (rate.since, rate.bytes) = (Some(at), 0);
        }
        rate.bytes += bytes as u64;
        self.rates.set(rates);
    }
}

/// Batches that were sealed lately, and which units of each track lie in them.
#[derive(Default)]
struct History {
    batches: VecDeque<Kept>,
    bytes: usize,
}

struct Kept {
    bytes: Bytes,
    at: Timestamp,
    /// First and last index of each track that has any.
    spans: Vec<(TrackId, u64, u64)>,
}

impl History {
    fn push(&mut self, bytes: Bytes, at: Timestamp, options: &MuxOptions) {
        let mut spans: Vec<(TrackId, u64, u64)> = Vec::with_capacity(2);
        for unit in unit::units(&bytes) {
            match spans.iter_mut().find(|(track, ..)| *track == unit.track) {
                Some((_, _, last)) => *last = unit.index,
                None => spans.push((unit.track, unit.index, unit.index)),
            }
        }
        self.bytes += bytes.len();
        self.batches.push_back(Kept { bytes, at, spans });
        while let Some(oldest) = self.batches.front() {
            let age = Duration::from_micros((at - oldest.at).micros().max(0) as u64);
            if age <= options.history_max && self.bytes <= options.history_bytes_max {
                break;
            }
            self.bytes -= oldest.bytes.len();
            self.batches.pop_front();
        }
    }

    fn find(&self, track: TrackId, index: u64) -> Option<Unit<'_>> {
        // What is missed is nearly always new.
        let holds = |kept: &&Kept| {
            kept.spans.iter().any(|(known, first, last)| *known == track && (*first..=*last).contains(&index))
        };
        unit::find(&self.batches.iter().rev().find(holds)?.bytes, track, index)
    }
}

/// See the module.
pub struct RtpMux {
    shared: Rc<Shared>,
    tracks: Vec<Lane>,
}

/// What is kept of one track.
struct Lane {
    track: TrackId,
    packetizer: Packetizer,
    /// The next packet's.
    index: u64,
    /// The latest presentation time so far.
    shown: Option<Timestamp>,
}

impl RtpMux {
    /// For the stream of `shared`.
    pub fn new(shared: Rc<Shared>) -> Self {
        Self { shared, tracks: Vec::new() }
    }

    fn lane(&mut self, track: TrackId) -> &mut Lane {
        let at = self.tracks.iter().position(|lane| lane.track == track).unwrap_or_else(|| {
            self.tracks.push(Lane { track, packetizer: Packetizer::default(), index: 0, shown: None });
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }
}

impl Mux for RtpMux {
    /// No browser takes AAC by RTP.
    fn sound_for(&self, source: Codec) -> Codec {
        if source == Codec::Aac { Codec::Opus } else { source }
    }

    fn preamble(&mut self, _: &Scene) -> Bytes {
        Bytes::new()
    }

    /// Parameter sets travel before each keyframe, in its packets.
    fn headers(&mut self, _: &Scene, _: Timestamp) -> Bytes {
        Bytes::new()
    }

    fn begin(&mut self, _: &mut BytesMut) {}

    fn track(&mut self, _: &Track, _: Timestamp, _: &mut BytesMut) {}

    fn metadata(&mut self, _: &Scene, _: Timestamp, _: &mut BytesMut) {}

    fn frame(&mut self, track: &Track, frame: &Frame, out: &mut BytesMut) {
        let Some(clock) = packetize::clock(track.codec) else { return };
        let (options, pts) = (self.shared.options, frame.pts());
        let lane = self.lane(track.id);
        if frame.is_video() && !options.keeps_bframes && lane.shown.is_some_and(|shown| pts < shown) {
            // Of the pictures that come out of order browsers can show none: their decoder takes the reordering for a failure
            // and asks for a keyframe, for ever (seen in Chromium: one picture a second). Mostly nobody refers to one that is left out
            // (`nal_ref_idc` 0), or only others that are left out too; where a P-picture does, the decoder conceals it.
            return;
        }
        lane.shown = Some(lane.shown.map_or(pts, |shown| shown.max(pts)));
        let is_key = frame.is_video() && frame.kind == FrameKind::Key;
        let before = out.len();
        // Sound of G.711 may be longer than a packet; each byte is a sample.
        let pieces = match track.codec {
            Codec::PcmA | Codec::PcmU => options.payload_max,
            _ => usize::MAX,
        };
        let Lane { index, packetizer, .. } = lane;
        for (at, payload) in frame.payload.chunks(pieces.min(frame.payload.len().max(1))).enumerate() {
            let ticks = pts.to_ticks(clock) + (at * options.payload_max) as i64;
            let Some(mut writer) = UnitWriter::new(track.id, track.codec, is_key, ticks, index, out) else {
                return;
            };
            packetizer.write(track, Picture { is_key, payload }, options.payload_max, &mut writer);
            writer.finish();
        }
        let shared = &self.shared;
        shared.newest.set(shared.newest.get().max(pts));
        if frame.is_video() {
            shared.count(track.id.index, out.len() - before, frame.dts);
        }
    }

    fn seal(&mut self, out: &mut BytesMut) -> Bytes {
        let bytes = out.split().freeze();
        if !bytes.is_empty() {
            let shared = &self.shared;
            shared.history.borrow_mut().push(bytes.clone(), shared.newest.get(), &shared.options);
        }
        bytes
    }
}
