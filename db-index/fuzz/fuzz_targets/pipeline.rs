//! A pipeline in the field `pipeline` of the first line, documents on the others, which are every collection at once.
#![no_main]

use std::sync::Arc;

use bson::{RawBsonRef, RawDocumentBuf, rawdoc};
use db_index::{
    CollectionStatistics, Outside, Pipeline, PipelineFind, PipelineSettings, QueryError, Rows, check_document,
};
use libfuzzer_sys::fuzz_target;

/// How many documents a pipeline is asked for: stages may multiply them as they like.
const DOCUMENTS_MAX: usize = 1_000;

struct Everywhere(Vec<RawDocumentBuf>);

impl Outside for Everywhere {
    type Error = QueryError;

    fn find(&self, find: PipelineFind) -> Result<Rows<QueryError>, QueryError> {
        let mut found = Vec::new();
        for document in &self.0 {
            if find.filter.matches(document)? {
                found.push(Ok(document.clone()));
            }
        }
        let limit = find.limit.map_or(usize::MAX, |limit| limit as usize);
        Ok(Box::new(found.into_iter().skip(find.skip as usize).take(limit)))
    }

    fn serves_equality(&self, _: &str, _: &str) -> Result<bool, QueryError> {
        Ok(false)
    }

    fn location_field(&self, _: &str) -> Result<Option<String>, QueryError> {
        Ok(None)
    }

    fn collection_statistics(&self, _: &str, _: CollectionStatistics) -> Result<RawDocumentBuf, QueryError> {
        Ok(rawdoc! { "count": 1 })
    }

    fn index_statistics(&self, _: &str) -> Result<Vec<RawDocumentBuf>, QueryError> {
        Ok(Vec::new())
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(lines) = db_index_fuzz::documents(data) else { return };
    let Some((source, documents)) = lines.split_first() else { return };
    let Ok(Some(RawBsonRef::Array(stages))) = source.get("pipeline") else { return };
    let settings = PipelineSettings { collection: "here".to_owned(), ..PipelineSettings::default() };
    let Ok(pipeline) = Pipeline::parse(stages, &settings) else { return };
    let outside = Arc::new(Everywhere(documents.iter().take(20).cloned().collect()));
    let input = documents.iter().take(20).cloned().map(Ok).collect::<Vec<_>>();
    let given = pipeline.run(Box::new(input.into_iter()), &outside);
    for document in given.take(DOCUMENTS_MAX).map_while(Result::ok) {
        check_document(document.as_bytes()).expect("what a pipeline gives keeps the limits");
    }
});
