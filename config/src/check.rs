//! What no single key can know: which values exclude each other, and which files are not there.

use crate::{
    coalesce::Coalesce,
    error::{Errors, Fault, Problem},
    origin::Origins,
    schema::{Config, Listen, Rotate},
};
use std::{
    fs::File,
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// Notes every contradiction in `config`, at the key that was set last.
pub(crate) fn check(config: &Config, origins: &Origins, errors: &mut Errors) {
    let mut checker = Checker { origins, errors };
    listeners(config, &mut checker);
    webrtc(config, &mut checker);
    tls(config, &mut checker);
    delivery(config, &mut checker);
    hooks(config, &mut checker);
    log(config, &mut checker);
    demo(config, &mut checker);
}

struct Checker<'a> {
    origins: &'a Origins,
    errors: &'a mut Errors,
}

impl Checker<'_> {
    /// `sides` are the keys and their values that exclude each other, `rule` what must hold.
    fn blame(&mut self, sides: &[(&str, String)], rule: &str) {
        let keys: Vec<&str> = sides.iter().map(|(key, _)| *key).collect();
        let Some(blamed) = self.origins.latest(&keys) else { return };
        let told = |(key, value): &(&str, String)| format!("{key} is {value} ({})", self.origins.get(key));
        let others: Vec<String> = sides.iter().filter(|(key, _)| *key != blamed).map(told).collect();
        let found = sides.iter().find(|(key, _)| *key == blamed).map_or("", |(_, value)| value);
        let meets = if others.is_empty() { String::new() } else { format!(", but {}", others.join(" and ")) };
        self.errors.push(|| Problem {
            place: self.origins.get(blamed).to_string(),
            key: blamed.to_owned(),
            fault: Fault::Contradiction(format!("found {found}{meets}; {rule}")),
        });
    }

    /// Both keys hold the same kind of number, and `small` may not pass `large`.
    fn ordered<T: PartialOrd + std::fmt::Display>(&mut self, small: (&str, T), large: (&str, T), why: &str) {
        if small.1 > large.1 {
            let rule = format!("{} may not be more than {}: {why}", small.0, large.0);
            self.blame(&[(small.0, small.1.to_string()), (large.0, large.1.to_string())], &rule);
        }
    }
}

fn listeners(config: &Config, checker: &mut Checker<'_>) {
    let services = [
        ("rtmp.enable", "rtmp.port", &config.rtmp),
        ("httpflv.enable", "httpflv.port", &config.httpflv),
        ("ws_stream.enable", "ws_stream.port", &config.ws_stream),
        ("api.enable", "api.port", &config.api),
    ];
    if services.iter().all(|(_, _, service)| !service.enable) {
        let sides = services.map(|(enable, _, _)| (enable, "false".to_owned()));
        checker.blame(&sides, "a server with every service off serves nobody: enable one");
    }
    for (i, (_, key, service)) in services.iter().enumerate() {
        for (_, other_key, other) in services.iter().skip(i + 1) {
            if service.enable && other.enable && collide(service, other) {
                let sides =
                    [(*key, service.address().to_string()), (*other_key, other.address().to_string())];
                checker.blame(&sides, "two services cannot share one address: give each its own port");
            }
        }
    }
}

/// The codecs that a publisher may be asked for.
const CODECS: [&str; 8] = ["h264", "h265", "vp8", "vp9", "av1", "opus", "pcmu", "pcma"];

fn webrtc(config: &Config, checker: &mut Checker<'_>) {
    let webrtc = &config.webrtc;
    if let Some(unknown) = webrtc.codecs.iter().find(|codec| !CODECS.contains(codec)) {
        let rule = format!("{unknown:?} is no codec of WebRTC: {} are", CODECS.join(", "));
        checker.blame(&[("webrtc.codecs", webrtc.codecs.to_string())], &rule);
    }
    if webrtc.codecs.is_empty() {
        checker.blame(&[("webrtc.codecs", "[]".to_owned())], "nobody could publish: name a codec");
    }
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
    if let Some(wrong) = webrtc.candidates.iter().find(|text| !is_address(text)) {
        let rule = format!("{wrong:?} is no address: give an IP, or IP:PORT where a router maps the port");
        checker.blame(&[("webrtc.candidates", webrtc.candidates.to_string())], &rule);
    }
    let is_server = |text: &str| ["stun:", "stuns:", "turn:", "turns:"].iter().any(|s| text.starts_with(s));
    if let Some(wrong) = webrtc.ice_servers.iter().find(|text| !is_server(text)) {
        // What follows the address is a user and a password.
        let wrong = wrong.split_whitespace().next().unwrap_or_default();
        let rule = "is no ICE server: stun:HOST:PORT, or turn:HOST:PORT USER PASSWORD";
        checker.blame(&[("webrtc.ice_servers", wrong.to_owned())], &format!("{wrong:?} {rule}"));
    }
}

/// The unspecified addresses take every address; `::` takes those of IPv4 too.
fn collide(a: &Listen, b: &Listen) -> bool {
    let takes = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port == b.port
        && (a.listen_ip == b.listen_ip || takes(a.listen_ip, b.listen_ip) || takes(b.listen_ip, a.listen_ip))
}

