//! What a run is told: `cargo bench --bench fanout -- viewers=2000 rounds=5`.

use anyhow::{Context, Result, bail};

/// See the module.
#[derive(Clone, Debug)]
pub struct Options {
    /// Parts to run, of `fanout`, `memory` and `joins`.
    pub parts: Vec<String>,
    /// Players in `fanout`.
    pub viewers: usize,
    /// Measurements of each kind, server and floor in turn.
    pub rounds: usize,
    /// Groups of pictures in a measurement, two seconds each.
    pub cycles: u32,
    /// Joins of each form.
    pub joins: usize,
    /// Players in `memory`, before and after.
    pub memory: (usize, usize),
    /// The CPU of the server and of the floor.
    pub cpu: usize,
    /// Only this form (`flv`, `ws-flv`, `rtmp`).
    pub form: Option<String>,
    /// Only this `coalesce`.
    pub coalesce: Option<String>,
    /// Whether a missed bound makes the run fail.
    pub strict: bool,
}

const USAGE: &str = "known are: fanout memory joins strict, viewers=500 rounds=3 cycles=2 joins=300 memory=100,2000 cpu=0 form=flv|ws-flv|rtmp coalesce=0ms|350ms";

impl Options {
    /// From the arguments behind `--`; cargo's own `--bench` among them is passed over.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            parts: Vec::new(),
            viewers: 500,
            rounds: 3,
            cycles: 2,
            joins: 300,
            memory: (100, 2_000),
            cpu: 0,
            form: None,
            coalesce: None,
            strict: false,
        };
        for arg in args.filter(|arg| !arg.starts_with("--")) {
            let (name, value) = arg.split_once('=').unwrap_or((&arg, ""));
            let number = || value.parse::<usize>().with_context(|| format!("{arg}: {USAGE}"));
            match name {
                "fanout" | "memory" | "joins" if value.is_empty() => options.parts.push(arg),
                "strict" => options.strict = true,
                "viewers" => options.viewers = number()?.max(1),
                "rounds" => options.rounds = number()?.max(1),
                "cycles" => options.cycles = number()?.max(1) as u32,
                "joins" => options.joins = number()?.max(1),
                "cpu" => options.cpu = number()?,
                "form" => options.form = Some(value.to_owned()),
                "coalesce" => options.coalesce = Some(value.to_owned()),
                "memory" => {
                    let (few, many) = value.split_once(',').context(USAGE)?;
                    options.memory = (few.parse()?, many.parse()?);
                }
                _ => bail!("{arg}: {USAGE}"),
            }
        }
        if options.memory.0 >= options.memory.1 {
            bail!("memory={},{}: the second must be larger", options.memory.0, options.memory.1);
        }
        Ok(options)
    }

    /// Whether a part is to run.
    pub fn runs(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// Whether `name` was not ruled out by `only`.
    pub fn wants(only: &Option<String>, name: &str) -> bool {
        only.as_ref().is_none_or(|only| only.eq_ignore_ascii_case(name))
    }
}
