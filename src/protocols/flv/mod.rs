//! FLV: the byte stream ([`Reader`]), its tag bodies as frames ([`Demux`]) and frames as tag bodies ([`frame_head`]).
//!
//! Tag bodies are also the media messages of RTMP, so everything but the reader serves both. Legacy codecs are those
//! of Adobe's "Video File Format Specification 10.1" annex E, the rest are Enhanced RTMP v2 (veovera.org).

mod demux;
mod fourcc;
mod metadata;
mod mux;
mod tag;

pub use demux::{Demux, Item, TRACKS_MAX, TagError};
pub use fourcc::FourCc;
pub use metadata::{codec_hints, on_meta_data};
pub use mux::{
    HEAD_BYTES_MAX, Head, TAG_HEADER_BYTES, file_header, frame_head, multitrack_frame_head,
    multitrack_sequence_header, sequence_header, tag_type, write_tag,
};
pub use tag::{FlvError, Reader, ReaderOptions, Tag, TagType};

/// Reads `data` as an FLV stream and as lone tag bodies; for fuzzing. Nothing may panic, and what comes out is no
/// larger than what went in allows.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use bytes::{Bytes, BytesMut};

    let mut reader = Reader::new(ReaderOptions { tag_bytes_max: 1 << 20 });
    let mut demux = Demux::new();
    let (mut input, mut items) = (BytesMut::from(data), Vec::new());
    while let Ok(Some(tag)) = reader.read(&mut input) {
        // What is wrong with one tag is no end of the stream.
        let _ = demux.tag(tag.kind, tag.timestamp, tag.body, &mut items);
        fuzz_items(&mut items);
    }
    if let Some((choice, body)) = data.split_first() {
        let kind = [TagType::Audio, TagType::Video, TagType::Script][usize::from(choice % 3)];
        let _ = demux.tag(kind, 0, Bytes::copy_from_slice(body), &mut items);
        fuzz_items(&mut items);
    }
}

/// Writes every item again.
fn fuzz_items(items: &mut Vec<Item>) {
    let mut out = bytes::BytesMut::new();
    let mut tracks: Vec<shards::media::Track> = Vec::new();
    assert!(items.len() <= 2 * demux::ITEMS_PER_TAG_MAX, "one tag made {} items", items.len());
    for item in items.drain(..) {
        out.clear();
        match item {
            Item::Track(track) => {
                sequence_header(&track, &mut out);
                multitrack_sequence_header(&track, &mut out);
                on_meta_data(None, std::slice::from_ref(&track), &mut out);
                tracks.retain(|known| known.id != track.id);
                tracks.push(track);
            }
            Item::Frame(frame) => {
                if let Some(track) = tracks.iter().find(|track| track.id == frame.track) {
                    frame_head(track, &frame);
                    multitrack_frame_head(track, &frame);
                }
            }
            Item::Metadata(metadata) => {
                codec_hints(&metadata);
                on_meta_data(Some(&metadata), &tracks, &mut out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
