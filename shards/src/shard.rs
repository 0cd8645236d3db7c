//! One shard: an executor's streams, its way to the others, and its tasks.
//!
//! Everything here belongs to one thread. A [`Service`] gives the shard its purpose: what to do when it starts, when a
//! connection arrives from another shard, as time passes, and at the end.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_lite::FutureExt;
use glommio::{Latency, Shares, TaskQueueHandle, timer};

use crate::{
    executor::Options,
    handoff::{Letter, Outbox},
    media::StreamKey,
    mirrors::Mirrors,
    pace::Pace,
    placement::{Placement, ShardId},
    registry::{Make, Registry},
    spread::Spread,
    stream::Stream,
};

/// How often time passes for streams and sessions: fine enough for time-outs of seconds, and ten wakes a second are
/// nothing.
pub const TICK: Duration = Duration::from_millis(100);

/// How often a shard looks up in any case. glommio 0.9 can go to sleep with tasks that could run, when its preemption timer
/// expires at a bad moment (a context switch between looking at the rings and running the queues); the next event wakes
/// it, and a stream has one every 13 ms, so this is for a quiet shard. It must not be often: a wake of an idle shard costs
/// 35 us, and 100 to 150 us when other processes have had the caches.
pub(crate) const PULSE: Duration = Duration::from_millis(50);

/// How long a walk over a stream's readers may hold the executor before others get their turn: a tenth of a picture.
const WALK_SLICE: Duration = Duration::from_millis(1);

/// Frames that are to gather for no longer than this any more leave at once: another wake would cost more than it merges.
/// Publishers whose frames gather are heard so long before they leave.
pub const HASTE: Duration = Duration::from_millis(2);

/// The weight of the newest tick in how busy a shard is.
const BUSY_NEWEST: f32 = 0.3;

/// How long the making of sound in other codecs may hold the executor. It is asked after each call of a codec, of which the
/// longest takes about twice this (`cargo bench --bench transcode`): together they stay under a millisecond.
const SOUND_SLICE: Duration = Duration::from_micros(250);

/// What a shard is for.
pub trait Service: 'static {
    /// What travels between shards: a connection with all that it has said so far. Dropped, it closes.
    type Arrival: Send + 'static;

    /// Opens listeners and starts tasks.
    ///
    /// # Errors
    /// A sentence for the operator; the process does not start then.
    fn start(self: &Rc<Self>) -> Result<(), String>;

    /// A connection came from another shard.
    fn arrive(self: &Rc<Self>, arrival: Self::Arrival);

    /// Time passed: [`TICK`] or a little more since the last call.
    fn tick(self: &Rc<Self>, now: Instant);

    /// The process ends: accept nothing more, say goodbye. Called once.
    fn begin_shutdown(self: &Rc<Self>);

    /// Whether nobody is left to say goodbye to.
    fn is_idle(&self) -> bool;
}

/// See the module.
pub struct Shard<A: Send + 'static> {
    id: ShardId,
    placement: Placement,
    registry: Registry,
    outbox: Rc<Outbox<A>>,
    mirrors: Mirrors<A>,
    spread: Arc<Spread>,
    /// Above this share of the shard's time a stream is hot; `None`: never.
    mirror_share: Cell<Option<f32>>,
    /// For what must not wait behind sessions: arrivals from other shards, and the pumps.
    prompt: TaskQueueHandle,
    longest_walk: Rc<Cell<Duration>>,
    pace: Cell<Option<Pace>>,
    busy: Cell<Busy>,
}

/// How much of its time an executor spends in tasks.
#[derive(Clone, Copy, Debug)]
struct Busy {
    at: Instant,
    share: f32,
}

