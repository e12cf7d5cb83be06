//! The published query cases: loading them, and comparing Extended JSON values as their runner does.
#![allow(dead_code, unreachable_pub, unused_imports)] // each test program uses a part of this module
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test as a whole

mod tally;

use std::io::Read;

use bson::raw::RawDocumentBuf;
use bson::{Bson, Document};
use serde_json::Value;

pub use tally::{Outcome, Tally};

/// One case: see the README beside the cases.
pub struct Case {
    /// The whole line.
    pub json: Value,
}

impl Case {
    /// Its name.
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// `query`, `update`, `error` …
    pub fn area(&self) -> &str {
        self.text("area")
    }

    /// 1 core, 2 exotic, 3 bulk.
    pub fn tier(&self) -> u64 {
        self.json["tier"].as_u64().unwrap_or(0)
    }

    /// A text field; empty if there is none.
    pub fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or("")
    }

    /// Whether the case has `tag`.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.json["tags"].as_array().is_some_and(|tags| tags.iter().any(|found| found == tag))
    }

    /// The documents of the collection.
    pub fn documents(&self) -> Vec<RawDocumentBuf> {
        documents(&self.json["docs"])
    }

    /// How values are compared in strict mode.
    pub fn comparison(&self) -> Comparison {
        let approximate = self.json["approx"].as_bool().unwrap_or(false);
        Comparison {
            strict: self.json["num"].as_str().unwrap_or("strict") == "strict" && !approximate,
            tolerance: if approximate { 1e-6 } else { 1e-12 },
            key_order: self.json["key_order"].as_bool().unwrap_or(false),
            extra_ok: self.json["extra_ok"].as_bool().unwrap_or(false),
            bags: self.json["ignore_order_in"]
                .as_array()
                .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/query-cases/cases.jsonl.gz");
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| Case { json: serde_json::from_str(line).unwrap() }).collect()
}

