//! Makes the table of the web page's files that `src/web.rs` embeds.
//!
//! Everything in `web/` with an ending the table below knows is embedded; `web/vendor/` too, if somebody fetched it
//! (`scripts/fetch-web-vendor.sh`). A file with a `.gz` beside it is embedded both ways. No network, no tools.

use std::{
    env,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// Endings that are embedded, and what a browser is told they are.
const TYPES: [(&str, &str); 5] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo looks at everything below a folder, so a vendor folder that appears later is noticed.
    println!("cargo::rerun-if-changed=web");
    let variable =
        |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name.to_owned()));
    let web = variable("CARGO_MANIFEST_DIR")?.join("web");
    let out = variable("OUT_DIR")?.join("web_assets.rs");

    let mut table = String::from("&[\n");
    for (folder, prefix) in [(web.clone(), "/"), (web.join("vendor"), "/vendor/")] {
        for file in files(&folder)? {
            entry(&mut table, &file, prefix)?;
        }
    }
    table.push_str("]\n");
    fs::write(out, table)
}

/// The files of a folder by name; none when there is no such folder.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn entry(table: &mut String, file: &Path, prefix: &str) -> io::Result<()> {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let Some((_, content_type)) = TYPES.iter().find(|(known, _)| *known == ending) else { return Ok(()) };
    let name =
        file.file_name().and_then(|name| name.to_str()).ok_or_else(|| io::Error::other("a name in web/"))?;
    let bytes = fs::read(file)?;
    let etag = format!("W/\"{:016x}\"", fnv1a(&bytes));
    let packed = PathBuf::from(format!("{}.gz", file.display()));
    let gzip = match packed.is_file() {
        true => format!("Some(include_bytes!({:?}))", packed.display().to_string()),
        false => "None".to_owned(),
    };
    writeln!(
        table,
        "(\"{prefix}{name}\", Asset {{ bytes: include_bytes!({:?}), gzip: {gzip}, content_type: {content_type:?}, etag: {etag:?} }}),",
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
