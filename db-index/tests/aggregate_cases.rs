//! The published cases whose operation is an aggregation, run on collections in memory.
//!
//! A case counts as passed if the documents that come out, or the collections that `$out` and `$merge` leave, are the
//! expected ones, number types included, and errors have the expected code. Failures known are in `known-aggregate.txt`,
//! one `id reason` a line.
#![allow(clippy::unwrap_used)] // a test that cannot read its cases fails

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::raw::{RawArrayBuf, RawDocumentBuf};
use bson::{RawBson, RawDocument, rawdoc};
use common::{Case, Outcome, Tally, cases, document, value};
use db_index::{
    Chance, CollectionStatistics, ErrorCode, Filter, MergeTarget, MergeUnmatched, Outside, Pipeline,
    PipelineFind, PipelineSettings, QueryContext, QueryError, Rows, SORT_BYTES_MAX, Sorter, Target,
    UpdateContext, check_document,
};
use serde_json::Value;

const NOW_MS: i64 = 1_700_000_000_000;

#[test]
fn published_aggregate_cases_pass() {
    let mut tally = Tally::new(include_str!("known-aggregate.txt"));
    for case in cases().iter().filter(|case| case.tier() <= 2 && case.json["op"]["name"] == "aggregate") {
        tally.count(case, check(case));
    }
    tally.finish(1000);
}

fn check(case: &Case) -> Outcome {
    let mut database = match Database::of(case) {
        Ok(database) => database,
        Err(outcome) => return outcome,
    };
    let expect = &case.json["expect"];
    let want_error = expect["error"].as_bool() == Some(true);
    match database.aggregate(&case.json["op"]) {
        Err(Stop::LeftOut(why)) => Outcome::LeftOut(why),
        Err(Stop::Refused(error)) if error.code == ErrorCode::NOT_IMPLEMENTED => {
            Outcome::LeftOut(error.message)
        }
        Err(Stop::Refused(error)) if want_error => match expect["code"].as_i64() {
            Some(code) if code != i64::from(error.code.0) => {
                Outcome::failed(case, &format!("want code {code}, got {}: {error}", error.code.0))
            }
            _ => Outcome::Passed,
        },
        Err(Stop::Refused(error)) => Outcome::failed(case, &format!("refused: {}: {error}", error.code.0)),
        Ok(documents) if want_error => {
            Outcome::failed(case, &format!("want an error, got {}", shown(&documents)))
        }
        Ok(documents) => database.compare(case, &documents),
    }
}

fn shown(documents: &[RawDocumentBuf]) -> String {
    let shown = |document: &RawDocumentBuf| bson::Document::try_from(document.as_ref()).unwrap().to_string();
    documents.iter().map(shown).collect::<Vec<_>>().join(", ")
}

enum Stop {
    LeftOut(String),
    Refused(QueryError),
}

impl From<QueryError> for Stop {
    fn from(error: QueryError) -> Self {
        Self::Refused(error)
    }
}

/// The collections of a case.
struct Database {
    collections: Arc<Collections>,
    name: String,
    next_id: i32,
}

impl Database {
    fn of(case: &Case) -> Result<Self, Outcome> {
        if !case.json["setup"].is_null() {
            return Err(Outcome::LeftOut("setup".to_owned()));
        }
        let name = case.json["collection"].as_str().unwrap_or("coll").to_owned();
        let mut collections = BTreeMap::new();
        for (name, documents) in case.json["collections"].as_object().into_iter().flatten() {
            collections.insert(name.clone(), common::documents(documents));
        }
        collections.insert(name.clone(), case.documents());
        Ok(Self { collections: Arc::new(Collections(collections)), name, next_id: 1 })
    }

    fn aggregate(&mut self, op: &Value) -> Result<Vec<RawDocumentBuf>, Stop> {
        let mut context = QueryContext { chance: Chance::new(42), ..QueryContext::at(NOW_MS) };
        for (option, operand) in op["options"].as_object().into_iter().flatten() {
            match option.as_str() {
                "let" => context = context.with_variables(&document(operand))?,
                "collation" => context = context.with_collation(&document(operand))?,
                other => return Err(Stop::LeftOut(format!("option {other}"))),
            }
        }
        let mut stages = RawArrayBuf::new();
        for stage in op["pipeline"].as_array().ok_or_else(|| Stop::LeftOut("no array".to_owned()))? {
            stages.push(RawBson::try_from(value(stage)).unwrap());
        }
        check_document(rawdoc! {"pipeline": stages.clone()}.as_bytes())?;
        let collection_less = op["pipeline"][0].get("$documents").is_some();
        let collection = if collection_less { String::new() } else { self.name.clone() };
        let pipeline = Pipeline::parse(&stages, &PipelineSettings { collection, context })?;
        let leading = pipeline.leading();
        let input = self.collections.find(PipelineFind {
            collection: self.name.clone(),
            filter: leading.filter.clone(),
            sort: leading.sort.clone(),
            skip: leading.skip,
            limit: leading.limit,
            fields: leading.fields.clone(),
        })?;
        let documents = pipeline.run(input, &self.collections).collect::<Result<Vec<_>, _>>()?;
        match pipeline.target() {
            None => Ok(documents),
            Some(target) => {
                self.write(target, documents)?;
                Ok(Vec::new())
            }
        }
    }

