//! Strings.

use std::borrow::Cow;

use bson::RawBsonRef;

use super::array::search_bounds;
use super::error;
use super::node::Scope;
use super::value::Value;
use crate::error::QueryError;
use crate::filter::Pattern;
use crate::number::Number;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// The most bytes of a string.
const TEXT_BYTES_MAX: usize = crate::limits::DOCUMENT_BYTES_MAX;

/// The text that a value is taken for where MongoDB is lenient: numbers, dates and symbols are written out.
fn coerced<'v>(value: &'v Value<'_>, operator: &str) -> Result<Cow<'v, str>, QueryError> {
    if value.is_nullish() {
        return Ok(Cow::Borrowed(""));
    }
    if let Some(text) = value.as_str() {
        return Ok(Cow::Borrowed(text));
    }
    match value {
        Value::Raw(RawBsonRef::Symbol(text) | RawBsonRef::JavaScriptCode(text)) => Ok(Cow::Borrowed(text)),
        Value::Raw(RawBsonRef::DateTime(_)) => {
            Ok(Cow::Owned(super::convert::text_of(value).unwrap_or_default()))
        }
        value => match value.as_number() {
            Some(_) => Ok(Cow::Owned(super::convert::text_of(value).unwrap_or_default())),
            None => error(
                16007,
                format!("can't convert from BSON type {} to String in {operator}", value.type_name()),
            ),
        },
    }
}

pub(super) fn concat<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut text = String::new();
    for value in arguments {
        if value.is_nullish() {
            return Ok(Value::NULL);
        }
        match value.as_str() {
            Some(part) => text.push_str(part),
            None => return error(16702, format!("$concat only supports strings, not {}", value.type_name())),
        }
        if text.len() > TEXT_BYTES_MAX {
            return error(10334, "the string that $concat makes is too long");
        }
    }
    scope.text(&text)
}

/// String and substring of a search; `None` if the string is null.
fn search<'v>(operator: &str, arguments: &'v [Value<'_>]) -> Result<Option<(&'v str, &'v str)>, QueryError> {
    let [text, part, ..] = arguments else { return Ok(None) };
    if text.is_nullish() {
        return Ok(None);
    }
    let Some(text) = text.as_str() else {
        return error(
            40091,
            format!("{operator} requires a string as the first argument, found: {}", text.type_name()),
        );
    };
    let Some(part) = part.as_str() else {
        return error(
            40092,
            format!("{operator} requires a string as the second argument, found: {}", part.type_name()),
        );
    };
    Ok(Some((text, part)))
}

pub(super) fn index_of_bytes<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some((text, part)) = search("$indexOfBytes", arguments)? else { return Ok(Value::NULL) };
    let (start, end) = search_bounds("$indexOfBytes", 40096, arguments, text.len())?;
    let range = text.as_bytes().get(start..end);
    let found = range.and_then(|range| find_bytes(range, part.as_bytes()));
    Ok(Value::int(found.map_or(-1, |place| (start + place) as i32)))
}

fn find_bytes(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

pub(super) fn index_of_points<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some((text, part)) = search("$indexOfCP", arguments)? else { return Ok(Value::NULL) };
    let points: Vec<usize> = text.char_indices().map(|(place, _)| place).chain([text.len()]).collect();
    scope.step(points.len() / 16)?;
    let length = points.len() - 1;
    let (start, end) = search_bounds("$indexOfCP", 40096, arguments, length)?;
    let found = match (points.get(start), points.get(end)) {
        (Some(from), Some(to)) if start <= end => {
            text.get(*from..*to).and_then(|range| range.find(part)).map(|place| from + place)
        }
        _ => None,
    };
    let place = found.and_then(|byte| points.binary_search(&byte).ok());
    Ok(Value::int(place.map_or(-1, |place| place as i32)))
}

pub(super) fn split<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [text, separator] = arguments else { return Ok(Value::NULL) };
    if text.is_nullish() || separator.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(text) = text.as_str() else {
        return error(
            40085,
            format!("$split requires a string as the first argument, found: {}", text.type_name()),
        );
    };
    let Some(separator) = separator.as_str() else {
        return error(
            40086,
            format!("$split requires a string as the second argument, found: {}", separator.type_name()),
        );
    };
    if separator.is_empty() {
        return error(40087, "$split requires a non-empty separator");
    }
    let mut parts = Vec::new();
    for part in text.split(separator) {
        parts.push(scope.text(part)?);
    }
    scope.array(parts)
}

pub(super) fn compare_folded<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [a, b] = arguments else { return Ok(Value::NULL) };
    let (a, b) = (coerced(a, "$strcasecmp")?, coerced(b, "$strcasecmp")?);
    Ok(Value::int(a.to_ascii_uppercase().cmp(&b.to_ascii_uppercase()) as i32))
}

