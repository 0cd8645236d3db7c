//! Makes the table of the web pages' files that `src/web.rs` embeds.
//!
//! Everything below `web/` with an ending the table below knows is embedded, text compressed as well; `web/vendor/` too, if
//! somebody fetched it (`scripts/fetch-web-vendor.sh`). `/vendor/manifest.js` names what is there, so that the pages need not
//! ask for what is not. No network.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

/// Endings that are embedded, what a browser is told they are, and whether compressing them is worth it.
const TYPES: [(&str, &str, bool); 6] = [
    ("html", "text/html; charset=utf-8", true),
    ("js", "text/javascript; charset=utf-8", true),
    ("css", "text/css; charset=utf-8", true),
    ("svg", "image/svg+xml", true),
    ("txt", "text/plain; charset=utf-8", true),
    ("woff2", "font/woff2", false),
];

/// Made here; see the module.
const MANIFEST: &str = "/vendor/manifest.js";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo looks at everything below a folder, so a vendor folder that appears later is noticed.
    println!("cargo::rerun-if-changed=web");
    let variable =
        |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name.to_owned()));
    let (web, out) = (variable("CARGO_MANIFEST_DIR")?.join("web"), variable("OUT_DIR")?);
    let mut files = Vec::new();
    gather(&web, "/", &mut files)?;
    let vendor: Vec<&str> = files.iter().filter_map(|(path, _)| path.strip_prefix("/vendor/")).collect();
    let manifest = out.join("manifest.js");
    fs::write(&manifest, format!("export const files = {vendor:?};\n"))?;
    files.push((MANIFEST.to_owned(), manifest));
    files.sort();

    let mut table = String::from("&[\n");
    for (number, (path, file)) in files.iter().enumerate() {
        entry(&mut table, path, file, &out.join(format!("{number}.gz")))?;
    }
    table.push_str("]\n");
    fs::write(out.join("web_assets.rs"), table)
}

/// All files below `folder` that are embedded, with their paths on the server.
fn gather(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        let path = format!("{prefix}{name}");
        if file.is_dir() {
            gather(&file, &format!("{path}/"), files)?;
        } else if path != MANIFEST && type_of(&file).is_some() {
            files.push((path, file));
        }
    }
    Ok(())
}

fn type_of(file: &Path) -> Option<(&'static str, bool)> {
    let ending = file.extension()?.to_str()?;
    TYPES.iter().find(|(known, ..)| *known == ending).map(|(_, content_type, packs)| (*content_type, *packs))
}

fn entry(table: &mut String, path: &str, file: &Path, packed: &Path) -> io::Result<()> {
    let Some((content_type, packs)) = type_of(file) else { return Ok(()) };
    let bytes = fs::read(file)?;
    let etag = format!("W/\"{:016x}\"", fnv1a(&bytes));
    let mut gzip = "None".to_owned();
    if packs {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        let small = encoder.finish()?;
        if small.len() < bytes.len() {
            fs::write(packed, small)?;
            gzip = format!("Some(include_bytes!({:?}))", packed.display().to_string());
        }
    }
    writeln!(
        table,
        "({path:?}, Asset {{ bytes: include_bytes!({:?}), gzip: {gzip}, content_type: {content_type:?}, etag: {etag:?} }}),",
        file.display().to_string()
    )
    .map_err(io::Error::other)
}

/// FNV-1a, 64 bits: tells two versions of a page apart, nothing more.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
