//! The client's side: signed or plain by choice, and content with a server that only knows the plain form.

use bytes::{Buf, BytesMut};

use super::digest::{self, Digest, Packet, Scheme, Side};
use super::{HandshakeError, PACKET_BYTES, VERSION, check_version, fill};

/// What C1 calls the client where digests are used: a Flash Player that knows H.264.
const CLIENT_VERSION: [u8; 4] = [10, 0, 32, 18];

/// Which handshake to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// With digests; servers that do not know them take it for the plain form.
    #[default]
    Complex,
    /// Without.
    Simple,
}

/// Writes C0, C1 and C2, and waits for S0, S1 and S2.
#[derive(Debug)]
pub struct ClientHandshake {
    seed: u64,
    style: Style,
    state: State,
    signed: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing is written yet.
    Begin,
    /// For S0 and S1.
    First,
    /// For S2.
    Last,
    Done,
}

impl ClientHandshake {
    /// `seed` makes C1 differ from another connection's.
    pub fn new(seed: u64, style: Style) -> Self {
        Self { seed, style, state: State::Begin, signed: false }
    }

    /// Takes what it can off the front of `input` and appends to `out`; the first call, with an empty input, writes C0 and C1.
    /// True when the handshake is over and the rest of `input` is chunks. Then further calls do nothing.
    ///
    /// # Errors
    /// When the peer does not speak RTMP, from its first byte on.
    pub fn feed(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<bool, HandshakeError> {
        loop {
            match self.state {
                State::Begin => {
                    self.first(out);
                    self.state = State::First;
                }
                State::First => {
                    let Some(&version) = input.first() else {
                        return Ok(false);
                    };
                    check_version(version)?;
                    let Some(s1) = input.get(1..).and_then(|rest| rest.first_chunk()) else {
                        return Ok(false);
                    };
                    self.last(s1, out);
                    input.advance(1 + PACKET_BYTES);
                    self.state = State::Last;
                }
                State::Last => {
                    // S2 is not checked: it proves nothing, and servers that sign it wrongly have always been watched.
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

    /// Whether both sides signed.
    pub fn is_complex(&self) -> bool {
        self.signed
    }

    fn first(&mut self, out: &mut BytesMut) {
        let mut c1: Packet = [0; PACKET_BYTES];
        fill(&mut c1[8..], self.seed);
        if self.style == Style::Complex {
            c1[4..8].copy_from_slice(&CLIENT_VERSION);
            digest::sign_first(&mut c1, Side::Client, Scheme::DigestFirst);
        }
        out.reserve(1 + 2 * PACKET_BYTES);
        out.extend_from_slice(&[VERSION]);
        out.extend_from_slice(&c1);
    }

    fn last(&mut self, s1: &Packet, out: &mut BytesMut) {
        let mut c2 = *s1;
        let found: Option<(Scheme, Digest)> = match self.style {
            Style::Complex => digest::find_first(s1, Side::Server),
            Style::Simple => None,
        };
        if let Some((_, s1_digest)) = found {
            self.signed = true;
            fill(&mut c2, !self.seed);
            digest::sign_last(&mut c2, Side::Client, &s1_digest);
        }
        out.extend_from_slice(&c2);
    }
}
