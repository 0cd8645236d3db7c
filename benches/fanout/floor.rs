//! The floor: the same messages to as many sockets by a bare loop of `send()`, in a process of its own on the same CPU.
//!
//! Nothing could send them with less, short of not sending. The child is this binary with the argument [`ARGUMENT`]; it
//! takes orders on its standard input, one line each, and answers each with one.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use socket2::SockRef;

use crate::load::{self, CYCLE, Message};

/// Tells the binary to be the child.
pub const ARGUMENT: &str = "floor";

/// What stands around a tag body in chunked FLV: the chunk's size and ends, the tag's header and its size again.
const WRAPPING: usize = 5 + 2 + 11 + 4;

/// The child, seen from the bench.
pub struct Floor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Floor {
    /// Starts it on `cpu` and connects `count` players, which have got a group of pictures like any joiner.
    pub fn start(cpu: usize, count: usize) -> Result<(Self, Vec<TcpStream>)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([ARGUMENT, &cpu.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the floor")?;
        let orders = child.stdin.take().context("the floor's input")?;
        let answers = BufReader::new(child.stdout.take().context("the floor's output")?);
        let mut floor = Self { child, orders, answers };
        let port: u16 = floor.answer()?.parse().context("the floor's port")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let streams = (0..count).map(|_| TcpStream::connect(address)).collect::<io::Result<_>>()?;
        Ok((floor, streams))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `cycles` at their pace, each message at once or what `coalesce` gathered.
    pub fn push(&mut self, cycles: u32, coalesce: Duration) -> Result<()> {
        writeln!(self.orders, "{cycles} {}", coalesce.as_millis())?;
        match self.answer()?.as_str() {
            "0" => Ok(()),
            blocked => bail!("{blocked} sends of the floor found a full socket: the receiver is too slow"),
        }
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the floor ended");
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child.
pub fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut number = || args.next().and_then(|arg| arg.parse::<usize>().ok()).context("floor CPU COUNT");
    let (cpu, count) = (number()?, number()?);
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    let messages = load::cycle(load::BITS_PER_SECOND);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    let group = vec![0xa5; messages.iter().map(|message| message.len + WRAPPING).sum()];
    let mut players = Vec::with_capacity(count);
    for _ in 0..count {
        let (player, _) = listener.accept()?;
        player.set_nodelay(true)?;
        players.push(player);
    }
    let mut joined = false;
    for order in io::stdin().lines() {
        if !std::mem::replace(&mut joined, true) {
            players.iter_mut().try_for_each(|player| player.write_all(&group))?;
        }
        let order = order?;
        let (cycles, coalesce) = order.split_once(' ').context("CYCLES MILLISECONDS")?;
        let coalesce = Duration::from_millis(coalesce.parse()?);
        let schedule = match coalesce.is_zero() {
            true => each(&messages, cycles.parse()?),
            false => gathered(&messages, cycles.parse()?, coalesce),
        };
        println!("{}", keep(&schedule, &players)?);
    }
    Ok(())
}

/// One send for each message.
fn each(messages: &[Message], cycles: u32) -> Vec<(Duration, usize)> {
    let moments = |n| messages.iter().map(move |message| (CYCLE * n + message.at, message.len + WRAPPING));
    (0..cycles).flat_map(moments).collect()
}

/// One send for what each `coalesce` brought.
fn gathered(messages: &[Message], cycles: u32, coalesce: Duration) -> Vec<(Duration, usize)> {
    let mut schedule = Vec::<(Duration, usize)>::new();
    for (at, len) in each(messages, cycles) {
        let due = coalesce * (at.as_micros() / coalesce.as_micros() + 1) as u32;
        match schedule.last_mut() {
            Some((last, gathered)) if *last == due => *gathered += len,
            _ => schedule.push((due, len)),
        }
    }
    schedule
}

/// Sends by the clock; how many sends found a full socket.
fn keep(schedule: &[(Duration, usize)], players: &[TcpStream]) -> Result<usize> {
    let largest = schedule.iter().map(|(_, len)| *len).max().unwrap_or_default();
    let buffer = vec![0xa5; largest];
    let mut blocked = 0;
    let start = Instant::now();
    for (at, len) in schedule {
        load::wait(start, *at);
        for player in players {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            match SockRef::from(player).send_with_flags(&buffer[..*len], flags) {
                Ok(sent) => blocked += usize::from(sent < *len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(blocked)
}
