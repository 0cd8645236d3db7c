//! A player by any path, on a thread of its own: what it got so far can be asked at any time.
//!
//! Invariant: what arrives is checked as it arrives (well-formed FLV, RTMP or WebSocket), and a player that saw
//! nonsense says so as its end.

use std::{
    io::{self, BufReader, Write},
    net::{Shutdown, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use super::{Kind, SOON, Server, Tag, Unit, flv, http, rtmp, until, within, ws};

/// How a player reaches a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// RTMP `play`.
    Rtmp,
    /// `GET /app/name.flv`.
    Http,
    /// The same path, upgraded.
    WsUpgrade,
    /// `/app/name.flv` on the WebSocket port.
    WsFlv,
    /// `/play?app=A&stream=S` on the WebSocket port.
    WsPlay,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rtmp, Self::Http, Self::WsUpgrade, Self::WsFlv, Self::WsPlay];
}

#[derive(Default)]
struct State {
    tags: Vec<Tag>,
    units: Vec<Unit>,
    flags: Option<u8>,
    statuses: Vec<(String, String)>,
    end: Option<String>,
}

/// A player at work.
pub struct Player {
    path: Path,
    key: String,
    socket: TcpStream,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

/// `app` and `name` of a key.
pub fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').expect("keys have an app and a name")
}

/// Percent-encodes what may not stand in a path or query.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Player {
    /// Connects and asks for the stream; whatever comes then is taken by a thread.
    ///
    /// # Panics
    /// When the server does not even take the connection.
    pub fn open(server: &Server, path: Path, key: &str) -> Self {
        let addr = match path {
            Path::Rtmp => server.rtmp(),
            Path::Http | Path::WsUpgrade => server.http(),
            Path::WsFlv | Path::WsPlay => server.ws(),
        };
        let socket = rtmp::socket(addr).unwrap_or_else(|error| panic!("{path:?} of {key}: {error}"));
        let wire = socket.try_clone().expect("a socket can be cloned");
        let state = Arc::new(Mutex::new(State::default()));
        let (app, name) = split(key);
        let (app, name, key) = (app.to_owned(), name.to_owned(), key.to_owned());
        let shared = Arc::clone(&state);
        let target = match path {
            Path::WsPlay => format!("/play?app={}&stream={}", escape(&app), escape(&name)),
            _ => format!("/{}.flv", escape(&key)),
        };
        let thread = thread::spawn(move || {
            let run = AssertUnwindSafe(|| match path {
                Path::Rtmp => play_rtmp(wire, addr, &app, &name, &shared),
                Path::Http => {
                    play_http(wire, &format!("GET {target} HTTP/1.1\r\nHost: {addr}\r\n\r\n"), &shared)
                }
                _ => play_ws(wire, addr, &target, &shared),
            });
            let end = match catch_unwind(run) {
                Ok(Ok(end)) => end,
                Ok(Err(error)) => format!("error: {error}"),
                Err(_) => "nonsense: see the panic above".to_owned(),
            };
            shared.lock().expect("nothing panics holding it").end = Some(end);
        });
        Self { path, key, socket, state, thread: Some(thread) }
    }

    fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().expect("nothing panics holding it"))
    }

    /// The path it came by.
    pub fn path(&self) -> Path {
        self.path
    }

    /// All access units and sequence headers so far.
    pub fn units(&self) -> Vec<Unit> {
        self.with(|state| state.units.clone())
    }

    /// All tags so far.
    pub fn tags(&self) -> Vec<Tag> {
        self.with(|state| state.tags.clone())
    }

    /// How many media units it has, headers apart.
    pub fn count(&self) -> usize {
        self.with(|state| state.units.iter().filter(|unit| !unit.header).count())
    }

    /// How many pictures it has.
    pub fn pictures(&self) -> usize {
        let is_picture = |unit: &&Unit| unit.kind == Kind::Video && !unit.header;
        self.with(|state| state.units.iter().filter(is_picture).count())
    }

    /// Decoding time of the newest media unit.
    pub fn newest(&self) -> Option<i64> {
        self.with(|state| state.units.iter().rev().find(|unit| !unit.header).map(|unit| unit.dts))
    }

    /// The flags of the FLV header, if it has come (never by RTMP).
    pub fn flags(&self) -> Option<u8> {
        self.with(|state| state.flags)
    }

    /// RTMP: code and description of each `onStatus`.
    pub fn statuses(&self) -> Vec<(String, String)> {
        self.with(|state| state.statuses.clone())
    }

    /// How it ended, if it has: `end` when the server ended the stream in its protocol's words.
    pub fn end(&self) -> Option<String> {
        self.with(|state| state.end.clone())
    }

    /// Waits for something about what it has got.
    ///
    /// # Panics
    /// When that does not come in time, or the player ends before.
    pub fn wait(&self, what: &str, ready: impl Fn(&Self) -> bool) {
        let found = within(SOON, || (ready(self) || self.end().is_some()).then(|| ready(self)));
        if found != Some(true) {
            let (tags, newest, end) = (self.tags().len(), self.newest(), self.end());
            let (path, key, statuses) = (self.path, &self.key, self.statuses());
            panic!(
                "{path:?} player of {key} waits for {what}: {tags} tags, newest {newest:?}, {statuses:?}, {end:?}"
            );
        }
    }

    /// Waits until it has `count` media units more than now.
    pub fn wait_more(&self, count: usize) {
        let have = self.count();
        self.wait(&format!("{count} more units than {have}"), |player| player.count() >= have + count);
    }

    /// Waits until each of `players` has `count` media units more than now, all of them at once.
    pub fn wait_all_more<'a>(players: impl IntoIterator<Item = &'a Self>, count: usize) {
        let have: Vec<(&Self, usize)> = players.into_iter().map(|player| (player, player.count())).collect();
        for (player, have) in have {
            player.wait(&format!("{count} more units than {have}"), |player| player.count() >= have + count);
        }
    }

    /// Waits until it has a picture (a keyframe) or, of an audio-only stream, sound.
    pub fn wait_start(&self) {
        let begun = |unit: &Unit| !unit.header && (unit.key || unit.kind == Kind::Audio);
        self.wait("its first unit", |player| player.with(|state| state.units.iter().any(begun)));
    }

    /// Waits until the server ended it; how.
    pub fn wait_end(&self) -> String {
        until(&format!("the end of the {:?} player of {}", self.path, self.key), || self.end())
    }

    /// Leaves as a viewer does who closes the tab.
    pub fn leave(mut self) {
        self.close();
    }

    fn close(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.close();
    }
}

