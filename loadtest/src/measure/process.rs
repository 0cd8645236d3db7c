//! What /proc tells of processes: CPU time, memory, threads, context switches, descriptors.
//!
//! A reading is the sum over all processes that are watched, so that a server with workers counts as one; the difference
//! of two readings is what happened in between. CPU time is the scheduler's own, in nanoseconds, where the kernel keeps
//! it (`schedstat`); its division into user and system comes in ticks of 10 ms. Sizes are bytes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Who is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Process numbers.
    pub pids: Vec<u32>,
}

/// Why nobody is watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No such process, or none that may be read.
    #[error("process {0} cannot be read: {1}")]
    Unreadable(u32, io::Error),
    /// No process of that name.
    #[error("no process is called '{0}'")]
    NoSuchName(String),
}

/// One thread's time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// Its name.
    pub name: String,
    /// Nanoseconds on a CPU.
    pub cpu_ns: u64,
    /// Nanoseconds that it was ready and waited for one.
    pub wait_ns: u64,
}

/// A reading; counters count since the processes began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds on a CPU, of threads that still live.
    pub threads: BTreeMap<u32, ThreadTime>,
    /// Ticks in user mode, of all threads that ever were.
    pub user_ticks: u64,
    /// Ticks in the kernel.
    pub system_ticks: u64,
    /// Resident memory.
    pub rss: u64,
    /// Resident memory that is the process's own.
    pub rss_anon: u64,
    /// Times that threads waited for something.
    pub voluntary: u64,
    /// Times that threads were put off a CPU.
    pub involuntary: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// What happened between two readings.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Seconds between the readings.
    pub seconds: f64,
    /// Milliseconds on a CPU.
    pub cpu_ms: f64,
    /// Of these, in user mode.
    pub user_ms: f64,
    /// In the kernel.
    pub system_ms: f64,
    /// Context switches, waiting.
    pub voluntary: u64,
    /// Context switches, put off.
    pub involuntary: u64,
    /// Percent of a CPU by thread, the busiest first: name, busy, waiting for a CPU.
    pub threads: Vec<(String, f64, f64)>,
}

impl Watch {
    /// These processes.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn pids(pids: &[u32]) -> Result<Self, WatchError> {
        for &pid in pids {
            read_process(&folder(pid), &mut Reading::default())
                .map_err(|error| WatchError::Unreadable(pid, error))?;
        }
        Ok(Self { pids: pids.to_vec() })
    }

    /// All processes of this name, workers included.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self, WatchError> {
        let entries = fs::read_dir("/proc").map_err(|_| WatchError::NoSuchName(name.to_owned()))?;
        let mut pids: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != std::process::id() && is_called(*pid, name))
            .collect();
        pids.sort_unstable();
        if pids.is_empty() { Err(WatchError::NoSuchName(name.to_owned())) } else { Ok(Self { pids }) }
    }

    /// This very process.
    pub fn own() -> Self {
        Self { pids: vec![std::process::id()] }
    }

    /// Whether nobody is watched.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// Now. A process that has ended adds nothing.
    pub fn read(&self) -> Reading {
        let mut reading = Reading::default();
        for &pid in &self.pids {
            let mut one = Reading::default();
            if read_process(&folder(pid), &mut one).is_ok() {
                reading.add(one);
            }
        }
        reading
    }

    /// The lowest limit of descriptors among the processes.
    pub fn descriptors_max(&self) -> Option<u64> {
        let limits = self.pids.iter().filter_map(|pid| fs::read_to_string(folder(*pid).join("limits")).ok());
        limits.filter_map(|text| parse_descriptors_max(&text)).min()
    }
}

