//! Builds what each shard serves: options cut from the configuration, listeners, sessions and pages.

mod keyring;
pub mod permission;

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    rc::{Rc, Weak},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use config::{Bframes, Coalesce, Config, Shards, Takeover, TranscodeAudio};
use shards::{
    Shard,
    executor::{self, Running},
    media::Timestamp,
    placement::usable_cpus,
    stream::{self, GopOptions, RingOptions, StreamOptions, Transcoding},
};

use crate::{
    api::{Abilities, Api, Local, Ports, Shared, visit::Caller, watch::Watch},
    board::{self, Board, Page},
    clients::inquiry::{Busy, Gathered},
    demo::control::Control,
    identity::Identity,
    log,
    net::{
        admission::{Admission, AdmissionOptions},
        interfaces,
        listener::{self, Listener, SocketOptions},
        steer, tls, traffic, udp,
    },
    protocols::http::Limits,
    sessions::{
        Context, Pages, Parcel, Service, SessionOptions,
        access::Decisions,
        inquiries,
        rtmp::reader_options,
        webrtc::{Directory, Published, WebRtc, WebRtcOptions},
    },
    settings::Setting,
    transcode,
};

use permission::Permission;

/// Ticks between two pages on the board: half a second.
const PAGE_TICKS: u32 = 5;

/// A port of the server.
#[derive(Clone, Copy, Debug)]
struct Door {
    name: &'static str,
    address: SocketAddr,
    service: Service,
}

/// What every shard gets a copy of.
#[derive(Clone)]
struct Plan {
    doors: Vec<Door>,
    sessions: Arc<SessionOptions>,
    webrtc: Option<Arc<WebRtcOptions>>,
    /// Each shard takes its own.
    webrtc_sockets: Arc<Mutex<Vec<Option<UdpSocket>>>>,
    sockets: SocketOptions,
    admission: Arc<Admission>,
    tls: Option<Arc<rustls::ServerConfig>>,
    board: Arc<Board>,
    permission: Permission,
    shared: Arc<Shared>,
}

/// What the process has besides its shards, and its control plane shows.
pub struct Host {
    /// The configuration as it is shown.
    pub settings: Vec<Setting>,
    /// The demo's switch.
    pub demo: Arc<Control>,
}

/// Starts the server: its shards run when this returns.
///
/// # Errors
/// A sentence for the operator: a port that is taken, a certificate that cannot be read, a system that refuses.
pub fn start(config: &Config, host: Host) -> io::Result<Running> {
    let cpus = cpus(&config.shards);
    let doors = doors(config);
    for door in &doors {
        // The shards' sockets share a port, so a second server would not notice the first.
        listener::probe(door.address).map_err(|error| bind_error(*door, &error))?;
    }
    let tls = match config.tls.is_enabled() {
        true => Some(tls::load(&config.tls.cert, &config.tls.key).map_err(io::Error::other)?),
        false => None,
    };
    let (webrtc, webrtc_sockets) = match config.webrtc.enable {
        true => {
            let sockets = webrtc_sockets(&config.webrtc, cpus.len())?.into_iter().map(Some).collect();
            (Some(Arc::new(webrtc_options(config)?)), sockets)
        }
        false => (None, Vec::new()),
    };
    let permission = Permission::start(config, Box::new(|_| Err("nothing is fetched here".to_owned())))
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    let board = Board::new(&cpus, Instant::now());
    let shared = Shared {
        board: Arc::clone(&board),
        watch: Watch::start(Arc::clone(&board))?,
        identity: Identity::new(""),
        ports: ports(config),
        abilities: Abilities {
            transcode: config.transcode.audio != TranscodeAudio::Off,
            ..Abilities::default()
        },
        settings: ArcSwap::from_pointee(host.settings),
        demo: host.demo,
        has_metrics: config.metrics.enable,
        metrics_of_streams: config.metrics.streams,
        built: built(),
        start: Instant::now(),
    };
    let plan = Plan {
        doors,
        webrtc,
        webrtc_sockets: Arc::new(Mutex::new(webrtc_sockets)),
        sessions: Arc::new(session_options(config)),
        sockets: SocketOptions {
            send_buffer: config.delivery.send_buffer.bytes(),
            unsent_max: config.delivery.unsent_max.bytes(),
        },
        admission: Admission::new(AdmissionOptions {
            connections_max: config.limits.connections as usize,
            per_ip_max: config.limits.connections_per_ip as usize,
        }),
        tls,
        permission,
        board,
        shared: Arc::new(shared),
    };
    let options = executor::Options {
        cpus,
        streams: stream_options(config),
        coalesce_max: (config.delivery.coalesce == Coalesce::Auto)
            .then(|| config.delivery.coalesce_max.duration()),
        mirror_share: config.mirror.enable.then(|| config.mirror.share as f32 / 100.0),
    };
    executor::start(&options, move |shard| Node::new(&plan, shard))
}

