//! One m-line of a viewer: what its packets' headers look like.
//!
//! Headers are written once; a packet changes marker, numbers and times. Invariant: what a header says of a packet follows from
//! the packet alone, except for the transport-wide number. So a packet that is repeated bit by bit can be made again, unless it
//! has such a number: a line without retransmission stream has none.

use shards::media::{Codec, TrackKind};

use crate::protocols::rtp::{header::Template, packetize};

/// What was negotiated for one m-line.
#[derive(Clone, Debug)]
pub struct LineOptions {
    /// The coding that `payload_type` stands for.
    pub codec: Codec,
    /// 0 to 127.
    pub payload_type: u8,
    /// Our source.
    pub ssrc: u32,
    /// Payload type and source of retransmissions (RFC 4588), if there are any.
    pub rtx: Option<(u8, u32)>,
    /// The number of the `mid` extension (RFC 9143) and its value.
    pub mid: Option<(u8, String)>,
    /// The number of the transport-wide sequence extension.
    pub transport: Option<u8>,
    /// The number of the `playout-delay` extension.
    pub playout_delay: Option<u8>,
}

/// Between 0 and 400 ms, in units of 10 ms, of 12 bits each: show as soon as can be, and wait for lost packets no longer.
const PLAYOUT_DELAY: [u8; 3] = [0, 0, 40];

/// A header, and where in it the transport-wide number goes.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// All but what differs from packet to packet.
    pub template: Template,
    /// Where the number's two bytes lie.
    pub transport_at: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub struct Line {
    /// Its coding.
    pub codec: Codec,
    /// Ticks a second.
    pub clock: u32,
    /// Our source.
    pub ssrc: u32,
    /// Of most packets.
    pub plain: Head,
    /// Of the first packet of a keyframe.
    pub opening: Head,
    /// Of retransmissions, with their source.
    pub rtx: Option<(Head, u32)>,
    /// What timestamps and sequence numbers start from (RFC 3550 §5.1: a random value).
    pub origin: u32,
}

impl Line {
    /// `None` for a codec that RTP does not carry here. `origin` is random.
    pub fn new(options: &LineOptions, origin: u32) -> Option<Self> {
        let clock = packetize::clock(options.codec)?;
        let head = |opening: bool| {
            let mut template = Template::new(options.payload_type, options.ssrc);
            if let Some((id, mid)) = &options.mid {
                template.push_extension(*id, mid.as_bytes());
            }
            let transport = options
                .transport
                .filter(|_| options.rtx.is_some() || options.codec.kind() == TrackKind::Audio);
            let transport_at = transport.and_then(|id| template.push_extension(id, &[0; 2]));
            if opening && let Some(id) = options.playout_delay {
                template.push_extension(id, &PLAYOUT_DELAY);
            }
            Head { template, transport_at }
        };
        let plain = head(false);
        let rtx = options.rtx.map(|(payload_type, ssrc)| {
            (Head { template: plain.template.with_identity(payload_type, ssrc), ..plain }, ssrc)
        });
        Some(Self {
            codec: options.codec,
            clock,
            ssrc: options.ssrc,
            plain,
            opening: head(true),
            rtx,
            origin,
        })
    }
}
