//! Plans of single runs. Everything in them is relative to the first player.

use std::time::Duration;

use anyhow::{Result, bail};
use loadtest::{
    clock::nanos,
    engine::Plan,
    floor::Floor,
    media::Programme,
    play::{Cohort, Role, Slow},
    url::{Address, Form},
};

use crate::{
    cli::{
        Churn, Fanout, FloorRun, Join, SlowRun, Whep, Whip,
        options::RunArgs,
        target::{Play, TargetArgs, check_names, watch},
    },
    command::start_floor,
};

/// Between the window's end and the players', so that nothing of the end is in the window.
const TAIL: Duration = Duration::from_millis(300);

/// A player that comes at time 0 stays to the end.
fn cohorts(role: Role, play: &[Play], players: u64, streams: u64, run: &RunArgs) -> Result<Vec<Cohort>> {
    let count_of = |play: &Play| play.count.unwrap_or(players);
    let all: u64 = play.iter().map(count_of).sum();
    if all == 0 {
        bail!("there are no players");
    }
    let with_players = play.iter().filter(|play| count_of(play) > 0);
    with_players
        .map(|play| {
            let count = count_of(play);
            Ok(Cohort {
                role,
                remote: play.address.resolve()?,
                address: play.address.clone(),
                count,
                streams,
                begin_ns: 0,
                // Cohorts come side by side, all together at the rate that was asked for.
                rate: run.ramp * count as f64 / all as f64,
                stay_ns: None,
                slow: None,
                sample: Cohort::sample_of(count, run.sample),
            })
        })
        .collect()
}

fn complete(cohorts: &[Cohort]) -> Duration {
    Duration::from_nanos(cohorts.iter().map(Cohort::complete_ns).max().unwrap_or(0))
}

/// A plan of players who stay; the others are made of it.
fn base(name: &str, target: &TargetArgs, programme: Programme, run: &RunArgs) -> Result<Plan> {
    check_names(target.publish.as_ref(), target.publishers)?;
    let cohorts = cohorts(Role::Players, &target.play, run.players, target.publishers, run)?;
    let open = complete(&cohorts) + run.warmup;
    let close = open + run.duration;
    Ok(Plan {
        name: name.to_owned(),
        publish: target.publish.clone().map(|address| (address, target.publishers)),
        programme,
        cohorts,
        window: (open, close),
        end: close + TAIL,
        watch: watch(&run.pid, run.process.as_deref())?,
        shardcast: run.shardcast.clone(),
        baseline: None,
        tuning: run.tuning(),
    })
}

/// `fanout`.
pub fn fanout(args: &Fanout) -> Result<Plan> {
    base("fanout", &args.target, args.stream.programme()?, &args.run)
}

/// `whep`: `fanout`, where everybody plays by WebRTC.
pub fn whep(args: &Whep) -> Result<Plan> {
    if let Some(play) = args.target.play.iter().find(|play| play.address.form != Form::Whep) {
        bail!("'{}' is no WHEP address (http://…/whep/…, whep://…); `fanout` takes any", play.address);
    }
    base("whep", &args.target, args.stream.programme()?, &args.run)
}

/// `whip`: `fanout`, where everybody publishes by WebRTC, and there may be nobody who plays.
pub fn whip(args: &Whip) -> Result<Plan> {
    let publish = args.target.publish.as_ref().filter(|address| address.form == Form::Whip);
    let Some(address) = publish else {
        bail!("--publish needs a WHIP address (http://…/whip/…, whip://…); `fanout` takes any");
    };
    let programme = args.stream.programme()?;
    if !args.target.play.is_empty() {
        return base("whip", &args.target, programme, &args.run);
    }
    check_names(Some(address), args.target.publishers)?;
    let window = (args.run.warmup, args.run.warmup + args.run.duration);
    Ok(Plan {
        name: "whip".to_owned(),
        publish: Some((address.clone(), args.target.publishers)),
        programme,
        cohorts: Vec::new(),
        window,
        end: window.1 + TAIL,
        watch: watch(&args.run.pid, args.run.process.as_deref())?,
        shardcast: args.run.shardcast.clone(),
        baseline: None,
        tuning: args.run.tuning(),
    })
}

