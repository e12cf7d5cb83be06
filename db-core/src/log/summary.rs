//! Operations in short: never a document, and no long names.

use super::LoggedOperation;
use crate::operation::{Operation, Roles, Step};

/// How many characters of a name are shown.
const NAME_CHARACTERS_MAX: usize = 120;
/// How many names are shown.
const NAMES_MAX: usize = 8;

pub(super) fn summary(operation: &Operation) -> LoggedOperation {
    let (kind, count, detail) = match operation {
        Operation::Insert { documents, .. } => ("insert", documents.len(), String::new()),
        Operation::Update(update) => ("update", update.ids.len(), String::new()),
        Operation::Upsert { .. } => ("upsert", 1, String::new()),
        Operation::Delete { ids, .. } => ("delete", ids.len(), String::new()),
        Operation::CreateCollection { .. } => ("createCollection", 1, String::new()),
        Operation::DropCollection { .. } => ("dropCollection", 1, String::new()),
        Operation::CreateIndexes { definitions, .. } => {
            let names = definitions.iter().map(|definition| definition.get_str("name").unwrap_or("?"));
            ("createIndexes", definitions.len(), list(names.map(clip)))
        }
        Operation::DropIndex { name, .. } => ("dropIndex", 1, clip(name)),
        Operation::RenameCollection { to, .. } => ("renameCollection", 1, format!("to {}", clip(to))),
        Operation::ChangeIndex { name, .. } => ("changeIndex", 1, clip(name)),
        Operation::Expire { index, ids, .. } => ("expire", ids.len(), clip(index)),
        Operation::ChangeCollection { .. } => ("changeCollection", 1, String::new()),
        Operation::Transaction { steps } => {
            let writes = steps.iter().filter_map(|step| match step {
                Step::Write { operation, .. } => Some(operation),
                Step::Read(_) => None,
            });
            let mut names: Vec<&str> = writes.clone().filter_map(Operation::collection).collect();
            names.sort_unstable();
            names.dedup();
            ("transaction", writes.count(), format!("of {}", list(names.into_iter().map(clip))))
        }
        Operation::Dismiss { collection, ids } => ("dismiss", ids.len(), format!("of {}", clip(collection))),
        Operation::SetRoles { writer, roles } => {
            ("setRoles", 1, format!("{} {}", writer.short(), words(*roles)))
        }
        Operation::RemoveWriter { writer } => ("removeWriter", 1, writer.short()),
        Operation::SetIndexers { writers } => {
            ("setIndexers", writers.len(), list(writers.iter().map(crate::ids::WriterKey::short)))
        }
        Operation::ForkProof(proof) => {
            ("forkProof", 1, proof.accused().map(|accused| accused.short()).unwrap_or_default())
        }
        Operation::Rotate { from, to, .. } => ("rotate", 1, format!("{} to {}", from.short(), to.short())),
        Operation::Replace { from, to, .. } => ("replace", 1, format!("{} by {}", from.short(), to.short())),
        Operation::NameWriter { writer, name } => {
            ("nameWriter", 1, format!("{} {:?}", writer.short(), clip(name)))
        }
    };
    LoggedOperation { kind, collection: operation.collection().map(clip), count: count as u64, detail }
}

fn words(roles: Roles) -> String {
    let named = [(Roles::ADMIN, "admin"), (Roles::INDEXER, "indexer"), (Roles::WRITER, "writer")];
    let words: Vec<&str> = named.iter().filter(|(role, _)| roles.has(*role)).map(|(_, word)| *word).collect();
    if roles.has(Roles::READER) {
        "reader".to_owned()
    } else if words.is_empty() {
        "none".to_owned()
    } else {
        words.join("+")
    }
}

fn list(mut names: impl Iterator<Item = String>) -> String {
    let mut text = names.by_ref().take(NAMES_MAX).collect::<Vec<_>>().join(" ");
    if names.next().is_some() {
        text.push_str(" …");
    }
    text
}

fn clip(name: impl AsRef<str>) -> String {
    let name = name.as_ref();
    let mut text: String = name.chars().take(NAME_CHARACTERS_MAX).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}
