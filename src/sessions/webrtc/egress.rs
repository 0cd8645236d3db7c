//! From a stream to one WebRTC viewer: what was negotiated, handed to the stream's RTP rendition.
//!
//! str0m keeps ICE, DTLS and SDP; media and its control packets are ours in both directions ([`rtp`]), with the keys
//! of the same handshake. Invariant: nothing that str0m seals with those keys leaves (see `Session::drain`), or one key would
//! serve two counters.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use shards::{
    media::{StreamKey, Timestamp, TrackKind},
    stream::{Leave, ReaderStats, Stream, Subscriber},
};
use str0m::{Rtc, media::Mid, net::Protocol, rtp::Extension};

use super::{
    kick::Kick,
    negotiate::{codec_of, kind_of},
    table::Way,
    tcp::Lines,
};
use crate::{
    net::{
        trains::{self, Train},
        udp::Udp,
    },
    protocols::whip::{Chosen, Offer},
    sessions::rtp::{
        self, LineOptions, MuxOptions, RENDITION, RtpMux, Shared, ViewerStats, Wire, keys::Keys,
    },
};

/// The longest control packet that is looked at: a datagram of any sane network.
const CONTROL_MAX: usize = 2_048;

/// The ways out to the viewers of a shard: its socket, and the connections of those whose network blocks UDP.
struct Ways {
    udp: Rc<Udp>,
    lines: Rc<Lines>,
}

impl Wire for Ways {
    fn send(&self, way: &trains::Way, contents: &[u8], trains: &[Train]) -> io::Result<usize> {
        if !way.is_line {
            return self.udp.send_trains(way, contents, trains);
        }
        let mut rest = contents;
        for train in trains {
            let (own, behind) = rest.split_at(train.bytes.min(rest.len()));
            own.chunks(train.segment.max(1)).for_each(|datagram| self.lines.send(way.to, datagram));
            rest = behind;
        }
        Ok(trains.len())
    }
}

/// What viewers of a shard have in common: the ways out, and what each stream's share.
pub struct Outlet {
    ways: Rc<Ways>,
    kick: Rc<Kick>,
    options: MuxOptions,
    streams: RefCell<HashMap<StreamKey, Weak<Shared>>>,
}

impl Outlet {
    /// For the viewers of one shard.
    pub fn new(udp: Rc<Udp>, lines: Rc<Lines>, kick: Rc<Kick>, options: MuxOptions) -> Rc<Self> {
        Rc::new(Self { ways: Rc::new(Ways { udp, lines }), kick, options, streams: RefCell::default() })
    }

    /// What the viewers of `key` share: as long as there are any, the same.
    fn shared(&self, key: &StreamKey) -> Rc<Shared> {
        let mut streams = self.streams.borrow_mut();
        if let Some(shared) = streams.get(key).and_then(Weak::upgrade) {
            return shared;
        }
        streams.retain(|_, shared| shared.strong_count() > 0);
        let shared = Shared::new(self.options);
        streams.insert(key.clone(), Rc::downgrade(&shared));
        shared
    }
}

/// See the module.
pub struct Viewer {
    stream: Rc<Stream>,
    outlet: Rc<Outlet>,
    slot: usize,
    lines: Vec<(Mid, LineOptions)>,
    name: String,
    keys: Option<Keys>,
    is_connected: bool,
    flowing: Option<(Rc<rtp::Viewer>, Subscriber)>,
}

impl Viewer {
    /// For `stream`, and what was chosen of the viewer's offer, which `rtc` has answered. `slot` is the session's place.
    pub fn new(
        stream: Rc<Stream>,
        outlet: Rc<Outlet>,
        offer: &Offer,
        chosen: &[Option<Chosen>],
        rtc: &mut Rtc,
        slot: usize,
    ) -> Self {
        let lines = offer.media().iter().zip(chosen).filter_map(|(media, chosen)| {
            let codec = &chosen.as_ref()?.codec;
            kind_of(media)?;
            let mid = Mid::from(media.mid.as_str());
            let numbers = rtc.media(mid)?.remote_extmap();
            let number = |extension| numbers.id_of(extension);
            let (transport, playout_delay, named) = (
                number(Extension::TransportSequenceNumber),
                number(Extension::PlayoutDelay),
                number(Extension::RtpMid),
            );
            let mut api = rtc.direct_api();
            let sent = api.stream_tx_by_mid(mid, None)?;
            let options = LineOptions {
                codec: codec_of(codec)?,
                payload_type: codec.pt,
                ssrc: *sent.ssrc(),
                rtx: codec.rtx.zip(sent.rtx().map(|ssrc| *ssrc)),
                mid: named.map(|number| (number, media.mid.clone())),
                transport,
                playout_delay,
            };
            Some((mid, options))
        });
        let lines: Vec<_> = lines.collect();
        let name = lines.first().and_then(|(mid, _)| rtc.media(*mid)).map(|media| media.cname().to_owned());
        let name = name.unwrap_or_default();
        Self { stream, outlet, slot, lines, name, keys: None, is_connected: false, flowing: None }
    }

