//! Builds what each shard serves: options cut from the configuration, listeners, sessions and pages.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use config::{Coalesce, Config, Shards, Takeover, TranscodeAudio};
use shards::{
    Shard,
    executor::{self, Running},
    media::Timestamp,
    placement::usable_cpus,
    stream::{self, GopOptions, RingOptions, StreamOptions, Transcoding},
};

use crate::{
    api::{Api, Ports},
    board::{Board, Page},
    net::{
        admission::{Admission, AdmissionOptions},
        listener::{self, Listener, SocketOptions},
        tls,
    },
    protocols::http::Limits,
    sessions::{Arrival, Context, Service, SessionOptions, rtmp::reader_options},
    transcode,
};

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
    sockets: SocketOptions,
    admission: Arc<Admission>,
    tls: Option<Arc<rustls::ServerConfig>>,
    board: Arc<Board>,
    ports: Ports,
    start: Instant,
}

/// Starts the server: its shards run when this returns.
///
/// # Errors
/// A sentence for the operator: a port that is taken, a certificate that cannot be read, a system that refuses.
pub fn start(config: &Config) -> io::Result<Running> {
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
    let plan = Plan {
        doors,
        sessions: Arc::new(session_options(config)),
        sockets: SocketOptions {
            send_buffer: config.delivery.send_buffer.bytes(),
            unsent_max: config.delivery.unsent_max.bytes(),
        },
        admission: Admission::new(AdmissionOptions {
            connections_max: config.limits.connections as usize,
            per_ip_max: config.limits.connections_per_ip as usize,
        }),
        ports: ports(config),
        tls,
        board: Board::new(&cpus, Instant::now()),
        start: Instant::now(),
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
        tls: config.tls.is_enabled(),
    }
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

/// What one shard does.
struct Node {
    context: Rc<Context>,
    plan: Plan,
    listeners: RefCell<Vec<glommio::Task<()>>>,
    ticks: Cell<u32>,
    cpu: usize,
}

impl Node {
    fn new(plan: &Plan, shard: &Rc<Shard<Arrival>>) -> Rc<Self> {
        let api = Api::new(Arc::clone(&plan.board), plan.ports, plan.start);
        let context = Rc::new(Context {
            shard: Rc::clone(shard),
            options: Arc::clone(&plan.sessions),
            connections: Rc::default(),
            admission: Arc::clone(&plan.admission),
            tls: plan.tls.clone(),
            pages: Rc::new(move |request| api.answer(request)),
            refusals: Rc::default(),
        });
        let cpu = plan.board.pages().get(shard.id().index()).map_or(0, |page| page.cpu);
        Rc::new(Self { context, plan: plan.clone(), listeners: RefCell::default(), ticks: Cell::new(0), cpu })
    }

    fn page(&self, now: Instant) -> Page {
        let shard = &self.context.shard;
        let longest = shard.take_longest_walk();
        Page {
            at: now,
            cpu: self.cpu,
            connections: self.context.connections.len(),
            busy: shard.busy(),
            window: shard.window(),
            longest_walk_us: u64::try_from(longest.as_micros()).unwrap_or(u64::MAX),
            mirrors: shard.mirrors(),
            totals: shard.registry().totals(),
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
    type Arrival = Arrival;

    fn start(self: &Rc<Self>) -> Result<(), String> {
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

    fn arrive(self: &Rc<Self>, arrival: Arrival) {
        self.context.arrive(arrival);
    }

    fn tick(self: &Rc<Self>, now: Instant) {
        self.context.connections.tick(now);
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
