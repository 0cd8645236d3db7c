//! One end of a WebRTC connection: it offers, hears the answer, and then turns datagrams into media and back.
//!
//! A machine on str0m: no socket, no clock. It offers one video and one audio section, sending or receiving, with the host
//! candidate it is given; behind a gap in its pictures it asks for a keyframe, as browsers do. Invariant: after each call of [`Peer::drive`] there is nothing more to do before the time that it
//! returned, or the next datagram.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, Input, Rtc, RtcConfig, RtcError,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    config::DtlsCert,
    crypto,
    error::{IceError, SdpError},
    format::Codec,
    media::{
        Direction, Frequency, KeyframeRequestKind, MediaKind, MediaTime, Mid, Rid, Simulcast, SimulcastLayer,
        Writer,
    },
    net::{Protocol, Receive},
    rtp::{Extension, ExtensionMap},
};

use super::signal;

/// A keyframe of a few hundred kilobytes is put together before it is given up.
const REORDERING_PACKETS: usize = 1_000;
/// Outputs that one call may produce: a keyframe and its repetitions. More is a circle.
const OUTPUTS_MAX: usize = 20_000;

/// A keyframe that was asked for is waited for so long.
const KEY_PATIENCE: Duration = Duration::from_millis(500);

/// Towards the server, or from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// WHIP.
    Publish,
    /// WHEP.
    Play,
}

/// What is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codecs {
    /// Of pictures, by preference; none for sound alone.
    pub pictures: &'static [Codec],
    /// Opus.
    pub sound: bool,
    /// Names of the layers in which a publisher sends its pictures (simulcast, RFC 8853); none for one alone.
    pub layers: Vec<&'static str>,
}

impl Codecs {
    /// What everybody speaks.
    pub const COMMON: Self = Self { pictures: &[Codec::H264], sound: true, layers: Vec::new() };
}

