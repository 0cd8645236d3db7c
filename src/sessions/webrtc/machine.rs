//! str0m machines: made from what was chosen of an offer, asked for answers, and given new credentials.
//!
//! Section numbers are those of RFC 9725.

use std::time::Instant;

use shards::{ShardId, media::Codec};
use str0m::{
    Candidate, IceCreds, Rtc,
    change::SdpOffer,
    config::DtlsCert,
    format::FormatParams,
    media::{Frequency, Pt},
    net::{Protocol, TcpType},
};

use super::{
    directory::{OWN_RANDOM, own_name},
    negotiate::codec_of,
    table::Way,
};
use crate::{
    protocols::whip::{Chosen, Frag, Offer},
    sessions::rtp::keys,
};

/// A str0m machine that knows what was chosen and nothing else.
pub fn machine(
    certificate: &DtlsCert,
    offer: &Offer,
    chosen: &[Option<Chosen>],
    locals: &[Way],
    creds: &IceCreds,
) -> Rtc {
    let mut config = Rtc::builder()
        // Two lite agents would wait for each other for ever.
        .set_ice_lite(!offer.is_ice_lite())
        // For viewers media is sealed here, with the keys that the handshake comes to.
        .set_crypto_provider(keys::provider())
        .set_dtls_cert(certificate.clone())
        .set_local_ice_credentials(creds.clone())
        .clear_codecs();
    let mut known: Vec<u8> = Vec::new();
    for codec in chosen.iter().flatten().map(|chosen| &chosen.codec) {
        let words = codec_of(codec).and_then(str0m_codec).zip(Frequency::new(codec.clock));
        let Some((name, clock)) = words.filter(|_| !known.contains(&codec.pt)) else { continue };
        known.push(codec.pt);
        config.codec_config().add_config(
            Pt::from(codec.pt),
            codec.rtx.map(Pt::from),
            name,
            clock,
            (codec.channels > 1).then_some(codec.channels),
            FormatParams::parse_line(&codec.format),
        );
    }
    let mut rtc = config.build(Instant::now());
    for local in locals {
        let candidate = match local.protocol {
            Protocol::Tcp => Candidate::builder().tcp().host(local.peer).tcptype(TcpType::Passive).build(),
            protocol => Candidate::host(local.peer, protocol),
        };
        if let Ok(candidate) = candidate {
            rtc.add_local_candidate(candidate);
        }
    }
    rtc
}

/// Lets str0m answer an offer.
///
/// # Errors
/// Why it cannot; for the peer.
pub fn accept(rtc: &mut Rtc, offer: &str) -> Result<String, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let offer = SdpOffer::from_sdp_string(offer).map_err(|error| wrong(&error))?;
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| wrong(&error))?;
    Ok(answer.to_sdp_string())
}

/// The fragment that tells of a restarted ICE session (§4.3.3): credentials, candidates, and what the answer says of ICE besides.
/// All sections are bundled into the first, so no other is told of.
pub fn restarted(creds: &IceCreds, answer: &str) -> String {
    const TOLD: [&str; 7] =
        ["a=ice-lite", "a=ice-options:", "a=ice-pacing:", "a=group:", "m=", "a=mid:", "a=candidate:"];
    let (mut frag, mut sections) = (String::new(), 0);
    let mut put = |line: &str| {
        frag.push_str(line);
        frag.push_str("\r\n");
    };
    for line in answer.lines().filter(|line| TOLD.iter().any(|told| line.starts_with(told))) {
        sections += usize::from(line.starts_with("m="));
        if sections > 1 {
            break;
        }
        put(line.trim_end());
        if line.starts_with("a=mid:") {
            put(&format!("a=ice-ufrag:{}", creds.ufrag));
            put(&format!("a=ice-pwd:{}", creds.pass));
        }
    }
    put("a=end-of-candidates");
    frag
}

fn str0m_codec(codec: Codec) -> Option<str0m::format::Codec> {
    use str0m::format::Codec as Other;
    Some(match codec {
        Codec::H264 => Other::H264,
        Codec::H265 => Other::H265,
        Codec::Vp8 => Other::Vp8,
        Codec::Vp9 => Other::Vp9,
        Codec::Av1 => Other::Av1,
        Codec::Opus => Other::Opus,
        Codec::PcmU => Other::PCMU,
        Codec::PcmA => Other::PCMA,
        _ => return None,
    })
}

/// A lite agent answers checks from wherever they come; candidates are noted all the same, as checks they imply. Those that are
/// of no use (other transports, names that only the client's network knows) are passed over (§4.3.2), and so are those beyond `room`.
pub fn note_candidates(rtc: &mut Rtc, frag: &Frag, room: usize) {
    for candidate in frag.candidates.iter().take(room) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate) {
            rtc.add_remote_candidate(candidate);
        }
    }
}

/// This side's ICE name and password (RFC 8445 §5.3 asks for 24 and 128 random bits). The name begins with the shard's
/// number, so that whoever reads it off a packet knows where the packet belongs.
pub fn credentials(shard: ShardId) -> IceCreds {
    const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    IceCreds { ufrag: own_name(&secret(OWN_RANDOM, ICE_CHARS), shard), pass: secret(32, ICE_CHARS) }
}

/// `len` characters that nobody can guess. `alphabet` has 16 or 64, so that each is as likely.
pub fn secret(len: usize, alphabet: &[u8]) -> String {
    let mut bytes = vec![0; len];
    // The system's generator does not fail once it is seeded, which it is before any process runs.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bytes.fill_with(|| fastrand::u8(..));
    }
    bytes
        .iter()
        .filter_map(|byte| alphabet.get(usize::from(*byte) % alphabet.len()))
        .map(|byte| char::from(*byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_told_in_one_section_with_what_the_answer_says_of_ice() {
        let creds = IceCreds { ufrag: "00abcdefghij".to_owned(), pass: "p".repeat(32) };
        let answer = "v=0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\na=ice-options:trickle\r\nm=audio 9 X 111\r\na=mid:0\r\n\
                      a=ice-ufrag:old\r\na=candidate:1 1 udp 1 192.0.2.1 8000 typ host\r\na=rtpmap:111 opus/48000/2\r\n\
                      m=video 9 X 96\r\na=mid:1\r\n";
        let told = restarted(&creds, answer);
        let expected = format!(
            "a=group:BUNDLE 0 1\r\na=ice-lite\r\na=ice-options:trickle\r\nm=audio 9 X 111\r\na=mid:0\r\n\
             a=ice-ufrag:00abcdefghij\r\na=ice-pwd:{}\r\na=candidate:1 1 udp 1 192.0.2.1 8000 typ host\r\n\
             a=end-of-candidates\r\n",
            creds.pass
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn credentials_are_as_long_as_demanded_and_begin_with_the_shard() {
        let IceCreds { ufrag, pass } = credentials(ShardId(31));
        assert!(ufrag.starts_with("1f") && ufrag.len() == 12 && pass.len() == 32, "{ufrag} {pass}");
    }
}
