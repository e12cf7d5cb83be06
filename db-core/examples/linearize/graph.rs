//! A graph of named entries, read from JSON and put through the engine's linearizer one entry at a time.

use std::collections::BTreeMap;

use db_core::linearizer::{ConfirmationBroken, EntryNumber, Facts, Linearizer, Node, Past, Standing};
use db_core::{EntryHash, WriterKey};
use serde_json::{Value, json};

/// The answer to one graph, given as one JSON object: what is confirmed, the tail, and the epoch with its indexers.
///
/// # Errors
/// If the text is no graph, or an entry of it is not legal.
pub(crate) fn linearize(line: &str) -> Result<Value, String> {
    let graph: Graph = serde_json::from_str(line).map_err(|error| format!("not a graph: {error}"))?;
    let mut peer = Peer::new(&graph.indexers)?;
    for entry in &graph.entries {
        peer.receive(entry).map_err(|reason| format!("entry {}: {reason}", entry.id))?;
    }
    Ok(peer.answer(&graph.name))
}

#[derive(serde::Deserialize)]
struct Graph {
    name: String,
    indexers: Vec<String>,
    entries: Vec<Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    id: u64,
    writer: String,
    seq: u64,
    parents: Vec<u64>,
    time: u64,
    epoch: u64,
    wave: u64,
    set_indexers: Option<Vec<String>>,
}

/// The linearizer's caller, its store and its view: the view is nothing but the set of indexers.
struct Peer {
    genesis: Vec<WriterKey>,
    linearizer: Linearizer,
    log: Log,
    confirmed: Vec<u64>,
    indexers: Vec<WriterKey>,
}

#[derive(Default)]
struct Log {
    /// By number.
    stored: Vec<Stored>,
    numbers: BTreeMap<u64, EntryNumber>,
    places: BTreeMap<(WriterKey, u64), EntryNumber>,
}

struct Stored {
    id: u64,
    node: Node,
    standing: Standing,
    sets: Option<Vec<WriterKey>>,
}

impl Past for Log {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.at(number).map(|stored| stored.standing.clone())
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.at(number).map(|stored| stored.node.parents.clone()).unwrap_or_default()
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        self.at(number).map(|stored| Facts::of(&stored.node, &stored.standing))
    }
}

impl Log {
    fn at(&self, number: EntryNumber) -> Option<&Stored> {
        self.stored.get(usize::try_from(number.0).ok()?)
    }

    fn ids(&self, numbers: &[EntryNumber]) -> Vec<u64> {
        numbers.iter().filter_map(|number| self.at(*number)).map(|stored| stored.id).collect()
    }

    /// The parents by number, the entry before in the same log among them even where another parent implies it.
    fn parents_of(&self, entry: &Entry, writer: WriterKey) -> Result<Vec<EntryNumber>, String> {
        let mut parents = Vec::new();
        for parent in &entry.parents {
            parents.push(*self.numbers.get(parent).ok_or(format!("parent {parent} has not come before"))?);
        }
        if let Some(before) = entry.seq.checked_sub(1) {
            let is_before = |stored: &Stored| stored.node.writer == writer && stored.node.seq == before;
            if !parents.iter().any(|parent| self.at(*parent).is_some_and(is_before)) {
                let before = self.places.get(&(writer, before));
                parents.push(*before.ok_or(format!("seq {} without the one before", entry.seq))?);
            }
        }
        parents.sort_unstable();
        parents.dedup();
        Ok(parents)
    }
}

impl Peer {
    fn new(indexers: &[String]) -> Result<Self, String> {
        let indexers = keys(indexers)?;
        Ok(Self {
            genesis: indexers.clone(),
            linearizer: Linearizer::new(indexers.clone()),
            log: Log::default(),
            confirmed: Vec::new(),
            indexers,
        })
    }

    fn receive(&mut self, entry: &Entry) -> Result<(), String> {
        if self.log.numbers.contains_key(&entry.id) {
            return Err(String::from("id is taken"));
        }
        let writer = key(&entry.writer)?;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&entry.id.to_be_bytes());
        let node = Node {
            number: EntryNumber(self.log.stored.len() as u64),
            hash: EntryHash::from_bytes(hash),
            writer,
            seq: entry.seq,
            time: entry.time,
            epoch: entry.epoch,
            wave: entry.wave,
            parents: self.log.parents_of(entry, writer)?,
            is_ack: false,
            is_fork: self.log.places.contains_key(&(writer, entry.seq)),
        };
        let standing = self.linearizer.check(&node, &self.log).map_err(|illegal| illegal.to_string())?;
        self.log.numbers.insert(entry.id, node.number);
        self.log.places.insert((writer, entry.seq), node.number);
        let sets = entry.set_indexers.as_deref().map(keys).transpose()?;
        let added = self.linearizer.add(&node, &standing, &self.log);
        self.log.stored.push(Stored { id: entry.id, node, standing, sets });
        if added.and_then(|()| self.apply_parts()).is_err() {
            self.start_anew().map_err(|broken| broken.to_string())?;
        }
        Ok(())
    }

    fn apply_parts(&mut self) -> Result<(), ConfirmationBroken> {
        while let Some(part) = self.linearizer.next_part(&self.log) {
            self.confirmed.extend(self.log.ids(&part.entries));
            for number in &part.entries {
                if let Some(sets) = self.log.at(*number).and_then(|stored| stored.sets.as_ref()) {
                    self.indexers.clone_from(sets);
                }
            }
            self.linearizer.finish_part(&self.indexers, &self.log)?;
        }
        Ok(())
    }

    /// An indexer's fork has contradicted what was confirmed: all entries first, then all parts.
    fn start_anew(&mut self) -> Result<(), ConfirmationBroken> {
        self.linearizer = Linearizer::new(self.genesis.clone());
        self.indexers.clone_from(&self.genesis);
        self.confirmed.clear();
        for stored in &self.log.stored {
            self.linearizer.add(&stored.node, &stored.standing, &self.log)?;
        }
        self.apply_parts()
    }

    fn answer(&mut self, name: &str) -> Value {
        let indexers: Vec<_> = self.linearizer.indexers().iter().map(name_of).collect();
        json!({
            "name": name,
            "confirmed": self.confirmed,
            "tail": self.log.ids(self.linearizer.tail(&self.log).entries),
            "epoch": self.linearizer.epoch(),
            "indexers": indexers,
        })
    }
}

fn keys(names: &[String]) -> Result<Vec<WriterKey>, String> {
    names.iter().map(|name| key(name)).collect()
}

/// A name stands for a key: its bytes and zeros behind.
fn key(name: &str) -> Result<WriterKey, String> {
    let mut bytes = [0; 32];
    let place = bytes.get_mut(..name.len()).ok_or(format!("name is longer than 32 bytes: {name}"))?;
    place.copy_from_slice(name.as_bytes());
    Ok(WriterKey::from_bytes(bytes))
}

fn name_of(key: &WriterKey) -> String {
    String::from_utf8_lossy(key.as_bytes()).trim_end_matches('\0').to_owned()
}
