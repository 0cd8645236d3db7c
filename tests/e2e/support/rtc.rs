//! A WebRTC peer without a browser: str0m on a UDP socket of its own, driven by the story.
//!
//! It offers, takes the answer, lets time pass while the story waits, and can stop at any stage: what a peer does not do
//! is what a server must survive.

use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    media::{Direction, MediaKind, MediaTime, Mid},
    net::{Protocol, Receive},
};

use super::http::{Answer, exchange};

/// See the module.
pub struct Peer {
    pub rtc: Rtc,
    socket: UdpSocket,
    pending: Option<SdpPendingOffer>,
    pub audio: Option<Mid>,
    pub video: Option<Mid>,
    start: Instant,
    /// The connection is up.
    pub connected: bool,
    /// ICE has found a way.
    pub ice: bool,
    /// The server said goodbye.
    pub closed: bool,
    /// Frames received: of sound, of pictures.
    pub frames: [u64; 2],
    /// Keyframes among the pictures.
    pub keys: u64,
    /// Keyframes that the server asked for.
    pub asked: u64,
    /// The sources whose media came, whether or not it could be opened.
    pub sources: BTreeSet<u32>,
    /// Datagrams of DTLS that came.
    pub dtls: u64,
    /// Datagrams that are thrown away instead of sent, by the first byte.
    pub mute: fn(u8) -> bool,
}

/// `POST url` with an offer.
pub fn post(addr: SocketAddr, target: &str, sdp: &str) -> Answer {
    request(addr, "POST", target, &[("Content-Type", "application/sdp")], sdp)
}

/// A request with fields and a body.
pub fn request(addr: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: {addr}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    exchange(addr, &text).expect("answered")
}

impl Peer {
    /// A peer that offers to send (or to receive) sound and pictures, and its offer.
    pub fn offer(direction: Direction) -> (Self, String) {
        Self::offer_with(direction, Rtc::builder())
    }

    /// As configured.
    pub fn offer_with(direction: Direction, config: str0m::RtcConfig) -> (Self, String) {
        Self::offer_from(UdpSocket::bind("127.0.0.1:0").expect("a port"), direction, config)
    }

    /// From a socket that is there already.
    pub fn offer_from(socket: UdpSocket, direction: Direction, config: str0m::RtcConfig) -> (Self, String) {
        let mut rtc = config.build(Instant::now());
        let local = socket.local_addr().expect("bound");
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        let mut changes = rtc.sdp_api();
        let audio = changes.add_media(MediaKind::Audio, direction, None, None, None);
        let video = changes.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = changes.apply().expect("there is something to offer");
        let peer = Self {
            rtc,
            socket,
            pending: Some(pending),
            audio: Some(audio),
            video: Some(video),
            start: Instant::now(),
            connected: false,
            ice: false,
            closed: false,
            frames: [0; 2],
            keys: 0,
            asked: 0,
            sources: BTreeSet::new(),
            dtls: 0,
            mute: |_| false,
        };
        (peer, offer.to_sdp_string())
    }

