//! FLV as bytes and as access units: a reader that takes any split, a writer, and the view that comparisons use.
//!
//! Independent of the server's own FLV code. Times are milliseconds, as FLV has them. Panics on nonsense: what the
//! server sends must be well formed.

/// Tag type of audio.
pub const AUDIO: u8 = 8;
/// Tag type of video.
pub const VIDEO: u8 = 9;
/// Tag type of `onMetaData` and other AMF data.
pub const SCRIPT: u8 = 18;

/// One FLV tag, which is also one RTMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub kind: u8,
    /// Milliseconds; wraps.
    pub ts: u32,
    pub body: Vec<u8>,
}

/// Picture or sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Audio,
    Video,
}

/// One access unit, or one sequence header, whatever its tag looked like.
#[derive(Clone, PartialEq, Eq)]
pub struct Unit {
    pub kind: Kind,
    /// The track of a multitrack tag, else 0.
    pub track: u8,
    /// FourCC, also where the tag was a legacy one: `avc1 hvc1 av01 vp09 vp08 mp4a .mp3 Opus fLaC ac-3`.
    pub codec: String,
    /// A sequence header (codec configuration) rather than media.
    pub header: bool,
    /// Video only.
    pub key: bool,
    /// Decoding time, milliseconds.
    pub dts: i64,
    /// Presentation minus decoding time, milliseconds.
    pub cts: i64,
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.header { "header" } else { "unit" };
        let key = if self.key { " key" } else { "" };
        write!(
            f,
            "{:?} {} {what}{key} dts={} cts={} len={}",
            self.kind,
            self.codec,
            self.dts,
            self.cts,
            self.data.len()
        )
    }
}

/// Reads a byte stream of FLV, however it is cut.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    flags: Option<u8>,
}

impl Reader {
    /// More of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The flags of the file header, once it has come: 1 video, 4 audio.
    pub fn flags(&self) -> Option<u8> {
        self.flags
    }

    /// The next whole tag.
    ///
    /// # Panics
    /// When the bytes are not FLV.
    pub fn next_tag(&mut self) -> Option<Tag> {
        if self.flags.is_none() {
            let head = self.bytes.get(..13)?;
            assert_eq!(&head[..4], b"FLV\x01", "an FLV header opens the stream");
            assert_eq!(&head[5..13], &[0, 0, 0, 9, 0, 0, 0, 0], "header length 9, no tag before it");
            self.flags = Some(head[4]);
            self.bytes.drain(..13);
        }
        let head = self.bytes.get(..11)?;
        let len = u24(&head[1..]);
        let tag_len = 11 + len;
        let whole = self.bytes.get(..tag_len + 4)?;
        let back = u32::from_be_bytes(whole[tag_len..].try_into().expect("four bytes"));
        assert_eq!(back as usize, tag_len, "the size behind a tag is the tag's");
        assert!(matches!(head[0], AUDIO | VIDEO | SCRIPT), "tag type {}", head[0]);
        assert_eq!(&head[8..11], &[0, 0, 0], "the stream id is 0");
        let ts = u24(&head[4..]) as u32 | u32::from(head[7]) << 24;
        let tag = Tag { kind: head[0], ts, body: whole[11..tag_len].to_vec() };
        self.bytes.drain(..tag_len + 4);
        Some(tag)
    }

    /// Bytes that belong to no whole tag yet.
    pub fn rest(&self) -> usize {
        self.bytes.len()
    }
}

fn u24(b: &[u8]) -> usize {
    usize::from(b[0]) << 16 | usize::from(b[1]) << 8 | usize::from(b[2])
}

/// The tags of a whole file.
pub fn read_file(bytes: &[u8]) -> Vec<Tag> {
    let mut reader = Reader::default();
    reader.feed(bytes);
    std::iter::from_fn(|| reader.next_tag()).collect()
}

/// The 13 bytes that open a file.
pub fn file_header(audio: bool, video: bool) -> Vec<u8> {
    vec![b'F', b'L', b'V', 1, u8::from(audio) << 2 | u8::from(video), 0, 0, 0, 9, 0, 0, 0, 0]
}

impl Tag {
    /// As it stands in a file, with the size behind it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = (self.body.len() as u32).to_be_bytes();
        let ts = self.ts.to_be_bytes();
        let mut out = vec![self.kind, len[1], len[2], len[3], ts[1], ts[2], ts[3], ts[0], 0, 0, 0];
        out.extend_from_slice(&self.body);
        out.extend_from_slice(&(self.body.len() as u32 + 11).to_be_bytes());
        out
    }

    /// The access units in it: one, or several of a multitrack tag, or none (metadata, ends of sequence).
    pub fn units(&self) -> Vec<Unit> {
        match self.kind {
            VIDEO => video_units(self),
            AUDIO => audio_units(self),
            _ => Vec::new(),
        }
    }
}

/// All access units of these tags, in order.
pub fn units<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> Vec<Unit> {
    tags.into_iter().flat_map(Tag::units).collect()
}

