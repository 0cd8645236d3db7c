//! What each command makes of its arguments: plans for the engine.

mod compare;
mod plans;

use std::sync::{Arc, atomic::AtomicBool};

use anyhow::{Context, Result};
use loadtest::{
    engine::{self, Plan},
    floor::{Floor, child},
    outcome::Outcome,
    output::progress::Line,
};

use crate::cli::{
    Command, FloorChild,
    options::{OutputArgs, StreamArgs},
};

/// Runs plans, and shows how they go.
pub struct Runner {
    /// Somebody wants it to end.
    pub stopped: Arc<AtomicBool>,
    /// No progress.
    pub quiet: bool,
}

/// Does what was asked.
///
/// # Errors
/// When it cannot even begin.
pub fn run(command: &Command, stopped: &Arc<AtomicBool>) -> Result<Vec<Outcome>> {
    let quiet = command.output().is_some_and(|output| output.quiet);
    let context = Runner { stopped: Arc::clone(stopped), quiet };
    match command {
        Command::Fanout(args) => context.run(&plans::fanout(args)?),
        Command::Whep(args) => context.run(&plans::whep(args)?),
        Command::Whip(args) => context.run(&plans::whip(args)?),
        Command::Join(args) => context.run(&plans::join(args)?),
        Command::Churn(args) => context.run(&plans::churn(args)?),
        Command::Slow(args) => context.run(&plans::slow(args)?),
        Command::Floor(args) => {
            let (floor, plan) = plans::floor(args)?;
            let outcome = context.run(&plan);
            drop(floor);
            outcome
        }
        Command::Compare(args) => compare::run(args, &context),
        Command::FloorChild(args) => floor_child(args).map(|()| Vec::new()),
    }
}

impl Runner {
    fn run(&self, plan: &Plan) -> Result<Vec<Outcome>> {
        self.one(plan, &plan.name).map(|outcome| vec![outcome])
    }

    /// One run, with its progress under `title`.
    pub fn one(&self, plan: &Plan, title: &str) -> Result<Outcome> {
        let line = Line::new(title, self.quiet);
        let outcome = engine::run(plan, &self.stopped, &mut |progress| line.show(progress));
        line.clear();
        outcome.with_context(|| plan.name.clone())
    }
}

impl Command {
    /// Where results go; nowhere for the floor's process.
    pub fn output(&self) -> Option<&OutputArgs> {
        Some(match self {
            Self::Fanout(args) => &args.output,
            Self::Whep(args) => &args.output,
            Self::Whip(args) => &args.output,
            Self::Join(args) => &args.output,
            Self::Churn(args) => &args.output,
            Self::Slow(args) => &args.output,
            Self::Floor(args) => &args.output,
            Self::Compare(args) => &args.output,
            Self::FloorChild(_) => return None,
        })
    }
}

/// Starts the floor's process.
pub fn start_floor(
    stream: &StreamArgs,
    publishers: u64,
    cpu: Option<usize>,
    coalesce: std::time::Duration,
    udp: bool,
) -> Result<Floor> {
    let mut args = vec!["floor-child".to_owned()];
    args.extend(["--publishers".to_owned(), publishers.to_string()]);
    args.extend(["--coalesce".to_owned(), format!("{}us", coalesce.as_micros())]);
    args.extend(cpu.into_iter().flat_map(|cpu| ["--cpu".to_owned(), cpu.to_string()]));
    args.extend(udp.then(|| "--udp".to_owned()));
    args.extend(stream.to_args());
    Floor::start(&args, udp).context("starting the floor")
}

fn floor_child(args: &FloorChild) -> Result<()> {
    let programme = args.stream.programme()?;
    let options = child::Options {
        programme,
        streams: args.publishers,
        cpu: args.cpu,
        coalesce: args.coalesce,
        datagrams: args.udp,
    };
    child::run(&options).context("the floor")
}
