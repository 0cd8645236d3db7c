//! One player: connecting, talking until it has its first keyframe, then parsed or draining.
//!
//! Invariant: after [`Player::on_ready`] the socket has been read until it had nothing more (events come once for each
//! arrival), or the player is held back because it is slow. A draining player holds no buffers.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::TcpStream,
};

use socket2::SockRef;

use super::{
    Options,
    connect::advice,
    inspect::Inspector,
    wire::{Trouble, Wire, sign_of_life},
};
use crate::{
    clock,
    stats::{Live, Tally},
    url::Form,
};

/// What all players of a thread use.
pub struct Common<'a> {
    /// What they were told.
    pub options: &'a Options,
    /// Where parsed bytes are received.
    pub buffer: &'a mut [u8],
    /// Where bytes go that nobody looks at: never written to, so that it takes addresses only.
    pub trash: &'a mut [MaybeUninit<u8>],
    /// What the thread shows.
    pub live: &'a Live,
    /// When the thread last woke: near enough for those who are not parsed.
    pub woke_ns: u64,
}

/// Why a player is no more.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// No connection came about.
    Refused(String),
    /// The server ended it or broke the protocol.
    Ended(String),
}

/// See the module.
pub struct Player {
    /// Its socket.
    pub socket: TcpStream,
    /// Its cohort's place in the list.
    pub cohort: usize,
    /// Tells players apart that had the same token.
    pub id: u64,
    /// When `connect()` was called.
    pub asked_ns: u64,
    /// Whether media came.
    pub plays: bool,
    /// There was an event that it was too slow for.
    pub waiting: bool,
    form: Form,
    sampled: bool,
    stage: Stage,
    received: u64,
}

enum Stage {
    Connecting(Box<Talk>),
    Talking(Box<Talk>),
    Draining,
}

struct Talk {
    wire: Wire,
    inspector: Inspector,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

impl Player {
    /// A player whose `connect()` was called.
    pub fn new(socket: TcpStream, cohort: usize, id: u64, form: Form, sampled: bool, wire: Wire) -> Self {
        let asked_ns = clock::now();
        let talk = Talk { wire, inspector: Inspector::new(asked_ns), unsent: Vec::new() };
        Self {
            socket,
            cohort,
            id,
            asked_ns,
            plays: false,
            waiting: false,
            form,
            sampled,
            stage: Stage::Connecting(Box::new(talk)),
            received: 0,
        }
    }

    /// Whether it only drains.
    pub fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining)
    }

    /// Whether it is without a connection.
    pub fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting(_))
    }

    /// The socket is ready for something. `room` is how much may be read, bytes.
    ///
    /// # Errors
    /// When this player is no more.
    pub fn on_ready(&mut self, room: usize, common: &mut Common<'_>, tally: &mut Tally) -> Result<(), End> {
        if let Stage::Connecting(_) = &self.stage
            && !self.connected(tally)?
        {
            return Ok(());
        }
        let mut left = room;
        while left > 0 {
            let now = if self.is_draining() { common.woke_ns } else { clock::now() };
            let taken = match &mut self.stage {
                Stage::Draining => discard(&self.socket, common.trash, left),
                _ => {
                    let most = left.min(common.buffer.len());
                    (&self.socket).read(common.buffer.get_mut(..most).unwrap_or_default())
                }
            };
            let taken = match taken {
                Ok(0) => return Err(End::Ended("the server closed the connection".to_owned())),
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::Ended(advice(&error))),
            };
            left -= taken.min(left);
            self.count(taken as u64, now, common, tally);
            let short = match &mut self.stage {
                Stage::Draining => taken < common.trash.len(),
                _ => {
                    self.parse(taken, now, common, tally)?;
                    taken < common.buffer.len()
                }
            };
            if short {
                break;
            }
        }
        Ok(())
    }

    fn connected(&mut self, tally: &mut Tally) -> Result<bool, End> {
        let failed = self.socket.take_error().unwrap_or_else(Some);
        if let Some(error) = failed {
            return Err(End::Refused(advice(&error)));
        }
        if self.socket.peer_addr().is_err() {
            return Ok(false);
        }
        tally.connected += 1;
        tally.connect.record_ns(clock::now().saturating_sub(self.asked_ns));
        if let Stage::Connecting(talk) = std::mem::replace(&mut self.stage, Stage::Draining) {
            self.stage = Stage::Talking(talk);
        }
        self.send()?;
        Ok(true)
    }

    fn count(&mut self, taken: u64, now: u64, common: &Common<'_>, tally: &mut Tally) {
        self.received += taken;
        tally.bytes += taken;
        if common.options.terms.in_window(now) {
            tally.window_bytes += taken;
        }
        Live::add(&common.live.bytes, taken);
    }

    fn parse(&mut self, taken: usize, now: u64, common: &Common<'_>, tally: &mut Tally) -> Result<(), End> {
        let Stage::Talking(talk) = &mut self.stage else { return Ok(()) };
        let Talk { wire, inspector, .. } = &mut **talk;
        let terms = &common.options.terms;
        let received = common.buffer.get(..taken).unwrap_or_default();
        let any = wire.feed(received, &mut |media| {
            if self.sampled {
                inspector.look(&media, now, terms, tally, common.live);
            } else {
                inspector.first(&media, now, tally);
            }
        });
        let any = any.map_err(|trouble| End::Ended(sentence(&trouble)))?;
        if any && self.sampled {
            inspector.arrival(now, terms, tally);
        }
        let begun = inspector.has_begun();
        if any && !self.plays {
            self.plays = true;
            tally.playing += 1;
            tally.first_byte.record_ns(now.saturating_sub(self.asked_ns));
            Live::add(&common.live.playing, 1);
        }
        self.send()?;
        if begun && !self.sampled {
            self.stage = Stage::Draining;
        }
        Ok(())
    }

    /// Sends what the protocol has to say.
    pub fn send(&mut self) -> Result<(), End> {
        let Stage::Talking(talk) = &mut self.stage else { return Ok(()) };
        talk.unsent.extend_from_slice(&talk.wire.take_output());
        while !talk.unsent.is_empty() {
            match self.socket.write(&talk.unsent) {
                Ok(sent) => drop(talk.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Ended(advice(&error))),
            }
        }
        Ok(())
    }

    /// Says something so that the server sees that it is alive.
    pub fn stay_alive(&mut self) {
        if self.is_draining() {
            let say = sign_of_life(self.form, self.received);
            // A socket that does not take a few bytes has other troubles, and its events will tell.
            let _ = self.socket.write(&say);
        }
    }
}

fn sentence(trouble: &Trouble) -> String {
    trouble.to_string()
}

/// Takes up to `most` bytes out of the socket without copying them.
fn discard(socket: &TcpStream, trash: &mut [MaybeUninit<u8>], most: usize) -> io::Result<usize> {
    let most = most.min(trash.len());
    let room = trash.get_mut(..most).unwrap_or_default();
    SockRef::from(socket).recv_with_flags(room, libc::MSG_TRUNC | libc::MSG_DONTWAIT)
}
