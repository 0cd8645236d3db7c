//! The console and the embedded player in a real browser: headless Chromium walks them as people do, with its own camera and
//! microphone, and axe-core looks for what some people could not use.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    life::File,
    support::{
        Entrance, Fixture, Path, Player, Publisher, Server,
        browser::{Browser, DESKTOP, PHONE, View},
        http::{ask, exchange},
        media::Media,
        scratch, until, within,
    },
};

/// How long a page may take until something moves, on a machine that does other things as well.
const PATIENT: Duration = Duration::from_secs(60);

/// What the page's player does.
const STATE: &str = "const s = window.shardcast; if (!s || !s.video) return null;
    return {state: s.player.state, protocol: s.protocol, time: s.video.currentTime, width: s.video.videoWidth,
        decoded: s.video.getVideoPlaybackQuality().totalVideoFrames, errors: s.errors};";

/// Waits until the page shows two seconds of pictures by a protocol.
fn plays(browser: &Browser, protocol: &str) -> Value {
    let mut begun = None;
    let seen = within(PATIENT, || {
        let now = browser.run(STATE);
        let is_there =
            now["state"] == "playing" && now["protocol"] == protocol && now["decoded"].as_u64()? > 10;
        let time = now["time"].as_f64()?;
        let begun = *begun.get_or_insert(if is_there { time } else { return None });
        (is_there && time >= begun + 2.0).then_some(now)
    });
    seen.unwrap_or_else(|| {
        panic!("nothing plays by {protocol}: {}; the console: {}", browser.run(STATE), browser.console())
    })
}

/// What the page wrote to its console as errors.
fn errors(browser: &Browser) -> Vec<String> {
    let entries: Value = serde_json::from_str(&browser.console()).expect("JSON");
    let entries = entries.as_array().cloned().unwrap_or_default();
    let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
    severe.map(|entry| entry["message"].to_string()).collect()
}

fn assert_no_errors(browser: &Browser) {
    assert_eq!(errors(browser), [] as [String; 0]);
}

/// Clicks what the selector finds, once it is there and may be clicked.
fn click(browser: &Browser, selector: &str) {
    until(selector, || {
        let script = format!(
            "const found = document.querySelector({}); if (!found || found.disabled || found.closest('[hidden]')) return false;
             found.click(); return true;",
            json!(selector)
        );
        (browser.run(&script) == true).then_some(())
    });
}

/// Waits for words on the page, as people see them.
fn shows(browser: &Browser, words: &str) {
    within(PATIENT, || browser.run("return document.body.innerText").as_str()?.contains(words).then_some(()))
        .unwrap_or_else(|| panic!("never {words:?} in:\n{}", browser.run("return document.body.innerText")));
}

#[test]
fn the_demo_is_found_in_the_list_and_plays_by_every_protocol() {
    let server = Server::builder().arg("--demo").start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.http()));
    shows(&browser, "H264 + AAC");
    until("the card has a picture", || {
        (browser.run("return !!document.querySelector('.card canvas')") == true).then_some(())
    });
    click(&browser, ".card a[href='/watch/live/demo']");
    shows(&browser, "Watch it elsewhere");
    assert_eq!(plays(&browser, "whep")["width"], 640);
    let delay = "return [...document.querySelectorAll('.figure')].find(one => one.innerText.startsWith('Delay')).innerText";
    until("the delay by WebRTC", || {
        let text = browser.run(delay);
        (text.as_str()?.contains(" ms") && text.as_str()?.contains("network and player")).then_some(())
    });
    for protocol in ["http", "ws", "whep"] {
        click(&browser, &format!(".stage-head input[value={protocol}]"));
        plays(&browser, protocol);
    }
    until("charts move", || {
        let lines = browser.run("return [...document.querySelectorAll('.chart .line')].map(line => line.getAttribute('d').length)");
        lines.as_array()?.iter().all(|length| length.as_u64() > Some(20)).then_some(())
    });
    let urls =
        browser.run("return [...document.querySelectorAll('.addresses code')].map(code => code.textContent)");
    let expected = json!([
        format!("http://{}/player/live/demo", server.http()),
        format!("http://{}/whep/live/demo", server.http()),
        format!("http://{}/live/demo.flv", server.http()),
        format!("ws://{}/live/demo.flv", server.http()),
        format!("rtmp://{}/live/demo", server.rtmp()),
        format!(
            "<iframe src=\"http://{}/player/live/demo\" width=\"640\" height=\"360\" allow=\"autoplay; fullscreen\"></iframe>",
            server.http()
        ),
    ]);
    assert_eq!(urls, expected);
    click(&browser, ".addresses [aria-label='QR code of the RTMP address']");
    until("the QR code", || {
        (browser.run("return !!document.querySelector('dialog .qr path')") == true).then_some(())
    });
    assert_no_errors(&browser);
}

