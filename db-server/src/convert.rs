//! Between the messages of `combdb.v1` and BSON. Whatever comes in passes the guard here, before anything decodes it.

use bson::{Bson, Document, RawDocument, RawDocumentBuf, rawdoc};
use proto::v1::{self, DocumentFormat, document, value};
use tonic::Status;

use crate::error::{INVALID_BSON, invalid};
use crate::extended_json;

/// The most stages of a pipeline; the engine bounds them closer.
const STAGES_MAX: usize = 10_000;

/// MongoDB's code for what cannot be understood.
const FAILED_TO_PARSE: i32 = 9;

/// The form in which an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// BSON bytes.
    Bson,
    /// Relaxed Extended JSON.
    ExtendedJson,
}

impl Form {
    /// The form that a request asks for, or else the one in which `given`, a document of the request, came.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the number is no form.
    pub(crate) fn of(format: i32, given: Option<&v1::Document>) -> Result<Self, Status> {
        match DocumentFormat::try_from(format) {
            Ok(DocumentFormat::Bson) => Ok(Self::Bson),
            Ok(DocumentFormat::ExtendedJson) => Ok(Self::ExtendedJson),
            Ok(DocumentFormat::Unspecified) => Ok(match given.and_then(|document| document.form.as_ref()) {
                Some(document::Form::ExtendedJson(_)) => Self::ExtendedJson,
                _ => Self::Bson,
            }),
            Err(_) => Err(invalid(format!("unknown document format {format}"), None)),
        }
    }
}

/// Reads a document that must be there; `what` names it in errors.
///
/// # Errors
/// `INVALID_ARGUMENT` if it is absent, malformed, too large or too deep.
pub(crate) fn required(document: Option<v1::Document>, what: &str) -> Result<RawDocumentBuf, Status> {
    optional(document, what)?.ok_or_else(|| invalid(format!("{what} is missing"), None))
}

/// Reads a document that may be absent; `what` names it in errors.
///
/// # Errors
/// `INVALID_ARGUMENT` if it is malformed, too large or too deep.
pub(crate) fn optional(document: Option<v1::Document>, what: &str) -> Result<Option<RawDocumentBuf>, Status> {
    let Some(document) = document else { return Ok(None) };
    let bytes = match document.form {
        None => return Ok(None),
        Some(document::Form::Bson(bytes)) => bytes.into(),
        Some(document::Form::ExtendedJson(text)) => extended_json::parse_document(&text)
            .map_err(|error| invalid(format!("{what}: {error}"), Some(INVALID_BSON)))?
            .into_bytes(),
    };
    db_index::check_document(&bytes)
        .map_err(|error| invalid(format!("{what}: {}", error.message), Some(error.code.0)))?;
    RawDocumentBuf::from_bytes(bytes)
        .map(Some)
        .map_err(|error| invalid(format!("{what}: {error}"), Some(INVALID_BSON)))
}

/// Reads the stages of a pipeline.
///
/// # Errors
/// `INVALID_ARGUMENT` if there are too many, or one is absent or malformed.
pub(crate) fn stages(stages: Vec<v1::Document>) -> Result<Vec<RawDocumentBuf>, Status> {
    if stages.len() > STAGES_MAX {
        return Err(invalid(format!("a pipeline has at most {STAGES_MAX} stages"), Some(FAILED_TO_PARSE)));
    }
    let read = |(index, stage)| required(Some(stage), &format!("stage {index}"));
    stages.into_iter().enumerate().map(read).collect()
}

/// Decodes a document that has passed the guard; `what` names it in errors.
///
/// # Errors
/// `INVALID_ARGUMENT` if it is no BSON after all.
pub(crate) fn decode(document: &RawDocument, what: &str) -> Result<Document, Status> {
    Document::try_from(document).map_err(|error| invalid(format!("{what}: {error}"), Some(INVALID_BSON)))
}

