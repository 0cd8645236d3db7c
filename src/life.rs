//! The life of the process from its start to its end: it takes orders, one after the other.
//!
//! Invariant: a configuration that is read again is followed whole or not at all; whoever is connected stays so through
//! everything but the end.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::{
    cli::{self, Cli},
    demo::control::Control,
    log,
    orders::{Order, Reloaded},
    server::{ReloadError, Server},
};

/// How often it is looked whether those that are waited for are gone.
const LOOK: Duration = Duration::from_millis(100);

/// How long the process that hands its ports over accepts what it was given before: connections that were being made when
/// the other took over, also those of distant peers.
const HAND_OVER: Duration = Duration::from_secs(1);

/// See the module.
pub struct Life<'a> {
    /// How it was started: a reload reads the same sources again.
    pub cli: Cli,
    /// What runs.
    pub server: Server,
    /// Its log.
    pub log: &'a log::Guard,
    /// The test picture: it stops before the server does.
    pub demo: Arc<Control>,
    /// What comes.
    pub orders: Receiver<Order>,
}

impl Life<'_> {
    /// Takes orders until one is to end, and ends. Gives how many shards ended by a panic.
    pub fn live(mut self) -> usize {
        loop {
            let order = match self.server.is_taking_over() {
                false => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                true => self.orders.recv_timeout(LOOK),
            };
            match order {
                Ok(Order::Reload(asker)) => self.reload_for(asker),
                Ok(Order::Reopen) => self.reopen(),
                Ok(Order::Drain) => {
                    self.drain();
                    break;
                }
                Ok(Order::HandOver) => {
                    tracing::info!("another process has taken the ports over");
                    self.pass(HAND_OVER, || false);
                    break;
                }
                Ok(Order::Stop(signal)) => {
                    tracing::info!(signal, "told to end");
                    break;
                }
                Err(RecvTimeoutError::Timeout) => self.server.look_after_take_over(),
                // The thread of the signals is gone; nothing could end this process in order any more.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let deadline = self.server.config().shutdown.deadline;
        tracing::info!("shutting down, within {deadline}");
        self.demo.end();
        let panics = self.server.stop(deadline.duration());
        tracing::info!("all connections are closed");
        panics
    }

    /// Takes nobody in any more, and waits for those who publish and play.
    fn drain(&mut self) {
        let limit = self.server.config().shutdown.drain;
        tracing::info!("nobody is taken in any more; those who are there have {limit}");
        self.server.drain();
        // Until each shard has had time to close its door, their counts say nothing.
        let (server, closed) = (&self.server, Instant::now() + 3 * LOOK);
        self.pass(limit.duration().max(3 * LOOK), || Instant::now() >= closed && server.sessions() == 0);
        tracing::info!(left = self.server.sessions(), "the wait is over");
    }

    fn pass(&self, limit: Duration, is_over: impl Fn() -> bool) {
        pass(&self.orders, self.log, limit, is_over);
    }

    fn reopen(&self) {
        self.log.reopen();
        tracing::info!("the log's file is opened anew");
    }

    fn reload_for(&mut self, asker: Option<crate::promise::Promise<Reloaded>>) {
        let outcome = self.reload();
        match &outcome {
            Ok(keys) if keys.is_empty() => {
                tracing::info!("the configuration was read again: nothing has changed")
            }
            Ok(keys) => tracing::info!("the configuration was read again: {} changed", keys.join(", ")),
            Err(problems) => {
                problems.iter().for_each(|problem| tracing::error!("reload: {problem}"));
                tracing::error!("the configuration stays as it was");
            }
        }
        if let Some(asker) = asker {
            asker.keep(outcome);
        }
    }

    fn reload(&mut self) -> Reloaded {
        let loaded = self
            .cli
            .load(std::env::vars_os())
            .map_err(|errors| errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        let level = cli::log_options(&loaded.config.log, std::env::var("RUST_LOG").ok());
        match self.server.reload(loaded) {
            Ok(changes) => {
                if let Err(error) = self.log.retune(&level) {
                    // The level is a word of the schema, and RUST_LOG has been read once already.
                    tracing::error!("the log's level stays as it was: {error}");
                }
                Ok(changes.into_iter().map(|change| change.key).collect())
            }
            Err(ReloadError::Fixed(changes)) => Err(changes
                .into_iter()
                .map(|change| format!("{} needs a restart and cannot change now", change.key))
                .collect()),
            Err(ReloadError::Problem(problem)) => Err(vec![problem]),
        }
    }
}

/// Waits until `is_over`, a second order to end, or the `limit`. Other orders come too late.
fn pass(orders: &Receiver<Order>, log: &log::Guard, limit: Duration, is_over: impl Fn() -> bool) {
    let until = Instant::now() + limit;
    while !is_over() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match orders.recv_timeout(left.min(LOOK)) {
            Ok(Order::Stop(_) | Order::HandOver) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Order::Reopen) => log.reopen(),
            Ok(Order::Reload(asker)) => {
                tracing::warn!("the server is ending: the configuration is not read again");
                asker.into_iter().for_each(|asker| asker.keep(Err(vec!["the server is ending".to_owned()])));
            }
            Ok(Order::Drain) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