#[test]
fn the_publish_page_sends_the_camera_and_says_how_it_goes() {
    let server = Server::start();
    let browser = Browser::start();
    browser.open(&format!("http://localhost:{}/studio", server.http().port()));
    let camera = "const video = document.querySelector('video'); return !!video && video.videoWidth > 0";
    until("the camera", || (browser.run(camera) == true).then_some(()));
    browser.run("const name = document.querySelector('form input[type=text]'); name.value = 'live/studio';");
    click(&browser, "form button[type=submit]");
    let stream =
        until("the stream is live", || server.stream("live/studio").filter(|one| one["live"] == true));
    assert_eq!(stream["publisher"]["protocol"], "whip", "{stream}");
    shows(&browser, "On air as live/studio");
    let sent = "const one = [...document.querySelectorAll('.numbers .figure')].find(one => one.innerText.startsWith('Sent'));
        return one.innerText";
    until("statistics", || {
        let text = browser.run(sent);
        (text.as_str()?.contains("H264 + opus") && !text.as_str()?.contains("\n0 kbit/s")).then_some(())
    });
    click(&browser, "form button.danger");
    until("the stream has ended", || {
        server.stream("live/studio").is_none_or(|one| one["live"] == false).then_some(())
    });
    assert_no_errors(&browser);
}

#[test]
fn the_embedded_player_plays_flv_where_webrtc_is_off_and_hides_its_controls() {
    let server = Server::builder().arg("--demo").set("webrtc.enable", false).start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/player/live/demo?controls=0", server.http()));
    plays(&browser, "http");
    assert_eq!(browser.run("return document.querySelectorAll('.controls').length"), 0);
    assert_eq!(browser.run("return window.shardcast.video.muted"), true);
}

#[test]
fn a_viewer_is_sent_away_from_the_table_of_connections() {
    let server = Server::builder().arg("--demo").start();
    let [one, other] = [(), ()].map(|()| Player::open(&server, Path::Http, "live/demo"));
    [&one, &other].into_iter().for_each(Player::wait_start);
    let browser = Browser::start();
    browser.open(&format!("http://{}/watch/live/demo", server.http()));
    plays(&browser, "whep");
    let rows = "return [...document.querySelectorAll('.client')].map(row => row.innerText)";
    until("four connections in the table", || {
        let rows = browser.run(rows);
        let rows: Vec<&str> = rows.as_array()?.iter().filter_map(Value::as_str).collect();
        let with = |word: &str| rows.iter().filter(|row| row.contains(word)).count();
        (with("publisher") == 1 && with("HTTP-FLV") == 2 && with("WebRTC") == 1).then_some(())
    });
    // Of two alike, whichever the browser finds first.
    let chosen = browser.run(
        "const row = [...document.querySelectorAll('.client')].find(row => row.innerText.includes('HTTP-FLV'));
         row.querySelector('button').click(); return row.dataset.key;",
    );
    shows(&browser, "Send the viewer at 127.0.0.1 away?");
    click(&browser, "dialog .danger");
    until("the row is gone", || {
        let gone = format!("return !document.querySelector('.client[data-key={}]')", json!(chosen));
        (browser.run(&gone) == true).then_some(())
    });
    until("one of the two has ended", || (one.end().is_some() || other.end().is_some()).then_some(()));
    let left = if one.end().is_some() { &other } else { &one };
    left.wait_more(30);
    assert_eq!(browser.run(STATE)["state"], "playing", "the others go on");
    assert_no_errors(&browser);
}

/// Names of streams come from whoever publishes; they are shown, never run.
#[test]
fn a_streams_name_is_never_markup() {
    const NAME: &str = "<img src=x onerror='window.hurt=1'>";
    let server = Server::start();
    let fixture = Fixture::get(Media::H264Aac);
    let publisher = Publisher::open(&server, Entrance::Rtmp, &format!("live/{NAME}"))
        .expect("the seat is free")
        .run(&fixture);
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.http()));
    shows(&browser, NAME);
    click(&browser, ".card a");
    plays(&browser, "whep");
    shows(&browser, &format!("live/{NAME}"));
    assert_eq!(browser.run("return window.hurt ?? null"), Value::Null);
    assert_eq!(browser.run("return document.querySelectorAll('main img').length"), 0);
    assert_no_errors(&browser);
    publisher.finish();
}

