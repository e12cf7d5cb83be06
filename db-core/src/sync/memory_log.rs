//! Logs in memory, for tests: entries without meaning, with real hashes, parents and signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use ed25519_dalek::SigningKey;

use crate::entry::{Entry, Header, VerifiedRun};
use crate::ids::{DatabaseId, EntryHash, WriterKey};
use crate::log_reader::{LogReader, StoredRun, Tip};

/// The database that the entries of every [`MemoryLog`] belong to.
pub(crate) const DATABASE: DatabaseId = DatabaseId::from_bytes([4; 32]);

#[derive(Clone, Default, Debug)]
pub(crate) struct MemoryLog {
    runs: Vec<StoredRun>,
    end: u64,
    by_hash: BTreeMap<EntryHash, u64>,
    by_place: BTreeMap<(WriterKey, u64), u64>,
    tips: BTreeSet<Tip>,
}

fn secret(writer: u32) -> SigningKey {
    let mut seed = [1; 32];
    seed[..4].copy_from_slice(&writer.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

impl MemoryLog {
    pub(crate) fn writer(writer: u32) -> WriterKey {
        WriterKey::from_bytes(secret(writer).verifying_key().to_bytes())
    }

    /// Appends entries to the end of a writer's log, under one signature.
    pub(crate) fn write(&mut self, writer: u32, count: u64) {
        self.write_branch(writer, count, 0);
    }

    /// As [`MemoryLog::write`], with other payloads for each `salt`: another branch.
    pub(crate) fn write_branch(&mut self, writer: u32, count: u64, salt: u8) {
        let key = Self::writer(writer);
        let tip = self.tips.iter().rev().find(|tip| tip.writer == key).copied();
        self.write_after(writer, tip, vec![vec![salt; 20]; usize::try_from(count).unwrap()]);
    }

    /// Appends entries with these payloads after a tip, under one signature.
    pub(crate) fn write_after(&mut self, writer: u32, tip: Option<Tip>, payloads: Vec<Vec<u8>>) {
        let run = self.sign_after(writer, tip, payloads);
        self.store(run).unwrap();
    }

    /// A run of entries with these payloads after a tip, not stored.
    pub(crate) fn sign_after(&self, writer: u32, tip: Option<Tip>, payloads: Vec<Vec<u8>>) -> VerifiedRun {
        let key = Self::writer(writer);
        let newest = self.runs.last().and_then(|stored| stored.run.entries().last());
        let parents = newest.filter(|entry| entry.header.writer != key).map(|entry| entry.hash);
        let mut entries: Vec<Entry> = Vec::new();
        let start = tip.map_or(0, |tip| tip.length);
        for (seq, payload) in (start..).zip(payloads) {
            let header = Header {
                writer: key,
                seq,
                prev: entries.last().map(|entry| entry.hash).or(tip.map(|tip| tip.head)),
                parents: parents.filter(|_| seq == start).into_iter().collect(),
                time: seq,
                epoch: 0,
                wave: 0,
                checkpoint: None,
                payload_length: payload.len() as u32,
                payload_hash: *blake3::hash(&payload).as_bytes(),
            };
            let hash = header.hash(&DATABASE);
            entries.push(Entry { header, hash, payload });
        }
        VerifiedRun::sign(entries, &secret(writer)).unwrap()
    }

    /// Stores a run as an engine would: nothing that is known, everything that it stands on known before.
    pub(crate) fn store(&mut self, run: VerifiedRun) -> Result<(), String> {
        let known = run.entries().iter().take_while(|entry| self.by_hash.contains_key(&entry.hash)).count();
        if known == run.entries().len() {
            return Ok(());
        }
        let run = run.without_first(known);
        let first = run.entries().first().unwrap();
        for hash in first.header.prev.iter().chain(run.entries().iter().flat_map(|e| &e.header.parents)) {
            if !self.by_hash.contains_key(hash) {
                return Err("absent parents".to_owned());
            }
        }
        let start = self.end;
        for entry in run.entries() {
            let (writer, seq) = (entry.header.writer, entry.header.seq);
            self.by_hash.insert(entry.hash, self.end);
            self.by_place.entry((writer, seq)).or_insert(self.end);
            self.tips.extend([Tip { writer, length: seq + 1, head: entry.hash }]);
            if let Some(prev) = entry.header.prev {
                self.tips.remove(&Tip { writer, length: seq, head: prev });
            }
            self.end += 1;
        }
        self.runs.push(StoredRun { first: start, run });
        Ok(())
    }

    /// Stores everything that another log holds.
    pub(crate) fn take_over(&mut self, other: &Self) {
        for stored in &other.runs {
            self.store(stored.run.clone()).unwrap();
        }
    }

    pub(crate) fn holds(&self, hash: &EntryHash) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// The hashes of all entries.
    pub(crate) fn hashes(&self) -> BTreeSet<EntryHash> {
        self.by_hash.keys().copied().collect()
    }
}

impl LogReader for MemoryLog {
    type Error = Infallible;

    fn tips(&self) -> Result<Vec<Tip>, Infallible> {
        Ok(self.tips.iter().copied().collect())
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn number_of(&self, hash: &EntryHash) -> Result<Option<u64>, Infallible> {
        Ok(self.by_hash.get(hash).copied())
    }

    fn number_at(&self, writer: &WriterKey, seq: u64) -> Result<Option<u64>, Infallible> {
        Ok(self.by_place.get(&(*writer, seq)).copied())
    }

    fn writer_at(&self, number: u64) -> Result<Option<WriterKey>, Infallible> {
        Ok(self.run_at(number)?.map(|stored| stored.run.entries()[0].header.writer))
    }

    fn run_at(&self, number: u64) -> Result<Option<StoredRun>, Infallible> {
        if number >= self.end {
            return Ok(None);
        }
        let after = self.runs.partition_point(|stored| stored.first <= number);
        Ok(self.runs.get(after - 1).cloned())
    }
}
