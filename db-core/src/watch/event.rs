//! Events, in the shape that users of MongoDB know.

use bson::raw::{CStr, cstr};
use bson::{Bson, DateTime, Document, RawArrayBuf, RawBson, RawDocument, RawDocumentBuf, rawdoc};
use db_index::plain_effects;
use serde::{Deserialize, Serialize};

use super::token::ResumeToken;
use crate::error::{Error, Result};
use crate::ids::EntryHash;

/// A change of a document or a collection. Its names are those of MongoDB's driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChangeStreamEvent<T> {
    /// What names the event; of a confirmed one, where to resume after it.
    #[serde(rename = "_id")]
    pub id: ResumeToken,
    /// What has happened.
    pub operation_type: OperationType,
    /// The collection; none of an `invalidate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns: Option<ChangeNamespace>,
    /// The new name of a collection that was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<ChangeNamespace>,
    /// The `_id` of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_key: Option<Document>,
    /// How an updated document differs from what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_description: Option<UpdateDescription>,
    /// The document as the change has left it: always of inserts and replacements, of updates if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_document: Option<T>,
    /// The document as it was before, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_document_before_change: Option<T>,
    /// The author's clock; of confirmed events only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<DateTime>,
    /// The entry that holds the change, 64 hexadecimal digits; of confirmed events only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum OperationType {
    /// A document has come.
    Insert,
    /// Fields of a document have changed: see [`ChangeStreamEvent::update_description`].
    Update,
    /// A document has become another in a way that a list of fields cannot say.
    Replace,
    /// A document has gone.
    Delete,
    /// A collection has gone.
    Drop,
    /// A collection has another name.
    Rename,
    /// What was watched is there no more: the stream ends.
    Invalidate,
}

/// The name of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangeNamespace {
    /// What the database is called on this peer.
    pub db: String,
    /// The collection.
    pub coll: String,
}

/// How a document differs from what it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UpdateDescription {
    /// The fields that were set, by their paths. An array that has changed is here as a whole.
    pub updated_fields: Document,
    /// The paths of the fields that were removed.
    pub removed_fields: Vec<String>,
    /// Always empty: arrays are among the updated fields.
    #[serde(default)]
    pub truncated_arrays: Vec<Bson>,
}

/// Whether updates come with the document as the change has left it. That is known of all changes, so that they all mean the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullDocumentType {
    /// They do. (MongoDB would give the document as it is when it is asked for.)
    UpdateLookup,
    /// They do.
    WhenAvailable,
    /// They do.
    Required,
}

/// Whether events come with the document as it was before. That is known of all changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullDocumentBeforeChangeType {
    /// They do.
    WhenAvailable,
    /// They do.
    Required,
    /// They do not.
    Off,
}

/// What events show of the documents.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Showing {
    /// Updated documents as a whole.
    pub(super) after: bool,
    /// Documents as they were.
    pub(super) before: bool,
}

/// The entry that holds a confirmed change.
pub(super) struct Source {
    pub(super) entry: EntryHash,
    pub(super) time: u64,
}

/// Puts events together.
pub(super) struct EventMaker<'a> {
    pub(super) database: &'a str,
    pub(super) showing: Showing,
    pub(super) source: Option<&'a Source>,
}

impl EventMaker<'_> {
    /// A document has come, changed or gone; none if it is what it was.
    pub(super) fn document(
        &self,
        token: &ResumeToken,
        collection: &str,
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<Option<RawDocumentBuf>> {
        if before == after {
            return Ok(None);
        }
        let (before, after) = (before.map(read).transpose()?, after.map(read).transpose()?);
        let Some(id) = after.or(before).and_then(|document| document.get("_id").ok().flatten()) else {
            return Err(Error::data("a stored document has no _id"));
        };
        let description = match (before, after) {
            (Some(before), Some(after)) => describe(before, after)?,
            _ => None,
        };
        let operation = match (before, after) {
            (None, _) => "insert",
            (Some(_), None) => "delete",
            (Some(_), Some(_)) if description.is_some() => "update",
            (Some(_), Some(_)) => "replace",
        };
        let mut event = self.begin(token, operation);
        event.append(cstr!("ns"), self.namespace(collection));
        let mut key = RawDocumentBuf::new();
        key.append(cstr!("_id"), id);
        event.append(cstr!("documentKey"), key);
        let is_update = description.is_some();
        if let Some(description) = description {
            event.append(cstr!("updateDescription"), description);
        }
        let mut show = |name: &CStr, document: Option<&RawDocument>, shows: bool| {
            if let Some(document) = document.filter(|_| shows) {
                event.append(name, document.to_owned());
            }
        };
        show(cstr!("fullDocument"), after, !is_update || self.showing.after);
        show(cstr!("fullDocumentBeforeChange"), before, self.showing.before);
        Ok(Some(event))
    }

    /// A collection has gone.
    pub(super) fn dropped(&self, token: &ResumeToken, collection: &str) -> RawDocumentBuf {
        let mut event = self.begin(token, "drop");
        event.append(cstr!("ns"), self.namespace(collection));
        event
    }

    /// A collection has another name.
    pub(super) fn renamed(&self, token: &ResumeToken, from: &str, to: &str) -> RawDocumentBuf {
        let mut event = self.begin(token, "rename");
        event.append(cstr!("ns"), self.namespace(from));
        event.append(cstr!("to"), self.namespace(to));
        event
    }

    /// What was watched is there no more.
    pub(super) fn invalidated(&self, token: &ResumeToken) -> RawDocumentBuf {
        self.begin(token, "invalidate")
    }

    fn begin(&self, token: &ResumeToken, operation: &str) -> RawDocumentBuf {
        let mut event = rawdoc! { "_id": { "_data": token.as_str() }, "operationType": operation };
        if let Some(source) = self.source {
            event.append(cstr!("wallTime"), DateTime::from_millis(source.time.cast_signed()));
            event.append(cstr!("entry"), source.entry.to_string());
        }
        event
    }

    fn namespace(&self, collection: &str) -> RawDocumentBuf {
        rawdoc! { "db": self.database, "coll": collection }
    }
}

