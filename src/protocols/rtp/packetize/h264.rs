//! H.264 payloads (RFC 6184, packetization mode 1): single NAL units, STAP-A, FU-A.

use std::borrow::Cow;

use super::{Gathered, Payloads, Picture, one};
use crate::codecs::{h264, nal};

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Pictures are kept with lengths of four bytes.
const LENGTH_SIZE: usize = 4;
/// Filler data, which nobody needs.
const FILLER: u8 = 12;

/// Writes an access unit. A keyframe that does not bring its parameter sets gets those of `config` first.
pub fn write(config: &[u8], picture: Picture<'_>, max: usize, out: &mut impl Payloads) {
    let own_sets =
        || nal::units(picture.payload, LENGTH_SIZE).any(|unit| h264::unit_type(unit) == h264::unit_type::SPS);
    let parsed = (picture.is_key && !own_sets()).then(|| h264::parse_config(config)).flatten();
    let sets = parsed.iter().flat_map(|config| config.sps.iter().chain(&config.pps)).copied();
    let parts = sets.chain(nal::units(picture.payload, LENGTH_SIZE));
    if picture.is_key && picture.in_order {
        let parts: Vec<Cow<'_, [u8]>> = parts.map(in_order).collect();
        let mut gathered = Gathered::<16>::new(1);
        parts.iter().for_each(|part| unit(part, max, &mut gathered, out));
        flush(&mut gathered, out);
    } else {
        let mut gathered = Gathered::<16>::new(1);
        parts.for_each(|part| unit(part, max, &mut gathered, out));
        flush(&mut gathered, out);
    }
}

/// The unit itself, or a parameter set that says that nothing is reordered any more.
fn in_order(unit: &[u8]) -> Cow<'_, [u8]> {
    match h264::unit_type(unit) {
        h264::unit_type::SPS => h264::in_order(unit).map_or(Cow::Borrowed(unit), Cow::Owned),
        _ => Cow::Borrowed(unit),
    }
}

fn unit<'a, const N: usize>(
    unit: &'a [u8],
    max: usize,
    gathered: &mut Gathered<'a, N>,
    out: &mut impl Payloads,
) {
    let Some(&head) = unit.first() else { return };
    if matches!(head & 31, h264::unit_type::AUD | FILLER) || gathered.push(unit, max) {
        return;
    }
    flush(gathered, out);
    if !gathered.push(unit, max) {
        if unit.len() <= max { one(&[unit], out) } else { fragment(head, &unit[1..], max, out) }
    }
}

fn flush<const N: usize>(gathered: &mut Gathered<'_, N>, out: &mut impl Payloads) {
    match gathered.units() {
        [] => {}
        [unit] => one(&[unit], out),
        units => {
            // §5.7: the highest importance among them, and forbidden if any is.
            let heads = || units.iter().filter_map(|unit| unit.first());
            let importance = heads().map(|head| head & 0x60).max().unwrap_or(0);
            let forbidden = heads().fold(0, |all, head| all | head & 0x80);
            out.begin();
            out.put(&[forbidden | importance | STAP_A]);
            for unit in units {
                out.put(&(unit.len() as u16).to_be_bytes());
                out.put(unit);
            }
            out.end();
        }
    }
    gathered.clear();
}

/// Cuts a unit (without its head) into FU-A packets (§5.8).
fn fragment(head: u8, body: &[u8], max: usize, out: &mut impl Payloads) {
    let last = body.len().div_ceil(max - 2) - 1;
    for (at, piece) in body.chunks(max - 2).enumerate() {
        let (start, end) = (u8::from(at == 0) << 7, u8::from(at == last) << 6);
        one(&[&[head & 0xe0 | FU_A, start | end | head & 31], piece], out);
    }
}
