//! The server's binary: arguments, configuration, shards, and the wait for the signal to end.

use std::{io::Write, net::Ipv4Addr, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::Parser;
use config::{Config, Loaded};
use shardcast::{
    cli::{self, Cli, Prepared},
    demo::{self, control::Control},
    life::Life,
    log, orders,
    server::{self, Host},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages: each thread would hold 2 MiB of its own from its first byte on, and delivering got no
    // cheaper by them (docs/performance.md). A kernel that does not know this goes on as before.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    let loaded = match cli.prepare(std::env::vars_os()) {
        Prepared::Run(loaded) => loaded,
        Prepared::Check(loaded) => match server::check(&loaded.config) {
            Ok(()) => {
                let _ = writeln!(std::io::stdout(), "OK");
                return ExitCode::SUCCESS;
            }
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::from(2);
            }
        },
        Prepared::Done(text) => {
            // A closed pipe is the reader's own wish.
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            return ExitCode::SUCCESS;
        }
        Prepared::Refused(text) => {
            eprintln!("{}", text.trim_end());
            return ExitCode::from(2);
        }
    };
    match serve(cli, *loaded) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(panics) => {
            eprintln!("shardcast: {panics} shards ended by a panic");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("shardcast: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is told to end; gives how many shards ended badly.
fn serve(cli: Cli, loaded: Loaded) -> anyhow::Result<usize> {
    let config = &loaded.config.clone();
    let log = log::start(&cli::log_options(&config.log, std::env::var("RUST_LOG").ok()))
        .context("cannot start the log")?;
    log::report_panics();
    // Before the shards: signals that come while they start must not be lost.
    let (orders, received) = orders::listen().context("cannot wait for signals")?;
    raise_descriptor_limit(config);
    let demo = Arc::new(Control::new(demo_options(config)?));
    let server = server::start(loaded, cli.take_over, Host { orders, demo: Arc::clone(&demo) })?;
    announce(config);
    if config.demo.enable {
        demo.start().context("demo.enable")?;
    }
    let panics = Life { cli, server, log: &log, orders: received, demo }.live();
    drop(log);
    Ok(panics)
}

/// Makes room for the configured connections, as far as the system allows it.
fn raise_descriptor_limit(config: &Config) {
    // A connection has two while it moves to another shard; the rest is for rings, listeners and logs.
    let wanted = u64::from(config.limits.connections) + 1_024;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(granted) if granted >= wanted => {}
        Ok(granted) => tracing::warn!(
            "the system allows {granted} descriptors, {wanted} are wanted for limits.connections={}: raise `ulimit -n`",
            config.limits.connections
        ),
        Err(error) => tracing::warn!("cannot raise the limit of descriptors: {error}"),
    }
}

/// Where the demo stream goes when it is on: it publishes by RTMP like anybody else, so without RTMP nowhere.
fn demo_options(config: &Config) -> anyhow::Result<Option<demo::Options>> {
    if !config.rtmp.enable {
        return Ok(None);
    }
    let ip = match config.rtmp.listen_ip {
        ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    let key = config.demo.stream.parse().context("demo.stream")?;
    let options = demo::Options {
        server: (ip, config.rtmp.port).into(),
        key,
        width: config.demo.size.width,
        height: config.demo.size.height,
        frame_rate: config.demo.frame_rate,
    };
    Ok(Some(options))
}

/// Who is let in, in one line.
fn open_to(config: &Config) -> String {
    let who = |need| if need == config::Need::Token { "who has permission" } else { "everybody" };
    let api = if config.auth.api.is_local() { "this machine alone" } else { "who has its credential" };
    format!(
        "open to: publish {}, play {}, API and console {api}{}",
        who(config.auth.publish),
        who(config.auth.play),
        if config.security.enable { "; by the rules of security" } else { "" }
    )
}

/// Tells a person at the console what runs where.
fn announce(config: &Config) {
    let cpus = server::cpus(&config.shards);
    let list = cpus.iter().enumerate().map(|(shard, cpu)| format!("{shard} on CPU {cpu}"));
    let mut lines = vec![
        format!("Shardcast {}", env!("CARGO_PKG_VERSION")),
        format!("  shards     {}", list.collect::<Vec<_>>().join(", ")),
    ];
    let tls = config.tls.is_enabled();
    let host = |listen: &config::Listen| match listen.listen_ip {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let mut url = |name: &str, listen: &config::Listen, plain: &str, secure: &str, path: &str| {
        if listen.enable {
            let also = if tls { format!("   (and {secure}://)") } else { String::new() };
            lines.push(format!("  {name:<10} {plain}://{}:{}{path}{also}", host(listen), listen.port));
        }
    };
    url("RTMP", &config.rtmp, "rtmp", "rtmps", "/live/NAME");
    url("HTTP-FLV", &config.httpflv, "http", "https", "/live/NAME.flv");
    url("WS-FLV", &config.ws_stream, "ws", "wss", "/live/NAME.flv");
    if config.webrtc.enable {
        url("WHIP", &config.httpflv, "http", "https", "/whip/live/NAME");
        url("WHEP", &config.httpflv, "http", "https", "/whep/live/NAME");
        url("SRS API", &config.api, "http", "https", "/rtc/v1/");
    }
    url("page", &config.httpflv, "http", "https", "/");
    if config.auth.api.is_local() {
        lines.push(
            "  access     API and console answer only to this machine until auth.api has a credential"
                .to_owned(),
        );
    }
    tracing::info!("{}", open_to(config));
    // Standard error, as the log: standard output is for what other programs read.
    eprintln!("{}", lines.join("\n"));
}
