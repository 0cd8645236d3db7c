//! Who a connection means: the many spellings of an RTMP address, read into one [`StreamKey`].
//!
//! A publisher says `tcUrl` and `app` in `connect` and a name in `publish` or `play`; where the path ends and the
//! parameters begin is up to each client. Here all three become one path, one list of parameters, one virtual host.
//! Invariant: parameters and virtual host are never part of the key. Lengths are bytes; callers bound them.

use std::{borrow::Cow, str::FromStr};

use shards::media::{KeyError, StreamKey};

/// The app of a stream that was named without one.
pub const DEFAULT_APP: &str = "__defaultApp__";
/// The "instance" that Flash encoders add to an application of their own accord.
const DEFAULT_INSTANCE: &str = "_definst_";
/// Prefixes of Flash servers that told the container of a file.
const CONTAINERS: [&str; 4] = ["flv", "mp4", "f4v", "mp3"];

/// What a `publish` or `play` addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl {
    /// The stream, or why the address names none.
    pub key: Result<StreamKey, KeyError>,
    /// The host in `tcUrl`, without port; empty when it has none.
    pub host: String,
    /// The virtual host that a `vhost` or `domain` parameter names.
    pub vhost: Option<String>,
    /// The parameters of the app, then those of the stream name.
    pub params: Params,
}

impl StreamUrl {
    /// From what `connect` and then `publish` or `play` said.
    ///
    /// The path is the app's levels, then the name's: an empty name leaves the app's last level as the name, and a
    /// path of one level belongs to [`DEFAULT_APP`]. `_definst_`, empty levels, `.flv` and container prefixes
    /// (`mp4:cam`) are dropped. Parameters follow `?` or `#`, of the app (else of `tcUrl`) and of the name. A path
    /// that goes on behind them (`live?vhost=v/cam`) and the old `live...vhost...v/cam` are understood.
    pub fn new(tc_url: &str, app: &str, name: &str) -> Self {
        let (host, _, rest) = authority(tc_url);
        let (tc_path, tc_query) = cut_query(rest);
        let (mut app, mut query) = cut_query(app.trim());
        if app.trim_matches('/').is_empty() {
            app = tc_path;
        }
        if query.is_empty() {
            query = tc_query;
        }
        let (name, name_query) = cut_query(name.trim());
        let name = without_container(name);

        let mut params = Params::default();
        let mut path = String::with_capacity(app.len() + name.len() + 2);
        push_path(&mut path, &mut params, app);
        let (query, behind) = cut_path_behind(query, name.is_empty() && levels(&path).count() < 2);
        params.append(query);
        push_path(&mut path, &mut params, behind);
        push_path(&mut path, &mut params, &name);
        params.append(name_query);

        let vhost = ["vhost", "domain"].iter().find_map(|name| params.last(name)).map(Cow::into_owned);
        Self { key: key(&path), host: host.to_owned(), vhost, params }
    }
}

/// `a=1&b=2`, kept as it came, in order, repeated names included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(String);

impl Params {
    /// As it came, without `?`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values as they came; a name without `=` has an empty value.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The first value of `name`, percent-decoded.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| decoded(value))
    }

    /// The last value of `name` that is not empty: the stream's own parameter wins over the app's.
    fn last(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter()
            .rev()
            .find(|(key, value)| *key == name && !value.is_empty())
            .map(|(_, value)| decoded(value))
    }

    fn append(&mut self, query: &str) {
        let query = query.trim_matches('&');
        if !query.is_empty() {
            if !self.0.is_empty() {
                self.0.push('&');
            }
            self.0.push_str(query);
        }
    }
}

/// An address to connect to: `rtmp://host[:port]/app/stream?k=v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientUrl {
    /// Whether the scheme is `rtmps`.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// As told; 1935, or 443 for `rtmps`.
    pub port: u16,
    /// What `connect` tells: everything before the stream's name.
    pub tc_url: String,
    /// May have several levels.
    pub app: String,
    /// The last level with its parameters.
    pub stream: String,
}

/// Why a text is no address to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `rtmp` nor `rtmps`.
    #[error("an RTMP address begins with rtmp:// or rtmps://")]
    Scheme,
    /// Nothing between the slashes.
    #[error("the address names no host")]
    Host,
    /// Not 1 to 65535.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// Fewer than two levels.
    #[error("the address needs an app and a stream: rtmp://host/app/stream")]
    Path,
}

impl FromStr for ClientUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (scheme, _) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(UrlError::Scheme),
        };
        let (host, port, rest) = authority(text);
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        let port = match port {
            "" => {
                if tls {
                    443
                } else {
                    1935
                }
            }
            digits => digits.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?,
        };
        let (path, query) = cut_query(rest);
        let (app, name) = path.trim_matches('/').rsplit_once('/').ok_or(UrlError::Path)?;
        let scheme = if tls { "rtmps" } else { "rtmp" };
        let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            tc_url: format!("{scheme}://{shown}:{port}/{app}"),
            app: app.to_owned(),
            stream: if query.is_empty() { name.to_owned() } else { format!("{name}?{query}") },
        })
    }
}

