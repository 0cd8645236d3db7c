//! What clients of each family say, in their order, and what they hear.

use super::*;

const PUBLISHED: &str = "onStatus 0 NetStream.Publish.Start";
const PLAYING: [&str; 5] = [
    "StreamBegin(1)",
    "onStatus 0 NetStream.Play.Reset",
    "onStatus 0 NetStream.Play.Start",
    "data String(\"|RtmpSampleAccess\")",
    "data String(\"onStatus\")",
];

#[test]
fn connect_is_answered_behind_window_bandwidth_and_chunk_size() {
    let options =
        ServerOptions { pid: 4711, id: "abcdefgh".into(), ip: "10.0.0.1".into(), ..Default::default() };
    let mut script = Script::new(options);
    let event = script.connect(amf0::object([("app", "live".into()), ("objectEncoding", 3.0.into())]));
    let Event::Connect(connect) = event else { panic!("{event:?}") };
    assert_eq!((connect.app.as_str(), connect.object_encoding), ("live", 3));
    assert!(script.server.is_asking());
    script.nothing();
    script.server.accept_connect();
    let messages = script.messages();
    let heard: Vec<String> = messages.iter().map(short).collect();
    assert_eq!(
        heard,
        [
            "window 2500000",
            "bandwidth 2500000 2",
            "chunk size 60000",
            "_result 1 NetConnection.Connect.Success",
            "onBWDone 0 Null",
        ]
    );
    let result = Command::parse(kind::COMMAND, &messages[3].payload).unwrap();
    assert_eq!(result.object.get("fmsVer").and_then(Value::as_str), Some("FMS/3,5,3,888"));
    assert_eq!(result.object.get("capabilities").and_then(Value::as_f64), Some(127.0));
    assert_eq!(result.args[0].get("objectEncoding").and_then(Value::as_f64), Some(3.0));
    let data = result.args[0].get("data").expect("who answered");
    assert_eq!(data.get("srs_pid").and_then(Value::as_f64), Some(4711.0));
    assert_eq!(data.get("srs_id").and_then(Value::as_str), Some("abcdefgh"));
    assert_eq!(data.get("srs_server_ip").and_then(Value::as_str), Some("10.0.0.1"));
}

#[test]
fn an_encoder_announces_itself_and_hears_of_it_when_it_may_publish() {
    let mut script = Script::connected("live");
    script.ask("releaseStream", 2.0, &["cam".into()]);
    script.ask("FCPublish", 3.0, &["cam".into()]);
    script.ask("createStream", 4.0, &[]);
    script.ask("_checkbw", 5.0, &[]);
    script.ask("publish", 6.0, &["cam?token=1".into(), "live".into()]);
    let event = script.event();
    assert_eq!(key(&event), "live/cam");
    let Event::Publish(request) = event else { panic!("{event:?}") };
    assert!(request.encoder);
    assert_eq!(request.url.params.as_str(), "token=1");
    assert_eq!(
        script.hear(),
        ["_result 2 Undefined", "_result 3 Undefined", "_result 4 Number(1.0)", "_result 5 Number(0.0)"]
    );
    script.server.accept_publish();
    assert_eq!(script.hear(), ["onFCPublish 0 NetStream.Publish.Start", PUBLISHED]);

    script.ask("FCUnpublish", 7.0, &["cam".into()]);
    assert_eq!(script.event(), Event::Unpublish);
    script.ask("deleteStream", 8.0, &[1.0.into()]);
    script.nothing();
    assert_eq!(
        script.hear(),
        [
            "_result 7 Undefined",
            "onFCUnpublish 0 NetStream.Unpublish.Success",
            "onStatus 0 NetStream.Unpublish.Success",
            "_result 8 Null",
        ]
    );
}

