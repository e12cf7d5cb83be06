//! A peer whose store was restored from a backup is told so before it writes, over gRPC and on the command line.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bson::{Document, doc};
use combdb_tests::{Peer, PeerOptions, copy_folder};
use db_core::{ConnectionMonitor, ConnectionOptions, Database, Store, run_connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// The kind of the frames that hold entries.
const RUNS: u8 = 6;

/// Hands on frames, each behind its length, until the first that would bring entries.
async fn pass_on_but_entries(mut from: DuplexStream, mut to: DuplexStream) {
    let mut frame = vec![0; 4];
    while from.read_exact(&mut frame[..4]).await.is_ok() {
        let length = u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
        frame.resize(4 + length, 0);
        from.read_exact(&mut frame[4..]).await.unwrap();
        if frame[4] == RUNS {
            std::future::pending::<()>().await;
        }
        to.write_all(&frame).await.unwrap();
    }
}

/// Connects two databases; what the first one sends comes as far as `with_entries` says.
async fn session(a: Database, b: Database, with_entries: bool) {
    let ends = (a.connect_peer([0; 32], true).await.unwrap(), b.connect_peer([0; 32], false).await.unwrap());
    // One stream for each direction.
    let (from_a, to_b) = (duplex(1 << 16), duplex(1 << 16));
    let (from_b, to_a) = (duplex(1 << 16), duplex(1 << 16));
    let copy = |(mut from, mut to): (DuplexStream, DuplexStream)| async move {
        let _ = tokio::io::copy(&mut from, &mut to).await;
    };
    let of_a = tokio::io::join(to_a.1, from_a.0);
    let of_b = tokio::io::join(to_b.1, from_b.0);
    let options = ConnectionOptions::default();
    let forward = async {
        if with_entries {
            copy((from_a.1, to_b.0)).await;
        } else {
            pass_on_but_entries(from_a.1, to_b.0).await;
        }
    };
    let _ = tokio::join!(
        run_connection(of_a, ends.0, options.clone(), ConnectionMonitor::default()),
        run_connection(of_b, ends.1, options, ConnectionMonitor::default()),
        forward,
        copy((from_b.1, to_a.0)),
    );
}

async fn close(store: Store) {
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_told_of_before_it_writes_and_goes_on_with_a_new_key() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let insert = |database: &Database, id: i32| {
        let notes = database.collection::<Document>("notes");
        async move { notes.insert_one(doc! { "_id": id }).await.unwrap() }
    };
    let store = Store::open(folder.path()).unwrap();
    insert(&store.open_topic("t").unwrap(), 1).await;
    close(store).await;
    copy_folder(folder.path(), backup.path());
    // It writes on, and is heard of; then it is put back to what it was.
    let other = Store::in_memory().unwrap();
    let other = other.open_topic("t").unwrap();
    let store = Store::open(folder.path()).unwrap();
    let database = store.open_topic("t").unwrap();
    insert(&database, 2).await;
    let whole = tokio::spawn(session(other.clone(), database, true));
    other.wait_for(|status| status.entries == 2 && status.unordered == 0).await.unwrap();
    whole.abort();
    let _ = whole.await;
    close(store).await;
    // It meets the other one again, and the connection breaks before the entries have come.
    let store = Store::open(backup.path()).unwrap();
    let restored = store.open_topic("t").unwrap();
    let broken = tokio::spawn(session(other, restored.clone(), false));
    let told = restored.wait_for(|status| status.misses_own_entries);
    tokio::time::timeout(Duration::from_mins(1), told).await.unwrap().unwrap();
    broken.abort();
    let _ = broken.await;
    drop(restored);
    close(store).await;

    let topic = PeerOptions::topic("t");
    let mut peer = Peer::start(COMBDB, &topic);
    peer.stop();
    std::fs::remove_dir_all(peer.data()).unwrap();
    copy_folder(backup.path(), &peer.data());
    peer.restart(&topic);
    let mut calls = peer.calls().await;
    let status = calls.status("t").await.unwrap();
    assert!(status.misses_own_entries);
    let shown = peer.command(&["status"]);
    assert!(shown.contains("WARNING") && shown.contains("restored from a backup"), "{shown}");
    let refused = calls.insert("t", "notes", &[r#"{"_id": 3}"#]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("restored from a backup"), "{}", refused.message());
    assert_eq!(calls.count("t", "notes", "{}").await.unwrap(), 1, "it can be read");
    let refused = peer.try_command(&["insert", "notes", r#"{"_id": 3}"#]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("combdb writers rotate"), "{said}");

    let request = proto::v1::RotateRequest { database: "t".into(), write_concern: None };
    let rotation = calls.writers.rotate(request).await.unwrap().into_inner();
    assert_eq!(rotation.from, status.database.unwrap().writer_key);
    assert!(!calls.status("t").await.unwrap().misses_own_entries);
    assert!(!peer.command(&["status"]).contains("WARNING"));
    assert_eq!(peer.command(&["writers", "give-up"]).trim(), "given up", "also where nothing is missed");
    calls.insert("t", "notes", &[r#"{"_id": 3}"#]).await.unwrap();
}
