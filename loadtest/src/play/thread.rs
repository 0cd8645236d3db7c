//! One thread of players: connects those whose time has come, serves those who got something, ends those who go.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use slab::Slab;

use super::{
    Options, Slow,
    connect::{self, advice},
    player::{Common, End, Player},
    schedule::Schedule,
    wire::Wire,
};
use crate::{
    clock,
    stats::{Live, Tally},
};

/// What one call takes at most; more than a receive buffer holds.
const TRASH_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;
const EVENTS_AT_ONCE: usize = 4_096;
/// Connections begun before others are served again.
const CONNECTS_AT_ONCE: usize = 32;
/// Between two looks at slow players.
const SLOW_TICK_NS: u64 = 50_000_000;
/// Between two looks at everybody.
const TICK_NS: u64 = 1_000_000_000;
/// Between two signs of life: below every server's patience that is known.
const ALIVE_TICKS: u64 = 5;
/// A thread looks so often whether it shall stop.
const WAIT_MAX: Duration = Duration::from_millis(50);

pub struct Thread {
    number: usize,
    options: Arc<Options>,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    poll: Poll,
    players: Slab<Player>,
    tallies: Vec<Tally>,
    schedule: Schedule,
    /// Slow players: token, id.
    slow: Vec<(usize, u64)>,
    ids: u64,
    /// Players that do not drain yet.
    busy: usize,
}

impl Thread {
    pub fn new(
        number: usize,
        options: Arc<Options>,
        live: Arc<Live>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        Ok(Self {
            number,
            live,
            stop,
            poll: Poll::new()?,
            players: Slab::new(),
            tallies: vec![Tally::default(); options.cohorts.len()],
            schedule: Schedule::new(number, &options, |cohort| !cohort.address.form.is_datagrams()),
            slow: Vec::new(),
            ids: 0,
            busy: 0,
            options,
        })
    }

