//! Executing a find, document by document.

use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use db_index::{
    Filter, IndexInfo, Output, Plan, PlanRequest, Projection, SORT_BYTES_MAX, Sort, Sorter, covered_document,
    with_text_score,
};

use super::counts::Counts;
use super::near::Nearest;
use super::progress::{Found, Progress};
use super::reading::{Match, Reading, damaged_entry, stored};
use super::seen::Seen;
use super::{Compiled, Source, Stop};
use crate::error::Result;
use crate::view::catalog::CollectionMeta;
use crate::view::keyspace;
use crate::view::statistics::Statistics;

/// What executing a find has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ExecutionStats {
    pub(crate) keys_examined: u64,
    pub(crate) documents_examined: u64,
    pub(crate) returned: u64,
}

/// What an execution reads with, and how far it has come.
macro_rules! reading {
    ($execution:ident) => {{
        let reading = Reading {
            source: &$execution.source,
            collection_id: $execution.meta.id,
            filter: &$execution.filter,
            seen: &mut $execution.seen,
            stop: &mut $execution.stop,
            stats: &mut $execution.stats,
        };
        (reading, &mut $execution.progress)
    }};
}

/// A find being executed; an iterator over its documents.
pub(crate) struct Execution<'s, S> {
    source: S,
    meta: Arc<CollectionMeta>,
    filter: Filter,
    projection: Option<Projection>,
    /// The fields shown, where the index holds all of them.
    covered_fields: Vec<String>,
    /// How many documents there are, where all of them are counted.
    total: Option<u64>,
    /// The key of the one document that can match, still to be looked up.
    only: Option<Vec<u8>>,
    progress: Progress<'s>,
    /// What branches are merged by, if they are.
    sort: Sort,
    /// The `_id`s given so far, where a document may turn up twice.
    seen: Option<Seen>,
    /// The documents in order, where they had to be sorted.
    sorted: Option<std::vec::IntoIter<RawDocumentBuf>>,
    /// The rings of a find that comes in the order of distances.
    nearest: Option<Nearest>,
    hint: Option<db_index::Hint>,
    skip: u64,
    limit: Option<u64>,
    stop: Stop,
    stats: ExecutionStats,
}

