//! Which stream a URL names: `/live/a/b.flv` is the stream `live/a/b`, asked for as `flv`.
//!
//! Invariant: each level is percent-decoded exactly once, and no encoding can smuggle a slash into a level, so two
//! spellings of one key always meet in one [`StreamKey`].

use super::{HttpError, Query, Target, target::decode_path};
use shards::media::{KeyError, StreamKey};

/// A stream and the container in which it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPath {
    /// The stream.
    pub key: StreamKey,
    /// What follows the last dot of the last level, in lower case: `flv`. `None` without a dot.
    pub extension: Option<Box<str>>,
}

/// Why a URL names no stream. The texts are sentences for the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `%2F` or `%5C` inside a level.
    #[error("an encoded slash is not allowed inside a level of the path")]
    EncodedSlash,
    /// The encoding itself is broken.
    #[error("the path cannot be decoded: {0}")]
    Encoding(&'static str),
    /// The words between the slashes make no key.
    #[error("the URL names no stream: {0}")]
    Key(#[from] KeyError),
    /// A required query parameter is absent or empty.
    #[error("the query parameter '{0}' is missing: /play?app=APP&stream=STREAM")]
    Missing(&'static str),
}

/// The stream that the path of `target` names.
///
/// The last dot of the last level parts name and extension, so `cam.1.flv` is `cam.1` as `flv`. Slashes at the front
/// are forgiven, as in RTMP.
///
/// # Errors
/// [`PathError`] with the reason.
pub fn media(target: &Target) -> Result<MediaPath, PathError> {
    let path = target.raw_path().trim_start_matches('/');
    let mut levels = Vec::new();
    for level in path.split('/') {
        levels.push(decode_level(level)?);
    }
    let last = levels.pop().unwrap_or_default();
    let (name, extension) = match last.rsplit_once('.') {
        Some((name, extension)) => (name, Some(extension.to_ascii_lowercase().into())),
        None => (last.as_str(), None),
    };
    Ok(MediaPath { key: key(&levels.join("/"), name)?, extension })
}

/// The stream that the levels of a raw path name, with nothing taken for an extension.
///
/// # Errors
/// [`PathError`] with the reason.
pub fn key_of(path: &str) -> Result<StreamKey, PathError> {
    let mut levels = Vec::new();
    for level in path.trim_matches('/').split('/') {
        levels.push(decode_level(level)?);
    }
    let name = levels.pop().unwrap_or_default();
    Ok(key(&levels.join("/"), &name)?)
}

/// The stream of `?app=APP&stream=STREAM`, RTCPilot's form for `/play` and `/publish`.
///
/// # Errors
/// [`PathError`] with the reason.
pub fn from_query(query: &Query) -> Result<StreamKey, PathError> {
    let parameter = |name| query.get(name).filter(|value| !value.is_empty()).ok_or(PathError::Missing(name));
    Ok(key(parameter("app")?, parameter("stream")?)?)
}

/// A key, with an empty name refused before slashes are trimmed.
fn key(app: &str, name: &str) -> Result<StreamKey, KeyError> {
    if app.is_empty() { Err(KeyError::NoApp) } else { StreamKey::new(app, name) }
}

fn decode_level(level: &str) -> Result<String, PathError> {
    let decoded = decode_path(level).map_err(|error| match error {
        HttpError::Target(reason) => PathError::Encoding(reason),
        _ => PathError::Encoding("it is malformed"),
    })?;
    // The raw level holds no slash: one in the decoded text was encoded.
    if decoded.contains(['/', '\\']) { Err(PathError::EncodedSlash) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::{super::Method, *};

    fn parse(text: &str) -> Result<MediaPath, PathError> {
        media(&Target::parse(Method::Get, text).unwrap())
    }

    #[test]
    fn a_path_names_a_stream_and_a_container() {
        for (text, key, extension) in [
            ("/live/cam.flv", "live/cam", Some("flv")),
            ("/live/a/b.flv?token=x/y.z", "live/a/b", Some("flv")),
            ("/live/cam.1.FLV", "live/cam.1", Some("flv")),
            ("//live/cam.flv", "live/cam", Some("flv")),
            ("/live//cam.flv", "live/cam", Some("flv")),
            ("/my.app/cam", "my.app/cam", None),
            ("/live/caf%C3%A9%20one.flv", "live/café one", Some("flv")),
            ("/live/100%2525.flv", "live/100%25", Some("flv")),
            ("/live/cam%2eflv", "live/cam", Some("flv")),
            ("/live/cam.", "live/cam", Some("")),
        ] {
            let found = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((found.key.as_str(), found.extension.as_deref()), (key, extension), "{text}");
        }
    }

    #[test]
    fn what_names_no_stream_is_told_why() {
        for (text, error) in [
            ("/", PathError::Key(KeyError::NoApp)),
            ("/cam.flv", PathError::Key(KeyError::NoApp)),
            ("/live/.flv", PathError::Key(KeyError::Empty)),
            ("/live/cam.flv/", PathError::Key(KeyError::Empty)),
            ("/live/a//b/cam.flv", PathError::Key(KeyError::Empty)),
            ("/live/%2e%2e/cam.flv", PathError::Key(KeyError::Dots)),
            ("/live/../cam.flv", PathError::Key(KeyError::Dots)),
            ("/live/a%2Fb.flv", PathError::EncodedSlash),
            ("/live/a%5cb.flv", PathError::EncodedSlash),
            ("/live/a%3Fb.flv", PathError::Key(KeyError::Character('?'))),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert!(parse(&format!("/live/{}.flv", "x".repeat(600))).is_err());
    }

    #[test]
    fn the_query_form_needs_both_names() {
        let of = |text| from_query(&Query::parse(text));
        assert_eq!(of("app=live&stream=a%2Fb").unwrap().as_str(), "live/a/b");
        assert_eq!(of("stream=cam&app=live&x=1").unwrap().as_str(), "live/cam");
        assert_eq!(of("app=live"), Err(PathError::Missing("stream")));
        assert_eq!(of("app=&stream=x"), Err(PathError::Missing("app")));
        assert_eq!(of("app=..&stream=x"), Err(PathError::Key(KeyError::Dots)));
    }
}
