//! A real browser with one page: headless Chromium, driven over WebDriver.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{http, ports::Ports, tools::Tool, until};

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

    /// What the page wrote to its console.
    pub fn console(&self) -> String {
        self.post("se/log", &json!({"type": "browser"})).to_string()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = http::json(self.addr, "DELETE", &format!("/session/{}", self.session), &json!({}));
    }
}
