//! The paths of update operators: `a.b.0`, `a.$.b`, `a.$[].b`, `a.$[id].b`.

use std::cmp::Ordering;

use crate::error::{ErrorCode, QueryError};
use crate::limits::DEPTH_MAX;

/// One part of an update path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A field name or an array index.
    Field(&'a str),
    /// `$`: the element that the filter matched.
    Positional,
    /// `$[]`: every element.
    All,
    /// `$[id]`: the elements that the array filter `id` matches.
    Filtered(&'a str),
}

/// Splits and checks an update path.
pub(super) fn parse(path: &str) -> Result<Vec<Part<'_>>, QueryError> {
    if path.is_empty() {
        return Err(QueryError::new(ErrorCode::EMPTY_FIELD_NAME, "an empty update path is not valid"));
    }
    if path.contains('\0') {
        return Err(QueryError::bad_value("an update path must not contain a null byte"));
    }
    let mut parts = Vec::new();
    for (index, text) in path.split('.').enumerate() {
        if index >= DEPTH_MAX {
            return Err(QueryError::bad_value(format!("an update path may have at most {DEPTH_MAX} parts")));
        }
        parts.push(parse_part(path, index, text)?);
    }
    if parts.iter().filter(|part| matches!(part, Part::Positional)).count() > 1 {
        return Err(QueryError::bad_value(format!(
            "too many positional (i.e. '$') elements in path '{path}'"
        )));
    }
    Ok(parts)
}

fn parse_part<'a>(path: &str, index: usize, text: &'a str) -> Result<Part<'a>, QueryError> {
    if text.is_empty() {
        return Err(QueryError::new(
            ErrorCode::EMPTY_FIELD_NAME,
            format!("the update path '{path}' contains an empty field name, which is not allowed"),
        ));
    }
    let part = match text {
        "$" => Part::Positional,
        "$[]" => Part::All,
        _ => match text.strip_prefix("$[").and_then(|rest| rest.strip_suffix(']')) {
            Some(identifier) => Part::Filtered(identifier),
            // Other names with a dollar are names: below the top level they may be stored.
            None => return Ok(Part::Field(text)),
        },
    };
    if index == 0 {
        return Err(QueryError::bad_value(format!("'{text}' cannot be the first part of the path '{path}'")));
    }
    Ok(part)
}

/// Whether the path has `$`, `$[]` or `$[id]`.
pub(super) fn is_dynamic(parts: &[Part<'_>]) -> bool {
    parts.iter().any(|part| !matches!(part, Part::Field(_)))
}

/// The part of a path before its first `$`, `$[]` or `$[id]`: what is known of it without a document.
pub(super) fn fixed_prefix(path: &str) -> &str {
    match path.find(".$") {
        // `.$name` is a name; whoever stops a little early only says that more may be touched.
        Some(end) => path.get(..end).unwrap_or(path),
        None => path,
    }
}

/// The array index that a path part stands for, if it is all digits. One too large to count is `usize::MAX`.
pub(super) fn array_index(name: &str) -> Option<usize> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(name.parse().unwrap_or(usize::MAX))
}

/// The order in which an update visits fields: numbers by value, then names by their bytes.
pub(super) fn order(a: &str, b: &str) -> Ordering {
    match (is_plain_number(a), is_plain_number(b)) {
        (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

/// Digits without a leading zero.
fn is_plain_number(name: &str) -> bool {
    array_index(name).is_some() && (name.len() == 1 || !name.starts_with('0'))
}
