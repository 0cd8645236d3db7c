//! The RTP rendition: every frame packetised once for all viewers, and kept for a while for those who missed a packet.
//!
//! [`RtpMux`] writes the units of [`mod@unit`] into the stream's batches. What viewers ask of the stream as a whole lies
//! in [`Shared`]: packets that may be sent again, the newest moment, the layers there are. Times are microseconds of the
//! stream's clock.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use shards::{
    media::{Codec, Frame, FrameKind, Timestamp, Track, TrackId},
    stream::{Mux, Scene},
};

use super::{
    layers::Layers,
    unit::{self, Unit, UnitWriter},
};
use crate::{
    codecs::{h264, h265, nal},
    protocols::rtp::packetize::{self, Packetizer, Picture},
};

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

/// What all viewers of one stream share.
pub struct Shared {
    options: MuxOptions,
    history: RefCell<History>,
    newest: Cell<Timestamp>,
    layers: RefCell<Layers>,
    /// The wall clock's time at the stream's zero, microseconds since 1970; set when first asked for.
    epoch: Cell<Option<i64>>,
}

impl Shared {
    /// For a stream whose rendition is about to be made.
    pub fn new(options: MuxOptions) -> Rc<Self> {
        Rc::new(Self {
            options,
            history: RefCell::default(),
            newest: Cell::new(Timestamp::ZERO),
            layers: RefCell::default(),
            epoch: Cell::new(None),
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

    /// What is known of the picture tracks, given to `look`.
    pub fn layers<R>(&self, look: impl FnOnce(&mut Layers) -> R) -> R {
        look(&mut self.layers.borrow_mut())
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
    /// The log knows that pictures are left out that others refer to.
    told: bool,
}

/// Whether other pictures may refer to this one: H.264 `nal_ref_idc` (§7.4.1), H.265 sub-layer reference types (table 7-1).
fn is_referenced(codec: Codec, payload: &[u8]) -> bool {
    nal::units(payload, 4).any(|unit| match codec {
        Codec::H264 => {
            matches!(h264::unit_type(unit), 1..=5) && unit.first().is_some_and(|head| head & 0x60 != 0)
        }
        Codec::H265 => h265::unit_type(unit) < 16 && h265::unit_type(unit) % 2 == 1,
        _ => false,
    })
}

impl RtpMux {
    /// For the stream of `shared`.
    pub fn new(shared: Rc<Shared>) -> Self {
        Self { shared, tracks: Vec::new() }
    }

    fn lane(&mut self, track: TrackId) -> &mut Lane {
        let at = self.tracks.iter().position(|lane| lane.track == track).unwrap_or_else(|| {
            self.tracks.push(Lane {
                track,
                packetizer: Packetizer::default(),
                index: 0,
                shown: None,
                told: false,
            });
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
            // and asks for a keyframe, for ever (seen in Chromium: one picture a second). So those go too that others refer to. With
            // x264 these others are B-frames, which go as well, unless `b-pyramid` is `normal` *and* P-frames have a choice of
            // references (presets `faster` and slower): then what stays lacks something, and is smeared until the next keyframe
            // (`docs/performance.md` has the figures). To leave that out as well would leave two pictures of a group.
            if !lane.told && is_referenced(track.codec, &frame.payload) {
                lane.told = true;
                tracing::info!(
                    codec = %track.codec,
                    "B-frames that others refer to are left out for WebRTC viewers; if P-frames do, pictures are smeared: see webrtc.bframes"
                );
            }
            return;
        }
        lane.shown = Some(lane.shown.map_or(pts, |shown| shown.max(pts)));
        let is_key = frame.is_video() && frame.kind == FrameKind::Key;
        let (before, first) = (out.len(), lane.index);
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
            packetizer.write(
                track,
                Picture { is_key, in_order: !options.keeps_bframes, payload },
                options.payload_max,
                &mut writer,
            );
            writer.finish();
        }
        let shared = &self.shared;
        shared.newest.set(shared.newest.get().max(pts));
        if frame.is_video() {
            let key = is_key.then_some(first);
            shared.layers(|layers| layers.count(track.id.index, out.len() - before, frame.dts, key));
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