fn tls(config: &Config, checker: &mut Checker<'_>) {
    let (cert, key) = (config.tls.cert.as_os_str(), config.tls.key.as_os_str());
    if cert.is_empty() != key.is_empty() {
        let shown = |path: &std::ffi::OsStr| format!("{path:?}");
        let sides = [("tls.cert", shown(cert)), ("tls.key", shown(key))];
        checker.blame(&sides, "a certificate and its key belong together: give both or neither");
        return;
    }
    for (key, path) in [("tls.cert", &config.tls.cert), ("tls.key", &config.tls.key)] {
        if let Some(why) = unreadable(path) {
            checker.blame(&[(key, format!("{path:?}"))], &format!("this file cannot be read: {why}"));
        }
    }
}

/// Why the file at `path` cannot be read; `None` when it can, or when there is no path.
fn unreadable(path: &Path) -> Option<String> {
    if path.as_os_str().is_empty() {
        return None;
    }
    // Opening a pipe would wait for its other end.
    match path.metadata().map(|data| data.is_file()) {
        Ok(false) => Some("it is no file".to_owned()),
        Ok(true) => File::open(path).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

fn delivery(config: &Config, checker: &mut Checker<'_>) {
    let (delivery, limits) = (&config.delivery, &config.limits);
    let queue = ("delivery.queue_bytes_max", delivery.queue_bytes_max);
    checker.ordered(
        ("delivery.batch_bytes_max", delivery.batch_bytes_max),
        queue,
        "a batch must fit into the queue",
    );
    checker.ordered(
        ("limits.message_bytes_max", limits.message_bytes_max),
        queue,
        "one frame must fit into the queue",
    );
    let key = if delivery.coalesce == Coalesce::Auto { "delivery.coalesce_max" } else { "delivery.coalesce" };
    let coalesce = (key, delivery.coalesce.longest(delivery.coalesce_max));
    let why = "every viewer would be late before it is sent anything";
    checker.ordered(coalesce, ("delivery.lag_max", delivery.lag_max), why);
    let why = "every viewer would count as stalled between two batches";
    checker.ordered(coalesce, ("delivery.stall_timeout", delivery.stall_timeout), why);
}

fn hooks(config: &Config, checker: &mut Checker<'_>) {
    let hooks = &config.hooks;
    let lists = [
        ("hooks.on_connect", &hooks.on_connect),
        ("hooks.on_close", &hooks.on_close),
        ("hooks.on_publish", &hooks.on_publish),
        ("hooks.on_unpublish", &hooks.on_unpublish),
        ("hooks.on_play", &hooks.on_play),
        ("hooks.on_stop", &hooks.on_stop),
    ];
    for (key, urls) in lists {
        if let Some(wrong) = urls.iter().find(|url| !is_http(url)) {
            // User, password and parameters of an address are nobody's business.
            let wrong = wrong.split(['?', '#']).next().unwrap_or_default();
            let wrong = wrong.rsplit('@').next().unwrap_or_default();
            let rule = format!(
                "{} is no address: give http://HOST[:PORT]/PATH or https://…",
                crate::node::quoted(wrong)
            );
            checker.blame(&[(key, wrong.to_owned())], &rule);
        }
    }
    if let Some(why) = unreadable(&hooks.ca) {
        checker
            .blame(&[("hooks.ca", format!("{:?}", hooks.ca))], &format!("this file cannot be read: {why}"));
    }
}

/// Whether a text is an address of HTTP or HTTPS, as far as that can be told without asking anybody.
fn is_http(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    !host.is_empty() && is_port && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn log(config: &Config, checker: &mut Checker<'_>) {
    let log = &config.log;
    if log.rotate != Rotate::Never
        && [&log.file, &log.sessions].iter().all(|file| file.as_os_str().is_empty())
    {
        let sides = [("log.rotate", log.rotate.to_string()), ("log.file", "\"\"".to_owned())];
        checker.blame(&sides, "only a file can be rotated: give log.file or leave log.rotate at never");
    }
    for (key, file) in [("log.file", &log.file), ("log.sessions", &log.sessions)] {
        if !file.as_os_str().is_empty() && (file.file_name().is_none() || file.is_dir()) {
            checker.blame(&[(key, format!("{file:?}"))], "it must name a file, not a directory");
        }
    }
}

fn demo(config: &Config, checker: &mut Checker<'_>) {
    // The same rule as `shards::media::StreamKey`, which this crate does not know.
    let stream = config.demo.stream.as_str();
    let level = |level: &str| !matches!(level, "" | "." | "..");
    let excluded = |c: char| c.is_control() || matches!(c, '?' | '#' | '\\');
    let is_key = stream.contains('/') && stream.split('/').all(level) && !stream.contains(excluded);
    if !is_key || stream.len() > 512 {
        let sides = [("demo.stream", crate::node::quoted(stream))];
        checker.blame(
            &sides,
            "allowed: app/name, without `?`, `#`, `\\`, empty or dotted levels, 512 bytes at most",
        );
    }
}
