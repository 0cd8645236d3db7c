//! A stream without a camera: H.264 and AAC of fixed sizes at fixed times.
//!
//! Nothing depends on chance, so two runs send the same bytes at the same times. Every group of pictures takes the same
//! bytes, a keyframe [`KEY_WEIGHT`] times those of another picture. Times are microseconds, sizes bytes.

use bytes::{BufMut, Bytes, BytesMut};
use shardcast::protocols::{amf0::Value, rtmp::MediaKind};

use super::{
    Message,
    h264::{self, put_filler, put_unit},
    marker::{self, Marker},
};

/// A keyframe is as large as so many other pictures, as encoders at this sort of bit rate do.
pub const KEY_WEIGHT: u64 = 8;
const AUDIO_HZ: u64 = 44_100;
const AUDIO_SAMPLES: u64 = 1_024;
/// AAC-LC, 44,100 Hz, two channels.
const AUDIO_CONFIG: [u8; 4] = [0xaf, 0, 0x12, 0x10];
/// A frame of silence in two channels; zeros behind its end are padding to every decoder.
const SILENCE: [u8; 6] = [0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
/// Sound lies between the pictures, so that no two messages share a moment.
const AUDIO_OFFSET_US: u64 = 5_000;

/// What is made up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Bits a second, all told.
    pub bit_rate: u64,
    /// Of these, the sound's; 0 for none.
    pub audio_bit_rate: u64,
    /// Pictures a second.
    pub picture_rate: f64,
    /// Pictures from one keyframe to the next.
    pub group: u64,
    /// Pixels.
    pub size: (u32, u32),
}

impl Shape {
    /// From one keyframe to the next.
    pub fn group_us(&self) -> u64 {
        (self.group as f64 * 1e6 / self.picture_rate) as u64
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        let (width, height) = self.size;
        format!(
            "{} kbit/s: H.264 {width}x{height}, {} pictures a second, a keyframe every {:.2} s; {}",
            self.bit_rate / 1_000,
            self.picture_rate,
            self.group_us() as f64 / 1e6,
            match self.audio_bit_rate {
                0 => "no sound".to_owned(),
                rate => format!("AAC {} kbit/s", rate / 1_000),
            }
        )
    }

    fn pictures(&self) -> h264::Shape {
        let (width, height) = self.size;
        h264::Shape { width, height, picture_rate: self.picture_rate }
    }

    /// Bytes of a body of a keyframe and of another picture, framing not counted.
    fn picture_bytes(&self) -> (usize, usize) {
        let video = self.bit_rate.saturating_sub(self.audio_bit_rate);
        let group = video as f64 / 8.0 * self.group as f64 / self.picture_rate;
        let each = group / (self.group - 1 + KEY_WEIGHT) as f64;
        ((each * KEY_WEIGHT as f64) as usize, each as usize)
    }

    /// What cannot be made: the bytes of a keyframe that the size of the picture takes, against those it is given.
    pub fn too_little(&self) -> Option<(usize, usize)> {
        let needs = 5 + 4 + marker::UNIT_BYTES + 4 + self.pictures().key_slice(false, 0).len() + 6;
        let has = self.picture_bytes().0;
        (needs > has).then_some((needs, has))
    }

    /// Raw macroblocks of a keyframe and of another picture.
    fn raw(&self) -> (u32, u32) {
        let pictures = self.pictures();
        let (key, other) = self.picture_bytes();
        // Head, marker, two lengths, and the least of a filler unit come on top of the slice.
        let around = 5 + 4 + marker::UNIT_BYTES + 4 + 6;
        let slices =
            [pictures.key_slice(false, 0), pictures.same_slice(1, 0)].map(|slice| slice.len() + around);
        (pictures.raw(key.saturating_sub(slices[0])), pictures.raw(other.saturating_sub(slices[1])))
    }

    fn audio_bytes(&self) -> usize {
        ((self.audio_bit_rate * AUDIO_SAMPLES) as f64 / (8 * AUDIO_HZ) as f64) as usize
    }
}

/// The messages.
#[derive(Debug)]
pub struct Synthetic {
    shape: Shape,
    pictures: u64,
    /// The picture from which groups are counted, and the groups before it.
    group_began: u64,
    groups_before: u64,
    sounds: u64,
    /// What every keyframe shares, for even and odd groups.
    keys: [Vec<u8>; 2],
    /// Raw macroblocks of other pictures.
    raw: u32,
    sound: Option<Vec<u8>>,
}

