//! The published aggregation cases whose stages only compute: `$project`, `$addFields`, `$set`, `$replaceRoot`,
//! `$replaceWith` and `$match`.
#![allow(clippy::unwrap_used)] // a test that cannot read its cases fails

mod common;

use bson::raw::RawDocumentBuf;
use bson::{Bson, RawBson, RawBsonRef};
use common::{Case, cases, value};
use db_index::{Expression, Filter, QueryError, Reshape};
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
    Reshape(Reshape),
}

impl Stage {
    fn parse(name: &str, operand: &RawBson) -> Result<Self, Stop> {
        let operand = operand.as_raw_bson_ref();
        match (name, operand) {
            ("$match", RawBsonRef::Document(document)) => {
                let mut fields = document.iter().map(Result::unwrap);
                match (fields.next(), fields.next()) {
                    (Some((key, condition)), None) if key.as_str() == "$expr" => {
                        Ok(Self::Match(None, Some(Expression::parse(condition, &[])?)))
                    }
                    _ => Ok(Self::Match(Some(Filter::parse(document)?), None)),
                }
            }
            ("$addFields" | "$set" | "$project" | "$unset" | "$replaceRoot" | "$replaceWith", operand) => {
                Ok(Self::Reshape(Reshape::parse(name, operand, &[])?))
            }
            _ => Err(Stop::LeftOut),
        }
    }

    fn apply(&self, document: RawDocumentBuf) -> Result<Option<RawDocumentBuf>, Stop> {
        match self {
            Self::Match(filter, expression) => {
                let keep = match filter {
                    Some(filter) => filter.matches(&document)?,
                    None => true,
                } && match expression {
                    Some(expression) => expression.evaluate(&document, &[], NOW_MS)?.is_true(),
                    None => true,
                };
                Ok(keep.then_some(document))
            }
            Self::Reshape(reshape) => {
                let root = db_index::Value::Raw(RawBsonRef::Document(&document));
                Ok(reshape.apply(&root, &[], NOW_MS)?.to_document()?)
            }
        }
    }
}
