//! Where a player's session stands: it asks, joins, and then counts or is parsed; or it plays the floor.
//!
//! Invariant: a state owns what it needs, and what is left of it is dropped with it: the connection on which it asked
//! closes when the answer is there. Times are nanoseconds on [`clock`].

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsRawFd, RawFd},
    time::Instant,
};

use bytes::{Buf, Bytes};
use str0m::{Event, IceConnectionState};

use super::super::{
    Cohort,
    connect::{self, advice},
    player::End,
};
use super::player::Who;
use crate::{
    clock,
    floor::srtp::{self, Cipher},
    media::marker::Marker,
    rtc::{Maker, Output, Peer, PeerError, packet::Rtp, signal},
    url::Form,
};

/// The floor is asked so often until it sends.
const HELLO_NS: u64 = 200_000_000;
/// A session that only counts is called no more often: its checks of ICE are seconds apart.
const REST_NS: u64 = 500_000_000;
/// Nothing to be called for.
const NEVER: u64 = u64::MAX;

/// What a player hears.
#[derive(Debug)]
pub enum Heard {
    /// ICE and DTLS are done.
    Connected,
    /// A whole picture.
    Picture {
        /// Of the load test's publishers.
        marker: Option<Marker>,
        /// Decoding can begin here.
        key: bool,
        /// On the media's clock, microseconds.
        time_us: u64,
    },
    /// A sound.
    Sound,
    /// It is over.
    End(String),
}

/// See the module.
pub enum Session {
    /// The offer is on its way, or the answer.
    Asking(Box<Asking>),
    /// Handshakes, and everything until decoding could begin.
    Joining(Box<Peer>),
    /// Everything is decrypted.
    Parsing(Box<Peer>),
    /// Media is only counted.
    Counting(Box<Peer>),
    /// No session at all.
    Floor(Box<Floor>),
}

/// See [`Session::Asking`].
pub struct Asking {
    connection: TcpStream,
    unsent: Bytes,
    reading: signal::Reading,
    peer: Box<Peer>,
}

/// See [`Session::Floor`].
pub struct Floor {
    remote: SocketAddr,
    stream: u64,
    /// For those who are parsed.
    cipher: Option<Cipher>,
    begun: bool,
    /// Of the picture whose last packet has not come.
    picture: Option<(Marker, bool)>,
}

impl Session {
    /// Begins to ask; media is wanted at `here`.
    ///
    /// # Errors
    /// A sentence.
    pub fn ask(
        cohort: &Cohort,
        who: Who,
        source: Option<Ipv4Addr>,
        here: SocketAddr,
        maker: &Maker,
    ) -> Result<Self, String> {
        if cohort.address.form == Form::Udp {
            let cipher = if who.sampled { Some(Cipher::new().map_err(|_| "there is no AES")?) } else { None };
            let (remote, stream) = (cohort.remote, who.stream);
            return Ok(Self::Floor(Box::new(Floor { remote, stream, cipher, begun: false, picture: None })));
        }
        let (peer, offer) = maker.peer(here, Instant::now()).map_err(|error| error.to_string())?;
        let address = &cohort.address;
        let unsent = signal::offer(address.authority(), &address.target(who.stream), None, &offer);
        let connection = connect::begin(cohort.remote, source, None).map_err(|error| advice(&error))?;
        let reading = signal::Reading::default();
        Ok(Self::Asking(Box::new(Asking { connection, unsent, reading, peer: Box::new(peer) })))
    }

    /// The connection on which it asks.
    pub fn reply_fd(&self) -> Option<RawFd> {
        match self {
            Self::Asking(asking) => Some(asking.connection.as_raw_fd()),
            _ => None,
        }
    }

    /// Whether it looks at headers only.
    pub fn only_counts(&self) -> bool {
        match self {
            Self::Counting(_) => true,
            Self::Floor(floor) => floor.begun && floor.cipher.is_none(),
            _ => false,
        }
    }

