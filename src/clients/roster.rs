//! The clients of one shard, with what each has come to.
//!
//! Who wants to know reads each client's [`Meter`]; nothing is written while media flows. Rates come from samples that the
//! shard's tick takes, of a part of the roster each time, so that no tick is long.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use shards::{ShardId, media::Timestamp};
use slab::Slab;

use super::{
    Card, Role,
    window::{STEP, Window},
};
use crate::conn_id::ConnId;

/// How often a client is looked at in the time from one sample to the next: who is a moment early is not asked again a whole
/// step later.
const VISITS: f64 = 4.0;
/// The target of the lines about sessions that ended, one each: where they go is up to the log.
pub const SESSIONS: &str = "sessions";

/// What a viewer by WebRTC tells of what reaches it (RFC 3550 §6.4.1), and what was done about it. Counters are since it came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reception {
    /// The share of packets that its last report calls lost, 0 to 1.
    pub loss: f32,
    /// The last report's jitter.
    pub jitter: Duration,
    /// There and back, where that could be measured.
    pub round_trip: Option<Duration>,
    /// Packets that it asked for again.
    pub missed: u64,
    /// Of these, those that were still there to be sent.
    pub resent: u64,
    /// Keyframes that it asked for.
    pub key_requests: u64,
    /// Trains of datagrams that the system would not send to it.
    pub refused: u64,
}

/// What one client has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Bytes of the wire from it since its connection began.
    pub bytes_in: u64,
    /// Bytes of the wire to it, likewise.
    pub bytes_out: u64,
    /// How far a viewer is behind its stream, in media time.
    pub lag: Timestamp,
    /// How often a viewer was overtaken and skipped to a keyframe.
    pub skips: u64,
    /// What it tells of its reception; of viewers by WebRTC.
    pub reception: Option<Reception>,
}

/// Where a client's figures are read.
pub trait Meter {
    /// They, as they are now.
    fn read(&self) -> Reading;
}

/// A client as it is at one moment.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who it is.
    pub card: Arc<Card>,
    /// The shard that serves it.
    pub shard: ShardId,
    /// What it has come to.
    pub reading: Reading,
    /// Bits a second from it over the last half minute.
    pub rate_in: u64,
    /// Bits a second to it.
    pub rate_out: u64,
}

struct Record {
    card: Arc<Card>,
    meter: Box<dyn Meter>,
    window: Window,
}

impl Record {
    fn entry(&self, shard: ShardId, now: Instant) -> Entry {
        let reading = self.meter.read();
        let (rate_in, rate_out) = self.window.rates(now, (reading.bytes_in, reading.bytes_out));
        Entry { card: Arc::clone(&self.card), shard, reading, rate_in, rate_out }
    }
}

/// See the module.
#[derive(Default)]
pub struct Roster {
    records: RefCell<Slab<Record>>,
    /// Where sampling goes on.
    sampled: Cell<usize>,
    /// When sampling was here last.
    sampled_at: Cell<Option<Instant>>,
    /// Publishers and players.
    counts: Cell<(usize, usize)>,
    /// Clients since the start.
    enrolled: Cell<u64>,
}

/// A client's place on the roster; free again when dropped.
pub struct Enrolled {
    roster: Rc<Roster>,
    slot: usize,
    card: Arc<Card>,
    end: Option<End>,
}

/// Why a client left, and how often it was overtaken.
#[derive(Clone, Debug, Default)]
struct End {
    why: String,
    skips: u64,
}

impl Roster {
    /// A client's wish is granted.
    pub fn enroll(self: &Rc<Self>, card: Card, meter: Box<dyn Meter>) -> Enrolled {
        let (card, reading) = (Arc::new(card), meter.read());
        let window = Window::new(card.began, (reading.bytes_in, reading.bytes_out));
        let record = Record { card: Arc::clone(&card), meter, window };
        let slot = self.records.borrow_mut().insert(record);
        self.count(card.kind.role(), 1);
        self.enrolled.set(self.enrolled.get() + 1);
        Enrolled { roster: Rc::clone(self), slot, card, end: None }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.borrow().is_empty()
    }

    /// How many there have been since the start, those that are here included.
    pub fn enrolled(&self) -> u64 {
        self.enrolled.get()
    }

    /// How many publish, and how many play.
    pub fn counts(&self) -> (usize, usize) {
        self.counts.get()
    }

    fn count(&self, role: Role, change: isize) {
        let (mut publishers, mut players) = self.counts.get();
        let of_role = if role == Role::Publish { &mut publishers } else { &mut players };
        *of_role = of_role.saturating_add_signed(change);
        self.counts.set((publishers, players));
    }

    /// The client that has this id.
    pub fn find(&self, id: ConnId, shard: ShardId, now: Instant) -> Option<Entry> {
        let records = self.records.borrow();
        let mut all = records.iter().map(|(_, record)| record);
        all.find(|record| record.card.id == id).map(|record| record.entry(shard, now))
    }

    /// The clients at the places from `from` on that `wanted` wants, at most `places` of them looked at, into `into`. Gives
    /// the place to go on from; `None` when these were the last.
    pub fn list(
        &self,
        from: usize,
        places: usize,
        wanted: impl Fn(&Card) -> bool,
        shard: ShardId,
        into: &mut Vec<Entry>,
    ) -> Option<usize> {
        let (records, now) = (self.records.borrow(), Instant::now());
        let end = from.saturating_add(places).min(records.capacity());
        let some = (from..end).filter_map(|slot| records.get(slot));
        into.extend(some.filter(|record| wanted(&record.card)).map(|record| record.entry(shard, now)));
        (end < records.capacity()).then_some(end)
    }

