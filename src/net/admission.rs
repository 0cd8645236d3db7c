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

#[derive(Default)]
struct Counts {
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// The door, shared by all shards.
pub struct Admission {
    options: AdmissionOptions,
    counts: Mutex<Counts>,
}

/// A place among the connections; given back when dropped. It travels with its connection.
pub struct Ticket {
    admission: Arc<Admission>,
    /// `None`: whose it is, is not known yet.
    ip: Option<IpAddr>,
}

impl Admission {
    /// With nobody in.
    pub fn new(options: AdmissionOptions) -> Arc<Self> {
        Arc::new(Self { options, counts: Mutex::default() })
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
        let mut ticket = self.admit_proxy()?;
        ticket.belongs_to(ip)?;
        Ok(ticket)
    }

    /// Lets a connection of a proxy in, which counts for nobody until it is known whose it is.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn admit_proxy(self: &Arc<Self>) -> Result<Ticket, Refusal> {
        let connections_max = self.options.connections_max;
        let mut counts = self.lock();
        if connections_max > 0 && counts.total >= connections_max {
            return Err(Refusal::Full(connections_max));
        }
        counts.total += 1;
        drop(counts);
        Ok(Ticket { admission: Arc::clone(self), ip: None })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        // The counts are whole at every step, so a panic elsewhere does not spoil them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// It is one of `ip`'s.
    ///
    /// # Errors
    /// When that has as many as it may have.
    pub fn belongs_to(&mut self, ip: IpAddr) -> Result<(), Refusal> {
        let per_ip_max = self.admission.options.per_ip_max;
        let mut counts = self.admission.lock();
        let of_ip = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if per_ip_max > 0 && of_ip >= per_ip_max {
            return Err(Refusal::Address(per_ip_max));
        }
        *counts.by_ip.entry(ip).or_default() += 1;
        if let Some(before) = self.ip.replace(ip) {
            counts.one_less_of(before);
        }
        Ok(())
    }
}

impl Counts {
    fn one_less_of(&mut self, ip: IpAddr) {
        if let Some(of_ip) = self.by_ip.get_mut(&ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                self.by_ip.remove(&ip);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.total -= 1;
        if let Some(ip) = self.ip {
            counts.one_less_of(ip);
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

    #[test]
    fn a_proxys_connections_count_for_those_whom_it_speaks_for() {
        let door = Admission::new(AdmissionOptions { connections_max: 4, per_ip_max: 1 });
        let (one, two) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut tickets: Vec<Ticket> = (0..3).map(|_| door.admit_proxy().unwrap()).collect();
        assert_eq!(tickets[0].belongs_to(one), Ok(()));
        assert_eq!(tickets[1].belongs_to(one), Err(Refusal::Address(1)));
        assert_eq!(tickets[1].belongs_to(two), Ok(()));
        assert!(door.admit(one).is_err());
        drop(tickets);
        assert!(door.admit(one).is_ok() && door.lock().by_ip.is_empty());
        assert_eq!(door.connections(), 0);
    }
}