impl<A: Send + 'static> Shard<A> {
    pub(crate) fn new(
        id: ShardId,
        placement: Placement,
        options: &Options,
        spread: Arc<Spread>,
        outbox: Outbox<A>,
    ) -> Rc<Self> {
        let prompt = glommio::executor().create_task_queue(
            Shares::default(),
            // While something in it can run, the reactor is looked at this often.
            Latency::Matters(Duration::from_millis(2)),
            "prompt",
        );
        let outbox = Rc::new(outbox);
        Rc::new(Self {
            id,
            placement,
            registry: Registry::new(options.streams),
            mirrors: Mirrors::new(id, Rc::clone(&outbox)),
            spread,
            mirror_share: Cell::new(options.mirror_share.filter(|_| placement.shards() > 1)),
            outbox,
            prompt,
            longest_walk: Rc::default(),
            pace: Cell::new(options.coalesce_max.map(Pace::new)),
            busy: Cell::new(Busy { at: Instant::now(), share: 0.0 }),
        })
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// How keys map to shards.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// The way to the other shards.
    pub fn outbox(&self) -> &Outbox<A> {
        &self.outbox
    }

    /// This shard's streams.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The longest that a slice of a walk held this executor, since the last time of asking.
    pub fn take_longest_walk(&self) -> Duration {
        self.longest_walk.take()
    }

    /// The share of its time that goes into tasks, smoothed over a third of a second or so: 0 to 1.
    pub fn busy(&self) -> f32 {
        self.busy.get().share
    }

    /// How long frames gather now, where that follows the shard's load.
    pub fn window(&self) -> Option<Duration> {
        self.pace.get().map(|pace| pace.window())
    }

    /// Follows other options from now on: all but the CPUs. Nobody who publishes or plays is disturbed.
    pub fn retune(&self, options: &Options) {
        self.registry.retune(options.streams);
        let pace = options.coalesce_max.map(|max| {
            let mut pace = self.pace.get().unwrap_or(Pace::new(max));
            pace.set_max(max);
            pace
        });
        self.pace.set(pace);
        self.registry.set_coalesce(pace.map_or(options.streams.coalesce, |pace| pace.window()));
        self.mirror_share.set(options.mirror_share.filter(|_| self.placement.shards() > 1));
    }

    /// Looks how busy the executor was since the last tick, and lets frames gather accordingly. Gives how long that was.
    fn observe(&self, now: Instant) -> Duration {
        let before = self.busy.get();
        let elapsed = now.saturating_duration_since(before.at);
        // What it gives it forgets: this is the time since the last tick, and nobody else may ask.
        let worked = glommio::executor().executor_stats().executor_runtime();
        let newest = (worked.as_secs_f32() / elapsed.as_secs_f32().max(1e-3)).min(1.0);
        self.busy.set(Busy { at: now, share: before.share + (newest - before.share) * BUSY_NEWEST });
        if let Some(mut pace) = self.pace.get() {
            let window = pace.window();
            pace.observe(worked, elapsed);
            self.pace.set(Some(pace));
            if pace.window() != window {
                self.registry.set_coalesce(pace.window());
            }
        }
        elapsed
    }

    /// How many mirrors of other shards' streams there are here.
    pub fn mirrors(&self) -> usize {
        self.mirrors.len()
    }

    /// Where a viewer of `key` that was accepted here is served: at the owner, or where a hot stream has a mirror.
    pub fn place_viewer(&self, key: &StreamKey) -> ShardId {
        self.spread.place(self.placement.owner(key), self.id, key)
    }

    /// The stream of `key` for one who publishes it: this shard must own it. Made if need be.
    pub fn obtain(&self, key: &StreamKey) -> Rc<Stream> {
        debug_assert_eq!(self.placement.owner(key), self.id, "a stream lives on its owner");
        self.obtain_as(key, Stream::new).0
    }

    /// The stream of `key` for a viewer: the stream itself at its owner, a mirror on any other shard. Made if need be.
    pub fn obtain_for_viewer(&self, key: &StreamKey) -> Rc<Stream> {
        let owner = self.placement.owner(key);
        if owner == self.id {
            return self.obtain(key);
        }
        let (stream, new) = self.obtain_as(key, Stream::mirror);
        if new {
            tracing::debug!(stream = %key, "mirrors shard {owner}'s stream on shard {}", self.id);
            self.mirrors.begin(key, owner);
        }
        stream
    }

    fn obtain_as(&self, key: &StreamKey, make: Make) -> (Rc<Stream>, bool) {
        let (stream, new) = self.registry.obtain(key, Instant::now(), make);
        if new {
            if let Some(window) = self.window() {
                stream.set_coalesce(window);
            }
            start_pump(self.prompt, key.clone(), Rc::downgrade(&stream), Rc::clone(&self.longest_walk));
        }
        (stream, new)
    }

    /// Reads a letter from another shard; gives what is for the service.
    pub(crate) fn open(&self, letter: Letter<A>) -> Option<A> {
        match letter {
            Letter::Arrival(arrival) => return Some(arrival),
            Letter::Follow { key, from, epoch } => {
                self.obtain(&key).tap(from.0, self.mirrors.relay(from, &key, epoch));
            }
            Letter::Unfollow { key, from, totals } => {
                if let Some(stream) = self.registry.find(&key) {
                    stream.untap(from.0, &totals);
                }
            }
            Letter::RequestKey { key } => {
                if let Some(stream) = self.registry.find(&key) {
                    stream.request_key();
                }
            }
            Letter::Steps { key, epoch, steps, gathered } => {
                if self.mirrors.is_current(&key, epoch)
                    && let Some(stream) = self.registry.find(&key)
                {
                    stream.follow(steps, gathered);
                }
            }
        }
        None
    }

    /// Time passed since the last tick: so much, with its streams.
    fn tick(&self, now: Instant) {
        let elapsed = self.observe(now);
        self.spread.set_load(self.id, self.busy());
        self.registry.tick(now, |stream| match stream.is_mirror() {
            true => {
                self.mirrors.end(stream.key(), self.placement.owner(stream.key()), stream.totals());
            }
            false => self.spread.cool(self.id, stream.key()),
        });
        self.registry.for_each(|stream| {
            if stream.is_mirror() && stream.take_key_wish() {
                self.mirrors.request_key(stream.key(), self.placement.owner(stream.key()));
            }
        });
        if let Some(limit) = self.mirror_share.get() {
            self.registry.for_each(|stream| self.feel_heat(stream, limit, elapsed));
            self.spread.count(self.id, |key| self.registry.find(key).map_or(0, |stream| stream.viewers()));
        }
    }

    /// Looks whether one of its streams takes more than its share of this shard's time.
    fn feel_heat(&self, stream: &Stream, limit: f32, elapsed: Duration) {
        let (key, viewers) = (stream.key(), stream.viewers());
        let share = stream.note_share(elapsed);
        let owner = self.placement.owner(key);
        if owner == self.id {
            let crowd = self.spread.crowd(owner, key);
            // What all its viewers would take here.
            let everywhere = crowd.as_ref().map_or(1.0, |crowd| crowd.total() as f32 / viewers.max(1) as f32);
            match &crowd {
                None if share >= limit => {
                    self.spread.heat(owner, key);
                }
                Some(_) if share * everywhere < limit / 2.0 && stream.mirrors() == 0 => {
                    self.spread.cool(owner, key);
                }
                _ => {}
            }
        }
    }

    /// Starts a task among those that must not wait behind media.
    pub fn spawn_prompt(
        &self,
        task: impl Future<Output = ()> + 'static,
        on_panic: impl FnOnce(&str) + 'static,
    ) {
        spawn_into(self.prompt, task, on_panic);
    }
}

