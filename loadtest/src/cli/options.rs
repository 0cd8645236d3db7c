//! What several commands are told: what is published, how it is run, where results go.

use std::{num::ParseFloatError, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use loadtest::{
    engine::Tuning,
    media::{Programme, file::Clip, synthetic::Shape},
    play::Deal,
    require::Requirement,
    units,
};

/// A group of pictures, by number or by time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Group {
    /// So many pictures.
    Pictures(u64),
    /// As many as come in this time.
    Time(Duration),
}

fn group(text: &str) -> Result<Group, String> {
    match text.parse() {
        Ok(0) => Err("a group has at least one picture".to_owned()),
        Ok(pictures) => Ok(Group::Pictures(pictures)),
        Err(_) => units::duration(text).map(Group::Time).map_err(|error| error.to_string()),
    }
}

fn picture_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|error: ParseFloatError| error.to_string())?;
    if (1.0..=240.0).contains(&rate) { Ok(rate) } else { Err("1 to 240 pictures a second".to_owned()) }
}

/// What is published.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is published")]
pub struct StreamArgs {
    /// Bits a second of each stream, all told.
    #[arg(long, value_name = "BITRATE", default_value = "2M", value_parser = units::bit_rate)]
    pub bitrate: u64,
    /// Of these, the sound's (AAC) [default: a sixteenth].
    #[arg(long, value_name = "BITRATE", value_parser = units::bit_rate, conflicts_with = "no_audio")]
    pub audio: Option<u64>,
    /// No sound.
    #[arg(long)]
    pub no_audio: bool,
    /// Pictures a second.
    #[arg(long, value_name = "RATE", default_value = "30", value_parser = picture_rate)]
    pub fps: f64,
    /// From one keyframe to the next: pictures, or a time.
    #[arg(long, value_name = "N|TIME", default_value = "2s", value_parser = group)]
    pub gop: Group,
    /// The pictures' size.
    #[arg(long, value_name = "WxH", default_value = "640x360", value_parser = units::picture_size)]
    pub size: (u32, u32),
    /// An FLV or MP4 file to publish over and over instead, with any codecs; markers go into H.264. An MP4 is read by
    /// ffmpeg, which must be installed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bitrate", "audio", "no_audio", "fps", "gop", "size"])]
    pub file: Option<PathBuf>,
}

impl StreamArgs {
    /// The programme.
    ///
    /// # Errors
    /// When the file cannot be read, or the bit rate is too low for the pictures.
    pub fn programme(&self) -> Result<Programme> {
        if let Some(file) = &self.file {
            let clip = Clip::open(file).with_context(|| format!("{}", file.display()))?;
            return Ok(Programme::Clip(Arc::new(clip)));
        }
        let audio_bit_rate = if self.no_audio { 0 } else { self.audio.unwrap_or(self.bitrate / 16) };
        if audio_bit_rate >= self.bitrate {
            bail!("the sound's bit rate leaves nothing for pictures");
        }
        let group = match self.gop {
            Group::Pictures(pictures) => pictures,
            Group::Time(time) => (time.as_secs_f64() * self.fps).round().max(1.0) as u64,
        };
        let shape =
            Shape { bit_rate: self.bitrate, audio_bit_rate, picture_rate: self.fps, group, size: self.size };
        if let Some((needs, has)) = shape.too_little() {
            bail!(
                "a keyframe of this size takes {needs} bytes and gets {has}: raise --bitrate or --gop, or lower --size"
            );
        }
        Ok(Programme::Synthetic(shape))
    }

