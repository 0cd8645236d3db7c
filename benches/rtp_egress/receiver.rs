//! Takes datagrams off the kernel and counts them, as many sockets of viewers would, on a CPU of its own.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use core_affinity::CoreId;

/// See the module.
pub struct Receiver {
    address: SocketAddr,
    count: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Receiver {
    /// Starts its thread on `cpu`.
    pub fn start(cpu: Option<CoreId>) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(64 << 20);
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (count, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let receiver =
            Self { address: socket.local_addr()?, count: Arc::clone(&count), over: Arc::clone(&over) };
        thread::spawn(move || {
            if let Some(cpu) = cpu {
                core_affinity::set_for_current(cpu);
            }
            let mut room = [0; 2_048];
            while !over.load(Ordering::Relaxed) {
                if socket.recv(&mut room).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(receiver)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams so far, once what is under way has arrived.
    pub fn settled(&self) -> u64 {
        thread::sleep(Duration::from_millis(300));
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
