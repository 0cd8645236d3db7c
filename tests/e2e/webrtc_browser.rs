//! WebRTC with a real browser, headless Chromium: its ways in and out, by UDP and TCP, in layers, by SRS's calls, in VP8.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::{SOON, Server, browser::Browser, tools::Tool, until, within},
    webrtc_publish::is_probed_everywhere,
};

/// A page of the server's origin that does nothing by itself: the server's own begins to play what is live.
pub fn open_plain_page(browser: &Browser, server: &Server) {
    browser.open(&format!("http://{}/api/v2/streams", server.http()));
}

/// Publishes the camera and perhaps the microphone; `codec`, if any, is the only one offered for pictures.
pub fn publish(browser: &Browser, url: &str, audio: bool, codec: Option<&str>) -> Value {
    browser.run_async(&format!(
        "const stream = await navigator.mediaDevices.getUserMedia({{audio: {audio}, video: {{width: 640, height: 480}}}});
         const pc = window.pc = new RTCPeerConnection();
         const codec = {codec};
         for (const track of stream.getTracks()) {{
             const line = pc.addTransceiver(track, {{direction: 'sendonly', streams: [stream]}});
             if (codec && track.kind === 'video') {{
                 const all = RTCRtpSender.getCapabilities('video').codecs;
                 line.setCodecPreferences(all.filter(c => c.mimeType.toLowerCase() === 'video/' + codec));
             }}
         }}
         await pc.setLocalDescription(await pc.createOffer());
         const answer = await fetch('{url}', {{method: 'POST', headers: {{'Content-Type': 'application/sdp'}},
             body: pc.localDescription.sdp}});
         const text = await answer.text();
         if (answer.status === 201) await pc.setRemoteDescription({{type: 'answer', sdp: text}});
         return {{status: answer.status, location: answer.headers.get('location'), text}};",
        codec = json!(codec)
    ))
}

/// Plays; what it sees is in `window.pc` and `window.video`.
pub fn play(browser: &Browser, url: &str) -> Value {
    browser.run_async(&format!(
        "const pc = window.pc = new RTCPeerConnection();
         pc.addTransceiver('video', {{direction: 'recvonly'}});
         pc.addTransceiver('audio', {{direction: 'recvonly'}});
         const video = window.video = document.createElement('video');
         video.autoplay = true; video.muted = false; document.body.append(video);
         const media = new MediaStream(); video.srcObject = media;
         pc.ontrack = event => media.addTrack(event.track);
         await pc.setLocalDescription(await pc.createOffer());
         window.asked = performance.now();
         const answer = await fetch('{url}', {{method: 'POST', headers: {{'Content-Type': 'application/sdp'}},
             body: pc.localDescription.sdp}});
         const text = window.choose ? window.choose(await answer.text()) : await answer.text();
         if (answer.status === 201) await pc.setRemoteDescription({{type: 'answer', sdp: text}});
         video.requestVideoFrameCallback(now => window.first = now - window.asked);
         return {{status: answer.status, location: answer.headers.get('location'), text}};"
    ))
}

/// What the page receives or sends.
pub fn stats(browser: &Browser) -> Value {
    browser.run_async(
        "const found = {state: pc.connectionState, first: window.first ?? null};
         (await pc.getStats()).forEach(report => {
             if (report.type === 'inbound-rtp' || report.type === 'outbound-rtp') found[report.kind] = report;
         });
         return found;",
    )
}

/// Waits for a sentence of the log.
pub fn log_says(server: &Server, what: &str) {
    within(SOON, || server.log().contains(what).then_some(()))
        .unwrap_or_else(|| panic!("the log never says {what:?}:\n{}", server.log()));
}

#[test]
fn chromium_plays_over_tcp_where_udp_is_blocked() {
    let server = Server::builder().arg("--demo").start();
    let browser = Browser::start();
    open_plain_page(&browser, &server);
    log_says(&server, "publishes by RTMP");
    browser.run("window.choose = sdp => sdp.replace(/a=candidate:.* udp .*\\r\\n/g, '')");
    let answer = play(&browser, "/whep/live/demo");
    assert_eq!(answer["status"], 201, "{answer}");
    let sdp = answer["text"].as_str().expect("an answer");
    assert!(sdp.contains("tcptype passive") && !sdp.contains(" udp "), "{sdp}");
    until("two seconds of pictures", || {
        (stats(&browser)["video"]["framesDecoded"].as_u64()? > 60).then_some(())
    });
    assert!(server.log().contains("protocol: Tcp"), "{}", server.log());
}

#[test]
fn chromium_publishes_layers_and_single_track_players_get_the_largest() {
    let server = Server::start();
    let browser = Browser::start();
    open_plain_page(&browser, &server);
    let answer = browser.run_async(
        "const stream = await navigator.mediaDevices.getUserMedia({video: {width: 1280, height: 720}});
         const pc = window.pc = new RTCPeerConnection();
         pc.addTransceiver(stream.getTracks()[0], {direction: 'sendonly', streams: [stream], sendEncodings: [
             {rid: 'q', scaleResolutionDownBy: 4}, {rid: 'h', scaleResolutionDownBy: 2}, {rid: 'f'}]});
         await pc.setLocalDescription(await pc.createOffer());
         const answer = await fetch('/whip/live/layers', {method: 'POST', headers: {'Content-Type': 'application/sdp'},
             body: pc.localDescription.sdp});
         const text = await answer.text();
         if (answer.status === 201) await pc.setRemoteDescription({type: 'answer', sdp: text});
         return {status: answer.status, text};",
    );
    assert_eq!(answer["status"], 201, "{answer}");
    assert!(answer["text"].as_str().is_some_and(|sdp| sdp.contains("a=simulcast:recv")), "{answer}");
    log_says(&server, "video0: H264 Video { width: 1280, height: 720 }");
    log_says(&server, "video1: H264 Video { width: 320, height: 180 }");
    let url = server.http_url("live/layers");
    let args =
        ["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", "-i", &url];
    let probed = Tool::start("ffprobe", args).succeed(Duration::from_secs(40)).text();
    assert!(probed.contains("h264,1280,720"), "{probed}");
}

