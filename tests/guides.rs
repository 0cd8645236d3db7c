//! Keeps README, `docs/` and `deploy/` true: links lead somewhere, keys of the configuration and figures of `/metrics` that they
//! name are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README, ARCHITECTURE and the guides.
fn guides() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).expect("docs/");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    let mut all: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|is| is == "md")).collect();
    all.extend(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)));
    all
}

/// Dotted paths of all keys of the manual, sections included: a comment-free line `name:` or `name: value`, by its indent.
fn keys() -> BTreeSet<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut keys = BTreeSet::new();
    for line in config::MANUAL.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let Some((name, _)) = line.trim_start().split_once(':') else { continue };
        path.truncate((line.len() - line.trim_start().len()) / 2);
        path.push(name);
        keys.insert(path.join("."));
    }
    assert!(keys.contains("rtmp.port"), "the manual has lost its form");
    keys
}

/// The pieces of a text between back quotes, blocks of code left out.
fn quoted(text: &str) -> Vec<String> {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    prose.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for guide in guides() {
        let text = read(&guide);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let path = link.split('#').next().unwrap_or_default();
            let target = guide.parent().expect("a folder").join(path);
            assert!(target.exists(), "{}: nothing is at {link}", guide.display());
        }
    }
}

/// Guides name keys as `section.key`, perhaps with a value: `rtmp.port: 1936`, `play.grace=0ms`.
#[test]
fn every_key_that_a_guide_names_exists() {
    let keys = keys();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    let mut seen = 0;
    // The migration guides' first columns are other servers' words, which have no dots.
    for guide in guides() {
        for piece in quoted(&read(&guide)) {
            let name = piece.split([':', '=', ' ']).next().unwrap_or_default();
            let is_key = name.split_once('.').is_some_and(|(section, key)| {
                sections.contains(section)
                    && key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.')
            });
            // Files and addresses: log.rs, api.rs, httpflv.html.
            let is_file =
                [".rs", ".md", ".js", ".html", ".flv", ".yaml"].iter().any(|end| name.ends_with(end));
            if is_key && !is_file {
                seen += 1;
                assert!(keys.contains(name), "{}: there is no key {name}", guide.display());
            }
        }
    }
    assert!(seen > 50, "only {seen} keys were found in the guides");
}

/// Dashboards and alerts ask for figures by name; a figure that was renamed would leave them silent.
#[test]
fn every_figure_that_a_dashboard_or_an_alert_asks_for_is_served() {
    let source = read(&root().join("src/api/metrics.rs"));
    let mut seen = BTreeSet::new();
    for name in ["deploy/alerts.yml", "deploy/grafana-dashboard.json", "docs/observe.md"] {
        let text = read(&root().join(name));
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        for word in words.filter(|word| word.starts_with("shardcast_") || word.starts_with("srs_")) {
            // `shardcast_`, in prose, is what they begin with.
            if word.ends_with('_') {
                continue;
            }
            assert!(source.contains(&format!("\"{word}\"")), "{name} asks for {word}, which nobody serves");
            seen.insert(word.to_owned());
        }
    }
    assert!(seen.len() > 20, "only {seen:?}");
}

#[test]
fn the_profile_for_containers_allows_what_the_runtime_needs() {
    let profile: serde_json::Value =
        serde_json::from_str(&read(&root().join("deploy/seccomp.json"))).expect("JSON");
    let groups = profile["syscalls"].as_array().expect("a list");
    let names: BTreeSet<&str> = groups
        .iter()
        .filter(|group| group["action"] == "SCMP_ACT_ALLOW")
        .flat_map(|group| group["names"].as_array().into_iter().flatten().filter_map(|name| name.as_str()))
        .collect();
    for name in
        ["io_uring_setup", "io_uring_enter", "io_uring_register", "sendmmsg", "recvmmsg", "sched_setaffinity"]
    {
        assert!(names.contains(name), "{name}");
    }
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(!names.contains("ptrace") && !names.contains("mount"));
}
