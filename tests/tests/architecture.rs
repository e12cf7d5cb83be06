//! The arrows of ARCHITECTURE.md, held against the code.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The Rust files below a folder of the project, tests left out.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !["tests.rs", "stub.rs", "testing.rs"].contains(&name.as_str())
            {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                found.push((path, code));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

/// Asserts that no file below the folders names any of these.
fn names_none_of(folders: &[&str], words: &[&str]) {
    for folder in folders {
        for (path, text) in sources(folder) {
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap();
                for word in words {
                    assert!(!code.contains(word), "{}:{} names {word}", path.display(), number + 1);
                }
            }
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let manifest = |package: &str| fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
    let dependencies =
        |package: &str| manifest(package).split("[dev-dependencies]").next().unwrap().to_owned();
    for (package, strangers) in [
        ("db-index", &["db-core", "proto", "db-server", "redb", "tokio", "getrandom", "rand"][..]),
        ("db-core", &["proto.workspace", "db-server", "tonic", "prost"]),
        ("proto", &["db-core", "db-index", "db-server"]),
    ] {
        for stranger in strangers {
            let named = dependencies(package).lines().any(|line| line.starts_with(stranger));
            assert!(!named, "{package} depends on {stranger}");
        }
    }
}

#[test]
fn the_engine_names_no_runtime_clock_or_network() {
    let engine = ["apply", "engine", "entry", "linearizer", "operation", "query", "storage", "sync", "view"];
    let folders: Vec<String> = engine.iter().map(|room| format!("db-core/src/{room}")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    names_none_of(
        &folders,
        &[
            "tokio",
            "iroh",
            "Instant",
            "SystemTime",
            "std::thread",
            "getrandom",
            "std::net",
            "HashMap",
            "HashSet",
        ],
    );
    names_none_of(
        &["db-index/src"],
        &["tokio", "Instant::", "SystemTime", "std::thread", "std::fs", "std::net", "HashMap", "HashSet"],
    );
}

#[test]
fn logs_order_and_replication_know_neither_view_nor_collections() {
    names_none_of(
        &["db-core/src/entry", "db-core/src/linearizer", "db-core/src/sync"],
        &["crate::view", "crate::apply", "crate::collection", "crate::query", "crate::engine"],
    );
}
