//! What ffmpeg makes of a stream or a recording: its tracks, whether its times go on, and when it flashes and beeps.
//!
//! Times are seconds on the stream's clock, as ffmpeg gives them.

use std::{path::Path, time::Duration};

use serde_json::Value;

use super::tools::{FFMPEG5, Tool};

/// How long ffprobe may take beside what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// A picture is white, of 16 to 235.
const WHITE: f64 = 128.0;
/// A beep is louder than this at its peak, and silence is not, decibels of full scale.
const LOUD: f64 = -20.0;
/// Between two beeps it is silent for at least so long, seconds.
const SILENCE: f64 = 0.3;

/// The tracks of a stream, and its packets.
#[derive(Debug)]
pub struct Probed {
    /// `h264 640x360`, `aac 48000x2`: sorted.
    pub tracks: Vec<String>,
    /// Of each track: how many packets, and how many of them had a time not after the one before.
    pub packets: Vec<(usize, usize)>,
}

/// Looks at a stream, or a file, for as many seconds of it.
///
/// # Panics
/// When ffprobe fails or complains.
pub fn probe(input: &str, seconds: u32) -> Probed {
    let interval = format!("%+{seconds}");
    let mut args = vec!["-v", "error", "-of", "json", "-read_intervals", &interval, "-show_streams"];
    args.extend(["-show_packets", "-show_entries", "packet=stream_index,dts"]);
    args.extend([
        "-show_entries",
        "stream=index,codec_type,codec_name,width,height,sample_rate,channels",
        input,
    ]);
    let told = Tool::start("ffprobe", args).succeed(PATIENCE);
    assert_eq!(told.stderr, "", "ffprobe complains of {input}");
    let found: Value = serde_json::from_slice(&told.stdout).expect("ffprobe writes JSON");
    let list = |name: &str| found[name].as_array().cloned().unwrap_or_default();
    // RTMP's `NetStream.Data.Start` is to ffmpeg a stream of data.
    let streams: Vec<Value> =
        list("streams").into_iter().filter(|stream| stream["codec_type"] != "data").collect();
    let mut tracks: Vec<String> = streams.iter().map(describe).collect();
    tracks.sort();
    let packets = streams.iter().map(|stream| {
        let times: Vec<i64> = list("packets")
            .iter()
            .filter(|packet| packet["stream_index"] == stream["index"])
            .filter_map(|packet| packet["dts"].as_i64())
            .collect();
        (times.len(), times.windows(2).filter(|two| two[1] <= two[0]).count())
    });
    let packets = packets.collect();
    Probed { tracks, packets }
}

fn describe(stream: &Value) -> String {
    let codec = stream["codec_name"].as_str().unwrap_or("?");
    match stream["width"].as_u64() {
        Some(width) => format!("{codec} {width}x{}", stream["height"]),
        None => format!("{codec} {}x{}", stream["sample_rate"].as_str().unwrap_or("?"), stream["channels"]),
    }
}

/// Starts to decode pictures and sound for as many seconds; what ffmpeg complains of is in the outcome's `stderr`.
pub fn decode(input: &str, seconds: u32) -> Tool {
    let seconds = seconds.to_string();
    // With the stream's own times: at its guess of a frame rate ffmpeg would complain of itself.
    Tool::start(
        FFMPEG5,
        [
            "-v",
            "error",
            "-i",
            input,
            "-t",
            &seconds,
            "-map",
            "0:v",
            "-map",
            "0:a",
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "1:1000",
            "-f",
            "null",
            "-",
        ],
    )
}

/// When a recording turns white, and when it begins to beep.
///
/// # Panics
/// When ffmpeg cannot decode it.
pub fn onsets(file: &Path) -> (Vec<f64>, Vec<f64>) {
    let flashes = series(
        file,
        "0:v",
        "-vf",
        "scale=16:16,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-",
    );
    // A millisecond at a time.
    let beeps = series(
        file,
        "0:a",
        "-af",
        "asetnsamples=n=48,astats=metadata=1:reset=1:measure_perchannel=none:measure_overall=Peak_level,\
         ametadata=print:key=lavfi.astats.Overall.Peak_level:file=-",
    );
    let seen = flashes.windows(2).filter(|two| two[0].1 < WHITE && two[1].1 >= WHITE).map(|two| two[1].0);
    let mut heard = Vec::new();
    let mut last_loud = f64::MAX;
    for (at, _) in beeps.iter().filter(|(_, peak)| *peak > LOUD) {
        if at - last_loud > SILENCE {
            heard.push(*at);
        }
        last_loud = *at;
    }
    (seen.collect(), heard)
}

/// Time and value of each frame that a filter describes.
fn series(file: &Path, map: &str, filter: &str, graph: &str) -> Vec<(f64, f64)> {
    let name = file.to_string_lossy();
    let args = ["-v", "error", "-i", &name, "-map", map, filter, graph, "-f", "null", "-"];
    let text = Tool::start(FFMPEG5, args).succeed(PATIENCE).text();
    let mut at = f64::NAN;
    let mut all = Vec::new();
    for line in text.lines() {
        if let Some((_, time)) = line.split_once("pts_time:") {
            at = time.trim().parse().unwrap_or(f64::NAN);
        } else if let Some((_, value)) = line.split_once('=') {
            // Silence is `-inf`, which parses.
            all.push((at, value.trim().parse().unwrap_or(f64::NEG_INFINITY)));
        }
    }
    all
}

/// Of each flash, how much later its beep came, milliseconds, sorted. Flashes whose beep is not within half a second are
/// left out.
pub fn apart(flashes: &[f64], beeps: &[f64]) -> Vec<f64> {
    let nearest = |flash: &f64| {
        let offsets = beeps.iter().map(|beep| (beep - flash) * 1e3);
        offsets.min_by(|one, other| one.abs().total_cmp(&other.abs())).filter(|offset| offset.abs() < 500.0)
    };
    let mut all: Vec<f64> = flashes.iter().filter_map(nearest).collect();
    all.sort_by(f64::total_cmp);
    all
}