/// A value from Extended JSON.
pub fn value(json: &Value) -> Bson {
    Bson::try_from(json.clone()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// A document from Extended JSON; an absent one is empty.
pub fn document(json: &Value) -> RawDocumentBuf {
    match json {
        Value::Null => RawDocumentBuf::new(),
        json => {
            let Bson::Document(document) = value(json) else { panic!("not a document: {json}") };
            RawDocumentBuf::try_from(document).unwrap()
        }
    }
}

/// A list of documents; an absent one is empty.
pub fn documents(json: &Value) -> Vec<RawDocumentBuf> {
    json.as_array().map(|list| list.iter().map(document).collect()).unwrap_or_default()
}

/// How an actual value is held against an expected one.
pub struct Comparison {
    /// Number types, signs of zero and decimal exponents count.
    pub strict: bool,
    /// The relative difference that is allowed otherwise.
    pub tolerance: f64,
    /// The order of fields counts.
    pub key_order: bool,
    /// A whole document may have more fields than expected.
    pub extra_ok: bool,
    /// The names of fields whose arrays are compared without order.
    pub bags: Vec<String>,
}

impl Comparison {
    /// Whether documents are the expected ones, in order or in any order.
    pub fn documents_match(&self, expected: &Value, actual: &[RawDocumentBuf], ordered: bool) -> bool {
        let expected: Vec<Bson> = expected.as_array().unwrap().iter().map(value).collect();
        let actual: Vec<Bson> = actual
            .iter()
            .map(|document| Bson::Document(Document::try_from(document.as_ref()).unwrap()))
            .collect();
        if ordered {
            self.lists_match(&expected, &actual, true)
        } else {
            self.bags_match(&expected, &actual, true)
        }
    }

    /// Whether a whole document is the expected one.
    pub fn document_matches(&self, expected: &Value, actual: &RawDocumentBuf) -> bool {
        self.matches(&value(expected), &Bson::Document(Document::try_from(actual.as_ref()).unwrap()), true)
    }

    /// Whether values are the expected ones in order (`distinct`).
    pub fn values_match(&self, expected: &Value, actual: &[Bson], ordered: bool) -> bool {
        let expected: Vec<Bson> = expected.as_array().unwrap().iter().map(value).collect();
        if ordered {
            self.lists_match(&expected, actual, false)
        } else {
            self.bags_match(&expected, actual, false)
        }
    }

    fn lists_match(&self, expected: &[Bson], actual: &[Bson], roots: bool) -> bool {
        expected.len() == actual.len() && expected.iter().zip(actual).all(|(e, a)| self.matches(e, a, roots))
    }

    fn bags_match(&self, expected: &[Bson], actual: &[Bson], roots: bool) -> bool {
        let mut left: Vec<&Bson> = actual.iter().collect();
        expected.len() == actual.len()
            && expected.iter().all(|e| match left.iter().position(|a| self.matches(e, a, roots)) {
                Some(place) => {
                    left.remove(place);
                    true
                }
                None => false,
            })
    }

    /// Whether a value is the expected one; `root` for whole documents.
    pub fn matches(&self, expected: &Bson, actual: &Bson, root: bool) -> bool {
        if let Bson::Document(placeholder) = expected {
            if let Some(types) = placeholder.get("$$type") {
                let wanted: Vec<&str> = match types {
                    Bson::Array(types) => types.iter().filter_map(Bson::as_str).collect(),
                    one => one.as_str().into_iter().collect(),
                };
                return wanted.iter().any(|wanted| is_type(actual, wanted));
            }
            if let Some(exists) = placeholder.get("$$exists") {
                return truthy(exists);
            }
        }
        match (expected, actual) {
            (Bson::Array(expected), Bson::Array(actual)) => self.lists_match(expected, actual, false),
            (Bson::Document(expected), Bson::Document(actual)) => self.fields_match(expected, actual, root),
            _ => match (Numeric::of(expected), Numeric::of(actual)) {
                (Some(e), Some(a)) => self.numbers_match(expected, actual, e, a),
                (None, None) => expected == actual,
                _ => false,
            },
        }
    }

    fn fields_match(&self, expected: &Document, actual: &Document, root: bool) -> bool {
        let tolerated = |key: &String| root && self.extra_ok && !expected.contains_key(key);
        let keys: Vec<&String> = actual.keys().filter(|key| !tolerated(key)).collect();
        if self.key_order && expected.keys().ne(keys.iter().copied()) {
            return false;
        }
        keys.iter().all(|key| expected.contains_key(key))
            && expected.iter().all(|(key, e)| match (e, actual.get(key)) {
                (Bson::Document(placeholder), None) => {
                    placeholder.get("$$exists").is_some_and(|exists| !truthy(exists))
                }
                (_, None) => false,
                (Bson::Array(e), Some(Bson::Array(a))) if self.bags.contains(key) => {
                    self.bags_match(e, a, false)
                }
                (e, Some(a)) => self.matches(e, a, false),
            })
    }

    fn numbers_match(&self, expected: &Bson, actual: &Bson, e: Numeric, a: Numeric) -> bool {
        if self.strict {
            return match (expected, actual) {
                (Bson::Double(e), Bson::Double(a)) if e.is_nan() => a.is_nan(),
                (Bson::Double(e), Bson::Double(a)) => e.to_bits() == a.to_bits(),
                (Bson::Decimal128(e), Bson::Decimal128(a)) => e.to_string() == a.to_string(),
                _ => expected == actual,
            };
        }
        e.0.is_nan() && a.0.is_nan()
            || e.0 == a.0
            || (e.0 - a.0).abs() <= e.0.abs().max(a.0.abs()) * self.tolerance
    }
}

#[derive(Clone, Copy)]
struct Numeric(f64);

impl Numeric {
    fn of(value: &Bson) -> Option<Self> {
        match value {
            Bson::Int32(value) => Some(Self(f64::from(*value))),
            Bson::Int64(value) => Some(Self(*value as f64)),
            Bson::Double(value) => Some(Self(*value)),
            Bson::Decimal128(value) => value.to_string().parse().ok().map(Self),
            _ => None,
        }
    }
}

fn truthy(value: &Bson) -> bool {
    match value {
        Bson::Boolean(value) => *value,
        other => Numeric::of(other).is_none_or(|number| number.0 != 0.0),
    }
}

/// Whether a value has the type of this name.
pub fn is_type(value: &Bson, name: &str) -> bool {
    match value {
        Bson::Double(_) => matches!(name, "double" | "number"),
        Bson::Int32(_) => matches!(name, "int" | "number"),
        Bson::Int64(_) => matches!(name, "long" | "number"),
        Bson::Decimal128(_) => matches!(name, "decimal" | "number"),
        Bson::String(_) => name == "string",
        Bson::Array(_) => name == "array",
        Bson::Document(_) => name == "object",
        Bson::Boolean(_) => name == "bool",
        Bson::Null => name == "null",
        Bson::RegularExpression(_) => name == "regex",
        Bson::JavaScriptCode(_) => matches!(name, "javascript" | "code"),
        Bson::JavaScriptCodeWithScope(_) => name == "javascriptWithScope",
        Bson::Timestamp(_) => name == "timestamp",
        Bson::Binary(_) => name == "binData",
        Bson::ObjectId(_) => name == "objectId",
        Bson::DateTime(_) => name == "date",
        Bson::Symbol(_) => name == "symbol",
        Bson::Undefined => name == "undefined",
        Bson::MaxKey => name == "maxKey",
        Bson::MinKey => name == "minKey",
        Bson::DbPointer(_) => name == "dbPointer",
    }
}
