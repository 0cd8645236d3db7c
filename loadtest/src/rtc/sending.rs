//! What a WebRTC client publishes, by its clock: a programme, the same in several layers (simulcast), or a film of any codec.
//!
//! Times are nanoseconds on [`crate::clock`], and of each lane microseconds since the stream began. Invariant: what is due is handed
//! out in the order of its time, and a layer that is asked for a keyframe has one next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use shardcast::protocols::rtmp::MediaKind;
use str0m::{format::Codec, media::Rid};

use super::{
    Codecs, Peer,
    pictures::Pictures,
    sound::{FRAME_SAMPLES, FRAME_US, Tone},
};
use crate::{
    clock,
    media::{Message, Programme, Source},
};

/// What is published.
#[derive(Clone, Debug)]
pub enum Content {
    /// H.264, and a tone if it has sound.
    Programme(Programme),
    /// The same picture in several sizes, each under a name of [`Codecs::layers`]; the first may have sound.
    Layers(Vec<(&'static str, Programme)>),
    /// Pictures that an encoder made.
    Film(Arc<Film>),
}

/// Pictures of one codec as str0m takes them (H.264 and H.265 in Annex B with parameter sets before keyframes), shown over and
/// over. The first is a keyframe.
#[derive(Clone, Debug)]
pub struct Film {
    /// Their codec.
    pub codec: Codec,
    /// The pictures.
    pub pictures: Vec<Arc<[u8]>>,
    /// From one to the next, microseconds.
    pub picture_us: u64,
}

#[derive(Debug)]
enum Lane {
    Source { rid: Option<Rid>, source: Box<Source>, pictures: Pictures },
    Film { film: Arc<Film>, next: u64 },
}

/// Something to send.
#[derive(Debug)]
pub enum Due {
    /// A picture, as its codec's packetiser takes it, at this time of the stream.
    Picture {
        /// When.
        at: Duration,
        /// Of which layer.
        rid: Option<Rid>,
        /// Its codec.
        codec: Codec,
        /// Its bytes.
        data: Arc<[u8]>,
    },
    /// A frame of Opus, at this time on the clock of 48 kHz.
    Sound(u64, Arc<[u8]>),
}

/// Content on its way out.
#[derive(Debug)]
pub struct Sending {
    lanes: Vec<Lane>,
    tone: Option<Tone>,
    sounds: u64,
    /// When the stream's clock stood at 0.
    start_ns: u64,
}

impl Content {
    /// What is to be offered for it.
    pub fn codecs(&self) -> Codecs {
        let alone = |codec| match codec {
            Codec::H265 => &[Codec::H265][..],
            Codec::Vp8 => &[Codec::Vp8],
            Codec::Vp9 => &[Codec::Vp9],
            Codec::Av1 => &[Codec::Av1],
            _ => &[Codec::H264],
        };
        match self {
            Self::Programme(_) => Codecs::COMMON,
            Self::Layers(layers) => {
                Codecs { layers: layers.iter().map(|(rid, _)| *rid).collect(), ..Codecs::COMMON }
            }
            Self::Film(film) => Codecs { pictures: alone(film.codec), sound: false, layers: Vec::new() },
        }
    }
}

impl Sending {
    /// A stream of its own.
    ///
    /// # Errors
    /// A sentence when the content cannot be sent by WebRTC.
    pub fn new(content: &Content) -> Result<Self, String> {
        let run = fastrand::u64(1..1 << 56);
        match content {
            Content::Programme(programme) => Self::numbered(programme, run, 0),
            Content::Layers(layers) => {
                let mut all = Self { lanes: Vec::new(), tone: None, sounds: 0, start_ns: clock::now() };
                for (n, (rid, programme)) in (0..).zip(layers) {
                    let Self { lanes, tone, .. } = Self::numbered(programme, run, n)?;
                    all.tone = all.tone.or(tone);
                    all.lanes.extend(lanes.into_iter().map(|lane| lane.named(rid)));
                }
                Ok(all)
            }
            Content::Film(film) if film.pictures.is_empty() => Err("a film without pictures".to_owned()),
            Content::Film(film) => {
                let lanes = vec![Lane::Film { film: Arc::clone(film), next: 0 }];
                Ok(Self { lanes, tone: None, sounds: 0, start_ns: clock::now() })
            }
        }
    }

    /// Stream `stream` of a run, which is a programme.
    ///
    /// # Errors
    /// As [`Sending::new`].
    pub fn numbered(programme: &Programme, run: u64, stream: u32) -> Result<Self, String> {
        let (pictures_alone, sound) = programme.pictures_alone();
        let source = Box::new(Source::new(&pictures_alone, run, stream));
        let pictures = Pictures::of(&source).ok_or("only H.264 is published by WHIP")?;
        let tone = sound.map(Tone::new).transpose().map_err(|error| format!("Opus: {error}"))?;
        Ok(Self {
            lanes: vec![Lane::Source { rid: None, source, pictures }],
            tone,
            sounds: 0,
            start_ns: clock::now(),
        })
    }

    /// Begins now.
    pub fn begin(&mut self, start_ns: u64) {
        self.start_ns = start_ns;
    }

    /// The next picture of this layer is a keyframe, where the source can make one out of turn: a synthetic programme can.
    pub fn ask_keyframe(&mut self, layer: Option<Rid>) {
        for lane in &mut self.lanes {
            if let Lane::Source { rid, source, .. } = lane
                && *rid == layer
            {
                source.ask_keyframe();
            }
        }
    }

    fn picture_ns(&self) -> u64 {
        self.lanes.iter().map(Lane::due_us).min().map_or(u64::MAX, |us| us.saturating_mul(1_000))
    }

    fn sound_ns(&self) -> u64 {
        self.tone.as_ref().map_or(u64::MAX, |_| self.sounds * FRAME_US * 1_000)
    }

    /// When there is something to send, on [`crate::clock`].
    pub fn due_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.picture_ns().min(self.sound_ns()))
    }

