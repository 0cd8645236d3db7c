//! WebRTC on one shard: a UDP socket of its own, the sessions behind it, and two tasks that serve them.
//!
//! Signalling comes over HTTP to the shard that owns the stream, and the answer names that shard's own port: so every
//! datagram arrives on the core where its stream lives. (Where all shards share one port, some come to another's, which hands
//! them on: [`stray`].) One task waits for datagrams and feeds sessions, the other
//! lets time pass and does what other tasks of the shard ask for ([`Kick`]). Neither holds a borrow while it waits.

mod candidates;
mod clock;
mod directory;
mod egress;
mod frames;
mod ingest;
mod kick;
mod machine;
mod negotiate;
mod parts;
mod session;
mod signal;
mod stray;
mod table;
mod tally;
pub mod tcp;
mod unsignalled;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

pub use candidates::Published;
pub use directory::Directory;
use egress::Outlet;
use futures_lite::FutureExt;
use glommio::timer;
use kick::Kick;
use session::{Session, Surroundings};
use shards::{Shard, ShardId};
pub use signal::{Signal, answer, options, wrong};
use str0m::net::Protocol;
use stray::Bag;
pub use stray::Note;
use table::{Table, Way};

use crate::{
    net::{
        seldom::Seldom,
        udp::{Route, Udp},
    },
    protocols::whip::stun,
    sessions::{Context, Latest, Parcel, rtp::MuxOptions},
};

/// What WebRTC needs of the configuration.
#[derive(Clone, Debug)]
pub struct WebRtcOptions {
    /// Where sessions are that other shards' datagrams and connections are for.
    pub directory: Arc<Directory>,
    /// What peers are told.
    pub published: Published,
    /// The port at which peers may come over TCP.
    pub tcp_port: Option<u16>,
    /// STUN and TURN servers that clients are told of: `turn:host:port user password`.
    pub ice_servers: Vec<String>,
    /// The codecs that publishers are asked for, the best first.
    pub codecs: Vec<String>,
    /// Silence after which a peer is gone.
    pub timeout: Duration,
    /// From the answer to the first encrypted packet.
    pub connect_timeout: Duration,
    /// B-frames go to viewers as they come.
    pub keeps_bframes: bool,
    /// AAC becomes Opus for viewers.
    pub makes_opus: bool,
    /// Sessions of one shard.
    pub sessions_max: usize,
    /// The certificate of this process's DTLS.
    pub certificate: str0m::config::DtlsCert,
}

/// The longest sleep of the task that lets time pass.
const IDLE: Duration = Duration::from_millis(500);
/// The shortest: as fine as deadlines are.
const BREATH: Duration = Duration::from_millis(1);

/// How long a call waits for WebRTC to run on its shard, and how often it looks.
const START: Duration = Duration::from_secs(10);
const START_STEP: Duration = Duration::from_millis(20);

/// Waits until WebRTC runs here, if it is to run at all; for a while.
pub async fn await_start(context: &Context) {
    let until = Instant::now() + START;
    while context.has_webrtc && context.webrtc.get().is_none() && Instant::now() < until {
        timer::sleep(START_STEP).await;
    }
}

/// See the module.
pub struct WebRtc {
    options: Latest<WebRtcOptions>,
    /// Where sessions are; it stays as the options change.
    directory: Arc<Directory>,
    shard: Rc<Shard<Parcel>>,
    udp: Rc<Udp>,
    lines: Rc<tcp::Lines>,
    outlet: Rc<Outlet>,
    table: RefCell<Table>,
    kick: Rc<Kick>,
    waker: RefCell<Waker>,
    /// The session that is being served: should it panic, it goes.
    serving: Cell<Option<usize>>,
    strays: Seldom,
}

