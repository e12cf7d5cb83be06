//! What has become of entries: kept for those of which concurrent changes have left less than all, and for those whose rejection
//! is listed no more, so that a receipt can tell.
//!
//! ```text
//! u8           1 merged, 2 superseded, 3 rejected
//! documents    if rejected: what the list said of its operations, one after the other as they were taken off it
//! ```

use bson::{RawDocument, RawDocumentBuf};

use super::journal::ViewWriter;
use super::{ReadView, keyspace};
use crate::error::{Error, Result};
use crate::ids::EntryHash;

/// What of an entry was rejected is listed no more.
const DISMISSED: u8 = 3;

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

/// Keeps what the list of rejections said of an operation of this entry, which is taken off it. All that is kept of the entry is
/// written again, and counts as work.
pub(crate) fn put_dismissed(
    view: &mut ViewWriter<'_, '_>,
    entry: &EntryHash,
    listed: &RawDocument,
) -> Result<()> {
    let key = keyspace::settled(entry);
    let mut value = match view.get(&key)? {
        Some(stored) if stored.value().first() == Some(&DISMISSED) => stored.value().to_vec(),
        // That the rest of it has met concurrent changes is told of no rejected entry.
        _ => vec![DISMISSED],
    };
    value.extend_from_slice(listed.as_bytes());
    view.work().add(2 * value.len());
    view.put(&key, &value)
}

/// What the list of rejections said of operations of this entry, until they were taken off it.
pub(crate) fn dismissed(view: &impl ReadView, entry: &EntryHash) -> Result<Vec<RawDocumentBuf>> {
    let Some(stored) = view.get(&keyspace::settled(entry))? else { return Ok(Vec::new()) };
    let Some((&DISMISSED, mut rest)) = stored.value().split_first() else { return Ok(Vec::new()) };
    let damaged = || Error::data("what became of an entry is damaged");
    let mut documents = Vec::new();
    while let Some(length) = rest.first_chunk().copied().map(u32::from_le_bytes) {
        let (document, after) = rest.split_at_checked(length as usize).ok_or_else(damaged)?;
        documents.push(RawDocumentBuf::from_bytes(document.to_vec()).map_err(|_| damaged())?);
        rest = after;
    }
    Ok(documents)
}
