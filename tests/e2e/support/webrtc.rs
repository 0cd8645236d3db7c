//! WebRTC clients for stories: the load test's own on str0m, and aiortc's scripts.

use std::{net::SocketAddr, path::PathBuf};

use loadtest::{
    media::{Programme, synthetic::Shape},
    rtc::{Client, Codecs, Content, client::Options},
};
use str0m::format::Codec;

use super::{relay::Relay, tools::Tool};

/// Half a Mbit/s of small pictures, 25 a second, a keyframe each second; with a tone.
pub fn programme() -> Programme {
    Programme::Synthetic(Shape {
        bit_rate: 500_000,
        audio_bit_rate: 64_000,
        picture_rate: 25.0,
        group: 25,
        size: (320, 180),
    })
}

fn options(server: SocketAddr, what: &str, key: &str) -> Options {
    let address = format!("http://{server}/{what}/{key}").parse().expect("an address");
    Options { address, codecs: Codecs::COMMON, token: None, local: None, via: None, content: None }
}

/// Publishes a programme by WHIP.
///
/// # Panics
/// When the server does not let it.
pub fn publish(server: SocketAddr, key: &str, programme: Programme) -> Client {
    try_publish(server, key, programme).unwrap_or_else(|error| panic!("publishing {key}: {error}"))
}

/// [`publish`], or the server's words.
pub fn try_publish(server: SocketAddr, key: &str, programme: Programme) -> Result<Client, String> {
    try_publish_content(server, key, Content::Programme(programme))
}

/// [`try_publish`] of anything.
pub fn try_publish_content(server: SocketAddr, key: &str, content: Content) -> Result<Client, String> {
    let codecs = content.codecs();
    Client::start(Options { codecs, content: Some(content), ..options(server, "whip", key) })
}

/// Plays pictures of these codecs by WHEP, without sound.
///
/// # Panics
/// When the server does not let it.
pub fn play_codecs(server: SocketAddr, key: &str, pictures: &'static [Codec]) -> Client {
    let codecs = Codecs { pictures, sound: false, layers: Vec::new() };
    Client::start(Options { codecs, ..options(server, "whep", key) })
        .unwrap_or_else(|error| panic!("playing {key}: {error}"))
}

/// Plays by WHEP.
///
/// # Panics
/// When the server does not let it.
pub fn play(server: SocketAddr, key: &str) -> Client {
    Client::start(options(server, "whep", key)).unwrap_or_else(|error| panic!("playing {key}: {error}"))
}

/// Publishes or plays by way of a relay.
///
/// # Panics
/// When the server does not let it.
pub fn behind(relay: &Relay, server: SocketAddr, key: &str, programme: Option<Programme>) -> Client {
    let what = if programme.is_some() { "whip" } else { "whep" };
    let content = programme.map(Content::Programme);
    let options = Options { via: Some(relay.address()), content, ..options(server, what, key) };
    Client::start(options).unwrap_or_else(|error| panic!("{what} of {key} behind a relay: {error}"))
}

/// Starts one of aiortc's scripts.
pub fn aiortc<S: AsRef<std::ffi::OsStr>>(script: &str, args: impl IntoIterator<Item = S>) -> Tool {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("tests/e2e/aiortc").join(script);
    let mut all = vec![script.into_os_string()];
    all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    Tool::start(&here.join(".venv/bin/python3").to_string_lossy(), all)
}