/// `join`: the window begins with the first joiner.
pub fn join(args: &Join) -> Result<Plan> {
    let mut plan = base("join", &args.target, args.stream.programme()?, &args.run)?;
    let (open, _) = plan.window;
    let mut joiners =
        cohorts(Role::Joiners, &joining(&args.target.play), args.joiners, args.target.publishers, &args.run)?;
    for cohort in &mut joiners {
        cohort.begin_ns = nanos(open);
        cohort.rate = cohort.count as f64 / args.within.as_secs_f64().max(1e-3);
    }
    plan.cohorts.extend(joiners);
    plan.window.1 = open + args.within + args.run.duration;
    plan.end = plan.window.1 + TAIL;
    Ok(plan)
}

/// Joiners play the same, as many as --joiners says.
fn joining(play: &[Play]) -> Vec<Play> {
    play.iter().map(|play| Play { count: None, address: play.address.clone() }).collect()
}

/// `churn`: the window begins when as many have come as later go.
pub fn churn(args: &Churn) -> Result<Plan> {
    let mut plan = base("churn", &args.target, args.stream.programme()?, &args.run)?;
    let (shortest, longest) = args.stay;
    let urls = args.target.play.len() as u64;
    let connects = match args.time {
        Some(time) => (time.as_secs_f64() * args.run.ramp / urls as f64).ceil() as u64,
        None => args.connects,
    };
    plan.cohorts =
        cohorts(Role::Players, &joining(&args.target.play), connects, args.target.publishers, &args.run)?;
    for cohort in &mut plan.cohorts {
        cohort.stay_ns = Some((nanos(shortest), nanos(longest)));
        // They are short-lived: few of many are enough, but many are there.
        cohort.sample = Cohort::sample_of(cohort.count, args.run.sample);
    }
    let all = complete(&plan.cohorts);
    let open = longest.min(all / 2);
    plan.window = (open, all.max(open + Duration::from_millis(100)));
    plan.end = plan.window.1 + TAIL;
    plan.baseline = Some(args.baseline.unwrap_or(connects * urls / 10).max(1));
    Ok(plan)
}

/// `slow`: a part of each cohort is slow; the window holds as much before and after as --duration says.
pub fn slow(args: &SlowRun) -> Result<Plan> {
    let mut plan = base("slow", &args.target, args.stream.programme()?, &args.run)?;
    let (open, close) = plan.window;
    let slow = match args.crawl {
        Some(bits) => Slow::Crawl { bytes: bits / 8 },
        None => {
            let from = open + args.run.duration / 2;
            plan.window.1 = close + args.stop;
            Slow::Stop { from_ns: nanos(from), until_ns: nanos(from + args.stop) }
        }
    };
    plan.end = plan.window.1 + TAIL;
    let mut slow_ones = Vec::new();
    for cohort in &mut plan.cohorts {
        let count = (cohort.count as f64 * args.share).round() as u64;
        let rate = cohort.rate;
        slow_ones.push(Cohort {
            role: Role::Slow,
            count,
            rate: rate * count as f64 / cohort.count as f64,
            slow: Some(slow),
            // All of them, to see where they go on.
            sample: 1,
            ..cohort.clone()
        });
        cohort.rate = rate * (cohort.count - count) as f64 / cohort.count as f64;
        cohort.count -= count;
    }
    plan.cohorts.extend(slow_ones);
    plan.cohorts.retain(|cohort| cohort.count > 0);
    plan.tuning.slow_buffer = usize::try_from(args.receive_buffer)?;
    Ok(plan)
}

/// `floor`: its process, and a run against it.
pub fn floor(args: &FloorRun) -> Result<(Floor, Plan)> {
    let programme = args.stream.programme()?;
    let floor = start_floor(&args.stream, args.publishers, args.cpu, args.coalesce, args.udp)?;
    let plan = against_floor("floor", &floor, args.publishers, programme, &args.run, args.run.players)?;
    Ok((floor, plan))
}

/// A run of `players` against a floor.
pub fn against_floor(
    name: &str,
    floor: &Floor,
    streams: u64,
    programme: Programme,
    run: &RunArgs,
    players: u64,
) -> Result<Plan> {
    let address: Address = floor.url().parse()?;
    let target =
        TargetArgs { publish: None, publishers: streams, play: vec![Play { count: Some(players), address }] };
    let run = RunArgs { pid: vec![floor.pid()], process: None, shardcast: None, ..run.clone() };
    base(name, &target, programme, &run)
}