/// Host, port and what follows the slash, of `scheme://[user@]host[:port]/…`; all empty without a scheme.
fn authority(url: &str) -> (&str, &str, &str) {
    let Some((_, rest)) = url.trim().split_once("://") else { return ("", "", "") };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or("")),
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    (host, port, rest)
}

/// Path and parameters.
fn cut_query(text: &str) -> (&str, &str) {
    text.split_once(['?', '#']).unwrap_or((text, ""))
}

/// Parameters, and the path that a client left behind them.
///
/// The value of `vhost` or `domain` never holds a slash, so a path begins there. Elsewhere a slash may belong to a
/// value; it begins a path only where the path would otherwise be `too_short`.
fn cut_path_behind(query: &str, too_short: bool) -> (&str, &str) {
    let mut at = 0;
    for pair in query.split('&') {
        let named = pair.starts_with("vhost=") || pair.starts_with("domain=");
        if let Some(slash) = pair.find('/').filter(|_| named) {
            return (query.get(..at + slash).unwrap_or(query), query.get(at + slash..).unwrap_or(""));
        }
        at += pair.len() + 1;
    }
    match query.rfind('/').filter(|_| too_short) {
        Some(slash) => query.split_at(slash),
        None => (query, ""),
    }
}

/// Adds the levels of `text` to `path`, and what `...vhost...v` tells to `params`.
fn push_path(path: &mut String, params: &mut Params, text: &str) {
    let mut push = |text: &str| {
        path.push('/');
        path.push_str(text);
    };
    if let Some((head, tail)) = text.split_once("...") {
        let (pairs, rest) = tail.split_once('/').unwrap_or((tail, ""));
        let pieces: Vec<&str> = pairs.splitn(16, "...").collect();
        let pairs = pieces.as_chunks::<2>().0;
        if pieces.len().is_multiple_of(2) && pairs.iter().any(|[name, _]| matches!(*name, "vhost" | "domain"))
        {
            pairs.iter().for_each(|[name, value]| params.append(&format!("{name}={value}")));
            push(head);
            return push(rest);
        }
    }
    push(text);
}

fn levels(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|level| !level.is_empty() && *level != DEFAULT_INSTANCE)
}

fn key(path: &str) -> Result<StreamKey, KeyError> {
    let mut levels: Vec<&str> = levels(path).collect();
    let name = levels.pop().unwrap_or("").trim();
    let name = name.strip_suffix(".flv").filter(|stem| !stem.is_empty()).unwrap_or(name);
    match levels.is_empty() {
        true => StreamKey::new(DEFAULT_APP, name),
        false => StreamKey::new(levels.join("/").trim(), name),
    }
}

/// `mp4:a/b.mp4` → `a/b`, `flv:cam` → `cam`; any other name as it is.
fn without_container(name: &str) -> Cow<'_, str> {
    let Some((container, rest)) =
        name.split_once(':').filter(|(container, _)| CONTAINERS.contains(container))
    else {
        return Cow::Borrowed(name);
    };
    let stem = rest.strip_suffix(container).and_then(|stem| stem.strip_suffix('.'));
    Cow::Borrowed(stem.filter(|stem| !stem.is_empty()).unwrap_or(rest))
}

