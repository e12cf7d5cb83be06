//! Creating and dropping indexes.

use bson::RawDocumentBuf;
use db_index::{ErrorCode, QueryError};

use super::{Trial, Tried};
use crate::error::Result;
use crate::operation::Operation;
use crate::view::catalog::CollectionOptions;
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    /// Creates those of the indexes that are not there, and the collection.
    pub(super) fn create_indexes(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: String,
        definitions: Vec<RawDocumentBuf>,
    ) -> Result<Tried> {
        // Indexes that are there already need no entry: creating them again on every start is a common habit.
        let mut new = Vec::new();
        let existing = self.applier.catalog.collection(view, &collection)?;
        let collation = existing.as_ref().and_then(|meta| meta.options.collation.clone());
        for mut definition in definitions {
            if let Some(collation) = &collation
                && matches!(definition.get("collation"), Ok(None))
            {
                definition.append(bson::raw::cstr!("collation"), collation.clone());
            }
            let parsed = db_index::IndexDefinition::from_document(&definition)?;
            let mut is_new = !parsed.is_id_index();
            for index in existing.iter().flat_map(|meta| &meta.indexes) {
                is_new &= !parsed.is_same_as(&index.definition)?;
            }
            if is_new {
                new.push(definition);
            }
        }
        match (new.is_empty(), existing) {
            (false, _) => self.whole(view, Operation::CreateIndexes { collection, definitions: new }),
            (true, None) => {
                let options = CollectionOptions::default().to_document();
                self.whole(view, Operation::CreateCollection { collection, options })
            }
            (true, Some(_)) => Ok(self.nothing()),
        }
    }

    /// Drops all indexes but that of `_id`.
    pub(super) fn drop_indexes(&mut self, view: &mut ViewWriter<'_, '_>, collection: &str) -> Result<Tried> {
        let Some(meta) = self.applier.catalog.collection(view, collection)? else {
            let message = format!("collection not found: name={collection}");
            return Err(QueryError::new(ErrorCode::NAMESPACE_NOT_FOUND, message).into());
        };
        let mut dropped = self.nothing();
        for index in &meta.indexes {
            let name = index.definition.name().to_owned();
            let tried = self.whole(view, Operation::DropIndex { collection: collection.to_owned(), name })?;
            dropped.operations.extend(tried.operations);
        }
        Ok(dropped)
    }
}
