//! Which renditions get the publisher's sound as it is, and which get it in another codec.
//!
//! Derived tracks exist exactly while a rendition needs them, and are worked off by the pump, never by whoever publishes.
//! A rendition that is to start with cached pictures waits until their sound is made.

use super::Inner;
use crate::{
    media::TrackId,
    stream::{
        derive::{Derived, Made},
        rendition::Rendition,
    },
};

impl Inner {
    /// Gives each rendition the sound that it can carry, after the sound or the renditions changed.
    pub(super) fn settle_sound(&mut self) {
        for at in 0..self.renditions.len() {
            self.settle_sound_of(at);
        }
        self.drop_idle_sound();
    }

    /// The same for the rendition at `at`.
    pub(super) fn settle_sound_of(&mut self, at: usize) {
        let Some(source) = self.scene.track(TrackId::AUDIO).cloned() else {
            return self.renditions[at].0.set_sound(None);
        };
        let codec = self.renditions[at].0.sound_for(source.codec);
        let transcoding = self.options.transcoding.filter(|_| codec != source.codec);
        let track = transcoding.and_then(|transcoding| {
            let known = self.derived.iter().position(|derived| derived.codec() == codec);
            if let Some(derived) = known.map(|at| &mut self.derived[at]) {
                let same = *derived.source() == source;
                let goes_on = same || derived.change_source(&transcoding, &source);
                return goes_on.then(|| derived.track().clone());
            }
            let derived = Derived::begin(&transcoding, &source, codec, &self.gop)?;
            let track = derived.track().clone();
            self.derived.push(derived);
            Some(track)
        });
        self.renditions[at].0.set_sound(track);
    }

    /// Lets go of derived tracks that no rendition needs any more.
    pub(super) fn drop_idle_sound(&mut self) {
        let Self { derived, renditions, .. } = self;
        derived.retain(|derived| renditions.iter().any(|(rendition, _)| rendition.needs(derived)));
    }

    /// Starts the rendition at `at` with the cached group, at once or when its sound is made.
    pub(super) fn prime(&mut self, at: usize) {
        let Self { derived, renditions, gop, options, .. } = self;
        let rendition = &mut renditions[at].0;
        let own = derived.iter().find(|derived| rendition.needs(derived));
        match own {
            Some(derived) if derived.is_behind() && options.gop.enable => rendition.await_sound(),
            _ => rendition.prime(gop, own.map_or(&[], Derived::group)),
        }
    }

    /// A group begins of which some comes at once: renditions whose sound is made start when that is done, so that sound and
    /// pictures lie in order.
    pub(super) fn await_sound(&mut self) {
        let Self { derived, renditions, options, .. } = self;
        if options.gop.enable {
            for derived in &*derived {
                needing(renditions, derived).for_each(Rendition::await_sound);
            }
        }
    }

    /// Whether sound waits to be made.
    pub(in crate::stream) fn has_sound_to_make(&self) -> bool {
        self.derived.iter().any(Derived::is_behind)
    }

    /// Makes sound until all is made (`true`) or `expired` says to yield (`false`).
    pub(in crate::stream) fn make_sound(&mut self, expired: &mut dyn FnMut() -> bool) -> bool {
        let Self { derived, renditions, gop, .. } = self;
        for derived in derived {
            loop {
                match derived.step() {
                    Made::Idle => break,
                    Made::Busy => {}
                    Made::Frame(frame) => {
                        for rendition in needing(renditions, derived) {
                            rendition.sound(&frame);
                        }
                    }
                }
                if expired() {
                    return false;
                }
            }
            for rendition in needing(renditions, derived).filter(|rendition| rendition.awaits_sound()) {
                rendition.prime(gop, derived.group());
            }
        }
        true
    }
}

fn needing<'a, T>(
    renditions: &'a mut [(Rendition, T)],
    derived: &'a Derived,
) -> impl Iterator<Item = &'a mut Rendition> {
    renditions.iter_mut().map(|(rendition, _)| rendition).filter(move |rendition| rendition.needs(derived))
}
