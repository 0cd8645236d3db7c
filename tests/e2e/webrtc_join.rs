//! How a WHEP viewer joins a stream with long groups of pictures, whose publisher nobody can ask for a keyframe: at once, without a
//! burst, and live within seconds.

use std::{
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    media::{Programme, synthetic::Shape},
    publish::Publishers,
    rtc::Seen,
};

use crate::support::{Server, until, webrtc::play, within};

const PICTURE_RATE: u64 = 25;
const BIT_RATE: u64 = 2_000_000;
/// Ten seconds of pictures.
const GROUP: u64 = 250;

/// A programme of ten-second groups by RTMP.
fn publish(server: &Server) -> Publishers {
    let shape = Shape {
        bit_rate: BIT_RATE,
        audio_bit_rate: 0,
        picture_rate: PICTURE_RATE as f64,
        group: GROUP,
        size: (640, 360),
    };
    let address = server.rtmp_url("live/cam").parse().expect("an address");
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let window = std::sync::Arc::default();
    Publishers::start(&address, 1, &Programme::Synthetic(shape), 7, window, &stopped).expect("a publisher")
}

/// What a joiner saw: how late each picture was, from the publisher to here, in ms, and when after the POST it came.
fn lateness(seen: &Seen) -> Vec<(u64, u64)> {
    let asked = seen.asked_ns;
    seen.pictures()
        .filter_map(|picture| {
            let marker = picture.marker?;
            Some((
                (picture.at_ns - asked) / 1_000_000,
                picture.at_ns.saturating_sub(marker.sent_ns) / 1_000_000,
            ))
        })
        .collect()
}

/// Bits a second in the busiest tenth of a second.
fn peak(seen: &Seen) -> u64 {
    let pictures: Vec<(u64, u64)> =
        seen.pictures().map(|picture| (picture.at_ns, picture.data.len() as u64 * 8)).collect();
    let window = |from: u64| -> u64 {
        let within = pictures.iter().filter(|(at, _)| (from..from + 100_000_000).contains(at));
        within.map(|(_, bits)| bits).sum::<u64>() * 10
    };
    pictures.iter().map(|(at, _)| window(*at)).max().unwrap_or(0)
}

/// Joins when the group is `age` old; watches until it is long live.
fn join(server: &Server, age: Duration) -> Seen {
    let watcher = play(server.http(), "live/cam");
    let keys =
        || watcher.look(|seen| seen.pictures().filter(|picture| picture.key).map(|key| key.at_ns).last());
    let joined = Some(until("its first picture", keys));
    // The next keyframe after the one that it joined with is a live one.
    let begun =
        within(Duration::from_secs(15), || keys().filter(|key| Some(*key) != joined)).expect("a keyframe");
    let age_now = Duration::from_nanos(loadtest::clock::now().saturating_sub(begun));
    thread::sleep(age.saturating_sub(age_now));
    let viewer = play(server.http(), "live/cam");
    thread::sleep(Duration::from_secs(5));
    viewer.finish()
}

#[test]
fn a_joiner_of_long_groups_sees_something_at_once_and_is_live_soon_without_a_burst() {
    let server = Server::builder().set("shards", 1).start();
    let _publisher = publish(&server);
    until("the stream", || server.stream("live/cam"));
    // In the middle of the group, and shortly before its end: there the next keyframe is sooner than catching up.
    for (age, live_max) in [(Duration::from_secs(5), 2_600), (Duration::from_millis(9_300), 1_800)] {
        let begun = Instant::now();
        let seen = join(&server, age);
        let late = lateness(&seen);
        let (first_at, first_late) = late.first().copied().expect("pictures");
        let live = late.iter().find(|(_, late)| *late < 200).map(|(at, _)| *at);
        let gap = seen.longest_gap(0);
        let mbits = peak(&seen) as f64 / 1e6;
        eprintln!(
            "joined {age:?} into a group of 10 s at {} Mbit/s: first picture after {first_at} ms, {first_late} ms old; live after \
             {live:?} ms; {mbits:.1} Mbit/s in the busiest 100 ms; no picture for {gap:?} at most; {} packets lost, {} pictures \
             ({:?} in all)",
            BIT_RATE / 1_000_000,
            seen.counts.lost(),
            late.len(),
            begun.elapsed(),
        );
        assert!(first_at < 1_000, "the first picture came after {first_at} ms");
        assert!(live.is_some_and(|live| live < live_max), "live after {live:?} ms");
        assert!(mbits < 16.0, "{mbits} Mbit/s: five times the stream's rate and a keyframe");
        assert_eq!(seen.counts.lost(), 0);
        let times: Vec<u64> = seen.pictures().map(|picture| picture.time_us).collect();
        assert!(times.windows(2).all(|two| two[0] < two[1]), "time runs forwards");
        // What a jitter buffer sees: media time and arrival go together.
        let (start_at, start_time) = (late[0].0, times[0] / 1_000);
        let jitter = late.iter().zip(&times).map(|((at, _), time)| {
            ((at - start_at) as i64 - (time / 1_000 - start_time) as i64).unsigned_abs()
        });
        let jitter = jitter.max().unwrap_or(0);
        eprintln!("  arrival and timestamp differ by {jitter} ms at most");
        assert!(jitter < 150, "{jitter} ms");
    }
}
