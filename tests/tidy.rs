//! Keeps the house as `ARCHITECTURE.md` describes it: who imports whom, no circles, no long files, one place for `unsafe`, and a
//! manual that equals the code's defaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Lines after which a file is surely two ideas.
const LINES_MAX: usize = 600;
/// Lines after which it is worth a look; reported, not refused.
const LINES_LARGE: usize = 350;

/// What a room may import: other rooms, and what of the workspace and the runtime.
#[derive(Debug, Default)]
struct Allowed {
    rooms: BTreeSet<String>,
    crates: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder that lists itself").path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The table in `ARCHITECTURE.md`.
fn map() -> BTreeMap<String, Allowed> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let words = |cell: &str| cell.split_whitespace().map(str::to_owned).collect();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| room |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let map: BTreeMap<String, Allowed> = rows
        .map(|cells| (cells[1].to_owned(), Allowed { rooms: words(cells[2]), crates: words(cells[3]) }))
        .collect();
    assert!(map.len() > 5, "ARCHITECTURE.md has lost its table of rooms");
    map
}

/// The room that a source file of this package belongs to.
fn room(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root().join("src")).ok()?;
    let first = inside.iter().next()?.to_str()?;
    let test =
        path.file_stem().is_some_and(|stem| stem == "tests") || path.iter().any(|part| part == "tests");
    Some(first.trim_end_matches(".rs").to_owned()).filter(|room| room != "lib" && !test)
}

/// Code without comments and without what a `#[cfg(test)]` module at its end holds.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first names behind each `prefix::` in `code`, those in braces too.
fn names_behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let boundary =
            code[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || "_:".contains(c)));
        if !boundary {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => names.extend(identifier(rest)),
            Some(group) => {
                let (mut depth, mut start) = (0, true);
                for (offset, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && depth == 0 && !c.is_whitespace() => {
                            names.extend(identifier(&group[offset..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[test]
fn rooms_import_what_the_map_allows() {
    let map = map();
    let mut problems = Vec::new();
    for path in rust_files("src") {
        let Some(room) = room(&path) else { continue };
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let Some(allowed) = map.get(&room) else {
            problems.push(format!("{shown}: the room '{room}' is not in ARCHITECTURE.md"));
            continue;
        };
        let code = code(&read(&path));
        let prefix = if room == "main" { "shardcast::" } else { "crate::" };
        for other in names_behind(&code, prefix) {
            if map.contains_key(&other) && other != room && !allowed.rooms.contains(&other) {
                problems.push(format!("{shown}: '{room}' may not import '{other}'"));
            }
        }
        for runtime in ["config", "glommio"] {
            // A module of the same name is no crate: only what is imported counts.
            if code.contains(&format!("use {runtime}::")) && !allowed.crates.contains(runtime) {
                problems.push(format!("{shown}: '{room}' may not import the crate '{runtime}'"));
            }
        }
        for part in names_behind(&code, "shards::") {
            let whole = allowed.crates.contains("shards");
            let listed = allowed.crates.contains(&format!("shards::{part}"));
            if !whole && !listed {
                problems.push(format!("{shown}: '{room}' may not import 'shards::{part}'"));
            }
        }
    }
    assert!(problems.is_empty(), "the import map is broken:\n{}", problems.join("\n"));
}

#[test]
fn the_map_has_no_circle() {
    let map = map();
    fn visit<'a>(room: &'a str, map: &'a BTreeMap<String, Allowed>, path: &mut Vec<&'a str>) {
        assert!(!path.contains(&room), "a circle: {} -> {room}", path.join(" -> "));
        path.push(room);
        for next in map.get(room).map(|allowed| &allowed.rooms).into_iter().flatten() {
            assert!(map.contains_key(next), "'{room}' may import '{next}', which is no room");
            visit(next, map, path);
        }
        path.pop();
    }
    for room in map.keys() {
        visit(room, &map, &mut Vec::new());
    }
}

#[test]
fn the_pure_half_of_shards_knows_no_runtime() {
    for folder in ["shards/src/media", "shards/src/stream"] {
        for path in rust_files(folder) {
            let code = code(&read(&path));
            for runtime in ["glommio::", "core_affinity::", "std::net::Tcp", "std::thread"] {
                assert!(!code.contains(runtime), "{}: {runtime} in the pure half", path.display());
            }
        }
    }
}

#[test]
fn protocols_know_no_socket_clock_or_thread() {
    for folder in ["src/protocols", "src/codecs"] {
        for path in rust_files(folder).into_iter().filter(|path| !path.to_string_lossy().contains("test")) {
            let code = code(&read(&path));
            for forbidden in ["std::thread", "Instant::now", "SystemTime", "TcpStream", "tracing::", "async "]
            {
                assert!(!code.contains(forbidden), "{}: {forbidden} in a protocol machine", path.display());
            }
        }
    }
}

#[test]
fn unsafe_stands_in_net_alone() {
    for folder in ["src", "shards/src", "config/src", "benches", "tests"] {
        for path in rust_files(folder) {
            if path.starts_with(root().join("src/net")) || path.ends_with("tidy.rs") {
                continue;
            }
            assert!(
                !code(&read(&path)).contains("allow(unsafe_code)"),
                "{}: unsafe outside net",
                path.display()
            );
        }
    }
    for path in rust_files("src/net") {
        let text = read(&path);
        let (blocks, reasons) = (text.matches("unsafe {").count(), text.matches("// SAFETY:").count());
        assert!(blocks <= reasons, "{}: {blocks} unsafe blocks, {reasons} reasons", path.display());
    }
}

#[test]
fn files_open_with_their_job_and_stay_short() {
    let mut large = Vec::new();
    for folder in ["src", "shards/src", "config/src", "benches", "tests"] {
        for path in rust_files(folder) {
            let text = read(&path);
            let lines = text.lines().count();
            let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            assert!(lines <= LINES_MAX, "{shown} has {lines} lines; at most {LINES_MAX}: it is two ideas");
            assert!(text.starts_with("//!"), "{shown} does not open with its job");
            if lines > LINES_LARGE {
                large.push(format!("{lines:5} {shown}"));
            }
        }
    }
    large.sort();
    println!("files over {LINES_LARGE} lines:\n{}", large.join("\n"));
}

#[test]
fn the_manual_equals_the_defaults() {
    let folder = std::env::temp_dir().join(format!("shardcast-tidy-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("shardcast.yaml");
    fs::write(&file, config::MANUAL).unwrap();
    let sources = config::Sources { file: Some(file), env: Vec::<(std::ffi::OsString, _)>::new(), sets: &[] };
    let loaded = config::Config::load(sources).unwrap_or_else(|errors| panic!("{errors}"));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(loaded.config, config::Config::default());
}