/// Starts a task on this shard. A panic ends that task alone and is told to `on_panic`: without this guard it would end
/// the whole executor.
pub fn spawn(task: impl Future<Output = ()> + 'static, on_panic: impl FnOnce(&str) + 'static) {
    // Into the default queue, whichever queue the caller runs in: a session's sockets belong to the throughput ring, or
    // every packet would interrupt the walks.
    spawn_into(TaskQueueHandle::default(), task, on_panic);
}

fn spawn_into(
    queue: TaskQueueHandle,
    task: impl Future<Output = ()> + 'static,
    on_panic: impl FnOnce(&str) + 'static,
) {
    match glommio::spawn_local_into(guarded(task, on_panic), queue) {
        Ok(task) => drop(task.detach()),
        Err(error) => tracing::error!("a task queue is gone: {error}"),
    }
}

fn guarded(task: impl Future<Output = ()>, on_panic: impl FnOnce(&str)) -> impl Future<Output = ()> {
    // Boxed: a future that is awaited by value has its room twice, as what was given and as what is awaited.
    let outcome = std::panic::AssertUnwindSafe(Box::pin(task)).catch_unwind();
    async move {
        if let Err(panic) = outcome.await {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            on_panic(message);
        }
    }
}

/// Starts the pump of a stream, and another should it panic: the stream's readers must not starve.
fn start_pump(queue: TaskQueueHandle, key: StreamKey, stream: Weak<Stream>, longest: Rc<Cell<Duration>>) {
    let (stream_again, longest_again) = (Weak::clone(&stream), Rc::clone(&longest));
    spawn_into(queue, pump(stream, longest), move |panic| {
        tracing::error!(stream = %key, "the stream's pump panicked: {panic}");
        start_pump(queue, key, stream_again, longest_again);
    });
}

