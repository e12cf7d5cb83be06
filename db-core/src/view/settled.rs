//! What concurrent changes have left of entries: kept for those of which they have left less than all, so that a receipt can
//! tell.

use super::journal::ViewWriter;
use super::{ReadView, keyspace};
use crate::error::Result;
use crate::ids::EntryHash;

/// What changes whose authors had not seen an entry have left of it at its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Settled {
    /// All of it.
    #[default]
    Applied,
    /// Some of it: it has met concurrent changes of the same documents, and both stand.
    Merged,
    /// Nothing: all that it asked for was settled otherwise. What won is in `system.conflicts`.
    Superseded,
}

impl Settled {
    /// What is left of two parts together; none if there is nothing of the first.
    pub(crate) fn of_both(one: Option<Self>, other: Self) -> Self {
        match one {
            None => other,
            Some(one) if one == other => one,
            Some(_) => Self::Merged,
        }
    }
}

/// Keeps what is left of an entry, unless that is all of it.
pub(crate) fn put(view: &mut ViewWriter<'_, '_>, entry: &EntryHash, settled: Settled) -> Result<()> {
    let byte = match settled {
        Settled::Applied => return Ok(()),
        Settled::Merged => 1,
        Settled::Superseded => 2,
    };
    view.put(&keyspace::settled(entry), &[byte])
}

/// What is left of an entry that the view holds.
pub(crate) fn of(view: &impl ReadView, entry: &EntryHash) -> Result<Settled> {
    let stored = view.get(&keyspace::settled(entry))?;
    Ok(match stored.as_ref().and_then(|stored| stored.value().first()) {
        Some(1) => Settled::Merged,
        Some(2) => Settled::Superseded,
        _ => Settled::Applied,
    })
}
