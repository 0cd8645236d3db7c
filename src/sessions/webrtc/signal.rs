//! Signalling: what a [`Call`] comes to, on the shard that owns its stream, and how it is said in each form.
//!
//! Section numbers are those of RFC 9725 (WHIP); WHEP says the same of viewers. SRS's JSON has status 200 for everything
//! and tells failures by `code`.

use std::rc::Rc;

use shards::{
    media::{Codec, TrackId},
    stream::{PublishError, Stream},
};
use str0m::{IceCreds, net::Protocol};

use super::{
    WebRtc,
    egress::Viewer,
    ingest::Ingest,
    machine::{accept, credentials, machine, note_candidates, restarted, secret},
    negotiate::{Disagreement, choose, codec_named},
    session::{Names, Place, Role, Session, Terms},
    table::Way,
    tally::{Tally, TallyMeter},
};
use crate::{
    clients::{Card, Kind, Said},
    conn_id::ConnId,
    net::admission::Refusal,
    protocols::{
        http::{Request, Response, Status},
        whip::{Call, CallError, Chosen, Door, Form, Frag, Offer, OfferError, Side, Verb},
    },
    sessions::{
        Client, Context,
        access::{Action, Ask, Denied},
    },
};

/// A call on its way to the owner of its stream.
pub type Signal = Box<Call>;

/// What of RTP this server speaks beyond the bare minimum stands in str0m's standard set of header extensions.
const FRAG_TYPE: &str = "application/trickle-ice-sdpfrag";

/// Why a call is not granted; the sentences are for the peer.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Offer(#[from] OfferError),
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    #[error("the offer cannot be answered: {0}")]
    Answer(String),
    #[error(transparent)]
    Taken(#[from] PublishError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Full(#[from] Refusal),
    #[error("this shard has as many WebRTC sessions as it may have ({0})")]
    TooMany(usize),
    #[error("there is no such session; it may have ended")]
    NoSession,
    #[error("If-Match is missing: it names the ICE session that is meant")]
    NoIfMatch,
    #[error("the ICE session is another one by now")]
    IfMatch,
    #[error("the body is no fragment of an SDP: it has neither candidates nor proper credentials")]
    NoFrag,
    #[error("another publisher took the stream in this very moment")]
    Evicted,
    #[error("the ICE name {0} is another session's")]
    Name(String),
    #[error("WebRTC is not running on this server")]
    Off,
}

impl Refused {
    const fn status(&self) -> Status {
        match self {
            Self::Offer(OfferError::NotSdp | OfferError::NoMedia | OfferError::TooMany) => {
                Status::BAD_REQUEST
            }
            // What is missing was understood, and cannot be done without.
            Self::Offer(_) | Self::Answer(_) => Status::UNPROCESSABLE,
            Self::Disagreement(Disagreement::Codec { .. }) => Status::NOT_ACCEPTABLE,
            Self::Disagreement(_) => Status::UNPROCESSABLE,
            Self::Taken(_) | Self::Evicted | Self::Name(_) => Status::CONFLICT,
            Self::Denied(Denied::Unauthorized(_)) => Status::UNAUTHORIZED,
            Self::Denied(Denied::Forbidden(_)) => Status::FORBIDDEN,
            Self::Denied(Denied::Unavailable(_)) | Self::Full(_) | Self::TooMany(_) | Self::Off => {
                Status::UNAVAILABLE
            }
            Self::NoSession => Status::NOT_FOUND,
            Self::NoIfMatch => Status::PRECONDITION_REQUIRED,
            Self::IfMatch => Status::PRECONDITION_FAILED,
            Self::NoFrag => Status::BAD_REQUEST,
        }
    }
}

/// A session that has begun.
struct Begun {
    answer: String,
    /// The session's id.
    id: String,
    /// The ICE names of both sides, as SRS names sessions.
    both: String,
    etag: String,
}

