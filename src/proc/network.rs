//! Bytes of interfaces (`/proc/net/dev`) and sockets of the system (`/proc/net/sockstat`, `/proc/net/snmp`).

use std::net::{IpAddr, Ipv4Addr};

/// Bytes since the machine began, loopback left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Of interfaces with an address of the Internet.
    pub received: u64,
    /// Likewise.
    pub sent: u64,
    /// Of all others.
    pub received_inner: u64,
    /// Likewise.
    pub sent_inner: u64,
}

impl Network {
    /// Reads the file. `is_public` tells whether an interface reaches the Internet.
    pub fn parse(text: &str, is_public: impl Fn(&str) -> bool) -> Self {
        let mut sum = Self::default();
        for (name, counters) in text.lines().filter_map(|line| line.split_once(':')) {
            let name = name.trim();
            let mut counters = counters.split_whitespace().map(|word| word.parse().unwrap_or(0u64));
            let (received, sent) = (counters.next().unwrap_or(0), counters.nth(7).unwrap_or(0));
            match name {
                "lo" => {}
                name if is_public(name) => {
                    sum.received += received;
                    sum.sent += sent;
                }
                _ => {
                    sum.received_inner += received;
                    sum.sent_inner += sent;
                }
            }
        }
        sum
    }
}

/// Whether an interface has one of `addresses` that the whole Internet can know.
pub(super) fn is_public(name: &str, addresses: &[(String, IpAddr)]) -> bool {
    addresses.iter().any(|(interface, ip)| interface == name && is_global(*ip))
}

fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared(ip)),
        // Global unicast.
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

/// A carrier's own (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
}

/// Sockets of the whole system, as far as the process may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Of all kinds.
    pub all: u64,
    /// TCP connections that are up.
    pub established: u64,
    /// TCP connections that wait for stray packets.
    pub time_wait: u64,
    /// UDP.
    pub udp: u64,
}

impl Sockets {
    /// Reads both files.
    pub fn parse(sockstat: &str, snmp: &str) -> Self {
        let field = |line: &str, name: &str| -> u64 {
            let words = sockstat.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
            let mut words = words.unwrap_or_default().split_whitespace();
            words.by_ref().find(|word| *word == name);
            words.next().and_then(|value| value.parse().ok()).unwrap_or_default()
        };
        // A line of names, and one of values.
        let mut tcp = snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
        let (names, values) = (tcp.next().unwrap_or_default(), tcp.next().unwrap_or_default());
        let pair =
            names.split_whitespace().zip(values.split_whitespace()).find(|(name, _)| *name == "CurrEstab");
        Self {
            all: field("sockets", "used"),
            established: pair.and_then(|(_, value)| value.parse().ok()).unwrap_or_default(),
            time_wait: field("TCP", "tw"),
            udp: field("UDP", "inuse"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_parted_into_those_that_reach_the_internet_and_others() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n\
                    eth0: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n  eth1:30 1 0 0 0 0 0 0 40 2 0 0 0 0 0 0\n cut: 5\n";
        let network = Network::parse(text, |name| name == "eth0");
        let expected = Network { received: 100, sent: 200, received_inner: 35, sent_inner: 40 };
        assert_eq!(network, expected);
    }

    #[test]
    fn addresses_of_homes_and_carriers_are_not_of_the_internet() {
        for (ip, global) in [
            ("8.8.8.8", true),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("2001:db8::1", true),
            ("fe80::1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_global(ip.parse().unwrap()), global, "{ip}");
        }
    }

    #[test]
    fn sockets_are_counted_by_their_kind() {
        let sockstat = "sockets: used 300\nTCP: inuse 20 orphan 0 tw 7 alloc 25 mem 3\nUDP: inuse 4 mem 2\n";
        let snmp = "Tcp: RtoAlgorithm CurrEstab InSegs\nTcp: 1 12 900\nUdp: InDatagrams\nUdp: 1\n";
        let sockets = Sockets::parse(sockstat, snmp);
        assert_eq!(sockets, Sockets { all: 300, established: 12, time_wait: 7, udp: 4 });
        assert_eq!(Sockets::parse("TCP: tw", "Tcp: CurrEstab"), Sockets::default());
    }
}
