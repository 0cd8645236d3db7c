//! Who publishes and plays: what is known of each client, what it has come to, and how all shards are asked for it.
//!
//! Each shard keeps a [`Roster`] of its own clients; whoever asks for all of them sends an [`inquiry`] to every shard.
//! Invariant: a client is on the roster of exactly the shard that serves it, from the moment its wish is granted until it
//! leaves its stream. Nothing here is touched by the frames that pass.

pub mod inquiry;
mod roster;
mod window;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub use inquiry::Inquiries;
pub use roster::{Enrolled, Entry, Meter, Reading, Reception, Roster};
use shards::{media::StreamKey, stream::Party};
pub use window::{SAMPLES, STEP, Window};

use crate::conn_id::ConnId;

/// What is kept of a text that a client says of itself and that only informs, in bytes.
pub const NOTE_BYTES_MAX: usize = 1 << 10;

/// Which way a client's media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// From the client.
    Publish,
    /// To the client.
    Play,
}

impl Role {
    /// `publish` or `play`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// How a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    RtmpPlay,
    /// It announced itself by `FCPublish`, as encoders do.
    RtmpEncoder,
    /// It did not, as Flash does not.
    RtmpFlash,
    FlvPlay,
    WsFlvPlay,
    WsFlvPublish,
    WhipPublish,
    WhepPlay,
}

impl Kind {
    /// Which way its media goes.
    pub const fn role(self) -> Role {
        match self {
            Self::RtmpPlay | Self::FlvPlay | Self::WsFlvPlay | Self::WhepPlay => Role::Play,
            Self::RtmpEncoder | Self::RtmpFlash | Self::WsFlvPublish | Self::WhipPublish => Role::Publish,
        }
    }

    /// Our word for its protocol.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::RtmpPlay | Self::RtmpEncoder | Self::RtmpFlash => "rtmp",
            Self::FlvPlay => "flv",
            Self::WsFlvPlay | Self::WsFlvPublish => "ws-flv",
            Self::WhipPublish => "whip",
            Self::WhepPlay => "whep",
        }
    }

    /// SRS's word for what it is. SRS has no WebSocket: those who play are players of FLV to it, those who publish
    /// encoders.
    pub const fn srs(self) -> &'static str {
        match self {
            Self::RtmpPlay => "rtmp-play",
            Self::RtmpEncoder | Self::WsFlvPublish => "fmle-publish",
            Self::RtmpFlash => "flash-publish",
            Self::FlvPlay | Self::WsFlvPlay => "flv-play",
            Self::WhipPublish => "rtc-publish",
            Self::WhepPlay => "rtc-play",
        }
    }
}

/// What a client said of itself. What it left out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The address it connected to, up to and including the app.
    pub tc_url: String,
    /// The page that holds the player: RTMP's `pageUrl`, HTTP's Referer.
    pub page_url: String,
    /// The player, where it was Flash.
    pub swf_url: String,
    /// RTMP's `flashVer`, HTTP's User-Agent.
    pub user_agent: String,
    /// The parameters of its address as they came, without `?`.
    pub param: String,
}

/// What is known of a client. It does not change while the client is here.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its connection's id: in the log, the API and hooks.
    pub id: ConnId,
    /// The other end of its connection.
    pub peer: SocketAddr,
    /// Its own address: `peer`'s, unless a proxy that is trusted says otherwise.
    pub ip: IpAddr,
    /// How it came.
    pub kind: Kind,
    /// The stream.
    pub key: StreamKey,
    /// What it said.
    pub said: Said,
    /// When its wish was granted.
    pub began: Instant,
    /// The same by the calendar.
    pub began_at: SystemTime,
}

impl Card {
    /// Of one whose wish is granted now.
    pub fn new(id: ConnId, peer: SocketAddr, ip: IpAddr, kind: Kind, key: &StreamKey, said: Said) -> Self {
        let (began, began_at) = (Instant::now(), SystemTime::now());
        Self { id, peer, ip, kind, key: key.clone(), said, began, began_at }
    }

    /// Who it is, for the stream it publishes.
    pub fn party(&self) -> Party {
        Party {
            id: Arc::from(self.id.as_str()),
            protocol: self.kind.protocol(),
            peer: self.peer,
            tc_url: Arc::from(self.said.tc_url.as_str()),
        }
    }

    /// How long it has been here.
    pub fn alive(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }
}

/// The beginning of a text, as much of it as is kept.
pub fn note(text: &str) -> String {
    text.get(..text.floor_char_boundary(NOTE_BYTES_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_short_and_whole() {
        assert_eq!(note("OBS"), "OBS");
        let long = note(&"é".repeat(NOTE_BYTES_MAX));
        assert_eq!(long.len(), NOTE_BYTES_MAX);
        assert_eq!(note(&format!("x{}", "é".repeat(NOTE_BYTES_MAX))).len(), NOTE_BYTES_MAX - 1);
    }
}