/// Clicks the button with these words.
fn press(browser: &Browser, words: &str) {
    until(words, || {
        let script = format!(
            "const found = [...document.querySelectorAll('button')].find(one => one.innerText === {});
             if (!found || found.disabled) return false; found.click(); return true;",
            json!(words)
        );
        (browser.run(&script) == true).then_some(())
    });
}

#[test]
fn the_server_page_tells_how_the_server_is_set_and_what_it_logs() {
    let server = Server::builder().set("limits.connections", 4321).start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/server", server.http()));
    shows(&browser, "Shard 1");
    shows(&browser, "of 4\u{202f}321");
    let rows = "return [...document.querySelectorAll('.config tbody tr')].map(row => row.innerText)";
    let keys =
        until("the configuration", || browser.run(rows).as_array().filter(|rows| rows.len() > 40).cloned());
    let changed =
        keys.iter().find(|row| row.as_str().is_some_and(|row| row.starts_with("limits.connections\t")));
    let changed = changed.and_then(Value::as_str).expect("the key is in the table");
    assert!(changed.contains("4321") && changed.contains("usually 10000"), "{changed}");
    browser.run("const only = document.querySelector('.check input'); only.click();");
    until("only what was changed", || (browser.run(rows).as_array()?.len() < keys.len() / 2).then_some(()));
    press(&browser, "Start the demo");
    press(&browser, "Stop the demo");
    press(&browser, "Start the demo");
    until("the demo is live", || server.stream("live/demo").filter(|stream| stream["live"] == true));
    let said = "return document.querySelector('.log')?.innerText ?? ''";
    until("lines of the log", || browser.run(said).as_str()?.contains("INFO").then_some(()));
    assert_no_errors(&browser);
}

#[test]
fn the_file_is_read_again_from_the_server_page() {
    let file = File::new("console", "log: {level: info}\n");
    let mut server = file.server().start();
    let addr = server.http();
    let limit = || {
        let answer = ask(addr, "GET", "/api/v2/config").expect("answered");
        let config: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let keys = config["keys"].as_array().expect("keys");
        keys.iter().find(|key| key["key"] == "limits.connections").expect("it is listed")["value"].clone()
    };
    let browser = Browser::start();
    browser.open(&format!("http://{addr}/server"));
    press(&browser, "Read the file again");
    shows(&browser, "The file says what it said before.");
    file.write("log: {level: debug}\nlimits: {connections: 4321}\n");
    press(&browser, "Read the file again");
    shows(&browser, "Changed: log.level, limits.connections.");
    shows(&browser, "of 4\u{202f}321");
    // All that is wrong is told, and nothing of it is done.
    file.write("log: {level: loud}\nrtmp: {port: x}\nlimits: {connections: 5000}\n");
    press(&browser, "Read the file again");
    shows(&browser, "the configuration stays as it was:");
    let told = "return [...document.querySelectorAll('section [role=status] li')].map(one => one.innerText).join('; ')";
    let listed = |words: &[&str]| {
        let said = browser.run(told).as_str().unwrap_or_default().to_owned();
        words.iter().all(|word| said.contains(word)).then_some(())
    };
    until("all that is wrong", || listed(&["log.level", "rtmp.port"]));
    assert_eq!(limit(), 4321);
    // A key that only a restart changes.
    file.write("log: {level: debug}\nlimits: {connections: 5000}\ndemo: {frame_rate: 15}\n");
    press(&browser, "Read the file again");
    until("the key's name", || listed(&["demo.frame_rate"]));
    assert_eq!(limit(), 4321);
    // The 409 of the refusal is in the browser's console, and nothing else.
    let hurt: Vec<String> = errors(&browser).into_iter().filter(|line| !line.contains("409")).collect();
    assert_eq!(hurt, Vec::<String>::new());
    server.assert_unhurt();
}

#[test]
fn who_is_not_signed_in_is_asked_for_credentials() {
    let server = Server::builder()
        .arg("--demo")
        .set("auth.api.username", "admin")
        .set("auth.api.password", "open:sesame")
        .set("auth.api.token", "a-long-token")
        .start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.http()));
    let sign_in = |password: &str| {
        until("the form", || {
            (browser.run("return !!document.querySelector('dialog[open] form')") == true).then_some(())
        });
        let fill = format!(
            "document.querySelector('dialog [autocomplete=username]').value = 'admin';
             document.querySelector('dialog [autocomplete=current-password]').value = {};",
            json!(password)
        );
        browser.run(&fill);
        click(&browser, "dialog [type=submit]");
    };
    sign_in("close:sesame");
    // The form comes again, and says so.
    shows(&browser, "The server did not accept these credentials.");
    sign_in("open:sesame");
    shows(&browser, "H264 + AAC");
    // In this tab they are kept.
    browser.open(&format!("http://{}/server", server.http()));
    shows(&browser, "auth.api.username");
    let other = Browser::start();
    other.open(&format!("http://{}/?token=a-long-token", server.http()));
    shows(&other, "H264 + AAC");
    assert_eq!(other.run("return location.search"), "");
    assert_no_errors(&other);
}

