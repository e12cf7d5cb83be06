//! Pipelines on collections in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bson::{RawBson, rawbson, rawdoc};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::testing;

mod groups;
mod joins;
mod leading;
mod single;

/// Collections of documents.
#[derive(Default)]
pub(super) struct Memory {
    collections: BTreeMap<String, Vec<RawDocumentBuf>>,
    /// Whether to claim indexes on everything.
    is_indexed: bool,
}

impl Outside for Memory {
    type Error = QueryError;

    fn find(&self, find: PipelineFind) -> Result<Rows<QueryError>, QueryError> {
        let mut documents = self.collections.get(&find.collection).cloned().unwrap_or_default();
        let PipelineFind { mut filter, mut sort, skip, limit, fields, .. } = find;
        if let Some(near) = filter.nearness() {
            documents.retain(|document| near.distance(document).is_some());
            documents.sort_by(|a, b| near.distance(a).unwrap().total_cmp(&near.distance(b).unwrap()));
        }
        if let Some(fields) = &fields {
            // Only what is asked for comes, so that tests see if more was needed.
            documents.retain(|document| filter.matches(document).unwrap());
            documents = sorted(std::mem::take(&mut sort), documents)?;
            for document in &mut documents {
                *document = only(fields, document);
            }
            filter = Filter::all();
        }
        let leading = Leading { filter, sort, skip, limit, fields, open: Vec::new() };
        let rows = Box::new(documents.into_iter().map(Ok));
        leading.apply(rows, &QueryContext::default(), &Variables::default())
    }

    fn location_field(&self, collection: &str) -> Result<Option<String>, QueryError> {
        Ok((collection == "here").then(|| "loc".to_owned()))
    }

    fn serves_equality(&self, _: &str, _: &str) -> Result<bool, QueryError> {
        Ok(self.is_indexed)
    }

    fn collection_statistics(
        &self,
        collection: &str,
        wanted: CollectionStatistics,
    ) -> Result<RawDocumentBuf, QueryError> {
        let count = self.collections.get(collection).map_or(0, Vec::len) as i64;
        Ok(if wanted.count {
            rawdoc! {"count": count}
        } else {
            rawdoc! {}
        })
    }

    fn index_statistics(&self, _: &str) -> Result<Vec<RawDocumentBuf>, QueryError> {
        Ok(vec![rawdoc! {"name": "_id_"}])
    }
}

fn sorted(sort: crate::Sort, documents: Vec<RawDocumentBuf>) -> Result<Vec<RawDocumentBuf>, QueryError> {
    let mut sorter = crate::Sorter::new(sort, None, PIPELINE_BYTES_MAX);
    for document in documents {
        sorter.push(&document, || document.clone())?;
    }
    Ok(sorter.into_sorted().collect())
}

fn only(fields: &[String], document: &RawDocumentBuf) -> RawDocumentBuf {
    let mut kept = RawDocumentBuf::new();
    for (name, value) in crate::order::elements(document) {
        if fields.iter().any(|field| field == name.as_str()) {
            kept.append(name, value);
        }
    }
    kept
}

/// The stages as an array.
pub(super) fn stages(stages: RawBson) -> bson::RawArrayBuf {
    let RawBson::Array(stages) = stages else { panic!("not an array") };
    stages
}

pub(super) fn settings() -> PipelineSettings {
    PipelineSettings { collection: "here".to_owned(), ..PipelineSettings::default() }
}

/// What `pipeline` gives for the collection `here` and others.
pub(super) fn run(
    pipeline: RawBson,
    collections: &[(&str, Vec<RawDocumentBuf>)],
) -> Result<Vec<RawDocumentBuf>, QueryError> {
    run_with(pipeline, collections, false)
}

pub(super) fn run_with(
    pipeline: RawBson,
    collections: &[(&str, Vec<RawDocumentBuf>)],
    is_indexed: bool,
) -> Result<Vec<RawDocumentBuf>, QueryError> {
    let pipeline = Pipeline::parse(&stages(pipeline), &settings())?;
    let collections = collections.iter().map(|(name, documents)| ((*name).to_owned(), documents.clone()));
    let outside = Arc::new(Memory { collections: collections.collect(), is_indexed });
    pipeline.find_and_run(&outside, &Variables::default(), None)?.collect()
}

/// The code with which `pipeline` is refused.
pub(super) fn refused(pipeline: RawBson) -> i32 {
    Pipeline::parse(&stages(pipeline), &settings()).unwrap_err().code.0
}
