//! Every key there is, with its default and its range. `shardcast.yaml` is the manual of the same list.
//!
//! A line reads `pub key: Type = default, range;`.

use crate::{
    coalesce::Coalesce,
    leaf::words,
    secret::{Secret, Secrets},
    section::section,
    shards::Shards,
    texts::Texts,
    units::{BitRate, ByteSize, Millis, PictureSize},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

const fn ms(millis: u64) -> Millis {
    Millis::from_millis(millis)
}

const fn secs(secs: u64) -> Millis {
    Millis::from_secs(secs)
}

const fn kib(kib: u64) -> ByteSize {
    ByteSize::kib(kib)
}

const fn kbps(kbps: u64) -> BitRate {
    BitRate::kbps(kbps)
}

const fn mib(mib: u64) -> ByteSize {
    ByteSize::mib(mib)
}

section! {
    /// The whole configuration.
    pub struct Config {
        /// How many executors, on which CPUs.
        pub shards: Shards = Shards::Auto;
        /// RTMP publish and play.
        pub rtmp: Listen = Listen::on(1935);
        /// HTTP-FLV and WS-FLV play, and the pages.
        pub httpflv: Listen = Listen::on(8080);
        /// WS-FLV publish and play.
        pub ws_stream: Listen = Listen::on(8081);
        /// The control port: WebRTC signalling as SRS has it, and the pages.
        pub api: Listen = Listen::on(1985);
        /// WebRTC: WHIP publish, WHEP play.
        pub webrtc: Webrtc = Webrtc::default();
        /// The certificate of every TCP port.
        pub tls: Tls = Tls::default();
        /// What of a stream is kept for those who join.
        pub gop: Gop = Gop::default();
        /// How frames reach viewers, and what a slow one may cost.
        pub delivery: Delivery = Delivery::default();
        /// Streams that are too much for one core.
        pub mirror: Mirror = Mirror::default();
        /// What a publisher may do, and for how long it may do nothing.
        pub publish: Publish = Publish::default();
        /// How long players wait without a publisher.
        pub play: Play = Play::default();
        /// Sound made from sound.
        pub transcode: Transcode = Transcode::default();
        /// Who may publish and play, and use the API.
        pub auth: Auth = Auth::default();
        /// From where one may publish and play.
        pub security: Security = Security::default();
        /// Calls to the operator's backend.
        pub hooks: Hooks = Hooks::default();
        /// What is logged, how and where.
        pub log: Log = Log::default();
        /// What a peer may cost.
        pub limits: Limits = Limits::default();
        /// How the server ends.
        pub shutdown: Shutdown = Shutdown::default();
        /// The test picture.
        pub demo: Demo = Demo::default();
        /// Figures for Prometheus.
        pub metrics: Metrics = Metrics::default();
    }
}

section! {
    /// Where one service listens.
    pub struct Listen {
        /// Whether the service is offered at all.
        pub enable: bool = true;
        /// The address of this machine to listen on.
        pub listen_ip: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        /// The TCP port.
        pub port: u16 = 1935, 1..=u16::MAX;
    }
}

impl Listen {
    fn on(port: u16) -> Self {
        Self { port, ..Self::default() }
    }

    /// What to bind.
    pub fn address(&self) -> SocketAddr {
        (self.listen_ip, self.port).into()
    }
}

section! {
    /// Figures for Prometheus, at `/metrics` of every HTTP port.
    pub struct Metrics {
        /// Whether there are any.
        pub enable: bool = true;
        /// Whether each stream has its own.
        pub streams: bool = false;
    }
}

words! {
    /// What becomes of pictures that are shown in another order than they are sent; browsers cannot decode them.
    pub enum Bframes {
        /// All that come out of order are left out, those that others refer to included.
        Drop = "drop",
        /// They are sent as they come.
        Keep = "keep",
    }
}

section! {
    /// WebRTC: WHIP publish, WHEP play.
    pub struct Webrtc {
        /// Whether the service is offered at all.
        pub enable: bool = true;
        /// The address of this machine to receive media on.
        pub listen_ip: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        /// The UDP port of the first shard; each further shard has the next one.
        pub port: u16 = 8000, 1..=u16::MAX;
        /// Whether all shards receive at one port.
        pub single_port: bool = false;
        /// Whether peers whose network blocks UDP may come over TCP, through the HTTP port.
        pub tcp: bool = true;
        /// Addresses at which peers reach this machine; empty: those of its interfaces.
        pub candidates: Texts = Texts::default();
        /// STUN and TURN servers that clients are told of.
        pub ice_servers: Texts = Texts::default();
        /// Codecs a publisher is asked for, the first first.
        pub codecs: Texts = Texts::of(&["h264", "h265", "vp9", "av1", "vp8", "opus", "pcmu", "pcma"]);
        /// Silence after which a peer is gone.
        pub timeout: Millis = secs(5), secs(1)..=secs(120);
        /// From the answer to the first encrypted packet.
        pub connect_timeout: Millis = secs(15), secs(1)..=secs(120);
        /// What becomes of B-frames on their way to browsers.
        pub bframes: Bframes = Bframes::Drop;
        /// Sessions of one shard.
        pub sessions_max: u32 = 10_000, 1..=1_000_000;
        /// Bytes of the kernel's buffers for each UDP socket.
        pub socket_buffer: ByteSize = mib(4), kib(64)..=mib(256);
    }
}

section! {
    /// A certificate; both paths or none.
    pub struct Tls {
        /// PEM file with the certificate chain; empty: no TLS.
        pub cert: PathBuf = PathBuf::new();
        /// PEM file with the private key.
        pub key: PathBuf = PathBuf::new();
    }
}

impl Tls {
    /// Whether a certificate is configured.
    pub fn is_enabled(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }
}

section! {
    /// Bounds of a stream's GOP cache; whichever is reached first empties it until the next keyframe.
    pub struct Gop {
        /// Whether joiners start at the newest keyframe; otherwise they wait for the next one.
        pub enable: bool = true;
        /// Payload bytes of one stream's cache.
        pub bytes_max: ByteSize = mib(16), kib(64)..=mib(4096);
        /// Frames of all tracks together.
        pub frames_max: u32 = 4_000, 16..=1_000_000;
        /// Media time from the keyframe on.
        pub duration_max: Millis = secs(30), secs(1)..=secs(600);
        /// How far back a joiner of a stream without video starts.
        pub audio_only_duration: Millis = secs(1), ms(0)..=secs(30);
    }
}

section! {
    /// How frames reach viewers.
    pub struct Delivery {
        /// How long frames are gathered before they are sent together.
        pub coalesce: Coalesce = Coalesce::Auto;
        /// The most that `auto` gathers.
        pub coalesce_max: Millis = ms(100), ms(0)..=secs(2);
        /// A batch is sealed at this size even when `coalesce` has not passed.
        pub batch_bytes_max: ByteSize = kib(256), kib(1)..=mib(4);
        /// Media time that a viewer may be behind the newest frame before it skips to a keyframe.
        pub lag_max: Millis = secs(10), ms(500)..=secs(300);
        /// Bytes of sealed batches that one rendition of one stream keeps.
        pub queue_bytes_max: ByteSize = mib(32), mib(1)..=mib(8192);
        /// A viewer that takes no byte for so long, though there are some, is closed.
        pub stall_timeout: Millis = secs(30), secs(1)..=secs(3_600);
        /// `SO_SNDBUF` of a viewer's socket; zero: the kernel decides.
        pub send_buffer: ByteSize = ByteSize::ZERO, ByteSize::ZERO..=mib(64);
        /// `TCP_NOTSENT_LOWAT`: bytes that the kernel takes beyond what is on its way; zero: as many as its buffer holds.
        pub unsent_max: ByteSize = kib(128), ByteSize::ZERO..=mib(64);
    }
}

section! {
    /// Streams that are too much for one core.
    pub struct Mirror {
        /// Whether viewers of a hot stream are served by all shards.
        pub enable: bool = true;
        /// Percent of its shard's time above which a stream is hot.
        pub share: u32 = 25, 1..=100;
    }
}

words! {
    /// What becomes of a second publisher on a live key.
    pub enum Takeover {
        /// It is refused and told why.
        Refuse = "refuse",
        /// The first one is closed; players stay.
        Replace = "replace",
    }
}

section! {
    /// What a publisher may do.
    pub struct Publish {
        /// What becomes of a second publisher.
        pub takeover: Takeover = Takeover::Refuse;
        /// From the accepted publish to the first frame.
        pub first_frame_timeout: Millis = secs(20), secs(1)..=secs(600);
        /// From one frame to the next.
        pub silence_timeout: Millis = secs(10), secs(1)..=secs(600);
        /// A larger step of the publisher's clock, forward or backward, is a jump that the stream repairs.
        pub timestamp_jump_max: Millis = secs(3), ms(200)..=secs(60);
    }
}

section! {
    /// How long players wait without a publisher.
    pub struct Play {
        /// For the first publisher.
        pub wait: Millis = secs(30), ms(0)..=secs(3_600);
        /// For the publisher's return.
        pub grace: Millis = secs(10), ms(0)..=secs(3_600);
    }
}

words! {
    /// Whether sound is made in codecs that a publisher does not send.
    pub enum TranscodeAudio {
        /// For players who cannot take the publisher's, while there are any.
        Auto = "auto",
        /// Never: sound goes out as it came in, to whoever can take it.
        Off = "off",
    }
}

section! {
    /// Sound made from sound.
    pub struct Transcode {
        /// Whether it is made at all.
        pub audio: TranscodeAudio = TranscodeAudio::Auto;
        /// AAC in stereo; mono gets half.
        pub aac_bitrate: BitRate = kbps(128), kbps(32)..=kbps(320);
        /// Opus in stereo; mono gets half.
        pub opus_bitrate: BitRate = kbps(96), kbps(32)..=kbps(320);
    }
}

words! {
    /// Whether something needs a permission.
    pub enum Need {
        /// Everybody may.
        Open = "open",
        /// Who shows a token or a signature that is good for it.
        Token = "token",
    }
}

section! {
    /// Who may publish and play, and use the API.
    pub struct Auth {
        /// Who may publish.
        pub publish: Need = Need::Open;
        /// Who may play.
        pub play: Need = Need::Open;
        /// `ACTION PATTERN TOKEN` each.
        pub tokens: Secrets = Secrets::default();
        /// A file with such lines.
        pub tokens_file: PathBuf = PathBuf::new();
        /// Keys that addresses are signed with, the newest first.
        pub sign_keys: Secrets = Secrets::default();
        /// JSON Web Tokens.
        pub jwt: Jwt = Jwt::default();
        /// Who may use the API and the console.
        pub api: ApiAuth = ApiAuth::default();
    }
}

section! {
    /// What JSON Web Tokens are checked with.
    pub struct Jwt {
        /// The secret of HS256.
        pub secret: Secret = Secret::default();
        /// A PEM file with the public key of RS256 or ES256.
        pub public_key: PathBuf = PathBuf::new();
        /// A JSON Web Key Set: a path, or an address of http or https.
        pub jwks: String = String::new();
        /// How often it is read again.
        pub jwks_refresh: Millis = secs(300), secs(1)..=secs(86_400);
        /// What the claim `iss` must be.
        pub issuer: String = String::new();
        /// What must be in the claim `aud`.
        pub audience: String = String::new();
        /// How far clocks may differ.
        pub skew: Millis = secs(5), ms(0)..=secs(600);
    }
}

impl Auth {
    /// Whether tokens are JWTs for somebody.
    pub fn takes_jwt(&self) -> bool {
        let jwt = &self.jwt;
        !jwt.secret.is_empty() || !jwt.public_key.as_os_str().is_empty() || !jwt.jwks.is_empty()
    }
}

section! {
    /// The credentials of the API and the console.
    pub struct ApiAuth {
        /// Of basic authentication; empty: none.
        pub username: String = String::new();
        /// Of basic authentication.
        pub password: Secret = Secret::default();
        /// As Bearer or as the parameter `token`; empty: none.
        pub token: Secret = Secret::default();
    }
}

impl ApiAuth {
    /// Whether only this machine is answered.
    pub fn is_local(&self) -> bool {
        self.username.is_empty() && self.token.is_empty()
    }
}

section! {
    /// From where one may publish and play.
    pub struct Security {
        /// Whether the rules count.
        pub enable: bool = false;
        /// `publish|play|all all|ADDRESS|RANGE` each.
        pub allow: Texts = Texts::default();
        /// The same; these come first.
        pub deny: Texts = Texts::default();
        /// Proxies whose word about their clients' addresses is taken.
        pub trusted_proxies: Texts = Texts::default();
    }
}

words! {
    /// What a decision is when the backend does not answer.
    pub enum OnError {
        /// Everybody may.
        Allow = "allow",
        /// Nobody may.
        Deny = "deny",
    }
}

section! {
    /// Calls to the operator's backend over HTTP, with the bodies of SRS.
    pub struct Hooks {
        /// Asked when an RTMP client connects.
        pub on_connect: Texts = Texts::default();
        /// Told when an RTMP client is gone.
        pub on_close: Texts = Texts::default();
        /// Asked when somebody wants to publish.
        pub on_publish: Texts = Texts::default();
        /// Told when a publisher stopped.
        pub on_unpublish: Texts = Texts::default();
        /// Asked when somebody wants to play.
        pub on_play: Texts = Texts::default();
        /// Told when a player stopped.
        pub on_stop: Texts = Texts::default();
        /// The longest that one call may take.
        pub timeout: Millis = secs(5), ms(100)..=secs(120);
        /// What a question that is not answered means.
        pub on_error: OnError = OnError::Deny;
        /// How often news that did not arrive are told again.
        pub retries: u32 = 5, 0..=100;
        /// Before the first time; each further pause is twice as long.
        pub retry_pause: Millis = ms(500), ms(10)..=secs(30);
        /// News that wait to be told.
        pub waiting_max: u32 = 10_000, 1..=1_000_000;
        /// Calls at a time.
        pub concurrency: u32 = 256, 1..=4_096;
        /// PEM file with the authorities that HTTPS trusts; empty: those of browsers.
        pub ca: PathBuf = PathBuf::new();
    }
}

words! {
    /// The least important line that is written.
    pub enum LogLevel {
        /// None at all.
        Off = "off",
        /// What needs a person.
        Error = "error",
        /// What was refused or repaired.
        Warn = "warn",
        /// Who comes and goes.
        Info = "info",
        /// What connections say to each other.
        Debug = "debug",
        /// Each message.
        Trace = "trace",
    }
}

words! {
    /// How a line looks.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

words! {
    /// When a new log file begins; hours and days are those of UTC.
    pub enum Rotate {
        /// One file for ever.
        Never = "never",
        /// Every hour.
        Hourly = "hourly",
        /// Every day.
        Daily = "daily",
    }
}

section! {
    /// What is logged, how and where.
    pub struct Log {
        /// The least important line that is written.
        pub level: LogLevel = LogLevel::Info;
        /// How a line looks.
        pub format: LogFormat = LogFormat::Text;
        /// Where lines go; empty: to the console.
        pub file: PathBuf = PathBuf::new();
        /// Where one line for each session goes when it ends; empty: there is none.
        pub sessions: PathBuf = PathBuf::new();
        /// When a new file begins.
        pub rotate: Rotate = Rotate::Never;
        /// How many files stay when rotating.
        pub keep: u32 = 7, 2..=10_000;
    }
}

section! {
    /// What a peer may cost.
    pub struct Limits {
        /// TCP connections of all services together.
        pub connections: u32 = 10_000, 1..=1_000_000;
        /// TCP connections of one address; zero: no limit.
        pub connections_per_ip: u32 = 0, 0..=1_000_000;
        /// Viewers of one stream; zero: no limit.
        pub viewers_per_stream: u32 = 0, 0..=10_000_000;
        /// Publishers of all streams together; zero: no limit.
        pub publishers: u32 = 0, 0..=1_000_000;
        /// Publishers and viewers from one address; zero: no limit.
        pub sessions_per_ip: u32 = 0, 0..=1_000_000;
        /// From the accepted socket to the accepted request.
        pub handshake_timeout: Millis = secs(15), secs(1)..=secs(600);
        /// A connection that neither publishes nor plays.
        pub idle_timeout: Millis = secs(60), secs(1)..=secs(3_600);
        /// One RTMP message or FLV tag.
        pub message_bytes_max: ByteSize = mib(8), kib(64)..=mib(16);
        /// The largest RTMP chunk size that a peer may announce.
        pub chunk_bytes_max: ByteSize = mib(16), ByteSize::from_bytes(128)..=mib(16);
        /// The head of one HTTP request.
        pub http_head_bytes_max: ByteSize = kib(16), kib(1)..=mib(1);
        /// One WebSocket message.
        pub ws_message_bytes_max: ByteSize = mib(8), kib(64)..=mib(64);
    }
}

section! {
    /// How the server ends.
    pub struct Shutdown {
        /// From SIGTERM to the end of the process.
        pub deadline: Millis = secs(5), ms(100)..=secs(600);
        /// From SIGQUIT to SIGTERM's procedure, unless all are gone before.
        pub drain: Millis = secs(300), ms(0)..=secs(86_400);
    }
}

section! {
    /// The test picture.
    pub struct Demo {
        /// Whether it is published.
        pub enable: bool = false;
        /// Its key, `app/name`.
        pub stream: String = "live/demo".to_owned();
        /// Width and height.
        pub size: PictureSize = PictureSize { width: 640, height: 360 };
        /// Pictures a second.
        pub frame_rate: u32 = 30, 1..=60;
    }
}
