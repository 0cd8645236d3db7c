//! WHIP with a real browser: what every other player gets of what a page publishes.

use std::{path::PathBuf, thread, time::Duration};

use serde_json::Value;

use crate::{
    support::{
        Path, Player, Server,
        browser::Browser,
        flv,
        probe::{apart, decode, onsets, probe},
        scratch, until,
    },
    webrtc_browser::{log_says, open_plain_page, stats},
};

/// For so long the stream is decoded, seconds.
const WATCHED: u32 = 30;
/// Sound and picture may be so far apart, milliseconds.
const APART_MAX: f64 = 40.0;

/// Publishes what the script `source` gives by WHIP, in H.264 at its full size whatever the encoder would rather send.
fn publish(browser: &Browser, url: &str, source: &str) -> Value {
    browser.run_async(&format!(
        "const stream = window.stream = await (async () => {{ {source} }})();
         const pc = window.pc = new RTCPeerConnection();
         for (const track of stream.getTracks()) {{
             const line = pc.addTransceiver(track, {{direction: 'sendonly', streams: [stream]}});
             const terms = line.sender.getParameters();
             terms.degradationPreference = 'maintain-resolution';
             await line.sender.setParameters(terms);
         }}
         await pc.setLocalDescription(await pc.createOffer());
         const answer = await fetch('{url}', {{method: 'POST', headers: {{'Content-Type': 'application/sdp'}},
             body: pc.localDescription.sdp}});
         const text = await answer.text();
         if (answer.status === 201) await pc.setRemoteDescription({{type: 'answer', sdp: text}});
         return {{status: answer.status, location: answer.headers.get('location'), text}};"
    ))
}

const CAMERA: &str = "return navigator.mediaDevices.getUserMedia(
    {audio: true, video: {width: 640, height: 360, frameRate: 25}});";

/// All that a player got, as a file.
fn record(player: &Player, name: &str) -> PathBuf {
    let file = scratch(name);
    let tags = player.tags();
    let body: Vec<u8> =
        flv::file_header(true, true).into_iter().chain(tags.iter().flat_map(flv::Tag::to_bytes)).collect();
    std::fs::write(&file, body).expect("target/tmp can be written");
    file
}

/// Pictures and sound of the right form on RTMP, HTTP-FLV and WS-FLV, with times that go on.
pub fn is_probed_everywhere(server: &Server, key: &str, size: &str) {
    let ws = Player::open(server, Path::WsFlv, key);
    ws.wait_start();
    for url in [server.rtmp_url(key), server.http_url(key)] {
        is_whole(&url, size);
    }
    ws.wait_more(200);
    let file = record(&ws, &format!("probed-{}.flv", key.replace('/', "-")));
    is_whole(&file.to_string_lossy(), size);
}

fn is_whole(input: &str, size: &str) {
    let probed = probe(input, 3);
    assert_eq!(probed.tracks, ["aac 48000x2".to_owned(), format!("h264 {size}")], "{input}");
    assert!(probed.packets.iter().all(|(count, back)| *count > 20 && *back == 0), "{input}: {probed:?}");
}

#[test]
fn chromium_publishes_its_camera_and_microphone_and_everybody_plays_it() {
    let server = Server::start();
    let browser = Browser::start();
    open_plain_page(&browser, &server);
    let answer = publish(&browser, "/whip/live/cam", CAMERA);
    assert_eq!(answer["status"], 201, "{answer}");
    log_says(&server, "the connection is up");
    let urls = [server.rtmp_url("live/cam"), server.http_url("live/cam")];
    let decoding = urls.each_ref().map(|url| decode(url, WATCHED));
    is_probed_everywhere(&server, "live/cam", "640x360");
    for (url, tool) in urls.iter().zip(decoding) {
        let told = tool.succeed(Duration::from_secs(90)).stderr;
        assert_eq!(told, "", "{url}");
    }
    let location = answer["location"].as_str().expect("a location").to_owned();
    let status =
        browser.run_async(&format!("return (await fetch('{location}', {{method: 'DELETE'}})).status"));
    assert_eq!(status, 200);
    log_says(&server, "its client deleted it");
    until("the page's connection is closed", || {
        let state = stats(&browser)["state"].clone();
        ["closed", "failed", "disconnected"].iter().any(|end| state == *end).then_some(())
    });
}

/// Flashes and beeps of the same moment are found in a recording, and are of the same moment there.
#[test]
fn sound_and_picture_of_a_page_stay_together() {
    let server = Server::start();
    let browser = Browser::start();
    open_plain_page(&browser, &server);
    browser.run(include_str!("testdata/flash.js"));
    let answer = publish(&browser, "/whip/live/flash", "return window.flashes(25);");
    assert_eq!(answer["status"], 201, "{answer}");
    until("the stream", || server.stream("live/flash"));
    let player = Player::open(&server, Path::Http, "live/flash");
    player.wait_start();
    thread::sleep(Duration::from_secs(WATCHED.into()));
    let file = record(&player, "flash.flv");
    let (flashes, beeps) = onsets(&file);
    let apart = apart(&flashes, &beeps);
    let middle = apart.get(apart.len() / 2).copied().unwrap_or(f64::NAN);
    eprintln!(
        "the beep comes {middle:.1} ms after its flash (median of {}; from {:.1} to {:.1}); {} flashes, {} beeps",
        apart.len(),
        apart.first().unwrap_or(&f64::NAN),
        apart.last().unwrap_or(&f64::NAN),
        flashes.len(),
        beeps.len()
    );
    assert!(apart.len() >= 15, "{flashes:?}\n{beeps:?}");
    assert!(middle.abs() <= APART_MAX, "{apart:?}");
}
