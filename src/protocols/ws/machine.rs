//! Whole messages in both directions, for publishers and for clients: `tungstenite` over memory instead of a socket.
//!
//! Invariant: every byte of output is a frame the peer can read, and the last frame of it is a close frame once the
//! machine is finished. Memory: one message of at most `message_bytes_max`, and output not yet taken, which is at most
//! three times the input since it was last taken, beside what the caller itself sends.

use super::{
    WsError,
    frame::{self, CONTROL_MAX},
};
use bytes::{Buf, Bytes, BytesMut};
use std::io::{self, ErrorKind, Read, Write};
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{self, CloseFrame, WebSocketConfig},
};

/// Which end this is. A client masks what it sends, a server expects that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role {
    Server,
    Client,
}

/// What one machine allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which end this is.
    pub role: Role,
    /// The longest message, in bytes, in one frame or in many. A picture of a generous key frame has 1 to 4 MiB.
    pub message_bytes_max: usize,
    /// Room that is always held for reading, in bytes; longer messages get theirs when they come.
    pub read_bytes: usize,
    /// Forgive clients that do not mask their frames, against RFC 6455. Browsers always mask.
    pub accept_unmasked: bool,
}

impl Options {
    /// The defaults of this role: messages of 8 MiB, 4 KiB of room, masks demanded.
    pub fn new(role: Role) -> Self {
        Self { role, message_bytes_max: 8 << 20, read_bytes: 4 << 10, accept_unmasked: false }
    }
}

/// Something the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole binary message.
    Binary(Bytes),
    /// A whole text message.
    Text(String),
    /// A ping; its pong is in the output already.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// The peer closed, or agreed to our close; the output holds the answer and nothing more will come.
    Close {
        /// The code, if it gave one; 1002 in place of a code that may not be sent.
        code: Option<u16>,
        /// The reason, at most 123 bytes.
        reason: String,
    },
}

/// One end of a WebSocket after the handshake.
#[derive(Debug)]
pub struct Machine {
    socket: WebSocket<Memory>,
    finished: bool,
}

impl Machine {
    /// After the 101 was written (server) or read (client).
    pub fn new(options: Options) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(options.read_bytes)
            // Each frame goes to the output at once; the output is what gathers.
            .write_buffer_size(0)
            .max_message_size(Some(options.message_bytes_max))
            .max_frame_size(Some(options.message_bytes_max.max(CONTROL_MAX)))
            .accept_unmasked_frames(options.accept_unmasked);
        let role = match options.role {
            Role::Server => protocol::Role::Server,
            Role::Client => protocol::Role::Client,
        };
        Self { socket: WebSocket::from_raw_socket(Memory::default(), role, Some(config)), finished: false }
    }

    /// Where received bytes go; then [`Machine::poll`] until it says `None`.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.socket.get_mut().input
    }

    /// Adds received bytes to the input.
    pub fn feed(&mut self, received: &[u8]) {
        self.input().extend_from_slice(received);
    }

    /// The next event. `Ok(None)`: more bytes, please; or never again, when [`Machine::is_finished`].
    ///
    /// # Errors
    /// [`WsError`] with what the peer did; the output then ends in a close frame with its code, and the machine is
    /// finished.
    pub fn poll(&mut self) -> Result<Option<Event>, WsError> {
        while !self.finished {
            let event = match self.socket.read() {
                Ok(message) => event(message),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return self.fail(&error),
            };
            // Puts the pong or the answering close into the output; memory takes everything, and a server's socket
            // reports its end here, which the event says as well.
            let _ = self.socket.flush();
            self.finished = matches!(event, Some(Event::Close { .. }));
            if event.is_some() {
                return Ok(event);
            }
        }
        self.input().clear();
        Ok(None)
    }

    fn fail(&mut self, error: &Error) -> Result<Option<Event>, WsError> {
        let Some(error) = WsError::of(error) else {
            self.finished = true;
            return Ok(None);
        };
        self.close(error.close_code(), &error.to_string());
        self.finished = true;
        Err(error)
    }

    /// Sends a binary message. Dropped without a word once either end has closed, as all that follows.
    pub fn binary(&mut self, payload: Bytes) {
        self.send(Message::Binary(payload));
    }

    /// Sends a text message.
    pub fn text(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    /// Sends a ping; what exceeds 125 bytes is cut off.
    pub fn ping(&mut self, payload: &[u8]) {
        let payload = payload.get(..CONTROL_MAX).unwrap_or(payload);
        self.send(Message::Ping(Bytes::copy_from_slice(payload)));
    }

    /// Begins to close, with a code of RFC 6455 section 7.4.1; what exceeds 123 bytes of the reason is cut off. The
    /// peer's answer is an [`Event::Close`]; until then it may still send.
    pub fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: frame::cut(reason).into() };
        self.send(Message::Close(Some(frame)));
    }

    fn send(&mut self, message: Message) {
        if !self.finished && self.socket.can_write() {
            // A pong that is still owed must not follow a close.
            let _ = self.socket.flush();
            let _ = self.socket.send(message);
        }
    }

    /// Takes what is to be sent; empty when nothing is.
    pub fn take_output(&mut self) -> Bytes {
        std::mem::take(&mut self.socket.get_mut().output).freeze()
    }

    /// Both ends have closed, or the peer broke the protocol: send the output, then close the connection.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

fn event(message: Message) -> Option<Event> {
    Some(match message {
        Message::Binary(payload) => Event::Binary(payload),
        Message::Text(text) => Event::Text(text.as_str().to_owned()),
        Message::Ping(payload) => Event::Ping(payload),
        Message::Pong(payload) => Event::Pong(payload),
        Message::Close(None) => Event::Close { code: None, reason: String::new() },
        Message::Close(Some(frame)) => {
            Event::Close { code: Some(frame.code.into()), reason: frame.reason.as_str().to_owned() }
        }
        // Never read, by the library's contract.
        Message::Frame(_) => return None,
    })
}

/// The socket that the library believes in.
#[derive(Debug, Default)]
struct Memory {
    input: BytesMut,
    output: BytesMut,
}

impl Read for Memory {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let bytes = room.len().min(self.input.len());
        if let Some(room) = room.get_mut(..bytes) {
            self.input.copy_to_slice(room);
        }
        Ok(bytes)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
