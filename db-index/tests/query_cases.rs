//! Runs the published query cases that need no database: filters, sorts, projections and distinct over documents in memory.
//!
//! The cases lie beside the repository. Failures known are in `known.txt`, one `id reason` a line; any other failure, and any
//! known one that passes, fails the test.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test as a whole

mod common;

use bson::{Bson, Document, RawDocumentBuf};
use common::{Outcome, Tally, cases};
use db_index::{
    Distinct, ErrorCode, Filter, Projection, QueryContext, QueryError, SORT_BYTES_MAX, Sort, Sorter,
};
use serde_json::Value;

/// What a case's operation gave.
enum Answer {
    Documents(Vec<Document>),
    Document(Option<Document>),
    Count(usize),
    Values(Vec<Bson>),
}

#[test]
fn published_cases_pass() {
    let mut tally = Tally::new(include_str!("known.txt"));
    for case in cases() {
        let subject = if case.area() == "error" { case.text("topic") } else { case.area() };
        if ["query", "projection", "sort", "collation"].contains(&subject) {
            tally.count(&case, run_case(&case.json));
        }
    }
    tally.finish(900);
}

fn run_case(case: &Value) -> Outcome {
    let expect = &case["expect"];
    match (run(case), expect.get("error").is_some()) {
        (Err(Stop::Unsupported(why)), _) => Outcome::LeftOut(why),
        (Err(Stop::Error(error)), true) => match expect["code"].as_i64() {
            Some(code) if code != i64::from(error.code.0) => {
                Outcome::Failed(format!("error code {} instead of {code}: {error}", error.code.0))
            }
            _ => Outcome::Passed,
        },
        (Err(Stop::Error(error)), false) => Outcome::Failed(format!("error {}: {error}", error.code.0)),
        (Ok(_), true) => Outcome::Failed(format!("no error, expected {expect}")),
        (Ok(answer), false) => match check(case, expect, &answer) {
            Ok(()) => Outcome::Passed,
            Err(why) => Outcome::Failed(why),
        },
    }
}

/// Why a case has no answer.
#[derive(Debug)]
enum Stop {
    Unsupported(String),
    Error(QueryError),
}

impl From<QueryError> for Stop {
    fn from(error: QueryError) -> Self {
        if error.code == ErrorCode::NOT_IMPLEMENTED {
            return Self::Unsupported(error.message);
        }
        Self::Error(error)
    }
}