#[test]
fn flash_publishes_behind_create_stream_alone() {
    let mut script = Script::connected("live");
    script.ask("createStream", 2.0, &[]);
    script.ask("publish", 0.0, &["cam".into(), "record".into()]);
    let event = script.event();
    let Event::Publish(request) = event else { panic!("{event:?}") };
    assert_eq!((request.kind, request.encoder), (PublishKind::Record, false));
    script.server.accept_publish();
    assert_eq!(script.hear(), ["_result 2 Number(1.0)", PUBLISHED]);
    script.ask("publish", 0.0, &[false.into()]);
    assert_eq!(script.event(), Event::Unpublish);
    assert_eq!(script.hear(), ["onStatus 0 NetStream.Unpublish.Success"]);
}

#[test]
fn haivision_says_fcpublish_behind_create_stream() {
    let mut script = Script::connected("live");
    script.ask("createStream", 2.0, &[]);
    script.ask("FCPublish", 3.0, &["cam".into()]);
    script.ask("publish", 4.0, &["cam".into(), "live".into()]);
    assert_eq!(key(&script.event()), "live/cam");
    script.server.accept_publish();
    assert_eq!(
        script.hear(),
        ["_result 2 Number(1.0)", "_result 3 Undefined", "onFCPublish 0 NetStream.Publish.Start", PUBLISHED]
    );
}

#[test]
fn obs_without_a_key_publishes_the_last_level_of_its_server_url() {
    let mut script = Script::connected("live/cam");
    script.ask("publish", 5.0, &["".into(), "live".into()]);
    assert_eq!(key(&script.event()), "live/cam");
    let mut script = Script::connected("live/cam");
    script.ask("publish", 5.0, &[]);
    assert_eq!(key(&script.event()), "live/cam", "nor a name at all");
}

#[test]
fn a_player_hears_everything_in_the_order_that_players_wait_for() {
    let mut script = Script::connected("live");
    script.ask("createStream", 2.0, &[]);
    script.ask("getStreamLength", 3.0, &["cam".into()]);
    script.ask("play", 4.0, &["cam".into(), (-2000.0).into()]);
    let event = script.event();
    let Event::Play(request) = event else { panic!("{event:?}") };
    assert_eq!((request.start, request.duration, request.reset), (-2.0, -1.0, true));
    assert_eq!(script.hear(), ["_result 2 Number(1.0)", "_result 3 Number(0.0)"]);
    script.server.accept_play();
    assert_eq!(script.hear(), PLAYING);

    script.ask("pause", 0.0, &[true.into(), 1_500.0.into()]);
    assert_eq!(script.event(), Event::Pause { paused: true, at_ms: 1_500.0 });
    script.ask("pause", 0.0, &[false.into(), 1_500.0.into()]);
    assert_eq!(script.event(), Event::Pause { paused: false, at_ms: 1_500.0 });
    script.ask("seek", 0.0, &[9_000.0.into()]);
    script.ask("receiveAudio", 0.0, &[false.into()]);
    assert_eq!(script.event(), Event::ReceiveAudio(false));
    script.ask("receiveVideo", 0.0, &[true.into()]);
    assert_eq!(script.event(), Event::ReceiveVideo(true));
    assert_eq!(
        script.hear(),
        [
            "onStatus 0 NetStream.Pause.Notify",
            "StreamEof(1)",
            "onStatus 0 NetStream.Unpause.Notify",
            "StreamBegin(1)",
            "onStatus 0 NetStream.Seek.Notify",
        ]
    );
    script.ask("deleteStream", 0.0, &[1.0.into()]);
    assert_eq!(script.event(), Event::StopPlay);
}

#[test]
fn play2_tells_its_stream_in_an_object() {
    let mut script = Script::connected("live");
    let options = amf0::object([("streamName", "cam".into()), ("start", 0.0.into()), ("len", 7.0.into())]);
    script.ask("play2", 0.0, &[options]);
    let event = script.event();
    assert_eq!(key(&event), "live/cam");
    let Event::Play(request) = event else { panic!("{event:?}") };
    assert_eq!((request.start, request.duration), (0.0, 7.0));
}

