//! `/proc/self/stat` and the line of all processors in `/proc/stat` (proc(5)). Times are ticks of the clock.

/// The fields of `/proc/self/stat` behind `state`, in their order.
pub const FIELDS: [&str; 41] = [
    "ppid",
    "pgrp",
    "session",
    "tty_nr",
    "tpgid",
    "flags",
    "minflt",
    "cminflt",
    "majflt",
    "cmajflt",
    "utime",
    "stime",
    "cutime",
    "cstime",
    "priority",
    "nice",
    "num_threads",
    "itrealvalue",
    "starttime",
    "vsize",
    "rss",
    "rsslim",
    "startcode",
    "endcode",
    "startstack",
    "kstkesp",
    "kstkeip",
    "signal",
    "blocked",
    "sigignore",
    "sigcatch",
    "wchan",
    "nswap",
    "cnswap",
    "exit_signal",
    "processor",
    "rt_priority",
    "policy",
    "delayacct_blkio_ticks",
    "guest_time",
    "cguest_time",
];

/// A process as the system sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfStat {
    pid: u64,
    /// The name of its program, at most 15 characters.
    pub comm: String,
    /// What it does: `R`, `S` …
    pub state: String,
    /// Numbers by [`FIELDS`]; some are negative, one uses all 64 bits.
    values: Vec<i128>,
}

impl SelfStat {
    /// Reads the file. The name may hold anything, parentheses and spaces included.
    pub fn parse(text: &str) -> Self {
        let Some((head, rest)) = text.rsplit_once(')') else { return Self::default() };
        let Some((pid, comm)) = head.split_once('(') else { return Self::default() };
        let mut words = rest.split_whitespace();
        let state = words.next().unwrap_or_default().to_owned();
        let values = words.map(|word| word.parse().unwrap_or_default()).take(FIELDS.len()).collect();
        Self { pid: pid.trim().parse().unwrap_or_default(), comm: comm.to_owned(), state, values }
    }

    /// All numbers with their names, the process's own first. A kernel that has fewer leaves zeros.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, i128)> + '_ {
        let values = self.values.iter().copied().chain(std::iter::repeat(0));
        std::iter::once(("pid", i128::from(self.pid))).chain(FIELDS.into_iter().zip(values))
    }

    /// One of them, as far as it is positive.
    pub fn number(&self, name: &str) -> u64 {
        let value = self.fields().find(|(field, _)| *field == name).map_or(0, |(_, value)| value);
        u64::try_from(value).unwrap_or_default()
    }

    /// Processor time in user mode and in the kernel.
    pub fn cpu_ticks(&self) -> u64 {
        self.number("utime") + self.number("stime")
    }

    /// Pages in memory.
    pub fn resident_pages(&self) -> u64 {
        self.number("rss")
    }
}

/// The fields of the line `cpu` of `/proc/stat`, in their order.
pub const CPU_FIELDS: [&str; 9] =
    ["user", "nice", "sys", "idle", "iowait", "irq", "softirq", "steal", "guest"];

/// What all processors did since the machine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemStat([u64; 9]);

impl SystemStat {
    /// Reads the file.
    pub fn parse(text: &str) -> Self {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
        let mut values = [0; 9];
        for (value, word) in values.iter_mut().zip(line.unwrap_or_default().split_whitespace()) {
            *value = word.parse().unwrap_or_default();
        }
        Self(values)
    }

    /// All numbers with their names.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CPU_FIELDS.into_iter().zip(self.0)
    }

    /// All time; guests' is within users'.
    pub fn total(&self) -> u64 {
        self.0[..8].iter().sum()
    }

    /// Time in which there was nothing to do but wait.
    pub fn idle_total(&self) -> u64 {
        self.0[3] + self.0[4]
    }
}

/// How many processors `/proc/stat` lists: those that are on.
pub fn cpus(text: &str) -> u32 {
    let is_one = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    u32::try_from(text.lines().filter(is_one).count()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4321 (shard (x) 1) S 1 4321 4321 0 -1 4194560 1500 0 3 0 250 120 0 0 20 0 9 0 5678 \
         104857600 12800 18446744073709551615 1 2 3 4 5 6 7 8 9 10 11 12 17 1 0 0 2 0 0 13 14 15 16 17 18 19 0\n";

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = SelfStat::parse(STAT);
        assert_eq!((stat.comm.as_str(), stat.state.as_str()), ("shard (x) 1", "S"));
        assert_eq!(stat.fields().count(), 42);
        assert_eq!(stat.fields().nth(5), Some(("tpgid", -1)));
        assert_eq!((stat.cpu_ticks(), stat.resident_pages()), (370, 12_800));
        assert_eq!(stat.number("rsslim"), u64::MAX);
        assert_eq!((stat.number("processor"), stat.number("cguest_time")), (1, 0));
    }

    #[test]
    fn what_is_cut_or_strange_leaves_zeros() {
        for cut in 0..STAT.len() {
            assert_eq!(SelfStat::parse(&STAT[..cut]).fields().count(), 42, "cut at {cut}");
        }
        assert_eq!(SystemStat::parse("cpu x 2\n").total(), 2);
        assert_eq!(SystemStat::parse(""), SystemStat::default());
    }

    #[test]
    fn processors_are_summed_and_counted() {
        let text =
            "cpu  10 1 5 100 4 0 2 3 1 0\ncpu0 5 0 2 50 2 0 1 1 0 0\ncpu1 5 1 3 50 2 0 1 2 1 0\nintr 5\n";
        let stat = SystemStat::parse(text);
        assert_eq!((stat.total(), stat.idle_total(), cpus(text)), (125, 104, 2));
        assert_eq!(stat.fields().last(), Some(("guest", 1)));
    }
}
