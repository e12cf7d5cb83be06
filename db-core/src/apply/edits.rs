//! What an update assigns, path by path, and applying it without the assignments that lost.
//!
//! `$set`, `$unset`, both ends of a `$rename` and the changed fields of a replacement are assignments: of two that are
//! concurrent one has to lose. All other operators count, whatever else happens.

use std::collections::{BTreeMap, BTreeSet};

use bson::raw::{CStr, CString, cstr};
use bson::{RawArray, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};
use db_index::{
    ErrorCode, Filter, QueryError, Update, UpdateContext, UpdateOptions, Updated, check_storable,
};

use super::writes::{Guarded, compile};
use crate::operation::{Replaces, document_digest};

/// MongoDB's `WriteConflict`.
const WRITE_CONFLICT: ErrorCode = ErrorCode(112);

/// An update, compiled, and what it assigns.
pub(super) struct Edits<'a> {
    pub(super) guard: Filter,
    /// Whether conditions beyond the `_id` decide: then it takes effect by its place.
    pub(super) is_guarded: bool,
    pub(super) assignments: Vec<Assignment<'a>>,
    /// Whether it does anything beside assigning.
    pub(super) does_more: bool,
    /// How many bytes guard and update have.
    pub(super) bytes: usize,
    update: Update,
    source: &'a RawDocument,
    replaces: Option<&'a Replaces>,
}

/// One path that an update assigns.
pub(super) struct Assignment<'a> {
    pub(super) path: &'a str,
    pub(super) value: Assigned<'a>,
    /// The field under which its operator names it: one for both ends of a `$rename`, which are lost together.
    pub(super) field: &'a str,
}

/// What a path is assigned.
#[derive(Clone, Copy)]
pub(super) enum Assigned<'a> {
    Value(RawBsonRef<'a>),
    /// It is removed.
    Nothing,
    /// What stood at another path.
    From(&'a str),
}

impl<'a> Edits<'a> {
    /// Compiles the update of an operation. `replaces` is none of operators, and of an upsert's replacement, which had no
    /// document before its eyes: it assigns every field that it holds.
    pub(super) fn compile(guarded: &Guarded<'a>, replaces: Option<&'a Replaces>) -> Result<Self, QueryError> {
        let (guard, update) = compile(guarded)?;
        let mut edits = Self {
            guard,
            is_guarded: !guarded.guard.is_empty() || !guarded.array_filters.is_empty(),
            assignments: Vec::new(),
            does_more: false,
            bytes: guarded.guard.as_bytes().len() + guarded.update.as_bytes().len(),
            source: guarded.update,
            replaces,
            update,
        };
        if edits.update.is_replacement() {
            edits.assign_fields();
        } else {
            edits.assign_operators();
        }
        Ok(edits)
    }

    /// The update as it was logged.
    pub(super) fn source(&self) -> &'a RawDocument {
        self.source
    }

    fn assign_fields(&mut self) {
        let fields = self.replaces.map_or(self.source, |replaces| &*replaces.changed);
        let values = fields_of(self.source);
        for (field, _) in fields.iter().map_while(Result::ok) {
            let field = field.as_str();
            if field != "_id" {
                let value = values.get(field).map_or(Assigned::Nothing, |value| Assigned::Value(*value));
                self.assignments.push(Assignment { path: field, value, field });
            }
        }
    }

    fn assign_operators(&mut self) {
        for (operator, fields) in self.source.iter().map_while(Result::ok) {
            let RawBsonRef::Document(fields) = fields else { continue };
            for (field, value) in fields.iter().map_while(Result::ok) {
                let field = field.as_str();
                let mut assign = |path, value| self.assignments.push(Assignment { path, value, field });
                match (operator.as_str(), value) {
                    ("$set", value) => assign(field, Assigned::Value(value)),
                    ("$unset", _) => assign(field, Assigned::Nothing),
                    ("$rename", RawBsonRef::String(target)) => {
                        assign(field, Assigned::Nothing);
                        assign(target, Assigned::From(field));
                    }
                    ("$setOnInsert", _) => {}
                    _ => self.does_more = true,
                }
            }
        }
    }

    /// Applies all of it but the assignments of these fields, which lost.
    ///
    /// # Errors
    /// Those of [`Update::apply`]; `WriteConflict` (112) for a strict replacement of another document.
    pub(super) fn apply(&self, old: &RawDocument, lost: &BTreeSet<&str>) -> Result<Updated, QueryError> {
        if self.update.is_replacement() {
            return self.replace(old, lost);
        }
        // Whatever depends on the moment was turned into plain effects at the origin: replay reads no clock.
        let context =
            UpdateContext { positional: self.guard.matched_array_index(old), ..UpdateContext::default() };
        if lost.is_empty() {
            return self.update.apply(old, &context);
        }
        match self.without(lost) {
            Some(rest) => Update::parse(&rest, &UpdateOptions::default())?.apply(old, &context),
            None => Ok(Updated { document: old.to_owned(), changed: false }),
        }
    }

    /// Whether it is a replacement of another document than this one, of which it writes the fields that it changed.
    pub(super) fn merges_into(&self, old: &RawDocument) -> bool {
        self.replaces.is_some_and(|replaces| !replaces.strict && replaces.base != document_digest(old))
    }

    fn replace(&self, old: &RawDocument, lost: &BTreeSet<&str>) -> Result<Updated, QueryError> {
        let is_same = self.replaces.is_some_and(|replaces| replaces.base == document_digest(old));
        let strict = self.replaces.is_some_and(|replaces| replaces.strict);
        if is_same && (lost.is_empty() || strict) {
            return self.update.apply(old, &UpdateContext::default());
        }
        if strict {
            return Err(write_conflict());
        }
        let assigned = self.assignments.iter().map(|assignment| assignment.field);
        let mut left: BTreeSet<&str> = assigned.filter(|field| !lost.contains(field)).collect();
        let values = fields_of(self.source);
        let mut merged = RawDocumentBuf::new();
        for (field, value) in old.iter().map_while(Result::ok) {
            if !left.remove(field.as_str()) {
                merged.append(field, RawBson::from(value));
            } else if let Some(new) = values.get(field.as_str()) {
                merged.append(field, RawBson::from(*new));
            }
        }
        for (field, value) in self.source.iter().map_while(Result::ok) {
            if left.contains(field.as_str()) {
                merged.append(field, RawBson::from(value));
            }
        }
        check_storable(&merged)?;
        if merged.as_bytes().len() > db_index::DOCUMENT_BYTES_MAX {
            let message = "the document would be larger than 16 MiB";
            return Err(QueryError::new(ErrorCode(10_334), message));
        }
        let changed = merged.as_bytes() != old.as_bytes();
        Ok(Updated { document: merged, changed })
    }

    /// The operators without the assignments that lost, if anything is left.
    fn without(&self, lost: &BTreeSet<&str>) -> Option<RawDocumentBuf> {
        let mut rest = RawDocumentBuf::new();
        for (operator, fields) in self.source.iter().map_while(Result::ok) {
            let RawBsonRef::Document(fields) = fields else { continue };
            let assigns = matches!(operator.as_str(), "$set" | "$unset" | "$rename");
            let mut kept = RawDocumentBuf::new();
            for (field, value) in fields.iter().map_while(Result::ok) {
                if !(assigns && lost.contains(field.as_str())) {
                    kept.append(field, RawBson::from(value));
                }
            }
            if !kept.is_empty() {
                rest.append(CString::from(operator), kept);
            }
        }
        (!rest.is_empty()).then_some(rest)
    }
}

