//! Whatever happens in whatever order, what every peer reads makes sense.

mod reading;

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use proptest::prelude::*;
use reading::{Reference, check};

use super::{house::*, mirrors::Mirror};
use crate::{
    media::{FrameKind, Timestamp, TrackId},
    stream::{Leave, Publisher, StreamOptions},
};

#[derive(Clone, Debug)]
enum Act {
    Come { video: bool, audio: bool, told: bool },
    Go,
    Picture { key: bool, after: i64, flush: bool },
    Sound { after: i64, flush: bool },
    Reconfigure { video: bool },
    Describe,
    Jump { by: i64 },
    BeginWalk,
    Slice,
    Tick { millis: u64 },
    Join { other: bool, room: usize, bite: usize },
    Leave { who: usize },
    Open { who: usize, bytes: usize },
    Shut { who: usize },
    Run { who: usize },
    Say { who: usize },
    Pause { who: usize },
    Resume { who: usize },
    Switch { who: usize },
    Mirror,
    JoinMirror { other: bool, room: usize, bite: usize },
    Stuff { full: bool },
    Deliver { most: usize },
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..8usize;
    prop_oneof![
        2 => (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(video, audio, told)| Act::Come { video: video || !audio, audio, told }),
        1 => Just(Act::Go),
        20 => (prop::bool::weighted(0.2), 1..200i64, any::<bool>())
            .prop_map(|(key, after, flush)| Act::Picture { key, after, flush }),
        20 => (1..200i64, any::<bool>()).prop_map(|(after, flush)| Act::Sound { after, flush }),
        2 => any::<bool>().prop_map(|video| Act::Reconfigure { video }),
        1 => Just(Act::Describe),
        1 => (-20_000..20_000i64).prop_map(|by| Act::Jump { by }),
        10 => Just(Act::BeginWalk),
        10 => Just(Act::Slice),
        2 => (1..800u64).prop_map(|millis| Act::Tick { millis }),
        5 => (any::<bool>(), prop_oneof![Just(usize::MAX), 0..300usize], prop_oneof![Just(usize::MAX), 1..40usize])
            .prop_map(|(other, room, bite)| Act::Join { other, room, bite }),
        1 => who().prop_map(|who| Act::Leave { who }),
        6 => (who(), prop_oneof![Just(usize::MAX), 1..200usize]).prop_map(|(who, bytes)| Act::Open { who, bytes }),
        3 => who().prop_map(|who| Act::Shut { who }),
        10 => who().prop_map(|who| Act::Run { who }),
        2 => who().prop_map(|who| Act::Say { who }),
        1 => who().prop_map(|who| Act::Pause { who }),
        1 => who().prop_map(|who| Act::Resume { who }),
        1 => who().prop_map(|who| Act::Switch { who }),
        1 => Just(Act::Mirror),
        3 => (any::<bool>(), prop_oneof![Just(usize::MAX), 0..300usize], prop_oneof![Just(usize::MAX), 1..40usize])
            .prop_map(|(other, room, bite)| Act::JoinMirror { other, room, bite }),
        2 => any::<bool>().prop_map(|full| Act::Stuff { full }),
        10 => (0..4usize).prop_map(|most| Act::Deliver { most }),
    ]
}

fn bounds() -> impl Strategy<Value = StreamOptions> {
    let sizes =
        (prop_oneof![Just(1usize), Just(60), Just(10_000)], prop_oneof![Just(700usize), Just(20_000)]);
    let group =
        (prop_oneof![Just(6usize), Just(1_000)], prop_oneof![Just(200i64), Just(30_000)], any::<bool>());
    (sizes, group, any::<bool>()).prop_map(|((batch, ring), (frames, duration, enable), coalesce)| {
        let mut options = options();
        options.batch_bytes_max = batch;
        options.ring.bytes_max = ring;
        options.ring.lag_max = Timestamp::from_millis(1_500);
        options.gop.frames_max = frames;
        options.gop.duration_max = Timestamp::from_millis(duration);
        options.gop.enable = enable;
        options.coalesce = std::time::Duration::from_millis(if coalesce { 350 } else { 0 });
        options.takeover = crate::stream::Takeover::Replace;
        options.wait = std::time::Duration::from_secs(1_000);
        options.grace = std::time::Duration::from_secs(1_000);
        options
    })
}

