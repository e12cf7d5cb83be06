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
fn updates_take_stages_array_filters_collations_and_hints() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    peer.command(&["insert", "c", r#"{"_id": 1, "name": "Ada", "grades": [{"p": 30}, {"p": 80}]}"#]);
    let low = ["--array-filters", r#"[{"low.p": {"$lt": 50}}]"#];
    let fail = ["update", "c", "{}", r#"{"$set": {"grades.$[low].failed": true}}"#];
    assert_eq!(peer.command(&[&fail[..], &low].concat()), "matched 1, modified 1\n");
    let stages = r#"[{"$set": {"best": {"$max": "$grades.p"}}}, {"$unset": "grades"}]"#;
    assert_eq!(peer.command(&["update", "c", "{}", stages, "--many"]), "matched 1, modified 1\n");
    assert_eq!(peer.command(&["find", "c"]), "{\"_id\":1,\"name\":\"Ada\",\"best\":80}\n");

    let collation = ["--collation", r#"{"locale": "en", "strength": 1}"#];
    let by_name = r#"{"name": "ada"}"#;
    for command in [&["find", "c", by_name][..], &["find", "c", by_name, "--count"], &["count", "c", by_name]]
    {
        assert_ne!(peer.command(&[command, &collation].concat()), peer.command(command), "{command:?}");
    }
    let values = ["distinct", "c", "best", by_name];
    assert_eq!(peer.command(&[&values[..], &collation].concat()), "80\n");
    let least = ["--let", r#"{"least": 70}"#];
    let by_least = r#"{"$expr": {"$gte": ["$best", "$$least"]}}"#;
    assert_eq!(peer.command(&[&["count", "c", by_least][..], &least].concat()), "1\n");

    peer.command(&["indexes", "create", "c", r#"{"best": 1}"#]);
    for hint in ["best_1", r#"{"best": 1}"#] {
        for command in [
            &["find", "c"][..],
            &["count", "c"],
            &["delete", "c", "{}"],
            &["update", "c", "{}", "{\"$set\": {}}"],
        ] {
            let plan = peer.command(&[command, &["--hint", hint, "--explain"]].concat());
            assert!(plan.contains("IXSCAN"), "{command:?} {hint}: {plan}");
        }
    }
    assert_eq!(peer.command(&["count", "c"]).trim(), "1", "explaining has deleted nothing");
    let hinted = peer.try_command(&["find", "c", "--hint", "none"]);
    assert!(String::from_utf8_lossy(&hinted.stderr).contains("(code 2)"), "{hinted:?}");

    assert_eq!(peer.command(&["replace", "c", by_name, r#"{"n": 1}"#]), "matched 0, modified 0\n");
    let replaced = peer.command(&[&["replace", "c", by_name, r#"{"n": 1}"#][..], &collation].concat());
    assert_eq!(replaced, "matched 1, modified 1\n");
    let upserted = peer.command(&["replace", "c", r#"{"_id": 7}"#, r#"{"n": 2}"#, "--upsert"]);
    assert_eq!(upserted, "matched 0, modified 0\ninserted 7\n");
    assert_eq!(
        peer.command(&["find", "c", "--sort", r#"{"n": -1}"#, "--limit", "1"]),
        "{\"_id\":7,\"n\":2}\n"
    );
}

#[test]
fn a_document_is_changed_and_printed_in_one_step() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let count = ["find-and-update", "counters", r#"{"_id": "orders"}"#, r#"{"$inc": {"n": 1}}"#, "--upsert"];
    assert_eq!(peer.command(&count), "", "as it was: not at all");
    assert_eq!(
        peer.command(&[&count[..], &["--return", "after"]].concat()),
        "{\"_id\":\"orders\",\"n\":2}\n"
    );

    peer.command(&[
        "insert",
        "jobs",
        r#"{"_id": 1, "at": 5, "tags": [1, 9]}"#,
        r#"{"_id": 2, "at": 4, "tags": [8]}"#,
    ]);
    let first = ["--sort", r#"{"at": 1}"#, "--projection", r#"{"tags": 1}"#];
    let mark = ["find-and-update", "jobs", "{}", r#"{"$set": {"tags.$[big]": 0}}"#, "--return", "after"];
    let mark = [&mark[..], &first, &["--array-filters", r#"{"big": {"$gt": 5}}"#]].concat();
    assert_eq!(peer.command(&mark), "{\"_id\":2,\"tags\":[0]}\n");
    let stages = ["find-and-update", "jobs", r#"{"_id": 1}"#, r#"[{"$set": {"at": {"$size": "$tags"}}}]"#];
    assert_eq!(peer.command(&stages), "{\"_id\":1,\"at\":5,\"tags\":[1,9]}\n");
    let replace = ["find-and-replace", "jobs", r#"{"at": 2}"#, r#"{"done": true}"#, "--return", "after"];
    assert_eq!(peer.command(&replace), "{\"_id\":1,\"done\":true}\n");
    let delete = [&["find-and-delete", "jobs", "{}", "--sort", r#"{"_id": -1}"#][..]].concat();
    assert_eq!(peer.command(&delete), "{\"_id\":2,\"at\":4,\"tags\":[0]}\n");
    assert_eq!(peer.command(&["find-and-delete", "jobs", r#"{"_id": 2}"#]), "");
    assert_eq!(peer.command(&["count", "jobs"]).trim(), "1");
}

#[test]
fn a_bulk_is_carried_out_line_by_line() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let text = r#"{"insertOne": {"document": {"_id": 1, "n": 1}}}
{"insertOne": {"document": {"_id": 2, "n": 2, "tags": ["a", "b"]}}}

{"updateOne": {"filter": {"_id": 1}, "update": {"$inc": {"n": 4}}}}
{"updateMany": {"filter": {}, "update": [{"$set": {"twice": {"$multiply": ["$n", 2]}}}]}}
{"updateOne": {"filter": {"_id": 2}, "update": {"$set": {"tags.$[t]": "c"}}, "arrayFilters": [{"t": "b"}]}}
{"updateOne": {"filter": {"_id": 3}, "update": {"$set": {"n": 3}}, "upsert": true}}
{"replaceOne": {"filter": {"_id": 3}, "replacement": {"n": 33}}}
{"insertOne": {"document": {"_id": 4}}}
{"deleteOne": {"filter": {"_id": 4}}}
"#;
    let (_folder, path) = file("writes.jsonl", text.as_bytes());
    let counts =
        r#"{"insertedCount":3,"matchedCount":5,"modifiedCount":5,"deletedCount":1,"upsertedCount":1}"#;
    assert_eq!(peer.command(&["bulk", "c", &path]).trim(), counts);
    let found = "{\"_id\":1,\"n\":5,\"twice\":10}\n\
        {\"_id\":2,\"n\":2,\"tags\":[\"a\",\"c\"],\"twice\":4}\n{\"_id\":3,\"n\":33}\n";
    assert_eq!(peer.command(&["find", "c", "--sort", r#"{"_id": 1}"#]), found);
}

#[test]
fn a_bulk_ends_at_the_first_line_that_fails_unless_it_is_unordered() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let text = r#"{"insertOne": {"document": {"_id": 1}}}
{"insertOne": {"document": {"_id": 1}}}
{"insertMany": {}}
{"updateOne": {"filter": {"$foo": 1}, "update": {"$set": {"a": 1}}}}
{"updateOne": {"filter": {}, "update": {"$inc": {"_id": 1}}}}
{"insertOne": {"document": {"_id": 2}}}
"#;
    let (_folder, path) = file("writes.jsonl", text.as_bytes());
    let ordered = peer.try_command(&["bulk", "c", &path]);
    let told = String::from_utf8_lossy(&ordered.stderr).into_owned();
    assert_eq!(ordered.status.code(), Some(1));
    assert!(told.starts_with("line 2: ") && told.contains("(code 11000)"), "{told}");
    assert!(told.contains("error: stopped at line 2") && !told.contains("line 3"), "{told}");
    assert!(String::from_utf8_lossy(&ordered.stdout).starts_with(r#"{"insertedCount":1,"#), "{ordered:?}");

    let unordered = peer.try_command(&["bulk", "d", &path, "--unordered"]);
    let told = String::from_utf8_lossy(&unordered.stderr).into_owned();
    assert_eq!(unordered.status.code(), Some(1));
    for line in ["line 2: ", "line 3: a write is insertOne", "line 4: ", "line 5: "] {
        assert!(told.contains(line), "{line} {told}");
    }
    assert!(told.contains("error: 4 lines failed"), "{told}");
    assert!(
        String::from_utf8_lossy(&unordered.stdout).starts_with(r#"{"insertedCount":2,"#),
        "{unordered:?}"
    );
    assert_eq!(peer.command(&["count", "d"]).trim(), "2");

    // More lines than go into one entry keep their numbers.
    let lines: Vec<String> = (0..2_500)
        .map(|id| format!("{{\"insertOne\": {{\"document\": {{\"_id\": {}}}}}}}\n", id % 2_400))
        .collect();
    let (_folder, path) = file("many.jsonl", lines.concat().as_bytes());
    let many = peer.try_command(&["bulk", "e", &path]);
    assert!(String::from_utf8_lossy(&many.stderr).contains("line 2401: "), "{many:?}");
    assert_eq!(peer.command(&["count", "e"]).trim(), "2400");
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