/// Answers a call whose stream is this shard's, by a client that said this of itself.
pub async fn answer(context: &Rc<Context>, call: Signal, client: &Client, said: Said) -> Response {
    let peer = client.entry().peer();
    let Some(webrtc) = context.webrtc.get() else { return refusal(call.door, &Refused::Off) };
    match &call.verb {
        Verb::Offer(sdp) => match webrtc.begin(context, &call, sdp, client, said).await {
            Ok(begun) => webrtc.created(&call, &begun),
            Err(refused) => {
                tracing::warn!(stream = %call.key, %peer, "{}: refused: {refused}", call.door.side.protocol());
                refusal(call.door, &refused)
            }
        },
        Verb::Patch { session, if_match, frag } => {
            match webrtc.patch(&call, session, if_match.as_deref(), frag) {
                Ok(response) => response.cors(),
                Err(refused) => refusal(call.door, &refused),
            }
        }
        Verb::Delete { session, also } => match webrtc.delete(&call, session, also.as_deref()) {
            Ok(()) => Response::new(Status::OK).cors(),
            Err(refused) => refusal(call.door, &refused),
        },
    }
}

/// The answer to OPTIONS at a door (§4.2: CORS, and which bodies are taken).
pub fn options(door: Door, request: &Request) -> Response {
    let methods = door.methods(request);
    let response = Response::options(request, methods);
    let response = match door.form {
        Form::Json => response.header("Accept-Post", "application/json"),
        _ => response.header("Accept-Post", "application/sdp"),
    };
    if methods.contains("PATCH") { response.header("Accept-Patch", FRAG_TYPE) } else { response }
}

/// The answer to a request at a door that is no call.
pub fn wrong(door: Door, error: &CallError) -> Response {
    if door.form == Form::Json {
        return json_failure(error);
    }
    match error {
        CallError::Method(allow) => Response::method_not_allowed(allow),
        CallError::MediaType(wanted) => {
            let response = Response::text(Status::UNSUPPORTED_MEDIA_TYPE, error).cors();
            match *wanted {
                FRAG_TYPE => response.header("Accept-Patch", wanted),
                _ => response.header("Accept-Post", wanted),
            }
        }
        CallError::NoSession => Response::text(Status::NOT_FOUND, error).cors(),
        CallError::Path(_) | CallError::Key(_) | CallError::Body(_) | CallError::Credentials(_) => {
            Response::text(Status::BAD_REQUEST, error).cors()
        }
    }
}

fn refusal(door: Door, refused: &Refused) -> Response {
    if door.form == Form::Json {
        return json_failure(refused);
    }
    let response = Response::text(refused.status(), refused).cors();
    match refused.status() {
        Status::UNAVAILABLE => response.header("Retry-After", "5"),
        Status::UNAUTHORIZED => Response::unauthorized(refused),
        _ => response,
    }
}

/// SRS's way: status 200, and a code that is not 0.
fn json_failure(why: &dyn std::fmt::Display) -> Response {
    let body = serde_json::json!({ "code": 400, "message": why.to_string() });
    Response::json(Status::OK, body.to_string()).cors()
}

