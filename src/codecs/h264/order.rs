//! The parameter set of a stream that has lost those of its pictures that were shown out of order.
//!
//! Sections are of ITU-T H.264.

use super::{SPS_BYTES_MAX, read_sps, unit_type};
use crate::codecs::{
    bits::{BitWriter, Bits},
    nal,
};

/// `sps` for pictures of which those are left out that are not shown in the order in which they are sent.
///
/// It says that nothing is reordered (`max_num_reorder_frames`, §E.2.1), so that decoders show each picture at once instead of waiting
/// for the ones that do not come; and that reference pictures may be missing (`gaps_in_frame_num_value_allowed_flag`, §7.4.2.1.1),
/// so that decoders count on over the B-frames among them that others referred to (§8.2.5.2). `None`: it says so already, it is
/// of a kind without B-frames, or it makes no sense.
pub fn in_order(sps: &[u8]) -> Option<Vec<u8>> {
    /// Baseline, and the order in which pictures are shown being that in which they are sent.
    const BASELINE: u8 = 66;
    const ORDER_AS_SENT: u32 = 2;
    let (head, body) = sps.split_first()?;
    if unit_type(sps) != unit_type::SPS || body.len() > SPS_BYTES_MAX {
        return None;
    }
    let raw = nal::unescape(body, SPS_BYTES_MAX);
    let (known, layout) = read_sps(&raw)?;
    if known.profile == BASELINE || layout.order_type == ORDER_AS_SENT {
        return None;
    }
    let (mut from, mut to) = (Bits::new(&raw), BitWriter::default());
    to.copy(&mut from, layout.gaps_at)?;
    from.skip(1)?;
    to.put(1, 1);
    to.copy(&mut from, layout.vui_at - layout.gaps_at - 1)?;
    let has_vui = from.flag()?;
    to.put(1, 1);
    match has_vui {
        true => copy_vui(&mut from, &mut to)?,
        // Nothing is said of shape, colours, timing and buffers.
        false => to.put(0, 8),
    }
    let is_restricted = has_vui && from.flag()?;
    to.put(1, 1);
    let mut references = layout.references;
    if is_restricted {
        to.copy(&mut from, 1)?;
        for _ in 0..4 {
            to.put_ue(from.ue()?);
        }
        if from.ue()? == 0 {
            return None;
        }
        references = from.ue()?;
    } else {
        // What is inferred where nothing is said (§E.2.1).
        to.put(1, 1);
        [2, 1, 16, 16].into_iter().for_each(|value| to.put_ue(value));
    }
    to.put_ue(0);
    to.put_ue(references);
    // The stop bit.
    to.put(1, 1);
    let mut unit = vec![*head];
    nal::escape(&to.finish(), &mut unit);
    Some(unit)
}

/// Copies `vui_parameters()` up to `bitstream_restriction_flag` (§E.1.1).
fn copy_vui(from: &mut Bits<'_>, to: &mut BitWriter) -> Option<()> {
    /// `aspect_ratio_idc`: two numbers follow.
    const EXTENDED_SAR: u32 = 255;
    fn flag(from: &mut Bits<'_>, to: &mut BitWriter) -> Option<bool> {
        let flag = from.flag()?;
        to.put(u32::from(flag), 1);
        Some(flag)
    }
    if flag(from, to)? {
        let ratio = from.read(8)?;
        to.put(ratio, 8);
        to.copy(from, if ratio == EXTENDED_SAR { 32 } else { 0 })?;
    }
    if flag(from, to)? {
        to.copy(from, 1)?;
    }
    if flag(from, to)? {
        to.copy(from, 4)?;
        if flag(from, to)? {
            to.copy(from, 24)?;
        }
    }
    if flag(from, to)? {
        to.put_ue(from.ue()?);
        to.put_ue(from.ue()?);
    }
    if flag(from, to)? {
        to.copy(from, 65)?;
    }
    let mut has_buffers = false;
    for _ in 0..2 {
        if flag(from, to)? {
            has_buffers = true;
            // `hrd_parameters()` (§E.1.2).
            let count = from.ue_max(31)?;
            to.put_ue(count);
            to.copy(from, 8)?;
            for _ in 0..=count {
                to.put_ue(from.ue()?);
                to.put_ue(from.ue()?);
                to.copy(from, 1)?;
            }
            to.copy(from, 20)?;
        }
    }
    to.copy(from, usize::from(has_buffers) + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codecs::h264::parse_sps;

    /// x264's at 640x360 with `-bf 3`: high profile, four reference frames, a VUI that says two are reordered.
    const PYRAMID: &str = "6764001eacd940a02ff970110000030001000003003c0f162d96";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    #[test]
    fn a_set_that_reorders_says_that_nothing_is() {
        let before = bytes(PYRAMID);
        let after = in_order(&before).expect("it reorders");
        assert_eq!(parse_sps(&after), parse_sps(&before), "of the picture it says the same");
        assert_eq!(in_order(&after), None, "it says so already");
        assert!(
            read_sps(&nal::unescape(&after[1..], 1_024)).is_some_and(|(_, layout)| layout.references == 4)
        );
    }

    #[test]
    fn a_set_that_says_nothing_of_it_gets_the_words() {
        // Main profile, without a VUI.
        let mut writer = BitWriter::default();
        [(77, 8), (0, 8), (30, 8)].into_iter().for_each(|(value, width)| writer.put(value, width));
        // Id, frame numbers, order type 0, its width, two references, no gaps, 20 by 12 blocks, frames only, inference.
        [0, 0, 0, 4, 2].into_iter().for_each(|value| writer.put_ue(value));
        writer.put(0, 1);
        [19, 11].into_iter().for_each(|value| writer.put_ue(value));
        writer.put(0b11_0_0_1, 5);
        let before = [&[0x67][..], &writer.finish()].concat();
        let after = in_order(&before).expect("it may reorder");
        assert_eq!(parse_sps(&after), parse_sps(&before));
        assert_eq!(in_order(&after), None);
    }

    #[test]
    fn sets_without_b_frames_stay_as_they_are() {
        let baseline = bytes("6742c01fd9005005bb0110000003001000000303c0f1832480");
        assert!(parse_sps(&baseline).is_some());
        assert_eq!(in_order(&baseline), None);
        assert_eq!(in_order(&[]), None);
        assert_eq!(in_order(&[0x68, 1, 2, 3]), None, "no such set");
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_says_the_same_of_its_pictures(cut in 0_usize..40, flip in 8_usize..240, noise in any::<[u8; 40]>()) {
            let mut set = bytes(PYRAMID);
            if let Some(byte) = set.get_mut(flip / 8) {
                *byte ^= 1 << (flip % 8);
            }
            set.truncate(set.len().saturating_sub(cut));
            for set in [set, [&[0x67][..], &noise].concat()] {
                if let Some(after) = in_order(&set) {
                    prop_assert_eq!(parse_sps(&after), parse_sps(&set));
                    prop_assert_eq!(in_order(&after), None);
                }
            }
        }
    }
}
