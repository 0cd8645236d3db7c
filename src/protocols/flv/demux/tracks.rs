//! What is remembered of each track: what was told of it, and how its pictures come.
//!
//! Invariant: at most [`TRACKS_MAX`] tracks, each with one configuration of at most [`CONFIG_BYTES_MAX`] bytes as it
//! came and one as it was told.

use bytes::Bytes;
use shards::media::{Codec, Shape, Track, TrackId};

use super::config::{self, NalForm};
use super::{CONFIG_BYTES_MAX, Item, TRACKS_MAX, TagError};
use crate::codecs;

/// The tracks of one sort.
#[derive(Debug, Default)]
pub(super) struct Tracks(Vec<State>);

/// One track.
#[derive(Debug)]
pub(super) struct State {
    pub(super) id: TrackId,
    pub(super) codec: Codec,
    /// The last configuration as it came, to know a repeated one at a glance.
    came: Option<Bytes>,
    /// The configuration in the form of [`Codec`].
    config: Option<Bytes>,
    /// How the NAL units of its pictures are told apart.
    pub(super) nal_form: NalForm,
    /// What was last told.
    told: Option<(Bytes, Shape)>,
}

impl Tracks {
    /// The track `id`, which carries `codec` from now on.
    pub(super) fn get(&mut self, id: TrackId, codec: Codec) -> Result<&mut State, TagError> {
        let at = match self.0.iter().position(|state| state.id == id) {
            Some(at) => at,
            None if self.0.len() == TRACKS_MAX => return Err(TagError::TooManyTracks),
            None => {
                self.0.push(State::new(id, codec));
                self.0.len() - 1
            }
        };
        let state = self.0.get_mut(at).ok_or(TagError::TooManyTracks)?;
        if state.codec != codec {
            *state = State::new(id, codec);
        }
        Ok(state)
    }
}

impl State {
    const fn new(id: TrackId, codec: Codec) -> Self {
        Self { id, codec, came: None, config: None, nal_form: NalForm::Lengths(4), told: None }
    }

    /// Takes a configuration as it came. A repeated one changes nothing, nor does an empty one where something must be
    /// told: ffmpeg sends that while its encoder has not made up its mind.
    pub(super) fn configure(&mut self, came: &Bytes, out: &mut Vec<Item>) -> Result<(), TagError> {
        if self.came.as_ref() == Some(came) || (came.is_empty() && self.codec.needs_config()) {
            return Ok(());
        }
        let len = came.len();
        if len > CONFIG_BYTES_MAX {
            return Err(TagError::TooLarge { len, len_max: CONFIG_BYTES_MAX });
        }
        let (config, nal_form) =
            config::normalize(self.codec, came).ok_or(TagError::BadConfig(self.codec))?;
        // Both are kept long, so they are copies that let go of the buffer they came in.
        self.came = Some(Bytes::copy_from_slice(came));
        self.nal_form = nal_form;
        self.set(config, out);
        Ok(())
    }

    /// Takes a configuration in the form of [`Codec`]; tells the track, unless its frames must tell the size first.
    pub(super) fn set(&mut self, config: Bytes, out: &mut Vec<Item>) {
        let shape = codecs::shape(self.codec, &config);
        self.config = Some(config);
        if shape != Shape::Unknown || !config::shape_is_in_band(self.codec) {
            self.tell(shape, out);
        }
    }

    /// Looks into a frame that can be the first one for what the configuration did not say, then tells the track.
    ///
    /// `otherwise` is the shape when neither the frame nor anything before it says one.
    pub(super) fn inspect(&mut self, frame: &[u8], otherwise: Shape, out: &mut Vec<Item>) {
        if self.came.is_none() {
            self.config = config::in_band(self.codec, frame).or(self.config.take());
        }
        let known = match (&self.config, &self.told) {
            (None, _) => return,
            (Some(config), Some((told, shape))) if config == told => *shape,
            (Some(config), _) => codecs::shape(self.codec, config),
        };
        let shape = if config::shape_is_in_band(self.codec) || known == Shape::Unknown {
            codecs::shape_in_band(self.codec, frame).unwrap_or(known)
        } else {
            known
        };
        self.tell(if shape == Shape::Unknown { otherwise } else { shape }, out);
    }

    fn tell(&mut self, shape: Shape, out: &mut Vec<Item>) {
        let Some(config) = self.config.clone() else { return };
        if self.told.as_ref().is_some_and(|told| told.0 == config && told.1 == shape) {
            return;
        }
        self.told = Some((config.clone(), shape));
        out.push(Item::Track(Track { id: self.id, codec: self.codec, config, shape }));
    }

    /// Whether frames may come: the track was told.
    pub(super) const fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// The configuration in the form of [`Codec`].
    pub(super) const fn config(&self) -> Option<&Bytes> {
        self.config.as_ref()
    }
}
