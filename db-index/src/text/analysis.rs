//! From texts to terms: words are found, lowered, left out if they say nothing, and taken to their stems without accents.
//!
//! Keys of indexes are made here, so nothing may come from the standard library's tables, which move with the compiler: the
//! stemmers, what a letter is, lower case and decompositions are those of crates that are pinned by version.

use icu_casemap::CaseMapper;
use icu_locale_core::LanguageIdentifier;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{Alphabetic, GeneralCategory},
};
use rust_stemmers::Stemmer;
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

use super::language::Language;

/// Which differences between words count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sensitivity {
    /// Between upper and lower case.
    pub(crate) case: bool,
    /// Between letters with and without accents.
    pub(crate) diacritics: bool,
}

/// Makes terms of texts in one language.
pub(crate) struct Analyzer {
    language: Language,
    stemmer: Option<Stemmer>,
    sensitivity: Sensitivity,
}

impl Analyzer {
    pub(crate) fn new(language: Language, sensitivity: Sensitivity) -> Self {
        Self { language, stemmer: language.stemmer(), sensitivity }
    }

    pub(crate) fn language(&self) -> Language {
        self.language
    }

    /// The terms of `text` in their order.
    pub(crate) fn terms(&self, text: &str) -> impl Iterator<Item = String> {
        words(text, self.language).filter_map(|word| self.term(word))
    }

    /// The term of a word; none of a word that says nothing.
    fn term(&self, word: &str) -> Option<String> {
        let lower = lowered(word, self.language);
        if self.language.is_stop_word(&lower) {
            return None;
        }
        let kept = if self.sensitivity.case { word } else { &lower };
        let stem = match &self.stemmer {
            Some(stemmer) => stemmer.stem(kept),
            None => kept.into(),
        };
        Some(if self.sensitivity.diacritics { stem.into_owned() } else { without_diacritics(&stem) })
    }
}

/// A text as phrases are looked for in it.
pub(crate) fn folded(text: &str, language: Language, sensitivity: Sensitivity) -> String {
    let text = if sensitivity.case { text.to_owned() } else { lowered(text, language) };
    if sensitivity.diacritics { text } else { without_diacritics(&text) }
}

/// The words of a text: letters, digits and `_`; in English with the apostrophes within them.
fn words(text: &str, language: Language) -> impl Iterator<Item = &str> {
    let is_inner = move |c: char| language == Language::English && matches!(c, '\'' | '\u{2019}');
    let is_part = move |c: char| is_word(c) || is_inner(c);
    text.split(move |c| !is_part(c))
        .map(move |word| word.trim_matches(is_inner))
        .filter(|word| !word.is_empty())
}

/// Whether a character belongs to a word.
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    CodePointSetData::new::<Alphabetic>().contains(c)
        || canonical_combining_class(c) != 0
        || matches!(
            CodePointMapData::<GeneralCategory>::new().get(c),
            GeneralCategory::DecimalNumber | GeneralCategory::LetterNumber | GeneralCategory::OtherNumber
        )
}

fn lowered(text: &str, language: Language) -> String {
    match language {
        Language::Turkish => lower_case(&text.replace('I', "ı").replace('İ', "i")),
        _ => lower_case(text).replace('\u{2019}', "'"),
    }
}

fn lower_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    CaseMapper::new().lowercase_to_string(text, &LanguageIdentifier::UNKNOWN).into_owned()
}

fn without_diacritics(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.nfd().filter(|c| canonical_combining_class(*c) == 0).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(language: Language, text: &str) -> Vec<String> {
        Analyzer::new(language, Sensitivity::default()).terms(text).collect()
    }

    #[test]
    fn words_are_lowered_and_stemmed_and_small_ones_left_out() {
        assert_eq!(
            terms(Language::English, "The Runners were running, quickly!"),
            ["runner", "run", "quick"]
        );
        assert_eq!(terms(Language::English, "Don't stop at the bakery's door"), ["stop", "bakeri", "door"]);
        assert_eq!(terms(Language::German, "Die Häuser der Straße"), ["haus", "strass"]);
        assert_eq!(
            terms(Language::None, "The Café's crème-brûlée x_1"),
            ["the", "cafe", "s", "creme", "brulee", "x_1"]
        );
    }

    #[test]
    fn letters_and_cases_of_all_scripts() {
        assert_eq!(lower_case("ΟΔΥΣΣΕΥΣ ÀÉ İ ẞ Ǆ"), "ΟΔΥΣΣΕΥΣ ÀÉ İ ẞ Ǆ".to_lowercase());
        for c in "aZ9_é\u{301}日٣Ⅷ½ªα".chars() {
            assert!(is_word(c), "{c}");
        }
        for c in " -'.,€\u{2019}\u{a0}→".chars() {
            assert!(!is_word(c), "{c}");
        }
        // The tables are those of the standard library but for what one of them does not know yet.
        let differ = |c: char| {
            is_word(c) != (c.is_alphanumeric() || c == '_' || canonical_combining_class(c) != 0)
                || lower_case(&c.to_string()) != c.to_lowercase().to_string()
        };
        assert!(('\0'..'\u{1c80}').filter(|c| differ(*c)).count() < 10);
    }

    #[test]
    fn sensitivity_keeps_what_it_is_asked_to() {
        let terms = |case, diacritics| {
            let analyzer = Analyzer::new(Language::None, Sensitivity { case, diacritics });
            analyzer.terms("CAFÉ Cafe\u{301}").collect::<Vec<_>>()
        };
        assert_eq!(terms(false, false), ["cafe", "cafe"]);
        assert_eq!(terms(true, false), ["CAFE", "Cafe"]);
        assert_eq!(terms(false, true), ["café", "cafe\u{301}"]);
    }

    #[test]
    fn every_language_has_stop_words_and_a_stemmer() {
        for (language, text) in [
            ("danish", "og huset"),
            ("nl", "en de huizen"),
            ("finnish", "ja talossa"),
            ("fr", "les maisons"),
            ("hungarian", "és házak"),
            ("italian", "gli amici"),
            ("norwegian", "og husene"),
            ("portuguese", "as casas"),
            ("romanian", "şi casele"),
            ("russian", "и дома"),
            ("es", "las casas"),
            ("swedish", "och husen"),
            ("turkish", "ve evler"),
        ] {
            let language = Language::parse(language).unwrap();
            assert_eq!(terms(language, text).len(), 1, "{language:?}");
        }
        assert_eq!(Language::parse("klingon"), None);
    }
}
