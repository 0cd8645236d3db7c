//! SIGTERM: no more connections, everybody is told in their protocol's words, and the process ends in time with 0.

use std::{
    io::Read,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{
    Entrance, Fixture, Path, Player, Publisher, Server, flv, http,
    media::Media,
    rtmp::{Client, socket},
    until, within, ws,
};

const KEY: &str = "live/cam";

#[test]
fn everybody_is_told_and_the_process_ends_in_time() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::builder().set("shutdown.deadline", "5s").start();
    let by_rtmp = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let by_ws = Publisher::open(&server, Entrance::Ws, "live/page").expect("the seat is free").run(&fixture);
    let playing = Path::ALL.map(|path| Player::open(&server, path, KEY));
    let waiting = Path::ALL.map(|path| Player::open(&server, path, "live/awaited"));
    playing.iter().for_each(Player::wait_start);
    server.wait_viewers("live/awaited", waiting.len());

    let took = server.stop_within(Duration::from_secs(10));
    assert!(took < Duration::from_secs(5), "nobody was slow, yet it took {took:?}");

    for player in playing.iter() {
        let end = player.wait_end();
        match player.path() {
            Path::Rtmp => assert!(end.contains("UnpublishNotify") || end.contains("Play.Stop"), "{end}"),
            Path::Http => assert_eq!(end, "end", "the last chunk comes"),
            path => {
                assert!(end.starts_with("close 1001") || end.starts_with("close 1012"), "{path:?}: {end}")
            }
        }
    }
    for player in &waiting {
        let end = player.wait_end();
        assert!(
            !end.contains("os error 104") && !end.contains("reset"),
            "{:?} was cut: {end}",
            player.path()
        );
    }
    let (mut publisher, _) = by_rtmp.pause();
    let status = within(Duration::from_secs(5), || publisher.rtmp().status().ok());
    assert!(
        status.is_some_and(|status| status.code().starts_with("NetStream.")),
        "the RTMP publisher is told"
    );
    let (mut publisher, _) = by_ws.pause();
    let end = until("the page's close frame", || ws::read(publisher.ws()).err());
    assert!(matches!(end, ws::End::Closed(1001 | 1012, _)), "{end:?}");
}

/// A viewer that reads nothing and a publisher in the middle of its handshake do not hold the server up.
#[test]
fn the_deadline_holds_against_the_deaf() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server =
        Server::builder().set("shutdown.deadline", "1s").set("delivery.send_buffer", "8KiB").start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let mut deaf = socket(server.http()).expect("the server listens");
    std::io::Write::write_all(&mut deaf, format!("GET /{KEY}.flv HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .expect("sent");
    let half = Client::dial(server.rtmp()).expect("the handshake");
    let silent = TcpStream::connect(server.ws()).expect("the server listens");
    server.wait_viewers(KEY, 1);
    let took = server.stop_within(Duration::from_secs(10));
    assert!(took < Duration::from_secs(6), "a deadline of one second took {took:?}");
    drop((deaf, half, silent));
    drop(publisher);
}

#[test]
fn a_server_with_nobody_in_it_ends_at_once() {
    let mut server = Server::start();
    assert!(server.stop_within(Duration::from_secs(10)) < Duration::from_secs(3));
}

/// After the signal nobody is let in, while those inside still hear their goodbye.
#[test]
fn nobody_is_let_in_after_the_signal() {
    let mut server = Server::builder().set("shutdown.deadline", "5s").start();
    let idle = socket(server.http()).expect("the server listens");
    server.terminate();
    until("the door to close", || match TcpStream::connect(server.http()) {
        Err(_) => Some(()),
        Ok(mut wire) => {
            wire.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
            // Accepted by the kernel alone: it ends without a word.
            matches!(wire.read(&mut [0; 1]), Ok(0)).then_some(())
        }
    });
    let status = server.wait_exit(Duration::from_secs(10));
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    drop(idle);
}

/// A machine that is busy with something else delays a start and an end; it must not prevent them.
#[test]
fn a_busy_machine_keeps_nobody_from_starting_and_ending() {
    let done = Arc::new(AtomicBool::new(false));
    let burners: Vec<_> = (0..4)
        .map(|_| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    for _ in 0..25 {
        let mut server = Server::start();
        server.stop_within(Duration::from_secs(20));
    }
    done.store(true, Ordering::Relaxed);
    burners.into_iter().for_each(|burner| burner.join().expect("it only spins"));
}

/// Connections in their last state of TCP do not keep the next server from its ports.
#[test]
fn a_restarted_server_takes_the_ports_at_once() {
    let fixture = Fixture::get(Media::H264Aac);
    let mut server = Server::start();
    let publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free").run(&fixture);
    let player = Player::open(&server, Path::Http, KEY);
    player.wait_start();
    server.restart();
    drop((publisher, player));
    let page = http::ask(server.http(), "GET", "/").expect("answered");
    assert_eq!(page.head.status, 200);
    let mut publisher = Publisher::open(&server, Entrance::Rtmp, KEY).expect("the seat is free");
    publisher.send_all(fixture.tags.iter().filter(|tag| tag.kind != flv::SCRIPT)).expect("it takes the film");
    publisher.finish();
}
