//! What a request on a signalling path asks for.
//!
//! SRS's `encrypt=false` and `dtls=false` are not heeded: media is encrypted for everybody (RFC 8827 §6.5).
//!
//! WHIP and WHEP have the stream in the path, `/whip/app/name`, and the session one level below it,
//! `/whip/app/name/session-ID`; SRS has both in the query, or the stream in a JSON body. Either way a request says whose
//! stream it is about, so that it can go to the shard that owns it.

use std::net::IpAddr;

use shards::media::{KeyError, StreamKey};

use super::sdp::is_ice;
use crate::protocols::http::{Method, PathError, Query, Request};

/// What a session's last level of a path begins with.
const SESSION: &str = "session-";
/// The hexadecimal digits behind it: 128 random bits.
const SESSION_DIGITS: usize = 32;

/// Which way media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the client.
    Publish,
    /// To the client.
    Play,
}

impl Side {
    /// The name of the protocol of this side.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Publish => "whip",
            Self::Play => "whep",
        }
    }
}

/// In which words a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// WHIP's and WHEP's own.
    Standard,
    /// SRS's WHIP and WHEP: the stream in the query.
    Srs,
    /// SRS's JSON, where every answer has status 200.
    Json,
}

/// A path where signalling is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// In which words.
    pub form: Form,
    /// Which way.
    pub side: Side,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A new session; the SDP offer.
    Offer(String),
    /// Candidates, or an ICE restart: the session, what `If-Match` says, and the fragment.
    Patch {
        /// The session's id.
        session: String,
        /// The entity tag, if one was given.
        if_match: Option<String>,
        /// The fragment's text.
        frag: String,
    },
    /// The end of a session.
    Delete {
        /// The session's id.
        session: String,
        /// The second name that SRS's form asks for.
        also: Option<String>,
    },
}

/// A request that is to go to the shard of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where it came in.
    pub door: Door,
    /// The stream.
    pub key: StreamKey,
    /// What is asked for.
    pub verb: Verb,
    /// The token of `Authorization: Bearer …` or of the query.
    pub token: Option<String>,
    /// Addresses that the client wants to be told: `eip` and `candidate` of the query.
    pub candidates: Vec<String>,
    /// The codec that the query asks for.
    pub codec: Option<String>,
    /// The ICE name and password that this side is to have: `ice-ufrag` and `ice-pwd` of the query, as SRS has them.
    pub credentials: Option<(String, String)>,
    /// The client's address as the JSON body tells it: somebody else called for it.
    pub client_ip: Option<IpAddr>,
    /// The query as it came.
    pub query: String,
}

