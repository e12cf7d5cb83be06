//! `system.conflicts`: what lost against a concurrent change, so that nothing is lost silently.
//!
//! ```text
//! _id         { entry, operation, part, path }: where the conflict was met
//! collection, document, path (none of a delete)
//! rule        last, max, min, delete-wins or update-wins
//! winner      { writer, seq, time, value }
//! loser       { writer, seq, time, value }
//! ```
//!
//! Without a `value` there was none: the field or the document was removed, or of a document both stayed. An update that found
//! its document deleted has an `update` instead. What is too large is `omitted`; it stands in the log.

use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, rawdoc};
use db_index::{ErrorCode, QueryError, check_storable};

use super::{Applier, Author, INVALID_NAMESPACE, Mode, Outcome};
use crate::error::{Error, Result};
use crate::ids::EntryHash;
use crate::limits;
use crate::operation::document_digest;
use crate::view::catalog::{CONFLICTS, REJECTED, id_of};
use crate::view::documents::{ChangeError, CollectionWriter, id_key};
use crate::view::history::Stamp;
use crate::view::journal::ViewWriter;
use crate::view::settled;

/// How many bytes of conflicts are held before they are written.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One side of a conflict.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) stamp: Stamp,
    pub(super) value: Value<'a>,
}

/// What one side would have put there.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Nothing,
    Of(RawBsonRef<'a>),
    /// An update of a document that is not there.
    Update(&'a RawDocument),
}

/// A conflict as it is met.
pub(super) struct Conflict<'a> {
    pub(super) collection: &'a str,
    /// The `_id` of the document.
    pub(super) document: RawBsonRef<'a>,
    /// Which part of the operation met it.
    pub(super) part: usize,
    pub(super) path: Option<&'a str>,
    pub(super) rule: &'static str,
    pub(super) winner: Side<'a>,
    pub(super) loser: Side<'a>,
}

/// Conflicts that are to be listed.
#[derive(Default)]
pub(super) struct Conflicts {
    documents: Vec<RawDocumentBuf>,
    bytes: usize,
}

impl Conflicts {
    pub(super) fn add(&mut self, author: &Author<'_>, conflict: &Conflict<'_>) {
        let whole = conflict.to_document(author, true);
        let storable = |document: &RawDocumentBuf| {
            check_storable(document).is_ok() && document.as_bytes().len() <= db_index::DOCUMENT_BYTES_MAX
        };
        let document = if storable(&whole) { whole } else { conflict.to_document(author, false) };
        if storable(&document) {
            self.bytes += document.as_bytes().len();
            self.documents.push(document);
        }
    }
}

impl Conflict<'_> {
    fn to_document(&self, author: &Author<'_>, with_values: bool) -> RawDocumentBuf {
        let mut id = rawdoc! {
            "entry": binary(author.entry().as_bytes()),
            "operation": author.operation() as i64,
            "part": self.part as i64,
        };
        if let Some(path) = self.path {
            id.append(bson::raw::cstr!("path"), path);
        }
        let mut document = rawdoc! { "_id": id, "collection": self.collection };
        document.append(bson::raw::cstr!("document"), RawBson::from(self.document));
        if let Some(path) = self.path {
            document.append(bson::raw::cstr!("path"), path);
        }
        document.append(bson::raw::cstr!("rule"), self.rule);
        document.append(bson::raw::cstr!("winner"), self.winner.to_document(with_values));
        document.append(bson::raw::cstr!("loser"), self.loser.to_document(with_values));
        document
    }
}

impl<'a> Value<'a> {
    pub(super) fn of(value: Option<RawBsonRef<'a>>) -> Self {
        value.map_or(Self::Nothing, Self::Of)
    }
}

impl Side<'_> {
    /// A side without a value.
    pub(super) fn removed(stamp: Stamp) -> Self {
        Self { stamp, value: Value::Nothing }
    }

    fn to_document(self, with_values: bool) -> RawDocumentBuf {
        let time = i64::try_from(self.stamp.time).unwrap_or(i64::MAX);
        let mut document = rawdoc! {
            "writer": binary(self.stamp.writer.as_bytes()),
            "seq": self.stamp.seq.cast_signed(),
            "time": DateTime::from_millis(time),
        };
        let (name, value) = match self.value {
            Value::Nothing => return document,
            Value::Of(value) => (bson::raw::cstr!("value"), value),
            Value::Update(update) => (bson::raw::cstr!("update"), RawBsonRef::Document(update)),
        };
        if with_values && bytes_of(value) <= limits::CONFLICT_VALUE_BYTES_MAX {
            document.append(name, RawBson::from(value));
        } else {
            document.append(bson::raw::cstr!("omitted"), true);
        }
        document
    }
}

