//! What a text index looks at: its fields with their weights, and the languages of documents.

use std::collections::BTreeSet;

use bson::{
    RawBsonRef, RawDocument, RawDocumentBuf,
    raw::{CString, cstr},
};

use super::{
    analysis::{Analyzer, Sensitivity},
    language::Language,
};
use crate::{
    error::{ErrorCode, QueryError},
    limits::INDEX_BYTES_PER_DOCUMENT_MAX,
    number::Number,
    path::{elements, fields},
};

/// The weight that a field may have at most: MongoDB's.
const WEIGHT_MAX: i64 = 99_999;
/// How much of a term an index keeps.
const TERM_BYTES_MAX: usize = 256;
/// The field pattern that stands for every string.
const EVERY_FIELD: &str = "$**";
/// What a key pattern calls the texts of an index that is made; its weights name the fields.
const TEXT_PATH: &str = "_fts";

/// The fields and languages of a text index.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSettings {
    default_language: Language,
    language_override: String,
    /// Paths and weights, in the order of the paths.
    fields: Vec<(Vec<String>, i64)>,
    /// The weight of every other string of a document, if all are indexed.
    every: Option<i64>,
}

/// The options that only text indexes have.
pub(crate) const OPTIONS: [&str; 4] =
    ["weights", "default_language", "language_override", "textIndexVersion"];

impl TextSettings {
    /// Reads a key pattern with fields that are `"text"`, and the options of the index; none without such a field.
    ///
    /// # Errors
    /// `CannotCreateIndex` (67) for weights, languages or a version that cannot be, `TypeMismatch` (14) for options of the
    /// wrong type.
    pub(crate) fn parse(keys: &RawDocument, options: &RawDocument) -> Result<Option<Self>, QueryError> {
        let mut settings = Self {
            default_language: Language::English,
            language_override: "language".to_owned(),
            fields: Vec::new(),
            every: None,
        };
        let texts: Vec<&str> = fields(keys)
            .filter(|(_, value)| *value == RawBsonRef::String("text"))
            .map(|(path, _)| path)
            .collect();
        if texts.is_empty() {
            return Ok(None);
        }
        for path in texts.into_iter().filter(|path| *path != TEXT_PATH) {
            settings.set_weight(path, 1)?;
        }
        for (name, value) in fields(options) {
            settings.read(name, value)?;
        }
        if settings.fields.is_empty() && settings.every.is_none() {
            return Err(cannot_create("a text index needs a field"));
        }
        settings.fields.sort();
        Ok(Some(settings))
    }

    /// Appends the options to a specification.
    pub(crate) fn write(&self, document: &mut RawDocumentBuf) {
        let mut weights = RawDocumentBuf::new();
        let named = self.fields.iter().map(|(parts, weight)| (parts.join("."), *weight));
        for (path, weight) in named.chain(self.every.map(|weight| (EVERY_FIELD.to_owned(), weight))) {
            if let Ok(path) = CString::try_from(path) {
                weights.append(path, i32::try_from(weight).unwrap_or(i32::MAX));
            }
        }
        document.append(cstr!("weights"), weights);
        document.append(cstr!("default_language"), self.default_language.name());
        document.append(cstr!("language_override"), self.language_override.as_str());
        document.append(cstr!("textIndexVersion"), 3);
    }

    /// The language of documents and searches that name none.
    pub(crate) fn default_language(&self) -> Language {
        self.default_language
    }

    /// The terms of a document as an index holds them, in order, each once.
    ///
    /// # Errors
    /// 17262 for a document in a language that is not known; `KeyTooLong` (17280) for terms that are too long together.
    pub(crate) fn terms(&self, document: &RawDocument) -> Result<BTreeSet<String>, QueryError> {
        let mut terms = BTreeSet::new();
        let mut bytes = 0;
        let mut analyzer = Analyzer::new(self.default_language, Sensitivity::default());
        self.visit(document, &mut |text, language, _| {
            if analyzer.language() != language {
                analyzer = Analyzer::new(language, Sensitivity::default());
            }
            for term in analyzer.terms(text) {
                let term = key_term(&term);
                if !terms.contains(term) {
                    bytes += term.len();
                    if bytes > INDEX_BYTES_PER_DOCUMENT_MAX {
                        return Err(QueryError::new(
                            ErrorCode::KEY_TOO_LONG,
                            "the terms of the document are too long together",
                        ));
                    }
                    terms.insert(term.to_owned());
                }
            }
            Ok(())
        })?;
        Ok(terms)
    }

