//! Progress while a run goes on: one line that changes, on standard error, and only where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{engine::Progress, units::Unit};

/// The line.
pub struct Line {
    bar: ProgressBar,
}

impl Line {
    /// For a run called `name`; `quiet` shows nothing.
    pub fn new(name: &str, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        let bar = ProgressBar::with_draw_target(Some(1_000), target);
        let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}");
        // The template is a constant that a test reads.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_prefix(name.to_owned());
        Self { bar }
    }

    /// Shows what is known.
    pub fn show(&self, progress: &Progress) {
        let (now, all) = progress.seconds;
        self.bar.set_position((now * 1e3 / all.max(1e-9)).clamp(0.0, 1e3) as u64);
        self.bar.set_message(sentence(progress));
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn sentence(progress: &Progress) -> String {
    let point = &progress.point;
    let (now, all) = progress.seconds;
    let time = |seconds: f64| format!("{:?}", Duration::from_secs(seconds as u64));
    let mut text = format!("{} {}/{}", progress.phase, time(now), time(all));
    text += &format!(" | {} of {} play", progress.playing, progress.started);
    for (count, what) in [(progress.failed, "failed"), (progress.died, "died")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if point.seconds > 0.0 {
        text += &format!(" | {}", Unit::Bits.show(point.bits));
        if point.latency_p50.is_finite() {
            text += &format!(
                " | p50 {} p99 {}",
                Unit::Millis.show(point.latency_p50),
                Unit::Millis.show(point.latency_p99)
            );
        }
        text +=
            &format!(" | server {:.0} % tool {:.0} %", point.server_user + point.server_system, point.tool);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Point;

    #[test]
    fn a_line_tells_what_is_known() {
        assert!(ProgressStyle::with_template("{prefix} {bar:24} {msg}").is_ok());
        let point = Point { seconds: 1.0, bits: 2e6, latency_p50: 1.0, latency_p99: 2.0, ..Point::default() };
        let progress = Progress {
            phase: "measuring",
            seconds: (3.0, 20.0),
            started: 9,
            playing: 8,
            died: 1,
            point,
            failed: 0,
        };
        assert_eq!(
            sentence(&progress),
            "measuring 3s/20s | 8 of 9 play, 1 died | 2.00 Mbit/s | p50 1.00 ms p99 2.00 ms | server 0 % tool 0 %"
        );
    }
}
