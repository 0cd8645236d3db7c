//! What is known of each picture track of a stream: its rate, its newest keyframe, and when one was asked for.
//!
//! A publisher's simulcast is such a set of tracks, its largest layer number 0. Invariant: a layer of which nothing has come for
//! [`SILENCE`] of the stream's time is never chosen. Rates are bits a second; times microseconds of the stream's clock.

use std::time::{Duration, Instant};

use shards::media::Timestamp;

/// Tracks beyond this number are not known here, and nobody gets them.
const LAYERS_MAX: usize = 32;
/// Over which a rate is measured.
const RATE_WINDOW: i64 = 1_000_000;
/// Encoders stop their largest layer when the network is slow.
const SILENCE: Timestamp = Timestamp::from_millis(2_000);
/// Between two requests for a keyframe of one layer that reach a publisher.
const KEY_REQUEST_MIN: Duration = Duration::from_millis(1_000);
/// Another layer than the one that flows must fit with so much to spare, in percent, or viewers would change to and fro.
const SPARE: u64 = 110;

#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    since: Option<Timestamp>,
    bytes: u64,
    rate: u64,
    last: Timestamp,
    key: Option<u64>,
    key_asked: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Layers {
    layers: Vec<Layer>,
    newest: Timestamp,
}

impl Layers {
    fn layer(&mut self, layer: u8) -> Option<&mut Layer> {
        let at = usize::from(layer);
        if at >= LAYERS_MAX {
            return None;
        }
        if at >= self.layers.len() {
            self.layers.resize(at + 1, Layer::default());
        }
        self.layers.get_mut(at)
    }

    /// A picture of `layer` came: so many bytes at `at`. `key`: it is a keyframe, whose first packet has this index.
    pub fn count(&mut self, layer: u8, bytes: usize, at: Timestamp, key: Option<u64>) {
        self.newest = self.newest.max(at);
        let Some(layer) = self.layer(layer) else { return };
        let since = *layer.since.get_or_insert(at);
        let elapsed = (at - since).micros();
        if elapsed >= RATE_WINDOW {
            layer.rate = (layer.bytes as i64 * 8_000_000 / elapsed) as u64;
            (layer.since, layer.bytes) = (Some(at), 0);
        }
        layer.bytes += bytes as u64;
        layer.last = at;
        layer.key = key.or(layer.key);
    }

    /// What `layer` takes; 0: there is none, or it is not known yet.
    pub fn rate(&self, layer: u8) -> u64 {
        self.layers.get(usize::from(layer)).map_or(0, |layer| layer.rate)
    }

    /// What the richest layer takes that flows.
    pub fn richest(&self) -> u64 {
        self.flowing().map(|(_, rate)| rate).max().unwrap_or(0)
    }

    /// The first packet of the newest keyframe of `layer`.
    pub fn newest_key(&self, layer: u8) -> Option<u64> {
        self.layers.get(usize::from(layer))?.key
    }

    fn flowing(&self) -> impl Iterator<Item = (u8, u64)> {
        let flows = move |(n, layer): (usize, &Layer)| {
            (layer.rate > 0 && self.newest - layer.last < SILENCE).then_some((n as u8, layer.rate))
        };
        self.layers.iter().enumerate().filter_map(flows)
    }

    /// The richest layer that takes at most `limit`; else the leanest. `current` is the one that flows now. `None` while no
    /// rate is known.
    pub fn choose(&self, limit: Option<u64>, current: u8) -> Option<u8> {
        let fits = |(layer, rate): &(u8, u64)| {
            limit.is_none_or(
                |limit| if *layer == current { *rate <= limit } else { rate * SPARE / 100 <= limit },
            )
        };
        let rate = |(_, rate): &(u8, u64)| *rate;
        let best = self.flowing().filter(fits).max_by_key(rate).or_else(|| self.flowing().min_by_key(rate));
        best.map(|(layer, _)| layer)
    }

    /// Whether a wish for a keyframe of `layer` should reach the publisher: not more often than once a second.
    pub fn admits_key_request(&mut self, layer: u8, now: Instant) -> bool {
        let Some(layer) = self.layer(layer) else { return false };
        let admits =
            layer.key_asked.is_none_or(|last| now.saturating_duration_since(last) >= KEY_REQUEST_MIN);
        if admits {
            layer.key_asked = Some(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three seconds of layers of so many bytes a picture, 25 a second; those of 0 stop after the first.
    fn flowing(layers: &[usize], stops: Option<u8>) -> Layers {
        let mut known = Layers::default();
        for n in 0..100 {
            for (layer, bytes) in (0_u8..).zip(layers) {
                if stops != Some(layer) || n < 40 {
                    known.count(layer, *bytes, Timestamp::from_millis(n * 40), (n == 0).then_some(7));
                }
            }
        }
        known
    }

    #[test]
    fn the_richest_layer_that_fits_is_chosen_with_something_to_spare() {
        // 2 Mbit/s, 1 Mbit/s, 200 kbit/s.
        let layers = flowing(&[10_000, 5_000, 1_000], None);
        assert!((1_900_000..2_100_000).contains(&layers.rate(0)), "{}", layers.rate(0));
        assert_eq!(layers.richest(), layers.rate(0));
        assert_eq!(layers.choose(None, 2), Some(0));
        assert_eq!(layers.choose(Some(1_500_000), 0), Some(1));
        assert_eq!(layers.choose(Some(1_050_000), 1), Some(1), "it flows already");
        assert_eq!(layers.choose(Some(1_050_000), 2), Some(2), "it would hardly fit");
        assert_eq!(layers.choose(Some(1_000), 0), Some(2), "the leanest there is");
        assert_eq!(Layers::default().choose(None, 0), None);
    }

    #[test]
    fn a_layer_that_has_stopped_is_not_chosen() {
        let layers = flowing(&[10_000, 5_000], Some(0));
        assert_eq!(layers.choose(None, 0), Some(1));
        assert_eq!(layers.richest(), layers.rate(1));
    }

    #[test]
    fn keyframes_are_known_and_asked_for_once_a_second_and_layer() {
        let mut layers = flowing(&[100, 100], None);
        assert_eq!((layers.newest_key(0), layers.newest_key(9)), (Some(7), None));
        let now = Instant::now();
        assert!(layers.admits_key_request(0, now) && layers.admits_key_request(1, now));
        assert!(!layers.admits_key_request(0, now + Duration::from_millis(999)));
        assert!(layers.admits_key_request(0, now + Duration::from_millis(1_000)));
        assert!(!layers.admits_key_request(200, now), "there is no such layer");
    }
}
