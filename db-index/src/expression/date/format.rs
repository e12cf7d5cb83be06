//! Dates as text, by a format or by ISO 8601.

use std::fmt::Write as _;

use super::{millis_or, sunday_week, zone_of};
use crate::error::{ErrorCode, QueryError};
use crate::expression::calendar::{self, Civil, DAY_MS, days_in_month, days_of};
use crate::expression::error;
use crate::expression::node::Scope;
use crate::expression::value::Value;
use crate::expression::zone::Zone;

type Outcome<'a> = Result<Value<'a>, QueryError>;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(in crate::expression) fn to_text<'a>(
    scope: &mut Scope<'a>,
    arguments: &[Option<Value<'a>>],
) -> Outcome<'a> {
    let [Some(date), format, zone, on_null] = arguments else { return Ok(Value::NULL) };
    let format = match format {
        None => None,
        Some(value) if value.is_nullish() => Some(None),
        Some(value) => match value.as_str() {
            Some(format) => Some(Some(format)),
            None => {
                return error(
                    18533,
                    format!("$dateToString requires that 'format' be a string, found {}", value.type_name()),
                );
            }
        },
    };
    if let Some(Some(format)) = format {
        check_format(format, "dGHjLmMSuUVwYzZbB%")?;
    }
    let zone = zone_of(zone.as_ref())?;
    if date.is_nullish() {
        return Ok(on_null.clone().unwrap_or(Value::NULL));
    }
    let Some(zone) = zone else { return Ok(Value::NULL) };
    let default = if zone.is_utc() { "%Y-%m-%dT%H:%M:%S.%LZ" } else { "%Y-%m-%dT%H:%M:%S.%L" };
    let Some(format) = format.unwrap_or(Some(default)) else { return Ok(Value::NULL) };
    let text = formatted(millis_or(16006, date)?, &zone, format)?;
    scope.text(&text)
}

/// Refuses a format with letters after `%` that are not in `known`.
fn check_format(format: &str, known: &str) -> Result<(), QueryError> {
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            continue;
        }
        match letters.next() {
            None => return error(18535, "unmatched '%' at end of format string"),
            Some(letter) if known.contains(letter) => {}
            Some(other) => {
                return error(18536, format!("invalid format character '%{other}' in format string"));
            }
        }
    }
    Ok(())
}

fn formatted(millis: i64, zone: &Zone, format: &str) -> Result<String, QueryError> {
    let civil = Civil::from_millis(zone.to_local(millis));
    let mut text = String::with_capacity(format.len() + 16);
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let offset = zone.offset_minutes(millis);
        let name = |short: bool| {
            let name = MONTHS.get(civil.month as usize - 1).copied().unwrap_or("");
            if short { name.get(..3).unwrap_or(name) } else { name }
        };
        let written = match letters.next() {
            Some('d') => write!(text, "{:02}", civil.day),
            Some('G') => write!(text, "{:04}", civil.iso_week().1),
            Some('H') => write!(text, "{:02}", civil.millis / 3_600_000),
            Some('j') => write!(text, "{:03}", civil.day_of_year()),
            Some('L') => write!(text, "{:03}", civil.millis % 1000),
            Some('m') => write!(text, "{:02}", civil.month),
            Some('M') => write!(text, "{:02}", civil.millis / 60_000 % 60),
            Some('S') => write!(text, "{:02}", civil.millis / 1000 % 60),
            Some('u') => write!(text, "{}", civil.iso_weekday()),
            Some('U') => write!(text, "{:02}", sunday_week(civil)),
            Some('V') => write!(text, "{:02}", civil.iso_week().0),
            Some('w') => write!(text, "{}", civil.weekday() + 1),
            Some('Y') => {
                if !(0..=9999).contains(&civil.year) {
                    return error(
                        18537,
                        format!("could not convert the date: {} is outside of 0 to 9999", civil.year),
                    );
                }
                write!(text, "{:04}", civil.year)
            }
            Some('z') => {
                let sign = if offset < 0 { '-' } else { '+' };
                write!(text, "{sign}{:02}{:02}", offset.abs() / 60, offset.abs() % 60)
            }
            Some('Z') => write!(text, "{offset:+}"),
            Some('b') => write!(text, "{}", name(true)),
            Some('B') => write!(text, "{}", name(false)),
            Some('%') => write!(text, "%"),
            Some(other) => {
                return error(18536, format!("invalid format character '%{other}' in format string"));
            }
            None => return error(18535, "unmatched '%' at end of format string"),
        };
        // Writing to a string does not fail.
        written.unwrap_or_default();
    }
    Ok(text)
}

