//! What a parsed player learns from its media: how old pictures are, what is missing, what comes late or in disorder.
//!
//! Invariant: constant size. Times are nanoseconds on [`crate::clock`].

use shardcast::protocols::rtmp::{Media, MediaKind};

use crate::{
    media::marker::Marker,
    stats::{Live, Tally},
};

/// Messages without a keyframe after which there will be none: sound alone.
const KEYLESS_MAX: u32 = 100;

/// A picture that stays for longer than this is frozen.
pub const FREEZE_NS: u64 = 200_000_000;

/// What all inspectors of a run share.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The run that markers are expected of; `None` takes any.
    pub run: Option<u64>,
    /// Steady from here.
    pub open_ns: u64,
    /// To here.
    pub close_ns: u64,
    /// Silence of more than this is a stall.
    pub stall_ns: u64,
    /// Slow players do not read from here to there.
    pub trouble_ns: Option<(u64, u64)>,
}

impl Terms {
    /// Whether `now` lies in the steady window.
    pub const fn in_window(&self, now: u64) -> bool {
        self.open_ns <= now && now < self.close_ns
    }
}

/// One player's memory.
#[derive(Debug, Default)]
pub struct Inspector {
    /// When the player asked.
    asked_ns: u64,
    last_arrival: Option<u64>,
    last_picture: Option<u64>,
    /// Of sound and of pictures.
    last_time: [Option<u32>; 2],
    messages: u32,
    has_key: bool,
    /// The newest picture's time in milliseconds, and when it was sent.
    last_sent: Option<(u32, u64)>,
    /// When the last picture was shown, and its time on the media's clock in microseconds.
    last_shown: Option<(u64, u64)>,
    /// How far pictures come from their rhythm (RFC 3550 section 6.4.1), nanoseconds.
    jitter: f64,
}

impl Inspector {
    /// For a player that called `connect()` at `asked_ns`.
    pub fn new(asked_ns: u64) -> Self {
        Self { asked_ns, ..Self::default() }
    }

    /// Whether the first keyframe is here, or will never be.
    pub fn has_begun(&self) -> bool {
        self.has_key || self.messages > KEYLESS_MAX
    }

    /// Media arrived: once for each time that the socket was read.
    pub fn arrival(&mut self, now: u64, terms: &Terms, tally: &mut Tally) {
        if let Some(last) = self.last_arrival.replace(now)
            && terms.in_window(now)
        {
            let gap = now.saturating_sub(last);
            tally.gap.record_ns(gap);
            tally.stalls += u64::from(gap > terms.stall_ns);
        }
    }

    /// Looks at a message until the first keyframe; that is all an unparsed player does.
    pub fn first(&mut self, media: &Media, now: u64, tally: &mut Tally) {
        self.begin(is_key(media), now, tally);
    }

    /// A picture or sound came; `key`: decoding can begin here.
    pub fn begin(&mut self, key: bool, now: u64, tally: &mut Tally) {
        self.messages = self.messages.saturating_add(1);
        if !self.has_key && key {
            self.has_key = true;
            tally.first_key.record_ns(now.saturating_sub(self.asked_ns));
        }
    }

    /// A whole picture came that would be shown now; `time_us` is on the media's clock.
    pub fn shown(&mut self, now: u64, time_us: u64, terms: &Terms, tally: &mut Tally) {
        if let Some((_, last_us)) = self.darkened(now, terms, tally) {
            let (since, rhythm) = (self.since(now), (time_us as f64 - last_us as f64) * 1e3);
            self.jitter += ((since - rhythm).abs() - self.jitter) / 16.0;
            if terms.in_window(now) {
                tally.jitter.record_ns(self.jitter as u64);
            }
        }
        self.last_shown = Some((now, time_us));
    }

    fn since(&self, now: u64) -> f64 {
        self.last_shown.map_or(0.0, |(last, _)| now.saturating_sub(last) as f64)
    }

    /// The picture that was shown until now is gone; which one, if there was one.
    pub fn darkened(&mut self, now: u64, terms: &Terms, tally: &mut Tally) -> Option<(u64, u64)> {
        let last = self.last_shown?;
        // A freeze counts where it happened, so that one that outlasts the window is seen as well.
        let (from, until) = (last.0.max(terms.open_ns), now.min(terms.close_ns));
        if from < until {
            let gap = until - from;
            tally.picture_gap.record_ns(gap);
            if gap > FREEZE_NS {
                tally.freezes += 1;
                tally.frozen_ns += gap;
            }
        }
        Some(last)
    }

