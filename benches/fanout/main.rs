//! What a delivered message costs the server, beside a bare loop of `send()` in the same run; what a player costs it in
//! memory; and how soon a joiner sees something.
//!
//! The real binary runs as a child on one CPU, the floor as another on the same CPU, and they are measured in turn while
//! the other rests. This process publishes and drains on another CPU. `docs/performance.md` tells how to read the tables.

mod drain;
mod floor;
mod joins;
mod load;
mod memory;
mod options;
mod players;
mod server;

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context, Result};

use drain::Drain;
use floor::Floor;
use load::Load;
use options::Options;
use players::{Form, KEY};
use server::{Server, cpu_ns};

/// What the issue allows over the floor, by how long frames are gathered.
const BOUNDS: [(&str, Duration, f64); 2] =
    [("0ms", Duration::ZERO, 1.25), ("350ms", Duration::from_millis(350), 2.0)];

/// What was gathered last has left by then.
const SETTLE: Duration = Duration::from_millis(450);

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|arg| arg == floor::ARGUMENT).is_some() {
        return report(floor::run(args).map(|()| true));
    }
    report(Options::parse(args).and_then(|options| run(&options)))
}

fn report(outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fanout: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    raise_descriptors(options);
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let other = cpus.iter().map(|cpu| cpu.id).find(|id| *id != options.cpu).unwrap_or(options.cpu);
    if other == options.cpu {
        println!("There is one CPU only: server and receiver share it, and the numbers mean little.");
    }
    // Also for the publisher; the drains' threads go there themselves.
    core_affinity::set_for_current(core_affinity::CoreId { id: other });
    let mut kept = true;
    if options.runs("fanout") {
        kept &= fanout(options, other)?;
    }
    if options.runs("memory") {
        kept &= memory::run(options, other)?;
    }
    if options.runs("joins") {
        kept &= joins::run(options, other)?;
    }
    Ok(kept || !options.strict)
}

/// Two for each player: one here, one in the server that inherits the limit; and some for everything else.
fn raise_descriptors(options: &Options) {
    let need = 3 * options.viewers.max(options.memory.1) as u64 + 200;
    let raised = rlimit::Resource::NOFILE
        .get()
        .and_then(|(soft, hard)| rlimit::Resource::NOFILE.set(soft.max(need.min(hard)), hard).map(|()| hard));
    match raised {
        Ok(hard) if hard >= need => {}
        _ => println!("{need} descriptors are needed: raise the hard limit (ulimit -Hn)."),
    }
}

/// CPU time of one measurement.
#[derive(Clone, Copy)]
struct Cost {
    ns_per_message: f64,
    ms_per_gb: f64,
}

fn fanout(options: &Options, other: usize) -> Result<bool> {
    println!(
        "\nCPU of the sender, {} players, {} kbit/s at 30 pictures and 43 audio frames a second; {} rounds of {} s",
        options.viewers,
        load::BITS_PER_SECOND / 1_000,
        options.rounds,
        2 * options.cycles
    );
    println!("form   coalesce   us/message    floor   ratio (each round)        bound        ms/GB   floor");
    let (mut floor, streams) = Floor::start(options.cpu, options.viewers)?;
    let floor_drain = Drain::start(streams, other)?;
    let mut kept = true;
    for (name, coalesce, bound) in BOUNDS {
        if !Options::wants(&options.coalesce, name) {
            continue;
        }
        floor.push(1, coalesce)?;
        for form in Form::ALL {
            if !Options::wants(&options.form, &form.to_string()) {
                continue;
            }
            let server = Server::start(&[options.cpu], name)?;
            let mut load = Load::start(server.addresses().rtmp, KEY, load::BITS_PER_SECOND)?;
            // Half a group first, so that players join like anybody: with a burst.
            load.push(1)?;
            let drain = Drain::start(players::open(form, server.addresses(), options.viewers)?, other)?;
            load.push(1)?;
            let (mut costs, mut floors) = (Vec::new(), Vec::new());
            for _ in 0..options.rounds {
                costs.push(measure(server.pid(), &drain, options, || load.push(options.cycles).map(drop))?);
                floors.push(measure(floor.pid(), &floor_drain, options, || {
                    floor.push(options.cycles, coalesce)
                })?);
            }
            kept &= row(form, name, bound, &costs, &floors);
        }
    }
    Ok(kept)
}

/// What `push` costs the process for each message that arrived here.
fn measure(pid: u32, drain: &Drain, options: &Options, push: impl FnOnce() -> Result<()>) -> Result<Cost> {
    thread::sleep(SETTLE);
    let (cpu, bytes) = (cpu_ns(pid)?, drain.bytes());
    push()?;
    thread::sleep(SETTLE);
    let (cpu, bytes) = (cpu_ns(pid)? - cpu, drain.bytes() - bytes);
    let messages = f64::from(options.cycles * load::MESSAGES) * options.viewers as f64;
    let body = load::BITS_PER_SECOND as u64 / 8 * 2 * u64::from(options.cycles) * options.viewers as u64;
    // Bodies are rounded down, framing comes on top: a percent or two either way is no loss.
    if drain.closed() > 0 || bytes < body / 100 * 98 {
        anyhow::bail!("{bytes} of {body} bytes arrived, {} connections were closed", drain.closed());
    }
    Ok(Cost { ns_per_message: cpu as f64 / messages, ms_per_gb: cpu as f64 / bytes as f64 * 1e3 })
}

fn row(form: Form, coalesce: &str, bound: f64, costs: &[Cost], floors: &[Cost]) -> bool {
    let of = |costs: &[Cost], pick: fn(&Cost) -> f64| median(costs.iter().map(pick).collect());
    let ratios: Vec<f64> =
        costs.iter().zip(floors).map(|(cost, floor)| cost.ns_per_message / floor.ns_per_message).collect();
    let ratio = median(ratios.clone());
    let each = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ");
    println!(
        "{form:<7}{coalesce:<8}{:>13.2}{:>9.2}{ratio:>8.2} ({each:<16}) {:<12}{:>7.0}{:>8.0}",
        of(costs, |cost| cost.ns_per_message) / 1e3,
        of(floors, |cost| cost.ns_per_message) / 1e3,
        verdict(ratio <= bound, &format!("{bound:.2}")),
        of(costs, |cost| cost.ms_per_gb),
        of(floors, |cost| cost.ms_per_gb),
    );
    ratio <= bound
}

/// How a bound is shown.
fn verdict(kept: bool, bound: &str) -> String {
    format!("{} {bound}", if kept { "within" } else { "OVER" })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A publisher on its own thread, until it is dropped.
struct Background {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Background {
    fn start(mut load: Load) -> Self {
        let stop = std::sync::Arc::default();
        let seen = std::sync::Arc::clone(&stop);
        Self { stop, thread: Some(thread::spawn(move || load.push_until(&seen))) }
    }

    fn finish(mut self) -> Result<()> {
        self.end().context("the publisher's thread panicked")?
    }

    fn end(&mut self) -> Option<Result<()>> {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // An error on the way out is the one to tell.
        let _ = self.end();
    }
}
