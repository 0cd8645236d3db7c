//! What the system knows of this process and of itself, read from `/proc` by whoever has time: a side thread.
//!
//! Each part is a pure reader of a file's text; [`Sampler`] reads the files and compares with the time before. Invariant: a
//! file that is missing or strange (a container hides some) leaves zeros, never an error. Memory is kB, as `/proc` has it;
//! shares are ratios from 0 to 1.

mod disk;
mod memory;
mod network;
mod stat;
mod usage;

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use disk::Disk;
pub use memory::Memory;
pub use network::{Network, Sockets};
pub use stat::{SelfStat, SystemStat};
pub use usage::Usage;

use crate::net::interfaces;

/// All that was read at one time.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, in milliseconds since 1970; zero: never.
    pub at_ms: u64,
    /// The process: `/proc/self/stat`.
    pub process: SelfStat,
    /// Its share of the machine's processors since the sample before.
    pub process_share: f64,
    /// All processors together: `/proc/stat`.
    pub system: SystemStat,
    /// How much of them was in use since the sample before.
    pub system_share: f64,
    /// What the process used, as `getrusage` has it.
    pub usage: Usage,
    /// Memory of the machine.
    pub memory: Memory,
    /// Interfaces.
    pub network: Network,
    /// Sockets of the system.
    pub sockets: Sockets,
    /// Disks.
    pub disk: Disk,
    /// Seconds since the machine began.
    pub uptime: f64,
    /// Seconds that its processors were idle, all together.
    pub idle: f64,
    /// Load averages over one, five and fifteen minutes.
    pub load: [f64; 3],
    /// Processors of the machine, and those that are on.
    pub cpus: (u32, u32),
}

impl Sample {
    /// Resident memory of the process in kB.
    pub fn resident_kb(&self) -> u64 {
        self.process.resident_pages() * (rustix::param::page_size() as u64 / 1024)
    }

    /// Processor time of the process in seconds, in user mode and in the kernel.
    pub fn cpu_seconds(&self) -> f64 {
        self.process.cpu_ticks() as f64 / rustix::param::clock_ticks_per_second().max(1) as f64
    }
}

/// Reads samples, one after the other.
#[derive(Debug, Default)]
pub struct Sampler {
    before: Option<(Instant, Sample)>,
}

impl Sampler {
    /// Reads everything as it is now: some twenty small files, a millisecond or two.
    pub fn sample(&mut self, now: Instant) -> Sample {
        let addresses = interfaces::named().unwrap_or_default();
        let uptime = numbers(&read("/proc/uptime"));
        let load = numbers(&read("/proc/loadavg"));
        let at = |list: &[f64], n: usize| list.get(n).copied().unwrap_or_default();
        let system_text = read("/proc/stat");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut sample = Sample {
            at_ms: u64::try_from(since.as_millis()).unwrap_or_default(),
            process: SelfStat::parse(&read("/proc/self/stat")),
            system: SystemStat::parse(&system_text),
            usage: Usage::now(),
            memory: Memory::parse(&read("/proc/meminfo")),
            network: Network::parse(&read("/proc/net/dev"), |name| network::is_public(name, &addresses)),
            sockets: Sockets::parse(&read("/proc/net/sockstat"), &read("/proc/net/snmp")),
            disk: Disk::parse(&read("/proc/vmstat"), &read("/proc/diskstats")),
            uptime: at(&uptime, 0),
            idle: at(&uptime, 1),
            load: [at(&load, 0), at(&load, 1), at(&load, 2)],
            cpus: (
                count(&read("/sys/devices/system/cpu/present")).unwrap_or_else(|| stat::cpus(&system_text)),
                stat::cpus(&system_text),
            ),
            ..Sample::default()
        };
        if let Some((then, before)) = &self.before {
            sample.compare(before, now.saturating_duration_since(*then));
        }
        self.before = Some((now, sample.clone()));
        sample
    }
}

impl Sample {
    /// What happened since `before`, which was so long ago.
    fn compare(&mut self, before: &Self, elapsed: Duration) {
        let all = self.system.total().saturating_sub(before.system.total());
        let idle = self.system.idle_total().saturating_sub(before.system.idle_total());
        self.system_share = ratio(all.saturating_sub(idle), all);
        let used = self.process.cpu_ticks().saturating_sub(before.process.cpu_ticks());
        self.process_share = ratio(used, all).min(1.0);
        self.disk.compare(&before.disk, elapsed);
    }
}

/// A part of a whole; nothing of nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The numbers at the beginning of a line.
fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// How many there are in a list such as `0-3,8`.
fn count(list: &str) -> Option<u32> {
    let mut sum = 0u32;
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum = sum.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    (sum > 0).then_some(sum)
}

/// The system's name, this machine's, its release, version and machine, as `uname` has them.
pub fn uname() -> [String; 5] {
    let kernel = |name: &str| read(&format!("/proc/sys/kernel/{name}")).trim().to_owned();
    let [system, node, release, version] = ["ostype", "hostname", "osrelease", "version"].map(kernel);
    [system, node, release, version, std::env::consts::ARCH.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read_and_two_samples_compared() {
        let mut sampler = Sampler::default();
        let start = Instant::now();
        let first = sampler.sample(start);
        assert_eq!((first.process_share, first.system_share), (0.0, 0.0), "there is nothing to compare with");
        let mut work = 0u64;
        while start.elapsed() < Duration::from_millis(200) {
            work = work.wrapping_mul(31).wrapping_add(1);
        }
        std::hint::black_box(work);
        let second = sampler.sample(Instant::now());
        assert_eq!(second.process.number("pid"), u64::from(std::process::id()));
        assert!(second.process_share > 0.0 && second.process_share <= 1.0, "{}", second.process_share);
        assert!(second.system_share > 0.0 && second.system_share <= 1.0, "{}", second.system_share);
        assert!(second.resident_kb() > 1_000 && second.memory.total > second.resident_kb());
        assert!(second.uptime > 0.0 && second.cpus.1 > 0 && second.cpus.0 >= second.cpus.1);
        assert!(second.cpu_seconds() > 0.0 && second.at_ms >= first.at_ms);
        assert!(uname().iter().all(|part| !part.is_empty()));
    }

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count("0-3,8\n"), Some(5));
        assert_eq!(count("0"), Some(1));
        for strange in ["", "x", "3-1", "0-4294967295", "1-"] {
            assert_eq!(count(strange), None, "{strange}");
        }
    }
}
