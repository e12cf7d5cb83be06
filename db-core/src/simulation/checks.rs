//! What has to hold after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bson::RawDocument;

use super::following::Told;
use super::node::Node;
use super::serial::Transactions;
use super::watching::Built;
use crate::collection::ReadConcern;
use crate::engine::EngineStatus;
use crate::ids::EntryHash;
use crate::limits;
use crate::log_reader::LogReader;
use crate::receipt::{Outcome, ReceiptState};
use crate::view::digest::digest;
use crate::view::documents::{entries_of_index, id_types};
use crate::view::statistics::Statistics;
use crate::view::{ReadView, ViewSnapshot, catalog, keyspace};

/// What is known of all peers together.
#[derive(Default)]
pub(super) struct Knowledge {
    /// The longest confirmed order that any peer has had.
    confirmed: Vec<EntryHash>,
    /// What has become of the entries of that order.
    outcomes: Vec<Outcome>,
    /// By set of entries (the sum of their hashes): what follows from it.
    by_set: BTreeMap<[u8; 32], Consequence>,
    /// The view with so many entries confirmed and nothing else applied.
    by_confirmed: BTreeMap<u64, [u8; 32]>,
    /// What there is with so many entries confirmed, as far as somebody has looked.
    states: BTreeMap<u64, Built>,
    /// The confirmed events that peers have told.
    pub(super) told: Told,
    /// Entries that break a rule, which nobody may store.
    pub(super) illegal: BTreeSet<EntryHash>,
    /// Whether an indexer's fork may take back what was confirmed.
    may_be_broken: bool,
}

/// What equal sets of entries have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Consequence {
    view: [u8; 32],
    order: Vec<EntryHash>,
    confirmed: u64,
}

impl Knowledge {
    /// Nothing yet. `may_be_broken` says whether an indexer's fork may take back what was confirmed.
    pub(super) fn new(may_be_broken: bool) -> Self {
        Self { may_be_broken, ..Self::default() }
    }

    /// How many entries are confirmed anywhere.
    pub(super) fn confirmed(&self) -> usize {
        self.confirmed.len()
    }

    /// Holds a peer that is on to everything that must be true of it; what streams have told, if that is asked for. Gives whether
    /// what it has applied, or confirmed, has changed since it was looked at last.
    pub(super) fn check(
        &mut self,
        node: &mut Node,
        transactions: &mut Transactions,
        is_reading: bool,
    ) -> bool {
        let status = node.engine.as_ref().unwrap().status().unwrap();
        self.check_entries(node, status.entries);
        self.check_confirmed(node, status.confirmed);
        let view = node.view();
        check_indexes(&view);
        let has_changed = Self::check_order(node, transactions, &status);
        Self::check_shown(node);
        if is_reading {
            self.check_streams(node);
        }
        if node.engine.as_ref().unwrap().is_settled() {
            let present = Consequence {
                view: digest(&view).unwrap(),
                order: node.ordered(0, status.entries),
                confirmed: status.confirmed,
            };
            assert_eq!(present.order.len() as u64, status.entries, "all entries have a place");
            if status.tail == 0 {
                self.check_base(status.confirmed, present.view);
            }
            let known = self.by_set.entry(node.sum).or_insert_with(|| present.clone());
            assert_eq!(*known, present, "peer {}: equal sets of entries give unequal views", node.number);
        }
        has_changed
    }

    /// Nobody shows an entry without what its author had seen, nor forgets what it has written itself; and what the order's
    /// transactions come to is what the view holds. Gives whether the order has changed.
    fn check_order(node: &mut Node, transactions: &mut Transactions, status: &EngineStatus) -> bool {
        let order = node.ordered(0, status.confirmed + status.tail);
        assert_eq!(order.len() as u64, status.confirmed + status.tail, "what is applied has places");
        if node.checked_order == (order.clone(), status.confirmed) {
            return false;
        }
        let log = node.log();
        let mut shown = BTreeSet::new();
        for hash in &order {
            let header = log.record(log.number_of(hash).unwrap().unwrap()).unwrap().unwrap().header;
            for parent in header.parents.iter().chain(&header.prev) {
                let is_shown = shown.contains(parent);
                assert!(
                    is_shown,
                    "peer {}: an entry stands before one that its author had seen",
                    node.number
                );
            }
            shown.insert(*hash);
        }
        if node.engine.as_ref().unwrap().is_presentable() {
            for hash in &node.acknowledged {
                assert!(shown.contains(hash), "peer {}: it does not see what it has written", node.number);
            }
        }
        transactions.check(node, &order, status.confirmed);
        node.checked_order = (order, status.confirmed);
        true
    }

    /// Also while the view is not to be shown, readers see what was written here.
    fn check_shown(node: &Node) {
        let (engine, log) = (node.engine.as_ref().unwrap(), node.log());
        if engine.shows_meanwhile(0).is_some() {
            for hash in &node.acknowledged {
                let number = log.number_of(hash).unwrap().unwrap();
                let is_shown = engine.shows_meanwhile(number);
                assert_eq!(is_shown, Some(true), "peer {}: it does not see what it has written", node.number);
            }
        }
    }

