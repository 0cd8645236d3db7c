//! The chunk layer fed with captures, with hand-made wires of every habit, and with its own writer's output.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

/// `connect` to the end of one second of 64×48 H.264 and AAC, as ffmpeg 5.1 publishes it, behind the handshake.
const FFMPEG_PUBLISH: &[u8] = include_bytes!("testdata/ffmpeg-publish.bin");
/// `connect` to `deleteStream`, as rtmpdump 2.4 plays.
const RTMPDUMP_PLAY: &[u8] = include_bytes!("testdata/rtmpdump-play.bin");

fn options() -> ReaderOptions {
    ReaderOptions::default()
}

/// All messages of `wire`, fed in pieces of `step` bytes, and how it ended.
fn read_in(wire: &[u8], step: usize) -> (Vec<Message>, Option<ChunkError>) {
    let (mut reader, mut input, mut messages) = (Reader::new(options()), BytesMut::new(), Vec::new());
    for piece in wire.chunks(step.max(1)) {
        input.extend_from_slice(piece);
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn read(wire: &[u8]) -> Vec<Message> {
    let (messages, error) = read_in(wire, wire.len());
    assert_eq!(error, None);
    messages
}

fn error(wire: &[u8]) -> ChunkError {
    read_in(wire, wire.len()).1.expect("an error")
}

fn times(wire: &[u8]) -> Vec<u32> {
    let whole = read(wire);
    for step in 1..6 {
        assert_eq!(read_in(wire, step), (whole.clone(), None), "in pieces of {step}");
    }
    whole.iter().map(|message| message.timestamp).collect()
}

/// A hand-made chunk: header type and one-byte id, then the rest of the header as given, then `body` bytes of 0xEE.
fn chunk(format: u8, header: &[u8], body: usize) -> Vec<u8> {
    [&[format << 6 | 5], header, &vec![0xEE; body]].concat()
}

fn full(time: u32, len: u32, body: usize) -> Vec<u8> {
    let mut header = BytesMut::new();
    header.put_uint(u64::from(time.min(EXTENDED)), 3);
    header.put_uint(u64::from(len), 3);
    header.put_slice(&[9, 1, 0, 0, 0]);
    if time >= EXTENDED {
        header.put_u32(time);
    }
    chunk(0, &header, body)
}

#[test]
fn ffmpeg_and_rtmpdump_are_understood_at_every_split() {
    for (wire, count) in [(FFMPEG_PUBLISH, 44), (RTMPDUMP_PLAY, 7)] {
        let whole = read(wire);
        assert_eq!(whole.len(), count);
        for cut in 0..wire.len() {
            let (mut reader, mut messages) = (Reader::new(options()), Vec::new());
            let mut input = BytesMut::from(&wire[..cut]);
            while let Some(message) = reader.read(&mut input).unwrap() {
                messages.push(message);
            }
            input.extend_from_slice(&wire[cut..]);
            while let Some(message) = reader.read(&mut input).unwrap() {
                messages.push(message);
            }
            assert!(input.is_empty());
            assert_eq!(messages, whole, "cut at {cut}");
        }
        assert_eq!(read_in(wire, 1), (whole, None));
    }
}

#[test]
fn the_times_of_ffmpeg_advance_by_frames() {
    let audio: Vec<u32> = read(FFMPEG_PUBLISH)
        .iter()
        .filter(|message| message.kind == 8 && message.payload.len() > 7)
        .map(|message| message.timestamp)
        .collect();
    assert_eq!(audio[..5], [154, 200, 246, 293, 339]);
    assert!(audio.is_sorted());
}

#[test]
fn a_message_of_one_chunk_is_not_copied() {
    let mut input = BytesMut::from(&full(0, 100, 100)[..]);
    let place = input[12..].as_ptr();
    let message = Reader::new(options()).read(&mut input).unwrap().unwrap();
    assert_eq!(message.payload.as_ptr(), place);
    assert_eq!((message.kind, message.stream, message.csid), (9, 1, 5));
}

#[test]
fn type_3_repeats_the_delta_and_the_delta_alone() {
    let delta = |by| chunk(2, &[0, 0, by], 4);
    let wire =
        [full(1_000_000, 4, 4), delta(20), chunk(3, &[], 4), chunk(3, &[], 4), delta(7), chunk(3, &[], 4)];
    assert_eq!(times(&wire.concat()), [1_000_000, 1_000_020, 1_000_040, 1_000_060, 1_000_067, 1_000_074]);
}

#[test]
fn type_3_behind_type_0_means_a_frame_later_or_the_same_time() {
    assert_eq!(
        times(&[full(23, 4, 4), chunk(3, &[], 4), chunk(3, &[], 4)].concat()),
        [23, 46, 69],
        "as ffmpeg writes"
    );
    assert_eq!(
        times(&[full(900_000, 4, 4), chunk(3, &[], 4)].concat()),
        [900_000, 900_000],
        "as nginx-rtmp writes"
    );
}

#[test]
fn a_chunk_stream_may_begin_with_type_1_but_not_with_less() {
    let ping = chunk(1, &[0, 0, 9, 0, 0, 4, 4], 4);
    assert_eq!(times(&[ping, chunk(2, &[0, 0, 1], 4)].concat()), [9, 10]);
    assert_eq!(error(&chunk(2, &[0, 0, 9], 4)), ChunkError::NoHeader { csid: 5, format: 2 });
    assert_eq!(error(&chunk(3, &[], 4)), ChunkError::NoHeader { csid: 5, format: 3 });
}

#[test]
fn extended_timestamps_are_read_repeated_or_not() {
    for time in [0xFF_FFFF_u32, 0x100_0000, u32::MAX] {
        let field = time.to_be_bytes();
        // 300 bytes in chunks of 128, 128 and 44.
        let repeated = [full(time, 300, 128), chunk(3, &field, 128), chunk(3, &field, 44)].concat();
        let omitted = [full(time, 300, 128), chunk(3, &[], 128), chunk(3, &[], 44)].concat();
        for wire in [repeated, omitted] {
            assert_eq!(times(&wire), [time]);
            assert_eq!(read(&wire)[0].payload, vec![0xEE; 300]);
        }
    }
}

#[test]
fn an_extended_delta_is_repeated_as_itself_or_as_the_time() {
    let (delta, time) = (0x100_0000_u32, 0x100_0000_u32 + 50);
    let second = [&[0xFF; 3][..], &[0, 0, 200, 9], &delta.to_be_bytes()].concat();
    for field in [&delta.to_be_bytes()[..], &time.to_be_bytes(), &[]] {
        let wire = [full(50, 4, 4), chunk(1, &second, 128), chunk(3, field, 72)].concat();
        assert_eq!(times(&wire), [50, time]);
        assert_eq!(read(&wire)[1].payload, vec![0xEE; 200]);
    }
    // And the next message by type 3 adds the delta again, with and without the field.
    for field in [&delta.to_be_bytes()[..], &[]] {
        let second = [&[0xFF; 3][..], &[0, 0, 4, 9], &delta.to_be_bytes()].concat();
        let wire = [full(50, 4, 4), chunk(1, &second, 4), chunk(3, field, 4)].concat();
        assert_eq!(times(&wire), [50, time, time + delta]);
    }
}

#[test]
fn a_short_last_chunk_without_the_field_is_not_held_up() {
    let wire = [full(0x0100_0000, 129, 128), chunk(3, &[], 1)].concat();
    assert_eq!(read(&wire).len(), 1);
}

#[test]
fn time_wraps_after_49_days() {
    assert_eq!(times(&[full(u32::MAX - 4, 4, 4), chunk(2, &[0, 0, 10], 4)].concat()), [u32::MAX - 4, 5]);
}

#[test]
fn ids_are_read_in_each_of_their_forms() {
    for (basic, csid) in [
        (&[0x3F][..], 63),
        (&[0, 0], 64),
        (&[0, 255], 319),
        (&[1, 0, 0], 64),
        (&[1, 255, 0], 319),
        (&[1, 0, 1], 320),
        (&[1, 255, 255], 65_599),
    ] {
        let wire = [basic, &[0, 0, 1, 0, 0, 2, 9, 1, 0, 0, 0], b"hi"].concat();
        assert_eq!(read(&wire)[0].csid, csid);
    }
}

#[test]
fn messages_interleave() {
    let mut audio = full(7, 4, 4);
    audio[0] = 6;
    let wire = [full(1, 200, 128), audio, chunk(3, &[], 72)].concat();
    let messages = read(&wire);
    assert_eq!(messages.iter().map(|m| (m.csid, m.payload.len())).collect::<Vec<_>>(), [(6, 4), (5, 200)]);
}

#[test]
fn a_repeated_full_header_goes_on_and_another_one_begins_anew() {
    let wire = [full(1, 200, 128), full(1, 200, 72), full(2, 200, 128), full(3, 4, 4)].concat();
    let mut reader = Reader::new(options());
    let mut input = BytesMut::from(&wire[..]);
    assert_eq!(reader.read(&mut input).unwrap().unwrap().payload.len(), 200);
    let last = reader.read(&mut input).unwrap().unwrap();
    assert_eq!((last.timestamp, last.payload.len()), (3, 4));
    assert_eq!((reader.abandoned(), reader.partial_bytes()), (1, 0));
}

fn control(kind: u8, value: u32) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 0, 4, kind, 0, 0, 0, 0], &value.to_be_bytes()[..]].concat()
}

