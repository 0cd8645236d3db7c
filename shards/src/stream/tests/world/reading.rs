//! What makes sense to a peer: whole units, in order, after all that they need.

use std::collections::HashMap;

/// One unit of the words.
#[derive(Clone, Debug, PartialEq)]
enum Unit {
    Preamble,
    Headers(HashMap<String, String>),
    Control(String),
    /// A batch begins.
    Open,
    /// A batch ends.
    Close,
    Track(String, String),
    Meta(String),
    Frame(Frame),
}

#[derive(Clone, Debug, PartialEq)]
struct Frame {
    letter: char,
    millis: i64,
    serial: usize,
    config: String,
    meta: String,
}

impl Frame {
    fn track(&self) -> &'static str {
        if self.letter == 'a' { "audio0" } else { "video0" }
    }

    fn source(&self) -> &str {
        self.config.split('.').next().unwrap_or_default()
    }
}

fn parse(text: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '{' | '}' => 1,
            '<' => rest.find('>').expect("a whole unit") + 1,
            '[' => rest.find(']').expect("a whole word") + 1,
            other => panic!("{other:?} begins no unit: {rest}"),
        };
        let (unit, after) = rest.split_at(end);
        rest = after;
        units.push(match first {
            '{' => Unit::Open,
            '}' => Unit::Close,
            '[' => Unit::Control(unit.to_owned()),
            _ => words(&unit[1..end - 1]),
        });
    }
    units
}

fn words(unit: &str) -> Unit {
    let words: Vec<&str> = unit.split(' ').collect();
    match words[..] {
        ["pre", ..] => Unit::Preamble,
        ["head", ref scene @ ..] => {
            let pairs = scene.iter().filter_map(|pair| pair.split_once('='));
            Unit::Headers(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }
        ["track", id, config] => Unit::Track(id.to_owned(), config.to_owned()),
        ["meta", meta] => Unit::Meta(meta.to_owned()),
        [letter @ ("V" | "v" | "a"), millis, serial, config, meta] => Unit::Frame(Frame {
            letter: letter.chars().next().unwrap_or_default(),
            millis: millis.parse().expect("a time"),
            serial: serial.parse().expect("a number"),
            config: config.to_owned(),
            meta: meta.to_owned(),
        }),
        _ => panic!("no unit: {unit}"),
    }
}

/// All frames that flowed.
pub struct Reference {
    frames: Vec<Frame>,
    places: HashMap<usize, usize>,
}

impl Reference {
    pub fn new(text: &str) -> Self {
        let frames: Vec<Frame> = parse(text)
            .into_iter()
            .filter_map(|unit| if let Unit::Frame(frame) = unit { Some(frame) } else { None })
            .collect();
        let places = frames.iter().enumerate().map(|(at, frame)| (frame.serial, at)).collect();
        Self { frames, places }
    }

    /// Whether players may begin with this frame of sound: its publisher shows nothing, or has not for 3 s.
    fn is_sound_alone(&self, at: usize) -> bool {
        let frame = &self.frames[at];
        let before = self.frames[..at].iter().rev().take_while(|other| other.source() == frame.source());
        let last_picture = before.into_iter().find(|other| other.letter != 'a');
        last_picture.is_none_or(|picture| frame.millis - picture.millis > 3_000)
    }

    /// Whether this inter picture comes after 3 s without any: listeners who came meanwhile see it as it is.
    fn is_after_silence(&self, at: usize) -> bool {
        let frame = &self.frames[at];
        let before = self.frames[..at].iter().rev().filter(|other| other.source() == frame.source());
        let mut pictures = before.filter(|other| other.letter != 'a');
        pictures.next().is_some_and(|picture| frame.millis - picture.millis > 3_000)
    }
}

/// Panics where what a peer read makes no sense.
pub fn check(reference: &Reference, text: &str) {
    let mut in_batch = false;
    let mut first_in_batch = false;
    let mut greeted = false;
    let mut known: HashMap<String, String> = HashMap::new();
    // Each change of rendition tells all again, at some time after it was asked for.
    let mut repeats = 0;
    let mut last: Option<usize> = None;
    let mut times: HashMap<&str, i64> = HashMap::new();
    // The pictures that follow need no keyframe: the publisher that they are of.
    let mut pictured: Option<String> = None;
    for unit in parse(text) {
        match unit {
            Unit::Control(word) => {
                assert!(!in_batch, "a word in a batch: {text}");
                repeats += usize::from(word == "[switch]");
            }
            Unit::Preamble => assert!(!in_batch && !std::mem::replace(&mut greeted, true), "{text}"),
            Unit::Headers(scene) => {
                assert!(!in_batch && greeted, "{text}");
                if scene == known {
                    assert!(repeats > 0, "headers without need: {text}");
                    repeats -= 1;
                }
                known = scene;
            }
            Unit::Open => {
                assert!(!in_batch && greeted, "{text}");
                (in_batch, first_in_batch) = (true, true);
                continue;
            }
            Unit::Close => assert!(std::mem::replace(&mut in_batch, false) && !first_in_batch, "{text}"),
            Unit::Track(id, config) => {
                assert!(in_batch, "{text}");
                assert_ne!(known.insert(id, config.clone()), Some(config), "told twice: {text}");
            }
            Unit::Meta(meta) => {
                assert!(in_batch, "{text}");
                if meta == "-" {
                    known.remove("meta")
                } else {
                    known.insert("meta".to_owned(), meta)
                };
            }
            Unit::Frame(frame) => {
                assert!(in_batch, "{text}");
                assert_eq!(
                    known.get(frame.track()),
                    Some(&frame.config),
                    "{frame:?} cannot be decoded: {text}"
                );
                assert_eq!(known.get("meta").map_or("-", String::as_str), frame.meta, "{frame:?}: {text}");
                let at = *reference.places.get(&frame.serial).expect("others got it too");
                if last.is_none_or(|last| at != last + 1) {
                    assert!(last.is_none_or(|last| at > last), "{frame:?} came before: {text}");
                    assert!(first_in_batch, "{frame:?} resumes within a batch: {text}");
                    assert!(
                        frame.letter == 'V' || frame.letter == 'a' && reference.is_sound_alone(at),
                        "{frame:?} opens nothing: {text}"
                    );
                    pictured = None;
                }
                last = Some(at);
                let before = times.insert(frame.track(), frame.millis);
                assert!(
                    before.is_none_or(|before| before < frame.millis),
                    "{frame:?} after {before:?}: {text}"
                );
                match frame.letter {
                    'V' => pictured = Some(frame.source().to_owned()),
                    'v' => assert!(
                        pictured.as_deref() == Some(frame.source()) || reference.is_after_silence(at),
                        "{frame:?} has no keyframe: {text}"
                    ),
                    _ => {}
                }
            }
        }
        first_in_batch = false;
    }
    assert!(!in_batch, "torn: {text}");
}
