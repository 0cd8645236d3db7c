//! Builds what each shard serves: options cut from the configuration, listeners, sessions and pages.

mod backend;
mod datagrams;
mod keyring;
mod live;
mod node;
pub mod permission;
mod reload;
mod takeover;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use config::{Bframes, Coalesce, Config, Loaded, Shards, Takeover, TranscodeAudio};
use datagrams::Datagrams;
use live::{Door, Entrance, Live, bind_error};
use node::Node;
pub use reload::ReloadError;
use shards::{
    executor::{self, Running},
    media::Timestamp,
    placement::usable_cpus,
    stream::{self, GopOptions, RingOptions, StreamOptions, Transcoding},
};
use takeover::TakeOver;

use crate::{
    api::{Abilities, MetricsOptions, Ports, Shared, watch::Watch},
    board::Board,
    demo::control::Control,
    hooks::{self, Hooks},
    identity::Identity,
    log,
    net::{
        admission::{Admission, AdmissionOptions},
        interfaces,
        listener::{self, SocketOptions},
        tls,
    },
    orders::Orders,
    protocols::http::Limits,
    sessions::{
        Service, SessionOptions,
        rtmp::reader_options,
        webrtc::{Directory, Published, WebRtcOptions},
    },
    settings::{self, Setting},
    transcode,
};

use permission::Permission;

/// The longest that a document is waited for: its own time-out is shorter, unless many wait before it.
const FETCH: Duration = Duration::from_secs(150);

/// The least time for the backend to hear of those who were there at the end.
const NEWS: Duration = Duration::from_secs(1);

/// What every shard gets a copy of.
#[derive(Clone)]
struct Plan {
    datagrams: Arc<Datagrams>,
    live: Arc<ArcSwap<Live>>,
    admission: Arc<Admission>,
    board: Arc<Board>,
    hooks: Hooks,
    permission: Permission,
    shared: Arc<Shared>,
    /// The ports of WebRTC may still be another process's.
    waits_for_ports: bool,
    is_draining: Arc<AtomicBool>,
    /// Who publishes or plays, by shard.
    sessions: Arc<[AtomicUsize]>,
}

/// What the process has besides its shards, and its control plane uses.
pub struct Host {
    /// Where it gives what it wishes of the process.
    pub orders: Orders,
    /// The demo's switch.
    pub demo: Arc<Control>,
}

/// A server that runs.
pub struct Server {
    running: Running,
    keeper: hooks::Keeper,
    hooks: Hooks,
    permission: Permission,
    loaded: Arc<ArcSwap<Loaded>>,
    live: Arc<ArcSwap<Live>>,
    admission: Arc<Admission>,
    is_draining: Arc<AtomicBool>,
    sessions: Arc<[AtomicUsize]>,
    shared: Arc<Shared>,
    takeover: Option<TakeOver>,
}

impl Server {
    /// The configuration that is followed now.
    pub fn config(&self) -> Config {
        self.loaded.load().config.clone()
    }

    /// Takes nobody in any more; those who are there stay.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// How many publish or play, as of the last tick of each shard.
    pub fn sessions(&self) -> usize {
        self.sessions.iter().map(|shard| shard.load(Ordering::Relaxed)).sum()
    }

    /// Whether another process still has to go whose ports were taken over.
    pub fn is_taking_over(&self) -> bool {
        self.takeover.is_some()
    }

    /// Looks whether it is gone.
    pub fn look_after_take_over(&mut self) {
        if let Some(other) = self.takeover.take_if(|other| !other.is_under_way()) {
            tracing::info!(pid = other.pid(), "the process that was taken over from has ended");
        }
    }

    /// Ends it within `deadline`: nobody is let in any more, everybody is told, and the backend hears of them. Gives how many
    /// shards ended by a panic.
    pub fn stop(self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        self.running.stop().ask(deadline);
        let panics = self.running.join();
        // What the last sessions left to tell has a moment in any case.
        self.keeper.finish(until.saturating_duration_since(Instant::now()).max(NEWS));
        panics
    }
}

