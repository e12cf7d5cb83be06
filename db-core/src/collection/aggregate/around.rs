//! What a pipeline sees of the database: one snapshot, for its whole run.

use std::sync::Arc;

use bson::{RawDocumentBuf, rawdoc};
use db_index::{
    Collation, CollectionStatistics, ErrorCode, FieldKind, Filter, IndexDefinition, IndexField, Outside,
    PipelineFind, QueryError, Rows,
};

use crate::collection::{ReadConcern, Within};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::query::witness::Aspect;
use crate::query::{Compiled, Execution, Stop};
use crate::view::ViewSnapshot;
use crate::view::catalog::{self, CollectionMeta, IndexMeta};
use crate::view::statistics::Statistics;

/// A snapshot of a database.
pub(super) struct Snapshot {
    database: Database,
    within: Within,
    view: Arc<ViewSnapshot>,
    stop: Stop,
    /// How the pipeline compares strings.
    collation: Option<Collation>,
}

impl Snapshot {
    /// The database as it is now, for a pipeline that compares strings by this collation, read until `stop` says that it is
    /// enough.
    pub(super) fn new(
        database: Database,
        within: Within,
        concern: ReadConcern,
        stop: Stop,
        collation: Option<Collation>,
    ) -> Result<Self> {
        let view = Arc::new(within.view_at(&database, concern, &stop)?);
        Ok(Self { database, within, view, stop, collation })
    }

    /// Refuses what a transaction cannot see change.
    fn refuse_within(&self, stage: &str) -> Result<()> {
        if self.within.transaction().is_none() {
            return Ok(());
        }
        let message = format!("{stage} cannot be used in a transaction");
        Err(QueryError::new(ErrorCode(263), message).into())
    }

    /// A collection as the snapshot knows it.
    pub(super) fn collection(&self, name: &str) -> Result<Option<Arc<CollectionMeta>>> {
        self.database.catalog().collection(&*self.view, name)
    }

    /// The documents of a find; those of a collection that does not exist are none.
    pub(super) fn documents(&self, collection: &str, find: Compiled) -> Result<Rows<Error>> {
        Ok(match self.collection(collection)? {
            Some(meta) => Box::new(Execution::new(Arc::clone(&self.view), &meta, find)?),
            None => Box::new(std::iter::empty()),
        })
    }
}

/// `storageStats`, as the view counts it: nothing of it is read here.
fn storage_statistics(meta: &CollectionMeta, statistics: &Statistics) -> RawDocumentBuf {
    let (mut sizes, mut total) = (RawDocumentBuf::new(), 0_u64);
    for index in &meta.indexes {
        let bytes = statistics.index(index.id).bytes;
        if let Ok(name) = bson::raw::CString::try_from(index.definition.name()) {
            sizes.append(name, number(bytes));
        }
        total = total.saturating_add(bytes);
    }
    rawdoc! {
        "size": number(statistics.documents.bytes),
        "count": number(statistics.documents.count),
        "avgObjSize": number(statistics.documents.mean_bytes()),
        "nindexes": i32::try_from(meta.indexes.len()).unwrap_or(i32::MAX).saturating_add(1),
        "totalIndexSize": number(total),
        "indexSizes": sizes,
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Outside for Snapshot {
    type Error = Error;

    fn find(&self, find: PipelineFind) -> Result<Rows<Error>> {
        catalog::check_name_to_read(&find.collection)?;
        if let Some(transaction) = self.within.transaction() {
            // A pipeline may look for one document after the other: the collection is noted once, whole.
            transaction.note_filter(&find.collection, &Filter::all(), Aspect::Documents)?;
        }
        let compiled = Compiled {
            filter: find.filter,
            sort: find.sort,
            projection: None,
            transform_by: None,
            fields: find.fields,
            hint: None,
            skip: find.skip,
            limit: find.limit,
            stop: self.stop.clone(),
        };
        self.documents(&find.collection, compiled)
    }

    fn serves_equality(&self, name: &str, field: &str) -> Result<bool> {
        let Some(meta) = self.collection(name)? else { return Ok(true) };
        let serves = |index: &IndexMeta| {
            let definition = &index.definition;
            let is_first = definition.fields().first().is_some_and(|first| {
                first.path() == field && (first.kind().is_plain() || first.kind() == FieldKind::Hashed)
            });
            // One that leaves documents out, or orders strings otherwise, finds some values and not others.
            is_first
                && !definition.is_hidden()
                && !definition.is_sparse()
                && definition.partial_filter().is_none()
                && definition.collation() == self.collation.as_ref()
        };
        Ok(field == "_id" || meta.indexes.iter().any(serves))
    }

    fn location_field(&self, name: &str) -> Result<Option<String>> {
        let Some(meta) = self.collection(name)? else { return Ok(None) };
        let of_kind = |kind: FieldKind| {
            let indexes = meta.indexes.iter().map(|index| &index.definition);
            let fields = indexes.filter(|index| !index.is_hidden()).flat_map(IndexDefinition::fields);
            fields.filter(move |field| field.kind() == kind).map(IndexField::path).collect::<Vec<_>>()
        };
        // As MongoDB does: one index on a plane is meant before one on the globe.
        let fields = Some(of_kind(FieldKind::Flat)).filter(|fields| !fields.is_empty());
        Ok(match fields.unwrap_or_else(|| of_kind(FieldKind::Sphere)).as_slice() {
            [only] => Some((*only).to_owned()),
            _ => None,
        })
    }

    fn collection_statistics(&self, name: &str, wanted: CollectionStatistics) -> Result<RawDocumentBuf> {
        self.refuse_within("$collStats")?;
        let Some(meta) = self.collection(name)? else {
            let message = format!("collection not found: name={name}");
            return Err(QueryError::new(ErrorCode::NAMESPACE_NOT_FOUND, message).into());
        };
        if wanted.latency || wanted.query {
            let message = "$collStats has count and storageStats; latencies and executions are not measured";
            return Err(QueryError::new(ErrorCode::NOT_IMPLEMENTED, message).into());
        }
        let statistics = Statistics::of(&*self.view, meta.id)?;
        let mut told = rawdoc! { "ns": format!("{}.{name}", self.database.name()) };
        if wanted.storage {
            told.append(bson::raw::cstr!("storageStats"), storage_statistics(&meta, &statistics));
        }
        if wanted.count {
            told.append(bson::raw::cstr!("count"), number(statistics.documents.count));
        }
        Ok(told)
    }

    fn index_statistics(&self, name: &str) -> Result<Vec<RawDocumentBuf>> {
        self.refuse_within("$indexStats")?;
        let Some(meta) = self.collection(name)? else { return Ok(Vec::new()) };
        let statistics = Statistics::of(&*self.view, meta.id)?;
        let tell = |definition: &IndexDefinition, entries: u64| {
            rawdoc! {
                "name": definition.name(),
                "key": definition.key_pattern(),
                "spec": definition.to_document(),
                "entries": number(entries),
            }
        };
        let on_id = tell(&IndexDefinition::on_id(), statistics.documents.count);
        let indexes = meta.indexes.iter();
        let others = indexes.map(|index| tell(&index.definition, statistics.index(index.id).count));
        Ok(std::iter::once(on_id).chain(others).collect())
    }
}
