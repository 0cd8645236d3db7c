//! What a peer did wrong on a WebSocket: one variant per fault, each with its close code and a short reason.
//!
//! Invariant: every reason fits a close frame (123 bytes) and is written for the peer.

use tungstenite::error::{CapacityError, Error, ProtocolError};

/// Why a WebSocket is closed against the peer's will (RFC 6455 section 7.4.1 for the codes).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WsError {
    /// Section 5.1: every frame of a client is masked.
    #[error("frames from a client must be masked")]
    Unmasked,
    /// Section 5.1: no frame of a server is.
    #[error("frames from a server must not be masked")]
    Masked,
    /// A reserved bit, or compression that was never agreed on.
    #[error("a reserved bit is set; no extension was agreed on")]
    ReservedBits,
    /// An opcode without a meaning.
    #[error("the opcode {0} is unknown")]
    Opcode(u8),
    /// A ping, pong or close of more than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A ping, pong or close in several frames.
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A continuation without a beginning.
    #[error("a continuation frame continues nothing")]
    NothingToContinue,
    /// A new message inside an unfinished one.
    #[error("a new message began inside a fragmented one")]
    Interleaved,
    /// A length in more bytes than it needs, or of 2^63 and above.
    #[error("the length of a frame is encoded wrongly")]
    Length,
    /// A close frame with half a code or a code that may not be sent.
    #[error("the close frame is malformed")]
    CloseFrame,
    /// Text or a close reason that is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// A frame or message beyond the limit.
    #[error("the message is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// Anything after a close frame.
    #[error("nothing may follow a close frame")]
    AfterClose,
    /// Another fault that the library found.
    #[error("the WebSocket protocol was violated")]
    Violation,
}

impl WsError {
    /// The code for the close frame.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Utf8 => 1007,
            Self::TooLong { .. } => 1009,
            _ => 1002,
        }
    }

    /// From what the library says. `None` for conditions that are no fault of the peer.
    pub(super) fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) => return None,
            Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                Self::TooLong { bytes_max: *max_size }
            }
            Error::Utf8(_) => Self::Utf8,
            Error::Protocol(error) => match error {
                ProtocolError::UnmaskedFrameFromClient => Self::Unmasked,
                ProtocolError::MaskedFrameFromServer => Self::Masked,
                ProtocolError::NonZeroReservedBits => Self::ReservedBits,
                ProtocolError::InvalidOpcode(code)
                | ProtocolError::UnknownControlFrameType(code)
                | ProtocolError::UnknownDataFrameType(code) => Self::Opcode(*code),
                ProtocolError::ControlFrameTooBig => Self::ControlTooLong,
                ProtocolError::FragmentedControlFrame => Self::ControlFragmented,
                ProtocolError::UnexpectedContinueFrame => Self::NothingToContinue,
                ProtocolError::ExpectedFragment(_) => Self::Interleaved,
                ProtocolError::InvalidCloseSequence => Self::CloseFrame,
                ProtocolError::ReceivedAfterClosing => Self::AfterClose,
                _ => Self::Violation,
            },
            _ => Self::Violation,
        })
    }
}