pub(super) fn to_lower<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first() else { return Ok(Value::NULL) };
    scope.text(&coerced(value, "$toLower")?.to_ascii_lowercase())
}

pub(super) fn to_upper<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first() else { return Ok(Value::NULL) };
    scope.text(&coerced(value, "$toUpper")?.to_ascii_uppercase())
}

pub(super) fn length_bytes<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match arguments.first().and_then(Value::as_str) {
        Some(text) => Ok(Value::int(text.len() as i32)),
        None => error(34473, format!("$strLenBytes requires a string argument, found: {}", kind(arguments))),
    }
}

pub(super) fn length_points<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match arguments.first().and_then(Value::as_str) {
        Some(text) => Ok(Value::int(text.chars().count() as i32)),
        None => error(34471, format!("$strLenCP requires a string argument, found: {}", kind(arguments))),
    }
}

fn kind(arguments: &[Value<'_>]) -> &'static str {
    arguments.first().map_or("missing", Value::type_name)
}

pub(super) fn substring_bytes<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [text, start, length] = arguments else { return Ok(Value::NULL) };
    let text = coerced(text, "$substrBytes")?;
    let number =
        |value: &Value<'_>, code: i32, name: &str| match value.as_number().and_then(Number::truncated_to_i64)
        {
            Some(number) => Ok(number),
            None => error(code, format!("$substrBytes: {name} must be a number, not {}", value.type_name())),
        };
    let start = number(start, 16034, "the starting index")?;
    let length = number(length, 16035, "the length")?;
    let Ok(start) = usize::try_from(start) else {
        return error(50752, "$substrBytes: the starting index must be non-negative");
    };
    if start >= text.len() {
        return scope.text("");
    }
    let end =
        usize::try_from(length).map_or(text.len(), |length| start.saturating_add(length).min(text.len()));
    if !text.is_char_boundary(start) {
        return error(28656, "$substrBytes: invalid range, starting index is a UTF-8 continuation byte");
    }
    match text.get(start..end) {
        Some(part) => scope.text(part),
        None => {
            error(28657, "$substrBytes: invalid range, ending index is in the middle of a UTF-8 character")
        }
    }
}

pub(super) fn substring_points<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [text, start, length] = arguments else { return Ok(Value::NULL) };
    let text = coerced(text, "$substrCP")?;
    let number = |value: &Value<'_>, codes: (i32, i32), name: &str| -> Result<i64, QueryError> {
        let Some(number) = value.as_number() else {
            return error(
                codes.0,
                format!("$substrCP: {name} must be a numeric type, not {}", value.type_name()),
            );
        };
        match number.to_i64_exact().filter(|number| i32::try_from(*number).is_ok()) {
            Some(number) => Ok(number),
            None => error(codes.1, format!("$substrCP: {name} must be a 32-bit integer")),
        }
    };
    let start = number(start, (34450, 34451), "the starting index")?;
    let length = number(length, (34452, 34453), "the length")?;
    let Ok(start) = usize::try_from(start) else {
        return error(34455, "$substrCP: the starting index must be non-negative");
    };
    let Ok(length) = usize::try_from(length) else {
        return error(34454, "$substrCP: the length must be non-negative");
    };
    let part: String = text.chars().skip(start).take(length).collect();
    scope.text(&part)
}

pub(super) fn trim<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    trimmed(scope, "$trim", arguments, true, true)
}

pub(super) fn trim_start<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    trimmed(scope, "$ltrim", arguments, true, false)
}

pub(super) fn trim_end<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    trimmed(scope, "$rtrim", arguments, false, true)
}

/// What `$trim` takes for whitespace.
const WHITESPACE: &str = "\0\u{20}\t\n\u{b}\u{c}\r\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}";

fn trimmed<'a>(
    scope: &mut Scope<'a>,
    operator: &str,
    arguments: &[Option<Value<'a>>],
    at_start: bool,
    at_end: bool,
) -> Outcome<'a> {
    let [Some(input), chars] = arguments else { return Ok(Value::NULL) };
    if input.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(text) = input.as_str() else {
        return error(
            50699,
            format!("{operator} requires its input to be a string, got {}", input.type_name()),
        );
    };
    let chars = match chars {
        None => WHITESPACE,
        Some(chars) if chars.is_nullish() => return Ok(Value::NULL),
        Some(chars) => match chars.as_str() {
            Some(chars) => chars,
            None => {
                return error(
                    50700,
                    format!("{operator} requires 'chars' to be a string, got {}", chars.type_name()),
                );
            }
        },
    };
    scope.step(text.len().saturating_mul(chars.len()) / 256)?;
    let mut text = text;
    if at_start {
        text = text.trim_start_matches(|letter| chars.contains(letter));
    }
    if at_end {
        text = text.trim_end_matches(|letter| chars.contains(letter));
    }
    scope.text(text)
}