/// What a publisher has told, and what it says next. Its parameter sets bear its number, so that no two are alike.
struct Source {
    publisher: Publisher,
    number: usize,
    revisions: [usize; 3],
    tracks: [bool; 2],
    clock: i64,
}

impl Source {
    fn config(&self, of: usize) -> String {
        format!("{}.{}", self.number, self.revisions[of])
    }

    /// A frame says its number and what its reader must know: parameters of its track, and the description.
    fn push(&self, serial: usize, id: TrackId, kind: FrameKind, flush: bool) {
        let of = usize::from(id == TrackId::AUDIO);
        let meta = if self.revisions[2] == 0 { "-".to_owned() } else { self.config(2) };
        let payload = format!("{serial} {} {meta}", self.config(of));
        self.publisher.frame(frame(id, kind, self.clock, &payload)).expect("seated");
        if flush {
            self.publisher.flush().expect("seated");
        }
    }
}

struct World {
    house: House,
    source: Option<Source>,
    sources: usize,
    serial: usize,
    walking: bool,
    players: Vec<Player>,
    /// Keeps the rendition that logs all that flows.
    witness: Player,
    log: Rc<RefCell<String>>,
    /// What players had got that have left, with the rest they were given.
    finished: Vec<String>,
    mirror: Option<Mirror>,
}

impl World {
    fn new(options: StreamOptions) -> Self {
        let house = house_with(|own| *own = options);
        let (witness, log) = house.join_logged();
        Self {
            house,
            source: None,
            sources: 0,
            serial: 0,
            walking: false,
            players: Vec::new(),
            witness,
            log,
            finished: Vec::new(),
            mirror: None,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Come { video, audio, told } => self.come(video, audio, told),
            Act::Go => self.source = None,
            Act::Picture { key, after, flush } => {
                let kind = if key { FrameKind::Key } else { FrameKind::Inter };
                self.push(TrackId::VIDEO, kind, after, flush);
            }
            Act::Sound { after, flush } => self.push(TrackId::AUDIO, FrameKind::Key, after, flush),
            Act::Reconfigure { video } => {
                if let Some(source) = &mut self.source {
                    let of = usize::from(!video);
                    source.revisions[of] += 1;
                    source.tracks[of] = true;
                    let config = source.config(of);
                    let track = if video { video_track(&config) } else { audio_track(&config) };
                    source.publisher.track(track).expect("seated");
                }
            }
            Act::Describe => {
                if let Some(source) = &mut self.source {
                    source.revisions[2] += 1;
                    source.publisher.metadata(metadata(&source.config(2))).expect("seated");
                }
            }
            Act::Jump { by } => {
                if let Some(source) = &mut self.source {
                    source.clock += by;
                }
            }
            Act::BeginWalk => {
                if !self.walking && self.house.is_dirty() {
                    self.house.stream.begin_walk(self.house.now);
                    self.walking = true;
                }
            }
            Act::Slice => {
                if self.walking {
                    self.walking = !self.house.stream.walk(&mut || true);
                }
            }
            Act::Tick { millis } => {
                self.house.now += std::time::Duration::from_millis(millis);
                self.house.stream.tick(self.house.now);
                if let Some(mirror) = &mut self.mirror {
                    mirror.house.pass(millis);
                }
            }
            Act::Mirror => {
                self.mirror.get_or_insert_with(|| Mirror::of(&self.house));
            }
            Act::JoinMirror { other, room, bite } => {
                if let Some(mirror) = self.mirror.as_ref().filter(|_| self.players.len() < 40) {
                    let kind = if other { "other" } else { WORDS };
                    self.players.push(mirror.house.join_rendition(kind, room, bite));
                }
            }
            Act::Stuff { full } => {
                if let Some(mirror) = &self.mirror {
                    mirror.road.full.set(full);
                }
            }
            Act::Deliver { most } => {
                if let Some(mirror) = &self.mirror {
                    mirror.deliver(most);
                }
            }
            Act::Join { other, room, bite } if self.players.len() < 40 => {
                let kind = if other { "other" } else { WORDS };
                self.players.push(self.house.join_rendition(kind, room, bite));
            }
            Act::Join { .. } => {}
            Act::Leave { who } => {
                if who < self.players.len() {
                    self.finish(who);
                }
            }
            Act::Open { who, bytes } => self.with(who, |player| player.gate.open(bytes)),
            Act::Shut { who } => self.with(who, |player| player.gate.shut()),
            Act::Run { who } => self.with(who, Player::run),
            Act::Say { who } => self.with(who, |player| player.sub.control(Bytes::from_static(b"[word]"))),
            Act::Pause { who } => self.with(who, |player| player.sub.pause()),
            Act::Resume { who } => self.with(who, |player| player.sub.resume()),
            Act::Switch { who } => self.with(who, |player| {
                player.sub.control(Bytes::from_static(b"[switch]"));
                let kind = if player.sub.kind() == WORDS { "other" } else { WORDS };
                player.sub.switch(kind, || Box::new(Words::default()));
            }),
        }
        self.witness.run();
        for kind in [WORDS, "other"] {
            let options = self.house.stream.inner.borrow().options();
            // A unit of these words is shorter than 80 bytes.
            let most = options.ring.bytes_max.max(options.gop.frames_max * 80);
            assert!(self.house.ring_bytes(kind) <= most);
        }
    }

