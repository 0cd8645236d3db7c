//! One HTTP connection: requests until one of them asks for a stream, which then goes on at its owner.

use std::{io, net::IpAddr, rc::Rc};

use bytes::{Bytes, BytesMut};
use shards::media::StreamKey;

use super::{
    Answering, Asker, Client, Context, Guest, Service,
    access::{Action, Ask, Denied, Grant},
    client::Gone,
    flv::{self, Framing},
    webrtc,
};
use crate::{
    access::{Knock, Turned},
    clients::{Said, note},
    net::connection::Closing,
    protocols::{
        http::{
            CONTINUE, HttpError, Method, PathError, Reply, Request, Response, Status, Version, parse,
            stream_head,
        },
        whip::{Door, Form},
        ws,
    },
};

/// The methods of a stream's URL.
const STREAM_METHODS: &str = "GET, HEAD, OPTIONS";

/// Where proxies say for whom they speak.
const FORWARDED_FOR: &str = "x-forwarded-for";
const REAL_IP: &str = "x-real-ip";

/// What a request has that came through a proxy.
const PROXY_HEADERS: [&str; 4] = [FORWARDED_FOR, REAL_IP, "forwarded", "via"];

/// The extension of a stream's path.
const EXTENSION: &str = "flv";

/// A request that waits for an answer by its stream's owner.
pub struct Visit {
    wish: Wish,
    key: StreamKey,
    reply: Reply,
    token: Option<String>,
    said: Said,
    /// The port's.
    service: Service,
    /// What came behind the request.
    input: BytesMut,
}

impl Visit {
    fn new(
        request: &Request,
        wish: Wish,
        key: StreamKey,
        reply: Reply,
        service: Service,
        input: BytesMut,
    ) -> Self {
        let token = request.token().map(str::to_owned);
        let said = said(request, &key);
        Self { wish, key, reply, token, said, service, input }
    }

    /// The stream.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Whether a mirror of the stream would do.
    pub fn only_plays(&self) -> bool {
        matches!(self.wish, Wish::Play(_) | Wish::PlayWebSocket(_))
    }
}

/// What a client said of itself. SRS has RTMP's address for everybody, so that backends know one form.
fn said(request: &Request, key: &StreamKey) -> Said {
    let header = |name| note(request.headers.get(name).unwrap_or_default());
    let host = request.host().rsplit_once(':').map_or(request.host(), |(host, _)| host);
    Said {
        tc_url: format!("rtmp://{}/{}", note(host), key.app()),
        page_url: header("referer"),
        swf_url: String::new(),
        user_agent: header("user-agent"),
        param: request.target.raw_query().to_owned(),
    }
}

/// What is asked of a stream.
enum Wish {
    /// The stream, as the body of a response.
    Play(Framing),
    /// Whether it is there.
    Head,
    /// The stream as messages; the head of the 101 response.
    PlayWebSocket(Bytes),
    /// To publish it; the head of the 101 response.
    PublishWebSocket(Bytes),
    /// WebRTC signalling.
    Signal(webrtc::Signal),
}

/// What a request comes to.
enum Route {
    /// An answer that needs no stream.
    Answer(Response),
    /// A stream.
    Stream(StreamKey, Wish),
    /// WebRTC signalling: whose stream it is about, the body may have to tell.
    Signal(Door),
    /// A page, or the control plane.
    Page(Answering),
}

