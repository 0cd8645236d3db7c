//! WebRTC signalling: WHIP (RFC 9725), WHEP (draft-ietf-wish-whep) and SRS's forms of both; SDP offers of every client.
//!
//! A [`Door`] is a path where signalling is spoken; with a request's body it becomes a [`Call`]. An [`Offer`] is read
//! tolerantly and written strictly ([`Offer::distil`]), so that what works with it meets one form only. Text in, text
//! and values out; who answers, and with what, is decided elsewhere.
//! Invariant: whatever a peer sends is bounded, and never a panic.

mod call;
mod frag;
mod offer;
mod sdp;
pub mod stun;
#[cfg(test)]
mod tests;

pub use call::{Call, CallError, Door, ENDPOINT_METHODS, Form, SESSION_METHODS, Side, Verb};
pub use frag::Frag;
pub use offer::{Chosen, Direction, Media, Offer, OfferError, OfferedCodec};

/// Feeds `data` to every reader here; for fuzzing. Nothing may panic.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    stun::local_ufrag(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Frag::parse(text);
    if let Ok(offer) = Offer::parse(text) {
        let all: Vec<Option<Chosen>> = offer
            .media()
            .iter()
            .map(|media| media.codecs.first().map(|codec| Chosen { codec: codec.clone() }))
            .collect();
        let clean = offer.distil(Side::Publish, &all, None);
        for clean in [&clean, &offer.distil(Side::Play, &all, None)] {
            let again = Offer::parse(clean);
            assert!(again.is_ok() || all.iter().all(Option::is_none), "what is distilled can be read");
        }
        offer.complete(&clean, &all);
    }
}
