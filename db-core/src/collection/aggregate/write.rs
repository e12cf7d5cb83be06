//! Writing the results of a pipeline back: `$out` and `$merge`.
//!
//! `$merge` is decided document by document where the writes are tried, in entries of bounded size; a document that fails ends
//! it, and what came before stays. `$out` fills a collection beside the one that it replaces, with the same indexes and
//! options, and gives it the name in one last step: readers see the old content or the new one. If the process stops before, the
//! database drops it when it is next opened.

use bson::RawDocumentBuf;
use bson::oid::ObjectId;
use db_index::{ErrorCode, MergeTarget, OutTarget, QueryError, Rows, Target};

use super::around::Snapshot;
use crate::database::Database;
use crate::engine::{MergeRequest, Reply, Request, unfinished_out, with_id_in_front};
use crate::error::{Error, Result};
use crate::view::catalog::{self, CollectionMeta};

/// How many documents go into one entry.
const ENTRY_DOCUMENTS_MAX: usize = 1_000;

/// How many bytes of documents go into one entry, unless a single one is longer.
const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The name of the stage.
pub(super) fn name(target: &Target) -> &'static str {
    match target {
        Target::Out(_) => "$out",
        Target::Merge(_) => "$merge",
    }
}

/// Whether the results can go there.
pub(super) fn check(target: &Target, database: &Database, around: &Snapshot) -> Result<()> {
    let (named, collection) = match target {
        Target::Out(out) => (&out.database, &out.collection),
        Target::Merge(merge) => (&merge.database, &merge.collection),
    };
    if named.as_ref().is_some_and(|named| named != database.name()) {
        let message = format!("{} writes to the database that it reads", name(target));
        return Err(QueryError::new(ErrorCode::NOT_IMPLEMENTED, message).into());
    }
    catalog::check_collection_name(collection)?;
    match target {
        Target::Merge(merge) => check_fields(merge, around.collection(collection)?.as_deref()),
        Target::Out(_) => Ok(()),
    }
}

/// Whether the fields by which `$merge` finds a document find one at the most.
fn check_fields(merge: &MergeTarget, meta: Option<&CollectionMeta>) -> Result<()> {
    let mut on = merge.on.clone();
    on.sort_unstable();
    let is_unique = |index: &db_index::IndexDefinition| {
        let mut fields: Vec<&str> = index.fields().iter().map(db_index::IndexField::path).collect();
        fields.sort_unstable();
        index.is_unique() && !index.quarantines() && index.partial_filter().is_none() && fields == on
    };
    let indexes = meta.map(|meta| meta.indexes.as_slice()).unwrap_or_default();
    if on == ["_id"] || indexes.iter().any(|index| is_unique(&index.definition)) {
        return Ok(());
    }
    let message = "Cannot find index to verify that join fields will be unique";
    Err(QueryError::new(ErrorCode(51183), message).into())
}

/// Writes the results.
pub(super) fn write(
    target: &Target,
    database: &Database,
    around: &Snapshot,
    results: Rows<Error>,
) -> Result<()> {
    match target {
        Target::Merge(merge) => in_entries(results, |documents| {
            let documents = documents.into_iter().map(|document| (document, ObjectId::new())).collect();
            let request = Request::Merge(MergeRequest { target: merge.clone(), documents });
            database.write(Ok(request), |reply| refusal(&reply)).run()
        }),
        Target::Out(out) => replace(out, database, around.collection(&out.collection)?.as_deref(), results),
    }
}

/// Hands the results on in portions that fit into an entry each.
fn in_entries(results: Rows<Error>, mut write: impl FnMut(Vec<RawDocumentBuf>) -> Result<()>) -> Result<()> {
    let (mut documents, mut bytes) = (Vec::new(), 0);
    for document in results {
        let document = document?;
        let size = document.as_bytes().len();
        if documents.len() >= ENTRY_DOCUMENTS_MAX || (bytes + size > ENTRY_BYTES_MAX && bytes > 0) {
            write(std::mem::take(&mut documents))?;
            bytes = 0;
        }
        bytes += size;
        documents.push(document);
    }
    if documents.is_empty() { Ok(()) } else { write(documents) }
}

