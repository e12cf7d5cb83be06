//! What a pipeline sees of the database: one snapshot, for its whole run.

use std::sync::Arc;

use bson::{RawDocumentBuf, rawdoc};
use db_index::{CollectionStatistics, ErrorCode, IndexDefinition, Outside, PipelineFind, QueryError, Rows};

use crate::database::Database;
use crate::error::{Error, Result};
use crate::query::{Compiled, Execution, Source, Stop};
use crate::view::catalog::{self, CollectionMeta};
use crate::view::{ViewSnapshot, keyspace};

/// A snapshot of a database.
pub(super) struct Snapshot {
    database: Database,
    view: Arc<ViewSnapshot>,
    stop: Stop,
}

impl Snapshot {
    /// The database as it is now, read until `stop` says that it is enough.
    pub(super) fn new(database: Database, stop: Stop) -> Result<Self> {
        let view = Arc::new(database.view()?);
        Ok(Self { database, view, stop })
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

    /// How many keys begin with `prefix`, and the bytes of them and their values.
    fn measure(&self, prefix: &[u8], with_keys: bool) -> Result<(i64, i64)> {
        let (mut count, mut bytes) = (0_i64, 0_usize);
        let mut stop = self.stop.clone();
        for item in self.view.keys(&keyspace::prefix_bounds(prefix))? {
            stop.step()?;
            let (key, value) = item?;
            count += 1;
            bytes += value.value().len() + if with_keys { key.value().len() } else { 0 };
        }
        Ok((count, i64::try_from(bytes).unwrap_or(i64::MAX)))
    }

    fn storage_statistics(&self, meta: &CollectionMeta) -> Result<RawDocumentBuf> {
        let (count, size) = self.measure(&keyspace::documents(meta.id), false)?;
        let (mut sizes, mut total) = (RawDocumentBuf::new(), 0_i64);
        for index in &meta.indexes {
            let (_, size) = self.measure(&keyspace::entries(index.id), true)?;
            if let Ok(name) = bson::raw::CString::try_from(index.definition.name()) {
                sizes.append(name, size);
            }
            total = total.saturating_add(size);
        }
        Ok(rawdoc! {
            "size": size,
            "count": count,
            "avgObjSize": if count == 0 { 0 } else { size / count },
            "nindexes": i32::try_from(meta.indexes.len()).unwrap_or(i32::MAX).saturating_add(1),
            "totalIndexSize": total,
            "indexSizes": sizes,
        })
    }
}

impl Outside for Snapshot {
    type Error = Error;

    fn find(&self, find: PipelineFind) -> Result<Rows<Error>> {
        catalog::check_name_to_read(&find.collection)?;
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

    fn collection_statistics(&self, name: &str, wanted: CollectionStatistics) -> Result<RawDocumentBuf> {
        let Some(meta) = self.collection(name)? else {
            let message = format!("collection not found: name={name}");
            return Err(QueryError::new(ErrorCode::NAMESPACE_NOT_FOUND, message).into());
        };
        if wanted.latency || wanted.query {
            let message = "$collStats has count and storageStats; latencies and executions are not measured";
            return Err(QueryError::new(ErrorCode::NOT_IMPLEMENTED, message).into());
        }
        let mut told = rawdoc! { "ns": format!("{}.{name}", self.database.name()) };
        if wanted.storage {
            told.append(bson::raw::cstr!("storageStats"), self.storage_statistics(&meta)?);
        }
        if wanted.count {
            let count = catalog::document_count(&*self.view, meta.id)?;
            told.append(bson::raw::cstr!("count"), i64::try_from(count).unwrap_or(i64::MAX));
        }
        Ok(told)
    }

    fn index_statistics(&self, name: &str) -> Result<Vec<RawDocumentBuf>> {
        let Some(meta) = self.collection(name)? else { return Ok(Vec::new()) };
        let on_id = IndexDefinition::on_id();
        let definitions = std::iter::once(&on_id).chain(meta.indexes.iter().map(|index| &index.definition));
        let told = definitions.map(|definition| {
            rawdoc! {
                "name": definition.name(),
                "key": definition.key_pattern(),
                "spec": definition.to_document(),
            }
        });
        Ok(told.collect())
    }
}