#[test]
fn a_new_chunk_size_counts_from_the_next_chunk_even_inside_a_message() {
    let wire = [full(1, 300, 128), control(1, 1), chunk(3, &[], 1), control(1, 65_536), chunk(3, &[], 171)];
    // The header of Set Chunk Size is read at once, but its own body is cut by the size it replaces.
    let split =
        [&wire[3][..13], &[0xC2], &wire[3][13..14], &[0xC2], &wire[3][14..15], &[0xC2], &wire[3][15..]]
            .concat();
    let wire = [&wire[0][..], &wire[1], &wire[2], &split, &wire[4]].concat();
    let messages = read(&wire);
    assert_eq!(messages.iter().map(|message| message.kind).collect::<Vec<_>>(), [1, 1, 9]);
    assert_eq!(messages[2].payload, vec![0xEE; 300]);
}

#[test]
fn chunk_sizes_out_of_range_are_refused() {
    let size_max = 0x7FFF_FFFF;
    assert_eq!(error(&control(1, 0)), ChunkError::ChunkSize { size: 0, size_max });
    assert_eq!(error(&control(1, 1 << 31)), ChunkError::ChunkSize { size: 1 << 31, size_max });
    assert_eq!(error(&full_kind(1, 3)), ChunkError::ControlTooShort { kind: 1, len: 3 });
    assert_eq!(error(&full_kind(2, 0)), ChunkError::ControlTooShort { kind: 2, len: 0 });
    let options = ReaderOptions { chunk_bytes_max: 1000, ..options() };
    let mut input = BytesMut::from(&control(1, 1001)[..]);
    let refused = Reader::new(options).read(&mut input);
    assert_eq!(refused, Err(ChunkError::ChunkSize { size: 1001, size_max: 1000 }));
}

