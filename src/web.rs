//! The web page's files, embedded by `build.rs`: a table from path to bytes.
//!
//! The player library (`/vendor/mpegts.js`) is there only if it was fetched before the build; the page says so when it
//! is missing. Invariant: an [`Asset::etag`] changes whenever its bytes do.

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

/// Path and file, in the order of `build.rs`.
static ASSETS: &[(&str, Asset)] = include!(concat!(env!("OUT_DIR"), "/web_assets.rs"));

/// The file at an absolute `path` without query; `/` is the page.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let path = if path == "/" { "/index.html" } else { path };
    ASSETS.iter().find(|(known, _)| *known == path).map(|(_, asset)| asset)
}

/// Whether the page can play: the player library was there when this program was built.
pub fn has_player() -> bool {
    asset("/vendor/mpegts.js").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there_with_everything_it_names() {
        let page = asset("/").expect("the page is always embedded");
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        assert_eq!(asset("/index.html").map(|page| page.etag), Some(page.etag));
        let text = std::str::from_utf8(page.bytes).expect("UTF-8");
        for named in ["/app.js", "/style.css"] {
            assert!(text.contains(named), "the page names {named}");
            assert!(asset(named).is_some_and(|asset| !asset.bytes.is_empty()), "{named} is embedded");
        }
    }

    #[test]
    fn what_is_not_a_file_of_the_page_is_not_served() {
        for path in
            ["", "index.html", "/../Cargo.toml", "/web/index.html", "/vendor", "/vendor/", "//", "/app.js/"]
        {
            assert!(asset(path).is_none(), "{path}");
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
        assert_eq!(has_player(), asset("/vendor/mpegts.js").is_some());
    }
}
