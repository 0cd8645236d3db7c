//! What the HTTP ports answer besides streams: the control plane and the pages.
//!
//! [`v1`] is SRS's API, [`v2`] our own with what SRS lacks, [`metrics`] are for Prometheus, [`health`] for those who watch. What needs only figures comes from the
//! board and from a side thread's last look; what needs clients is asked of all shards, for a bounded time.
//! Invariant: what comes here has passed the guard of `sessions::http`, and nothing here asks again who it is.

mod health;
mod metrics;
pub mod v1;
pub mod v2;
pub mod visit;
pub mod watch;
pub mod whole;

use std::{
    future::{Future, ready},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use visit::{Caller, Visit};
use watch::{Sight, Watch};

use crate::{
    board::{Board, Page},
    clients::inquiry::{Busy, Gathered, Question},
    demo::control::Control,
    hooks::Hooks,
    identity::Identity,
    orders::Orders,
    protocols::http::{Method, Request, Response, Status},
    settings::Setting,
    web,
};

/// The methods of a page.
const PAGE_METHODS: &str = "GET, HEAD, OPTIONS";
/// The methods that the control plane knows.
const API_METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// Where the services are, as the pages show them. `None`: the service is off.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// RTMP.
    pub rtmp: Option<u16>,
    /// HTTP-FLV.
    pub http: Option<u16>,
    /// WebSocket-FLV.
    pub ws: Option<u16>,
    /// The control plane.
    pub api: Option<u16>,
    /// Whether they speak TLS as well.
    pub tls: bool,
}

/// What this server can do, for those who ask before they try.
#[derive(Clone, Copy, Debug, Default)]
pub struct Abilities {
    /// It makes HLS.
    pub hls: bool,
    /// Seconds of an HLS segment, where HLS is on.
    pub hls_fragment: Option<f64>,
    /// It calls an operator's backend.
    pub hooks: bool,
    /// It records.
    pub dvr: bool,
    /// It makes sound from sound.
    pub transcode: bool,
    /// It pulls streams.
    pub ingest: bool,
}

/// Which figures there are for Prometheus.
#[derive(Clone, Copy, Debug)]
pub struct MetricsOptions {
    /// Any at all.
    pub enable: bool,
    /// Those of each stream, too.
    pub streams: bool,
}

/// What the control planes of all shards share.
pub struct Shared {
    /// What each shard has hung up.
    pub board: Arc<Board>,
    /// What the side thread has seen.
    pub watch: Arc<Watch>,
    /// Who this process is.
    pub identity: Identity,
    /// Where the services are; they may move.
    pub ports: ArcSwap<Ports>,
    /// What the server can do.
    pub abilities: ArcSwap<Abilities>,
    /// Calls to the operator's backend.
    pub hooks: Hooks,
    /// The configuration as it is shown.
    pub settings: ArcSwap<Vec<Setting>>,
    /// The demo's switch.
    pub demo: Arc<Control>,
    /// Which figures there are for Prometheus.
    pub metrics: ArcSwap<MetricsOptions>,
    /// When this program was made; empty when that cannot be told.
    pub built: String,
    /// When it began.
    pub start: Instant,
    /// Who is told what operators wish.
    pub orders: Orders,
}

/// A future of this shard.
pub type Local<T> = Pin<Box<dyn Future<Output = T>>>;
/// How all shards are asked.
pub type Asker = Box<dyn Fn(Question) -> Local<Result<Gathered, Busy>>>;
/// What answers a request, once its body has come.
pub type Answering = Box<dyn FnOnce(Bytes) -> Local<Response>>;

/// The control plane of one shard; see the module.
pub struct Api {
    shared: Arc<Shared>,
    asker: Asker,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// SRS's indexes above its API.
    Above,
    V1,
    V2,
    Metrics,
    OpenApi,
    Alive,
    Ready,
}

impl Place {
    fn of(request: &Request, caller: Caller) -> Option<Self> {
        let path = request.target.path();
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // The control port's first page is SRS's index, unless it is a browser that comes.
        let is_browser = request.headers.list("accept").any(|kind| kind.starts_with("text/html"));
        match path {
            "/" if caller.at_control && !is_browser => Some(Self::Above),
            "/api" | "/api/" => Some(Self::Above),
            "/metrics" => Some(Self::Metrics),
            "/openapi.yaml" => Some(Self::OpenApi),
            "/healthz" => Some(Self::Alive),
            "/readyz" => Some(Self::Ready),
            _ if below(v1::PREFIX) => Some(Self::V1),
            _ if below(v2::PREFIX) => Some(Self::V2),
            _ => None,
        }
    }

