//! Locales as MongoDB names them: `en`, `fr_CA`, `zh_Hant`, `de@collation=phonebook`.

use icu_collator::CollatorPreferences;
use icu_locale_core::Locale;

use crate::error::QueryError;

/// The languages that a collation may name.
const LANGUAGES: &[&str] = &[
    "af", "am", "ar", "as", "az", "be", "bg", "bn", "bo", "br", "bs", "ca", "ceb", "chr", "cs", "cy", "da",
    "de", "dsb", "dz", "ee", "el", "en", "eo", "es", "et", "fa", "ff", "fi", "fil", "fo", "fr", "fy", "ga",
    "gl", "gu", "ha", "haw", "he", "hi", "hr", "hsb", "hu", "hy", "id", "ig", "is", "it", "ja", "ka", "kk",
    "kl", "km", "kn", "ko", "kok", "ku", "ky", "lb", "lkt", "ln", "lo", "lt", "lv", "mk", "ml", "mn", "mr",
    "ms", "mt", "my", "nb", "ne", "nl", "nn", "no", "nso", "om", "or", "pa", "pl", "ps", "pt", "ro", "ru",
    "se", "si", "sk", "sl", "smn", "sq", "sr", "st", "sv", "sw", "ta", "te", "th", "tk", "to", "tr", "ug",
    "uk", "ur", "uz", "vi", "wae", "wo", "xh", "yi", "yo", "zh", "zu", "tn", "root",
];

/// Languages that sort by the root order, so that backward accents can be had by the one locale that has them.
const OF_THE_ROOT: &[&str] =
    &["af", "br", "de", "en", "fr", "ga", "gl", "id", "it", "lb", "ms", "nl", "pt", "sw", "zu", "root"];

/// The variants of `@collation=` with their names in BCP 47.
const VARIANTS: &[(&str, &str)] = &[
    ("standard", "standard"),
    ("search", "search"),
    ("phonebook", "phonebk"),
    ("traditional", "trad"),
    ("stroke", "stroke"),
    ("pinyin", "pinyin"),
    ("zhuyin", "zhuyin"),
    ("unihan", "unihan"),
    ("dictionary", "dict"),
    ("compat", "compat"),
    ("eor", "eor"),
    ("searchjl", "searchjl"),
    ("phonetic", "phonetic"),
];

/// What the locale `name` asks of a collator; with `backwards`, accents count from the end of the string, as in `fr_CA`.
pub(super) fn preferences(name: &str, backwards: bool) -> Result<CollatorPreferences, QueryError> {
    let invalid = || QueryError::bad_value(format!("Field 'locale' is invalid in collation: '{name}'"));
    let (base, keywords) =
        name.split_once('@').map_or((name, None), |(base, keywords)| (base, Some(keywords)));
    let mut parts = base.split('_');
    let language = parts.next().unwrap_or_default();
    if !LANGUAGES.contains(&language) {
        return Err(invalid());
    }
    let mut tag = String::from(if language == "root" { "und" } else { language });
    let mut stage = 0;
    for part in parts {
        // Script, region and variant, in this order.
        let is = |length: usize, test: fn(u8) -> bool| part.len() == length && part.bytes().all(test);
        let own_stage = if is(4, |letter| letter.is_ascii_alphabetic())
            && part.starts_with(|first: char| first.is_ascii_uppercase())
        {
            1
        } else if is(2, |letter| letter.is_ascii_uppercase()) || is(3, |digit| digit.is_ascii_digit()) {
            2
        } else if part == "POSIX" {
            3
        } else {
            return Err(invalid());
        };
        if own_stage <= stage {
            return Err(invalid());
        }
        stage = own_stage;
        tag.push('-');
        tag.push_str(part);
    }
    if backwards && base != "fr_CA" {
        if !OF_THE_ROOT.contains(&language) {
            let message = format!("'backwards' is not supported for the locale '{name}'");
            return Err(QueryError::new(crate::error::ErrorCode::NOT_IMPLEMENTED, message));
        }
        "fr-CA".clone_into(&mut tag);
    }
    if let Some(keywords) = keywords {
        let variant = keywords.strip_prefix("collation=").ok_or_else(invalid)?;
        let (_, short) = VARIANTS.iter().find(|(long, _)| *long == variant).ok_or_else(invalid)?;
        if *short != "standard" {
            tag.push_str("-u-co-");
            tag.push_str(short);
        }
    }
    let locale: Locale = tag.parse().map_err(|_| invalid())?;
    Ok((&locale).into())
}