    /// The same as arguments, for another process.
    pub fn to_args(&self) -> Vec<String> {
        if let Some(file) = &self.file {
            return vec!["--file".to_owned(), file.display().to_string()];
        }
        let gop = match self.gop {
            Group::Pictures(pictures) => pictures.to_string(),
            Group::Time(time) => format!("{}us", time.as_micros()),
        };
        let (width, height) = self.size;
        let mut args: Vec<String> = [
            ("--bitrate", self.bitrate.to_string()),
            ("--fps", self.fps.to_string()),
            ("--gop", gop),
            ("--size", format!("{width}x{height}")),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        match self.audio {
            _ if self.no_audio => args.push("--no-audio".to_owned()),
            Some(rate) => args.extend(["--audio".to_owned(), rate.to_string()]),
            None => {}
        }
        args
    }
}

/// How it is run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "How it is run")]
pub struct RunArgs {
    /// Players for each --play that does not say how many.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub players: u64,
    /// How many players come in a second.
    #[arg(long, value_name = "RATE", default_value = "500/s", value_parser = units::rate)]
    pub ramp: f64,
    /// Between the last player and the steady window.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = units::duration)]
    pub warmup: Duration,
    /// The steady window.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub duration: Duration,
    /// Between the publishers and the first player.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub lead: Duration,
    /// One player in so many is parsed, at least three for each --play.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: u64,
    /// Silence of more than this is a stall.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub stall: Duration,
    /// A player without media after this has failed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub patience: Duration,
    /// Threads for players that only drain [default: a quarter of the cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: Option<u64>,
    /// Threads for players that are parsed.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub parse_threads: u64,
    /// How long draining threads sleep between two looks, so that many arrivals cost one wake-up. Longer naps spare this
    /// tool, but delay what TCP confirms: servers that wait for that (Nagle) then send less often.
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = units::duration)]
    pub nap: Duration,
    /// Addresses of 127.0.0.0/8 that players of this machine come from; 0 leaves it to the system [default: one for each
    /// 8,000 players].
    #[arg(long, value_name = "N")]
    pub sources: Option<u64>,
    /// The server's processes, whose CPU, memory, threads and descriptors are read from /proc.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// The same by name: all processes that are called so.
    #[arg(long, value_name = "NAME", conflicts_with = "pid")]
    pub process: Option<String>,
    /// Where Shardcast's pages are (http://host:port), for what its shards say of themselves.
    #[arg(long, value_name = "URL")]
    pub shardcast: Option<String>,
}

impl RunArgs {
    /// What the engine wants of it.
    pub fn tuning(&self) -> Tuning {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let draining = self.threads.map_or((cores / 4).max(1), |threads| threads as usize);
        Tuning {
            deal: Deal { parsing: self.parse_threads as usize, draining },
            lead: self.lead,
            stall: self.stall,
            patience: self.patience,
            nap: self.nap,
            sources: self.sources,
            slow_buffer: 64 << 10,
        }
    }
}

/// Where results go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Results")]
pub struct OutputArgs {
    /// All results as JSON, to a file or (`-`) to standard output; the table goes to standard error then.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
    /// A page with tables and plots.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// What must hold: a metric, a comparison, a bound (p99<20ms, died==0, cpu_per_gb<=1500). In a comparison metrics have
    /// their target in front: a.p99<20ms, a ratio a/b.cpu_per_gb<=1.15, a difference a-b.p99<=5ms. Exit status 1 when one
    /// does not hold. Every metric's name is in --json.
    #[arg(long = "require", value_name = "EXPRESSION")]
    pub requirements: Vec<Requirement>,
    /// No progress, no table.
    #[arg(long, short)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn a_programme_survives_the_way_to_another_process() {
        for line in [
            "x floor-child",
            "x floor-child --bitrate 200k --fps 25 --gop 1500ms --size 320x180 --no-audio",
            "x floor-child --bitrate 3M --audio 64k --gop 77",
        ] {
            let parse =
                |args: Vec<String>| match Cli::try_parse_from(args).unwrap_or_else(|e| panic!("{e}")).command
                {
                    Command::FloorChild(child) => child.stream,
                    _ => panic!("another command"),
                };
            let first = parse(line.split_whitespace().map(str::to_owned).collect());
            let mut args = vec!["x".to_owned(), "floor-child".to_owned()];
            args.extend(first.to_args());
            let programme = |args: &StreamArgs| args.programme().expect("a programme").describe();
            assert_eq!(programme(&parse(args)), programme(&first));
        }
    }

    #[test]
    fn what_cannot_be_published_is_told() {
        let told = |line: &str| {
            let Command::FloorChild(child) =
                Cli::try_parse_from(line.split_whitespace()).expect("a line").command
            else {
                panic!("another command");
            };
            format!("{:#}", child.stream.programme().expect_err("a mistake"))
        };
        assert!(told("x floor-child --bitrate 20k --size 1920x1080").contains("raise --bitrate"));
        assert!(told("x floor-child --bitrate 64k --audio 64k").contains("nothing for pictures"));
        assert!(told("x floor-child --file /no/such/file").contains("/no/such/file"));
    }
}
