//! `shardcast-loadtest`: arguments → runs → results. Exit status 0 when all is well and every requirement holds, 1 when one
//! does not, 2 when nothing could be measured, 130 when it was interrupted.

mod cli;
mod command;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::Parser;
use loadtest::{
    output::{Results, json, report, table},
    require::Found,
};
use signal_hook::{consts::TERM_SIGNALS, flag};

use cli::{Cli, options::OutputArgs};

const UNMET: u8 = 1;
const FAILED: u8 = 2;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("shardcast-loadtest: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(cli: &Cli) -> Result<u8> {
    let stopped = Arc::new(AtomicBool::new(false));
    if cli.command.output().is_some() {
        for &signal in TERM_SIGNALS {
            // The first one asks for what there is, the second one does not ask.
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&stopped))?;
            flag::register(signal, Arc::clone(&stopped))?;
        }
    }
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let runs = command::run(&cli.command, &stopped)?;
    let Some(output) = cli.command.output() else { return Ok(0) };
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let mut results = Results { command, unix, runs, verdicts: Vec::new() };
    check(output, &mut results);
    write(output, &results)?;
    let unmet: Vec<&str> = results
        .verdicts
        .iter()
        .filter(|verdict| !verdict.holds)
        .map(|verdict| verdict.sentence.as_str())
        .collect();
    if output.quiet {
        unmet.iter().for_each(|sentence| eprintln!("{sentence}"));
    }
    let nobody = results.runs.iter().any(|run| !run.cohorts.is_empty() && run.tally(|_| true).playing == 0);
    if nobody {
        eprintln!("shardcast-loadtest: nobody played, so that nothing was measured");
    }
    Ok(match (unmet.is_empty(), stopped.load(Ordering::Relaxed)) {
        (false, _) => UNMET,
        (true, false) if nobody => FAILED,
        (true, true) => INTERRUPTED,
        (true, false) => 0,
    })
}

fn check(output: &OutputArgs, results: &mut Results) {
    let names = results.names();
    let several: Vec<_> = names.iter().map(|name| ((*name).to_owned(), results.metrics(name))).collect();
    let found = match several.as_slice() {
        [(_, metrics)] => Found::One(metrics),
        _ => Found::Several(&several),
    };
    let verdicts = output.requirements.iter().map(|requirement| requirement.verdict(found));
    results.verdicts = verdicts.collect();
}

fn write(output: &OutputArgs, results: &Results) -> Result<()> {
    let to_stdout = output.json.as_deref() == Some(Path::new("-"));
    if !output.quiet {
        let text = table::render(results);
        if to_stdout {
            eprint!("{text}");
        } else {
            print!("{text}");
        }
    }
    if let Some(file) = &output.json {
        let text = format!("{:#}\n", json::render(results));
        if to_stdout {
            std::io::stdout().write_all(text.as_bytes()).context("writing JSON to standard output")?;
        } else {
            fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    if let Some(file) = &output.report {
        fs::write(file, report::render(results)).with_context(|| format!("writing {}", file.display()))?;
        if !output.quiet && !to_stdout {
            println!("The report is in {}.", file.display());
        }
    }
    Ok(())
}
