//! The demo stream: a moving test picture with a clock, and a tone, published over RTMP like anybody else's stream.
//!
//! One ordinary thread draws, encodes and sends; no executor ever waits for it, and the server cannot tell it from a
//! stranger. It comes back by itself when the server refuses or goes, until its [`Demo`] is dropped. [`source`] makes
//! the frames, `publish` sends them.

mod canvas;
pub mod control;
mod font;
pub mod picture;
mod publish;
pub mod source;
pub mod tone;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use picture::Design;
use shards::media::StreamKey;

pub use publish::PublishError;

/// After a connection that failed: long enough to spare a server that is busy, short for somebody who waits.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the demo goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's RTMP port.
    pub server: SocketAddr,
    /// The stream's name.
    pub key: StreamKey,
    /// Pixels; taken as an even number.
    pub width: u32,
    /// Pixels; taken as an even number.
    pub height: u32,
    /// Pictures a second, 1 to 60.
    pub frame_rate: u32,
}

impl Options {
    /// `live/demo` in 640x360 at 30 pictures a second, on this machine's `port`.
    pub fn local(port: u16) -> Self {
        let key = StreamKey::new("live", "demo").expect("a valid key");
        Self { server: (Ipv4Addr::LOCALHOST, port).into(), key, width: 640, height: 360, frame_rate: 30 }
    }

    /// What to draw. Sizes below an encoder's smallest picture are raised to it.
    fn design(&self) -> Design {
        let even = |pixels: u32| pixels.max(16) & !1;
        let (width, height) = (even(self.width), even(self.height));
        Design { name: self.key.to_string(), width, height, rate: self.frame_rate.clamp(1, 60) }
    }
}

/// A running demo; it ends when this is dropped.
#[derive(Debug)]
pub struct Demo {
    /// Closed to end the thread; nothing is ever sent.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Demo {
    /// Starts the demo on a thread of its own. The server need not listen yet.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread =
            thread::Builder::new().name("demo".to_owned()).spawn(move || run(&options, &Stop(stopped)))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Unpublishes and waits for the thread: some milliseconds, unless the server has stopped reading.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the demo's thread panicked");
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's ear for the end.
struct Stop(mpsc::Receiver<()>);

impl Stop {
    /// Sleeps; true when the demo is to end, at once then.
    fn within(&self, time: Duration) -> bool {
        matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
    }

    /// Sleeps until `moment`; true when the demo is to end.
    fn until(&self, moment: Instant) -> bool {
        self.within(moment.saturating_duration_since(Instant::now()))
    }
}

fn run(options: &Options, stop: &Stop) {
    let mut told = None;
    loop {
        let error = match publish::publish(options, stop) {
            Ok(()) => return,
            Err(error) => error.to_string(),
        };
        // A server that stays away is told once, not every second.
        if told.as_ref() != Some(&error) {
            tracing::warn!(stream = %options.key, server = %options.server, "the demo stream was interrupted: {error}");
        }
        told = Some(error);
        if stop.within(PAUSE) {
            return;
        }
    }
}
