//! FLAC: the stream marker and STREAMINFO (RFC 9639 §6, §8.2) as a track's configuration.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;

/// The marker and the header of a STREAMINFO block that is the last one.
const MARKER: [u8; 8] = [b'f', b'L', b'a', b'C', 0x80, 0, 0, 34];

/// Bytes of a STREAMINFO block without its header.
const STREAM_INFO_BYTES: usize = 34;

/// Brings a configuration into the one form: `fLaC`, block header, STREAMINFO and what follows.
///
/// Senders also leave out the marker, or the marker and the block header. `None` for anything else.
pub fn normalize_config(record: &[u8]) -> Option<Bytes> {
    let head = match record {
        [b'f', b'L', b'a', b'C', 0 | 0x80, 0, 0, 34, ..]
            if record.len() >= MARKER.len() + STREAM_INFO_BYTES =>
        {
            &[]
        }
        [0 | 0x80, 0, 0, 34, ..] if record.len() >= 4 + STREAM_INFO_BYTES => &MARKER[..4],
        _ if record.len() == STREAM_INFO_BYTES => &MARKER[..],
        _ => return None,
    };
    let mut whole = BytesMut::with_capacity(head.len() + record.len());
    whole.put_slice(head);
    whole.put_slice(record);
    Some(whole.freeze())
}

/// Sample rate (Hz) and channels of a configuration in its one form.
pub fn parse_config(record: &[u8]) -> Option<(u32, u8)> {
    let mut bits = Bits::new(record.strip_prefix(b"fLaC")?.get(4..)?);
    // Block and frame sizes come first.
    bits.skip(80)?;
    let (rate, channels) = (bits.read(20)?, bits.byte(3)? + 1);
    (rate > 0).then_some((rate, channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_configuration_becomes_one() {
        let mut info = [0; STREAM_INFO_BYTES];
        info[10..14].copy_from_slice(&[0x0b, 0xb8, 0x02, 0xf0]);
        let whole = [&MARKER[..], &info].concat();
        for form in [&whole[..], &whole[4..], &info] {
            let normal = normalize_config(form).expect("a configuration");
            assert_eq!(normal[..], whole);
            assert_eq!(parse_config(&normal), Some((48_000, 2)));
        }
        assert_eq!(normalize_config(&whole[..41]), None);
        assert_eq!(normalize_config(&[]), None);
    }
}
