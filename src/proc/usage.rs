//! What the process has used, as `getrusage` counts it. Times are microseconds, memory is kB.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The fields of `struct rusage` (getrusage(2)), in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In user mode.
    pub user_us: i64,
    /// In the kernel.
    pub system_us: i64,
    /// `ru_maxrss` to `ru_nivcsw`.
    pub counters: [i64; 14],
}

/// The names of [`Usage::counters`].
pub const COUNTERS: [&str; 14] = [
    "ru_maxrss",
    "ru_ixrss",
    "ru_idrss",
    "ru_isrss",
    "ru_minflt",
    "ru_majflt",
    "ru_nswap",
    "ru_inblock",
    "ru_oublock",
    "ru_msgsnd",
    "ru_msgrcv",
    "ru_nsignals",
    "ru_nvcsw",
    "ru_nivcsw",
];

impl Usage {
    /// Of this process, until now.
    pub fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        Self {
            user_us: usage.user_time().num_microseconds(),
            system_us: usage.system_time().num_microseconds(),
            counters: [
                usage.max_rss(),
                usage.shared_integral(),
                usage.unshared_data_integral(),
                usage.unshared_stack_integral(),
                usage.minor_page_faults(),
                usage.major_page_faults(),
                usage.full_swaps(),
                usage.block_reads(),
                usage.block_writes(),
                usage.ipc_sends(),
                usage.ipc_receives(),
                usage.signals(),
                usage.voluntary_context_switches(),
                usage.involuntary_context_switches(),
            ],
        }
    }

    /// All counters with their names.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, i64)> {
        COUNTERS.into_iter().zip(self.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_has_used_something() {
        let usage = Usage::now();
        assert!(usage.user_us + usage.system_us > 0);
        assert!(usage.fields().any(|(name, value)| name == "ru_maxrss" && value > 1_000));
    }
}
