//! A short film to publish: its file, its tags and its access units, made once per machine by a real encoder.

use std::{path::PathBuf, sync::Arc};

use super::{
    Tag, Unit,
    flv::{self, SCRIPT},
    media::{self, Media},
};

/// A film of four seconds.
#[derive(Clone)]
pub struct Fixture {
    pub media: Media,
    /// The FLV file, for clients that read files. Its HEVC is by FourCC always.
    pub path: PathBuf,
    /// Its tags; HEVC by id 12 where the medium says so.
    pub tags: Arc<Vec<Tag>>,
}

impl Fixture {
    /// The film, made if it is not there yet.
    pub fn get(media: Media) -> Self {
        let path = media::file(media);
        let bytes = std::fs::read(&path).expect("the file was just made");
        let mut tags = flv::read_file(&bytes);
        if media == Media::HevcId12 {
            tags = tags.iter().map(flv::to_hevc_id_12).collect();
        }
        Self { media, path, tags: Arc::new(tags) }
    }

    /// Its access units and sequence headers.
    pub fn units(&self) -> Vec<Unit> {
        flv::units(self.tags.iter())
    }

    /// Milliseconds from one round to the next.
    pub fn duration(&self) -> u32 {
        // The last unit's own length, 40 ms at 25 pictures a second, belongs to it.
        self.tags.iter().map(|tag| tag.ts).max().unwrap_or(0) + 40
    }

    /// The access units of as many rounds, as [`Self::endless`] has them.
    pub fn rounds(&self, rounds: usize) -> Vec<Unit> {
        let until = self.duration() as usize * rounds;
        let tags: Vec<Tag> = self.endless().take_while(|tag| (tag.ts as usize) < until).collect();
        flv::units(tags.iter())
    }

    /// Its tags without end: the clock goes on, metadata and sequence headers come once.
    pub fn endless(&self) -> impl Iterator<Item = Tag> {
        let (tags, duration) = (Arc::clone(&self.tags), self.duration());
        (0..u32::MAX).flat_map(move |round| {
            let tags = Arc::clone(&tags);
            (0..tags.len()).filter_map(move |i| {
                let tag = &tags[i];
                let media = tag.kind != SCRIPT && tag.units().iter().any(|unit| !unit.header);
                (round == 0 || media).then(|| Tag { ts: tag.ts + round * duration, ..tag.clone() })
            })
        })
    }
}
