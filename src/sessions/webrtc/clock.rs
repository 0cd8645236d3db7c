//! The times of a WebRTC publisher's lines on one clock.
//!
//! Each line (a section of the SDP, or a layer of one) counts RTP ticks from a number of its own. Until it is known better, a
//! line's first frame is taken to be of the moment at which it arrived. RTCP sender reports then tell which tick belongs to
//! which moment of the sender's wall clock (RFC 3550 §6.4.1), and so how the lines belong together: each line is moved
//! towards the first line's clock, slowly enough that nobody sees or hears it, for as long as the session lasts. So drift
//! between the sender's clocks is followed, too.
//! Units: microseconds.

use shards::media::Timestamp;

/// A line that is off by more than this is moved at once.
const JUMP: i64 = 400_000;
/// Otherwise by at most one part in this of the time that passes.
const SLEW: i64 = 50;
/// Reports by which lines would be further apart than this are not about one wall clock.
const NONSENSE: i64 = 30_000_000;
/// How much a new report counts beside those before it: one part in this.
const SMOOTHING: i64 = 4;

/// One line.
#[derive(Clone, Copy, Debug)]
struct Line {
    hz: u32,
    /// Added to the line's own time; `None` before its first frame.
    offset: Option<i64>,
    /// The sender's wall clock minus the line's own time, as its reports say.
    wall: Option<i64>,
    /// The own time of the newest frame.
    newest: i64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    lines: Vec<Line>,
}

impl Clocks {
    /// One more line, of `hz` ticks a second; its number. The first with a frame is what others are moved to.
    pub fn add(&mut self, hz: u32) -> usize {
        self.lines.push(Line { hz: hz.max(1), offset: None, wall: None, newest: 0 });
        self.lines.len() - 1
    }

    /// The time of a frame of `line` at `ticks`, which arrived so long after the session's start.
    pub fn place(&mut self, line: usize, ticks: u64, arrived: Timestamp) -> Timestamp {
        let target = self.target(line);
        let Some(line) = self.lines.get_mut(line) else { return arrived };
        let own = own_time(ticks, line.hz);
        let offset = match (line.offset, target) {
            (None, target) => target.unwrap_or(arrived.micros().saturating_sub(own)),
            (Some(offset), None) => offset,
            (Some(offset), Some(target)) => {
                let error = target.saturating_sub(offset);
                let step = (own.saturating_sub(line.newest)).clamp(0, 1_000_000) / SLEW;
                match error.saturating_abs() > JUMP {
                    true => target,
                    false => offset.saturating_add(error.clamp(-step, step)),
                }
            }
        };
        line.offset = Some(offset);
        line.newest = line.newest.max(own);
        Timestamp::from_micros(own.saturating_add(offset))
    }

    /// A sender report: at `wall` of the sender's clock the line stood at `ticks`.
    pub fn report(&mut self, line: usize, ticks: u64, wall: i64) {
        let Some(line) = self.lines.get_mut(line) else { return };
        let said = wall.saturating_sub(own_time(ticks, line.hz));
        line.wall = Some(match line.wall {
            Some(before) if said.saturating_sub(before).saturating_abs() < JUMP => {
                before + (said - before) / SMOOTHING
            }
            _ => said,
        });
    }

    /// The offset that would put `line` where its reports and those of the first line say.
    fn target(&self, line: usize) -> Option<i64> {
        let first = self.lines.iter().position(|line| line.offset.is_some())?;
        if first == line {
            return None;
        }
        let (first, line) = (self.lines.get(first)?, self.lines.get(line)?);
        let target = first.offset?.saturating_add(line.wall?.saturating_sub(first.wall?));
        let apart = line.offset.map_or(0, |offset| target.saturating_sub(offset).saturating_abs());
        (apart < NONSENSE).then_some(target)
    }
}

fn own_time(ticks: u64, hz: u32) -> i64 {
    Timestamp::from_ticks(i64::try_from(ticks).unwrap_or(i64::MAX / 2), hz).micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: u64 = 4_000_000_000;
    const AUDIO: u64 = 77_777;

    fn micros(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A sender whose sound arrives 150 ms before its picture of the same moment, and whose sound clock is fast by
    /// `drift` parts in a million, for so many seconds; how far they are apart at the end.
    fn apart_after(secs: i64, drift: i64, with_reports: bool) -> i64 {
        let mut clocks = Clocks::default();
        let (video, audio) = (clocks.add(90_000), clocks.add(48_000));
        let mut last = (0, 0);
        for ms in (0..secs * 1_000).step_by(20) {
            let audio_ticks = AUDIO + (ms * 48 + ms * 48 * drift / 1_000_000) as u64;
            let heard = clocks.place(audio, audio_ticks, micros(ms)).micros();
            let seen = clocks.place(video, VIDEO + (ms * 90) as u64, micros(ms + 150)).micros();
            if with_reports && ms % 1_000 == 0 {
                let wall = 1_700_000_000_000_000 + ms * 1_000;
                clocks.report(audio, audio_ticks, wall);
                clocks.report(video, VIDEO + (ms * 90) as u64, wall);
            }
            last = (seen, heard);
        }
        (last.0 - last.1).abs()
    }

    #[test]
    fn reports_bring_sound_and_picture_together() {
        assert!(apart_after(20, 0, false) >= 149_000, "without them they stay as they arrived");
        assert!(apart_after(20, 0, true) < 2_000);
    }

    #[test]
    fn a_day_of_drift_is_followed() {
        let apart = apart_after(24 * 3_600, 100, true);
        assert!(apart < 2_000, "{apart} us");
    }

    #[test]
    fn nothing_steps_while_it_is_corrected() {
        let mut clocks = Clocks::default();
        let (video, audio) = (clocks.add(90_000), clocks.add(48_000));
        let mut before = None;
        for ms in (0..10_000).step_by(20) {
            clocks.place(video, VIDEO + (ms * 90) as u64, micros(ms));
            let at = clocks.place(audio, AUDIO + (ms * 48) as u64, micros(ms + 100)).micros();
            if let Some(before) = before.replace(at) {
                let step: i64 = at - before;
                assert!((19_000..=21_000).contains(&step), "{step} us at {ms} ms");
            }
            if ms == 1_000 {
                clocks.report(video, VIDEO + (ms * 90) as u64, 5_000_000);
                clocks.report(audio, AUDIO + (ms * 48) as u64, 5_000_000);
            }
        }
    }

    #[test]
    fn reports_that_make_no_sense_change_nothing() {
        let mut clocks = Clocks::default();
        let (video, audio) = (clocks.add(90_000), clocks.add(48_000));
        clocks.place(video, 0, micros(0));
        clocks.place(audio, 0, micros(0));
        clocks.report(video, 0, i64::MAX);
        clocks.report(audio, u64::MAX, i64::MIN);
        assert_eq!(clocks.place(audio, 960, micros(20)), micros(20));
    }
}
