//! Shards that run: what travels, what panics, what does not start, and how all end. Needs io_uring.

use std::{
    cell::Cell,
    rc::Rc,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use super::{Options, start};
use crate::{
    ShardId,
    shard::{Service, Shard, spawn},
    stream::tests::house::options,
};

/// Two shards on one CPU: any machine has that.
fn cpu() -> usize {
    crate::placement::usable_cpus()[0]
}

/// Sends a ball to the other shard, which reports it.
struct Player {
    shard: Rc<Shard<Ball>>,
    report: Sender<(ShardId, Ball)>,
    guests: Cell<usize>,
    script: Script,
}

#[derive(Clone, Copy, PartialEq)]
enum Script {
    Play,
    FailToStart,
    PanicAtStart,
    PanicInTask,
    NeverIdle,
}

struct Ball {
    from: ShardId,
}

impl Service for Player {
    type Arrival = Ball;

    fn start(self: &Rc<Self>) -> Result<(), String> {
        if self.shard.id() == ShardId(1) {
            match self.script {
                Script::FailToStart => return Err("the port is taken".to_owned()),
                Script::PanicAtStart => panic!("as the script says"),
                Script::PanicInTask => {
                    let report = self.report.clone();
                    let from = self.shard.id();
                    spawn(async { panic!("as the script says") }, move |message| {
                        assert_eq!(message, "as the script says");
                        let _ = report.send((from, Ball { from }));
                    });
                }
                Script::Play | Script::NeverIdle => {}
            }
        }
        Ok(())
    }

    fn arrive(self: &Rc<Self>, ball: Ball) {
        let _ = self.report.send((self.shard.id(), ball));
    }

    fn tick(self: &Rc<Self>, _now: Instant) {
        if self.guests.replace(1) == 0 {
            let other = ShardId(1 - self.shard.id().0);
            let ball = Ball { from: self.shard.id() };
            assert!(self.shard.outbox().send(other, ball).is_ok());
            let own = Ball { from: self.shard.id() };
            assert!(self.shard.outbox().send(self.shard.id(), own).is_err(), "there is no way to oneself");
        }
    }

    fn begin_shutdown(self: &Rc<Self>) {}

    fn is_idle(&self) -> bool {
        self.script != Script::NeverIdle
    }
}

/// Works half of its time, and reports how busy its shard says it is.
struct Worker {
    shard: Rc<Shard<Ball>>,
    report: Sender<f32>,
}

impl Service for Worker {
    type Arrival = Ball;

    fn start(self: &Rc<Self>) -> Result<(), String> {
        let work = async {
            loop {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(10) {
                    std::hint::spin_loop();
                }
                glommio::timer::sleep(Duration::from_millis(10)).await;
            }
        };
        spawn(work, |panic| panic!("{panic}"));
        Ok(())
    }

    fn arrive(self: &Rc<Self>, _: Ball) {}

    fn tick(self: &Rc<Self>, _now: Instant) {
        let _ = self.report.send(self.shard.busy());
    }

    fn begin_shutdown(self: &Rc<Self>) {}

    fn is_idle(&self) -> bool {
        true
    }
}

#[test]
fn a_shard_tells_how_busy_it_is() {
    let (report, reports) = channel();
    let options = Options { cpus: vec![cpu()], streams: options(), coalesce_max: None, mirror_share: None };
    let running = start(&options, move |shard: &Rc<Shard<Ball>>| {
        Rc::new(Worker { shard: Rc::clone(shard), report: report.clone() })
    });
    let running = running.expect("a shard");
    // A few ticks, until what is smoothed has settled.
    let mut busy = 0.0;
    for _ in 0..15 {
        busy = reports.recv_timeout(Duration::from_secs(5)).expect("a tick");
    }
    assert!(busy > 0.25, "half of its time, or more where others take the CPU: {busy}");
    running.stop().ask(Duration::ZERO);
    assert_eq!(running.join(), 0);
}

type Reports = Receiver<(ShardId, Ball)>;

fn run(script: Script, cpus: &[usize]) -> (std::io::Result<super::Running>, Reports) {
    let (report, reports) = channel();
    let running = start(
        &Options { cpus: cpus.to_vec(), streams: options(), coalesce_max: None, mirror_share: None },
        move |shard: &Rc<Shard<Ball>>| {
            Rc::new(Player { shard: Rc::clone(shard), report: report.clone(), guests: Cell::new(0), script })
        },
    );
    (running, reports)
}

#[test]
fn what_is_sent_arrives_at_the_other_shard() {
    let (running, reports) = run(Script::Play, &[cpu(), cpu()]);
    let running = running.expect("two shards");
    for _ in 0..2 {
        let (at, ball) = reports.recv_timeout(Duration::from_secs(5)).expect("a ball");
        assert_ne!(at, ball.from);
    }
    let asked = Instant::now();
    running.stop().ask(Duration::from_secs(5));
    assert_eq!(running.join(), 0);
    assert!(asked.elapsed() < Duration::from_secs(2), "idle shards end at once: {:?}", asked.elapsed());
}

#[test]
fn shards_that_are_never_idle_end_at_the_deadline() {
    let (running, _reports) = run(Script::NeverIdle, &[cpu(), cpu()]);
    let running = running.expect("two shards");
    let asked = Instant::now();
    running.stop().ask(Duration::from_millis(500));
    assert_eq!(running.join(), 0);
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_panic_in_a_task_ends_that_task_alone() {
    let (running, reports) = run(Script::PanicInTask, &[cpu(), cpu()]);
    let running = running.expect("two shards");
    // The panic is told, and both balls still arrive.
    for _ in 0..3 {
        reports.recv_timeout(Duration::from_secs(5)).expect("a report");
    }
    running.stop().ask(Duration::ZERO);
    assert_eq!(running.join(), 0);
}

#[test]
fn one_shard_that_does_not_start_ends_all() {
    let (running, _reports) = run(Script::FailToStart, &[cpu(), cpu()]);
    assert_eq!(running.err().expect("no shards").to_string(), "the port is taken");
}

#[test]
fn one_shard_that_panics_at_its_start_ends_all() {
    let (running, _reports) = run(Script::PanicAtStart, &[cpu(), cpu()]);
    let error = running.err().expect("no shards").to_string();
    assert!(error.contains("before it had started"), "{error}");
}

#[test]
fn a_cpu_that_is_not_there_is_told() {
    let (running, _reports) = run(Script::Play, &[cpu(), 100_000]);
    let error = running.err().expect("no shards").to_string();
    assert!(error.contains("100000") || error.contains("CPU") || error.contains("cpu"), "{error}");
    let (running, _reports) = run(Script::Play, &[]);
    assert!(running.is_err());
}
