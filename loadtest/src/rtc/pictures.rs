//! H.264 as a source has it (the body of an FLV tag) as WebRTC wants it: Annex B, parameter sets before each keyframe.

use bytes::{BufMut, BytesMut};
use shardcast::{
    codecs::{h264, nal},
    protocols::rtmp::MediaKind,
};

use crate::media::Source;

/// Frame type and codec, packet type, composition offset.
const HEAD_BYTES: usize = 5;

/// The parameter sets of a stream.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// In Annex B.
    sets: BytesMut,
    length_size: usize,
}

impl Pictures {
    /// Those of a source whose pictures are H.264; `None` for another.
    pub fn of(source: &Source) -> Option<Self> {
        source.headers().iter().find_map(|(kind, body)| {
            // Codec 7, packet type 0.
            let record = match &body[..] {
                [first, 0, _, _, _, record @ ..] if *kind == MediaKind::Video && first & 0x8f == 7 => record,
                _ => return None,
            };
            let config = h264::parse_config(record)?;
            let mut sets = BytesMut::new();
            config.sps.iter().chain(&config.pps).for_each(|set| put(set, &mut sets));
            Some(Self { sets, length_size: config.length_size })
        })
    }

    /// A picture of the source. One that is not like the first header said is empty.
    pub fn annex_b(&self, body: &[u8], key: bool) -> Vec<u8> {
        let mut out = BytesMut::with_capacity(self.sets.len() + body.len() + 16);
        if key {
            out.put_slice(&self.sets);
        }
        let units = body.get(HEAD_BYTES..).unwrap_or_default();
        nal::units(units, self.length_size).for_each(|unit| put(unit, &mut out));
        out.into()
    }
}

fn put(unit: &[u8], out: &mut BytesMut) {
    out.put_slice(&[0, 0, 0, 1]);
    out.put_slice(unit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Programme, marker::Marker, synthetic::Shape};

    #[test]
    fn a_keyframe_brings_its_parameter_sets() {
        let shape =
            Shape { bit_rate: 500_000, audio_bit_rate: 0, picture_rate: 30.0, group: 2, size: (320, 180) };
        let mut source = Source::new(&Programme::Synthetic(shape), 5, 0);
        let pictures = Pictures::of(&source).expect("H.264");
        for (n, expected) in [&[7, 8, 6, 5, 12][..], &[6, 1, 12], &[7, 8, 6, 5, 12]].into_iter().enumerate() {
            let mut body = BytesMut::new();
            let message = source.next(n as u64, &mut body);
            let picture = pictures.annex_b(&body, message.key);
            let types: Vec<u8> = nal::annex_b(&picture).map(h264::unit_type).collect();
            assert_eq!(types, expected);
            assert_eq!(Marker::find(&picture).map(|marker| marker.picture), Some(n as u64));
        }
    }
}