impl WebRtc {
    /// Begins a session.
    async fn begin(
        &self,
        context: &Rc<Context>,
        call: &Call,
        sdp: &str,
        client: &Client,
        said: Said,
    ) -> Result<Begun, Refused> {
        let (peer, ip) = (client.entry().peer(), client.ip());
        // A backend that calls on behalf of its clients is listed; who comes through it speaks for nobody.
        let is_backend = ip == peer.ip() && context.policy.load().proxies().trusts(ip);
        let ip = call.client_ip.filter(|_| is_backend).unwrap_or(ip);
        let offer = Offer::parse(sdp)?;
        let side = call.door.side;
        let action = if side == Side::Publish { Action::Publish } else { Action::Play };
        let id = ConnId::random();
        let ask = Ask::new(id, action, &call.key, side.protocol(), peer)
            .with(call.token.clone(), &call.query)
            .spelling(spelled(call))
            .from(ip, &said.tc_url, &said.page_url);
        let grant = client.ask(&context.gate, ask, context.options.get().handshake_timeout).await?;
        if self.sessions() >= self.options.get().sessions_max {
            return Err(Refused::TooMany(self.options.get().sessions_max));
        }
        let ticket = context.admission.admit(ip)?;
        let stream = context.shard.obtain(&call.key);
        let order = self.order(call, &stream);
        let chosen = choose(&offer, side, &order)?;
        let shard = context.shard.id();
        // Where all shards have one port, it is the first's.
        let index = if self.directory.shares_port() { 0 } else { shard.index() };
        let options = self.options.get();
        let published = &options.published;
        let told = |protocol, port| {
            let addresses = published.candidates(&call.candidates, index, port).into_iter();
            addresses.map(move |peer| Way { protocol, peer })
        };
        let mut locals: Vec<Way> = told(Protocol::Udp, self.udp.local_addr().port()).collect();
        // A port that somebody names is one of UDP.
        let tcp = options
            .tcp_port
            .into_iter()
            .flat_map(|port| told(Protocol::Tcp, port).filter(move |way| way.peer.port() == port));
        locals.extend(tcp);
        let (creds, chosen_name) = match &call.credentials {
            None => (credentials(shard), None),
            Some((ufrag, pass)) => {
                let claim = self.directory.claim(ufrag, shard);
                let claim = claim.ok_or_else(|| Refused::Name(ufrag.clone()))?;
                (IceCreds { ufrag: ufrag.clone(), pass: pass.clone() }, Some(claim))
            }
        };
        let mut rtc = machine(&options.certificate, &offer, &chosen, &locals, &creds);
        let answer = accept(&mut rtc, &offer.distil(side, &chosen, None)).map_err(Refused::Answer)?;
        let answer = offer.complete(&answer, &chosen);
        // Of SRS's JSON the parameters are those of the address in it.
        let said = Said { param: call.query.clone(), ..said };
        let kind = if side == Side::Publish { Kind::WhipPublish } else { Kind::WhepPlay };
        let card = Card::new(id, peer, ip, kind, &call.key, said);
        let terms = Terms { offer, chosen };
        let role = match side {
            Side::Publish => {
                let publisher = stream.publish(card.party())?;
                let ingest =
                    Ingest::new(publisher, &terms.offer, &terms.chosen).map_err(|_| Refused::Evicted)?;
                Role::Publish(Box::new(ingest))
            }
            Side::Play => {
                let (slot, outlet) = (self.table.borrow().vacant(), Rc::clone(&self.outlet));
                Role::Play(Box::new(Viewer::new(stream, outlet, &terms.offer, &terms.chosen, &mut rtc, slot)))
            }
        };
        let names = Names {
            id: secret(32, b"0123456789abcdef"),
            peer_ufrag: terms.offer.credentials().map(|(ufrag, _)| ufrag.to_owned()).unwrap_or_default(),
            etag: etag(&creds.ufrag),
            ufrag: creds.ufrag,
            chosen: chosen_name,
        };
        let entry = context.connections.enter(id, peer, Some(ticket));
        entry.allow_until(grant.until);
        let tally = Rc::<Tally>::default();
        let enrolled = context.roster.enroll(card, Box::new(TallyMeter(Rc::clone(&tally))));
        tracing::info!(conn = %id, stream = %call.key, %peer, "{} by WebRTC: {}",
            if side == Side::Publish { "publishes" } else { "plays" }, described(&terms.chosen));
        let connect = options.connect_timeout;
        let begun = Begun {
            answer,
            id: names.id.clone(),
            both: format!("{}:{}", names.ufrag, names.peer_ufrag),
            etag: names.etag.clone(),
        };
        let place = Place { entry, tally, enrolled, _grant: grant };
        self.enter(Session::new(names, call.key.clone(), terms, rtc, role, place, locals, connect));
        Ok(begun)
    }