/// Why a request is no call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A method that this resource does not have; those that it has.
    #[error("this method is not allowed here; use one of: {0}")]
    Method(&'static str),
    /// The path or the query names no stream.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The stream's address in a JSON body names none.
    #[error("streamurl names no stream: {0}")]
    Key(#[from] KeyError),
    /// The body is of another type.
    #[error("the body must be {0}")]
    MediaType(&'static str),
    /// An ICE name or password in the query that is none.
    #[error("{0}")]
    Credentials(&'static str),
    /// The body is not what its type says.
    #[error("{0}")]
    Body(&'static str),
    /// There can be no such session.
    #[error("there is no such session")]
    NoSession,
}

/// The methods of an endpoint, where sessions begin.
pub const ENDPOINT_METHODS: &str = "POST, GET, HEAD, OPTIONS";
/// The methods of a session.
pub const SESSION_METHODS: &str = "PATCH, DELETE, GET, HEAD, OPTIONS";
/// The methods of SRS's endpoint in JSON.
pub const JSON_METHODS: &str = "POST, OPTIONS";
/// The methods of SRS's endpoint, which is its sessions' address as well.
pub const SRS_METHODS: &str = "POST, DELETE, OPTIONS";

impl Door {
    /// The door at a path, if there is one.
    pub fn at(path: &str) -> Option<Self> {
        let door = |form, side| Some(Self { form, side });
        match path.trim_end_matches('/') {
            "/rtc/v1/whip" => door(Form::Srs, Side::Publish),
            "/rtc/v1/whep" | "/rtc/v1/whip-play" => door(Form::Srs, Side::Play),
            "/rtc/v1/publish" => door(Form::Json, Side::Publish),
            "/rtc/v1/play" => door(Form::Json, Side::Play),
            "/whip" => door(Form::Standard, Side::Publish),
            "/whep" => door(Form::Standard, Side::Play),
            path if path.starts_with("/whip/") => door(Form::Standard, Side::Publish),
            path if path.starts_with("/whep/") => door(Form::Standard, Side::Play),
            _ => None,
        }
    }

    /// The methods of the resource that a request names.
    pub fn methods(self, request: &Request) -> &'static str {
        match self.form {
            Form::Standard if session_of(request.target.path()).is_some() => SESSION_METHODS,
            Form::Standard => ENDPOINT_METHODS,
            Form::Srs => SRS_METHODS,
            Form::Json => JSON_METHODS,
        }
    }

    /// What a request with this body asks for.
    ///
    /// # Errors
    /// Why it asks for nothing that there is.
    pub fn open(mut self, request: &Request, body: &[u8]) -> Result<Call, CallError> {
        let text = || std::str::from_utf8(body).map_err(|_| CallError::Body("the body is not UTF-8"));
        let (key, verb) = match self.form {
            Form::Standard => standard(request, text)?,
            Form::Srs => {
                // SRS's own way to play at the address for publishing.
                if request.query.get("action") == Some("play") {
                    self.side = Side::Play;
                }
                srs(request, text)?
            }
            Form::Json => {
                if request.method != Method::Post {
                    return Err(CallError::Method(self.methods(request)));
                }
                let Json { key, sdp, query, client_ip } = json(text()?)?;
                let call = Call::new(self, key, Verb::Offer(sdp), request)?;
                // The stream's address is in the body, and so may its token be.
                let token = Query::parse(&query).get("token").map(str::to_owned);
                let token = call.token.clone().or(token);
                return Ok(Call { query, token, client_ip, ..call });
            }
        };
        Call::new(self, key, verb, request)
    }
}

impl Call {
    fn new(door: Door, key: StreamKey, verb: Verb, request: &Request) -> Result<Self, CallError> {
        let named = |names: &[&str]| -> Vec<String> {
            let pairs = request.query.iter().filter(|(name, _)| names.contains(name));
            pairs.map(|(_, value)| value.to_owned()).take(8).collect()
        };
        let credentials = match (door.form, &verb) {
            (Form::Srs | Form::Json, Verb::Offer(_)) => credentials(request)?,
            _ => None,
        };
        Ok(Self {
            door,
            key,
            verb,
            credentials,
            client_ip: None,
            token: request.token().map(str::to_owned),
            candidates: named(&["eip", "candidate"]),
            codec: request.query.get("codec").map(str::to_ascii_lowercase),
            query: request.target.raw_query().to_owned(),
        })
    }

    /// The path of a session that this call began.
    pub fn location(&self, session: &str, names: &str) -> String {
        let side = self.door.side.protocol();
        match self.door.form {
            Form::Srs | Form::Json => format!(
                "/rtc/v1/whip/?action=delete&token={session}&app={}&stream={}&session={}",
                escape(self.key.app(), false),
                escape(self.key.name(), false),
                escape(names, false)
            ),
            Form::Standard => {
                format!("/{side}/{}/{SESSION}{session}", escape(self.key.as_str(), true))
            }
        }
    }
}

/// The path before a session's level, and the session's id.
fn session_of(path: &str) -> Option<(&str, &str)> {
    let (parent, last) = path.trim_end_matches('/').rsplit_once('/')?;
    let id = last.strip_prefix(SESSION)?;
    is_id(id).then_some((parent, id))
}

fn is_id(id: &str) -> bool {
    id.len() == SESSION_DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn standard<'t>(
    request: &Request,
    text: impl Fn() -> Result<&'t str, CallError>,
) -> Result<(StreamKey, Verb), CallError> {
    let path = request.target.raw_path();
    let session = session_of(path);
    // Behind `/whip` or `/whep`.
    let place = |path: &str| path.trim_start_matches('/').split_once('/').map(|(_, key)| key.to_owned());
    let key = |path: &str| match place(path) {
        Some(key) if !key.is_empty() => crate::protocols::http::path::key_of(&key),
        // RTCPilot's and go2rtc's way: /whip?app=APP&stream=NAME.
        _ => request.media_in_query(),
    };
    let media_type = |wanted: &'static str| {
        let found = request.headers.get("content-type").unwrap_or_default();
        let found = found.split(';').next().unwrap_or_default().trim();
        if found.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(CallError::MediaType(wanted)) }
    };
    match (request.method, session) {
        (Method::Post, None) => {
            let key = key(path)?;
            media_type("application/sdp")?;
            Ok((key, Verb::Offer(text()?.to_owned())))
        }
        (Method::Patch, Some((parent, id))) => {
            media_type("application/trickle-ice-sdpfrag")?;
            let if_match = request.headers.get("if-match").map(|tag| tag.trim().to_owned());
            let verb = Verb::Patch { session: id.to_ascii_lowercase(), if_match, frag: text()?.to_owned() };
            Ok((key(parent)?, verb))
        }
        (Method::Delete, Some((parent, id))) => {
            Ok((key(parent)?, Verb::Delete { session: id.to_ascii_lowercase(), also: None }))
        }
        (Method::Patch | Method::Delete, None) => Err(CallError::NoSession),
        (_, Some(_)) => Err(CallError::Method(SESSION_METHODS)),
        (_, None) => Err(CallError::Method(ENDPOINT_METHODS)),
    }
}

fn srs<'t>(
    request: &Request,
    text: impl Fn() -> Result<&'t str, CallError>,
) -> Result<(StreamKey, Verb), CallError> {
    let named = |name, default| request.query.get(name).filter(|value| !value.is_empty()).unwrap_or(default);
    let key = StreamKey::new(named("app", "live"), named("stream", "livestream"))?;
    let verb = match request.method {
        Method::Post => Verb::Offer(text()?.to_owned()),
        Method::Delete => {
            let session = request.query.get("token").filter(|id| is_id(id)).ok_or(CallError::NoSession)?;
            let also = request.query.get("session").ok_or(CallError::NoSession)?;
            Verb::Delete { session: session.to_ascii_lowercase(), also: Some(also.to_owned()) }
        }
        _ => return Err(CallError::Method(SRS_METHODS)),
    };
    Ok((key, verb))
}

