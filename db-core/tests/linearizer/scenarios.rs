//! The 120 shared scenarios, through the example's own code path.

#[path = "../../examples/linearize/graph.rs"]
mod graph;

use std::fs;
use std::path::Path;

#[test]
fn all_shared_scenarios_come_out_as_expected() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/linearizer/scenarios.jsonl");
    let text = fs::read_to_string(path).expect("the shared scenarios lie beside the workspace");
    let mut count = 0;
    for line in text.lines() {
        let given: serde_json::Value = serde_json::from_str(line).unwrap();
        let answer = graph::linearize(line).unwrap();
        for field in ["confirmed", "tail", "epoch", "indexers"] {
            assert_eq!(answer[field], given["expect"][field], "{} of {}", field, given["name"]);
        }
        count += 1;
    }
    assert_eq!(count, 120);
}

#[test]
fn a_fork_that_breaks_confirmation_makes_the_example_start_anew() {
    let entry = |id: u8, seq: u8, parents: &str, wave: u8| {
        format!(
            r#"{{"id":{id},"writer":"a","seq":{seq},"parents":{parents},"time":1,"epoch":0,"wave":{wave}}}"#
        )
    };
    let entries = [entry(0, 0, "[]", 1), entry(1, 1, "[0]", 2), entry(2, 1, "[0]", 2), entry(3, 2, "[2]", 3)];
    // With the first three, of two confirmed proposals in one wave the higher hash; then the one with a successor.
    for (count, confirmed) in [(2, "[0,1]"), (3, "[0,2]"), (4, "[0,2,3]")] {
        let line =
            format!(r#"{{"name":"fork","indexers":["a"],"entries":[{}]}}"#, entries[..count].join(","));
        assert_eq!(graph::linearize(&line).unwrap()["confirmed"].to_string(), confirmed);
    }
}

#[test]
fn bad_graphs_are_refused_with_a_reason() {
    let graph = |entries: &str| format!(r#"{{"name":"x","indexers":["a","b"],"entries":[{entries}]}}"#);
    let first = r#"{"id":0,"writer":"a","seq":0,"parents":[],"time":1,"epoch":0,"wave":1}"#;
    for (line, reason) in [
        (String::from("{"), "not a graph"),
        (graph(&format!("{first},{first}")), "entry 0: id is taken"),
        (graph(&first.replace("\"parents\":[]", "\"parents\":[7]")), "entry 0: parent 7 has not come before"),
        (graph(&first.replace("\"seq\":0", "\"seq\":3")), "entry 0: seq 3 without the one before"),
        (
            graph(&first.replace("\"wave\":1", "\"wave\":2")),
            "entry 0: entry advances to a wave that no majority allows",
        ),
        (graph(&first.replace("\"epoch\":0", "\"epoch\":1")), "entry 0: entry carries another epoch"),
        (
            graph(&first.replace("\"a\"", "\"c\"")),
            "entry 0: entry of a writer that is no indexer carries a wave",
        ),
        (graph(&first.replace("\"a\"", &format!("{:?}", "n".repeat(33)))), "longer than 32 bytes"),
    ] {
        let error = graph::linearize(&line).unwrap_err();
        assert!(error.contains(reason), "{error:?} should say {reason:?}");
    }
}
