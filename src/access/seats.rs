//! How many may publish and play: on one stream, in all, from one address; over all shards.
//!
//! The counts are behind a lock, taken once when a session begins and once when it ends: never on the media path.
//! Invariant: a count is the number of its living [`Seat`]s; limits may change under them.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shards::media::StreamKey;

use super::{Action, Denied};

/// Bounds; zero is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Viewers of one stream.
    pub viewers_per_stream: usize,
    /// Publishers in all.
    pub publishers: usize,
    /// Publishers and viewers from one address.
    pub sessions_per_ip: usize,
}

#[derive(Default)]
struct Counts {
    publishers: usize,
    viewers: HashMap<StreamKey, usize>,
    by_ip: HashMap<IpAddr, usize>,
}

/// Who sits.
#[derive(Default)]
pub struct Seats(Mutex<Counts>);

/// A place; free again when dropped.
pub struct Seat {
    seats: Arc<Seats>,
    /// `None`: it publishes.
    watches: Option<StreamKey>,
    ip: IpAddr,
}

impl Seats {
    /// Takes a place.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] with the bound that is reached.
    pub fn take(
        self: &Arc<Self>,
        action: Action,
        key: &StreamKey,
        ip: IpAddr,
        limits: &Limits,
    ) -> Result<Seat, Denied> {
        let ip = ip.to_canonical();
        let reached = |count: usize, limit: usize| limit > 0 && count >= limit;
        let full = |what: &str, limit: usize| Err(Denied::Unavailable(format!("{what} ({limit})")));
        let mut counts = self.lock();
        let from = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if reached(from, limits.sessions_per_ip) {
            return full("your address has as many sessions as it may have", limits.sessions_per_ip);
        }
        let watches = match action {
            Action::Publish if reached(counts.publishers, limits.publishers) => {
                return full("there are as many publishers as there may be", limits.publishers);
            }
            Action::Publish => {
                counts.publishers += 1;
                None
            }
            Action::Play => {
                let viewers = counts.viewers.entry(key.clone()).or_default();
                if reached(*viewers, limits.viewers_per_stream) {
                    return full("this stream has as many viewers as it may have", limits.viewers_per_stream);
                }
                *viewers += 1;
                Some(key.clone())
            }
        };
        *counts.by_ip.entry(ip).or_default() += 1;
        drop(counts);
        Ok(Seat { seats: Arc::clone(self), watches, ip })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // The counts are whole at every step, so a panic elsewhere does not spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.seats.lock();
        match &self.watches {
            Some(key) => one_less(&mut counts.viewers, key),
            None => counts.publishers -= 1,
        }
        one_less(&mut counts.by_ip, &self.ip);
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("watches", &self.watches).field("ip", &self.ip).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_kept_and_a_place_is_free_again_when_its_session_ends() {
        let seats = Arc::new(Seats::default());
        let (key, other): (StreamKey, StreamKey) = ("live/a".parse().unwrap(), "live/b".parse().unwrap());
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let limits = Limits { viewers_per_stream: 1, publishers: 1, sessions_per_ip: 2 };
        let take = |action, key: &StreamKey, from| seats.take(action, key, ip(from), &limits);
        let first = take(Action::Play, &key, 1).unwrap();
        assert!(
            matches!(take(Action::Play, &key, 2), Err(Denied::Unavailable(why)) if why.contains("viewers"))
        );
        let _publisher = take(Action::Publish, &key, 1).unwrap();
        assert!(
            matches!(take(Action::Publish, &other, 2), Err(Denied::Unavailable(why)) if why.contains("publishers"))
        );
        assert!(
            matches!(take(Action::Play, &other, 1), Err(Denied::Unavailable(why)) if why.contains("address"))
        );
        drop(first);
        let _again = take(Action::Play, &key, 1).unwrap();
        assert_eq!(seats.lock().viewers.len(), 1, "what nobody watches is not remembered");
    }

    #[test]
    fn without_bounds_everybody_is_counted_all_the_same() {
        let seats = Arc::new(Seats::default());
        let key: StreamKey = "live/a".parse().unwrap();
        let take = |limits: &Limits| seats.take(Action::Play, &key, IpAddr::from([10, 0, 0, 1]), limits);
        let _some: Vec<Seat> = (0..5).filter_map(|_| take(&Limits::default()).ok()).collect();
        // The limit came later.
        assert!(take(&Limits { viewers_per_stream: 5, ..Limits::default() }).is_err());
        assert!(take(&Limits { viewers_per_stream: 6, ..Limits::default() }).is_ok());
    }
}
