//! What WebRTC carries, as the stream's frames: one adapter for each codec.
//!
//! H.264 and H.265 come as Annex B with parameter sets among the pictures; inside the server pictures are length-prefixed
//! and the sets stand in the track. Delimiters and filler are left out, SEI stays.

use std::sync::Arc;

use bytes::Bytes;
use shards::media::{Codec, FrameKind, Shape, Track, TrackId};

use crate::codecs::{self, av1, h264, h265, nal, opus, vpx};

/// The Opus decoder's delay in samples that libopus recommends to skip (RFC 7845 §5.1).
const PRE_SKIP: u16 = 312;

/// The most parameter sets of one kind that are kept.
const SETS_MAX: usize = 16;

/// Turns what one line carries into frames.
pub struct Adapter {
    id: TrackId,
    codec: Codec,
    channels: u8,
    /// Parameter sets by their kind, in order of arrival: VPS, SPS, PPS.
    sets: [Vec<Bytes>; 3],
    track: Option<Track>,
}

/// One frame, and the track if it is new or has changed.
pub struct Adapted {
    /// To be told before the frame.
    pub track: Option<Track>,
    /// What other frames need of it.
    pub kind: FrameKind,
    /// In the form that [`shards::media`] describes.
    pub payload: Bytes,
}

impl Adapter {
    /// For track `id`. `sets` are parameter sets that the SDP has (H.264's `sprop-parameter-sets`).
    pub fn new(id: TrackId, codec: Codec, channels: u8, sets: &[Vec<u8>]) -> Self {
        let mut adapter = Self { id, codec, channels, sets: Default::default(), track: None };
        for set in sets {
            adapter.keep(&[set]);
        }
        adapter
    }

    /// The track.
    pub fn id(&self) -> TrackId {
        self.id
    }

    /// One frame as it came. `None`: there is nothing in it to show or hear, or nobody could decode it.
    pub fn frame(&mut self, data: Arc<[u8]>) -> Option<Adapted> {
        if data.is_empty() {
            return None;
        }
        match self.codec {
            Codec::H264 | Codec::H265 => self.units(&data),
            Codec::Vp8 => {
                let key = data.first()? & 1 == 0;
                let track = key.then(|| vpx::parse_vp8(&data)).flatten().map(|picture| {
                    self.described(
                        Bytes::new(),
                        Shape::Video { width: picture.width, height: picture.height },
                    )
                });
                self.whole(track, key, data)
            }
            Codec::Vp9 => {
                let picture = vpx::parse_vp9(&data);
                let track = picture.as_ref().map(|picture| {
                    let shape = Shape::Video { width: picture.width, height: picture.height };
                    self.described(vpx::build_config(picture), shape)
                });
                self.whole(track, picture.is_some(), data)
            }
            Codec::Av1 => {
                let config = av1::config_of(&data);
                let key = config.is_some();
                let track = config.map(|config| {
                    let shape = codecs::shape(Codec::Av1, &config);
                    self.described(config, shape)
                });
                self.whole(track, key, data)
            }
            Codec::Opus => {
                let shape = Shape::Audio { sample_rate: opus::SAMPLE_RATE, channels: self.channels };
                let track = self.described(opus::build_head(self.channels, PRE_SKIP), shape);
                self.whole(Some(track), true, data)
            }
            _ => {
                let shape = Shape::Audio { sample_rate: 8_000, channels: 1 };
                let track = self.described(Bytes::new(), shape);
                self.whole(Some(track), true, data)
            }
        }
    }

    fn described(&self, config: Bytes, shape: Shape) -> Track {
        Track { id: self.id, codec: self.codec, config, shape }
    }

    /// A frame that stays as it is.
    fn whole(&mut self, track: Option<Track>, key: bool, data: Arc<[u8]>) -> Option<Adapted> {
        let track = self.news(track);
        self.track.as_ref()?;
        let kind = if key { FrameKind::Key } else { FrameKind::Inter };
        Some(Adapted { track, kind, payload: Bytes::from_owner(data) })
    }