fn run(case: &Value) -> Result<Answer, Stop> {
    let op = &case["op"];
    let name = text_of(op, "name");
    if case.get("setup").is_some() {
        return Err(Stop::Unsupported("setup".into()));
    }
    let documents: Vec<RawDocumentBuf> = match case["docs"].as_array() {
        Some(documents) => documents.iter().map(raw).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let empty = Value::Object(serde_json::Map::new());
    let options = op.get("options").unwrap_or(&empty);
    for option in options.as_object().unwrap().keys() {
        if !["sort", "skip", "limit", "projection", "batchSize", "let", "collation"]
            .contains(&option.as_str())
        {
            return Err(Stop::Unsupported(format!("option {option}")));
        }
    }
    let context = match options.get("let") {
        Some(variables) => QueryContext::default().with_variables(&raw(variables)?)?,
        None => QueryContext::default(),
    };
    let context = match options.get("collation") {
        Some(collation) => context.with_collation(&raw(collation)?)?,
        None => context,
    };
    if name == "aggregate" {
        return pipeline(documents, op["pipeline"].as_array().unwrap(), &context).map(Answer::Documents);
    }
    if !["find", "findOne", "count", "distinct"].contains(&name) {
        return Err(Stop::Unsupported(format!("operation {name}")));
    }
    let filter = Filter::parse_in(&raw(op.get("filter").unwrap_or(&empty))?, &context)?;
    let mut found = matching(&filter, documents)?;
    if let Some(sort) = options.get("sort") {
        found = sorted(&Sort::parse(&raw(sort)?)?.by(context.collation.as_ref()), found)?;
    }
    let number = |option: &str| match options.get(option) {
        Some(value) => {
            Ok(value.as_i64().or_else(|| bson(value).ok().and_then(|value| integer(&value))).unwrap_or(0))
        }
        None => Ok::<_, Stop>(0),
    };
    let (skip, limit) = (number("skip")?, number("limit")?);
    if skip < 0 || (limit < 0 && name == "find") {
        return Err(QueryError::bad_value("negative").into());
    }
    let limit = if limit == 0 { usize::MAX } else { limit.unsigned_abs() as usize };
    let found = found.into_iter().skip(skip as usize).take(limit);
    if name == "count" {
        return Ok(Answer::Count(found.count()));
    }
    if name == "distinct" {
        let mut distinct = Distinct::new(text_of(op, "key"))?.by(context.collation.as_ref());
        for document in found {
            distinct.add(&document)?;
        }
        let values = distinct.into_values().into_iter().map(|value| Bson::try_from(value).unwrap()).collect();
        return Ok(Answer::Values(values));
    }
    let projection = match options.get("projection") {
        Some(projection) => Some(Projection::parse_in(&raw(projection)?, Some(&filter), &context)?),
        None => None,
    };
    let mut shown = Vec::new();
    for document in found {
        let document = match &projection {
            Some(projection) => projection.apply(&document)?,
            None => document,
        };
        shown.push(Document::try_from(document).unwrap());
    }
    Ok(if name == "find" { Answer::Documents(shown) } else { Answer::Document(shown.into_iter().next()) })
}

/// The few stages that this crate's parts make up.
fn pipeline(
    mut documents: Vec<RawDocumentBuf>,
    stages: &[Value],
    context: &QueryContext,
) -> Result<Vec<Document>, Stop> {
    for stage in stages {
        let (name, operand) = stage.as_object().unwrap().iter().next().unwrap();
        match (name.as_str(), operand.as_u64().or_else(|| operand["$numberInt"].as_str()?.parse().ok())) {
            ("$match", _) => {
                let filter = Filter::parse_in(&raw(operand)?, context)?;
                documents = matching(&filter, documents)?;
            }
            ("$sort", _) => {
                let sort = Sort::parse_stage(&raw(operand)?)?.by(context.collation.as_ref());
                documents = sorted(&sort, documents)?;
            }
            ("$limit", Some(limit)) => documents.truncate(limit as usize),
            ("$skip", Some(skip)) => documents = documents.into_iter().skip(skip as usize).collect(),
            _ => return Err(Stop::Unsupported(format!("stage {name}"))),
        }
    }
    Ok(documents.into_iter().map(|document| Document::try_from(document).unwrap()).collect())
}

fn matching(filter: &Filter, documents: Vec<RawDocumentBuf>) -> Result<Vec<RawDocumentBuf>, Stop> {
    let mut found = Vec::new();
    for document in documents {
        if filter.matches(&document)? {
            found.push(document);
        }
    }
    Ok(found)
}

fn sorted(sort: &Sort, documents: Vec<RawDocumentBuf>) -> Result<Vec<RawDocumentBuf>, Stop> {
    if let Some(direction) = sort.natural() {
        let backwards = direction == db_index::Direction::Descending;
        return Ok(if backwards { documents.into_iter().rev().collect() } else { documents });
    }
    let mut sorter = Sorter::new(sort.clone(), None, SORT_BYTES_MAX);
    for document in &documents {
        sorter.push(document, || document.clone())?;
    }
    Ok(sorter.into_sorted().collect())
}

fn check(case: &Value, expect: &Value, answer: &Answer) -> Result<(), String> {
    let judge = Judge::new(case, expect);
    let list = |name: &str| -> Vec<Bson> {
        expect[name].as_array().unwrap().iter().map(|value| bson(value).unwrap()).collect()
    };
    let documents: Vec<Bson> = match answer {
        Answer::Documents(documents) => documents.iter().cloned().map(Bson::Document).collect(),
        Answer::Document(document) => document.iter().cloned().map(Bson::Document).collect(),
        Answer::Values(values) => values.clone(),
        Answer::Count(_) => Vec::new(),
    };
    let fail = || format!("expected {expect}, got {documents:?}");
    if expect.get("docs").is_some() {
        let ordered = expect["ordered"].as_bool().unwrap_or(false);
        return judge.lists(&list("docs"), &documents, ordered).then_some(()).ok_or_else(fail);
    }
    if expect.get("values").is_some() {
        return judge.lists(&list("values"), &documents, false).then_some(()).ok_or_else(fail);
    }
    if let Some(document) = expect.get("doc") {
        let same = match (document.is_null(), documents.first()) {
            (true, found) => found.is_none(),
            (false, Some(found)) => judge.same(&bson(document).unwrap(), found, true),
            (false, None) => false,
        };
        return same.then_some(()).ok_or_else(fail);
    }
    if let Some(count) = expect.get("count") {
        let Answer::Count(found) = answer else { return Err("no count".into()) };
        let count = integer(&bson(count).unwrap()).unwrap();
        return (count == *found as i64)
            .then_some(())
            .ok_or_else(|| format!("expected {count}, got {found}"));
    }
    if let Some(count) = expect.get("n_docs") {
        let count = integer(&bson(count).unwrap()).unwrap();
        if count != documents.len() as i64 {
            return Err(fail());
        }
    }
    for property in expect["props"].as_array().into_iter().flatten() {
        judge.property(property, &documents)?;
    }
    Ok(())
}

/// Compares answers as the cases' own runner does.
struct Judge {
    strict: bool,
    key_order: bool,
    extra_ok: bool,
    bags: Vec<String>,
    tolerance: f64,
}

impl Judge {
    fn new(case: &Value, expect: &Value) -> Self {
        let flag = |name: &str| [case, expect].iter().any(|value| value[name].as_bool().unwrap_or(false));
        let bags = [case, expect]
            .into_iter()
            .flat_map(|value| value["ignore_order_in"].as_array().cloned().unwrap_or_default());
        Self {
            strict: text_of(case, "num") == "strict",
            key_order: flag("key_order"),
            extra_ok: flag("extra_ok"),
            bags: bags.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            tolerance: if flag("approx") { 1e-6 } else { 1e-12 },
        }
    }

    fn lists(&self, expected: &[Bson], found: &[Bson], ordered: bool) -> bool {
        if ordered {
            return expected.len() == found.len()
                && expected.iter().zip(found).all(|(a, b)| self.same(a, b, true));
        }
        let mut left: Vec<&Bson> = found.iter().collect();
        expected.iter().all(|wanted| {
            match left.iter().position(|candidate| self.same(wanted, candidate, true)) {
                Some(place) => {
                    left.swap_remove(place);
                    true
                }
                None => false,
            }
        }) && left.is_empty()
    }

    fn same(&self, expected: &Bson, found: &Bson, root: bool) -> bool {
        match (expected, found) {
            (Bson::Document(wanted), _) if wanted.contains_key("$$type") => {
                let names: Vec<&str> = match wanted.get("$$type") {
                    Some(Bson::Array(names)) => names.iter().filter_map(Bson::as_str).collect(),
                    Some(name) => name.as_str().into_iter().collect(),
                    None => Vec::new(),
                };
                names
                    .iter()
                    .any(|name| *name == type_name(found) || (*name == "number" && number(found).is_some()))
            }
            (Bson::Document(wanted), _) if wanted.contains_key("$$exists") => true,
            (Bson::Document(wanted), Bson::Document(found)) => {
                if self.key_order && !wanted.keys().eq(found.keys()) {
                    return false;
                }
                let every = wanted.iter().all(|(name, value)| match (value, found.get(name)) {
                    (Bson::Array(a), Some(Bson::Array(b))) if self.bags.contains(name) => {
                        self.lists(a, b, false)
                    }
                    (value, Some(found)) => self.same(value, found, false),
                    (_, None) => false,
                });
                every && ((root && self.extra_ok) || found.keys().all(|name| wanted.contains_key(name)))
            }
            (Bson::Array(a), Bson::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.same(a, b, false))
            }
            (Bson::RegularExpression(a), Bson::RegularExpression(b)) => a.pattern == b.pattern,
            _ => match (number(expected), number(found)) {
                (Some(_), Some(_)) if self.strict && type_name(expected) != type_name(found) => false,
                (Some(a), Some(b)) if self.strict => {
                    a.to_bits() == b.to_bits() && expected.to_string() == found.to_string()
                        || a.is_nan() && b.is_nan()
                }
                (Some(a), Some(b)) => {
                    a == b
                        || (a.is_nan() && b.is_nan())
                        || (a - b).abs() <= self.tolerance * a.abs().max(b.abs())
                }
                _ => expected == found,
            },
        }
    }

    fn property(&self, property: &Value, documents: &[Bson]) -> Result<(), String> {
        let chosen: Vec<&Bson> = match property.get("doc").and_then(Value::as_u64) {
            Some(place) => documents.get(place as usize).into_iter().collect(),
            None => documents.iter().collect(),
        };
        for document in chosen {
            let mut found = Some(document);
            for part in text_of(property, "path").split('.').filter(|part| !part.is_empty()) {
                found = match found {
                    Some(Bson::Document(document)) => document.get(part),
                    Some(Bson::Array(array)) => part.parse::<usize>().ok().and_then(|place| array.get(place)),
                    _ => None,
                };
            }
            let argument = &property["arg"];
            let holds = match text_of(property, "check") {
                "exists" => found.is_some() == argument.as_bool().unwrap(),
                "type" => {
                    let name = found.map_or("missing", type_name);
                    argument.as_str() == Some(name)
                        || argument
                            .as_array()
                            .is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
                }
                "eq" => found.is_some_and(|found| self.same(&bson(argument).unwrap(), found, false)),
                "ne" => found.is_none_or(|found| !self.same(&bson(argument).unwrap(), found, false)),
                "len" => {
                    matches!(found, Some(Bson::Array(array)) if Some(array.len() as u64) == argument.as_u64())
                }
                "keys" => matches!(found, Some(Bson::Document(inner)) if inner.keys().map(String::as_str)
                    .eq(argument.as_array().unwrap().iter().filter_map(Value::as_str))),
                other => return Err(format!("unknown check {other}")),
            };
            if !holds {
                return Err(format!("property {property} fails on {document}"));
            }
        }
        Ok(())
    }
}

fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(value) => Some(f64::from(*value)),
        Bson::Int64(value) => Some(*value as f64),
        Bson::Double(value) => Some(*value),
        Bson::Decimal128(value) => value.to_string().parse().ok(),
        _ => None,
    }
}

fn integer(value: &Bson) -> Option<i64> {
    number(value).map(|value| value as i64)
}

fn type_name(value: &Bson) -> &'static str {
    match value {
        Bson::Double(_) => "double",
        Bson::String(_) => "string",
        Bson::Document(_) => "object",
        Bson::Array(_) => "array",
        Bson::Binary(_) => "binData",
        Bson::ObjectId(_) => "objectId",
        Bson::Boolean(_) => "bool",
        Bson::DateTime(_) => "date",
        Bson::Null => "null",
        Bson::RegularExpression(_) => "regex",
        Bson::Int32(_) => "int",
        Bson::Int64(_) => "long",
        Bson::Timestamp(_) => "timestamp",
        Bson::Decimal128(_) => "decimal",
        Bson::MinKey => "minKey",
        Bson::MaxKey => "maxKey",
        _ => "other",
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

fn bson(value: &Value) -> Result<Bson, Stop> {
    Bson::try_from(value.clone()).map_err(|error| Stop::Unsupported(format!("extended JSON: {error}")))
}

fn raw(value: &Value) -> Result<RawDocumentBuf, Stop> {
    let document = match bson(value)? {
        Bson::Document(document) => document,
        other => return Err(Stop::Unsupported(format!("not a document: {other}"))),
    };
    RawDocumentBuf::try_from(&document).map_err(|error| Stop::Unsupported(format!("encoding: {error}")))
}
