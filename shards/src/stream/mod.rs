//! One key's publisher seat, tracks, cache of pictures, renditions and readers: a pure machine, without sockets or clock.
//!
//! [`Stream`] is shared by `Rc` among the tasks of its shard: a [`Publisher`] pushes frames, [`Subscriber`]s read, and one
//! pump task walks. No borrow outlives a call, so no task meets another's.
//! Invariant: what players see continues: times increase across publishers, and nothing is sent that a decoder could not
//! start from. Time arrives as an argument of [`Stream::tick`] and is coarse (the tick's period).

mod derive;
mod gop;
mod inner;
mod mux;
mod pictures;
mod publisher;
mod reader;
mod rendition;
mod ring;
mod scene;
mod sink;
mod step;
mod subscriber;
mod tap;
mod timeline;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

pub use derive::{DerivedStats, Made, MakeTranscode, Transcode, Transcoding};
pub use gop::GopOptions;
pub use inner::{Dropped, StreamStats, Totals};
use inner::{Inner, Work};
pub use mux::Mux;
pub use publisher::{Evicted, PublishError, Publisher};
pub use reader::{Leave, ReaderStats};
pub use rendition::RenditionKind;
pub use ring::{Batch, Cursor, Headers, Read, Ring, RingOptions};
pub use scene::{Scene, TRACKS_MAX};
pub use sink::Sink;
pub use step::Step;
pub use subscriber::{Gauge, Subscriber};
pub use tap::Relay;
pub use timeline::{Repairs, STEP_MIN, Timeline};

use crate::media::{Codec, StreamKey, Timestamp, TrackId, TrackKind};

/// The weight of the newest tick in the share of a stream's walks.
const SHARE_NEWEST: f32 = 0.3;

/// What a second publisher on a live key meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It is refused.
    Refuse,
    /// It replaces the first.
    Replace,
}

/// How streams behave; one set for all of a shard's.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// Bounds of the cache of pictures.
    pub gop: GopOptions,
    /// Bounds of each rendition's log.
    pub ring: RingOptions,
    /// A batch is sealed when it has this many bytes, whatever `coalesce` says.
    pub batch_bytes_max: usize,
    /// How long frames gather before they are sent; zero sends each at once.
    pub coalesce: Duration,
    /// A larger step of a publisher's clock is a jump to repair.
    pub jump_max: Timestamp,
    /// What a second publisher meets.
    pub takeover: Takeover,
    /// How long a player waits for a publisher.
    pub wait: Duration,
    /// How long players are kept after the publisher went.
    pub grace: Duration,
    /// How long a peer may take nothing before it is closed.
    pub stall: Duration,
    /// Who makes sound for renditions that cannot carry the publisher's; `None`: nobody, and they get it as it is.
    pub transcoding: Option<Transcoding>,
}

/// Who is at the other end of a publisher or subscriber, for logs, answers and the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The connection's id, as in the log.
    pub id: Arc<str>,
    /// `rtmp`, `flv`, `ws-flv` …
    pub protocol: &'static str,
    /// Its address.
    pub peer: SocketAddr,
    /// The address it connected to, as it said; may be empty.
    pub tc_url: Arc<str>,
}

/// A stream, shared among the tasks of its shard; see the module.
pub struct Stream {
    key: StreamKey,
    coalesce: Cell<Duration>,
    /// How long what comes from the owner has gathered there.
    gathered: Cell<Duration>,
    /// When the newest walk began.
    began: Cell<Option<Instant>>,
    /// Time that walks over its readers took since the last tick.
    walked: Cell<Duration>,
    /// The share of the shard's time that walks take, smoothed: 0 to 1.
    share: Cell<f32>,
    inner: RefCell<Inner>,
    now: Cell<Instant>,
    pump: Pump,
    key_wish: KeyWish,
}

/// How a publisher that can make keyframes when asked learns that somebody waits for one.
#[derive(Default)]
struct KeyWish {
    /// A bit for each track of pictures, by its number.
    wanted: Cell<u32>,
    waker: Cell<Option<Waker>>,
}

impl KeyWish {
    /// Notes a wish; whether it is news.
    fn want(&self, track: u8) -> bool {
        let (before, bit) = (self.wanted.get(), 1_u32.checked_shl(track.into()).unwrap_or(0));
        self.wanted.set(before | bit);
        before | bit != before
    }

    /// Takes a wish: the track's number.
    fn take(&self) -> Option<u8> {
        let wanted = self.wanted.get();
        self.wanted.set(wanted & wanted.wrapping_sub(1));
        (wanted != 0).then_some(wanted.trailing_zeros() as u8)
    }
}

