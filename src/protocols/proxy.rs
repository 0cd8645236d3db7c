//! The PROXY protocol, versions 1 and 2: what a proxy says, before anything else, of whom it speaks for.
//!
//! The text is <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>; its section numbers stand below. Whether a peer is
//! a proxy to be believed is for the caller to know: of anybody else these bytes are garbage. Neither version can be taken
//! for RTMP, TLS or HTTP. Invariant: nothing is taken before the whole header is there, and it is there within
//! [`HEADER_BYTES_MAX`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};

/// §2.2: 16 bytes, then at most this many of addresses and of things that nobody here reads.
const V2_BODY_BYTES_MAX: usize = 2_048;
/// The longest header.
pub const HEADER_BYTES_MAX: usize = 16 + V2_BODY_BYTES_MAX;

/// §2.1: the longest line of version 1, with its CRLF.
const V1_BYTES_MAX: usize = 107;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The connection is this client's.
    Client(SocketAddr),
    /// The proxy's own, such as a check of health; or the client has no address of IP.
    Own,
}

/// Why bytes are no header, although they begin like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// §2.1.
    #[error("the line of the PROXY protocol cannot be read")]
    Line,
    /// §2.2.
    #[error("the PROXY protocol has version {0} here; 1 and 2 are known")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("the PROXY protocol has no command {0}")]
    Command(u8),
    /// More than anybody needs.
    #[error("a header of the PROXY protocol has {0} bytes; {V2_BODY_BYTES_MAX} are allowed")]
    Long(usize),
    /// Too short for the addresses that it promises.
    #[error("a header of the PROXY protocol ends within its addresses")]
    Short,
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No header: they stay as they are.
    None,
    /// The beginning of one, or what could become that.
    Partial,
    /// A whole one, which has been taken from the front.
    Whole(Header),
}

/// Takes the header from the front of `wire`, if there is one.
///
/// # Errors
/// When what begins like a header is none. The connection is of no use then.
pub fn take(wire: &mut BytesMut) -> Result<Start, ProxyError> {
    match () {
        () if begins(wire, V2) => v2(wire),
        () if begins(wire, V1) => v1(wire),
        () => Ok(Start::None),
    }
}

/// Whether `wire` begins with `sign`, as far as it goes.
fn begins(wire: &[u8], sign: &[u8]) -> bool {
    let common = wire.len().min(sign.len());
    wire.get(..common) == sign.get(..common)
}

/// §2.1: `PROXY TCP4 192.0.2.1 198.51.100.1 5000 1935\r\n`.
fn v1(wire: &mut BytesMut) -> Result<Start, ProxyError> {
    let head = wire.get(..wire.len().min(V1_BYTES_MAX)).unwrap_or_default();
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        let is_over = wire.len() >= V1_BYTES_MAX;
        return if is_over { Err(ProxyError::Line) } else { Ok(Start::Partial) };
    };
    let line = head.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(ProxyError::Line)?;
    let header = line_of(line).ok_or(ProxyError::Line)?;
    wire.advance(end + 2);
    Ok(Start::Whole(header))
}

fn line_of(line: &str) -> Option<Header> {
    let words: Vec<&str> = line.split(' ').collect();
    let port = |text: &str| {
        // `+80` is a number to the parser of numbers.
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten()
    };
    let (ip, ports): (IpAddr, _) = match words[..] {
        // Whatever follows is to be passed over.
        ["PROXY", "UNKNOWN", ..] => return Some(Header::Own),
        ["PROXY", "TCP4", from, to, port, to_port] => {
            to.parse::<Ipv4Addr>().ok()?;
            (from.parse::<Ipv4Addr>().ok()?.into(), (port, to_port))
        }
        ["PROXY", "TCP6", from, to, port, to_port] => {
            to.parse::<Ipv6Addr>().ok()?;
            (from.parse::<Ipv6Addr>().ok()?.into(), (port, to_port))
        }
        _ => return None,
    };
    port(ports.1)?;
    Some(Header::Client((ip.to_canonical(), port(ports.0)?).into()))
}

