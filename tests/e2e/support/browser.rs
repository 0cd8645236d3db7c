//! A real browser with one page: headless Chromium, driven over WebDriver.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{http, ports::Ports, tools::Tool, until};

/// What a page is looked at with.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// CSS pixels.
    pub width: u32,
    pub height: u32,
    /// Whether it is a thing held in a hand.
    pub mobile: bool,
    /// Whether the system's colours are dark.
    pub dark: bool,
}

/// A phone of the common size.
pub const PHONE: View = View { width: 390, height: 844, mobile: true, dark: false };
/// A laptop.
pub const DESKTOP: View = View { width: 1440, height: 900, mobile: false, dark: false };

/// A browser with one page.
pub struct Browser {
    _driver: Tool,
    _ports: Ports,
    addr: SocketAddr,
    session: String,
}

impl Browser {
    /// Starts it; its camera and microphone are the test picture and tone that Chromium has built in.
    pub fn start() -> Self {
        let ports = Ports::claim();
        let addr = SocketAddr::from(([127, 0, 0, 1], ports.get(0)));
        let driver = Tool::start("chromedriver", [format!("--port={}", addr.port())]);
        until("chromedriver", || {
            http::ask(addr, "GET", "/status").ok().filter(|answer| answer.head.status == 200)
        });
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--autoplay-policy=no-user-gesture-required",
            "--mute-audio",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = until("a browser", || http::json(addr, "POST", "/session", &wanted).ok());
        let session = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {answer}"));
        Self { _driver: driver, _ports: ports, addr, session: session.to_owned() }
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        let target = format!("/session/{}/{what}", self.session);
        let answer = http::json(self.addr, "POST", &target, body).expect("chromedriver answers");
        answer["value"].clone()
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Runs a script whose promise is awaited; what it gives, or the page's error.
    pub fn run_async(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {script} }})().then(done, error => done({{error: String(error && error.stack || error)}}));"
        );
        self.post("execute/async", &json!({"script": script, "args": []}))
    }

    /// Runs a script; what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Looks at the page in another size or other colours.
    pub fn look(&self, view: View) {
        let View { width, height, mobile, dark } = view;
        let size = json!({"width": width, "height": height, "mobile": mobile, "deviceScaleFactor": if mobile { 2 } else { 1 }});
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    fn devtools(&self, command: &str, params: Value) -> Value {
        self.post("goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    /// The whole page as a PNG, what is below the window's edge included.
    pub fn screenshot(&self) -> Vec<u8> {
        let answer = self.devtools("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        base64(answer["data"].as_str().unwrap_or_else(|| panic!("no picture: {answer}")))
    }

    /// What the page wrote to its console since it was asked last.
    pub fn console(&self) -> String {
        self.post("se/log", &json!({"type": "browser"})).to_string()
    }
}

/// Base64 (RFC 4648 §4) as browsers write it.
fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sixes = text.bytes().filter_map(|byte| LETTERS.iter().position(|letter| *letter == byte));
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0_usize, 0);
    for six in sixes {
        (held, bits) = ((held << 6 | six) & 0xfff, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    bytes
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = http::json(self.addr, "DELETE", &format!("/session/{}", self.session), &json!({}));
    }
}
