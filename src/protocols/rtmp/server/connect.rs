//! `connect`: what a client tells of itself, and what it is told in return (RTMP §7.2.1.1, Enhanced RTMP v2).
//!
//! Invariant: texts and lists kept from a client are bounded, so that a connection costs what it should. Lengths are
//! bytes.

use super::{super::command::Command, ServerOptions};
use crate::protocols::{
    amf0::Value,
    rtmp::{Error, command::info},
};

/// The longest app, `tcUrl` or stream name: long tokens travel there, and nothing longer is meant well.
pub const URL_BYTES_MAX: usize = 8 << 10;
/// What is kept of texts that only inform: page, player and version.
const NOTE_BYTES_MAX: usize = 1 << 10;
/// Codecs that a client can name; a dozen exist.
const FOURCCS_MAX: usize = 64;

/// Pictures that a publisher may send and a player may get by FourCC.
pub const VIDEO_FOURCCS: [&str; 5] = ["avc1", "hvc1", "av01", "vp09", "vp08"];
/// Sound, likewise.
pub const AUDIO_FOURCCS: [&str; 6] = ["mp4a", "Opus", "fLaC", ".mp3", "ac-3", "ec-3"];

/// Bits of `capsEx`, and of the values in FourCC maps.
pub mod caps {
    /// Understands a request to reconnect.
    pub const RECONNECT: u32 = 1;
    /// Takes several tracks.
    pub const MULTITRACK: u32 = 2;
    /// Reads ModEx.
    pub const MOD_EX: u32 = 4;
    /// Honours offsets in nanoseconds.
    pub const TIMESTAMP_NANO_OFFSET: u32 = 8;
    /// Of one codec: can decode it.
    pub const CAN_DECODE: u32 = 1;
    /// Of one codec: can encode it.
    pub const CAN_ENCODE: u32 = 2;
    /// Of one codec: can pass it on.
    pub const CAN_FORWARD: u32 = 4;
}

/// What a client tells when it connects. What it leaves out is empty or zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect {
    /// As it came; it may hold parameters.
    pub app: String,
    /// The address it believes to connect to.
    pub tc_url: String,
    /// The page that holds the player.
    pub page_url: String,
    /// The player.
    pub swf_url: String,
    /// Its version, or that of the encoder.
    pub flash_ver: String,
    /// 0 for AMF0, 3 if it also reads AMF3.
    pub object_encoding: u32,
    /// FourCC values it takes; `*` means all.
    pub fourcc_list: Vec<String>,
    /// Bits of [`caps`].
    pub caps_ex: u32,
    /// FourCC values of pictures with bits of [`caps`].
    pub video_fourcc_info: Vec<(String, u32)>,
    /// FourCC values of sound with bits of [`caps`].
    pub audio_fourcc_info: Vec<(String, u32)>,
}

impl Connect {
    /// From the command.
    ///
    /// # Errors
    /// When app or `tcUrl` are longer than [`URL_BYTES_MAX`].
    pub fn parse(command: &Command) -> Result<Self, Error> {
        let object = &command.object;
        let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let url = |key| bounded(key, text(key));
        let note = |key| {
            let text = text(key);
            text.get(..text.floor_char_boundary(NOTE_BYTES_MAX)).unwrap_or_default().to_owned()
        };
        // A cast of a float saturates, and what is no number becomes 0.
        let number = |key| object.get(key).and_then(Value::as_f64).unwrap_or_default() as u32;
        Ok(Self {
            app: url("app")?,
            tc_url: url("tcUrl")?,
            page_url: note("pageUrl"),
            swf_url: note("swfUrl"),
            flash_ver: note("flashVer"),
            object_encoding: number("objectEncoding"),
            fourcc_list: match object.get("fourCcList") {
                Some(Value::StrictArray(list)) => list.iter().filter_map(fourcc).take(FOURCCS_MAX).collect(),
                Some(single) => fourcc(single).into_iter().collect(),
                None => Vec::new(),
            },
            caps_ex: number("capsEx"),
            video_fourcc_info: info_map(object.get("videoFourCcInfoMap")),
            audio_fourcc_info: info_map(object.get("audioFourCcInfoMap")),
        })
    }

    /// Whether the client speaks Enhanced RTMP.
    pub fn is_enhanced(&self) -> bool {
        self.caps_ex != 0
            || !self.fourcc_list.is_empty()
            || !self.video_fourcc_info.is_empty()
            || !self.audio_fourcc_info.is_empty()
    }

    /// Whether the client says that it takes this FourCC, by any of its lists.
    pub fn takes(&self, fourcc: &str) -> bool {
        let named = |name: &str| name == "*" || name.eq_ignore_ascii_case(fourcc);
        let maps = self.video_fourcc_info.iter().chain(&self.audio_fourcc_info);
        self.fourcc_list.iter().any(|name| named(name))
            || maps.filter(|(_, bits)| *bits != 0).any(|(name, _)| named(name))
    }
}

/// A text that is refused rather than cut, because a cut address or token means something else.
pub(super) fn bounded(field: &'static str, text: &str) -> Result<String, Error> {
    match text.len() {
        len if len > URL_BYTES_MAX => Err(Error::TooLong { field, len, len_max: URL_BYTES_MAX }),
        _ => Ok(text.to_owned()),
    }
}

fn fourcc(value: &Value) -> Option<String> {
    value.as_str().filter(|text| text.len() <= 4).map(str::to_owned)
}