/// Serves a connection from its first bytes, `input`, until it asks for a stream. With `refusal` its first request is
/// answered by 503.
pub async fn serve(
    context: &Rc<Context>,
    mut client: Client,
    service: Service,
    mut input: BytesMut,
    refusal: Option<String>,
) -> Option<(Client, Guest)> {
    loop {
        let request = loop {
            match parse(&mut input, &context.options.get().http) {
                Ok(Some(request)) => break request,
                Ok(None) => match client.read(&mut input).await {
                    Ok(_) => {}
                    Err(gone) => {
                        incomplete(client, &gone, &input).await;
                        return None;
                    }
                },
                Err(error) => {
                    malformed(client, &error).await;
                    return None;
                }
            }
        };
        tracing::debug!(conn = %client.id(), peer = %client.entry().peer(),
            "{:?} {}", request.method, request.target.raw_path());
        client.socket().set_ip(on_behalf(context, &client, &request));
        if let Some(why) = &refusal {
            let response = Response::text(Status::UNAVAILABLE, why).header("Retry-After", "5").cors();
            client.farewell(&response.write(Reply { keep_alive: false, ..request.reply() })).await;
            return None;
        }
        let asker = Asker { peer: client.entry().peer(), ip: client.ip(), service };
        let route = match route(context, &client, &request, asker) {
            Route::Stream(key, wish) => {
                let visit = Visit::new(&request, wish, key, request.reply(), service, input);
                return Some((client, Guest::Http(Box::new(visit))));
            }
            route => route,
        };
        let (reply, body) = match read_body(context, &client, &request, &mut input).await {
            Ok(read) => read,
            Err(error) => {
                malformed(client, &error).await;
                return None;
            }
        };
        let response = match route {
            Route::Signal(door) => match door.open(&request, &body?) {
                Ok(call) => {
                    let key = call.key.clone();
                    let wish = Wish::Signal(Box::new(call));
                    let visit = Visit::new(&request, wish, key, reply, service, input);
                    return Some((client, Guest::Http(Box::new(visit))));
                }
                Err(error) => webrtc::wrong(door, &error),
            },
            Route::Page(answering) => answering(body?).await,
            Route::Answer(response) => response,
            Route::Stream(..) => return None,
        };
        client = say(context, client, &response, reply).await?;
    }
}

/// Answers, and gives the client back if it may ask for something else.
async fn say(context: &Rc<Context>, client: Client, response: &Response, reply: Reply) -> Option<Client> {
    let reply = Reply { keep_alive: reply.keep_alive && !context.is_draining.get(), ..reply };
    let wire = response.write(reply);
    if !reply.keep_alive {
        client.farewell(&wire).await;
        return None;
    }
    client.send(&wire).await.ok()?;
    client.entry().expect_within(context.options.get().idle_timeout);
    Some(client)
}

/// Reads the body of a request; `None` when the peer broke off within it.
async fn read_body(
    context: &Rc<Context>,
    client: &Client,
    request: &Request,
    input: &mut BytesMut,
) -> Result<(Reply, Option<Bytes>), HttpError> {
    let mut body = request.body(&context.options.get().http)?;
    if request.expects_continue && client.send(CONTINUE).await.is_err() {
        return Ok((request.reply(), None));
    }
    loop {
        if let Some(body) = body.whole(input)? {
            return Ok((request.reply_after_body(), Some(body)));
        }
        if client.read(input).await.is_err() {
            return Ok((request.reply(), None));
        }
    }
}

/// A request that never became whole.
async fn incomplete(client: Client, gone: &Gone, input: &[u8]) {
    if input.is_empty() {
        return;
    }
    let response = match gone {
        Gone::Closing(closing @ Closing::Silent(_)) => Response::text(Status::REQUEST_TIMEOUT, closing),
        Gone::Closing(closing @ Closing::Kicked) => Response::text(Status::FORBIDDEN, closing),
        Gone::Closing(closing) => Response::text(Status::UNAVAILABLE, closing),
        Gone::Peer(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Response::text(Status::BAD_REQUEST, "the request ended within its head")
        }
        Gone::Peer(_) => return,
    };
    client.farewell(&response.cors().write(Reply::CLOSE)).await;
}

async fn malformed(client: Client, error: &HttpError) {
    client.entry().note_fault();
    tracing::warn!(conn = %client.id(), peer = %client.entry().peer(), "HTTP: {error}");
    client.farewell(&Response::error(error).write(Reply::CLOSE)).await;
}

/// Decides what a request asks for. Streams first: `….flv`, or a WebSocket; then pages.
fn route(context: &Rc<Context>, client: &Client, request: &Request, asker: Asker) -> Route {
    if request.wants_websocket() {
        return websocket(request).unwrap_or_else(Route::Answer);
    }
    let path = request.target.path();
    if let Some(door) = Door::at(path).filter(|_| context.has_webrtc) {
        return match request.method {
            Method::Options => Route::Answer(webrtc::options(door, request)),
            // RFC 9725 §4.1 and WHEP §4.1: endpoints and sessions have nothing to show, and say so by success.
            Method::Get | Method::Head if door.form == Form::Standard => {
                Route::Answer(Response::new(Status::NO_CONTENT).cors())
            }
            _ => Route::Signal(door),
        };
    }
    if has_extension(path) {
        return match (request.method, request.media()) {
            (Method::Options, _) => Route::Answer(Response::options(request, STREAM_METHODS)),
            (_, Err(error)) => Route::Answer(no_stream(&error)),
            (Method::Get, Ok(media)) => Route::Stream(media.key, Wish::Play(framing(request.version))),
            (Method::Head, Ok(media)) => Route::Stream(media.key, Wish::Head),
            _ => Route::Answer(Response::method_not_allowed(STREAM_METHODS)),
        };
    }
    if let Err(turned) = guard(context, request, asker) {
        tracing::warn!(conn = %client.id(), peer = %asker.peer, path, "turned away: {turned}");
        return Route::Answer(turned_away(request, turned));
    }
    if let Some(answering) = (context.pages)(request, asker) {
        return Route::Page(answering);
    }
    Route::Answer(match (request.method, path) {
        (Method::Options, _) => Response::options(request, STREAM_METHODS),
        (_, "/play" | "/publish") => Response::text(
            Status::UPGRADE_REQUIRED,
            "this address is for WebSocket connections: ws://…?app=APP&stream=STREAM",
        )
        .header("Upgrade", "websocket")
        .cors(),
        (Method::Get | Method::Head, _) => nothing(path),
        _ => Response::method_not_allowed(STREAM_METHODS),
    })
}