/// Looks whether a configuration can be served, as far as that can be told without serving it.
///
/// # Errors
/// A sentence for the operator.
pub fn check(config: &Config) -> Result<(), String> {
    permission::prepare(config).map(drop)
}

/// The CPUs of the shards, one each.
pub fn cpus(shards: &Shards) -> Vec<usize> {
    let usable = usable_cpus();
    match shards {
        Shards::Auto => usable,
        Shards::Count(count) => usable.iter().copied().cycle().take(*count).collect(),
        Shards::Cpus(cpus) => cpus.clone(),
    }
}

fn doors(config: &Config) -> Vec<Door> {
    [
        ("rtmp", &config.rtmp, Service::Rtmp),
        ("httpflv", &config.httpflv, Service::Http),
        ("ws_stream", &config.ws_stream, Service::Http),
        ("api", &config.api, Service::Control),
    ]
    .into_iter()
    .filter(|(_, listen, _)| listen.enable)
    .map(|(name, listen, service)| Door { name, address: listen.address(), service })
    .collect()
}

fn ports(config: &Config) -> Ports {
    let port = |listen: &config::Listen| listen.enable.then_some(listen.port);
    Ports {
        rtmp: port(&config.rtmp),
        http: port(&config.httpflv),
        ws: port(&config.ws_stream),
        api: port(&config.api),
        tls: config.tls.is_enabled(),
    }
}

/// When this program was made.
fn built() -> String {
    let file = std::env::current_exe().and_then(|path| path.metadata()).and_then(|file| file.modified());
    file.map(|at| log::Utc(at).to_string()).unwrap_or_default()
}

fn session_options(config: &Config) -> SessionOptions {
    let limits = &config.limits;
    let server_ip = match config.rtmp.listen_ip {
        ip if ip.is_unspecified() => String::new(),
        ip => ip.to_string(),
    };
    SessionOptions {
        reader: reader_options(limits.message_bytes_max.bytes(), limits.chunk_bytes_max.bytes()),
        http: Limits { head_bytes_max: limits.http_head_bytes_max.bytes(), ..Limits::default() },
        tag_bytes_max: limits.message_bytes_max.bytes(),
        ws_message_bytes_max: limits.ws_message_bytes_max.bytes(),
        handshake_timeout: limits.handshake_timeout.duration(),
        idle_timeout: limits.idle_timeout.duration(),
        first_frame_timeout: config.publish.first_frame_timeout.duration(),
        silence_timeout: config.publish.silence_timeout.duration(),
        server_ip,
    }
}

