//! The published query cases against the embedded database and against a server, run and judged by their own runner.
//!
//! All cases of tiers 1 and 2, with error codes. Failures that are known stand in `query-cases-known.txt`, one
//! `id reason` a line; any other failure, and any known one that passes, fails the test. Without the cases beside the
//! repository, or without Python, the test says so and passes.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test that meets the unexpected ends there, and says what it saw

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use combdb_tests::{Peer, PeerOptions};
use serde_json::Value;

const CHILD: &str = env!("CARGO_BIN_EXE_query-cases");

#[test]
fn the_published_cases_pass_embedded() {
    the_cases_pass(CHILD);
}

#[test]
fn the_published_cases_pass_against_a_server() {
    let server = Peer::start(env!("CARGO_BIN_EXE_combdb-under-test"), &PeerOptions::default());
    the_cases_pass(&format!("{CHILD} --grpc {}", server.address()));
}

/// Runs the cases against the child that `command` starts.
fn the_cases_pass(command: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = root.join("../../shared/query-cases");
    let Ok(file) = std::fs::File::open(cases.join("cases.jsonl.gz")) else {
        println!("skipped: no query cases at {}", cases.display());
        return;
    };
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: the runner of the query cases needs python3");
        return;
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (selected, fails) = (directory.path().join("cases.jsonl"), directory.path().join("fails.jsonl"));
    let lines: Vec<&str> = text.lines().filter(|line| is_selected(line)).collect();
    assert!(lines.len() > 2_600, "only {} cases", lines.len());
    std::fs::write(&selected, lines.join("\n")).unwrap();

    let known_path = root.join("query-cases-known.txt");
    let output = Command::new("python3")
        .arg(cases.join("run.py"))
        .args(["--adapter", "exec", "--codes", "--max-show", "1000", "-v", "--cmd"])
        .arg(command)
        .arg("--cases")
        .arg(&selected)
        .arg("--known")
        .arg(&known_path)
        .arg("--fails")
        .arg(&fails)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));

    let failed: BTreeSet<String> = std::fs::read_to_string(&fails)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    let known = std::fs::read_to_string(&known_path).unwrap();
    let known: BTreeSet<&str> = known
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(id, _)| id)
        .collect();
    let new: Vec<&String> = failed.iter().filter(|id| !known.contains(id.as_str())).collect();
    let passing: Vec<&&str> = known.iter().filter(|id| !failed.contains(**id)).collect();
    assert!(new.is_empty(), "cases that fail and are not known to: {new:?}");
    assert!(passing.is_empty(), "cases that pass; take them off query-cases-known.txt: {passing:?}");
}

/// Whether a case is of tier 1 or 2.
fn is_selected(line: &str) -> bool {
    let case: Value = serde_json::from_str(line).unwrap();
    case["tier"] == 1 || case["tier"] == 2
}
