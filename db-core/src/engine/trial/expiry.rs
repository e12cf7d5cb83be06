//! Deleting what TTL indexes say has expired: looked for now and then by whoever has the clock, logged by one peer.
//!
//! Of a database with indexers the first of them that is not gone does it, so that no two log the same deletions while they
//! are connected (and none is lost if they do). An open database that nobody has founded has no indexers: there it is the
//! peer that created the index.

use super::{Trial, Tried};
use crate::apply::Mode;
use crate::apply::expiry::{ExpiryLimits, expired};
use crate::engine::{Engine, Moment};
use crate::entry::{Admission, Genesis};
use crate::error::Result;
use crate::ids::WriterKey;
use crate::operation::Operation;
use crate::storage::view_snapshot;
use crate::view::catalog;
use crate::view::journal::ViewWriter;
use crate::view::{ReadView, identities, members};
use redb::ReadableDatabase;

/// What one entry expires at the most: it is applied in one go, by every peer.
const ENTRY_LIMITS: ExpiryLimits = ExpiryLimits { documents: 1_000, bytes: 32 * 1024 * 1024 };

impl Engine {
    /// Whether there are documents that have expired by `moment`'s clock and are this peer's to delete.
    pub(crate) fn wants_expiry(&self, moment: &Moment) -> Result<bool> {
        let Some(view) = view_snapshot(&self.database.begin_read()?)? else { return Ok(false) };
        let one = ExpiryLimits { documents: 1, bytes: 0 };
        let genesis = &self.identity.genesis;
        Ok(expired_here(&view, genesis, &self.writer, moment, &one)?.is_some())
    }
}

impl Trial<'_, '_> {
    pub(super) fn expire(&mut self, view: &mut ViewWriter<'_, '_>) -> Result<Tried> {
        let found = expired_here(view, self.applier.genesis, &self.me, self.moment, &ENTRY_LIMITS)?;
        let Some(operation) = found else { return Ok(self.nothing()) };
        // Expiry rejects nothing, but a peer that may not write deletes nothing either.
        let outcome = self.apply(view, &operation, Mode::OriginUnordered)?;
        let operations = if outcome.deleted > 0 { vec![operation] } else { Vec::new() };
        Ok(self.logged(operations, outcome))
    }
}

/// Deletes what has expired by one index and is this peer's to delete, within the limits.
fn expired_here(
    view: &impl ReadView,
    genesis: &Genesis,
    me: &WriterKey,
    moment: &Moment,
    limits: &ExpiryLimits,
) -> Result<Option<Operation>> {
    let is_open = genesis.admission == Admission::Open;
    let votes = if is_open && !members::is_founded(view)? {
        None
    } else {
        let indexers = members::indexers(view)?;
        Some(indexers.iter().find(|indexer| !moment.gone.contains(indexer)) == Some(me))
    };
    if votes == Some(false) {
        return Ok(None);
    }
    let my_identity = identities::identity(view, me)?;
    let now_ms = moment.now_ms.cast_signed();
    for name in catalog::collection_names(view)? {
        let Some(meta) = catalog::collection(view, &name)? else { continue };
        for index in &meta.indexes {
            if votes != Some(true) && identities::identity(view, &index.by)? != my_identity {
                continue;
            }
            let ids = expired(view, &meta, index, now_ms, limits)?;
            if !ids.is_empty() {
                let index = index.definition.name().to_owned();
                return Ok(Some(Operation::Expire { collection: name, index, now_ms, ids }));
            }
        }
    }
    Ok(None)
}
