//! Live queries: the result of a find, kept current.
//!
//! After each commit only the documents that it has touched are looked at. Where no order and no limit is asked for, each of
//! them comes, changes or goes by itself; else the find is run again if one of them matters to it, and the two results are
//! compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, QueryError};
use serde::de::DeserializeOwned;

use crate::collection::documents::not_bson;
use crate::collection::{Collection, ReadOptions};
use crate::driver::feed::Follower;
use crate::error::{Error, Result};
use crate::limits;
use crate::query::{Compiled, Execution, FindOptions};
use crate::view::catalog::{CollectionMeta, id_of};
use crate::view::documents::id_key;
use crate::view::touched::TouchedKeys;
use crate::view::{ViewSnapshot, keyspace};

/// Up to how many touched documents each is looked at by itself.
const SINGLE_KEYS_MAX: usize = 10_000;
/// Beyond so many documents that change their places the result is told of anew.
const MOVES_MAX: usize = 1_000;

/// MongoDB's `QueryExceededMemoryLimitNoDiskUseAllowed` and `InvalidOptions`.
const TOO_LARGE: ErrorCode = ErrorCode(292);
const INVALID_OPTIONS: ErrorCode = ErrorCode(72);

/// What to do to the result of a live query, so that it is what the find would give.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveChange<T> {
    /// The result is this, whatever it was.
    Reset {
        /// All of it, in order.
        documents: Vec<T>,
    },
    /// A document comes in.
    Added {
        /// Where it then stands, from 0.
        index: usize,
        /// What it is.
        document: T,
    },
    /// A document is another now.
    Changed {
        /// Where it stands, from 0.
        index: usize,
        /// What it is now.
        document: T,
    },
    /// A document is taken out and put in at another place.
    Moved {
        /// Where it stands, from 0.
        from: usize,
        /// Where it stands afterwards.
        to: usize,
    },
    /// A document goes.
    Removed {
        /// Where it stands, from 0.
        index: usize,
    },
}

impl<T> LiveChange<T> {
    /// Does it to a result. Changes have to be done one after the other, as they come.
    pub fn apply(self, result: &mut Vec<T>) {
        match self {
            Self::Reset { documents } => *result = documents,
            Self::Added { index, document } => result.insert(index.min(result.len()), document),
            Self::Changed { index, document } => {
                if let Some(place) = result.get_mut(index) {
                    *place = document;
                }
            }
            Self::Moved { from, to } => {
                if from < result.len() {
                    let document = result.remove(from);
                    result.insert(to.min(result.len()), document);
                }
            }
            Self::Removed { index } => {
                if index < result.len() {
                    result.remove(index);
                }
            }
        }
    }

    fn try_map<U>(self, map: impl Fn(T) -> Result<U>) -> Result<LiveChange<U>> {
        Ok(match self {
            Self::Reset { documents } => {
                LiveChange::Reset { documents: documents.into_iter().map(map).collect::<Result<_>>()? }
            }
            Self::Added { index, document } => LiveChange::Added { index, document: map(document)? },
            Self::Changed { index, document } => LiveChange::Changed { index, document: map(document)? },
            Self::Moved { from, to } => LiveChange::Moved { from, to },
            Self::Removed { index } => LiveChange::Removed { index },
        })
    }
}

/// The result of a find, kept current: see [`Find::watch`](crate::Find::watch).
///
/// It never falls behind: however long it was not asked, its next changes lead to the present result. It holds the result,
/// which may have [`limits::LIVE_QUERY_BYTES_MAX`] bytes.
pub struct LiveQuery<T> {
    collection: Collection<T>,
    find: FindOptions,
    options: ReadOptions,
    follower: Follower,
    /// None only while it is begun.
    shown: Option<Shown>,
    has_failed: bool,
}

/// A result, and what it was made with.
struct Shown {
    meta: Option<Arc<CollectionMeta>>,
    compiled: Compiled,
    rows: Rows,
}

