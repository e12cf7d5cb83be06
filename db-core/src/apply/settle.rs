//! Settling what is concurrent, document by document: assignments of one path, deletes against updates.
//!
//! An update is compared with the last assignment of each path that it assigns. If its author had seen that, it takes effect:
//! who has seen a value and writes over it always wins. If not, the two are concurrent, and by default the one with the later
//! author's time wins, whichever has the first place in the order. One that wins over what stands at its path and above, and not over
//! some of what stands below, takes effect but for that. (Where clocks run so wrong that of three assignments each
//! would win over the next, the one that is placed last of those that may win does.) Guarded updates take effect by their place.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use bson::{RawBsonRef, RawDocument};

use super::conflicts::{Conflict, Conflicts, Side, Value};
use super::edits::{Edits, restored, value_at, write_conflict};
use super::writes::{gone, guard_is_false, without_id};
use super::{Applier, Author, Outcome};
use crate::error::{Error, Result};
use crate::limits;
use crate::view::catalog::id_of;
use crate::view::documents::{ChangeError, CollectionWriter, id_key};
use crate::view::history::{History, Rival, Stamp};
use crate::view::journal::ViewWriter;
use crate::view::policy::{ConflictPolicy, DeletePolicy, PathPolicy};
use crate::view::settled::Settled;

/// What an update did to one document.
#[derive(Default)]
pub(super) struct Edited {
    pub(super) matched: bool,
    pub(super) modified: bool,
    /// What concurrent changes have left of it.
    pub(super) settled: Settled,
}

impl Edited {
    /// Counts it.
    pub(super) fn add_to(&self, outcome: &mut Outcome) {
        outcome.matched += u64::from(self.matched);
        outcome.modified += u64::from(self.modified);
        outcome.settled = Some(Settled::of_both(outcome.settled, self.settled));
    }
}

/// What a delete did to one document.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Deleted {
    Now,
    /// It was not there.
    Gone,
    /// A concurrent update has won.
    Kept,
}

/// Where an update met an assignment that its author had not seen.
struct Met {
    path: String,
    rule: &'static str,
    stamp: Stamp,
    fate: Fate,
}

/// What became of an assignment that met another.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Won,
    /// The one at this position lost as a whole.
    Lost(usize),
    /// It takes effect, but for this path below its own, where another one stays.
    Pierced,
}

/// What of an update takes effect.
#[derive(Default)]
struct Compared<'e> {
    /// The fields whose assignments lost.
    lost: BTreeSet<&'e str>,
    met: Vec<Met>,
}

/// One part of an operation: a document that it names.
pub(super) struct Part<'a> {
    pub(super) collection: &'a str,
    /// `{_id: …}`.
    pub(super) id: &'a RawDocument,
    pub(super) position: usize,
}

