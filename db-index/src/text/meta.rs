//! `{$meta: "textScore"}`: how the score of a search travels with a document to where it is shown or sorted by.
//!
//! A document that is on its way carries its score in a field of a name that no path of a query can have. Whoever hands
//! documents out takes it away again.

use bson::{RawBsonRef, RawDocument, RawDocumentBuf, raw::cstr};

use crate::error::{ErrorCode, QueryError};

/// The name of the field.
pub(crate) const TEXT_SCORE: &str = "$textScore";

/// The document with its score.
pub fn with_text_score(document: &RawDocument, score: f64) -> RawDocumentBuf {
    let mut scored = without_text_score(document);
    scored.append(cstr!("$textScore"), score);
    scored
}

/// The document without the score that it may carry.
pub fn without_text_score(document: &RawDocument) -> RawDocumentBuf {
    if !matches!(document.get(TEXT_SCORE), Ok(Some(_))) {
        return document.to_owned();
    }
    let mut plain = RawDocumentBuf::new();
    for (name, value) in document.iter().map_while(Result::ok) {
        if name.as_str() != TEXT_SCORE {
            plain.append(name, value);
        }
    }
    plain
}

/// Reads the operand of `$meta`.
///
/// # Errors
/// 17308 for what there is not, `NotImplemented` (238) for other metadata than the score of a search.
pub(crate) fn parse_meta(operand: RawBsonRef<'_>) -> Result<(), QueryError> {
    match operand {
        RawBsonRef::String("textScore") => Ok(()),
        RawBsonRef::String(
            name @ ("geoNearDistance" | "geoNearPoint" | "indexKey" | "recordId" | "randVal" | "sortKey"
            | "searchScore" | "searchHighlights" | "vectorSearchScore" | "searchScoreDetails"),
        ) => Err(QueryError::new(ErrorCode::NOT_IMPLEMENTED, format!("$meta is not supported for {name}"))),
        RawBsonRef::String(name) => {
            Err(QueryError::new(ErrorCode::UNKNOWN_META, format!("Unsupported argument to $meta: {name}")))
        }
        _ => Err(QueryError::new(ErrorCode::UNKNOWN_META, "$meta takes the name of some metadata")),
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn a_score_is_carried_and_taken_away() {
        let document = rawdoc! { "_id": 1, "a": "x" };
        let scored = with_text_score(&document, 1.5);
        assert_eq!(scored.get_f64(TEXT_SCORE).unwrap(), 1.5);
        assert_eq!(with_text_score(&scored, 2.5).get_f64(TEXT_SCORE).unwrap(), 2.5);
        assert_eq!(without_text_score(&scored), document);
    }

    #[test]
    fn other_metadata_is_refused_by_name() {
        assert_eq!(parse_meta(RawBsonRef::String("recordId")).unwrap_err().code.0, 238);
        assert_eq!(parse_meta(RawBsonRef::String("nonsense")).unwrap_err().code.0, 17308);
        assert_eq!(parse_meta(RawBsonRef::Int32(1)).unwrap_err().code.0, 17308);
    }
}