impl Synthetic {
    /// From its first keyframe.
    pub fn new(shape: &Shape) -> Self {
        let sound = (shape.audio_bit_rate > 0).then(|| {
            let mut body = [&[0xaf, 1][..], &SILENCE].concat();
            body.resize(shape.audio_bytes().max(body.len()), 0);
            body
        });
        let (raw_key, raw) = shape.raw();
        let keys = [false, true].map(|odd| shape.pictures().key_slice(odd, raw_key));
        Self { shape: *shape, pictures: 0, group_began: 0, groups_before: 0, sounds: 0, keys, raw, sound }
    }

    fn picture_at(&self) -> u64 {
        (self.pictures as f64 * 1e6 / self.shape.picture_rate) as u64
    }

    fn sound_at(&self) -> Option<u64> {
        self.sound.as_ref().map(|_| AUDIO_OFFSET_US + self.sounds * AUDIO_SAMPLES * 1_000_000 / AUDIO_HZ)
    }

    /// When the next message is to be sent.
    pub fn due_us(&self) -> u64 {
        self.sound_at().map_or(u64::MAX, |at| at).min(self.picture_at())
    }

    /// `onMetaData`'s value.
    pub fn metadata(&self) -> Value {
        let (width, height) = self.shape.size;
        let mut fields: Vec<(String, Value)> = Vec::new();
        let mut field = |name: &str, value: Value| fields.push((name.to_owned(), value));
        field("width", f64::from(width).into());
        field("height", f64::from(height).into());
        field("framerate", self.shape.picture_rate.into());
        field("videocodecid", 7.0.into());
        field("videodatarate", ((self.shape.bit_rate - self.shape.audio_bit_rate) as f64 / 1e3).into());
        if self.sound.is_some() {
            field("audiocodecid", 10.0.into());
            field("audiodatarate", (self.shape.audio_bit_rate as f64 / 1e3).into());
            field("audiosamplerate", (AUDIO_HZ as f64).into());
            field("stereo", true.into());
        }
        field("encoder", concat!("shardcast-loadtest ", env!("CARGO_PKG_VERSION")).into());
        Value::EcmaArray(fields)
    }

    /// Parameter sets.
    pub fn headers(&self) -> Vec<(MediaKind, Bytes)> {
        let pictures = self.shape.pictures();
        let config = h264::config(&pictures.sps(), &pictures.pps());
        let video = [&[0x17, 0, 0, 0, 0][..], &config].concat();
        let mut headers = vec![(MediaKind::Video, Bytes::from(video))];
        if self.sound.is_some() {
            headers.push((MediaKind::Audio, Bytes::from_static(&AUDIO_CONFIG)));
        }
        headers
    }

    /// A group begins with the next picture.
    pub fn ask_keyframe(&mut self) {
        // Keyframes of even and odd groups differ, so that decoders see that it is another one.
        self.groups_before += u64::from(self.pictures > self.group_began);
        self.groups_before += (self.pictures.saturating_sub(self.group_began + 1)) / self.shape.group;
        self.group_began = self.pictures;
    }

    /// Appends the next message.
    pub fn next(&mut self, marker: &Marker, out: &mut BytesMut) -> Message {
        match (self.sound_at(), &self.sound) {
            (Some(at), Some(body)) if at < self.picture_at() => {
                out.put_slice(body);
                self.sounds += 1;
                Message { kind: MediaKind::Audio, timestamp: millis(at), key: false, marked: false }
            }
            _ => self.picture(marker, out),
        }
    }

    fn picture(&mut self, marker: &Marker, out: &mut BytesMut) -> Message {
        let timestamp = millis(self.picture_at());
        let pictures = self.pictures - self.group_began;
        let (group, number) = (self.groups_before + pictures / self.shape.group, pictures % self.shape.group);
        let (key, other) = self.shape.picture_bytes();
        let (first, bytes) = if number == 0 { (0x17, key) } else { (0x27, other) };
        let start = out.len();
        out.put_slice(&[first, 1, 0, 0, 0]);
        put_unit(out, &marker.unit());
        match number {
            0 => put_unit(out, self.keys.get((group % 2) as usize).map_or(&[], Vec::as_slice)),
            _ => put_unit(out, &self.shape.pictures().same_slice(number, self.raw)),
        }
        put_filler(out, bytes.saturating_sub(out.len() - start));
        self.pictures += 1;
        Message { kind: MediaKind::Video, timestamp, key: number == 0, marked: true }
    }
}

/// A time as RTMP has it, which wraps.
fn millis(micros: u64) -> u32 {
    (micros / 1_000) as u32
}
