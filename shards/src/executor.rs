//! Starts one pinned executor for each shard, and ends them together.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, timer};

use crate::{
    handoff::{self, Outbox},
    placement::{Placement, ShardId},
    shard::{self, PULSE, Service, Shard},
    spread::Spread,
    stream::StreamOptions,
};

/// What the shards run on.
#[derive(Clone, Debug)]
pub struct Options {
    /// One shard on each of these CPUs; a CPU may stand here more than once.
    pub cpus: Vec<usize>,
    /// How streams behave.
    pub streams: StreamOptions,
    /// `Some`: how long frames gather follows how busy the shard is, up to this, instead of `streams.coalesce`.
    pub coalesce_max: Option<Duration>,
    /// `Some`: a stream whose viewers take a larger share of its shard's time than this (0 to 1) is hot, and gets mirrors
    /// on other shards for those who come later.
    pub mirror_share: Option<f32>,
}

/// Asks all shards to end.
#[derive(Debug, Default)]
pub struct Stop {
    /// Milliseconds of the deadline plus one; zero while nobody asked.
    deadline: AtomicU64,
}

impl Stop {
    /// Ends all shards: they accept nothing more, say goodbye, and are gone within `deadline`.
    pub fn ask(&self, deadline: Duration) {
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX - 1);
        self.deadline.store(millis.saturating_add(1), Ordering::Release);
    }

    /// The deadline, once somebody asked.
    pub fn asked(&self) -> Option<Duration> {
        self.deadline.load(Ordering::Acquire).checked_sub(1).map(Duration::from_millis)
    }
}

/// Shards that run.
pub struct Running {
    handles: Vec<ExecutorJoinHandle<()>>,
    stop: Arc<Stop>,
}

impl Running {
    /// The switch that ends them.
    pub fn stop(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }

    /// Waits until all have ended; gives how many ended by a panic.
    pub fn join(self) -> usize {
        self.handles.into_iter().filter_map(|handle| handle.join().err()).count()
    }
}

/// Starts the shards, with a service on each that `make` makes there, and waits until all have started.
///
/// # Errors
/// When an executor cannot be made or a service does not start; nothing keeps running then.
pub fn start<S, M>(options: &Options, make: M) -> io::Result<Running>
where
    S: Service,
    M: Fn(&Rc<Shard<S::Arrival>>) -> Rc<S> + Clone + Send + 'static,
{
    if options.cpus.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no CPU to run a shard on"));
    }
    let placement = Placement::new(options.cpus.len());
    let stop = Arc::new(Stop::default());
    let spread = Spread::new(placement.shards());
    let (started, starts) = mpsc::channel::<Result<(), String>>();
    let mut handles = Vec::with_capacity(options.cpus.len());
    for (index, ends) in handoff::mesh(placement.shards()).into_iter().enumerate() {
        let id = ShardId(index as u16);
        let (make, started, stopping) = (make.clone(), started.clone(), Arc::clone(&stop));
        let cpu = options.cpus[index];
        let (options, spread) = (options.clone(), Arc::clone(&spread));
        let handle = builder(id, cpu).spawn(move || async move {
            // Until the shard's own pulse beats: see `PULSE`.
            let pulse = glommio::spawn_local(async {
                loop {
                    timer::sleep(PULSE).await;
                }
            });
            let (senders, receivers) = ends.into_parts();
            // Both ends of a channel wait for each other, so the receivers connect beside the senders.
            let receivers: Vec<_> =
                receivers.into_iter().map(|receiver| glommio::spawn_local(receiver.connect())).collect();
            let shard = Shard::new(id, placement, &options, spread, Outbox::connect(senders).await);
            let service = make(&shard);
            for receiver in receivers {
                let receiver = receiver.await;
                let (reader, service) = (Rc::clone(&shard), Rc::clone(&service));
                shard.spawn_prompt(
                    async move {
                        while let Some(letter) = receiver.recv().await {
                            // What one letter does must not close the inbox to all others.
                            let read = catch_unwind(AssertUnwindSafe(|| reader.open(letter)));
                            match read {
                                Ok(Some(arrival)) => service.arrive(arrival),
                                Ok(None) => {}
                                Err(_) => {
                                    tracing::error!(shard = %id, "a letter from another shard panicked")
                                }
                            }
                        }
                    },
                    move |panic| tracing::error!(shard = %id, "an inbox panicked: {panic}"),
                );
            }
            let outcome = service.start();
            drop(pulse);
            let well = outcome.is_ok();
            // The starter is gone only if it gave up already.
            let _ = started.send(outcome);
            // A starter that waits for a shard that ended early must not wait for those that run.
            drop(started);
            if well {
                shard::run(shard, service, stopping).await;
            }
        });
        match handle {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                stop.ask(Duration::ZERO);
                return Err(io::Error::other(format!(
                    "shard {id} cannot start: {error} (io_uring must be allowed: not forbidden by a container's \
                     seccomp profile or kernel.io_uring_disabled, and at least 512 KiB of `ulimit -l`)"
                )));
            }
        }
    }
    drop(started);
    let running = Running { handles, stop };
    for _ in 0..placement.shards() {
        let problem = match starts.recv() {
            Ok(Ok(())) => continue,
            Ok(Err(problem)) => Some(problem),
            // It had no chance to say why; its thread tells.
            Err(_) => None,
        };
        running.stop.ask(Duration::ZERO);
        let errors = running.handles.into_iter().filter_map(|handle| handle.join().err());
        let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
        return Err(io::Error::other(problem.unwrap_or_else(|| {
            format!(
                "a shard ended before it had started: {}",
                errors.first().map_or("no reason", |first| first)
            )
        })));
    }
    Ok(running)
}

fn builder(id: ShardId, cpu: usize) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(glommio::Placement::Fixed(cpu))
        .name(&format!("shard-{id}"))
        // The preemption timer stays at its 100 ms: one that expires before the executor's first task has run would let it
        // sleep for ever. The prompt queue shortens it while it has work, the pulse bounds it at other times.
        // Registered memory is for direct disk I/O, of which there is none; the default is 10 MiB for each of 3 rings.
        .io_memory(1 << 20)
        // Each idle socket keeps one poll in the ring; submissions come in bursts when many join at once.
        .ring_depth(1_024)
}

#[cfg(test)]
mod tests;
