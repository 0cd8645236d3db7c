//! What a player costs the server in user-space memory.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::{
    Background,
    drain::Drain,
    load::{self, Load},
    options::Options,
    players::{self, Form, KEY},
    server::{Server, anonymous_bytes},
    verdict,
};

/// What the issue allows.
const BYTES_MAX: u64 = 8 << 10;
/// The server gathers and the stream is thin, so that thousands of players need not a CPU for their draining.
const COALESCE: &str = "350ms";
const SHRINK: usize = 8;
/// Joiners have had their group of pictures, and queues are as long as they get.
const SETTLE: Duration = Duration::from_secs(2);

/// One server for each form; measured with few players and with many.
pub fn run(options: &Options, other: usize) -> Result<bool> {
    let (few, many) = options.memory;
    println!("\nUser-space memory of the server (RssAnon)");
    println!("form       {few:>5} players  {many:>5} players   bytes/player   bound");
    let mut kept = true;
    for form in Form::ALL {
        if !Options::wants(&options.form, &form.to_string()) {
            continue;
        }
        let server = Server::start(&[options.cpu], COALESCE)?;
        let mut load = Load::start(server.addresses().rtmp, KEY, load::BITS_PER_SECOND / SHRINK)?;
        load.push(1)?;
        let background = Background::start(load);
        let first = Drain::start(players::open(form, server.addresses(), few)?, other)?;
        thread::sleep(SETTLE);
        let before = anonymous_bytes(server.pid())?;
        let rest = Drain::start(players::open(form, server.addresses(), many - few)?, other)?;
        thread::sleep(SETTLE);
        let after = anonymous_bytes(server.pid())?;
        let closed = first.closed() + rest.closed();
        if closed > 0 {
            anyhow::bail!("the server closed {closed} players");
        }
        background.finish()?;
        let each = after.saturating_sub(before) / (many - few) as u64;
        kept &= each <= BYTES_MAX;
        println!(
            "{form:<7}{:>13} KiB{:>12} KiB{each:>15}   {}",
            before >> 10,
            after >> 10,
            verdict(each <= BYTES_MAX, &BYTES_MAX.to_string())
        );
    }
    Ok(kept)
}
