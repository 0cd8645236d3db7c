//! From a WebRTC publisher's media to the stream's frames.
//!
//! str0m puts packets in order, asks again for those that are lost and joins them to frames; here frames get their form
//! ([`Adapter`]) and their time ([`Clocks`]). What is lost for good spoils all pictures up to the next keyframe: they are
//! left out, and the publisher is asked for one, at most every [`KEY_REQUEST_MIN`].
//!
//! A publisher may send a picture in several layers (simulcast). Each is a track; the largest that flows is track 0, which
//! single-track players get, and at a keyframe another may take that place.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant, UNIX_EPOCH},
};

use shards::{
    media::{Codec, Frame, FrameKind, Shape, Timestamp, TrackId, TrackKind},
    stream::{Evicted, Publisher},
};
use str0m::{
    Rtc,
    media::{KeyframeRequestKind, MediaData, Mid, Rid, SenderFeedback},
};

use super::{
    clock::Clocks,
    frames::{Adapter, sprop_parameter_sets},
    negotiate::{codec_of, kind_of},
    parts::{Part, Parts},
};
use crate::protocols::whip::{Chosen, Offer};

/// A publisher is asked for keyframes no more often: each costs it a large picture.
pub const KEY_REQUEST_MIN: Duration = Duration::from_millis(500);

/// How far a picture may be shown before one that came earlier: more than any encoder's B-frames.
const REORDER_MAX: Timestamp = Timestamp::from_millis(1_000);

/// A layer of which nothing came for so long has stopped: encoders drop the largest when the network is slow.
const LAYER_SILENCE: Duration = Duration::from_secs(1);

/// A section of the SDP that carries a track, or a layer of one.
struct Line {
    mid: Mid,
    rid: Option<Rid>,
    kind: TrackKind,
    /// The track's number, unless it is a layer that is the largest: then it is `main`.
    index: u8,
    /// The number that the largest layer of this section has.
    main: u8,
    is_main: bool,
    adapter: Adapter,
    /// Where frames come in parts.
    parts: Option<Parts>,
    clock: usize,
    last: Option<Timestamp>,
    heard: Option<Instant>,
    /// Pictures are of no use before the next keyframe.
    waits_for_key: bool,
    /// Somebody waits for one.
    key_wanted: bool,
    /// The track under which its parameter sets have been told.
    told: Option<TrackId>,
}

impl Line {
    fn id(&self) -> TrackId {
        TrackId::new(self.kind, if self.is_main { self.main } else { self.index })
    }

    /// Pixels of its pictures.
    fn area(&self) -> u64 {
        match self.adapter.track().map(|track| track.shape) {
            Some(Shape::Video { width, height }) => u64::from(width) * u64::from(height),
            _ => 0,
        }
    }
}

/// See the module.
pub struct Ingest {
    publisher: Publisher,
    start: Instant,
    lines: Vec<Line>,
    clocks: Clocks,
    key_asked: Option<Instant>,
    frames: u64,
    lost: u64,
    unusable: u64,
}

impl Ingest {
    /// For a publisher's seat, and what was chosen of its offer.
    ///
    /// # Errors
    /// When another publisher took over already.
    pub fn new(publisher: Publisher, offer: &Offer, chosen: &[Option<Chosen>]) -> Result<Self, Evicted> {
        let mut clocks = Clocks::default();
        let mut lines: Vec<Line> = Vec::new();
        for (media, chosen) in offer.media().iter().zip(chosen) {
            let Some(chosen) = chosen else { continue };
            let Some((kind, codec)) = kind_of(media).zip(codec_of(&chosen.codec)) else { continue };
            let sets = chosen.codec.parameter("sprop-parameter-sets").map(sprop_parameter_sets);
            let sets = sets.unwrap_or_default();
            let next = |lines: &[Line]| {
                let taken =
                    lines.iter().filter(|line| line.kind == kind).map(|line| line.index.max(line.main) + 1);
                taken.max().unwrap_or(0)
            };
            let main = next(&lines);
            let layers: Vec<Option<Rid>> = match media.layers.is_empty() {
                true => vec![None],
                false => media.layers.iter().map(|layer| Some(Rid::from(layer.as_str()))).collect(),
            };
            for (n, rid) in layers.iter().enumerate() {
                let is_layer = layers.len() > 1;
                lines.push(Line {
                    mid: Mid::from(media.mid.as_str()),
                    rid: *rid,
                    kind,
                    index: main + u8::from(is_layer) * (1 + n as u8),
                    main,
                    is_main: !is_layer,
                    adapter: Adapter::new(codec, chosen.codec.channels, &sets),
                    parts: (codec == Codec::H265).then(Parts::default),
                    clock: clocks.add(chosen.codec.clock),
                    last: None,
                    heard: None,
                    waits_for_key: kind == TrackKind::Video,
                    key_wanted: false,
                    told: None,
                });
            }
        }
        let has = |kind| lines.iter().any(|line| line.kind == kind);
        publisher.expect(Some(has(TrackKind::Audio)), Some(has(TrackKind::Video)))?;
        let start = Instant::now();
        Ok(Self { publisher, start, lines, clocks, key_asked: None, frames: 0, lost: 0, unusable: 0 })
    }