    /// Looks at a message.
    pub fn look(&mut self, media: &Media, now: u64, terms: &Terms, tally: &mut Tally, live: &Live) {
        self.first(media, now, tally);
        if !is_frame(media) {
            return;
        }
        let steady = terms.in_window(now);
        tally.media += u64::from(steady);
        let last = match media.kind {
            MediaKind::Video => &mut self.last_time[1],
            _ => &mut self.last_time[0],
        };
        // The clock wraps.
        let back =
            last.replace(media.timestamp).is_some_and(|last| (media.timestamp.wrapping_sub(last) as i32) < 0);
        tally.backward += u64::from(back);
        if media.kind != MediaKind::Video {
            if steady {
                self.sound(media.timestamp, now, tally);
            }
            return;
        }
        let Some(marker) = Marker::find(&media.payload) else { return };
        if terms.run.is_none_or(|run| run == marker.run) {
            self.last_sent = Some((media.timestamp, marker.sent_ns));
        }
        self.picture(&marker, is_key(media), now, terms, tally, live);
    }

    /// How late sound of this time is, which has no marker of its own: the newest picture tells when its time was sent.
    fn sound(&self, time_ms: u32, now: u64, tally: &mut Tally) {
        let Some((picture_ms, sent_ns)) = self.last_sent else { return };
        // The clock wraps.
        let after_ms = i64::from(time_ms.wrapping_sub(picture_ms) as i32);
        let sent_ns = sent_ns.saturating_add_signed(after_ms * 1_000_000);
        if sent_ns >= self.asked_ns {
            tally.sound.record_ns(now.saturating_sub(sent_ns));
        }
    }

    /// Looks at the marker of a picture.
    pub fn picture(
        &mut self,
        marker: &Marker,
        key: bool,
        now: u64,
        terms: &Terms,
        tally: &mut Tally,
        live: &Live,
    ) {
        if terms.run.is_some_and(|run| run != marker.run) {
            tally.foreign += 1;
            return;
        }
        self.order(marker, key, tally);
        // Pictures from before the player asked are its start, and as old as the group is long.
        if terms.in_window(now) && marker.sent_ns >= self.asked_ns {
            let latency = now.saturating_sub(marker.sent_ns);
            tally.latency.record_ns(latency);
            match terms.trouble_ns {
                Some((from, _)) if now < from => tally.before.record_ns(latency),
                Some((_, until)) if now < until => tally.during.record_ns(latency),
                _ => {}
            }
            live.latency(latency);
        }
    }

    fn order(&mut self, marker: &Marker, key: bool, tally: &mut Tally) {
        match self.last_picture.map(|last| last + 1) {
            None => {}
            Some(next) if marker.picture == next => {}
            Some(next) if marker.picture < next => {
                tally.repeats += 1;
                return;
            }
            Some(next) => {
                tally.lost += marker.picture - next;
                tally.resumed += u64::from(key);
                tally.broken += u64::from(!key);
            }
        }
        self.last_picture = Some(marker.picture);
    }
}

/// Whether a message is a picture that decoding may begin at, parameter sets not counted.
fn is_key(media: &Media) -> bool {
    media.kind == MediaKind::Video
        && is_frame(media)
        && media.payload.first().is_some_and(|first| first >> 4 & 7 == 1)
}

