//! An address or a range of addresses: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
//!
//! Invariant: an IPv4 address in IPv6's clothes (`::ffff:10.0.0.1`, as a dual-stack socket tells it) is the IPv4 address
//! everywhere, in ranges and in what is compared with them.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor a range of them like 10.0.0.0/8 or 2001:db8::/32")]
pub struct NetworkError(pub String);

impl Network {
    /// Whether the address is in it.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let text = text.trim();
        let wrong = || NetworkError(text.chars().take(64).collect());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let plain = ip.to_canonical();
        // `::ffff:10.0.0.0/104` counts the bits of its clothes.
        let clothes: u8 = if ip.is_ipv6() && plain.is_ipv4() { 96 } else { 0 };
        let prefix = match prefix {
            // Digits alone: `+8` is a number to the parser of numbers.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let bits: u8 = digits.parse().map_err(|_| wrong())?;
                bits.checked_sub(clothes).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
            None => {
                if plain.is_ipv4() {
                    32
                } else {
                    128
                }
            }
        };
        IpNet::new(plain, prefix).map(|net| Self(net.trunc())).map_err(|_| wrong())
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn has(network: &str, ip: &str) -> bool {
        network.parse::<Network>().expect(network).has(ip.parse().expect(ip))
    }

    #[test]
    fn ranges_of_both_families_and_single_addresses() {
        assert!(has("10.0.0.0/8", "10.255.1.2") && !has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("10.1.2.3/8", "10.9.9.9"), "bits behind the prefix do not count");
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.8"));
        assert!(has("2001:db8::/32", "2001:db8:1::5") && !has("2001:db8::/32", "2001:db9::"));
        assert!(has("0.0.0.0/0", "8.8.8.8") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("::/0", "2001:db8::1") && !has("::/0", "8.8.8.8"));
    }

    #[test]
    fn an_address_in_other_clothes_is_the_same_address() {
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(has("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(has("::ffff:10.0.0.1", "10.0.0.1"));
        assert!("::ffff:10.0.0.0/64".parse::<Network>().is_err(), "it would be all of IPv4 and more");
    }

    #[test]
    fn what_is_no_range_is_told_so() {
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0", "10.0.0.0/", "10.0.0.0/+8", "a/8", "10.0.0.0/8/8", "/8"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert!("x".repeat(9_999).parse::<Network>().unwrap_err().to_string().len() < 200);
    }

    proptest! {
        /// Against arithmetic on the bits.
        #[test]
        fn a_range_holds_what_shares_its_first_bits(net: u32, ip: u32, bits in 0_u8..=32) {
            let network: Network = format!("{}/{bits}", Ipv4Addr::from(net)).parse().unwrap();
            let shared = bits == 0 || (net ^ ip) >> (32 - u32::from(bits)) == 0;
            prop_assert_eq!(network.has(Ipv4Addr::from(ip).into()), shared);
        }

        #[test]
        fn so_does_one_of_ipv6(net: u128, flip in 0_u32..128, bits in 0_u8..=128) {
            // Ranges of IPv4 in other clothes are counted otherwise.
            prop_assume!(net >> 32 != 0xffff && (net ^ (1 << flip)) >> 32 != 0xffff);
            let network: Network = format!("{}/{bits}", Ipv6Addr::from(net)).parse().unwrap();
            let other = Ipv6Addr::from(net ^ (1 << flip));
            prop_assert_eq!(network.has(other.into()), 127 - flip >= u32::from(bits));
        }

        #[test]
        fn any_text_is_a_range_or_not(text in "\\PC{0,40}") {
            let _ = text.parse::<Network>();
        }
    }
}