/// How the pump task learns that there is something to send.
#[derive(Default)]
struct Pump {
    dirty: Cell<bool>,
    /// What waits should not wait for `coalesce`.
    urgent: Cell<bool>,
    closed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Pump {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Whether a stream is still of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Somebody publishes, plays, or may return.
    Alive,
    /// Nobody does; the registry lets go of it.
    Over,
}

impl Stream {
    /// A stream that nobody publishes or plays yet.
    pub fn new(key: StreamKey, options: StreamOptions, now: Instant) -> Rc<Self> {
        Rc::new(Self {
            inner: RefCell::new(Inner::new(options)),
            key,
            coalesce: Cell::new(options.coalesce),
            gathered: Cell::default(),
            began: Cell::default(),
            walked: Cell::default(),
            share: Cell::default(),
            now: Cell::new(now),
            pump: Pump::default(),
            key_wish: KeyWish::default(),
        })
    }

    /// Its name.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// How long frames gather before they are sent: at a mirror only for what they did not gather at the owner.
    pub fn coalesce(&self) -> Duration {
        self.coalesce.get().saturating_sub(self.gathered.get())
    }

    /// How long what comes now gathers before it is sent; zero when the last walk is longer ago than that.
    pub fn until_walk(&self, now: Instant) -> Duration {
        let since = self.began.get().map(|began| now.saturating_duration_since(began));
        since.map_or(Duration::ZERO, |since| self.coalesce().saturating_sub(since))
    }

    /// From now on frames gather so long before they are sent.
    pub fn set_coalesce(&self, coalesce: Duration) {
        self.coalesce.set(coalesce);
        self.inner.borrow_mut().set_gathered(coalesce);
    }

    /// Behaves so from now on; whether it caches pictures and makes sound stays as it began.
    pub(crate) fn retune(&self, options: StreamOptions) {
        self.inner.borrow_mut().retune(options);
    }

    /// A stream on another shard than the owner's, for viewers there. It is fed by [`follow`](Self::follow).
    pub fn mirror(key: StreamKey, options: StreamOptions, now: Instant) -> Rc<Self> {
        let stream = Self::new(key, options, now);
        stream.inner.borrow_mut().become_mirror();
        stream
    }

    /// Whether it is a mirror.
    pub fn is_mirror(&self) -> bool {
        self.inner.borrow().is_mirror()
    }

    /// At the owner: the mirror `id` follows from here on, starting with the newest group; what it is to do goes out by
    /// `relay`.
    pub fn tap(&self, id: u16, relay: Box<dyn Relay>) {
        let mut inner = self.inner.borrow_mut();
        inner.tap(id, relay);
        inner.set_gathered(self.coalesce.get());
    }

    /// At the owner: the mirror `id` follows no longer; its viewers came to `totals`.
    pub fn untap(&self, id: u16, totals: &Totals) {
        self.inner.borrow_mut().untap(id, totals);
    }

    /// At the owner: how many mirrors follow.
    pub fn mirrors(&self) -> usize {
        self.inner.borrow().taps()
    }

    /// At a mirror: does what the owner did, where frames gathered for so long.
    pub fn follow(&self, steps: Vec<Step>, gathered: Duration) {
        self.gathered.set(gathered);
        let at_once = self.coalesce().is_zero();
        let mut inner = self.inner.borrow_mut();
        inner.follow(steps, self.now.get());
        let work = inner.flush(at_once);
        drop(inner);
        self.mark(work);
    }

    /// Notes that a walk took so long.
    pub fn note_walk(&self, took: Duration) {
        self.walked.set(self.walked.get() + took);
    }

    /// `elapsed` passed since the last time of asking. Gives the share of it that walks over readers took, smoothed over a
    /// second or so: 0 to 1.
    pub fn note_share(&self, elapsed: Duration) -> f32 {
        let newest = (self.walked.take().as_secs_f32() / elapsed.as_secs_f32().max(1e-3)).min(1.0);
        let share = self.share.get();
        self.share.set(share + (newest - share) * SHARE_NEWEST);
        self.share.get()
    }

    /// Payload bytes that came from its publishers; of a mirror none.
    pub fn received(&self) -> u64 {
        self.inner.borrow().received()
    }

    /// What all its readers came to.
    pub fn totals(&self) -> Totals {
        self.inner.borrow().totals()
    }

    /// Takes the publisher's seat.
    ///
    /// # Errors
    /// When somebody sits there and [`Takeover::Refuse`] holds: who it is.
    pub fn publish(self: &Rc<Self>, party: Party) -> Result<Publisher, PublishError> {
        let token = self.inner.borrow_mut().take_seat(party, self.now.get())?;
        Ok(Publisher::new(Rc::clone(self), token))
    }

