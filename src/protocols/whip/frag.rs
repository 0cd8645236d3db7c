//! A fragment of a session description (RFC 8840): candidates that come later, or the wish to restart ICE.

use super::sdp::{self, is_ice};

/// The most candidates of one fragment that are looked at.
const CANDIDATES_MAX: usize = 64;

/// What a fragment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frag {
    /// The ICE session it belongs to: the sender's name and password.
    pub credentials: Option<(String, String)>,
    /// Candidates, as `a=` has them: `candidate:…`.
    pub candidates: Vec<String>,
}

impl Frag {
    /// Reads a fragment. `None`: there is nothing of ICE in it, or what there is has not the form that RFC 8839 §5.4 gives it.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut ufrag, mut pwd) = (None, None);
        let mut frag = Self::default();
        let mut ends = false;
        for (letter, value) in sdp::lines(text) {
            if letter != b'a' {
                continue;
            }
            match sdp::attribute(value) {
                ("ice-ufrag", name) => ufrag = Some(name.to_owned()),
                ("ice-pwd", word) => pwd = Some(word.to_owned()),
                ("candidate", _) if frag.candidates.len() < CANDIDATES_MAX => {
                    frag.candidates.push(value.to_owned());
                }
                ("end-of-candidates", _) => ends = true,
                _ => {}
            }
        }
        let fits = |word: &Option<String>, least: usize| {
            word.as_ref().is_none_or(|word| (least..=256).contains(&word.len()) && is_ice(word))
        };
        if ufrag.is_some() != pwd.is_some() || !fits(&ufrag, 4) || !fits(&pwd, 22) {
            return None;
        }
        frag.credentials = ufrag.zip(pwd);
        (ends || frag.credentials.is_some() || !frag.candidates.is_empty()).then_some(frag)
    }
}
