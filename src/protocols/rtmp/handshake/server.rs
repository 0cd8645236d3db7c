//! The server's side: answers in the form that the client used.

use std::net::Ipv4Addr;

use bytes::{Buf, BytesMut};

use super::digest::{self, Packet, Side};
use super::{HandshakeError, PACKET_BYTES, VERSION, check_version, fill};

/// What announces that a proxy tells the client's address before C0: this byte, a 16-bit length, the address.
const PROXY_MARK: u8 = 0xF3;
/// What S1 calls the server where digests are used: a Flash Media Server that knows H.264.
const SERVER_VERSION: [u8; 4] = [5, 0, 17, 1];

/// Waits for C0, C1 and C2, and writes S0, S1 and S2.
#[derive(Debug)]
pub struct ServerHandshake {
    seed: u64,
    state: State,
    proxied: Option<Ipv4Addr>,
    signed: bool,
}

#[derive(Debug)]
enum State {
    /// For a proxy's prefix or C0.
    Prefix,
    /// For C0 and C1.
    First,
    /// For C2.
    Last,
    Done,
}

impl ServerHandshake {
    /// `seed` makes S1 differ from another connection's.
    pub fn new(seed: u64) -> Self {
        Self { seed, state: State::Prefix, proxied: None, signed: false }
    }

    /// Takes what it can off the front of `input` and appends its answers to `out`; true when the handshake is over and
    /// the rest of `input` is chunks. Then further calls do nothing.
    ///
    /// # Errors
    /// When the peer does not speak RTMP, from its first byte on.
    pub fn feed(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<bool, HandshakeError> {
        loop {
            match self.state {
                State::Prefix => {
                    let Some(&first) = input.first() else {
                        return Ok(false);
                    };
                    if first == PROXY_MARK && !self.take_prefix(input)? {
                        return Ok(false);
                    }
                    self.state = State::First;
                }
                State::First => {
                    let Some(&version) = input.first() else {
                        return Ok(false);
                    };
                    check_version(version)?;
                    let Some(c1) = input.get(1..).and_then(|rest| rest.first_chunk()) else {
                        return Ok(false);
                    };
                    self.answer(c1, out);
                    input.advance(1 + PACKET_BYTES);
                    self.state = State::Last;
                }
                State::Last => {
                    // What C2 holds is not looked at: clients that send anything have always been served.
                    if input.len() < PACKET_BYTES {
                        return Ok(false);
                    }
                    input.advance(PACKET_BYTES);
                    self.state = State::Done;
                }
                State::Done => return Ok(true),
            }
        }
    }

    /// The client's address by the word of a proxy before it. Anyone can say so: believe only a proxy that you know.
    pub fn proxied(&self) -> Option<Ipv4Addr> {
        self.proxied
    }

    /// Whether the client signed its handshake (and so did the answer).
    pub fn is_complex(&self) -> bool {
        self.signed
    }

    /// The prefix that SRS's proxies write; false while it is not whole.
    fn take_prefix(&mut self, input: &mut BytesMut) -> Result<bool, HandshakeError> {
        let Some(&[_, high, low]) = input.first_chunk() else {
            return Ok(false);
        };
        let len = u16::from_be_bytes([high, low]);
        if len != 4 {
            return Err(HandshakeError::ProxyPrefix(len));
        }
        let Some(&[_, _, _, a, b, c, d]) = input.first_chunk() else {
            return Ok(false);
        };
        self.proxied = Some(Ipv4Addr::new(a, b, c, d));
        input.advance(7);
        Ok(true)
    }

    fn answer(&mut self, c1: &Packet, out: &mut BytesMut) {
        let (mut s1, mut s2): (Packet, Packet) = ([0; PACKET_BYTES], [0; PACKET_BYTES]);
        fill(&mut s1[8..], self.seed);
        // Time stays zero: it is the epoch of timestamps, and ours begin there.
        // A client that leaves its version at zero does not sign (§5.2.3), so do not search.
        let signed = if c1[4..8] == [0; 4] { None } else { digest::find_first(c1, Side::Client) };
        if let Some((scheme, c1_digest)) = signed {
            self.signed = true;
            s1[4..8].copy_from_slice(&SERVER_VERSION);
            digest::sign_first(&mut s1, Side::Server, scheme);
            fill(&mut s2, !self.seed);
            digest::sign_last(&mut s2, Side::Server, &c1_digest);
        } else {
            s2 = *c1;
        }
        out.reserve(1 + 2 * PACKET_BYTES);
        out.extend_from_slice(&[VERSION]);
        out.extend_from_slice(&s1);
        out.extend_from_slice(&s2);
    }
}