fn full_kind(kind: u8, len: u8) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 0, len, kind, 0, 0, 0, 0], &vec![0; usize::from(len)][..]].concat()
}

#[test]
fn an_abort_is_swallowed_and_frees_what_it_names() {
    let wire = [full(1, 300, 128), control(2, 5), control(2, 77), full(9, 4, 4)].concat();
    let mut reader = Reader::new(options());
    let mut input = BytesMut::from(&wire[..]);
    assert_eq!(reader.read(&mut input).unwrap().unwrap().timestamp, 9);
    assert_eq!((reader.partial_bytes(), reader.abandoned()), (0, 0));
}

#[test]
fn a_peer_cannot_make_us_hold_more_than_allowed() {
    let options = ReaderOptions {
        message_bytes_max: 1000,
        partial_bytes_max: 2500,
        streams_max: 4,
        ..ReaderOptions::default()
    };
    let begun = |csid: u8, len: u32| [&[csid], &full(0, len, 128)[1..]].concat();
    let refused = |wires: &[Vec<u8>]| {
        let mut input = BytesMut::from(&wires.concat()[..]);
        let mut reader = Reader::new(options);
        loop {
            match reader.read(&mut input) {
                Ok(message) => assert!(message.is_some(), "no refusal"),
                Err(error) => return error,
            }
        }
    };
    assert_eq!(refused(&[begun(3, 1001)]), ChunkError::MessageTooLarge { csid: 3, len: 1001, len_max: 1000 });
    assert_eq!(
        refused(&[begun(3, 1000), begun(4, 1000), begun(5, 501)]),
        ChunkError::PartialsTooLarge { bytes: 2501, bytes_max: 2500 }
    );
    let small: Vec<_> = (3..8).map(|csid| begun(csid, 128)).collect();
    assert_eq!(refused(&small), ChunkError::TooManyStreams { csid: 7, streams_max: 4 });
}

