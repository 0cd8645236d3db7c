//! Which of an offer's sections and codecs a session takes.
//!
//! One codec for each section, so that what comes is known and cannot change in between. A publisher's is the first of the
//! configured order that it offers; a viewer's is the stream's.

use shards::media::{Codec, TrackKind};

use crate::protocols::whip::{Chosen, Direction, Media, Offer, OfferedCodec, Side};

/// The most tracks of one kind that a publisher may send.
const TRACKS_MAX: usize = 8;

/// Why there is no session; the sentences are for the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The offer's media goes the wrong way.
    #[error("{0}")]
    Direction(&'static str),
    /// RTP and RTCP on two ports (RFC 9725 §4.4.1 demands one).
    #[error("the offer's media does not share a port with its RTCP: a=rtcp-mux is missing")]
    NoRtcpMux,
    /// More than can be told apart (RFC 9725 §4.4.2).
    #[error("the offer has more than {TRACKS_MAX} sections of one kind that send")]
    TooMany,
    /// No codec in common.
    #[error("no codec in common: the offer has {offered}, {taken}")]
    Codec {
        /// What the client could do.
        offered: String,
        /// What would have been taken.
        taken: String,
    },
}

/// The codec of an offer by its name and clock, if it is one that streams can have.
pub fn codec_of(offered: &OfferedCodec) -> Option<Codec> {
    Some(match (offered.name.as_str(), offered.clock) {
        ("h264", 90_000) => Codec::H264,
        ("h265", 90_000) => Codec::H265,
        ("vp8", 90_000) => Codec::Vp8,
        ("vp9", 90_000) => Codec::Vp9,
        ("av1" | "av1x", 90_000) => Codec::Av1,
        ("opus", 48_000) => Codec::Opus,
        ("pcmu", 8_000) => Codec::PcmU,
        ("pcma", 8_000) => Codec::PcmA,
        _ => return None,
    })
}

/// The codec that the configuration or a query names so.
pub fn codec_named(name: &str) -> Option<Codec> {
    Some(match name {
        "h264" | "avc" => Codec::H264,
        "h265" | "hevc" => Codec::H265,
        "vp8" => Codec::Vp8,
        "vp9" => Codec::Vp9,
        "av1" => Codec::Av1,
        "opus" => Codec::Opus,
        "pcmu" => Codec::PcmU,
        "pcma" => Codec::PcmA,
        _ => return None,
    })
}

/// The kind of a section, if it is one of media.
pub fn kind_of(media: &Media) -> Option<TrackKind> {
    match media.kind.as_str() {
        "audio" => Some(TrackKind::Audio),
        "video" => Some(TrackKind::Video),
        _ => None,
    }
}

