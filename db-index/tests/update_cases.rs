//! The published update cases, run on filters and updates over a list of documents.
//!
//! A case counts as passed if results and remaining documents are the expected ones, number types included, and errors have
//! the expected code. Cases that need more than filters and updates are left to the server's runner.
#![allow(clippy::unwrap_used)] // a test that cannot read its cases fails

mod common;

use bson::oid::ObjectId;
use bson::raw::{RawDocumentBuf, cstr};
use bson::{Bson, Document, RawBson};
use common::{Case, Comparison, Outcome, Tally, cases, document, documents, value};
use db_index::{
    ErrorCode, Filter, QueryError, Update, UpdateContext, UpdateOptions, check_document, check_storable,
    compare, upsert_document,
};
use serde_json::Value;

#[test]
fn published_update_cases_pass() {
    let mut tally = Tally::new(include_str!("known-update.txt"));
    for case in cases().iter().filter(|case| is_update_case(case)) {
        tally.count(case, check(case).err().unwrap_or(Outcome::Passed));
    }
    tally.finish(300);
}

fn is_update_case(case: &Case) -> bool {
    let updates = |op: &Value| matches!(op["name"].as_str(), Some("update" | "replace" | "findAndModify"));
    case.tier() <= 2
        && (updates(&case.json["op"])
            || case.area() == "update"
            || case.json["setup"].as_array().is_some_and(|setup| setup.iter().any(updates)))
}

fn check(case: &Case) -> Result<(), Outcome> {
    let json = &case.json;
    for key in ["indexes", "collections", "collection"] {
        if !json[key].is_null() {
            return Err(Outcome::LeftOut(key.to_owned()));
        }
    }
    let mut collection = Collection { documents: case.documents(), next_id: 1 };
    for step in json["setup"].as_array().into_iter().flatten() {
        match collection.run(step) {
            Err(Stop::Refused(error)) if !step["may_fail"].as_bool().unwrap_or(false) => {
                return Err(Outcome::Failed(format!("setup: {error}")));
            }
            Err(Stop::LeftOut) => return Err(left_out()),
            _ => {}
        }
    }
    let answer = collection.run(&json["op"]);
    let expect = &json["expect"];
    let comparison = case.comparison();
    match answer {
        Err(Stop::LeftOut) => return Err(left_out()),
        Err(Stop::Refused(error)) if expect["error"].as_bool() == Some(true) => {
            let code = expect["code"].as_i64();
            if code.is_some_and(|code| code != i64::from(error.code.0)) {
                return failed(format!("want code {code:?}, got {}: {error}", error.code.0));
            }
        }
        Err(Stop::Refused(error)) => return failed(format!("refused: {}: {error}", error.code.0)),
        Ok(_) if expect["error"].as_bool() == Some(true) => return failed("want an error".to_owned()),
        Ok(answer) => check_answer(&comparison, expect, &answer)?,
    }
    if !expect["after"].is_null()
        && !comparison.documents_match(&expect["after"], &collection.documents, false)
    {
        return failed(format!("after: want {}, got {:?}", expect["after"], decoded(&collection.documents)));
    }
    Ok(())
}

fn left_out() -> Outcome {
    Outcome::LeftOut("more than filters and updates".to_owned())
}

fn failed(reason: String) -> Result<(), Outcome> {
    Err(Outcome::Failed(reason))
}

fn decoded(documents: &[RawDocumentBuf]) -> Vec<Document> {
    documents.iter().map(|document| Document::try_from(document.as_ref()).unwrap()).collect()
}

