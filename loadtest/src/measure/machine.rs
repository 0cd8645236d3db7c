//! The machine: what it is, what its kernel dropped, and the limits that a run needs raised.

use std::{collections::BTreeMap, fs, io};

/// What a report says of the machine.
pub fn describe() -> String {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpuinfo = line("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let plural = if cores == 1 { "" } else { "s" };
    let model = if model.is_empty() { String::new() } else { format!(" ({model})") };
    format!("{cores} core{plural}{model}, Linux {}", line("/proc/sys/kernel/osrelease"))
}

/// Counters of the whole machine's network stack and CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    counters: BTreeMap<&'static str, u64>,
    /// Ticks of all CPUs: all, and idle.
    ticks: (u64, u64),
}

/// Counters of /proc/net/netstat that tell of connections that were lost, and what to do.
const WATCHED: [(&str, &str); 4] = [
    (
        "ListenOverflows",
        "accept queues overflowed: raise net.core.somaxconn and the server's backlog, or lower --ramp",
    ),
    ("TCPBacklogDrop", "sockets dropped packets because their owner was too slow"),
    ("TCPMemoryPressures", "TCP came under memory pressure: raise net.ipv4.tcp_mem"),
    ("TCPTimeouts", "packets had to be sent again after a time-out"),
];

/// Counters of /proc/net/snmp's `Udp:` lines.
const WATCHED_UDP: [(&str, &str); 2] = [
    (
        "RcvbufErrors",
        "datagrams were dropped because their reader was too slow: raise net.core.rmem_max, or --threads",
    ),
    ("SndbufErrors", "datagrams were dropped because their sender's buffer was full"),
];

impl Kernel {
    /// Now; what cannot be read is 0.
    pub fn read() -> Self {
        let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let snmp = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
        // UDP-Lite has counters of the same names, below.
        let udp: String =
            snmp.lines().filter(|line| line.starts_with("Udp:")).map(|line| format!("{line}\n")).collect();
        let from = |text: &str, name| parse_netstat(text, name).unwrap_or(0);
        let tcp = WATCHED.iter().map(|(name, _)| (*name, from(&netstat, name)));
        let counters = tcp.chain(WATCHED_UDP.iter().map(|(name, _)| (*name, from(&udp, name)))).collect();
        Self { counters, ticks: parse_cpu(&stat).unwrap_or_default() }
    }

    /// What went wrong on this machine since an `earlier` reading: counter, how often, what to do.
    pub fn complaints(&self, earlier: &Self) -> Vec<(&'static str, u64, &'static str)> {
        let since = |name| {
            let of = |kernel: &Self| kernel.counters.get(name).copied().unwrap_or(0);
            of(self).saturating_sub(of(earlier))
        };
        WATCHED
            .iter()
            .chain(&WATCHED_UDP)
            .map(|(name, what)| (*name, since(name), *what))
            .filter(|(_, count, _)| *count > 0)
            .collect()
    }

    /// Percent of all CPUs that were busy since an `earlier` reading.
    pub fn busy_percent(&self, earlier: &Self) -> f64 {
        let all = self.ticks.0.saturating_sub(earlier.ticks.0);
        let idle = self.ticks.1.saturating_sub(earlier.ticks.1);
        if all == 0 { f64::NAN } else { all.saturating_sub(idle) as f64 * 100.0 / all as f64 }
    }
}

/// A counter of /proc/net/netstat, whose lines come in pairs: names, then values.
pub fn parse_netstat(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let found = names.split_whitespace().zip(values.split_whitespace()).find(|(known, _)| *known == name);
        if let Some((_, value)) = found {
            return value.parse().ok();
        }
    }
    None
}

/// All ticks and idle ones, of the first line of /proc/stat.
fn parse_cpu(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; what follows is contained in user.
    let fields: Vec<u64> = line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((fields.iter().sum(), idle))
}

/// Makes room for `need` descriptors.
///
/// # Errors
/// With what to change, when the system does not allow it.
pub fn raise_descriptors(need: u64) -> Result<(), String> {
    let resource = rlimit::Resource::NOFILE;
    let told = |error: io::Error| format!("the limit of descriptors cannot be read: {error}");
    let (soft, hard) = resource.get().map_err(told)?;
    if soft >= need {
        return Ok(());
    }
    if hard >= need && resource.set(need, hard).is_ok() {
        return Ok(());
    }
    // The superuser may raise the hard limit, up to fs.nr_open.
    if resource.set(need, need.max(hard)).is_ok() {
        return Ok(());
    }
    let ceiling = fs::read_to_string("/proc/sys/fs/nr_open").unwrap_or_default();
    Err(format!(
        "{need} descriptors are needed and {hard} are allowed: raise the hard limit (`ulimit -Hn {need}`, LimitNOFILE= of \
         a systemd unit, --ulimit nofile of a container; fs.nr_open is {})",
        ceiling.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_network_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 12 13\nIpExt: InNoRoutes\nIpExt: 4\n";
        assert_eq!(parse_netstat(text, "ListenOverflows"), Some(12));
        assert_eq!(parse_netstat(text, "InNoRoutes"), Some(4));
        assert_eq!(parse_netstat(text, "Nothing"), None);
        assert_eq!(parse_netstat("TcpExt: A", "A"), None);
    }

    #[test]
    fn the_machines_cpus_are_busy_by_their_ticks() {
        assert_eq!(parse_cpu("cpu  10 0 20 60 5 1 2 2 9 9\ncpu0 1 1"), Some((100, 65)));
        assert_eq!(parse_cpu("intr 1"), None);
        let at = |all, idle| Kernel { ticks: (all, idle), ..Kernel::default() };
        assert!((at(300, 100).busy_percent(&at(100, 50)) - 75.0).abs() < 1e-9);
        assert!(at(1, 1).busy_percent(&at(1, 1)).is_nan());
    }

    #[test]
    fn limits_are_raised_or_the_way_to_raise_them_is_told() {
        assert_eq!(raise_descriptors(16), Ok(()));
        let refused = raise_descriptors(u64::MAX - 1).expect_err("no machine has so many");
        assert!(refused.contains("ulimit -Hn"), "{refused}");
    }

    #[test]
    fn what_went_wrong_comes_with_what_to_do() {
        let at = |count| Kernel { counters: [("ListenOverflows", count)].into(), ticks: (0, 0) };
        let told = at(9).complaints(&at(2));
        assert_eq!((told.len(), told[0].1), (1, 7));
        assert!(told[0].2.contains("somaxconn"));
        assert!(describe().contains("Linux"));
    }
}
