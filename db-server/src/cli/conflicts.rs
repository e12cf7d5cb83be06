//! `combdb conflicts`.

use std::collections::HashMap;

use bson::spec::BinarySubtype;
use bson::{Binary, Document, RawDocumentBuf, doc};
use clap::{Args, Subcommand, ValueEnum};
use db_core::{EntryHash, WriterKey};
use proto::v1::{
    self, ConflictResolution, DocumentFormat, FindRequest, ResolveConflictRequest, SetConflictPolicyRequest,
    WatchConflictsRequest, document,
};

use super::Common;
use super::client::{Client, json};
use super::options::WriteArguments;
use super::output::Output;
use super::writers::Names;
use crate::error::CliError;

/// The collection that lists them.
const CONFLICTS: &str = "system.conflicts";

/// What to do with what lost against concurrent changes.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  combdb conflicts list
  combdb conflicts resolve 5d41…c592.0.0.title --take-loser
  combdb conflicts resolve 5d41…c592.0.0.title --set '\"Alien³\"'
  combdb conflicts policy films --path rating=max --path price=reject-concurrent")]
pub(crate) enum Conflicts {
    /// Lists the conflicts that nobody has settled yet
    List {
        /// Which, such as '{"collection": "films"}'; left out: all
        filter: Option<String>,
        /// Print whole conflicts, one JSON object a line, each with its name as `conflict`
        #[arg(long)]
        json: bool,
    },
    /// Prints conflicts as they come up, one JSON object a line, each with its name as `conflict`
    Watch,
    /// Settles a conflict and takes it off the list
    Resolve(Resolve),
    /// Says how concurrent changes of a collection's documents are settled; what is not said is as by default
    Policy {
        /// The collection
        collection: String,
        /// What wins of a delete and a concurrent update
        #[arg(long, value_enum, default_value_t = DeleteName::DeleteWins)]
        delete: DeleteName,
        /// PATH=last, PATH=max, PATH=min or PATH=reject-concurrent
        #[arg(long = "path", value_name = "PATH=RULE", value_parser = path_rule)]
        paths: Vec<(String, String)>,
        #[command(flatten)]
        write: WriteArguments,
    },
}

/// Which conflict, and what becomes of it.
#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// The conflict, as `combdb conflicts list` names it
    #[arg(value_parser = conflict_id)]
    conflict: Document,
    #[command(flatten)]
    resolution: Resolution,
    #[command(flatten)]
    write: WriteArguments,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Resolution {
    /// The value that won stays
    #[arg(long)]
    keep: bool,
    /// What lost is done after all
    #[arg(long)]
    take_loser: bool,
    /// The field is set to this value, as Extended JSON
    #[arg(long, value_name = "VALUE")]
    set: Option<String>,
}

/// What wins of a delete and a concurrent update, by the words of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DeleteName {
    /// The delete
    DeleteWins,
    /// The update
    UpdateWins,
}