#[test]
fn nothing_live_says_how_to_begin() {
    let server = Server::start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.http()));
    shows(&browser, "Nothing is live yet");
    shows(&browser, &format!("rtmp://{}/live", server.rtmp()));
    browser.open(&format!("http://{}/watch/live/nobody", server.http()));
    shows(&browser, "Nobody publishes this stream at the moment");
    browser.open(&format!("http://{}/watch/nobody", server.http()));
    shows(&browser, "There is no such page");
    browser.open(&format!("http://{}/", server.http()));
    press(&browser, "Start the demo stream");
    shows(&browser, "H264 + AAC");
}

/// Every page, on a phone and on a desk, by day and by night: no serious finding of axe-core, nothing that must be scrolled
/// sideways, no error in the console. What was seen lies in `target/tmp/e2e/console-*.png`.
#[test]
fn everybody_can_use_every_page() {
    let server = Server::builder().arg("--demo").start();
    let browser = Browser::start();
    let axe =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/node_modules/axe-core/axe.min.js"))
            .expect("`scripts/deps.sh test` fetches axe-core");
    let pages = [
        ("streams", "/", "H264 + AAC"),
        ("watch", "/watch/live/demo", "Watch it elsewhere"),
        ("studio", "/studio", "What to send"),
        ("server", "/server", "Shard 1"),
        ("player", "/player/live/demo", ""),
    ];
    for (size, view) in [("phone", PHONE), ("desktop", DESKTOP)] {
        for (name, path, words) in pages {
            browser.look(View { dark: false, ..view });
            browser.open(&format!("http://localhost:{}{path}", server.http().port()));
            shows(&browser, words);
            if ["watch", "player"].contains(&name) {
                plays(&browser, "whep");
            }
            for dark in [false, true] {
                browser.look(View { dark, ..view });
                browser.run(&axe);
                let found = browser.run_async(
                    "const {violations} = await axe.run(document, {resultTypes: ['violations']});
                     return violations.filter(({impact}) => impact === 'serious' || impact === 'critical')
                         .map(({id, help, nodes}) => [id, help, ...nodes.map(node => node.target.join(' '))]);",
                );
                assert_eq!(found, json!([]), "{name} {size} dark={dark}");
                let sideways =
                    "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth";
                let too_wide = browser.run(sideways).as_i64().expect("a number");
                assert!(too_wide <= 0, "{name} {size} must be scrolled sideways by {too_wide}");
                let scheme = if dark { "dark" } else { "light" };
                let picture = scratch(&format!("console-{name}-{size}-{scheme}.png"));
                std::fs::write(picture, browser.screenshot()).expect("target/tmp can be written");
            }
            assert_no_errors(&browser);
        }
    }
}

#[test]
fn pages_are_compressed_validated_and_confined() {
    let server = Server::start();
    for path in ["/", "/watch/live/demo", "/studio", "/server", "/player/live/demo"] {
        let plain = ask(server.http(), "GET", path).expect("answered");
        assert_eq!(plain.head.status, 200, "{path}");
        let policy = plain.head.field("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(policy.ends_with("frame-ancestors *"), path.starts_with("/player/"), "{path}: {policy}");
        assert_eq!(plain.head.field("x-content-type-options"), Some("nosniff"));
        let etag = plain.head.field("etag").expect("a validator");
        let request = |field: &str| {
            let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}\r\n\r\n");
            exchange(server.http(), &text).expect("answered")
        };
        assert_eq!(request(&format!("If-None-Match: {etag}")).head.status, 304, "{path}");
        let packed = request("Accept-Encoding: gzip");
        assert_eq!(packed.head.field("content-encoding"), Some("gzip"), "{path}");
        assert!(packed.body.len() < plain.body.len(), "{path}");
    }
    for path in
        ["/vendor/qrcode-generator.LICENSE.txt", "/vendor/mpegts.js.LICENSE.txt", "/vendor/inter.LICENSE.txt"]
    {
        assert_eq!(
            ask(server.http(), "GET", path).expect("answered").head.status,
            200,
            "{path}: the licence is served"
        );
    }
}
