//! One player of datagrams: its sockets, what it has counted, and the session within.
//!
//! Invariant: after [`Player::on_datagrams`] the socket has been read until it had nothing more, since events come once for
//! each arrival. Times are nanoseconds on [`clock`], sizes bytes.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::RawFd,
};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};

use super::super::{Cohort, Options, connect::advice, inspect::Inspector, player::End};
use super::session::{Heard, Session};
use crate::{
    clock,
    rtc::{
        Maker,
        packet::{Counts, Rtp},
    },
    stats::{Live, Tally},
};

/// Larger than any datagram of WebRTC.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// What a socket holds of a keyframe that arrives at once; the system may allow less (net.core.rmem_max).
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Where datagrams of one thread are received.
pub struct Buffers {
    state: UdpSocketState,
    bytes: Vec<u8>,
    meta: Vec<RecvMeta>,
}

impl Buffers {
    pub fn new(state: UdpSocketState) -> Self {
        Self {
            state,
            bytes: vec![0; BATCH_SIZE * DATAGRAM_BYTES_MAX],
            meta: vec![RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// As many datagrams as one call takes; how many that were.
    fn receive(&mut self, socket: &UdpSocket) -> Result<usize, End> {
        let mut slices: Vec<IoSliceMut<'_>> =
            self.bytes.chunks_exact_mut(DATAGRAM_BYTES_MAX).map(IoSliceMut::new).collect();
        loop {
            match self.state.recv(socket.into(), &mut slices, &mut self.meta) {
                Ok(received) => return Ok(received),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(0),
                    // A closed port is ICE's to notice.
                    ErrorKind::Interrupted | ErrorKind::ConnectionRefused => {}
                    _ => return Err(End::Ended(advice(&error))),
                },
            }
        }
    }

    /// One of those that were received last.
    fn datagram(&mut self, n: usize) -> Option<(SocketAddr, &mut [u8])> {
        let meta = self.meta.get(n)?;
        let start = n * DATAGRAM_BYTES_MAX;
        Some((meta.addr, self.bytes.get_mut(start..start + meta.len.min(DATAGRAM_BYTES_MAX))?))
    }
}

/// What all players of a thread use.
pub struct Common<'a> {
    pub options: &'a Options,
    pub live: &'a Live,
    pub buffers: &'a mut Buffers,
}

/// Which player it is.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// Its cohort's place in the list.
    pub cohort: usize,
    /// Tells players apart that had the same token.
    pub id: u64,
    /// Whether it is parsed.
    pub sampled: bool,
    /// What it plays.
    pub stream: u64,
}

/// See the module.
pub struct Player {
    pub socket: UdpSocket,
    pub cohort: usize,
    pub id: u64,
    /// When it began to ask.
    pub asked_ns: u64,
    /// Whether media came.
    pub plays: bool,
    /// When it wants to be called.
    pub due_ns: u64,
    sampled: bool,
    session: Session,
    inspector: Inspector,
    counts: Counts,
}

impl Player {
    /// A player that asks from `source`, or from wherever the system likes, and listens at `local`.
    ///
    /// # Errors
    /// A sentence.
    pub fn ask(
        who: Who,
        cohort: &Cohort,
        source: Option<Ipv4Addr>,
        local: Option<IpAddr>,
        maker: &Maker,
    ) -> Result<Self, String> {
        let told = |error: io::Error| advice(&error);
        let asked_ns = clock::now();
        let local = local.ok_or_else(|| "there is no way to the server".to_owned())?;
        let socket = UdpSocket::bind((local, 0)).map_err(told)?;
        socket.set_nonblocking(true).map_err(told)?;
        // Less is no reason to stay away; what is lost for it is counted by the kernel.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let here = socket.local_addr().map_err(told)?;
        let session = Session::ask(cohort, who, source, here, maker)?;
        Ok(Self {
            socket,
            cohort: who.cohort,
            id: who.id,
            asked_ns,
            plays: false,
            due_ns: 0,
            sampled: who.sampled,
            session,
            inspector: Inspector::new(asked_ns),
            counts: Counts::default(),
        })
    }

    /// The connection on which it asks, while it does.
    pub fn reply_fd(&self) -> Option<RawFd> {
        self.session.reply_fd()
    }

