//! Stories of whole conversations, and what both readers say to the same frames.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame, as a client sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = vec![first];
    match payload.len() {
        len @ 0..126 => wire.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            wire.push(0x80 | 126);
            wire.extend((len as u16).to_be_bytes());
        }
        len => {
            wire.push(0x80 | 127);
            wire.extend((len as u64).to_be_bytes());
        }
    }
    wire.extend(MASK);
    wire.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    wire
}

fn server() -> Machine {
    Machine::new(Options { message_bytes_max: 100_000, ..Options::new(Role::Server) })
}

fn client() -> Machine {
    Machine::new(Options::new(Role::Client))
}

fn events(machine: &mut Machine, wire: &[u8]) -> Result<Vec<Event>, WsError> {
    machine.feed(wire);
    let mut events = Vec::new();
    while let Some(event) = machine.poll()? {
        events.push(event);
    }
    Ok(events)
}

fn controls(reader: &mut ControlReader, mut wire: &[u8]) -> Result<Vec<Control>, WsError> {
    let mut controls = Vec::new();
    while let Some(control) = reader.next(&mut wire)? {
        controls.push(control);
    }
    assert!(wire.is_empty(), "everything is taken");
    Ok(controls)
}

fn binary(text: &'static str) -> Event {
    Event::Binary(text.into())
}

/// A publisher: a fragmented message with a ping inside, an empty message, text, a close. Cut anywhere.
#[test]
fn a_conversation_survives_any_split() {
    let wire = [
        masked(0x02, b"FL"),
        masked(0x89, b"are you there"),
        masked(0x00, b""),
        masked(0x80, b"V"),
        masked(0x82, b""),
        masked(0x81, "né".as_bytes()),
        masked(0x8a, b"late"),
        masked(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
        b"what follows a close".to_vec(),
    ]
    .concat();
    let close = Event::Close { code: Some(1000), reason: "bye".into() };
    let story = vec![
        Event::Ping("are you there".into()),
        binary("FLV"),
        binary(""),
        Event::Text("né".into()),
        Event::Pong("late".into()),
        close,
    ];
    let answer = [&frame::pong(b"are you there")[..], &frame::close(1000, "bye")].concat();
    for cut in 0..wire.len() {
        let mut machine = server();
        let mut told = events(&mut machine, &wire[..cut]).unwrap();
        told.extend(events(&mut machine, &wire[cut..]).unwrap());
        assert_eq!(told, story, "cut at {cut}");
        assert_eq!(machine.take_output(), answer, "cut at {cut}");
        assert!(machine.is_finished() && machine.take_output().is_empty());

        let mut reader = ControlReader::new(1 << 16, false);
        let mut told = controls(&mut reader, &wire[..cut]).unwrap();
        told.extend(controls(&mut reader, &wire[cut..]).unwrap());
        let owed: Vec<Bytes> = told.iter().filter_map(Control::answer).collect();
        assert_eq!(owed.concat(), answer, "a player is answered as a publisher is");
        assert_eq!(
            told,
            [
                Control::Ping("are you there".into()),
                Control::Pong("late".into()),
                Control::Close { code: Some(1000), reason: "bye".into() }
            ],
            "cut at {cut}"
        );
    }
}

/// What RFC 6455 forbids, with the close code that must answer it; both readers agree.
#[test]
fn each_violation_is_closed_with_its_code() {
    for (wire, error) in [
        (vec![0x82, 1, b'x'], WsError::Unmasked),
        (masked(0xc2, b"x"), WsError::ReservedBits),
        (masked(0x92, b"x"), WsError::ReservedBits),
        (masked(0x83, b"x"), WsError::Opcode(3)),
        (masked(0x8b, b"x"), WsError::Opcode(11)),
        (masked(0x89, &[0; 126]), WsError::ControlTooLong),
        (masked(0x09, b"x"), WsError::ControlFragmented),
        (masked(0x80, b"x"), WsError::NothingToContinue),
        ([masked(0x02, b"x"), masked(0x82, b"y")].concat(), WsError::Interleaved),
        (masked(0x88, &[3]), WsError::CloseFrame),
        (masked(0x88, &[3, 0xe8, 0xff]), WsError::Utf8),
        (masked(0x82, &[0; 100_001]), WsError::TooLong { bytes_max: 100_000 }),
        (vec![0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255], WsError::TooLong { bytes_max: 100_000 }),
    ] {
        let mut machine = server();
        // Where the length alone is wrong the library wants to see the mask as well.
        let told = events(&mut machine, &[&wire[..], &[0; 4]].concat());
        assert_eq!(told, Err(error.clone()), "{:?}", &wire[..2]);
        let close = frame::close(error.close_code(), &error.to_string());
        assert_eq!(machine.take_output(), close, "{error}");
        assert!(machine.is_finished());
        assert_eq!(events(&mut machine, b"more"), Ok(vec![]), "nothing matters any more");

        let mut reader = ControlReader::new(100_000, false);
        assert_eq!(controls(&mut reader, &[&wire[..], &[0; 4]].concat()), Err(error));
    }
}

#[test]
fn text_must_be_utf8_wherever_it_is_cut() {
    let text = "καλ";
    for cut in 0..=text.len() {
        let (head, tail) = text.as_bytes().split_at(cut);
        let wire = [masked(0x01, head), masked(0x80, tail)].concat();
        assert_eq!(events(&mut server(), &wire), Ok(vec![Event::Text(text.into())]), "cut at {cut}");
    }
    for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"a\xf5"] {
        let mut machine = server();
        assert_eq!(events(&mut machine, &masked(0x81, bad)), Err(WsError::Utf8));
        assert_eq!(machine.take_output()[2..4], 1007u16.to_be_bytes());
    }
}

