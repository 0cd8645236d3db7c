//! One thread of players whose media comes in datagrams: WHEP's, and the floor's.
//!
//! Each has a socket of its own, as viewers have; one epoll and one call of `recvmmsg` for each that something came to. A
//! player that only counts looks at RTP's clear headers and hands str0m nothing but ICE, DTLS and RTCP, so that its session
//! lives on; a parsed one decrypts. Invariant: what is registered with the epoll is in the slab, at half its token.

mod player;
mod session;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use quinn_udp::UdpSocketState;
use slab::Slab;

use super::{Options, connect::advice, player::End, schedule::Schedule};
use crate::{
    clock,
    rtc::{self, Codecs, Maker, Role},
    stats::{Live, Tally},
};
use player::{Buffers, Common, Player};

const EVENTS_AT_ONCE: usize = 4_096;
/// Sessions begun before others are served again.
const ASKS_AT_ONCE: usize = 8;
/// Between two looks at everybody.
const TICK_NS: u64 = 1_000_000_000;
/// A thread looks so often whether it shall stop.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// See the module.
pub struct Thread {
    number: usize,
    options: Arc<Options>,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    poll: Poll,
    players: Slab<Player>,
    tallies: Vec<Tally>,
    schedule: Schedule,
    /// When players want to be called: time, token, id. An entry that is not the player's newest is passed over.
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
    ids: u64,
    /// Players that do not merely count.
    busy: usize,
    /// By cohort, the address that leads to the server.
    locals: Vec<Option<IpAddr>>,
    /// Of players that count, and of those that are parsed: only these tell the server of each packet.
    makers: [Maker; 2],
    buffers: Buffers,
}

impl Thread {
    pub fn new(
        number: usize,
        options: Arc<Options>,
        live: Arc<Live>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        // Never bound to anything that matters: it only tells what the system can do. Players' sockets are left as they
        // are, without UDP_GRO, so that the sender's kernel cuts datagrams as it does before a real network.
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let state = UdpSocketState::new((&probe).into())?;
        Ok(Self {
            number,
            live,
            stop,
            poll: Poll::new()?,
            players: Slab::new(),
            tallies: vec![Tally::default(); options.cohorts.len()],
            schedule: Schedule::new(number, &options, |cohort| cohort.address.form.is_datagrams()),
            due: BinaryHeap::new(),
            ids: 0,
            busy: 0,
            locals: options.cohorts.iter().map(|cohort| rtc::local_ip(cohort.remote).ok()).collect(),
            makers: [false, true].map(|feedback| Maker::new(Role::Play, Codecs::COMMON, feedback)),
            buffers: Buffers::new(state),
            options,
        })
    }