/// What of `offer` is taken, section by section. `order` are the codecs in the order of preference: the configured ones
/// for a publisher, for a viewer those that the stream has, or might have.
///
/// # Errors
/// When nothing could be, or no picture of a stream that has some for a viewer who wants to see.
pub fn choose(offer: &Offer, side: Side, order: &[Codec]) -> Result<Vec<Option<Chosen>>, Disagreement> {
    let wants = |media: &&Media| match side {
        Side::Publish => matches!(media.direction, Direction::SendOnly | Direction::SendRecv),
        Side::Play => matches!(media.direction, Direction::RecvOnly | Direction::SendRecv),
    };
    let lines = || offer.media().iter().filter(|media| kind_of(media).is_some() && !media.is_refused);
    if lines().count() == 0 {
        return Err(Disagreement::Direction("the offer has neither sound nor pictures"));
    }
    if lines().filter(wants).count() == 0 {
        return Err(Disagreement::Direction(match side {
            Side::Publish => "the offer only receives: a publisher's media must be sendonly",
            Side::Play => "the offer only sends: a viewer's media must be recvonly",
        }));
    }
    if lines().filter(wants).any(|media| !media.has_rtcp_mux) {
        return Err(Disagreement::NoRtcpMux);
    }
    let sent = |kind| lines().filter(wants).filter(|media| kind_of(media) == Some(kind)).count();
    if side == Side::Publish && [TrackKind::Audio, TrackKind::Video].map(sent).iter().any(|n| *n > TRACKS_MAX)
    {
        return Err(Disagreement::TooMany);
    }
    let mut counts = [0; 2];
    let tracks_max = match side {
        Side::Publish => TRACKS_MAX,
        Side::Play => 1,
    };
    let chosen: Vec<Option<Chosen>> = offer
        .media()
        .iter()
        .map(|media| {
            let kind = kind_of(media).filter(|_| wants(&media) && !media.is_refused)?;
            let count =
                counts.get_mut(usize::from(kind == TrackKind::Video)).filter(|count| **count < tracks_max)?;
            let codec = order.iter().find_map(|codec| best(side, media, *codec))?;
            *count += 1;
            Some(Chosen { codec })
        })
        .collect();
    // Whoever wants to see and could only hear is better told why, and so is whoever publishes and would lose half of it
    // (RFC 9725 §4.4.3). Kinds that the configuration leaves out are left out.
    let has = |kind| order.iter().any(|codec| codec.kind() == kind);
    let missed = offer.media().iter().zip(&chosen).filter(|(media, chosen)| {
        chosen.is_none() && wants(media) && !media.is_refused && kind_of(media).is_some_and(has)
    });
    let is_partial = match side {
        Side::Publish => missed.count() > 0,
        Side::Play => {
            let is_picture = |media: &Media| kind_of(media) == Some(TrackKind::Video);
            let seen = offer
                .media()
                .iter()
                .zip(&chosen)
                .any(|(media, chosen)| is_picture(media) && chosen.is_some());
            missed.into_iter().any(|(media, _)| is_picture(media)) && !seen
        }
    };
    if is_partial || chosen.iter().all(Option::is_none) {
        let names = |codecs: &mut dyn Iterator<Item = String>| {
            let mut names: Vec<String> = Vec::new();
            codecs.for_each(|name| {
                if !names.contains(&name) {
                    names.push(name)
                }
            });
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        let offered = names(
            &mut lines().flat_map(|media| &media.codecs).take(40).map(|codec| codec.name.to_uppercase()),
        );
        let list = names(&mut order.iter().map(|codec| codec.name().to_owned()));
        let taken = match side {
            Side::Publish => format!("this server takes {list}"),
            Side::Play => format!("the stream has {list}"),
        };
        return Err(Disagreement::Codec { offered, taken });
    }
    Ok(chosen)
}

/// The best of a section's forms of `codec`. H.264 has several: packetization mode 1 is better, and in it the profile that
/// the client names first.
fn best(side: Side, media: &Media, codec: Codec) -> Option<OfferedCodec> {
    let forms = media.codecs.iter().filter(|offered| codec_of(offered) == Some(codec));
    let found = match codec {
        Codec::H264 => {
            let rank = |offered: &&OfferedCodec| offered.parameter("packetization-mode") != Some("1");
            // What viewers get is cut for mode 1 (RFC 6184 §6.2 knows no such packets in mode 0).
            let fits = |offered: &&OfferedCodec| side == Side::Publish || !rank(offered);
            forms.filter(fits).min_by_key(rank)
        }
        // Profile 0 is 4:2:0 with 8 bits, which everybody can decode.
        Codec::Vp9 => {
            let rank = |offered: &&OfferedCodec| offered.parameter("profile-id").unwrap_or("0") != "0";
            forms.min_by_key(rank)
        }
        _ => forms.into_iter().next(),
    }?;
    Some(found.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(direction: &str, video: &str) -> Offer {
        Offer::parse(&format!(
            "v=0\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=fingerprint:sha-256 00\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=mid:1\r\na={direction}\r\na=rtcp-mux\r\n{video}"
        ))
        .unwrap()
    }

    const BOTH: &str = "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=0\r\n\
                        a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=42e01f\r\n";

    fn pts(offer: &Offer, side: Side, order: &[Codec]) -> Vec<Option<u8>> {
        let chosen = choose(offer, side, order).unwrap();
        chosen.into_iter().map(|chosen| chosen.map(|chosen| chosen.codec.pt)).collect()
    }

    /// RFC 6184 §6.2: mode 0 knows neither fragments nor aggregates, and viewers get both.
    #[test]
    fn who_takes_single_units_alone_may_publish_and_not_play() {
        let single = "a=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=0\r\n";
        let order = [Codec::H264, Codec::Opus];
        assert_eq!(pts(&offer("sendonly", single), Side::Publish, &order), [Some(111), Some(97)]);
        assert!(choose(&offer("recvonly", single), Side::Play, &order).is_err());
    }

    #[test]
    fn the_first_of_the_order_that_is_offered_is_taken() {
        let offer = offer("sendonly", BOTH);
        let order = [Codec::H264, Codec::Vp8, Codec::Opus];
        assert_eq!(pts(&offer, Side::Publish, &order), [Some(111), Some(98)]);
        assert_eq!(pts(&offer, Side::Publish, &[Codec::Vp8, Codec::PcmU]), [Some(0), Some(96)]);
        assert_eq!(pts(&offer, Side::Publish, &[Codec::Opus]), [Some(111), None]);
    }

    #[test]
    fn a_viewer_without_the_streams_codec_is_told_what_the_stream_has() {
        let offer = offer("recvonly", "a=rtpmap:96 VP8/90000\r\n");
        let error = choose(&offer, Side::Play, &[Codec::H265, Codec::Aac]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no codec in common: the offer has OPUS, PCMU, VP8, the stream has HEVC, AAC"
        );
    }

    #[test]
    fn media_must_go_the_right_way_through_one_port() {
        let order = [Codec::H264];
        let wrong = |offer: &Offer, side| choose(offer, side, &order).unwrap_err();
        assert!(matches!(wrong(&offer("recvonly", BOTH), Side::Publish), Disagreement::Direction(_)));
        assert!(matches!(wrong(&offer("sendonly", BOTH), Side::Play), Disagreement::Direction(_)));
        let two_ports = "v=0\na=ice-ufrag:a\na=ice-pwd:b\na=fingerprint:x y\nm=video 9 UDP/TLS/RTP/SAVPF 96\n\
                         a=sendonly\na=rtpmap:96 H264/90000\n";
        assert_eq!(wrong(&Offer::parse(two_ports).unwrap(), Side::Publish), Disagreement::NoRtcpMux);
    }
}
