//! `compare`: the same run against several targets in turn, so that whatever else the machine does meets all of them.

use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use loadtest::{media::Programme, outcome::Outcome};

use super::{Runner, plans, start_floor};
use crate::cli::{
    Compare,
    options::RunArgs,
    target::{ComparedTarget, Kind, TargetArgs},
};

/// All rounds; those that there are, when somebody stops it.
pub fn run(args: &Compare, context: &Runner) -> Result<Vec<Outcome>> {
    check(&args.targets)?;
    let programme = args.stream.programme()?;
    let mut outcomes = Vec::new();
    for round in 1..=args.rounds {
        for target in &args.targets {
            let title = format!("{} {round}/{}", target.name, args.rounds);
            match one(args, target, programme.clone(), context, &title) {
                Ok(outcome) => outcomes.push(outcome),
                Err(_) if context.stopped.load(Ordering::Relaxed) && !outcomes.is_empty() => {
                    return Ok(outcomes);
                }
                Err(error) => return Err(error),
            }
            if context.stopped.load(Ordering::Relaxed) {
                return Ok(outcomes);
            }
        }
    }
    Ok(outcomes)
}

fn check(targets: &[ComparedTarget]) -> Result<()> {
    for (n, target) in targets.iter().enumerate() {
        if targets.iter().take(n).any(|other| other.name == target.name) {
            bail!("two targets are called '{}'", target.name);
        }
    }
    Ok(())
}

fn one(
    args: &Compare,
    target: &ComparedTarget,
    programme: Programme,
    context: &Runner,
    title: &str,
) -> Result<Outcome> {
    match &target.kind {
        Kind::Floor { cpu, coalesce, udp } => {
            let floor = start_floor(&args.stream, args.publishers, *cpu, *coalesce, *udp)?;
            let plan = plans::against_floor(
                &target.name,
                &floor,
                args.publishers,
                programme,
                &args.run,
                args.run.players,
            )?;
            context.one(&plan, title)
        }
        Kind::Server { publish, play, pids, process, shardcast } => {
            let addresses =
                TargetArgs { publish: publish.clone(), publishers: args.publishers, play: play.clone() };
            let run = RunArgs {
                pid: pids.clone(),
                process: process.clone(),
                shardcast: shardcast.clone(),
                ..args.run.clone()
            };
            context.one(&plans::against_server(&target.name, &addresses, programme, &run)?, title)
        }
    }
}