/// Writes a document in the form asked for.
///
/// # Errors
/// `INTERNAL` if a stored document cannot be read.
pub(crate) fn document(document: RawDocumentBuf, form: Form) -> Result<v1::Document, Status> {
    let form = match form {
        Form::Bson => document::Form::Bson(document.into_bytes().into()),
        Form::ExtendedJson => document::Form::ExtendedJson(
            extended_json::write_document(&document)
                .map_err(|error| Status::internal(format!("a stored document cannot be read: {error}")))?,
        ),
    };
    Ok(v1::Document { form: Some(form) })
}

/// Writes a decoded document in the form asked for.
///
/// # Errors
/// `INTERNAL` if it cannot be encoded.
pub(crate) fn decoded(from: &Document, form: Form) -> Result<v1::Document, Status> {
    let raw = RawDocumentBuf::try_from(from)
        .map_err(|error| Status::internal(format!("a document cannot be written: {error}")))?;
    document(raw, form)
}

/// Writes a value in the form asked for.
///
/// # Errors
/// `INTERNAL` if it cannot be encoded.
pub(crate) fn value(value: Bson, form: Form) -> Result<v1::Value, Status> {
    let form = match form {
        Form::Bson => {
            let raw = bson::RawBson::try_from(value)
                .map_err(|error| Status::internal(format!("a value cannot be written: {error}")))?;
            value::Form::Bson(rawdoc! {"v": raw}.into_bytes().into())
        }
        Form::ExtendedJson => value::Form::ExtendedJson(extended_json::write_value(value)),
    };
    Ok(v1::Value { form: Some(form) })
}

#[cfg(test)]
mod tests {
    use bson::{doc, rawdoc};
    use tonic::Code;

    use super::*;

    fn json(text: &str) -> v1::Document {
        v1::Document { form: Some(document::Form::ExtendedJson(text.to_owned())) }
    }

    fn bytes(bytes: Vec<u8>) -> v1::Document {
        v1::Document { form: Some(document::Form::Bson(bytes.into())) }
    }

    #[test]
    fn an_answer_comes_in_the_form_of_the_question_unless_it_says_otherwise() {
        assert_eq!(Form::of(0, None).unwrap(), Form::Bson);
        assert_eq!(Form::of(0, Some(&json("{}"))).unwrap(), Form::ExtendedJson);
        assert_eq!(Form::of(1, Some(&json("{}"))).unwrap(), Form::Bson);
        assert_eq!(Form::of(2, None).unwrap(), Form::ExtendedJson);
        assert_eq!(Form::of(9, None).unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn both_forms_give_the_same_document() {
        let raw = rawdoc! {"a": {"b": [1, 2.5, "x"]}};
        assert_eq!(required(Some(json(r#"{"a": {"b": [1, 2.5, "x"]}}"#)), "filter").unwrap(), raw);
        assert_eq!(required(Some(bytes(raw.as_bytes().to_vec())), "filter").unwrap(), raw);
    }

    #[test]
    fn malformed_and_absent_documents_are_refused_by_name() {
        for bad in [bytes(vec![]), bytes(vec![5, 0, 0, 0, 1]), bytes(vec![255; 64]), json("{"), json("[1]")] {
            let status = optional(Some(bad), "update").unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().starts_with("update: "), "{}", status.message());
        }
        assert_eq!(required(None, "update").unwrap_err().message(), "update is missing");
        assert_eq!(
            required(Some(v1::Document { form: None }), "update").unwrap_err().message(),
            "update is missing"
        );
    }

    #[test]
    fn nesting_is_refused_in_either_form() {
        let mut nested = rawdoc! {};
        for _ in 0..200 {
            nested = rawdoc! {"a": nested};
        }
        let text = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        for deep in [bytes(nested.into_bytes()), json(&text)] {
            assert_eq!(optional(Some(deep), "filter").unwrap_err().code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn values_travel_in_either_form() {
        let written = value(Bson::Int64(5), Form::Bson).unwrap();
        let Some(value::Form::Bson(bytes)) = written.form else { panic!("not BSON") };
        assert_eq!(Document::from_reader(&bytes[..]).unwrap(), doc! {"v": 5_i64});
        let written = value(Bson::String("x".into()), Form::ExtendedJson).unwrap();
        assert_eq!(written.form, Some(value::Form::ExtendedJson(r#""x""#.into())));
    }
}
