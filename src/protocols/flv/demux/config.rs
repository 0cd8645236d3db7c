//! Configurations and pictures in every form that senders use, brought into the one form that [`Codec`] names.

use bytes::{BufMut, Bytes, BytesMut};
use shards::media::Codec;

use crate::codecs::{aac, av1, flac, h264, h265, nal, opus, vpx};

/// How the NAL units of a track's pictures are told apart, according to its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NalForm {
    /// By lengths of so many bytes.
    Lengths(usize),
    /// By start codes.
    AnnexB,
}

/// The configuration in the form of [`Codec`]; `None` when it is in no known form.
pub(super) fn normalize(codec: Codec, came: &[u8]) -> Option<(Bytes, NalForm)> {
    let four = NalForm::Lengths(4);
    let copy = || Bytes::copy_from_slice(came);
    Some(match codec {
        Codec::H264 | Codec::H265 if nal::is_annex_b(came) => {
            (in_band_of(codec, nal::annex_b(came))?, NalForm::AnnexB)
        }
        Codec::H264 => {
            let config = h264::parse_config(came)?;
            config.sps.first()?;
            (with_four_byte_lengths(came, 4), NalForm::Lengths(config.length_size))
        }
        Codec::H265 => {
            let config = h265::parse_config(came)?;
            (with_four_byte_lengths(came, h265::LENGTH_SIZE_AT), NalForm::Lengths(config.length_size))
        }
        Codec::Av1 if came.len() >= av1::CONFIG_HEAD_BYTES && came.first() == Some(&0x81) => (copy(), four),
        Codec::Vp8 | Codec::Vp9 if came.starts_with(&vpx::FULL_BOX) => (copy(), four),
        // Some leave out version and flags; the record itself has eight bytes.
        Codec::Vp8 | Codec::Vp9 if came.len() >= 8 => {
            let mut whole = BytesMut::with_capacity(4 + came.len());
            whole.put_slice(&vpx::FULL_BOX);
            whole.put_slice(came);
            (whole.freeze(), four)
        }
        Codec::Vp8 if came.is_empty() => (Bytes::new(), four),
        Codec::Aac => {
            aac::parse_config(came)?;
            (copy(), four)
        }
        Codec::Opus => {
            opus::parse_head(came)?;
            (copy(), four)
        }
        Codec::Flac => (flac::normalize_config(came)?, four),
        // Their frames tell everything.
        Codec::Mp3 | Codec::Ac3 | Codec::Eac3 => (Bytes::new(), four),
        _ => return None,
    })
}

/// A copy of a record whose byte at `at` says in its low two bits how long lengths are: four bytes.
fn with_four_byte_lengths(record: &[u8], at: usize) -> Bytes {
    let mut copy = BytesMut::from(record);
    if let Some(byte) = copy.get_mut(at) {
        *byte |= 3;
    }
    copy.freeze()
}

/// The record that AV1's MPEG-2 TS video descriptor stands for: the same but for two bits of colour range hints.
pub(super) fn of_ts_descriptor(codec: Codec, descriptor: &[u8]) -> Option<Bytes> {
    match (codec, descriptor) {
        (Codec::Av1, [0x80, 4, first, second, third, fourth, ..]) => {
            Some(Bytes::copy_from_slice(&[*first, *second, *third, fourth & 0x1f]))
        }
        _ => None,
    }
}

/// Whether size or rate are told by frames, not by the configuration.
pub(super) const fn shape_is_in_band(codec: Codec) -> bool {
    matches!(
        codec,
        Codec::Vp8 | Codec::Vp9 | Codec::Mp3 | Codec::Ac3 | Codec::Eac3 | Codec::PcmA | Codec::PcmU
    )
}

/// The configuration that a keyframe or sound frame carries itself, for senders that leave it out elsewhere.
///
/// `frame` is in the form of [`Codec`]. `None` when there is none in it.
pub(super) fn in_band(codec: Codec, frame: &[u8]) -> Option<Bytes> {
    match codec {
        Codec::H264 | Codec::H265 => in_band_of(codec, nal::units(frame, 4)),
        Codec::Av1 => av1::config_of(frame),
        Codec::Vp9 => vpx::parse_vp9(frame).map(|picture| vpx::build_config(&picture)),
        Codec::Vp8 => vpx::parse_vp8(frame).map(|_| Bytes::new()),
        Codec::Mp3 | Codec::Ac3 | Codec::Eac3 | Codec::PcmA | Codec::PcmU => Some(Bytes::new()),
        Codec::Aac | Codec::Opus | Codec::Flac | Codec::Script => None,
    }
}

fn in_band_of<'a>(codec: Codec, units: impl Iterator<Item = &'a [u8]>) -> Option<Bytes> {
    if codec == Codec::H264 { h264::config_of(units) } else { h265::config_of(units) }
}

/// A picture with four-byte lengths; `came` itself where it is that already. `None` when it is in no form.
pub(super) fn picture(came: Bytes, form: NalForm) -> Option<Bytes> {
    // A chain of lengths that ends exactly at the end is no accident, and start codes are not one. So what fits is
    // believed over what the record says.
    let mut walk = nal::units(&came, 4);
    walk.by_ref().for_each(drop);
    let told = match form {
        NalForm::Lengths(size) => size,
        NalForm::AnnexB => 4,
    };
    if told != 4 && nal::is_length_prefixed(&came, told) {
        return Some(nal::join(nal::units(&came, told)));
    }
    if !walk.is_broken() {
        return Some(came);
    }
    if nal::is_annex_b(&came) {
        return Some(nal::join(nal::annex_b(&came))).filter(|joined| !joined.is_empty());
    }
    // Trailing bytes that make no unit are cut off.
    let whole = walk.whole();
    (told == 4 && whole > 4).then(|| came.slice(..whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_is_well_is_not_touched() {
        let came = Bytes::from_static(&[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x0c]);
        let same = picture(came.clone(), NalForm::Lengths(4)).expect("a picture");
        assert_eq!((same.as_ptr(), same.len()), (came.as_ptr(), came.len()));
    }

    #[test]
    fn every_other_form_becomes_four_byte_lengths() {
        let expected = Bytes::from_static(&[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x0c]);
        let forms: [(&[u8], NalForm); 6] = [
            (&[2, 0x65, 1, 1, 0x0c], NalForm::Lengths(1)),
            (&[0, 2, 0x65, 1, 0, 1, 0x0c], NalForm::Lengths(2)),
            (&[0, 0, 2, 0x65, 1, 0, 0, 1, 0x0c], NalForm::Lengths(3)),
            (&[0, 0, 0, 1, 0x65, 1, 0, 0, 1, 0x0c], NalForm::AnnexB),
            (&[0, 0, 1, 0x65, 1, 0, 0, 1, 0x0c], NalForm::Lengths(4)),
            (&[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x0c, 0, 0], NalForm::Lengths(4)),
        ];
        for (came, form) in forms {
            assert_eq!(picture(Bytes::from_static(came), form), Some(expected.clone()), "{came:x?}");
        }
        assert_eq!(picture(Bytes::from_static(&[0, 0, 0, 9, 0x65, 1]), NalForm::Lengths(4)), None);
    }
}
