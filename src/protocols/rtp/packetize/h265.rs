//! H.265 payloads (RFC 7798, without DONL): single NAL units, aggregation packets, fragmentation units.

use super::{Gathered, Payloads, Picture, one};
use crate::codecs::{h265, nal};

const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;
/// Pictures are kept with lengths of four bytes.
const LENGTH_SIZE: usize = 4;
/// Filler data, which nobody needs.
const FILLER: u8 = 38;

/// Writes an access unit. A keyframe that does not bring its parameter sets gets those of `config` first.
pub fn write(config: &[u8], picture: Picture<'_>, max: usize, out: &mut impl Payloads) {
    let mut gathered = Gathered::<16>::new(2);
    let own_sets =
        || nal::units(picture.payload, LENGTH_SIZE).any(|unit| h265::unit_type(unit) == h265::unit_type::SPS);
    let parsed = (picture.is_key && !own_sets()).then(|| h265::parse_config(config)).flatten();
    if let Some(config) = &parsed {
        config.units.iter().for_each(|set| unit(set, max, &mut gathered, out));
    }
    for part in nal::units(picture.payload, LENGTH_SIZE) {
        unit(part, max, &mut gathered, out);
    }
    flush(&mut gathered, out);
}

fn unit<'a, const N: usize>(
    unit: &'a [u8],
    max: usize,
    gathered: &mut Gathered<'a, N>,
    out: &mut impl Payloads,
) {
    let Some((head, body)) = unit.split_first_chunk::<2>() else { return };
    if matches!(h265::unit_type(unit), h265::unit_type::AUD | FILLER) || gathered.push(unit, max) {
        return;
    }
    flush(gathered, out);
    if !gathered.push(unit, max) {
        if unit.len() <= max { one(&[unit], out) } else { fragment(*head, body, max, out) }
    }
}

fn flush<const N: usize>(gathered: &mut Gathered<'_, N>, out: &mut impl Payloads) {
    match gathered.units() {
        [] => {}
        [unit] => one(&[unit], out),
        units => {
            // §4.4.2: the lowest layer and the lowest temporal id of all, forbidden if any is.
            let heads = || units.iter().filter_map(|unit| unit.first_chunk::<2>());
            let forbidden = heads().fold(0, |all, head| all | head[0] & 0x80);
            let layer =
                heads().map(|head| u16::from(head[0] & 1) << 5 | u16::from(head[1] >> 3)).min().unwrap_or(0);
            let temporal = heads().map(|head| head[1] & 7).min().unwrap_or(1);
            out.begin();
            out.put(&[forbidden | AGGREGATION << 1 | (layer >> 5) as u8, (layer << 3) as u8 | temporal]);
            for unit in units {
                out.put(&(unit.len() as u16).to_be_bytes());
                out.put(unit);
            }
            out.end();
        }
    }
    gathered.clear();
}

/// Cuts a unit (without its head) into fragmentation units (§4.4.3).
fn fragment(head: [u8; 2], body: &[u8], max: usize, out: &mut impl Payloads) {
    let last = body.len().div_ceil(max - 3) - 1;
    for (at, piece) in body.chunks(max - 3).enumerate() {
        let (start, end) = (u8::from(at == 0) << 7, u8::from(at == last) << 6);
        let kind = head[0] >> 1 & 63;
        one(&[&[head[0] & 0x81 | FRAGMENTATION << 1, head[1], start | end | kind], piece], out);
    }
}