    /// Until all is over; what each cohort counted.
    pub fn run(mut self) -> Vec<Tally> {
        let options = Arc::clone(&self.options);
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        let mut next_tick = options.start_ns + TICK_NS;
        loop {
            let now = clock::now();
            if self.stop.load(Ordering::Relaxed) || now >= options.end_ns {
                break;
            }
            let backlog = self.ask_due(now);
            self.let_go(now);
            self.call_due(now);
            if now >= next_tick {
                next_tick = now + TICK_NS;
                self.end_late(now);
            }
            let wait = if backlog { Duration::ZERO } else { self.wait(now) };
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing works without it, and nothing but a mistake here makes it fail.
                Err(error) => panic!("epoll failed: {error}"),
            }
            for event in &events {
                let token = event.token().0;
                let datagrams = token % 2 == 1;
                self.serve(token / 2, |player, common, tally| match datagrams {
                    true => player.on_datagrams(common, tally),
                    false => player.on_reply(common, tally),
                });
            }
            let seen = events.iter().count();
            if self.busy == 0 && options.nap_ns > 0 && (1..EVENTS_AT_ONCE).contains(&seen) {
                clock::sleep_until(clock::now() + options.nap_ns);
            }
        }
        let tokens: Vec<usize> = self.players.iter().map(|(token, _)| token).collect();
        for token in tokens {
            self.remove(token);
        }
        self.tallies
    }

    fn wait(&self, now: u64) -> Duration {
        let due = self.due.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
        let first = self.schedule.next_ns(&self.options).min(due).saturating_sub(now);
        WAIT_MAX.min(Duration::from_nanos(first))
    }

    /// Begins sessions whose time has come; whether there are more.
    fn ask_due(&mut self, now: u64) -> bool {
        let options = Arc::clone(&self.options);
        for _ in 0..ASKS_AT_ONCE {
            let Some((at, n)) = self.schedule.comer(self.number, &options, now) else { return false };
            self.ask(at, n);
        }
        self.schedule.next_ns(&options) <= now
    }

    fn ask(&mut self, at: usize, n: u64) {
        let options = Arc::clone(&self.options);
        let Some(cohort) = options.cohorts.get(at) else { return };
        let sampled = cohort.is_sampled(n);
        self.count(at, |tally| {
            tally.started += 1;
            tally.sampled += u64::from(sampled);
        });
        Live::add(&self.live.started, 1);
        self.ids += 1;
        let source = options.sources.get(at).and_then(|sources| sources.of(n));
        let local = source.map(IpAddr::from).or(self.locals.get(at).copied().flatten());
        let [plain, telling] = &self.makers;
        let maker = if sampled { telling } else { plain };
        let who = player::Who { cohort: at, id: self.ids, sampled, stream: cohort.stream(n) };
        let player = match Player::ask(who, cohort, source, local, maker) {
            Ok(player) => player,
            Err(reason) => return self.refused(at, &reason),
        };
        let (datagrams, reply) = (player.socket.as_raw_fd(), player.reply_fd());
        let token = self.players.insert(player);
        let registry = self.poll.registry();
        let register = |fd, token, interest| registry.register(&mut SourceFd(&fd), Token(token), interest);
        let registered = register(datagrams, 2 * token + 1, Interest::READABLE).and_then(|()| match reply {
            Some(fd) => register(fd, 2 * token, Interest::READABLE | Interest::WRITABLE),
            None => Ok(()),
        });
        if let Err(error) = registered {
            self.players.remove(token);
            return self.refused(at, &advice(&error));
        }
        self.busy += 1;
        if let Some(stays) = cohort.stays_ns(n) {
            self.schedule.will_go(clock::now() + stays, token, self.ids);
        }
        // The floor is asked by a datagram at once.
        self.serve(token, |player, common, tally| player.on_time(common, tally));
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

    fn serve(
        &mut self,
        token: usize,
        what: impl FnOnce(&mut Player, &mut Common<'_>, &mut Tally) -> Result<(), End>,
    ) {
        let Some(player) = self.players.get_mut(token) else { return };
        let Some(tally) = self.tallies.get_mut(player.cohort) else { return };
        let mut common = Common { options: &self.options, live: &self.live, buffers: &mut self.buffers };
        let (counted, due) = (player.only_counts(), player.due_ns);
        let done = what(player, &mut common, tally);
        self.busy -= usize::from(!counted && player.only_counts());
        if player.due_ns != due {
            self.due.push(Reverse((player.due_ns, token, player.id)));
        }
        if let Err(end) = done {
            self.on_end(token, end);
        }
    }

    /// Calls players that wanted to be called by now.
    fn call_due(&mut self, now: u64) {
        while let Some(&Reverse((at, token, id))) = self.due.peek().filter(|Reverse((at, ..))| *at <= now) {
            self.due.pop();
            if self.players.get(token).is_some_and(|player| player.id == id && player.due_ns == at) {
                self.serve(token, |player, common, tally| player.on_time(common, tally));
            }
        }
    }

    fn on_end(&mut self, token: usize, end: End) {
        let Some((cohort, played)) = self.remove(token) else { return };
        self.count(cohort, |tally| match end {
            End::Refused(reason) => {
                tally.refused += 1;
                tally.reason(&reason);
            }
            End::Ended(reason) => {
                tally.rejected += u64::from(!played);
                tally.died += u64::from(played);
                tally.reason(&reason);
            }
        });
        Live::add(if played { &self.live.died } else { &self.live.failed }, 1);
    }

    /// Takes a player out: its cohort, and whether it played.
    fn remove(&mut self, token: usize) -> Option<(usize, bool)> {
        // Its sockets close with it, which takes them out of the epoll as well.
        let mut player = self.players.try_remove(token)?;
        self.busy -= usize::from(!player.only_counts());
        if player.plays {
            self.live.playing.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(tally) = self.tallies.get_mut(player.cohort) {
            player.finish(&self.options, tally);
        }
        Some((player.cohort, player.plays))
    }

    /// Ends players whose time is over.
    fn let_go(&mut self, now: u64) {
        while let Some((token, id)) = self.schedule.goer(now) {
            if self.players.get(token).is_some_and(|player| player.id == id)
                && let Some((cohort, _)) = self.remove(token)
            {
                self.count(cohort, |tally| tally.left += 1);
            }
        }
    }

    /// Ends those that have waited too long.
    fn end_late(&mut self, now: u64) {
        let patience = self.options.patience_ns;
        let late = |player: &Player| !player.plays && now.saturating_sub(player.asked_ns) > patience;
        let late: Vec<(usize, &'static str)> = self
            .players
            .iter()
            .filter(|(_, player)| late(player))
            .map(|(token, player)| (token, player.waits_for()))
            .collect();
        for (token, reason) in late {
            let Some((cohort, _)) = self.remove(token) else { continue };
            self.count(cohort, |tally| {
                tally.timed_out += 1;
                tally.reason(reason);
            });
            Live::add(&self.live.failed, 1);
        }
    }
}
