//! Which documents an operation names, and which of their fields.

use bson::{RawBsonRef, RawDocument, RawDocumentBuf};

use crate::operation::{Operation, UpdateOperation};
use crate::view::catalog::id_of;
use crate::view::documents::id_key;
use crate::view::history::is_any;

/// How an operation is about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) kind: &'static str,
    /// Which part of the operation.
    pub(super) part: usize,
    pub(super) effect: Effect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// It makes the whole document.
    Whole,
    /// It changes these fields; as an upsert it may have made the document.
    Fields { fields: Vec<Field>, may_insert: bool },
    /// It removes the document.
    Removal,
    /// The collection was called so before.
    Renamed(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) path: String,
    /// Whether it is assigned, so that the later of concurrent assignments wins; else the change adds to what is there.
    pub(super) is_assigned: bool,
}

/// How an operation is about the document of `collection` with this key.
pub(super) fn touch(operation: &Operation, collection: &str, key: &[u8]) -> Option<Touch> {
    let among = |documents: &[RawDocumentBuf]| {
        documents.iter().position(|document| id_of(document).is_some_and(|id| id_key(id) == key))
    };
    let (kind, part, effect) = match operation {
        Operation::RenameCollection { collection: from, to, .. } if to == collection => {
            ("renameCollection", 0, Effect::Renamed(from.clone()))
        }
        _ if operation.collection() != Some(collection) => return None,
        Operation::Insert { documents, .. } => ("insert", among(documents)?, Effect::Whole),
        Operation::Update(update) => {
            let kind = if update.replaces.is_some() { "replace" } else { "update" };
            (kind, among(&update.ids)?, Effect::Fields { fields: fields_of(update), may_insert: false })
        }
        Operation::Upsert { id, update, .. } => {
            among(std::slice::from_ref(id))?;
            let fields = operator_fields(update);
            ("upsert", 0, Effect::Fields { fields, may_insert: true })
        }
        Operation::Delete { ids, .. } => ("delete", among(ids)?, Effect::Removal),
        Operation::Expire { ids, .. } => ("expire", among(ids)?, Effect::Removal),
        Operation::DropCollection { .. } => ("dropCollection", 0, Effect::Removal),
        _ => return None,
    };
    Some(Touch { kind, part, effect })
}

fn fields_of(update: &UpdateOperation) -> Vec<Field> {
    match &update.replaces {
        Some(replaces) => names(&replaces.changed).map(assigned).collect(),
        None => operator_fields(&update.update),
    }
}

/// The fields that operators name; all of a document without operators.
fn operator_fields(update: &RawDocument) -> Vec<Field> {
    let mut fields = Vec::new();
    for (operator, argument) in update.iter().flatten() {
        let operator = operator.as_str();
        let RawBsonRef::Document(argument) = argument else {
            fields.extend((!operator.starts_with('$')).then(|| assigned(operator)));
            continue;
        };
        match operator {
            "$setOnInsert" => {}
            "$rename" => {
                for (from, to) in argument.iter().flatten() {
                    fields.push(assigned(from.as_str()));
                    fields.extend(to.as_str().map(assigned));
                }
            }
            "$set" | "$unset" => fields.extend(names(argument).map(assigned)),
            _ if operator.starts_with('$') => {
                fields
                    .extend(names(argument).map(|name| Field { path: name.to_owned(), is_assigned: false }));
            }
            _ => fields.push(assigned(operator)),
        }
    }
    fields
}

fn names(document: &RawDocument) -> impl Iterator<Item = &str> {
    document.iter().flatten().map(|(name, _)| name.as_str())
}

fn assigned(path: &str) -> Field {
    Field { path: path.to_owned(), is_assigned: true }
}

/// Whether a change of one path may be one of the other: one is the other, or above or below it.
pub(super) fn meets(path: &str, other: &str) -> bool {
    path.split('.').zip(other.split('.')).all(|(part, other)| part == other || is_any(part) || is_any(other))
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn an_operation_names_documents_by_position_and_fields_by_operator() {
        let key = |id: i32| id_key(RawBsonRef::Int32(id));
        let insert = Operation::Insert {
            collection: "c".to_owned(),
            documents: vec![rawdoc! { "_id": 1 }, rawdoc! { "_id": 2 }],
        };
        let touched = touch(&insert, "c", &key(2)).unwrap();
        assert_eq!((touched.kind, touched.part, touched.effect), ("insert", 1, Effect::Whole));
        assert_eq!(touch(&insert, "d", &key(2)), None);
        assert_eq!(touch(&insert, "c", &key(3)), None);
        let fields = operator_fields(&rawdoc! {
            "$set": { "a.b": 1 }, "$inc": { "n": 1 }, "$rename": { "x": "y" }, "$setOnInsert": { "z": 1 },
        });
        let shown: Vec<_> = fields.iter().map(|field| (field.path.as_str(), field.is_assigned)).collect();
        assert_eq!(shown, [("a.b", true), ("n", false), ("x", true), ("y", true)]);
        assert!(meets("a", "a.b") && meets("a.b.c", "a.b") && meets("l.$[].n", "l.3"));
        assert!(!meets("a.b", "a.c") && !meets("ab", "a"));
    }
}
