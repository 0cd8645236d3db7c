//! The demo's way to the server: an RTMP publisher that sends each frame when its time has come.
//!
//! The clock leads: a frame leaves at start plus its timestamp, so an early or late frame never moves the next one, and
//! nothing drifts. The socket never blocks; whoever must wait for it waits on [`Stop`], so the end is heard everywhere.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Buf, BytesMut};
use shards::media::{Frame, Timestamp, Track, TrackKind};

use super::{
    Options, Stop,
    picture::{Design, WallTick},
    source::{AUDIO_BITS_PER_SECOND, Source, SourceError},
    tone::SAMPLE_RATE,
};
use crate::protocols::{
    amf0::{self, Value},
    flv,
    rtmp::{self, Client, ClientEvent, MediaKind, Role},
};

/// For the connection, and again from there to the permission to publish.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long a server may read nothing; a second of the demo fits into any socket buffer.
const STALL_MAX: Duration = Duration::from_secs(5);
/// Between two looks at a socket that is awaited.
const LOOK: Duration = Duration::from_millis(1);
/// Farther behind than this (the machine slept), the demo skips to the present.
const LAG_MAX: Duration = Duration::from_millis(1_000);
/// Between two looks at the wall clock.
const WALL_CHECK: Duration = Duration::from_secs(1);

