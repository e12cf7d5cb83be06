//! Regular expressions in filters: PCRE's syntax as far as a linear-time engine can serve it.
//!
//! Look-around, back-references, atomic groups and possessive quantifiers need backtracking and are refused.

mod translate;

use bson::RawBsonRef;
use regex::{Regex, RegexBuilder};

use crate::error::{ErrorCode, QueryError};

/// The longest pattern, in bytes: MongoDB's own bound.
const PATTERN_BYTES_MAX: usize = 32_764;
/// The memory that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// The same from the [`LARGE_PATTERNS_MAX`]th pattern of a filter on, to bound the whole.
const COMPILED_BYTES_MAX_OF_MANY: usize = 1 << 17;
const LARGE_PATTERNS_MAX: usize = 32;

/// A compiled regular expression with its source.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    source: String,
    /// In ascending order, each once.
    flags: String,
    prefix: Option<String>,
}

impl Pattern {
    /// Compiles a regular expression value, or a pattern string, with the operand of `$options` if there is one. It is
    /// the `count`th of its filter.
    ///
    /// # Errors
    /// `BadValue` for operands of the wrong type, 51091 for a pattern that does not compile, 51108 for unknown flags,
    /// 51074 for flags in both places.
    pub(crate) fn parse(
        operand: RawBsonRef<'_>,
        options: Option<RawBsonRef<'_>>,
        count: usize,
    ) -> Result<Self, QueryError> {
        let options = match options {
            None => None,
            Some(RawBsonRef::String(options)) => Some(options),
            Some(_) => return Err(QueryError::bad_value("$options has to be a string")),
        };
        let (source, flags) = match operand {
            RawBsonRef::String(source) => (source, options.unwrap_or("")),
            RawBsonRef::RegularExpression(regex) => match (regex.options.as_str(), options) {
                (flags, None) => (regex.pattern.as_str(), flags),
                ("", Some(options)) => (regex.pattern.as_str(), options),
                _ => {
                    return Err(QueryError::new(
                        ErrorCode::REGEX_OPTIONS_TWICE,
                        "options set in both $regex and $options",
                    ));
                }
            },
            _ => return Err(QueryError::bad_value("$regex has to be a string")),
        };
        Self::compile(source, flags, count)
    }

    /// Compiles `source` with `flags`; `count` as for [`Pattern::parse`].
    ///
    /// # Errors
    /// As for [`Pattern::parse`].
    pub(crate) fn compile(source: &str, flags: &str, count: usize) -> Result<Self, QueryError> {
        if source.len() > PATTERN_BYTES_MAX {
            return Err(QueryError::new(ErrorCode::INVALID_REGEX, "regular expression is too long"));
        }
        if source.contains('\0') {
            return Err(QueryError::bad_value("regular expression cannot contain an embedded null byte"));
        }
        if let Some(flag) = flags.chars().find(|flag| !"imsxu".contains(*flag)) {
            return Err(QueryError::new(
                ErrorCode::INVALID_REGEX_OPTION,
                format!("invalid flag in regex options: {flag}"),
            ));
        }
        let flags = sorted_flags(flags);
        let translated = translate::translate(source, flags.contains('m'), flags.contains('x'))?;
        let size = if count > LARGE_PATTERNS_MAX { COMPILED_BYTES_MAX_OF_MANY } else { COMPILED_BYTES_MAX };
        let regex = RegexBuilder::new(&translated)
            .case_insensitive(flags.contains('i'))
            .dot_matches_new_line(flags.contains('s'))
            .size_limit(size)
            .dfa_size_limit(size)
            .nest_limit(100)
            .build()
            .map_err(|error| invalid(format!("regular expression is invalid: {error}")))?;
        let prefix = literal_prefix(source, &flags);
        Ok(Self { regex, source: source.to_owned(), flags, prefix })
    }

    /// Whether `value` is a string that matches, or the same regular expression.
    pub(crate) fn matches(&self, value: RawBsonRef<'_>) -> bool {
        match value {
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => self.regex.is_match(text),
            RawBsonRef::RegularExpression(regex) => {
                regex.pattern.as_str() == self.source && sorted_flags(regex.options.as_str()) == self.flags
            }
            _ => false,
        }
    }

    /// The compiled expression itself.
    pub(crate) fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Whether the pattern matches `text`.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The text that every matching string begins with, if the pattern is anchored and plain enough to tell: an index
    /// can then be searched for strings from it on.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }
}

/// The error for a pattern that does not compile.
fn invalid(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorCode::INVALID_REGEX, message)
}

fn sorted_flags(flags: &str) -> String {
    let mut letters: Vec<char> = flags.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    letters.into_iter().collect()
}

/// Takes plain letters after `^`; the last one is dropped where a quantifier follows it.
fn literal_prefix(source: &str, flags: &str) -> Option<String> {
    let rest = source.strip_prefix('^').or_else(|| source.strip_prefix("\\A"))?;
    if flags.contains(['i', 'm', 'x']) || source.contains(['|', '(']) {
        return None;
    }
    let plain =
        |letter: char| letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '-' | ':' | '/' | ',' | '@');
    let mut prefix: String = rest.chars().take_while(|letter| plain(*letter)).collect();
    if rest.get(prefix.len()..).is_some_and(|rest| rest.starts_with(['*', '?', '{', '+'])) {
        prefix.pop();
    }
    (!prefix.is_empty()).then_some(prefix)
}

#[cfg(test)]
mod tests;
