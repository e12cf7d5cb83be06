//! The commands of `combdb` against a running server.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use combdb_tests::{Peer, PeerOptions, free_port};
use flate2::{Compression, write::GzEncoder};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

fn restaurants() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/restaurants.jsonl.gz")
}

fn file(name: &str, text: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn collections_and_indexes_are_made_changed_and_dropped() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("demo"));
    let collation = ["--collation", r#"{"locale": "de", "strength": 1}"#];
    peer.command(&[&["collections", "create", "words"][..], &collation].concat());
    peer.command(&["insert", "words", r#"{"_id": 1, "word": "Ähre"}"#]);
    // The collation of the collection takes letters with and without marks for one another.
    assert!(peer.command(&["find", "words", r#"{"word": "ahre"}"#]).contains("Ähre"));
    peer.command(&["collections", "rename", "words", "ears"]);
    assert_eq!(peer.command(&["collections", "list"]), "ears\n");
    peer.command(&["insert", "words", r#"{"_id": 2}"#]);
    let refused = peer.try_command(&["collections", "rename", "words", "ears"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ears"), "{refused:?}");
    peer.command(&["collections", "rename", "words", "ears", "--drop-target"]);
    assert_eq!(peer.command(&["find", "ears", "--count"]).trim(), "1");

    peer.command(&[
        "indexes",
        "create",
        "ears",
        r#"{"seen": 1}"#,
        "--options",
        r#"{"expireAfterSeconds": 60}"#,
    ]);
    let change = ["indexes", "change", "ears", "seen_1"];
    assert!(!peer.try_command(&change).status.success(), "a change of nothing");
    peer.command(&[&change[..], &["--hide", "--expire-after", "3600", "--rename", "seen"]].concat());
    let listed = peer.command(&["indexes", "list", "ears"]);
    assert!(listed.contains(r#""hidden":true"#) && listed.contains("3600"), "{listed}");
    peer.command(&["indexes", "change", "ears", "seen", "--unhide"]);
    assert!(!peer.command(&["indexes", "list", "ears"]).contains(r#""hidden":true"#));
    peer.command(&["indexes", "drop", "ears", "seen"]);
    peer.command(&["collections", "drop", "ears"]);
    assert_eq!(peer.command(&["collections", "list"]), "");
}

#[test]
fn the_restaurants_are_imported_indexed_and_found() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("demo"));
    let restaurants = restaurants();
    let import = ["import", restaurants.to_str().unwrap(), "--collection", "restaurants"];
    let output = peer.command(&import);
    assert!(output.starts_with("imported 2,548 documents"), "{output}");
    assert_eq!(peer.command(&["find", "restaurants", "--count"]).trim(), "2548");

    let keys = r#"{"type_of_food": 1, "rating": -1}"#;
    assert_eq!(peer.command(&["indexes", "create", "restaurants", keys]).trim(), "type_of_food_1_rating_-1");
    assert!(peer.command(&["indexes", "list", "restaurants"]).contains("type_of_food_1_rating_-1"));
    let find =
        ["find", "restaurants", r#"{"type_of_food": "Thai"}"#, "--sort", r#"{"rating": -1}"#, "--limit", "3"];
    let found = peer.command(&find);
    assert_eq!(found.lines().count(), 3);
    assert!(found.lines().all(|line| line.contains(r#""type_of_food":"Thai""#)), "{found}");
    let plan = peer.command(&[&find[..], &["--explain"]].concat());
    assert!(plan.contains("IXSCAN"), "{plan}");

    // Again: every line is there already.
    let again = peer.try_command(&import);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("line 1: "), "{again:?}");
    let again = peer.command(&[&import[..], &["--skip-duplicates"]].concat());
    assert!(again.contains("imported 0 documents") && again.contains("2,548 were there already"), "{again}");
    let upsert = peer.command(&[&import[..], &["--upsert", "--max-lines", "50"]].concat());
    assert!(upsert.contains("imported 50 documents"), "{upsert}");
    assert_eq!(peer.command(&["find", "restaurants", "--count"]).trim(), "2548");
    peer.command(&[&import[..], &["--drop", "--max-lines", "10"]].concat());
    assert_eq!(peer.command(&["find", "restaurants", "--count"]).trim(), "10");

    let status = peer.command(&["status", "--digest"]);
    assert!(status.contains("demo (open)") && status.contains("restaurants"), "{status}");
    assert!(peer.command(&["databases"]).contains("demo"));
}

#[test]
fn faulty_lines_are_told_by_number_and_the_others_imported() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let text = "{\"_id\": 1}\nnonsense\n\n{\"_id\": 1}\n{\"_id\": {\"$oid\": \"x\"}}\n[1]\n{\"_id\": 2, \"at\": {\"$date\": \"2009-04-01T00:00:00.000-0700\"}}\n";
    let (_folder, path) = file("lines.jsonl", text.as_bytes());
    let output = peer.try_command(&["import", &path, "--collection", "c"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    for line in ["line 2: ", "line 4: ", "line 5: ", "line 6: "] {
        assert!(errors.contains(line), "{errors}");
    }
    assert!(!errors.contains("line 1: ") && !errors.contains("line 7: "), "{errors}");
    assert_eq!(
        peer.command(&["find", "c", "--sort", r#"{"_id": 1}"#]),
        "{\"_id\":1}\n{\"_id\":2,\"at\":{\"$date\":\"2009-04-01T07:00:00Z\"}}\n"
    );
    let stopped = peer.try_command(&["import", &path, "--collection", "d", "--stop-on-error"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("stopped at line 2"), "{stopped:?}");
}

#[test]
fn an_import_with_stable_ids_may_be_run_again() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let lines: Vec<String> = (0..2_500).map(|n| format!("{{\"n\": {}}}\n", n % 7)).collect();
    let text = lines.concat();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let (_folder, path) = file("numbers.jsonl.gz", &encoder.finish().unwrap());
    let import = ["import", &path, "--collection", "c", "--stable-ids", "--skip-duplicates"];
    peer.command(&[&import[..], &["--max-lines", "1200"]].concat());
    assert_eq!(peer.command(&["find", "c", "--count"]).trim(), "1200");
    assert!(peer.command(&import).contains("imported 1,300 documents"));
    assert_eq!(peer.command(&["find", "c", "--count"]).trim(), "2500");
    let rest = ["import", &path, "--collection", "d", "--skip-lines", "2490"];
    assert!(peer.command(&rest).contains("imported 10 documents"));
}

#[test]
fn documents_are_written_from_the_command_line() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    assert_eq!(peer.command(&["insert", "c", r#"{"_id": 1, "n": 1}"#, r#"{"_id": "x"}"#]), "1\n\"x\"\n");
    assert_eq!(
        peer.command(&["update", "c", r#"{"_id": 1}"#, r#"{"$inc": {"n": 5}}"#]),
        "matched 1, modified 1\n"
    );
    assert_eq!(peer.command(&["find", "c", r#"{"n": 6}"#]), "{\"_id\":1,\"n\":6}\n");
    assert_eq!(peer.command(&["delete", "c", "{}", "--many"]), "deleted 2\n");
    let refused = peer.try_command(&["find", "c", r#"{"n": {"$foo": 1}}"#]);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.starts_with("error: ") && error.contains("(code 2)"), "{error}");
}

#[test]
fn the_database_must_be_named_only_where_there_are_several() {
    let peer = Peer::start(COMBDB, &PeerOptions::default());
    let refused = peer.try_command(&["find", "c"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no database yet"), "{refused:?}");
    peer.command(&["create", "one"]);
    peer.command(&["insert", "c", "{}"]);
    peer.command(&["create", "two"]);
    let refused = peer.try_command(&["find", "c"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--db: one, two"), "{refused:?}");
    assert_eq!(peer.command(&["find", "c", "--count", "--db", "one"]).trim(), "1");
    assert_eq!(peer.command(&["find", "c", "--count", "--db", "two"]).trim(), "0");
    let taken = peer.try_command(&["create", "one"]);
    assert_eq!(taken.status.code(), Some(1));
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let run = |arguments: &[&str]| Command::new(COMBDB).args(arguments).output().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let output = run(&["status", "--server", &address]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no server answers") && error.lines().count() == 1, "{error}");

    let output = run(&["import", "/does/not/exist", "--collection", "c"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("/does/not/exist"), "{output:?}");

    let output = run(&["serve", "--listen", "0.0.0.0:0", "--data", "/does/not/exist"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--insecure-listen"), "{output:?}");

    assert_eq!(run(&["frobnicate"]).status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run(&["--help"]).stdout).contains("Examples:"));
}
