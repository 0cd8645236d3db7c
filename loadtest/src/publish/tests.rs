//! Publishers against the server half of our own RTMP machine: when messages leave, and what is told.

use super::*;
use crate::media::synthetic::Shape;
use shardcast::protocols::rtmp::{Event, Media, Server, ServerOptions};
use std::net::TcpListener;

/// Lets everybody publish; the media of one connection.
fn serve(mut socket: TcpStream) -> Vec<Media> {
    let mut server = Server::new(ServerOptions::default());
    let (mut buffer, mut media) = (vec![0; 64 << 10], Vec::new());
    while let Ok(read @ 1..) = socket.read(&mut buffer) {
        server.feed(&buffer[..read]);
        while let Some(event) = server.poll().expect("a publisher keeps to the protocol") {
            match event {
                Event::Connect(_) => server.accept_connect(),
                Event::Publish(_) => server.accept_publish(),
                Event::Media(message) => media.push(message),
                _ => {}
            }
        }
        if socket.write_all(&server.take_output()).is_err() {
            break;
        }
    }
    media
}

#[test]
fn messages_leave_when_they_are_due() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("rtmp://{}/live/cam%d", listener.local_addr().expect("its address"));
    let servers = std::thread::spawn(move || {
        let accept = |_| {
            std::thread::spawn({
                let (socket, _) = listener.accept().expect("a publisher");
                move || serve(socket)
            })
        };
        let threads: Vec<_> = (0..2).map(accept).collect();
        threads.into_iter().map(|thread| thread.join().expect("a server")).collect::<Vec<_>>()
    });
    let shape = Shape {
        bit_rate: 1_000_000,
        audio_bit_rate: 64_000,
        picture_rate: 50.0,
        group: 25,
        size: (320, 180),
    };
    let window = Arc::new(Window::default());
    window.set(0, u64::MAX);
    let (programme, start) = (Programme::Synthetic(shape), clock::now());
    let address: Address = address.parse().expect("an address");
    let publishers =
        Publishers::start(&address, 2, &programme, 7, window, &AtomicBool::new(false)).expect("publishers");
    clock::sleep_until(start + 1_200_000_000);
    let published = publishers.finish();
    let streams = servers.join().expect("servers");
    assert_eq!((published.count, &published.ended[..]), (2, &[][..]));
    // One of them begins a quarter of a second later; 50 pictures and 43 sounds a second.
    assert!((120..=230).contains(&published.messages), "{}", published.messages);
    assert!(published.late.quantile(0.5) < 20.0, "late by {} ms", published.late.quantile(0.5));
    for media in streams {
        let pictures: Vec<u32> = media
            .iter()
            .filter(|m| crate::media::marker::Marker::find(&m.payload).is_some())
            .map(|m| m.timestamp)
            .collect();
        assert!(pictures.len() > 30 && pictures.windows(2).all(|two| two[1] - two[0] == 20), "{pictures:?}");
    }
}

#[test]
fn a_server_that_does_not_listen_is_told() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let address: Address = format!("rtmp://127.0.0.1:{port}/live/cam").parse().expect("an address");
    let shape =
        Shape { bit_rate: 1_000_000, audio_bit_rate: 0, picture_rate: 50.0, group: 25, size: (320, 180) };
    let refused = Publishers::start(
        &address,
        1,
        &Programme::Synthetic(shape),
        7,
        Arc::default(),
        &AtomicBool::new(false),
    );
    assert!(refused.expect_err("nobody listens").to_string().contains("nobody listens there"));
}
