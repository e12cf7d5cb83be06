//! A database for tests of drivers: logs in memory, one session for each connection, no view.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::link::{EngineLink, PeerInput, PeerLink, PeerOutput};
use super::room::Room;
use crate::ids::{DatabaseKey, WriterKey};
use crate::sync::memory_log::{DATABASE, MemoryLog};
use crate::sync::{Session, SessionConfig, SessionOutput};

pub(crate) struct StubDatabase {
    pub(crate) key: DatabaseKey,
    writer: u32,
    log: Mutex<MemoryLog>,
    changed: watch::Sender<u64>,
}

impl StubDatabase {
    pub(crate) fn new(key: u8, writer: u32) -> Arc<Self> {
        Arc::new(Self {
            key: DatabaseKey::from_bytes([key; 32]),
            writer,
            log: Mutex::new(MemoryLog::default()),
            changed: watch::Sender::new(0),
        })
    }

    pub(crate) fn writer(&self) -> WriterKey {
        MemoryLog::writer(self.writer)
    }

    /// Appends entries of this database's writer.
    pub(crate) fn write(&self, count: u64) {
        self.log.lock().unwrap().write(self.writer, count);
        self.changed.send_modify(|version| *version += 1);
    }

    /// Appends one entry with a payload of this length.
    pub(crate) fn write_large(&self, bytes: usize) {
        let mut log = self.log.lock().unwrap();
        let tip = crate::log_reader::LogReader::tips(&*log).unwrap();
        let tip = tip.into_iter().rev().find(|tip| tip.writer == self.writer());
        log.write_after(self.writer, tip, vec![vec![5; bytes]]);
        drop(log);
        self.changed.send_modify(|version| *version += 1);
    }

    /// Waits until this database holds this number of entries.
    pub(crate) async fn holds(&self, entries: usize) {
        let mut changed = self.changed.subscribe();
        while self.log.lock().unwrap().hashes().len() < entries {
            changed.changed().await.unwrap();
        }
        assert_eq!(self.log.lock().unwrap().hashes().len(), entries);
    }

    pub(crate) fn attach(self: &Arc<Self>, binding: [u8; 32], dialer: bool) -> PeerLink {
        let (link, engine) = PeerLink::pair(Room::of_all());
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).unwrap();
        let session = Session::new(SessionConfig {
            database: DATABASE,
            key: self.key.clone(),
            own_writer: self.writer(),
            replaced_keys: Vec::new(),
            binding,
            dialer,
            nonce,
        });
        tokio::spawn(Arc::clone(self).serve(session, engine));
        link
    }

    async fn serve(self: Arc<Self>, mut session: Session, mut link: EngineLink) {
        let mut changed = self.changed.subscribe();
        let mut out = Vec::new();
        session.start(&mut out);
        loop {
            let mut pending = std::mem::take(&mut out).into_iter().collect::<std::collections::VecDeque<_>>();
            while let Some(output) = pending.pop_front() {
                let sent = match output {
                    SessionOutput::Send(frame) => PeerOutput::Frame(frame),
                    SessionOutput::Authenticated { writer } => PeerOutput::Authenticated(writer),
                    SessionOutput::CaughtUp => PeerOutput::CaughtUp,
                    SessionOutput::Close(reason) => PeerOutput::Close(reason.to_line()),
                    SessionOutput::Ingest(runs) => {
                        let mut log = self.log.lock().unwrap();
                        let stored = runs.into_iter().try_for_each(|run| log.store(run));
                        drop(log);
                        let mut more = Vec::new();
                        session.runs_stored(stored, &mut more);
                        pending.extend(more);
                        self.changed.send_modify(|version| *version += 1);
                        continue;
                    }
                    SessionOutput::OwnLogsElsewhere(_) => continue,
                    SessionOutput::Continue => {
                        self.changed.send_modify(|version| *version += 1);
                        continue;
                    }
                };
                if link.outputs.send(sent).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                input = link.inputs.recv() => match input {
                    Some(PeerInput::Frame(frame)) => {
                        session.handle_frame(&frame, &*self.log.lock().unwrap(), &mut out).unwrap();
                    }
                    Some(PeerInput::Closed) | None => return,
                },
                _ = changed.changed() => {
                    session.entries_stored(&*self.log.lock().unwrap(), &mut out).unwrap();
                }
            }
        }
    }
}
