//! Publishers whose offers say nothing by which a packet could be told to be of a section: no SSRC lines, and no header
//! extension that names the section. Some encoders are such. Then the payload type tells, where it is one section's alone.
//!
//! What is read here has not been authenticated yet, so only so many sources are believed.

use str0m::{Rtc, media::Mid, rtp::Ssrc};

use crate::protocols::whip::{Chosen, Offer};

/// The most sources of one session: an encoder that restarts takes new ones.
const SOURCES_MAX: usize = 16;

/// A section that says nothing of its sources.
struct Section {
    mid: Mid,
    pt: u8,
    rtx: Option<u8>,
    /// Its newest source of media.
    main: Option<u32>,
}

/// See the module.
pub struct Unsignalled {
    sections: Vec<Section>,
    known: Vec<u32>,
}

impl Unsignalled {
    /// The sections of an offer that need it; `None` when none does.
    pub fn of(offer: &Offer, chosen: &[Option<Chosen>]) -> Option<Self> {
        let taken =
            || offer.media().iter().zip(chosen).filter_map(|(media, chosen)| Some((media, chosen.as_ref()?)));
        let is_alone = |pt: u8| taken().filter(|(_, chosen)| chosen.codec.pt == pt).count() == 1;
        let sections: Vec<Section> = taken()
            .filter(|(media, chosen)| !media.is_signalled && is_alone(chosen.codec.pt))
            .map(|(media, chosen)| Section {
                mid: Mid::from(media.mid.as_str()),
                pt: chosen.codec.pt,
                rtx: chosen.codec.rtx,
                main: None,
            })
            .collect();
        (!sections.is_empty()).then_some(Self { sections, known: Vec::new() })
    }

    /// Looks at a datagram; a source that is new is made known to str0m.
    pub fn look(&mut self, datagram: &[u8], rtc: &mut Rtc) {
        // RFC 3550 section 5.1; the payload types of RTCP are those that RFC 5761 section 4 keeps free.
        let [128..=191, second, _, _, _, _, _, _, a, b, c, d, ..] = *datagram else { return };
        let (pt, ssrc) = (second & 0x7f, u32::from_be_bytes([a, b, c, d]));
        if (64..96).contains(&pt) || self.known.contains(&ssrc) || self.known.len() == SOURCES_MAX {
            return;
        }
        let Some(section) =
            self.sections.iter_mut().find(|section| section.pt == pt || section.rtx == Some(pt))
        else {
            return;
        };
        let (main, rtx) = match section.main {
            _ if section.pt == pt => (ssrc, None),
            // Retransmissions mean something only beside what they repeat.
            Some(main) => (main, Some(ssrc)),
            None => return,
        };
        section.main = Some(main);
        self.known.push(ssrc);
        rtc.direct_api().expect_stream_rx(Ssrc::from(main), rtx.map(Ssrc::from), section.mid, None);
    }
}
