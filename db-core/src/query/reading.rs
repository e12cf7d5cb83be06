//! From keys to matches: an entry is tested, its document fetched and tested, and what came before is passed over.

use bson::RawDocument;
use db_index::{Filter, split_types};

use super::branch::OpenBranch;
use super::execute::ExecutionStats;
use super::seen::Seen;
use super::{Source, Stop};
use crate::error::{Error, Result};
use crate::view::Item;
use crate::view::catalog::IndexMeta;
use crate::view::keyspace::{self, PREFIX_BYTES};

/// What a match is read from.
pub(super) enum Match<'a> {
    Document(&'a RawDocument),
    Entry { index: &'a IndexMeta, key: &'a [u8], types: &'a [u8], id_types: &'a [u8] },
}

/// What reading needs of an execution.
pub(super) struct Reading<'a, S> {
    pub(super) source: &'a S,
    pub(super) collection_id: u32,
    pub(super) filter: &'a Filter,
    pub(super) seen: &'a mut Option<Seen>,
    pub(super) stop: &'a mut Stop,
    pub(super) stats: &'a mut ExecutionStats,
}

impl<'s, S: Source<'s>> Reading<'_, S> {
    /// Gives the next match of a branch to `take`.
    pub(super) fn next<T>(
        &mut self,
        branch: &mut OpenBranch<'s>,
        take: &mut impl FnMut(Match<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        loop {
            self.stop.step()?;
            let Some(item) = branch.next(self.source)? else { return Ok(None) };
            let taken = if branch.index().is_some() {
                self.stats.keys_examined += 1;
                self.entry(branch, &item, take)?
            } else {
                self.stats.documents_examined += 1;
                let document = stored(item.1.value())?;
                let matches = !branch.tests_documents || self.filter.matches(document)?;
                let id_key = item.0.value().get(PREFIX_BYTES..).unwrap_or_default();
                if matches && self.is_new(id_key)? { Some(take(Match::Document(document))?) } else { None }
            };
            if taken.is_some() {
                return Ok(taken);
            }
        }
    }

    /// Gives the next document that all of the branches lead to, which come in the order of `_id`, to `take`.
    pub(super) fn next_common<T>(
        &mut self,
        branches: &mut [OpenBranch<'s>],
        take: &mut impl FnMut(Match<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        loop {
            let mut wanted: Option<Vec<u8>> = None;
            // How many branches have come to the `_id` that is wanted.
            let mut agreed = 0;
            for place in (0..branches.len()).cycle() {
                let Some(branch) = branches.get_mut(place) else { return Ok(None) };
                let Some(id_key) = self.advance(branch, wanted.as_deref())? else { return Ok(None) };
                if wanted.as_ref() == Some(&id_key) {
                    agreed += 1;
                } else {
                    (wanted, agreed) = (Some(id_key), 1);
                }
                if agreed == branches.len() {
                    break;
                }
            }
            let (Some(id_key), Some(first)) = (wanted, branches.first()) else { return Ok(None) };
            let tests = first.tests_documents;
            let document = self.source.value(&keyspace::document(self.collection_id, &id_key))?;
            let document = document.ok_or_else(|| Error::data("an index entry is damaged"))?;
            self.stats.documents_examined += 1;
            let document = stored(document.value())?;
            if !tests || self.filter.matches(document)? {
                return take(Match::Document(document)).map(Some);
            }
        }
    }

    /// Reads on to the first entry whose `_id` is not below `wanted`, and gives its `_id`. An entry that is at `wanted`
    /// already is left behind: it was given before, or agreed to in this round.
    fn advance(&mut self, branch: &mut OpenBranch<'s>, wanted: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        loop {
            self.stop.step()?;
            let Some((key, _)) = branch.next(self.source)? else { return Ok(None) };
            self.stats.keys_examined += 1;
            let Some(index) = branch.index() else { return Ok(None) };
            let key = key.value().get(PREFIX_BYTES..).unwrap_or_default();
            let id_key = index.definition.id_key(key).map_err(|_| damaged_entry(index))?;
            if wanted.is_none_or(|wanted| id_key >= wanted) {
                return Ok(Some(id_key.to_vec()));
            }
        }
    }

    /// Follows an index entry, if its key does not rule the document out, and gives a match to `take`.
    fn entry<T>(
        &mut self,
        branch: &OpenBranch<'s>,
        (key, types): &Item<'s>,
        take: &mut impl FnMut(Match<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(index) = branch.index() else { return Ok(None) };
        let damaged = |_| damaged_entry(index);
        let key = key.value().get(PREFIX_BYTES..).unwrap_or_default();
        let (types, id_types) = split_types(types.value()).map_err(damaged)?;
        if let Some(filter) = &branch.key_filter
            && !filter.matches(key, types).map_err(damaged)?
        {
            return Ok(None);
        }
        let id_key = index.definition.id_key(key).map_err(damaged)?;
        if branch.covered && !branch.tests_documents {
            let is_new = self.is_new(id_key)?;
            return if is_new {
                Ok(Some(take(Match::Entry { index, key, types, id_types })?))
            } else {
                Ok(None)
            };
        }
        if self.seen.as_ref().is_some_and(|seen| seen.contains(id_key)) {
            return Ok(None);
        }
        let document = self.source.value(&keyspace::document(self.collection_id, id_key))?;
        let document = document.ok_or_else(|| damaged_entry(index))?;
        self.stats.documents_examined += 1;
        let document = stored(document.value())?;
        if branch.tests_documents && !self.filter.matches(document)? || !self.is_new(id_key)? {
            return Ok(None);
        }
        Ok(Some(take(Match::Document(document))?))
    }

    fn is_new(&mut self, id_key: &[u8]) -> Result<bool> {
        self.seen.as_mut().map_or(Ok(true), |seen| seen.insert(id_key))
    }
}

/// A document as it is stored.
pub(super) fn stored(bytes: &[u8]) -> Result<&RawDocument> {
    RawDocument::from_bytes(bytes).map_err(|_| Error::data("a stored document is damaged"))
}

/// The error for an index entry that cannot be read, or that leads nowhere.
pub(super) fn damaged_entry(index: &IndexMeta) -> Error {
    Error::data(format!("an index entry is damaged: index={}", index.definition.name()))
}
