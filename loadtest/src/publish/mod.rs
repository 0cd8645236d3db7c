//! Publishers: one thread that sends every message of its streams when it is due, over RTMP or ([`whip`]) WebRTC.
//!
//! The thread sleeps to the next due time of all its streams, so a thousand of them cost a heap and not a thousand timers.
//! How late messages leave is measured: a tool that is late measures itself. Times are nanoseconds on [`crate::clock`].

mod whip;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use shardcast::protocols::rtmp::{Client, ClientEvent, ClientOptions, ClientUrl, Role};

use crate::{
    clock,
    media::{Programme, Source},
    play::{Sources, connect},
    stats::Times,
    url::{Address, Form},
};

/// How long a server may take to let a publisher in.
const PATIENCE: Duration = Duration::from_secs(10);
/// What waits for a socket at most, bytes: a server that is so far behind takes nothing any more.
const UNSENT_MAX: usize = 32 << 20;
/// How many connect at a time: a server that asks somebody else about each of them takes its time.
const AT_A_TIME: usize = 256;
/// Between two looks at what servers say to publishers.
const LISTEN_NS: u64 = 100_000_000;
/// The longest sleep, so that a stop is seen.
const SLEEP_NS: u64 = 20_000_000;

/// Why there is no publisher.
#[derive(Debug, thiserror::Error)]
#[error("publishing {url}: {reason}")]
pub struct PublishError {
    url: String,
    reason: String,
}

/// What was published.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Publishers.
    pub count: u64,
    /// Messages in the window.
    pub messages: u64,
    /// Bytes of bodies in the window.
    pub bytes: u64,
    /// RTP packets in the window, of WHIP.
    pub packets: u64,
    /// How much later than due messages left, in the window.
    pub late: Times,
    /// Times that a socket was full.
    pub blocked: u64,
    /// Those that the server ended, and why.
    pub ended: Vec<String>,
}

/// What is steady; set when it is known.
#[derive(Debug, Default)]
pub struct Window {
    open_ns: AtomicU64,
    close_ns: AtomicU64,
}

impl Window {
    /// From and to.
    pub fn set(&self, open_ns: u64, close_ns: u64) {
        self.open_ns.store(open_ns, Ordering::Relaxed);
        self.close_ns.store(close_ns, Ordering::Relaxed);
    }

    /// Whether `now` lies in it.
    pub fn holds(&self, now: u64) -> bool {
        self.open_ns.load(Ordering::Relaxed) <= now && now < self.close_ns.load(Ordering::Relaxed)
    }
}

/// The thread, and what it shows.
#[derive(Debug)]
pub struct Publishers {
    /// Pictures and sounds that left.
    pub sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// Publishers that the server ended.
    pub ended: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<Published>>,
}

struct Publisher {
    socket: TcpStream,
    client: Client,
    source: Source,
    /// When the stream's clock stood at 0.
    start_ns: u64,
    unsent: BytesMut,
    url: String,
    /// The server ended it.
    gone: bool,
}

impl Publishers {
    /// Connects `count` publishers, many at a time, and starts to send when all are let in.
    ///
    /// # Errors
    /// When one of them is not let in.
    pub fn start(
        address: &Address,
        count: u64,
        programme: &Programme,
        run: u64,
        window: Arc<Window>,
        stopped: &AtomicBool,
    ) -> Result<Self, PublishError> {
        if address.form == Form::Whip {
            return whip::start(address, count, programme, run, window, stopped);
        }
        let error = |url: &str, reason: String| PublishError { url: url.to_owned(), reason };
        let remote = address.resolve().map_err(|e| error(&address.to_string(), e.to_string()))?;
        let sources = Sources::new(remote, count, None);
        let mut publishers = connect_all(count, |n| {
            let url = address.of(n);
            if stopped.load(Ordering::Relaxed) {
                return Err(error(&url, "interrupted".to_owned()));
            }
            let source = Source::new(programme, run, n as u32);
            connect_one(&url, remote, sources.of(n), source).map_err(|e| error(&url, e))
        })?;
        // Streams begin one after the other, so that their keyframes do not all come at once.
        let begin = clock::now();
        let step = programme.group_us() * 1_000 / count.max(1);
        for (n, publisher) in (0_u64..).zip(&mut publishers) {
            publisher.start_ns = begin + (n * step).min(programme.group_us() * 1_000);
        }
        let (sent, stop, ended) = (Arc::default(), Arc::default(), Arc::default());
        let loop_ = Loop {
            publishers,
            window,
            sent: Arc::clone(&sent),
            stop: Arc::clone(&stop),
            ended: Arc::clone(&ended),
            published: Published { count, ..Published::default() },
        };
        let thread = Builder::new().name("publish".to_owned()).spawn(move || loop_.run());
        let thread = thread.map_err(|e| error(&address.to_string(), e.to_string()))?;
        Ok(Self { sent, stop, ended, thread: Some(thread) })
    }