/// The ICE name and password that a query asks for; SRS wants names of 4 to 32 and passwords of 22 to 32 characters, both or
/// none (RFC 8839 §5.4 has the alphabet).
fn credentials(request: &Request) -> Result<Option<(String, String)>, CallError> {
    let named = |name| request.query.get(name).filter(|value| !value.is_empty());
    let (ufrag, pwd) = match (named("ice-ufrag"), named("ice-pwd")) {
        (None, None) => return Ok(None),
        (Some(ufrag), Some(pwd)) => (ufrag, pwd),
        _ => return Err(CallError::Credentials("ice-ufrag and ice-pwd go together: one of them is missing")),
    };
    if !(4..=32).contains(&ufrag.len()) || !is_ice(ufrag) {
        return Err(CallError::Credentials("ice-ufrag must be 4 to 32 letters, digits, + or /"));
    }
    if !(22..=32).contains(&pwd.len()) || !is_ice(pwd) {
        return Err(CallError::Credentials("ice-pwd must be 22 to 32 letters, digits, + or /"));
    }
    Ok(Some((ufrag.to_owned(), pwd.to_owned())))
}

/// What an SRS client says in JSON.
struct Json {
    key: StreamKey,
    sdp: String,
    query: String,
    client_ip: Option<IpAddr>,
}

fn json(text: &str) -> Result<Json, CallError> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|_| CallError::Body("the body is no JSON"))?;
    let field = |name: &str| value.get(name).and_then(serde_json::Value::as_str);
    let sdp = field("sdp").ok_or(CallError::Body("the body has no sdp"))?;
    let url = field("streamurl").ok_or(CallError::Body("the body has no streamurl"))?;
    // webrtc://host[:port]/app/stream[?query]; the host means nothing here.
    let place = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (_, path) = place.split_once('/').ok_or(CallError::Body("streamurl names no stream"))?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let client_ip = field("clientip").and_then(|ip| ip.trim().parse().ok());
    Ok(Json { key: path.parse()?, sdp: sdp.to_owned(), query: query.to_owned(), client_ip })
}

/// Percent-encodes what may not stand in a level of a path or in a value of a query; slashes stay where `slashes`.
fn escape(text: &str, slashes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slashes && byte == b'/') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