    /// Hands every text of the index's fields to `take`, with its language and the weight of its field.
    ///
    /// # Errors
    /// 17262 for a language that is not known, once all before it has been handed over; what `take` fails with.
    pub(super) fn visit<'a>(
        &self,
        document: &'a RawDocument,
        take: &mut impl FnMut(&'a str, Language, f64) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let all: Vec<(&[String], i64)> =
            self.fields.iter().map(|(parts, weight)| (parts.as_slice(), *weight)).collect();
        self.visit_document(document, &all, self.every, self.default_language, take)
    }

    /// The recursion is as deep as the document.
    fn visit_document<'a>(
        &self,
        document: &'a RawDocument,
        named: &[(&[String], i64)],
        every: Option<i64>,
        language: Language,
        take: &mut impl FnMut(&'a str, Language, f64) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let language = match document.get(&self.language_override) {
            Ok(Some(RawBsonRef::String(name))) => Language::parse(name).ok_or_else(|| {
                QueryError::new(ErrorCode::TEXT_LANGUAGE, format!("language override unsupported: {name}"))
            })?,
            _ => language,
        };
        for (name, value) in fields(document) {
            // What the named paths are below this field; one that ends here gives the weight.
            let below: Vec<(&[String], i64)> = named
                .iter()
                .filter_map(|(parts, weight)| {
                    let (first, rest) = parts.split_first()?;
                    (first == name).then_some((rest, *weight))
                })
                .collect();
            if below.is_empty() && every.is_none() || every.is_some() && name == self.language_override {
                continue;
            }
            self.visit_value(value, &below, every, language, take)?;
        }
        Ok(())
    }

    fn visit_value<'a>(
        &self,
        value: RawBsonRef<'a>,
        below: &[(&[String], i64)],
        every: Option<i64>,
        language: Language,
        take: &mut impl FnMut(&'a str, Language, f64) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        match value {
            RawBsonRef::String(text) => {
                let own = below.iter().find(|(rest, _)| rest.is_empty()).map(|(_, weight)| *weight);
                own.or(every).map_or(Ok(()), |weight| take(text, language, weight as f64))
            }
            RawBsonRef::Document(document) => self.visit_document(document, below, every, language, take),
            RawBsonRef::Array(array) => {
                for element in elements(array) {
                    match element {
                        // Arrays within arrays are not looked into.
                        RawBsonRef::Array(_) => {}
                        element => self.visit_value(element, below, every, language, take)?,
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, name: &str, value: RawBsonRef<'_>) -> Result<(), QueryError> {
        match (name, value) {
            ("weights", RawBsonRef::Document(weights)) => {
                for (path, weight) in fields(weights) {
                    let weight = Number::from_raw(weight).and_then(Number::truncated_to_i64);
                    let weight =
                        weight.filter(|weight| (1..=WEIGHT_MAX).contains(weight)).ok_or_else(|| {
                            cannot_create(format!(
                                "text index weight must be in the interval [1,{WEIGHT_MAX}]: {path}"
                            ))
                        })?;
                    self.set_weight(path, weight)?;
                }
            }
            ("weights", RawBsonRef::String(EVERY_FIELD)) => self.every = Some(1),
            ("default_language", RawBsonRef::String(language)) => {
                self.default_language = Language::parse(language)
                    .ok_or_else(|| cannot_create(format!("default_language is not valid: {language}")))?;
            }
            ("language_override", RawBsonRef::String(field)) => {
                if field.is_empty() || field.starts_with('$') || field.contains('.') {
                    return Err(cannot_create(format!("language_override is not valid: {field}")));
                }
                field.clone_into(&mut self.language_override);
            }
            ("textIndexVersion", version)
                if !matches!(Number::from_raw(version).and_then(Number::to_i64_exact), Some(1..=3)) =>
            {
                return Err(cannot_create("bad text index version"));
            }
            ("weights" | "default_language" | "language_override", _) => {
                return Err(QueryError::new(
                    ErrorCode::TYPE_MISMATCH,
                    format!("the option '{name}' has the wrong type"),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn set_weight(&mut self, path: &str, weight: i64) -> Result<(), QueryError> {
        if path == EVERY_FIELD {
            self.every = Some(weight);
            return Ok(());
        }
        let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
        if parts.iter().any(|part| part.is_empty() || part.starts_with('$')) {
            return Err(cannot_create(format!("weight cannot have an empty or $-prefixed field: '{path}'")));
        }
        match self.fields.iter_mut().find(|(known, _)| *known == parts) {
            Some((_, own)) => *own = weight,
            None => self.fields.push((parts, weight)),
        }
        Ok(())
    }
}

/// What an index keeps of a term: its beginning.
pub(super) fn key_term(term: &str) -> &str {
    term.get(..term.floor_char_boundary(TERM_BYTES_MAX)).unwrap_or(term)
}

fn cannot_create(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorCode::CANNOT_CREATE_INDEX, message)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // documents are made at the call
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    fn settings(key: Document, options: Document) -> Result<TextSettings, QueryError> {
        TextSettings::parse(&raw(&key), &raw(&options)).map(Option::unwrap)
    }

    fn terms(settings: &TextSettings, document: Document) -> Vec<String> {
        settings.terms(&raw(&document)).unwrap().into_iter().collect()
    }

    #[test]
    fn named_fields_are_looked_at_through_arrays_and_documents() {
        let settings = settings(doc! { "a": "text", "b.c": "text", "n": 1 }, doc! {}).unwrap();
        let document = doc! { "a": ["red", "green", ["blue"], 3], "b": [{ "c": "cat", "d": "dog" }, { "c": ["cow"] }], "x": "no" };
        assert_eq!(terms(&settings, document), ["cat", "cow", "green", "red"]);
    }

    #[test]
    fn every_string_may_be_looked_at() {
        let settings = settings(doc! { "$**": "text" }, doc! { "weights": { "a": 5 } }).unwrap();
        let document = doc! { "a": "ant", "b": { "c": ["bee", { "d": "cat" }] }, "language": "english" };
        assert_eq!(terms(&settings, document), ["ant", "bee", "cat"]);
    }

    #[test]
    fn documents_and_their_parts_may_be_in_other_languages() {
        let settings =
            settings(doc! { "t": "text", "p.t": "text" }, doc! { "language_override": "idioma" }).unwrap();
        let document = doc! { "t": "the houses", "p": [{ "idioma": "spanish", "t": "las casas" }, { "idioma": "none", "t": "the houses" }] };
        assert_eq!(terms(&settings, document), ["cas", "hous", "houses", "the"]);
        let error = settings.terms(&raw(&doc! { "idioma": "klingon", "t": "x" })).unwrap_err();
        assert_eq!(error.code.0, 17262);
    }

    #[test]
    fn options_are_checked_and_written_back() {
        for (options, code) in [
            (doc! { "weights": { "a": 0 } }, 67),
            (doc! { "weights": { "a": 100_000 } }, 67),
            (doc! { "weights": { "a": "x" } }, 67),
            (doc! { "weights": 3 }, 14),
            (doc! { "default_language": "klingon" }, 67),
            (doc! { "language_override": 1 }, 14),
            (doc! { "textIndexVersion": 4 }, 67),
        ] {
            assert_eq!(
                settings(doc! { "a": "text" }, options.clone()).unwrap_err().code.0,
                code,
                "{options}"
            );
        }
        let first = settings(
            doc! { "a": "text", "$**": "text" },
            doc! { "weights": { "a": 3, "b": 2 }, "default_language": "de" },
        )
        .unwrap();
        let mut written = RawDocumentBuf::new();
        first.write(&mut written);
        assert_eq!(
            settings(doc! { "a": "text", "$**": "text" }, Document::try_from(written).unwrap()).unwrap(),
            first
        );
    }
}