    /// Whether scripts of other pages may ask by JSONP, as SRS's console does. What is our own asks for no such risk.
    fn takes_jsonp(self) -> bool {
        matches!(self, Self::Above | Self::V1)
    }

    /// Whether it is only there to be read.
    fn is_read(self) -> bool {
        matches!(self, Self::Metrics | Self::OpenApi | Self::Alive | Self::Ready)
    }
}

impl Api {
    /// Of one shard. `asker` asks all of them. Who may ask is decided before.
    pub fn new(shared: Arc<Shared>, asker: Asker) -> Rc<Self> {
        Rc::new(Self { shared, asker })
    }

    /// What answers a request for something that is no stream; `None` when there is nothing at its path.
    pub fn open(self: &Rc<Self>, request: &Request, caller: Caller) -> Option<Answering> {
        let Some(place) = Place::of(request, caller) else {
            let response = asset(request)?;
            return Some(Box::new(|_| Box::pin(ready(response))));
        };
        let (api, visit) = (Rc::clone(self), Visit::new(request, caller, place.takes_jsonp()));
        Some(Box::new(move |_body| {
            Box::pin(async move {
                match visit {
                    Ok(visit) => api.answer(place, &visit).await,
                    Err(visit::BadCallback) => v1::bad_callback(),
                }
            })
        }))
    }

    async fn answer(&self, place: Place, visit: &Visit) -> Response {
        // A browser asks without credentials whether it may ask.
        if visit.method == Method::Options {
            return Response::options(&visit.request, API_METHODS).header("Server", visit::SERVER);
        }
        if place.is_read() && !visit.reads() {
            return visit.dress(Response::method_not_allowed(PAGE_METHODS));
        }
        match place {
            Place::Above => v1::above(self, visit),
            Place::V1 => v1::answer(self, visit).await,
            Place::V2 => v2::answer(self, visit).await,
            Place::Metrics => self.metrics(visit),
            Place::OpenApi => v2::openapi(visit),
            Place::Alive => health::alive(visit),
            Place::Ready => health::ready(self, visit),
        }
    }

    /// Asks all shards.
    async fn ask(&self, question: Question) -> Result<Gathered, Busy> {
        (self.asker)(question).await
    }

    fn metrics(&self, visit: &Visit) -> Response {
        if !self.shared.metrics.load().enable {
            return v1::no_metrics(visit);
        }
        let response = Response::new(Status::OK).body(metrics::CONTENT_TYPE, metrics::text(self));
        visit.dress(response.no_cache())
    }

    fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    fn pages(&self) -> Vec<Arc<Page>> {
        self.shared.board.pages()
    }

    fn sight(&self) -> Arc<Sight> {
        self.shared.watch.sight()
    }

    fn abilities(&self) -> Abilities {
        **self.shared.abilities.load()
    }

    fn uptime(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Where the control plane listens, or else the pages; zero: nowhere of its own.
    fn control_port(&self) -> u16 {
        let ports = self.shared.ports.load();
        ports.api.or(ports.http).unwrap_or_default()
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn asset(request: &Request) -> Option<Response> {
    let response = page(request, request.target.path())?;
    Some(match request.method {
        Method::Get | Method::Head => response,
        Method::Options => Response::options(request, PAGE_METHODS),
        _ => Response::method_not_allowed(PAGE_METHODS),
    })
}

fn page(request: &Request, path: &str) -> Option<Response> {
    let asset = web::asset(path)?;
    if request.headers.list("if-none-match").any(|tag| tag == asset.etag) {
        return Some(Response::new(Status::NOT_MODIFIED).header("ETag", asset.etag));
    }
    let response = Response::new(Status::OK)
        .header("ETag", asset.etag)
        .header("Cache-Control", "no-cache")
        .header("Vary", "Accept-Encoding");
    let response = web::headers(path).fold(response, |response, (name, value)| response.header(name, value));
    Some(match asset.gzip {
        Some(gzip) if request.headers.has_token("accept-encoding", "gzip") => {
            response.header("Content-Encoding", "gzip").body(asset.content_type, Bytes::from_static(gzip))
        }
        _ => response.body(asset.content_type, Bytes::from_static(asset.bytes)),
    })
}
