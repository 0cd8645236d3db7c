//! The RTMP rendition: every frame as one message with a full header, so that all players read identical bytes.

use bytes::{Bytes, BytesMut};
use shards::{
    media::{Codec, Frame, Timestamp, Track, TrackId, TrackKind},
    stream::{Mux, RenditionKind, Scene},
};

use crate::protocols::{
    flv,
    rtmp::{MediaKind, mux_media},
};

/// What a player wants to hear and see (`receiveAudio`, `receiveVideo`), and can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Sound.
    pub audio: bool,
    /// Pictures.
    pub video: bool,
    /// It said that it takes Opus, so it gets Opus as it is.
    pub opus: bool,
}

impl Selection {
    /// Sound and pictures.
    pub const fn all(opus: bool) -> Self {
        Self { audio: true, video: true, opus }
    }

    /// The rendition that gives just this.
    pub const fn rendition(self) -> RenditionKind {
        match (self.audio, self.video, self.opus) {
            (true, true, false) => "rtmp",
            (true, true, true) => "rtmp-opus",
            (true, false, false) => "rtmp-audio",
            (true, false, true) => "rtmp-opus-audio",
            (false, true, _) => "rtmp-video",
            (false, false, _) => "rtmp-data",
        }
    }

    fn takes(self, id: TrackId) -> bool {
        match id.kind {
            TrackKind::Audio => self.audio,
            TrackKind::Video => self.video,
            TrackKind::Data => true,
        }
    }
}

/// See the module.
pub struct RtmpMux {
    selection: Selection,
    chunk_size: usize,
    body: BytesMut,
}

impl RtmpMux {
    /// `chunk_size` as players were told, in bytes.
    pub fn new(selection: Selection, chunk_size: usize) -> Self {
        Self { selection, chunk_size, body: BytesMut::new() }
    }

    /// Always at time 0: ffmpeg takes later metadata for subtitles.
    fn put_metadata(&mut self, scene: &Scene, out: &mut BytesMut) {
        self.body.clear();
        flv::on_meta_data(scene.metadata(), scene.tracks(), &mut self.body);
        mux_media(out, MediaKind::Data, 0, &[&self.body], self.chunk_size);
    }

    fn put_track(&mut self, track: &Track, at: Timestamp, out: &mut BytesMut) {
        self.body.clear();
        if self.selection.takes(track.id) && flv::sequence_header(track, &mut self.body) {
            mux_media(out, kind(track.codec), wire(at), &[&self.body], self.chunk_size);
        }
    }
}

impl Mux for RtmpMux {
    fn sound_for(&self, source: Codec) -> Codec {
        let is_strange = source == Codec::Opus && !self.selection.opus;
        if self.selection.audio && is_strange { Codec::Aac } else { source }
    }

    fn preamble(&mut self, _: &Scene) -> Bytes {
        Bytes::new()
    }

    fn headers(&mut self, scene: &Scene, at: Timestamp) -> Bytes {
        let mut out = BytesMut::new();
        self.put_metadata(scene, &mut out);
        for track in scene.tracks() {
            self.put_track(track, at, &mut out);
        }
        out.freeze()
    }

    fn begin(&mut self, _: &mut BytesMut) {}

    fn track(&mut self, track: &Track, at: Timestamp, out: &mut BytesMut) {
        self.put_track(track, at, out);
    }

    fn metadata(&mut self, scene: &Scene, _: Timestamp, out: &mut BytesMut) {
        self.put_metadata(scene, out);
    }

    fn frame(&mut self, track: &Track, frame: &Frame, out: &mut BytesMut) {
        if self.selection.takes(track.id)
            && let Some(head) = flv::frame_head(track, frame)
        {
            mux_media(out, kind(track.codec), wire(frame.dts), &[&head, &frame.payload], self.chunk_size);
        }
    }

    fn seal(&mut self, out: &mut BytesMut) -> Bytes {
        out.split().freeze()
    }
}

fn kind(codec: Codec) -> MediaKind {
    match codec.kind() {
        TrackKind::Audio => MediaKind::Audio,
        TrackKind::Video => MediaKind::Video,
        TrackKind::Data => MediaKind::Data,
    }
}

/// Milliseconds modulo 2^32, as RTMP and FLV count.
fn wire(at: Timestamp) -> u32 {
    at.millis() as u32
}
