//! RTP headers and extensions: known bytes, round trips, every split and cut.

use proptest::prelude::*;

use super::fuzz;

proptest! {
    #[test]
    fn anything_is_read_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&data);
    }

    #[test]
    fn what_looks_like_rtp_is_read_without_a_panic(head in 0x80..0xc0_u8, mut data in prop::collection::vec(any::<u8>(), 0..300)) {
        data.insert(0, head);
        fuzz(&data);
    }
}
