//! Is what was played what was published? Access units byte for byte, their order, their times, and picture
//! against sound.
//!
//! Times may all be moved by one and the same offset; beyond that they may differ by [`ROUNDING_MS`].

use super::{
    Kind, Unit,
    tools::{Outcome, Tool},
};

/// A millisecond clock rounded once more on the way.
pub const ROUNDING_MS: i64 = 1;

/// How a played stretch lies in what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Units of the source before the first one played.
    pub head: usize,
    /// Units of the source after the last one played.
    pub tail: usize,
    /// Played minus published time, milliseconds.
    pub offset: i64,
}

/// Compares one kind of units. `None` when the source has none of that kind and nothing was played.
///
/// # Panics
/// When anything but the ends is missing, repeated, altered or out of order; `who` is named.
pub fn stretch(who: &str, kind: Kind, published: &[Unit], played: &[Unit]) -> Option<Stretch> {
    let media = |units: &[Unit]| -> Vec<Unit> {
        units.iter().filter(|unit| unit.kind == kind && !unit.header).cloned().collect()
    };
    let (published, played) = (media(published), media(played));
    if published.is_empty() {
        assert_eq!(played, [], "{who}: {kind:?} from nowhere");
        return None;
    }
    let first = played.first().unwrap_or_else(|| panic!("{who}: no {kind:?} at all"));
    let fits = |head: &usize| {
        let source = &published[*head..];
        source.len() >= played.len() && source.iter().zip(&played).all(|(a, b)| a.data == b.data)
    };
    // A film that goes round fits more than once: times tell which round it was.
    let moved = |head: &usize| (first.dts - published[*head].dts).abs();
    let Some(head) = (0..published.len()).filter(fits).min_by_key(moved) else {
        let start = published.iter().position(|unit| unit.data == first.data);
        let differs = start.map(|start| {
            let both = published[start..].iter().zip(&played);
            both.enumerate().find(|(_, (a, b))| a.data != b.data)
        });
        panic!(
            "{who}: the {} {kind:?} units played are no stretch of the {} published; the first of them is \
             published[{start:?}], the first to differ {differs:?}",
            played.len(),
            published.len()
        );
    };
    let offset = first.dts - published[head].dts;
    for (source, unit) in published[head..].iter().zip(&played) {
        let moved = unit.dts - source.dts;
        assert!(
            (moved - offset).abs() <= ROUNDING_MS,
            "{who}: {unit:?} of {source:?}: moved by {moved}, not {offset}"
        );
        assert!(
            (unit.cts - source.cts).abs() <= ROUNDING_MS,
            "{who}: {unit:?} of {source:?}: composition time"
        );
        assert_eq!(
            (unit.key, &unit.codec, unit.track),
            (source.key, &source.codec, source.track),
            "{who}: {unit:?}"
        );
    }
    Some(Stretch { head, tail: published.len() - head - played.len(), offset })
}

/// Compares picture and sound, and each against the other: moved by the same offset. Also that times never go
/// back, that each sequence header played is one that was published, and stands before the first unit it serves.
pub fn played(who: &str, published: &[Unit], played: &[Unit]) -> (Option<Stretch>, Option<Stretch>) {
    let video = stretch(who, Kind::Video, published, played);
    let audio = stretch(who, Kind::Audio, published, played);
    if let (Some(video), Some(audio)) = (video, audio) {
        let apart = (video.offset - audio.offset).abs();
        assert!(apart <= ROUNDING_MS, "{who}: sound is {apart} ms off the picture: {video:?} {audio:?}");
    }
    monotonic(who, played);
    headers(who, published, played);
    (video, audio)
}

/// The whole of it: nothing is missing at either end, but for sound before the first picture, since a player starts
/// with a keyframe.
pub fn played_whole(who: &str, published: &[Unit], units: &[Unit]) {
    let (video, audio) = played(who, published, units);
    let media = |kind| move |unit: &&Unit| unit.kind == kind && !unit.header;
    let first = published.iter().find(media(Kind::Video)).map_or(i64::MIN, |unit| unit.dts);
    let early = published.iter().filter(media(Kind::Audio)).filter(|unit| unit.dts < first).count();
    if let Some(Stretch { head, tail, .. }) = video {
        assert_eq!((head, tail), (0, 0), "{who}: pictures missing at head and tail");
    }
    if let Some(Stretch { head, tail, .. }) = audio {
        assert!(head <= early && tail == 0, "{who}: sound missing, {head} at the head, {tail} at the tail");
    }
}

/// Decoding times of each kind never go back.
pub fn monotonic(who: &str, units: &[Unit]) {
    for kind in [Kind::Video, Kind::Audio] {
        let mut last: Option<&Unit> = None;
        for unit in units.iter().filter(|unit| unit.kind == kind && !unit.header) {
            if let Some(last) = last {
                assert!(unit.dts >= last.dts, "{who}: time goes back, from {last:?} to {unit:?}");
            }
            last = Some(unit);
        }
    }
}

