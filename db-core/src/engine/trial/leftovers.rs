//! What `$out` has left behind: the collection that it was filling beside the one to replace when the process stopped.
//!
//! Its name holds its writer, who alone drops it, when the database is next opened there: then nothing can be filling it. A
//! device drops those of its earlier keys too.

use bson::oid::ObjectId;
use redb::ReadableDatabase;

use super::{Trial, Tried, first_error};
use crate::apply::Mode;
use crate::engine::Engine;
use crate::error::Result;
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::Operation;
use crate::storage::view_snapshot;
use crate::view::journal::ViewWriter;
use crate::view::{ReadView, keyspace};

/// The name of a collection that `writer`'s `$out` fills before it takes its place.
pub(crate) fn unfinished_out(writer: &WriterKey, id: ObjectId) -> String {
    format!("{}{}", prefix(writer), id.to_hex())
}

impl Engine {
    /// Those of this device's keys of which there are leftovers.
    pub(crate) fn left_behind_by(&self) -> Result<Vec<WriterKey>> {
        let (Some(view), Some(state)) = (view_snapshot(&self.database.begin_read()?)?, &self.state) else {
            return Ok(Vec::new());
        };
        let mut left = Vec::new();
        for writer in state.keys.writers() {
            if !leftovers(&view, &writer)?.is_empty() {
                left.push(writer);
            }
        }
        Ok(left)
    }
}

impl Trial<'_, '_> {
    pub(super) fn drop_leftovers(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        writers: &[WriterKey],
    ) -> Result<Tried> {
        let mut operations = Vec::new();
        let mut names = Vec::new();
        for writer in writers {
            names.extend(leftovers(view, writer)?);
        }
        names.truncate(limits::ENTRY_SCANS_MAX as usize);
        for collection in names {
            let operation = Operation::DropCollection { collection };
            let outcome = self.apply(view, &operation, Mode::OriginOrdered)?;
            if !outcome.rejected.is_empty() {
                return Err(first_error(outcome));
            }
            operations.push(operation);
        }
        Ok(Tried { operations, ..self.nothing() })
    }
}

/// The names of `writer`'s leftovers, as many as one entry may drop.
fn leftovers(view: &impl ReadView, writer: &WriterKey) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let bounds = keyspace::prefix_bounds(&keyspace::collection(&prefix(writer)));
    for item in view.range(bounds)?.take(limits::ENTRY_SCANS_MAX as usize) {
        let (key, _) = item?;
        let name = key.value().get(keyspace::COLLECTIONS.len()..).unwrap_or_default();
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    Ok(names)
}

fn prefix(writer: &WriterKey) -> String {
    format!("tmp.agg_out.{writer}.")
}

const _: () = assert!(2 * 32 + 2 * 12 + 16 <= limits::COLLECTION_NAME_BYTES_MAX);
