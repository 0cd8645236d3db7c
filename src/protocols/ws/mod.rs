//! WebSocket (RFC 6455): the handshake, frames around shared batches, and messages that are not the fast path.
//!
//! A player costs a [`ControlReader`] and shares [`frame::prefix`]ed batches with all others; a publisher or a client
//! is a [`Machine`]. Bytes go in, events and bytes come out. Invariant: no extension is ever agreed on, so frames carry
//! no reserved bits and no compression. Sizes are bytes.

mod control;
mod error;
pub mod frame;
mod handshake;
mod machine;
#[cfg(test)]
mod tests;

pub use control::{Control, ControlReader};
pub use error::WsError;
pub use handshake::{ClientHandshake, upgrade};
pub use machine::{Event, Machine, Options, Role};

/// Feeds `data` to every reader here, split as its first byte says. For fuzzers; finds panics and broken bounds.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some((&seed, wire)) = data.split_first() else { return };
    let step = usize::from(seed >> 1).max(1);
    for role in [Role::Server, Role::Client] {
        let accept_unmasked = seed & 1 != 0;
        let options =
            Options { message_bytes_max: 1 << 10, read_bytes: 64, accept_unmasked, ..Options::new(role) };
        let _ = fuzz_machine(Machine::new(options), wire, step);
    }
    let mut reader = ControlReader::new(1 << 10, seed & 1 != 0);
    for mut part in wire.chunks(step) {
        while let Ok(Some(control)) = reader.next(&mut part) {
            let bytes = match control {
                Control::Ping(payload) | Control::Pong(payload) => payload.len(),
                Control::Close { reason, .. } => reason.len(),
            };
            assert!(bytes <= frame::CONTROL_MAX, "a control frame beyond its limit");
        }
    }
}

fn fuzz_machine(mut machine: Machine, wire: &[u8], step: usize) -> Result<(), WsError> {
    for part in wire.chunks(step) {
        machine.feed(part);
        while let Some(event) = machine.poll()? {
            let bytes = match event {
                Event::Binary(payload) => payload.len(),
                Event::Text(text) => text.len(),
                _ => 0,
            };
            assert!(bytes <= 1 << 10, "a message beyond its limit");
        }
        assert!(machine.input().is_empty(), "what was fed is taken");
    }
    assert!(
        machine.take_output().len() <= 3 * wire.len() + 2 * frame::CONTROL_MAX,
        "an output beyond its limit"
    );
    Ok(())
}
