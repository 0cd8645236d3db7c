//! A stream muxed one way, once for all its readers.
//!
//! Frames go into an open batch; sealed, it joins the ring, and the walk hands it to every reader whose sink takes it.
//! Invariant: a batch that opens a group holds nothing from before it, and parameter sets that change in mid-stream lie in
//! a batch before the one that needs them. Sound that was made for it takes the place of the publisher's: never both.

use std::{
    borrow::Cow,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::BytesMut;
use slab::Slab;

use super::{
    Scene, Totals,
    derive::Derived,
    gop::{Change, Changed, Entry, GopCache},
    mux::Mux,
    reader::{Leave, Reader},
    ring::{Batch, Cursor, Headers, Ring, RingOptions},
};
use crate::media::{Codec, Frame, Timestamp, Track, TrackId};

/// Names a rendition among a stream's: a protocol's constant such as `"flv"`.
pub type RenditionKind = &'static str;

/// Readers that one slice of a walk serves before it looks at the clock.
const SLICE: usize = 16;

/// See the module.
pub(super) struct Rendition {
    pub(super) kind: RenditionKind,
    mux: Box<dyn Mux>,
    ring: Ring,
    open: BytesMut,
    opens: Option<Rc<Headers>>,
    dts: Timestamp,
    generation: u64,
    /// Its sound, if that is made for it.
    sound: Option<Track>,
    /// It begins when the sound of the cached group is made.
    awaits_sound: bool,
    batch_bytes_max: usize,
    /// A batch was sealed for its size since the last walk began.
    full: bool,
    readers: Slab<Reader>,
    /// Where the walk goes on; `readers.capacity()` when it is done.
    walked: usize,
    /// Its own batches, and what readers came to that have left.
    totals: Totals,
}

impl Rendition {
    pub(super) fn new(kind: RenditionKind, mux: Box<dyn Mux>, ring: Ring, batch_bytes_max: usize) -> Self {
        Self {
            kind,
            mux,
            ring,
            open: BytesMut::new(),
            opens: None,
            dts: Timestamp::ZERO,
            generation: 0,
            sound: None,
            awaits_sound: false,
            batch_bytes_max,
            full: false,
            readers: Slab::new(),
            walked: usize::MAX,
            totals: Totals::default(),
        }
    }

    /// Has these bounds from the next batch on.
    pub(super) fn retune(&mut self, ring: RingOptions, batch_bytes_max: usize) {
        self.ring.retune(ring);
        self.batch_bytes_max = batch_bytes_max;
    }

    /// Begins with the group that the stream has cached, as if the rendition had been there all along. `sound`: what was
    /// made for it since the group opened.
    pub(super) fn prime(&mut self, gop: &GopCache, sound: &[Frame]) {
        self.awaits_sound = false;
        let Some((start, at, entries)) = gop.group() else { return };
        self.open_group(start, at);
        let mut scene = start.clone();
        let mut sound = sound.iter().peekable();
        for entry in entries {
            match entry {
                Entry::Change(change) => {
                    scene.replay(change);
                    self.change(&scene, change);
                }
                Entry::Frame(frame) => {
                    while let Some(sound) = sound.next_if(|sound| sound.dts < frame.dts) {
                        self.sound(sound);
                    }
                    self.frame(&scene, frame);
                }
            }
        }
        sound.for_each(|sound| self.sound(sound));
        self.seal();
    }

    /// The codec that it needs in place of `source`; see [`Mux::sound_for`].
    pub(super) fn sound_for(&self, source: Codec) -> Codec {
        self.mux.sound_for(source)
    }

    /// From now on its sound is `track`, which is made for it; `None`: the publisher's.
    pub(super) fn set_sound(&mut self, track: Option<Track>) {
        // Nobody makes what it was waiting for: it goes on with the next group.
        self.awaits_sound &= track.is_some();
        self.sound = track;
    }

    /// Whether it gets the sound that `derived` makes.
    pub(super) fn needs(&self, derived: &Derived) -> bool {
        self.sound.as_ref().is_some_and(|track| track.codec == derived.codec())
    }

    /// Takes nothing until it is primed: the sound of the cached group is still being made.
    pub(super) fn await_sound(&mut self) {
        self.awaits_sound = true;
    }

    pub(super) fn awaits_sound(&self) -> bool {
        self.awaits_sound
    }

    /// A frame of the sound that is made for it.
    pub(super) fn sound(&mut self, frame: &Frame) {
        if let Some(track) = self.sound.as_ref().filter(|_| !self.awaits_sound) {
            if self.open.is_empty() {
                self.mux.begin(&mut self.open);
            }
            self.mux.frame(track, frame, &mut self.open);
            self.written(frame.dts);
        }
    }

    /// A group starts with the next frame, at `at`.
    pub(super) fn open_group(&mut self, scene: &Scene, at: Timestamp) {
        if self.awaits_sound {
            return;
        }
        self.seal();
        self.generation = scene.generation();
        let bytes = self.mux.headers(&seen(scene, self.sound.as_ref()), at);
        self.opens = Some(Rc::new(Headers { generation: self.generation, bytes }));
        self.dts = at;
    }

    /// Joiners cannot start from what there is.
    pub(super) fn forget_group(&mut self) {
        self.seal();
        self.ring.forget_key();
    }

    pub(super) fn frame(&mut self, scene: &Scene, frame: &Frame) {
        let is_replaced = frame.track == TrackId::AUDIO && self.sound.is_some();
        let Some(track) = scene.track(frame.track).filter(|_| !is_replaced && !self.awaits_sound) else {
            return;
        };
        self.begin();
        self.mux.frame(track, frame, &mut self.open);
        self.written(frame.dts);
    }

    /// A frame of `dts` went into the open batch.
    fn written(&mut self, dts: Timestamp) {
        self.dts = self.dts.max(dts);
        if self.open.len() >= self.batch_bytes_max {
            self.full |= self.seal();
        }
    }

    /// The scene changes for those who are in the middle of the stream; `scene` is how it is from here on.
    pub(super) fn change(&mut self, scene: &Scene, change: &Change) {
        if self.awaits_sound {
            return;
        }
        // Whoever has a batch knows the scene of its end: frames from before the change must not claim it.
        self.seal();
        self.begin();
        match (&change.what, &self.sound) {
            (Changed::Track(track), Some(sound)) if track.id == TrackId::AUDIO => {
                self.mux.track(sound, change.at, &mut self.open);
            }
            (Changed::Track(track), _) => self.mux.track(track, change.at, &mut self.open),
            (Changed::Metadata(_), sound) => {
                self.mux.metadata(&seen(scene, sound.as_ref()), change.at, &mut self.open);
            }
        }
        self.generation = change.generation;
        self.seal();
    }

    /// Tells those who stayed all that the scene consists of.
    pub(super) fn describe(&mut self, scene: &Scene, at: Timestamp) {
        self.seal();
        self.begin();
        let scene = &*seen(scene, self.sound.as_ref());
        self.mux.metadata(scene, at, &mut self.open);
        for track in scene.tracks() {
            self.mux.track(track, at, &mut self.open);
        }
        self.generation = scene.generation();
        self.seal();
    }

    fn begin(&mut self) {
        if self.open.is_empty() {
            self.mux.begin(&mut self.open);
        }
    }

    /// Closes the open batch. `true`: there is something new to walk with.
    pub(super) fn seal(&mut self) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let bytes = self.mux.seal(&mut self.open);
        self.open.clear();
        if bytes.is_empty() {
            return false;
        }
        self.totals.batches += 1;
        let opens = self.opens.take();
        self.ring.push(Batch { bytes, opens, dts: self.dts, generation: self.generation });
        true
    }

    /// Starts a walk over all readers.
    pub(super) fn begin_walk(&mut self) {
        self.walked = 0;
        self.full = false;
    }

    /// Whether a batch waits for the walk that is as large as batches may be.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The number that the next batch will get.
    pub(super) fn next(&self) -> Cursor {
        self.ring.next()
    }

    /// Goes on with the walk; `true` when it is done. `expired` is asked now and then whether to yield.
    pub(super) fn walk(&mut self, scene: &Scene, now: Instant, expired: &mut dyn FnMut() -> bool) -> bool {
        let end = self.readers.capacity();
        let mut served = 0;
        while self.walked < end {
            let at = self.walked;
            self.walked += 1;
            let Some(reader) = self.readers.get_mut(at) else { continue };
            start_if_due(reader, &self.ring, &mut *self.mux, scene, self.sound.as_ref());
            reader.walk(&self.ring, now);
            served += 1;
            if served % SLICE == 0 && expired() {
                return self.walked >= end;
            }
        }
        true
    }

    /// A reader joins; its place.
    pub(super) fn join(&mut self, reader: Reader) -> usize {
        self.readers.insert(reader)
    }

    /// Lets those who wait for a group start at the newest, when the walk comes to them.
    pub(super) fn start_waiting(&mut self, scene: &Scene) {
        for (_, reader) in &mut self.readers {
            start_if_due(reader, &self.ring, &mut *self.mux, scene, self.sound.as_ref());
        }
    }

    /// Serves one reader out of turn: it has just joined, resumed, or has something to say.
    pub(super) fn serve(&mut self, at: usize, scene: &Scene, now: Instant) {
        let Some(reader) = self.readers.get_mut(at) else { return };
        start_if_due(reader, &self.ring, &mut *self.mux, scene, self.sound.as_ref());
        reader.walk(&self.ring, now);
    }

    pub(super) fn poll(&mut self, at: usize, cx: &mut Context<'_>, now: Instant) -> Poll<Leave> {
        match self.readers.get_mut(at) {
            Some(reader) => reader.poll(cx, &self.ring, now),
            None => Poll::Pending,
        }
    }

    /// A reader leaves the stream.
    pub(super) fn leave(&mut self, at: usize) -> Option<Reader> {
        let reader = self.take(at)?;
        self.totals.add(&reader.stats().totals());
        Some(reader)
    }

    /// A reader goes to another rendition, with what it counted.
    pub(super) fn take(&mut self, at: usize) -> Option<Reader> {
        let reader = self.readers.try_remove(at)?;
        if self.readers.is_empty() {
            self.readers.shrink_to_fit();
        }
        Some(reader)
    }

    pub(super) fn reader(&self, at: usize) -> Option<&Reader> {
        self.readers.get(at)
    }

    pub(super) fn reader_mut(&mut self, at: usize) -> Option<&mut Reader> {
        self.readers.get_mut(at)
    }

    pub(super) fn readers(&self) -> impl Iterator<Item = &Reader> {
        self.readers.iter().map(|(_, reader)| reader)
    }

    pub(super) fn readers_mut(&mut self) -> impl Iterator<Item = &mut Reader> {
        self.readers.iter_mut().map(|(_, reader)| reader)
    }

    pub(super) fn is_unread(&self) -> bool {
        self.readers.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.readers.len()
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// What it came to, those readers that are here included.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.totals;
        for reader in self.readers() {
            totals.add(&reader.stats().totals());
        }
        totals
    }
}

/// The scene as players of a rendition see it whose sound is `sound`.
fn seen<'a>(scene: &'a Scene, sound: Option<&Track>) -> Cow<'a, Scene> {
    sound.map_or(Cow::Borrowed(scene), |track| Cow::Owned(scene.with_sound(track)))
}

fn start_if_due(reader: &mut Reader, ring: &Ring, mux: &mut dyn Mux, scene: &Scene, sound: Option<&Track>) {
    if let Some(key) = ring.key().filter(|key| reader.waits_for(*key)) {
        reader.greet(|| mux.preamble(&seen(scene, sound)));
        reader.start(key);
    }
}
