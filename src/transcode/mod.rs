//! Sound made from sound: Opus → AAC for players of FLV and RTMP, AAC → Opus for players of WebRTC.
//!
//! A chain is a decoder, a resampler where the rates differ, a queue of samples and an encoder. It decides nothing: the stream
//! asks for it and works it off in small pieces ([`shards::stream::Transcode`]). Frames come from a peer, so everything is
//! bounded, nothing panics, and what cannot be decoded is concealed and counted.
//! Invariant: what was heard at a time in the source is heard at that time in what comes out; the delays of the codecs and
//! of the resampler are taken off the times. Units: samples of each channel, nanoseconds within, [`Timestamp`]s outside.
//!
//! [`Timestamp`]: shards::media::Timestamp

mod aac;
mod chain;
mod clock;
mod opus;
mod pcm;
mod resample;

use shards::{
    media::{Codec, Track},
    stream::Transcode,
};

use chain::Chain;

/// Turns one frame into sound.
trait Decode {
    /// Appends what `frame` sounds like to `pcm`, interleaved. Tells how it went; on [`Decoded::Nothing`] nothing was
    /// appended.
    fn decode(&mut self, frame: &[u8], pcm: &mut Vec<i16>) -> Decoded;

    /// Appends a guess of `samples` that were lost.
    fn conceal(&mut self, samples: usize, pcm: &mut Vec<i16>);

    /// Hz, of what came last.
    fn sample_rate(&self) -> u32;

    /// How much later than its frame's time the sound comes out, beyond what players of the codec expect.
    fn delay(&self) -> usize;
}

/// How decoding went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoded {
    /// As it should.
    Whole,
    /// The frame was broken; the decoder made something up.
    Guessed,
    /// The frame was broken, and nothing came of it.
    Nothing,
}

/// Turns sound into frames.
trait Encode {
    /// What is made.
    fn track(&self) -> &Track;

    /// Samples that go into a frame.
    fn frame_samples(&self) -> usize;

    /// How much earlier than the sound that goes in the frame's time is.
    fn delay(&self) -> usize;

    /// Encodes the samples of one frame, interleaved. `None`: the encoder gave nothing.
    fn encode(&mut self, pcm: &[i16]) -> Option<bytes::Bytes>;
}

/// The most bits a second that one channel gets, so that no frame outgrows what containers expect.
const CHANNEL_BITRATE_MAX: u32 = 256_000;

/// Makes a transcoder from `source` to `codec`, at `bits_per_second` for two channels (one gets half). `None`: there is no
/// way from that codec to this one, or the source is of a kind that no decoder here takes (surround Opus, rates that AAC
/// has no name for).
pub fn make(source: &Track, codec: Codec, bits_per_second: u32) -> Option<Box<dyn Transcode>> {
    let chain = match (source.codec, codec) {
        (Codec::Opus, Codec::Aac) => {
            let (decoder, channels) = opus::Decoder::new(&source.config)?;
            let encoder = aac::Encoder::new(channels, bitrate(bits_per_second, channels))?;
            Chain::new(Box::new(decoder), Box::new(encoder), channels)
        }
        (Codec::Aac, Codec::Opus) => {
            let (decoder, channels) = aac::Decoder::new(&source.config)?;
            let is_synthetic = decoder.is_replicated();
            let encoder = opus::Encoder::new(channels, bitrate(bits_per_second, channels), is_synthetic)?;
            Chain::new(Box::new(decoder), Box::new(encoder), channels)
        }
        _ => return None,
    };
    Some(Box::new(chain))
}

fn bitrate(stereo: u32, channels: usize) -> u32 {
    (stereo / 2).min(CHANNEL_BITRATE_MAX) * channels as u32
}

/// Feeds `data` to both chains as configuration and as frames; for fuzzing. Nothing may panic.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use shards::media::{Frame, FrameKind, Timestamp, TrackId};
    let Some((&[first, second, third], rest)) = data.split_first_chunk::<3>() else { return };
    let (source, target) = if first & 1 == 0 { (Codec::Opus, Codec::Aac) } else { (Codec::Aac, Codec::Opus) };
    let config = match (source, first & 2) {
        (Codec::Opus, 0) => crate::codecs::opus::build_head(1 + (first >> 2 & 1), 312),
        (_, 0) => bytes::Bytes::from_static(&[0x12, 0x10]),
        _ => bytes::Bytes::copy_from_slice(rest.get(..usize::from(second)).unwrap_or(rest)),
    };
    let track = Track { id: TrackId::AUDIO, codec: source, config, shape: Default::default() };
    let Some(mut chain) = make(&track, target, 96_000) else { return };
    let mut dts = 0;
    for piece in rest.chunks(1 + usize::from(third)) {
        dts += i64::from(piece.first().copied().unwrap_or_default()) * 250;
        chain.take(Frame {
            track: TrackId::AUDIO,
            dts: Timestamp::from_micros(dts),
            composition: Timestamp::ZERO,
            kind: FrameKind::Key,
            payload: bytes::Bytes::copy_from_slice(piece),
        });
        while chain.step() != shards::stream::Made::Idle {}
    }
}

#[cfg(test)]
mod tests;
