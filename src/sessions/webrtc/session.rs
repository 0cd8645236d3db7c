//! One WebRTC session: a str0m machine, its role, and when it ends.
//!
//! The shard's [`WebRtc`](super::WebRtc) gives it datagrams and time; it gives datagrams, frames and, in the end, a reason.
//! Invariant: after each call everything that str0m had to say has been taken.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use shards::{media::StreamKey, stream::Leave};
use str0m::{
    Event, Input, Output, Rtc,
    net::{Protocol, Receive, Transmit},
};

use super::{
    directory::Claim,
    egress::Viewer,
    ingest::Ingest,
    table::{WAYS_MAX, Way},
    tally::Tally,
    tcp::Lines,
    unsignalled::Unsignalled,
};
use crate::{
    clients::{Enrolled, Reading, Reception},
    conn_id::ConnId,
    net::{
        connection::Connection,
        udp::{Route, Udp},
    },
    protocols::whip::{Chosen, Offer, Side},
    sessions::{access::Grant, rtp::keys},
};

/// What a session does for its peer.
pub enum Role {
    /// Media comes in.
    Publish(Box<Ingest>),
    /// Media goes out.
    Play(Box<Viewer>),
}

/// The names by which a session is found.
pub struct Names {
    /// What stands in its address: 128 random bits.
    pub id: String,
    /// This side's ICE name.
    pub ufrag: String,
    /// Kept while that is one that the client chose.
    pub chosen: Option<Claim>,
    /// The peer's.
    pub peer_ufrag: String,
    /// The entity tag of its ICE session.
    pub etag: String,
}

/// Its places in the shard's tables.
pub struct Place {
    /// Among the connections.
    pub entry: Connection,
    /// What it has come to, for the roster of clients.
    pub tally: Rc<Tally>,
    /// Its place there.
    pub enrolled: Enrolled,
    /// Leave to be here, held until the end.
    pub _grant: Grant,
}

/// What was agreed on.
pub struct Terms {
    /// The offer.
    pub offer: Offer,
    /// What was taken of it.
    pub chosen: Vec<Option<Chosen>>,
}

/// What the session needs of the shard.
pub struct Surroundings<'a> {
    /// The socket.
    pub udp: &'a Udp,
    /// The connections of those who come over TCP.
    pub lines: &'a Lines,
    /// Who is woken when a publisher is to make a keyframe.
    pub waker: &'a Waker,
    /// Silence after which the peer is gone.
    pub timeout: Duration,
}

/// What DTLS records begin with (RFC 7983 §7).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;

/// Whether a datagram is RTP or RTCP (RFC 7983 §7).
fn is_media(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (128..=191).contains(first))
}

/// See the module.
pub struct Session {
    /// How it is found.
    pub names: Names,
    /// The stream.
    pub key: StreamKey,
    /// What was agreed on.
    pub terms: Terms,
    /// The str0m machine.
    pub rtc: Rtc,
    /// The ways on which it has been heard with its password, and nobody else since; the newest last.
    pub ways: Vec<Way>,
    /// The ways on which another session was heard since; nothing is sent there. The newest last.
    lost: Vec<Way>,
    /// When str0m wants to be called next.
    pub deadline: Instant,
    unsignalled: Option<Unsignalled>,
    place: Place,
    /// Bytes of its datagrams.
    received: u64,
    role: Role,
    locals: Vec<Way>,
    /// Which address of this machine the peer uses.
    local: Option<IpAddr>,
    start: Instant,
    heard: Instant,
    /// Until when the connection must be up; `None` once it is.
    connect_until: Option<Instant>,
    ended: Option<String>,
    /// Where DTLS goes: the pair of addresses that ICE has chosen.
    secured: Option<Way>,
    /// Ways on which it was heard, ever.
    wandered: usize,
    /// Candidates of the peer that were noted.
    candidates: usize,
}

/// Ways on which one session may be heard: a phone changes networks now and then, and a NAT its ports.
const WANDERED_MAX: usize = 256;
/// Candidates of a peer, most of which are of no use to a server that waits for its checks.
const CANDIDATES_MAX: usize = 64;

