//! What a packet costs on its way to a WebRTC viewer, beside the least that it can cost: one AEAD seal, and its share of a
//! train that the kernel cuts apart.
//!
//! A stream of the real engine (publisher, rendition, walk, viewers, kernel) runs in real time on one CPU; what it sends is
//! received on another and counted. The floor seals and sends packets of the same sizes in the same trains, in turn with it.
//! CPU is the sending thread's, user and system. `docs/performance.md` tells what to make of it.

mod floor;
mod receiver;
mod scene;

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use shardcast::protocols::rtp::srtp::Profile;

use floor::Floor;
use receiver::Receiver;
use scene::{Scene, Step};

/// What issue 4 allows over the floor, and in all.
const RATIO_MAX: f64 = 2.5;
const MICROS_MAX: f64 = 7.0;
/// Between two frames of sound.
const STEP: Duration = Duration::from_millis(20);

struct Options {
    viewers: usize,
    seconds: u64,
    rounds: usize,
    /// Beyond the bounds is a failure.
    strict: bool,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rtp_egress: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options { viewers: 100, seconds: 3, rounds: 3, strict: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse().ok());
        match arg.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--strict" => options.strict = true,
            "--viewers" => options.viewers = number().unwrap_or(options.viewers),
            "--seconds" => options.seconds = number().unwrap_or(3) as u64,
            "--rounds" => options.rounds = number().unwrap_or(options.rounds),
            other => bail!("{other}? There are --viewers N, --seconds N, --rounds N and --strict"),
        }
    }
    Ok(options)
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Does a step every [`STEP`] for a while; CPU spent and packets sent.
fn pace(options: &Options, mut step: impl FnMut() -> Result<u64>) -> Result<(Duration, u64)> {
    let (start, before) = (Instant::now(), cpu());
    let mut packets = 0;
    for n in 0..options.seconds * 1_000 / STEP.as_millis() as u64 {
        packets += step()?;
        let next = start + STEP * (n as u32 + 1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok((cpu() - before, packets))
}

fn run(options: &Options) -> Result<bool> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(first) = cpus.first() {
        core_affinity::set_for_current(*first);
    }
    let mut kept = true;
    println!(
        "{} viewers of 2 Mbit/s and Opus, {} rounds of {} s",
        options.viewers, options.rounds, options.seconds
    );
    println!(
        "{:<22} {:>9} {:>9} {:>7} {:>9} {:>10}",
        "", "us/packet", "floor us", "ratio", "packets", "lost"
    );
    for (name, profile) in [
        ("AEAD_AES_128_GCM", Profile::Aes128Gcm),
        ("AEAD_AES_256_GCM", Profile::Aes256Gcm),
        ("AES_128_CM_SHA1_80", Profile::Aes128CmSha1),
    ] {
        let receiver = Receiver::start(cpus.get(1).copied())?;
        let mut scene = Scene::new(profile, options.viewers, receiver.address())?;
        // Joiners are not what is measured.
        for _ in 0..100 {
            scene.step(Step::Real);
            thread::sleep(Duration::from_millis(2));
        }
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        let (mut sent, before) = (0, receiver.settled());
        for _ in 0..options.rounds {
            let (spent, packets) = pace(options, || Ok(scene.step(Step::Real)))?;
            sent += packets;
            ours.push(spent.as_secs_f64() * 1e6 / packets as f64);
            let mut floor =
                Floor::new(profile, options.viewers, scene.trains().to_vec(), receiver.address())?;
            let (spent, packets) = pace(options, || floor.step())?;
            sent += packets;
            floors.push(spent.as_secs_f64() * 1e6 / packets as f64);
        }
        let lost = sent.saturating_sub(receiver.settled() - before);
        let (ours, floor) = (median(&mut ours), median(&mut floors));
        println!("{name:<22} {ours:>9.2} {floor:>9.2} {:>7.2} {sent:>9} {lost:>10}", ours / floor);
        if profile == Profile::Aes128Gcm {
            kept &= ours / floor <= RATIO_MAX && ours <= MICROS_MAX && lost == 0;
        }
    }
    Ok(kept || !options.strict)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
