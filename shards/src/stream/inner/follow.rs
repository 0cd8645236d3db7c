//! Mirrors: what the owner tells them, and how a mirror follows.

use std::time::{Duration, Instant};

use super::{
    Inner,
    seat::{Phase, Seat},
};
use crate::{
    media::{Timestamp, TrackId},
    stream::{
        Scene, Totals,
        gop::{Changed, Entry},
        step::Step,
        tap::{Relay, Tap},
    },
};

impl Inner {
    // At the owner.

    /// A mirror follows from here on; one that followed under the same `id` no longer does.
    pub(in crate::stream) fn tap(&mut self, id: u16, relay: Box<dyn Relay>) {
        self.untap(id, &Totals::default());
        let mut tap = Tap::new(id, relay, self.options.ring.bytes_max);
        if let Some(seat) = &self.seat {
            tap.note(Step::Seated(seat.party.clone()));
        }
        if matches!(self.phase, Phase::Running) {
            tap.note_all(self.so_far(self.timeline.last().unwrap_or_default()).into_iter());
        }
        // At once: somebody waits there.
        tap.send();
        self.taps.push(tap);
    }

    /// The mirror `id` follows no longer; its viewers came to `totals`.
    pub(in crate::stream) fn untap(&mut self, id: u16, totals: &Totals) {
        self.elsewhere.add(totals);
        self.mirror_skips += self.taps.extract_if(.., |tap| tap.id == id).map(|tap| tap.skips).sum::<u64>();
    }

    /// How long frames gather before mirrors get them.
    pub(in crate::stream) fn set_gathered(&mut self, gathered: Duration) {
        self.taps.iter_mut().for_each(|tap| tap.set_gathered(gathered));
    }

    /// How many mirrors follow.
    pub(in crate::stream) fn taps(&self) -> usize {
        self.taps.len()
    }

    /// A running stream as steps: the newest group so far, or at least what it consists of.
    pub(super) fn so_far(&self, at: Timestamp) -> Vec<Step> {
        let Some((scene, start, entries)) = self.gop.group() else {
            return vec![Step::Describe { scene: self.scene.clone(), at }];
        };
        let mut steps = vec![Step::Open { scene: scene.clone(), at: start }];
        steps.extend(entries.map(|entry| match entry {
            Entry::Frame(frame) => Step::Frame(frame.clone()),
            Entry::Change(change) => Step::Change(change.clone()),
        }));
        steps
    }

    // At a mirror.

    /// It is a mirror: it has no publisher of its own.
    pub(in crate::stream) fn become_mirror(&mut self) {
        self.mirror = true;
    }

    /// Whether it is a mirror.
    pub(in crate::stream) fn is_mirror(&self) -> bool {
        self.mirror
    }

    /// Whether a joiner could start.
    pub(in crate::stream) fn has_group(&self) -> bool {
        self.gop.group().is_some()
    }

    /// Does what the owner did.
    pub(in crate::stream) fn follow(&mut self, steps: Vec<Step>, now: Instant) {
        for step in steps {
            self.take_step(step, now);
        }
    }

    fn take_step(&mut self, step: Step, now: Instant) {
        match step {
            Step::Seated(party) => {
                self.seat = Some(Seat { token: 0, party, since: now, waker: None });
                self.phase = Phase::Idle;
                self.gop.begin_gathering();
            }
            Step::Open { scene, at } => {
                let begins = !matches!(self.phase, Phase::Running);
                // Sound in another codec is not made of the old group.
                self.gop.clear();
                self.run_on(scene);
                self.cache_group(at);
                if begins {
                    self.await_sound();
                }
                self.open_group(at);
            }
            Step::Frame(frame) => {
                self.frames[frame.track.kind as usize] += 1;
                self.bytes_in += frame.payload.len() as u64;
                let fits = self.cache(&frame);
                self.pass(&frame);
                if !fits {
                    self.forget_group();
                }
            }
            Step::Change(change) => {
                self.scene.replay(&change);
                if matches!(&change.what, Changed::Track(track) if track.id == TrackId::AUDIO) {
                    self.settle_sound();
                }
                let fits = self.gop.change(&change);
                for (rendition, _) in &mut self.renditions {
                    rendition.change(&self.scene, &change);
                }
                if !fits {
                    self.forget_group();
                }
            }
            Step::Describe { scene, at } => {
                self.run_on(scene);
                for (rendition, _) in &mut self.renditions {
                    rendition.describe(&self.scene, at);
                }
            }
            Step::Forget => self.forget_group(),
            Step::Vacant => {
                self.seat = None;
                self.vacate(now);
            }
        }
    }

    fn run_on(&mut self, scene: Scene) {
        self.phase = Phase::Running;
        let sound = self.scene.track(TrackId::AUDIO) != scene.track(TrackId::AUDIO);
        self.scene = scene;
        if sound {
            self.settle_sound();
        }
        // The owner gathered what had to be gathered.
        self.gop.end_gathering();
    }
}
