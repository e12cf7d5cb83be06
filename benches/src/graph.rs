//! Graphs of entries for the linearizer alone, without logs, documents or disk.

use std::collections::BTreeSet;

use db_core::linearizer::{EntryNumber, Facts, Linearizer, Node, Past, Standing};
use db_core::{EntryHash, WriterKey};

/// A linearizer and the log that it asks for what it gave out.
pub struct Orderer {
    linearizer: Linearizer,
    log: Log,
}

#[derive(Default)]
struct Log(Vec<(Node, Standing)>);

impl Past for Log {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.0.get(number.0 as usize).map(|(_, standing)| standing.clone())
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.0.get(number.0 as usize).map(|(node, _)| node.parents.clone()).unwrap_or_default()
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        self.0.get(number.0 as usize).map(|(node, standing)| Facts::of(node, standing))
    }
}

impl Orderer {
    /// Without entries; the first `indexers` of all writers vote.
    pub fn new(indexers: usize) -> Self {
        Self { linearizer: Linearizer::new((0..indexers).map(writer).collect()), log: Log::default() }
    }

    /// The linearizer.
    pub fn linearizer(&self) -> &Linearizer {
        &self.linearizer
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.log.0.len()
    }

    /// Makes the next entry, with what writer `by` should carry that has seen everything here.
    pub fn next(&self, by: usize, seq: usize, parents: Vec<EntryNumber>) -> Node {
        let position = self.linearizer.next_position(&writer(by), &BTreeSet::new());
        Node { epoch: position.epoch, wave: position.wave, ..node(self.entries(), by, seq, parents) }
    }

    /// Takes an entry in as a peer does; gives what it confirmed.
    ///
    /// # Panics
    /// If the entry is not legal, or an indexer has forked its log.
    pub fn receive(&mut self, node: &Node) -> Vec<EntryNumber> {
        let standing = self.linearizer.check(node, &self.log).expect("the graph is legal");
        self.log.0.push((node.clone(), standing.clone()));
        self.linearizer.add(node, &standing, &self.log).expect("nobody forks");
        let mut confirmed = Vec::new();
        while let Some(part) = self.linearizer.next_part(&self.log) {
            confirmed.extend(part.entries);
            self.linearizer.finish_part(&[], &self.log).expect("nobody forks");
        }
        confirmed
    }

    /// Sorts in what has come; gives how many entries of the tail have to be applied again or for the first time.
    pub fn order(&mut self) -> usize {
        let tail = self.linearizer.tail(&self.log);
        tail.entries.len() - tail.kept
    }
}

/// The key of writer `at`; keys ascend.
pub fn writer(at: usize) -> WriterKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(at as u64).to_be_bytes());
    WriterKey::from_bytes(bytes)
}

/// An entry that votes for nothing.
pub fn node(number: usize, by: usize, seq: usize, parents: Vec<EntryNumber>) -> Node {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Node {
        number: EntryNumber(number as u64),
        hash: EntryHash::from_bytes(hash),
        writer: writer(by),
        seq: seq as u64,
        time: (seq * 2) as u64,
        epoch: 0,
        wave: 0,
        parents,
        is_ack: false,
        is_fork: false,
    }
}
