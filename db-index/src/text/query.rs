//! `$text`: the search string taken apart, and its test and score on a document.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bson::{RawBsonRef, RawDocument};

use super::{
    analysis::{Analyzer, Sensitivity, folded, is_word},
    language::Language,
    settings::{TextSettings, key_term},
};
use crate::{
    error::{ErrorCode, QueryError},
    filter::truthy,
    path::fields,
};

/// The most terms and phrases that a search may have.
const TERMS_MAX: usize = 10_000;

/// A compiled `$text`, with the index whose fields it looks at.
#[derive(Debug, Clone)]
pub(crate) struct TextQuery {
    settings: Arc<TextSettings>,
    language: Language,
    sensitivity: Sensitivity,
    search: Search,
}

/// What a search string asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Search {
    /// One of them must be in the document; those of phrases are among them.
    terms: BTreeSet<String>,
    /// None of them may.
    negated_terms: BTreeSet<String>,
    /// All of them must stand in it as they are.
    phrases: Vec<String>,
    /// None of them may.
    negated_phrases: Vec<String>,
    /// The terms as an index holds them, whatever the sensitivity.
    keys: BTreeSet<String>,
}

impl TextQuery {
    /// Reads the operand of `$text`.
    ///
    /// # Errors
    /// `IndexNotFound` (27) without a text index, `BadValue` (2) for an operand of the wrong form or an unknown language,
    /// `TypeMismatch` (14) for options of the wrong type.
    pub(crate) fn parse(
        operand: RawBsonRef<'_>,
        settings: Option<&Arc<TextSettings>>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            return Err(QueryError::bad_value("$text expects an object"));
        };
        let (mut search, mut language, mut sensitivity) = (None, None, Sensitivity::default());
        for (name, value) in fields(operand) {
            match (name, value) {
                ("$search", RawBsonRef::String(text)) => search = Some(text),
                ("$language", RawBsonRef::String(name)) => {
                    let known = Language::parse(name).ok_or_else(|| {
                        QueryError::bad_value(format!("unsupported language: \"{name}\" for $text"))
                    })?;
                    language = Some(known);
                }
                ("$caseSensitive", RawBsonRef::Boolean(_)) => sensitivity.case = truthy(value),
                ("$diacriticSensitive", RawBsonRef::Boolean(_)) => sensitivity.diacritics = truthy(value),
                ("$search" | "$language" | "$caseSensitive" | "$diacriticSensitive", _) => {
                    return Err(QueryError::new(
                        ErrorCode::TYPE_MISMATCH,
                        format!("\"{name}\" had the wrong type"),
                    ));
                }
                _ => return Err(QueryError::bad_value(format!("extra fields in $text: {name}"))),
            }
        }
        let search = search
            .ok_or_else(|| QueryError::new(ErrorCode::NO_SUCH_KEY, "Missing expected field \"$search\""))?;
        let settings = settings.ok_or_else(|| {
            QueryError::new(ErrorCode::INDEX_NOT_FOUND, "text index required for $text query")
        })?;
        let language = language.unwrap_or(settings.default_language());
        let search = Search::parse(search, language, sensitivity)?;
        Ok(Self { settings: Arc::clone(settings), language, sensitivity, search })
    }

    /// The terms of which a matching document has one in its index, as the index holds them.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.search.keys.iter().map(String::as_str)
    }

    /// How well a document matches: the sum of the scores of its terms that are asked for; none if it does not match.
    pub(crate) fn score(&self, document: &RawDocument) -> Option<f64> {
        let search = &self.search;
        if search.terms.is_empty() {
            return None;
        }
        let mut scores: BTreeMap<&str, f64> = BTreeMap::new();
        let mut phrases = vec![false; search.phrases.len()];
        let mut is_negated = false;
        let _ = self.settings.visit(document, &mut |text, language, weight| {
            let analyzer = Analyzer::new(language, self.sensitivity);
            score_text(text, &analyzer, weight, &mut |term, score| {
                is_negated |= search.negated_terms.contains(term);
                if let Some(term) = search.terms.get(term) {
                    *scores.entry(term).or_default() += score;
                }
            });
            if !phrases.is_empty() || !search.negated_phrases.is_empty() {
                let folded = folded(text, self.language, self.sensitivity);
                for (found, phrase) in phrases.iter_mut().zip(&search.phrases) {
                    *found |= folded.contains(phrase);
                }
                is_negated |= search.negated_phrases.iter().any(|phrase| folded.contains(phrase));
            }
            Ok(())
        });
        let matches = !is_negated && !scores.is_empty() && phrases.iter().all(|found| *found);
        matches.then(|| scores.values().sum())
    }
}