/// What `srs.sdk.js` does: JSON to the control port, from a page of another origin.
#[test]
fn the_flow_of_srs_sdk_works_unmodified() {
    let server = Server::start();
    let browser = Browser::start();
    open_plain_page(&browser, &server);
    let api = server.api();
    let session = |kind: &str, media: &str| {
        browser.run_async(&format!(
            "const pc = window.{kind} = new RTCPeerConnection(null);
             {media}
             const offer = await pc.createOffer();
             await pc.setLocalDescription(offer);
             const data = {{api: 'http://{api}/rtc/v1/{kind}/', tid: 'abcdef0', streamurl: 'webrtc://{api}/live/sdk',
                 clientip: null, sdp: offer.sdp}};
             const reply = await new Promise((resolve, reject) => {{
                 const xhr = new XMLHttpRequest();
                 xhr.onload = () => xhr.status === 200 || xhr.status === 201 ? resolve(JSON.parse(xhr.responseText)) : reject(xhr);
                 xhr.onerror = () => reject('refused');
                 xhr.open('POST', data.api, true);
                 xhr.setRequestHeader('Content-type', 'application/json');
                 xhr.send(JSON.stringify(data));
             }});
             if (reply.code) throw reply;
             await pc.setRemoteDescription(new RTCSessionDescription({{type: 'answer', sdp: reply.sdp}}));
             return reply.sessionid;"
        ))
    };
    let name = session(
        "publish",
        "pc.addTransceiver('audio', {direction: 'sendonly'}); pc.addTransceiver('video', {direction: 'sendonly'});
         const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: {ideal: 320, max: 576}}});
         window.size = stream.getVideoTracks()[0].getSettings();
         stream.getTracks().forEach(track => pc.addTrack(track));",
    );
    assert!(name.as_str().is_some_and(|name| name.contains(':')), "{name}");
    log_says(&server, "video0: H264");
    let size = browser.run("return `${window.size.width}x${window.size.height}`");
    is_probed_everywhere(&server, "live/sdk", size.as_str().expect("a size"));
    let name = session(
        "play",
        "window.pc = pc; pc.addTransceiver('audio', {direction: 'recvonly'}); pc.addTransceiver('video', {direction: 'recvonly'});
         const video = document.createElement('video'); video.autoplay = true; document.body.append(video);
         video.srcObject = new MediaStream(); pc.ontrack = event => video.srcObject.addTrack(event.track);",
    );
    assert!(name.as_str().is_some_and(|name| name.contains(':')), "{name}");
    until("pictures and sound", || {
        let seen = stats(&browser);
        let sound = seen["audio"]["totalAudioEnergy"].as_f64()?;
        (seen["video"]["framesDecoded"].as_u64()? > 30 && sound > 0.0).then_some(())
    });
}

#[test]
fn chromium_publishes_vp8_alone_and_another_page_plays_it() {
    let server = Server::builder().set("webrtc.codecs", "[vp8, opus]").start();
    let (publisher, viewer) = (Browser::start(), Browser::start());
    open_plain_page(&publisher, &server);
    open_plain_page(&viewer, &server);
    assert_eq!(publish(&publisher, "/whip/live/vp8", true, Some("vp8"))["status"], 201);
    log_says(&server, "video0: VP8");
    let answer = play(&viewer, "/whep/live/vp8");
    assert!(answer["text"].as_str().is_some_and(|sdp| sdp.contains("VP8/90000")), "{answer}");
    until("pictures", || (stats(&viewer)["video"]["framesDecoded"].as_u64()? > 30).then_some(()));
}

/// A web player that was written for SRS and is not changed for us: `scripts/deps.sh test` fetches it.
#[test]
fn a_player_made_for_srs_plays_as_it_is() {
    let server = Server::builder().arg("--demo").start();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/jswebrtc.min.js");
    let player = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; `scripts/deps.sh test` fetches it", file.display()));
    log_says(&server, "publishes by RTMP");
    until("the stream", || server.stream("live/demo"));
    let browser = Browser::start();
    open_plain_page(&browser, &server);
    browser.run(&format!(
        "(0, eval)({});
         const video = document.createElement('video'); document.body.append(video);
         window.player = new JSWebrtc.Player('webrtc://{}/live/demo', {{video, autoplay: true}});
         window.pc = player.pc;",
        json!(player),
        server.api()
    ));
    // It plays without sound as browsers want it of pages that begin by themselves, so that no energy is counted.
    until("pictures and sound", || {
        let seen = stats(&browser);
        let sounds = seen["audio"]["packetsReceived"].as_u64()?;
        (seen["video"]["framesDecoded"].as_u64()? > 60 && sounds > 50).then_some(())
    });
    let shown = browser.run("return player.options.video.getVideoPlaybackQuality().totalVideoFrames");
    assert!(shown.as_u64().is_some_and(|shown| shown > 0), "{shown}; {}", browser.console());
}
