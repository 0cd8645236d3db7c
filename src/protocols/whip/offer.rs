//! An SDP offer: read as clients write it, written as one form, and its answer completed.
//!
//! What a session takes of an offer is chosen section by section; [`Offer::distil`] writes an offer of that alone, in
//! which every section is bundled and has one codec, and [`Offer::complete`] puts the sections that were left out back into
//! the answer, refused in the form of RFC 8829 §5.3.1 (port 0).

use super::{Side, sdp};

/// The most sections that are looked at: one for sound and one for pictures is what WHIP asks for.
const MEDIA_MAX: usize = 32;
/// The longest name of a section that is kept (str0m's bound).
const MID_MAX: usize = 16;
/// The name of the one stream of media that a viewer gets: players keep in time with each other what has the same.
const STREAM: &str = "shardcast";

/// Which way a section's media goes, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

/// A codec of a section, in the offer's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedCodec {
    /// The RTP payload type.
    pub pt: u8,
    /// The payload type of its retransmissions.
    pub rtx: Option<u8>,
    /// In lower case.
    pub name: String,
    /// Ticks of the RTP clock in a second.
    pub clock: u32,
    /// Of sound; 1 when not told.
    pub channels: u8,
    /// The parameters of `a=fmtp`.
    pub format: String,
}

/// One section that begins with `m=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `application` …
    pub kind: String,
    /// Its name.
    pub mid: String,
    /// What its sender wants to do.
    pub direction: Direction,
    /// Its codecs, those without a known name left out.
    pub codecs: Vec<OfferedCodec>,
    /// The layers that its sender sends, by their names.
    pub layers: Vec<String>,
    /// Whether the offer itself refuses it: port 0 outside the bundle.
    pub is_refused: bool,
    /// Whether RTCP shares its port.
    pub has_rtcp_mux: bool,
    /// Whether packets can be told to be of this section by what they carry, or by SSRCs that the offer names.
    pub is_signalled: bool,
    line: String,
    lines: Vec<(u8, String)>,
}

/// What is taken of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The one codec.
    pub codec: OfferedCodec,
}

/// Why a text is no offer that could be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not a session description at all.
    #[error("the body is no SDP: it does not begin with v=0")]
    NotSdp,
    /// Nothing to talk about.
    #[error("the offer has no m= line")]
    NoMedia,
    /// More sections than anybody needs.
    #[error("the offer has more than {MEDIA_MAX} m= lines")]
    TooMany,
    /// No ICE name and password.
    #[error("the offer has no a=ice-ufrag and a=ice-pwd")]
    NoIce,
    /// No certificate to expect.
    #[error("the offer has no a=fingerprint: only encrypted media is taken")]
    NoFingerprint,
    /// Two ports where one is demanded (RFC 9725 §4.4.2).
    #[error("the offer's media does not share one port: a=group:BUNDLE is missing")]
    NoBundle,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    lines: Vec<(u8, String)>,
    media: Vec<Media>,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// What it lacks.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        let mut lines = sdp::lines(text);
        if lines.next().is_none_or(|(letter, _)| letter != b'v') {
            return Err(OfferError::NotSdp);
        }
        let mut offer = Self { lines: Vec::new(), media: Vec::new() };
        for (letter, value) in lines {
            if letter == b'm' {
                if offer.media.len() == MEDIA_MAX {
                    return Err(OfferError::TooMany);
                }
                offer.media.push(Media::new(value));
                continue;
            }
            let place = offer.media.last_mut().map_or(&mut offer.lines, |media| &mut media.lines);
            place.push((letter, value.to_owned()));
        }
        if offer.media.is_empty() {
            return Err(OfferError::NoMedia);
        }
        let bundle: Vec<&str> = offer.bundle().collect();
        if bundle.is_empty() && offer.media.len() > 1 {
            return Err(OfferError::NoBundle);
        }
        let bundle: Vec<String> = bundle.into_iter().map(str::to_owned).collect();
        let session_direction = direction(&offer.lines);
        for (index, media) in offer.media.iter_mut().enumerate() {
            media.understand(index, &bundle, session_direction);
        }
        offer.credentials().ok_or(OfferError::NoIce)?;
        offer.attribute("fingerprint").ok_or(OfferError::NoFingerprint)?;
        Ok(offer)
    }

    /// The sections.
    pub fn media(&self) -> &[Media] {
        &self.media
    }

    /// The offerer's ICE name and password.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.attribute("ice-ufrag").zip(self.attribute("ice-pwd"))
    }

    /// Whether the offerer only answers checks.
    pub fn is_ice_lite(&self) -> bool {
        self.lines.iter().any(|(letter, value)| *letter == b'a' && value == "ice-lite")
    }

    fn bundle(&self) -> impl Iterator<Item = &str> {
        sdp::all(&self.lines, "group")
            .filter_map(|group| group.split_once(' '))
            .filter(|(kind, _)| kind.eq_ignore_ascii_case("BUNDLE"))
            .flat_map(|(_, mids)| mids.split_ascii_whitespace())
    }

    /// An attribute of the session, or of the first section that has it.
    fn attribute<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        sdp::find(&self.lines, name)
            .or_else(|| self.media.iter().find_map(|media| sdp::find(&media.lines, name)))
    }

    /// Writes the offer of one `side` with what `chosen` says of each section; `None` leaves a section out. `credentials`
    /// replace the offerer's: an ICE restart. Media goes one way only, so that the answer says so (RFC 9725 §4.2); what viewers
    /// get is one stream of media, whose name the answer takes from here (WHEP §4.5.2).
    pub fn distil(&self, side: Side, chosen: &[Option<Chosen>], credentials: Option<(&str, &str)>) -> String {
        let (ufrag, pwd) = credentials.or_else(|| self.credentials()).unwrap_or_default();
        let taken: Vec<_> = self
            .media
            .iter()
            .zip(chosen)
            .filter_map(|(media, chosen)| Some((media, chosen.as_ref()?)))
            .collect();
        let mut out = String::from("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
        let mut put = |line: &str| {
            out.push_str(line);
            out.push_str("\r\n");
        };
        let mids: Vec<&str> = taken.iter().map(|(media, _)| media.mid.as_str()).collect();
        put(&format!("a=group:BUNDLE {}", mids.join(" ")));
        if self.is_ice_lite() {
            put("a=ice-lite");
        }
        for (media, chosen) in taken {
            media.distil(side, chosen, &mut put);
            put(&format!("a=ice-ufrag:{ufrag}"));
            put(&format!("a=ice-pwd:{pwd}"));
            for name in ["fingerprint", "setup"] {
                let own = sdp::find(&media.lines, name).or_else(|| self.attribute(name));
                own.iter().for_each(|value| put(&format!("a={name}:{value}")));
            }
        }
        out
    }

    /// Puts the sections that were left out back into an answer, refused; in the others RTCP has no other way than beside its
    /// media (RFC 9725 §4.4.1).
    pub fn complete(&self, answer: &str, chosen: &[Option<Chosen>]) -> String {
        let mut parts = answer.split("\r\nm=");
        let mut out = parts.next().unwrap_or_default().trim_end().to_owned();
        out.push_str("\r\n");
        for (media, chosen) in self.media.iter().zip(chosen) {
            match (chosen, chosen.as_ref().and_then(|_| parts.next())) {
                (Some(_), Some(part)) => {
                    out.push_str("m=");
                    for line in part.trim_end().lines() {
                        out.push_str(line);
                        out.push_str("\r\n");
                        if line == "a=rtcp-mux" {
                            out.push_str("a=rtcp-mux-only\r\n");
                        }
                    }
                }
                _ => media.refuse(&mut out),
            }
        }
        out
    }
}

