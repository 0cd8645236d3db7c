//! What each command does, in each state.
//!
//! Clients differ in which of these they send and in what order; whatever can be answered is, and only requests for a
//! stream before `connect` end the connection. A question that nobody knows gets a null answer, because some clients
//! wait for it.

use super::{
    Connect, Event, PlayRequest, PublishKind, PublishRequest, Server, State,
    connect::{URL_BYTES_MAX, bounded},
};
use crate::protocols::{
    amf0::Value,
    rtmp::{
        Error, StreamUrl,
        command::{Command, notice},
        message::{STREAM_ID, UserControl},
    },
};

impl Server {
    /// Carries out one command; the event is for the host.
    pub(super) fn on_command(&mut self, command: Command) -> Result<Option<Event>, Error> {
        if matches!(self.state, State::Introduction) {
            return self.introduction(command);
        }
        match command.name.as_str() {
            "connect" => {
                let sentence = "this connection is connected already";
                self.link.writer().error(command.transaction, "NetConnection.Connect.Rejected", sentence);
            }
            "createStream" => {
                self.link.writer().result(command.transaction, Value::Null, f64::from(STREAM_ID).into());
            }
            "releaseStream" => self.answer(&command, Value::Undefined),
            "FCPublish" => {
                self.encoder = true;
                self.answer(&command, Value::Undefined);
            }
            "FCUnpublish" => {
                self.answer(&command, Value::Undefined);
                return Ok(self.stop());
            }
            "FCSubscribe" => {
                let notice = notice("NetStream.Play.Start", command.text(0).unwrap_or_default());
                self.link.writer().call("onFCSubscribe", 0.0, Value::Null, &[notice]);
                self.answer(&command, Value::Null);
            }
            "publish" => return self.publish(command),
            "play" | "play2" => return self.play(command),
            "pause" | "pauseRaw" => return Ok(self.pause(&command)),
            // A live stream has one place to be. Players that are told of an error here give up, so it "succeeds".
            "seek" => self.status("NetStream.Seek.Notify", "a live stream plays on from where it is"),
            "receiveAudio" => return Ok(command.flag(0).map(Event::ReceiveAudio)),
            "receiveVideo" => return Ok(command.flag(0).map(Event::ReceiveVideo)),
            "closeStream" | "deleteStream" => {
                self.answer(&command, Value::Null);
                return Ok(self.stop());
            }
            "getStreamLength" | "_checkbw" => self.answer(&command, 0.0.into()),
            "checkBandwidth" => {
                self.answer(&command, Value::Null);
                self.link.writer().call("onBWDone", 0.0, Value::Null, &[]);
            }
            // Answers to what was never asked.
            "_result" | "_error" | "onStatus" => {}
            _ => self.answer(&command, Value::Null),
        }
        Ok(None)
    }

    /// Before `connect`: that, or what can be answered without it.
    fn introduction(&mut self, command: Command) -> Result<Option<Event>, Error> {
        match command.name.as_str() {
            "connect" => {
                let connect = Box::new(Connect::parse(&command)?);
                self.connect = connect.clone();
                self.state = State::ConnectAsked(command.transaction);
                Ok(Some(Event::Connect(connect)))
            }
            "createStream" | "publish" | "play" | "play2" => Err(Error::ConnectExpected(command.name)),
            _ => {
                if command.wants_answer() {
                    let sentence = "connect comes first";
                    self.link.writer().error(command.transaction, "NetConnection.Call.Failed", sentence);
                }
                Ok(None)
            }
        }
    }

    fn publish(&mut self, command: Command) -> Result<Option<Event>, Error> {
        match self.state {
            // `publish(false)` is how Flash stops.
            _ if command.flag(0) == Some(false) => return Ok(self.stop()),
            State::Publishing => {
                self.held = Some(command);
                return Ok(self.stop());
            }
            State::Playing => {
                self.failed("NetStream.Publish.BadName", "this connection plays; stop that first");
                return Ok(None);
            }
            _ => {}
        }
        self.name = bounded("the stream's name", command.text(0).unwrap_or_default())?;
        let kind = match command.text(1) {
            Some(kind) if kind.eq_ignore_ascii_case("record") => PublishKind::Record,
            Some(kind) if kind.eq_ignore_ascii_case("append") => PublishKind::Append,
            _ => PublishKind::Live,
        };
        self.state = State::PublishAsked;
        let (url, name) = (self.url(), self.name.clone());
        Ok(Some(Event::Publish(Box::new(PublishRequest { url, name, kind, encoder: self.encoder }))))
    }