    /// Clients take what streams have to tell.
    fn check_streams(&mut self, node: &mut Node) {
        node.engine.as_mut().unwrap().survey_until(&mut || true);
        let mut readers = node.readers.take().unwrap();
        check_indexes(&readers.view());
        readers.check_local(node.number);
        readers.check_confirmed(node.number, &mut node.client, &mut self.told);
        let keeps_all = node.changes_bytes == limits::CHANGES_BYTES;
        assert!(node.client.lost == 0 || !keeps_all, "peer {}: changes are forgotten", node.number);
        if !self.may_be_broken {
            let confirmed = node.checked_confirmed;
            let present = Built::of(&node.view().confirmed().unwrap());
            let known = self.states.entry(confirmed).or_insert_with(|| present.clone());
            assert!(*known == present, "peer {}: another state is confirmed", node.number);
        }
        Self::check_gaps(node);
        node.readers = Some(readers);
    }

    /// Readers who share what they have found of what is confirmed see what one does who looks for himself.
    fn check_gaps(node: &Node) {
        let shared = node.engine.as_ref().unwrap().view().unwrap().confirmed().unwrap();
        let alone = node.view().confirmed().unwrap();
        let keys = |view: &ViewSnapshot, is_backwards: bool| {
            let mut range = view.range(keyspace::all_documents()).unwrap();
            let keys = std::iter::from_fn(|| if is_backwards { range.next_back() } else { range.next() });
            keys.map(|item| item.unwrap().0.value().to_vec()).collect::<Vec<_>>()
        };
        let (mut expected, forwards) = (keys(&alone, false), keys(&shared, false));
        assert!(forwards == expected, "peer {}: what readers share hides what is confirmed", node.number);
        expected.reverse();
        let backwards = keys(&shared, true);
        assert!(backwards == expected, "peer {}: what readers share hides what is confirmed", node.number);
    }

    /// Takes everything that is not confirmed off a copy of the peer's view, and puts it back.
    pub(super) fn check_undo(&mut self, node: &Node) {
        let mut copy = node.copy();
        let confirmed = copy.status().unwrap().confirmed;
        let before = digest(&copy.view().unwrap()).unwrap();
        copy.run(|batch| batch.undo_tail()).unwrap();
        let undone = copy.view().unwrap();
        check_indexes(&undone);
        self.check_base(confirmed, digest(&undone).unwrap());
        copy.run(|batch| batch.settle()).unwrap();
        let after = digest(&copy.view().unwrap()).unwrap();
        assert_eq!(before, after, "peer {}: applied again, the view is another", node.number);
    }

    /// Reads one of the past states that are known; whether there is any.
    pub(super) fn check_past(&mut self, node: &Node, chosen: u64) -> bool {
        let known = self.states.range(..=node.checked_confirmed);
        let known: Vec<_> = known.filter(|(confirmed, _)| **confirmed > 0).collect();
        let Some(at) = chosen.checked_rem(known.len() as u64) else { return false };
        let (confirmed, known) = known[at as usize];
        let past = node.readers.as_ref().unwrap().database.at(confirmed - 1).unwrap();
        let found = Built::of(&past.view_at(ReadConcern::Majority).unwrap());
        assert!(
            *known == found,
            "peer {}: what was confirmed and what is read of the past: {}",
            node.number,
            known.differences(&found)
        );
        true
    }

    fn check_base(&mut self, confirmed: u64, view: [u8; 32]) {
        if self.may_be_broken {
            return;
        }
        let known = *self.by_confirmed.entry(confirmed).or_insert(view);
        assert_eq!(
            known, view,
            "the view of the {confirmed} confirmed entries is not what it was: undo left a trace"
        );
    }

    /// Nothing acknowledged is missing, and nothing illegal is here.
    fn check_entries(&self, node: &mut Node, entries: u64) {
        assert!(
            entries >= node.durable,
            "peer {}: {} entries were durable, {entries} are left",
            node.number,
            node.durable
        );
        let log = node.log();
        if entries < node.checked_entries {
            // What was stored when the power went, and acknowledged to nobody.
            (node.checked_entries, node.sum) = (0, [0; 32]);
        }
        if node.checked_entries == 0 {
            for hash in &node.acknowledged {
                let is_here = log.number_of(hash).unwrap().is_some();
                assert!(is_here, "peer {}: an acknowledged entry is lost", node.number);
            }
        }
        for number in node.checked_entries..entries {
            let hash = log.record(number).unwrap().unwrap().hash;
            assert!(
                !self.illegal.contains(&hash),
                "peer {}: an entry that breaks a rule is stored",
                node.number
            );
            for (sum, byte) in node.sum.iter_mut().zip(blake3::hash(hash.as_bytes()).as_bytes()) {
                *sum ^= byte;
            }
        }
        node.checked_entries = entries;
    }