    /// The track, if it is not what was told last.
    fn news(&mut self, track: Option<Track>) -> Option<Track> {
        let track = track.filter(|track| self.track.as_ref() != Some(track))?;
        self.track = Some(track.clone());
        Some(track)
    }

    fn units(&mut self, data: &[u8]) -> Option<Adapted> {
        let units: Vec<&[u8]> = nal::annex_b(data).collect();
        let track = self.keep(&units).then(|| self.sets_track()).flatten();
        let track = self.news(track);
        let pictures = units.iter().copied().filter(|unit| !is_out_of_band(self.codec, unit));
        let payload = nal::join(pictures);
        if payload.is_empty() || self.track.is_none() {
            // Parameter sets alone wait for their picture; a picture without any is of no use.
            self.track = self.track.take().filter(|_| track.is_none());
            return None;
        }
        let kind = if self.is_key(&units) {
            FrameKind::Key
        } else if self.codec == Codec::H264 && units.iter().all(|unit| is_unreferenced(unit)) {
            FrameKind::Disposable
        } else {
            FrameKind::Inter
        };
        Some(Adapted { track, kind, payload })
    }

    /// Whether a decoder may begin at a picture of these units.
    fn is_key(&self, units: &[&[u8]]) -> bool {
        units.iter().any(|unit| match self.codec {
            Codec::H264 => matches!(h264::unit_type(unit), h264::unit_type::IDR | h264::unit_type::SPS),
            _ => (h265::unit_type::IRAP_FIRST..=h265::unit_type::IRAP_LAST).contains(&h265::unit_type(unit)),
        })
    }

    /// Keeps the parameter sets among `units`; whether there were any. A picture that brings a set of a kind replaces all
    /// of that kind, except that a lone PPS joins those that are there: encoders send one when they need another.
    fn keep(&mut self, units: &[&[u8]]) -> bool {
        let mut found: [Vec<Bytes>; 3] = Default::default();
        for unit in units {
            if let Some(place) = set_place(self.codec, unit).and_then(|kind| found.get_mut(kind))
                && place.len() < SETS_MAX
                && !place.iter().any(|set| set == unit)
            {
                place.push(Bytes::copy_from_slice(unit));
            }
        }
        let with_sps = !found[1].is_empty();
        let any = found.iter().any(|sets| !sets.is_empty());
        for (kept, found) in self.sets.iter_mut().zip(found) {
            if found.is_empty() {
                continue;
            }
            if with_sps {
                *kept = found;
            } else {
                kept.extend(found.into_iter().filter(|set| !kept.contains(set)).collect::<Vec<_>>());
                kept.truncate(SETS_MAX);
            }
        }
        any || self.track.is_none()
    }

    /// The track that the kept sets describe, once there are enough of them.
    fn sets_track(&self) -> Option<Track> {
        let [vps, sps, pps] =
            self.sets.each_ref().map(|sets| sets.iter().map(|set| &set[..]).collect::<Vec<_>>());
        let config = match self.codec {
            Codec::H264 if !pps.is_empty() => h264::build_config(&sps, &pps),
            Codec::H265 if !pps.is_empty() => h265::build_config(&vps, &sps, &pps),
            _ => None,
        }?;
        let shape = codecs::shape(self.codec, &config);
        Some(self.described(config, shape))
    }
}

/// Where in [`Adapter::sets`] a unit belongs, if it is a parameter set.
fn set_place(codec: Codec, unit: &[u8]) -> Option<usize> {
    match codec {
        Codec::H264 => match h264::unit_type(unit) {
            h264::unit_type::SPS => Some(1),
            h264::unit_type::PPS => Some(2),
            _ => None,
        },
        _ => match h265::unit_type(unit) {
            h265::unit_type::VPS => Some(0),
            h265::unit_type::SPS => Some(1),
            h265::unit_type::PPS => Some(2),
            _ => None,
        },
    }
}

