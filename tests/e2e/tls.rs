//! The same services over TLS, on the same ports, with a certificate made for the day; real clients and our own.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, SOON, Server, compare, flv, http,
    lock::Lock,
    media::Media,
    rtmp::{self, Wire, socket},
    scratch,
    tools::{FFMPEG5, Tool, ffmpeg7},
    until, ws,
};

const KEY: &str = "live/cam";

/// A certificate for 127.0.0.1 and its key, made once a day.
pub fn certificate() -> (PathBuf, PathBuf) {
    let (cert, key) = (scratch("tls.cert.pem"), scratch("tls.key.pem"));
    let _lock = Lock::wait(&scratch("tls.lock"));
    let fresh =
        Tool::start("openssl", ["x509", "-checkend", "3600", "-noout", "-in", &cert.to_string_lossy()]);
    if !(cert.exists() && fresh.finish(SOON).success()) {
        let (cert, key) = (cert.to_string_lossy(), key.to_string_lossy());
        let args =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1";
        let mut args: Vec<&str> = args.split(' ').collect();
        args.extend([
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:false",
        ]);
        args.extend(["-keyout", &key, "-out", &cert]);
        Tool::start("openssl", args).succeed(SOON);
    }
    (cert, key)
}

/// Makes another certificate in the same place; its bytes.
pub fn make_certificate(cert: &std::path::Path, key: &std::path::Path) -> Vec<u8> {
    let (cert_path, key_path) = (cert.to_string_lossy(), key.to_string_lossy());
    let args =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1";
    let args = args.split(' ').chain(["-keyout", &key_path, "-out", &cert_path]);
    Tool::start("openssl", args).succeed(SOON);
    CertificateDer::from_pem_file(cert).expect("it was just made").to_vec()
}

/// The certificate that a server shows to who comes now.
pub fn peer_certificate(addr: std::net::SocketAddr) -> Vec<u8> {
    let to = addr.to_string();
    let shown = Tool::start("openssl", ["s_client", "-connect", &to, "-showcerts"]).finish(SOON).stdout;
    let first = CertificateDer::pem_slice_iter(&shown).next();
    first.expect("a certificate is shown").expect("PEM").to_vec()
}

fn server() -> Server {
    let (cert, key) = certificate();
    Server::builder().tls(&cert, &key).start()
}