    /// Whether it looks at headers only.
    pub fn only_counts(&self) -> bool {
        self.session.only_counts()
    }

    /// What has not happened yet.
    pub fn waits_for(&self) -> &'static str {
        self.session.waits_for()
    }

    /// The connection on which it asks is ready for something.
    ///
    /// # Errors
    /// When this player is no more.
    pub fn on_reply(&mut self, common: &mut Common<'_>, tally: &mut Tally) -> Result<(), End> {
        if self.session.on_reply()? { self.on_time(common, tally) } else { Ok(()) }
    }

    /// Its time has come.
    ///
    /// # Errors
    /// As [`Player::on_reply`].
    pub fn on_time(&mut self, common: &mut Common<'_>, tally: &mut Tally) -> Result<(), End> {
        let now = clock::now();
        let mut heard = Vec::new();
        self.due_ns = self.session.drive(now, &self.socket, &mut heard)?;
        self.hear(&mut heard, now, common.options, common.live, tally)
    }

    /// Datagrams came.
    ///
    /// # Errors
    /// As [`Player::on_reply`].
    pub fn on_datagrams(&mut self, common: &mut Common<'_>, tally: &mut Tally) -> Result<(), End> {
        let Common { options, live, buffers } = common;
        let mut heard = Vec::new();
        loop {
            let received = buffers.receive(&self.socket)?;
            let (now, mut bytes) = (clock::now(), 0);
            let mut media = 0;
            for n in 0..received {
                let Some((from, datagram)) = buffers.datagram(n) else { break };
                bytes += datagram.len() as u64;
                let rtp = Rtp::read(datagram);
                if let Some(rtp) = &rtp {
                    media += 1;
                    if options.terms.in_window(now) {
                        self.counts.add(rtp);
                    }
                }
                if self.session.receive(now, from, datagram, rtp.as_ref(), &mut heard)? {
                    self.due_ns = self.session.drive(now, &self.socket, &mut heard)?;
                }
            }
            if media > 0 {
                self.count(media, bytes, now, options, live, tally);
            }
            self.hear(&mut heard, now, options, live, tally)?;
            if received < BATCH_SIZE {
                return Ok(());
            }
        }
    }

    fn count(&mut self, media: u64, bytes: u64, now: u64, options: &Options, live: &Live, tally: &mut Tally) {
        tally.bytes += bytes;
        if options.terms.in_window(now) {
            tally.window_bytes += bytes;
            tally.packets += media;
        }
        Live::add(&live.bytes, bytes);
        if self.sampled {
            self.inspector.arrival(now, &options.terms, tally);
        }
        if !self.plays {
            self.plays = true;
            tally.playing += 1;
            tally.first_byte.record_ns(now.saturating_sub(self.asked_ns));
            Live::add(&live.playing, 1);
        }
    }

    fn hear(
        &mut self,
        heard: &mut Vec<Heard>,
        now: u64,
        options: &Options,
        live: &Live,
        tally: &mut Tally,
    ) -> Result<(), End> {
        for heard in heard.drain(..) {
            match heard {
                Heard::Connected => {
                    tally.connected += 1;
                    tally.connect.record_ns(now.saturating_sub(self.asked_ns));
                }
                Heard::Sound => self.inspector.begin(false, now, tally),
                Heard::Picture { marker, key, time_us } => {
                    self.inspector.begin(key, now, tally);
                    if self.sampled {
                        tally.media += u64::from(options.terms.in_window(now));
                        self.inspector.shown(now, time_us, &options.terms, tally);
                        if let Some(marker) = marker {
                            self.inspector.picture(&marker, key, now, &options.terms, tally, live);
                        }
                    }
                }
                Heard::End(reason) => return Err(End::Ended(reason)),
            }
        }
        if self.inspector.has_begun() {
            self.session.settle(self.sampled);
        }
        Ok(())
    }

    /// It goes: says goodbye, and adds what it had counted.
    pub fn finish(&mut self, options: &Options, tally: &mut Tally) {
        self.session.goodbye(clock::now(), &self.socket);
        if self.sampled && self.plays {
            self.inspector.darkened(clock::now(), &options.terms, tally);
        }
        tally.packets_lost += self.counts.lost();
        tally.packets_reordered += self.counts.reordered;
    }
}