#[test]
fn the_reader_says_how_much_it_waits_for() {
    let wire = full(0, 100, 100);
    let mut reader = Reader::new(options());
    let mut input = BytesMut::from(&wire[..40]);
    assert_eq!(reader.read(&mut input), Ok(None));
    assert_eq!(reader.missing(&input), wire.len() - 40);
}

#[test]
fn a_message_too_long_for_the_wire_is_not_written() {
    let head = Head { csid: 4, timestamp: 0, kind: 9, stream: 1 };
    let mut out = BytesMut::new();
    write(&mut out, head, &[&vec![0; MESSAGE_BYTES_MAX], b"x"], 60_000);
    assert!(out.is_empty());
}

#[test]
fn cut_and_changed_captures_never_panic() {
    for wire in [FFMPEG_PUBLISH, RTMPDUMP_PLAY] {
        for at in (0..wire.len()).step_by(13).chain(0..40) {
            fuzz(&wire[..at]);
            let mut changed = wire.to_vec();
            changed[at] ^= 1 << (at % 8);
            fuzz(&changed);
        }
    }
}

fn any_csid() -> impl Strategy<Value = u32> {
    prop_oneof![prop::sample::select(vec![2_u32, 3, 63, 64, 65, 319, 320, 65_598, 65_599]), 2..=CSID_MAX]
}

fn any_time() -> impl Strategy<Value = u32> {
    let edges = vec![0_u32, 1, 0xFF_FFFE, 0xFF_FFFF, 0x100_0000, 0x7FFF_FFFF, u32::MAX];
    prop_oneof![prop::sample::select(edges), any::<u32>()]
}

fn any_message() -> impl Strategy<Value = Message> {
    let len = prop_oneof![prop::sample::select(vec![0_usize, 1, 127, 128, 129, 256, 257]), 0..3000_usize];
    (any_csid(), any_time(), 3..=22_u8, any::<u32>(), len, any::<u8>()).prop_map(
        |(csid, timestamp, kind, stream, len, first)| {
            let payload = (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(first)).collect();
            Message { csid, timestamp, kind, stream, payload }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        messages in prop::collection::vec(any_message(), 1..8),
        chunk_size in prop_oneof![Just(1_usize), Just(127), Just(128), Just(4096), 1..2000_usize],
        step in 1..300_usize,
        at in any::<prop::sample::Index>(),
    ) {
        let mut wire = BytesMut::new();
        let head = Head { csid: 2, timestamp: 0, kind: SET_CHUNK_SIZE, stream: 0 };
        write(&mut wire, head, &[&(chunk_size as u32).to_be_bytes()], CHUNK_BYTES_INITIAL);
        for message in &messages {
            let Message { csid, timestamp, kind, stream, .. } = *message;
            let (head, before) = (Head { csid, timestamp, kind, stream }, wire.len());
            let (one, two) = message.payload.split_at(at.index(message.payload.len() + 1));
            write(&mut wire, head, &[one, &[], two], chunk_size);
            prop_assert_eq!(wire.len() - before, written_len(head, message.payload.len(), chunk_size));
        }
        let (read, error) = read_in(&wire, step);
        prop_assert_eq!(error, None);
        prop_assert_eq!(&read[1..], &messages[..]);
    }

    #[test]
    fn noise_never_panics(data in prop::collection::vec(prop_oneof![0..7_u8, any::<u8>()], 0..2000)) {
        fuzz(&data);
    }

    #[test]
    fn changed_captures_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut wire = FFMPEG_PUBLISH.to_vec();
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        fuzz(&wire);
    }
}
