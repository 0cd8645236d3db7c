//! How many connections there may be, in all and from one address, over all shards.
//!
//! The count is behind a lock, taken once when a connection comes and once when it goes: never on the media path.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Bounds; zero is no bound.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionOptions {
    /// In all.
    pub connections_max: usize,
    /// From one address.
    pub per_ip_max: usize,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `limits.connections`.
    #[error("the server has reached its limit of {0} connections")]
    Full(usize),
    /// `limits.connections_per_ip`.
    #[error("your address has reached its limit of {0} connections")]
    Address(usize),
}

struct Counts {
    options: AdmissionOptions,
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// The door, shared by all shards.
pub struct Admission {
    counts: Mutex<Counts>,
}

/// A place among the connections; given back when dropped. It travels with its connection.
pub struct Ticket {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Admission {
    /// With nobody in.
    pub fn new(options: AdmissionOptions) -> Arc<Self> {
        let counts = Counts { options, total: 0, by_ip: HashMap::new() };
        Arc::new(Self { counts: Mutex::new(counts) })
    }

    /// Bounds for those who come from now on; nobody who is in has to go.
    pub fn retune(&self, options: AdmissionOptions) {
        self.lock().options = options;
    }

    /// How many are in.
    pub fn connections(&self) -> usize {
        self.lock().total
    }

    /// Lets a connection from `ip` in, if the bounds allow it.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Ticket, Refusal> {
        let mut counts = self.lock();
        let AdmissionOptions { connections_max, per_ip_max } = counts.options;
        if connections_max > 0 && counts.total >= connections_max {
            return Err(Refusal::Full(connections_max));
        }
        let of_ip = counts.by_ip.entry(ip).or_default();
        if per_ip_max > 0 && *of_ip >= per_ip_max {
            return Err(Refusal::Address(per_ip_max));
        }
        *of_ip += 1;
        counts.total += 1;
        Ok(Ticket { admission: Arc::clone(self), ip })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        // The counts are whole at every step, so a panic elsewhere does not spoil them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.total -= 1;
        if let Some(of_ip) = counts.by_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_goes() {
        let door = Admission::new(AdmissionOptions { connections_max: 2, per_ip_max: 1 });
        let (one, two) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = door.admit(one).unwrap();
        assert_eq!(door.admit(one).err(), Some(Refusal::Address(1)));
        let _second = door.admit(two).unwrap();
        assert_eq!(door.admit("10.0.0.3".parse().unwrap()).err(), Some(Refusal::Full(2)));
        drop(first);
        assert!(door.admit(one).is_ok());
        assert_eq!(door.connections(), 1);
    }
}