fn take(shared: &Mutex<State>, tag: Tag) {
    let units = tag.units();
    let mut state = shared.lock().expect("nothing panics holding it");
    state.units.extend(units);
    state.tags.push(tag);
}

/// Tags as they become whole; the header's flags when they have come.
fn take_bytes(shared: &Mutex<State>, reader: &mut flv::Reader, bytes: &[u8]) {
    reader.feed(bytes);
    while let Some(tag) = reader.next_tag() {
        take(shared, tag);
    }
    shared.lock().expect("nothing panics holding it").flags = reader.flags();
}

fn play_rtmp(
    wire: TcpStream,
    addr: std::net::SocketAddr,
    app: &str,
    name: &str,
    shared: &Mutex<State>,
) -> io::Result<String> {
    let mut client = rtmp::Client::over(Box::new(wire))?;
    client.start_play(addr, app, name)?;
    let mut words = Vec::new();
    loop {
        let message = match client.read() {
            Ok(message) => message,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !words.is_empty() => {
                return Ok(words.join(", "));
            }
            Err(error) => return Err(error),
        };
        if let Some(tag) = message.tag() {
            take(shared, tag);
        } else if message.kind == 4 && message.body.starts_with(&[0, 1]) {
            words.push("StreamEOF".to_owned());
        } else if message.kind == 4 && message.body.starts_with(&[0, 0]) {
            words.clear();
        } else if let Some(command) = message.command()
            && command.name == "onStatus"
        {
            let code = command.code();
            if ["UnpublishNotify", "Play.Stop", "StreamNotFound", "Failed", "Rejected"]
                .iter()
                .any(|end| code.ends_with(end))
            {
                words.push(code.clone());
            }
            let status = (code, command.description());
            shared.lock().expect("nothing panics holding it").statuses.push(status);
        }
    }
}

fn play_http(mut wire: TcpStream, request: &str, shared: &Mutex<State>) -> io::Result<String> {
    wire.write_all(request.as_bytes())?;
    let mut stream = http::Stream::read_head(BufReader::new(Box::new(wire)), "GET")?;
    if stream.head.status != 200 {
        let (answer, _) = stream.finish()?;
        return Ok(format!("{} {}", answer.head.status, answer.text()));
    }
    let mut reader = flv::Reader::default();
    while let Some(piece) = stream.read()? {
        take_bytes(shared, &mut reader, &piece);
    }
    Ok(if reader.rest() == 0 {
        "end".into()
    } else {
        format!("ended within a tag, {} bytes over", reader.rest())
    })
}

fn play_ws(
    wire: TcpStream,
    addr: std::net::SocketAddr,
    target: &str,
    shared: &Mutex<State>,
) -> io::Result<String> {
    let mut socket = ws::open(Box::new(wire), addr, target)?;
    let mut reader = flv::Reader::default();
    loop {
        match ws::read(&mut socket) {
            Ok(bytes) => take_bytes(shared, &mut reader, &bytes),
            Err(ws::End::Closed(code, reason)) => return Ok(format!("close {code} {reason}")),
            Err(ws::End::Broken(error)) => return Err(io::Error::other(error)),
        }
    }
}