impl Media {
    fn new(line: &str) -> Self {
        Self {
            kind: line.split(' ').next().unwrap_or_default().to_ascii_lowercase(),
            mid: String::new(),
            direction: Direction::SendRecv,
            codecs: Vec::new(),
            layers: Vec::new(),
            is_refused: false,
            has_rtcp_mux: false,
            is_signalled: false,
            line: line.to_owned(),
            lines: Vec::new(),
        }
    }

    fn understand(&mut self, index: usize, bundle: &[String], session: Option<Direction>) {
        let mid = sdp::find(&self.lines, "mid").unwrap_or_default().to_owned();
        let words: Vec<&str> = self.line.split_ascii_whitespace().collect();
        self.is_refused = words.get(1) == Some(&"0") && !bundle.contains(&mid);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        self.mid = match mid.is_empty() || mid.len() > MID_MAX || !mid.chars().all(is_name) {
            true => format!("section{index}"),
            false => mid,
        };
        self.direction = direction(&self.lines).or(session).unwrap_or(Direction::SendRecv);
        self.has_rtcp_mux = sdp::find(&self.lines, "rtcp-mux").is_some();
        let names_itself = sdp::all(&self.lines, "extmap").any(|map| map.contains("rtp-hdrext:sdes:mid"));
        self.is_signalled = names_itself || sdp::find(&self.lines, "ssrc").is_some();
        self.codecs = self.read_codecs(words.get(3..).unwrap_or_default());
        self.layers = sdp::find(&self.lines, "simulcast").map(send_layers).unwrap_or_default();
    }

