//! From a collation document to a collator.

use bson::raw::cstr;
use bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use icu_collator::CollatorBorrowed;
use icu_collator::options::{AlternateHandling, CaseLevel, CollatorOptions, MaxVariable, Strength};
use icu_collator::preferences::{CollationCaseFirst, CollationNumericOrdering};

use super::locale;
use crate::error::{ErrorCode, QueryError};
use crate::number::Number;
use crate::path::fields;

/// The options of a collation; what is not said is up to the locale.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // the options are what they are
pub(super) struct Options {
    locale: String,
    strength: Option<i64>,
    case_level: bool,
    case_first: Option<String>,
    numeric: bool,
    alternate: Option<String>,
    max_variable: Option<String>,
    normalization: bool,
    backwards: bool,
}

/// Reads the options; none for the locale `simple`.
pub(super) fn options(document: &RawDocument) -> Result<Option<Options>, QueryError> {
    let mut options = Options::default();
    let mut has_locale = false;
    for (name, value) in fields(document) {
        if name == "locale" {
            options.locale = text(name, value)?;
            has_locale = true;
            continue;
        }
        if !matches!(
            name,
            "strength"
                | "caseLevel"
                | "caseFirst"
                | "numericOrdering"
                | "alternate"
                | "maxVariable"
                | "normalization"
                | "backwards"
                | "version"
        ) {
            let message = format!("BSON field 'collation.{name}' is an unknown field.");
            return Err(QueryError::new(ErrorCode(40415), message));
        }
        if matches!(value, RawBsonRef::Null | RawBsonRef::Undefined) {
            continue; // as if it were not there
        }
        match name {
            "strength" => options.strength = Some(strength(value)?),
            "caseLevel" => options.case_level = flag(name, value)?,
            "caseFirst" => options.case_first = Some(one_of(name, value, &["upper", "lower", "off"])?),
            "numericOrdering" => options.numeric = flag(name, value)?,
            "alternate" => options.alternate = Some(one_of(name, value, &["non-ignorable", "shifted"])?),
            "maxVariable" => options.max_variable = Some(one_of(name, value, &["punct", "space"])?),
            "normalization" => options.normalization = flag(name, value)?,
            "backwards" => options.backwards = flag(name, value)?,
            _ => drop(text(name, value)?),
        }
    }
    if !has_locale {
        let message = "BSON field 'collation.locale' is missing but a required field";
        return Err(QueryError::new(ErrorCode(40414), message));
    }
    if options.locale == "simple" {
        return Ok(None); // whatever else it says
    }
    let strength = options.strength.unwrap_or(3);
    if options.backwards && strength == 1 {
        return Err(QueryError::bad_value("'backwards' is invalid with 'strength' of 1"));
    }
    let orders_case = options.case_first.as_deref().is_some_and(|first| first != "off");
    if orders_case && !options.case_level && strength < 3 {
        return Err(QueryError::bad_value(
            "'caseFirst' is invalid unless 'caseLevel' is on or 'strength' is greater than 2",
        ));
    }
    Ok(Some(options))
}

impl Options {
    pub(super) fn collator(&self) -> Result<CollatorBorrowed<'static>, QueryError> {
        let mut preferences = locale::preferences(&self.locale, self.backwards)?;
        preferences.numeric_ordering = self.numeric.then_some(CollationNumericOrdering::True);
        preferences.case_first = self.case_first.as_deref().map(|first| match first {
            "upper" => CollationCaseFirst::Upper,
            "lower" => CollationCaseFirst::Lower,
            _ => CollationCaseFirst::False,
        });
        let mut options = CollatorOptions::default();
        options.strength = Some(match self.strength {
            Some(1) => Strength::Primary,
            Some(2) => Strength::Secondary,
            Some(4) => Strength::Quaternary,
            Some(5) => Strength::Identical,
            _ => Strength::Tertiary,
        });
        options.case_level = Some(if self.case_level { CaseLevel::On } else { CaseLevel::Off });
        options.alternate_handling = self.alternate.as_deref().map(|alternate| match alternate {
            "shifted" => AlternateHandling::Shifted,
            _ => AlternateHandling::NonIgnorable,
        });
        options.max_variable = self.max_variable.as_deref().map(|most| match most {
            "space" => MaxVariable::Space,
            _ => MaxVariable::Punctuation,
        });
        CollatorBorrowed::try_new(preferences, options).map_err(|error| {
            QueryError::bad_value(format!("no collation for the locale '{}': {error}", self.locale))
        })
    }

    pub(super) fn to_document(&self) -> RawDocumentBuf {
        let text =
            |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("locale"), self.locale.as_str());
        document.append(cstr!("caseLevel"), self.case_level);
        document.append(cstr!("caseFirst"), text(&self.case_first, "off"));
        document.append(cstr!("strength"), self.strength.unwrap_or(3) as i32);
        document.append(cstr!("numericOrdering"), self.numeric);
        document.append(cstr!("alternate"), text(&self.alternate, "non-ignorable"));
        document.append(cstr!("maxVariable"), text(&self.max_variable, "punct"));
        document.append(cstr!("normalization"), self.normalization);
        document.append(cstr!("backwards"), self.backwards);
        document.append(cstr!("version"), "57.1");
        document
    }
}

fn mismatch(name: &str, expected: &str) -> QueryError {
    QueryError::new(ErrorCode::TYPE_MISMATCH, format!("BSON field 'collation.{name}' must be {expected}"))
}

fn text(name: &str, value: RawBsonRef<'_>) -> Result<String, QueryError> {
    match value {
        RawBsonRef::String(text) => Ok(text.to_owned()),
        _ => Err(mismatch(name, "a string")),
    }
}

fn one_of(name: &str, value: RawBsonRef<'_>, known: &[&str]) -> Result<String, QueryError> {
    let text = text(name, value)?;
    if known.contains(&text.as_str()) {
        return Ok(text);
    }
    Err(QueryError::bad_value(format!(
        "Enumeration value '{text}' for field 'collation.{name}' is not a valid value."
    )))
}

fn flag(name: &str, value: RawBsonRef<'_>) -> Result<bool, QueryError> {
    match (value, Number::from_raw(value)) {
        (RawBsonRef::Boolean(flag), _) => Ok(flag),
        (_, Some(number)) => Ok(number.to_f64() != 0.0),
        _ => Err(mismatch(name, "a boolean")),
    }
}

fn strength(value: RawBsonRef<'_>) -> Result<i64, QueryError> {
    let number = Number::from_raw(value).ok_or_else(|| mismatch("strength", "a number"))?;
    number.to_i64_exact().filter(|strength| (1..=5).contains(strength)).ok_or_else(|| {
        QueryError::new(
            ErrorCode(51024),
            "BSON field 'collation.strength' must be a whole number from 1 to 5",
        )
    })
}
