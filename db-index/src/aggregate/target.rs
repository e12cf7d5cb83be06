//! Where a pipeline's documents go: `$out` and `$merge`.

mod parse;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{RawArrayBuf, RawBson, RawBsonRef};

use super::edit::{self, Path};
use super::outside::Variables;
use super::parse::error;
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::expression::Expression;
use crate::update::{Update, UpdateOptions};

/// The last stage of a pipeline that writes.
#[derive(Debug, Clone)]
pub enum Target {
    /// `$out`: the documents take the place of a collection's.
    Out(OutTarget),
    /// `$merge`: the documents go into a collection, one by one.
    Merge(Box<MergeTarget>),
}

/// The collection that `$out` replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutTarget {
    /// The database, if one is named.
    pub database: Option<String>,
    /// The collection.
    pub collection: String,
}

/// What `$merge` does with each document.
#[derive(Debug, Clone)]
pub struct MergeTarget {
    /// The database, if one is named.
    pub database: Option<String>,
    /// The collection.
    pub collection: String,
    /// The fields by which a document finds the one that is there, `_id` unless others are named. There must be a unique
    /// index on just these fields (otherwise error 51183).
    pub on: Vec<String>,
    /// What becomes of one that is there.
    pub when_matched: MergeMatched,
    /// What becomes of one that finds none.
    pub when_not_matched: MergeUnmatched,
}

/// What `$merge` does with a document that is there.
#[derive(Debug, Clone)]
pub enum MergeMatched {
    /// `replace`: the new document takes its place.
    Replace,
    /// `keepExisting`: it stays as it is.
    KeepExisting,
    /// `merge`: the new document's fields are set in it.
    Merge,
    /// `fail`: error 11000.
    Fail,
    /// A pipeline updates it. Its variables are `new`, the new document, and those of `let`.
    Pipeline(MergePipeline),
}

/// What `$merge` does with a document that finds none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeUnmatched {
    /// `insert`.
    Insert,
    /// `discard`.
    Discard,
    /// `fail`: error 13113.
    Fail,
}

/// The pipeline of a `$merge` that updates what is there.
#[derive(Debug, Clone)]
pub struct MergePipeline {
    stages: RawArrayBuf,
    /// `let`: each name with what is evaluated on the new document.
    bindings: Vec<(String, Expression)>,
    /// The command's surroundings.
    context: QueryContext,
}

impl MergeTarget {
    /// The filter that finds the document which `document` meets.
    ///
    /// # Errors
    /// 51132 if a field of `on` is missing or null (`_id` may be missing: then nothing is met, and there is no filter),
    /// 51185 if it is an array.
    pub fn filter_for(&self, document: &RawDocument) -> Result<Option<RawDocumentBuf>, QueryError> {
        let mut filter = RawDocumentBuf::new();
        for name in &self.on {
            let path = Path::parse(name)?;
            let value = match edit::field(document, &path) {
                None if *name == "_id" => return Ok(None),
                Some(RawBsonRef::Array(_)) => {
                    return error(
                        51185,
                        format!("$merge write error: 'on' field '{name}' cannot be an array"),
                    );
                }
                None | Some(RawBsonRef::Null | RawBsonRef::Undefined) if *name != "_id" => {
                    return error(
                        51132,
                        "$merge write error: 'on' field cannot be missing, null, undefined or an array",
                    );
                }
                value => value.unwrap_or(RawBsonRef::Null),
            };
            let mut equal = RawDocumentBuf::new();
            equal.append(bson::raw::cstr!("$eq"), value);
            if let Ok(name) = bson::raw::CString::try_from(name.clone()) {
                filter.append(name, equal);
            }
        }
        Ok(Some(filter))
    }

    /// What `document` does to the one that it meets; none if that one stays as it is.
    ///
    /// # Errors
    /// `DuplicateKey` (11000) for `fail`; those of the pipeline's stages and of `let`.
    pub fn update_for(&self, document: &RawDocument) -> Result<Option<Update>, QueryError> {
        match &self.when_matched {
            MergeMatched::KeepExisting => Ok(None),
            MergeMatched::Fail => error(11000, "$merge found a duplicate document in the target collection"),
            MergeMatched::Replace => Update::parse(document, &UpdateOptions::default()).map(Some),
            MergeMatched::Merge => {
                let stages = bson::rawbson!([{"$replaceWith": {"$mergeObjects": ["$$ROOT", "$$new"]}}]);
                let RawBson::Array(stages) = stages else { return Ok(None) };
                let variables = Variables::default().and([new_document(document)].into_iter());
                Update::parse_pipeline(&stages, &variables.within(&QueryContext::default())).map(Some)
            }
            MergeMatched::Pipeline(pipeline) => pipeline.update_for(document).map(Some),
        }
    }
}

impl MergePipeline {
    fn update_for(&self, document: &RawDocument) -> Result<Update, QueryError> {
        let mut variables = vec![new_document(document)];
        for (name, expression) in &self.bindings {
            let value = expression.evaluate(document, &[], self.context.now_ms)?.to_raw_bson()?;
            variables.push((name.as_str().into(), value));
        }
        let context = Variables::default().and(variables.into_iter()).within(&self.context);
        Update::parse_pipeline(&self.stages, &context)
    }
}

/// The variable `new`.
fn new_document(document: &RawDocument) -> (Box<str>, Option<RawBson>) {
    ("new".into(), Some(RawBson::Document(document.to_owned())))
}
