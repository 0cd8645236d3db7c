//! Who adds frames: one seat for each stream, taken by a token.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use super::{Party, Stream, Work};
use crate::media::{Frame, Metadata, Track, TrackId, TrackKind};

/// Why the seat was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Somebody publishes this key.
    #[error("the stream is already published by {} from {} (connection {})", .0.protocol, .0.peer, .0.id)]
    Taken(Party),
}

/// Another publisher replaced this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another publisher took over the stream")]
pub struct Evicted;

/// The seat of a stream. Dropped, it is free again and players are told.
pub struct Publisher {
    stream: Rc<Stream>,
    token: u64,
}

impl Publisher {
    pub(super) fn new(stream: Rc<Stream>, token: u64) -> Self {
        Self { stream, token }
    }

    /// The stream it publishes.
    pub fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }

    /// What the publisher announced: whether sound and pictures will come, where it said so. Players start when all that
    /// is expected has come, or after half a second.
    ///
    /// # Errors
    /// [`Evicted`], here and below, when another publisher took over.
    pub fn expect(&self, audio: Option<bool>, video: Option<bool>) -> Result<(), Evicted> {
        self.inner(|inner| inner.expect(audio, video))
    }

    /// A track appears or changes.
    ///
    /// # Errors
    /// [`Evicted`].
    pub fn track(&self, track: Track) -> Result<(), Evicted> {
        self.inner(|inner| inner.track(track))
    }

    /// The publisher describes its stream.
    ///
    /// # Errors
    /// [`Evicted`].
    pub fn metadata(&self, metadata: Metadata) -> Result<(), Evicted> {
        self.inner(|inner| inner.metadata(metadata))
    }

    /// One frame, with the publisher's own time.
    ///
    /// # Errors
    /// [`Evicted`].
    pub fn frame(&self, frame: Frame) -> Result<(), Evicted> {
        self.inner(|inner| inner.frame(frame))
    }

    /// A frame or message that could not be understood was left out.
    ///
    /// # Errors
    /// [`Evicted`].
    pub fn note_malformed(&self) -> Result<(), Evicted> {
        self.inner(|inner| inner.note_malformed())
    }

    /// What was pushed since the last flush may leave now (or when it has gathered long enough).
    ///
    /// # Errors
    /// [`Evicted`].
    pub fn flush(&self) -> Result<(), Evicted> {
        let at_once = self.stream.coalesce.get().is_zero();
        let work = self.inner(|inner| inner.flush(at_once))?;
        self.stream.mark(work);
        Ok(())
    }

    /// Ready when another publisher took over.
    pub fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<Evicted> {
        if self.stream.inner.borrow_mut().watch_seat(self.token, cx.waker()) {
            Poll::Pending
        } else {
            Poll::Ready(Evicted)
        }
    }

    /// Ready when somebody waits for a keyframe of a track; that wish is taken with it.
    pub fn poll_key_request(&self, cx: &mut Context<'_>) -> Poll<TrackId> {
        let wish = &self.stream.key_wish;
        if let Some(track) = wish.take() {
            return Poll::Ready(TrackId::new(TrackKind::Video, track));
        }
        wish.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn inner<R>(&self, act: impl FnOnce(&mut super::Inner) -> R) -> Result<R, Evicted> {
        let mut inner = self.stream.inner.borrow_mut();
        if !inner.sits(self.token) {
            return Err(Evicted);
        }
        Ok(act(&mut inner))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let left = self.stream.inner.borrow_mut().leave_seat(self.token, self.stream.now.get());
        if left {
            self.stream.mark(Work::Now);
        }
    }
}
