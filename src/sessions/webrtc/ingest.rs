//! From a WebRTC publisher's media to the stream's frames.
//!
//! str0m puts packets in order, asks again for those that are lost and joins them to frames; here frames get their form
//! ([`Adapter`]) and their time ([`Clocks`]). What is lost for good spoils all pictures up to the next keyframe: they are
//! left out, and the publisher is asked for one, at most every [`KEY_REQUEST_MIN`].

use std::{
    task::{Context, Waker},
    time::{Duration, Instant, UNIX_EPOCH},
};

use shards::{
    media::{Frame, FrameKind, Timestamp, TrackId, TrackKind},
    stream::{Evicted, Publisher},
};
use str0m::{
    Rtc,
    media::{KeyframeRequestKind, MediaData, Mid, SenderFeedback},
};

use super::{
    clock::Clocks,
    frames::{Adapter, sprop_parameter_sets},
    negotiate::{codec_of, kind_of},
};
use crate::protocols::whip::{Chosen, Offer};

/// A publisher is asked for keyframes no more often: each costs it a large picture.
pub const KEY_REQUEST_MIN: Duration = Duration::from_millis(500);

/// A section of the SDP that carries a track.
struct Line {
    mid: Mid,
    adapter: Adapter,
    clock: usize,
    last: Option<Timestamp>,
    /// Pictures are of no use before the next keyframe.
    waits_for_key: bool,
}

/// See the module.
pub struct Ingest {
    publisher: Publisher,
    start: Instant,
    lines: Vec<Line>,
    clocks: Clocks,
    /// Somebody waits for a keyframe.
    key_wanted: bool,
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
            let index = lines.iter().filter(|line| line.adapter.id().kind == kind).count();
            let id = TrackId::new(kind, u8::try_from(index).unwrap_or(u8::MAX));
            let sets = chosen.codec.parameter("sprop-parameter-sets").map(sprop_parameter_sets);
            let adapter = Adapter::new(id, codec, chosen.codec.channels, &sets.unwrap_or_default());
            let clock = clocks.add(chosen.codec.clock);
            let mid = Mid::from(media.mid.as_str());
            lines.push(Line { mid, adapter, clock, last: None, waits_for_key: kind == TrackKind::Video });
        }
        let has = |kind| lines.iter().any(|line| line.adapter.id().kind == kind);
        publisher.expect(Some(has(TrackKind::Audio)), Some(has(TrackKind::Video)))?;
        Ok(Self {
            publisher,
            start: Instant::now(),
            lines,
            clocks,
            key_wanted: false,
            key_asked: None,
            frames: 0,
            lost: 0,
            unusable: 0,
        })
    }

    /// Frames that came, holes that could not be filled, and frames of no use.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.frames, self.lost, self.unusable)
    }

    /// One frame.
    ///
    /// # Errors
    /// When another publisher took over.
    pub fn media(&mut self, data: MediaData) -> Result<(), Evicted> {
        let Some(line) = self.lines.iter_mut().find(|line| line.mid == data.mid) else { return Ok(()) };
        let is_video = line.adapter.id().kind == TrackKind::Video;
        if !data.contiguous && line.last.is_some() {
            self.lost += 1;
            line.waits_for_key |= is_video;
        }
        let arrived = Timestamp::from_micros(
            i64::try_from(data.network_time.saturating_duration_since(self.start).as_micros())
                .unwrap_or(i64::MAX / 4),
        );
        let shown = self.clocks.place(line.clock, data.time.numer(), arrived);
        let Some(adapted) = line.adapter.frame(data.data) else {
            self.unusable += 1;
            self.key_wanted |= is_video && line.waits_for_key;
            return Ok(());
        };
        if adapted.kind == FrameKind::Key {
            line.waits_for_key = false;
        }
        if line.waits_for_key {
            self.unusable += 1;
            self.key_wanted = true;
            return Ok(());
        }
        // A picture that is shown before the one that came before it is decoded after it all the same.
        let step = Timestamp::from_millis(1);
        let dts = line.last.map_or(shown, |last| if shown > last { shown } else { last + step });
        line.last = Some(dts);
        let id = line.adapter.id();
        if let Some(track) = adapted.track {
            tracing::info!(stream = %self.publisher.stream().key(), "{}: {} {:?}", track.id, track.codec, track.shape);
            self.publisher.track(track)?;
        }
        self.frames += 1;
        self.publisher.frame(Frame {
            track: id,
            dts,
            composition: shown - dts,
            kind: adapted.kind,
            payload: adapted.payload,
        })
    }

    /// A sender report.
    pub fn report(&mut self, report: &SenderFeedback) {
        let Some(line) = self.lines.iter().find(|line| line.mid == report.mid) else { return };
        let wall = match report.sender_info.ntp_time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 4),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX / 4),
        };
        self.clocks.report(line.clock, report.sender_info.rtp_time.numer(), wall);
    }

    /// Asks the publisher for a keyframe, if somebody waits for one and it is not too soon. `waker` is woken by those who
    /// begin to wait.
    pub fn ask_for_key(&mut self, rtc: &mut Rtc, now: Instant, waker: &Waker) {
        let mut cx = Context::from_waker(waker);
        while self.publisher.poll_key_request(&mut cx).is_ready() {
            self.key_wanted = true;
        }
        let is_soon = self.key_asked.is_some_and(|at| now.saturating_duration_since(at) < KEY_REQUEST_MIN);
        if !self.key_wanted || is_soon {
            return;
        }
        let mut asked = false;
        for line in self.lines.iter().filter(|line| line.adapter.id().kind == TrackKind::Video) {
            if let Some(mut writer) = rtc.writer(line.mid) {
                let kind = match writer.is_request_keyframe_possible(KeyframeRequestKind::Pli) {
                    true => KeyframeRequestKind::Pli,
                    false => KeyframeRequestKind::Fir,
                };
                // Fails before the first packet, when nothing is known of the stream yet.
                asked |= writer.request_keyframe(None, kind).is_ok();
            }
        }
        if asked {
            self.key_wanted = false;
            self.key_asked = Some(now);
        }
    }

    /// What came since the last flush may leave.
    ///
    /// # Errors
    /// When another publisher took over.
    pub fn flush(&self) -> Result<(), Evicted> {
        self.publisher.flush()
    }
}
