//! A publisher by either entrance, tag by tag or at the pace of the tags' clock.
//!
//! Invariant: it ends as told: with its protocol's words, or killed as a machine that lost its power.

use std::{
    io::{self, Error},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tungstenite::Message;

use super::{
    Fixture, Server, Tag,
    amf::Value,
    flv,
    player::split,
    rtmp::{self, Wire},
    ws,
};

/// How a publisher reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// RTMP `publish`.
    Rtmp,
    /// `ws://…/publish?app=A&stream=S`.
    Ws,
}

impl Entrance {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Rtmp, Self::Ws];
}

enum Line {
    Rtmp(rtmp::Client),
    Ws { socket: ws::Socket, sent_header: bool },
}

/// A seat taken.
pub struct Publisher {
    line: Line,
    name: String,
    socket: TcpStream,
}

impl Publisher {
    /// Takes the publisher's seat of `key`. A refusal is an error with the server's words.
    pub fn open(server: &Server, entrance: Entrance, key: &str) -> io::Result<Self> {
        let addr = match entrance {
            Entrance::Rtmp => server.rtmp(),
            Entrance::Ws => server.ws(),
        };
        let socket = rtmp::socket(addr)?;
        let wire: Box<dyn Wire> = Box::new(socket.try_clone()?);
        let (app, name) = split(key);
        let line = match entrance {
            Entrance::Rtmp => {
                let mut client = rtmp::Client::over(wire)?;
                let status = client.start_publish(addr, app, name)?;
                if status.code() != "NetStream.Publish.Start" {
                    return Err(Error::other(format!("{}: {}", status.code(), status.description())));
                }
                Line::Rtmp(client)
            }
            Entrance::Ws => {
                let socket = ws::open(wire, addr, &format!("/publish?app={app}&stream={name}"))?;
                Line::Ws { socket, sent_header: false }
            }
        };
        Ok(Self { line, name: name.to_owned(), socket })
    }

    /// The RTMP client within.
    ///
    /// # Panics
    /// When it is not an RTMP publisher.
    pub fn rtmp(&mut self) -> &mut rtmp::Client {
        match &mut self.line {
            Line::Rtmp(client) => client,
            Line::Ws { .. } => panic!("a WebSocket publisher has no RTMP client"),
        }
    }

    /// The WebSocket within.
    ///
    /// # Panics
    /// When it is not a WebSocket publisher.
    pub fn ws(&mut self) -> &mut ws::Socket {
        match &mut self.line {
            Line::Ws { socket, .. } => socket,
            Line::Rtmp(_) => panic!("an RTMP publisher has no WebSocket"),
        }
    }

    /// Sends one tag.
    pub fn send(&mut self, tag: &Tag) -> io::Result<()> {
        match &mut self.line {
            Line::Rtmp(client) if tag.kind == flv::SCRIPT => {
                // As publishers do: the name of the setter in front.
                let mut body = Vec::new();
                Value::text("@setDataFrame").write(&mut body);
                body.extend_from_slice(&tag.body);
                client.send_tag(&Tag { body, ..tag.clone() })
            }
            Line::Rtmp(client) => client.send_tag(tag),
            Line::Ws { socket, sent_header } => {
                let mut bytes = if *sent_header { Vec::new() } else { flv::file_header(true, true) };
                *sent_header = true;
                bytes.extend_from_slice(&tag.to_bytes());
                // Message boundaries mean nothing: cut where no tag ends.
                let cut = bytes.len() / 3;
                for part in [&bytes[..cut], &bytes[cut..]] {
                    socket.send(Message::binary(part.to_vec())).map_err(Error::other)?;
                }
                Ok(())
            }
        }
    }

    /// Sends tags, one after the other, as fast as they go.
    pub fn send_all<'a>(&mut self, tags: impl IntoIterator<Item = &'a Tag>) -> io::Result<()> {
        tags.into_iter().try_for_each(|tag| self.send(tag))
    }

    /// Sends tags at `speed` times the pace of their own clock.
    pub fn send_paced<'a>(&mut self, tags: impl IntoIterator<Item = &'a Tag>, speed: u32) -> io::Result<()> {
        let begun = Instant::now();
        let mut first = None;
        for tag in tags {
            let offset = tag.ts - *first.get_or_insert(tag.ts);
            let due = begun + Duration::from_millis(u64::from(offset / speed));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.send(tag)?;
        }
        Ok(())
    }

    /// Leaves the seat in its protocol's words.
    pub fn finish(mut self) {
        match &mut self.line {
            Line::Rtmp(client) => {
                let stream = f64::from(client.stream_id);
                let _ = client.command("FCUnpublish", &[Value::Null, Value::text(&self.name)]);
                let _ = client.command("deleteStream", &[Value::Null, Value::Number(stream)]);
            }
            Line::Ws { socket, .. } => {
                let _ = socket.close(None);
                while socket.read().is_ok() {}
            }
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Vanishes: the connection is reset, without a word.
    pub fn kill(self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        // Both descriptors of the socket close here, the last one with the reset.
        drop(self);
    }

    /// Publishes the fixture over and over, at the pace of its clock, until told otherwise.
    pub fn run(self, fixture: &Fixture) -> Running {
        self.run_from(fixture, 0)
    }

    /// [`Self::run`], with the clock beginning at `start` milliseconds.
    pub fn run_from(mut self, fixture: &Fixture, start: u32) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let fixture = fixture.clone();
        let thread = thread::spawn(move || {
            let begun = Instant::now();
            for tag in fixture.endless() {
                let due = begun + Duration::from_millis(u64::from(tag.ts));
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if told.load(Ordering::Relaxed) {
                    break;
                }
                if let Err(error) = self.send(&Tag { ts: tag.ts.wrapping_add(start), ..tag }) {
                    return (self, Some(error.to_string()));
                }
            }
            (self, None)
        });
        Running { stop, thread: Some(thread) }
    }
}

/// A publisher at work on a thread.
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(Publisher, Option<String>)>>,
}

impl Running {
    /// Stops feeding; the publisher keeps its seat. With what went wrong on the way, if anything did.
    pub fn pause(mut self) -> (Publisher, Option<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("taken once").join().expect("the publisher's thread does not panic")
    }

    /// Stops and leaves in order.
    ///
    /// # Panics
    /// When the server had thrown it out.
    pub fn finish(self) {
        let (publisher, error) = self.pause();
        assert_eq!(error, None, "the publisher was thrown out");
        publisher.finish();
    }

    /// Stops and vanishes.
    pub fn kill(self) {
        self.pause().0.kill();
    }

    /// Whether it still feeds.
    pub fn running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
