//! The floor: the same messages to as many sockets by a bare loop of `send()`, in a process of its own.
//!
//! Nothing could send them with less, short of not sending. The process is this binary again; players ask it by HTTP like
//! any server, or by a datagram where it sends datagrams ([`udp`]), and its CPU is read like any server's. Invariant: the child ends with its value, or with this process.

pub mod child;
pub mod srtp;
pub mod udp;

use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

/// The child, seen from the tool.
#[derive(Debug)]
pub struct Floor {
    child: Child,
    port: u16,
    datagrams: bool,
}

impl Floor {
    /// Starts this binary with `args`, which must make it [`child::run`]; `datagrams` says whether it is to send these.
    ///
    /// # Errors
    /// When it does not start, or ends before it listens.
    pub fn start(args: &[String], datagrams: bool) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A terminal's Ctrl-C is for the tool, which still wants to read what the floor took.
        command.process_group(0);
        let mut floor = Self { child: command.spawn()?, port: 0, datagrams };
        let output = floor.child.stdout.take().ok_or_else(|| io::Error::other("the floor has no output"))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        floor.port =
            line.trim().parse().map_err(|_| io::Error::other("the floor ended before it listened"))?;
        Ok(floor)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What players ask for.
    pub fn url(&self) -> String {
        match self.datagrams {
            true => format!("udp://127.0.0.1:{}/floor/%d", self.port),
            false => format!("http://127.0.0.1:{}/floor/%d.flv", self.port),
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
