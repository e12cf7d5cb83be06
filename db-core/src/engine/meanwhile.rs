//! Calls while the view is no state to try them on: what readers were shown is partly undone, and not yet applied again.
//!
//! They are tried on what readers see, which is the view as it was before that began, with what such calls have changed since on
//! top, in memory. Their entries have that in their pasts and no more: they name the heads that it had. So they are such as
//! somebody writes who has not heard of the rest yet. They join what waits to be ordered, and where they stand is settled
//! together with it. Meanwhile nothing is voted for: an indexer's entry carries the wave of the one before it, since what it
//! confirmed would go before all that is being applied.
//!
//! When everything is ordered the view holds what they have done, and what was kept in memory is dropped.

use super::append::{Moment, Past, Payload, Written, payload_of};
use super::own_log::own_log_goes_further;
use super::request::{Reply, Request};
use super::state::State;
use super::trial::{Trial, Tried, is_fatal};
use super::{Batch, Engine};
use crate::apply::{Applier, Author};
use crate::error::Result;
use crate::ids::{EntryHash, WriterKey};
use crate::limits;
use crate::linearizer::{EntryNumber, NumberSet};
use crate::view::ViewSnapshot;
use crate::view::catalog::CatalogCache;
use crate::view::journal::ViewWriter;
use crate::view::overlay::Overlay;
use crate::view::touched::Touched;

/// What readers see, and what its past is.
pub(super) struct Meanwhile {
    view: Overlay,
    catalog: CatalogCache,
    past: SeenPast,
    /// Where the calls have changed it, altogether and since readers were last shown it.
    touched: Touched,
    fresh: Touched,
    /// How many entries had been undone, and how many were confirmed, when that began.
    undone_before: u64,
    confirmed_before: u64,
}

/// The entries whose effects readers see.
pub(super) struct SeenPast {
    heads: NumberSet,
    /// Of the entries below `end` all but `unseen`, and of the others `own`.
    end: u64,
    unseen: NumberSet,
    own: NumberSet,
}

impl SeenPast {
    fn contains(&self, number: EntryNumber) -> bool {
        self.own.contains(number) || (number.0 < self.end && !self.unseen.contains(number))
    }
}

impl Meanwhile {
    /// The heads of what readers see.
    pub(super) fn heads(&self) -> &NumberSet {
        &self.past.heads
    }

    /// Whether readers see this entry's effect.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn contains(&self, number: EntryNumber) -> bool {
        self.past.contains(number)
    }
}

impl State {
    /// Notes what is seen, before an entry is undone, or applied that readers have not seen; unless the view has changed in this
    /// transaction already: then no snapshot holds it.
    pub(super) fn leave_what_is_seen(&mut self) {
        let heads = self.applied_heads.take();
        if std::mem::take(&mut self.is_as_shown) {
            self.left = Some(SeenPast {
                heads: heads.unwrap_or_else(|| self.heads.numbers().clone()),
                end: self.next_number,
                unseen: self.unordered.numbers().clone(),
                own: NumberSet::default(),
            });
        }
    }
}

impl Engine {
    /// What readers are to see while the view is not to be shown, and where it has changed since this was last asked; none if
    /// that is not known.
    pub(crate) fn meanwhile_view(&mut self) -> Option<(ViewSnapshot, Touched)> {
        let meanwhile = self.state.as_mut()?.meanwhile.as_mut()?;
        Some((meanwhile.view.snapshot(), std::mem::take(&mut meanwhile.fresh)))
    }
}

impl Batch<'_, '_> {
    /// Runs a call on what readers see, while that is not in the view; none if the call has to wait until it is. The outer error is
    /// the storage's, the inner one the call's.
    pub(crate) fn execute_meanwhile(
        &mut self,
        request: &Request,
        moment: &Moment,
    ) -> Result<Option<Result<Reply>>> {
        let me = self.writer();
        if !is_of_documents(request) || !self.may_append_meanwhile(&me)? {
            return Ok(None);
        }
        if !self.own_log_is_whole(&me)? {
            return Ok(Some(Err(own_log_goes_further())));
        }
        let (_, stamp) = self.next_of_log(&me, moment)?;
        let by_key = self.state.watching.by_key();
        let Some(meanwhile) = &mut self.state.meanwhile else { return Ok(None) };
        let Meanwhile { view, catalog, touched, fresh, .. } = meanwhile;
        let mut applier = Applier {
            database: &self.engine.id,
            genesis: &self.engine.identity.genesis,
            catalog,
            author: Author::at_origin(stamp),
            observer: &(),
            skipped: false,
        };
        let mut writer = ViewWriter::over(view);
        let mut trial = Trial::of_documents(&mut applier, me, moment);
        let tried = trial.run(&mut writer, request.clone()).and_then(|tried| {
            let payload = payload_of(&tried.operations)?;
            Ok((tried, payload))
        });
        let undo = writer.take_undo()?;
        let held = match tried {
            Ok((tried, payload)) if !view.is_beyond() => Ok((tried, payload)),
            Ok(_) => Err(None),
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => Err(Some(error).filter(|_| !view.is_beyond())),
        };
        let (Tried { author, operations, mut reply }, payload) = match held {
            Ok(held) => held,
            Err(error) => {
                view.discard();
                catalog.clear();
                return Ok(error.map(Err));
            }
        };
        view.keep();
        if let Some(undo) = undo {
            touched.note(&undo, by_key);
            fresh.note(&undo, by_key);
        }
        if !operations.is_empty() {
            reply.entry = Some(self.append_meanwhile(author, &payload, moment)?);
        }
        Ok(Some(Ok(reply)))
    }

