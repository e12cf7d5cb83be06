//! Clients that ask for the past of documents: which entries have changed one, and who wrote what it holds. Both are read from the logs,
//! and held against the states that the order goes through.

use bson::{Bson, RawDocument, RawDocumentBuf};

use super::Chance;
use super::node::Node;
use super::watching::Built;
use crate::collection::ReadConcern;
use crate::database::Database;
use crate::history::{Change, ChangeOutcome, HistoryRange};
use crate::ids::EntryHash;
use crate::limits;
use crate::log::Place;

/// The collections that keep their names, which a document's history goes by.
const LASTING: [&str; 5] = ["c", "accounts", "duty", "notes", "runs"];

/// Of every document that an entry of the order has changed its history says so; whether there was any.
pub(super) fn check_history(node: &Node, chance: &mut Chance) -> bool {
    let order = applied(node);
    let Some(place) = chance.below(1 << 16).checked_rem(order.len() as u64) else { return false };
    let database = database(node);
    let before = place.checked_sub(1).map_or_else(Built::default, |before| state_at(database, before));
    let after = state_at(database, place);
    let changed = before.changed(&after).filter(|(collection, ..)| LASTING.contains(collection));
    let mut is_any = false;
    for (collection, old, new) in changed {
        let id = id_of(new.or(old).unwrap());
        let changes = history(node, collection, &id, chance);
        let has_come = |change: &Change| matches!(change.kind, "insert" | "upsert");
        let has_gone = |change: &Change| matches!(change.kind, "delete" | "expire" | "dropCollection");
        let is_told = changes.iter().any(|change| {
            let is_there = place_of(change) == place && change.outcome == ChangeOutcome::Applied;
            is_there && (old.is_some() || has_come(change)) && (new.is_some() || has_gone(change))
        });
        assert!(
            is_told,
            "peer {}: the history of {id} in {collection} leaves out what entry {place} did: {old:?} became {new:?}, {changes:?}",
            node.number
        );
        for change in &changes {
            let entry = order.get(place_of(change) as usize);
            assert_eq!(
                entry,
                Some(&change.author.entry),
                "peer {}: a history names other entries",
                node.number
            );
        }
        is_any = true;
    }
    is_any
}

/// Whatever somebody is said to have written has been there since; whether there was any.
pub(super) fn check_blame(node: &Node, chance: &mut Chance) -> bool {
    let order = applied(node);
    let present = Built::of(&node.view());
    let documents: Vec<_> =
        present.documents().filter(|(collection, _)| LASTING.contains(collection)).collect();
    let Some(at) = chance.below(1 << 16).checked_rem(documents.len() as u64) else { return false };
    let (collection, document) = documents[at as usize];
    let database = database(node);
    let id = id_of(document);
    let blame = database.collection::<RawDocumentBuf>(collection).blame(id.clone(), u64::MAX).unwrap();
    assert!(blame.is_complete, "peer {}: nobody is known to have written some of {document:?}", node.number);
    let path = &blame.paths[chance.below(blame.paths.len() as u64) as usize];
    let author = path.author.as_ref().unwrap();
    let written = order.iter().position(|entry| *entry == author.entry);
    let written = written.expect("who has written is in the order") as u64;
    let since = written + chance.below(order.len() as u64 - written);
    for place in [written, since] {
        let past = state_at(database, place);
        let past = past.document(collection, document);
        assert!(
            past.is_some_and(|past| field(past, &path.path) == field(document, &path.path)),
            "peer {}: {} of {document:?} in {collection} is said to be of entry {written}, and at {place} it was {past:?}",
            node.number,
            path.path
        );
    }
    true
}

/// The changes of a document, newest first: page by page they are those that are told at once.
fn history(node: &Node, collection: &str, id: &Bson, chance: &mut Chance) -> Vec<Change> {
    let collection = database(node).collection::<RawDocumentBuf>(collection);
    let all = HistoryRange { limit: limits::LOG_PAGE_ENTRIES_MAX, ..HistoryRange::default() };
    let all = collection.history(id.clone(), &all).unwrap().changes;
    let (limit, scan_limit) = (1 + chance.below(4) as usize, 5 + chance.below(100));
    let (mut paged, mut from) = (Vec::new(), None);
    loop {
        let page = collection.history(id.clone(), &HistoryRange { from, limit, scan_limit }).unwrap();
        paged.extend(page.changes);
        let Some(next) = page.next else { break };
        from = Some(next);
    }
    assert_eq!(paged, all, "peer {}: by pages the history of a document is another", node.number);
    let places: Vec<_> = all.iter().map(place_of).collect();
    assert!(places.is_sorted_by(|newer, older| newer >= older), "peer {}: a history goes back", node.number);
    all
}

/// The entries that are applied, in their order.
fn applied(node: &Node) -> Vec<EntryHash> {
    let status = node.engine.as_ref().unwrap().status().unwrap();
    node.ordered(0, status.confirmed + status.tail)
}

fn state_at(database: &Database, place: u64) -> Built {
    Built::of(&database.at(place).unwrap().view_at(ReadConcern::Local).unwrap())
}

fn database(node: &Node) -> &Database {
    &node.readers.as_ref().unwrap().database
}

fn place_of(change: &Change) -> u64 {
    match change.place {
        Place::Confirmed(place) | Place::Tail(place) => place,
        Place::Unordered => panic!("what is not ordered has no place"),
    }
}

fn id_of(document: &RawDocument) -> Bson {
    Bson::try_from(document.get("_id").unwrap().unwrap()).unwrap()
}

fn field(document: &RawDocument, path: &str) -> Option<Bson> {
    Some(Bson::try_from(document.get(path).unwrap()?).unwrap())
}
