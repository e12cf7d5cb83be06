//! What tests of several peers share.

use db_core::{ConnectionMonitor, ConnectionOptions, Database, run_connection};

/// Carries a session between two databases until the handle is aborted.
pub(crate) fn connect(a: &Database, b: &Database) -> tokio::task::JoinHandle<()> {
    let (a, b) = (a.clone(), b.clone());
    tokio::spawn(async move {
        let (left, right) = tokio::io::duplex(1 << 16);
        let (of_a, of_b) = (a.connect_peer([0; 32], true).await, b.connect_peer([0; 32], false).await);
        let options = ConnectionOptions::default();
        let _ = tokio::join!(
            run_connection(left, of_a.unwrap(), options.clone(), ConnectionMonitor::default()),
            run_connection(right, of_b.unwrap(), options, ConnectionMonitor::default()),
        );
    })
}