#[test]
fn a_second_play_or_publish_ends_the_first() {
    let mut script = Script::connected("live");
    script.ask("play", 0.0, &["a".into()]);
    script.event();
    script.server.accept_play();
    script.ask("play", 0.0, &["b".into()]);
    assert_eq!(script.event(), Event::StopPlay);
    assert_eq!(key(&script.event()), "live/b");
    script.server.accept_play();
    script.ask("closeStream", 0.0, &[]);
    assert_eq!(script.event(), Event::StopPlay);

    script.ask("publish", 0.0, &["c".into()]);
    assert_eq!(key(&script.event()), "live/c");
    script.server.accept_publish();
    script.ask("publish", 0.0, &["d".into()]);
    assert_eq!(script.event(), Event::Unpublish);
    assert_eq!(key(&script.event()), "live/d");
    script.server.accept_publish();
    script.hear();
    script.ask("play", 0.0, &["e".into()]);
    script.nothing();
    assert_eq!(script.hear(), ["onStatus 0 NetStream.Play.Failed"], "one stream cannot do both");
    assert!(script.server.is_publishing());
}

#[test]
fn a_refusal_is_told_and_another_try_is_allowed() {
    let mut script = Script::connected("live");
    script.ask("publish", 0.0, &["../etc".into()]);
    let event = script.event();
    assert!(key(&event).contains("not allowed"));
    script.server.reject_publish(&Reject::bad_name("no such name"));
    script.ask("play", 0.0, &["none".into()]);
    script.event();
    script.server.reject_play(&Reject::not_found("nobody publishes it"));
    assert_eq!(
        script.hear(),
        ["onStatus 0 NetStream.Publish.BadName", "onStatus 0 NetStream.Play.StreamNotFound"]
    );
    script.ask("publish", 0.0, &["cam".into()]);
    assert_eq!(key(&script.event()), "live/cam");
    script.server.redirect("rtmp://b/live", "rtmp://b/live/cam");
    assert_eq!(script.hear(), ["onStatus 0 NetConnection.Connect.Rejected"]);
}

#[test]
fn an_application_that_is_not_wanted_is_refused_by_error() {
    let mut script = Script::new(ServerOptions::default());
    script.connect(amf0::object([("app", "secret".into())]));
    script.server.reject_connect("no such application");
    assert_eq!(script.hear(), ["_error 1 NetConnection.Connect.Rejected"]);
    assert!(script.server.is_closed());
    script.ask("createStream", 2.0, &[]);
    script.nothing();
    assert!(!script.server.has_output());
}

#[test]
fn commands_out_of_order_are_answered_or_end_the_connection_by_a_clear_error() {
    let mut script = Script::new(ServerOptions::default());
    script.ask("releaseStream", 2.0, &["cam".into()]);
    script.nothing();
    assert_eq!(script.hear(), ["_error 2 NetConnection.Call.Failed"]);
    script.ask("publish", 3.0, &["cam".into()]);
    assert_eq!(script.server.poll(), Err(Error::ConnectExpected("publish".into())));
    assert_eq!(script.server.poll(), Ok(None), "an error is told once");

    let mut script = Script::connected("live");
    script.ask("connect", 9.0, &[]);
    script.ask("pause", 10.0, &[true.into()]);
    script.ask("deleteStream", 0.0, &[]);
    script.ask("closeStream", 0.0, &[]);
    script.ask("FCUnpublish", 0.0, &[]);
    script.ask("receiveAudio", 0.0, &["no flag".into()]);
    script.ask("nobodyKnowsThis", 11.0, &[]);
    script.ask("norThis", 0.0, &[]);
    script.nothing();
    assert_eq!(
        script.hear(),
        ["_error 9 NetConnection.Connect.Rejected", "_result 10 Null", "_result 11 Null"]
    );
}