#[test]
fn a_fragmented_message_has_the_limit_of_a_whole_one() {
    let part = [0; 60_000];
    let wire = [masked(0x02, &part), masked(0x80, &part)].concat();
    let mut machine = server();
    assert_eq!(events(&mut machine, &wire), Err(WsError::TooLong { bytes_max: 100_000 }));
    assert_eq!(machine.take_output()[2..4], 1009u16.to_be_bytes());
}

#[test]
fn unmasked_clients_are_forgiven_on_request_only() {
    let wire = [&frame::binary(b"FLV")[..], &frame::ping(b"x")].concat();
    assert_eq!(events(&mut server(), &wire), Err(WsError::Unmasked));
    let mut lenient = Machine::new(Options { accept_unmasked: true, ..Options::new(Role::Server) });
    assert_eq!(events(&mut lenient, &wire), Ok(vec![binary("FLV"), Event::Ping("x".into())]));
    assert_eq!(controls(&mut ControlReader::new(9, true), &wire), Ok(vec![Control::Ping("x".into())]));
    assert_eq!(events(&mut client(), &masked(0x82, b"x")), Err(WsError::Masked));
}

#[test]
fn lengths_in_more_bytes_than_needed_are_refused_from_players() {
    for wire in [
        &[0x82, 0xfe, 0, 125][..],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 255, 255],
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let wire = [wire, &MASK].concat();
        assert_eq!(controls(&mut ControlReader::new(1 << 20, false), &wire), Err(WsError::Length));
    }
}

#[test]
fn either_end_may_close_first() {
    let (mut server, mut client) = (server(), client());
    client.binary("FLV".into());
    server.close(1001, "going away");
    server.binary("dropped".into());
    let (to_server, to_client) = (client.take_output(), server.take_output());
    assert_eq!(events(&mut server, &to_server), Ok(vec![binary("FLV")]), "data may cross our close");
    let close = Event::Close { code: Some(1001), reason: "going away".into() };
    assert_eq!(events(&mut client, &to_client), Ok(vec![close.clone()]));
    assert_eq!(events(&mut server, &client.take_output()), Ok(vec![close]));
    assert!(server.is_finished() && client.is_finished());
    assert!(server.take_output().is_empty() && client.take_output().is_empty(), "one close from each");
}

#[test]
fn a_close_without_a_code_or_with_a_forbidden_one_is_answered() {
    let mut machine = server();
    let told = events(&mut machine, &masked(0x88, &[]));
    assert_eq!(told, Ok(vec![Event::Close { code: None, reason: String::new() }]));
    assert_eq!(machine.take_output(), frame::close_empty());
    let mut machine = server();
    assert!(events(&mut machine, &masked(0x88, &1005u16.to_be_bytes())).is_ok());
    assert_eq!(machine.take_output()[2..4], 1002u16.to_be_bytes());
}