impl Conflicts {
    /// Does it.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let mut output = Output::new();
        match self {
            Self::List { filter, json: as_json } => {
                list(&client, database, filter, as_json, &mut output).await?;
            }
            Self::Watch => {
                let format = DocumentFormat::Bson.into();
                let request = WatchConflictsRequest { database, format };
                let mut told = client.conflicts().watch(request).await?.into_inner();
                while let Some(told) = told.message().await? {
                    if let Some(conflict) = told.conflict.and_then(read) {
                        output.line(object(conflict))?;
                        output.flush()?;
                    }
                }
            }
            Self::Resolve(Resolve { conflict, resolution, write }) => {
                let value = resolution.set.map(|value| json(format!("{{\"v\": {value}}}")));
                let resolution = match (&value, resolution.take_loser) {
                    (Some(_), _) => ConflictResolution::Set,
                    (None, true) => ConflictResolution::TakeLoser,
                    (None, false) => ConflictResolution::Keep,
                };
                let id = RawDocumentBuf::try_from(&conflict)
                    .map_err(|_| CliError::Usage("this names no conflict".into()))?;
                let id = v1::Document { form: Some(document::Form::Bson(id.into_bytes().into())) };
                let (id, resolution, write_concern) = (Some(id), resolution.into(), write.concern());
                let request = ResolveConflictRequest { database, id, resolution, value, write_concern };
                let done = client.conflicts().resolve(request).await?.into_inner();
                output.line("settled")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::Policy { collection, delete, paths, write } => {
                let delete = match delete {
                    DeleteName::DeleteWins => "delete-wins",
                    DeleteName::UpdateWins => "update-wins",
                };
                let (delete, paths) = (delete.to_owned(), paths.into_iter().collect::<HashMap<_, _>>());
                let write_concern = write.concern();
                let request = SetConflictPolicyRequest { database, collection, delete, paths, write_concern };
                let done = client.conflicts().set_policy(request).await?.into_inner();
                output.line("changed")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
        }
        output.flush()
    }
}

async fn list(
    client: &Client,
    database: String,
    filter: Option<String>,
    as_json: bool,
    output: &mut Output,
) -> Result<(), CliError> {
    let names = Names::of(client, database.clone()).await?;
    let request = FindRequest {
        database,
        collection: CONFLICTS.to_owned(),
        filter: filter.map(json),
        format: DocumentFormat::Bson.into(),
        ..FindRequest::default()
    };
    let mut batches = client.documents().find(request).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(batch) = batches.message().await? {
        for conflict in batch.documents.into_iter().filter_map(read) {
            if as_json {
                output.line(object(conflict))?;
            } else {
                rows.extend(row(&conflict, &names));
            }
        }
    }
    if as_json {
        return Ok(());
    }
    output.table(["COLLECTION", "DOCUMENT", "PATH", "RULE", "WINNER", "LOSER", "CONFLICT"], &rows)
}

fn read(conflict: v1::Document) -> Option<Document> {
    match conflict.form? {
        document::Form::Bson(bytes) => Document::from_reader(&bytes[..]).ok(),
        document::Form::ExtendedJson(_) => None,
    }
}

/// A whole conflict as JSON, and as `conflict` the name to settle it by.
fn object(conflict: Document) -> serde_json::Value {
    let name = conflict.get_document("_id").ok().and_then(name_of);
    let mut object = bson::Bson::Document(conflict).into_relaxed_extjson();
    if let (Some(object), Some(name)) = (object.as_object_mut(), name) {
        object.insert("conflict".to_owned(), name.into());
    }
    object
}

/// A conflict as a line of the table.
fn row(conflict: &Document, names: &Names) -> Option<[String; 7]> {
    let side = |name: &str| {
        let side = conflict.get_document(name).ok()?;
        let writer = match side.get("writer") {
            Some(bson::Bson::Binary(key)) => {
                names.show(&WriterKey::from_bytes(key.bytes.as_slice().try_into().ok()?).to_string())
            }
            _ => return None,
        };
        let value = match (side.get("value"), side.get("update")) {
            (Some(value), _) => short(value.clone()),
            (None, Some(update)) => short(update.clone()),
            (None, None) if side.contains_key("omitted") => "(in the log)".to_owned(),
            (None, None) => "-".to_owned(),
        };
        Some(format!("{value} by {writer}"))
    };
    Some([
        conflict.get_str("collection").ok()?.to_owned(),
        short(conflict.get("document")?.clone()),
        conflict.get_str("path").unwrap_or("-").to_owned(),
        conflict.get_str("rule").ok()?.to_owned(),
        side("winner")?,
        side("loser")?,
        name_of(conflict.get_document("_id").ok()?)?,
    ])
}

/// How many characters of a value are shown.
const VALUE_CHARACTERS_MAX: usize = 32;

fn short(value: bson::Bson) -> String {
    let whole = value.into_relaxed_extjson().to_string();
    let mut text: String = whole.chars().take(VALUE_CHARACTERS_MAX).collect();
    if text.len() < whole.len() {
        text.push('…');
    }
    text
}

/// `ENTRY.OPERATION.PART` and, if it is about a field, `.PATH`: the `_id` of a conflict as text.
fn name_of(id: &Document) -> Option<String> {
    let bson::Bson::Binary(entry) = id.get("entry")? else { return None };
    let (operation, part) = (id.get_i64("operation").ok()?, id.get_i64("part").ok()?);
    let path = id.get_str("path").map(|path| format!(".{path}")).unwrap_or_default();
    let entry = EntryHash::from_bytes(entry.bytes.as_slice().try_into().ok()?);
    Some(format!("{entry}.{operation}.{part}{path}"))
}

fn conflict_id(name: &str) -> Result<Document, String> {
    let wrong = || "a conflict is ENTRY.OPERATION.PART or ENTRY.OPERATION.PART.PATH".to_owned();
    let mut parts = name.splitn(4, '.');
    let entry = parts.next().and_then(EntryHash::from_hex).ok_or_else(wrong)?;
    let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok()).ok_or_else(wrong);
    let (operation, part) = (number()?, number()?);
    let entry = Binary { subtype: BinarySubtype::Generic, bytes: entry.as_bytes().to_vec() };
    let mut id = doc! { "entry": entry, "operation": operation, "part": part };
    if let Some(path) = parts.next() {
        id.insert("path", path);
    }
    Ok(id)
}

fn path_rule(text: &str) -> Result<(String, String), String> {
    let (path, rule) = text.split_once('=').ok_or_else(|| "give PATH=RULE".to_owned())?;
    Ok((path.to_owned(), rule.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_conflict_is_its_id() {
        let entry = "0a".repeat(32);
        for name in [format!("{entry}.0.2"), format!("{entry}.1.0.a.b.c")] {
            assert_eq!(name_of(&conflict_id(&name).unwrap()), Some(name));
        }
        for wrong in ["", "0a.0.0", &entry, &format!("{entry}.0"), &format!("{entry}.x.0")] {
            assert!(conflict_id(wrong).is_err(), "{wrong}");
        }
    }
}