impl WebRtc {
    /// Serves `socket`, which is this shard's, and starts its tasks.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        options: WebRtcOptions,
        shard: Rc<Shard<Parcel>>,
        socket: UdpSocket,
    ) -> io::Result<Rc<Self>> {
        let udp = Udp::new(socket)?;
        let (udp, lines, kick) = (Rc::new(udp), Rc::<tcp::Lines>::default(), Rc::<Kick>::default());
        let mux = MuxOptions { keeps_bframes: options.keeps_bframes, ..MuxOptions::default() };
        let table = Table::new(Arc::clone(&options.directory), shard.id());
        let webrtc = Rc::new(Self {
            shard,
            directory: Arc::clone(&options.directory),
            outlet: Outlet::new(Rc::clone(&udp), Rc::clone(&lines), Rc::clone(&kick), mux),
            udp,
            lines,
            table: RefCell::new(table),
            kick,
            waker: RefCell::new(Waker::noop().clone()),
            serving: Cell::default(),
            strays: Seldom::default(),
            options: Latest::new(options),
        });
        webrtc.listen();
        webrtc.keep_time();
        Ok(webrtc)
    }

    /// Follows other options from now on: those that do not belong to its socket. Its certificate stays.
    pub fn retune(&self, options: WebRtcOptions) {
        let certificate = self.options.get().certificate.clone();
        self.options.set(WebRtcOptions { certificate, directory: Arc::clone(&self.directory), ..options });
    }

    /// Sessions on this shard.
    pub fn sessions(&self) -> usize {
        self.table.borrow().len()
    }

    /// Starts the task that waits for datagrams, again and again should it panic.
    fn listen(self: &Rc<Self>) {
        let (webrtc, again) = (Rc::clone(self), Rc::clone(self));
        let task = async move {
            loop {
                if let Err(error) = webrtc.udp.readable().await {
                    tracing::debug!("UDP: {error}");
                }
                // Errors here are those of datagrams sent before (ICMP); reading goes on.
                while webrtc.receive().is_ok_and(|received| received > 0) {
                    glommio::yield_if_needed().await;
                }
            }
        };
        shards::spawn(task, move |panic| {
            again.bury(panic);
            again.listen();
        });
    }

    /// Starts the task that lets time pass, again and again should it panic.
    fn keep_time(self: &Rc<Self>) {
        let (webrtc, again) = (Rc::clone(self), Rc::clone(self));
        let task = async move {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            *webrtc.waker.borrow_mut() = waker;
            loop {
                let now = Instant::now();
                webrtc.pass(now);
                let next = webrtc.table.borrow().next().map_or(now + IDLE, |next| next.min(now + IDLE));
                let mut slept = false;
                // Woken for whatever reason, it looks.
                let woken = poll_fn(|cx| match webrtc.kick.poll(cx) {
                    Poll::Pending if !std::mem::replace(&mut slept, true) => Poll::Pending,
                    _ => Poll::Ready(()),
                });
                let sleep = timer::sleep(next.saturating_duration_since(now).max(BREATH));
                woken.or(sleep).await;
            }
        };
        shards::spawn(task, move |panic| {
            again.bury(panic);
            again.keep_time();
        });
    }

    /// A session panicked: it must not do so again.
    fn bury(&self, panic: &str) {
        tracing::error!("a WebRTC session panicked: {panic}");
        if let Some(slot) = self.serving.take() {
            drop(self.table.borrow_mut().remove(slot));
        }
    }

    /// Takes one batch of datagrams; how many there were.
    fn receive(&self) -> io::Result<usize> {
        let now = Instant::now();
        let (mut touched, bag): (Vec<usize>, _) = (Vec::new(), Bag::default());
        let received = self.udp.receive(|route, datagram| {
            self.take_datagram(now, route, datagram, &mut touched, Some(&bag));
        })?;
        let lost = bag.send(&self.shard);
        if lost > 0 && self.strays.admit(now).is_some() {
            tracing::warn!("{lost} datagrams were lost: another shard takes no more");
        }
        for slot in touched {
            self.settle(slot, now);
        }
        Ok(received)
    }

    /// Heeds what another shard says.
    pub fn heed(&self, note: &Note) {
        let now = Instant::now();
        // The inbox must not close because of one session.
        let outcome = catch_unwind(AssertUnwindSafe(|| match note {
            Note::Strays(strays) => {
                let mut touched = Vec::new();
                for (route, datagram) in strays.each() {
                    self.take_datagram(now, route, datagram, &mut touched, None);
                }
                touched.into_iter().for_each(|slot| self.settle(slot, now));
            }
            Note::Lost(peer) => self.table.borrow_mut().lose(Way { protocol: Protocol::Udp, peer: *peer }),
        }));
        if outcome.is_err() {
            self.bury("at a datagram that another shard had received");
        }
    }

    /// Takes a datagram; notes its session in `touched`. One of another shard's session goes into the `bag`, if there is one.
    fn take_datagram(
        &self,
        now: Instant,
        route: Route,
        datagram: &[u8],
        touched: &mut Vec<usize>,
        bag: Option<&Bag>,
    ) {
        let way = Way { protocol: Protocol::Udp, peer: route.peer };
        match (self.take(now, way, route.local, datagram), bag) {
            (Ok(slot), _) if touched.contains(&slot) => {}
            (Ok(slot), _) => touched.push(slot),
            (Err(Some(owner)), Some(bag)) if owner != self.shard.id() => bag.put(owner, route, datagram),
            _ => {
                if let Some(more) = self.strays.admit(now) {
                    tracing::debug!(peer = %way.peer, "a datagram of no session (and {more} more before)");
                }
            }
        }
    }

    /// The shard of the session that has this ICE name on our side.
    pub fn owner_of(&self, name: &str) -> Option<ShardId> {
        self.directory.of_name(name)
    }

    /// Takes what came over TCP instead; whether the way is a session's.
    fn frame(&self, peer: SocketAddr, datagram: &[u8]) -> bool {
        let now = Instant::now();
        let way = Way { protocol: Protocol::Tcp, peer };
        if let Ok(slot) = self.take(now, way, None, datagram) {
            self.settle(slot, now);
        }
        // A name alone opens nothing: the session's password does.
        self.table.borrow().of_way(way).is_some()
    }

    /// Gives a datagram to its session; the session's place.
    ///
    /// # Errors
    /// When it is none of this shard's: whose it may be.
    fn take(
        &self,
        now: Instant,
        way: Way,
        local: Option<IpAddr>,
        datagram: &[u8],
    ) -> Result<usize, Option<ShardId>> {
        let mut table = self.table.borrow_mut();
        let name = stun::local_ufrag(datagram);
        let slot = match name {
            Some(name) => table.of_ufrag(name),
            None => table.of_way(way),
        };
        let Some((slot, session)) = slot.and_then(|slot| Some((slot, table.get(slot)?))) else {
            let directory = &self.directory;
            return Err(match name {
                _ if !directory.shares_port() => None,
                Some(name) => directory.of_name(name),
                None => directory.of_way(way.peer),
            });
        };
        if self.serve(slot, |around| session.datagram(now, way, local, datagram, around))
            && let Some(loser) = table.heard_from(slot, way)
        {
            // Should its inbox be full: the session there is silent now, and ends by itself.
            let _ = self.shard.outbox().send(loser, Parcel::WebRtc(Note::Lost(way.peer)));
        }
        Ok(slot)
    }

    /// Time passes for those whose deadline has come, and for those that have something to do.
    fn pass(&self, now: Instant) {
        loop {
            let Some(slot) = self.table.borrow_mut().due(now) else { break };
            if let Some(session) = self.table.borrow_mut().get(slot) {
                self.serve(slot, |around| session.wake(now, around));
            }
            self.settle(slot, now);
        }
        let mut ready = self.kick.take_ready();
        ready.extend(self.table.borrow_mut().wishes(&self.waker.borrow()));
        ready.sort_unstable();
        ready.dedup();
        for slot in ready {
            if let Some(session) = self.table.borrow_mut().get(slot) {
                self.serve(slot, |around| session.work(now, around));
            }
            self.settle(slot, now);
        }
    }

    /// The shard's tick: peers that are silent, streams that are over, the end of the server.
    pub fn tick(&self, now: Instant) {
        let slots = self.table.borrow().slots();
        for slot in slots {
            if let Some(session) = self.table.borrow_mut().get(slot) {
                self.serve(slot, |around| session.tick(now, around));
            }
            self.settle(slot, now);
        }
    }

    /// After a session was served: its frames may leave, its timer is set, or it is over.
    fn settle(&self, slot: usize, now: Instant) {
        let mut table = self.table.borrow_mut();
        let Some(session) = table.get(slot) else { return };
        session.flush();
        if session.ended().is_none() {
            table.arm(slot, now);
            return;
        }
        let Some(session) = table.remove(slot) else { return };
        drop(table);
        let ways = session.ways.clone();
        self.serve(slot, |around| session.farewell(around));
        ways.iter().filter(|way| way.protocol == Protocol::Tcp).for_each(|way| self.lines.close(way.peer));
    }

    /// Ends a session for a reason.
    fn dismiss(&self, slot: usize, why: &str) {
        if let Some(session) = self.table.borrow_mut().get(slot) {
            session.end(why);
        }
        self.settle(slot, Instant::now());
    }

    /// Enters a session whose answer is about to be sent.
    fn enter(&self, session: Session) {
        let now = Instant::now();
        let slot = self.table.borrow_mut().insert(session);
        if let Some(session) = self.table.borrow_mut().get(slot) {
            self.serve(slot, |around| session.wake(now, around));
        }
        self.settle(slot, now);
        self.kick.ring();
    }

    /// Does something with a session, and knows which should it panic.
    fn serve<T>(&self, slot: usize, act: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        self.serving.set(Some(slot));
        let waker = self.waker.borrow();
        let around = Surroundings {
            udp: &self.udp,
            lines: &self.lines,
            waker: &waker,
            timeout: self.options.get().timeout,
        };
        let outcome = act(&around);
        self.serving.set(None);
        outcome
    }
}
