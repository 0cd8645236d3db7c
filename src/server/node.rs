//! What one shard does: its doors, its sessions, its pages, and following what changes.
//!
//! Everything here runs on the shard's own thread. Invariant: a door of this shard is open exactly while what is live has it,
//! until the server takes nobody in any more.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use shards::Shard;

use super::{
    Plan, backend,
    live::{Door, Live},
};
use crate::{
    api::{Api, Local, visit::Caller},
    board::{self, Page},
    clients::inquiry::{Busy, Gathered},
    net::{listener::Listener, traffic},
    sessions::{Context, Latest, Pages, Parcel, Service, access::Decisions, inquiries, webrtc::WebRtc},
};

/// Ticks between two pages on the board: half a second.
const PAGE_TICKS: u32 = 5;

/// The pages and the control plane, on the shard of `context`.
fn pages(plan: &Plan, context: &Weak<Context>) -> Pages {
    let context = Weak::clone(context);
    let asker = move |question| -> Local<Result<Gathered, Busy>> {
        let context = Weak::upgrade(&context);
        Box::pin(async move {
            match context {
                Some(context) => context.ask(question).await,
                // The shard ends.
                None => Err(Busy),
            }
        })
    };
    let api = Api::new(Arc::clone(&plan.shared), Box::new(asker));
    Rc::new(move |request, asker| {
        let at_control = asker.service == Service::Control;
        api.open(request, Caller { peer: asker.peer, ip: asker.ip, at_control })
    })
}

/// What one shard does.
pub(super) struct Node {
    context: Rc<Context>,
    plan: Plan,
    /// What it follows now.
    live: RefCell<Arc<Live>>,
    open: RefCell<Vec<Open>>,
    ticks: Cell<u32>,
    cpu: usize,
}

/// A door of this shard that is open. Dropping the task closes it.
struct Open {
    door: Door,
    listener: Rc<Listener>,
    _task: glommio::Task<()>,
}

impl Node {
    pub fn new(plan: &Plan, shard: &Rc<Shard<Parcel>>) -> Rc<Self> {
        let live = plan.live.load_full();
        let context = Rc::new_cyclic(|context| Context {
            shard: Rc::clone(shard),
            options: Latest::new(live.sessions.clone()),
            connections: Rc::default(),
            roster: Rc::default(),
            inquiries: inquiries(shard),
            admission: Arc::clone(&plan.admission),
            tls: Latest::new(live.tls.clone()),
            gate: backend::behind(plan.permission.gate(), plan.hooks.clone()),
            policy: plan.permission.policy(),
            has_webrtc: live.webrtc.is_some(),
            webrtc: OnceCell::new(),
            is_draining: Cell::default(),
            pages: pages(plan, context),
            refusals: Rc::default(),
        });
        let cpu = plan.board.pages().get(shard.id().index()).map_or(0, |page| page.cpu);
        let (open, ticks) = (RefCell::default(), Cell::new(0));
        Rc::new(Self { context, plan: plan.clone(), live: RefCell::new(live), open, ticks, cpu })
    }

    /// Opens and closes doors as `live` has them.
    fn keep_doors(&self, live: &Live) {
        let mut open = self.open.borrow_mut();
        open.retain(|open| live.entrances.iter().any(|entrance| entrance.door == open.door));
        for entrance in &live.entrances {
            let Some(socket) = entrance.take(self.context.shard.id()) else { continue };
            let (context, door) = (Rc::clone(&self.context), entrance.door);
            let listener = Rc::new(Listener::over(socket));
            let accepting = Rc::clone(&listener);
            let task = glommio::spawn_local(async move {
                accepting.run(|socket| context.welcome(socket, door.service)).await;
            });
            open.push(Open { door, listener, _task: task });
        }
        for open in open.iter() {
            if let Err(error) = open.listener.retune(live.sockets) {
                tracing::warn!("{}: {error}", open.door.name);
            }
        }
    }