/// Why a peer is none.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// str0m's.
    #[error("{0}")]
    Rtc(#[from] RtcError),
    /// An address that is no candidate.
    #[error("{0}")]
    Ice(#[from] IceError),
    /// An answer that is no SDP.
    #[error("the answer is no SDP: {0}")]
    Sdp(#[from] SdpError),
    /// Nothing was offered.
    #[error("nothing is offered")]
    Nothing,
    /// An answer without a question.
    #[error("there is an answer already")]
    Answered,
    /// It goes round and round.
    #[error("the peer does not come to rest")]
    Restless,
}

/// Makes peers that offer the same.
#[derive(Clone, Debug)]
pub struct Maker {
    config: RtcConfig,
    role: Role,
    codecs: Codecs,
}

/// What a peer wants done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is handed on, never kept")]
pub enum Output<'a> {
    /// A datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// Something happened.
    Event(Event),
}

/// See the module.
#[derive(Debug)]
pub struct Peer {
    rtc: Rtc,
    /// Until there is an answer: what was offered.
    pending: Option<(SdpPendingOffer, String)>,
    local: SocketAddr,
    picture: Option<Mid>,
    sound: Option<Mid>,
    /// A picture came behind a gap; when a keyframe was asked for last.
    torn: bool,
    asked_key: Option<Instant>,
    /// Its newest time: str0m stands still for an older one.
    now: Instant,
}

impl Maker {
    /// With `feedback` the sender is told of each packet's arrival (TWCC), as browsers do. All peers of a maker share a
    /// certificate.
    pub fn new(role: Role, codecs: Codecs, feedback: bool) -> Self {
        let provider = Arc::new(crypto::from_feature_flags());
        let certificate: Option<DtlsCert> = provider.dtls_provider.generate_certificate();
        let mut config = RtcConfig::new()
            .set_crypto_provider(provider)
            .clear_codecs()
            .enable_opus(codecs.sound, false)
            .set_reordering_size_video(REORDERING_PACKETS);
        if let Some(certificate) = certificate {
            config = config.set_dtls_cert(certificate);
        }
        for codec in codecs.pictures.iter() {
            config = match codec {
                Codec::H264 => config.enable_h264(true),
                Codec::H265 => config.enable_h265(true),
                Codec::Vp8 => config.enable_vp8(true),
                Codec::Vp9 => config.enable_vp9(true),
                Codec::Av1 => config.enable_av1(true),
                _ => config,
            };
        }
        let mut extensions = ExtensionMap::empty();
        extensions.set(1, Extension::AudioLevel);
        extensions.set(2, Extension::AbsoluteSendTime);
        extensions.set(4, Extension::RtpMid);
        extensions.set(5, Extension::PlayoutDelay);
        if !codecs.layers.is_empty() {
            extensions.set(6, Extension::RtpStreamId);
            extensions.set(7, Extension::RepairedRtpStreamId);
        }
        if feedback {
            extensions.set(3, Extension::TransportSequenceNumber);
        }
        Self { config: config.set_extension_map(extensions), role, codecs }
    }

    /// A peer that will be reached at `local`, and its offer.
    ///
    /// # Errors
    /// When `local` is no candidate or nothing is to be offered.
    pub fn peer(&self, local: SocketAddr, now: Instant) -> Result<(Peer, String), PeerError> {
        let mut rtc = self.config.clone().build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        let direction = match self.role {
            Role::Publish => Direction::SendOnly,
            Role::Play => Direction::RecvOnly,
        };
        let mut changes = rtc.sdp_api();
        let mut add = |wanted: bool, kind, layers: Option<Simulcast>| {
            wanted.then(|| changes.add_media(kind, direction, Some("loadtest".to_owned()), None, layers))
        };
        let layers = (!self.codecs.layers.is_empty()).then(|| {
            let mut layers = Simulcast::new();
            self.codecs.layers.iter().for_each(|name| layers.add_send_layer(SimulcastLayer::new(name)));
            layers
        });
        let sound = add(self.codecs.sound, MediaKind::Audio, None);
        let picture = add(!self.codecs.pictures.is_empty(), MediaKind::Video, layers);
        let (offer, pending): (SdpOffer, _) = changes.apply().ok_or(PeerError::Nothing)?;
        let text = offer.to_sdp_string();
        Ok((
            Peer {
                rtc,
                pending: Some((pending, text.clone())),
                local,
                picture,
                sound,
                torn: false,
                asked_key: None,
                now,
            },
            text,
        ))
    }
}

impl Peer {
    /// The server's answer. The handshakes begin with the next [`Peer::drive`].
    ///
    /// # Errors
    /// When it is none to what was offered.
    pub fn answer(&mut self, sdp: &str) -> Result<(), PeerError> {
        let (pending, offer) = self.pending.take().ok_or(PeerError::Answered)?;
        let answer = SdpAnswer::from_sdp_string(&signal::explained(sdp, &offer))?;
        Ok(self.rtc.sdp_api().accept_answer(pending, answer)?)
    }

    /// A datagram came; what is none of WebRTC's is ignored.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), PeerError> {
        self.now = self.now.max(now);
        let now = self.now;
        match Receive::new(Protocol::Udp, from, self.local, datagram) {
            Ok(receive) => Ok(self.rtc.handle_input(Input::Receive(now, receive))?),
            Err(_) => Ok(()),
        }
    }

    /// Does everything that is due and hands out what comes of it. When to call again, at the latest.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub fn drive(&mut self, now: Instant, on: &mut impl FnMut(Output<'_>)) -> Result<Instant, PeerError> {
        self.now = self.now.max(now);
        let now = self.now;
        for _ in 0..OUTPUTS_MAX {
            match self.rtc.poll_output()? {
                str0m::Output::Transmit(transmit) => {
                    on(Output::Send { to: transmit.destination, bytes: &transmit.contents });
                }
                str0m::Output::Event(event) => {
                    if let Event::MediaData(data) = &event
                        && data.params.spec().codec.is_video()
                    {
                        // Until a keyframe comes nothing can be decoded, as in a browser.
                        self.torn = (self.torn || !data.contiguous) && !data.is_keyframe();
                    }
                    on(Output::Event(event));
                }
                str0m::Output::Timeout(_) if self.wants_key() => {
                    self.asked_key = Some(now);
                    self.ask_keyframe();
                }
                str0m::Output::Timeout(at) if at > now => return Ok(at),
                str0m::Output::Timeout(_) => self.rtc.handle_input(Input::Timeout(now))?,
            }
            if !self.rtc.is_alive() {
                return Ok(now + Duration::from_secs(3_600));
            }
        }
        Err(PeerError::Restless)
    }

    fn wants_key(&self) -> bool {
        let lately = self.asked_key.is_some_and(|at| self.now.saturating_duration_since(at) < KEY_PATIENCE);
        self.torn && !lately
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.rtc.is_connected()
    }

    /// Whether it is of any use still.
    pub fn is_alive(&self) -> bool {
        self.rtc.is_alive()
    }

    /// Says goodbye (RTCP BYE, DTLS close_notify) with the next [`Peer::drive`].
    pub fn close(&mut self) {
        // What is closed already has nothing to say.
        let _ = self.rtc.close();
    }

    /// The section of the pictures, if they were offered.
    pub const fn picture(&self) -> Option<Mid> {
        self.picture
    }

    /// The section of the sound, if it was offered.
    pub const fn sound(&self) -> Option<Mid> {
        self.sound
    }

    /// Whether the answer takes what is published: pictures and sound.
    pub fn takes(&self) -> (bool, bool) {
        let takes = |mid: Option<Mid>| {
            mid.and_then(|mid| self.rtc.media(mid))
                .is_some_and(|media| media.direction().is_sending() && !media.disabled())
        };
        (takes(self.picture), takes(self.sound))
    }

    /// A picture to send, in Annex B if its codec has that, of the layer `rid`; `at` is on the stream's clock. Nothing is sent before
    /// the connection is there.
    ///
    /// # Errors
    /// When it cannot be sent in this session.
    pub fn send_picture(
        &mut self,
        now: Instant,
        at: Duration,
        codec: Codec,
        rid: Option<Rid>,
        picture: Arc<[u8]>,
    ) -> Result<(), PeerError> {
        let time = MediaTime::from_90khz(at.as_micros() as u64 * 9 / 100);
        self.send((self.picture, rid), codec, now, time, picture)
    }

    /// A frame of Opus to send; `samples` is its time on the clock of 48 kHz.
    ///
    /// # Errors
    /// As [`Peer::send_picture`].
    pub fn send_sound(&mut self, now: Instant, samples: u64, frame: Arc<[u8]>) -> Result<(), PeerError> {
        self.send(
            (self.sound, None),
            Codec::Opus,
            now,
            MediaTime::new(samples, Frequency::FORTY_EIGHT_KHZ),
            frame,
        )
    }

    fn send(
        &mut self,
        (mid, rid): (Option<Mid>, Option<Rid>),
        codec: Codec,
        now: Instant,
        time: MediaTime,
        data: Arc<[u8]>,
    ) -> Result<(), PeerError> {
        let Some(writer) = mid.and_then(|mid| self.rtc.writer(mid)) else { return Ok(()) };
        let format =
            writer.payload_params().find(|params| params.spec().codec == codec).map(|params| params.pt());
        match format {
            Some(format) => {
                let writer = rid.into_iter().fold(writer, Writer::rid);
                Ok(writer.write(format, now, time, data)?)
            }
            None => Ok(()),
        }
    }

    /// Asks the sender for a keyframe (PLI).
    pub fn ask_keyframe(&mut self) {
        if let Some(mut writer) = self.picture.and_then(|mid| self.rtc.writer(mid)) {
            // Where it was not negotiated there is nobody to ask.
            let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// Two machines and the datagrams between them, in one address space.
    fn meet(publisher: &mut Peer, server: &mut Peer, now: &mut Instant, for_: Duration) -> Vec<Event> {
        let (end, mut events) = (*now + for_, Vec::new());
        while *now < end {
            let (mut to_server, mut to_publisher) = (Vec::new(), Vec::new());
            let one = publisher.drive(*now, &mut |output| {
                if let Output::Send { bytes, .. } = output {
                    to_server.push(bytes.to_vec());
                }
            });
            let other = server.drive(*now, &mut |output| match output {
                Output::Send { bytes, .. } => to_publisher.push(bytes.to_vec()),
                Output::Event(event) => events.push(event),
            });
            let quiet = to_server.is_empty() && to_publisher.is_empty();
            for bytes in to_server {
                server.receive(*now, publisher.local, &bytes).expect("a datagram");
                server
                    .drive(*now, &mut |output| match output {
                        Output::Send { bytes, .. } => to_publisher.push(bytes.to_vec()),
                        Output::Event(event) => events.push(event),
                    })
                    .expect("a server");
            }
            for bytes in to_publisher {
                publisher.receive(*now, server.local, &bytes).expect("a datagram");
            }
            if quiet {
                *now = one
                    .expect("a publisher")
                    .min(other.expect("a server"))
                    .max(*now + Duration::from_millis(1));
            }
        }
        events
    }

    fn local(port: u16) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, 1), port).into()
    }

    /// A server as any is on str0m: it answers.
    fn server(offer: &str, now: Instant) -> (Peer, String) {
        let mut rtc = RtcConfig::new().set_ice_lite(true).build(now);
        rtc.add_local_candidate(Candidate::host(local(2), "udp").expect("a candidate"));
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
        let answer = rtc.sdp_api().accept_offer(offer).expect("an answer").to_sdp_string();
        (
            Peer {
                rtc,
                pending: None,
                local: local(2),
                picture: None,
                sound: None,
                torn: false,
                asked_key: None,
                now,
            },
            answer,
        )
    }

    #[test]
    fn pictures_and_sound_arrive_as_they_were_sent() {
        let mut now = Instant::now();
        let maker = Maker::new(Role::Publish, Codecs::COMMON, true);
        let (mut publisher, offer) = maker.peer(local(1), now).expect("a peer");
        assert!(
            offer.contains("a=sendonly") && offer.contains("H264/90000") && offer.contains("opus/48000/2")
        );
        let (mut server, answer) = server(&offer, now);
        publisher.answer(&answer).expect("an answer");
        assert_eq!(publisher.takes(), (true, true));
        meet(&mut publisher, &mut server, &mut now, Duration::from_secs(2));
        assert!(publisher.is_connected() && server.is_connected());
        let picture = [&[0, 0, 0, 1, 0x65][..], &vec![0x55; 5_000]].concat();
        let mut events = Vec::new();
        for n in 0..20 {
            let at = Duration::from_millis(20 * n);
            publisher.send_picture(now, at, Codec::H264, None, picture.clone().into()).expect("a picture");
            publisher.send_sound(now, n * 960, vec![n as u8; 100].into()).expect("a sound");
            events.extend(meet(&mut publisher, &mut server, &mut now, Duration::from_millis(20)));
        }
        let data: Vec<_> = events
            .into_iter()
            .filter_map(|event| if let Event::MediaData(data) = event { Some(data) } else { None })
            .collect();
        let of = |codec| data.iter().filter(move |data| data.params.spec().codec == codec);
        assert!(of(Codec::H264).count() >= 19 && of(Codec::Opus).count() >= 18, "{data:?}");
        assert!(of(Codec::H264).all(|data| data.data[..] == picture[..]));
    }

    #[test]
    fn who_says_goodbye_is_gone_at_once() {
        let mut now = Instant::now();
        let (mut player, offer) =
            Maker::new(Role::Play, Codecs::COMMON, false).peer(local(1), now).expect("a peer");
        assert!(offer.contains("a=recvonly") && !offer.contains("transport-wide-cc"));
        let (mut server, answer) = server(&offer, now);
        player.answer(&answer).expect("an answer");
        assert!(matches!(player.answer(&answer), Err(PeerError::Answered)));
        meet(&mut player, &mut server, &mut now, Duration::from_secs(2));
        assert!(server.is_connected());
        player.close();
        let events = meet(&mut player, &mut server, &mut now, Duration::from_millis(100));
        assert!(events.iter().any(|event| matches!(event, Event::Closed)), "{events:?}");
    }

    #[test]
    fn an_answer_that_is_none_is_told() {
        let now = Instant::now();
        let maker = Maker::new(Role::Play, Codecs::COMMON, false);
        let (mut peer, _) = maker.peer(local(1), now).expect("a peer");
        assert!(peer.answer("not SDP").is_err());
        let nothing = Codecs { pictures: &[], sound: false, layers: Vec::new() };
        let nothing = Maker::new(Role::Play, nothing, false);
        assert!(matches!(nothing.peer(local(1), now), Err(PeerError::Nothing)));
    }
}