    fn play(&mut self, command: Command) -> Result<Option<Event>, Error> {
        match self.state {
            _ if command.flag(0) == Some(false) => return Ok(self.stop()),
            State::Playing => {
                self.held = Some(command);
                return Ok(self.stop());
            }
            State::Publishing => {
                self.failed("NetStream.Play.Failed", "this connection publishes; stop that first");
                return Ok(None);
            }
            _ => {}
        }
        // `play2` tells the same in an object.
        let options = command.args.first().filter(|value| value.fields().is_some());
        let option = |key| options.and_then(|options| options.get(key));
        let name = option("streamName").and_then(Value::as_str).or_else(|| command.text(0));
        self.name = bounded("the stream's name", name.unwrap_or_default())?;
        let start = option("start").and_then(Value::as_f64).or_else(|| command.number(1));
        let duration = option("len").and_then(Value::as_f64).or_else(|| command.number(2));
        let reset = match command.args.get(3) {
            Some(Value::Boolean(reset)) => *reset,
            Some(Value::Number(reset)) => *reset != 0.0,
            _ => true,
        };
        self.state = State::PlayAsked;
        Ok(Some(Event::Play(Box::new(PlayRequest {
            url: self.url(),
            name: self.name.clone(),
            start: start.filter(|start| start.is_finite()).map_or(-2.0, mark),
            duration: duration.filter(|duration| duration.is_finite()).unwrap_or(-1.0),
            reset,
        }))))
    }

    fn pause(&mut self, command: &Command) -> Option<Event> {
        if !self.is_playing() {
            self.answer(command, Value::Null);
            return None;
        }
        let paused = command.flag(0).unwrap_or(true);
        let at_ms = command.number(1).filter(|at| at.is_finite()).unwrap_or(0.0);
        if paused {
            self.status("NetStream.Pause.Notify", "Paused stream.");
            self.link.user_control(UserControl::StreamEof(STREAM_ID));
        } else {
            self.status("NetStream.Unpause.Notify", "Unpaused stream.");
            self.link.user_control(UserControl::StreamBegin(STREAM_ID));
        }
        Some(Event::Pause { paused, at_ms })
    }

    /// Ends what the stream does, and tells the client so.
    fn stop(&mut self) -> Option<Event> {
        match self.state {
            State::Publishing => {
                let (code, sentence) = ("NetStream.Unpublish.Success", "Stop publishing stream.");
                if std::mem::take(&mut self.encoder) {
                    let notice = notice(code, sentence);
                    self.link.writer().call_on(STREAM_ID, "onFCUnpublish", 0.0, &[notice]);
                }
                self.status(code, sentence);
                self.state = State::Idle;
                Some(Event::Unpublish)
            }
            State::Playing => {
                self.status("NetStream.Play.Stop", "Stopped playing stream.");
                self.state = State::Idle;
                Some(Event::StopPlay)
            }
            _ => None,
        }
    }

    /// Answers a question, if it was one.
    fn answer(&mut self, command: &Command, value: Value) {
        if command.wants_answer() {
            self.link.writer().result(command.transaction, Value::Null, value);
        }
    }

    fn url(&self) -> StreamUrl {
        StreamUrl::new(&self.connect.tc_url, &self.connect.app, &self.name)
    }
}

/// librtmp and ffmpeg multiply even the marks -1 and -2 by a thousand.
fn mark(start: f64) -> f64 {
    if start < -2.0 { (start / 1_000.0).clamp(-2.0, -1.0) } else { start }
}

/// Three addresses in one key and its parameters stay well below a message.
const _: () = assert!(3 * URL_BYTES_MAX < 64 << 10);