impl Applier<'_> {
    /// Updates one document.
    pub(super) fn edit(
        &mut self,
        writer: &mut CollectionWriter,
        view: &mut ViewWriter<'_, '_>,
        part: &Part<'_>,
        edits: &Edits<'_>,
        conflicts: &mut Conflicts,
    ) -> Result<Edited, ChangeError> {
        let id = id_of(part.id).ok_or_else(without_id)?;
        let key = id_key(id);
        let mut history = writer.history(view, &key)?;
        let stored = writer.document(view, &key)?;
        let unseen_delete = match history.deleted {
            Some(deleted) if !self.author.sees(&deleted)? => Some(deleted),
            _ => None,
        };
        let policy = writer.policy().delete;
        let stamp = self.author.stamp;
        let with_delete = |winner, loser| Conflict {
            collection: part.collection,
            document: id,
            part: part.position,
            path: None,
            rule: policy.name(),
            winner,
            loser,
        };
        if let Some(deleted) = unseen_delete
            && policy == DeletePolicy::DeleteWins
            && !edits.is_guarded
        {
            let update = Side { stamp, value: Value::Update(edits.source()) };
            conflicts.add(&self.author, &with_delete(Side::removed(deleted), update));
            return Ok(Edited { settled: Settled::Superseded, ..Edited::default() });
        }
        let comes_back = stored.is_none();
        let stored = match (stored, unseen_delete) {
            (Some(stored), _) => stored,
            (None, Some(_)) if policy == DeletePolicy::UpdateWins => {
                history.deleted = None;
                history.kept.take().ok_or_else(gone)?
            }
            (None, _) => return Err(gone().into()),
        };
        let old =
            RawDocument::from_bytes(&stored).map_err(|_| Error::data("a stored document is damaged"))?;
        if !edits.guard.matches(old)? {
            return Err(guard_is_false().into());
        }
        let policies = writer.policy().clone();
        let mut settled = settled(&mut self.author, old, &history, edits, &policies, true)?;
        let mut updated = edits.apply(old, &settled.lost)?;
        let mut given = None;
        let pierced = settled.met.iter().filter(|met| met.fate == Fate::Pierced);
        let pierced: Vec<(String, Stamp)> = pierced.map(|met| (met.path.clone(), met.stamp)).collect();
        if !pierced.is_empty() {
            let paths: Vec<&str> = pierced.iter().map(|(path, _)| path.as_str()).collect();
            if let Ok(document) = restored(old, &updated.document, &paths) {
                updated.changed = document.as_bytes() != old.as_bytes();
                given = Some(std::mem::replace(&mut updated.document, document));
            } else {
                // There is no room for what has to stay, so the assignments around it are lost as a whole.
                settled = self::settled(&mut self.author, old, &history, edits, &policies, false)?;
                updated = edits.apply(old, &settled.lost)?;
            }
        }
        if comes_back {
            writer.insert(view, &key, &updated.document)?;
        } else if updated.document.as_bytes() != old.as_bytes() {
            writer.replace(view, &key, old, &updated.document)?;
        }
        let mut is_remembered = edits.does_more;
        for assignment in &edits.assignments {
            if !settled.lost.contains(assignment.field) {
                history.assign(assignment.path, stamp);
                is_remembered = true;
            }
        }
        if given.is_some() {
            for (path, stamp) in &pierced {
                history.assign(path, *stamp);
            }
        }
        if is_remembered {
            history.update(stamp);
        }
        if is_remembered || comes_back {
            writer.put_history(view, &key, &history)?;
        }
        if let Some(deleted) = unseen_delete
            && comes_back
        {
            conflicts.add(&self.author, &with_delete(Side::removed(stamp), Side::removed(deleted)));
        }
        let (mut is_met, mut took) = (comes_back || edits.merges_into(old), is_remembered);
        for met in &settled.met {
            // Each costs a walk through the document: what is beyond the entry's measure is not listed.
            view.work().add(old.as_bytes().len());
            if view.work().check().is_err() {
                is_met = true;
                break;
            }
            let before = Side { stamp: met.stamp, value: Value::of(value_at(old, &met.path)) };
            let value = match met.fate {
                Fate::Won => value_at(&updated.document, &met.path),
                Fate::Lost(position) => edits.assignments.get(position).and_then(|lost| lost.value_in(old)),
                Fate::Pierced => given.as_ref().and_then(|given| value_at(given, &met.path)),
            };
            let own = Side { stamp, value: Value::of(value) };
            let (winner, loser) = if met.fate == Fate::Won { (own, before) } else { (before, own) };
            if winner.value == loser.value {
                took = true;
            } else {
                let path = Some(met.path.as_str());
                let conflict = Conflict { path, rule: met.rule, ..with_delete(winner, loser) };
                conflicts.add(&self.author, &conflict);
                is_met |= met.fate != Fate::Won;
            }
        }
        let settled = match (is_met, took) {
            (false, _) => Settled::Applied,
            (true, true) => Settled::Merged,
            (true, false) => Settled::Superseded,
        };
        Ok(Edited { matched: true, modified: updated.changed, settled })
    }

    /// Deletes one document.
    pub(super) fn delete_one(
        &mut self,
        writer: &mut CollectionWriter,
        view: &mut ViewWriter<'_, '_>,
        part: &Part<'_>,
        guard: &db_index::Filter,
        conflicts: &mut Conflicts,
    ) -> Result<Deleted, ChangeError> {
        let id = id_of(part.id).ok_or_else(without_id)?;
        let key = id_key(id);
        let Some(stored) = writer.document(view, &key)? else { return Ok(Deleted::Gone) };
        let old =
            RawDocument::from_bytes(&stored).map_err(|_| Error::data("a stored document is damaged"))?;
        if !guard.matches(old)? {
            return Err(guard_is_false().into());
        }
        let mut history = writer.history(view, &key)?;
        let mut unseen: Option<Stamp> = None;
        for update in history.updates() {
            if !self.author.sees(update)? && unseen.is_none_or(|unseen| update.is_later_than(&unseen)) {
                unseen = Some(*update);
            }
        }
        let stamp = self.author.stamp;
        let policy = writer.policy().delete;
        if let Some(update) = unseen {
            let (winner, loser) = match policy {
                DeletePolicy::DeleteWins => {
                    let value = Value::of(Some(RawBsonRef::Document(old)));
                    (Side::removed(stamp), Side { stamp: update, value })
                }
                DeletePolicy::UpdateWins => (Side::removed(update), Side::removed(stamp)),
            };
            let rule = policy.name();
            let (collection, part) = (part.collection, part.position);
            let conflict = Conflict { collection, document: id, part, path: None, rule, winner, loser };
            conflicts.add(&self.author, &conflict);
            if policy == DeletePolicy::UpdateWins {
                return Ok(Deleted::Kept);
            }
        }
        writer.delete(view, &key, old)?;
        if policy == DeletePolicy::UpdateWins {
            history.deleted = Some(stamp);
            history.kept = Some(stored);
        } else {
            history = History::of_deleted(stamp);
        }
        writer.put_history(view, &key, &history)?;
        Ok(Deleted::Now)
    }

    /// Notes that a document was inserted where others may have been deleted before; `upserted` by an upsert.
    pub(super) fn remember_insert(
        &mut self,
        writer: &CollectionWriter,
        view: &mut ViewWriter<'_, '_>,
        id_key: &[u8],
        upserted: bool,
    ) -> Result<()> {
        let before = writer.history(view, id_key)?;
        let mut history = History::default();
        if upserted {
            history = History::of_upsert(self.author.stamp);
        }
        // Updates that have not seen the delete are not meant for this document. A delete that the insert has not seen
        // itself is none of its past.
        if let Some(deleted) = before.deleted
            && self.author.sees(&deleted)?
        {
            history.deleted = Some(deleted);
        }
        if history == before { Ok(()) } else { writer.put_history(view, id_key, &history) }
    }
}