    /// Ends the streams in order and returns what was counted.
    pub fn finish(mut self) -> Published {
        self.stop.store(true, Ordering::Relaxed);
        // A panic there has been printed.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Calls `connect` for each number, many at a time; all that it gave, in their order, or the first failure.
fn connect_all<T: Send>(
    count: u64,
    connect: impl Fn(u64) -> Result<T, PublishError> + Sync,
) -> Result<Vec<T>, PublishError> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut connected = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(connected);
            }
            // The first failure is all that is told: nobody else needs to come.
            let one = connect(n).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
            connected.push((n, one));
        }
    };
    let at_a_time = usize::try_from(count).unwrap_or(AT_A_TIME).min(AT_A_TIME);
    let connected: Result<Vec<_>, _> = std::thread::scope(|scope| {
        // As many as the system gives, and this thread.
        let others = (1..at_a_time).map_while(|_| Builder::new().spawn_scoped(scope, work).ok());
        let others: Vec<_> = others.collect();
        let own = std::iter::once(work());
        // A panic there is one here.
        let ended = others.into_iter().map(|worker| worker.join());
        let ended = ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        own.chain(ended).collect()
    });
    let mut all: Vec<(u64, T)> = connected?.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(n, _)| *n);
    Ok(all.into_iter().map(|(_, one)| one).collect())
}

fn connect_one(
    url: &str,
    remote: SocketAddr,
    from: Option<Ipv4Addr>,
    source: Source,
) -> Result<Publisher, String> {
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the server does not answer".to_owned(),
        _ => connect::advice(&error),
    };
    let mut socket = connect::wait(remote, from, PATIENCE).map_err(told)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(told)?;
    let address: ClientUrl = url.parse().map_err(|error| format!("{error}"))?;
    let mut client = Client::new(ClientOptions::new(&address, Role::Publish));
    client.start();
    let mut buffer = [0; 16 << 10];
    while !client.is_ready() {
        socket.write_all(&client.take_output()).map_err(told)?;
        match client.poll().map_err(|error| error.to_string())? {
            Some(ClientEvent::Closed(status)) => {
                return Err(format!("the server refused: {} {}", status.code, status.description));
            }
            Some(_) => continue,
            None if client.has_output() => continue,
            None => {}
        }
        match socket.read(&mut buffer).map_err(told)? {
            0 => return Err("the server closed the connection".to_owned()),
            read => client.feed(buffer.get(..read).unwrap_or_default()),
        }
    }
    client.metadata(&source.metadata());
    for (kind, body) in source.headers() {
        client.write_media(kind, 0, &[&body]);
    }
    socket.write_all(&client.take_output()).map_err(told)?;
    socket.set_nonblocking(true).map_err(told)?;
    Ok(Publisher {
        socket,
        client,
        source,
        start_ns: 0,
        unsent: BytesMut::new(),
        url: url.to_owned(),
        gone: false,
    })
}

struct Loop {
    publishers: Vec<Publisher>,
    window: Arc<Window>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    ended: Arc<Mutex<Vec<String>>>,
    published: Published,
}

