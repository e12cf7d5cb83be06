//! The published aggregation cases whose stages only compute: `$project`, `$addFields`, `$set`, `$replaceRoot`,
//! `$replaceWith` and `$match`.
#![allow(clippy::unwrap_used)] // a test that cannot read its cases fails

mod common;

use bson::raw::{RawDocumentBuf, cstr};
use bson::{Bson, RawBson, RawBsonRef};
use common::{Case, cases, value};
use db_index::{ErrorCode, Expression, Filter, QueryError, Update, UpdateContext, UpdateOptions};
use serde_json::Value;

/// Cases that fail, each with its reason.
const KNOWN_FAILURES: &[(&str, &str)] = &[];

/// Errors with another code than MongoDB's, each with its reason.
const KNOWN_CODES: &[(&str, &str)] =
    &[("mjs-5774ad8fe3", "$rand is left out: an expression depends on nothing but its input")];

#[test]
fn published_expression_cases_pass() {
    let mut failures = Vec::new();
    let (mut run, mut left_out, mut codes) = (0, 0, Vec::new());
    for case in cases().iter().filter(|case| case.tier() <= 2 && case.json["op"]["name"] == "aggregate") {
        match check(case, &mut codes) {
            Ok(()) => run += 1,
            Err(Outcome::LeftOut) => left_out += 1,
            Err(Outcome::Failed(reason)) => {
                run += 1;
                failures.push((case.id().to_owned(), reason));
            }
        }
    }
    println!("{run} cases run, {left_out} left to the server's runner, {} failed", failures.len());
    let unexpected_codes: Vec<_> =
        codes.iter().filter(|(id, _)| !KNOWN_CODES.iter().any(|(known, _)| known == id)).collect();
    assert!(unexpected_codes.is_empty(), "other error codes: {unexpected_codes:#?}");
    let unexpected: Vec<_> =
        failures.iter().filter(|(id, _)| !KNOWN_FAILURES.iter().any(|(known, _)| known == id)).collect();
    let mended: Vec<_> =
        KNOWN_FAILURES.iter().filter(|(known, _)| !failures.iter().any(|(id, _)| id == known)).collect();
    assert!(unexpected.is_empty(), "unexpected failures: {unexpected:#?}");
    assert!(mended.is_empty(), "listed as failing but passing: {mended:?}");
    assert!(run >= 700, "only {run} cases were run");
}

enum Outcome {
    LeftOut,
    Failed(String),
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

fn check(case: &Case, codes: &mut Vec<(String, String)>) -> Result<(), Outcome> {
    let json = &case.json;
    for key in ["indexes", "collections", "collection", "setup"] {
        if !json[key].is_null() {
            return Err(Outcome::LeftOut);
        }
    }
    let known = json["op"]["options"].as_object().is_none_or(serde_json::Map::is_empty);
    let Some(pipeline) = json["op"]["pipeline"].as_array().filter(|_| known) else {
        return Err(Outcome::LeftOut);
    };
    let expect = &json["expect"];
    let want_error = expect["error"].as_bool() == Some(true);
    match aggregate(case.documents(), pipeline) {
        Err(Stop::LeftOut) => Err(Outcome::LeftOut),
        Err(Stop::Refused(error)) if want_error => {
            let code = expect["code"].as_i64();
            if code.is_some_and(|code| code != i64::from(error.code.0)) {
                let found =
                    format!("{}: want {code:?}, got {}: {error}", json["op"]["pipeline"], error.code.0);
                codes.push((case.id().to_owned(), found));
            }
            Ok(())
        }
        Err(Stop::Refused(error)) => {
            Err(Outcome::Failed(format!("{}: refused: {}: {error}", json["op"]["pipeline"], error.code.0)))
        }
        Ok(documents) if want_error => Err(Outcome::Failed(format!(
            "{}: want an error {}, got {documents:?}",
            json["op"]["pipeline"], expect["code"]
        ))),
        Ok(documents) => {
            let ordered = expect["ordered"].as_bool().unwrap_or(false);
            if expect["docs"].is_array()
                && !case.comparison().documents_match(&expect["docs"], &documents, ordered)
            {
                let decoded: Vec<Bson> = documents
                    .iter()
                    .map(|document| Bson::Document(bson::Document::try_from(document.as_ref()).unwrap()))
                    .collect();
                return Err(Outcome::Failed(format!(
                    "{} on {}: want {}, got {decoded:?}",
                    json["op"]["pipeline"], json["docs"], expect["docs"]
                )));
            }
            Ok(())
        }
    }
}

const NOW_MS: i64 = 1_700_000_000_000;

fn aggregate(mut documents: Vec<RawDocumentBuf>, pipeline: &[Value]) -> Result<Vec<RawDocumentBuf>, Stop> {
    for stage in pipeline {
        let Some((name, operand)) = stage.as_object().and_then(|stage| stage.iter().next()) else {
            return Err(Stop::LeftOut);
        };
        let operand = RawBson::try_from(value(operand)).unwrap();
        let stage = Stage::parse(name, &operand)?;
        documents = documents
            .into_iter()
            .map(|document| stage.apply(document))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
    }
    Ok(documents)
}

enum Stage {
    Match(Option<Filter>, Option<Expression>),
    /// The fields to compute, the fields to take, whether to keep all others.
    Fields {
        computed: Vec<(String, Expression)>,
        taken: Vec<String>,
        all: bool,
        id: bool,
    },
    Root(Expression),
}

impl Stage {
    fn parse(name: &str, operand: &RawBson) -> Result<Self, Stop> {
        let operand = operand.as_raw_bson_ref();
        let RawBsonRef::Document(document) = operand else {
            return match name {
                "$replaceWith" => Ok(Self::Root(Expression::parse(operand, &[])?)),
                _ => Err(Stop::LeftOut),
            };
        };
        match name {
            "$match" => {
                let mut fields = document.iter().map(Result::unwrap);
                match (fields.next(), fields.next()) {
                    (Some((key, condition)), None) if key.as_str() == "$expr" => {
                        Ok(Self::Match(None, Some(Expression::parse(condition, &[])?)))
                    }
                    _ => Ok(Self::Match(Some(Filter::parse(document)?), None)),
                }
            }
            "$replaceWith" => Ok(Self::Root(Expression::parse(operand, &[])?)),
            "$replaceRoot" => match document.get("newRoot").unwrap() {
                Some(root) => Ok(Self::Root(Expression::parse(root, &[])?)),
                None => Err(Stop::Refused(QueryError::new(ErrorCode(40231), "no newRoot specified"))),
            },
            "$addFields" | "$set" | "$project" => {
                let (mut computed, mut taken, mut id) = (Vec::new(), Vec::new(), true);
                for field in document {
                    let (key, value) = field.unwrap();
                    let key = key.as_str().to_owned();
                    let flag = match value {
                        RawBsonRef::Boolean(flag) => Some(flag),
                        RawBsonRef::Int32(number) => Some(number != 0),
                        RawBsonRef::Int64(number) => Some(number != 0),
                        RawBsonRef::Double(number) => Some(number != 0.0),
                        RawBsonRef::Decimal128(_) => return Err(Stop::LeftOut),
                        _ => None,
                    };
                    if key.contains('.') || key.starts_with('$') || key.is_empty() {
                        return Err(Stop::LeftOut);
                    }
                    match flag.filter(|_| name == "$project") {
                        Some(false) if key == "_id" => id = false,
                        Some(false) => return Err(Stop::LeftOut),
                        Some(true) => taken.push(key),
                        None => {
                            let nested = matches!(value, RawBsonRef::Document(inner)
                                if !inner.iter().next().is_some_and(|first| first.unwrap().0.as_str().starts_with('$')));
                            if nested {
                                return Err(Stop::LeftOut);
                            }
                            if key == "_id" {
                                id = false;
                            }
                            computed.push((key, Expression::parse(value, &[])?));
                        }
                    }
                }
                if name == "$project" && computed.is_empty() {
                    return Err(Stop::LeftOut);
                }
                Ok(Self::Fields { computed, taken, all: name != "$project", id })
            }
            _ => Err(Stop::LeftOut),
        }
    }

