//! A bad network between one WebRTC client and the server: a relay of datagrams that loses and delays them both ways, and may be narrow.
//!
//! In user space, since many kernels come without `netem`, CI's among them; it needs no rights and its losses come from a
//! seed. Invariant: what is not lost keeps its order, and both threads end with the value.

use std::{
    collections::VecDeque,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Larger than any datagram of WebRTC.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// A thread looks so often whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

/// The queue before a narrow way holds so much of time; what finds no room is lost.
const QUEUE_MAX: Duration = Duration::from_millis(300);

/// How bad it is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a hundred datagrams each way so many are lost.
    pub loss: f64,
    /// Each way.
    pub delay: Duration,
    /// Of the losses.
    pub seed: u64,
}

/// See the module.
pub struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
    /// Bits a second to the client; 0: no bound.
    rate: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// One direction.
struct Way {
    from: UdpSocket,
    to: UdpSocket,
    /// Who sent last on the client's side: the way there writes it, the way back reads it.
    client: Arc<Mutex<Option<SocketAddr>>>,
    server: Option<SocketAddr>,
    weather: Weather,
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
    rate: Arc<AtomicU64>,
}

impl Relay {
    /// Between whoever sends to [`Relay::address`] and `server`.
    pub fn start(server: SocketAddr, weather: Weather) -> Self {
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (near, far) = (socket(), socket());
        let address = near.local_addr().expect("a bound socket has an address");
        let clone = |socket: &UdpSocket| socket.try_clone().expect("a socket can be cloned");
        let (client, stop, lost, passed) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        let rate = Arc::<AtomicU64>::default();
        let way = |from: &UdpSocket, to: &UdpSocket, server: Option<SocketAddr>| Way {
            from: clone(from),
            to: clone(to),
            client: Arc::clone(&client),
            server,
            weather: Weather { seed: weather.seed * 2 + u64::from(server.is_some()), ..weather },
            stop: Arc::clone(&stop),
            lost: Arc::clone(&lost),
            passed: Arc::clone(&passed),
            // The way there is wide: what viewers say is little.
            rate: if server.is_none() { Arc::clone(&rate) } else { Arc::default() },
        };
        let ways = [way(&near, &far, Some(server)), way(&far, &near, None)];
        let threads = ways.into_iter().map(|way| thread::spawn(move || way.run())).collect();
        Self { address, stop, lost, passed, rate, threads }
    }

    /// From now on so many bits a second get through to the client, 0: all; the queue before that holds [`QUEUE_MAX`].
    pub fn narrow(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// What stands for the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams that were lost and that passed, both ways.
    pub fn counts(&self) -> (u64, u64) {
        (self.lost.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Way {
    fn run(self) {
        let mut random = fastrand::Rng::with_seed(self.weather.seed);
        let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        // When the narrow way has room for the next.
        let mut free = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let due =
                under_way.front().map_or(LOOK, |(due, _)| due.saturating_duration_since(Instant::now()));
            let wait = due.clamp(Duration::from_micros(100), LOOK);
            self.from.set_read_timeout(Some(wait)).expect("a time-out can be set");
            // An error is a time-out, or a port that is closed: the peer's to notice.
            if let Ok((bytes, from)) = self.from.recv_from(&mut buffer) {
                if self.server.is_some() {
                    *self.client.lock().expect("nothing panics holding it") = Some(from);
                }
                let (now, rate) = (Instant::now(), self.rate.load(Ordering::Relaxed));
                free = free.max(now);
                let is_lost = random.f64() * 100.0 < self.weather.loss || free - now > QUEUE_MAX;
                if rate > 0 && !is_lost {
                    free += Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate);
                }
                let counter = if is_lost { &self.lost } else { &self.passed };
                counter.fetch_add(1, Ordering::Relaxed);
                if !is_lost {
                    under_way.push_back((free + self.weather.delay, buffer[..bytes].to_vec()));
                }
            }
            while let Some((_, datagram)) = under_way.pop_front_if(|(due, _)| *due <= Instant::now()) {
                let client = *self.client.lock().expect("nothing panics holding it");
                if let Some(to) = self.server.or(client) {
                    let _ = self.to.send_to(&datagram, to);
                }
            }
        }
    }
}
