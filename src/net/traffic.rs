//! What a shard's sockets have carried: bytes of payload and protocol, those of TCP, IP and below left out.
//!
//! One number for each direction and thread, added to once for each system call, so it costs nothing that could be measured
//! beside that. Only grows.

use std::cell::Cell;

thread_local! {
    static RECEIVED: Cell<u64> = const { Cell::new(0) };
    static SENT: Cell<u64> = const { Cell::new(0) };
}

/// A socket of this thread took so many bytes from its peer.
pub(super) fn note_received(bytes: usize) {
    RECEIVED.set(RECEIVED.get() + bytes as u64);
}

/// A socket of this thread gave the kernel so many bytes.
pub(super) fn note_sent(bytes: usize) {
    SENT.set(SENT.get() + bytes as u64);
}

/// Bytes that this thread's sockets received and sent since it began.
pub fn of_this_thread() -> (u64, u64) {
    (RECEIVED.get(), SENT.get())
}