impl Applier<'_> {
    /// Lists the conflicts that an operation has met so far, if there are enough of them or it `ends`.
    pub(super) fn list_conflicts(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        conflicts: &mut Conflicts,
        outcome: &mut Outcome,
        ends: bool,
    ) -> Result<()> {
        if conflicts.documents.is_empty() || !(ends || conflicts.bytes > HELD_BYTES_MAX) {
            return Ok(());
        }
        let Conflicts { documents, .. } = std::mem::take(conflicts);
        let meta = match self.catalog.collection_or_create(view, CONFLICTS) {
            Ok(meta) => meta,
            Err(ChangeError::Storage(error)) => return Err(error),
            Err(ChangeError::Rejected(_)) => return Ok(()),
        };
        let mut writer = CollectionWriter::new(CONFLICTS, meta);
        for document in documents {
            let Some(id) = id_of(&document) else { continue };
            match writer.insert(view, &id_key(id), &document) {
                Ok(()) => outcome.conflicts += 1,
                Err(ChangeError::Rejected(_)) => {}
                Err(ChangeError::Storage(error)) => return Err(error),
            }
        }
        writer.finish(view, self.catalog)
    }

    /// Removes documents from a list of the system. One that is not there any more is no matter; nor is one that says by now
    /// something else than the digest that stands with its `_id`, if there is one.
    pub(super) fn dismiss(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        ids: &[RawDocumentBuf],
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        if ![CONFLICTS, REJECTED].contains(&collection) {
            let message = "only what the system lists is dismissed: conflicts and rejections";
            outcome.reject(mode, 0, QueryError::new(INVALID_NAMESPACE, message));
            return Ok(outcome);
        }
        let Some(meta) = self.catalog.collection(view, collection)? else { return Ok(outcome) };
        let mut writer = CollectionWriter::new(collection, meta);
        for (position, id) in ids.iter().enumerate() {
            if let Err(too_much) = view.work().check() {
                if outcome.reject(mode, position, too_much) {
                    continue;
                }
                break;
            }
            let Some(key) = id_of(id).map(id_key) else {
                outcome.reject(mode, position, QueryError::new(ErrorCode::BAD_VALUE, "no _id"));
                continue;
            };
            let Some(old) = writer.document(view, &key)? else { continue };
            let old = RawDocument::from_bytes(&old).map_err(|_| Error::data("a list is damaged"))?;
            if id.get_binary("listed").is_ok_and(|listed| listed.bytes != document_digest(old)) {
                continue; // in the order as it is now, other parts did not hold
            }
            if collection == REJECTED
                && let Some(entry) = rejected_entry(old)
            {
                settled::put_dismissed(view, &entry, old)?;
            }
            match writer.delete(view, &key, old) {
                Ok(()) => outcome.deleted += 1,
                Err(ChangeError::Storage(error)) => return Err(error),
                Err(ChangeError::Rejected(error)) => {
                    outcome.reject(mode, position, error);
                }
            }
        }
        writer.finish(view, self.catalog)?;
        Ok(outcome)
    }
}

/// The entry that a listed rejection is about.
fn rejected_entry(listed: &RawDocument) -> Option<EntryHash> {
    let bytes = listed.get_document("_id").ok()?.get_binary("entry").ok()?.bytes;
    bytes.try_into().ok().map(EntryHash::from_bytes)
}

fn binary(bytes: &[u8; 32]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// About how many bytes a value takes: those of no other kinds are long.
fn bytes_of(value: RawBsonRef<'_>) -> usize {
    match value {
        RawBsonRef::Document(document) => document.as_bytes().len(),
        RawBsonRef::Array(array) => array.as_bytes().len(),
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) | RawBsonRef::JavaScriptCode(text) => text.len(),
        RawBsonRef::Binary(binary) => binary.bytes.len(),
        RawBsonRef::JavaScriptCodeWithScope(code) => code.code.len() + code.scope.as_bytes().len(),
        RawBsonRef::RegularExpression(regex) => regex.pattern.as_str().len() + regex.options.as_str().len(),
        _ => 16,
    }
}