    /// Follows what may have changed since the last tick.
    fn follow(&self) {
        let latest = self.plan.live.load_full();
        if Arc::ptr_eq(&latest, &self.live.borrow()) {
            return;
        }
        self.context.options.set(latest.sessions.clone());
        self.context.tls.set(latest.tls.clone());
        self.context.shard.retune(&latest.shards);
        if let (Some(webrtc), Some(options)) = (self.context.webrtc.get(), &latest.webrtc) {
            webrtc.retune(options.clone());
        }
        self.keep_doors(&latest);
        latest.note_followed();
        *self.live.borrow_mut() = latest;
    }

    /// Starts WebRTC, if it is to run and does not yet.
    fn start_webrtc(&self) -> Result<(), String> {
        let live = self.live.borrow();
        let Some(options) = live.webrtc.as_ref().filter(|_| self.context.webrtc.get().is_none()) else {
            return Ok(());
        };
        let shard = Rc::clone(&self.context.shard);
        let socket = match self.plan.datagrams.take(shard.id().index()) {
            Ok(socket) => socket,
            // The process that is taken over from has it until it ends.
            Err(error) if self.plan.waits_for_ports && error.kind() == io::ErrorKind::AddrInUse => {
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        let webrtc = WebRtc::start(options.clone(), shard, socket)
            .map_err(|error| format!("webrtc: cannot receive: {error}"))?;
        // The first and only time.
        let _ = self.context.webrtc.set(webrtc);
        Ok(())
    }

    fn permission(&self) -> board::Permission {
        let Decisions { granted, unauthorized, forbidden, unavailable } = self.context.gate.decisions();
        let expired = self.context.connections.expired();
        board::Permission { granted, unauthorized, forbidden, unavailable, expired }
    }

    fn page(&self, now: Instant) -> Page {
        let shard = &self.context.shard;
        let longest = shard.take_longest_walk();
        Page {
            at: now,
            cpu: self.cpu,
            connections: self.context.connections.len(),
            clients: self.context.roster.counts(),
            enrolled: self.context.roster.enrolled(),
            faults: self.context.connections.faults(),
            webrtc: self.context.webrtc.get().map_or(0, |webrtc| webrtc.sessions()),
            traffic: traffic::of_this_thread(),
            received: shard.registry().received(),
            busy: shard.busy(),
            window: shard.window(),
            longest_walk_us: u64::try_from(longest.as_micros()).unwrap_or(u64::MAX),
            mirrors: shard.mirrors(),
            totals: shard.registry().totals(),
            permission: self.permission(),
            streams: shard
                .registry()
                .all()
                .iter()
                .map(|stream| (stream.key().clone(), stream.stats()))
                .collect(),
        }
    }
}

impl shards::Service for Node {
    type Arrival = Parcel;

    fn start(self: &Rc<Self>) -> Result<(), String> {
        self.start_webrtc()?;
        self.keep_doors(&self.live.borrow());
        Ok(())
    }

    fn arrive(self: &Rc<Self>, parcel: Parcel) {
        self.context.arrive(parcel);
    }

    fn tick(self: &Rc<Self>, now: Instant) {
        if self.plan.is_draining.load(Ordering::Acquire) {
            self.context.is_draining.set(true);
            self.open.borrow_mut().clear();
        } else {
            self.follow();
        }
        self.context.connections.tick(now);
        self.context.roster.tick(now);
        if let Some(sessions) = self.plan.sessions.get(self.context.shard.id().index()) {
            sessions.store(self.context.roster.len(), Ordering::Relaxed);
        }
        if let Err(error) = self.start_webrtc() {
            tracing::error!("{error}");
        }
        if let Some(webrtc) = self.context.webrtc.get() {
            webrtc.tick(now);
        }
        if self.ticks.get() == 0 {
            self.plan.board.hang(self.context.shard.id(), self.page(now));
        }
        self.ticks.set((self.ticks.get() + 1) % PAGE_TICKS);
    }

    fn begin_shutdown(self: &Rc<Self>) {
        self.open.borrow_mut().clear();
        self.context.connections.close_all();
    }

    fn is_idle(&self) -> bool {
        self.context.connections.is_empty()
    }
}