/// Puts the results in the place of a collection's content.
fn replace(
    target: &OutTarget,
    database: &Database,
    replaced: Option<&CollectionMeta>,
    results: Rows<Error>,
) -> Result<()> {
    let beside = unfinished_out(&database.writer(), ObjectId::new());
    let outcome = fill(&beside, database, replaced, results)
        .and_then(|()| database.rename_collection(&beside, &target.collection, true).run());
    if outcome.is_err() {
        let drop = database.write(Ok(Request::DropCollection { collection: beside }), |_| Ok(()));
        if let Err(error) = drop.run() {
            tracing::warn!(%error, "what $out had written so far could not be dropped");
        }
    }
    outcome
}

/// Makes a collection of the results, with the options and the indexes of the one that it is to replace.
fn fill(
    name: &str,
    database: &Database,
    replaced: Option<&CollectionMeta>,
    results: Rows<Error>,
) -> Result<()> {
    let options = replaced.map(|meta| meta.options.clone()).unwrap_or_default();
    let create = Request::CreateCollection { collection: name.to_owned(), options };
    database.write(Ok(create), |_| Ok(())).run()?;
    let indexes = replaced.map(|meta| meta.indexes.as_slice()).unwrap_or_default();
    if !indexes.is_empty() {
        let definitions = indexes.iter().map(|index| index.definition.to_document()).collect();
        let request = Request::CreateIndexes { collection: name.to_owned(), definitions };
        database.write(Ok(request), |_| Ok(())).run()?;
    }
    in_entries(results, |documents| {
        let documents =
            documents.into_iter().map(|document| with_id_in_front(document, ObjectId::new())).collect();
        let request = Request::Insert { collection: name.to_owned(), documents, ordered: true };
        database.write(Ok(request), |reply| refusal(&reply)).run()
    })
}

/// The first document that failed, as the aggregation's error.
fn refusal(reply: &Reply) -> Result<()> {
    match reply.outcome.rejected.first_key_value() {
        Some((_, error)) => Err(error.clone().into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc, rawdoc};

    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn what_out_had_written_when_the_process_stopped_is_dropped_when_the_database_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let database = store.create_database("test").unwrap();
        let years = database.collection::<Document>("years");
        years.insert_one(doc! { "_id": 1, "old": true }).await.unwrap();
        years.create_index(doc! { "films": 1 }).await.unwrap();
        let names = |database: &Database| database.list_collection_names().unwrap();
        let meta = years.open().unwrap().unwrap().1;
        let own = unfinished_out(&database.writer(), ObjectId::new());
        let others = unfinished_out(&crate::ids::WriterKey::from_bytes([7; 32]), ObjectId::new());
        database.rotate_key().await.unwrap();
        let own_now = unfinished_out(&database.writer(), ObjectId::new());
        assert_ne!(own.rsplit_once('.').map(|(of, _)| of), own_now.rsplit_once('.').map(|(of, _)| of));
        for name in [own, own_now, others.clone()] {
            let (filled, meta) = (database.clone(), meta.clone());
            let results = (0..2_500).map(|n| Ok(rawdoc! { "_id": n, "films": n }));
            let fill = move || fill(&name, &filled, Some(&meta), Box::new(results));
            tokio::task::spawn_blocking(fill).await.unwrap().unwrap();
        }
        assert_eq!(names(&database).len(), 4);
        store.close(); // it stops before the last step

        let store = Store::open(directory.path()).unwrap();
        let database = store.database("test").unwrap();
        let is_dropped = |_: &crate::Status| names(&database).len() == 2;
        database.wait_for(is_dropped).await.unwrap();
        assert_eq!(names(&database), [others, "years".to_owned()]);
        let years = database.collection::<Document>("years");
        assert_eq!(years.count_documents(doc! {}).run().unwrap(), 1);
        let before = database.status().entries;
        store.close();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.database("test").unwrap().status().entries, before, "nothing is left to drop");
    }
}
