//! What a client asks, in the order that servers know from encoders and players, and what it makes of the answers.

use super::{Client, ClientEvent, Role, State, Status, UserControl, kind};
use crate::protocols::{
    amf0::{Value, object},
    rtmp::{
        Error,
        command::Command,
        server::caps::{CAN_DECODE, CAN_FORWARD},
    },
};

/// The transaction of `connect`, by the protocol.
const CONNECT: f64 = 1.0;

impl Client {
    /// Ends the stream, publishing or playing; the connection stays, for [`open`](Self::open) or to be closed.
    pub fn unpublish(&mut self) {
        if !matches!(self.state, State::Starting(_) | State::Ready) {
            return;
        }
        let name = Value::from(self.options.stream.as_str());
        if self.options.role == Role::Publish {
            let transaction = self.next_transaction();
            self.link.writer().call("FCUnpublish", transaction, Value::Null, &[name]);
        }
        let stream = f64::from(self.stream);
        self.link.writer().call("deleteStream", 0.0, Value::Null, &[stream.into()]);
        self.state = State::Idle;
    }

    /// Another stream on the same connection, behind [`unpublish`](Self::unpublish).
    pub fn open(&mut self, role: Role, stream: &str) {
        if matches!(self.state, State::Idle) {
            self.options.role = role;
            self.options.stream = stream.to_owned();
            self.create_stream();
        }
    }

    /// Pauses a player, or lets it go on; the server says so by a status.
    pub fn pause(&mut self, paused: bool, at_ms: f64) {
        if self.is_ready() {
            let transaction = self.next_transaction();
            self.link.writer().call_on(self.stream, "pause", transaction, &[paused.into(), at_ms.into()]);
        }
    }

    pub(super) fn connect(&mut self) {
        self.link.set_chunk_size(self.options.chunk_size);
        let options = &self.options;
        let mut fields: Vec<(String, Value)> = vec![
            ("app".to_owned(), options.app.as_str().into()),
            ("type".to_owned(), "nonprivate".into()),
            ("flashVer".to_owned(), options.flash_ver.as_str().into()),
            ("tcUrl".to_owned(), options.tc_url.as_str().into()),
        ];
        let mut field = |key: &str, value: Value| fields.push((key.to_owned(), value));
        if !options.page_url.is_empty() {
            field("pageUrl", options.page_url.as_str().into());
        }
        // All of Flash's codecs: what a legacy server may filter by is not what this client is limited to.
        field("fpad", false.into());
        field("capabilities", 239.0.into());
        field("audioCodecs", f64::from(0x0FFF).into());
        field("videoCodecs", f64::from(0x00FF).into());
        field("videoFunction", 1.0.into());
        field("objectEncoding", 0.0.into());
        if !options.fourccs.is_empty() {
            let bits = f64::from(CAN_DECODE | CAN_FORWARD);
            let map = || object(options.fourccs.iter().map(|name| (name.as_str(), bits.into())));
            field(
                "fourCcList",
                Value::StrictArray(options.fourccs.iter().map(|name| name.as_str().into()).collect()),
            );
            field("videoFourCcInfoMap", map());
            field("audioFourCcInfoMap", map());
            field("capsEx", f64::from(options.caps_ex).into());
        }
        self.transaction = CONNECT;
        self.link.writer().call("connect", CONNECT, Value::Object(fields), &[]);
    }

    fn create_stream(&mut self) {
        if self.options.role == Role::Publish {
            let name = Value::from(self.options.stream.as_str());
            for command in ["releaseStream", "FCPublish"] {
                let transaction = self.next_transaction();
                self.link.writer().call(command, transaction, Value::Null, std::slice::from_ref(&name));
            }
        }
        let transaction = self.next_transaction();
        self.link.writer().call("createStream", transaction, Value::Null, &[]);
        self.state = State::Creating(transaction);
    }

    fn begin(&mut self) {
        let transaction = self.next_transaction();
        let name = Value::from(self.options.stream.as_str());
        let (stream, millis) = (self.stream, self.options.buffer_ms);
        match self.options.role {
            Role::Publish => {
                self.link.writer().call_on(stream, "publish", transaction, &[name, "live".into()]);
            }
            Role::Play => {
                self.link.writer().call_on(stream, "play", transaction, &[name, (-2.0).into()]);
                self.link.user_control(UserControl::SetBufferLength { stream, millis });
            }
        }
        self.state = State::Starting(transaction);
    }

    pub(super) fn on_command(&mut self, command: &Command) -> Result<Option<ClientEvent>, Error> {
        let answers = |transaction: f64| command.transaction == transaction;
        match (command.name.as_str(), &self.state) {
            ("_result", State::Connecting) if answers(CONNECT) => {
                self.server = command.args.first().cloned().unwrap_or(Value::Null);
                self.link.control(kind::WINDOW_ACK_SIZE, self.options.window_ack);
                self.create_stream();
                Ok(None)
            }
            ("_result", State::Creating(asked)) if answers(*asked) => {
                self.stream = command.number(0).ok_or(Error::NoStream)? as u32;
                self.begin();
                Ok(None)
            }
            ("_error", State::Connecting) if answers(CONNECT) => Ok(self.closed(command)),
            ("_error", State::Creating(asked) | State::Starting(asked)) if answers(*asked) => {
                Ok(self.closed(command))
            }
            ("onStatus", _) => Ok(self.on_status(command)),
            ("close", _) => Ok(self.closed(command)),
            _ => Ok(None),
        }
    }

    fn on_status(&mut self, command: &Command) -> Option<ClientEvent> {
        let status = Status::parse(command.args.first().unwrap_or(&Value::Null));
        let begun = match self.options.role {
            Role::Publish => "NetStream.Publish.Start",
            Role::Play => "NetStream.Play.Start",
        };
        match status.code.as_str() {
            code if code == begun && matches!(self.state, State::Starting(_)) => {
                self.state = State::Ready;
                Some(ClientEvent::Ready)
            }
            "NetConnection.Connect.Closed" => self.closed(command),
            _ if status.level == "error" => self.closed(command),
            _ => Some(ClientEvent::Status(status)),
        }
    }

    fn closed(&mut self, command: &Command) -> Option<ClientEvent> {
        self.state = State::Closed;
        Some(ClientEvent::Closed(Status::parse(command.args.first().unwrap_or(&Value::Null))))
    }

    fn next_transaction(&mut self) -> f64 {
        self.transaction += 1.0;
        self.transaction
    }
}
