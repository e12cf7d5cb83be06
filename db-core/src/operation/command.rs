//! Operations as commands of MongoDB's shape, for people: what was asked for.

use bson::raw::cstr;
use bson::{RawArrayBuf, RawDocumentBuf, rawdoc};

use super::{Operation, Step, UpdateOperation};

impl Operation {
    /// What it asks for, as a command of MongoDB's shape: `{insert: …, documents: […]}`. At most `limit` parts are shown.
    pub(crate) fn to_command(&self, limit: usize) -> RawDocumentBuf {
        let collection = self.collection().unwrap_or_default();
        let array = |parts: &[RawDocumentBuf]| -> RawArrayBuf { parts.iter().take(limit).cloned().collect() };
        match self {
            Self::Insert { documents, .. } => rawdoc! { "insert": collection, "documents": array(documents) },
            Self::Update(update) => rawdoc! { "update": collection, "updates": updates(update, limit) },
            Self::Upsert { id, guard, update, array_filters, .. } => {
                let mut one = rawdoc! { "q": guarded(id, guard), "u": update.clone(), "upsert": true };
                if !array_filters.is_empty() {
                    one.append(cstr!("arrayFilters"), array(array_filters));
                }
                rawdoc! { "update": collection, "updates": [one] }
            }
            Self::Delete { ids, guard, .. } => {
                let one = |id: &RawDocumentBuf| rawdoc! { "q": guarded(id, guard), "limit": 1 };
                let deletes: RawArrayBuf = ids.iter().take(limit).map(one).collect();
                rawdoc! { "delete": collection, "deletes": deletes }
            }
            Self::CreateCollection { options, .. } => {
                rawdoc! { "create": collection, "options": options.clone() }
            }
            Self::DropCollection { .. } => rawdoc! { "drop": collection },
            Self::CreateIndexes { definitions, .. } => {
                rawdoc! { "createIndexes": collection, "indexes": array(definitions) }
            }
            Self::DropIndex { name, .. } => rawdoc! { "dropIndexes": collection, "index": name.as_str() },
            Self::RenameCollection { to, drop_target, .. } => {
                rawdoc! { "renameCollection": collection, "to": to.as_str(), "dropTarget": *drop_target }
            }
            Self::ChangeIndex { name, change, .. } => {
                rawdoc! { "collMod": collection, "index": name.as_str(), "change": change.clone() }
            }
            Self::ChangeCollection { change, .. } => {
                rawdoc! { "collMod": collection, "change": change.clone() }
            }
            Self::Expire { index, ids, .. } => {
                rawdoc! { "expire": collection, "index": index.as_str(), "ids": array(ids) }
            }
            Self::Dismiss { collection, ids } => {
                rawdoc! { "dismiss": collection.as_str(), "ids": array(ids) }
            }
            Self::Transaction { steps } => {
                let steps: RawArrayBuf =
                    steps.iter().take(limit).map(|step| step_command(step, limit)).collect();
                rawdoc! { "transaction": steps }
            }
            Self::SetRoles { writer, roles } => {
                rawdoc! { "setRoles": writer.to_string(), "roles": i32::from(roles.bits()) }
            }
            Self::RemoveWriter { writer } => rawdoc! { "removeWriter": writer.to_string() },
            Self::SetIndexers { writers } => {
                let writers: RawArrayBuf = writers.iter().take(limit).map(ToString::to_string).collect();
                rawdoc! { "setIndexers": writers }
            }
            Self::ForkProof(proof) => {
                let accused = proof.accused().map(|accused| accused.to_string()).unwrap_or_default();
                rawdoc! { "forkProof": accused }
            }
            Self::Rotate { from, to, .. } => rawdoc! { "rotate": from.to_string(), "to": to.to_string() },
            Self::Replace { from, to, roles } => {
                let mut command = rawdoc! { "replaceWriter": from.to_string(), "to": to.to_string() };
                if let Some(roles) = roles {
                    command.append(cstr!("roles"), i32::from(roles.bits()));
                }
                command
            }
            Self::NameWriter { writer, name } => {
                rawdoc! { "nameWriter": writer.to_string(), "name": name.as_str() }
            }
        }
    }
}

fn step_command(step: &Step, limit: usize) -> RawDocumentBuf {
    match step {
        Step::Read(read) => rawdoc! { "find": read.collection.as_str(), "filter": read.filter.clone() },
        Step::Write { operation, .. } => operation.to_command(limit),
    }
}

fn updates(update: &UpdateOperation, limit: usize) -> RawArrayBuf {
    let UpdateOperation { ids, guard, update, array_filters, replaces, .. } = update;
    let one = |id: &RawDocumentBuf| {
        let mut one = rawdoc! { "q": guarded(id, guard), "u": update.clone() };
        if !array_filters.is_empty() {
            one.append(cstr!("arrayFilters"), array_filters.iter().cloned().collect::<RawArrayBuf>());
        }
        if replaces.as_ref().is_some_and(|replaces| replaces.strict) {
            one.append(cstr!("strict"), true);
        }
        one
    };
    ids.iter().take(limit).map(one).collect()
}

/// The `_id` and what else had to hold.
fn guarded(id: &RawDocumentBuf, guard: &RawDocumentBuf) -> RawDocumentBuf {
    let mut filter = id.clone();
    if !guard.is_empty() {
        filter.append(cstr!("$and"), [guard.clone()].into_iter().collect::<RawArrayBuf>());
    }
    filter
}
