//! `/proc/meminfo`, in kB.

use super::ratio;

/// Memory of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What nothing uses.
    pub free: u64,
    /// What files' blocks and
    pub buffers: u64,
    /// contents hold, and would give back.
    pub cached: u64,
    /// All swap there is.
    pub swap_total: u64,
    /// What of it nothing uses.
    pub swap_free: u64,
}

impl Memory {
    /// Reads the file.
    pub fn parse(text: &str) -> Self {
        let field = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        Self {
            total: field("MemTotal"),
            free: field("MemFree"),
            buffers: field("Buffers"),
            cached: field("Cached"),
            swap_total: field("SwapTotal"),
            swap_free: field("SwapFree"),
        }
    }

    /// What is not free.
    pub fn active(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// What programs use.
    pub fn in_use(&self) -> u64 {
        self.active().saturating_sub(self.buffers + self.cached)
    }

    /// What programs could still have.
    pub fn not_in_use(&self) -> u64 {
        self.total.saturating_sub(self.in_use())
    }

    /// The share of memory that programs use.
    pub fn share(&self) -> f64 {
        ratio(self.in_use(), self.total)
    }

    /// The share of swap that is in use.
    pub fn swap_share(&self) -> f64 {
        ratio(self.swap_total.saturating_sub(self.swap_free), self.swap_total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_use_is_what_is_neither_free_nor_cached() {
        let text = "MemTotal:  1000 kB\nMemFree:  300 kB\nMemAvailable: 600 kB\nBuffers: 50 kB\nCached: 250 kB\n\
                    SwapCached: 9 kB\nSwapTotal: 400 kB\nSwapFree: 100 kB\n";
        let memory = Memory::parse(text);
        assert_eq!((memory.active(), memory.in_use(), memory.not_in_use()), (700, 400, 600));
        assert_eq!((memory.share(), memory.swap_share()), (0.4, 0.75));
        assert_eq!(Memory::parse("MemTotal: lots\n").share(), 0.0);
    }
}