/// Percent-decoded where that gives UTF-8; as it came otherwise.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        let escaped = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                hex(*high).zip(hex(*low)).map(|(high, low)| ((high * 16 + low) as u8, after))
            }
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((byte, tail));
        out.push(byte);
        rest = tail;
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tc_url: &str, app: &str, name: &str) -> (String, Option<String>, String) {
        let url = StreamUrl::new(tc_url, app, name);
        let key = url.key.map_or_else(|error| format!("{error:?}"), |key| key.to_string());
        (key, url.vhost, url.params.as_str().to_owned())
    }

    fn key(app: &str, name: &str) -> String {
        of("", app, name).0
    }

    #[test]
    fn a_virtual_host_is_found_in_every_form_and_is_never_part_of_the_key() {
        let want = ("live/cam".to_owned(), Some("v.example".to_owned()), "vhost=v.example".to_owned());
        assert_eq!(of("rtmp://h/live", "live", "cam?vhost=v.example"), want, "in the stream's parameters");
        assert_eq!(of("rtmp://h/live?vhost=v.example", "live?vhost=v.example", "cam"), want, "in the app's");
        assert_eq!(of("rtmp://h/live?vhost=v.example", "live", "cam"), want, "in tcUrl only");
        assert_eq!(
            of("rtmp://h/live...vhost...v.example", "live...vhost...v.example", "cam"),
            want,
            "legacy"
        );
        assert_eq!(of("", "live?vhost=v.example/cam", ""), want, "with the path behind it");
        assert_eq!(of("", "live...vhost...v.example/cam", ""), want, "legacy, with the path behind it");
        assert_eq!(of("", "live#vhost=v.example", "cam"), want, "behind a hash");
        assert_eq!(of("", "live", "cam?domain=v.example").1, want.1, "as a domain");
        assert_eq!(of("", "live?vhost=a", "cam?vhost=b").1.as_deref(), Some("b"), "the stream's own wins");
    }

    #[test]
    fn parameters_of_app_and_stream_are_merged_in_order() {
        assert_eq!(of("", "live?a=1&b=2", "cam?c=3&a=4").2, "a=1&b=2&c=3&a=4");
        let url = StreamUrl::new("", "live?token=a%2Fb&flag", "cam?sign=x=y&bad=%zz&&token=c");
        assert_eq!(url.params.get("token").as_deref(), Some("a/b"));
        assert_eq!(url.params.get("sign").as_deref(), Some("x=y"));
        assert_eq!(url.params.get("bad").as_deref(), Some("%zz"));
        assert_eq!(url.params.get("flag").as_deref(), Some(""));
        assert_eq!(url.params.get("none"), None);
        assert_eq!(url.params.iter().count(), 5);
    }

    #[test]
    fn a_slash_in_a_value_is_not_a_path() {
        assert_eq!(of("", "live", "cam?back=http://x/y").0, "live/cam");
        assert_eq!(of("", "live/cam?back=http://x/y", "").0, "live/cam");
        assert_eq!(of("", "live?token=1/cam", ""), ("live/cam".into(), None, "token=1".into()));
    }

    #[test]
    fn a_path_is_the_levels_of_app_and_name_wherever_a_client_cuts_it() {
        for (app, name) in [("a/b", "c"), ("a", "b/c"), ("a/b/c", ""), ("/a//b/", "/c/"), ("", "a/b/c")] {
            assert_eq!(key(app, name), "a/b/c", "{app:?} {name:?}");
        }
        assert_eq!(key("live/_definst_", "cam"), "live/cam");
        assert_eq!(key("live", "_definst_/cam"), "live/cam");
        assert_eq!(of("rtmp://h:1935/live/", "", "cam").0, "live/cam", "no app in connect");
        assert_eq!(key("live", " cam\n"), "live/cam", "pasted with its line end");
    }

    #[test]
    fn what_is_missing_is_filled_in_or_told() {
        assert_eq!(of("rtmp://h/", "", "cam").0, "__defaultApp__/cam");
        assert_eq!(
            of("rtmp://h", "cam", "").0,
            "__defaultApp__/cam",
            "the last level of the app is the stream"
        );
        assert_eq!(of("", "", "").0, "Empty");
        assert_eq!(key("live", "../etc"), "Dots");
        assert_eq!(key("live", "a\u{1}b"), "Character('\\u{1}')");
        assert_eq!(key(&"a".repeat(600), "b"), "TooLong(602)");
    }

    #[test]
    fn extensions_and_container_prefixes_name_the_same_stream() {
        for name in ["cam", "cam.flv", "flv:cam", "flv:cam.flv", "mp4:cam.mp4", "mp4:cam"] {
            assert_eq!(key("live", name), "live/cam", "{name}");
        }
        assert_eq!(key("live", "mp4:a/b.mp4"), "live/a/b");
        assert_eq!(key("live", "cam.1"), "live/cam.1");
        assert_eq!(key("live", ".flv"), "live/.flv");
        assert_eq!(key("live", "rtsp:cam"), "live/rtsp:cam");
        assert_eq!(key("live", "a...b"), "live/a...b", "dots without a virtual host are a name");
    }

    #[test]
    fn the_host_is_read_without_user_port_and_brackets() {
        for (url, host) in [
            ("rtmp://h.example:1935/live", "h.example"),
            ("rtmp://user:pass@h.example/live", "h.example"),
            ("rtmp://[2001:db8::1]:1935/live", "2001:db8::1"),
            ("rtmp://h.example", "h.example"),
            ("live", ""),
        ] {
            assert_eq!(StreamUrl::new(url, "live", "cam").host, host, "{url}");
        }
    }

    #[test]
    fn an_address_to_connect_to_is_cut_before_the_stream() {
        let url: ClientUrl = "rtmp://h.example/a/b/cam?x=y/z".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.tls), ("h.example", 1935, false));
        assert_eq!((url.app.as_str(), url.stream.as_str()), ("a/b", "cam?x=y/z"));
        assert_eq!(url.tc_url, "rtmp://h.example:1935/a/b");
        let url: ClientUrl = "rtmps://[::1]:8443/live/cam".parse().unwrap();
        assert_eq!((url.port, url.tls, url.tc_url.as_str()), (8443, true, "rtmps://[::1]:8443/live"));
        for (text, error) in [
            ("http://h/live/cam", UrlError::Scheme),
            ("rtmp:///live/cam", UrlError::Host),
            ("rtmp://h:0/live/cam", UrlError::Port),
            ("rtmp://h:x/live/cam", UrlError::Port),
            ("rtmp://h/cam", UrlError::Path),
        ] {
            assert_eq!(text.parse::<ClientUrl>(), Err(error), "{text}");
        }
    }
}
