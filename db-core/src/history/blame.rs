//! Who wrote what a document holds.

use bson::{Bson, RawBsonRef, RawDocument};

use super::scan::{Met, Past, key_of};
use super::touch::{Effect, Field, meets};
use super::{ChangeAuthor, ChangeOutcome};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::limits;
use crate::view::history::{History, Stamp};
use crate::view::{ReadView, catalog, keyspace};

/// How many fields are looked at one by one; of a document with more it is the outermost.
const FIELDS_MAX: usize = 1_000;

/// Who wrote what a document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blame {
    /// The fields, in the document's order.
    pub paths: Vec<PathBlame>,
    /// Whether all of them were found in the entries that were looked at.
    pub is_complete: bool,
    /// How many entries were looked at.
    pub scanned: u64,
}

/// Who wrote a field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathBlame {
    /// The path of the field: to a value that is no document, or to an array.
    pub path: String,
    /// Who changed it last; `None` if that was not found.
    pub author: Option<ChangeAuthor>,
    /// By which kind of operation: see [`super::Change::kind`]. Empty if that was not found.
    pub kind: &'static str,
}

pub(super) fn blame(database: &Database, name: &str, id: &Bson, scan_limit: u64) -> Result<Blame> {
    let past = Past::open(database, name)?;
    let key = key_of(id)?;
    let not_found = || Error::not_found("no document has this _id");
    let meta = catalog::collection(&past.view, name)?.ok_or_else(not_found)?;
    let stored = ReadView::get(&past.view, &keyspace::document(meta.id, &key))?.ok_or_else(not_found)?;
    let document =
        RawDocument::from_bytes(stored.value()).map_err(|_| Error::data("a stored document is damaged"))?;
    let unknown = |path| PathBlame { path, author: None, kind: "" };
    let mut paths: Vec<PathBlame> = fields_of(document).into_iter().map(unknown).collect();
    let history = ReadView::get(&past.view, &keyspace::history(meta.id, &key))?;
    let history = history.map(|history| History::decode(history.value())).transpose()?.unwrap_or_default();

    let searched = past.search(&key, name, None, scan_limit, |met| {
        if met.outcome == ChangeOutcome::Applied {
            for path in paths.iter_mut().filter(|path| path.author.is_none()) {
                if has_written(&met, &path.path, &history) {
                    (path.author, path.kind) = (Some(met.author.clone()), met.touch.kind);
                }
            }
        }
        Ok(paths.iter().any(|path| path.author.is_none()))
    })?;
    let is_complete = paths.iter().all(|path| path.author.is_some());
    Ok(Blame { paths, is_complete, scanned: searched.scanned })
}

/// Whether a change, none that came after it having done so, has written this path.
fn has_written(met: &Met, path: &str, history: &History) -> bool {
    let stamp = met.stamp();
    let has_changed = |field: &Field| {
        // Of concurrent assignments the history of the document knows which has won, wherever they stand.
        let winner: Option<Stamp> = history.assigned_by(&field.path);
        let has_lost = field.is_assigned && winner.is_some_and(|winner| winner != stamp);
        meets(&field.path, path) && !has_lost
    };
    match &met.touch.effect {
        Effect::Whole => true,
        Effect::Fields { fields, may_insert } => {
            (*may_insert && history.inserted_by() == Some(stamp)) || fields.iter().any(has_changed)
        }
        Effect::Removal | Effect::Renamed(_) => false,
    }
}

/// The paths of a document's fields: those of its values, documents within it being gone through.
fn fields_of(document: &RawDocument) -> Vec<String> {
    let mut paths = Vec::new();
    let mut waiting: Vec<(String, RawBsonRef<'_>)> = outermost(document).collect();
    waiting.reverse();
    while let Some((path, value)) = waiting.pop() {
        match value {
            RawBsonRef::Document(inner) if !inner.is_empty() => {
                let at = waiting.len();
                for (name, value) in inner.iter().flatten() {
                    waiting.push((format!("{path}.{}", name.as_str()), value));
                }
                if let Some(new) = waiting.get_mut(at..) {
                    new.reverse();
                }
            }
            _ => paths.push(path),
        }
        if paths.len() + waiting.len() > FIELDS_MAX {
            return outermost(document).map(|(path, _)| path).collect();
        }
    }
    paths
}

fn outermost(document: &RawDocument) -> impl Iterator<Item = (String, RawBsonRef<'_>)> {
    document
        .iter()
        .flatten()
        .take(limits::BLAME_FIELDS_MAX)
        .map(|(name, value)| (name.as_str().to_owned(), value))
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn the_fields_of_a_document_are_its_values_in_order() {
        let document =
            rawdoc! { "_id": 1, "a": { "b": 1, "c": { "d": 2 } }, "l": [{ "x": 1 }], "e": {}, "z": 1 };
        assert_eq!(fields_of(&document), ["_id", "a.b", "a.c.d", "l", "e", "z"]);
        let mut wide = rawdoc! { "_id": 1 };
        let mut inner = bson::RawDocumentBuf::new();
        for number in 0..=FIELDS_MAX {
            let name = format!("n{number}");
            inner.append(<&bson::raw::CStr>::try_from(name.as_str()).unwrap(), 1);
        }
        wide.append(bson::raw::cstr!("w"), inner);
        assert_eq!(fields_of(&wide), ["_id", "w"]);
    }
}