    fn apply(&self, document: RawDocumentBuf) -> Result<Option<RawDocumentBuf>, Stop> {
        match self {
            Self::Match(filter, expression) => {
                let keep = filter.as_ref().is_none_or(|filter| filter.matches(&document))
                    && match expression {
                        Some(expression) => expression.evaluate(&document, &[], NOW_MS)?.is_true(),
                        None => true,
                    };
                Ok(keep.then_some(document))
            }
            Self::Root(expression) => match expression.evaluate(&document, &[], NOW_MS)?.to_document()? {
                Some(root) => Ok(Some(root)),
                None => {
                    Err(Stop::Refused(QueryError::new(ErrorCode(40228), "the new root must be a document")))
                }
            },
            Self::Fields { computed, taken, all, id } => {
                let mut values = Vec::new();
                for (key, expression) in computed {
                    // A document of one field makes any value readable as raw BSON.
                    let value = expression.evaluate(&document, &[], NOW_MS)?;
                    values.push((key, value.to_raw_bson()?));
                }
                let mut result = RawDocumentBuf::new();
                for field in &document {
                    let (key, value) = field.unwrap();
                    let name = key.as_str();
                    if *all || taken.iter().any(|taken| taken == name) || name == "_id" && *id {
                        result.append(key, value);
                    }
                }
                if *all {
                    return Ok(Some(set_fields(&result, values)?));
                }
                for (key, value) in values {
                    if let Some(value) = value {
                        result.append(<&bson::raw::CStr>::try_from(key.as_str()).unwrap(), value);
                    }
                }
                Ok(Some(result))
            }
        }
    }
}

/// The document with fields set or removed.
fn set_fields(
    document: &RawDocumentBuf,
    values: Vec<(&String, Option<RawBson>)>,
) -> Result<RawDocumentBuf, QueryError> {
    let (mut set, mut unset) = (RawDocumentBuf::new(), RawDocumentBuf::new());
    for (key, value) in values {
        let key = <&bson::raw::CStr>::try_from(key.as_str()).unwrap();
        match value {
            Some(value) => set.append(key, value),
            None => unset.append(key, true),
        }
    }
    let mut update = RawDocumentBuf::new();
    update.append(cstr!("$set"), set);
    update.append(cstr!("$unset"), unset);
    let context = UpdateContext { is_insert: true, ..UpdateContext::default() };
    Ok(Update::parse(&update, &UpdateOptions::default())?.apply(document, &context)?.document)
}