    /// What has been sent so far, and what the viewer says of it.
    pub fn stats(&self) -> ViewerStats {
        self.flowing.as_ref().map(|(viewer, _)| viewer.stats()).unwrap_or_default()
    }

    /// What it has had of the stream, and how far it is behind.
    pub fn standing(&self) -> (ReaderStats, Timestamp) {
        let flowing = self.flowing.as_ref();
        flowing.map(|(_, subscriber)| subscriber.standing()).unwrap_or_default()
    }

    /// The handshake has come to keys.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = Some(keys);
    }

    /// The connection is up.
    pub fn connected(&mut self) {
        self.is_connected = true;
    }

    /// Lets media flow along `route` as soon as there are a connection and keys. `false`: that failed for good.
    pub fn start(&mut self, route: Option<(Way, Option<IpAddr>)>, now: Instant) -> bool {
        if self.flowing.is_some() || !self.is_connected {
            return true;
        }
        // Keys without a way are kept until there is one.
        let Some(route) = route else { return true };
        let Some(keys) = self.keys.take() else { return true };
        let shared = self.outlet.shared(self.stream.key());
        let (kick, slot) = (Rc::clone(&self.outlet.kick), self.slot);
        let lines: Vec<LineOptions> = self.lines.iter().map(|(_, line)| line.clone()).collect();
        let terms = rtp::Terms { keys: &keys, lines: &lines, name: &self.name };
        let wire = Rc::clone(&self.outlet.ways) as Rc<dyn Wire>;
        let Ok(viewer) = rtp::Viewer::new(
            wire,
            Rc::clone(&shared),
            &terms,
            || fastrand::u32(..),
            move || kick.ready(slot),
            now,
        ) else {
            return false;
        };
        viewer.set_way(outward(route));
        let mux = || Box::new(RtpMux::new(shared)) as _;
        let subscriber = self.stream.subscribe(RENDITION, mux, Rc::clone(&viewer) as _);
        self.flowing = Some((viewer, subscriber));
        true
    }

    /// A control packet came. Whether it was truly the viewer's; from there it wants to be sent to.
    pub fn hear(&mut self, route: (Way, Option<IpAddr>), datagram: &[u8], now: Instant) -> bool {
        let Some((viewer, _)) = &self.flowing else { return false };
        let mut room = [0; CONTROL_MAX];
        let Some(packet) = room.get_mut(..datagram.len()) else { return false };
        packet.copy_from_slice(datagram);
        let Some(wishes) = viewer.on_rtcp(packet, now) else { return false };
        viewer.set_way(outward(route));
        if let Some(track) = wishes.key {
            self.stream.request_key_of(track);
        }
        true
    }

    /// This way is another's; media goes nowhere until the viewer is heard again.
    pub fn lose(&self, way: Way) {
        if let Some((viewer, _)) = &self.flowing {
            viewer.lose_way(way.peer, way.protocol == Protocol::Tcp);
        }
    }

    /// Time passes: reports that are due leave, and what waited for its time.
    pub fn on_time(&mut self, now: Instant) {
        if let Some((viewer, _)) = &self.flowing
            && (now >= viewer.deadline() || viewer.is_waiting_for_key())
        {
            if let Some(track) = viewer.on_time(now) {
                self.stream.request_key_of(track);
            }
            let _ = self.leave();
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub fn deadline(&self) -> Option<Instant> {
        self.flowing.as_ref().map(|(viewer, _)| viewer.deadline())
    }

    /// Why the viewer is to go, if it is.
    pub fn leave(&self) -> Option<Leave> {
        let (_, subscriber) = self.flowing.as_ref()?;
        match subscriber.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(leave) => Some(leave),
            Poll::Pending => None,
        }
    }

    /// What the stream has instead of the pictures that were agreed on, if it has others now.
    pub fn outgrown(&self) -> Option<String> {
        let mut pictures =
            self.lines.iter().map(|(_, line)| line.codec).filter(|c| c.kind() == TrackKind::Video);
        let agreed = pictures.next().filter(|codec| !self.stream.carries(*codec))?;
        Some(format!("the stream has no {} any more: ask again for what it has", agreed.name()))
    }

    /// Says that its sources leave.
    pub fn goodbye(&self) {
        if let Some((viewer, _)) = &self.flowing {
            viewer.goodbye();
        }
    }
}

fn outward((way, from): (Way, Option<IpAddr>)) -> trains::Way {
    let to = SocketAddr::new(way.peer.ip(), way.peer.port());
    trains::Way { to, from, is_line: way.protocol == Protocol::Tcp }
}
