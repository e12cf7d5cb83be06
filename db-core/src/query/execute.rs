//! Executing a find, document by document.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use db_index::{
    Branch, Filter, IndexInfo, Output, Plan, PlanRequest, Projection, SORT_BYTES_MAX, Sorter,
    covered_document, split_types,
};

use super::branch::{Item, OpenBranch};
use super::{Compiled, FindOptions, Source, Stop};
use crate::error::{Error, Result};
use crate::view::catalog::{CollectionMeta, IndexMeta};
use crate::view::keyspace::{self, PREFIX_BYTES};

/// What executing a find has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ExecutionStats {
    pub(crate) keys_examined: u64,
    pub(crate) documents_examined: u64,
    pub(crate) returned: u64,
}

/// A find being executed; an iterator over its documents.
pub(crate) struct Execution<'s, S> {
    source: S,
    meta: Arc<CollectionMeta>,
    filter: Filter,
    projection: Option<Projection>,
    /// The fields shown, where the index holds all of them.
    covered_fields: Vec<String>,
    /// The key of the one document that can match, still to be looked up.
    only: Option<Vec<u8>>,
    branches: VecDeque<Branch>,
    current: Option<OpenBranch<'s>>,
    /// The `_id`s given so far, where a document may turn up twice.
    seen: Option<BTreeSet<Vec<u8>>>,
    /// The documents in order, where they had to be sorted.
    sorted: Option<std::vec::IntoIter<RawDocumentBuf>>,
    skip: u64,
    limit: Option<u64>,
    stop: Stop,
    stats: ExecutionStats,
}

/// A document that matches.
enum Found {
    /// As it is stored.
    Whole(RawDocumentBuf),
    /// As the projection shows it, made of an index entry.
    Shown(RawDocumentBuf),
}

impl<'s, S: Source<'s>> Execution<'s, S> {
    /// A find of the documents.
    pub(crate) fn new(source: S, meta: &Arc<CollectionMeta>, options: &FindOptions) -> Result<Self> {
        let compiled = options.compile()?;
        if let Some(key) = compiled.only_key(meta) {
            return Ok(Self::of_one(source, meta, compiled, key));
        }
        let fields = compiled.projection.as_ref().and_then(Projection::fields);
        let borrowed: Option<Vec<&str>> =
            fields.as_ref().map(|fields| fields.iter().map(String::as_str).collect());
        let output = borrowed.as_ref().map_or(Output::Documents, |fields| Output::Fields(fields));
        let plan = plan(&source, meta, &compiled, output)?;
        let sort = plan.sorts.then(|| compiled.sort.clone());
        let mut execution = Self::with(source, meta, compiled, plan);
        execution.covered_fields = fields.unwrap_or_default();
        if let Some(sort) = sort {
            let limit = execution.limit.map(|limit| limit.saturating_add(execution.skip));
            let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let mut sorter = Sorter::new(sort, limit, SORT_BYTES_MAX);
            while let Some(found) = execution.next_found()? {
                let (Found::Whole(document) | Found::Shown(document)) = &found;
                sorter.push(document, || document.clone())?;
            }
            execution.sorted = Some(sorter.into_sorted().collect::<Vec<_>>().into_iter());
        }
        Ok(execution)
    }

    /// A find that only counts: for [`Execution::count_all`].
    pub(crate) fn counting(source: S, meta: &Arc<CollectionMeta>, options: &FindOptions) -> Result<Self> {
        let compiled = options.compile()?;
        if let Some(key) = compiled.only_key(meta) {
            return Ok(Self::of_one(source, meta, compiled, key));
        }
        let plan = plan(&source, meta, &compiled, Output::Count)?;
        Ok(Self::with(source, meta, compiled, plan))
    }

    /// The number of documents.
    pub(crate) fn count_all(&mut self) -> Result<u64> {
        let mut count: u64 = 0;
        let enough = self.limit.map(|limit| limit.saturating_add(self.skip));
        while enough.is_none_or(|enough| count < enough) && self.next_match(|_| Ok(()))?.is_some() {
            count += 1;
        }
        Ok(count.saturating_sub(self.skip))
    }

    /// What it has cost so far.
    pub(crate) fn stats(&self) -> ExecutionStats {
        self.stats
    }

    /// A find of the one document under `key`. It needs no plan: no other way reads less.
    fn of_one(source: S, meta: &Arc<CollectionMeta>, compiled: Compiled, key: Vec<u8>) -> Self {
        let mut execution = Self::without_plan(source, meta, compiled);
        execution.only = Some(key);
        execution
    }

    fn with(source: S, meta: &Arc<CollectionMeta>, compiled: Compiled, plan: Plan) -> Self {
        let mut execution = Self::without_plan(source, meta, compiled);
        execution.branches = plan.branches.into();
        execution.seen = plan.deduplicates.then(BTreeSet::new);
        execution
    }

    fn without_plan(source: S, meta: &Arc<CollectionMeta>, compiled: Compiled) -> Self {
        Self {
            source,
            meta: Arc::clone(meta),
            filter: compiled.filter,
            projection: compiled.projection,
            covered_fields: Vec::new(),
            only: None,
            branches: VecDeque::new(),
            current: None,
            seen: None,
            sorted: None,
            skip: compiled.skip,
            limit: compiled.limit,
            stop: compiled.stop,
            stats: ExecutionStats::default(),
        }
    }

    fn advance(&mut self) -> Result<Option<RawDocumentBuf>> {
        if self.limit == Some(0) {
            return Ok(None);
        }
        loop {
            let found = match &mut self.sorted {
                Some(sorted) => sorted.next().map(Found::Whole),
                None => self.next_found()?,
            };
            let Some(found) = found else { return Ok(None) };
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            if let Some(limit) = &mut self.limit {
                *limit -= 1;
            }
            self.stats.returned += 1;
            return Ok(Some(match (found, &self.projection) {
                (Found::Whole(document), Some(projection)) => projection.apply(&document)?,
                (Found::Whole(document) | Found::Shown(document), _) => document,
            }));
        }
    }

    fn next_found(&mut self) -> Result<Option<Found>> {
        let fields = std::mem::take(&mut self.covered_fields);
        let names: Vec<&str> = fields.iter().map(String::as_str).collect();
        let found = self.next_match(|matched| {
            Ok(match matched {
                Match::Document(document) => Found::Whole(document.to_owned()),
                Match::Entry { index, key, types, id_types } => {
                    let document = covered_document(&index.definition, &names, key, types, id_types);
                    Found::Shown(document.map_err(|_| damaged_entry(index))?)
                }
            })
        });
        self.covered_fields = fields;
        found
    }

    /// Gives the next match to `take`.
    fn next_match<T>(&mut self, mut take: impl FnMut(Match<'_>) -> Result<T>) -> Result<Option<T>> {
        if let Some(key) = self.only.take() {
            self.stop.step()?;
            let Some(document) = self.source.value(&key)? else { return Ok(None) };
            self.stats.documents_examined += 1;
            let document = stored(document.value())?;
            let matches = self.filter.matches(document)?;
            return if matches { take(Match::Document(document)).map(Some) } else { Ok(None) };
        }
        loop {
            self.stop.step()?;
            let Some(branch) = &mut self.current else {
                let Some(next) = self.branches.pop_front() else { return Ok(None) };
                self.current = Some(OpenBranch::open(next, &self.meta));
                continue;
            };
            let Some(item) = branch.next(&self.source)? else {
                self.current = None;
                continue;
            };
            self.stats.keys_examined += u64::from(branch.index().is_some());
            let taken = if branch.index().is_some() {
                let mut reading = Reading {
                    source: &self.source,
                    collection_id: self.meta.id,
                    filter: &self.filter,
                    seen: &mut self.seen,
                    stats: &mut self.stats,
                };
                reading.entry(branch, &item, &mut take)?
            } else {
                self.stats.documents_examined += 1;
                let document = stored(item.1.value())?;
                let matches = !branch.tests_documents || self.filter.matches(document)?;
                let is_new =
                    matches && is_new(&mut self.seen, item.0.value().get(PREFIX_BYTES..).unwrap_or_default());
                if is_new { Some(take(Match::Document(document))?) } else { None }
            };
            if taken.is_some() {
                return Ok(taken);
            }
        }
    }
}

