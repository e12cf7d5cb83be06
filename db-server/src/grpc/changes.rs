//! Updates, replacements and deletes as they come in: alone, in a bulk, or with the document that they change given back.

use bson::{RawBson, RawDocumentBuf};
use db_core::{
    Collection, DeleteResult, ReturnDocument, ToUpdate, UpdateResult, Write, WriteModel, WriteOptions,
};
use proto::v1::{
    self, DeleteModel, DeleteRequest, FindOneAndDeleteRequest, FindOneAndReplaceRequest,
    FindOneAndUpdateRequest, Pipeline, ReplaceModel, ReplaceRequest, UpdateModel, UpdateRequest,
};
use tonic::Status;

use super::options::writing;
use crate::convert;
use crate::error::invalid;

/// How many array filters one update may have.
const ARRAY_FILTERS_MAX: usize = 100;

/// A collection of documents as they are stored.
type Documents = Collection<RawDocumentBuf>;

/// An update or a replacement; every part has passed the guard.
pub(super) struct Update {
    filter: RawDocumentBuf,
    action: Action,
    options: WriteOptions,
}

enum Action {
    One(Modification),
    Many(Modification),
    Replace(RawDocumentBuf),
}

/// A delete; every part has passed the guard.
pub(super) struct Delete {
    filter: RawDocumentBuf,
    many: bool,
    options: WriteOptions,
}

/// Update operators or a pipeline.
enum Modification {
    Operators(RawDocumentBuf),
    Pipeline(Vec<RawDocumentBuf>),
}

impl ToUpdate for Modification {
    fn to_update(self) -> db_core::Result<RawBson> {
        match self {
            Self::Operators(update) => update.to_update(),
            Self::Pipeline(stages) => stages.to_update(),
        }
    }
}

/// Which documents a call gives back, and how much of them.
pub(super) struct Given {
    projection: Option<RawDocumentBuf>,
    after: bool,
}

impl Update {
    /// Reads an update.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if a part of it is malformed or missing.
    pub(super) fn of_request(request: UpdateRequest, many: bool) -> Result<Self, Status> {
        let UpdateRequest { filter, update, pipeline, upsert, array_filters, sort, hint, options, .. } =
            request;
        Self::of_model(UpdateModel {
            filter,
            update,
            pipeline,
            many,
            upsert,
            array_filters,
            sort,
            hint,
            options,
        })
    }

    /// Reads an update of a bulk.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_model(model: UpdateModel) -> Result<Self, Status> {
        let UpdateModel { filter, update, pipeline, many, upsert, array_filters, sort, hint, options } =
            model;
        if array_filters.len() > ARRAY_FILTERS_MAX {
            return Err(invalid(format!("more than {ARRAY_FILTERS_MAX} array filters"), None));
        }
        let filter = convert::required(filter, "filter")?;
        let update = modification(update, pipeline)?;
        let array_filters = array_filters
            .into_iter()
            .map(|filter| convert::required(Some(filter), "array filter"))
            .collect::<Result<Vec<_>, _>>()?;
        let options = writing(sort, hint, options)?.upsert(upsert).array_filters(array_filters);
        let action = if many { Action::Many(update) } else { Action::One(update) };
        Ok(Self { filter, action, options })
    }

    /// Reads a replacement.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_replace(request: ReplaceRequest) -> Result<Self, Status> {
        let ReplaceRequest { filter, replacement, upsert, sort, hint, options, strict, .. } = request;
        Self::of_replace_model(ReplaceModel { filter, replacement, upsert, sort, hint, options, strict })
    }

    /// Reads a replacement of a bulk.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_replace_model(model: ReplaceModel) -> Result<Self, Status> {
        let ReplaceModel { filter, replacement, upsert, sort, hint, options, strict } = model;
        Ok(Self {
            filter: convert::required(filter, "filter")?,
            action: Action::Replace(convert::required(replacement, "replacement")?),
            options: writing(sort, hint, options)?.upsert(upsert).strict(strict),
        })
    }

    /// Reads an update that gives its document.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_find_and_update(request: FindOneAndUpdateRequest) -> Result<(Self, Given), Status> {
        let given = Given::read(request.projection, request.return_document)?;
        let update = Self::of_model(UpdateModel {
            filter: request.filter,
            update: request.update,
            pipeline: request.pipeline,
            many: false,
            upsert: request.upsert,
            array_filters: request.array_filters,
            sort: request.sort,
            hint: request.hint,
            options: request.options,
        })?;
        Ok((update, given))
    }

    /// Reads a replacement that gives its document.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_find_and_replace(request: FindOneAndReplaceRequest) -> Result<(Self, Given), Status> {
        let given = Given::read(request.projection, request.return_document)?;
        let FindOneAndReplaceRequest { filter, replacement, upsert, sort, hint, options, .. } = request;
        let strict = false;
        let model = ReplaceModel { filter, replacement, upsert, sort, hint, options, strict };
        Ok((Self::of_replace_model(model)?, given))
    }

    /// The update of a collection, not begun yet.
    pub(super) fn write(self, collection: &Documents) -> Write<UpdateResult> {
        let write = match self.action {
            Action::One(update) => collection.update_one(self.filter, update),
            Action::Many(update) => collection.update_many(self.filter, update),
            Action::Replace(replacement) => collection.replace_one(self.filter, replacement),
        };
        write.with_options(self.options)
    }

    /// The update as a part of a bulk.
    pub(super) fn into_model(self) -> WriteModel {
        let model = match self.action {
            Action::One(update) => WriteModel::update_one(self.filter, update),
            Action::Many(update) => WriteModel::update_many(self.filter, update),
            Action::Replace(replacement) => WriteModel::replace_one(self.filter, &replacement),
        };
        model.with_options(self.options)
    }

    /// The update of one document that gives it, not begun yet.
    pub(super) fn find_and_modify(
        self,
        collection: &Documents,
        given: Given,
    ) -> Write<Option<RawDocumentBuf>> {
        let mut write = match self.action {
            Action::One(update) | Action::Many(update) => collection.find_one_and_update(self.filter, update),
            Action::Replace(replacement) => collection.find_one_and_replace(self.filter, replacement),
        };
        if given.after {
            write = write.return_document(ReturnDocument::After);
        }
        given.of(write).with_options(self.options)
    }
}