    /// Time passes: looks at as many clients as it takes to have been at all of them [`VISITS`] times in a [`STEP`].
    pub fn tick(&self, now: Instant) {
        let elapsed = self.sampled_at.replace(Some(now)).map(|last| now.saturating_duration_since(last));
        let mut records = self.records.borrow_mut();
        let (places, share) =
            (records.capacity(), elapsed.unwrap_or_default().as_secs_f64() * VISITS / STEP.as_secs_f64());
        let due = (places as f64 * share).ceil().min(places as f64) as usize;
        let mut at = self.sampled.get();
        for _ in 0..due {
            at = if at + 1 < places { at + 1 } else { 0 };
            if let Some(record) = records.get_mut(at) {
                let reading = record.meter.read();
                record.window.sample(now, (reading.bytes_in, reading.bytes_out));
            }
        }
        self.sampled.set(at);
    }
}

impl Enrolled {
    /// Who it is.
    pub fn card(&self) -> &Arc<Card> {
        &self.card
    }

    /// The client leaves, for this reason, after it was overtaken so often.
    pub fn leave(mut self, why: &str, skips: u64) {
        self.note_end(why, skips);
    }

    /// It is about to leave.
    pub fn note_end(&mut self, why: &str, skips: u64) {
        self.end = Some(End { why: why.to_owned(), skips });
    }

    /// The line about it in the log of sessions.
    fn tell(&self, reading: Reading) {
        // Only a panic leaves no reason.
        let End { why, skips } =
            self.end.clone().unwrap_or_else(|| End { why: "it was cut off".to_owned(), skips: 0 });
        let Card { id, peer, ip, kind, key, said, began, .. } = &*self.card;
        // Without its parameters, where secrets are.
        let page = said.page_url.split(['?', '#']).next().unwrap_or_default();
        tracing::info!(target: SESSIONS, conn = %id, stream = %key, role = kind.role().name(),
            protocol = kind.protocol(), %ip, %peer, agent = said.user_agent, page,
            seconds = (began.elapsed().as_secs_f64() * 1e3).round() / 1e3, bytes_in = reading.bytes_in,
            bytes_out = reading.bytes_out, skips, "ended: {why}");
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let record = self.roster.records.borrow_mut().try_remove(self.slot);
        self.roster.count(self.card.kind.role(), -1);
        self.tell(record.map(|record| record.meter.read()).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::Kind, *};
    use crate::clients::Said;

    /// A connection that carries a kilobyte each time it is looked at.
    struct Steady(Rc<Cell<u64>>);

    impl Meter for Steady {
        fn read(&self) -> Reading {
            Reading { bytes_out: self.0.get(), ..Reading::default() }
        }
    }

    fn enroll(roster: &Rc<Roster>, kind: Kind, key: &str) -> (Enrolled, Rc<Cell<u64>>) {
        let (peer, bytes) = (([127, 0, 0, 1], 9).into(), Rc::new(Cell::new(0)));
        let key = key.parse().expect("a key");
        let card = Card::new(ConnId::random(), peer, peer.ip(), kind, &key, Said::default());
        (roster.enroll(card, Box::new(Steady(Rc::clone(&bytes)))), bytes)
    }

    fn list(roster: &Roster, wanted: impl Fn(&Card) -> bool) -> Vec<ConnId> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            from = roster.list(at, 3, &wanted, ShardId(0), &mut all);
        }
        all.iter().map(|entry| entry.card.id).collect()
    }

    #[test]
    fn a_client_is_on_the_roster_exactly_while_it_is_enrolled() {
        let roster = Rc::new(Roster::default());
        let (publisher, _) = enroll(&roster, Kind::RtmpEncoder, "live/a");
        let players: Vec<_> = (0..10).map(|_| enroll(&roster, Kind::FlvPlay, "live/a").0).collect();
        let (other, _) = enroll(&roster, Kind::WhepPlay, "live/b");
        assert_eq!((roster.len(), roster.counts(), roster.enrolled()), (12, (1, 11), 12));
        assert_eq!(list(&roster, |_| true).len(), 12);
        assert_eq!(list(&roster, |card| card.key.as_str() == "live/b"), [other.card().id]);
        assert!(roster.find(publisher.card().id, ShardId(0), Instant::now()).is_some());
        let gone = players[3].card().id;
        drop(players);
        assert!(roster.find(gone, ShardId(0), Instant::now()).is_none());
        drop((publisher, other));
        assert!(roster.is_empty());
        assert_eq!((roster.counts(), roster.enrolled()), ((0, 0), 12));
    }

    #[test]
    fn each_client_has_the_rate_of_its_last_half_minute() {
        let roster = Rc::new(Roster::default());
        let all: Vec<_> = (0..7).map(|_| enroll(&roster, Kind::FlvPlay, "live/a")).collect();
        let start = Instant::now();
        for tick in 0..1_200 {
            // A kilobyte each tick for a minute, then two.
            let bytes = if tick < 600 { 1_000 } else { 2_000 };
            all.iter().for_each(|(_, counter)| counter.set(counter.get() + bytes));
            roster.tick(start + Duration::from_millis(tick * 100));
        }
        let now = start + Duration::from_millis(120_000);
        for (enrolled, _) in &all {
            let entry = roster.find(enrolled.card().id, ShardId(0), now).expect("it is here");
            assert!((159_000..=161_000).contains(&entry.rate_out), "{} bits a second", entry.rate_out);
        }
    }
}