/// Documents in their order, each with the key of its `_id`.
#[derive(Default)]
struct Rows {
    documents: Vec<(Vec<u8>, RawDocumentBuf)>,
    ids: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl<T> LiveQuery<T> {
    pub(crate) fn begin(collection: Collection<T>, find: FindOptions, options: ReadOptions) -> Result<Self> {
        let follower = Follower::new(Arc::clone(collection.database().published()));
        let mut live = Self { collection, find, options, follower, shown: None, has_failed: false };
        let (view, _) = live.follower.latest()?;
        let first = live.run(&view, live.meta(&view)?)?;
        live.shown = Some(first);
        Ok(live)
    }

    /// Waits until the result may have changed.
    ///
    /// # Errors
    /// `Unavailable` once the database is closed.
    pub async fn changed(&mut self) -> Result<()> {
        self.follower.changed().await
    }

    fn meta(&self, view: &ViewSnapshot) -> Result<Option<Arc<CollectionMeta>>> {
        view.collection(self.collection.name(), self.collection.database().catalog())
    }

    fn compile(&self, meta: Option<&CollectionMeta>) -> Result<Compiled> {
        let mut find = self.find.clone();
        let collation = meta.and_then(|meta| meta.options.collation.as_deref());
        let stop = self.options.stop();
        self.options.clone().begin(&mut find, collation, stop)?;
        let compiled = find.compile(meta)?;
        let uses_score = compiled.projection.as_ref().is_some_and(db_index::Projection::uses_text_score);
        if uses_score {
            let message = "the score of a text search cannot be shown by a live query";
            return Err(QueryError::new(INVALID_OPTIONS, message).into());
        }
        Ok(compiled)
    }

    /// The result in this view.
    fn run(&self, view: &ViewSnapshot, meta: Option<Arc<CollectionMeta>>) -> Result<Shown> {
        let compiled = self.compile(meta.as_deref())?;
        let mut rows = Rows::default();
        if let Some(meta) = &meta {
            let whole = Compiled { projection: None, transform_by: None, fields: None, ..compiled.clone() };
            for document in Execution::new(view.clone(), meta, whole)? {
                let document = document?;
                rows.push(key_of(&document)?, shown(&compiled, document)?)?;
            }
        }
        if is_simple(&compiled) {
            rows.documents.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(Shown { meta, compiled, rows })
    }

    fn look(&mut self) -> Result<Vec<LiveChange<RawDocumentBuf>>> {
        let (view, touched) = self.follower.latest()?;
        let meta = self.meta(&view)?;
        let Some(before) = &mut self.shown else { return Ok(Vec::new()) };
        let same = match (&before.meta, &meta) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if let (true, Some(touched)) = (same, touched) {
            let Some(meta) = &meta else { return Ok(Vec::new()) };
            let mut keys = TouchedKeys::Some(BTreeSet::new());
            for touched in touched {
                touched.add_to(meta.id, &mut keys);
            }
            if let TouchedKeys::Some(keys) = keys {
                if keys.is_empty() {
                    return Ok(Vec::new());
                }
                if is_simple(&before.compiled) && keys.len() <= SINGLE_KEYS_MAX {
                    return before.update(&view, meta.id, &keys);
                }
                if !before.is_concerned(&view, meta.id, &keys)? {
                    return Ok(Vec::new());
                }
            }
        }
        let after = self.run(&view, meta)?;
        let Some(before) = self.shown.replace(after) else { return Ok(Vec::new()) };
        Ok(self.shown.as_ref().map_or_else(Vec::new, |after| difference(&before.rows, &after.rows)))
    }

    /// What to do to the result, as raw BSON; nothing if it is current.
    ///
    /// # Errors
    /// `QueryExceededMemoryLimitNoDiskUseAllowed` (292) for a result that is too large; those of the find; `Unavailable`
    /// once the database is closed. After an error nothing more comes.
    pub fn next_raw_if_any(&mut self) -> Result<Vec<LiveChange<RawDocumentBuf>>> {
        if self.has_failed {
            return Ok(Vec::new());
        }
        let looked = self.look();
        self.has_failed = looked.is_err();
        looked
    }

    /// The result as it was last told of, as raw BSON.
    pub fn result_raw(&self) -> impl Iterator<Item = &RawDocument> {
        self.shown.iter().flat_map(|shown| &shown.rows.documents).map(|(_, document)| &**document)
    }
}

impl<T: DeserializeOwned> LiveQuery<T> {
    /// The result as it was last told of: to begin with, and after any [`LiveQuery::next`].
    ///
    /// # Errors
    /// If a document is no `T`.
    pub fn result(&self) -> Result<Vec<T>> {
        self.result_raw()
            .map(|document| bson::deserialize_from_slice(document.as_bytes()).map_err(not_bson))
            .collect()
    }

    /// What to do to the result; nothing if it is current.
    ///
    /// # Errors
    /// As for [`LiveQuery::next_raw_if_any`].
    pub fn next_if_any(&mut self) -> Result<Vec<LiveChange<T>>> {
        let read =
            |document: RawDocumentBuf| bson::deserialize_from_slice(document.as_bytes()).map_err(not_bson);
        self.next_raw_if_any()?.into_iter().map(|change| change.try_map(read)).collect()
    }

    /// Waits until there is something to do to the result; none after an error.
    ///
    /// # Errors
    /// As for [`LiveQuery::next_raw_if_any`].
    pub async fn next(&mut self) -> Option<Result<Vec<LiveChange<T>>>> {
        while !self.has_failed {
            match self.next_if_any() {
                Ok(changes) if changes.is_empty() => {}
                changes => return Some(changes),
            }
            if let Err(error) = self.changed().await {
                self.has_failed = true;
                return Some(Err(error));
            }
        }
        None
    }
}

impl<T> std::fmt::Debug for LiveQuery<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveQuery").field("collection", &self.collection).finish_non_exhaustive()
    }
}

