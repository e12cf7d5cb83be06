//! Reads of past states, against the states as they were.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use bson::rawdoc;
use proptest::prelude::*;

use super::steps::{carry_out, step};
use super::*;
use crate::error::Error;
use crate::past::{self, Replays, Source};
use crate::query::Stop;
use crate::view::catalog::{self, CollectionMeta};
use crate::view::documents::{entries_of_index, id_types};

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

/// A state for comparison: of each collection its record, and what lies under its numbers.
#[derive(Debug, Clone, PartialEq)]
struct State(BTreeMap<String, CollectionState>);

#[derive(Debug, Clone, PartialEq)]
struct CollectionState {
    options: CollectionOptions,
    documents: Keys,
    counted: Size,
    /// By name: definition, fields that have met an array, entries, and their number and bytes as counted.
    indexes: BTreeMap<String, (RawDocumentBuf, u32, Keys, Size)>,
}

fn keys_under(view: &impl ReadView, prefix: &[u8]) -> Keys {
    let range = view.range(keyspace::prefix_bounds(prefix)).unwrap();
    range
        .map(|item| item.unwrap())
        .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
        .collect()
}

impl State {
    fn of(view: &impl ReadView) -> Self {
        let names = catalog::collection_names(view).unwrap();
        let of_collection = |name: String| {
            let meta = catalog::collection(view, &name).unwrap().unwrap();
            let statistics = Statistics::of(view, meta.id).unwrap();
            let indexes = meta.indexes.iter().map(|index| {
                let entries = keys_under(view, &keyspace::entries(index.id));
                let counted = statistics.index(index.id);
                let definition = index.definition.to_document();
                (index.definition.name().to_owned(), (definition, index.multikey.0, entries, counted))
            });
            let state = CollectionState {
                documents: keys_under(view, &keyspace::documents(meta.id)),
                counted: statistics.documents,
                indexes: indexes.collect(),
                options: meta.options.clone(),
            };
            (name, state)
        };
        Self(names.into_iter().map(of_collection).collect())
    }

    /// Without the indexes that `past` has hidden: they have been dropped since.
    fn without_lost(mut self, past: &Self) -> (Self, Self) {
        let mut past = past.clone();
        for (name, collection) in &mut past.0 {
            let Some(then) = self.0.get_mut(name) else { continue };
            collection.indexes.retain(|name, (definition, _, entries, _)| {
                // One that was hidden anyway is known by having none of its entries: it may have been dropped too.
                let was_there = |(then, _, of_then, _): &(RawDocumentBuf, u32, Keys, Size)| {
                    then.get_bool("hidden").is_ok() && of_then == entries
                };
                let is_lost =
                    definition.get_bool("hidden").is_ok() && !then.indexes.get(name).is_some_and(was_there);
                if is_lost {
                    then.indexes.remove(name).expect("it was there");
                }
                !is_lost
            });
        }
        (self, past)
    }
}

/// What entries do, for whoever reads the past: every index entry belongs to a document, and each document has all of its own.
fn check_entries(view: &ViewSnapshot) {
    for name in catalog::collection_names(view).unwrap() {
        let meta: CollectionMeta = catalog::collection(view, &name).unwrap().unwrap();
        let prefix = keyspace::documents(meta.id);
        let documents = keys_under(view, &prefix);
        for index in meta.indexes.iter().filter(|index| !index.definition.is_hidden()) {
            let mut expected = Keys::new();
            for (key, document) in &documents {
                let document = bson::RawDocument::from_bytes(document).unwrap();
                let entries =
                    entries_of_index(index, &key[prefix.len()..], &id_types(document), document).unwrap();
                assert_eq!(index.multikey.union(entries.multikey), index.multikey);
                expected.extend(entries.entries);
            }
            assert_eq!(keys_under(view, &keyspace::entries(index.id)), expected);
        }
        // The same from the other end.
        let mut range = view.range(keyspace::prefix_bounds(&prefix)).unwrap();
        let backwards = std::iter::from_fn(|| range.next_back());
        let backwards: Keys = backwards
            .map(|item| item.unwrap())
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect();
        assert_eq!(backwards, documents);
    }
}

