//! The web pages' files, embedded by `build.rs`: a table from path to bytes.
//!
//! The console is one document that its own script fills: `/`, `/watch/app/name`, `/studio` and `/server` are all it. The
//! player for other people's pages is another, `/player/app/name`. What was fetched before the build lies in `/vendor/`; the
//! pages say what is missing. Invariant: an [`Asset::etag`] changes whenever its bytes do.

/// One embedded file.
#[derive(Debug)]
pub struct Asset {
    /// The file as it is.
    pub bytes: &'static [u8],
    /// The same, compressed for `Content-Encoding: gzip`, where that was worth it.
    pub gzip: Option<&'static [u8]>,
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// For the `ETag` header, quotes included; weak, because both encodings share it.
    pub etag: &'static str,
}

/// Path and file, in the order of their paths.
static ASSETS: &[(&str, Asset)] = include!(concat!(env!("OUT_DIR"), "/web_assets.rs"));

/// The document of the console.
const CONSOLE: &str = "/index.html";
/// The document of the embedded player.
const PLAYER: &str = "/player.html";

/// What a document may load: this server alone. Pictures and media are also made in the page (stills, Media Source). Some
/// browsers do not count WebSockets of the same host as `'self'`.
macro_rules! policy {
    ($ancestors:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; ",
            "media-src 'self' blob:; connect-src 'self' ws: wss:; form-action 'none'; base-uri 'none'; ",
            "frame-ancestors ",
            $ancestors
        )
    };
}

/// Nobody may frame the console: a click on it may close connections.
const CONSOLE_POLICY: &str = policy!("'none'");
/// Everybody may frame the player: that is what it is for.
const PLAYER_POLICY: &str = policy!("*");

/// Headers of every file: no guessing of types, and no address of a page, which may hold a token, goes to others.
const HEADERS: [(&str, &str); 2] =
    [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")];

/// The file at an absolute `path` without query; pages of the console are its document.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let path = document(path).unwrap_or(path);
    let at = ASSETS.binary_search_by_key(&path, |(known, _)| known).ok()?;
    ASSETS.get(at).map(|(_, asset)| asset)
}

/// The document behind the path of a page.
fn document(path: &str) -> Option<&'static str> {
    match path.trim_end_matches('/') {
        // SRS's console is at `/console`, and people have that in their bookmarks.
        "" if path == "/" => Some(CONSOLE),
        "/console" | "/studio" | "/server" => Some(CONSOLE),
        page if page.starts_with("/watch/") => Some(CONSOLE),
        page if page.starts_with("/player/") => Some(PLAYER),
        _ => None,
    }
}

/// The headers that go with the file at `path`, besides those of its type and version.
pub fn headers(path: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let policy = match document(path).unwrap_or(path) {
        CONSOLE => Some(CONSOLE_POLICY),
        PLAYER => Some(PLAYER_POLICY),
        _ => None,
    };
    HEADERS.into_iter().chain(policy.map(|policy| ("Content-Security-Policy", policy)))
}

/// Whether the pages can play FLV: the player library was there when this program was built.
pub fn has_player() -> bool {
    asset("/vendor/mpegts.js").is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn text(path: &str) -> &'static str {
        let asset = asset(path).unwrap_or_else(|| panic!("{path} is embedded"));
        std::str::from_utf8(asset.bytes).expect("UTF-8")
    }

    /// What a document or a script names: absolute paths in quotes, with an ending that is embedded.
    fn named(source: &str) -> impl Iterator<Item = &str> {
        let pieces = source.split(['"', '\'', '(', ')']);
        pieces.filter(|piece| {
            piece.starts_with('/')
                && [".js", ".css", ".svg"].iter().any(|ending| piece.ends_with(ending))
                && !piece.starts_with("/vendor/")
        })
    }

    #[test]
    fn the_pages_are_there_with_everything_they_name() {
        let (mut seen, mut waiting) = (HashSet::new(), vec!["/index.html", "/player.html"]);
        while let Some(path) = waiting.pop() {
            if seen.insert(path) {
                waiting.extend(named(text(path)));
            }
        }
        assert!(seen.len() > 20, "the search finds the scripts: {seen:?}");
        let files = ASSETS.iter().map(|(path, _)| *path).filter(|path| !path.starts_with("/vendor/"));
        let unused: Vec<_> = files.filter(|path| !seen.contains(path)).collect();
        assert_eq!(unused, [] as [&str; 0], "nothing is embedded that no page names");
    }

    #[test]
    fn every_page_of_the_console_is_its_document() {
        for path in ["/", "/index.html", "/console", "/console/", "/studio", "/server", "/watch/live/a%20b"] {
            assert_eq!(
                asset(path).map(|page| page.etag),
                asset("/index.html").map(|page| page.etag),
                "{path}"
            );
            let policy = headers(path).find(|(name, _)| *name == "Content-Security-Policy");
            assert!(policy.is_some_and(|(_, policy)| policy.ends_with("frame-ancestors 'none'")), "{path}");
        }
        assert_eq!(
            asset("/player/live/demo").map(|page| page.etag),
            asset("/player.html").map(|page| page.etag)
        );
        assert!(headers("/player/live/demo").any(|(_, value)| value.ends_with("frame-ancestors *")));
    }

    #[test]
    fn what_is_not_a_file_of_the_pages_is_not_served() {
        for path in [
            "",
            "index.html",
            "/../Cargo.toml",
            "/web/index.html",
            "/vendor",
            "/vendor/",
            "//",
            "/js/app.js/",
            "/watch",
            "/player",
            "/js",
            "/studio/x",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    /// Names of streams are hostile: nothing that the pages show may be parsed as HTML or run as a script.
    #[test]
    fn no_script_makes_elements_from_text() {
        for (path, _) in
            ASSETS.iter().filter(|(path, _)| path.ends_with(".js") && !path.starts_with("/vendor/"))
        {
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(!text(path).contains(word), "{path} has {word}");
            }
        }
        for page in ["/index.html", "/player.html"] {
            assert!(
                !text(page).contains(" style=") && !text(page).contains(" onclick="),
                "{page} has inline code"
            );
        }
    }

    #[test]
    fn etags_are_quoted_and_differ() {
        let mut etags: Vec<_> = ASSETS.iter().map(|(_, asset)| asset.etag).collect();
        assert!(etags.iter().all(|etag| etag.len() == 20 && etag.starts_with("W/\"") && etag.ends_with('"')));
        etags.sort_unstable();
        etags.dedup();
        assert_eq!(etags.len(), ASSETS.len());
    }

    #[test]
    fn a_compressed_file_is_smaller_and_gzip() {
        for (path, asset) in ASSETS {
            if let Some(gzip) = asset.gzip {
                assert!(gzip.starts_with(&[0x1f, 0x8b]) && gzip.len() < asset.bytes.len(), "{path}");
            }
        }
        assert!(asset("/index.html").is_some_and(|page| page.gzip.is_some()), "the page is compressed");
    }

    #[test]
    fn the_manifest_names_what_the_build_found() {
        assert_eq!(has_player(), text("/vendor/manifest.js").contains("\"mpegts.js\""));
        for (path, _) in ASSETS.iter().filter(|(path, _)| path.ends_with(".woff2")) {
            let name = path.rsplit('/').next().unwrap_or_default();
            assert!(text("/vendor/manifest.js").contains(name), "{path}");
        }
    }
}