impl Shown {
    /// Takes these documents as they are now into a result that has the order of `_id`s.
    fn update(
        &mut self,
        view: &ViewSnapshot,
        collection_id: u32,
        keys: &BTreeSet<Vec<u8>>,
    ) -> Result<Vec<LiveChange<RawDocumentBuf>>> {
        let mut changes = Vec::new();
        for key in keys {
            let stored = view.value(&keyspace::document(collection_id, key))?;
            let stored = stored.map(|stored| read(stored.value()).map(RawDocument::to_owned)).transpose()?;
            let matching = match stored {
                Some(document) if self.compiled.filter.matches(&document)? => Some(document),
                _ => None,
            };
            let now = matching.map(|document| shown(&self.compiled, document)).transpose()?;
            let place = self.rows.documents.binary_search_by(|(other, _)| other.cmp(key));
            match (place, now) {
                (Ok(index), Some(document)) => {
                    if self.rows.documents.get(index).is_some_and(|(_, before)| *before != document) {
                        self.rows.remove(index);
                        self.rows.insert(index, key.clone(), document.clone())?;
                        changes.push(LiveChange::Changed { index, document });
                    }
                }
                (Err(index), Some(document)) => {
                    self.rows.insert(index, key.clone(), document.clone())?;
                    changes.push(LiveChange::Added { index, document });
                }
                (Ok(index), None) => {
                    self.rows.remove(index);
                    changes.push(LiveChange::Removed { index });
                }
                (Err(_), None) => {}
            }
        }
        Ok(changes)
    }