/// Whether a unit does not belong into a picture's payload: parameter sets, delimiters, ends and filler.
fn is_out_of_band(codec: Codec, unit: &[u8]) -> bool {
    match codec {
        // 10 and 11 end a sequence and a stream, 12 is filler (H.264 table 7-1).
        Codec::H264 => matches!(h264::unit_type(unit), 7..=12),
        // 36, 37 and 38 are the same of H.265 (table 7-1).
        _ => matches!(h265::unit_type(unit), 32..=38),
    }
}

/// Whether no other picture refers to what this H.264 unit codes (`nal_ref_idc` is 0).
fn is_unreferenced(unit: &[u8]) -> bool {
    unit.first().is_some_and(|head| head & 0x60 == 0)
}

/// The parameter sets of an `a=fmtp` of H.264 (RFC 6184 §8.1), in base64 and parted by commas.
pub fn sprop_parameter_sets(value: &str) -> Vec<Vec<u8>> {
    value.split(',').take(SETS_MAX).filter_map(base64).filter(|set| !set.is_empty()).collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
    ];
    const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];

    fn annex_b(units: &[&[u8]]) -> Arc<[u8]> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect::<Vec<_>>().into()
    }

    fn h264() -> Adapter {
        Adapter::new(TrackId::VIDEO, Codec::H264, 0, &[])
    }

    #[test]
    fn parameter_sets_go_into_the_track_and_pictures_into_frames() {
        let mut adapter = h264();
        assert!(adapter.frame(annex_b(&[&[0x41, 1, 2]])).is_none(), "nobody could decode it");
        let first = adapter.frame(annex_b(&[&[9, 0x10], SPS, PPS, &[6, 5, 1], &[0x65, 1, 2, 3]])).unwrap();
        assert_eq!(first.kind, FrameKind::Key);
        assert_eq!(first.payload, &[0, 0, 0, 3, 6, 5, 1, 0, 0, 0, 4, 0x65, 1, 2, 3][..]);
        assert!(matches!(first.track.unwrap().shape, Shape::Video { width: 1280, height: 720 }));
        let next = adapter.frame(annex_b(&[&[0x41, 9]])).unwrap();
        assert_eq!((next.kind, next.track.is_none()), (FrameKind::Inter, true));
        assert_eq!(adapter.frame(annex_b(&[&[0x01, 9]])).unwrap().kind, FrameKind::Disposable);
        let again = adapter.frame(annex_b(&[SPS, PPS, &[0x65, 1]])).unwrap();
        assert!(again.track.is_none(), "the same sets are no news");
    }

    #[test]
    fn sets_may_come_by_themselves_and_may_change() {
        let mut adapter = h264();
        assert!(adapter.frame(annex_b(&[SPS, PPS])).is_none());
        assert!(adapter.frame(annex_b(&[&[0x65, 1]])).unwrap().track.is_some());
        let more: &[u8] = &[0x68, 0x4a, 0x83];
        let changed = adapter.frame(annex_b(&[more, &[0x65, 1]])).unwrap().track.unwrap();
        assert_eq!(h264::parse_config(&changed.config).unwrap().pps, [PPS, more]);
    }

    #[test]
    fn sets_of_the_sdp_are_as_good() {
        let sets = sprop_parameter_sets("Z0LAH9kAUAW7ARAAAAMAEAAAAwPA8YMkgA==,aMuDyyA=");
        assert_eq!(sets, [SPS, PPS]);
        let mut adapter = Adapter::new(TrackId::VIDEO, Codec::H264, 0, &sets);
        assert!(adapter.frame(annex_b(&[&[0x65, 1]])).unwrap().track.is_some());
    }

    #[test]
    fn hostile_pictures_are_no_frames() {
        for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus] {
            let mut adapter = Adapter::new(TrackId::VIDEO, codec, 2, &[]);
            for len in 0..64_u8 {
                for fill in [0, 1, 0x67, 0xff] {
                    let _ = adapter.frame(vec![fill; usize::from(len)].into());
                    let _ = adapter.frame(annex_b(&[&vec![fill; usize::from(len)]]));
                }
            }
        }
    }
}
