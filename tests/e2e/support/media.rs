//! The films that stories publish: four seconds of a moving test picture and a tone, in each codec that FLV can
//! hold, encoded by ffmpeg into `target` and kept there for the next run.
//!
//! Invariant: a file under its final name is whole; it is written beside it first, under a lock.

use std::{path::PathBuf, time::Duration};

use super::{
    lock::Lock,
    scratch,
    tools::{FFMPEG5, Tool, ffmpeg7},
};

/// What a film is made of. Pictures are 320x180 at 25 a second, a keyframe each second; sound is AAC at 44.1 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// H.264 with B-frames, and AAC.
    H264Aac,
    /// H.264 with B-frames, alone.
    H264,
    /// AAC alone.
    Aac,
    /// H.264 and MP3.
    H264Mp3,
    /// HEVC with B-frames by FourCC, and AAC.
    Hevc,
    /// The same film with HEVC as codec id 12.
    HevcId12,
    /// HEVC without B-frames, alone: as WebRTC's encoders make it.
    HevcPlain,
    /// AV1 by FourCC, and AAC.
    Av1,
    /// VP9 by FourCC, and AAC.
    Vp9,
    /// H.264 and AAC of another size and sample rate: 256x144, 48 kHz.
    H264AacSmall,
}

/// Changed when the recipes change, so that old files are not taken for new ones.
const EDITION: u32 = 1;

impl Media {
    /// FourCCs of its picture and its sound.
    pub fn codecs(self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::H264Aac | Self::H264AacSmall => (Some("avc1"), Some("mp4a")),
            Self::H264 => (Some("avc1"), None),
            Self::Aac => (None, Some("mp4a")),
            Self::H264Mp3 => (Some("avc1"), Some(".mp3")),
            Self::Hevc | Self::HevcId12 => (Some("hvc1"), Some("mp4a")),
            Self::HevcPlain => (Some("hvc1"), None),
            Self::Av1 => (Some("av01"), Some("mp4a")),
            Self::Vp9 => (Some("vp09"), Some("mp4a")),
        }
    }

    /// Whether only a client of Enhanced RTMP can read it.
    pub fn enhanced(self) -> bool {
        matches!(self, Self::Hevc | Self::HevcId12 | Self::HevcPlain | Self::Av1 | Self::Vp9)
    }

    fn name(self) -> &'static str {
        match self {
            Self::H264Aac => "h264-aac",
            Self::H264 => "h264",
            Self::Aac => "aac",
            Self::H264Mp3 => "h264-mp3",
            Self::Hevc | Self::HevcId12 => "hevc-aac",
            Self::HevcPlain => "hevc-plain",
            Self::Av1 => "av1-aac",
            Self::Vp9 => "vp9-aac",
            Self::H264AacSmall => "h264-aac-small",
        }
    }

    /// The encoder's arguments, between its inputs and the output.
    fn recipe(self) -> Vec<&'static str> {
        let x264 = "-c:v libx264 -preset veryfast -bf 2 -b:v 400k -g 25 -keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p";
        let aac = "-c:a aac -b:a 64k";
        let text = match self {
            Self::H264Aac | Self::H264AacSmall => format!("{x264} {aac}"),
            Self::H264 => format!("{x264} -an"),
            Self::Aac => format!("-vn {aac}"),
            Self::H264Mp3 => format!("{x264} -c:a libmp3lame -b:a 64k"),
            Self::Hevc | Self::HevcId12 => format!(
                "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=2:keyint=25:min-keyint=25:\
                 scenecut=0:pools=none -b:v 300k -pix_fmt yuv420p {aac}"
            ),
            Self::HevcPlain => String::from(
                "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0:open-gop=0:keyint=25:min-keyint=25:\
                 scenecut=0:pools=none -b:v 300k -pix_fmt yuv420p -an",
            ),
            Self::Av1 => {
                format!("-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 300k -g 25 -pix_fmt yuv420p {aac}")
            }
            Self::Vp9 => {
                format!(
                    "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -g 25 -pix_fmt yuv420p {aac}"
                )
            }
        };
        Box::leak(text.into_boxed_str()).split_whitespace().collect()
    }
}

/// The file of a film, made if it is not there yet.
///
/// # Panics
/// When the encoder fails.
pub fn file(media: Media) -> PathBuf {
    let path = scratch(&format!("{}.{EDITION}.flv", media.name()));
    let _lock = Lock::wait(&path.with_extension("lock"));
    if path.exists() {
        return path;
    }
    let encoder = if media.enhanced() { ffmpeg7() } else { FFMPEG5.to_owned() };
    let (size, rate) = if media == Media::H264AacSmall { ("256x144", 48_000) } else { ("320x180", 44_100) };
    let picture = format!("testsrc2=size={size}:rate=25");
    let sound = format!("sine=frequency=440:beep_factor=2:sample_rate={rate}");
    let part = path.with_extension("part");
    let mut args: Vec<&str> = "-v error -nostdin -y".split(' ').collect();
    args.extend(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound, "-t", "4"]);
    args.extend(media.recipe());
    let out = part.to_string_lossy();
    args.extend(["-f", "flv", &out]);
    Tool::start(&encoder, args).succeed(Duration::from_secs(120));
    std::fs::rename(&part, &path).expect("a file can be renamed within a folder");
    path
}