impl Loop {
    fn run(mut self) -> Published {
        let mut due: BinaryHeap<Reverse<(u64, usize)>> = self
            .publishers
            .iter()
            .enumerate()
            .map(|(n, publisher)| Reverse((publisher.due_ns(), n)))
            .collect();
        let mut body = BytesMut::new();
        let mut listen = clock::now();
        while !self.stop.load(Ordering::Relaxed) {
            let now = clock::now();
            if now >= listen {
                listen = now + LISTEN_NS;
                for n in 0..self.publishers.len() {
                    self.attempt(n, |publisher, _| publisher.listen());
                }
            }
            let Some(Reverse((at, n))) = due.peek().copied() else {
                clock::sleep_until(now + SLEEP_NS);
                continue;
            };
            if at > now {
                clock::sleep_until(at.min(now + SLEEP_NS));
                continue;
            }
            due.pop();
            if self.window.holds(now) {
                self.published.late.record_ns(now - at);
            }
            let steady = self.window.holds(now);
            let alive =
                self.attempt(n, |publisher, published| publisher.push(now, steady, &mut body, published));
            self.sent.fetch_add(1, Ordering::Relaxed);
            if alive && let Some(publisher) = self.publishers.get(n) {
                due.push(Reverse((publisher.due_ns(), n)));
            }
        }
        for publisher in self.publishers.iter_mut().filter(|publisher| !publisher.gone) {
            publisher.client.unpublish();
            // The connection closes right after, which says the same.
            let _ = publisher.send(&mut self.published);
        }
        self.published.ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.published
    }

    /// Does something with a publisher; whether it is still there.
    fn attempt(
        &mut self,
        n: usize,
        what: impl FnOnce(&mut Publisher, &mut Published) -> Result<(), String>,
    ) -> bool {
        let Some(publisher) = self.publishers.get_mut(n).filter(|publisher| !publisher.gone) else {
            return false;
        };
        let Err(reason) = what(publisher, &mut self.published) else { return true };
        publisher.gone = true;
        // It may be closed already.
        let _ = publisher.socket.shutdown(Shutdown::Both);
        let url = publisher.url.clone();
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{url}: {reason}"));
        false
    }
}

impl Publisher {
    fn due_ns(&self) -> u64 {
        self.start_ns + self.source.due_us() * 1_000
    }

    fn push(
        &mut self,
        now: u64,
        steady: bool,
        body: &mut BytesMut,
        published: &mut Published,
    ) -> Result<(), String> {
        body.clear();
        let message = self.source.next(now, body);
        if steady {
            published.messages += 1;
            published.bytes += body.len() as u64;
        }
        self.client.write_media(message.kind, message.timestamp, &[body]);
        self.send(published)
    }

    /// Sends what there is; what the socket does not take waits.
    fn send(&mut self, published: &mut Published) -> Result<(), String> {
        let output = self.client.take_output();
        if self.unsent.is_empty() {
            let sent = self.write(&output, published)?;
            self.unsent.extend_from_slice(output.get(sent..).unwrap_or_default());
        } else {
            self.unsent.extend_from_slice(&output);
            let waiting = std::mem::take(&mut self.unsent);
            let sent = self.write(&waiting, published)?;
            self.unsent = waiting;
            self.unsent.advance(sent);
        }
        match self.unsent.len() {
            0..=UNSENT_MAX => Ok(()),
            waiting => Err(format!("the server does not take what is published: {waiting} bytes wait")),
        }
    }

    fn write(&mut self, bytes: &[u8], published: &mut Published) -> Result<usize, String> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    published.blocked += 1;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(connect::advice(&error)),
            }
        }
        Ok(sent)
    }

    /// Hears what the server says: confirmations, pings, and its end.
    fn listen(&mut self) -> Result<(), String> {
        let mut buffer = [0; 4 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(read) => self.client.feed(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(connect::advice(&error)),
            }
            while let Some(event) = self.client.poll().map_err(|error| error.to_string())? {
                if let ClientEvent::Closed(status) = event {
                    return Err(format!("the server said: {} {}", status.code, status.description));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