    /// What is to be sent now; `None` for messages of a file that WebRTC has no use for.
    pub fn next(&mut self, now: u64) -> Option<Due> {
        if self.sound_ns() < self.picture_ns() {
            let n = self.sounds;
            self.sounds += 1;
            return self.tone.as_ref().map(|tone| Due::Sound(n * FRAME_SAMPLES, tone.frame(n)));
        }
        self.lanes.iter_mut().min_by_key(|lane| lane.due_us())?.next(now)
    }

    /// Sends what is due; how many pictures and sounds that were.
    ///
    /// # Errors
    /// A sentence when the session cannot go on.
    pub fn send(&mut self, peer: &mut Peer, now: u64, instant: Instant) -> Result<u64, String> {
        let sent = match self.next(now) {
            None => return Ok(0),
            Some(Due::Picture { at, rid, codec, data }) => peer.send_picture(instant, at, codec, rid, data),
            Some(Due::Sound(samples, frame)) => peer.send_sound(instant, samples, frame),
        };
        sent.map(|()| 1).map_err(|error| error.to_string())
    }
}

impl Lane {
    fn named(self, name: &str) -> Self {
        match self {
            Self::Source { source, pictures, .. } => {
                Self::Source { rid: Some(Rid::from(name)), source, pictures }
            }
            film @ Self::Film { .. } => film,
        }
    }

    fn due_us(&self) -> u64 {
        match self {
            Self::Source { source, .. } => source.due_us(),
            Self::Film { film, next } => next * film.picture_us,
        }
    }

    fn next(&mut self, now: u64) -> Option<Due> {
        let at = Duration::from_micros(self.due_us());
        match self {
            Self::Source { rid, source, pictures } => {
                let mut body = BytesMut::new();
                let Message { kind, key, .. } = source.next(now, &mut body);
                let picture = (kind == MediaKind::Video).then(|| pictures.annex_b(&body, key))?;
                (!picture.is_empty()).then(|| Due::Picture {
                    at,
                    rid: *rid,
                    codec: Codec::H264,
                    data: picture.into(),
                })
            }
            Self::Film { film, next } => {
                let data = film.pictures.get(*next as usize % film.pictures.len())?;
                *next += 1;
                Some(Due::Picture { at, rid: None, codec: film.codec, data: Arc::clone(data) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::synthetic::Shape;

    fn programme(size: (u32, u32)) -> Programme {
        let shape = Shape { bit_rate: 500_000, audio_bit_rate: 64_000, picture_rate: 25.0, group: 50, size };
        Programme::Synthetic(shape)
    }

    #[test]
    fn layers_go_out_side_by_side_with_one_sound_and_make_keyframes_when_asked() {
        let content = Content::Layers(vec![("h", programme((640, 360))), ("l", programme((320, 180)))]);
        assert_eq!(content.codecs().layers, ["h", "l"]);
        let mut sending = Sending::new(&content).expect("layers");
        sending.begin(0);
        let mut keys = Vec::new();
        let mut sounds = 0;
        while sending.due_ns() < 1_000_000_000 {
            if sending.due_ns() == 400_000_000 {
                sending.ask_keyframe(Some(Rid::from("l")));
            }
            match sending.next(0).expect("something") {
                Due::Picture { at, rid, data, .. } if data.get(4).is_some_and(|head| head & 31 == 7) => {
                    keys.push((at.as_millis(), rid.expect("a layer").to_string()));
                }
                Due::Picture { .. } => {}
                Due::Sound(..) => sounds += 1,
            }
        }
        let keys: Vec<(u128, &str)> = keys.iter().map(|(at, rid)| (*at, rid.as_str())).collect();
        assert_eq!(keys, [(0, "h"), (0, "l"), (400, "l")]);
        assert_eq!(sounds, 50);
    }

    #[test]
    fn a_film_goes_round() {
        let pictures = vec![Arc::from(&b"one"[..]), Arc::from(&b"two"[..])];
        let film = Arc::new(Film { codec: Codec::Vp9, pictures, picture_us: 40_000 });
        let mut sending = Sending::new(&Content::Film(film)).expect("a film");
        for (n, expected) in [&b"one"[..], b"two", b"one"].into_iter().enumerate() {
            let Some(Due::Picture { at, codec, data, .. }) = sending.next(0) else { panic!("a picture") };
            assert_eq!((at.as_millis(), codec, &data[..]), (n as u128 * 40, Codec::Vp9, expected));
        }
    }
}
