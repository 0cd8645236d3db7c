//! For whom a proxy speaks: `X-Forwarded-For` and `X-Real-IP`, believed only of those who are listed.
//!
//! Invariant: an address that an untrusted peer could have written is never taken. A list grows at its right end, so it is
//! read from there, and the first address that is no proxy of ours is the client, whatever stands to the left of it.

use std::net::{IpAddr, SocketAddr};

use super::{Network, NetworkError};

/// More proxies than this stand in no row; what a list has beyond is not read.
const HOPS_MAX: usize = 32;

/// Who is believed.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Network>);

impl Proxies {
    /// From addresses and ranges.
    ///
    /// # Errors
    /// The first text that is neither.
    pub fn parse<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Self, NetworkError> {
        Ok(Self(texts.map(str::parse).collect::<Result<_, _>>()?))
    }

    /// Whether `ip` is one of them.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(ip))
    }

    /// Who asks, when `peer` brings these headers: the values of `X-Forwarded-For`, parted by commas, and `X-Real-IP`.
    pub fn client(&self, peer: IpAddr, forwarded_for: Option<&str>, real_ip: Option<&str>) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let Some(list) = forwarded_for else {
            return real_ip.and_then(address).unwrap_or(peer);
        };
        let mut client = peer;
        for item in list.rsplit(',').take(HOPS_MAX) {
            // `unknown`, or nonsense: who handed it on is as far as one can see.
            let Some(ip) = address(item) else { break };
            client = ip;
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let ip = match text.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => match text.parse::<SocketAddr>() {
            Ok(address) => address.ip(),
            Err(_) => text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?,
        },
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(peer: &str, forwarded_for: &str, real_ip: &str) -> String {
        let proxies = Proxies::parse(["127.0.0.1", "10.0.0.0/8", "fd00::/8"].into_iter()).unwrap();
        let header = |text: &'static str| (!text.is_empty()).then_some(text);
        let (list, real): (&'static str, &'static str) =
            (forwarded_for.to_owned().leak(), real_ip.to_owned().leak());
        proxies.client(peer.parse().unwrap(), header(list), header(real)).to_string()
    }

    #[test]
    fn a_stranger_speaks_for_nobody() {
        assert_eq!(client("192.0.2.9", "203.0.113.5", "203.0.113.5"), "192.0.2.9");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_of_ours_is_the_client() {
        assert_eq!(client("127.0.0.1", "203.0.113.5", ""), "203.0.113.5");
        assert_eq!(client("127.0.0.1", "203.0.113.5, 10.1.1.1,10.2.2.2", ""), "203.0.113.5");
        assert_eq!(
            client("127.0.0.1", "1.1.1.1, 203.0.113.5, 10.1.1.1", ""),
            "203.0.113.5",
            "1.1.1.1 is a lie"
        );
        assert_eq!(client("10.9.9.9", "[2001:db8::1]:443", ""), "2001:db8::1");
        assert_eq!(client("fd00::1", "203.0.113.5:1234", ""), "203.0.113.5");
        assert_eq!(client("::ffff:127.0.0.1", "203.0.113.5", ""), "203.0.113.5");
    }

    #[test]
    fn what_cannot_be_read_ends_the_list_and_a_list_of_proxies_alone_names_the_first() {
        assert_eq!(client("127.0.0.1", "203.0.113.5, unknown, 10.1.1.1", ""), "10.1.1.1");
        assert_eq!(client("127.0.0.1", "garbage", "203.0.113.5"), "127.0.0.1");
        assert_eq!(client("127.0.0.1", "10.3.3.3, 10.1.1.1", ""), "10.3.3.3");
        assert_eq!(client("127.0.0.1", "", "203.0.113.5"), "203.0.113.5");
        assert_eq!(client("127.0.0.1", "", "x"), "127.0.0.1");
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_first_the_proxys_word_counts(lie in "[0-9a-fA-F:., \\[\\]x\"-]{0,60}") {
            let list = format!("{lie},203.0.113.5");
            prop_assert_eq!(client("127.0.0.1", &list, &lie), "203.0.113.5");
        }
    }
}
