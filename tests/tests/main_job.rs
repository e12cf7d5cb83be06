//! The main job on real input: the script that a person can run, with the program of this build.

use std::path::Path;
use std::process::Command;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

#[test]
fn peers_part_work_meet_crash_and_agree() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("main-job.sh");
    let output = Command::new("bash").arg(script).env("COMBDB", COMBDB).output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
