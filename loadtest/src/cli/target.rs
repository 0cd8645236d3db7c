//! What is loaded: where to publish, where to play, whose CPU to read.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use loadtest::{
    measure::process::Watch,
    units,
    url::{Address, Form},
};

/// `[COUNT@]URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// How many players; as many as --players says without.
    pub count: Option<u64>,
    /// What they play.
    pub address: Address,
}

impl FromStr for Play {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The part before a scheme has no '@', so that a user's name in an address is none of this.
        let count = text.split_once('@').filter(|(count, _)| !count.contains(':'));
        let (count, address) = match count {
            Some((count, address)) => {
                let count = count.parse().map_err(|_| format!("'{count}' is no number of players"))?;
                (Some(count), address)
            }
            None => (None, text),
        };
        let address: Address = address.parse().map_err(|error| format!("{error}"))?;
        if address.form == Form::Whip {
            return Err(format!("'{address}' is for publishers"));
        }
        Ok(Self { count, address })
    }
}

fn publish(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|error| format!("{error}"))?;
    match address.form {
        Form::Rtmp | Form::Whip => Ok(address),
        _ => Err("publishers speak RTMP (rtmp://…) and WHIP (http://…/whip/…, whip://…)".to_owned()),
    }
}

/// One target.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The target")]
pub struct TargetArgs {
    /// Where to publish (rtmp://host/app/stream%d, http://host/whip/app/stream%d); %d is the stream's number, from 0. Without it, somebody else does.
    #[arg(long, value_name = "URL", value_parser = publish)]
    pub publish: Option<Address>,
    /// How many streams; also without --publish, for %d in --play.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub publishers: u64,
    /// What players play: rtmp://…, http://….flv, ws://….flv or http://…/whep/…, with %d for the stream's number; COUNT@URL for another
    /// number of players than --players. May be given several times.
    #[arg(long, value_name = "[N@]URL", required = true)]
    pub play: Vec<Play>,
}

/// A target of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedTarget {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What a target of a comparison is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A server.
    Server {
        /// Where to publish.
        publish: Option<Address>,
        /// What is played.
        play: Vec<Play>,
        /// Whose CPU.
        pids: Vec<u32>,
        /// The same by name.
        process: Option<String>,
        /// Shardcast's pages.
        shardcast: Option<String>,
    },
    /// A bare loop of send().
    Floor {
        /// The CPU that it stays on.
        cpu: Option<usize>,
        /// How long it gathers.
        coalesce: Duration,
        /// Sealed datagrams.
        udp: bool,
    },
}

impl FromStr for ComparedTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("'{text}' is not name=URL"))?;
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) {
            return Err(format!("'{name}' is no name: letters, digits, dots and dashes"));
        }
        let parts: Vec<&str> = rest.split(',').collect();
        let kind = if parts.first() == Some(&"floor") { floor(&parts)? } else { server(&parts)? };
        Ok(Self { name: name.to_owned(), kind })
    }
}

fn floor(parts: &[&str]) -> Result<Kind, String> {
    let (mut cpu, mut coalesce, mut udp) = (None, Duration::ZERO, false);
    for part in parts.iter().skip(1) {
        match part.split_once('=') {
            Some(("cpu", value)) => cpu = Some(value.parse().map_err(|_| format!("'{value}' is no CPU"))?),
            Some(("coalesce", value)) => {
                coalesce = units::duration(value).map_err(|error| error.to_string())?
            }
            None if *part == "udp" => udp = true,
            _ => return Err(format!("'{part}' is none of cpu=N, coalesce=TIME, udp")),
        }
    }
    if udp && coalesce > Duration::ZERO {
        return Err("datagrams are not gathered: udp or coalesce=TIME".to_owned());
    }
    Ok(Kind::Floor { cpu, coalesce, udp })
}

fn server(parts: &[&str]) -> Result<Kind, String> {
    let (mut publish_at, mut play, mut pids, mut process, mut shardcast) =
        (None, Vec::new(), Vec::new(), None, None);
    for part in parts {
        // An address may hold '=' too, but behind its scheme.
        let option = part.split_once('=').filter(|(name, _)| !name.contains(':') && !name.contains('@'));
        match option {
            Some(("publish", value)) => publish_at = Some(publish(value)?),
            Some(("pid", value)) => {
                for pid in value.split('+') {
                    pids.push(pid.parse().map_err(|_| format!("'{pid}' is no process"))?);
                }
            }
            Some(("process", value)) => process = Some(value.to_owned()),
            Some(("shardcast", value)) => shardcast = Some(value.to_owned()),
            Some((name, _)) => return Err(format!("'{name}' is none of publish, pid, process, shardcast")),
            None => play.push(part.parse()?),
        }
    }
    if play.is_empty() {
        return Err("a target needs an address to play".to_owned());
    }
    Ok(Kind::Server { publish: publish_at, play, pids, process, shardcast })
}

/// Whom to watch.
///
/// # Errors
/// When there is no such process.
pub fn watch(pids: &[u32], process: Option<&str>) -> Result<Watch> {
    match process {
        Some(name) => Watch::named(name).context("--process"),
        None => Watch::pids(pids).context("--pid"),
    }
}

/// That each of several publishers has a name of its own.
///
/// # Errors
/// When they would share one.
pub fn check_names(publish: Option<&Address>, publishers: u64) -> Result<()> {
    match publish {
        Some(address) if publishers > 1 && !address.is_numbered() => {
            bail!("'{address}' has no %d, so that {publishers} publishers would fight for one stream")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> ComparedTarget {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn targets_of_a_comparison_are_read() {
        let one = target(
            "sc=http://h:1/live/a%d.flv?x=1,9@rtmp://h/live/a%d,publish=rtmp://h/live/a%d,pid=4+5,shardcast=http://h:1",
        );
        assert_eq!(one.name, "sc");
        let Kind::Server { publish, play, pids, process, shardcast } = one.kind else { panic!("a server") };
        assert_eq!(
            play.iter().map(|play| (play.count, play.address.form)).collect::<Vec<_>>(),
            [(None, Form::HttpFlv), (Some(9), Form::Rtmp)]
        );
        assert_eq!(publish.map(|address| address.to_string()).as_deref(), Some("rtmp://h/live/a%d"));
        assert_eq!((pids, process, shardcast.as_deref()), (vec![4, 5], None, Some("http://h:1")));
        let floor = Kind::Floor { cpu: Some(1), coalesce: Duration::from_millis(350), udp: false };
        assert_eq!(target("floor=floor,cpu=1,coalesce=350ms").kind, floor);
        let floor = Kind::Floor { cpu: None, coalesce: Duration::ZERO, udp: true };
        assert_eq!(target("floor=floor,udp").kind, floor);
    }

    #[test]
    fn what_is_no_target_is_told() {
        for text in [
            "sc",
            "=http://h/a.flv",
            "a=",
            "a=publish=rtmp://h/a/b",
            "a=http://h/a.flv,pid=x",
            "a=floor,cup=1",
            "a=floor,udp,coalesce=1s",
            "a=http://h/whip/live/a",
            "a=http://h/a.flv,colour=red",
            "a b=http://h/a.flv",
            "a=http://h/a.flv,publish=http://h/a.flv",
        ] {
            assert!(text.parse::<ComparedTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_stands_before_the_address() {
        let play = |text: &str| text.parse::<Play>().map(|play| play.count);
        assert_eq!(play("500@http://h/a.flv"), Ok(Some(500)));
        assert_eq!(play("http://user@h/a.flv"), Ok(None));
        assert!(play("x@http://h/a.flv").is_err());
    }
}
