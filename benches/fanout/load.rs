//! The stream that everything here carries: pictures and sound of fixed sizes at fixed times, published over RTMP.
//!
//! A cycle is one group of pictures, and pushing whole cycles makes every window hold the same messages. Nothing depends on
//! chance, so that the floor can keep the same schedule. Units: bytes, and time since the cycle began.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use shardcast::protocols::{
    amf0::Value,
    rtmp::{Client, ClientEvent, MediaKind, Role},
};

/// From one keyframe to the next.
pub const CYCLE: Duration = Duration::from_secs(2);
const PICTURES: u32 = 60;
const SOUNDS: u32 = 86;
/// Media messages in a cycle: 30 pictures and 43 audio frames a second.
pub const MESSAGES: u32 = PICTURES + SOUNDS;
/// A keyframe is as large as so many other pictures.
const KEY_WEIGHT: usize = 8;
/// Sound lies between the pictures, so that no two messages share a moment.
const SOUND_OFFSET: Duration = Duration::from_millis(5);

/// What the issue asks for: 2 Mbit/s.
pub const BITS_PER_SECOND: usize = 2_000_000;

/// A 640x360 picture and 44.1 kHz stereo.
const AVC_CONFIG: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, 26, 0x67, 0x64, 0, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f,
    0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x3c, 0x0f, 0x16, 0x2d, 0x96, 1, 0, 6, 0x68, 0xeb, 0xe3,
    0xcb, 0x22, 0xc0,
];
const AAC_CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];

/// One media message of a cycle.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// When it is due.
    pub at: Duration,
    /// Sound or picture.
    pub kind: MediaKind,
    /// Bytes of the FLV tag body.
    pub len: usize,
    key: bool,
}

/// The messages of one cycle in the order of their times.
pub fn cycle(bits_per_second: usize) -> Vec<Message> {
    let bytes = bits_per_second / 8 * CYCLE.as_secs() as usize;
    let sound = bytes / 16 / SOUNDS as usize;
    let picture = (bytes - bytes / 16) / (PICTURES as usize - 1 + KEY_WEIGHT);
    let pictures = (0..PICTURES).map(|n| Message {
        at: CYCLE * n / PICTURES,
        kind: MediaKind::Video,
        len: if n == 0 { picture * KEY_WEIGHT } else { picture },
        key: n == 0,
    });
    let sounds = (0..SOUNDS).map(|n| Message {
        at: CYCLE * n / SOUNDS + SOUND_OFFSET,
        kind: MediaKind::Audio,
        len: sound,
        key: false,
    });
    let mut all: Vec<_> = pictures.chain(sounds).collect();
    all.sort_by_key(|message| message.at);
    all
}

/// Sleeps until it is `due` after `start`.
pub fn wait(start: Instant, due: Duration) {
    thread::sleep(due.saturating_sub(start.elapsed()));
}

/// A publisher that is connected and may push.
pub struct Load {
    stream: TcpStream,
    client: Client,
    cycle: Vec<Message>,
    /// Cycles that have been pushed: the stream's own clock stands still between two calls.
    cycles: u32,
    body: Vec<u8>,
}

impl Load {
    /// Connects and says what will come.
    pub fn start(address: SocketAddr, key: &str, bits_per_second: usize) -> Result<Self> {
        let url = format!("rtmp://{address}/{key}");
        let client = Client::from_url(&url, Role::Publish).context("the URL of the publisher")?;
        let (stream, client) = shake_hands(address, client)?;
        let cycle = cycle(bits_per_second);
        let largest = cycle.iter().map(|message| message.len).max().unwrap_or_default();
        let mut load = Self { stream, client, cycle, cycles: 0, body: vec![0xa5; largest] };
        load.client.metadata(&Value::EcmaArray(vec![
            ("videocodecid".to_owned(), 7.0.into()),
            ("audiocodecid".to_owned(), 10.0.into()),
        ]));
        load.client.write_media(MediaKind::Video, 0, &[AVC_CONFIG]);
        load.client.write_media(MediaKind::Audio, 0, &[AAC_CONFIG]);
        load.send()?;
        Ok(load)
    }

    /// Pushes `cycles` whole cycles at their pace; how many messages those were.
    pub fn push(&mut self, cycles: u32) -> Result<u64> {
        let never = AtomicBool::new(false);
        for _ in 0..cycles {
            self.push_cycle(&never)?;
        }
        Ok(u64::from(cycles * MESSAGES))
    }

    /// Pushes until `stop`.
    pub fn push_until(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.push_cycle(stop)?;
        }
        Ok(())
    }

    fn push_cycle(&mut self, stop: &AtomicBool) -> Result<()> {
        let (start, base) = (Instant::now(), CYCLE * self.cycles);
        for n in 0..self.cycle.len() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let message = self.cycle[n];
            wait(start, message.at);
            let head: &[u8] = match (message.kind, message.key) {
                (MediaKind::Audio, _) => &[0xaf, 1],
                (_, true) => &[0x17, 1, 0, 0, 0],
                (_, false) => &[0x27, 1, 0, 0, 0],
            };
            let len = message.len - head.len();
            if message.kind == MediaKind::Video {
                let nal = (len - 4) as u32;
                self.body[..4].copy_from_slice(&nal.to_be_bytes());
                self.body[4] = if message.key { 0x65 } else { 0x41 };
            }
            let timestamp = (base + message.at).as_millis() as u32;
            self.client.write_media(message.kind, timestamp, &[head, &self.body[..len]]);
            self.send()?;
        }
        wait(start, CYCLE);
        self.cycles += 1;
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.client.take_output()).context("the server closed the publisher")
    }
}

/// Drives a client's machine until it may publish or play.
pub fn shake_hands(address: SocketAddr, mut client: Client) -> Result<(TcpStream, Client)> {
    let mut stream = TcpStream::connect(address).context("connecting by RTMP")?;
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::zeroed(64 << 10);
    client.start();
    loop {
        if client.has_output() {
            stream.write_all(&client.take_output())?;
        }
        match client.poll()? {
            Some(ClientEvent::Ready) => break,
            Some(ClientEvent::Closed(status)) => bail!("the server refused: {status:?}"),
            Some(_) => continue,
            None if client.has_output() => continue,
            None => {}
        }
        match stream.read(&mut buffer)? {
            0 => bail!("the server closed during the handshake"),
            read => client.feed(&buffer[..read]),
        }
    }
    if client.has_output() {
        stream.write_all(&client.take_output())?;
    }
    Ok((stream, client))
}
