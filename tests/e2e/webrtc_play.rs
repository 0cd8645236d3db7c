//! WHEP with a real browser: how soon, how smoothly and with what a viewer sees and hears a stream.

use serde_json::Value;

use crate::{
    support::{
        Server,
        browser::Browser,
        tools::{FFMPEG5, Tool},
        until,
    },
    webrtc_browser::{log_says, play, publish, stats},
};

/// Starts ffmpeg with a moving picture in H.264 of `profile`; `more` are further options of the encoder.
fn publisher(server: &Server, more: &[&str]) -> Tool {
    let url = format!("rtmp://{}/live/cam", server.rtmp());
    let head =
        ["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-c:v", "libx264"];
    let tail = ["-b:v", "1500k", "-g", "60", "-f", "flv", &url];
    let args: Vec<&str> = head.iter().chain(more).chain(&tail).copied().collect();
    let tool = Tool::start(FFMPEG5, args);
    log_says(server, "publishes by RTMP");
    tool
}

/// Watches for `seconds`: decoded pictures a second, and the longest time between two of them on the screen, in ms.
fn watch(browser: &Browser, seconds: u32) -> (f64, f64) {
    let seen = browser.run_async(&format!(
        "const before = window.video.getVideoPlaybackQuality().totalVideoFrames;
         const start = performance.now();
         let last = start, longest = 0;
         const look = now => {{
             longest = Math.max(longest, now - last); last = now;
             window.video.requestVideoFrameCallback(look);
         }};
         window.video.requestVideoFrameCallback(look);
         await new Promise(done => setTimeout(done, {seconds} * 1000));
         const after = window.video.getVideoPlaybackQuality().totalVideoFrames;
         return {{rate: (after - before) * 1000 / (performance.now() - start), longest}};"
    ));
    (seen["rate"].as_f64().unwrap_or(0.0), seen["longest"].as_f64().unwrap_or(f64::MAX))
}

/// Plays and waits for the first picture; how long after the POST it was on the screen, in ms.
fn first_picture(browser: &Browser) -> f64 {
    let answer = play(browser, "/whep/live/cam");
    assert_eq!(answer["status"], 201, "{answer}");
    until("the first picture", || stats(browser)["first"].as_f64())
}

fn is_smooth(browser: &Browser, what: &str, seconds: u32) {
    // A joiner first catches up.
    let _ = watch(browser, 1);
    let (rate, longest) = watch(browser, seconds);
    let seen = stats(browser);
    assert!(rate > 13.0, "{what}: {rate:.1} pictures a second: {seen}");
    assert!(longest < 400.0, "{what}: nothing moved for {longest:.0} ms: {seen}");
    assert!(lost(&seen) == 0, "{what}: {seen}");
    eprintln!(
        "{what}: {rate:.1} pictures a second, {longest:.0} ms at the longest, freezes {}",
        seen["video"]["freezeCount"]
    );
}

fn lost(seen: &Value) -> i64 {
    seen["video"]["packetsLost"].as_i64().unwrap_or(i64::MAX)
}

#[test]
fn a_baseline_stream_is_seen_at_once_and_smoothly() {
    let server = Server::start();
    let _publisher =
        publisher(&server, &["-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency"]);
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.http()));
    let first = first_picture(&browser);
    eprintln!("the first picture came {first:.0} ms after the POST");
    assert!(first < 1_000.0, "the first picture came {first:.0} ms after the POST");
    is_smooth(&browser, "baseline", 6);
}

#[test]
fn a_high_profile_stream_with_b_frames_is_seen_smoothly() {
    let server = Server::start();
    let _publisher = publisher(&server, &["-profile:v", "high", "-preset", "veryfast", "-bf", "2"]);
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.http()));
    let first = first_picture(&browser);
    eprintln!("the first picture came {first:.0} ms after the POST");
    is_smooth(&browser, "high with B-frames", 6);
}

#[test]
fn what_one_browser_publishes_by_whip_another_sees_and_hears_by_whep() {
    let server = Server::start();
    let (one, other) = (Browser::start(), Browser::start());
    for browser in [&one, &other] {
        browser.open(&format!("http://{}/", server.http()));
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