    /// Whether one of these documents may make the result another.
    fn is_concerned(
        &self,
        view: &ViewSnapshot,
        collection_id: u32,
        keys: &BTreeSet<Vec<u8>>,
    ) -> Result<bool> {
        // One that is left out at the beginning counts as well, and how far away others are may matter.
        if self.compiled.skip > 0 || self.compiled.filter.nearness().is_some() || keys.len() > SINGLE_KEYS_MAX
        {
            return Ok(true);
        }
        for key in keys {
            if self.rows.ids.contains(key) {
                return Ok(true);
            }
            if let Some(stored) = view.value(&keyspace::document(collection_id, key))?
                && self.compiled.filter.matches(read(stored.value())?)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Rows {
    fn push(&mut self, key: Vec<u8>, document: RawDocumentBuf) -> Result<()> {
        self.insert(self.documents.len(), key, document)
    }

    fn insert(&mut self, index: usize, key: Vec<u8>, document: RawDocumentBuf) -> Result<()> {
        self.bytes += weight(&key, &document);
        if self.bytes > limits::LIVE_QUERY_BYTES_MAX {
            let message = format!(
                "the result of a live query is too large: limit_bytes={}",
                limits::LIVE_QUERY_BYTES_MAX
            );
            return Err(QueryError::new(TOO_LARGE, message).into());
        }
        self.ids.insert(key.clone());
        self.documents.insert(index.min(self.documents.len()), (key, document));
        Ok(())
    }

    fn remove(&mut self, index: usize) {
        if index < self.documents.len() {
            let (key, document) = self.documents.remove(index);
            self.bytes -= weight(&key, &document).min(self.bytes);
            self.ids.remove(&key);
        }
    }
}

/// What turns one result into the other.
fn difference(before: &Rows, after: &Rows) -> Vec<LiveChange<RawDocumentBuf>> {
    let reset = || {
        let documents = after.documents.iter().map(|(_, document)| document.clone()).collect();
        vec![LiveChange::Reset { documents }]
    };
    let mut changes = Vec::new();
    for (index, (key, _)) in before.documents.iter().enumerate().rev() {
        if !after.ids.contains(key) {
            changes.push(LiveChange::Removed { index });
        }
    }
    let old: BTreeMap<&[u8], &RawDocumentBuf> =
        before.documents.iter().map(|(key, document)| (&key[..], document)).collect();
    let places: BTreeMap<&[u8], usize> =
        after.documents.iter().enumerate().map(|(at, (key, _))| (&key[..], at)).collect();
    let mut present: Vec<&[u8]> =
        before.documents.iter().map(|(key, _)| &key[..]).filter(|key| places.contains_key(key)).collect();
    let mut moves = changes.len();
    for (index, (key, document)) in after.documents.iter().enumerate() {
        if moves > MOVES_MAX {
            return reset();
        }
        let Some(known) = old.get(&key[..]) else {
            present.insert(index.min(present.len()), key);
            changes.push(LiveChange::Added { index, document: document.clone() });
            moves += 1;
            continue;
        };
        if present.get(index) != Some(&&key[..]) {
            moves += 1;
            let is_next = present.get(index + 1) == Some(&&key[..]);
            let here = present.get(index).and_then(|other| places.get(other)).copied();
            let (from, to) = match here.filter(|_| is_next) {
                // Another one has gone further back.
                Some(place) => (index, place.min(present.len().saturating_sub(1))),
                None => (present.iter().position(|other| *other == &key[..]).unwrap_or(index), index),
            };
            if from < present.len() {
                let moved = present.remove(from);
                present.insert(to.min(present.len()), moved);
            }
            changes.push(LiveChange::Moved { from, to });
        }
        if *known != document {
            changes.push(LiveChange::Changed { index, document: document.clone() });
        }
    }
    changes
}

/// Whether each document belongs to the result or not whatever the others are.
fn is_simple(compiled: &Compiled) -> bool {
    let is_plain = compiled.sort.is_empty() && compiled.skip == 0 && compiled.limit.is_none();
    is_plain && compiled.filter.nearness().is_none()
}

fn shown(compiled: &Compiled, document: RawDocumentBuf) -> Result<RawDocumentBuf> {
    match &compiled.projection {
        Some(projection) => Ok(projection.apply(&document)?),
        None => Ok(document),
    }
}

fn key_of(document: &RawDocument) -> Result<Vec<u8>> {
    id_of(document).map(id_key).ok_or_else(|| Error::data("a stored document has no _id"))
}

fn read(bytes: &[u8]) -> Result<&RawDocument> {
    RawDocument::from_bytes(bytes)
        .map_err(|error| Error::data("a stored document is damaged").with_source(error))
}

fn weight(key: &[u8], document: &RawDocument) -> usize {
    2 * key.len() + document.as_bytes().len() + 64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(documents: &[(u8, u8)]) -> Rows {
        let mut rows = Rows::default();
        for (key, value) in documents {
            rows.push(vec![*key], bson::rawdoc! { "v": i32::from(*value) }).unwrap();
        }
        rows
    }

    fn results() -> impl Strategy<Value = Vec<(u8, u8)>> {
        let documents = proptest::collection::btree_map(0_u8..12, 0_u8..3, 0..12);
        documents.prop_map(|documents| documents.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }

    proptest! {
        #[test]
        fn the_difference_of_two_results_turns_one_into_the_other(before in results(), after in results()) {
            let (before, after) = (rows(&before), rows(&after));
            let mut result: Vec<_> = before.documents.iter().map(|(_, document)| document.clone()).collect();
            for change in difference(&before, &after) {
                change.apply(&mut result);
            }
            let expected: Vec<_> = after.documents.iter().map(|(_, document)| document.clone()).collect();
            prop_assert_eq!(result, expected);
        }
    }

    #[test]
    fn one_that_goes_to_the_end_is_one_change() {
        let before = rows(&[(0, 0), (1, 0), (2, 0), (3, 0)]);
        let after = rows(&[(1, 0), (2, 0), (3, 0), (0, 0)]);
        assert_eq!(difference(&before, &after), [LiveChange::Moved { from: 0, to: 3 }]);
    }
}
