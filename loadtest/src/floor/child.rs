//! The floor's process: a thread that lets players in, and a loop that sends.
//!
//! In the steady state the loop sleeps to the next due time and calls `send()` once for each player: nothing else. What a
//! full socket does not take waits in front of what comes, so that players see a whole stream; one that is too far
//! behind is dropped. Times are nanoseconds on [`clock`], sizes bytes.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use shardcast::protocols::flv;
use socket2::SockRef;

use crate::{
    clock::{self, nanos},
    measure::machine,
    media::{Programme, Source, tag_type},
};

/// What waits for a player at most.
const BEHIND_MAX: usize = 16 << 20;
/// A player's request must be here within this time.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// New players are looked for so often, when nothing is sent.
const LOOK_NS: u64 = 10_000_000;
/// More than anyone asks for.
const DESCRIPTORS: u64 = 65_536;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n";

/// What the process is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is sent.
    pub programme: Programme,
    /// How many streams.
    pub streams: u64,
    /// The CPU that it stays on.
    pub cpu: Option<usize>,
    /// How long messages are gathered before they are sent together.
    pub coalesce: Duration,
    /// Sealed datagrams instead of TCP; these are never gathered.
    pub datagrams: bool,
}

struct Stream {
    source: Source,
    start_ns: u64,
    preamble: Bytes,
    /// Everything since the newest keyframe.
    group: BytesMut,
    /// What is to be sent next.
    gathered: BytesMut,
    /// Where in it the newest keyframe begins: joiners start there.
    key_at: Option<usize>,
    players: Vec<Player>,
}

struct Player {
    socket: TcpStream,
    behind: BytesMut,
}

/// Says on standard output where it listens, and sends until its standard input ends.
///
/// # Errors
/// When it cannot listen.
pub fn run(options: &Options) -> io::Result<()> {
    if let Some(id) = options.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(io::Error::other(format!("this process may not run on CPU {id}")));
    }
    // The tool has told already if there are too few.
    let _ = machine::raise_descriptors(DESCRIPTORS);
    thread::Builder::new().name("orders".to_owned()).spawn(|| {
        // Ends with the tool, however that ends.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    })?;
    if options.datagrams {
        return super::udp::run(options);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // std's backlog is 128; a storm of joiners needs more.
    SockRef::from(&listener).listen(4_096)?;
    println!("{}", listener.local_addr()?.port());
    let (joiners, joining) = channel();
    thread::Builder::new().name("accept".to_owned()).spawn(move || accept(&listener, &joiners))?;
    send(options, &joining)
}

/// Lets players in; this thread sleeps while nobody comes.
fn accept(listener: &TcpListener, joiners: &Sender<(u64, TcpStream)>) {
    loop {
        let Ok((socket, _)) = listener.accept() else {
            // Out of descriptors: some will be free again.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if let Ok(stream) = request(&socket)
            && joiners.send((stream, socket)).is_err()
        {
            return;
        }
    }
}

/// Reads a request and returns the number of the stream it is for.
fn request(mut socket: &TcpStream) -> io::Result<u64> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(REQUEST_PATIENCE))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1_024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        match socket.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => request.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
    socket.set_nonblocking(true)?;
    let text = String::from_utf8_lossy(&request);
    let path = text.split_whitespace().nth(1).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".flv");
    Ok(name.parse().unwrap_or(0))
}

fn send(options: &Options, joining: &Receiver<(u64, TcpStream)>) -> io::Result<()> {
    let (begin, run) = (clock::now(), fastrand::u64(1..1 << 56));
    let step = options.programme.group_us() * 1_000 / options.streams.max(1);
    let mut streams: Vec<Stream> = (0..options.streams)
        .map(|n| {
            let source = Source::new(&options.programme, run, n as u32);
            let preamble = [HEAD, &source.flv_preamble()].concat().into();
            let (group, gathered, key_at) = Default::default();
            Stream {
                source,
                start_ns: begin + n * step,
                preamble,
                group,
                gathered,
                key_at,
                players: Vec::new(),
            }
        })
        .collect();
    let mut due: BinaryHeap<Reverse<(u64, usize)>> =
        streams.iter().enumerate().map(|(n, stream)| Reverse((stream.due_ns(), n))).collect();
    let coalesce = nanos(options.coalesce);
    let mut next_seal = begin + coalesce;
    let mut body = BytesMut::new();
    loop {
        while let Ok((n, socket)) = joining.try_recv() {
            let count = streams.len().max(1) as u64;
            if let Some(stream) = streams.get_mut((n % count) as usize) {
                stream.join(socket);
            }
        }
        let now = clock::now();
        if coalesce > 0 && now >= next_seal {
            next_seal += coalesce;
            streams.iter_mut().for_each(Stream::seal);
        }
        let next = due.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        if next > now {
            let seal = if coalesce > 0 { next_seal } else { u64::MAX };
            clock::sleep_until(next.min(seal).min(now + LOOK_NS));
            continue;
        }
        let Some(Reverse((_, n))) = due.pop() else { continue };
        if let Some(stream) = streams.get_mut(n) {
            stream.push(now, &mut body);
            if coalesce == 0 {
                stream.seal();
            }
            due.push(Reverse((stream.due_ns(), n)));
        }
    }
}

impl Stream {
    fn due_ns(&self) -> u64 {
        self.start_ns + self.source.due_us() * 1_000
    }

    /// The next message becomes a tag.
    fn push(&mut self, now: u64, body: &mut BytesMut) {
        body.clear();
        let message = self.source.next(now, body);
        if message.key {
            self.key_at = Some(self.gathered.len());
        }
        flv::write_tag(&mut self.gathered, tag_type(message.kind), message.timestamp, &[body]);
    }

    /// Sends what was gathered.
    fn seal(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.gathered);
        self.players.retain_mut(|player| player.send(&batch));
        // A joiner starts with what has been sent to the others.
        let from = self.key_at.take().inspect(|_| self.group.clear()).unwrap_or(0);
        self.group.extend_from_slice(batch.get(from..).unwrap_or_default());
        self.gathered = batch;
        self.gathered.clear();
    }

    fn join(&mut self, socket: TcpStream) {
        let mut player = Player { socket, behind: BytesMut::new() };
        if player.send(&[&self.preamble[..], &self.group].concat()) {
            self.players.push(player);
        }
    }
}

impl Player {
    /// One `send()` where the socket keeps up. Whether the player is still there.
    fn send(&mut self, batch: &[u8]) -> bool {
        if !self.behind.is_empty() {
            self.behind.extend_from_slice(batch);
            let sent = match write(&self.socket, &self.behind) {
                Some(sent) => sent,
                None => return false,
            };
            self.behind.advance(sent);
            return self.behind.len() <= BEHIND_MAX;
        }
        let Some(sent) = write(&self.socket, batch) else { return false };
        self.behind.extend_from_slice(batch.get(sent..).unwrap_or_default());
        true
    }
}

/// How much the socket took; `None` when the player is gone.
fn write(mut socket: &TcpStream, bytes: &[u8]) -> Option<usize> {
    match socket.write(bytes) {
        Ok(sent) => Some(sent),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(0),
        Err(_) => None,
    }
}