#[test]
fn names_beyond_reason_end_the_connection() {
    let mut script = Script::connected("live");
    script.ask("publish", 0.0, &["x".repeat(9_000).into()]);
    let error = script.server.poll().unwrap_err();
    assert!(matches!(error, Error::TooLong { len: 9_000, .. }));
    assert!(script.server.is_closed());
    script.ask("createStream", 2.0, &[]);
    script.nothing();
    script.server.close(&Farewell::Kicked(error.to_string()));
    assert_eq!(script.hear(), ["onStatus 0 NetConnection.Connect.Closed"], "it can still be told why");
}

#[test]
fn a_question_in_amf3_wrapping_is_understood() {
    let mut script = Script::connected("live");
    let command = amf0::encode_all(&["publish".into(), 0.0.into(), Value::Null, "cam".into()]);
    script.message(kind::COMMAND_AMF3, 0, &[&[0], &command[..]].concat());
    assert_eq!(key(&script.event()), "live/cam");
    script.server.accept_publish();
    let mut data = BytesMut::from(&[0][..]);
    data.extend_from_slice(&amf0::encode_all(&["@setDataFrame".into(), "onMetaData".into(), Value::Null]));
    script.message(kind::DATA_AMF3, 5, &data);
    let payload = amf0::encode_all(&["onMetaData".into(), Value::Null]);
    assert_eq!(script.event(), Event::Media(Media { kind: MediaKind::Data, timestamp: 5, payload }));
    script.message(kind::DATA_AMF3, 5, &[0, 0x55]);
    script.nothing();
    assert_eq!(script.server.counters().malformed, 1);
}

#[test]
fn news_of_the_stream_is_told_in_rtmps_words() {
    let play = || {
        let mut script = Script::connected("live");
        script.ask("play", 0.0, &["cam".into()]);
        script.event();
        script.server.accept_play();
        script.hear();
        script
    };
    let mut script = play();
    script.server.publisher_gone();
    script.server.publisher_back();
    script.server.play_complete();
    assert_eq!(
        script.hear(),
        [
            "StreamEof(1)",
            "onStatus 0 NetStream.Play.UnpublishNotify",
            "StreamBegin(1)",
            "onStatus 0 NetStream.Play.PublishNotify",
            "data String(\"onPlayStatus\")",
            "StreamEof(1)",
            "onStatus 0 NetStream.Play.Stop",
        ]
    );
    let mut script = play();
    script.server.close(&Farewell::ShuttingDown);
    assert_eq!(
        script.hear(),
        ["StreamEof(1)", "onStatus 0 NetStream.Play.Stop", "onStatus 0 NetConnection.Connect.Closed"]
    );
    let farewells = [
        (Farewell::ShuttingDown, "onStatus 0 NetStream.Publish.Failed"),
        (Farewell::Kicked("by hand".into()), "onStatus 0 NetStream.Publish.Denied"),
        (Farewell::Replaced, "onStatus 0 NetStream.Publish.BadName"),
        (Farewell::Idle, "onStatus 0 NetStream.Publish.Idle"),
        (Farewell::Expired, "onStatus 0 NetStream.Publish.Denied"),
    ];
    for (farewell, words) in farewells {
        let mut script = Script::connected("live");
        script.ask("publish", 0.0, &["cam".into()]);
        script.event();
        script.server.accept_publish();
        script.hear();
        script.server.close(&farewell);
        assert_eq!(script.hear(), [words, "onStatus 0 NetConnection.Connect.Closed"]);
        assert!(script.server.is_closed());
    }
}

#[test]
fn only_a_client_that_can_is_asked_to_reconnect() {
    let mut script = Script::connected("live");
    assert!(!script.server.reconnect(None, "an update"));
    assert!(script.hear().is_empty());
    let mut script = Script::new(ServerOptions::default());
    script.connect(amf0::object([("app", "live".into()), ("capsEx", 1.0.into())]));
    script.server.accept_connect();
    script.hear();
    assert!(script.server.reconnect(Some("rtmp://b/live"), "an update"));
    assert_eq!(script.hear(), ["onStatus 0 NetConnection.Connect.ReconnectRequest"]);
}
