//! An FLV or MP4 file, over and over, with markers in its H.264 pictures.
//!
//! The file is held in memory. Each round begins where the one before ended, so the clock never jumps. Times are
//! microseconds, sizes bytes.

use std::{fs, io, path::Path, process::Command, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use shardcast::protocols::{
    amf0::{self, Value},
    flv::{FlvError, Reader, ReaderOptions, TagType},
    rtmp::MediaKind,
};

use super::{Message, h264::put_unit, marker::Marker, media_kind};

/// A file is held whole.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// RTMP's messages end here.
const TAG_BYTES_MAX: usize = 0xff_ffff;
/// From the last tag of a round to the first of the next where nothing tells better.
const GAP_US: u64 = 33_000;

/// Why a file cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Too large to hold.
    #[error("it has {0} bytes; at most {FILE_BYTES_MAX} are held in memory")]
    TooLarge(u64),
    /// Not FLV.
    #[error("it is neither FLV ({0}) nor MP4")]
    NotFlv(#[from] FlvError),
    /// An MP4 that ffmpeg does not turn into FLV, or there is no ffmpeg.
    #[error("ffmpeg, which turns an MP4 into FLV, says: {0}")]
    Remux(String),
    /// Nothing to loop over.
    #[error("it holds no pictures and no sound")]
    Empty,
}

/// An MP4 as FLV, its frames as they are: the first picture and the first sound.
fn remux(path: &Path) -> Result<Vec<u8>, ClipError> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args([
            "-map",
            "0:v:0?",
            "-map",
            "0:a:0?",
            "-c",
            "copy",
            "-flvflags",
            "no_duration_filesize",
            "-f",
            "flv",
            "-",
        ])
        .output()
        .map_err(|error| ClipError::Remux(format!("it cannot be started: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(ClipError::Remux(said.lines().last().unwrap_or("nothing").to_owned()))
}

/// A file that was read.
#[derive(Debug)]
pub struct Clip {
    name: String,
    metadata: Option<Value>,
    headers: Vec<(MediaKind, Bytes)>,
    tags: Vec<Tag>,
    round_us: u64,
    bytes: u64,
    keys: u64,
    pictures: u64,
}

#[derive(Debug)]
struct Tag {
    kind: MediaKind,
    at_us: u64,
    key: bool,
    /// Where a marker goes, in H.264 pictures with four-byte lengths.
    mark_at: Option<usize>,
    body: Bytes,
}

impl Clip {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ClipError`].
    pub fn open(path: &Path) -> Result<Self, ClipError> {
        let len = fs::metadata(path)?.len();
        if len > FILE_BYTES_MAX {
            return Err(ClipError::TooLarge(len));
        }
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        let bytes = fs::read(path)?;
        // ISO/IEC 14496-12 §4.3: a file type box comes first.
        let bytes = if bytes.get(4..8) == Some(b"ftyp") { remux(path)? } else { bytes };
        Self::parse(&name, BytesMut::from(&bytes[..]))
    }

    /// From the bytes of a file.
    ///
    /// # Errors
    /// [`ClipError`].
    pub fn parse(name: &str, mut input: BytesMut) -> Result<Self, ClipError> {
        let mut reader = Reader::new(ReaderOptions { tag_bytes_max: TAG_BYTES_MAX });
        let mut clip = Self {
            name: name.to_owned(),
            metadata: None,
            headers: Vec::new(),
            tags: Vec::new(),
            round_us: 0,
            bytes: 0,
            keys: 0,
            pictures: 0,
        };
        let (mut first, mut length_size) = (None, None);
        while let Some(tag) = reader.read(&mut input)? {
            let kind = media_kind(tag.kind);
            if tag.kind == TagType::Script {
                clip.metadata = clip.metadata.or_else(|| metadata(&tag.body));
                continue;
            }
            if is_header(kind, &tag.body) {
                if let [_, 0, _, _, _, 1, _, _, _, lengths, ..] = *tag.body {
                    length_size = Some(lengths & 3).filter(|_| kind == MediaKind::Video);
                }
                clip.headers.retain(|(known, _)| *known != kind);
                clip.headers.push((kind, tag.body));
                continue;
            }
            if kind == MediaKind::Video && matches!(*tag.body, [first, 2, ..] if first & 0x8f == 7) {
                // The end of the sequence, which a file that goes on does not have.
                continue;
            }
            // Times of files may begin anywhere, but count up from there.
            let at = u64::from(tag.timestamp.wrapping_sub(*first.get_or_insert(tag.timestamp))) * 1_000;
            let key = kind == MediaKind::Video && tag.body.first().is_some_and(|byte| byte >> 4 & 7 == 1);
            let mark_at = (kind == MediaKind::Video && length_size == Some(3)).then(|| mark_at(&tag.body));
            clip.bytes += tag.body.len() as u64;
            clip.keys += u64::from(key);
            clip.pictures += u64::from(kind == MediaKind::Video);
            clip.tags.push(Tag { kind, at_us: at, key, mark_at: mark_at.flatten(), body: tag.body });
        }
        clip.tags.sort_by_key(|tag| tag.at_us);
        let last = clip.tags.last().ok_or(ClipError::Empty)?.at_us;
        clip.round_us = last + last.checked_div(clip.pictures.saturating_sub(1)).unwrap_or(GAP_US).max(1_000);
        Ok(clip)
    }

    /// Bits a second.
    pub fn bit_rate(&self) -> u64 {
        (self.bytes * 8 * 1_000_000).checked_div(self.round_us).unwrap_or(0)
    }

    /// From one keyframe to the next, in the mean.
    pub fn group_us(&self) -> u64 {
        self.round_us / self.keys.max(1)
    }

    /// From one picture to the next, in the mean.
    pub fn picture_us(&self) -> u64 {
        self.round_us / self.pictures.max(1)
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        let marked = if self.tags.iter().any(|tag| tag.mark_at.is_some()) {
            ""
        } else {
            "; its pictures are no H.264 with four-byte lengths, so there are no markers and no latencies"
        };
        let (name, rate, length) = (&self.name, self.bit_rate() / 1_000, self.round_us as f64 / 1e6);
        format!("{name} ({length:.1} s, {rate} kbit/s) over and over{marked}")
    }
}

fn metadata(body: &[u8]) -> Option<Value> {
    match amf0::decode_all(body).ok()?.as_slice() {
        [Value::String(name), value, ..] if name == "onMetaData" => Some(value.clone()),
        _ => None,
    }
}

/// Whether a body holds parameter sets: legacy AVC and AAC, or an enhanced sequence start.
fn is_header(kind: MediaKind, body: &[u8]) -> bool {
    match (kind, body) {
        (MediaKind::Video, [first, ..]) if first & 0x80 != 0 => first & 0x0f == 0,
        (MediaKind::Video, [first, packet, ..]) => first & 0x0f == 7 && *packet == 0,
        (MediaKind::Audio, [first, ..]) if first >> 4 == 9 => first & 0x0f == 0,
        (MediaKind::Audio, [first, packet, ..]) => first >> 4 == 10 && *packet == 0,
        _ => false,
    }
}

/// Where in a legacy AVC body the first coded slice begins, its length included.
fn mark_at(body: &[u8]) -> Option<usize> {
    let [first, 1, _, _, _, ..] = body else { return None };
    if first & 0x8f != 7 {
        return None;
    }
    let mut at = 5;
    loop {
        let (length, unit) = body.get(at..)?.split_first_chunk::<4>()?;
        if matches!(unit.first()? & 0x1f, 1..=5) {
            return Some(at);
        }
        at = at.checked_add(4)?.checked_add(u32::from_be_bytes(*length) as usize)?;
    }
}

/// One stream's way through a clip.
#[derive(Debug)]
pub struct Player {
    clip: Arc<Clip>,
    next: usize,
    round: u64,
}

impl Player {
    /// From the start.
    pub fn new(clip: Arc<Clip>) -> Self {
        Self { clip, next: 0, round: 0 }
    }

    /// `onMetaData`'s value.
    pub fn metadata(&self) -> Value {
        self.clip.metadata.clone().unwrap_or_else(|| Value::EcmaArray(Vec::new()))
    }

    /// Parameter sets.
    pub fn headers(&self) -> Vec<(MediaKind, Bytes)> {
        self.clip.headers.clone()
    }

    /// When the next message is to be sent.
    pub fn due_us(&self) -> u64 {
        let at = self.clip.tags.get(self.next).map_or(0, |tag| tag.at_us);
        self.round * self.clip.round_us + at
    }

    /// Appends the next message.
    pub fn next(&mut self, marker: &Marker, out: &mut BytesMut) -> Message {
        let timestamp = (self.due_us() / 1_000) as u32;
        let Some(tag) = self.clip.tags.get(self.next) else {
            // A clip has at least one tag, and `next` stays below their number.
            return Message { kind: MediaKind::Data, timestamp, key: false, marked: false };
        };
        let parts = tag.mark_at.and_then(|at| tag.body.split_at_checked(at));
        match parts {
            Some((before, after)) => {
                out.put_slice(before);
                put_unit(out, &marker.unit());
                out.put_slice(after);
            }
            None => out.put_slice(&tag.body),
        }
        let message = Message { kind: tag.kind, timestamp, key: tag.key, marked: parts.is_some() };
        self.next += 1;
        if self.next == self.clip.tags.len() {
            self.next = 0;
            self.round += 1;
        }
        message
    }
}
