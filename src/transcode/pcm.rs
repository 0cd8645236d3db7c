//! Samples on their way from a decoder to an encoder: interleaved, 16 bits, one or two channels.

/// Samples that wait until they fill a frame. Invariant: holds whole samples of all channels.
#[derive(Debug)]
pub(super) struct Queue {
    samples: Vec<i16>,
    channels: usize,
}

impl Queue {
    pub(super) fn new(channels: usize) -> Self {
        Self { samples: Vec::new(), channels }
    }

    /// Samples of each channel.
    pub(super) fn len(&self) -> usize {
        self.samples.len() / self.channels
    }

    /// Where to append interleaved samples.
    pub(super) fn tail(&mut self) -> &mut Vec<i16> {
        &mut self.samples
    }

    /// The oldest `samples` of each channel, if there are as many.
    pub(super) fn head(&self, samples: usize) -> Option<&[i16]> {
        self.samples.get(..samples * self.channels)
    }

    /// Lets go of the oldest `samples` of each channel.
    pub(super) fn drop_head(&mut self, samples: usize) {
        self.samples.drain(..(samples * self.channels).min(self.samples.len()));
    }

    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }
}

/// Appends `from`, of as many channels, to `into`, as one or two channels.
pub(super) fn remix(from: &[i16], channels: usize, into: &mut Vec<i16>, wanted: usize) {
    match (channels, wanted) {
        (1, 2) => into.extend(from.iter().flat_map(|sample| [*sample, *sample])),
        (2, 1) => into.extend(from.chunks_exact(2).map(|pair| {
            let sum: i32 = pair.iter().map(|sample| i32::from(*sample)).sum();
            (sum / 2) as i16
        })),
        _ => into.extend_from_slice(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_doubled_and_averaged() {
        let mixed = |from: &[i16], channels, wanted| {
            let mut into = Vec::new();
            remix(from, channels, &mut into, wanted);
            into
        };
        assert_eq!(mixed(&[1, -2], 1, 2), [1, 1, -2, -2]);
        assert_eq!(mixed(&[i16::MAX, i16::MAX, i16::MIN, i16::MIN, 3, 4], 2, 1), [i16::MAX, i16::MIN, 3]);
        assert_eq!(mixed(&[5, 6], 2, 2), [5, 6]);
    }
}