    /// Appends an entry that has in its past what readers see.
    fn append_meanwhile(
        &mut self,
        author: WriterKey,
        payload: &Payload,
        moment: &Moment,
    ) -> Result<EntryHash> {
        let Written { node, standing, .. } = self.write_entry(author, payload, moment, Past::Seen)?;
        if let Some(Meanwhile { past, .. }) = &mut self.state.meanwhile {
            for parent in &node.parents {
                past.heads.remove(*parent);
            }
            past.heads.insert(node.number);
            past.own.insert(node.number);
        }
        self.add_to_order(&node, &standing)?;
        self.after_append(&node)?;
        Ok(node.hash)
    }

    /// Whether `author`'s next entry can have just what readers see in its past: all heads of that fit in, and the log's own end is
    /// part of it.
    fn may_append_meanwhile(&self, author: &WriterKey) -> Result<bool> {
        let Some(Meanwhile { past, undone_before, confirmed_before, .. }) = &self.state.meanwhile else {
            return Ok(false);
        };
        // Calls that go far to the front undo again and again what is applied: at some point they have to wait.
        let undone = self.state.undone_count.saturating_sub(*undone_before);
        let confirmed = self.state.base.saturating_sub(*confirmed_before);
        let entries = confirmed + self.state.applied.len() as u64 + self.state.unordered();
        let entries = entries.saturating_sub(past.own.len() as u64);
        if past.heads.len() > limits::PARENTS_MAX || undone > 2 * entries {
            return Ok(false);
        }
        let tips = self.tables.tips_of(author)?;
        let is_seen = tips.iter().all(|(number, _)| past.contains(EntryNumber(*number)));
        Ok(is_seen && self.is_decided(&past.heads)?)
    }

    /// At the end of a transaction: keeps what readers see if the view has just left it, and forgets it if the view holds it.
    pub(super) fn keep_meanwhile(&mut self) -> Result<()> {
        let left = self.state.left.take();
        self.state.is_as_shown = self.state.is_presentable();
        if self.state.is_as_shown {
            if let Some(Meanwhile { touched, .. }) = self.state.meanwhile.take() {
                self.state.watching.add_touched(&touched);
            }
        } else if let Some(past) = left {
            // A read transaction sees what was last committed: the view before this one.
            let view = Overlay::new(self.engine.view()?, limits::MEANWHILE_BYTES_MAX);
            self.state.meanwhile = Some(Meanwhile {
                view,
                catalog: CatalogCache::default(),
                past,
                touched: Touched::default(),
                fresh: Touched::default(),
                undone_before: self.state.undone_count,
                confirmed_before: self.state.base,
            });
        }
        Ok(())
    }
}

/// Whether a call is about documents, collections and indexes, and not about members, keys and logs.
fn is_of_documents(request: &Request) -> bool {
    match request {
        Request::GiveUpOwnEntries
        | Request::SetRoles { .. }
        | Request::RemoveWriter { .. }
        | Request::SetIndexers { .. }
        | Request::ProveForks
        | Request::ForkProofs { .. }
        | Request::RotateKey { .. }
        | Request::Rotate { .. }
        | Request::Replace { .. }
        | Request::NameWriter { .. } => false,
        Request::Insert { .. }
        | Request::Update(_)
        | Request::Delete(_)
        | Request::Bulk { .. }
        | Request::Merge(_)
        | Request::CreateCollection { .. }
        | Request::RenameCollection { .. }
        | Request::ChangeIndex { .. }
        | Request::ChangeCollection { .. }
        | Request::Resolve { .. }
        | Request::Transaction { .. }
        | Request::Resubmit { .. }
        | Request::Discard { .. }
        | Request::DropCollection { .. }
        | Request::CreateIndexes { .. }
        | Request::DropIndex { .. }
        | Request::DropIndexes { .. }
        | Request::Expire
        | Request::DropLeftovers { .. } => true,
    }
}