    /// Joins as a reader of the rendition `kind`, which `mux` makes if there is none yet. A stream that has a group of
    /// pictures starts flowing at once.
    pub fn subscribe(
        self: &Rc<Self>,
        kind: RenditionKind,
        mux: impl FnOnce() -> Box<dyn Mux>,
        sink: Rc<dyn Sink>,
    ) -> Subscriber {
        let slot = self.inner.borrow_mut().join(kind, mux, sink, self.now.get());
        self.mark_sound();
        let subscriber = Subscriber::new(Rc::clone(self), kind, slot);
        if !subscriber.has_started() {
            self.request_key();
        }
        subscriber
    }

    /// Somebody could go on only from a keyframe: a publisher that can make one is told so.
    pub fn request_key(&self) {
        self.request_key_of(TrackId::VIDEO);
    }

    /// The same where the keyframe is to be of a certain track: a layer of a simulcast. Of tracks beyond the 32nd, and of
    /// other kinds, nobody is told.
    pub fn request_key_of(&self, track: TrackId) {
        if track.kind == TrackKind::Video
            && self.key_wish.want(track.index)
            && let Some(waker) = self.key_wish.waker.take()
        {
            waker.wake();
        }
    }

    /// At a mirror: whether somebody waits for a keyframe that the owner is to ask for.
    pub fn take_key_wish(&self) -> bool {
        self.key_wish.wanted.take() != 0 && !self.inner.borrow().has_group()
    }

    /// The tracks and metadata of this moment.
    pub fn scene(&self) -> Scene {
        self.inner.borrow().scene().clone()
    }

    /// Whether somebody publishes it and players can start or will shortly.
    pub fn is_live(&self) -> bool {
        self.inner.borrow().has_publisher()
    }

    /// Whether all its tracks are known.
    pub fn is_settled(&self) -> bool {
        self.inner.borrow().is_settled()
    }

    /// Whether it has, or may still come to have, a track of this codec: `false` when it is known to have others of that kind.
    pub fn carries(&self, codec: Codec) -> bool {
        let inner = self.inner.borrow();
        let mut same = inner.scene().tracks().iter().filter(|track| track.id.kind == codec.kind()).peekable();
        !inner.is_settled() || same.peek().is_none() || same.any(|track| track.codec == codec)
    }

    /// Readers of all renditions.
    pub fn viewers(&self) -> usize {
        self.inner.borrow().viewers()
    }

    /// Everything that an operator may want to know.
    pub fn stats(&self) -> StreamStats {
        self.inner.borrow().stats(self.now.get())
    }

    /// Time passes: players that waited too long, peers that stall, publishers that do not return.
    pub fn tick(&self, now: Instant) -> Life {
        self.now.set(now);
        let mut inner = self.inner.borrow_mut();
        self.mark(inner.tick(now));
        if inner.is_over(now) { Life::Over } else { Life::Alive }
    }

    /// The registry let go of it: the pump ends.
    pub fn close(&self) {
        self.pump.closed.set(true);
        self.pump.wake();
    }

    /// Something waits to be sent.
    fn mark(&self, work: Work) {
        let news = match work {
            Work::None => false,
            Work::InTime => !self.pump.dirty.replace(true),
            Work::Now => !self.pump.dirty.replace(true) | !self.pump.urgent.replace(true),
        };
        if news {
            self.pump.wake();
        }
    }

    /// Somebody came who may need sound that is still to be made.
    fn mark_sound(&self) {
        if self.inner.borrow().has_sound_to_make() {
            self.mark(Work::Now);
        }
    }

    /// For the pump: ready when something waits to be sent (`true`), or when the stream is over (`false`).
    pub fn poll_dirty(&self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.pump.closed.get() {
            return Poll::Ready(false);
        }
        if self.pump.dirty.get() {
            return Poll::Ready(true);
        }
        self.pump.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// For the pump, while it lets frames gather: ready when what waits should wait no longer.
    pub fn poll_urgent(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pump.closed.get() || self.pump.urgent.get() {
            return Poll::Ready(());
        }
        self.pump.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// For the pump, before a walk: makes sound in other codecs until all is made (`true`) or `expired` says to yield
    /// (`false`). It is asked after each piece of work, of which none takes a millisecond.
    pub fn make_sound(&self, expired: &mut dyn FnMut() -> bool) -> bool {
        self.inner.borrow_mut().make_sound(expired)
    }

    /// For the pump: seals what gathered and starts a walk over all readers.
    pub fn begin_walk(&self, now: Instant) {
        self.began.set(Some(now));
        self.pump.dirty.set(false);
        self.pump.urgent.set(false);
        self.inner.borrow_mut().begin_walk();
    }

    /// For the pump: goes on with the walk until it is done (`true`) or `expired` says to yield (`false`).
    pub fn walk(&self, expired: &mut dyn FnMut() -> bool) -> bool {
        self.inner.borrow_mut().walk(self.now.get(), expired)
    }
}

#[cfg(test)]
pub(crate) mod tests;
