//! mpegts.js in a real browser: headless Chromium, driven over WebDriver, opens the server's own page and plays the
//! demo stream by HTTP-FLV and by WS-FLV.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, browser::Browser, until, within};

/// What the page knows of its player.
const STATE: &str = "const s = window.shardcast; if (!s || !s.video) return null; const v = s.video;
    const q = v.getVideoPlaybackQuality();
    return {time: v.currentTime, decoded: q.totalVideoFrames, dropped: q.droppedVideoFrames, width: v.videoWidth,
        audio: v.webkitAudioDecodedByteCount, errors: (s.errors || []).map(String), media: v.error ? v.error.message : null};";

fn plays(protocol: &str) {
    let server = Server::builder().arg("--demo").start();
    let browser = Browser::start();
    let begun = Instant::now();
    browser.open(&format!("http://{}/?stream=live/demo&protocol={protocol}&autoplay=1", server.http()));
    let mut last = Value::Null;
    let mut state = || {
        last = browser.run(STATE);
        last.clone()
    };
    let started = within(Duration::from_secs(60), || {
        let state = state();
        (state["time"].as_f64()? > 0.0 && state["decoded"].as_u64()? > 10).then_some(state)
    });
    let started = started.unwrap_or_else(|| {
        panic!("nothing plays: {}; the console: {}", browser.run(STATE), browser.console())
    });
    eprintln!("{protocol}: plays after {:?}: {started}", begun.elapsed());
    let number = |state: &Value, name: &str| state[name].as_f64().unwrap_or(-1.0);
    // Three seconds of film later.
    let later = until("three seconds of film", || {
        let now = browser.run(STATE);
        (number(&now, "time") >= number(&started, "time") + 3.0).then_some(now)
    });
    let pictures = number(&later, "decoded") - number(&started, "decoded");
    assert!(pictures >= 45.0, "{pictures} pictures in three seconds: {later}");
    assert_eq!(number(&later, "width"), 640.0, "{later}");
    assert!(number(&later, "audio") > number(&started, "audio"), "no sound was decoded: {later}");
    assert_eq!((&later["errors"], &later["media"]), (&json!([]), &Value::Null), "{}", browser.console());
}

#[test]
fn mpegts_js_plays_http_flv() {
    plays("http");
}

#[test]
fn mpegts_js_plays_ws_flv() {
    plays("ws");
}

/// The page lists what is live.
#[test]
fn the_page_lists_the_demo() {
    let server = Server::builder().arg("--demo").start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.http()));
    until("the demo in the list", || {
        browser.run("return document.body.innerText").as_str()?.contains("live/demo").then_some(())
    });
}
