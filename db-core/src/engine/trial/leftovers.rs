//! What `$out` has left behind: the collection that it was filling beside the one to replace when the process stopped.
//!
//! Its name holds its writer, who alone drops it, when the database is next opened there: then nothing can be filling it.

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
    /// Whether there are leftovers of this device's.
    pub(crate) fn has_leftovers(&self) -> Result<bool> {
        let Some(view) = view_snapshot(&self.database.begin_read()?)? else { return Ok(false) };
        Ok(!leftovers(&view, &self.writer)?.is_empty())
    }
}

impl Trial<'_, '_> {
    pub(super) fn drop_leftovers(&mut self, view: &mut ViewWriter<'_, '_>) -> Result<Tried> {
        let mut operations = Vec::new();
        for collection in leftovers(view, &self.me)? {
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