impl Delete {
    /// Reads a delete.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_request(request: DeleteRequest, many: bool) -> Result<Self, Status> {
        let DeleteRequest { filter, hint, options, .. } = request;
        Self::of_model(DeleteModel { filter, many, hint, options })
    }

    /// Reads a delete of a bulk.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_model(model: DeleteModel) -> Result<Self, Status> {
        let DeleteModel { filter, many, hint, options } = model;
        let filter = convert::required(filter, "filter")?;
        Ok(Self { filter, many, options: writing(None, hint, options)? })
    }

    /// Reads a delete that gives its document.
    ///
    /// # Errors
    /// As [`Update::of_request`].
    pub(super) fn of_find_and_delete(request: FindOneAndDeleteRequest) -> Result<(Self, Given), Status> {
        let FindOneAndDeleteRequest { filter, sort, projection, hint, options, .. } = request;
        let given = Given::read(projection, 0)?;
        let filter = convert::required(filter, "filter")?;
        Ok((Self { filter, many: false, options: writing(sort, hint, options)? }, given))
    }

    /// The delete in a collection, not begun yet.
    pub(super) fn write(self, collection: &Documents) -> Write<DeleteResult> {
        let write =
            if self.many { collection.delete_many(self.filter) } else { collection.delete_one(self.filter) };
        write.with_options(self.options)
    }

    /// The delete as a part of a bulk.
    pub(super) fn into_model(self) -> WriteModel {
        let model = if self.many {
            WriteModel::delete_many(self.filter)
        } else {
            WriteModel::delete_one(self.filter)
        };
        model.with_options(self.options)
    }

    /// The delete of one document that gives it, not begun yet.
    pub(super) fn find_and_modify(
        self,
        collection: &Documents,
        given: Given,
    ) -> Write<Option<RawDocumentBuf>> {
        given.of(collection.find_one_and_delete(self.filter)).with_options(self.options)
    }
}

impl Given {
    fn read(projection: Option<v1::Document>, return_document: i32) -> Result<Self, Status> {
        let Ok(wanted) = v1::ReturnDocument::try_from(return_document) else {
            return Err(invalid(format!("unknown return_document {return_document}"), None));
        };
        let projection = convert::optional(projection, "projection")?;
        Ok(Self { projection, after: wanted == v1::ReturnDocument::After })
    }

    /// The write with the projection of what it gives.
    fn of(self, write: Write<Option<RawDocumentBuf>>) -> Write<Option<RawDocumentBuf>> {
        match self.projection {
            Some(projection) => write.projection(projection),
            None => write,
        }
    }
}

/// An update by operators or by a pipeline; one of them must be given.
fn modification(update: Option<v1::Document>, pipeline: Option<Pipeline>) -> Result<Modification, Status> {
    match (convert::optional(update, "update")?, pipeline) {
        (Some(update), None) => Ok(Modification::Operators(update)),
        (None, Some(pipeline)) => convert::stages(pipeline.stages).map(Modification::Pipeline),
        (None, None) => Err(invalid("update is missing", None)),
        (Some(_), Some(_)) => Err(invalid("give an update or a pipeline, not both", None)),
    }
}