/// The sockets of all shards, in their order: each at a port of its own, or all at one.
fn webrtc_sockets(webrtc: &config::Webrtc, shards: usize) -> io::Result<Vec<UdpSocket>> {
    let buffer = webrtc.socket_buffer.bytes();
    let first = SocketAddr::from((webrtc.listen_ip, webrtc.port));
    let refused = |address: SocketAddr| {
        move |error: io::Error| {
            io::Error::new(error.kind(), format!("webrtc: cannot listen at {address}: {error}"))
        }
    };
    if webrtc.single_port && shards > 1 {
        let (sockets, steered) = steer::bind(first, shards, buffer).map_err(refused(first))?;
        if let Err(error) = steered {
            tracing::warn!("webrtc: packets are not steered to their shards, which costs time: {error}");
        }
        return Ok(sockets);
    }
    let last = usize::from(webrtc.port) + shards - 1;
    if last > usize::from(u16::MAX) {
        let why = format!("{shards} shards need the ports {} to {last}, and there is no {last}", webrtc.port);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("webrtc: {why}")));
    }
    let ports = (webrtc.port..=u16::MAX).take(shards);
    ports
        .map(|port| {
            let address = SocketAddr::from((webrtc.listen_ip, port));
            udp::bind(address, buffer, false).map_err(refused(address))
        })
        .collect()
}

fn webrtc_options(config: &Config) -> io::Result<WebRtcOptions> {
    let webrtc = &config.webrtc;
    let environment = std::env::var("CANDIDATE").unwrap_or_default();
    let told = webrtc.candidates.iter().chain(environment.split([',', ' ']));
    let mut published = Published::of(told.filter(|text| !text.trim().is_empty()));
    if published.is_empty() {
        published.ips = local_addresses(webrtc.listen_ip)?;
    }
    let http = [&config.httpflv, &config.api, &config.ws_stream].into_iter().find(|listen| listen.enable);
    let certificate = str0m::crypto::from_feature_flags().dtls_provider.generate_certificate();
    Ok(WebRtcOptions {
        directory: Arc::new(Directory::new(webrtc.single_port)),
        published,
        tcp_port: http.filter(|_| webrtc.tcp).map(|listen| listen.port),
        ice_servers: webrtc.ice_servers.iter().map(str::to_owned).collect(),
        codecs: webrtc.codecs.iter().map(str::to_owned).collect(),
        timeout: webrtc.timeout.duration(),
        connect_timeout: webrtc.connect_timeout.duration(),
        keeps_bframes: webrtc.bframes == Bframes::Keep,
        makes_opus: config.transcode.audio != TranscodeAudio::Off,
        sessions_max: webrtc.sessions_max as usize,
        certificate: certificate
            .ok_or_else(|| io::Error::other("webrtc: no certificate for DTLS can be made"))?,
    })
}

/// The addresses of this machine that a socket at `listen_ip` can be reached at.
fn local_addresses(listen_ip: IpAddr) -> io::Result<Vec<IpAddr>> {
    if !listen_ip.is_unspecified() {
        return Ok(vec![listen_ip]);
    }
    let mut found = interfaces::addresses()?;
    found.retain(|ip| ip.is_ipv4() || listen_ip.is_ipv6());
    if found.is_empty() {
        // A machine without a network still serves itself.
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    Ok(found)
}

fn stream_options(config: &Config) -> StreamOptions {
    StreamOptions {
        gop: GopOptions {
            enable: config.gop.enable,
            bytes_max: config.gop.bytes_max.bytes(),
            frames_max: config.gop.frames_max as usize,
            duration_max: media_time(config.gop.duration_max.duration()),
            audio_group: media_time(config.gop.audio_only_duration.duration()),
        },
        ring: RingOptions {
            bytes_max: config.delivery.queue_bytes_max.bytes(),
            lag_max: media_time(config.delivery.lag_max.duration()),
        },
        batch_bytes_max: config.delivery.batch_bytes_max.bytes(),
        coalesce: match config.delivery.coalesce {
            Coalesce::Auto => Duration::ZERO,
            Coalesce::Fixed(time) => time.duration(),
        },
        jump_max: media_time(config.publish.timestamp_jump_max.duration()),
        takeover: match config.publish.takeover {
            Takeover::Refuse => stream::Takeover::Refuse,
            Takeover::Replace => stream::Takeover::Replace,
        },
        wait: config.play.wait.duration(),
        grace: config.play.grace.duration(),
        stall: config.delivery.stall_timeout.duration(),
        transcoding: transcoding(&config.transcode),
    }
}

fn transcoding(transcode: &config::Transcode) -> Option<Transcoding> {
    let bits_per_second = |rate: config::BitRate| u32::try_from(rate.bits_per_second()).unwrap_or(u32::MAX);
    match transcode.audio {
        TranscodeAudio::Off => None,
        TranscodeAudio::Auto => Some(Transcoding {
            make: transcode::make,
            aac_bitrate: bits_per_second(transcode.aac_bitrate),
            opus_bitrate: bits_per_second(transcode.opus_bitrate),
        }),
    }
}

fn media_time(duration: Duration) -> Timestamp {
    Timestamp::from_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4))
}