    /// Offers at `target` and takes the answer; the answer too.
    pub fn begin(addr: SocketAddr, target: &str, direction: Direction) -> (Self, Answer) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        Self::begin_from(socket, addr, target, direction)
    }

    /// The same from a socket that is there already.
    pub fn begin_from(
        socket: UdpSocket,
        addr: SocketAddr,
        target: &str,
        direction: Direction,
    ) -> (Self, Answer) {
        let (mut peer, sdp) = Self::offer_from(socket, direction, Rtc::builder());
        let answer = post(addr, target, &sdp);
        assert_eq!(answer.head.status, 201, "{target}: {}", answer.text());
        peer.accept(&answer.text());
        (peer, answer)
    }

    /// Takes the answer.
    pub fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap_or_else(|error| panic!("{error}:\n{answer}"));
        let pending = self.pending.take().expect("an offer waits for its answer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("the answer fits the offer");
    }

    /// Offers anew with other ICE credentials.
    pub fn restart(&mut self) -> SdpOffer {
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(true);
        let (offer, pending) = changes.apply().expect("a restart");
        self.pending = Some(pending);
        offer
    }

    /// Goes on until `ready`, at most so long; whether it was.
    pub fn run(&mut self, limit: Duration, mut ready: impl FnMut(&Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        while !ready(self) {
            let now = Instant::now();
            if now >= end {
                return false;
            }
            let next = self.drain();
            let wait = next
                .min(end)
                .saturating_duration_since(now)
                .clamp(Duration::from_millis(1), Duration::from_millis(20));
            self.socket.set_read_timeout(Some(wait)).expect("a time-out");
            let mut room = [0; 2_048];
            match self.socket.recv_from(&mut room) {
                Ok((len, source)) => {
                    self.note(&room[..len]);
                    let to = self.socket.local_addr().expect("bound");
                    if let Ok(receive) = Receive::new(Protocol::Udp, source, to, &room[..len]) {
                        let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
                }
                Err(error) => panic!("UDP: {error}"),
            }
        }
        true
    }

    /// Goes on until the connection is up.
    pub fn connect(&mut self) {
        assert!(self.run(super::SOON, |peer| peer.connected), "no connection came up");
    }

    /// RFC 7983 section 7: the first byte tells DTLS and media apart; RFC 5761 section 4: the second, RTP and RTCP.
    fn note(&mut self, datagram: &[u8]) {
        match *datagram {
            [20..=63, ..] => self.dtls += 1,
            [128..=191, second, _, _, _, _, _, _, a, b, c, d, ..] if !(192..224).contains(&second) => {
                self.sources.insert(u32::from_be_bytes([a, b, c, d]));
            }
            _ => {}
        }
    }

    fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return at,
                Ok(Output::Transmit(transmit)) => {
                    if !(self.mute)(transmit.contents.first().copied().unwrap_or_default()) {
                        let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                    }
                }
                Ok(Output::Event(event)) => self.event(event),
                Err(error) => panic!("the peer failed: {error}"),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::IceConnectionStateChange(
                IceConnectionState::Connected | IceConnectionState::Completed,
            ) => {
                self.ice = true;
            }
            Event::Closed => self.closed = true,
            Event::KeyframeRequest(_) => self.asked += 1,
            Event::MediaData(data) => {
                self.frames[usize::from(Some(data.mid) == self.video)] += 1;
                self.keys += u64::from(data.is_keyframe());
            }
            _ => {}
        }
    }

    /// Sends one picture (H.264, a keyframe with its parameter sets) and the sound beside it, stamped with the time since
    /// the peer began.
    pub fn send(&mut self) {
        let at = self.start.elapsed();
        for (mid, data) in [(self.audio, SOUND.to_vec()), (self.video, picture())] {
            let Some(mid) = mid else { continue };
            let Some(writer) = self.rtc.writer(mid) else { continue };
            let Some(params) = writer.payload_params().next().copied() else { continue };
            let time = MediaTime::from_micros(at.as_micros() as u64).rebase(params.spec().clock_rate);
            writer.write(params.pt(), Instant::now(), time, data).expect("the frame fits");
            self.drain();
        }
    }

    /// Sends `count` pictures, one each 40 ms, and listens in between.
    pub fn send_for(&mut self, count: usize) {
        for _ in 0..count {
            self.send();
            self.run(Duration::from_millis(40), |_| false);
        }
    }

    /// From another address from now on, as a phone does that leaves its network.
    pub fn move_away(&mut self) {
        let ip = self.socket.local_addr().expect("bound").ip();
        self.socket = UdpSocket::bind((ip, 0)).expect("a port");
        let local = self.socket.local_addr().expect("bound");
        self.rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
    }

    /// Vanishes without a word; what is left of it is its socket.
    pub fn vanish(self) -> UdpSocket {
        self.socket
    }

    /// Says goodbye.
    pub fn close(mut self) {
        let _ = self.rtc.close();
        self.drain();
    }
}

/// A frame of Opus: 20 ms of silence.
const SOUND: &[u8] = &[0xf8, 0xff, 0xfe];

/// SPS (1280x720), PPS and a slice of an IDR picture.
fn picture() -> Vec<u8> {
    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
    ];
    const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
    let mut slice = vec![0x65, 0x88, 0x84];
    slice.resize(3_000, 0x55);
    [SPS, PPS, &slice].iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
}
