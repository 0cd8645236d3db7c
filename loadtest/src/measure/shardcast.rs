//! Shardcast's own figures for each of its shards, asked for once a second over HTTP by a thread of their own.
//!
//! `/api/v2/server` lists the shards; every number that it tells of one is kept, so that what later versions add is in
//! the report without a change here. `/metrics`, where it exists, is read for samples labelled `shard="…"`. Invariant: no
//! answer is read beyond [`ANSWER_BYTES_MAX`], and a server that is silent costs one time-out a second.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use crate::url::{Address, AddressError};

const ANSWER_BYTES_MAX: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(2);
const PERIOD: Duration = Duration::from_secs(1);

/// Numbers of one shard by name.
pub type Figures = BTreeMap<String, f64>;

/// Figures of all shards by their number.
pub type Shards = BTreeMap<u64, Figures>;

/// Asks a server until it is dropped.
#[derive(Debug)]
pub struct Poller {
    newest: Arc<Mutex<Shards>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Of the server at `http://host:port`.
    ///
    /// # Errors
    /// When that is no address.
    pub fn start(base: &str) -> Result<Self, AddressError> {
        let address: Address = format!("{}/api/v2/server", base.trim_end_matches('/')).parse()?;
        address.resolve()?;
        let (newest, stop): (Arc<Mutex<Shards>>, Arc<AtomicBool>) = Default::default();
        let (seen, ends) = (Arc::clone(&newest), Arc::clone(&stop));
        let thread = thread::Builder::new().name("figures".to_owned()).spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let shards = ask(&address);
                if !shards.is_empty() {
                    *seen.lock().unwrap_or_else(PoisonError::into_inner) = shards;
                }
                thread::park_timeout(PERIOD);
            }
        });
        Ok(Self { newest, stop, thread: thread.ok() })
    }

    /// The newest figures; none before the first answer.
    pub fn newest(&self) -> Shards {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn ask(address: &Address) -> Shards {
    let mut shards = get(address, "/api/v2/server").map(|body| parse_server(&body)).unwrap_or_default();
    if let Some(metrics) = get(address, "/metrics") {
        for (shard, name, value) in parse_metrics(&metrics) {
            shards.entry(shard).or_default().insert(name, value);
        }
    }
    shards
}

/// The body of a page; `None` for whatever goes wrong.
fn get(address: &Address, path: &str) -> Option<String> {
    let remote = address.resolve().ok()?;
    let mut socket = TcpStream::connect_timeout(&remote, PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    // HTTP/1.0, so that the answer ends with the connection and is in one piece.
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", address.authority());
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).ok()?;
    let text = String::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.split_whitespace().nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

/// The shards of `/api/v2/server`.
pub fn parse_server(body: &str) -> Shards {
    let server: Value = serde_json::from_str(body).unwrap_or_default();
    let shards = server.get("shards").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut out = Shards::new();
    for shard in &shards {
        let (Some(id), Some(fields)) = (shard.get("id").and_then(Value::as_u64), shard.as_object()) else {
            continue;
        };
        let figures = fields.iter().filter(|(name, _)| *name != "id");
        out.insert(id, figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect());
    }
    out
}

/// Samples of the Prometheus text format with a label `shard`: its number, the name with its other labels, the value.
pub fn parse_metrics(text: &str) -> Vec<(u64, String, f64)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(parse_sample).collect()
}

fn parse_sample(line: &str) -> Option<(u64, String, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once('}')?;
    let mut shard = None;
    let mut others = Vec::new();
    for label in labels.split(',') {
        match label.trim().strip_prefix("shard=\"").and_then(|label| label.strip_suffix('"')) {
            Some(number) => shard = number.parse().ok(),
            None => others.push(label.trim()),
        }
    }
    others.retain(|label| !label.is_empty());
    let name = if others.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", others.join(",")) };
    Some((shard?, name, value.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_shard_is_kept() {
        let body = r#"{"version":"1","shards":[{"id":0,"cpu":2,"busy":0.25,"name":"x"},{"id":1,"connections":7}, 5]}"#;
        let shards = parse_server(body);
        assert_eq!(shards.len(), 2);
        assert_eq!(shards[&0], [("busy".to_owned(), 0.25), ("cpu".to_owned(), 2.0)].into());
        assert_eq!(shards[&1]["connections"], 7.0);
        assert!(parse_server("not json").is_empty());
    }

    #[test]
    fn samples_of_shards_are_found_among_the_metrics() {
        let text = "# HELP x y\nshardcast_sends_total{shard=\"1\",form=\"flv\"} 42\nup 1\n\
                    shardcast_busy{shard=\"0\"} 0.5 1700000000\nbroken{shard=\"x\"} 1\nother{a=\"b\"} 2\n";
        let samples = parse_metrics(text);
        assert_eq!(
            samples,
            [
                (1, "shardcast_sends_total{form=\"flv\"}".to_owned(), 42.0),
                (0, "shardcast_busy".to_owned(), 0.5)
            ]
        );
    }
}