    /// Confirmed orders are prefixes of one another and never shrink.
    fn check_confirmed(&mut self, node: &mut Node, confirmed: u64) {
        if self.may_be_broken {
            node.checked_confirmed = confirmed;
            return;
        }
        assert!(confirmed >= node.checked_confirmed, "peer {}: a confirmation was taken back", node.number);
        let new = node.ordered(node.checked_confirmed, confirmed);
        assert_eq!(new.len() as u64, confirmed - node.checked_confirmed, "confirmed entries have places");
        for (place, hash) in (node.checked_confirmed as usize..).zip(new) {
            match self.confirmed.get(place) {
                Some(known) => {
                    assert_eq!(*known, hash, "peer {}: another order is confirmed at {place}", node.number);
                }
                None => self.confirmed.push(hash),
            }
        }
        node.checked_confirmed = confirmed;
        for place in node.told_outcomes..confirmed {
            self.check_outcome(node, place);
        }
        node.told_outcomes = confirmed;
        // It does not change any more, whatever is confirmed later.
        if let Some(place) = (confirmed * 31 + node.checked_entries * 7).checked_rem(confirmed) {
            self.check_outcome(node, place);
        }
    }

    /// The receipt of the entry at this place of the confirmed order says on every peer what it has said on the first.
    fn check_outcome(&mut self, node: &Node, place: u64) {
        let place = place as usize;
        let database = &node.readers.as_ref().unwrap().database;
        let state = database.receipt(self.confirmed[place]).state().unwrap();
        let ReceiptState::Confirmed(outcome) = state else {
            panic!("peer {}: the receipt of a confirmed entry says {state:?}", node.number)
        };
        match self.outcomes.get(place) {
            Some(known) => {
                assert_eq!(*known, outcome, "peer {}: a receipt says something else", node.number);
            }
            None => self.outcomes.push(outcome),
        }
    }

    /// All receipts of what is confirmed there.
    pub(super) fn check_receipts(&mut self, node: &Node) {
        if !self.may_be_broken {
            for place in 0..node.checked_confirmed {
                self.check_outcome(node, place);
            }
        }
    }
}

/// Index entries equal those made anew from the documents, and the counts are right.
fn check_indexes(view: &ViewSnapshot) {
    let (mut expected, mut indexes) = (BTreeMap::new(), 0);
    // Under each key of a unique index, who holds it and who is in quarantine.
    let (mut held, mut marks) = (BTreeMap::<Vec<u8>, u64>::new(), 0);
    for name in catalog::collection_names(view).unwrap() {
        let meta = catalog::collection(view, &name).unwrap().unwrap();
        indexes += meta.indexes.len();
        let (mut count, mut entry_counts) = (0, BTreeMap::new());
        let prefix = keyspace::documents(meta.id);
        for item in view.range(keyspace::prefix_bounds(&prefix)).unwrap() {
            let (key, value) = item.unwrap();
            let id_key = &key.value()[prefix.len()..];
            let document = RawDocument::from_bytes(value.value()).unwrap();
            count += 1;
            for index in &meta.indexes {
                let entries = entries_of_index(index, id_key, &id_types(document), document);
                let entries = entries.unwrap().entries;
                for key in entries.keys().filter(|_| index.definition.is_unique()) {
                    let is_marked = view.get(&keyspace::mark(key)).unwrap().is_some();
                    assert!(!is_marked || index.definition.quarantines(), "what cannot be is in quarantine");
                    marks += u64::from(is_marked);
                    let values = key[..key.len() - id_key.len()].to_vec();
                    *held.entry(values).or_default() += u64::from(!is_marked);
                }
                *entry_counts.entry(index.id).or_insert(0) += entries.len() as u64;
                expected.extend(entries);
            }
        }
        let statistics = Statistics::of(view, meta.id).unwrap();
        assert_eq!(statistics.documents.count, count, "the number of documents of {name}");
        for index in &meta.indexes {
            let count = entry_counts.get(&index.id).copied().unwrap_or_default();
            assert_eq!(
                statistics.index(index.id).count,
                count,
                "the number of entries of an index of {name}"
            );
        }
    }
    assert!(held.values().all(|holders| *holders <= 1), "several documents hold one key");
    let of_marks = [0, u32::MAX].map(|index| Bound::Included(keyspace::mark(&keyspace::entries(index))));
    let [low, high] = of_marks;
    let marked = view.range((low, high)).unwrap().count() as u64;
    assert_eq!(marked, marks, "there are marks without documents in quarantine");
    let all = (Bound::Included(keyspace::entries(0)), Bound::Included(keyspace::entries(u32::MAX)));
    let mut found = BTreeMap::new();
    for item in view.range(all).unwrap() {
        let (key, value) = item.unwrap();
        found.insert(key.value().to_vec(), value.value().to_vec());
    }
    assert!(
        found == expected,
        "index entries are not those of the documents: {} found, {} expected, {indexes} indexes",
        found.len(),
        expected.len()
    );
}
