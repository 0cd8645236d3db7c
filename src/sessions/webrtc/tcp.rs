//! ICE over TCP (RFC 6544), for peers whose network blocks UDP: they connect to the HTTP port, where the first byte tells
//! them from HTTP, and send what would be datagrams, each behind its length in two bytes (RFC 4571 §2).
//!
//! The first is a STUN request; the name in it begins with the number of the shard that the connection must go to. There the
//! connection is one more way to its session, which does not know the difference.
//! Invariant: at most [`OUT_MAX`] bytes wait for a slow peer; what does not fit is lost, as a datagram would be.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use bytes::{Buf, BufMut, BytesMut};
use foldhash::fast::RandomState;
use shards::ShardId;

use super::WebRtc;
use crate::{
    protocols::whip::stun,
    sessions::{Client, Context, Guest},
};

/// The longest frame: no datagram is longer.
const FRAME_MAX: usize = 2_048;
/// What may wait for a slow peer: two seconds of 2 Mbit/s.
const OUT_MAX: usize = 512 * 1024;

/// The first byte of a connection that begins with a frame of less than 256 bytes, as STUN requests are; no other
/// protocol on these ports begins with it.
pub const FIRST_BYTE: u8 = 0;

/// A connection on its way to its session's shard.
pub struct Visit {
    owner: ShardId,
    input: BytesMut,
}

impl Visit {
    /// Where it belongs.
    pub fn owner(&self) -> ShardId {
        self.owner
    }
}

/// The way out to one peer.
#[derive(Default)]
struct Line {
    out: RefCell<BytesMut>,
    closed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Line {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The connections of one shard, by their peers.
#[derive(Default)]
pub struct Lines {
    lines: RefCell<HashMap<SocketAddr, Rc<Line>, RandomState>>,
}

impl Lines {
    /// Sends one datagram, if its peer is still there and takes what it is sent.
    pub fn send(&self, peer: SocketAddr, datagram: &[u8]) {
        let lines = self.lines.borrow();
        let (Some(line), Ok(len)) = (lines.get(&peer), u16::try_from(datagram.len())) else { return };
        let mut out = line.out.borrow_mut();
        if out.len() + datagram.len() <= OUT_MAX {
            out.put_u16(len);
            out.put_slice(datagram);
            line.wake();
        }
    }

    /// The session is over: its connection closes once it has sent what waits.
    pub fn close(&self, peer: SocketAddr) {
        if let Some(line) = self.lines.borrow().get(&peer) {
            line.closed.set(true);
            line.wake();
        }
    }
}

/// A connection on which no session's datagram comes for so long is of no use, and closes.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Takes one frame off the front of `input`. `Ok(None)`: more bytes, please. `Err`: it is longer than any datagram.
fn next_frame(input: &mut BytesMut) -> Result<Option<BytesMut>, ()> {
    let Some(head) = input.first_chunk::<2>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*head));
    if len > FRAME_MAX {
        return Err(());
    }
    if input.len() < 2 + len {
        return Ok(None);
    }
    input.advance(2);
    Ok(Some(input.split_to(len)))
}

/// Serves a connection from its first bytes until it is known where it belongs.
pub async fn serve(context: &Rc<Context>, client: Client, mut input: BytesMut) -> Option<(Client, Guest)> {
    let webrtc = context.webrtc.get()?;
    let owner = loop {
        let mut look = input.clone();
        match next_frame(&mut look).ok()? {
            Some(frame) => break stun::local_ufrag(&frame).and_then(|name| webrtc.owner_of(name))?,
            None => client.read(&mut input).await.ok()?,
        };
    };
    Some((client, Guest::Ice(Box::new(Visit { owner, input }))))
}

/// Carries datagrams between a connection and its session until either is over.
pub async fn go_on(context: &Rc<Context>, client: Client, visit: Visit) {
    let Some(webrtc) = context.webrtc.get() else { return };
    let (peer, line) = (client.entry().peer(), Rc::new(Line::default()));
    tracing::debug!(conn = %client.id(), %peer, "ICE over TCP");
    webrtc.lines.lines.borrow_mut().insert(peer, Rc::clone(&line));
    carry(webrtc, &client, &line, visit.input).await;
    let mut lines = webrtc.lines.lines.borrow_mut();
    // The next connection may have this one's address already.
    if lines.get(&peer).is_some_and(|known| Rc::ptr_eq(known, &line)) {
        lines.remove(&peer);
    }
}

async fn carry(webrtc: &Rc<WebRtc>, client: &Client, line: &Line, mut input: BytesMut) {
    let peer = client.entry().peer();
    loop {
        loop {
            match next_frame(&mut input) {
                Ok(Some(frame)) => {
                    if webrtc.frame(peer, &frame) {
                        // A session asks on each of its ways every few seconds.
                        client.entry().expect_within(SILENCE_MAX);
                    }
                }
                Ok(None) => break,
                Err(()) => return,
            }
        }
        let out = line.out.borrow_mut().split();
        if client.send(&out).await.is_err() || (line.closed.get() && line.out.borrow().is_empty()) {
            return;
        }
        let more = poll_fn(|cx| {
            if client.entry().poll_closing(cx).is_ready() {
                return Poll::Ready(false);
            }
            if line.closed.get() || !line.out.borrow().is_empty() {
                return Poll::Ready(true);
            }
            line.waker.set(Some(cx.waker().clone()));
            client.socket().poll_read(cx, &mut input).map(|read| read.is_ok_and(|read| read > 0))
        });
        if !more.await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_at_any_split() {
        let wire = [0, 3, 1, 2, 3, 0, 0, 0, 1, 9];
        for cut in 0..wire.len() {
            let (mut input, mut frames) = (BytesMut::new(), Vec::new());
            for part in [&wire[..cut], &wire[cut..]] {
                input.extend_from_slice(part);
                while let Some(frame) = next_frame(&mut input).unwrap() {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames, [vec![1, 2, 3], vec![], vec![9]], "cut at {cut}");
        }
        assert!(next_frame(&mut BytesMut::from(&[0xff, 0xff][..])).is_err());
    }
}
