//! Extended JSON: MongoDB's way of writing BSON as text, both ways.
//!
//! Reading takes v2, canonical and relaxed, and of the older forms those that real files hold: `$date` with a UTC offset
//! without a colon, and `$binary` beside `$type`. Nesting is bounded before anything recurses.

use bson::{Bson, Document, RawDocument, RawDocumentBuf};
use serde_json::{Map, Value, json};

/// How deep text may nest: as deep as a document may, and the two levels with which a type may be spelled out.
const TEXT_DEPTH_MAX: usize = db_index::DEPTH_MAX + 2;

/// Why text is not a document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ExtendedJsonError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("a document is a JSON object, and this is not one")]
    NotAnObject,
    /// Nested deeper than a document may be.
    #[error("nested deeper than {TEXT_DEPTH_MAX} levels")]
    TooDeep,
    /// A `{"$type": …}` that does not hold what it must.
    #[error("not Extended JSON: {0}")]
    Type(String),
}

/// Reads one document.
///
/// # Errors
/// If the text is not one JSON object, nests too deep, or spells out a type wrongly. The result has not passed the
/// guard for BSON yet.
pub(crate) fn parse_document(text: &str) -> Result<RawDocumentBuf, ExtendedJsonError> {
    if depth(text) > TEXT_DEPTH_MAX {
        return Err(ExtendedJsonError::TooDeep);
    }
    let Value::Object(mut fields) = serde_json::from_str(text)? else {
        return Err(ExtendedJsonError::NotAnObject);
    };
    fields.values_mut().for_each(modernize);
    let document = Document::try_from(fields).map_err(type_error)?;
    RawDocumentBuf::try_from(&document).map_err(type_error)
}

/// Writes one document in the relaxed form, on one line.
///
/// # Errors
/// If the bytes are not BSON after all.
pub(crate) fn write_document(document: &RawDocument) -> Result<String, bson::error::Error> {
    let document = Document::try_from(document)?;
    Ok(write_value(Bson::Document(document)))
}

/// Writes one value in the relaxed form.
pub(crate) fn write_value(value: Bson) -> String {
    value.into_relaxed_extjson().to_string()
}

fn type_error(error: impl std::fmt::Display) -> ExtendedJsonError {
    ExtendedJsonError::Type(error.to_string())
}

/// The deepest nesting of brackets outside strings: an upper bound for the depth of what a parser would build.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Turns the older spellings into those of v2, in place. The caller has bounded the depth.
fn modernize(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(modernize),
        Value::Object(fields) => {
            if let Some(date) = fields.get_mut("$date") {
                modernize_date(date);
            } else if let Some(binary) = legacy_binary(fields) {
                *value = binary;
            } else {
                fields.values_mut().for_each(modernize);
            }
        }
        _ => {}
    }
}

/// `2009-04-01T00:00:00.000-0700` → `2009-04-01T00:00:00.000-07:00`; a date alone is its midnight in UTC.
fn modernize_date(date: &mut Value) {
    let Value::String(text) = date else { return };
    if !text.is_ascii() {
        return;
    }
    let offset = text.len().checked_sub(5).and_then(|at| text.get(at..));
    if let Some([b'+' | b'-', digits @ ..]) = offset.map(str::as_bytes)
        && text.contains('T')
        && digits.iter().all(u8::is_ascii_digit)
    {
        text.insert(text.len() - 2, ':');
    } else if text.len() == "2009-04-01".len() && !text.contains('T') {
        text.push_str("T00:00:00Z");
    }
}

/// `{"$binary": "AQID", "$type": "00"}` → `{"$binary": {"base64": "AQID", "subType": "00"}}`.
fn legacy_binary(fields: &Map<String, Value>) -> Option<Value> {
    let (Value::String(base64), Value::String(kind)) = (fields.get("$binary")?, fields.get("$type")?) else {
        return None;
    };
    (fields.len() == 2).then(|| json!({"$binary": {"base64": base64, "subType": format!("{kind:0>2}")}}))
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::{Binary, DateTime, doc, spec::BinarySubtype};

    use super::*;

    fn parse(text: &str) -> Document {
        Document::try_from(parse_document(text).unwrap()).unwrap()
    }

    #[test]
    fn both_forms_of_version_2_are_read() {
        let id = ObjectId::parse_str("55f14312c7447c3da7051b26").unwrap();
        assert_eq!(
            parse(
                r#"{"_id": {"$oid": "55f14312c7447c3da7051b26"}, "n": {"$numberLong": "5"}, "i": 5, "d": 5.0}"#
            ),
            doc! {"_id": id, "n": 5_i64, "i": 5_i32, "d": 5.0}
        );
    }

    #[test]
    fn a_date_may_have_an_offset_without_a_colon() {
        let expected = DateTime::parse_rfc3339_str("2009-04-01T07:00:00Z").unwrap();
        for text in ["2009-04-01T00:00:00.000-0700", "2009-04-01T00:00:00.000-07:00", "2009-04-01T07:00:00Z"]
        {
            assert_eq!(
                parse(&format!(r#"{{"at": {{"$date": "{text}"}}}}"#)),
                doc! {"at": expected},
                "{text}"
            );
        }
        assert_eq!(parse(r#"{"at": {"$date": 1238569200000}}"#), doc! {"at": expected});
        assert_eq!(parse(r#"{"at": [{"$date": "1970-01-01"}]}"#), doc! {"at": [DateTime::from_millis(0)]});
        assert!(parse_document(r#"{"at": {"$date": "the day before"}}"#).is_err());
        assert!(parse_document(r#"{"at": {"$date": "é-0700"}}"#).is_err());
    }

    #[test]
    fn a_binary_may_be_written_in_the_older_form() {
        let binary = Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] };
        assert_eq!(parse(r#"{"b": {"$binary": "AQID", "$type": "0"}}"#), doc! {"b": binary});
    }

    #[test]
    fn operators_and_the_order_of_fields_are_left_alone() {
        assert_eq!(
            parse(r#"{"z": {"$gte": 1, "$lt": 9}, "a": {"$regex": "^x", "$options": "i"}}"#),
            doc! {"z": {"$gte": 1, "$lt": 9}, "a": {"$regex": "^x", "$options": "i"}}
        );
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in
            ["", "[]", "1", "{", "{}{}", r#"{"a": {"$oid": "short"}}"#, r#"{"a": {"$numberLong": "x"}}"#]
        {
            assert!(parse_document(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_text_is_refused_before_it_is_parsed() {
        let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(parse_document(&nested(64)).is_ok());
        assert!(matches!(parse_document(&nested(67)), Err(ExtendedJsonError::TooDeep)));
        assert!(matches!(parse_document(&nested(1_000_000)), Err(ExtendedJsonError::TooDeep)));
        assert!(parse_document(&format!(r#"{{"a": "{}"}}"#, "[{".repeat(1_000))).is_ok());
    }

    #[test]
    fn writing_gives_back_what_was_read() {
        let text = r#"{"_id":{"$oid":"55f14312c7447c3da7051b26"},"at":{"$date":"2009-04-01T07:00:00Z"},"n":1,"d":1.0}"#;
        assert_eq!(write_document(&parse_document(text).unwrap()).unwrap(), text);
    }
}