/// §2.2: the sign, version and command, family, length, addresses, and further things.
fn v2(wire: &mut BytesMut) -> Result<Start, ProxyError> {
    let Some((&[command, family, high, low], _)) =
        wire.get(V2.len()..).and_then(|rest| rest.split_first_chunk())
    else {
        return Ok(Start::Partial);
    };
    if command >> 4 != 2 {
        return Err(ProxyError::Version(command >> 4));
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > V2_BODY_BYTES_MAX {
        return Err(ProxyError::Long(len));
    }
    let start = V2.len() + 4;
    let Some(body) = wire.get(start..start + len) else { return Ok(Start::Partial) };
    let header = match command & 0x0f {
        0 => Header::Own,
        1 => client(family, body)?,
        other => return Err(ProxyError::Command(other)),
    };
    wire.advance(start + len);
    Ok(Start::Whole(header))
}

/// The source in a body of PROXY. Families that are not of IP have no address that means anything here.
fn client(family: u8, body: &[u8]) -> Result<Header, ProxyError> {
    /// Source, destination, both ports.
    const IPV4_BYTES: usize = 4 + 4 + 2 + 2;
    const IPV6_BYTES: usize = 16 + 16 + 2 + 2;
    let (ip, port): (IpAddr, &[u8]) = match family >> 4 {
        1 => {
            let body = body.get(..IPV4_BYTES).ok_or(ProxyError::Short)?;
            let ip = *body.first_chunk::<4>().ok_or(ProxyError::Short)?;
            (Ipv4Addr::from(ip).into(), &body[8..])
        }
        2 => {
            let body = body.get(..IPV6_BYTES).ok_or(ProxyError::Short)?;
            let ip = *body.first_chunk::<16>().ok_or(ProxyError::Short)?;
            (Ipv6Addr::from(ip).into(), &body[32..])
        }
        _ => return Ok(Header::Own),
    };
    let port = port.first_chunk::<2>().map(|port| u16::from_be_bytes(*port)).ok_or(ProxyError::Short)?;
    Ok(Header::Client((ip.to_canonical(), port).into()))
}

/// Whatever may come: nothing here panics, and what is taken is bounded. For the fuzzer and the tests.
pub fn fuzz(data: &[u8]) {
    let mut wire = BytesMut::from(data);
    let before = wire.len();
    match take(&mut wire) {
        Ok(Start::Whole(_)) => {
            assert!(before - wire.len() <= HEADER_BYTES_MAX, "more was taken than a header has")
        }
        Ok(Start::Partial) => assert!(before < HEADER_BYTES_MAX, "a header that never ends"),
        Ok(Start::None) | Err(_) => assert_eq!(before, wire.len(), "what is no header is left alone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2_wire(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &len, body].concat()
    }

    fn headers() -> Vec<(Vec<u8>, Header)> {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x13, 0x88, 0x07, 0x8f];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&5_000_u16.to_be_bytes());
        let mut mapped = v6;
        mapped[..16].copy_from_slice(&"::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap().octets());
        let client = |text: &str| Header::Client(text.parse().unwrap());
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 1935\r\n".to_vec(), client("192.0.2.1:5000")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 1935\r\n".to_vec(), client("[2001:db8::7]:5000")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Header::Own),
            (b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n".to_vec(), Header::Own),
            (v2_wire(0x21, 0x11, &v4), client("192.0.2.1:5000")),
            (v2_wire(0x21, 0x21, &v6), client("[2001:db8::7]:5000")),
            (v2_wire(0x21, 0x21, &mapped), client("192.0.2.1:5000")),
            // With a further thing, of type and length.
            (v2_wire(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), client("192.0.2.1:5000")),
            (v2_wire(0x20, 0x00, b""), Header::Own),
            (v2_wire(0x21, 0x31, &[0; 216]), Header::Own),
        ]
    }

    #[test]
    fn a_header_is_taken_whole_and_what_follows_is_left_wherever_the_wire_is_cut() {
        for (wire, expected) in headers() {
            for cut in 0..wire.len() {
                let mut partial = BytesMut::from(&wire[..cut]);
                assert_eq!(take(&mut partial), Ok(Start::Partial), "{cut} of {wire:?}");
                assert_eq!(partial.len(), cut);
            }
            let mut whole = BytesMut::from(&[&wire[..], b"\x03rest"].concat()[..]);
            assert_eq!(take(&mut whole), Ok(Start::Whole(expected)));
            assert_eq!(&whole[..], b"\x03rest");
        }
    }

    #[test]
    fn what_other_protocols_begin_with_is_no_header() {
        for wire in [
            &b"\x03\0\0"[..],
            b"GET / HTTP/1.1\r\n",
            b"POST /",
            b"PUT",
            b"PATCH ",
            b"\x16\x03\x01",
            b"\r\n\r\nGET",
        ] {
            let mut left = BytesMut::from(wire);
            assert_eq!(take(&mut left), Ok(Start::None), "{wire:?}");
            assert_eq!(&left[..], wire);
        }
    }

    #[test]
    fn what_only_begins_like_a_header_is_refused() {
        let refused = |wire: &[u8]| take(&mut BytesMut::from(wire)).unwrap_err();
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +500 1935\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000 99999\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 5000 1935\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 5000 1935\r\n",
            "PROXY  TCP4 192.0.2.1 198.51.100.1 5000 1935\r\n",
            "PROXY \r\n",
            "PROXY TCP4 \u{e9}\r\n",
        ] {
            assert_eq!(refused(line.as_bytes()), ProxyError::Line, "{line}");
        }
        assert_eq!(refused(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat()), ProxyError::Line);
        assert_eq!(refused(&v2_wire(0x31, 0x11, b"")), ProxyError::Version(3));
        assert_eq!(refused(&v2_wire(0x22, 0x11, b"")), ProxyError::Command(2));
        assert_eq!(refused(&v2_wire(0x21, 0x11, &[0; 11])), ProxyError::Short);
        assert_eq!(refused(&v2_wire(0x21, 0x21, &[0; 35])), ProxyError::Short);
        // Before all of it has come.
        assert_eq!(refused(&v2_wire(0x21, 0x11, &[0; 3_000])[..16]), ProxyError::Long(3_000));
    }

    proptest! {
        #[test]
        fn a_wounded_header_is_survived(which in 0_usize..10, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let (mut wire, _) = headers().swap_remove(which);
            let at = at.index(wire.len());
            wire[at] = byte;
            fuzz(&wire);
            fuzz(&wire[..cut.index(wire.len())]);
        }

        #[test]
        fn noise_is_survived(noise: Vec<u8>, is_v2: bool) {
            fuzz(&noise);
            fuzz(&[if is_v2 { V2 } else { V1 }, &noise].concat());
        }
    }
}
