//! What disks do: `/proc/vmstat` counts what is read and written, `/proc/diskstats` how long each disk was busy.

use std::time::Duration;

/// Counters, and what came of them since the sample before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disk {
    /// kB since the machine began.
    read: u64,
    written: u64,
    /// Milliseconds with something to do, of each whole disk.
    busy: Vec<(String, u64)>,
    /// kB a second.
    pub read_rate: u64,
    /// kB a second.
    pub write_rate: u64,
    /// The share of the time in which the busiest disk had something to do.
    pub busy_share: f64,
}

impl Disk {
    /// Reads both files.
    pub fn parse(vmstat: &str, diskstats: &str) -> Self {
        let field = |name: &str| -> u64 {
            let line = vmstat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
        };
        let disks = diskstats.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(2);
            let name =
                words.next().filter(|name| !["loop", "ram", "zram"].iter().any(|no| name.starts_with(no)))?;
            // The tenth counter behind the name.
            Some((name.to_owned(), words.nth(9)?.parse().ok()?))
        });
        Self { read: field("pgpgin"), written: field("pgpgout"), busy: disks.collect(), ..Self::default() }
    }

    /// What happened since `before`, which was so long ago.
    pub(super) fn compare(&mut self, before: &Self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds) as u64;
        self.read_rate = rate(self.read, before.read);
        self.write_rate = rate(self.written, before.written);
        let shares = self.busy.iter().filter_map(|(name, busy)| {
            let (_, then) = before.busy.iter().find(|(known, _)| known == name)?;
            Some(busy.saturating_sub(*then) as f64 / 1_000.0 / seconds)
        });
        self.busy_share = shares.fold(0.0, f64::max).min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(read: u64, busy: u64) -> Disk {
        let vmstat = format!("nr_free_pages 1\npgpgin {read}\npgpgout {}\n", 2 * read);
        let diskstats = format!(
            "   7       0 loop0 1 0 2 3 0 0 0 0 0 90000 0\n   8       0 sda 1 2 3 4 5 6 7 8 0 {busy} 10 0 0 0 0\n cut"
        );
        Disk::parse(&vmstat, &diskstats)
    }

    #[test]
    fn rates_are_those_between_two_samples() {
        let mut now = disk(3_000, 1_500);
        now.compare(&disk(1_000, 500), Duration::from_secs(2));
        assert_eq!((now.read_rate, now.write_rate, now.busy_share), (1_000, 2_000, 0.5));
    }

    #[test]
    fn what_is_missing_is_zero() {
        let mut none = Disk::parse("", "");
        none.compare(&disk(5, 5), Duration::ZERO);
        assert_eq!((none.read_rate, none.busy_share), (0, 0.0));
    }
}
