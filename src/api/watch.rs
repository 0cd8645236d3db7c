//! A side thread that looks at the system and at the board, so that whoever asks finds figures and rates ready.
//!
//! It reads `/proc` every [`PERIOD`] and compares the board's counters over half a minute. Shards never wait for it. It ends by
//! itself when nobody holds its [`Watch`] any more.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use shards::media::StreamKey;

use super::whole;
use crate::{
    board::{Board, Page},
    clients::Window,
    proc::{Sample, Sampler},
};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);
/// Before the second look: what is compared with the one before is wanted soon.
const FIRST: Duration = Duration::from_millis(500);

/// Bits a second over the last half minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// From publishers.
    pub received: u64,
    /// To viewers.
    pub sent: u64,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub struct Sight {
    /// The system.
    pub sample: Sample,
    /// Each stream's media.
    pub streams: HashMap<StreamKey, Rates>,
    /// All streams' media.
    pub all: Rates,
}

impl Sight {
    /// The rates of a stream; zero of one that has only begun.
    pub fn of(&self, key: &StreamKey) -> Rates {
        self.streams.get(key).copied().unwrap_or_default()
    }
}

/// See the module.
pub struct Watch {
    sight: ArcSwap<Sight>,
}

impl Watch {
    /// Starts the thread, after a first look.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(board: Arc<Board>) -> io::Result<Arc<Self>> {
        let mut eye = Eye::new(board);
        let watch = Arc::new(Self { sight: ArcSwap::from_pointee(eye.look(Instant::now())) });
        let seen = Arc::downgrade(&watch);
        thread::Builder::new().name("watch".to_owned()).spawn(move || eye.stay(&seen))?;
        Ok(watch)
    }

    /// What was seen last.
    pub fn sight(&self) -> Arc<Sight> {
        self.sight.load_full()
    }
}

/// What the thread remembers.
struct Eye {
    board: Arc<Board>,
    sampler: Sampler,
    streams: HashMap<StreamKey, Window>,
    all: Option<Window>,
}

impl Eye {
    fn new(board: Arc<Board>) -> Self {
        Self { board, sampler: Sampler::default(), streams: HashMap::new(), all: None }
    }

    fn stay(&mut self, watch: &Weak<Watch>) {
        let mut pause = FIRST;
        loop {
            thread::sleep(std::mem::replace(&mut pause, PERIOD));
            let Some(watch) = watch.upgrade() else { return };
            watch.sight.store(Arc::new(self.look(Instant::now())));
        }
    }

    fn look(&mut self, now: Instant) -> Sight {
        let pages = self.board.pages();
        let mut streams = HashMap::new();
        for stream in whole::streams(&pages) {
            let bytes = (stream.stats.bytes_in, stream.totals().bytes);
            let window = self.streams.entry(stream.key.clone()).or_insert_with(|| Window::new(now, bytes));
            streams.insert(stream.key.clone(), rates(window, now, bytes));
        }
        self.streams.retain(|key, _| streams.contains_key(key));
        let bytes = media_bytes(&pages);
        let all = rates(self.all.get_or_insert_with(|| Window::new(now, bytes)), now, bytes);
        Sight { sample: self.sampler.sample(now), streams, all }
    }
}

fn rates(window: &mut Window, now: Instant, bytes: (u64, u64)) -> Rates {
    let (received, sent) = window.rates(now, bytes);
    window.sample(now, bytes);
    Rates { received, sent }
}

/// Bytes of media from all publishers and to all viewers since the start.
pub fn media_bytes(pages: &[Arc<Page>]) -> (u64, u64) {
    let received = pages.iter().map(|page| page.received).sum();
    (received, pages.iter().map(|page| page.totals.bytes).sum())
}

#[cfg(test)]
mod tests {
    use shards::ShardId;

    use super::*;

    #[test]
    fn rates_are_those_of_what_the_shards_hang_up() {
        let start = Instant::now();
        let board = Board::new(&[0, 1], start);
        let mut eye = Eye::new(Arc::clone(&board));
        let mut last = Sight::default();
        for second in 0..=20u64 {
            for shard in [ShardId(0), ShardId(1)] {
                let mut page = Page::clone(&board.pages()[shard.index()]);
                page.received = second * 125_000;
                page.totals.bytes = second * 250_000;
                board.hang(shard, page);
            }
            last = eye.look(start + Duration::from_secs(second));
        }
        assert_eq!(last.all, Rates { received: 2_000_000, sent: 4_000_000 });
        assert!(last.sample.at_ms > 0);
    }

    #[test]
    fn the_thread_ends_with_its_watch() {
        let board = Board::new(&[0], Instant::now());
        let watch = Watch::start(Arc::clone(&board)).expect("a thread");
        assert!(watch.sight().sample.at_ms > 0, "the first look is over when it starts");
        drop(watch);
        let start = Instant::now();
        // The board is held by the thread and by us.
        while Arc::strong_count(&board) > 1 {
            assert!(start.elapsed() < Duration::from_secs(10), "the thread goes on");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
