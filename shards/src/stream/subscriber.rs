//! Who reads: a place in one rendition. Dropped, the place is free.

use std::{
    cell::Cell,
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Leave, Mux, ReaderStats, RenditionKind, Stream};
use crate::media::Timestamp;

/// A reader's handle, held by its session.
pub struct Subscriber {
    stream: Rc<Stream>,
    kind: RenditionKind,
    slot: usize,
    place: Place,
}

/// Where a reader is: its rendition and its slot there; `None` once it has left. Shared with its gauge.
type Place = Rc<Cell<Option<(RenditionKind, usize)>>>;

/// Reads what a reader has come to, from outside its session, for as long as it is there.
pub struct Gauge {
    stream: Weak<Stream>,
    place: Place,
}

impl Gauge {
    /// Its counters, and how far it is behind its stream in media time; `None` once it has left.
    pub fn read(&self) -> Option<(ReaderStats, Timestamp)> {
        let (kind, slot) = self.place.get()?;
        let stream = self.stream.upgrade()?;
        let inner = stream.inner.borrow();
        Some((inner.reader(kind, slot)?.stats(), inner.lag(kind, slot)))
    }
}

impl Subscriber {
    pub(super) fn new(stream: Rc<Stream>, kind: RenditionKind, slot: usize) -> Self {
        Self { stream, kind, slot, place: Rc::new(Cell::new(Some((kind, slot)))) }
    }

    /// For those who want to know how it goes.
    pub fn gauge(&self) -> Gauge {
        Gauge { stream: Rc::downgrade(&self.stream), place: Rc::clone(&self.place) }
    }

    /// The stream it reads.
    pub fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }

    /// Which rendition it reads.
    pub fn kind(&self) -> RenditionKind {
        self.kind
    }

    /// Keeps the reader going while its peer is slow, and tells when to leave. Must be polled by the session's task whenever
    /// it wakes; while the peer keeps up, the stream's walk does the sending and this stays pending.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Leave> {
        self.stream.inner.borrow_mut().poll(self.kind, self.slot, cx, self.stream.now.get())
    }

    /// Sends bytes of the session's own (a pong, a status) between two batches.
    pub fn control(&self, bytes: Bytes) {
        let mut inner = self.stream.inner.borrow_mut();
        inner.with_reader(self.kind, self.slot, |reader| reader.control(bytes));
        inner.serve(self.kind, self.slot, self.stream.now.get());
    }

    /// Sends no media until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.stream.inner.borrow_mut().with_reader(self.kind, self.slot, |reader| reader.pause());
    }

    /// Goes on at the newest keyframe that the reader has not had.
    pub fn resume(&self) {
        let mut inner = self.stream.inner.borrow_mut();
        inner.with_reader(self.kind, self.slot, |reader| reader.resume());
        inner.serve(self.kind, self.slot, self.stream.now.get());
    }

    /// Goes over to another rendition of the same framing. A reader that has had media goes on at the next group, so that
    /// its time does not run backwards; the rest of a torn unit goes first.
    pub fn switch(&mut self, kind: RenditionKind, mux: impl FnOnce() -> Box<dyn Mux>) {
        if kind != self.kind {
            let now = self.stream.now.get();
            let moved = self.stream.inner.borrow_mut().switch((self.kind, self.slot), kind, mux, now);
            self.slot = moved.unwrap_or(self.slot);
            self.stream.mark_sound();
            self.kind = kind;
            self.place.set(Some((self.kind, self.slot)));
        }
    }

    /// Whether any of the stream has been given to it.
    pub fn has_started(&self) -> bool {
        let inner = self.stream.inner.borrow();
        inner.reader(self.kind, self.slot).is_some_and(|reader| reader.has_started())
    }

    /// Counters so far.
    pub fn stats(&self) -> ReaderStats {
        let inner = self.stream.inner.borrow();
        inner.reader(self.kind, self.slot).map(|reader| reader.stats()).unwrap_or_default()
    }

    /// Counters so far, and how far it is behind its stream in media time.
    pub fn standing(&self) -> (ReaderStats, Timestamp) {
        (self.stats(), self.stream.inner.borrow().lag(self.kind, self.slot))
    }

    /// Leaves. What is left of a unit that the peer has got a part of is returned (and control bytes that waited for their
    /// turn): it must be sent before anything else would make sense to the peer.
    pub fn leave(self) -> (ReaderStats, Vec<Bytes>) {
        self.place.set(None);
        let left = self.stream.inner.borrow_mut().leave(self.kind, self.slot);
        left.map(|reader| reader.into_rest()).unwrap_or_default()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.place.set(None);
        self.stream.inner.borrow_mut().leave(self.kind, self.slot);
    }
}