pub(super) fn replace_one<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    replaced(scope, "$replaceOne", arguments, |text, find, by| text.replacen(find, by, 1))
}

pub(super) fn replace_all<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    replaced(scope, "$replaceAll", arguments, |text, find, by| text.replace(find, by))
}

fn replaced<'a>(
    scope: &mut Scope<'a>,
    operator: &str,
    arguments: &[Option<Value<'a>>],
    replace: impl Fn(&str, &str, &str) -> String,
) -> Outcome<'a> {
    let [Some(input), Some(find), Some(replacement)] = arguments else { return Ok(Value::NULL) };
    let mut texts = Vec::with_capacity(3);
    for (value, code, name) in
        [(input, 51746, "input"), (find, 51745, "find"), (replacement, 51744, "replacement")]
    {
        match value.as_str() {
            Some(text) => texts.push(text),
            None if value.is_nullish() => {}
            None => {
                return error(
                    code,
                    format!("{operator} requires that '{name}' be a string, found: {}", value.type_name()),
                );
            }
        }
    }
    let [text, find, by] = texts.as_slice() else { return Ok(Value::NULL) };
    let most = text.len().saturating_add(text.matches(find).count().saturating_mul(by.len()));
    if most > TEXT_BYTES_MAX {
        return error(10334, format!("the string that {operator} makes is too long"));
    }
    scope.text(&replace(text, find, by))
}

/// Text and compiled pattern of a `$regex…`; `None` if one of them is null.
fn pattern<'v>(
    operator: &str,
    arguments: &'v [Option<Value<'_>>],
) -> Result<Option<(&'v str, regex::Regex)>, QueryError> {
    let [Some(input), Some(regex), options] = arguments else { return Ok(None) };
    let flags = match options {
        None => None,
        Some(options) if options.is_nullish() => None,
        Some(options) => match options.as_str() {
            Some(flags) => Some(flags.to_owned()),
            None => return error(51106, format!("{operator} needs 'options' to be of type string")),
        },
    };
    let (source, flags) = match regex {
        Value::Raw(RawBsonRef::RegularExpression(regex)) => {
            let own = regex.options.as_str();
            if !own.is_empty() && flags.is_some() {
                return error(51107, format!("{operator}: regex options were given twice"));
            }
            (regex.pattern.as_str().to_owned(), flags.unwrap_or_else(|| own.to_owned()))
        }
        value if value.is_nullish() => return Ok(None),
        value => match value.as_str() {
            Some(source) => (source.to_owned(), flags.unwrap_or_default()),
            None => return error(51105, format!("{operator} needs 'regex' to be of type string or regex")),
        },
    };
    if input.is_nullish() {
        return Ok(None);
    }
    let Some(text) = input.as_str() else {
        return error(51104, format!("{operator} needs 'input' to be of type string"));
    };
    let compiled = Pattern::compile(&source, &flags, 1)?.regex().clone();
    Ok(Some((text, compiled)))
}

pub(super) fn regex_match<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    Ok(Value::bool(pattern("$regexMatch", arguments)?.is_some_and(|(text, regex)| regex.is_match(text))))
}

pub(super) fn regex_find<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let Some((text, regex)) = pattern("$regexFind", arguments)? else { return Ok(Value::NULL) };
    match regex.captures(text) {
        Some(captures) => match_document(scope, text, &captures),
        None => Ok(Value::NULL),
    }
}

pub(super) fn regex_find_all<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let Some((text, regex)) = pattern("$regexFindAll", arguments)? else { return scope.array(Vec::new()) };
    let mut found = Vec::new();
    for captures in regex.captures_iter(text) {
        found.push(match_document(scope, text, &captures)?);
    }
    scope.array(found)
}

fn match_document<'a>(scope: &mut Scope<'a>, text: &str, captures: &regex::Captures<'_>) -> Outcome<'a> {
    let (found, start) = captures.get(0).map_or(("", 0), |whole| (whole.as_str(), whole.start()));
    let index = text.get(..start).map_or(0, |before| before.chars().count());
    scope.step(1 + text.len() / 64)?;
    let mut groups = Vec::new();
    for group in captures.iter().skip(1) {
        groups.push(match group {
            Some(group) => scope.text(group.as_str())?,
            None => Value::NULL,
        });
    }
    let found = scope.text(found)?;
    let groups = scope.array(groups)?;
    Value::document(vec![
        (Cow::Borrowed("match"), found),
        (Cow::Borrowed("idx"), Value::int(index as i32)),
        (Cow::Borrowed("captures"), groups),
    ])
}