/// Who makes a request: the peer, or whom a proxy that is believed speaks for.
fn on_behalf(context: &Rc<Context>, client: &Client, request: &Request) -> IpAddr {
    let (policy, peer) = (context.policy.load(), client.entry().peer().ip());
    if !policy.proxies().trusts(peer) {
        return peer;
    }
    // What is no text stays in the list and ends it: left out, it would let a client's own X-Real-IP count.
    let list: Vec<_> = request.headers.all(FORWARDED_FOR).map(String::from_utf8_lossy).collect();
    let list = (!list.is_empty()).then(|| list.join(","));
    policy.proxies().client(peer, list.as_deref(), request.headers.get(REAL_IP))
}

/// Whether the API and the console may answer.
fn guard(context: &Rc<Context>, request: &Request, asker: Asker) -> Result<(), Turned> {
    // A browser asks so before it may show a credential, and learns nothing by it.
    if request.method == Method::Options || is_page(request) {
        return Ok(());
    }
    let (policy, Asker { peer, ip, .. }) = (context.policy.load(), asker);
    let says = |name: &str| request.headers.get(name).is_some();
    // From a proxy that is believed the client's address is known, unless it forgot to tell.
    let is_forwarded = match policy.proxies().trusts(ip) {
        true => true,
        // Whom somebody speaks for is not here, whatever address they tell: this machine's, too.
        false => ip != peer.ip() || PROXY_HEADERS.into_iter().any(says),
    };
    let is_read = matches!(request.method, Method::Get | Method::Head);
    // SRS's console cannot but GET, and says what it means in the query.
    let meant = request.query.get("method").filter(|method| !method.eq_ignore_ascii_case("get"));
    policy.guard().check(&Knock {
        path: request.target.path(),
        authorization: request.headers.get("authorization"),
        token: request.query.get("token"),
        ip,
        is_forwarded,
        is_change: !is_read || meant.is_some(),
        origin: request.headers.get("origin"),
        site: request.headers.get("sec-fetch-site"),
        is_script: request.query.get("callback").is_some_and(|name| !name.is_empty()),
    })
}

/// Whether a browser asks for the console's document. That holds nothing: what it shows it asks the API for, and it has a
/// form for who is turned away there. Others get what the guard says: SRS's index may be at the same path.
fn is_page(request: &Request) -> bool {
    matches!(request.method, Method::Get | Method::Head)
        && matches!(request.target.path(), "/" | "/index.html" | "/console" | "/console/")
        && request.headers.list("accept").any(|kind| kind.starts_with("text/html"))
}

/// The answer to one whom the API does not answer.
fn turned_away(request: &Request, turned: Turned) -> Response {
    match turned {
        Turned::Unauthorized => {
            // As SRS has it, without a realm. Scripts say that they are some: they have a form of their own, and a browser
            // that knows `Basic` would put its own before it at every request of a page that polls.
            let scheme = if request.headers.get("x-requested-with").is_some() { "Bearer" } else { "Basic" };
            Response::text(Status::UNAUTHORIZED, turned).header("WWW-Authenticate", scheme)
        }
        Turned::Malformed => Response::text(Status::UNAUTHORIZED, turned),
        Turned::NotLocal | Turned::Foreign => Response::text(Status::FORBIDDEN, turned),
    }
    .cors()
    .no_cache()
}