    fn with(&mut self, who: usize, act: impl FnOnce(&mut Player)) {
        if let Some(player) = self.players.get_mut(who) {
            act(player);
        }
    }

    fn come(&mut self, video: bool, audio: bool, told: bool) {
        self.sources += 1;
        let number = self.sources;
        let publisher = self.house.try_publish("source").expect("replaces");
        let source = Source { publisher, number, revisions: [0; 3], tracks: [video, audio], clock: 0 };
        if told {
            source.publisher.expect(Some(audio), Some(video)).expect("seated");
        }
        if video {
            source.publisher.track(video_track(&source.config(0))).expect("seated");
        }
        if audio {
            source.publisher.track(audio_track(&source.config(1))).expect("seated");
        }
        self.source = Some(source);
    }

    fn push(&mut self, id: TrackId, kind: FrameKind, after: i64, flush: bool) {
        let of = usize::from(id == TrackId::AUDIO);
        if let Some(source) = self.source.as_mut().filter(|source| source.tracks[of]) {
            self.serial += 1;
            source.clock += after;
            source.push(self.serial, id, kind, flush);
        }
    }

    fn finish(&mut self, who: usize) {
        let player = self.players.remove(who);
        let mut all = player.all();
        assert!(matches!(player.left, None | Some(Leave::Stalled)), "{:?}", player.left);
        let (stats, rest) = player.sub.leave();
        assert_eq!(stats.bytes as usize, all.len());
        assert!(rest.concat().len() < 2_000, "a reader holds no more than a unit and some words");
        all.push_str(std::str::from_utf8(&rest.concat()).expect("ASCII"));
        self.finished.push(all);
    }

    /// All peers take what there is; then everyone who listens must have got the last frame.
    fn end(mut self) {
        while self.walking {
            self.act(Act::Slice);
        }
        self.come(true, true, true);
        if let Some(mirror) = &self.mirror {
            mirror.road.full.set(false);
        }
        for player in &mut self.players {
            player.gate.bite.set(usize::MAX);
            player.gate.open(usize::MAX);
            player.sub.resume();
            player.run();
        }
        for key in [true, false] {
            self.push(TrackId::VIDEO, if key { FrameKind::Key } else { FrameKind::Inter }, 40, true);
            self.house.pump();
            if let Some(mirror) = &self.mirror {
                mirror.deliver(usize::MAX);
            }
            self.players.iter_mut().for_each(Player::run);
            self.witness.run();
        }
        let last = format!(" {} {} -", self.serial, self.source.as_ref().expect("seated").config(0));
        let reference = Reference::new(&self.log.borrow());
        for player in &self.players {
            assert!(player.left.is_some() || player.all().contains(&last), "{}", player.all());
        }
        while !self.players.is_empty() {
            self.finish(0);
        }
        check(&reference, &self.witness.all());
        self.finished.iter().for_each(|text| check(&reference, text));
    }
}

proptest! {
    #[test]
    fn every_peer_reads_sense(options in bounds(), acts in prop::collection::vec(act(), 1..400)) {
        let mut world = World::new(options);
        for act in acts {
            world.act(act);
        }
        world.end();
    }
}