/// Sends what a stream has sealed to all who keep up, in slices, until the stream is over. While it waits it holds no
/// stream: whoever does keeps it in the registry.
async fn pump(stream: Weak<Stream>, longest: Rc<Cell<Duration>>) {
    while poll_fn(|cx| stream.upgrade().map_or(Poll::Ready(false), |stream| stream.poll_dirty(cx))).await {
        let rest = stream.upgrade().map_or(Duration::ZERO, |stream| stream.until_walk(Instant::now()));
        if rest > HASTE {
            let urgent = |cx: &mut Context<'_>| {
                stream.upgrade().map_or(Poll::Ready(()), |stream| stream.poll_urgent(cx))
            };
            timer::sleep(rest).or(poll_fn(urgent)).await;
        }
        let Some(stream) = stream.upgrade() else { return };
        let mut slice = Instant::now();
        while !stream.make_sound(&mut || slice.elapsed() >= SOUND_SLICE) {
            longest.set(longest.get().max(slice.elapsed()));
            glommio::executor().yield_task_queue_now().await;
            slice = Instant::now();
        }
        longest.set(longest.get().max(slice.elapsed()));
        slice = Instant::now();
        stream.begin_walk(slice);
        loop {
            let is_done = stream.walk(&mut || slice.elapsed() >= WALK_SLICE);
            let took = slice.elapsed();
            stream.note_walk(took);
            longest.set(longest.get().max(took));
            if is_done {
                break;
            }
            glommio::executor().yield_task_queue_now().await;
            slice = Instant::now();
        }
    }
}

/// Runs a shard from its start to its end.
pub(crate) async fn run<S: Service>(
    shard: Rc<Shard<S::Arrival>>,
    service: Rc<S>,
    stop: Arc<crate::executor::Stop>,
) {
    let mut ending = None;
    let mut ticked = Instant::now();
    loop {
        timer::sleep(PULSE).await;
        let now = Instant::now();
        shard.mirrors.retry();
        if now.saturating_duration_since(ticked) < TICK {
            continue;
        }
        ticked = now;
        shard.tick(now);
        service.tick(now);
        match ending {
            None => {
                if let Some(deadline) = stop.asked() {
                    ending = Some(now + deadline);
                    service.begin_shutdown();
                }
            }
            Some(end) if service.is_idle() || now >= end => return,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use glommio::LocalExecutorBuilder;

    use super::*;
    use crate::{
        media::{FrameKind, TrackId},
        stream::{Publisher, tests::house::*},
    };

    /// What a player has got a while after `act`, in a stream that lets frames gather for ten seconds.
    fn after(act: fn(&House) -> Option<Publisher>) -> String {
        let executor =
            LocalExecutorBuilder::default().io_memory(1 << 20).preempt_timer(Duration::from_millis(2));
        let story = executor.spawn(move || async move {
            let house = house_with(|options| {
                options.coalesce = Duration::from_secs(10);
                options.batch_bytes_max = 50;
            });
            let player = house.join();
            // It has just sent: what comes now is to gather.
            house.stream.begin_walk(Instant::now());
            let ended = Rc::new(Cell::new(false));
            let (stream, end) = (Rc::downgrade(&house.stream), Rc::clone(&ended));
            let pumping = async move {
                pump(stream, Rc::default()).await;
                end.set(true);
            };
            spawn(pumping, |panic| panic!("{panic}"));
            let _seated = act(&house);
            timer::sleep(Duration::from_millis(100)).await;
            let news = player.news();
            house.stream.close();
            timer::sleep(Duration::from_millis(100)).await;
            assert!(ended.get(), "a stream that is over needs no pump");
            ready(news).await
        });
        story.expect("an executor").join().expect("no panic")
    }

    #[test]
    fn a_pump_lets_frames_gather() {
        let got = after(|house| {
            let publisher = house.publish_av();
            publisher.key(0);
            publisher.inter(40);
            Some(publisher)
        });
        assert_eq!(got, "");
    }

    #[test]
    fn a_pump_makes_haste_when_a_batch_is_large_or_a_publisher_goes() {
        let got = after(|house| {
            let publisher = house.publish_av();
            publisher.key(0);
            publisher.push(TrackId::VIDEO, FrameKind::Inter, 40, &"x".repeat(60));
            Some(publisher)
        });
        assert!(got.contains("{<V 0 x>}{<v 40 xxx"), "{got}");
        let got = after(|house| {
            house.publish_av().key(0);
            None
        });
        assert!(got.ends_with("{<V 0 x>}"), "{got}");
    }
}
