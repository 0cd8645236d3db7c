//! Notifications that are still to be told: in order for each client, again with growing pauses, and never too many.
//!
//! A lane is one client at one URL. Its notes go out one after the other, so that nobody hears of an end before its beginning;
//! other lanes do not wait for it. Pure: time is an argument.
//! Invariant: a lane is due, or out with a worker, exactly while it has notes; `waiting` is the sum of all.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// One client at one URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// Where its notes go.
    pub url: Arc<str>,
    /// Whom they are about.
    pub client: Arc<str>,
}

/// How often and how long, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Tries after the first.
    pub retries: u32,
    /// Before the second try; each further pause is twice as long, thirty seconds at most.
    pub pause: Duration,
    /// Notes that wait, of all lanes.
    pub waiting_max: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: HashMap<Lane, Queue>,
    due: BTreeSet<(Instant, Lane)>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Queue {
    notes: VecDeque<Arc<str>>,
    /// Of the first note.
    failures: u32,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The note was heard.
    Told,
    /// It will be tried again.
    Again,
    /// It was given up.
    Dropped,
}

impl Outbox {
    /// Notes that wait, those that are out with a worker included.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Adds a note; false if there is no room for it.
    pub fn push(&mut self, lane: Lane, note: Arc<str>, patience: &Patience, now: Instant) -> bool {
        if self.waiting >= patience.waiting_max {
            return false;
        }
        self.waiting += 1;
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.notes.push_back(note);
        if queue.notes.len() == 1 {
            self.due.insert((now, lane));
        }
        true
    }

    /// A note whose time has come. Its lane is out until [`done`](Self::done).
    pub fn take(&mut self, now: Instant) -> Option<(Lane, Arc<str>)> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, lane) = self.due.pop_first()?;
        let note = Arc::clone(self.lanes.get(&lane)?.notes.front()?);
        Some((lane, note))
    }

    /// When the next note may be due.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A try came to its end.
    pub fn done(&mut self, lane: Lane, heard: bool, patience: &Patience, now: Instant) -> Outcome {
        let Some(queue) = self.lanes.get_mut(&lane) else { return Outcome::Dropped };
        if !heard && queue.failures < patience.retries {
            let factor = 1_u32.checked_shl(queue.failures).unwrap_or(u32::MAX);
            queue.failures += 1;
            let pause = patience.pause.saturating_mul(factor).min(PAUSE_MAX);
            self.due.insert((now + pause, lane));
            return Outcome::Again;
        }
        queue.notes.pop_front();
        queue.failures = 0;
        self.waiting -= 1;
        if queue.notes.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.due.insert((now, lane));
        }
        if heard { Outcome::Told } else { Outcome::Dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { retries: 2, pause: Duration::from_millis(500), waiting_max: 5 };

    fn lane(url: &str, client: &str) -> Lane {
        Lane { url: Arc::from(url), client: Arc::from(client) }
    }

    fn push(outbox: &mut Outbox, lane: Lane, note: &str, now: Instant) -> bool {
        outbox.push(lane, Arc::from(note), &PATIENCE, now)
    }

    #[test]
    fn a_client_is_told_of_in_order_and_others_do_not_wait_for_it() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        push(&mut outbox, lane("u", "a"), "stop", now);
        push(&mut outbox, lane("u", "a"), "close", now);
        push(&mut outbox, lane("u", "b"), "stop b", now);
        let (first, note) = outbox.take(now).unwrap();
        assert_eq!((&*first.client, &*note), ("a", "stop"));
        let (second, note) = outbox.take(now).unwrap();
        assert_eq!((&*second.client, &*note), ("b", "stop b"));
        assert_eq!(outbox.take(now), None, "the first client's end waits for its stop");
        assert_eq!(outbox.done(first, true, &PATIENCE, now), Outcome::Told);
        let (first, note) = outbox.take(now).unwrap();
        assert_eq!(&*note, "close");
        outbox.done(first, true, &PATIENCE, now);
        outbox.done(second, true, &PATIENCE, now);
        assert_eq!((outbox.len(), outbox.next()), (0, None));
        assert!(outbox.lanes.is_empty());
    }

    #[test]
    fn what_is_not_heard_is_tried_again_ever_later_and_then_given_up() {
        let (mut outbox, mut now) = (Outbox::default(), Instant::now());
        push(&mut outbox, lane("u", "a"), "stop", now);
        push(&mut outbox, lane("u", "a"), "close", now);
        let mut pauses = Vec::new();
        loop {
            let (lane, note) = outbox.take(now).expect("it is due");
            assert_eq!(&*note, "stop");
            match outbox.done(lane, false, &PATIENCE, now) {
                Outcome::Again => {}
                outcome => {
                    assert_eq!(outcome, Outcome::Dropped);
                    break;
                }
            }
            assert_eq!(outbox.take(now), None);
            let next = outbox.next().unwrap();
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(pauses, [Duration::from_millis(500), Duration::from_secs(1)]);
        let (lane, note) = outbox.take(now).expect("the next one has its own tries");
        assert_eq!(&*note, "close");
        assert_eq!(outbox.done(lane, false, &PATIENCE, now), Outcome::Again);
    }

    #[test]
    fn pauses_do_not_grow_for_ever() {
        let patience = Patience { retries: 100, ..PATIENCE };
        let (mut outbox, mut now) = (Outbox::default(), Instant::now());
        push(&mut outbox, lane("u", "a"), "stop", now);
        for _ in 0..100 {
            let (lane, _) = outbox.take(now).unwrap();
            outbox.done(lane, false, &patience, now);
            let next = outbox.next().unwrap();
            assert!(next - now <= PAUSE_MAX);
            now = next;
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_again_when_some_are_told() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let pushed = (0..8).filter(|n| push(&mut outbox, lane("u", &n.to_string()), "stop", now)).count();
        assert_eq!(pushed, PATIENCE.waiting_max);
        let (lane_0, _) = outbox.take(now).unwrap();
        assert!(!push(&mut outbox, lane("u", "x"), "stop", now), "what is out is not told yet");
        outbox.done(lane_0, true, &PATIENCE, now);
        assert!(push(&mut outbox, lane("u", "x"), "stop", now));
    }
}
