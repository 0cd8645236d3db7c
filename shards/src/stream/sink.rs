//! Where a reader's bytes go: the trait that sockets implement.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

/// A non-blocking way out. The walk over a stream's readers uses [`try_send`](Self::try_send); a reader that would block
/// waits in its own task by [`poll_send`](Self::poll_send).
pub trait Sink {
    /// Sends what fits without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing fits; anything else means that the peer is gone.
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends some of `head` as soon as there is room, and wakes the task then.
    fn poll_send(&self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>>;
}
