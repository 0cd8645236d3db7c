//! Hands shaken with captured peers and with each other.
//!
//! The captures hold C0, C1 and C2 as a server with the seed 7 got them, so C2 answers that server's S1.

use bytes::BytesMut;

use super::digest::{self, Scheme, Side};
use super::*;

const FFMPEG_PUBLISH: &[u8] = include_bytes!("testdata/ffmpeg-publish.bin");
const FFMPEG_PLAY: &[u8] = include_bytes!("testdata/ffmpeg-play.bin");
const RTMPDUMP_PLAY: &[u8] = include_bytes!("testdata/rtmpdump-play.bin");
const RTMPDUMP_SWF: &[u8] = include_bytes!("testdata/rtmpdump-swf.bin");

fn packet(bytes: &[u8]) -> digest::Packet {
    *bytes.first_chunk().unwrap()
}

/// Feeds `wire` in two pieces with chunks behind it, and returns the machine, its answer and whether it was done.
fn serve(wire: &[u8], cut: usize) -> (ServerHandshake, BytesMut) {
    let (mut server, mut out) = (ServerHandshake::new(7), BytesMut::new());
    let mut input = BytesMut::from(&wire[..cut]);
    let early = server.feed(&mut input, &mut out).unwrap();
    assert_eq!(early, cut == wire.len());
    input.extend_from_slice(&wire[cut..]);
    input.extend_from_slice(b"chunks");
    assert!(server.feed(&mut input, &mut out).unwrap());
    assert_eq!(&input[..], b"chunks", "what follows is not touched");
    assert!(server.feed(&mut input, &mut out).unwrap(), "and it stays done");
    (server, out)
}

#[test]
fn captured_clients_shake_hands_at_every_split() {
    for (wire, complex) in
        [(FFMPEG_PUBLISH, true), (FFMPEG_PLAY, true), (RTMPDUMP_PLAY, false), (RTMPDUMP_SWF, true)]
    {
        let (_, whole) = serve(wire, wire.len());
        assert_eq!(whole.len(), 1 + 2 * PACKET_BYTES);
        for cut in (0..wire.len()).step_by(61).chain([1, 1536, 1537, 1538, 3072]) {
            let (server, out) = serve(wire, cut);
            assert_eq!(server.is_complex(), complex);
            assert_eq!(out, whole, "cut at {cut}");
        }
    }
}

#[test]
fn the_last_packets_of_players_prove_our_digests() {
    // ffmpeg signs its last packet only when it plays.
    for wire in [FFMPEG_PLAY, RTMPDUMP_SWF] {
        let (_, out) = serve(wire, 0);
        let (_, s1_digest) = digest::find_first(&packet(&out[1..]), Side::Server).unwrap();
        let c2 = packet(&wire[1 + PACKET_BYTES..]);
        let expected = digest::last_digest(&c2, Side::Client, &s1_digest);
        assert_eq!(c2.last_chunk(), Some(&expected));
    }
}

#[test]
fn a_plain_client_gets_its_echo() {
    let (_, out) = serve(RTMPDUMP_PLAY, 0);
    assert_eq!(out[1 + PACKET_BYTES..], RTMPDUMP_PLAY[1..1 + PACKET_BYTES]);
    assert_eq!(RTMPDUMP_PLAY[1 + PACKET_BYTES + 8..], out[9..1 + PACKET_BYTES], "and sends back ours");
}

#[test]
fn a_spoilt_digest_is_answered_plainly() {
    let mut wire = FFMPEG_PUBLISH.to_vec();
    for byte in &mut wire[9..1537] {
        *byte = byte.wrapping_add(1);
    }
    let (server, out) = serve(&wire, 0);
    assert!(!server.is_complex());
    assert_eq!(out[1 + PACKET_BYTES..], wire[1..1 + PACKET_BYTES]);
}

#[test]
fn the_answer_hides_its_digest_where_the_client_hid_its_own() {
    for scheme in [Scheme::KeyFirst, Scheme::DigestFirst] {
        for seed in 0..50 {
            let mut c1 = [0; PACKET_BYTES];
            fill(&mut c1[4..], seed);
            let c1_digest = digest::sign_first(&mut c1, Side::Client, scheme);
            let wire = [&[VERSION][..], &c1, &[0; PACKET_BYTES]].concat();
            let (server, out) = serve(&wire, 1537);
            assert!(server.is_complex());

            let s1 = packet(&out[1..]);
            assert_eq!(digest::find_first(&s1, Side::Server).map(|(scheme, _)| scheme), Some(scheme));
            assert_eq!(digest::find_first(&s1, Side::Client), None);
            let s2 = packet(&out[1 + PACKET_BYTES..]);
            assert_eq!(s2.last_chunk(), Some(&digest::last_digest(&s2, Side::Server, &c1_digest)));
        }
    }
}