impl Search {
    fn parse(text: &str, language: Language, sensitivity: Sensitivity) -> Result<Self, QueryError> {
        let analyzer = Analyzer::new(language, sensitivity);
        let plain = Analyzer::new(language, Sensitivity::default());
        let mut search = Self::default();
        let add = |search: &mut Self, word: &str, negated: bool| {
            if negated {
                search.negated_terms.extend(analyzer.terms(word));
            } else {
                search.terms.extend(analyzer.terms(word));
                search.keys.extend(plain.terms(word).map(|term| key_term(&term).to_owned()));
            }
        };
        let (mut negated, mut phrase_from, mut before) = (false, None, ' ');
        let mut rest = text;
        let mut offset = 0;
        while let Some(c) = rest.chars().next() {
            let mut bytes = c.len_utf8();
            match (c, phrase_from) {
                ('"', None) => phrase_from = Some(offset + 1),
                ('"', Some(from)) => {
                    let phrase = text.get(from..offset).unwrap_or_default();
                    let phrase = folded(phrase, language, sensitivity);
                    if !phrase.trim().is_empty() {
                        if negated { &mut search.negated_phrases } else { &mut search.phrases }.push(phrase);
                    }
                    (negated, phrase_from) = (false, None);
                }
                ('-', None) if before.is_whitespace() => negated = true,
                (c, _) if is_word(c) => {
                    let is_inner = |c: char| is_word(c) || matches!(c, '\'' | '\u{2019}');
                    bytes = rest.find(|c| !is_inner(c)).unwrap_or(rest.len());
                    let word = rest.get(..bytes).unwrap_or_default();
                    if !(negated && phrase_from.is_some()) {
                        add(&mut search, word, negated);
                    }
                    negated &= phrase_from.is_some();
                }
                (c, None) if c.is_whitespace() => negated = false,
                _ => {}
            }
            before = rest.get(..bytes).and_then(|read| read.chars().next_back()).unwrap_or(c);
            rest = rest.get(bytes..).unwrap_or_default();
            offset += bytes;
            if search.terms.len()
                + search.negated_terms.len()
                + search.phrases.len()
                + search.negated_phrases.len()
                > TERMS_MAX
            {
                return Err(QueryError::bad_value(format!(
                    "a text search may have at most {TERMS_MAX} terms"
                )));
            }
        }
        Ok(search)
    }
}

