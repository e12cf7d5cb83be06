//! The languages that texts can be in: their names, their stemmers, and the words that say nothing.

use rust_stemmers::{Algorithm, Stemmer};

use super::stop_words;

/// A language of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// No language: words are taken as they are.
    None,
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Hungarian,
    Italian,
    Norwegian,
    Portuguese,
    Romanian,
    Russian,
    Spanish,
    Swedish,
    Turkish,
}

/// Names and ISO 639-1 codes.
const NAMES: [(&str, &str, Language); 16] = [
    ("none", "none", Language::None),
    ("danish", "da", Language::Danish),
    ("dutch", "nl", Language::Dutch),
    ("english", "en", Language::English),
    ("finnish", "fi", Language::Finnish),
    ("french", "fr", Language::French),
    ("german", "de", Language::German),
    ("hungarian", "hu", Language::Hungarian),
    ("italian", "it", Language::Italian),
    ("norwegian", "nb", Language::Norwegian),
    ("portuguese", "pt", Language::Portuguese),
    ("romanian", "ro", Language::Romanian),
    ("russian", "ru", Language::Russian),
    ("spanish", "es", Language::Spanish),
    ("swedish", "sv", Language::Swedish),
    ("turkish", "tr", Language::Turkish),
];

impl Language {
    /// Reads a name or a code, in whatever case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let found = NAMES
            .iter()
            .find(|(long, short, _)| long.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name));
        found.map(|(.., language)| *language)
    }

    /// The name in full.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(.., language)| *language == self).map_or("none", |(name, ..)| name)
    }

    /// Whether a word, in lower case, says nothing.
    pub(super) fn is_stop_word(self, word: &str) -> bool {
        stop_words::of(self).split_ascii_whitespace().any(|stop| stop == word)
    }

    /// What takes the endings off words.
    pub(super) fn stemmer(self) -> Option<Stemmer> {
        let algorithm = match self {
            Self::None => return None,
            Self::Danish => Algorithm::Danish,
            Self::Dutch => Algorithm::Dutch,
            Self::English => Algorithm::English,
            Self::Finnish => Algorithm::Finnish,
            Self::French => Algorithm::French,
            Self::German => Algorithm::German,
            Self::Hungarian => Algorithm::Hungarian,
            Self::Italian => Algorithm::Italian,
            Self::Norwegian => Algorithm::Norwegian,
            Self::Portuguese => Algorithm::Portuguese,
            Self::Romanian => Algorithm::Romanian,
            Self::Russian => Algorithm::Russian,
            Self::Spanish => Algorithm::Spanish,
            Self::Swedish => Algorithm::Swedish,
            Self::Turkish => Algorithm::Turkish,
        };
        Some(Stemmer::create(algorithm))
    }
}