fn i24(b: &[u8]) -> i64 {
    i64::from((u24(b) as i32) << 8 >> 8)
}

fn fourcc(b: &[u8]) -> String {
    String::from_utf8_lossy(&b[..4]).into_owned()
}

fn video_units(tag: &Tag) -> Vec<Unit> {
    let b = &tag.body;
    let dts = i64::from(tag.ts);
    let Some(&first) = b.first() else { return Vec::new() };
    let unit = |track, codec: String, frame_type: u8, header, cts, data: &[u8]| Unit {
        kind: Kind::Video,
        track,
        codec,
        header,
        key: frame_type == 1 && !header,
        dts,
        cts,
        data: data.to_vec(),
    };
    if first & 0x80 != 0 {
        let frame_type = first >> 4 & 7;
        return enhanced(b, 6)
            .into_iter()
            .filter_map(|(track, codec, packet, data)| match packet {
                0 => Some(unit(track, codec, frame_type, true, 0, data)),
                1 if codec == "avc1" || codec == "hvc1" => {
                    Some(unit(track, codec, frame_type, false, i24(data), &data[3..]))
                }
                1 | 3 => Some(unit(track, codec, frame_type, false, 0, data)),
                _ => None,
            })
            .collect();
    }
    let frame_type = first >> 4;
    let codec = match first & 15 {
        7 => "avc1",
        12 => "hvc1",
        other => panic!("video codec id {other}"),
    };
    if frame_type == 5 {
        return Vec::new();
    }
    match b[1] {
        0 => vec![unit(0, codec.into(), frame_type, true, 0, &b[5..])],
        1 => vec![unit(0, codec.into(), frame_type, false, i24(&b[2..]), &b[5..])],
        _ => Vec::new(),
    }
}

fn audio_units(tag: &Tag) -> Vec<Unit> {
    let b = &tag.body;
    let dts = i64::from(tag.ts);
    let Some(&first) = b.first() else { return Vec::new() };
    let unit = |track, codec: &str, header, data: &[u8]| Unit {
        kind: Kind::Audio,
        track,
        codec: codec.into(),
        header,
        key: false,
        dts,
        cts: 0,
        data: data.to_vec(),
    };
    match first >> 4 {
        9 => enhanced(b, 5)
            .into_iter()
            .filter_map(|(track, codec, packet, data)| match packet {
                0 => Some(unit(track, &codec, true, data)),
                1 => Some(unit(track, &codec, false, data)),
                _ => None,
            })
            .collect(),
        10 => vec![unit(0, "mp4a", b[1] == 0, &b[2..])],
        2 => vec![unit(0, ".mp3", false, &b[1..])],
        other => panic!("audio format {other}"),
    }
}

/// Enhanced RTMP v2: (track, FourCC, packet type, payload) of each track in the tag. `multitrack` is the packet
/// type that says so.
fn enhanced(b: &[u8], multitrack: u8) -> Vec<(u8, String, u8, &[u8])> {
    let mut packet = b[0] & 15;
    let mut at = 1;
    while packet == 7 {
        // ModEx: size minus one, in one byte or (255) two more, then what follows it.
        let mut size = usize::from(b[at]) + 1;
        at += 1;
        if size == 256 {
            size = (usize::from(b[at]) << 8 | usize::from(b[at + 1])) + 1;
            at += 2;
        }
        at += size;
        packet = b[at] & 15;
        at += 1;
    }
    if packet != multitrack {
        return vec![(0, fourcc(&b[at..]), packet, &b[at + 4..])];
    }
    let (form, packet) = (b[at] >> 4, b[at] & 15);
    at += 1;
    let mut codec = String::new();
    if form != 2 {
        codec = fourcc(&b[at..]);
        at += 4;
    }
    let mut tracks = Vec::new();
    while at < b.len() {
        if form == 2 {
            codec = fourcc(&b[at..]);
            at += 4;
        }
        let track = b[at];
        at += 1;
        let len = if form == 0 {
            b.len() - at
        } else {
            at += 3;
            u24(&b[at - 3..])
        };
        tracks.push((track, codec.clone(), packet, &b[at..at + len]));
        at += len;
    }
    tracks
}

/// An HEVC tag by FourCC, written as the legacy codec id 12; every other tag as it is.
pub fn to_hevc_id_12(tag: &Tag) -> Tag {
    if tag.kind != VIDEO || tag.body.get(1..5) != Some(b"hvc1") {
        return tag.clone();
    }
    let units = tag.units();
    let Some(unit) = units.first() else {
        return Tag { body: vec![0x1c, 2, 0, 0, 0], ..tag.clone() };
    };
    let first = if unit.key || unit.header { 0x1c } else { 0x2c };
    let cts = (unit.cts as i32).to_be_bytes();
    let mut body = vec![first, u8::from(!unit.header), cts[1], cts[2], cts[3]];
    body.extend_from_slice(&unit.data);
    Tag { body, ..tag.clone() }
}