impl<'s, S: Source<'s>> Iterator for Execution<'s, S> {
    type Item = Result<RawDocumentBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// What a match is read from.
enum Match<'a> {
    Document(&'a RawDocument),
    Entry { index: &'a IndexMeta, key: &'a [u8], types: &'a [u8], id_types: &'a [u8] },
}

/// What reading an index entry needs of the execution.
struct Reading<'a, S> {
    source: &'a S,
    collection_id: u32,
    filter: &'a Filter,
    seen: &'a mut Option<BTreeSet<Vec<u8>>>,
    stats: &'a mut ExecutionStats,
}

impl<'s, S: Source<'s>> Reading<'_, S> {
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
            let is_new = is_new(self.seen, id_key);
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
        if branch.tests_documents && !self.filter.matches(document)? {
            return Ok(None);
        }
        if !is_new(self.seen, id_key) {
            return Ok(None);
        }
        Ok(Some(take(Match::Document(document))?))
    }
}

/// The plan for a find.
pub(super) fn plan<'s>(
    source: &impl Source<'s>,
    meta: &CollectionMeta,
    compiled: &Compiled,
    output: Output<'_>,
) -> Result<Plan> {
    with_plan_request(source, meta, compiled, output, |request| Ok(Plan::new(request)?))
}

/// Hands the question for the planner to `ask`.
pub(super) fn with_plan_request<'s, T>(
    source: &impl Source<'s>,
    meta: &CollectionMeta,
    compiled: &Compiled,
    output: Output<'_>,
    ask: impl FnOnce(&PlanRequest<'_>) -> Result<T>,
) -> Result<T> {
    let stored = source.value(&keyspace::count(meta.id))?;
    let documents = stored.and_then(|count| count.value().try_into().ok()).map_or(0, u64::from_le_bytes);
    let indexes: Vec<IndexInfo<'_>> = meta
        .indexes
        .iter()
        .map(|index| IndexInfo {
            definition: &index.definition,
            multikey: index.multikey,
            entries: documents,
        })
        .collect();
    ask(&PlanRequest {
        filter: &compiled.filter,
        sort: &compiled.sort,
        output,
        limit: compiled.limit.map(|limit| limit.saturating_add(compiled.skip)),
        hint: compiled.hint.as_ref(),
        indexes: &indexes,
        documents,
    })
}

fn is_new(seen: &mut Option<BTreeSet<Vec<u8>>>, id_key: &[u8]) -> bool {
    seen.as_mut().is_none_or(|seen| seen.insert(id_key.to_vec()))
}

fn stored(bytes: &[u8]) -> Result<&RawDocument> {
    RawDocument::from_bytes(bytes).map_err(|_| Error::data("a stored document is damaged"))
}

fn damaged_entry(index: &IndexMeta) -> Error {
    Error::data(format!("an index entry is damaged: index={}", index.definition.name()))
}