/// A run against one server of a comparison.
pub fn against_server(name: &str, target: &TargetArgs, programme: Programme, run: &RunArgs) -> Result<Plan> {
    base(name, target, programme, run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    const WHERE: &str = "--publish rtmp://127.0.0.1/live/a%d --play http://127.0.0.1:1/live/a%d.flv --play 30@rtmp://127.0.0.1/live/a%d \
                         --ramp 100/s --warmup 2s --duration 4s";

    fn command(text: &str) -> Command {
        let line = format!("x {text} {WHERE}");
        Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{error}")).command
    }

    #[test]
    fn players_come_together_at_the_rate_that_was_asked_for() {
        let Command::Fanout(args) = command("fanout --players 70 --publishers 3") else {
            panic!("another command")
        };
        let plan = fanout(&args).expect("a plan");
        let rates: Vec<_> =
            plan.cohorts.iter().map(|cohort| (cohort.count, cohort.rate.round() as u64)).collect();
        assert_eq!(rates, [(70, 70), (30, 30)]);
        assert!(plan.window.0 > Duration::from_millis(2_900) && plan.window.0 < Duration::from_millis(3_000));
        assert_eq!(plan.window.1 - plan.window.0, Duration::from_secs(4));
        assert_eq!(plan.cohorts.iter().map(|cohort| cohort.streams).collect::<Vec<_>>(), [3, 3]);
    }

    #[test]
    fn joiners_come_when_the_window_opens() {
        let Command::Join(args) = command("join --joiners 200 --players 10 --within 500ms") else {
            panic!("another")
        };
        let plan = join(&args).expect("a plan");
        let joiners: Vec<_> = plan.cohorts.iter().filter(|cohort| cohort.role == Role::Joiners).collect();
        assert_eq!(joiners.iter().map(|cohort| cohort.count).collect::<Vec<_>>(), [200, 200]);
        assert!(joiners.iter().all(|cohort| cohort.begin_ns == nanos(plan.window.0) && cohort.rate == 400.0));
        assert_eq!(plan.window.1 - plan.window.0, Duration::from_millis(4_500));
    }

    #[test]
    fn churn_lasts_as_long_as_its_connects_take() {
        let Command::Churn(args) = command("churn --connects 500 --stay 1s..2s") else { panic!("another") };
        let plan = churn(&args).expect("a plan");
        assert_eq!((plan.cohorts.len(), plan.cohorts[0].count, plan.baseline), (2, 500, Some(100)));
        assert!(plan.end > Duration::from_secs(10) && plan.end < Duration::from_secs(11), "1,000 at 100/s");
    }

    #[test]
    fn slow_ones_are_a_share_of_each_cohort() {
        let Command::Slow(args) = command("slow --players 100 --share 20% --stop 3s") else {
            panic!("another")
        };
        let plan = slow(&args).expect("a plan");
        let counts: Vec<_> =
            plan.cohorts.iter().map(|cohort| (cohort.role, cohort.count, cohort.sample)).collect();
        let (players, slow) = (Role::Players, Role::Slow);
        assert_eq!(counts, [(players, 80, 33), (players, 24, 10), (slow, 20, 1), (slow, 6, 1)]);
        assert_eq!(plan.window.1 - plan.window.0, Duration::from_secs(7));
        let Some(Slow::Stop { from_ns, until_ns }) = plan.cohorts[2].slow else { panic!("it stops") };
        assert_eq!((from_ns - nanos(plan.window.0), until_ns - from_ns), (2_000_000_000, 3_000_000_000));
    }

    #[test]
    fn several_publishers_of_one_name_are_refused() {
        let line =
            "x fanout --publish rtmp://127.0.0.1/live/a --publishers 2 --play http://127.0.0.1:1/a.flv";
        let Command::Fanout(args) = Cli::try_parse_from(line.split_whitespace()).expect("a line").command
        else {
            panic!("another command");
        };
        assert!(fanout(&args).expect_err("one name").to_string().contains("fight for one stream"));
    }
}
