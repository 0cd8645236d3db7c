//! The server under test: the real binary as a child, and what /proc tells of a process.
//!
//! Invariant: the child ends with its value. Units: CPU time in nanoseconds, memory in bytes.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Where services listen.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// RTMP.
    pub rtmp: SocketAddr,
    /// HTTP-FLV, and WS-FLV by upgrade.
    pub http: SocketAddr,
}

/// A running server.
pub struct Server {
    child: Child,
    addresses: Addresses,
}

impl Server {
    /// Starts it with one shard on each of `cpus`, and waits until it listens.
    pub fn start(cpus: &[usize], coalesce: &str) -> Result<Self> {
        let [rtmp, http, ws] = free_ports()?;
        let log = log_path();
        // Another build can be named, so that two can be compared.
        let binary = std::env::var_os("BENCH_SERVER").unwrap_or(env!("CARGO_BIN_EXE_shardcast").into());
        let mut command = Command::new(binary);
        let mut set = |setting: String| {
            command.args(["--set", &setting]);
        };
        for (service, port) in [("rtmp", rtmp), ("httpflv", http), ("ws_stream", ws)] {
            set(format!("{service}.listen_ip=127.0.0.1"));
            set(format!("{service}.port={port}"));
        }
        set(format!("shards={cpus:?}"));
        set(format!("delivery.coalesce={coalesce}"));
        set("log.level=warn".to_owned());
        // Not measured here, and their ports may be taken.
        set("api.enable=false".to_owned());
        set("webrtc.enable=false".to_owned());
        // The publisher rests while the floor is measured.
        set("publish.silence_timeout=10m".to_owned());
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("starting the server")?;
        let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self { child, addresses: Addresses { rtmp: on(rtmp), http: on(http) } };
        let start = Instant::now();
        for address in [on(rtmp), on(http)] {
            while TcpStream::connect(address).is_err() {
                if start.elapsed() > Duration::from_secs(20) || server.child.try_wait()?.is_some() {
                    bail!("the server does not listen at {address}: see {}", log.display());
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the server says, for when it goes wrong.
fn log_path() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-server.log")
}

fn free_ports() -> Result<[u16; 3]> {
    let listeners = [0; 3].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

/// What all threads of a process have run, user and system.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path).context("the kernel keeps no schedstat")?;
        total +=
            text.split(' ').next().unwrap_or_default().parse::<u64>().context("schedstat's first number")?;
    }
    Ok(total)
}

/// Memory that is the process's own: without the binary's pages and what it shares with the kernel.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon in status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("RssAnon is no number")?;
    Ok(kib << 10)
}
