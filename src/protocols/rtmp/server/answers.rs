//! The host's word, in RTMP's words: permissions, refusals, and news of the stream.
//!
//! Each is a few whole messages in the output. One that does not fit the state writes nothing.

use super::{Server, State, connect};
use crate::protocols::{
    amf0::{Value, object},
    rtmp::{
        command::{info, notice},
        message::{STREAM_ID, UserControl, kind},
    },
};

/// Why a publisher or player is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Such as `NetStream.Publish.BadName`.
    pub code: &'static str,
    /// A sentence for people.
    pub description: String,
}

impl Reject {
    /// The name cannot be published: it is no name, or someone else has it.
    pub fn bad_name(description: impl Into<String>) -> Self {
        Self { code: "NetStream.Publish.BadName", description: description.into() }
    }

    /// This publisher may not.
    pub fn publish_denied(description: impl Into<String>) -> Self {
        Self { code: "NetStream.Publish.Denied", description: description.into() }
    }

    /// There is no such stream.
    pub fn not_found(description: impl Into<String>) -> Self {
        Self { code: "NetStream.Play.StreamNotFound", description: description.into() }
    }

    /// This player may not, or cannot now.
    pub fn play_failed(description: impl Into<String>) -> Self {
        Self { code: "NetStream.Play.Failed", description: description.into() }
    }
}

/// Why a connection ends by the server's will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The server stops.
    ShuttingDown,
    /// An operator, or a rule of the server, ended it.
    Kicked(String),
    /// Another publisher took the name.
    Replaced,
    /// It was silent for too long.
    Idle,
    /// Its permission has ended.
    Expired,
}

impl Server {
    /// Lets the client in: window, bandwidth, chunk size, then `_result`.
    pub fn accept_connect(&mut self) {
        let State::ConnectAsked(transaction) = self.state else { return };
        self.state = State::Idle;
        self.link.control(kind::WINDOW_ACK_SIZE, self.options.window_ack);
        let [a, b, c, d] = self.options.peer_bandwidth.to_be_bytes();
        const DYNAMIC: u8 = 2;
        self.link.control_bytes(kind::SET_PEER_BANDWIDTH, &[a, b, c, d, DYNAMIC]);
        self.link.set_chunk_size(self.options.chunk_size);
        let (properties, information) = connect::answer(&self.connect, &self.options);
        let mut writer = self.link.writer();
        writer.result(transaction, properties, information);
        // Flash encoders wait for the end of a measurement that nobody makes.
        writer.call("onBWDone", 0.0, Value::Null, &[]);
    }

    /// Keeps the client out; the connection is closed then.
    pub fn reject_connect(&mut self, description: &str) {
        let State::ConnectAsked(transaction) = self.state else { return };
        self.state = State::Closed;
        self.link.writer().error(transaction, "NetConnection.Connect.Rejected", description);
    }

    /// Lets it publish.
    pub fn accept_publish(&mut self) {
        if !matches!(self.state, State::PublishAsked) {
            return;
        }
        self.state = State::Publishing;
        let (code, sentence) = ("NetStream.Publish.Start", "Started publishing stream.");
        if self.encoder {
            self.link.writer().call_on(STREAM_ID, "onFCPublish", 0.0, &[notice(code, sentence)]);
        }
        self.status(code, sentence);
    }

    /// Does not let it publish; it may ask for something else, or the host closes.
    pub fn reject_publish(&mut self, reject: &Reject) {
        if matches!(self.state, State::PublishAsked) {
            self.state = State::Idle;
            self.failed(reject.code, &reject.description);
        }
    }

    /// Lets it play. Media follows behind the output.
    pub fn accept_play(&mut self) {
        if !matches!(self.state, State::PlayAsked) {
            return;
        }
        self.state = State::Playing;
        self.link.user_control(UserControl::StreamBegin(STREAM_ID));
        self.status("NetStream.Play.Reset", "Playing and resetting stream.");
        self.status("NetStream.Play.Start", "Started playing stream.");
        let mut writer = self.link.writer();
        writer.data(&["|RtmpSampleAccess".into(), true.into(), true.into()]);
        writer.data(&["onStatus".into(), object([("code", "NetStream.Data.Start".into())])]);
    }

    /// Does not let it play; it may ask for something else, or the host closes.
    pub fn reject_play(&mut self, reject: &Reject) {
        if matches!(self.state, State::PlayAsked) {
            self.state = State::Idle;
            self.failed(reject.code, &reject.description);
        }
    }

    /// Tells a player that was let in that no publisher came for its stream. It may ask for something else.
    pub fn play_not_found(&mut self, description: &str) {
        if self.is_playing() {
            self.state = State::Idle;
            self.failed("NetStream.Play.StreamNotFound", description);
        }
    }