/// Starts the server: its shards run when this returns. With `take_over` it takes the ports of that process.
///
/// # Errors
/// A sentence for the operator: a port that is taken, a certificate that cannot be read, a system that refuses.
pub fn start(loaded: Loaded, take_over: Option<u32>, host: Host) -> io::Result<Server> {
    let config = &loaded.config;
    let cpus = cpus(&config.shards);
    let shards = cpus.len();
    let doors = doors(config);
    let datagrams = Arc::new(Datagrams::new(&config.webrtc, shards));
    let mut takeover = take_over.map(TakeOver::from).transpose()?;
    if takeover.is_none() {
        for door in &doors {
            // The shards' sockets share a port, so a second server would not notice the first.
            listener::probe(door.address).map_err(|error| bind_error(*door, &error))?;
        }
        datagrams.bind()?;
    }
    let (tls, webrtc) = (tls_of(config)?, webrtc_of(config)?);
    let identity = Identity::new("");
    let (hooks, keeper) = hooks::start(identity.clone(), backend::options(&config.hooks))?;
    let fetcher = hooks.clone();
    let fetch = move |url: &str| {
        fetcher.fetch(url).wait(FETCH).unwrap_or_else(|| Err("nobody fetches it".to_owned()))
    };
    let permission = Permission::start(config, Box::new(fetch))
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    let (sockets, mut entrances) = (socket_options(config), Vec::new());
    for door in doors {
        let before = TakeOver::count(door.address).unwrap_or_default();
        let entrance = Entrance::open(door, shards, sockets)?;
        if let Some(takeover) = &mut takeover {
            takeover.note(&entrance, before)?;
        }
        entrances.push(Arc::new(entrance));
    }
    let options = executor_options(config, cpus);
    let live = Live {
        sessions: session_options(config),
        tls,
        webrtc,
        sockets,
        shards: options.clone(),
        entrances,
        followed: AtomicUsize::new(0),
    };
    let board = Board::new(&options.cpus, Instant::now());
    let shared = Shared {
        board: Arc::clone(&board),
        watch: Watch::start(Arc::clone(&board))?,
        identity,
        ports: ArcSwap::from_pointee(ports(config)),
        abilities: ArcSwap::from_pointee(abilities(config, &hooks)),
        hooks: hooks.clone(),
        settings: ArcSwap::from_pointee(shown(&loaded)),
        demo: host.demo,
        metrics: ArcSwap::from_pointee(metrics(config)),
        built: built(),
        start: Instant::now(),
        orders: host.orders,
    };
    let shared = Arc::new(shared);
    let plan = Plan {
        live: Arc::new(ArcSwap::from_pointee(live)),
        datagrams,
        hooks: hooks.clone(),
        permission: permission.clone(),
        admission: Admission::new(admission_options(config)),
        board,
        shared: Arc::clone(&shared),
        waits_for_ports: takeover.is_some(),
        is_draining: Arc::default(),
        sessions: (0..shards).map(|_| AtomicUsize::default()).collect(),
    };
    let (live, admission) = (Arc::clone(&plan.live), Arc::clone(&plan.admission));
    let (is_draining, sessions) = (Arc::clone(&plan.is_draining), Arc::clone(&plan.sessions));
    let running = executor::start(&options, move |shard| Node::new(&plan, shard))?;
    if let Some(takeover) = &mut takeover {
        takeover.begin()?;
        tracing::info!(pid = takeover.pid(), "its ports are taken over");
    }
    let loaded = Arc::new(ArcSwap::from_pointee(loaded));
    Ok(Server {
        running,
        keeper,
        hooks,
        permission,
        loaded,
        live,
        admission,
        is_draining,
        sessions,
        shared,
        takeover,
    })
}

/// The configuration as the control plane shows it.
fn shown(loaded: &Loaded) -> Vec<Setting> {
    settings::of(&loaded.config, &loaded.origins, config::is_reloadable)
}

fn abilities(config: &Config, hooks: &Hooks) -> Abilities {
    Abilities {
        transcode: config.transcode.audio != TranscodeAudio::Off,
        hooks: hooks.is_calling(),
        ..Abilities::default()
    }
}

fn metrics(config: &Config) -> MetricsOptions {
    MetricsOptions { enable: config.metrics.enable, streams: config.metrics.streams }
}

fn tls_of(config: &Config) -> io::Result<Option<Arc<rustls::ServerConfig>>> {
    match config.tls.is_enabled() {
        true => tls::load(&config.tls.cert, &config.tls.key).map(Some).map_err(io::Error::other),
        false => Ok(None),
    }
}

fn webrtc_of(config: &Config) -> io::Result<Option<WebRtcOptions>> {
    config.webrtc.enable.then(|| webrtc_options(config)).transpose()
}

fn socket_options(config: &Config) -> SocketOptions {
    SocketOptions {
        send_buffer: config.delivery.send_buffer.bytes(),
        unsent_max: config.delivery.unsent_max.bytes(),
    }
}

fn admission_options(config: &Config) -> AdmissionOptions {
    AdmissionOptions {
        connections_max: config.limits.connections as usize,
        per_ip_max: config.limits.connections_per_ip as usize,
    }
}

fn executor_options(config: &Config, cpus: Vec<usize>) -> executor::Options {
    executor::Options {
        cpus,
        streams: stream_options(config),
        coalesce_max: (config.delivery.coalesce == Coalesce::Auto)
            .then(|| config.delivery.coalesce_max.duration()),
        mirror_share: config.mirror.enable.then(|| config.mirror.share as f32 / 100.0),
    }
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
