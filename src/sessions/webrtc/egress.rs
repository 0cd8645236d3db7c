//! From a stream to one WebRTC viewer, frame by frame: each frame is packetised for each viewer.
//!
//! A rendition whose batches are frames in a form of our own ([`FrameMux`]); a sink that gathers them for the session
//! ([`Inbox`]), since a walk over viewers must not run a session; and a [`Viewer`] that hands them to str0m.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use shards::{
    media::{Codec, Frame, FrameKind, Timestamp, Track, TrackKind},
    stream::{Leave, Mux, RenditionKind, Scene, Sink, Stream, Subscriber},
};
use str0m::{
    Rtc,
    media::{Frequency, MediaTime, Mid, Pt},
};

use super::{
    kick::Kick,
    negotiate::{codec_of, kind_of},
};
use crate::{
    codecs::{h264, h265, nal},
    protocols::whip::{Chosen, Offer},
};

/// The rendition's name.
const RENDITION: RenditionKind = "webrtc-frames";

/// The head of a frame in a batch: kind and codec, flags, presentation time in microseconds, bytes that follow.
const HEAD: usize = 1 + 1 + 8 + 4;

/// Frames of the main tracks, pictures as Annex B with their parameter sets before each keyframe.
struct FrameMux {
    keeps_bframes: bool,
    /// The newest picture that was shown.
    shown: Timestamp,
}

/// Codecs that WebRTC carries, by the number they have in a batch.
const CODECS: [Codec; 8] =
    [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus, Codec::PcmU, Codec::PcmA];

impl Mux for FrameMux {
    fn preamble(&mut self, _: &Scene) -> Bytes {
        Bytes::new()
    }

    fn headers(&mut self, _: &Scene, _: Timestamp) -> Bytes {
        Bytes::new()
    }

    fn begin(&mut self, _: &mut BytesMut) {}

    fn track(&mut self, _: &Track, _: Timestamp, _: &mut BytesMut) {}

    fn metadata(&mut self, _: &Scene, _: Timestamp, _: &mut BytesMut) {}

    fn frame(&mut self, track: &Track, frame: &Frame, out: &mut BytesMut) {
        let Some(codec) = CODECS.iter().position(|codec| *codec == track.codec) else { return };
        if !track.id.is_main() {
            return;
        }
        let shown = frame.pts();
        if frame.is_video() {
            let is_reordered = shown < self.shown;
            if is_reordered && !self.keeps_bframes && frame.kind == FrameKind::Disposable {
                return;
            }
            self.shown = self.shown.max(shown);
        }
        let head = out.len();
        out.put_u8(codec as u8);
        out.put_u8(u8::from(frame.kind == FrameKind::Key));
        out.put_i64(shown.micros());
        out.put_u32(0);
        match track.codec {
            Codec::H264 | Codec::H265 => {
                if frame.kind == FrameKind::Key {
                    put_sets(track, out);
                }
                nal::put_annex_b(&frame.payload, out);
            }
            _ => out.put_slice(&frame.payload),
        }
        let len = u32::try_from(out.len() - head - HEAD).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(head + HEAD - 4..head + HEAD) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }

    fn seal(&mut self, out: &mut BytesMut) -> Bytes {
        out.split().freeze()
    }
}

fn put_sets(track: &Track, out: &mut BytesMut) {
    let mut put = |set: &[u8]| {
        out.put_slice(&[0, 0, 0, 1]);
        out.put_slice(set);
    };
    if track.codec == Codec::H264 {
        let config = h264::parse_config(&track.config);
        config.iter().flat_map(|config| config.sps.iter().chain(&config.pps)).for_each(|set| put(set));
    } else if let Some(config) = h265::parse_config(&track.config) {
        config.units.iter().for_each(|set| put(set));
    }
}

/// What the stream's walk has given to a viewer and the session has not sent yet.
struct Inbox {
    waiting: RefCell<BytesMut>,
    slot: usize,
    kick: Rc<Kick>,
}

impl Sink for Inbox {
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut waiting = self.waiting.borrow_mut();
        slices.iter().for_each(|slice| waiting.put_slice(slice));
        self.kick.ready(self.slot);
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn poll_send(&self, _: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.try_send(&[IoSlice::new(head)]))
    }
}

/// A section that carries a track to the viewer.
struct Line {
    kind: TrackKind,
    codec: Codec,
    mid: Mid,
    pt: Pt,
    clock: Frequency,
}

/// See the module.
pub struct Viewer {
    stream: Rc<Stream>,
    subscriber: Option<Subscriber>,
    inbox: Rc<Inbox>,
    lines: Vec<Line>,
    keeps_bframes: bool,
    frames: u64,
}

impl Viewer {
    /// For `stream`, and what was chosen of the viewer's offer. `slot` is the session's place, `kick` how to wake it.
    pub fn new(
        stream: Rc<Stream>,
        offer: &Offer,
        chosen: &[Option<Chosen>],
        keeps_bframes: bool,
        slot: usize,
        kick: Rc<Kick>,
    ) -> Self {
        let lines = offer.media().iter().zip(chosen).filter_map(|(media, chosen)| {
            let codec = &chosen.as_ref()?.codec;
            Some(Line {
                kind: kind_of(media)?,
                codec: codec_of(codec)?,
                mid: Mid::from(media.mid.as_str()),
                pt: Pt::from(codec.pt),
                clock: Frequency::new(codec.clock)?,
            })
        });
        let inbox = Rc::new(Inbox { waiting: RefCell::default(), slot, kick });
        Self { lines: lines.collect(), stream, subscriber: None, inbox, keeps_bframes, frames: 0 }
    }

    /// The stream.
    pub fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }

    /// Frames sent so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The connection is up: media may flow.
    pub fn start(&mut self) {
        let keeps_bframes = self.keeps_bframes;
        let mux = || Box::new(FrameMux { keeps_bframes, shown: Timestamp::ZERO }) as _;
        self.subscriber = Some(self.stream.subscribe(RENDITION, mux, Rc::clone(&self.inbox) as _));
    }

    /// Why the viewer is to go, if it is.
    pub fn leave(&self) -> Option<Leave> {
        let subscriber = self.subscriber.as_ref()?;
        match subscriber.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(leave) => Some(leave),
            Poll::Pending => None,
        }
    }

    /// The next frame that waits goes to str0m; `false` when none waits. Each must be polled out before the next.
    pub fn send_next(&mut self, rtc: &mut Rtc, now: Instant) -> bool {
        let mut waiting = self.inbox.waiting.borrow_mut();
        if waiting.len() < HEAD {
            return false;
        }
        let (codec, _key) = (waiting.get_u8(), waiting.get_u8());
        let (micros, len) = (waiting.get_i64(), waiting.get_u32() as usize);
        let len = len.min(waiting.len());
        let payload = waiting.split_to(len);
        let line = CODECS.get(usize::from(codec)).and_then(|codec| {
            self.lines.iter().find(|line| line.codec == *codec && line.kind == codec.kind())
        });
        if let Some(line) = line
            && let Some(writer) = rtc.writer(line.mid)
        {
            let ticks = Timestamp::from_micros(micros).to_ticks(line.clock.get());
            let time = MediaTime::new(u64::try_from(ticks).unwrap_or_default(), line.clock);
            match writer.write(line.pt, now, time, &payload[..]) {
                Ok(()) => self.frames += 1,
                Err(error) => tracing::debug!(stream = %self.stream.key(), "a frame was not sent: {error}"),
            }
        }
        true
    }
}