    /// The codecs that a session may have, the best first.
    fn order(&self, call: &Call, stream: &Stream) -> Vec<Codec> {
        let mut order: Vec<Codec> =
            self.options.get().codecs.iter().filter_map(|name| codec_named(name)).collect();
        if call.door.side == Side::Play {
            let scene = stream.scene();
            // A stream that nobody publishes yet may become anything; one whose tracks are still coming, in what is missing.
            if !stream.is_settled() {
                let is_missing = |codec: &Codec| scene.track(TrackId::new(codec.kind(), 0)).is_none();
                order.retain(is_missing);
            } else {
                order.clear();
            }
            let main = [TrackId::VIDEO, TrackId::AUDIO];
            let tracks = main.iter().filter_map(|id| scene.track(*id)).map(|track| match track.codec {
                Codec::Aac if self.options.get().makes_opus => Codec::Opus,
                codec => codec,
            });
            return tracks.chain(order).collect();
        }
        if let Some(wanted) = call.codec.as_deref().and_then(codec_named)
            && let Some(at) = order.iter().position(|codec| *codec == wanted)
        {
            order.swap(0, at);
        }
        order
    }

    /// 201 (§4.2), or SRS's JSON.
    fn created(&self, call: &Call, begun: &Begun) -> Response {
        let Begun { answer, id, both, etag } = begun;
        if call.door.form == Form::Json {
            let body = serde_json::json!({
                "code": 0,
                "server": "shardcast",
                "service": "shardcast",
                "pid": std::process::id().to_string(),
                "sdp": answer,
                "sessionid": both,
            });
            return Response::json(Status::OK, body.to_string()).cors();
        }
        let mut response = Response::new(Status::CREATED)
            .body("application/sdp", answer.clone())
            .header("Location", &call.location(id, both))
            .header("ETag", etag)
            .header("Accept-Patch", FRAG_TYPE)
            .cors();
        for server in &self.options.get().ice_servers {
            response = response.header("Link", &link(server));
        }
        response
    }

    /// Candidates that come later, or an ICE restart (§4.3).
    fn patch(&self, call: &Call, id: &str, if_match: Option<&str>, frag: &str) -> Result<Response, Refused> {
        let mut table = self.table.borrow_mut();
        let slot = table.of_id(id).ok_or(Refused::NoSession)?;
        let session = table.get(slot).filter(|session| is_called(session, call)).ok_or(Refused::NoSession)?;
        let tag = if_match.ok_or(Refused::NoIfMatch)?;
        if tag != "*" && !tag.split(',').any(|tag| tag.trim() == session.names.etag) {
            return Err(Refused::IfMatch);
        }
        let frag = Frag::parse(frag).ok_or(Refused::NoFrag)?;
        let is_new = frag.credentials.as_ref().is_some_and(|(ufrag, _)| *ufrag != session.names.peer_ufrag);
        // Other credentials are a restart, whatever tag they come with.
        if let Some((ufrag, pwd)) = frag.credentials.as_ref().filter(|_| is_new) {
            let (side, terms) = (session.side(), &session.terms);
            let clean = terms.offer.distil(side, &terms.chosen, Some((ufrag, pwd)));
            let answer = accept(&mut session.rtc, &clean).map_err(Refused::Answer)?;
            // Of the form that leads packets here, as the first ones were.
            session.rtc.direct_api().set_local_ice_credentials(credentials(self.shard.id()));
            let room = session.room_for_candidates(frag.candidates.len());
            note_candidates(&mut session.rtc, &frag, room);
            session.names.peer_ufrag.clone_from(ufrag);
            let creds = session.rtc.direct_api().local_ice_credentials();
            session.names.etag = etag(&creds.ufrag);
            let response = Response::new(Status::OK)
                .body(FRAG_TYPE, restarted(&creds, &answer))
                .header("ETag", &session.names.etag);
            table.rename(slot, creds.ufrag);
            return Ok(response);
        }
        let room = session.room_for_candidates(frag.candidates.len());
        note_candidates(&mut session.rtc, &frag, room);
        drop(table);
        self.kick.ready(slot);
        Ok(Response::new(Status::NO_CONTENT))
    }