/// The states that were met, by the order that led to each.
#[derive(Default)]
struct Met {
    states: BTreeMap<Vec<EntryHash>, State>,
    read: usize,
}

impl Peer {
    fn past(&self, position: u64) -> Result<past::Found> {
        self.past_with(&Replays::new(None), position, &mut Stop::default())
    }

    fn past_with(&self, replays: &Arc<Replays>, position: u64, stop: &mut Stop) -> Result<past::Found> {
        self.with_source(|source| past::find(source, position, replays, stop))
    }

    /// A past state made from the logs alone.
    fn replayed(&self, replays: &Arc<Replays>, position: u64) -> ViewSnapshot {
        let (_, confirmed) = self.order();
        let counts = (position + 1, confirmed);
        self.with_source(|source| replays.view_after(source, counts, &mut Stop::default())).unwrap()
    }

    fn with_source<T>(&self, read: impl FnOnce(&Source<'_>) -> T) -> T {
        let Engine { database, id, identity, .. } = &self.engine;
        let transaction = database.begin_read().unwrap();
        read(&Source { transaction: &transaction, database: *id, genesis: &identity.genesis })
    }

    /// The states that undoing the tail leaves, entry by entry, the last first; in a transaction that is given up.
    fn undone(&mut self) -> Vec<State> {
        let mut states = Vec::new();
        let given_up: Result<()> = self.engine.run(|batch| {
            loop {
                let nobody = batch.nobody();
                states.push(batch.with_view(order::NO_ENTRY, &nobody, |view, _| Ok(State::of(view)))?);
                let Some(kept) = batch.state.applied.len().checked_sub(1) else { break };
                batch.undo_from(kept, &mut |_| false)?;
            }
            Err(Error::invalid("given up"))
        });
        assert!(given_up.is_err() && self.engine.recover());
        states
    }
}

impl Met {
    /// Compares every state of the peer's order with what undoing or an earlier look has found there.
    fn check(&mut self, peer: &mut Peer) {
        let undone = peer.undone();
        let (order, confirmed) = peer.order();
        for (at, state) in undone.into_iter().enumerate() {
            let length = order.len() - at;
            if let Some(known) = self.states.get(&order[..length]) {
                assert_eq!(&state, known, "the same order leads to the same state");
            }
            self.states.insert(order[..length].to_vec(), state);
        }
        for position in 0..order.len() {
            let Some(known) = self.states.get(&order[..=position]) else { continue };
            let found = peer.past(position as u64).unwrap();
            assert_eq!((found.entry, found.is_confirmed), (order[position], (position as u64) < confirmed));
            let past = State::of(&found.view);
            let (known, past) = known.clone().without_lost(&past);
            assert_eq!(past, known, "position {position} of {}, confirmed {confirmed}", order.len());
            check_entries(&found.view);
            self.read += 1;
        }
    }
}

impl Met {
    /// Compares states that are made from the logs with those that were met.
    fn check_replay(&self, peer: &Peer) {
        let (order, _) = peer.order();
        let replays = Replays::new(None);
        // Backwards each is made anew, forwards it goes on where the one before has ended.
        let backwards = (0..order.len()).rev().step_by(5);
        for position in backwards.chain((0..order.len()).step_by(3)) {
            let Some(known) = self.states.get(&order[..=position]) else { continue };
            let view = peer.replayed(&replays, position as u64);
            assert_eq!(State::of(&view), *known, "position {position}");
            if position + 1 == order.len() {
                assert_eq!(digest(&view).unwrap(), peer.digest(), "all of the view is made again");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_past_state_is_what_was_there(
        indexers in 1_usize..3,
        steps in prop::collection::vec(step(2, false), 1..40),
    ) {
        let identity = open();
        let mut peers: Vec<Peer> = (1..=2).map(|number| peer(number, &identity)).collect();
        peers[0].create_index(rawdoc! { "name": "n", "key": { "n": 1 } }).unwrap();
        peers[0].call(Request::SetIndexers { writers: (1..=indexers as u8).map(writer_key).collect() }).unwrap();
        let runs = peers[0].runs();
        peers[1].receive(&runs);
        let mut met = Met::default();
        for step in steps {
            let changed = carry_out(&mut peers, step);
            met.check(&mut peers[changed]);
        }
        for peer in &mut peers {
            peer.settle();
            met.check(peer);
        }
        let [a, b] = &mut peers[..] else { unreachable!() };
        confirm(&mut [&mut *a, &mut *b]);
        for mut peer in peers {
            met.check(&mut peer);
            met.check_replay(&peer);
            met.check(&mut peer.restart());
        }
        prop_assert!(met.read > 4);
    }
}

#[test]
fn positions_that_nobody_has_are_refused() {
    let mut a = peer(1, &closed(1));
    assert_eq!(a.past(0).err().unwrap().code(), Some(246), "there is no entry yet");
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    assert_eq!(State::of(&a.past(0).unwrap().view).0["c"].counted.count, 1);
    assert_eq!(State::of(&a.past(1).unwrap().view).0["c"].counted.count, 2);
    for position in [2, 3, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
        assert_eq!(a.past(position).err().unwrap().code(), Some(246));
    }
}

/// A peer that has written long documents, of whose changes few are kept, with the states that were met, by position.
fn long_past() -> (Peer, Vec<Option<State>>) {
    let mut a = peer(1, &closed(1));
    a.engine.set_watching(false, 20_000);
    let (large, mut states) = ("x".repeat(500), Vec::new());
    for n in 0..200 {
        let _ = a.insert(rawdoc! { "_id": n % 7, "n": n, "s": large.as_str() });
        a.update(rawdoc! { "_id": n % 7 }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
        let (order, _) = a.order();
        states.resize(order.len(), None);
        states[order.len() - 1] = Some(State::of(&a.engine.view().unwrap()));
    }
    (a, states)
}

#[test]
fn what_is_not_kept_is_made_from_the_logs() {
    let (mut a, states) = long_past();
    let confirmed = states.len() as u64;
    let replays = Replays::new(None);
    let mut compared = 0;
    for position in (0..confirmed).step_by(7).chain([confirmed - 1, 5, 100, 99]) {
        let found = a.past_with(&replays, position, &mut Stop::default()).unwrap();
        check_entries(&found.view);
        if let Some(known) = &states[position as usize] {
            assert_eq!(State::of(&found.view), *known);
            compared += 1;
        }
    }
    assert!(compared > 20);
    // A collection whose documents are more than may be kept goes: nothing before that can be told but from the logs.
    let before = State::of(&a.engine.view().unwrap());
    a.engine.set_watching(false, 1_000);
    a.call(Request::DropCollection { collection: "c".to_owned() }).unwrap();
    let (_, confirmed) = a.order();
    let found = a.past_with(&replays, confirmed - 2, &mut Stop::default()).unwrap();
    assert_eq!(State::of(&found.view), before);
    assert!(State::of(&a.past(confirmed - 1).unwrap().view).0.is_empty());
    drop((a, replays));
    assert_eq!(State::of(&found.view), before, "it needs nothing of the file");
}

#[test]
fn one_that_is_stopped_goes_on_where_it_was() {
    let (a, states) = long_past();
    let replays = Replays::new(None);
    // Each call is stopped at its second question.
    let stopped = || {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let mut stop = Stop::default();
        stop.when(move || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0);
        stop
    };
    let mut calls = 0;
    let found = loop {
        calls += 1;
        match a.past_with(&replays, 90, &mut stopped()) {
            Ok(found) => break found,
            Err(error) => assert_eq!(error.code(), Some(50)),
        }
    };
    assert!((2..10).contains(&calls), "{calls}");
    let whole = State::of(&a.past(90).unwrap().view);
    assert_eq!(State::of(&found.view), whole);
    assert!(states[90].as_ref().is_none_or(|known| *known == whole));
    // A state that is held is none of what comes later.
    a.past_with(&replays, 99, &mut Stop::default()).unwrap();
    assert_eq!(State::of(&found.view), whole);
}

#[test]
fn states_are_made_one_at_a_time_and_whoever_waits_can_give_up() {
    let (a, _) = long_past();
    let replays = Replays::new(None);
    let is_made = std::sync::atomic::AtomicBool::new(false);
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let (begun, may_go_on) = (Mutex::new(begun), Mutex::new(may_go_on));
    std::thread::scope(|scope| {
        let mut stop = Stop::default();
        stop.when(move || {
            begun.lock().unwrap().send(()).unwrap();
            may_go_on.lock().unwrap().recv().is_err()
        });
        let (peer, replays, is_made) = (&a, &replays, &is_made);
        scope.spawn(move || {
            // The other end is gone in the end: it is stopped then.
            let refused = peer.past_with(replays, 100, &mut stop).err().unwrap();
            assert_eq!(refused.code(), Some(50));
            is_made.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        has_begun.recv().unwrap();
        let mut enough = Stop::default();
        enough.when(|| true);
        assert_eq!(a.past_with(replays, 100, &mut enough).err().unwrap().code(), Some(50));
        assert!(!is_made.load(std::sync::atomic::Ordering::Relaxed));
        drop(go_on);
        let found = a.past_with(replays, 100, &mut Stop::default()).unwrap();
        assert_eq!(State::of(&found.view), State::of(&a.past(100).unwrap().view));
    });
}

#[test]
fn a_state_that_is_too_large_to_be_made_is_refused() {
    let mut a = peer(1, &closed(1));
    a.engine.set_watching(false, 0);
    for n in 0..80 {
        a.insert(rawdoc! { "_id": n, "s": "x".repeat(limits::PAST_REPLAY_BYTES_MAX as usize / 20) }).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let on_disk = Replays::new(Some(directory.path().to_path_buf()));
    let in_memory = Replays::new(None);
    let read = |replays, position| {
        let found = a.past_with(replays, position, &mut Stop::default())?;
        Ok::<_, Error>(State::of(&found.view).0["c"].counted.count)
    };
    assert_eq!(read(&in_memory, 2).unwrap(), 3);
    assert_eq!(read(&in_memory, 30).unwrap_err().code(), Some(292));
    assert_eq!(read(&in_memory, 3).unwrap(), 4);
    // On the disk there is more room, and nothing to be seen of it.
    assert_eq!(read(&on_disk, 22).unwrap(), 23);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(read(&on_disk, 70).unwrap_err().code(), Some(292));
    assert_eq!(read(&on_disk, 10).unwrap(), 11);
}

#[test]
fn what_is_too_much_to_be_held_is_made_from_the_logs() {
    let mut a = peer(1, &closed(1));
    a.create_index(rawdoc! { "name": "n", "key": { "n": 1 } }).unwrap();
    let large = "x".repeat(limits::PAST_BYTES_MAX / 16);
    for n in 0..20 {
        a.insert(rawdoc! { "_id": n, "s": large.as_str(), "n": [1, 2, 3] }).unwrap();
    }
    let (_, before) = a.order();
    a.delete(rawdoc! { "_id": { "$lt": 10 } }).unwrap();
    assert_eq!(State::of(&a.past(before - 1).unwrap().view).0["c"].counted.count, 20);
    a.delete(rawdoc! {}).unwrap();
    let found = a.past(before - 1).unwrap();
    check_entries(&found.view);
    assert_eq!(State::of(&found.view).0["c"].counted.count, 20);
    let later = a.past(before).unwrap();
    assert_eq!(State::of(&later.view).0["c"].counted.count, 10);
}

#[test]
fn every_key_lies_between_its_neighbours() {
    let mut a = peer(1, &closed(1));
    a.create_index(rawdoc! { "name": "n", "key": { "n": 1 } }).unwrap();
    for n in 0..30 {
        a.insert(rawdoc! { "_id": n, "n": n % 5 }).unwrap();
    }
    let (_, then) = a.order();
    a.delete(rawdoc! { "n": { "$in": [1, 3] } }).unwrap();
    a.update(rawdoc! { "n": 2 }, rawdoc! { "$set": { "n": 3 } }).unwrap();
    let past = a.past(then - 1).unwrap().view;
    let all = keys_under(&past, &[]);
    for (key, value) in &all {
        assert_eq!(past.get(key).unwrap().unwrap().value(), value);
        let after = past.range((Bound::Excluded(key.clone()), Bound::Unbounded)).unwrap().next();
        let next = all.range::<Vec<u8>, _>((Bound::Excluded(key), Bound::Unbounded)).next();
        assert_eq!(after.map(|item| item.unwrap().0.value().to_vec()), next.map(|(key, _)| key.clone()));
    }
}