fn headers(who: &str, published: &[Unit], played: &[Unit]) {
    for kind in [Kind::Video, Kind::Audio] {
        let of = |units: &[Unit]| -> Vec<Unit> {
            units.iter().filter(|unit| unit.kind == kind && unit.header).cloned().collect()
        };
        let (sent, got) = (of(published), of(played));
        for header in &got {
            assert!(
                sent.iter().any(|s| s.data == header.data && s.codec == header.codec),
                "{who}: unknown {header:?}"
            );
        }
        let first = played.iter().find(|unit| unit.kind == kind);
        if let (Some(first), false) = (first, sent.is_empty()) {
            assert!(first.header, "{who}: {first:?} comes before any sequence header");
        }
    }
}

/// One packet as ffmpeg saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub stream: u32,
    pub dts: i64,
    pub pts: i64,
    pub size: u64,
    pub hash: String,
}

/// What ffmpeg's `framemd5` printed: the codec of each stream, and every packet.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    pub codecs: Vec<String>,
    pub packets: Vec<Packet>,
}

/// Starts `program` (an ffmpeg) reading `input` to its end without decoding; [`packets`] reads what it prints.
pub fn start_packets(program: &str, input_args: &[&str], input: &str) -> Tool {
    let mut args: Vec<&str> = "-v warning -nostdin -copyts".split(' ').collect();
    args.extend(input_args);
    // Picture and sound: RTMP's data messages make ffmpeg show a stream of data, too.
    args.extend(["-i", input, "-map", "0:v?", "-map", "0:a?", "-c", "copy", "-f", "framemd5", "-"]);
    Tool::start(program, args)
}

/// Takes framemd5's lines apart. Streams are ordered picture first, whatever order the player met them in.
pub fn packets(outcome: &Outcome) -> Packets {
    let mut kinds: Vec<(u32, bool, String)> = Vec::new();
    let mut packets = Vec::new();
    for line in outcome.text().lines() {
        if let Some((index, kind)) = header_value(line, "#media_type ") {
            kinds.push((index, kind != "video", String::new()));
        } else if let Some((index, codec)) = header_value(line, "#codec_id ") {
            kinds.iter_mut().filter(|(stream, ..)| *stream == index).for_each(|kind| kind.2 = codec.into());
        } else if !line.starts_with('#') {
            let words: Vec<&str> = line.split(',').map(str::trim).collect();
            let [stream, dts, pts, _, size, hash, ..] = words[..] else { continue };
            let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("a number in {line:?}"));
            let (stream, size) = (number(stream) as u32, number(size) as u64);
            packets.push(Packet { stream, dts: number(dts), pts: number(pts), size, hash: hash.into() });
        }
    }
    kinds.sort_by_key(|(index, sound, _)| (*sound, *index));
    for packet in &mut packets {
        let place = kinds.iter().position(|(index, ..)| *index == packet.stream);
        packet.stream = place.expect("each packet's stream was announced") as u32;
    }
    Packets { codecs: kinds.into_iter().map(|(.., codec)| codec).collect(), packets }
}

fn header_value<'a>(line: &'a str, name: &str) -> Option<(u32, &'a str)> {
    let (index, value) = line.strip_prefix(name)?.split_once(':')?;
    Some((index.trim().parse().ok()?, value.trim()))
}

/// That two readings by the same ffmpeg are the same film: codecs, packets, sizes, hashes, and times but for one
/// offset common to picture and sound. Times are milliseconds.
pub fn same_packets(who: &str, published: &Packets, played: &Packets) {
    assert_eq!(published.codecs, played.codecs, "{who}: codecs");
    let mut offset = None;
    for stream in 0..published.codecs.len() as u32 {
        let of = |all: &Packets| -> Vec<Packet> {
            all.packets.iter().filter(|p| p.stream == stream).cloned().collect()
        };
        let (mut source, got) = (of(published), of(played));
        // Sound before the first picture may be missing: a player starts with a keyframe.
        let first = if stream > 0 {
            published.packets.iter().find(|p| p.stream == 0).map_or(0, |p| p.dts)
        } else {
            0
        };
        while source.len() > got.len() && source[0].dts < first {
            source.remove(0);
        }
        let hashes = |packets: &[Packet]| -> Vec<String> { packets.iter().map(|p| p.hash.clone()).collect() };
        assert_eq!(source.len(), got.len(), "{who}: packets of stream {stream}");
        assert_eq!(hashes(&source), hashes(&got), "{who}: bytes of stream {stream}");
        for (a, b) in source.iter().zip(&got) {
            let offset = *offset.get_or_insert(b.dts - a.dts);
            let apart = ((b.dts - a.dts) - offset).abs().max(((b.pts - a.pts) - offset).abs());
            assert!(apart <= ROUNDING_MS, "{who}: {b:?} is {apart} ms off {a:?} (offset {offset})");
        }
    }
}