    /// The end of a session (§4.2).
    fn delete(&self, call: &Call, id: &str, also: Option<&str>) -> Result<(), Refused> {
        let mut table = self.table.borrow_mut();
        let slot = table.of_id(id).ok_or(Refused::NoSession)?;
        let session = table.get(slot).filter(|session| is_called(session, call)).ok_or(Refused::NoSession)?;
        let both = format!("{}:{}", session.names.ufrag, session.names.peer_ufrag);
        if also.is_some_and(|also| also != both) {
            return Err(Refused::NoSession);
        }
        drop(table);
        self.dismiss(slot, "its client deleted it");
        Ok(())
    }
}

/// A call's parameters as SRS's hooks have them: of WHIP and WHEP the query as it came; of its JSON those of the address in
/// it, and what a publisher comes by.
fn spelled(call: &Call) -> String {
    let query = &call.query;
    match (call.door.form, call.door.side) {
        (Form::Json, Side::Publish) if query.is_empty() => "upstream=rtc".to_owned(),
        (Form::Json, Side::Publish) => format!("?{query}&upstream=rtc"),
        (Form::Json, Side::Play) if !query.is_empty() => format!("?{query}"),
        _ => query.clone(),
    }
}

/// Whether a call names the session that it found by its id. SRS's form has one address for both sides.
fn is_called(session: &Session, call: &Call) -> bool {
    session.key == call.key && (call.door.form == Form::Srs || session.side() == call.door.side)
}

fn described(chosen: &[Option<Chosen>]) -> String {
    let names: Vec<String> = chosen.iter().flatten().map(|chosen| chosen.codec.name.to_uppercase()).collect();
    names.join(", ")
}

/// `turn:host user password` as a Link header (§4.6).
fn link(server: &str) -> String {
    let mut words = server.split_ascii_whitespace();
    let url = words.next().unwrap_or_default();
    match (words.next(), words.next()) {
        (Some(user), Some(password)) => format!(
            "<{url}>; rel=\"ice-server\"; username=\"{user}\"; credential=\"{password}\"; credential-type=\"password\""
        ),
        _ => format!("<{url}>; rel=\"ice-server\""),
    }
}

/// The entity tag of the ICE session whose own name this is.
fn etag(ufrag: &str) -> String {
    format!("\"{ufrag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::http::Reply;

    /// §4.7 and RFC 6750 §3: who may not is told so, and which scheme would do.
    #[test]
    fn those_who_may_not_are_told_why_in_each_form() {
        let door = |form| Door { form, side: Side::Publish };
        let denied = |denied| Refused::Denied(denied);
        let who = || denied(Denied::Unauthorized("the token has expired".to_owned()));
        let rules = || denied(Denied::Forbidden("not from this address".to_owned()));
        for form in [Form::Standard, Form::Srs] {
            let reply = Reply { keep_alive: true, ..Reply::CLOSE };
            let wire = refusal(door(form), &who()).write(reply);
            let text = String::from_utf8_lossy(&wire).into_owned();
            assert!(
                text.starts_with("HTTP/1.1 401 ") && text.contains("\r\nWWW-Authenticate: Bearer\r\n"),
                "{text}"
            );
            assert!(
                text.ends_with("the token has expired\n") || text.ends_with("the token has expired"),
                "{text}"
            );
            let wire = refusal(door(form), &rules()).write(reply);
            assert!(wire.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&wire));
        }
        let wire = refusal(door(Form::Json), &who()).write(Reply::CLOSE);
        let text = String::from_utf8_lossy(&wire).into_owned();
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("\"code\":400"), "{text}");
    }
}
