//! WebRTC sessions that are opened and abandoned, at every stage: nothing of them stays.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use loadtest::rtc::{Codecs, Maker, Output, Role, signal};

use crate::support::{
    Server, until,
    webrtc::{programme, publish},
    within,
};

/// Sessions of each stage.
const EACH: usize = 250;
/// Clients at once.
const THREADS: usize = 8;
/// What the allocator may keep of a thousand sessions.
const GROWTH_MAX: u64 = 24 << 20;

/// Where a client stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has an answer and does nothing.
    NoIce,
    /// It checks its candidates and never begins DTLS.
    NoDtls,
    /// It says hello to DTLS and never goes on.
    HalfHandshake,
    /// It is connected and falls silent.
    Silent,
}

const STAGES: [Stage; 4] = [Stage::NoIce, Stage::NoDtls, Stage::HalfHandshake, Stage::Silent];
const PATIENCE: Duration = Duration::from_secs(10);

/// RFC 7983: the first byte tells.
fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (20..64).contains(first))
}

/// Opens a session from `ip` and leaves it at `stage`. The address is its own: a client that got the port of one before it
/// would hear what the server still tells that one.
fn abandon(
    maker: &Maker,
    ip: Ipv4Addr,
    server: SocketAddr,
    target: &str,
    stage: Stage,
) -> Result<(), String> {
    let told = |at: &'static str| move |error: &dyn std::fmt::Display| format!("{stage:?}, {at}: {error}");
    let socket = UdpSocket::bind((ip, 0)).map_err(|e| told("a socket")(&e))?;
    let here = socket.local_addr().map_err(|e| told("a socket")(&e))?;
    let (mut peer, offer) = maker.peer(here, Instant::now()).map_err(|e| told("the offer")(&e))?;
    let request = signal::offer(&server.to_string(), target, None, &offer);
    let reply = signal::exchange(server, None, &request, PATIENCE).map_err(|e| told("the POST")(&e))?;
    let answer = reply.answer().map_err(|e| told("the POST")(&e))?;
    peer.answer(answer).map_err(|e| told("the answer")(&e))?;
    if stage == Stage::NoIce {
        return Ok(());
    }
    let (deadline, mut hellos, mut heard_dtls, mut answered) = (Instant::now() + PATIENCE, 0, 0, 0);
    loop {
        let next = peer.drive(Instant::now(), &mut |output| {
            if let Output::Send { to, bytes } = output {
                hellos += usize::from(is_dtls(bytes));
                // The first word of DTLS is the hello; whatever follows is not said.
                let allowed = match stage {
                    Stage::NoIce | Stage::NoDtls => !is_dtls(bytes),
                    Stage::HalfHandshake => !is_dtls(bytes) || hellos <= 1,
                    Stage::Silent => true,
                };
                if allowed {
                    let _ = socket.send_to(bytes, to);
                }
            }
        });
        let next = next.map_err(|e| told("what it is to do")(&e))?;
        let done = match stage {
            Stage::NoIce => true,
            Stage::NoDtls => answered >= 1 && hellos >= 1,
            Stage::HalfHandshake => heard_dtls >= 1,
            Stage::Silent => peer.is_connected(),
        };
        if done {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{stage:?} is not reached: {answered} answers, {heard_dtls} of DTLS, {hellos} hellos"
            ));
        }
        let wait = next.saturating_duration_since(Instant::now());
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(50));
        socket.set_read_timeout(Some(wait)).map_err(|e| told("waiting")(&e))?;
        let mut buffer = [0; 2_048];
        if let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            heard_dtls += usize::from(is_dtls(&buffer[..bytes]));
            answered += usize::from(buffer[0] < 4);
            peer.receive(Instant::now(), from, &buffer[..bytes]).map_err(|e| {
                let first = buffer[0];
                format!(
                    "{stage:?}, a datagram of {bytes} bytes from {from} that begins with {first}, after {answered} \
                     answers and {heard_dtls} of DTLS: {e}"
                )
            })?;
        }
    }
}

/// `each` sessions of every stage, half of them viewers of `live/cam`, half publishers of keys of their own.
fn abandon_all(server: SocketAddr, each: usize, round: usize) {
    let next = AtomicUsize::new(0);
    let makers = [Role::Play, Role::Publish].map(|role| Maker::new(role, Codecs::COMMON, true));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(stage) = STAGES.get(n / each) else { return };
                    let target = match n % 2 {
                        0 => "/whep/live/cam".to_owned(),
                        _ => format!("/whip/live/left-{round}-{n}"),
                    };
                    let [.., high, low] = (n as u32).to_be_bytes();
                    let ip = Ipv4Addr::new(127, 1 + round as u8, high, low);
                    abandon(&makers[n % 2], ip, server, &target, *stage)
                        .unwrap_or_else(|error| panic!("session {n} of round {round}: {error}"));
                }
            });
        }
    });
}

#[test]
fn a_thousand_abandoned_sessions_leave_nothing() {
    let mut server = Server::builder()
        .set("webrtc.timeout", "1s")
        .set("webrtc.connect_timeout", "2s")
        .set("log.level", "info")
        .start();
    let publisher = publish(server.http(), "live/cam", programme());
    until("its stream", || server.stream("live/cam"));
    // The first round pays for what is kept on purpose: tables, pools, the allocator's pages.
    abandon_all(server.http(), EACH / 4, 0);
    thread::sleep(Duration::from_secs(4));
    let (descriptors, resident) = (server.descriptors(), server.resident_bytes());
    let begun = Instant::now();
    abandon_all(server.http(), EACH, 1);
    let took = begun.elapsed();
    let peak = server.resident_bytes();
    let settled = within(Duration::from_secs(20), || {
        let back = server.descriptors() <= descriptors && server.resident_bytes() <= resident + GROWTH_MAX;
        (back && server.stream("live/left-1-999").is_none()).then_some(())
    });
    let after = (server.descriptors(), server.resident_bytes());
    eprintln!(
        "{} sessions abandoned in {took:?}: descriptors {descriptors} before, {} after; resident {} MiB before, {} at \
         most, {} after",
        4 * EACH,
        after.0,
        resident >> 20,
        peak >> 20,
        after.1 >> 20,
    );
    assert!(settled.is_some(), "descriptors {descriptors} and {} bytes became {after:?}", resident);
    // Whoever stayed was not disturbed.
    let sent = publisher.seen().sent;
    until("the publisher goes on", || (publisher.seen().sent > sent + 25).then_some(()));
    assert_eq!(publisher.finish().end, None);
    server.assert_unhurt();
}