    /// Until all is over; what each cohort counted.
    pub fn run(mut self) -> Vec<Tally> {
        let options = Arc::clone(&self.options);
        let (mut buffer, mut trash) = (vec![0; BUFFER_BYTES], Vec::<u8>::with_capacity(TRASH_BYTES));
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        let (mut next_tick, mut next_slow, mut ticks) = (options.start_ns + TICK_NS, options.start_ns, 0_u64);
        loop {
            let now = clock::now();
            if self.stop.load(Ordering::Relaxed) || now >= options.end_ns {
                break;
            }
            let backlog = self.connect_due(now);
            self.let_go(now);
            let live = Arc::clone(&self.live);
            let mut common = Common {
                options: &options,
                buffer: &mut buffer,
                trash: trash.spare_capacity_mut(),
                live: &live,
                woke_ns: now,
            };
            if now >= next_slow && !self.slow.is_empty() {
                next_slow = now + SLOW_TICK_NS;
                self.serve_slow(now, &mut common);
            }
            if now >= next_tick {
                next_tick = now + TICK_NS;
                ticks += 1;
                self.tick(now, ticks);
            }
            let wait = if backlog { Duration::ZERO } else { self.wait(now) };
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing works without it, and nothing but a mistake here makes it fail.
                Err(error) => panic!("epoll failed: {error}"),
            }
            common.woke_ns = clock::now();
            for event in &events {
                self.on_event(event.token().0, &mut common);
            }
            let seen = events.iter().count();
            if self.busy == 0 && options.nap_ns > 0 && (1..EVENTS_AT_ONCE).contains(&seen) {
                clock::sleep_until(clock::now() + options.nap_ns);
            }
        }
        self.tallies
    }

    fn wait(&self, now: u64) -> Duration {
        let first = self.schedule.next_ns(&self.options).saturating_sub(now);
        WAIT_MAX.min(Duration::from_nanos(first))
    }

    /// Begins to connect those whose time has come; whether there are more.
    fn connect_due(&mut self, now: u64) -> bool {
        let options = Arc::clone(&self.options);
        for _ in 0..CONNECTS_AT_ONCE {
            let Some((at, n)) = self.schedule.comer(self.number, &options, now) else { return false };
            self.connect(at, n);
        }
        self.schedule.next_ns(&options) <= now
    }

    fn connect(&mut self, at: usize, n: u64) {
        let options = Arc::clone(&self.options);
        let Some(cohort) = options.cohorts.get(at) else { return };
        let source = options.sources.get(at).and_then(|sources| sources.of(n));
        let buffer = cohort.slow.map(|_| options.slow_buffer);
        let sampled = cohort.is_sampled(n);
        self.count(at, |tally| {
            tally.started += 1;
            tally.sampled += u64::from(sampled);
        });
        Live::add(&self.live.started, 1);
        self.ids += 1;
        // Before the socket, so that its time is not counted as the server's.
        let wire = Wire::new(&cohort.address, cohort.stream(n), n + 1);
        let socket = match connect::begin(cohort.remote, source, buffer) {
            Ok(socket) => socket,
            Err(error) => return self.refused(at, &advice(&error)),
        };
        let player = Player::new(socket, at, self.ids, cohort.address.form, sampled, wire);
        let fd = player.socket.as_raw_fd();
        let token = self.players.insert(player);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut SourceFd(&fd), Token(token), interest);
        if let Err(error) = registered {
            self.players.remove(token);
            return self.refused(at, &advice(&error));
        }
        self.busy += 1;
        if let Some(stays) = cohort.stays_ns(n) {
            self.schedule.will_go(clock::now() + stays, token, self.ids);
        }
        if cohort.slow.is_some() {
            self.slow.push((token, self.ids));
        }
    }

    fn refused(&mut self, cohort: usize, reason: &str) {
        self.count(cohort, |tally| {
            tally.refused += 1;
            tally.reason(reason);
        });
        Live::add(&self.live.failed, 1);
    }

    fn count(&mut self, cohort: usize, what: impl FnOnce(&mut Tally)) {
        if let Some(tally) = self.tallies.get_mut(cohort) {
            what(tally);
        }
    }

    fn on_event(&mut self, token: usize, common: &mut Common<'_>) {
        let Some(player) = self.players.get_mut(token) else { return };
        if let Some(slow) = common.options.cohorts.get(player.cohort).and_then(|cohort| cohort.slow)
            && player.plays
            && is_held(slow, clock::now().saturating_sub(common.options.start_ns))
        {
            player.waiting = true;
            return;
        }
        self.serve(token, usize::MAX, common);
    }

    fn serve(&mut self, token: usize, room: usize, common: &mut Common<'_>) {
        let Some(player) = self.players.get_mut(token) else { return };
        let Some(tally) = self.tallies.get_mut(player.cohort) else { return };
        let drained = player.is_draining();
        match player.on_ready(room, common, tally) {
            Ok(()) => self.busy -= usize::from(!drained && player.is_draining()),
            Err(end) => self.on_end(token, end),
        }
    }

    fn on_end(&mut self, token: usize, end: End) {
        let Some(player) = self.remove(token) else { return };
        let failed = !player.plays;
        self.count(player.cohort, |tally| match end {
            End::Refused(reason) => {
                tally.refused += 1;
                tally.reason(&reason);
            }
            End::Ended(reason) => {
                tally.rejected += u64::from(failed);
                tally.died += u64::from(!failed);
                tally.reason(&reason);
            }
        });
        Live::add(if failed { &self.live.failed } else { &self.live.died }, 1);
    }

    fn remove(&mut self, token: usize) -> Option<Player> {
        // Its socket closes with it, which takes it out of the epoll as well.
        let player = self.players.try_remove(token)?;
        self.busy -= usize::from(!player.is_draining());
        if player.plays {
            self.live.playing.fetch_sub(1, Ordering::Relaxed);
        }
        Some(player)
    }

    /// Ends players whose time is over.
    fn let_go(&mut self, now: u64) {
        while let Some((token, id)) = self.schedule.goer(now) {
            if self.players.get(token).is_some_and(|player| player.id == id)
                && let Some(player) = self.remove(token)
            {
                self.count(player.cohort, |tally| tally.left += 1);
            }
        }
    }

    /// Lets slow players read what they may.
    fn serve_slow(&mut self, now: u64, common: &mut Common<'_>) {
        let mut slow = std::mem::take(&mut self.slow);
        slow.retain(|&(token, id)| {
            let Some(player) = self.players.get_mut(token).filter(|player| player.id == id) else {
                return false;
            };
            let pace = common.options.cohorts.get(player.cohort).and_then(|cohort| cohort.slow);
            let since = now.saturating_sub(common.options.start_ns);
            let room = match pace {
                Some(Slow::Crawl { bytes }) => (bytes * SLOW_TICK_NS / 1_000_000_000) as usize,
                Some(stop) if is_held(stop, since) => 0,
                _ => usize::MAX,
            };
            if player.waiting && room > 0 {
                player.waiting = matches!(pace, Some(Slow::Crawl { .. }));
                self.serve(token, room, common);
            }
            true
        });
        self.slow = slow;
    }

    /// Looks at everybody: those that wait too long, and those whose servers want to hear from them.
    fn tick(&mut self, now: u64, ticks: u64) {
        let patience = self.options.patience_ns;
        let late = |player: &Player| !player.plays && now.saturating_sub(player.asked_ns) > patience;
        let late: Vec<usize> =
            self.players.iter().filter(|(_, player)| late(player)).map(|(token, _)| token).collect();
        for token in late {
            let Some(player) = self.remove(token) else { continue };
            let reason = if player.is_connecting() {
                advice(&io::Error::from_raw_os_error(libc::ETIMEDOUT))
            } else {
                "connected, but no media came in time".to_owned()
            };
            self.count(player.cohort, |tally| {
                tally.timed_out += 1;
                tally.reason(&reason);
            });
            Live::add(&self.live.failed, 1);
        }
        if ticks.is_multiple_of(ALIVE_TICKS) {
            self.players.iter_mut().for_each(|(_, player)| player.stay_alive());
        }
    }
}

/// Whether a slow player may not read at this time; a crawling one reads by the clock only.
fn is_held(slow: Slow, since_ns: u64) -> bool {
    match slow {
        Slow::Stop { from_ns, until_ns } => from_ns <= since_ns && since_ns < until_ns,
        Slow::Crawl { .. } => true,
    }
}