/// Gives every term of a text with its score there: repetitions count half as much each time, the share of the text is
/// added, and a text that is nothing but the term has a little more.
fn score_text(text: &str, analyzer: &Analyzer, weight: f64, take: &mut impl FnMut(&str, f64)) {
    let mut found: BTreeMap<String, (u32, f64, f64)> = BTreeMap::new();
    let mut count: u32 = 0;
    for term in analyzer.terms(text) {
        count += 1;
        let (times, frequency, next) = found.entry(term).or_insert((0, 0.0, 1.0));
        *times += 1;
        *frequency += *next;
        *next /= 2.0;
    }
    for (term, (times, frequency, _)) in &found {
        let share = 0.5 * f64::from(*times) / f64::from(count) + 0.5;
        let is_whole = text.len() == term.len() && text.eq_ignore_ascii_case(term);
        take(term, weight * frequency * share * if is_whole { 1.1 } else { 1.0 });
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // documents are made at the call
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;

    fn settings(key: Document, options: Document) -> Arc<TextSettings> {
        let (key, options) =
            (RawDocumentBuf::try_from(&key).unwrap(), RawDocumentBuf::try_from(&options).unwrap());
        Arc::new(TextSettings::parse(&key, &options).unwrap().unwrap())
    }

    fn query(operand: Document, settings: &Arc<TextSettings>) -> Result<TextQuery, QueryError> {
        let operand = RawDocumentBuf::try_from(&operand).unwrap();
        TextQuery::parse(RawBsonRef::Document(&operand), Some(settings))
    }

    fn score(search: &str, document: Document) -> Option<f64> {
        let settings =
            settings(doc! { "title": "text", "body": "text" }, doc! { "weights": { "title": 10 } });
        let query = query(doc! { "$search": search }, &settings).unwrap();
        query.score(&RawDocumentBuf::try_from(&document).unwrap())
    }

    #[test]
    fn any_term_is_enough_and_every_one_counts() {
        let document = || doc! { "body": "coffee shops sell coffee and cake" };
        let coffee = score("coffee", document()).unwrap();
        let both = score("coffees CAKE tea", document()).unwrap();
        assert!((coffee - 1.5 * (0.5 * 2.0 / 5.0 + 0.5)).abs() < 1e-12);
        assert!((both - coffee - (0.5 / 5.0 + 0.5)).abs() < 1e-12);
        assert_eq!(score("tea", document()), None);
        assert_eq!(score("and", document()), None, "a stop word");
        assert_eq!(score("shop", doc! { "title": "shop" }), Some(11.0));
    }

    #[test]
    fn negations_exclude_and_phrases_must_stand_as_they_are() {
        let document = || doc! { "title": "Coffee Shop", "body": "best cake in town" };
        for (search, matches) in [
            ("coffee -cake", false),
            ("coffee -tea", true),
            ("-tea", false),
            ("coffee-cake", true),
            ("\"coffee shop\"", true),
            ("\"shop coffee\"", false),
            ("tea \"best cake\"", true),
            ("coffee -\"best cake\"", false),
            ("coffee -\"worst cake\"", true),
            ("coffee \"cake in\" \"no such\"", false),
            ("", false),
            ("\"coffee", true),
        ] {
            assert_eq!(score(search, document()).is_some(), matches, "{search}");
        }
    }

    #[test]
    fn case_and_accents_count_where_asked() {
        let settings = settings(doc! { "a": "text" }, doc! { "default_language": "none" });
        for (options, matches) in [
            (doc! { "$search": "cafe" }, true),
            (doc! { "$search": "cafe", "$diacriticSensitive": true }, false),
            (doc! { "$search": "café", "$diacriticSensitive": true }, true),
            (doc! { "$search": "cafe", "$caseSensitive": true }, false),
            (doc! { "$search": "Cafe", "$caseSensitive": true }, true),
            (doc! { "$search": "Café", "$caseSensitive": true, "$diacriticSensitive": true }, true),
        ] {
            let query = query(options.clone(), &settings).unwrap();
            let document = RawDocumentBuf::try_from(&doc! { "a": "Le Café" }).unwrap();
            assert_eq!(query.score(&document).is_some(), matches, "{options}");
            assert_eq!(query.keys().collect::<Vec<_>>(), ["cafe"]);
        }
    }

    #[test]
    fn operands_are_checked() {
        let settings = settings(doc! { "a": "text" }, doc! {});
        for (operand, code) in [
            (doc! {}, 4),
            (doc! { "$search": 1 }, 14),
            (doc! { "$search": "a", "$language": "klingon" }, 2),
            (doc! { "$search": "a", "$caseSensitive": 1 }, 14),
            (doc! { "$search": "a", "$other": 1 }, 2),
        ] {
            assert_eq!(query(operand.clone(), &settings).unwrap_err().code.0, code, "{operand}");
        }
        let operand = RawDocumentBuf::try_from(&doc! { "$search": "a" }).unwrap();
        let without = TextQuery::parse(RawBsonRef::Document(&operand), None);
        assert_eq!(without.unwrap_err().code, ErrorCode::INDEX_NOT_FOUND);
    }
}