#[test]
fn a_player_and_an_idle_machine_cost_little() {
    assert!(size_of::<ControlReader>() <= 176, "{}", size_of::<ControlReader>());
    assert!(size_of::<Machine>() <= 512, "{}", size_of::<Machine>());
    fn travels<T: Send + 'static>() {}
    travels::<Machine>();
    travels::<ControlReader>();
}

/// First byte and payload of one frame in a valid conversation.
fn frames() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let control = (prop::sample::select(vec![0x89, 0x8a]), prop::collection::vec(any::<u8>(), 0..126));
    let message = (prop::collection::vec(any::<u8>(), 0..70_000), 1usize..4);
    let message = message.prop_map(|(payload, parts)| {
        let size = payload.len().div_ceil(parts).max(1);
        let mut frames: Vec<_> = payload.chunks(size).map(|part| (0x00, part.to_vec())).collect();
        if frames.is_empty() {
            frames.push((0, vec![]));
        }
        frames.first_mut().unwrap().0 = 0x02;
        frames.last_mut().unwrap().0 |= 0x80;
        frames
    });
    let control = control.prop_map(|frame| vec![frame]);
    prop::collection::vec(prop_oneof![control, message], 0..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn both_readers_understand_every_conversation(frames in frames(), step in 1usize..5000) {
        let wire: Vec<u8> = frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect();
        let (mut machine, mut reader) = (server(), ControlReader::new(1 << 20, false));
        let (mut told, mut heard) = (Vec::new(), Vec::new());
        for part in wire.chunks(step) {
            told.extend(events(&mut machine, part).unwrap());
            heard.extend(controls(&mut reader, part).unwrap());
        }
        let of = |opcode| frames.iter().filter(move |(first, _)| *first == opcode).map(|(_, payload)| payload.clone());
        let data = frames.iter().filter(|(first, _)| first & 8 == 0).flat_map(|(_, payload)| payload.clone());
        let pings: Vec<Vec<u8>> = of(0x89).collect();
        let binary = told.iter().filter_map(|event| match event { Event::Binary(data) => Some(data.to_vec()), _ => None });
        prop_assert_eq!(binary.collect::<Vec<_>>().concat(), data.collect::<Vec<_>>());
        let heard = heard.iter().filter_map(|control| match control { Control::Ping(data) => Some(data.to_vec()), _ => None });
        prop_assert_eq!(heard.collect::<Vec<_>>(), pings.clone());
        let pongs: Vec<Bytes> = pings.iter().map(|payload| frame::pong(payload)).collect();
        prop_assert_eq!(machine.take_output(), pongs.concat());
    }

    #[test]
    fn our_client_reads_what_our_server_frames(sizes in prop::collection::vec(0usize..70_000, 0..5), step in 1usize..9999) {
        let wire: Vec<u8> = sizes.iter().flat_map(|&size| frame::binary(&vec![7; size])).collect();
        let mut machine = client();
        let mut told = Vec::new();
        for part in wire.chunks(step) {
            told.extend(events(&mut machine, part).unwrap());
        }
        let expected: Vec<Event> = sizes.iter().map(|&size| Event::Binary(vec![7; size].into())).collect();
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn our_server_reads_what_our_client_sends(sizes in prop::collection::vec(0usize..70_000, 0..5)) {
        let (mut client, mut server) = (client(), server());
        for &size in &sizes {
            client.binary(vec![7; size].into());
        }
        let told = events(&mut server, &client.take_output()).unwrap();
        prop_assert_eq!(told, sizes.iter().map(|&size| Event::Binary(vec![7; size].into())).collect::<Vec<_>>());
    }

    #[test]
    fn mutated_conversations_never_panic(
        frames in frames(), seed in any::<u8>(), cut in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let small = frames.into_iter().map(|(first, payload)| (first, payload.into_iter().take(300).collect::<Vec<_>>()));
        let mut wire = vec![seed];
        wire.extend(small.flat_map(|(first, payload)| masked(first, &payload)));
        for (place, byte) in edits {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        wire.truncate(cut.index(wire.len()) + 1);
        fuzz(&wire);
    }

    #[test]
    fn noise_never_panics(wire in prop::collection::vec(any::<u8>(), 0..2000)) {
        fuzz(&wire);
    }
}
