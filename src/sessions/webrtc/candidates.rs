//! The addresses at which peers are told to reach a shard.

use std::net::{IpAddr, SocketAddr};

/// What the configuration, the environment and the machine's interfaces say; the same for all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Addresses without a port: the shard's own port is told.
    pub ips: Vec<IpAddr>,
    /// Addresses with the first shard's port, as a router maps it; further shards count on from there.
    pub mapped: Vec<SocketAddr>,
}

/// The most candidates of one session: each is a line of its answer.
const CANDIDATES_MAX: usize = 32;

impl Published {
    /// From texts that are `IP` or `IP:PORT`; what is neither is left out.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut published = Self::default();
        for text in texts.map(str::trim) {
            if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
                published.ips.push(ip);
            } else if let Ok(mapped) = text.parse() {
                published.mapped.push(mapped);
            }
        }
        published
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.mapped.is_empty()
    }

    /// The candidates of shard `index`, which listens at `port`; those of the request, `asked`, first.
    pub fn candidates(&self, asked: &[String], index: usize, port: u16) -> Vec<SocketAddr> {
        let asked = Self::of(asked.iter().map(String::as_str));
        let mut all: Vec<SocketAddr> = asked.ips.iter().map(|ip| (*ip, port).into()).collect();
        // A port that a client names is the one that it means.
        all.extend(asked.mapped);
        all.extend(self.ips.iter().map(|ip| SocketAddr::from((*ip, port))));
        all.extend(self.mapped.iter().filter_map(|mapped| {
            let port = u16::try_from(usize::from(mapped.port()) + index).ok()?;
            Some(SocketAddr::from((mapped.ip(), port)))
        }));
        let mut unique = Vec::new();
        for candidate in all {
            if !unique.contains(&candidate) && unique.len() < CANDIDATES_MAX {
                unique.push(candidate);
            }
        }
        unique
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_tells_its_own_port_and_what_was_asked_for_first() {
        let published =
            Published::of(["192.0.2.1", "203.0.113.7:9000", "[2001:db8::1]", "nonsense"].into_iter());
        let asked = ["198.51.100.9".to_owned(), "198.51.100.9:5000".to_owned(), "x".to_owned()];
        let told: Vec<String> =
            published.candidates(&asked, 2, 8_002).iter().map(SocketAddr::to_string).collect();
        let expected = [
            "198.51.100.9:8002",
            "198.51.100.9:5000",
            "192.0.2.1:8002",
            "[2001:db8::1]:8002",
            "203.0.113.7:9002",
        ];
        assert_eq!(told, expected);
    }
}