    fn write(&mut self, target: &Target, documents: Vec<RawDocumentBuf>) -> Result<(), QueryError> {
        let collections = Arc::get_mut(&mut self.collections).unwrap();
        match target {
            Target::Out(out) => {
                collections.0.insert(out.collection.clone(), documents);
            }
            Target::Merge(target) => {
                if target.on != ["_id"] {
                    return Err(QueryError::new(
                        ErrorCode(51183),
                        "Cannot find index to verify that join fields will be unique",
                    ));
                }
                let there = collections.0.entry(target.collection.clone()).or_default();
                for document in documents {
                    merge(target, there, &document, &mut self.next_id)?;
                }
            }
        }
        Ok(())
    }

    fn compare(&self, case: &Case, documents: &[RawDocumentBuf]) -> Outcome {
        let expect = &case.json["expect"];
        let comparison = case.comparison();
        let ordered = expect["ordered"].as_bool().unwrap_or(false);
        if expect["docs"].is_array() && !comparison.documents_match(&expect["docs"], documents, ordered) {
            return Outcome::failed(case, &format!("got {}", shown(documents)));
        }
        for (name, expected) in expect["collections_after"].as_object().into_iter().flatten() {
            let found = self.collections.0.get(name).cloned().unwrap_or_default();
            if !comparison.documents_match(expected, &found, false) {
                return Outcome::failed(case, &format!("{name} has {}", shown(&found)));
            }
        }
        Outcome::Passed
    }
}

fn merge(
    target: &MergeTarget,
    there: &mut Vec<RawDocumentBuf>,
    document: &RawDocument,
    next_id: &mut i32,
) -> Result<(), QueryError> {
    let found = match target.filter_for(document)? {
        None => None,
        Some(filter) => {
            let filter = Filter::parse(&filter)?;
            there.iter().position(|known| filter.matches(known).unwrap())
        }
    };
    let Some(place) = found else {
        return match target.when_not_matched {
            MergeUnmatched::Discard => Ok(()),
            MergeUnmatched::Fail => {
                Err(QueryError::new(ErrorCode(13113), "$merge could not find a document"))
            }
            MergeUnmatched::Insert => {
                there.push(with_id(document, next_id));
                Ok(())
            }
        };
    };
    if let Some(update) = target.update_for(document)? {
        there[place] = update.apply(&there[place], &UpdateContext::default())?.document;
    }
    Ok(())
}

fn with_id(document: &RawDocument, next_id: &mut i32) -> RawDocumentBuf {
    if document.get("_id").unwrap().is_some() {
        return document.to_owned();
    }
    *next_id += 1;
    let mut made = rawdoc! {"_id": *next_id};
    for element in document {
        let (name, value) = element.unwrap();
        made.append(name, value);
    }
    made
}

/// Collections in memory: what is around a pipeline.
struct Collections(BTreeMap<String, Vec<RawDocumentBuf>>);

impl Outside for Collections {
    type Error = QueryError;

    fn find(&self, find: PipelineFind) -> Result<Rows<QueryError>, QueryError> {
        let mut found = Vec::new();
        for document in self.0.get(&find.collection).into_iter().flatten() {
            if find.filter.matches(document)? {
                found.push(document.clone());
            }
        }
        if !find.sort.is_empty() {
            let mut sorter = Sorter::new(find.sort, None, SORT_BYTES_MAX);
            for document in found {
                sorter.push(&document, || document.clone())?;
            }
            found = sorter.into_sorted().collect();
        }
        let limit = find.limit.map_or(usize::MAX, |limit| limit as usize);
        Ok(Box::new(found.into_iter().skip(find.skip as usize).take(limit).map(Ok)))
    }

    fn serves_equality(&self, _: &str, _: &str) -> Result<bool, QueryError> {
        Ok(false)
    }

    fn location_field(&self, _: &str) -> Result<Option<String>, QueryError> {
        Ok(None)
    }

    fn collection_statistics(
        &self,
        collection: &str,
        _: CollectionStatistics,
    ) -> Result<RawDocumentBuf, QueryError> {
        Ok(
            rawdoc! {"ns": format!("test.{collection}"), "count": self.0.get(collection).map_or(0, Vec::len) as i64},
        )
    }

    fn index_statistics(&self, _: &str) -> Result<Vec<RawDocumentBuf>, QueryError> {
        Ok(vec![rawdoc! {"name": "_id_", "key": {"_id": 1}}])
    }
}