fn folder(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// By the kernel's name, which ends after 15 characters, or by the executable's.
fn is_called(pid: u32, name: &str) -> bool {
    let comm = fs::read_to_string(folder(pid).join("comm")).unwrap_or_default();
    let executable = fs::read_link(folder(pid).join("exe")).ok();
    let file = executable.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    comm.trim_end() == name || file == Some(name)
}

fn read_process(folder: &Path, reading: &mut Reading) -> io::Result<()> {
    let stat = fs::read_to_string(folder.join("stat"))?;
    (reading.user_ticks, reading.system_ticks) = parse_stat(&stat).unwrap_or_default();
    let status = fs::read_to_string(folder.join("status"))?;
    reading.rss = parse_kib(&status, "VmRSS:");
    reading.rss_anon = parse_kib(&status, "RssAnon:");
    reading.descriptors = descriptors(&folder.join("fd"));
    for entry in fs::read_dir(folder.join("task"))?.flatten() {
        let path = entry.path();
        let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A thread may end while it is read.
        let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
        let schedstat = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let (cpu_ns, wait_ns) = parse_schedstat(&schedstat).unwrap_or_default();
        reading.voluntary += parse_number(&status, "voluntary_ctxt_switches:");
        reading.involuntary += parse_number(&status, "nonvoluntary_ctxt_switches:");
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default().trim_end().to_owned();
        reading.threads.insert(tid, ThreadTime { name, cpu_ns, wait_ns });
    }
    Ok(())
}

/// Linux 6.2 and later tell the number as the folder's size, which spares counting ten thousand entries. Other users'
/// processes hide theirs: 0.
fn descriptors(folder: &Path) -> u64 {
    match fs::metadata(folder).map(|folder| folder.len()) {
        Ok(0) => fs::read_dir(folder).map_or(0, |entries| entries.count() as u64),
        told => told.unwrap_or(0),
    }
}

impl Reading {
    fn add(&mut self, other: Self) {
        self.threads.extend(other.threads);
        self.user_ticks += other.user_ticks;
        self.system_ticks += other.system_ticks;
        self.rss += other.rss;
        self.rss_anon += other.rss_anon;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.descriptors += other.descriptors;
    }

    /// Ticks are this long.
    fn tick_ms() -> f64 {
        1e3 / rustix::param::clock_ticks_per_second().max(1) as f64
    }

    /// What happened since an `earlier` reading, `seconds` ago.
    pub fn since(&self, earlier: &Self, seconds: f64) -> Usage {
        let tick = Self::tick_ms();
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64 * tick;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64 * tick;
        let share = |ns: u64| ns as f64 / (seconds.max(1e-9) * 1e7);
        let mut cpu_ns = 0;
        let mut threads = Vec::new();
        for (tid, thread) in &self.threads {
            let before = earlier.threads.get(tid).cloned().unwrap_or_default();
            let cpu = thread.cpu_ns.saturating_sub(before.cpu_ns);
            cpu_ns += cpu;
            let wait = thread.wait_ns.saturating_sub(before.wait_ns);
            threads.push((thread.name.clone(), share(cpu), share(wait)));
        }
        threads.sort_by(|one, other| other.1.total_cmp(&one.1));
        // Threads that ended in between are in the ticks alone; a kernel without schedstat has ticks alone.
        let vanished = earlier.threads.keys().any(|tid| !self.threads.contains_key(tid));
        let precise = cpu_ns as f64 / 1e6;
        let cpu_ms = if vanished || cpu_ns == 0 { precise.max(user + system) } else { precise };
        // The division is by ticks, the sum is precise.
        let scale = if user + system > 0.0 { cpu_ms / (user + system) } else { 1.0 };
        Usage {
            seconds,
            cpu_ms,
            user_ms: user * scale,
            system_ms: system * scale,
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
            threads,
        }
    }
}

impl Usage {
    /// Percent of one CPU.
    pub fn percent(&self) -> f64 {
        self.cpu_ms / (self.seconds.max(1e-9) * 10.0)
    }
}

/// `utime` and `stime` of /proc/PID/stat. The name in it may hold anything, brackets too.
pub fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Time on a CPU and time waiting for one, of /proc/PID/schedstat.
pub fn parse_schedstat(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn parse_number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn parse_kib(status: &str, name: &str) -> u64 {
    parse_number(status, name) * 1024
}

fn parse_descriptors_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => None,
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_that_looks_like_the_rest_of_it() {
        let text = "4242 (a b) S 1) (x) R 1 2 3 4 5 6 7 8 9 10 777 88 0 0 20 0 3 0 100 1 2";
        assert_eq!(parse_stat(text), Some((777, 88)));
        assert_eq!(parse_stat("4242 (x) R 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn status_schedstat_and_limits_are_read() {
        let status = "Name:\tx\nVmRSS:\t  1024 kB\nRssAnon:\t     512 kB\nvoluntary_ctxt_switches:\t7\n\
                      nonvoluntary_ctxt_switches:\t9\n";
        assert_eq!((parse_kib(status, "VmRSS:"), parse_kib(status, "RssAnon:")), (1 << 20, 512 << 10));
        assert_eq!(parse_number(status, "voluntary_ctxt_switches:"), 7);
        assert_eq!(parse_number(status, "nonvoluntary_ctxt_switches:"), 9);
        assert_eq!(parse_number(status, "Threads:"), 0);
        assert_eq!(parse_schedstat("123456789 42 7\n"), Some((123_456_789, 42)));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(parse_descriptors_max(limits), Some(1_024));
    }

    #[test]
    fn this_process_can_be_watched() {
        let watch = Watch::own();
        let before = watch.read();
        let start = std::time::Instant::now();
        let mut sum = 0_u64;
        while start.elapsed().as_millis() < 60 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = watch.read();
        let usage = after.since(&before, start.elapsed().as_secs_f64());
        assert!(usage.cpu_ms > 5.0, "{usage:?}");
        assert!(after.rss > 1 << 20 && after.descriptors >= 3 && !after.threads.is_empty());
        assert!((usage.user_ms + usage.system_ms - usage.cpu_ms).abs() < 1e-6 || usage.user_ms == 0.0);
        assert!(Watch::pids(&[u32::MAX]).is_err() && Watch::named("no such process").is_err());
    }

    #[test]
    fn a_thread_that_ended_is_not_forgotten() {
        let thread = |cpu_ns| ThreadTime { name: "t".to_owned(), cpu_ns, wait_ns: 0 };
        let threads = |list: &[(u32, u64)]| list.iter().map(|(tid, ns)| (*tid, thread(*ns))).collect();
        let earlier =
            Reading { threads: threads(&[(1, 100), (2, 100)]), user_ticks: 10, ..Reading::default() };
        let later = Reading { threads: threads(&[(1, 1_000_100)]), user_ticks: 30, ..Reading::default() };
        let usage = later.since(&earlier, 1.0);
        assert!((usage.cpu_ms - 20.0 * Reading::tick_ms()).abs() < 1e-9, "{usage:?}");
    }
}