    fn read_codecs(&self, formats: &[&str]) -> Vec<OfferedCodec> {
        let of = |name, pt: &str| {
            sdp::all(&self.lines, name)
                .filter_map(|value| value.split_once(' '))
                .find(|(found, _)| *found == pt)
                .map(|(_, value)| value.trim())
        };
        let mut codecs: Vec<OfferedCodec> = Vec::new();
        for pt in formats.iter().take(128) {
            let Some(number) = pt.parse().ok().filter(|number| *number < 128_u8) else { continue };
            let implied = match number {
                0 => Some("PCMU/8000"),
                8 => Some("PCMA/8000"),
                _ => None,
            };
            let Some(map) = of("rtpmap", pt).or(implied) else { continue };
            let mut parts = map.split('/');
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let Some(clock) = parts.next().and_then(|clock| clock.trim().parse().ok()) else { continue };
            let channels = parts.next().and_then(|channels| channels.trim().parse().ok()).unwrap_or(1);
            let format = of("fmtp", pt).unwrap_or_default().to_owned();
            if !codecs.iter().any(|codec| codec.pt == number) {
                codecs.push(OfferedCodec { pt: number, rtx: None, name, clock, channels, format });
            }
        }
        let resends: Vec<(u8, u8)> = codecs
            .iter()
            .filter(|codec| codec.name == "rtx")
            .filter_map(|codec| Some((parameter(&codec.format, "apt")?.parse().ok()?, codec.pt)))
            .collect();
        codecs.retain(|codec| codec.name != "rtx");
        for codec in &mut codecs {
            codec.rtx = resends.iter().find(|(of, _)| *of == codec.pt).map(|(_, rtx)| *rtx);
        }
        codecs
    }

    fn distil(&self, side: Side, chosen: &Chosen, put: &mut impl FnMut(&str)) {
        let OfferedCodec { pt, rtx, name, clock, channels, format } = &chosen.codec;
        let formats = match rtx {
            Some(rtx) => format!("{pt} {rtx}"),
            None => pt.to_string(),
        };
        put(&format!("m={} 9 UDP/TLS/RTP/SAVPF {formats}", self.kind));
        put("c=IN IP4 0.0.0.0");
        put(&format!("a=mid:{}", self.mid));
        match side {
            Side::Publish => put("a=sendonly"),
            Side::Play => {
                put("a=recvonly");
                put(&format!("a=msid:{STREAM} {}", self.kind));
            }
        }
        put("a=rtcp-mux");
        put("a=rtcp-rsize");
        let channels = if *channels > 1 { format!("/{channels}") } else { String::new() };
        put(&format!("a=rtpmap:{pt} {name}/{clock}{channels}"));
        if !format.is_empty() {
            put(&format!("a=fmtp:{pt} {format}"));
        }
        for value in sdp::all(&self.lines, "rtcp-fb") {
            if let Some((of, what)) =
                value.split_once(' ').filter(|(of, _)| *of == pt.to_string() || *of == "*")
                && matches!(what.trim(), "nack" | "nack pli" | "ccm fir" | "transport-cc" | "goog-remb")
            {
                let _ = of;
                put(&format!("a=rtcp-fb:{pt} {}", what.trim()));
            }
        }
        if let Some(rtx) = rtx {
            put(&format!("a=rtpmap:{rtx} rtx/{clock}"));
            put(&format!("a=fmtp:{rtx} apt={pt}"));
        }
        for name in ["extmap", "rid", "simulcast", "ssrc-group", "ssrc"] {
            for value in sdp::all(&self.lines, name) {
                put(&format!("a={name}:{value}"));
            }
        }
    }

    /// The section as it stands in an answer that does not take it.
    fn refuse(&self, out: &mut String) {
        let mut words = self.line.split_ascii_whitespace();
        let kind = words.next().unwrap_or("audio");
        let protocol = words.nth(1).unwrap_or("UDP/TLS/RTP/SAVPF");
        // One format is enough, and a line without any is malformed (RFC 8866 §9).
        let format = words.next().unwrap_or("0");
        out.push_str(&format!("m={kind} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n"));
        out.push_str(&format!("a=mid:{}\r\n", self.mid));
        // It need not be explained (RFC 3264 §6), but some clients mind when it is not.
        let explained = sdp::all(&self.lines, "rtpmap")
            .find(|map| map.split_once(' ').is_some_and(|(found, _)| found == format));
        if let Some(map) = explained {
            out.push_str(&format!("a=rtpmap:{map}\r\n"));
        }
    }
}

/// A parameter of `a=fmtp`: `name=value`, parted by semicolons.
fn parameter<'a>(format: &'a str, name: &str) -> Option<&'a str> {
    let pairs = format.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim(), value.trim())).find(|(found, _)| *found == name).map(|(_, v)| v)
}

/// The layers that `a=simulcast` says are sent; of alternatives the first, paused ones too.
fn send_layers(value: &str) -> Vec<String> {
    let mut words = value.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let list = words.next().unwrap_or_default();
        if word == "send" {
            let layers = list.split(';').filter_map(|layer| layer.split(',').next());
            return layers.map(|layer| layer.trim_start_matches('~').to_owned()).take(8).collect();
        }
    }
    Vec::new()
}

fn direction(lines: &[(u8, String)]) -> Option<Direction> {
    lines.iter().filter(|(letter, _)| *letter == b'a').find_map(|(_, value)| match value.as_str() {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    })
}

impl OfferedCodec {
    /// A parameter of `a=fmtp`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.format, name)
    }
}