/// Why publishing ended.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The connection could not be made, or broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server did not answer in time.
    #[error("the server was silent for {0:?}")]
    Silent(Duration),
    /// The server reads nothing.
    #[error("the server took no data for {0:?}")]
    Stalled(Duration),
    /// The server refused, or ended the stream, with this code and these words.
    #[error("the server says {0}: {1}")]
    Refused(String, String),
    /// The server left the protocol.
    #[error("the server's RTMP is broken: {0}")]
    Protocol(#[from] rtmp::Error),
    /// The server's address makes no RTMP address.
    #[error(transparent)]
    Address(#[from] rtmp::url::UrlError),
    /// There is nothing to send.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Publishes until asked to stop (`Ok`) or until something breaks.
pub(super) fn publish(options: &Options, stop: &Stop) -> Result<(), PublishError> {
    let Some(mut connection) = Connection::open(options, stop)? else { return Ok(()) };

    let design = options.design();
    let (start, wall) = start_on_tick(design.rate);
    let mut source = Source::new(&design, wall)?;
    connection.describe(&design, source.tracks());
    tracing::info!(stream = %options.key, "the demo stream is live");

    let mut wall_checked = start;
    loop {
        let due = start + Duration::from_micros(source.due().micros().unsigned_abs());
        if stop.until(due) {
            connection.farewell();
            return Ok(());
        }
        let now = start.elapsed();
        if start + now > due + LAG_MAX {
            source.skip_to(media_time(now));
            continue;
        }
        if wall_checked.elapsed() >= WALL_CHECK {
            wall_checked = Instant::now();
            source.set_wall(media_time(now), wall_tick(design.rate).0);
        }
        if let Some(frame) = source.next_frame()? {
            connection.frame(source.tracks(), &frame);
        }
        if !connection.flush()? {
            return Ok(());
        }
        connection.listen()?;
    }
}

/// A moment just past, at which a tick of the wall clock fell, and the tick: pictures then leave on the ticks.
fn start_on_tick(rate: u32) -> (Instant, WallTick) {
    let now = Instant::now();
    let (tick, since) = wall_tick(rate);
    (now.checked_sub(since).unwrap_or(now), tick)
}

/// The newest tick of the wall clock, and how long ago it fell.
fn wall_tick(rate: u32) -> (WallTick, Duration) {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let micros = unix.as_micros() as i64;
    let tick = WallTick::from_micros(micros, rate);
    let fell = tick.count * 1_000_000 / i64::from(tick.rate);
    (tick, Duration::from_micros((micros - fell).unsigned_abs()))
}

fn media_time(elapsed: Duration) -> Timestamp {
    Timestamp::from_micros(elapsed.as_micros() as i64)
}

/// The socket and the client's machine.
struct Connection<'a> {
    socket: TcpStream,
    client: Client,
    stop: &'a Stop,
}

impl<'a> Connection<'a> {
    /// Connects and asks for permission to publish. `None`: the demo is to end.
    fn open(options: &Options, stop: &'a Stop) -> Result<Option<Self>, PublishError> {
        let mut client =
            Client::from_url(&format!("rtmp://{}/{}", options.server, options.key), Role::Publish)?;
        let socket = TcpStream::connect_timeout(&options.server, CONNECT_MAX)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        client.start();
        let mut connection = Self { socket, client, stop };
        let deadline = Instant::now() + CONNECT_MAX;
        while !connection.client.is_ready() {
            connection.listen()?;
            if !connection.flush()? {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(PublishError::Silent(CONNECT_MAX));
            }
            if !connection.client.is_ready() && stop.within(LOOK) {
                return Ok(None);
            }
        }
        Ok(Some(connection))
    }

    /// What a player should know before the first frame.
    fn describe(&mut self, design: &Design, tracks: &[Track]) {
        let number = |value: u32| Value::from(f64::from(value));
        self.client.metadata(&amf0::object([
            ("width", number(design.width)),
            ("height", number(design.height)),
            ("framerate", number(design.rate)),
            ("videocodecid", number(7)),
            ("audiocodecid", number(10)),
            ("audiosamplerate", number(SAMPLE_RATE)),
            ("audiosamplesize", number(16)),
            ("stereo", true.into()),
            ("audiodatarate", number(AUDIO_BITS_PER_SECOND / 1_000)),
            ("encoder", concat!("Shardcast demo ", env!("CARGO_PKG_VERSION")).into()),
        ]));
        let mut body = BytesMut::new();
        for track in tracks {
            body.clear();
            if flv::sequence_header(track, &mut body) {
                self.client.write_media(media_kind(track.id.kind), 0, &[&body]);
            }
        }
    }

    fn frame(&mut self, tracks: &[Track], frame: &Frame) {
        let head = tracks
            .iter()
            .find(|track| track.id == frame.track)
            .and_then(|track| flv::frame_head(track, frame));
        let Some(head) = head else { return };
        // RTMP's clock has 32 bits and wraps after 49 days; the cut is the wrap.
        let timestamp = frame.dts.millis() as u32;
        self.client.write_media(media_kind(frame.track.kind), timestamp, &[&head, &frame.payload]);
    }

    /// Reads what has come and hears what it says.
    fn listen(&mut self) -> Result<(), PublishError> {
        let mut buffer = [0; 4_096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(len) => self.client.feed(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        while let Some(event) = self.client.poll()? {
            match event {
                ClientEvent::Closed(status) => {
                    return Err(PublishError::Refused(status.code, status.description));
                }
                ClientEvent::Status(status) => tracing::debug!(code = status.code, "the server says"),
                ClientEvent::Ready | ClientEvent::Media(_) => {}
            }
        }
        Ok(())
    }

    /// Sends everything there is. False: the demo is to end.
    fn flush(&mut self) -> Result<bool, PublishError> {
        let mut output = self.client.take_output();
        let mut moved = Instant::now();
        while output.has_remaining() {
            match self.socket.write(&output) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(len) => {
                    output.advance(len);
                    moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if moved.elapsed() > STALL_MAX {
                        return Err(PublishError::Stalled(STALL_MAX));
                    }
                    if self.stop.within(LOOK) {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Says goodbye, once and without waiting: a server that cannot take it learns from the closed socket.
    fn farewell(mut self) {
        self.client.unpublish();
        let output = self.client.take_output();
        if let Err(error) = self.socket.write_all(&output) {
            tracing::debug!("the demo's farewell was not taken: {error}");
        }
    }
}

const fn media_kind(kind: TrackKind) -> MediaKind {
    match kind {
        TrackKind::Video => MediaKind::Video,
        TrackKind::Audio => MediaKind::Audio,
        TrackKind::Data => MediaKind::Data,
    }
}

#[cfg(test)]
mod tests;
