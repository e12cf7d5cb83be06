//! How far the reading of a plan's branches has come: one after the other, merged by a sort, or together.

use std::collections::VecDeque;
use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use db_index::{Branch, Combination, Plan, Sort, SortKey};

use super::Source;
use super::branch::OpenBranch;
use super::reading::{Match, Reading};
use crate::error::Result;
use crate::view::catalog::CollectionMeta;

/// A document that matches.
pub(super) enum Found {
    /// As it is stored.
    Whole(RawDocumentBuf),
    /// As the projection shows it, made of an index entry.
    Shown(RawDocumentBuf),
}

/// The branches of a plan, as far as they have been read.
pub(super) enum Progress<'s> {
    /// They are read one after the other.
    Sequence { waiting: VecDeque<Branch>, current: Option<OpenBranch<'s>> },
    /// Each is in the order of a sort, by which they are merged.
    Merge(Vec<Head<'s>>),
    /// Each is in the order of `_id`; what is in all of them is wanted.
    Intersection(Vec<OpenBranch<'s>>),
}

/// A branch that is merged with others, and the first of its documents that has not been given.
pub(super) struct Head<'s> {
    branch: OpenBranch<'s>,
    next: Option<(SortKey, Found)>,
}

impl Found {
    pub(super) fn document(&self) -> &RawDocument {
        match self {
            Self::Whole(document) | Self::Shown(document) => document,
        }
    }
}

impl Default for Progress<'_> {
    fn default() -> Self {
        Self::Sequence { waiting: VecDeque::new(), current: None }
    }
}

impl<'s> Progress<'s> {
    /// The beginning of a plan's reading.
    pub(super) fn new(plan: Plan, meta: &Arc<CollectionMeta>) -> Self {
        let open = |branch| OpenBranch::open(branch, meta);
        match plan.combination {
            Combination::Sequence => Self::Sequence { waiting: plan.branches.into(), current: None },
            Combination::Merge => {
                let heads = plan.branches.into_iter().map(|branch| Head { branch: open(branch), next: None });
                Self::Merge(heads.collect())
            }
            Combination::Intersection => Self::Intersection(plan.branches.into_iter().map(open).collect()),
        }
    }

    /// Whether branches are merged by a sort.
    pub(super) fn is_merge(&self) -> bool {
        matches!(self, Self::Merge(_))
    }

    /// Gives the next match to `take`, in whatever order.
    pub(super) fn next<S: Source<'s>, T>(
        &mut self,
        reading: &mut Reading<'_, S>,
        meta: &Arc<CollectionMeta>,
        take: &mut impl FnMut(Match<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        match self {
            Self::Sequence { waiting, current } => loop {
                if let Some(branch) = current {
                    let taken = reading.next(branch, take)?;
                    if taken.is_some() {
                        return Ok(taken);
                    }
                }
                *current = waiting.pop_front().map(|branch| OpenBranch::open(branch, meta));
                if current.is_none() {
                    return Ok(None);
                }
            },
            Self::Merge(heads) => {
                while let Some(head) = heads.last_mut() {
                    let taken = reading.next(&mut head.branch, take)?;
                    if taken.is_some() {
                        return Ok(taken);
                    }
                    heads.pop();
                }
                Ok(None)
            }
            Self::Intersection(branches) => reading.next_common(branches, take),
        }
    }

    /// Gives the next match in the order of `sort`, by which the branches are merged.
    pub(super) fn next_merged<S: Source<'s>>(
        &mut self,
        reading: &mut Reading<'_, S>,
        sort: &Sort,
        take: &mut impl FnMut(Match<'_>) -> Result<Found>,
    ) -> Result<Option<Found>> {
        let Self::Merge(heads) = self else { return Ok(None) };
        for place in (0..heads.len()).rev() {
            let Some(head) = heads.get_mut(place).filter(|head| head.next.is_none()) else { continue };
            match reading.next(&mut head.branch, take)? {
                Some(found) => head.next = Some((sort.key(found.document())?, found)),
                None => {
                    heads.remove(place);
                }
            }
        }
        let first = heads.iter_mut().min_by(|a, b| {
            let (a, b) = (a.next.as_ref().map(|(key, _)| key), b.next.as_ref().map(|(key, _)| key));
            a.cmp(&b)
        });
        Ok(first.and_then(|head| head.next.take()).map(|(_, found)| found))
    }
}