impl<'a> Assignment<'a> {
    /// What it would have put there.
    pub(super) fn value_in<'d>(&self, old: &'d RawDocument) -> Option<RawBsonRef<'d>>
    where
        'a: 'd,
    {
        match self.value {
            Assigned::Value(value) => Some(value),
            Assigned::Nothing => None,
            Assigned::From(path) => value_at(old, path),
        }
    }
}

fn fields_of(document: &RawDocument) -> BTreeMap<&str, RawBsonRef<'_>> {
    document.iter().map_while(Result::ok).map(|(field, value)| (field.as_str(), value)).collect()
}

/// Puts what stood in `old` at these paths back into `new`.
///
/// # Errors
/// Those of an update: where a value of `new` has no room for a path.
pub(super) fn restored(
    old: &RawDocument,
    new: &RawDocument,
    paths: &[&str],
) -> Result<RawDocumentBuf, QueryError> {
    let (mut set, mut unset) = (RawDocumentBuf::new(), RawDocumentBuf::new());
    for path in paths {
        let field = <&CStr>::try_from(*path).map_err(|_| QueryError::bad_value("a path with a null byte"))?;
        match value_at(old, path) {
            Some(value) => set.append(field, RawBson::from(value)),
            None => unset.append(field, true),
        }
    }
    let mut update = RawDocumentBuf::new();
    update.append(cstr!("$set"), set);
    update.append(cstr!("$unset"), unset);
    let update = Update::parse(&update, &UpdateOptions::default())?;
    Ok(update.apply(new, &UpdateContext::default())?.document)
}

/// What stands at a path; of one with a part that stands for any element, what stands before that.
pub(super) fn value_at<'d>(document: &'d RawDocument, path: &str) -> Option<RawBsonRef<'d>> {
    let mut parts = path.split('.').take_while(|part| !crate::view::history::is_any(part));
    let mut value = document.get(parts.next()?).ok()??;
    for part in parts {
        value = match value {
            RawBsonRef::Document(document) => document.get(part).ok()??,
            RawBsonRef::Array(array) => element(array, part)?,
            _ => return None,
        };
    }
    Some(value)
}

