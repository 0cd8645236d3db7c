//! Following another configuration while the server runs: everything is made and checked first, then it all changes at once.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::{Duration, Instant},
};

use config::{Change, Loaded};

use super::{
    Server, backend,
    live::{Door, Entrance, Live, bind_error},
    permission,
};
use crate::{hooks::Hooks, net::listener};

/// How long shards have to follow before it is said that one is late. It follows at its next tick all the same.
const FOLLOW: Duration = Duration::from_secs(2);
const FOLLOW_STEP: Duration = Duration::from_millis(10);

/// Why everything stays as it was.
#[derive(Debug)]
pub enum ReloadError {
    /// These keys cannot change while the server runs.
    Fixed(Vec<Change>),
    /// A sentence for the operator.
    Problem(String),
}

impl Server {
    /// Follows another configuration: all of it, when this returns, or nothing. Nobody who is connected is disturbed.
    ///
    /// # Errors
    /// Why not.
    pub fn reload(&self, loaded: Loaded) -> Result<Vec<Change>, ReloadError> {
        let problem = |error: &dyn std::fmt::Display| ReloadError::Problem(error.to_string());
        let before = self.loaded.load_full();
        let changes = before.config.changes(&loaded.config);
        let fixed: Vec<Change> = changes.iter().filter(|change| !change.is_reloadable()).cloned().collect();
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed(fixed));
        }
        // Made whole: from here to the last `?` nothing has changed yet. Files are read again, whatever the keys say.
        let config = &loaded.config;
        let old = self.live.load_full();
        let shards = old.shards.cpus.len();
        let tls = super::tls_of(config).map_err(|error| problem(&error))?;
        let webrtc = super::webrtc_of(config).map_err(|error| problem(&error))?;
        let permission = permission::prepare(config).map_err(|error| problem(&error))?;
        let hooks = Hooks::prepare(backend::options(&config.hooks)).map_err(|error| problem(&error))?;
        let sockets = super::socket_options(config);
        let mut entrances = Vec::new();
        for door in super::doors(config) {
            let open = old.entrances.iter().find(|entrance| entrance.door == door);
            let entrance = match open {
                Some(open) => Arc::clone(open),
                None => {
                    probe(door, &old).map_err(|error| problem(&error))?;
                    Arc::new(Entrance::open(door, shards, sockets).map_err(|error| problem(&error))?)
                }
            };
            entrances.push(entrance);
        }
        let live = Arc::new(Live {
            sessions: super::session_options(config),
            tls,
            webrtc,
            sockets,
            shards: super::executor_options(config, old.shards.cpus.clone()),
            entrances,
            followed: AtomicUsize::new(0),
        });
        // Nothing can fail any more.
        self.admission.retune(super::admission_options(config));
        self.hooks.change(hooks);
        self.permission.change(permission);
        self.shared.abilities.store(Arc::new(super::abilities(config, &self.hooks)));
        self.shared.settings.store(Arc::new(super::shown(&loaded)));
        self.shared.metrics.store(Arc::new(super::metrics(config)));
        self.shared.ports.store(Arc::new(super::ports(config)));
        self.live.store(Arc::clone(&live));
        self.loaded.store(Arc::new(loaded));
        let until = Instant::now() + FOLLOW;
        while !live.is_followed_by(shards) {
            if Instant::now() >= until {
                tracing::warn!("a shard is late to follow the new configuration");
                break;
            }
            thread::sleep(FOLLOW_STEP);
        }
        Ok(changes)
    }
}

/// Whether another process listens where a new door is to open. Where it is one of our own that is about to close, nobody can
/// tell.
fn probe(door: Door, old: &Live) -> std::io::Result<()> {
    let takes = |ours: SocketAddr| {
        ours.port() == door.address.port()
            && (ours.ip() == door.address.ip()
                || ours.ip().is_unspecified()
                || door.address.ip().is_unspecified())
    };
    if old.entrances.iter().any(|entrance| takes(entrance.door.address)) {
        return Ok(());
    }
    listener::probe(door.address).map_err(|error| bind_error(door, &error))
}
