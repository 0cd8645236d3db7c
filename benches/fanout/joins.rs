//! How soon a joiner of a running stream has something to show, on a server that has little else to do.

use std::{thread, time::Duration};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::{
    Background,
    load::{self, Load},
    options::Options,
    players::{self, Form, KEY},
    server::Server,
    verdict,
};

/// What the issue allows for 99 of 100 joins.
const P99_MAX: Duration = Duration::from_millis(10);
/// Between two joins, so that one does not meet the other's end.
const PAUSE: Duration = Duration::from_millis(3);

/// Joins one after the other, with one shard and with two, by each form.
pub fn run(options: &Options, other: usize) -> Result<bool> {
    println!(
        "\nFrom connect() to the first whole picture or sound, {} joins one after the other, ms",
        options.joins
    );
    println!("shards  form       p50     p99     max   bound");
    let mut kept = true;
    for cpus in [vec![options.cpu], vec![options.cpu, other]] {
        let server = Server::start(&cpus, "0ms")?;
        let mut load = Load::start(server.addresses().rtmp, KEY, load::BITS_PER_SECOND)?;
        load.push(1)?;
        let background = Background::start(load);
        for form in Form::ALL {
            if !Options::wants(&options.form, &form.to_string()) {
                continue;
            }
            let mut times = Histogram::<u64>::new(3)?;
            for _ in 0..options.joins {
                let time = players::time_to_media(form, server.addresses())?;
                times.record(time.as_micros() as u64)?;
                thread::sleep(PAUSE);
            }
            let millis = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e3;
            let within = millis(0.99) <= P99_MAX.as_millis() as f64;
            kept &= within;
            println!(
                "{:<8}{form:<7}{:>7.2}{:>8.2}{:>8.2}   {}",
                cpus.len(),
                millis(0.5),
                millis(0.99),
                millis(1.0),
                verdict(within, "p99 10")
            );
        }
        background.finish()?;
    }
    Ok(kept)
}
