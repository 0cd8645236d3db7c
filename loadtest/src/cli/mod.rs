//! The command line.

pub mod options;
pub mod target;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use loadtest::units;

use options::{OutputArgs, RunArgs, StreamArgs};
use target::{ComparedTarget, TargetArgs};

/// Publishers and players against any live media server's address, and what they saw.
///
/// Publishers speak RTMP and WHIP; players speak RTMP, HTTP-FLV, WS-FLV and WHEP, as their address says. Every picture
/// carries the publisher's clock in an SEI message, so latencies are from end to end, whatever server is between.
#[derive(Debug, Parser)]
#[command(name = "shardcast-loadtest", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publishers, and players who stay: what delivering costs and how late it is.
    Fanout(Fanout),
    /// Players by WebRTC: real handshakes, then RTP is counted without being decrypted, but for a sample.
    Whep(Whep),
    /// Publishers by WebRTC, with players or without.
    Whip(Whip),
    /// Everybody at once: players are there already, then joiners come within a second.
    Join(Join),
    /// Connect, play a little, leave; for hours if asked.
    Churn(Churn),
    /// A share of the players stops reading for a while, or reads too slowly.
    Slow(SlowRun),
    /// No server: a bare loop of send() on the same schedule, as a process of its own. What delivering costs at least.
    /// With --udp it seals and sends RTP.
    Floor(FloorRun),
    /// The same run against several targets in turn, A B A B A B: medians and ratios.
    Compare(Compare),
    /// The process of the floor.
    #[command(hide = true)]
    FloorChild(FloorChild),
}

/// `fanout`.
#[derive(Debug, Args)]
pub struct Fanout {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `whep`.
#[derive(Debug, Args)]
#[command(mut_arg("ramp", |arg| arg.default_value("100/s")))]
pub struct Whep {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `whip`.
#[derive(Debug, Args)]
#[command(mut_arg("ramp", |arg| arg.default_value("100/s")))]
#[command(mut_arg("players", |arg| arg.default_value("1")))]
#[command(mut_arg("play", |arg| arg.required(false)))]
#[command(mut_arg("publish", |arg| arg.required(true)))]
pub struct Whip {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `join`.
#[derive(Debug, Args)]
pub struct Join {
    /// Those who come at once, for each --play.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub joiners: u64,
    /// The time in which all of them come.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub within: Duration,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `churn`.
#[derive(Debug, Args)]
pub struct Churn {
    /// How many come in all, for each --play. Together with --ramp this is how long it takes.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub connects: u64,
    /// Instead of --connects: go on for so long.
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration, conflicts_with = "connects")]
    pub time: Option<Duration>,
    /// How long each one stays.
    #[arg(long, value_name = "TIME..TIME", default_value = "500ms..3s", value_parser = units::duration_range)]
    pub stay: (Duration, Duration),
    /// The server's memory and descriptors at the end are compared with those after so many connects [default: a tenth].
    #[arg(long, value_name = "N")]
    pub baseline: Option<u64>,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `slow`.
#[derive(Debug, Args)]
pub struct SlowRun {
    /// How many of the players are slow.
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = units::share)]
    pub share: f64,
    /// For how long they do not read at all, in the middle of --duration, which is lengthened for it.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    pub stop: Duration,
    /// Instead of stopping: read so many bits a second from the first picture on.
    #[arg(long, value_name = "BITRATE", value_parser = units::bit_rate, conflicts_with = "stop")]
    pub crawl: Option<u64>,
    /// The receive buffer of slow players, so that their slowness reaches the server.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = units::bytes)]
    pub receive_buffer: u64,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `floor`.
#[derive(Debug, Args)]
pub struct FloorRun {
    /// The CPU that the sending process stays on.
    #[arg(long, value_name = "N")]
    pub cpu: Option<usize>,
    /// How long messages are gathered before they are sent together.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = units::duration)]
    pub coalesce: Duration,
    /// RTP in datagrams instead of FLV in TCP: each packet sealed with AES-128-GCM, each message sent with GSO.
    #[arg(long, conflicts_with = "coalesce")]
    pub udp: bool,
    /// Streams.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub publishers: u64,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// A target: `name=URL[,URL…][,publish=URL][,pid=N[+N…]][,process=NAME][,shardcast=URL]`, with players' URLs; or
    /// `name=floor[,cpu=N][,coalesce=TIME][,udp]`. Ratios are to the first one.
    #[arg(long = "target", value_name = "NAME=…", required = true)]
    pub targets: Vec<ComparedTarget>,
    /// How often each target has its turn.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Streams.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub publishers: u64,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What the floor's process is told.
#[derive(Debug, Args)]
pub struct FloorChild {
    #[arg(long)]
    pub cpu: Option<usize>,
    #[arg(long, default_value = "0ms", value_parser = units::duration)]
    pub coalesce: Duration,
    #[arg(long)]
    pub udp: bool,
    #[arg(long, default_value_t = 1)]
    pub publishers: u64,
    #[command(flatten)]
    pub stream: StreamArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_usual_call_is_understood() {
        let line = "x fanout --publish rtmp://127.0.0.1/live/cam%d --publishers 2 --play http://127.0.0.1:8080/live/cam%d.flv \
                    --play 7@ws://127.0.0.1:8080/live/cam%d.flv --players 50 --bitrate 1M --gop 1s --require p99<20ms --pid 1,2";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{error}"));
        let Command::Fanout(fanout) = cli.command else { panic!("another command") };
        assert_eq!(fanout.target.play.iter().map(|play| play.count).collect::<Vec<_>>(), [None, Some(7)]);
        assert_eq!((fanout.run.players, fanout.run.pid.clone()), (50, vec![1, 2]));
        let programme = fanout.stream.programme().expect("a programme");
        assert_eq!((programme.bit_rate(), programme.group_us()), (1_000_000, 1_000_000));
        let line = "x whep --publish http://h/whip/live/a --play 300@http://h/whep/live/a";
        let Command::Whep(whep) = Cli::try_parse_from(line.split_whitespace()).expect("a line").command
        else {
            panic!("another command");
        };
        assert_eq!((whep.run.ramp, whep.run.players), (100.0, 100), "handshakes take more than connect()");
        let line = "x whip --publish http://h/whip/live/a%d --publishers 9";
        let Command::Whip(whip) = Cli::try_parse_from(line.split_whitespace()).expect("a line").command
        else {
            panic!("another command");
        };
        assert_eq!((whip.target.publishers, whip.target.play.len(), whip.run.players), (9, 0, 1));
        assert!(Cli::try_parse_from(["x", "whip"]).is_err() && Cli::try_parse_from(["x", "whep"]).is_err());
        assert!(Cli::try_parse_from(["x", "fanout", "--play", "https://h/a.flv"]).is_err());
        assert!(Cli::try_parse_from(["x", "fanout", "--require", "p99"]).is_err());
    }
}