pub(in crate::expression) fn from_text<'a>(
    _: &mut Scope<'a>,
    arguments: &[Option<Value<'a>>],
) -> Outcome<'a> {
    let [Some(text), format, zone, on_error, on_null] = arguments else { return Ok(Value::NULL) };
    let format = match format {
        None => None,
        Some(value) if value.is_nullish() => Some(None),
        Some(value) => match value.as_str() {
            Some(format) => Some(Some(format)),
            None => {
                return error(
                    40684,
                    format!(
                        "$dateFromString requires that 'format' be a string, found {}",
                        value.type_name()
                    ),
                );
            }
        },
    };
    if let Some(Some(format)) = format {
        check_format(format, "dGHjLmMSuVYzZbB%")?;
    }
    let zone = zone_of(zone.as_ref())?;
    if text.is_nullish() {
        return Ok(on_null.clone().unwrap_or(Value::NULL));
    }
    let result = match text.as_str() {
        None => error(
            241,
            format!("$dateFromString requires that 'dateString' be a string, found {}", text.type_name()),
        ),
        Some(text) => {
            let Some(zone) = zone else { return Ok(Value::NULL) };
            let format = match format {
                Some(None) => return Ok(Value::NULL),
                Some(Some(format)) => Some(format),
                None => None,
            };
            let parsed = match format {
                None => calendar::parse_iso(text),
                Some(format) => parse_by(text, format)?,
            };
            let millis = match parsed {
                // A string with a zone of its own leaves no room for another.
                Some((_, true)) if !zone.is_utc() => None,
                Some((millis, true)) => Some(millis),
                Some((millis, false)) => zone.to_utc(millis),
                None => None,
            };
            match millis {
                Some(millis) => Ok(Value::date(millis)),
                None => error(241, format!("error parsing date string '{text}'")),
            }
        }
    };
    match (result, on_error) {
        (Err(error), Some(value)) if error.code == ErrorCode(241) => Ok(value.clone()),
        (result, _) => result,
    }
}

/// Reads a date by a format. The outer error is one of the format.
fn parse_by(text: &str, format: &str) -> Result<Option<(i64, bool)>, QueryError> {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut iso_year, mut iso_week, mut iso_day, mut day_of_year) = (None, 1, 1, None);
    let mut millis = 0;
    let mut offset = None;
    let mut rest = text;
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            match rest.strip_prefix(letter) {
                Some(after) => rest = after,
                None => return Ok(None),
            }
            continue;
        }
        let Some(specifier) = letters.next() else {
            return error(18535, "unmatched '%' at end of format string");
        };
        let digits = match specifier {
            'Y' | 'G' => 4,
            'm' | 'd' | 'H' | 'M' | 'S' | 'V' => 2,
            'L' | 'j' => 3,
            'u' => 1,
            'z' | 'Z' | 'b' | 'B' | '%' => 0,
            other => return error(18536, format!("invalid format character '%{other}' in format string")),
        };
        if digits > 0 {
            let Some((number, after)) = calendar::number(rest, digits) else { return Ok(None) };
            rest = after;
            match specifier {
                'Y' => year = number,
                'G' => iso_year = Some(number),
                'm' => month = number,
                'd' => day = number,
                'H' => millis += number * 3_600_000,
                'M' => millis += number * 60_000,
                'S' => millis += number * 1000,
                'L' => millis += number,
                'V' => iso_week = number,
                'u' => iso_day = number,
                _ => day_of_year = Some(number),
            }
            continue;
        }
        let length = match specifier {
            '%' if rest.starts_with('%') => 1,
            'z' if rest.starts_with('Z') => {
                offset = Some(0);
                1
            }
            'z' => {
                let length =
                    rest.bytes().take_while(|byte| byte.is_ascii_digit() || b"+-:".contains(byte)).count();
                match rest.get(..length).and_then(calendar::parse_offset) {
                    Some(minutes) => offset = Some(minutes),
                    None => return Ok(None),
                }
                length
            }
            'Z' => {
                let signed = rest.strip_prefix(['+', '-']).unwrap_or(rest);
                let length =
                    rest.len() - signed.len() + signed.bytes().take_while(u8::is_ascii_digit).count();
                match rest.get(..length).and_then(|text| text.parse().ok()) {
                    Some(minutes) => offset = Some(minutes),
                    None => return Ok(None),
                }
                length
            }
            _ => {
                let found = MONTHS.iter().position(|name| {
                    let name = if specifier == 'b' { name.get(..3).unwrap_or(name) } else { name };
                    rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                });
                let Some(found) = found else { return Ok(None) };
                month = found as i64 + 1;
                if specifier == 'b' { 3 } else { MONTHS.get(found).map_or(0, |name| name.len()) }
            }
        };
        match rest.get(length..) {
            Some(after) => rest = after,
            None => return Ok(None),
        }
    }
    if !rest.is_empty() {
        return Ok(None);
    }
    let midnight = match (iso_year, day_of_year) {
        (Some(year), _) => calendar::from_iso_week(year, iso_week, iso_day),
        (None, Some(day)) => days_of(year, 1, day).and_then(|days| days.checked_mul(DAY_MS)),
        (None, None) if (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day) => {
            days_of(year, month, day).and_then(|days| days.checked_mul(DAY_MS))
        }
        _ => None,
    };
    let at = || {
        let offset_ms = offset.unwrap_or(0_i64).checked_mul(60_000)?;
        midnight?.checked_add(millis)?.checked_sub(offset_ms)
    };
    Ok(at().map(|at| (at, offset.is_some())))
}