#[test]
fn our_client_and_our_server_meet_in_both_styles_byte_by_byte() {
    for style in [Style::Complex, Style::Simple] {
        let (mut client, mut server) = (ClientHandshake::new(1, style), ServerHandshake::new(2));
        let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
        let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
        let (mut client_done, mut server_done) = (false, false);
        for _ in 0..2 * (1 + 2 * PACKET_BYTES) {
            client_done = client.feed(&mut to_client, &mut from_client).unwrap();
            server_done = server.feed(&mut to_server, &mut from_server).unwrap();
            if !from_client.is_empty() {
                to_server.extend_from_slice(&from_client.split_to(1));
            }
            if !from_server.is_empty() {
                to_client.extend_from_slice(&from_server.split_to(1));
            }
        }
        assert!(client_done && server_done, "{style:?}");
        assert_eq!(client.is_complex(), style == Style::Complex);
        assert_eq!(server.is_complex(), style == Style::Complex);
        assert!(
            from_client.is_empty() && from_server.is_empty() && to_client.is_empty() && to_server.is_empty()
        );
    }
}

#[test]
fn a_signing_client_is_content_with_a_plain_server() {
    let (mut client, mut input, mut out) =
        (ClientHandshake::new(1, Style::Complex), BytesMut::new(), BytesMut::new());
    assert_eq!(client.feed(&mut input, &mut out), Ok(false));
    let c1 = out.split().split_off(1);
    let s1 = [5; PACKET_BYTES];
    input.extend_from_slice(&[&[VERSION][..], &s1, &c1].concat());
    assert_eq!(client.feed(&mut input, &mut out), Ok(true));
    assert!(!client.is_complex());
    assert_eq!(out, s1[..]);
}

#[test]
fn a_proxy_tells_the_address_of_its_client() {
    let wire = [&[0xF3, 0, 4, 203, 0, 113, 9], RTMPDUMP_PLAY].concat();
    for cut in 0..20 {
        let (server, out) = serve(&wire, cut);
        assert_eq!(server.proxied(), Some([203, 0, 113, 9].into()));
        assert_eq!(out.len(), 1 + 2 * PACKET_BYTES);
    }
    assert_eq!(serve(RTMPDUMP_PLAY, 0).0.proxied(), None);
    assert_eq!(refusal(&[0xF3, 0xFF, 0xFF]), HandshakeError::ProxyPrefix(65_535));
    let twice = [&wire[..7], &wire[..7]].concat();
    assert_eq!(refusal(&twice), HandshakeError::Version(0xF3), "one proxy is enough");
}

fn refusal(wire: &[u8]) -> HandshakeError {
    let (mut input, mut out) = (BytesMut::from(wire), BytesMut::new());
    let error = ServerHandshake::new(0).feed(&mut input, &mut out).unwrap_err();
    assert!(out.is_empty());
    if wire[0] != PROXY_MARK {
        let mut input = BytesMut::from(wire);
        assert_eq!(ClientHandshake::new(0, Style::Simple).feed(&mut input, &mut out), Err(error.clone()));
    }
    error
}

const PROXY_MARK: u8 = 0xF3;

#[test]
fn who_does_not_speak_rtmp_is_named_from_the_first_byte() {
    assert_eq!(refusal(b"\x16\x03\x01\x02\0\x01"), HandshakeError::Tls);
    assert_eq!(refusal(b"GET / HTTP/1.1\r\n\r\n"), HandshakeError::Http);
    assert_eq!(refusal(b"P"), HandshakeError::Http);
    assert_eq!(refusal(&[6]), HandshakeError::Rtmpe(6));
    assert_eq!(refusal(&[8]), HandshakeError::Rtmpe(8));
    assert_eq!(refusal(&[4]), HandshakeError::Version(4));
    assert_eq!(HandshakeError::Version(4).to_string(), "RTMP version 4; only version 3 is spoken here");
}

#[test]
fn cut_and_changed_captures_never_panic() {
    for wire in [FFMPEG_PUBLISH, RTMPDUMP_PLAY] {
        fuzz(wire);
        for at in (0..wire.len()).step_by(41).chain(0..16) {
            fuzz(&wire[..at]);
            let mut changed = wire.to_vec();
            changed[at] ^= 0x55;
            fuzz(&changed);
        }
    }
}