/// Whether a message is a picture or a sound, not parameter sets: legacy AVC and AAC say so in their second byte,
/// enhanced tags in the first.
fn is_frame(media: &Media) -> bool {
    match (media.kind, &media.payload[..]) {
        (MediaKind::Data, _) | (_, []) => false,
        (MediaKind::Video, [first, ..]) if first & 0x80 != 0 => matches!(first & 0x0f, 1 | 3),
        (MediaKind::Audio, [first, ..]) if first >> 4 == 9 => first & 0x0f == 1,
        (MediaKind::Video, [first, packet, ..]) if first & 0x0f == 7 => *packet == 1,
        (MediaKind::Audio, [first, packet, ..]) if first >> 4 == 10 => *packet == 1,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const TERMS: Terms = Terms {
        run: Some(5),
        open_ns: 1_000,
        close_ns: 1_000_000_000,
        stall_ns: 50_000_000,
        trouble_ns: None,
    };

    fn picture(number: u64, sent_ns: u64, key: bool, run: u64) -> Media {
        let marker = Marker { run, stream: 0, picture: number, sent_ns };
        let first = if key { 0x17 } else { 0x27 };
        let payload: Bytes = [&[first, 1, 0, 0, 0, 0, 0, 0, 49][..], &marker.unit()].concat().into();
        Media { kind: MediaKind::Video, timestamp: number as u32 * 33, payload }
    }

    fn looked(pictures: &[Media]) -> Tally {
        let (mut inspector, mut tally) = (Inspector::new(2_000), Tally::default());
        for media in pictures {
            inspector.look(media, 5_000_000, &TERMS, &mut tally, &Live::default());
        }
        tally
    }

    #[test]
    fn only_pictures_sent_while_it_plays_have_a_latency() {
        let tally =
            looked(&[picture(0, 1_500, true, 5), picture(1, 2_500, false, 5), picture(2, 2_600, false, 5)]);
        assert_eq!((tally.latency.count(), tally.media, tally.lost), (2, 3, 0));
        assert!((tally.latency.max() - 4.997).abs() < 0.01);
        assert_eq!(tally.first_key.count(), 1);
    }

    #[test]
    fn what_is_missing_is_counted_and_must_go_on_at_a_keyframe() {
        let tally = looked(&[picture(0, 0, true, 5), picture(3, 0, true, 5), picture(9, 0, false, 5)]);
        assert_eq!((tally.lost, tally.resumed, tally.broken), (7, 1, 1));
        let tally = looked(&[picture(4, 0, true, 5), picture(4, 0, true, 5), picture(3, 0, false, 5)]);
        assert_eq!((tally.repeats, tally.backward, tally.lost), (2, 1, 0));
    }

    #[test]
    fn sound_is_as_late_as_a_picture_of_its_time_would_be() {
        let (mut inspector, mut tally) = (Inspector::new(2_000), Tally::default());
        let sound = |timestamp| Media {
            kind: MediaKind::Audio,
            timestamp,
            payload: Bytes::from_static(&[0xaf, 1, 0]),
        };
        // Before any picture nothing is known.
        inspector.look(&sound(0), 5_000_000, &TERMS, &mut tally, &Live::default());
        inspector.look(&picture(3, 100_000_000, true, 5), 101_000_000, &TERMS, &mut tally, &Live::default());
        inspector.look(&sound(89), 120_000_000, &TERMS, &mut tally, &Live::default());
        inspector.look(&sound(109), 140_000_000, &TERMS, &mut tally, &Live::default());
        assert_eq!(tally.sound.count(), 2);
        assert!((tally.sound.max() - 30.0).abs() < 0.1, "{}", tally.sound.max());
    }

    #[test]
    fn markers_of_other_runs_say_nothing() {
        let tally = looked(&[picture(4, 3_000, true, 6), picture(9, 3_000, false, 6)]);
        assert_eq!((tally.foreign, tally.latency.count(), tally.lost), (2, 0, 0));
    }

    #[test]
    fn silence_is_a_gap_and_a_long_one_a_stall() {
        let (mut inspector, mut tally) = (Inspector::new(0), Tally::default());
        for now in [500, 2_000, 40_000_000, 99_000_000, 2_000_000_000] {
            inspector.arrival(now, &TERMS, &mut tally);
        }
        assert_eq!((tally.gap.count(), tally.stalls), (3, 1), "outside the window nothing counts");
    }

    #[test]
    fn a_picture_that_stays_is_frozen_and_one_out_of_rhythm_jitters() {
        let (mut inspector, mut tally) = (Inspector::new(0), Tally::default());
        // 40 ms apart; the fourth comes 300 ms late, and the last one stays to the window's end.
        for (at_ms, time_ms) in [(100_u64, 0_u64), (140, 40), (180, 80), (520, 120), (560, 160)] {
            inspector.shown(at_ms * 1_000_000, time_ms * 1_000, &TERMS, &mut tally);
        }
        inspector.darkened(2_000_000_000, &TERMS, &mut tally);
        assert_eq!((tally.freezes, tally.frozen_ns, tally.picture_gap.count()), (2, 780_000_000, 5));
        assert!((tally.jitter.max() - 18.75).abs() < 0.1, "a sixteenth of 300 ms: {}", tally.jitter.max());
    }

    #[test]
    fn parameter_sets_are_no_pictures() {
        let media =
            |kind, payload: &'static [u8]| Media { kind, timestamp: 0, payload: Bytes::from_static(payload) };
        assert!(!is_key(&media(MediaKind::Video, &[0x17, 0, 0, 0, 0])));
        assert!(is_key(&media(MediaKind::Video, &[0x17, 1, 0, 0, 0, 9])));
        assert!(is_key(&media(MediaKind::Video, &[0x93, b'h', b'v', b'c', b'1'])));
        assert!(!is_frame(&media(MediaKind::Audio, &[0xaf, 0, 0x12, 0x10])));
        assert!(is_frame(&media(MediaKind::Audio, &[0x2f, 9])));
        assert!(!is_frame(&media(MediaKind::Data, b"x")));
    }

    #[test]
    fn sound_alone_is_a_beginning_too() {
        let mut inspector = Inspector::new(0);
        let sound =
            Media { kind: MediaKind::Audio, timestamp: 0, payload: Bytes::from_static(&[0xaf, 1, 0]) };
        for _ in 0..=KEYLESS_MAX {
            assert!(!inspector.has_begun());
            inspector.first(&sound, 0, &mut Tally::default());
        }
        assert!(inspector.has_begun());
    }
}
