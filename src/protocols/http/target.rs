//! What a request asks for: the four target forms of RFC 9112 section 3.2, percent-encoding and the query.
//!
//! Invariant: a [`Target`]'s path begins with `/` (or is the lone `*` of OPTIONS), is valid UTF-8 after decoding and
//! holds no control character.

use super::{HttpError, Method};

/// The target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Path and query as they came, without scheme and authority.
    raw: Box<str>,
    /// The path, decoded once as a whole.
    path: Box<str>,
    /// `host[:port]` of the absolute form.
    authority: Option<Box<str>>,
}

impl Target {
    /// Reads a target in the form that its method allows.
    ///
    /// # Errors
    /// [`HttpError::Target`] for every form and encoding that names nothing.
    pub fn parse(method: Method, text: &str) -> Result<Self, HttpError> {
        let (authority, raw) = match text {
            "*" if method == Method::Options => (None, "*"),
            "*" => return Err(HttpError::Target("'*' belongs to OPTIONS only")),
            _ if text.starts_with('/') => (None, text),
            _ => absolute(text)?,
        };
        if raw.contains('#') {
            return Err(HttpError::Target("a fragment ('#') stays with the client"));
        }
        let path = raw.split_once('?').map_or(raw, |(path, _)| path);
        // The root is what an absolute form without a path means.
        let (raw, path) = match path {
            "" => (format!("/{raw}").into(), "/"),
            _ => (raw.into(), path),
        };
        Ok(Self { path: decode_path(path)?.into(), raw, authority: authority.map(Into::into) })
    }

    /// Path and query as they came.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The path, percent-decoded. An encoded slash looks like any other here: [`super::path`] tells them apart.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path as it came, before decoding.
    pub fn raw_path(&self) -> &str {
        self.raw.split_once('?').map_or(&self.raw, |(path, _)| path)
    }

    /// What follows the first `?`, as it came; empty when there is none.
    pub fn raw_query(&self) -> &str {
        self.raw.split_once('?').map_or("", |(_, query)| query)
    }

    /// `host[:port]`, when the target came in absolute form (as through a proxy).
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }
}

/// Splits `http://host[:port]/path?query`.
fn absolute(text: &str) -> Result<(Option<&str>, &str), HttpError> {
    let (scheme, rest) =
        text.split_once("://").ok_or(HttpError::Target("a path begins with '/'; this server is no proxy"))?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(HttpError::Target("the scheme is not http, https, ws or wss"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.is_empty() || authority.contains('@') {
        return Err(HttpError::Target("the authority must be host[:port]"));
    }
    Ok((Some(authority), path))
}

/// Decodes a path or one level of it, strictly: these bytes become names.
pub(super) fn decode_path(text: &str) -> Result<String, HttpError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => hex_pair(rest.next(), rest.next())
                .ok_or(HttpError::Target("'%' must be followed by two hexadecimal digits"))?,
            byte => byte,
        };
        if decoded.is_ascii_control() {
            return Err(HttpError::Target("control characters are not allowed"));
        }
        bytes.push(decoded);
    }
    String::from_utf8(bytes).map_err(|_| HttpError::Target("the decoded path is not UTF-8"))
}

/// Decodes a name or value of a query as forms do: `+` is a space, what is no encoding stays as it is, and bytes that
/// are not UTF-8 become U+FFFD. Browsers and players differ too much here to be strict.
fn decode_form(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match hex_pair(tail.first().copied(), tail.get(1).copied()) {
                Some(decoded) => {
                    bytes.push(decoded);
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => bytes.push(b'%'),
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The pairs of a query in their order, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Box<[(Box<str>, Box<str>)]>,
}

impl Query {
    /// From the text after the `?`. Pairs are parted by `&`; one without `=` has an empty value.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name).into(), decode_form(value).into())
        });
        Self { pairs: pairs.collect() }
    }

    /// The first value of this name; names are compared exactly.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Every pair in its order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// No pair at all.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Result<Target, HttpError> {
        Target::parse(Method::Get, text)
    }

    #[test]
    fn a_path_is_decoded_and_its_raw_form_kept() {
        let target = get("/live/caf%C3%A9%20%31.flv?a=%20&b").unwrap();
        assert_eq!(target.path(), "/live/café 1.flv");
        assert_eq!(target.raw_path(), "/live/caf%C3%A9%20%31.flv");
        assert_eq!(target.raw_query(), "a=%20&b");
        assert_eq!(get("/live/café+1").unwrap().path(), "/live/café+1", "'+' is a space in queries only");
    }

    #[test]
    fn the_absolute_form_carries_its_authority() {
        let target = get("HTTP://media.example:8080/live/cam.flv?x=http://y").unwrap();
        assert_eq!((target.path(), target.authority()), ("/live/cam.flv", Some("media.example:8080")));
        assert_eq!(get("http://media.example").unwrap().raw(), "/");
        assert_eq!(get("http://media.example?a=1").unwrap().raw(), "/?a=1");
    }

    #[test]
    fn the_asterisk_belongs_to_options() {
        assert_eq!(Target::parse(Method::Options, "*").unwrap().path(), "*");
        assert!(get("*").is_err());
    }

    #[test]
    fn what_names_nothing_is_refused_with_a_sentence() {
        for text in [
            "live/cam.flv",
            "media.example:443",
            "ftp://h/x",
            "http://",
            "http://u:p@h/",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%00b",
            "/a%0d%0aSet-Cookie:x",
            "/%ff%fe",
            "/a#b",
            "/\u{7f}",
            "",
        ] {
            assert!(matches!(get(text), Err(HttpError::Target(_))), "{text}: {:?}", get(text));
        }
    }

    #[test]
    fn a_query_is_read_as_browsers_and_players_write_it() {
        let query =
            Query::parse("app=live&stream=cam+1%2Fa&&token=a=b==&flag&bad=%zz%4&app=other&%C3%A9=%ff&=v");
        assert_eq!(query.get("app"), Some("live"), "the first one counts");
        assert_eq!(query.get("stream"), Some("cam 1/a"));
        assert_eq!(query.get("token"), Some("a=b=="));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("bad"), Some("%zz%4"));
        assert_eq!(query.get("é"), Some("\u{fffd}"));
        assert_eq!(query.get("none"), None);
        assert_eq!(query.iter().count(), 8);
        assert!(Query::parse("").is_empty());
    }
}
