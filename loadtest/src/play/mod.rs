//! Players: threads with an epoll each, where those that are parsed live apart from those that only drain.
//!
//! A draining player costs an event and one `recv` that discards in the kernel; a parsed one tells latencies. Both parse
//! until their first keyframe. Players of datagrams ([`rtc`]) have threads of their own, dealt out in the same way. Everything is known beforehand: who comes when ([`cohort`]), what is steady ([`Terms`]).

pub mod cohort;
pub mod connect;
mod inspect;
mod player;
mod rtc;
mod schedule;
mod thread;
mod wire;

pub use cohort::{Cohort, Deal, Role, Slow};
pub use connect::Sources;
pub use inspect::Terms;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
};

use crate::stats::{Live, Tally};

/// What all threads of players are told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who plays.
    pub cohorts: Vec<Cohort>,
    /// How they are dealt out.
    pub deal: Deal,
    /// When the first one comes; everything of cohorts is relative to this.
    pub start_ns: u64,
    /// When all go.
    pub end_ns: u64,
    /// What is steady, and what a stall is.
    pub terms: Terms,
    /// A player without media after this has failed.
    pub patience_ns: u64,
    /// How long a thread that only drains sleeps between two looks, so that several arrivals cost one call.
    pub nap_ns: u64,
    /// Where players come from, by cohort.
    pub sources: Vec<Sources>,
    /// The receive buffer of slow players, bytes.
    pub slow_buffer: usize,
}

/// The threads.
#[derive(Debug)]
pub struct Players {
    /// What each shows.
    pub live: Vec<Arc<Live>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Tally>>>,
}

impl Players {
    /// Starts them.
    ///
    /// # Errors
    /// When the system has no more threads or epolls.
    pub fn start(options: Options) -> io::Result<Self> {
        let options = Arc::new(options);
        let stop = Arc::new(AtomicBool::new(false));
        let mut players = Self { live: Vec::new(), stop: Arc::clone(&stop), threads: Vec::new() };
        let deal = options.deal;
        let has = |datagrams: bool| {
            options.cohorts.iter().any(|cohort| cohort.address.form.is_datagrams() == datagrams)
        };
        let (streams, datagrams) = (has(false), has(true));
        for number in 0..deal.parsing + deal.draining {
            let name = |kind: &str| match number.checked_sub(deal.parsing) {
                None => format!("{kind}parse-{number}"),
                Some(draining) => format!("{kind}drain-{draining}"),
            };
            let mut live = || {
                players.live.push(Arc::new(Live::default()));
                players.live.last().map(Arc::clone).unwrap_or_default()
            };
            if streams {
                let thread = thread::Thread::new(number, Arc::clone(&options), live(), Arc::clone(&stop))?;
                players.threads.push(Builder::new().name(name("")).spawn(move || thread.run())?);
            }
            if datagrams {
                let thread = rtc::Thread::new(number, Arc::clone(&options), live(), Arc::clone(&stop))?;
                players.threads.push(Builder::new().name(name("rtc-")).spawn(move || thread.run())?);
            }
        }
        Ok(players)
    }

    /// Sum of a counter over the threads.
    pub fn sum(&self, counter: impl Fn(&Live) -> &std::sync::atomic::AtomicU64) -> u64 {
        self.live.iter().map(|live| counter(live).load(Ordering::Relaxed)).sum()
    }

    /// Ends all players and returns what each cohort counted.
    pub fn finish(mut self) -> Vec<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all: Vec<Tally> = Vec::new();
        for thread in std::mem::take(&mut self.threads) {
            // A panic there has been printed; what the others counted still counts.
            let tallies = thread.join().unwrap_or_default();
            all.resize(all.len().max(tallies.len()), Tally::default());
            all.iter_mut().zip(&tallies).for_each(|(sum, tally)| sum.merge(tally));
        }
        all
    }
}

impl Drop for Players {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
