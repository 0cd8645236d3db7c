//! Commands: a name, a number that pairs question and answer, and AMF values (RTMP §7.2).
//!
//! Reading takes AMF0 (type 20) and AMF3's wrapping (type 17); writing is always AMF0, which every client reads.
//! Transaction 0 means that no answer is wanted.

use bytes::{Bytes, BytesMut};

use super::{
    chunk::{self, Head},
    message::{STREAM_ID, kind},
};
use crate::protocols::{
    amf0::{self, Amf0Error, Value, object},
    amf3,
};

/// The chunk streams that commands are sent on: about the connection, and about its stream.
const CSID_CONNECTION: u32 = 3;
const CSID_STREAM: u32 = 5;

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What to do, or `_result`, `_error`, `onStatus`.
    pub name: String,
    /// Pairs an answer with its question.
    pub transaction: f64,
    /// The command object; null for most.
    pub object: Value,
    /// What follows it.
    pub args: Vec<Value>,
}

/// Why a message is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Its values cannot be read.
    #[error("a command that cannot be read: {0}")]
    Amf(#[from] Amf0Error),
    /// The first value is no string.
    #[error("a command without a name")]
    NoName,
    /// A name of more bytes than any real one has.
    #[error("a command whose name has {0} bytes")]
    LongName(usize),
}

/// The longest real name, `receiveVideo` or an application's own, is well below this.
const NAME_BYTES_MAX: usize = 256;

impl Command {
    /// From a message of `kind` 20 or 17. A missing transaction number counts as 0, a missing object as null.
    ///
    /// # Errors
    /// When the values cannot be read or begin with no name.
    pub fn parse(kind: u8, payload: &[u8]) -> Result<Self, CommandError> {
        let values = match kind {
            kind::COMMAND_AMF3 => amf3::decode_message(payload)?,
            _ => amf0::decode_all(payload)?,
        };
        let mut values = values.into_iter();
        let Some(Value::String(name)) = values.next() else { return Err(CommandError::NoName) };
        if name.len() > NAME_BYTES_MAX {
            return Err(CommandError::LongName(name.len()));
        }
        let transaction = values.next().and_then(|value| value.as_f64()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Self { name, transaction, object, args: values.collect() })
    }

    /// Whether the sender waits for an answer.
    pub fn wants_answer(&self) -> bool {
        self.transaction != 0.0
    }

    /// The text of argument `index`; `None` when it is missing or something else.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.args.get(index)?.as_str()
    }

    /// The number in argument `index`.
    pub fn number(&self, index: usize) -> Option<f64> {
        self.args.get(index)?.as_f64()
    }

    /// The flag in argument `index`.
    pub fn flag(&self, index: usize) -> Option<bool> {
        self.args.get(index)?.as_bool()
    }
}

/// What an `onStatus`, or the information of a `_result` or `_error`, says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// Such as `NetStream.Publish.Start`.
    pub code: String,
    /// A sentence for people.
    pub description: String,
}

impl Status {
    /// From an information object; what is missing is empty.
    pub fn parse(info: &Value) -> Self {
        let text = |key| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { level: text("level"), code: text("code"), description: text("description") }
    }
}

/// The information object of a status.
pub(super) fn info(level: &str, code: &str, description: &str) -> Vec<(String, Value)> {
    [("level", level), ("code", code), ("description", description)]
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .into()
}

/// Writes commands into an outgoing buffer, in chunks of the size that the peer was told.
#[derive(Debug)]
pub(super) struct CommandWriter<'a> {
    pub(super) out: &'a mut BytesMut,
    pub(super) chunk_size: usize,
}

impl CommandWriter<'_> {
    /// A command about the connection (message stream 0).
    pub(super) fn call(&mut self, name: &str, transaction: f64, object: Value, args: &[Value]) {
        self.command(CSID_CONNECTION, 0, name, transaction, object, args);
    }

    /// A command about message stream `stream`.
    pub(super) fn call_on(&mut self, stream: u32, name: &str, transaction: f64, args: &[Value]) {
        self.command(CSID_STREAM, stream, name, transaction, Value::Null, args);
    }

    /// The answer to `transaction`.
    pub(super) fn result(&mut self, transaction: f64, object: Value, value: Value) {
        self.call("_result", transaction, object, &[value]);
    }

    /// The refusal of `transaction`.
    pub(super) fn error(&mut self, transaction: f64, code: &str, description: &str) {
        let info = Value::Object(info("error", code, description));
        self.call("_error", transaction, Value::Null, &[info]);
    }

    /// `onStatus` about the stream.
    pub(super) fn status(&mut self, info: Vec<(String, Value)>) {
        self.call_on(STREAM_ID, "onStatus", 0.0, &[Value::Object(info)]);
    }

    /// A data message about the stream, which is not media but follows in its order.
    pub(super) fn data(&mut self, values: &[Value]) {
        let body = amf0::encode_all(values);
        let head = Head { csid: CSID_STREAM, timestamp: 0, kind: kind::DATA, stream: STREAM_ID };
        chunk::write(self.out, head, &[&body], self.chunk_size);
    }

    fn command(
        &mut self,
        csid: u32,
        stream: u32,
        name: &str,
        transaction: f64,
        object: Value,
        args: &[Value],
    ) {
        let body = body(name, transaction, &object, args);
        let head = Head { csid, timestamp: 0, kind: kind::COMMAND, stream };
        chunk::write(self.out, head, &[&body], self.chunk_size);
    }
}

/// The payload of a command message.
fn body(name: &str, transaction: f64, object: &Value, args: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    Value::from(name).encode(&mut out);
    Value::from(transaction).encode(&mut out);
    object.encode(&mut out);
    args.iter().for_each(|value| value.encode(&mut out));
    out.freeze()
}

/// `{code}` and more, the form of `onFCPublish` and its kin.
pub(super) fn notice(code: &str, description: &str) -> Value {
    object([("code", code.into()), ("description", description.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_back_as_it_was_written() {
        let args = [Value::from("cam"), Value::from("live"), Value::from(-2.0), Value::from(true)];
        let wire = body("publish", 5.0, &Value::Null, &args);
        let command = Command::parse(kind::COMMAND, &wire).unwrap();
        assert_eq!((command.name.as_str(), command.transaction), ("publish", 5.0));
        assert_eq!(
            (command.text(0), command.number(2), command.flag(3)),
            (Some("cam"), Some(-2.0), Some(true))
        );
        assert_eq!((command.text(2), command.text(9)), (None, None));
        assert_eq!(Command::parse(kind::COMMAND_AMF3, &[&[0], &wire[..]].concat()), Ok(command));
    }

    #[test]
    fn what_is_missing_behind_the_name_has_a_meaning() {
        let wire = amf0::encode_all(&["closeStream".into()]);
        let command = Command::parse(kind::COMMAND, &wire).unwrap();
        assert!(!command.wants_answer());
        assert_eq!(command.object, Value::Null);
    }

    #[test]
    fn what_is_no_command_is_told_so() {
        assert_eq!(Command::parse(kind::COMMAND, &[]), Err(CommandError::NoName));
        assert_eq!(Command::parse(kind::COMMAND, &[5]), Err(CommandError::NoName));
        assert_eq!(Command::parse(kind::COMMAND, &[2, 0]), Err(CommandError::Amf(Amf0Error::Truncated)));
        let long = amf0::encode_all(&["x".repeat(300).into()]);
        assert_eq!(Command::parse(kind::COMMAND, &long), Err(CommandError::LongName(300)));
    }
}
