//! Datagrams from outside: which are RTP (RFC 7983), and what their clear headers tell of loss and disorder.
//!
//! SRTP leaves RTP's header readable, so that counting costs no decryption. Invariant: constant size for each stream, and
//! at most [`STREAMS_MAX`] streams.

/// Streams (SSRCs) of one session that are told apart: sound, picture, its repetitions, and some that came anew.
const STREAMS_MAX: usize = 8;
/// A sequence number further away than this is a stream that began anew.
const LEAP_MAX: i32 = 3_000;

/// The fixed part of an RTP header (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// The format.
    pub payload_type: u8,
    /// Set on the last packet of a picture.
    pub marker: bool,
    /// Counts packets; wraps.
    pub sequence: u16,
    /// On the media's clock; wraps.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: u32,
}

impl Rtp {
    /// The header at the front of a datagram that is RTP; RTCP and everything else is `None`.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let &[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3, ..] = datagram else { return None };
        // RFC 5761 section 4: what would be payload types 64 to 95 is RTCP.
        (first >> 6 == 2 && !(192..=223).contains(&second)).then(|| Self {
            payload_type: second & 0x7f,
            marker: second & 0x80 != 0,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    /// Counted from the first packet's number.
    highest: i64,
    received: i64,
}

/// What came of a session's streams.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    streams: Vec<Stream>,
    /// Packets that came behind later ones.
    pub reordered: u64,
    /// Of streams that began anew since.
    lost_before: u64,
    last: Vec<(u32, u16)>,
}

impl Counts {
    /// Counts a packet.
    pub fn add(&mut self, rtp: &Rtp) {
        let Some(at) = self.streams.iter().position(|stream| stream.ssrc == rtp.ssrc) else {
            if self.streams.len() < STREAMS_MAX {
                self.streams.push(Stream { ssrc: rtp.ssrc, highest: 0, received: 1 });
                self.last.push((rtp.ssrc, rtp.sequence));
            }
            return;
        };
        let (Some(stream), Some((_, last))) = (self.streams.get_mut(at), self.last.get_mut(at)) else {
            return;
        };
        // The number wraps: the nearer way round is meant.
        let step = i32::from(rtp.sequence.wrapping_sub(*last) as i16);
        if step.abs() > LEAP_MAX {
            self.lost_before += lost(stream);
            (stream.highest, stream.received, *last) = (0, 1, rtp.sequence);
            return;
        }
        stream.received += 1;
        if step > 0 {
            stream.highest += i64::from(step);
            *last = rtp.sequence;
        } else {
            self.reordered += 1;
        }
    }

    /// Packets that did not come; one that came twice makes up for one that did not.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.streams.iter().map(lost).sum::<u64>()
    }
}

fn lost(stream: &Stream) -> u64 {
    u64::try_from(stream.highest + 1 - stream.received).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(ssrc: u32, sequence: u16) -> Rtp {
        Rtp { payload_type: 96, marker: false, sequence, timestamp: 0, ssrc }
    }

    fn counted(numbers: impl IntoIterator<Item = u16>) -> (u64, u64) {
        let mut counts = Counts::default();
        numbers.into_iter().for_each(|n| counts.add(&packet(7, n)));
        (counts.lost(), counts.reordered)
    }

    #[test]
    fn loss_and_disorder_are_told_apart_across_the_wrap() {
        assert_eq!(counted([65_533, 65_534, 65_535, 0, 1, 2]), (0, 0));
        assert_eq!(counted([65_533, 65_535, 0, 3]), (3, 0));
        assert_eq!(counted([65_534, 0, 65_535, 1]), (0, 1));
        assert_eq!(counted([5, 6, 40_000, 40_002]), (1, 0), "one that began anew lost nothing by it");
    }

    #[test]
    fn streams_count_for_themselves() {
        let mut counts = Counts::default();
        for n in 0..10 {
            counts.add(&packet(1, n));
            counts.add(&packet(2, n * 2));
        }
        assert_eq!(counts.lost(), 9);
        (0..1_000).for_each(|ssrc| counts.add(&packet(ssrc, 0)));
        assert_eq!(counts.streams.len(), STREAMS_MAX);
    }

    #[test]
    fn rtcp_stun_and_dtls_are_no_rtp() {
        let header = |first: u8, second: u8| [first, second, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        let rtp = Rtp::read(&header(0x90, 0x80 | 96)).expect("RTP");
        assert_eq!((rtp.payload_type, rtp.marker, rtp.sequence, rtp.ssrc), (96, true, 1, 3));
        for (first, second) in [(0x80, 200), (0x81, 201), (0x8f, 205), (0x00, 1), (0x16, 0xfe)] {
            assert_eq!(Rtp::read(&header(first, second)), None, "{first:x} {second}");
        }
        assert_eq!(Rtp::read(&[0x80; 11]), None);
    }

    proptest! {
        #[test]
        fn noise_is_counted_without_harm(noise in prop::collection::vec(any::<[u8; 16]>(), 0..300)) {
            let mut counts = Counts::default();
            noise.iter().filter_map(|bytes| Rtp::read(bytes)).for_each(|rtp| counts.add(&rtp));
            prop_assert!(counts.streams.len() <= STREAMS_MAX && counts.lost() < u64::MAX / 2);
        }
    }
}