fn element<'d>(array: &'d RawArray, part: &str) -> Option<RawBsonRef<'d>> {
    array.get(part.parse().ok()?).ok()?
}

pub(super) fn write_conflict() -> QueryError {
    QueryError::new(WRITE_CONFLICT, "the document was changed concurrently")
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    fn with_edits(update: &RawDocument, replaces: Option<&Replaces>, check: impl FnOnce(&Edits<'_>)) {
        let guard = RawDocumentBuf::new();
        let guarded = Guarded { guard: &guard, update, array_filters: &[] };
        check(&Edits::compile(&guarded, replaces).unwrap());
    }

    #[test]
    fn what_lost_is_left_out_and_all_else_counts() {
        let update = rawdoc! {
            "$set": { "a": 1, "b.c": 2 }, "$unset": { "d": true }, "$rename": { "e": "f" }, "$inc": { "n": 1 },
        };
        let old = rawdoc! { "_id": 1, "d": 4, "e": 5, "n": 1 };
        with_edits(&update, None, |edits| {
            let paths: Vec<&str> = edits.assignments.iter().map(|assignment| assignment.path).collect();
            assert_eq!(paths, ["a", "b.c", "d", "e", "f"]);
            assert!(edits.does_more && !edits.is_guarded);
            let fields: Vec<&str> = edits.assignments.iter().map(|assignment| assignment.field).collect();
            assert_eq!(fields, ["a", "b.c", "d", "e", "e"], "both ends of a rename are one");
            let all = edits.apply(&old, &BTreeSet::new()).unwrap().document;
            assert_eq!(all, rawdoc! { "_id": 1, "n": 2, "a": 1, "b": { "c": 2 }, "f": 5 });
            let some = edits.apply(&old, &BTreeSet::from(["b.c", "e"])).unwrap().document;
            assert_eq!(some, rawdoc! { "_id": 1, "e": 5, "n": 2, "a": 1 });
            let none = edits.apply(&old, &fields.into_iter().collect()).unwrap().document;
            assert_eq!(none, rawdoc! { "_id": 1, "d": 4, "e": 5, "n": 2 });
        });
        with_edits(&rawdoc! { "$set": { "a": 1 } }, None, |edits| {
            assert!(!edits.apply(&old, &BTreeSet::from(["a"])).unwrap().changed);
        });
    }

    #[test]
    fn a_replacement_of_another_document_writes_the_fields_that_it_changed() {
        let base = rawdoc! { "_id": 1, "a": 1, "b": 1, "c": 1 };
        let replacement = rawdoc! { "b": 1, "a": 2, "d": 2 };
        let mut replaces = Replaces {
            base: document_digest(&base),
            changed: rawdoc! { "a": true, "c": true, "d": true },
            strict: false,
        };
        let other = rawdoc! { "_id": 1, "a": 1, "b": 7, "c": 1, "e": 7 };
        with_edits(&replacement, Some(&replaces), |edits| {
            let exact = edits.apply(&base, &BTreeSet::new()).unwrap().document;
            assert_eq!(exact, rawdoc! { "_id": 1, "b": 1, "a": 2, "d": 2 });
            let merged = edits.apply(&other, &BTreeSet::new()).unwrap().document;
            assert_eq!(merged, rawdoc! { "_id": 1, "a": 2, "b": 7, "e": 7, "d": 2 });
            let merged = edits.apply(&other, &BTreeSet::from(["a", "c"])).unwrap().document;
            assert_eq!(merged, rawdoc! { "_id": 1, "a": 1, "b": 7, "c": 1, "e": 7, "d": 2 });
        });
        replaces.strict = true;
        with_edits(&replacement, Some(&replaces), |edits| {
            assert_eq!(edits.apply(&other, &BTreeSet::new()).unwrap_err().code, WRITE_CONFLICT);
            assert!(edits.apply(&base, &BTreeSet::new()).is_ok());
        });
    }

    #[test]
    fn values_are_found_in_documents_and_arrays() {
        let document = rawdoc! { "a": { "b": [ 1, { "c": 2 } ] } };
        assert_eq!(value_at(&document, "a.b.1.c"), Some(RawBsonRef::Int32(2)));
        assert!(matches!(value_at(&document, "a.b.$[].c"), Some(RawBsonRef::Array(_))));
        for nothing in ["a.c", "a.b.2", "a.b.x", "a.b.0.c", "", "$[]"] {
            assert_eq!(value_at(&document, nothing), None, "{nothing}");
        }
    }
}