/// A TLS connection that trusts exactly the day's certificate.
fn tls(addr: std::net::SocketAddr) -> Box<dyn Wire> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(certificate().0).expect("the file was just made") {
        roots.add(cert.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let session = ClientConnection::new(Arc::new(config), name).expect("a client");
    Box::new(StreamOwned::new(session, socket(addr).expect("the server listens")))
}

/// ffmpeg publishes over RTMPS; RTMPS, HTTPS, WSS and the plain paths play the same film.
#[test]
fn every_path_plays_over_tls_and_beside_it() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = server();
    let file = fixture.path.to_string_lossy().into_owned();
    let url = format!("rtmps://{}/{KEY}", server.rtmp());
    let publish = [
        "-v",
        "error",
        "-nostdin",
        "-re",
        "-stream_loop",
        "-1",
        "-i",
        &file,
        "-c",
        "copy",
        "-f",
        "flv",
        &url,
    ];
    let mut publisher = Tool::start(FFMPEG5, publish);
    let plain = Path::ALL.map(|path| Player::open(&server, path, KEY));
    plain.iter().for_each(Player::wait_start);

    let mut client = rtmp::Client::over(tls(server.rtmp())).expect("RTMPS shakes hands");
    client.start_play(server.rtmp(), "live", "cam").expect("the server answers");
    let tags: Vec<_> = std::iter::repeat_with(|| client.read().expect("the stream goes on"))
        .filter_map(|message| message.tag())
        .take(60)
        .collect();
    assert!(flv::units(tags.iter()).iter().any(|unit| unit.key), "a keyframe by RTMPS");

    for (addr, target) in [
        (server.http(), format!("/{KEY}.flv")),
        (server.ws(), format!("/{KEY}.flv")),
        (server.ws(), "/play?app=live&stream=cam".to_owned()),
    ] {
        let mut viewer =
            ws::open(tls(addr), addr, &target).unwrap_or_else(|error| panic!("wss {target}: {error}"));
        let mut reader = flv::Reader::default();
        until("a keyframe by WSS", || {
            reader.feed(&ws::read(&mut viewer).expect("the stream goes on"));
            std::iter::from_fn(|| reader.next_tag())
                .any(|tag| tag.units().iter().any(|u| u.key))
                .then_some(())
        });
    }

    let expected = compare::start_packets(FFMPEG5, &[], &file).succeed(SOON);
    let codecs = compare::packets(&expected).codecs;
    let ffmpeg7 = ffmpeg7();
    for (program, scheme, addr, end) in [
        (FFMPEG5, "https", server.http(), ".flv"),
        (FFMPEG5, "rtmps", server.rtmp(), ""),
        (ffmpeg7.as_str(), "rtmps", server.rtmp(), ""),
    ] {
        let url = format!("{scheme}://{addr}/{KEY}{end}");
        let args = [
            "-v", "error", "-nostdin", "-i", &url, "-t", "1", "-map", "0:v", "-map", "0:a", "-c", "copy",
            "-f", "framemd5", "-",
        ];
        let seen = compare::packets(&Tool::start(program, args).succeed(SOON));
        assert_eq!(seen.codecs, codecs, "{program} {url}");
        assert!(seen.packets.len() > 30, "{program} {url}: {} packets", seen.packets.len());
    }

    let url = format!("https://{}/", server.http());
    let cert = certificate().0;
    let page = Tool::start("curl", ["-sS", "--cacert", &cert.to_string_lossy(), &url]).succeed(SOON);
    assert!(page.text().to_lowercase().contains("<html"));

    Player::wait_all_more(&plain, 30);
    assert!(publisher.running());
    server.assert_unhurt();
}

/// A page publishes over WSS, byte for byte.
#[test]
fn a_publication_over_wss_is_the_same_film() {
    let fixture = Fixture::get(Media::H264Aac);
    let server = server();
    let player = Player::open(&server, Path::Http, KEY);
    server.wait_viewers(KEY, 1);
    let mut socket =
        ws::open(tls(server.ws()), server.ws(), "/publish?app=live&stream=cam").expect("upgraded");
    let mut bytes = flv::file_header(true, true);
    fixture.tags.iter().for_each(|tag| bytes.extend(tag.to_bytes()));
    for part in bytes.chunks(5_000) {
        socket.send(tungstenite::Message::binary(part.to_vec())).expect("the server reads");
    }
    let newest = fixture.units().iter().map(|unit| unit.dts).max();
    player.wait("the whole film", |player| player.units().iter().map(|unit| unit.dts).max() >= newest);
    let _ = socket.close(None);
    // It came much faster than its clock, so its waiting player may have begun with a later keyframe.
    let (video, audio) = compare::played("WSS", &fixture.units(), &player.units());
    assert!(video.is_some_and(|pictures| pictures.head <= 50 && pictures.tail == 0), "{video:?}");
    assert!(audio.is_some_and(|sound| sound.tail == 0), "{audio:?}");
}

/// Broken TLS hurts nobody, and a plain request to a TLS port is served as a plain one.
#[test]
fn half_a_handshake_hurts_nobody() {
    use std::io::{Read, Write};
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = server();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let player = Player::open(&server, Path::Http, KEY);
    player.wait_start();
    for addr in [server.rtmp(), server.http(), server.ws()] {
        for hello in [&[0x16][..], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3], &[0x16; 4000]] {
            let mut wire = socket(addr).expect("the server listens");
            wire.write_all(hello).expect("sent");
            let _ = wire.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            let ended = wire.read_to_end(&mut said);
            let kind = ended.err().map(|error| error.kind());
            assert_ne!(kind, Some(std::io::ErrorKind::WouldBlock), "{addr}: an unanswered socket");
        }
    }
    let page = http::ask(server.http(), "GET", "/").expect("answered");
    assert_eq!(page.head.status, 200);
    player.wait_more(30);
    publisher.finish();
    server.assert_unhurt();
}