fn bind_error(door: Door, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{}: cannot listen at {}: {error}{hint}", door.name, door.address))
}

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
struct Node {
    context: Rc<Context>,
    plan: Plan,
    listeners: RefCell<Vec<glommio::Task<()>>>,
    ticks: Cell<u32>,
    cpu: usize,
}

impl Node {
    fn new(plan: &Plan, shard: &Rc<Shard<Parcel>>) -> Rc<Self> {
        let context = Rc::new_cyclic(|context| Context {
            shard: Rc::clone(shard),
            options: Arc::clone(&plan.sessions),
            connections: Rc::default(),
            roster: Rc::default(),
            inquiries: inquiries(shard),
            admission: Arc::clone(&plan.admission),
            tls: plan.tls.clone(),
            gate: plan.permission.gate(),
            policy: plan.permission.policy(),
            webrtc: OnceCell::new(),
            pages: pages(plan, context),
            refusals: Rc::default(),
        });
        let cpu = plan.board.pages().get(shard.id().index()).map_or(0, |page| page.cpu);
        Rc::new(Self { context, plan: plan.clone(), listeners: RefCell::default(), ticks: Cell::new(0), cpu })
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
        if let Some(options) = &self.plan.webrtc {
            let shard = Rc::clone(&self.context.shard);
            let mut sockets = self.plan.webrtc_sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let socket = sockets.get_mut(shard.id().index()).and_then(Option::take);
            let socket = socket.ok_or("webrtc: there is no socket for this shard")?;
            let webrtc = WebRtc::start(WebRtcOptions::clone(options), shard, socket)
                .map_err(|error| format!("webrtc: cannot receive: {error}"))?;
            // The first and only time.
            let _ = self.context.webrtc.set(webrtc);
        }
        for door in self.plan.doors.iter().copied() {
            let listener = Listener::bind(door.address, self.plan.sockets)
                .map_err(|error| bind_error(door, &error).to_string())?;
            let context = Rc::clone(&self.context);
            // Kept, not detached: dropping the task closes the listening socket.
            self.listeners.borrow_mut().push(glommio::spawn_local(async move {
                listener.run(|socket| context.welcome(socket, door.service)).await;
            }));
        }
        Ok(())
    }

    fn arrive(self: &Rc<Self>, parcel: Parcel) {
        self.context.arrive(parcel);
    }

    fn tick(self: &Rc<Self>, now: Instant) {
        self.context.connections.tick(now);
        self.context.roster.tick(now);
        if let Some(webrtc) = self.context.webrtc.get() {
            webrtc.tick(now);
        }
        if self.ticks.get() == 0 {
            self.plan.board.hang(self.context.shard.id(), self.page(now));
        }
        self.ticks.set((self.ticks.get() + 1) % PAGE_TICKS);
    }

    fn begin_shutdown(self: &Rc<Self>) {
        self.listeners.borrow_mut().clear();
        self.context.connections.close_all();
    }

    fn is_idle(&self) -> bool {
        self.context.connections.is_empty()
    }
}
