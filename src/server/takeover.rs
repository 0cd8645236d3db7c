//! Taking the ports over from a process that serves them: it is left what it has, and everything new comes here.

use std::{io, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::live::Entrance;
use crate::net::takeover::{Steering, listeners_at};

/// A process whose ports are being taken over, until it is gone.
pub(super) struct TakeOver {
    pid: u32,
    /// The sockets that will be steered to, with their numbers.
    targets: Vec<(socket2::Socket, u32)>,
    _steering: Vec<Steering>,
}

impl TakeOver {
    /// From this process, which must be another one of this program.
    pub fn from(pid: u32) -> io::Result<Self> {
        let told =
            |why: String| io::Error::new(io::ErrorKind::InvalidInput, format!("--take-over {pid}: {why}"));
        let comm = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let theirs = comm(&pid.to_string()).map_err(|_| told("there is no such process".to_owned()))?;
        // The signal would end any other program.
        if theirs != comm("self")? || pid == std::process::id() {
            return Err(told(format!("that is {:?}, and no other process of this program", theirs.trim())));
        }
        Ok(Self { pid, targets: Vec::new(), _steering: Vec::new() })
    }

    /// How many sockets listen where a door is about to open.
    pub fn count(entrance: std::net::SocketAddr) -> io::Result<u32> {
        listeners_at(entrance)
    }

    /// A door has been opened beside `before` sockets.
    pub fn note(&mut self, entrance: &Entrance, before: u32) -> io::Result<()> {
        if before > 0
            && let Some(socket) = entrance.sample()?
        {
            self.targets.push((socket, before));
        }
        Ok(())
    }

    /// Everything new comes here from now on; the other process hears of it, and ends when it has served what it has.
    pub fn begin(&mut self) -> io::Result<()> {
        for (socket, index) in std::mem::take(&mut self.targets) {
            self._steering.push(Steering::begin(&socket, index)?);
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        kill_process(pid, Signal::USR2)?;
        Ok(())
    }

    /// Whether the other process still runs.
    pub fn is_under_way(&self) -> bool {
        PathBuf::from(format!("/proc/{}", self.pid)).exists()
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}