impl Session {
    /// How many more candidates of the peer are noted; `count` come now.
    pub fn room_for_candidates(&mut self, count: usize) -> usize {
        let room = CANDIDATES_MAX.saturating_sub(self.candidates).min(count);
        self.candidates += room;
        room
    }

    /// A session whose answer is about to be sent. `locals` are the candidates that the peer was told.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        names: Names,
        key: StreamKey,
        terms: Terms,
        rtc: Rtc,
        role: Role,
        place: Place,
        locals: Vec<Way>,
        connect_within: Duration,
    ) -> Self {
        let now = Instant::now();
        let unsignalled = match role {
            Role::Publish(_) => Unsignalled::of(&terms.offer, &terms.chosen),
            Role::Play(_) => None,
        };
        Self {
            unsignalled,
            names,
            key,
            terms,
            rtc,
            ways: Vec::new(),
            lost: Vec::new(),
            deadline: now,
            place,
            received: 0,
            role,
            locals,
            local: None,
            start: now,
            heard: now,
            connect_until: Some(now + connect_within),
            ended: None,
            secured: None,
            wandered: 0,
            candidates: 0,
        }
    }

    /// The name that is on each of its log lines.
    pub fn conn(&self) -> ConnId {
        self.place.entry.id()
    }

    /// Which way media goes.
    pub fn side(&self) -> Side {
        match self.role {
            Role::Publish(_) => Side::Publish,
            Role::Play(_) => Side::Play,
        }
    }

    /// Whether somebody has begun to wait for a keyframe of this publisher.
    pub fn hears_wishes(&mut self, waker: &Waker) -> bool {
        match &mut self.role {
            Role::Publish(ingest) => ingest.hear_wishes(waker),
            Role::Play(_) => false,
        }
    }

    /// Why it is over, if it is.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// It is over, unless it is already.
    pub fn end(&mut self, why: impl Into<String>) {
        self.ended.get_or_insert_with(|| why.into());
    }

    /// It was heard on this way with its password.
    pub fn gain(&mut self, way: Way) {
        self.ways.retain(|known| *known != way);
        self.ways.push(way);
    }

    /// Another session was heard on this way: whatever was sent there would reach that one's peer, who can make nothing of it, or
    /// worse: an alert from an unfinished handshake ends another just as well.
    pub fn lose(&mut self, way: Way) {
        self.ways.retain(|known| *known != way);
        if self.lost.len() == WAYS_MAX {
            self.lost.remove(0);
        }
        self.lost.push(way);
        if self.secured == Some(way) {
            self.secured = None;
        }
        if let Role::Play(viewer) = &self.role {
            viewer.lose(way);
        }
    }

    /// A datagram for it. Whether it was a request of ICE that knew the session's password.
    pub fn datagram(
        &mut self,
        now: Instant,
        way: Way,
        local: Option<IpAddr>,
        datagram: &[u8],
        around: &Surroundings<'_>,
    ) -> bool {
        if let Some(unsignalled) = &mut self.unsignalled {
            unsignalled.look(datagram, &mut self.rtc);
        }
        let destination = self.candidate_for(way, local);
        let Ok(receive) = Receive::new(way.protocol, way.peer, destination, datagram) else {
            return false;
        };
        let input = Input::Receive(now, receive);
        let is_stun = datagram.first().is_some_and(|first| *first < 2);
        if is_stun {
            if !self.rtc.accepts(&input) {
                return false;
            }
            // Each is remembered by the machine for good.
            if !self.ways.contains(&way) {
                if self.wandered >= WANDERED_MAX {
                    return false;
                }
                self.wandered += 1;
            }
            // It is here again, and is to be answered.
            self.lost.retain(|known| *known != way);
            self.local = local.or(self.local);
        }
        if let Role::Play(viewer) = &mut self.role
            && is_media(datagram)
        {
            // Media and its control packets never reach a viewer's str0m.
            if viewer.hear((way, local), datagram, now) {
                self.received += datagram.len() as u64;
                self.heard = now;
                self.local = local;
            }
            return false;
        }
        self.received += datagram.len() as u64;
        self.heard = now;
        self.feed(now, input, around);
        is_stun
    }

    /// Time passes for str0m.
    pub fn wake(&mut self, now: Instant, around: &Surroundings<'_>) {
        self.feed(now, Input::Timeout(now), around);
    }

    fn feed(&mut self, now: Instant, input: Input<'_>, around: &Surroundings<'_>) {
        if let Err(error) = self.rtc.handle_input(input) {
            // What a stranger forged must not end a session; what really failed shows when it is polled.
            tracing::debug!(conn = %self.conn(), "WebRTC: {error}");
        }
        self.work(now, around);
    }

    /// Takes all that str0m has to say and gives it what waits for it.
    pub fn work(&mut self, now: Instant, around: &Surroundings<'_>) {
        self.drain(now, around);
        match &mut self.role {
            Role::Publish(ingest) => {
                ingest.ask_for_key(&mut self.rtc, now, around.waker);
                self.drain(now, around);
            }
            Role::Play(viewer) => {
                let route = self.secured.map(|way| (way, self.local));
                let started = viewer.start(route, now);
                viewer.on_time(now);
                if let Some(deadline) = viewer.deadline() {
                    self.deadline = self.deadline.min(deadline);
                }
                if !started {
                    self.end("the handshake's keys are of no use");
                }
            }
        }
    }

    /// What a publisher brought may leave.
    pub fn flush(&mut self) {
        if let Role::Publish(ingest) = &self.role
            && let Err(evicted) = ingest.flush()
        {
            self.end(evicted.to_string());
        }
    }

    fn drain(&mut self, now: Instant, around: &Surroundings<'_>) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.deadline = at;
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    if self.is_sealed_elsewhere(&transmit) {
                        continue;
                    }
                    if transmit.contents.first().is_some_and(|first| DTLS.contains(first)) {
                        self.secured = Some(Way { protocol: transmit.proto, peer: transmit.destination });
                    }
                    self.transmit(&transmit, around);
                }
                Ok(Output::Event(event)) => self.event(now, event),
                Err(error) => {
                    self.end(error.to_string());
                    break;
                }
            }
        }
        // Whoever's handshake completed: it was this session's, which alone was polled.
        if let (Some(keys), Role::Play(viewer)) = (keys::take(), &mut self.role) {
            viewer.set_keys(keys);
        }
        if !self.rtc.is_alive() {
            self.end("the connection is closed");
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        match (event, &mut self.role) {
            (Event::Connected, role) => {
                self.connect_until = None;
                self.heard = now;
                if let Role::Play(viewer) = role {
                    viewer.connected();
                }
                tracing::info!(conn = %self.place.entry.id(), stream = %self.key, way = ?self.ways.last(),
                    ms = self.start.elapsed().as_millis() as u64, "the connection is up");
            }
            (Event::MediaData(data), Role::Publish(ingest)) => {
                if let Err(evicted) = ingest.media(data) {
                    self.end(evicted.to_string());
                }
            }
            (Event::SenderFeedback(report), Role::Publish(ingest)) => ingest.report(&report),
            (Event::Closed, _) => self.end("the peer closed the connection"),
            _ => {}
        }
    }

    /// Time passes for the session: peers that are gone, streams that are over, the end of the server.
    pub fn tick(&mut self, now: Instant, around: &Surroundings<'_>) {
        let silence = now.saturating_duration_since(self.heard);
        if let Some(until) = self.connect_until {
            if now >= until {
                let heard =
                    if self.ways.is_empty() { "the peer was never heard" } else { "DTLS came to no end" };
                self.end(format!("no connection came up: {heard}"));
            }
        } else if silence >= around.timeout {
            self.end(format!("nothing came for {} ms", silence.as_millis()));
        }
        if let Role::Play(viewer) = &self.role
            && let Some(leave) = viewer.leave()
        {
            self.end(match leave {
                Leave::NoPublisher => "nobody publishes the stream",
                Leave::Ended => "the stream ended",
                Leave::Stalled | Leave::PeerGone => "the viewer took nothing for too long",
            });
        }
        if let Role::Play(viewer) = &self.role
            && let Some(why) = viewer.outgrown()
        {
            self.end(why);
        }
        self.place.tally.set(self.reading());
        if let Poll::Ready(closing) = self.place.entry.poll_closing(&mut Context::from_waker(Waker::noop())) {
            self.end(closing.to_string());
        }
    }

    /// What it has come to: of a viewer's bytes those of media, of a publisher's those that came.
    fn reading(&self) -> Reading {
        let reading = Reading { bytes_in: self.received, ..Reading::default() };
        match &self.role {
            Role::Publish(_) => reading,
            Role::Play(viewer) => {
                let ((place, lag), sent) = (viewer.standing(), viewer.stats());
                let reception = Some(Reception {
                    loss: sent.loss,
                    jitter: sent.jitter,
                    round_trip: sent.round_trip,
                    missed: sent.missed,
                    resent: sent.resent,
                    key_requests: sent.key_requests,
                    refused: sent.refused,
                });
                // One whose pictures stopped until a keyframe has skipped to it like any other.
                Reading { bytes_out: sent.bytes, lag, skips: place.skips + sent.mutes, reception, ..reading }
            }
        }
    }

    /// Says goodbye, as far as there is a connection to say it on.
    pub fn farewell(mut self, around: &Surroundings<'_>) {
        if let Role::Play(viewer) = &self.role {
            viewer.goodbye();
        }
        if self.rtc.is_alive() && self.rtc.close().is_ok() {
            // Once: what is lost of it is not said again.
            loop {
                match self.rtc.poll_output() {
                    Ok(Output::Transmit(transmit)) if self.is_sealed_elsewhere(&transmit) => {}
                    Ok(Output::Transmit(transmit)) => self.transmit(&transmit, around),
                    Ok(Output::Event(_)) => {}
                    Ok(Output::Timeout(_)) | Err(_) => break,
                }
            }
        }
        let seconds = self.start.elapsed().as_secs_f32();
        let why = self.ended.clone().unwrap_or_else(|| "it was told to go".to_owned());
        let reading = self.reading();
        self.place.tally.set(reading);
        self.place.enrolled.note_end(&why, reading.skips);
        match &self.role {
            Role::Publish(ingest) => {
                let (frames, lost, unusable) = ingest.counts();
                tracing::info!(conn = %self.conn(), stream = %self.key, seconds, frames, lost, unusable,
                    "stopped publishing: {why}");
            }
            Role::Play(viewer) => {
                let stats = viewer.stats();
                tracing::info!(conn = %self.conn(), stream = %self.key, seconds, packets = stats.packets, bytes = stats.bytes,
                    missed = stats.missed, resent = stats.resent, mutes = stats.mutes, probes = stats.probes, probed = stats.probed, "stopped playing: {why}");
            }
        }
    }

    /// Media of str0m's for a viewer: sealed with the keys that we use ourselves, and under one count there must be one packet.
    fn is_sealed_elsewhere(&self, transmit: &Transmit) -> bool {
        matches!(self.role, Role::Play(_)) && is_media(&transmit.contents)
    }

    fn transmit(&self, transmit: &Transmit, around: &Surroundings<'_>) {
        if self.lost.contains(&Way { protocol: transmit.proto, peer: transmit.destination }) {
            return;
        }
        if transmit.proto == Protocol::Udp {
            let route = Route { peer: transmit.destination, local: self.local };
            // Full buffers and unreachable peers are losses like any other.
            let _ = around.udp.send(route, &transmit.contents, None);
        } else {
            around.lines.send(transmit.destination, &transmit.contents);
        }
    }

    /// The candidate that a datagram was sent to, as far as that can be told: behind a router the address of this machine
    /// is none of those that the peer was told.
    fn candidate_for(&self, way: Way, local: Option<IpAddr>) -> SocketAddr {
        let candidates = || self.locals.iter().filter(|candidate| candidate.protocol == way.protocol);
        let same_ip = |candidate: &&Way| local == Some(candidate.peer.ip());
        let same_family = |candidate: &&Way| candidate.peer.is_ipv4() == way.peer.is_ipv4();
        let found = candidates().find(same_ip).or_else(|| candidates().find(same_family));
        found.or_else(|| candidates().next()).map_or(way.peer, |candidate| candidate.peer)
    }
}