    /// What has not happened yet.
    pub fn waits_for(&self) -> &'static str {
        match self {
            Self::Asking(_) => "the server did not answer the offer in time",
            Self::Joining(peer) if !peer.is_connected() => "ICE and DTLS were not done in time",
            _ => "connected, but no media came in time",
        }
    }

    /// Goes on asking; whether the answer has come.
    ///
    /// # Errors
    /// When there will be none.
    pub fn on_reply(&mut self) -> Result<bool, End> {
        let Self::Asking(asking) = self else { return Ok(false) };
        let failed = asking.connection.take_error().unwrap_or_else(Some);
        if let Some(error) = failed {
            return Err(End::Refused(advice(&error)));
        }
        let Some(reply) = asking.exchange()? else { return Ok(false) };
        let answer = reply.answer().map_err(|error| End::Ended(error.to_string()))?;
        asking.peer.answer(answer).map_err(ended)?;
        let before = std::mem::replace(self, Self::Floor(Box::new(Floor::none())));
        if let Self::Asking(asking) = before {
            *self = Self::Joining(asking.peer);
        }
        Ok(true)
    }

    /// A datagram; whether the session is to be driven for it.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn receive(
        &mut self,
        now: u64,
        from: SocketAddr,
        datagram: &mut [u8],
        rtp: Option<&Rtp>,
        heard: &mut Vec<Heard>,
    ) -> Result<bool, End> {
        match (self, rtp) {
            (Self::Floor(floor), Some(rtp)) => {
                floor.receive(rtp, datagram, heard);
                Ok(false)
            }
            (Self::Floor(_) | Self::Asking(_), _) | (Self::Counting(_), Some(_)) => Ok(false),
            (Self::Joining(peer) | Self::Parsing(peer) | Self::Counting(peer), _) => {
                peer.receive(clock::instant(now), from, datagram).map_err(ended)?;
                Ok(true)
            }
        }
    }

    /// Does what is due; when to call again.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn drive(&mut self, now: u64, socket: &UdpSocket, heard: &mut Vec<Heard>) -> Result<u64, End> {
        match self {
            Self::Asking(_) => Ok(NEVER),
            Self::Floor(floor) => Ok(floor.hello(now, socket)),
            Self::Joining(peer) | Self::Parsing(peer) => drive(peer, now, socket, heard),
            Self::Counting(peer) => Ok(drive(peer, now, socket, heard)?.max(now + REST_NS)),
        }
    }

    /// Decoding could begin: those who are not parsed count from now on.
    pub fn settle(&mut self, sampled: bool) {
        if matches!(self, Self::Joining(_))
            && let Self::Joining(peer) = std::mem::replace(self, Self::Floor(Box::new(Floor::none())))
        {
            *self = if sampled { Self::Parsing(peer) } else { Self::Counting(peer) };
        }
    }

    /// The last words: RTCP BYE and DTLS close_notify, and nobody waits for an answer.
    pub fn goodbye(&mut self, now: u64, socket: &UdpSocket) {
        if let Self::Joining(peer) | Self::Parsing(peer) | Self::Counting(peer) = self {
            peer.close();
            let _ = drive(peer, now, socket, &mut Vec::new());
        }
    }
}

impl Asking {
    /// Writes and reads as far as it goes.
    fn exchange(&mut self) -> Result<Option<signal::Reply>, End> {
        while !self.unsent.is_empty() {
            match self.connection.write(&self.unsent) {
                Ok(sent) => self.unsent.advance(sent),
                // Not connected yet, or full.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Refused(advice(&error))),
            }
        }
        let mut buffer = [0; 4 << 10];
        loop {
            let told = |error: signal::SignalError| End::Ended(error.to_string());
            match self.connection.read(&mut buffer) {
                Ok(0) => return self.reading.end().map(Some).map_err(told),
                Ok(read) => {
                    let reply = self.reading.feed(buffer.get(..read).unwrap_or_default()).map_err(told)?;
                    if reply.is_some() {
                        return Ok(reply);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Ended(advice(&error))),
            }
        }
    }
}

impl Floor {
    /// Nobody's; stands where a state is being changed for another.
    fn none() -> Self {
        Self {
            remote: (Ipv4Addr::UNSPECIFIED, 0).into(),
            stream: 0,
            cipher: None,
            begun: true,
            picture: None,
        }
    }

    fn hello(&self, now: u64, socket: &UdpSocket) -> u64 {
        if self.begun {
            return NEVER;
        }
        // A lost one is said again.
        let _ = socket.send_to(&crate::floor::udp::hello(self.stream), self.remote);
        now + HELLO_NS
    }

    fn receive(&mut self, rtp: &Rtp, datagram: &mut [u8], heard: &mut Vec<Heard>) {
        if !std::mem::replace(&mut self.begun, true) {
            heard.push(Heard::Connected);
            if self.cipher.is_none() {
                // Whoever only counts begins with anything.
                heard.push(Heard::Picture { marker: None, key: true, time_us: 0 });
            }
        }
        let Some(cipher) = &self.cipher else { return };
        let Ok(payload) = cipher.open(datagram) else { return };
        if rtp.payload_type == srtp::SOUND {
            heard.push(Heard::Sound);
            return;
        }
        if let Some(marker) = Marker::find(payload) {
            self.picture = Some((marker, payload.first().is_some_and(|first| first >> 4 == 1)));
        }
        if rtp.marker
            && let Some((marker, key)) = self.picture.take()
        {
            let time_us = u64::from(rtp.timestamp) * 100 / 9;
            heard.push(Heard::Picture { marker: Some(marker), key, time_us });
        }
    }
}

fn drive(peer: &mut Peer, now: u64, socket: &UdpSocket, heard: &mut Vec<Heard>) -> Result<u64, End> {
    let at = clock::instant(now);
    let next = peer.drive(at, &mut |output| match output {
        Output::Send { to, bytes } => {
            // A full buffer is a lost datagram, which WebRTC is made for.
            let _ = socket.send_to(bytes, to);
        }
        Output::Event(event) => heard.extend(hear(event)),
    });
    let next = next.map_err(ended)?;
    Ok(now.saturating_add(clock::nanos(next.saturating_duration_since(at))))
}

fn hear(event: Event) -> Option<Heard> {
    match event {
        Event::Connected => Some(Heard::Connected),
        Event::MediaData(data) if data.params.spec().codec.is_audio() => Some(Heard::Sound),
        Event::MediaData(data) => Some(Heard::Picture {
            marker: Marker::find(&data.data),
            key: data.is_keyframe(),
            time_us: data.time.as_micros(),
        }),
        Event::Closed => Some(Heard::End("the server closed the session".to_owned())),
        Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
            Some(Heard::End("the server does not answer any more".to_owned()))
        }
        _ => None,
    }
}

fn ended(error: PeerError) -> End {
    End::Ended(error.to_string())
}