impl<'s, S: Source<'s>> Execution<'s, S> {
    /// A find of the documents.
    pub(crate) fn new(source: S, meta: &Arc<CollectionMeta>, compiled: Compiled) -> Result<Self> {
        if let Some(key) = compiled.only_key(meta) {
            return Ok(Self::of_one(source, meta, compiled, key));
        }
        let plan = compiled.output(|output| plan(&source, meta, &compiled, output))?;
        if compiled.sort.is_empty() && compiled.filter.nearness().is_some() {
            // The plan was made to see that there is an index; the rings have theirs.
            let mut execution = Self::without_plan(source, meta, compiled);
            execution.nearest = Nearest::new(&execution.filter);
            return Ok(execution);
        }
        let sort = plan.sorts.then(|| compiled.sort.clone());
        let fields = compiled.fields.clone();
        let mut execution = Self::with(source, meta, compiled, plan);
        execution.covered_fields = fields.unwrap_or_default();
        if let Some(sort) = sort {
            let scored = sort.uses_text_score();
            let limit = execution.limit.map(|limit| limit.saturating_add(execution.skip));
            let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let mut sorter = Sorter::new(sort, limit, SORT_BYTES_MAX);
            while let Some(found) = execution.next_found()? {
                let document = found.document();
                if scored {
                    sorter.push(&execution.scored(document), || document.to_owned())?;
                } else {
                    sorter.push(document, || document.to_owned())?;
                }
            }
            execution.sorted = Some(sorter.into_sorted().collect::<Vec<_>>().into_iter());
        }
        Ok(execution)
    }

    /// A find that only counts: for [`Execution::count_all`].
    pub(crate) fn counting(source: S, meta: &Arc<CollectionMeta>, mut compiled: Compiled) -> Result<Self> {
        compiled.sort = Sort::default();
        if let Some(key) = compiled.only_key(meta) {
            return Ok(Self::of_one(source, meta, compiled, key));
        }
        if compiled.filter.is_empty() && compiled.hint.is_none() {
            let total = statistics(&source, meta)?.documents.count;
            let mut execution = Self::without_plan(source, meta, compiled);
            execution.total = Some(total);
            return Ok(execution);
        }
        let plan = plan(&source, meta, &compiled, Output::Count)?;
        Ok(Self::with(source, meta, compiled, plan))
    }

    /// The number of documents.
    pub(crate) fn count_all(&mut self) -> Result<u64> {
        let mut count: u64 = 0;
        let enough = self.limit.map(|limit| limit.saturating_add(self.skip));
        if let Some(total) = self.total {
            count = enough.map_or(total, |enough| total.min(enough));
            return Ok(count.saturating_sub(self.skip));
        }
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
        execution.seen = plan.deduplicates.then(Seen::default);
        execution.progress = Progress::new(plan, &execution.meta);
        execution
    }

    fn without_plan(source: S, meta: &Arc<CollectionMeta>, compiled: Compiled) -> Self {
        Self {
            source,
            meta: Arc::clone(meta),
            filter: compiled.filter,
            projection: compiled.projection,
            covered_fields: Vec::new(),
            total: None,
            only: None,
            progress: Progress::default(),
            sort: compiled.sort,
            seen: None,
            sorted: None,
            nearest: None,
            hint: compiled.hint,
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
                None if self.nearest.is_some() => self.next_nearest()?.map(Found::Whole),
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
                (Found::Whole(document), Some(projection)) if projection.uses_text_score() => {
                    projection.apply(&self.scored(&document))?
                }
                (Found::Whole(document), Some(projection)) => projection.apply(&document)?,
                (Found::Whole(document) | Found::Shown(document), _) => document,
            }));
        }
    }

    /// The document with the score that a search gives it.
    fn scored(&self, document: &RawDocument) -> RawDocumentBuf {
        with_text_score(document, self.filter.text_score(document).unwrap_or_default())
    }

    /// The next document in the order of distances.
    fn next_nearest(&mut self) -> Result<Option<RawDocumentBuf>> {
        loop {
            let Some(nearest) = &mut self.nearest else { return Ok(None) };
            if let Some(document) = nearest.pop() {
                return Ok(Some(document));
            }
            let Some(ring) = nearest.next_ring() else { return Ok(nearest.pop()) };
            self.filter = ring;
            let request = Compiled {
                filter: self.filter.clone(),
                sort: Sort::default(),
                projection: None,
                transform_by: None,
                fields: None,
                hint: self.hint.clone(),
                skip: 0,
                limit: None,
                stop: self.stop.clone(),
            };
            let plan = plan(&self.source, &self.meta, &request, Output::Documents)?;
            self.seen = plan.deduplicates.then(Seen::default);
            self.progress = Progress::new(plan, &self.meta);
            while let Some(found) = self.next_found()? {
                let (Found::Whole(document) | Found::Shown(document)) = found;
                if let Some(nearest) = &mut self.nearest {
                    nearest.push(&self.filter, document)?;
                }
            }
        }
    }

    fn next_found(&mut self) -> Result<Option<Found>> {
        let fields = std::mem::take(&mut self.covered_fields);
        let names: Vec<&str> = fields.iter().map(String::as_str).collect();
        let mut take = |matched: Match<'_>| {
            Ok(match matched {
                Match::Document(document) => Found::Whole(document.to_owned()),
                Match::Entry { index, key, types, id_types } => {
                    let document = covered_document(&index.definition, &names, key, types, id_types);
                    Found::Shown(document.map_err(|_| damaged_entry(index))?)
                }
            })
        };
        let found = if self.only.is_none() && self.progress.is_merge() {
            let (mut reading, progress) = reading!(self);
            progress.next_merged(&mut reading, &self.sort, &mut take)
        } else {
            self.next_match(take)
        };
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
        let (mut reading, progress) = reading!(self);
        progress.next(&mut reading, &self.meta, &mut take)
    }
}

impl<'s, S: Source<'s>> Iterator for Execution<'s, S> {
    type Item = Result<RawDocumentBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
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
    let statistics = statistics(source, meta)?;
    let indexes: Vec<IndexInfo<'_>> = meta
        .indexes
        .iter()
        .map(|index| IndexInfo {
            definition: &index.definition,
            multikey: index.multikey,
            entries: statistics.index(index.id).count,
        })
        .collect();
    ask(&PlanRequest {
        filter: &compiled.filter,
        sort: &compiled.sort,
        output,
        limit: compiled.limit.map(|limit| limit.saturating_add(compiled.skip)),
        hint: compiled.hint.as_ref(),
        indexes: &indexes,
        documents: statistics.documents.count,
        counts: Some(&Counts::new(source, meta)),
    })
}

/// What is counted of the collection.
fn statistics<'s>(source: &impl Source<'s>, meta: &CollectionMeta) -> Result<Statistics> {
    let stored = source.value(&keyspace::statistics(meta.id))?;
    stored.map_or_else(|| Ok(Statistics::default()), |stored| Statistics::decode(stored.value()))
}