fn check_answer(comparison: &Comparison, expect: &Value, answer: &Answer) -> Result<(), Outcome> {
    for (key, expected) in expect["result"].as_object().into_iter().flatten() {
        let found = match key.as_str() {
            "matched" => Value::from(answer.matched),
            "modified" => Value::from(answer.modified),
            "inserted" => Value::from(answer.inserted),
            "deleted" => Value::from(answer.deleted),
            "upserted" => Value::from(u64::from(answer.upserted_id.is_some())),
            "upserted_id" => {
                let same = match &answer.upserted_id {
                    None => expected.is_null(),
                    Some(id) => !expected.is_null() && comparison.matches(&value(expected), id, false),
                };
                if !same {
                    return failed(format!("upserted_id: want {expected}, got {:?}", answer.upserted_id));
                }
                continue;
            }
            _ => return Err(left_out()),
        };
        if found != *expected {
            return failed(format!("result.{key}: want {expected}, got {found}"));
        }
    }
    if expect.get("value").is_some() {
        let same = match &answer.value {
            None => expect["value"].is_null(),
            Some(found) => !expect["value"].is_null() && comparison.document_matches(&expect["value"], found),
        };
        if !same {
            let found = answer.value.as_slice();
            return failed(format!("value: want {}, got {:?}", expect["value"], decoded(found)));
        }
    }
    if !expect["docs"].is_null() {
        let ordered = expect["ordered"].as_bool().unwrap_or(false);
        if !comparison.documents_match(&expect["docs"], &answer.documents, ordered) {
            return failed(format!("docs: want {}, got {:?}", expect["docs"], decoded(&answer.documents)));
        }
    }
    for property in expect["props"].as_array().into_iter().flatten() {
        for document in decoded(&answer.documents) {
            let found = property["path"].as_str().unwrap().split('.').try_fold(
                Bson::Document(document),
                |at, part| match at {
                    Bson::Document(document) => document.get(part).cloned(),
                    Bson::Array(elements) => elements.get(part.parse::<usize>().ok()?).cloned(),
                    _ => None,
                },
            );
            let holds = match (property["check"].as_str().unwrap(), &found) {
                ("exists", found) => property["arg"].as_bool() == Some(found.is_some()),
                ("type", Some(found)) => common::is_type(found, property["arg"].as_str().unwrap()),
                ("eq", Some(found)) => comparison.matches(&value(&property["arg"]), found, false),
                ("ne", found) => found
                    .as_ref()
                    .is_none_or(|found| !comparison.matches(&value(&property["arg"]), found, false)),
                ("len", Some(Bson::Array(found))) => property["arg"].as_u64() == Some(found.len() as u64),
                _ => false,
            };
            if !holds {
                return failed(format!("property {property} does not hold for {found:?}"));
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Answer {
    matched: u64,
    modified: u64,
    inserted: u64,
    deleted: u64,
    upserted_id: Option<Bson>,
    value: Option<RawDocumentBuf>,
    documents: Vec<RawDocumentBuf>,
}

enum Stop {
    LeftOut,
    Refused(QueryError),
}

impl From<QueryError> for Stop {
    fn from(error: QueryError) -> Self {
        Self::Refused(error)
    }
}

struct Collection {
    documents: Vec<RawDocumentBuf>,
    next_id: u8,
}

impl Collection {
    fn run(&mut self, op: &Value) -> Result<Answer, Stop> {
        let options = op["options"].as_object().cloned().unwrap_or_default();
        let known = ["upsert", "multi", "arrayFilters", "sort", "new", "remove"];
        if options.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(Stop::LeftOut);
        }
        match op["name"].as_str().unwrap() {
            "find" => self.find(op),
            "insert" => self.insert(op),
            "update" | "replace" => self.update(op, false),
            "findAndModify" => self.update(op, true),
            "delete" => self.delete(op),
            _ => Err(Stop::LeftOut),
        }
    }

    /// The places of the matching documents in the order asked for.
    fn matching(&self, op: &Value, filter: &Filter) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.documents.len())
            .filter(|place| filter.matches(&self.documents[*place]).unwrap_or(false))
            .collect();
        let keys: Vec<(String, bool)> = op["options"]["sort"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, direction)| (key.clone(), value(direction) != Bson::Int32(1)))
            .collect();
        places.sort_by(|a, b| {
            keys.iter()
                .map(|(key, descending)| {
                    let at = |place: usize| {
                        self.documents[place].get(key).unwrap().unwrap_or(bson::RawBsonRef::Null)
                    };
                    let ordering = compare(at(*a), at(*b));
                    if *descending { ordering.reverse() } else { ordering }
                })
                .find(|ordering| ordering.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        places
    }

    fn find(&self, op: &Value) -> Result<Answer, Stop> {
        let filter = Filter::parse(&document(&op["filter"]))?;
        let documents =
            self.matching(op, &filter).into_iter().map(|place| self.documents[place].clone()).collect();
        Ok(Answer { documents, ..Answer::default() })
    }

    fn insert(&mut self, op: &Value) -> Result<Answer, Stop> {
        let mut inserted = 0;
        for document in documents(&op["docs"]) {
            check_storable(&document)?;
            let document = self.with_id(document);
            self.documents.push(document);
            inserted += 1;
        }
        Ok(Answer { inserted, ..Answer::default() })
    }

    fn delete(&mut self, op: &Value) -> Result<Answer, Stop> {
        let filter = Filter::parse(&document(&op["filter"]))?;
        let mut places = self.matching(op, &filter);
        places.truncate(if op["options"]["multi"].as_bool() == Some(true) { usize::MAX } else { 1 });
        places.sort_unstable();
        for place in places.iter().rev() {
            self.documents.remove(*place);
        }
        Ok(Answer { deleted: places.len() as u64, ..Answer::default() })
    }

    fn update(&mut self, op: &Value, modify: bool) -> Result<Answer, Stop> {
        let options = &op["options"];
        let flag = |name: &str| options[name].as_bool().unwrap_or(false);
        let filter = Filter::parse(&document(&op["filter"]))?;
        if modify && flag("remove") {
            if flag("new") || flag("upsert") || !op["update"].is_null() {
                let message = "remove goes with neither update, new nor upsert";
                return Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, message).into());
            }
            let Some(place) = self.matching(op, &filter).first().copied() else {
                return Ok(Answer::default());
            };
            let value = Some(self.documents.remove(place));
            return Ok(Answer { value, ..Answer::default() });
        }
        let update = RawBson::try_from(value(&op["update"])).unwrap();
        let update_options = UpdateOptions {
            array_filters: documents(&options["arrayFilters"]),
            multi: flag("multi"),
            ..UpdateOptions::default()
        };
        let update = Update::parse_value(update.as_raw_bson_ref(), &update_options)?;
        let mut places = self.matching(op, &filter);
        places.truncate(if flag("multi") { usize::MAX } else { 1 });
        let now = UpdateContext { now_ms: 1_700_000_000_000, positional: None, is_insert: false };
        let mut answer = Answer { matched: places.len() as u64, ..Answer::default() };
        if places.is_empty() && flag("upsert") {
            let made = upsert_document(&filter, &update, &now)?;
            let made = self.with_id(made);
            answer.upserted_id = Some(Bson::try_from(made.get("_id").unwrap().unwrap()).unwrap());
            answer.value = flag("new").then(|| made.clone());
            self.documents.push(made);
        }
        for place in places {
            let before = self.documents[place].clone();
            let context = UpdateContext { positional: filter.matched_array_index(&before), ..now };
            let updated = update.apply(&before, &context)?;
            check_document(updated.document.as_bytes())?;
            answer.modified += u64::from(updated.changed);
            self.documents[place] = updated.document.clone();
            answer.value = Some(if flag("new") { updated.document } else { before });
        }
        if !modify {
            answer.value = None;
        }
        Ok(answer)
    }

    fn with_id(&mut self, document: RawDocumentBuf) -> RawDocumentBuf {
        if document.get("_id").unwrap().is_some() {
            return document;
        }
        let mut with_id = RawDocumentBuf::new();
        with_id.append(cstr!("_id"), ObjectId::from_bytes([self.next_id; 12]));
        self.next_id += 1;
        for element in &document {
            let (key, value) = element.unwrap();
            with_id.append(key, value);
        }
        with_id
    }
}