    /// Frames that came, holes that could not be filled, and frames of no use.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.frames, self.lost, self.unusable)
    }

    /// One frame, or a part of one.
    ///
    /// # Errors
    /// When another publisher took over.
    pub fn media(&mut self, data: MediaData) -> Result<(), Evicted> {
        let is_from = |line: &Line| line.mid == data.mid && (line.rid.is_none() || line.rid == data.rid);
        let Some(at) = self.lines.iter().position(is_from) else { return Ok(()) };
        let Some(line) = self.lines.get_mut(at) else { return Ok(()) };
        let (ticks, arrived, contiguous) = (data.time.numer(), data.network_time, data.contiguous);
        let Some(parts) = &mut line.parts else {
            return self.frame(at, ticks, arrived, contiguous, data.data);
        };
        let whole = parts.take(Part { ticks, arrived, contiguous, data: data.data.to_vec() });
        if parts.take_torn() {
            line.waits_for_key = true;
            line.key_wanted = true;
        }
        match whole {
            Some(Part { ticks, arrived, contiguous, data }) => {
                self.frame(at, ticks, arrived, contiguous, data.into())
            }
            None => Ok(()),
        }
    }

    /// A frame of the line at `at`.
    fn frame(
        &mut self,
        at: usize,
        ticks: u64,
        heard: Instant,
        contiguous: bool,
        data: Arc<[u8]>,
    ) -> Result<(), Evicted> {
        let Some(line) = self.lines.get_mut(at) else { return Ok(()) };
        let is_video = line.kind == TrackKind::Video;
        if !contiguous && line.last.is_some() {
            self.lost += 1;
            line.waits_for_key |= is_video;
        }
        line.heard = Some(heard);
        let arrived = heard.saturating_duration_since(self.start).as_micros();
        let arrived = Timestamp::from_micros(i64::try_from(arrived).unwrap_or(i64::MAX / 4));
        let shown = self.clocks.place(line.clock, ticks, arrived);
        let Some(adapted) = line.adapter.frame(data) else {
            self.unusable += 1;
            line.key_wanted |= is_video && line.waits_for_key;
            return Ok(());
        };
        if adapted.kind == FrameKind::Key {
            line.waits_for_key = false;
        }
        if line.waits_for_key {
            self.unusable += 1;
            line.key_wanted = true;
            return Ok(());
        }
        if adapted.is_news {
            line.told = None;
        }
        // A picture that is shown before the one that came before it is decoded after it all the same. One that is shown long before
        // is of a clock that was set back: the stream repairs that.
        let step = Timestamp::from_millis(1);
        let dts = match line.last {
            Some(last) if shown <= last && last - shown < REORDER_MAX => last + step,
            _ => shown,
        };
        line.last = Some(dts);
        if adapted.kind == FrameKind::Key {
            self.choose_main(at, heard);
        }
        let Some(line) = self.lines.get_mut(at) else { return Ok(()) };
        let id = line.id();
        if line.told != Some(id)
            && let Some(track) = line.adapter.track()
        {
            let track = shards::media::Track { id, ..track.clone() };
            tracing::info!(stream = %self.publisher.stream().key(), "{id}: {} {:?}", track.codec, track.shape);
            self.publisher.track(track)?;
            line.told = Some(id);
        }
        self.frames += 1;
        let composition = shown - dts;
        self.publisher.frame(Frame {
            track: id,
            dts,
            composition,
            kind: adapted.kind,
            payload: adapted.payload,
        })
    }

    /// A layer has a keyframe: it takes the main track if it is larger than the one that has it, or that one has stopped.
    fn choose_main(&mut self, at: usize, now: Instant) {
        let Some(line) = self.lines.get(at).filter(|line| !line.is_main) else { return };
        let (mid, area) = (line.mid, line.area());
        let main = self.lines.iter().position(|other| other.mid == mid && other.is_main);
        let gives_way = main.and_then(|main| self.lines.get(main)).is_none_or(|main| {
            let silence = main.heard.map_or(LAYER_SILENCE, |heard| now.saturating_duration_since(heard));
            main.area() < area || silence >= LAYER_SILENCE
        });
        if !gives_way {
            return;
        }
        for (n, other) in self.lines.iter_mut().enumerate().filter(|(_, other)| other.mid == mid) {
            other.is_main = n == at;
            other.told = None;
        }
    }

    /// A sender report.
    pub fn report(&mut self, report: &SenderFeedback) {
        let is_from = |line: &&Line| line.mid == report.mid && (line.rid.is_none() || line.rid == report.rid);
        let Some(line) = self.lines.iter().find(is_from) else { return };
        let wall = match report.sender_info.ntp_time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 4),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX / 4),
        };
        self.clocks.report(line.clock, report.sender_info.rtp_time.numer(), wall);
    }

    /// Asks the publisher for keyframes, if somebody waits for one and it is not too soon. `waker` is woken by those who
    /// begin to wait.
    pub fn ask_for_key(&mut self, rtc: &mut Rtc, now: Instant, waker: &Waker) {
        self.hear_wishes(waker);
        self.replace_silent_main(now);
        let is_soon = self.key_asked.is_some_and(|at| now.saturating_duration_since(at) < KEY_REQUEST_MIN);
        if is_soon || !self.lines.iter().any(|line| line.key_wanted) {
            return;
        }
        let mut asked = false;
        for line in self.pictures().filter(|line| line.key_wanted) {
            let Some(mut writer) = rtc.writer(line.mid) else { continue };
            let kind = match writer.is_request_keyframe_possible(KeyframeRequestKind::Pli) {
                true => KeyframeRequestKind::Pli,
                false => KeyframeRequestKind::Fir,
            };
            // Fails before the first packet, when nothing is known of the stream yet.
            if writer.request_keyframe(line.rid, kind).is_ok() {
                line.key_wanted = false;
                asked = true;
            }
        }
        if asked {
            self.key_asked = Some(now);
        }
    }

    /// Whether somebody has begun to wait for a keyframe; `waker` is woken by the next who does.
    pub fn hear_wishes(&mut self, waker: &Waker) -> bool {
        let mut cx = Context::from_waker(waker);
        let mut heard = false;
        while let Poll::Ready(track) = self.publisher.poll_key_request(&mut cx) {
            heard = true;
            self.pictures().filter(|line| line.id() == track).for_each(|line| line.key_wanted = true);
        }
        heard
    }

    /// A main layer that has stopped: the next best one that flows is to make a keyframe, at which it takes its place.
    fn replace_silent_main(&mut self, now: Instant) {
        let flows = |line: &Line| {
            line.heard.is_some_and(|heard| now.saturating_duration_since(heard) < LAYER_SILENCE)
        };
        let stopped: Vec<Mid> = self
            .lines
            .iter()
            .filter(|line| line.rid.is_some() && line.is_main && !flows(line))
            .map(|line| line.mid)
            .collect();
        for mid in stopped {
            let others = self.lines.iter_mut().filter(|line| line.mid == mid && !line.is_main && flows(line));
            if let Some(best) = others.max_by_key(|line| line.area()) {
                best.key_wanted = true;
            }
        }
    }

    fn pictures(&mut self) -> impl Iterator<Item = &mut Line> {
        self.lines.iter_mut().filter(|line| line.kind == TrackKind::Video)
    }

    /// What came since the last flush may leave.
    ///
    /// # Errors
    /// When another publisher took over.
    pub fn flush(&self) -> Result<(), Evicted> {
        self.publisher.flush()
    }
}