/// `/publish` and `/play` with the stream in the query, as RTCPilot has them; any other path is a stream to play.
fn websocket(request: &Request) -> Result<Route, Response> {
    let path = request.target.path();
    let key = match path {
        "/publish" | "/play" => request.media_in_query(),
        _ if has_extension(path) => request.media().map(|media| media.key),
        _ => return Err(nothing(path)),
    }
    .map_err(|error| no_stream(&error))?;
    let head = ws::upgrade(request).map_err(|error| Response::error(&error))?;
    Ok(Route::Stream(
        key,
        if path == "/publish" { Wish::PublishWebSocket(head) } else { Wish::PlayWebSocket(head) },
    ))
}

/// Whether a path is a stream's, in whichever case.
fn has_extension(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case(EXTENSION))
}

fn nothing(path: &str) -> Response {
    let sentence = format!("there is nothing at {path}; streams are at /app/name.{EXTENSION}");
    Response::text(Status::NOT_FOUND, sentence).cors()
}

fn no_stream(error: &PathError) -> Response {
    Response::text(Status::BAD_REQUEST, error).cors()
}

const fn framing(version: Version) -> Framing {
    match version {
        Version::Http10 => Framing::Plain,
        Version::Http11 => Framing::Chunked,
    }
}

/// The answer to one who may not.
fn denial(denied: &Denied) -> Response {
    match denied {
        Denied::Unauthorized(_) => Response::unauthorized(denied),
        Denied::Forbidden(_) => Response::text(Status::FORBIDDEN, denied).cors(),
        Denied::Unavailable(_) => {
            Response::text(Status::UNAVAILABLE, denied).header("Retry-After", "5").cors()
        }
    }
}

/// Goes on with a request whose stream is this shard's; gives the client back with its next wish, if it has one.
pub async fn go_on(
    context: &Rc<Context>,
    client: Client,
    visit: Visit,
    refusal: Option<&str>,
) -> Option<(Client, Guest)> {
    let Visit { wish, key, reply, token, said, service, input } = visit;
    if let Some(why) = refusal {
        let response = Response::text(Status::UNAVAILABLE, why).header("Retry-After", "5").cors();
        client.farewell(&response.write(Reply { keep_alive: false, ..reply })).await;
        return None;
    }
    let asks = match &wish {
        Wish::Play(_) | Wish::Head => Some((Action::Play, "flv")),
        Wish::PlayWebSocket(_) => Some((Action::Play, "ws-flv")),
        Wish::PublishWebSocket(_) => Some((Action::Publish, "ws-flv")),
        // It asks when it knows more.
        Wish::Signal(_) => None,
    };
    let mut leave = Grant::default();
    if let Some((action, protocol)) = asks {
        let peer = client.entry().peer();
        let ask = Ask::new(client.id(), action, &key, protocol, peer)
            .with(token, &said.param)
            .from(client.ip(), &said.tc_url, &said.page_url)
            .looking(matches!(wish, Wish::Head));
        match client.ask(&context.gate, ask, context.options.get().handshake_timeout).await {
            Ok(grant) => leave = grant,
            Err(denied) => {
                tracing::warn!(conn = %client.id(), stream = %key, %peer, "refused: {denied}");
                client.farewell(&denial(&denied).write(Reply { keep_alive: false, ..reply })).await;
                return None;
            }
        }
    }
    client.entry().allow_until(leave.until);
    match wish {
        Wish::Signal(call) => {
            // It comes when the process that this one takes over has let go of its ports.
            let _ = client.entry().race(webrtc::await_start(context)).await;
            let response = Box::pin(webrtc::answer(context, call, &client, said)).await;
            let client = say(context, client, &response, reply).await?;
            return Box::pin(serve(context, client, service, input, None)).await;
        }
        Wish::Play(framing) => Box::pin(flv::play(context, client, &key, framing, reply, said, input)).await,
        Wish::Head => {
            let live = context.shard.registry().find(&key).is_some_and(|stream| stream.is_live());
            let words = if live {
                stream_head(reply.version, "video/x-flv", false)
            } else {
                let response = Response::text(Status::NOT_FOUND, format!("nobody publishes {key}")).cors();
                response.write(Reply { keep_alive: false, ..reply })
            };
            client.farewell(&words).await;
        }
        Wish::PlayWebSocket(head) => {
            if client.send(&head).await.is_ok() {
                Box::pin(flv::play(context, client, &key, Framing::WebSocket, reply, said, input)).await;
            }
        }
        Wish::PublishWebSocket(head) => {
            if client.send(&head).await.is_ok() {
                Box::pin(flv::publish(context, client, &key, said, input)).await;
            }
        }
    }
    None
}