fn read(bytes: &[u8]) -> Result<&RawDocument> {
    RawDocument::from_bytes(bytes)
        .map_err(|error| Error::data("a stored document is damaged").with_source(error))
}

/// How `after` differs from `before`, if a list of fields can say it.
fn describe(before: &RawDocument, after: &RawDocument) -> Result<Option<RawDocumentBuf>> {
    let effects = plain_effects(before, after)?;
    if effects.as_bytes() == after.as_bytes() {
        return Ok(None); // it could only be said by a replacement
    }
    let (mut updated, mut removed) = (RawDocumentBuf::new(), RawArrayBuf::new());
    for effect in effects.iter_elements() {
        let effect = effect.map_err(damaged)?;
        let Some(fields) = effect.value().map_err(damaged)?.as_document() else { return Ok(None) };
        match effect.key().as_str() {
            "$set" => updated = fields.to_owned(),
            "$unset" => {
                for field in fields.iter_elements() {
                    removed.push(field.map_err(damaged)?.key().as_str());
                }
            }
            _ => return Ok(None),
        }
    }
    let description = rawdoc! {
        "updatedFields": RawBson::Document(updated),
        "removedFields": removed,
        "truncatedArrays": RawArrayBuf::new(),
    };
    Ok(Some(description))
}

fn damaged(error: bson::error::Error) -> Error {
    Error::data("a stored document is damaged").with_source(error)
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn event(before: Option<&Document>, after: Option<&Document>) -> Option<ChangeStreamEvent<Document>> {
        let showing = Showing { after: false, before: true };
        let maker = EventMaker { database: "demo", showing, source: None };
        let raw = |document: &Document| RawDocumentBuf::try_from(document).unwrap();
        let (before, after) = (before.map(raw), after.map(raw));
        let [before, after] = [&before, &after].map(|document| document.as_ref().map(|raw| raw.as_bytes()));
        let event = maker.document(&ResumeToken::local(1), "films", before, after).unwrap();
        event.map(|event| bson::deserialize_from_slice(event.as_bytes()).unwrap())
    }

    #[test]
    fn an_event_says_what_became_of_a_document() {
        let (one, two) =
            (doc! { "_id": 1, "a": { "b": 1, "c": 2 }, "x": 1 }, doc! { "_id": 1, "a": { "b": 3 } });
        let inserted = event(None, Some(&one)).unwrap();
        assert_eq!(inserted.operation_type, OperationType::Insert);
        assert_eq!(inserted.full_document, Some(one.clone()));
        let updated = event(Some(&one), Some(&two)).unwrap();
        assert_eq!(updated.operation_type, OperationType::Update);
        let mut description = updated.update_description.unwrap();
        description.removed_fields.sort_unstable();
        assert_eq!(description.updated_fields, doc! { "a.b": 3 });
        assert_eq!(description.removed_fields, ["a.c", "x"]);
        assert_eq!((updated.full_document, updated.full_document_before_change), (None, Some(one.clone())));
        let deleted = event(Some(&two), None).unwrap();
        assert_eq!(
            (deleted.operation_type, deleted.document_key),
            (OperationType::Delete, Some(doc! { "_id": 1 }))
        );
        assert_eq!(event(Some(&one), Some(&one)), None);
    }

    #[test]
    fn what_fields_cannot_say_is_a_replacement() {
        let before = doc! { "_id": 1, "a": 1, "b": 2 };
        for after in [
            doc! { "_id": 1, "b": 2, "a": 1 },
            doc! { "_id": 1, "a.b": 1 },
            doc! { "_id": 1, "$set": { "a": 2 } },
        ] {
            let replaced = event(Some(&before), Some(&after)).unwrap();
            assert_eq!(replaced.operation_type, OperationType::Replace, "{after}");
            assert_eq!(replaced.full_document, Some(after));
        }
    }
}
