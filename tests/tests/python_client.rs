//! A Python client, with stubs generated from `proto/`, against a real server.

use std::path::Path;
use std::process::Command;

use combdb_tests::{Peer, PeerOptions};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

#[test]
fn a_python_client_reads_and_writes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let setup = Command::new("bash").arg(folder.join("setup.sh")).output().unwrap();
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let python = String::from_utf8(setup.stdout).unwrap();
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let output = Command::new(python.trim())
        .arg(folder.join("test_client.py"))
        .env("COMBDB_SERVER", peer.address())
        .env("COMBDB_DB", "t")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