/// Compares what an update assigns with what was assigned before it in the order. Whether an assignment can be `pierced`: take
/// effect but for paths below its own that were assigned later.
fn settled<'e>(
    author: &mut Author<'_>,
    old: &RawDocument,
    history: &History,
    edits: &Edits<'e>,
    policy: &ConflictPolicy,
    pierced: bool,
) -> Result<Compared<'e>, ChangeError> {
    let mut settled = Compared::default();
    if edits.is_guarded || author.sees_everything() {
        return Ok(settled);
    }
    for (position, assignment) in edits.assignments.iter().enumerate() {
        let rule = policy.of_path(assignment.path);
        let mut others = Vec::new();
        let mut lost: Option<Met> = None;
        for Rival { below, stamp, is_insert } in history.rivals(assignment.path) {
            let is_apart = is_insert && value_at(old, assignment.path).is_none();
            if is_apart || author.sees(&stamp)? {
                continue;
            }
            if rule == PathPolicy::RejectConcurrent {
                return Err(write_conflict().into());
            }
            let by_value =
                below.is_none().then(|| assignment.value_in(old).zip(value_at(old, assignment.path)));
            let by_value = by_value.flatten().map(|(new, old)| db_index::compare(new, old));
            let wins = match (rule, by_value) {
                (PathPolicy::Max, Some(order)) if order != Ordering::Equal => order == Ordering::Greater,
                (PathPolicy::Min, Some(order)) if order != Ordering::Equal => order == Ordering::Less,
                _ => author.stamp.is_later_than(&stamp),
            };
            let (path, fate) = match (wins, below) {
                (true, _) => (below.unwrap_or(assignment.path), Fate::Won),
                (false, Some(below)) if pierced => (below, Fate::Pierced),
                (false, _) => (assignment.path, Fate::Lost(position)),
            };
            let met = Met { path: path.to_owned(), rule: rule.name(), stamp, fate };
            if !matches!(fate, Fate::Lost(_)) {
                others.push(met);
            } else if lost.as_ref().is_none_or(|lost| stamp.is_later_than(&lost.stamp)) {
                lost = Some(met);
            }
        }
        if lost.is_some() {
            settled.lost.insert(assignment.field);
            others = lost.into_iter().collect();
        }
        let room = limits::CONFLICTS_PER_DOCUMENT_MAX.saturating_sub(settled.met.len());
        settled.met.extend(others.into_iter().enumerate().filter_map(|(at, met)| {
            (at < room || met.fate == Fate::Pierced).then_some(met) // those are more than listed
        }));
    }
    Ok(settled)
}
