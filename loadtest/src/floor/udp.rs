//! The floor of datagrams: the same messages to as many sockets as RTP of [`srtp`], sealed for each and sent with GSO.
//!
//! In the steady state the loop sleeps to the next due time, and for each player copies the message's packets, seals each
//! of them with AES-128-GCM and calls `sendmsg` once for up to [`SEGMENTS_MAX`]: nothing else. Players come by a datagram,
//! and start with the next keyframe. Times are nanoseconds on [`clock`], sizes bytes.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use bytes::BytesMut;
use quinn_udp::{Transmit, UdpSocketState};
use shardcast::protocols::rtmp::MediaKind;

use super::{
    child::Options,
    srtp::{self, Cipher, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX},
};
use crate::{clock, media::Source};

/// Datagrams of one call: below 64 KiB in all, and the 64 that kernels take.
pub const SEGMENTS_MAX: usize = 54;
const _: () = assert!(SEGMENTS_MAX * PACKET_BYTES_MAX < 65_507 && SEGMENTS_MAX <= 64);
/// What a player says first.
const HELLO: &[u8; 8] = b"to floor";
/// New players are looked for so often, when nothing is sent.
const LOOK_NS: u64 = 10_000_000;
/// What the socket may hold of what is sent at once.
const SEND_BUFFER_BYTES: usize = 8 << 20;

/// A player's wish for a stream.
pub fn hello(stream: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(HELLO.iter().copied().chain(stream.to_be_bytes())).for_each(|(to, from)| *to = from);
    bytes
}

fn read_hello(datagram: &[u8]) -> Option<u64> {
    let number = datagram.strip_prefix(HELLO)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

struct Stream {
    source: Source,
    start_ns: u64,
    /// Who waits for a keyframe.
    waiting: Vec<SocketAddr>,
    players: Vec<Player>,
}

struct Player {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
}

/// What all players share.
struct Wire {
    socket: UdpSocket,
    state: UdpSocketState,
    cipher: Cipher,
    out: Vec<u8>,
}

/// Says on standard output where it listens, and sends for ever.
///
/// # Errors
/// When it cannot listen, or the system refuses a datagram for another reason than a full buffer.
pub fn run(options: &Options) -> io::Result<()> {
    let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let state = UdpSocketState::new((&socket).into())?;
    // The system may allow less; then some are lost and counted.
    let _ = state.set_send_buffer_size((&socket).into(), SEND_BUFFER_BYTES);
    println!("{}", listener.local_addr()?.port());
    let (joiners, joining) = channel();
    thread::Builder::new().name("accept".to_owned()).spawn(move || accept(&listener, &joiners))?;
    let cipher = Cipher::new().map_err(|_| io::Error::other("there is no AES"))?;
    send(options, &joining, Wire { socket, state, cipher, out: Vec::new() })
}

/// Hears who wants to play; this thread sleeps while nobody does.
fn accept(listener: &UdpSocket, joiners: &Sender<(u64, SocketAddr)>) {
    let mut buffer = [0; 64];
    // An error is of one datagram.
    loop {
        let Ok((bytes, from)) = listener.recv_from(&mut buffer) else { continue };
        if let Some(stream) = read_hello(buffer.get(..bytes).unwrap_or_default())
            && joiners.send((stream, from)).is_err()
        {
            return;
        }
    }
}

fn send(options: &Options, joining: &Receiver<(u64, SocketAddr)>, mut wire: Wire) -> io::Result<()> {
    let (begin, run) = (clock::now(), fastrand::u64(1..1 << 56));
    let step = options.programme.group_us() * 1_000 / options.streams.max(1);
    let mut streams: Vec<Stream> = (0..options.streams)
        .map(|n| Stream {
            source: Source::new(&options.programme, run, n as u32),
            start_ns: begin + n * step,
            waiting: Vec::new(),
            players: Vec::new(),
        })
        .collect();
    let mut due: BinaryHeap<Reverse<(u64, usize)>> =
        streams.iter().enumerate().map(|(n, stream)| Reverse((stream.due_ns(), n))).collect();
    let mut body = BytesMut::new();
    loop {
        for (n, address) in joining.try_iter() {
            let count = streams.len().max(1) as u64;
            if let Some(stream) = streams.get_mut((n % count) as usize) {
                stream.join(address);
            }
        }
        let now = clock::now();
        let next = due.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        if next > now {
            clock::sleep_until(next.min(now + LOOK_NS));
            continue;
        }
        let Some(Reverse((_, n))) = due.pop() else { continue };
        if let Some(stream) = streams.get_mut(n) {
            stream.push(now, &mut body, &mut wire)?;
            due.push(Reverse((stream.due_ns(), n)));
        }
    }
}

impl Stream {
    fn due_ns(&self) -> u64 {
        self.start_ns + self.source.due_us() * 1_000
    }

    fn join(&mut self, address: SocketAddr) {
        let known = self
            .players
            .iter()
            .map(|player| &player.address)
            .chain(&self.waiting)
            .any(|known| *known == address);
        if !known {
            self.waiting.push(address);
        }
    }

    /// The next message goes to all.
    fn push(&mut self, now: u64, body: &mut BytesMut, wire: &mut Wire) -> io::Result<()> {
        body.clear();
        let message = self.source.next(now, body);
        if message.key && message.kind == MediaKind::Video {
            let comers = self.waiting.drain(..);
            self.players.extend(comers.map(|address| Player {
                address,
                ssrc: fastrand::u32(..),
                sequence: 0,
            }));
        }
        let (payload_type, ticks) = match message.kind {
            MediaKind::Video => (srtp::PICTURE, 90),
            _ => (srtp::SOUND, 48),
        };
        let timestamp = message.timestamp.wrapping_mul(ticks);
        self.players.iter_mut().try_for_each(|player| player.send(payload_type, timestamp, body, wire))
    }
}

impl Player {
    fn send(&mut self, payload_type: u8, timestamp: u32, body: &[u8], wire: &mut Wire) -> io::Result<()> {
        let packets = body.len().div_ceil(PAYLOAD_BYTES_MAX);
        let mut chunks = body.chunks(PAYLOAD_BYTES_MAX).enumerate().peekable();
        while chunks.peek().is_some() {
            wire.out.clear();
            for (n, chunk) in chunks.by_ref().take(SEGMENTS_MAX) {
                let header =
                    srtp::header(payload_type, n + 1 == packets, self.sequence, timestamp, self.ssrc);
                self.sequence = self.sequence.wrapping_add(1);
                let sealed = wire.cipher.seal(&header, chunk, &mut wire.out);
                sealed.map_err(|_| io::Error::other("a packet could not be sealed"))?;
            }
            wire.send(self.address)?;
        }
        Ok(())
    }
}

impl Wire {
    fn send(&self, destination: SocketAddr) -> io::Result<()> {
        let contents = &self.out[..];
        let transmit =
            Transmit { destination, ecn: None, contents, segment_size: Some(PACKET_BYTES_MAX), src_ip: None };
        match self.state.try_send((&self.socket).into(), &transmit) {
            // Full: lost, and players see it. Refused: that player has gone.
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_understood_and_nothing_else_is() {
        assert_eq!(read_hello(&hello(77)), Some(77));
        assert_eq!((read_hello(b""), read_hello(b"to floor"), read_hello(&[0; 16])), (None, None, None));
    }
}
