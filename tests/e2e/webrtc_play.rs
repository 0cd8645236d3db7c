//! WHEP with a real browser: how soon, how smoothly and with what a viewer sees and hears a stream.
//!
//! Browser, encoder and server share two cores with other tests here, and pictures are decoded in software: bounds are such
//! that only what is broken misses them. What a quiet machine sees is in `docs/performance.md`.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::{
    support::{
        Server,
        browser::Browser,
        tools::{FFMPEG5, Tool},
        until,
    },
    webrtc_browser::{log_says, open_plain_page, play, publish, stats},
};

/// A joiner first catches up; what comes then is looked at for so long.
const SETTLED: Duration = Duration::from_secs(2);
const WATCHED: Duration = Duration::from_secs(30);

/// Starts ffmpeg with a moving picture of 25 a second in H.264 and a tone in AAC; `more` are options of the encoder.
fn publisher(server: &Server, more: &[&str]) -> Tool {
    let url = format!("rtmp://{}/live/cam", server.rtmp());
    let head = ["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"];
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:v", "libx264"];
    let tail = ["-b:v", "1000k", "-g", "50", "-c:a", "aac", "-ac", "2", "-f", "flv", &url];
    let args: Vec<&str> = head.iter().chain(&sound).chain(more).chain(&tail).copied().collect();
    let tool = Tool::start(FFMPEG5, args);
    log_says(server, "publishes by RTMP");
    tool
}

const BASELINE: [&str; 6] = ["-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency"];

/// What a viewer saw in a time.
#[derive(Debug)]
struct Watched {
    /// Pictures decoded in a second.
    rate: f64,
    /// The longest that one picture stayed on the screen, milliseconds.
    longest: f64,
    /// What the browser calls a freeze.
    freezes: f64,
    /// Energy of the sound that was played.
    energy: f64,
    lost: i64,
}

/// Watches for [`WATCHED`] what plays in `window.video` by `window.pc`.
fn watch(browser: &Browser) -> Watched {
    thread::sleep(SETTLED);
    let before = stats(browser);
    browser.run(
        "let last = performance.now();
         window.longest = 0;
         const look = now => {
             window.longest = Math.max(window.longest, now - last); last = now;
             window.video.requestVideoFrameCallback(look);
         };
         window.video.requestVideoFrameCallback(look);",
    );
    thread::sleep(WATCHED);
    let longest = browser.run("return window.longest").as_f64().unwrap_or(f64::MAX);
    let after = stats(browser);
    let grown = |kind: &str, name: &str| {
        after[kind][name].as_f64().unwrap_or(0.0) - before[kind][name].as_f64().unwrap_or(0.0)
    };
    let seconds = grown("video", "timestamp") / 1e3;
    Watched {
        rate: grown("video", "framesDecoded") / seconds,
        longest,
        freezes: grown("video", "freezeCount"),
        energy: grown("audio", "totalAudioEnergy"),
        lost: after["video"]["packetsLost"].as_i64().unwrap_or(i64::MAX),
    }
}

/// Plays and waits for the first picture; how long after the POST it was on the screen, in ms.
fn first_picture(browser: &Browser) -> f64 {
    let answer = play(browser, "/whep/live/cam");
    assert_eq!(answer["status"], 201, "{answer}");
    until("the first picture", || stats(browser)["first"].as_f64())
}

/// `least`: pictures a second.
fn is_seen_and_heard(what: &str, more: &[&str], least: f64) {
    let server = Server::start();
    let _publisher = publisher(&server, more);
    let browser = Browser::start();
    open_plain_page(&browser, &server);
    until("the stream", || server.stream("live/cam"));
    let first = first_picture(&browser);
    let watched = watch(&browser);
    eprintln!("{what}: the first picture came {first:.0} ms after the POST; then in {WATCHED:?} {watched:?}");
    assert!(first < 1_500.0, "the first picture came {first:.0} ms after the POST");
    assert!(watched.rate > least, "{watched:?}");
    assert!(watched.longest < 1_000.0 && watched.freezes <= 3.0, "{watched:?}");
    assert!(watched.energy > 0.01, "a tone is heard: {watched:?}");
    assert_eq!(watched.lost, 0, "{watched:?}");
}

#[test]
fn a_baseline_stream_is_seen_and_heard_at_once_and_smoothly() {
    is_seen_and_heard("baseline", &BASELINE, 20.0);
}

#[test]
fn a_high_profile_stream_with_b_frames_is_seen_and_heard_smoothly() {
    // One picture in three is left when all B-frames are gone.
    is_seen_and_heard("high with B-frames", &["-profile:v", "high", "-preset", "veryfast", "-bf", "2"], 7.0);
}

#[test]
fn what_one_browser_publishes_by_whip_another_sees_and_hears_by_whep() {
    let server = Server::start();
    let (one, other) = (Browser::start(), Browser::start());
    for browser in [&one, &other] {
        open_plain_page(browser, &server);
    }
    let answer = publish(&one, "/whip/live/cam", true, None);
    assert_eq!(answer["status"], 201, "{answer}");
    // One who asks before there are pictures is offered none.
    log_says(&server, "video0:");
    first_picture(&other);
    let seen = until("sound", || {
        let seen = stats(&other);
        (seen["audio"]["totalAudioEnergy"].as_f64().unwrap_or(0.0) > 0.0).then_some(seen)
    });
    assert!(seen["video"]["framesDecoded"].as_i64().unwrap_or(0) > 0, "{seen}");
}

/// One page looks at a stream in H.264 and at one in VP8 at the same time.
#[test]
fn viewers_of_different_codecs_are_served_side_by_side() {
    let server = Server::start();
    let _publisher = publisher(&server, &BASELINE);
    let (camera, viewer) = (Browser::start(), Browser::start());
    for browser in [&camera, &viewer] {
        open_plain_page(browser, &server);
    }
    let answer = publish(&camera, "/whip/live/vp8", true, Some("vp8"));
    assert_eq!(answer["status"], 201, "{answer}");
    log_says(&server, "video0: VP8");
    for (name, key) in [("one", "cam"), ("other", "vp8")] {
        let answer = play(&viewer, &format!("/whep/live/{key}"));
        assert_eq!(answer["status"], 201, "{answer}");
        viewer.run(&format!("window.{name} = window.pc"));
    }
    let seen = |name: &str| -> Value {
        viewer.run(&format!("window.pc = window.{name}"));
        viewer.run_async(
            "const found = {}, all = await pc.getStats();
             all.forEach(report => {
                 if (report.type !== 'inbound-rtp' || report.kind !== 'video') return;
                 found.frames = report.framesDecoded;
                 found.codec = all.get(report.codecId)?.mimeType;
             });
             return found;",
        )
    };
    for (name, codec) in [("one", "video/H264"), ("other", "video/VP8")] {
        let decoded = |least: u64| {
            until(&format!("{least} pictures in {codec}"), || {
                let seen = seen(name);
                let frames = seen["frames"].as_u64()?;
                (frames >= least && seen["codec"] == codec).then_some(frames)
            })
        };
        // Both go on, and not one until the other came.
        let before = decoded(25);
        decoded(before + 50);
    }
}