    /// Answers `publish` or `play` by another server's address (SRS's "RTMP 302"). The client calls back or goes; the
    /// host closes after a moment.
    pub fn redirect(&mut self, tc_url: &str, url: &str) {
        if !matches!(self.state, State::PublishAsked | State::PlayAsked) {
            return;
        }
        self.state = State::Idle;
        let mut fields = info("error", "NetConnection.Connect.Rejected", "RTMP 302 Redirect");
        let to = [("code", 302.0.into()), ("redirect", tc_url.into()), ("redirect2", url.into())];
        fields.push(("ex".to_owned(), object(to)));
        self.link.writer().status(fields);
    }

    /// Tells a player that its publisher went. ffmpeg and rtmpdump stop at this, so say it only when the wait is over,
    /// or to players that are to leave.
    pub fn publisher_gone(&mut self) {
        if self.is_playing() {
            self.link.user_control(UserControl::StreamEof(STREAM_ID));
            self.status("NetStream.Play.UnpublishNotify", "The stream is no longer published.");
        }
    }

    /// Tells a player that was told of [`publisher_gone`](Self::publisher_gone) that there is one again.
    pub fn publisher_back(&mut self) {
        if self.is_playing() {
            self.link.user_control(UserControl::StreamBegin(STREAM_ID));
            self.status("NetStream.Play.PublishNotify", "The stream is published again.");
        }
    }

    /// Tells a player that all was played. The client may ask for something else.
    pub fn play_complete(&mut self) {
        if !self.is_playing() {
            return;
        }
        self.state = State::Idle;
        let complete = info("status", "NetStream.Play.Complete", "Played all there is.");
        self.link.writer().data(&["onPlayStatus".into(), Value::Object(complete)]);
        self.link.user_control(UserControl::StreamEof(STREAM_ID));
        self.status("NetStream.Play.Stop", "Stopped playing stream.");
    }

    /// Asks a client that can ([`caps::RECONNECT`](connect::caps::RECONNECT)) to connect again, here or elsewhere, while
    /// this connection still serves it. False, and nothing is written, when it cannot.
    pub fn reconnect(&mut self, tc_url: Option<&str>, description: &str) -> bool {
        let can = self.connect.caps_ex & connect::caps::RECONNECT != 0;
        if can && !matches!(self.state, State::Closed) {
            let mut fields = info("status", "NetConnection.Connect.ReconnectRequest", description);
            fields.extend(tc_url.map(|url| ("tcUrl".to_owned(), url.into())));
            self.link.writer().call("onStatus", 0.0, Value::Null, &[Value::Object(fields)]);
        }
        can
    }

    /// Asks for a sign of life: [`Event::Pong`](super::Event::Pong) brings `value` back, for instance the time in
    /// milliseconds.
    pub fn ping(&mut self, value: u32) {
        if !matches!(self.state, State::Handshake(_) | State::Closed) {
            self.link.user_control(UserControl::PingRequest(value));
        }
    }

    /// Ends the connection in RTMP's words. Send the output, then close.
    pub fn close(&mut self, farewell: &Farewell) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        let sentence = match farewell {
            Farewell::ShuttingDown => "The server is shutting down.",
            Farewell::Kicked(reason) => reason,
            Farewell::Replaced => "Another publisher took over this stream.",
            Farewell::Idle => "Nothing was received for too long.",
            Farewell::Expired => "The permission for this stream has expired.",
        };
        match state {
            State::Publishing | State::PublishAsked => {
                let code = match farewell {
                    Farewell::ShuttingDown => "NetStream.Publish.Failed",
                    Farewell::Kicked(_) | Farewell::Expired => "NetStream.Publish.Denied",
                    Farewell::Replaced => "NetStream.Publish.BadName",
                    Farewell::Idle => "NetStream.Publish.Idle",
                };
                self.failed(code, sentence);
            }
            State::Playing => {
                self.link.user_control(UserControl::StreamEof(STREAM_ID));
                self.status("NetStream.Play.Stop", sentence);
            }
            State::PlayAsked => self.failed("NetStream.Play.Failed", sentence),
            State::ConnectAsked(transaction) => {
                self.link.writer().error(transaction, "NetConnection.Connect.Rejected", sentence);
                return;
            }
            State::Idle => {}
            State::Handshake(_) | State::Introduction | State::Closed => return,
        }
        let closed = info("status", "NetConnection.Connect.Closed", sentence);
        self.link.writer().call("onStatus", 0.0, Value::Null, &[Value::Object(closed)]);
    }

    /// `onStatus` of good news about the stream.
    pub(super) fn status(&mut self, code: &str, description: &str) {
        self.on_status("status", code, description);
    }

    /// `onStatus` of bad news about the stream.
    pub(super) fn failed(&mut self, code: &str, description: &str) {
        self.on_status("error", code, description);
    }

    fn on_status(&mut self, level: &str, code: &str, description: &str) {
        let mut fields = info(level, code, description);
        // Flash reads which stream and which client this is about.
        fields.push(("details".to_owned(), self.name.as_str().into()));
        fields.push(("clientid".to_owned(), self.options.id.as_str().into()));
        self.link.writer().status(fields);
    }
}