fn info_map(value: Option<&Value>) -> Vec<(String, u32)> {
    let fields = value.and_then(Value::fields).unwrap_or_default().iter();
    let fields = fields.filter(|(name, _)| name.len() <= 4).take(FOURCCS_MAX);
    fields.map(|(name, bits)| (name.clone(), bits.as_f64().unwrap_or_default() as u32)).collect()
}

fn field(key: &str, value: impl Into<Value>) -> (String, Value) {
    (key.to_owned(), value.into())
}

/// Properties and information of the `_result`.
pub(super) fn answer(connect: &Connect, options: &ServerOptions) -> (Value, Value) {
    let mut properties =
        vec![field("fmsVer", "FMS/3,5,3,888"), field("capabilities", 127.0), field("mode", 1.0)];
    let mut information = info("status", "NetConnection.Connect.Success", "Connection succeeded");
    information.push(field("objectEncoding", f64::from(connect.object_encoding)));
    information.push(field("data", Value::EcmaArray(server_data(options))));
    if connect.is_enhanced() {
        // Enhanced RTMP says "an object as one of the parameters"; clients exist that look at either.
        properties.extend(enhanced());
        information.extend(enhanced());
    }
    (Value::Object(properties), Value::Object(information))
}

/// Who answered: tools that trace a stream through SRS servers read these names.
fn server_data(options: &ServerOptions) -> Vec<(String, Value)> {
    let version = options.version.as_str();
    vec![
        field("version", "3,5,3,888"),
        field("srs_sig", "Shardcast"),
        field("srs_server", format!("Shardcast/{version}")),
        field("srs_license", "MIT OR Apache-2.0"),
        field("srs_url", ""),
        field("srs_version", version),
        field("srs_authors", "the Shardcast authors"),
        field("srs_server_ip", options.ip.as_str()),
        field("srs_pid", f64::from(options.pid)),
        field("srs_id", options.id.as_str()),
    ]
}

fn enhanced() -> [(String, Value); 4] {
    let forward = f64::from(caps::CAN_FORWARD);
    let map = |names: &[&str]| Value::Object(names.iter().map(|name| field(name, forward)).collect());
    let list = VIDEO_FOURCCS.iter().chain(&AUDIO_FOURCCS).map(|name| Value::from(*name)).collect();
    [
        field("capsEx", f64::from(caps::RECONNECT | caps::MULTITRACK | caps::MOD_EX)),
        field("fourCcList", Value::StrictArray(list)),
        field("videoFourCcInfoMap", map(&VIDEO_FOURCCS)),
        field("audioFourCcInfoMap", map(&AUDIO_FOURCCS)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::amf0::object;

    fn command(object: Value) -> Command {
        Command { name: "connect".into(), transaction: 1.0, object, args: Vec::new() }
    }

    #[test]
    fn what_a_client_takes_is_read_from_each_of_its_lists() {
        let map = object([("vp09", 5.0.into()), ("av01", 0.0.into())]);
        let list = Value::StrictArray(vec!["hvc1".into(), Value::Null, "much too long".into()]);
        let connect =
            Connect::parse(&command(object([("fourCcList", list), ("videoFourCcInfoMap", map)]))).unwrap();
        assert!(connect.is_enhanced());
        assert_eq!(connect.fourcc_list, ["hvc1"]);
        assert!(connect.takes("hvc1") && connect.takes("vp09"));
        assert!(!connect.takes("av01"), "named without a bit set");
        let all = Connect { fourcc_list: vec!["*".into()], ..Connect::default() };
        assert!(all.takes("Opus"));
        assert!(!Connect::default().is_enhanced());
    }

    #[test]
    fn numbers_out_of_range_and_missing_fields_are_harmless() {
        let odd =
            object([("capsEx", f64::NAN.into()), ("objectEncoding", (-3.0).into()), ("app", 1.0.into())]);
        assert_eq!(Connect::parse(&command(odd)), Ok(Connect::default()));
        assert_eq!(Connect::parse(&command(Value::Null)), Ok(Connect::default()));
        let huge = object([("capsEx", f64::INFINITY.into())]);
        assert_eq!(Connect::parse(&command(huge)).unwrap().caps_ex, u32::MAX);
    }

    #[test]
    fn addresses_too_long_are_refused_and_notes_are_cut() {
        let long = "é".repeat(URL_BYTES_MAX);
        let notes = object([("pageUrl", long.as_str().into())]);
        assert_eq!(Connect::parse(&command(notes)).unwrap().page_url.len(), NOTE_BYTES_MAX);
        let error = Connect::parse(&command(object([("tcUrl", long.as_str().into())])));
        assert!(matches!(error, Err(Error::TooLong { field: "tcUrl", .. })));
    }

    #[test]
    fn a_legacy_client_is_not_told_of_enhancements() {
        let (properties, information) = answer(&Connect::default(), &ServerOptions::default());
        assert!(properties.get("capsEx").is_none() && information.get("capsEx").is_none());
        let enhanced = Connect { caps_ex: 1, ..Connect::default() };
        let (properties, information) = answer(&enhanced, &ServerOptions::default());
        assert_eq!(properties.get("capsEx").and_then(Value::as_f64), Some(7.0));
        assert!(information.get("videoFourCcInfoMap").and_then(|map| map.get("hvc1")).is_some());
    }
}
